// SPDX-License-Identifier: Apache-2.0

package capture

import "encoding/binary"

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

// sll decodes a Linux cooked header.
func (d *decoder) sll(b []byte, n int) Reason {
	if len(b) < 16 {
		return LinkHeader
	}
	return d.cooked(binary.BigEndian.Uint16(b[14:]), b[16:], n-16)
}

// sll2 decodes a Linux cooked header of version 2.
func (d *decoder) sll2(b []byte, n int) Reason {
	if len(b) < 20 {
		return LinkHeader
	}
	return d.cooked(binary.BigEndian.Uint16(b), b[20:], n-20)
}

// null decodes the header of BSD loopback devices: an address family in the byte
// order of the host that captured.
func (d *decoder) null(b []byte, n int) Reason {
	if len(b) < 4 {
		return LinkHeader
	}
	family := hostOrder(b)
	return d.family(family, b[4:], n-4)
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

// hostOrder returns a small number in the byte order of the host that captured.
func hostOrder(b []byte) uint32 {
	if v := binary.LittleEndian.Uint32(b); v <= 0xffff {
		return v
	}
	return binary.BigEndian.Uint32(b)
}

// family dispatches on an address family, of whatever system.
func (d *decoder) family(family uint32, b []byte, n int) Reason {
	switch family {
	case 2, 10, 24, 26, 28, 30: // AF_INET, and AF_INET6 of Linux, BSDs and Solaris
		return d.ip(b, n)
	}
	return NotIP
}

// pflog decodes the header of logs of BSD's packet filter.
func (d *decoder) pflog(b []byte, n int) Reason {
	if len(b) < 4 {
		return LinkHeader
	}
	size := (int(b[0]) + 3) &^ 3
	if size < 4 || size > len(b) {
		return LinkHeader
	}
	return d.family(uint32(b[1]), b[size:], n-size)
}

// enc decodes the header of OpenBSD's device that shows what IPsec carries.
func (d *decoder) enc(b []byte, n int) Reason {
	if len(b) < 12 {
		return LinkHeader
	}
	return d.family(hostOrder(b), b[12:], n-12)
}

// ipnet decodes the header of Solaris' IP devices.
func (d *decoder) ipnet(b []byte, n int) Reason {
	if len(b) < 24 {
		return LinkHeader
	}
	return d.family(uint32(b[1]), b[24:], n-24)
}

// pktap decodes the header of Darwin, which names the link type of what follows.
func (d *decoder) pktap(b []byte, n int) Reason {
	const packet = 1
	if len(b) < 12 {
		return LinkHeader
	}
	size := binary.LittleEndian.Uint32(b)
	if size < 12 || uint64(size) > uint64(len(b)) {
		return LinkHeader
	}
	if binary.LittleEndian.Uint32(b[4:]) != packet {
		return LinkControl
	}
	return d.named(binary.LittleEndian.Uint32(b[8:]), b[size:], n-int(size))
}

// juniperEther decodes the header of Juniper's routers. What the router itself
// sends has no Ethernet header.
func (d *decoder) juniperEther(b []byte, n int) Reason {
	const noLink, extended = 0x02, 0x80
	if len(b) < 6 || b[0] != 'M' || b[1] != 'G' || b[2] != 'C' {
		return LinkHeader
	}
	flags, at := b[3], 4
	if flags&extended != 0 {
		at += 2 + int(binary.BigEndian.Uint16(b[4:]))
	}
	if flags&noLink != 0 {
		return d.skipTo(linkRaw, b, n, at+4)
	}
	return d.skipTo(linkEthernet, b, n, at)
}
