// SPDX-License-Identifier: Apache-2.0

package capture

import "encoding/binary"

// fddi decodes a frame of FDDI.
func (d *decoder) fddi(b []byte, n int) Reason {
	if len(b) < 13 {
		return LinkHeader
	}
	return d.llc(b[13:], n-13)
}

// tokenRing decodes a frame of token ring, whose source address tells whether a
// route follows.
func (d *decoder) tokenRing(b []byte, n int) Reason {
	if len(b) < 15 {
		return LinkHeader
	}
	at := 14
	if b[8]&0x80 != 0 {
		at += int(b[14] & 0x1f)
	}
	if at > len(b) {
		return LinkHeader
	}
	return d.llc(b[at:], n-at)
}

// Types of ARCnet frames.
const (
	arcIPv6    = 196
	arcIP      = 212
	arcARP     = 213
	arcOldIP   = 240
	arcOldARP  = 241
	arcRARP    = 247
	arcTooLong = 0xff // as flag: the packet's size is one that frames cannot have
)

// arcnet decodes a frame of ARCnet (RFC 1201), whose type is at an offset that
// depends on the system.
func (d *decoder) arcnet(b []byte, n, at int) Reason {
	if len(b) < at+1 {
		return LinkHeader
	}
	switch b[at] {
	case arcARP, arcOldARP, arcRARP:
		return ARP
	case arcOldIP:
		return d.ip(b[at+1:], n-at-1)
	case arcIP, arcIPv6:
	default:
		return NotIP
	}
	if len(b) < at+8 {
		return LinkHeader
	}
	flag := b[at+1]
	if flag == arcTooLong {
		at += 4
		flag = b[at+1]
	}
	if flag != 0 {
		return Fragment
	}
	return d.ip(b[at+4:], n-at-4)
}

// ieee1394 decodes IP over FireWire as Darwin writes it.
func (d *decoder) ieee1394(b []byte, n int) Reason {
	if len(b) < 18 {
		return LinkHeader
	}
	return d.chdlc(b[14:], n-14)
}

// fibreChannel decodes IP over fibre channel (RFC 2625).
func (d *decoder) fibreChannel(b []byte, n int) Reason {
	if len(b) < 16 {
		return LinkHeader
	}
	return d.llc(b[16:], n-16)
}

// infiniBand decodes IP over InfiniBand behind a global route header.
func (d *decoder) infiniBand(b []byte, n int) Reason {
	if len(b) < 44 {
		return LinkHeader
	}
	t := binary.BigEndian.Uint16(b[40:])
	if t < etherTypes {
		return NotIP
	}
	return d.ether(t, b[44:], n-44)
}
