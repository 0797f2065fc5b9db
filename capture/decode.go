// SPDX-License-Identifier: Apache-2.0

package capture

import (
	"encoding/binary"
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
	stats    Stats
	frags    fragments
	carriers carriers
	timeline

	ts     flow.Time
	origin uint64
	parent uint64 // uid of the innermost tunnel
	vlan   uint16
	// missing is how many bytes of the frame, or of the datagram that it completed,
	// were not captured.
	missing int
	padding int          // bytes of the frame, or of a tunnel, behind the IP packet
	depth   uint8        // tunnels opened
	joins   uint8        // datagrams completed
	via     flow.Carrier // the innermost tunnel, if UDP carries it
	inner   bool         // a packet of the frame was delivered, this is one out of it
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
	d.parent, d.vlan, d.depth, d.joins = 0, 0, 0, 0
	d.missing, d.padding, d.via, d.inner = max(0, rec.wire-len(rec.data)), 0, flow.NoCarrier, false
	if r := d.link(rec); r != Delivered {
		d.stats.Rejected[r]++
	}
}

// linkKind numbers the link types that are decoded.
type linkKind uint8

const (
	linkUnknown linkKind = iota
	linkEthernet
	linkRaw
	linkNull
	linkLoop
	linkPPP
	linkPPPoE
	linkCHDLC
	linkSLL
	linkSLL2
	linkFDDI
	linkNFLOG
)

// kindOf maps the link type numbers of capture files.
func kindOf(link uint32) linkKind {
	switch link {
	case 0:
		return linkNull
	case 1:
		return linkEthernet
	case 9, 50:
		return linkPPP
	case 10:
		return linkFDDI
	case 12, 14, 101, 228, 229:
		return linkRaw
	case 51:
		return linkPPPoE
	case 104:
		return linkCHDLC
	case 108:
		return linkLoop
	case 113:
		return linkSLL
	case 239:
		return linkNFLOG
	case 276:
		return linkSLL2
	}
	return linkUnknown
}

// maxTags is how many tags an Ethernet frame may have, more than any network
// puts on one.
const maxTags = 12

// Ethernet types.
const (
	etherIPv4      = 0x0800
	etherARP       = 0x0806
	etherRARP      = 0x8035
	etherVLAN      = 0x8100
	etherIPv6      = 0x86dd
	etherMPLS      = 0x8847
	etherMPLSMulti = 0x8848
	etherPPPoE     = 0x8864
	etherQinQ      = 0x88a8
	etherPBB       = 0x88e7
	etherVNTag     = 0x8926
	etherQinQOld   = 0x9100
	etherQinQOlder = 0x9200
	// etherTypes is where types begin; smaller values are 802.3 lengths.
	etherTypes = 0x0600
)

// link decodes the link layer's header.
func (d *decoder) link(rec *record) Reason {
	b, n, i := rec.data, rec.wire, rec.iface
	switch i.state {
	case ifaceUnknown:
		return UnknownInterface
	case ifaceNoFilter:
		d.filters.warn(i, "the filter does not apply to it")
		return FilterLink
	}
	if i.filter != nil && !i.filter.match(b, n) {
		return Filtered
	}
	switch i.link {
	case linkEthernet:
		return d.ethernet(b, n)
	case linkRaw:
		return d.ip(b, n)
	case linkNull, linkLoop:
		return d.null(b, n)
	case linkPPP:
		return d.pppSerial(b, n)
	case linkPPPoE:
		return d.pppoe(b, n)
	case linkCHDLC:
		if len(b) < 4 {
			return LinkHeader
		}
		return d.ether(binary.BigEndian.Uint16(b[2:]), b[4:], n-4)
	case linkSLL:
		if len(b) < 16 {
			return LinkHeader
		}
		return d.cooked(binary.BigEndian.Uint16(b[14:]), b[16:], n-16)
	case linkSLL2:
		if len(b) < 20 {
			return LinkHeader
		}
		return d.cooked(binary.BigEndian.Uint16(b), b[20:], n-20)
	case linkFDDI:
		if len(b) < 13 {
			return LinkHeader
		}
		return d.llc(b[13:], n-13)
	case linkNFLOG:
		return d.nflog(b, n)
	}
	d.filters.warn(i, "it is not supported")
	return LinkType
}

// ethernet decodes an Ethernet frame.
func (d *decoder) ethernet(b []byte, n int) Reason {
	if len(b) < 14 {
		return LinkHeader
	}
	t := binary.BigEndian.Uint16(b[12:])
	if t == etherIPv4 || t == etherIPv6 {
		return d.ip(b[14:], n-14)
	}
	return d.ether(t, b[14:], n-14)
}

// ether dispatches on an Ethernet type, through any stack of tags.
func (d *decoder) ether(t uint16, b []byte, n int) Reason {
	for range maxTags {
		skip := 0
		switch t {
		case etherIPv4, etherIPv6:
			return d.ip(b, n)
		case etherARP, etherRARP:
			return ARP
		case etherVLAN, etherQinQ, etherQinQOld, etherQinQOlder:
			if len(b) < 4 {
				return LinkHeader
			}
			d.vlan = binary.BigEndian.Uint16(b) & 0x0fff
			skip = 4
		case etherVNTag:
			skip = 6
		case etherPBB:
			skip = 18 // service id, two addresses, type
		case etherMPLS, etherMPLSMulti:
			return d.mpls(b, n)
		case etherPPPoE:
			return d.pppoe(b, n)
		default:
			if t >= etherTypes {
				return NotIP
			}
			if d.vlan != 0 && int(t) < n {
				n = int(t)
				end := min(n, len(b))
				b = b[:end:end]
			}
			return d.llc(b, n)
		}
		if len(b) < skip {
			return LinkHeader
		}
		t = binary.BigEndian.Uint16(b[skip-2:])
		b, n = b[skip:], n-skip
	}
	return LinkDepth
}

// llc decodes an 802.2 header, and SNAP.
func (d *decoder) llc(b []byte, n int) Reason {
	if len(b) < 3 {
		return LinkHeader
	}
	switch {
	case b[0] == 0xaa && b[1] == 0xaa:
		if len(b) < 8 {
			return LinkHeader
		}
		// Only these two organizations use Ethernet types.
		if org := [3]byte(b[3:]); org != [3]byte{} && org != [3]byte{0, 0, 0xf8} {
			return NotIP
		}
		if t := binary.BigEndian.Uint16(b[6:]); t >= etherTypes {
			return d.ether(t, b[8:], n-8)
		}
	case b[0] == 6 && b[1] == 6 && b[2] == 3:
		return d.ip(b[3:], n-3)
	}
	return NotIP
}

// cooked dispatches on the protocol of a Linux cooked header.
func (d *decoder) cooked(proto uint16, b []byte, n int) Reason {
	switch {
	case proto == 4:
		return d.llc(b, n)
	case proto < etherTypes:
		return NotIP
	}
	return d.ether(proto, b, n)
}

// null decodes the header of BSD loopback devices: an address family in the byte
// order of the host that captured.
func (d *decoder) null(b []byte, n int) Reason {
	if len(b) < 4 {
		return LinkHeader
	}
	family := binary.LittleEndian.Uint32(b)
	if family > 0xffff {
		family = binary.BigEndian.Uint32(b)
	}
	switch family {
	case 2, 10, 24, 28, 30: // AF_INET, and AF_INET6 of four systems
		return d.ip(b[4:], n-4)
	}
	return NotIP
}

// mpls pops labels; what is below has no type of its own.
func (d *decoder) mpls(b []byte, n int) Reason {
	for {
		if len(b) < 4 {
			return LinkHeader
		}
		bottom := b[2]&1 != 0
		b, n = b[4:], n-4
		if bottom {
			return d.ip(b, n)
		}
	}
}

// pppoe decodes a PPPoE session header.
func (d *decoder) pppoe(b []byte, n int) Reason {
	if len(b) < 8 {
		return LinkHeader
	}
	size := int(binary.BigEndian.Uint16(b[4:]))
	b, n = b[6:], min(n-6, size)
	if n < 2 {
		return LinkHeader
	}
	end := min(n, len(b))
	return d.pppProto(binary.BigEndian.Uint16(b), b[2:end:end], n-2)
}

// pppSerial decodes PPP as serial lines carry it, or Cisco's HDLC framing.
func (d *decoder) pppSerial(b []byte, n int) Reason {
	if len(b) >= 4 && (b[0] == 0x0f || b[0] == 0x8f) && b[1] == 0 {
		return d.ether(binary.BigEndian.Uint16(b[2:]), b[4:], n-4)
	}
	return d.ppp(b, n)
}

// ppp decodes a PPP frame: address and control may be left out, and the upper
// byte of the protocol too.
func (d *decoder) ppp(b []byte, n int) Reason {
	if len(b) >= 2 && b[0] == 0xff && b[1] == 3 {
		b, n = b[2:], n-2
	}
	switch {
	case len(b) >= 1 && b[0]&1 != 0:
		return d.pppProto(uint16(b[0]), b[1:], n-1)
	case len(b) >= 2:
		return d.pppProto(binary.BigEndian.Uint16(b), b[2:], n-2)
	}
	return LinkHeader
}

func (d *decoder) pppProto(proto uint16, b []byte, n int) Reason {
	switch proto {
	case 0x0021, 0x0057:
		return d.ip(b, n)
	case 0x0281, 0x0283:
		return d.mpls(b, n)
	}
	return NotIP
}

// nflog looks for the payload among the attributes of a netfilter log message.
func (d *decoder) nflog(b []byte, n int) Reason {
	if len(b) < 4 {
		return LinkHeader
	}
	if b[1] != 0 {
		return NotIP // an unknown version
	}
	for b, n = b[4:], n-4; len(b) >= 4; {
		// Lengths and types are in the byte order of the host that captured.
		size, kind := int(binary.LittleEndian.Uint16(b)), binary.LittleEndian.Uint16(b[2:])
		if kind&0x7fff > 0xff {
			size, kind = int(binary.BigEndian.Uint16(b)), binary.BigEndian.Uint16(b[2:])
		}
		if size < 4 {
			return LinkHeader
		}
		if kind&0x7fff == 9 {
			end := min(size, len(b))
			return d.ip(b[4:end:end], min(size, n)-4)
		}
		size = (size + 3) &^ 3
		if size > len(b) {
			break
		}
		b, n = b[size:], n-size
	}
	return LinkHeader
}
