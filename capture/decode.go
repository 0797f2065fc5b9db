// SPDX-License-Identifier: Apache-2.0

package capture

import (
	"time"

	"weir/internal/flow"
)

// decoder turns frames into packets of the current block. The fields about the
// current frame are kept here rather than passed down through the layers.
type decoder struct {
	block    *Block
	hash     keyHash
	verify   bool
	filters  *filterSet
	identity uint64 // of the first input, for the uids of tunnels
	timeline

	ts     flow.Time
	origin uint64
	place

	stats    Stats
	frags    fragments
	carriers carriers
}

// place says where in a frame the decoder is: what is around it.
type place struct {
	parent uint64 // uid of the innermost tunnel
	// missing is how many bytes of the frame, or of the datagram that it completed,
	// were not captured; padding how many lie behind the innermost IP packet.
	missing, padding int
	vlan             uint16
	depth            uint8        // tunnels opened
	joins            uint8        // datagrams completed
	nested           uint8        // frames in frames
	via              flow.Carrier // the innermost tunnel, if UDP carries it
	carried          bool         // in a tunnel over UDP: the frame counts already
}

// newDecoder returns a decoder that takes UDP connections for over after a
// timeout; 0 is the default.
func newDecoder(verify bool, seed uint64, filters *filterSet, udp time.Duration) *decoder {
	return &decoder{hash: newKeyHash(seed), verify: verify, filters: filters, carriers: newCarriers(udp)}
}

// frame decodes one frame of a file; its time moves the timeline.
func (d *decoder) frame(rec *record) {
	if !d.step(rec.ts) {
		d.leap(rec.ts)
	}
	d.decode(rec)
}

// decode decodes one frame and counts it as delivered or under a reason.
func (d *decoder) decode(rec *record) {
	d.stats.Packets++
	d.stats.Bytes += uint64(len(rec.data))
	d.ts, d.origin = rec.ts, rec.origin
	d.place = place{missing: max(0, rec.wire-len(rec.data))}
	if r := d.link(rec); r != Delivered {
		d.stats.Rejected[r]++
		if r != Filtered && r != FilterLink {
			d.block.passed(d.now)
		}
	}
}

// maxNested is how many frames in each other are opened, without tunnels of IP.
const maxNested = 8

// link decodes the link layer's header.
func (d *decoder) link(rec *record) Reason {
	i := rec.iface
	switch i.state {
	case ifaceUnknown:
		return UnknownInterface
	case ifaceNoFilter:
		d.filters.warn(i.number, "the filter does not apply to it")
		return FilterLink
	}
	if i.filter != nil && !i.filter.match(rec.data, rec.wire) {
		return Filtered
	}
	if i.link == linkEthernet {
		return d.ethernet(rec.data, rec.wire)
	}
	r := d.linkOf(i.link, rec.data, rec.wire)
	if r == LinkType && i.link == linkUnknown {
		d.filters.warn(i.number, "it is not supported")
	}
	return r
}

// linkOf decodes a frame of any kind. b is what was captured of its n bytes.
func (d *decoder) linkOf(kind linkKind, b []byte, n int) Reason {
	switch kind {
	case linkEthernet:
		return d.ethernet(b, n)
	case linkRaw:
		return d.ip(b, n)
	case linkNull:
		return d.null(b, n)
	case linkSLL:
		return d.sll(b, n)
	case linkSLL2:
		return d.sll2(b, n)
	case linkWLAN:
		return d.wlan(b, n, false)
	case linkRadiotap:
		return d.radiotap(b, n)
	case linkPPI:
		return d.ppi(b, n)
	case linkPrism:
		return d.prism(b, n)
	case linkAVS:
		return d.avs(b, n)
	case linkPPP:
		return d.pppHDLC(b, n)
	case linkPPPD:
		return d.pppd(b, n)
	case linkPPPBSDOS:
		return d.pppBSDOS(b, n)
	case linkPPPoE:
		return d.pppoe(b, n)
	case linkCHDLC:
		return d.chdlc(b, n)
	case linkFrameRelay:
		return d.frameRelay(b, n)
	case linkPPPDirection, linkCHDLCDirection, linkFrameRelayDirection:
		return d.withDirection(kind, b, n)
	case linkMultilinkFrameRelay:
		return d.multilinkFrameRelay(b, n)
	case linkATM:
		return d.atm(b, n)
	case linkSunATM:
		return d.sunATM(b, n)
	case linkFDDI:
		return d.fddi(b, n)
	case linkTokenRing:
		return d.tokenRing(b, n)
	case linkARCnet:
		return d.arcnet(b, n, 2)
	case linkARCnetLinux:
		return d.arcnet(b, n, 4)
	case linkIEEE1394:
		return d.ieee1394(b, n)
	case linkFibreChannel:
		return d.fibreChannel(b, n)
	case linkInfiniBand:
		return d.infiniBand(b, n)
	case linkMPLS:
		return d.mpls(b, n)
	case linkDSA:
		return d.dsa(b, n, 12)
	case linkEDSA:
		return d.dsa(b, n, 16)
	case linkBroadcomTag:
		return d.broadcomTag(b, n)
	case linkBroadcomPrepended:
		return d.skipTo(linkEthernet, b, n, 4)
	case linkNFLOG:
		return d.nflog(b, n)
	case linkPFLOG:
		return d.pflog(b, n)
	case linkENC:
		return d.enc(b, n)
	case linkIPNet:
		return d.ipnet(b, n)
	case linkSLIP:
		return d.skipTo(linkRaw, b, n, 16)
	case linkSLIPBSDOS:
		return d.skipTo(linkRaw, b, n, 24)
	case linkJuniperEther:
		return d.juniperEther(b, n)
	case linkPKTAP:
		return d.pktap(b, n)
	}
	return LinkType
}

// skipTo decodes what follows a header of which nothing matters.
func (d *decoder) skipTo(kind linkKind, b []byte, n, header int) Reason {
	if len(b) < header {
		return LinkHeader
	}
	return d.linkOf(kind, b[header:], n-header)
}

// named decodes a frame that says itself of which link type it is.
func (d *decoder) named(link uint32, b []byte, n int) Reason {
	if d.nested++; d.nested > maxNested {
		return LinkDepth
	}
	kind := d.filters.kinds[link]
	if kind == linkUnknown {
		d.filters.warn(link, "it is not supported")
	}
	return d.linkOf(kind, b, n)
}
