// SPDX-License-Identifier: Apache-2.0

package capture

import (
	"encoding/binary"

	"weir/internal/flow"
)

// maxTunnels is how many tunnels in each other are opened.
const maxTunnels = 4

// tunnel opens the tunnel protocols that IP carries directly. The outer packet
// gives no packet of its own; the inner one names the tunnel by a uid made of
// the unordered pair of outer addresses, since there is no connection to name.
//
// b is what was captured of the IP payload. p, with the outer addresses, is used
// again for the inner packet.
func (d *decoder) tunnel(p *flow.Packet, proto uint8, b []byte) Reason {
	if d.depth == maxTunnels {
		return TunnelDepth
	}
	d.depth++
	d.parent, d.via = d.pairUID(p), flow.NoCarrier
	padding := d.padding
	// What is inside counts as captured whole, however long the frame was, and has
	// its own tags or none.
	d.padding, d.missing, d.vlan = 0, 0, 0
	switch proto {
	case flow.IPIP:
		return d.exactIP(4, b, padding)
	case flow.IPv6:
		return d.exactIP(6, b, padding)
	}
	return d.gre(b, padding)
}

// exactIP decodes an IP packet that must fill a tunnel to the byte, the padding of
// the frame included, as Zeek wants it of IP in IP and of PPTP.
func (d *decoder) exactIP(version byte, b []byte, padding int) Reason {
	if len(b) == 0 {
		return TruncatedIP
	}
	if b[0]>>4 != version {
		return IPVersion
	}
	if !wholeIP(b) || padding > 0 {
		return TunnelLength
	}
	return d.ip(b, len(b))
}

// pairUID returns the uid of a tunnel between the packet's addresses.
func (d *decoder) pairUID(p *flow.Packet) uint64 {
	end := func(a *flow.Addr) uint64 {
		h := flow.Mix(d.identity ^ binary.LittleEndian.Uint64(a[:8]))
		return flow.Mix(h ^ binary.LittleEndian.Uint64(a[8:]))
	}
	// 0 stands for no tunnel.
	return max(1, flow.Mix(end(&p.Src)+end(&p.Dst)))
}

// GRE header flags and protocols.
const (
	greChecksum = 0x8000
	greRouting  = 0x4000
	greKey      = 0x2000
	greSequence = 0x1000
	greAck      = 0x0080
	greVersion  = 0x0007
	greReserved = 0x0078

	greAruba    = 0x8200 // to 0x82f0, each of which says where the frame came from
	greAruba3   = 0x8300 // to 0x8370
	greAruba9   = 0x9000
	grePPP      = 0x880b
	greEthernet = 0x6558
	greWCCP     = 0x883e
	greERSPAN   = 0x88be
	greERSPAN3  = 0x22eb
)

// gre opens GRE: version 0 with IP, MPLS, Ethernet, ERSPAN, what WCCP redirects or
// Aruba's 802.11 in it, and version 1, which PPTP uses for PPP. Source routes, which
// are long obsolete, are not followed. As Zeek does, what looks like IP is taken for
// that whatever the protocol's number, since vendors use their own.
func (d *decoder) gre(b []byte, padding int) Reason {
	if len(b) < 4 {
		return TunnelHeader
	}
	flags, proto := binary.BigEndian.Uint16(b), binary.BigEndian.Uint16(b[2:])
	version := flags & greVersion
	if version > 1 || version == 1 && proto != grePPP || flags&(greRouting|greReserved) != 0 {
		return TunnelHeader
	}
	at := 4
	for _, field := range [...]uint16{greChecksum, greKey, greSequence, greAck} {
		if flags&field != 0 {
			at += 4
		}
	}
	if version == 1 {
		return d.pptp(b, at, padding)
	}
	switch proto {
	case greERSPAN:
		if flags&greSequence != 0 { // type II; type I has no header
			at += 8
		}
		proto = greEthernet
	case greERSPAN3:
		if at+12 > len(b) {
			return TunnelHeader
		}
		if b[at+11]&1 != 0 { // a platform specific subheader follows
			at += 8
		}
		at += 12
		proto = greEthernet
	}
	if at > len(b) {
		return TunnelHeader
	}
	b = b[at:]
	switch proto {
	case etherIPv4, etherIPv6, etherMPLS, etherMPLSMulti:
		return d.ether(proto, b, len(b))
	case greEthernet:
		return d.ethernet(b, len(b))
	}
	if proto == greWCCP {
		// Version 2 has a header, which cannot be mistaken for that of IPv4.
		if len(b) >= 4 && b[0]>>4 != 4 {
			b = b[4:]
		}
		return d.ip(b, len(b))
	}
	if isAruba(proto) {
		return d.wlan(b, len(b), false)
	}
	if len(b) > 0 && (b[0]>>4 == 4 || b[0]>>4 == 6) {
		return d.ip(b, len(b))
	}
	return TunnelPayload
}

// pptp opens a PPP frame behind the GRE header, which ends at byte at. Only
// frames with address, control and a protocol of two bytes are known.
func (d *decoder) pptp(b []byte, at, padding int) Reason {
	if len(b) < at+4 {
		return TunnelHeader
	}
	switch binary.BigEndian.Uint16(b[at+2:]) {
	case pppIPv4:
		return d.exactIP(4, b[at+4:], padding)
	case pppIPv6:
		return d.exactIP(6, b[at+4:], padding)
	}
	return TunnelPayload
}

// isAruba reports whether a GRE protocol is one with which Aruba's access points
// send 802.11 frames.
func isAruba(proto uint16) bool {
	if proto&0x0f != 0 {
		return false
	}
	return proto&0xff00 == greAruba || proto >= greAruba3 && proto <= greAruba3+0x70 || proto == greAruba9
}
