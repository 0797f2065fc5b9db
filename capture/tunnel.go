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
// b is what was captured of n bytes of IP payload. p, with the outer addresses,
// is used again for the inner packet.
func (d *decoder) tunnel(p *flow.Packet, proto uint8, b []byte, n int) Reason {
	if d.depth == maxTunnels {
		return TunnelDepth
	}
	d.depth++
	d.parent = d.pairUID(p)
	switch proto {
	case flow.IPIP, flow.IPv6:
		if len(b) == 0 {
			return TruncatedIP
		}
		version := byte(4)
		if proto == flow.IPv6 {
			version = 6
		}
		if b[0]>>4 != version {
			return IPVersion
		}
		return d.ip(b, n)
	}
	return d.gre(b, n)
}

// pairUID returns the uid of a tunnel between the packet's addresses.
func (d *decoder) pairUID(p *flow.Packet) uint64 {
	end := func(a *flow.Addr) uint64 {
		h := flow.Mix(d.identity ^ binary.LittleEndian.Uint64(a[:8]))
		return flow.Mix(h ^ binary.LittleEndian.Uint64(a[8:]))
	}
	// 0 stands for no tunnel.
	return max(1, flow.Mix(end(&p.Src)+end(&p.Dst)^uint64(p.Proto)))
}

// GRE header flags and protocols.
const (
	greChecksum = 0x8000
	greRouting  = 0x4000
	greKey      = 0x2000
	greSequence = 0x1000
	greAck      = 0x0080
	greVersion  = 0x0007

	greAruba    = 0x8200 // to 0x82f0, each of which says where the frame came from
	greAruba3   = 0x8300 // to 0x8370
	greAruba9   = 0x9000
	grePPP      = 0x880b
	greEthernet = 0x6558
	greERSPAN   = 0x88be
	greERSPAN3  = 0x22eb
)

// gre opens GRE: version 0 with IP, Ethernet, ERSPAN or Aruba's 802.11 in it, and
// version 1, which PPTP uses for PPP.
func (d *decoder) gre(b []byte, n int) Reason {
	if len(b) < 4 {
		return TunnelHeader
	}
	flags, proto := binary.BigEndian.Uint16(b), binary.BigEndian.Uint16(b[2:])
	version := flags & greVersion
	if version > 1 || version == 1 && proto != grePPP {
		return TunnelHeader
	}
	at := 4
	if flags&(greChecksum|greRouting) != 0 {
		at += 4
	}
	if flags&greKey != 0 {
		at += 4
	}
	if flags&greSequence != 0 {
		at += 4
	}
	if version == 1 && flags&greAck != 0 {
		at += 4
	}
	if flags&greRouting != 0 {
		// Source routes, ended by an empty one.
		for {
			if at+4 > len(b) {
				return TunnelHeader
			}
			size := int(b[at+3])
			end := size == 0 && b[at] == 0 && b[at+1] == 0
			at += 4 + size
			if end {
				break
			}
		}
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
	b, n = b[at:], n-at
	switch proto {
	case etherIPv4, etherIPv6, etherMPLS, etherMPLSMulti:
		return d.ether(proto, b, n)
	case greEthernet:
		return d.ethernet(b, n)
	case grePPP:
		if r := d.ppp(b, n); r != NotIP {
			return r
		}
	}
	if isAruba(proto) {
		return d.wlan(b, n, false)
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
