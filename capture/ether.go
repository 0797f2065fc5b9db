// SPDX-License-Identifier: Apache-2.0

package capture

import "encoding/binary"

// maxTags is how many tags an Ethernet frame may have, more than any network
// puts on one.
const maxTags = 12

// Ethernet types.
const (
	etherIPv4       = 0x0800
	etherARP        = 0x0806
	etherRARP       = 0x8035
	etherVLAN       = 0x8100
	etherIPv6       = 0x86dd
	etherMPLS       = 0x8847
	etherMPLSMulti  = 0x8848
	etherPPPoE      = 0x8864
	etherQinQ       = 0x88a8
	etherPBB        = 0x88e7
	etherFabricPath = 0x8903
	etherVNTag      = 0x8926
	etherQinQOld    = 0x9100
	etherQinQOlder  = 0x9200
	// etherTypes is where types begin; values up to maxLength are 802.3 lengths.
	etherTypes = 0x0600
	maxLength  = 1500
)

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
	tagged := false
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
			skip, tagged = 4, true
		case etherVNTag:
			skip = 6
		case etherPBB:
			skip, tagged = 18, false // service id, two addresses, type
		case etherMPLS, etherMPLSMulti:
			return d.mpls(b, n)
		case etherPPPoE:
			return d.pppoe(b, n)
		case etherFabricPath:
			skip, tagged = 16, false // tag, and the addresses and type of the frame inside
		default:
			return d.ieee8023(t, b, n, tagged)
		}
		if len(b) < skip {
			return LinkHeader
		}
		t = binary.BigEndian.Uint16(b[skip-2:])
		b, n = b[skip:], n-skip
	}
	return LinkDepth
}

// ieee8023 decodes what follows a length instead of a type. Frames that are cut are
// dropped, as by Zeek, but for those with VLAN tags, whose padding is cut.
func (d *decoder) ieee8023(length uint16, b []byte, n int, tagged bool) Reason {
	if length > maxLength {
		return NotIP
	}
	size := int(length)
	switch {
	case tagged:
		n = min(n, size)
		end := min(n, len(b))
		b = b[:end:end]
	case size > len(b):
		return LinkHeader
	}
	return d.llc(b, n)
}

// Bits and numbers of 802.2 headers, and of what can follow instead.
const (
	llcSNAP       = 0xaa
	llcIP         = 0x06
	llcISO        = 0xfe
	llcUnnumbered = 0x03

	snapBridged    = 0x0080c2
	snapBridgedFCS = 1 // Ethernet with its check sequence
	snapBridgedRaw = 7 // without

	nlpidSNAP = 0x80
	nlpidIPv6 = 0x8e
	nlpidIPv4 = 0xcc
	nlpidPPP  = 0xcf
)

// llc decodes an 802.2 header, and SNAP.
func (d *decoder) llc(b []byte, n int) Reason {
	if len(b) < 3 {
		return LinkHeader
	}
	if d.nested++; d.nested > maxNested {
		return LinkDepth
	}
	switch {
	case b[0] == llcSNAP && b[1] == llcSNAP:
		at := 3
		if b[2]&llcUnnumbered != llcUnnumbered {
			at = 4 // frames with numbers have two bytes of control
		}
		if len(b) < at {
			return LinkHeader
		}
		return d.snap(b[at:], n-at, 0)
	case b[0] == llcIP && b[1] == llcIP && b[2] == llcUnnumbered:
		return d.ip(b[3:], n-3)
	case b[0] == llcISO && b[1] == llcISO && b[2] == llcUnnumbered:
		return d.nlpid(b[3:], n-3)
	}
	return NotIP
}

// snap decodes a SNAP header: an organization and a type of its. An Ethernet
// frame that is bridged follows after some padding.
func (d *decoder) snap(b []byte, n, padding int) Reason {
	if len(b) < 5 {
		return LinkHeader
	}
	org, t := uint32(b[0])<<16|uint32(b[1])<<8|uint32(b[2]), binary.BigEndian.Uint16(b[3:])
	b, n = b[5:], n-5
	switch {
	case org == snapBridged && (t == snapBridgedFCS || t == snapBridgedRaw):
		return d.skipTo(linkEthernet, b, n, padding)
	case org != 0 && org != 0xf8: // only these two use Ethernet types
		return NotIP
	case t < etherTypes:
		return NotIP
	}
	return d.ether(t, b, n)
}

// nlpid dispatches on a network layer protocol identifier (ISO 9577).
func (d *decoder) nlpid(b []byte, n int) Reason {
	if len(b) < 1 {
		return LinkHeader
	}
	switch b[0] {
	case nlpidIPv4, nlpidIPv6:
		return d.ip(b[1:], n-1)
	case nlpidSNAP:
		return d.snap(b[1:], n-1, 0)
	case nlpidPPP:
		return d.ppp(b[1:], n-1)
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

// dsa decodes Ethernet with the tag that a Marvell switch inserts behind the
// addresses: its four bytes end where the type is, or come after a type of their
// own.
func (d *decoder) dsa(b []byte, n, at int) Reason {
	if len(b) < at+6 {
		return LinkHeader
	}
	if b[at]&0x20 != 0 { // the frame had a VLAN tag
		d.vlan = binary.BigEndian.Uint16(b[at+2:]) & 0x0fff
	}
	return d.ether(binary.BigEndian.Uint16(b[at+4:]), b[at+6:], n-at-6)
}

// broadcomTag decodes Ethernet with the tag of a Broadcom switch.
func (d *decoder) broadcomTag(b []byte, n int) Reason {
	if len(b) < 18 {
		return LinkHeader
	}
	return d.ether(binary.BigEndian.Uint16(b[16:]), b[18:], n-18)
}
