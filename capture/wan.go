// SPDX-License-Identifier: Apache-2.0

package capture

import "encoding/binary"

// Protocols of PPP.
const (
	pppIPv4      = 0x0021
	pppIPv6      = 0x0057
	pppMPLS      = 0x0281
	pppMPLSMulti = 0x0283
)

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

// pppHDLC decodes PPP as serial lines carry it, or Cisco's HDLC framing.
func (d *decoder) pppHDLC(b []byte, n int) Reason {
	if len(b) >= 4 && (b[0] == 0x0f || b[0] == 0x8f) && b[1] == 0 {
		return d.chdlc(b, n)
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
	case pppIPv4, pppIPv6:
		return d.ip(b, n)
	case pppMPLS, pppMPLSMulti:
		return d.mpls(b, n)
	}
	return NotIP
}

// pppd decodes PPP as a kernel hands it to a daemon: the address's byte tells the
// direction.
func (d *decoder) pppd(b []byte, n int) Reason {
	if len(b) < 4 {
		return LinkHeader
	}
	return d.pppProto(binary.BigEndian.Uint16(b[2:]), b[4:], n-4)
}

// pppBSDOS decodes PPP of BSD/OS, which has the protocol in a header of its own.
func (d *decoder) pppBSDOS(b []byte, n int) Reason {
	if len(b) < 24 {
		return LinkHeader
	}
	return d.pppProto(binary.BigEndian.Uint16(b[5:]), b[24:], n-24)
}

// withDirection decodes frames after a byte that tells the direction.
func (d *decoder) withDirection(kind linkKind, b []byte, n int) Reason {
	switch kind {
	case linkPPPDirection:
		kind = linkPPP
	case linkCHDLCDirection:
		kind = linkCHDLC
	case linkFrameRelayDirection:
		kind = linkFrameRelay
	}
	return d.skipTo(kind, b, n, 1)
}

// chdlc decodes Cisco's HDLC framing.
func (d *decoder) chdlc(b []byte, n int) Reason {
	if len(b) < 4 {
		return LinkHeader
	}
	t := binary.BigEndian.Uint16(b[2:])
	if t < etherTypes {
		return NotIP
	}
	return d.ether(t, b[4:], n-4)
}

// frameRelay decodes frame relay: an address of two to four bytes, then the
// encapsulation of RFC 2427, or Cisco's, which is an Ethernet type.
func (d *decoder) frameRelay(b []byte, n int) Reason {
	at := 0
	for end := false; !end; at++ {
		if at == 4 || at == len(b) {
			return LinkHeader
		}
		end = b[at]&1 != 0
	}
	if at < 2 || len(b) < at+2 {
		return LinkHeader
	}
	if dlci := uint16(b[0]>>2)<<4 | uint16(b[1]>>4); at == 2 && (dlci == 0 || dlci == 1023) {
		return LinkControl // the state of the line
	}
	b, n = b[at:], n-at
	if b[0] == llcUnnumbered {
		b, n = b[1:], n-1
		if b[0] == 0 { // padding
			b, n = b[1:], n-1
		}
		return d.nlpid(b, n)
	}
	if t := binary.BigEndian.Uint16(b); t >= etherTypes {
		return d.ether(t, b[2:], n-2)
	}
	return NotIP
}

// multilinkFrameRelay decodes FRF.16. Only frames that came as one piece can be
// decoded.
func (d *decoder) multilinkFrameRelay(b []byte, n int) Reason {
	const begin, end, control = 0x80, 0x40, 0x20
	if len(b) < 2 {
		return LinkHeader
	}
	switch {
	case b[0]&control != 0:
		return LinkControl
	case b[0]&(begin|end) != begin|end:
		return Fragment
	}
	return d.frameRelay(b[2:], n-2)
}

// atm decodes an 802.2 header as ATM carries it (RFC 2684), where bridged frames
// have padding.
func (d *decoder) atm(b []byte, n int) Reason {
	if len(b) >= 3 && b[0] == llcSNAP && b[1] == llcSNAP && b[2] == llcUnnumbered {
		return d.snap(b[3:], n-3, 2)
	}
	return d.llc(b, n)
}

// sunATM decodes the header of SunATM devices.
func (d *decoder) sunATM(b []byte, n int) Reason {
	const lane, llc = 1, 2
	if len(b) < 4 {
		return LinkHeader
	}
	switch b[0] & 0x0f {
	case lane:
		return d.skipTo(linkEthernet, b[4:], n-4, 2)
	case llc:
		return d.atm(b[4:], n-4)
	}
	return LinkControl
}
