// SPDX-License-Identifier: Apache-2.0

package capture

import (
	"encoding/binary"

	"weir/internal/flow"
)

// ip decodes an IP packet. b is what was captured of the n bytes that the frame,
// or the tunnel, had on the wire. The checks stand in Zeek's order, which decides
// the reason that a packet with several faults is counted under.
func (d *decoder) ip(b []byte, n int) Reason {
	if len(b) < 20 {
		return TruncatedIP
	}
	switch b[0] >> 4 {
	case 4:
		return d.ip4(b, n)
	case 6:
		return d.ip6(b, n)
	}
	return IPVersion
}

// ip4 decodes an IPv4 packet of which at least 20 bytes were captured.
func (d *decoder) ip4(b []byte, n int) Reason {
	_ = b[19]
	p := d.block.slot()
	hdr := int(b[0]&15) * 4
	total := int(binary.BigEndian.Uint16(b[2:]))
	p.IPLen = uint32(total)
	if total == 0 {
		if d.verify {
			return ZeroLength
		}
		// Segmentation offload: the length is filled in by the interface.
		total = len(b)
	}
	if n < total {
		return TruncatedIPLen
	}
	if hdr < 20 || hdr > total || hdr > len(b) {
		return IPHeaderLen
	}
	if len(b) > total {
		d.padding = len(b) - total
		b = b[:total:total]
	}
	if d.verify && !onesZero(onesSum(0, b[:hdr])) {
		return IPChecksum
	}
	binary.LittleEndian.PutUint64(p.Src[8:], 0xffff0000|uint64(binary.LittleEndian.Uint32(b[12:]))<<32)
	binary.LittleEndian.PutUint64(p.Dst[8:], 0xffff0000|uint64(binary.LittleEndian.Uint32(b[16:]))<<32)
	proto := b[9]
	frag := binary.BigEndian.Uint16(b[6:])
	if frag&0x3fff == 0 {
		return d.transport(p, proto, b[hdr:], total-hdr)
	}
	piece := fragment{
		key:   fragKey{src: p.Src, dst: p.Dst, id: uint32(binary.BigEndian.Uint16(b[4:]))},
		off:   int(frag&0x1fff) * 8,
		more:  frag&0x2000 != 0,
		data:  b[hdr:],
		size:  total - hdr,
		hdr:   hdr,
		proto: proto,
	}
	return d.fragment(p, &piece)
}

// ip6 decodes an IPv6 packet.
func (d *decoder) ip6(b []byte, n int) Reason {
	if len(b) < 40 {
		return TruncatedIP
	}
	total := 40 + int(binary.BigEndian.Uint16(b[4:]))
	if n < total {
		return TruncatedIPLen
	}
	if len(b) > total {
		d.padding = len(b) - total
		b = b[:total:total]
	}
	p := d.block.slot()
	p.IPLen = uint32(total)
	p.Src, p.Dst = flow.Addr(b[8:24]), flow.Addr(b[24:40])
	return d.ip6Chain(p, b[6], b[40:], total-40, 40)
}

// IPv6 extension headers.
const (
	extHopByHop    = 0
	extRouting     = 43
	extFragment    = 44
	extDestination = 60
	extMobility    = 135

	optHomeAddress = 0xc9
)

// ip6Chain follows the extension headers. b is what was captured of the n bytes
// that follow at bytes of headers. Of several home addresses or routing headers,
// which no sender should make, the first counts, as in Zeek.
func (d *decoder) ip6Chain(p *flow.Packet, next uint8, b []byte, n, at int) Reason {
	var home, routed bool
	for {
		unit, base := 8, 8
		switch next {
		case extHopByHop, extDestination, extRouting:
		case flow.AH:
			unit = 4
		case extFragment:
			unit = 0
		case flow.ESP:
			return IPv6ESP
		case extMobility:
			return Mobility
		default:
			return d.transport(p, next, b, n)
		}
		if n < 8 {
			return IPHeaderLen
		}
		if len(b) < 8 {
			return TruncatedIP
		}
		size := base + int(b[1])*unit
		if size > n {
			return IPHeaderLen
		}
		if size > len(b) {
			return TruncatedIP
		}
		ext := b[:size]
		switch next {
		case extDestination:
			home = home || homeAddress(p, ext)
		case extRouting:
			routed = routed || finalDestination(p, ext)
		case extFragment:
			frag := binary.BigEndian.Uint16(b[2:])
			if frag&0xfff9 == 0 {
				// An atomic fragment is a whole packet. Zeek counts it without
				// this header, as if it had been put together.
				if len(b) >= n {
					p.IPLen -= 8
				}
				at -= 8
				break
			}
			piece := fragment{
				key: fragKey{src: p.Src, dst: p.Dst, id: binary.BigEndian.Uint32(b[4:]), v6: true},
				off: int(frag &^ 7), more: frag&1 != 0,
				data: b[8:], size: n - 8, hdr: at, proto: b[0],
			}
			return d.fragment(p, &piece)
		}
		next = ext[0]
		b, n, at = b[size:], n-size, at+size
	}
}

// homeAddress takes the source from a home address option (mobile IPv6), if there
// is one.
func homeAddress(p *flow.Packet, ext []byte) bool {
	for b := ext[2:]; len(b) > 0; {
		if b[0] == 0 { // one byte of padding
			b = b[1:]
			continue
		}
		if len(b) < 2 || int(b[1])+2 > len(b) {
			return false
		}
		if b[0] == optHomeAddress && b[1] == 16 {
			p.Src = flow.Addr(b[2:18])
			return true
		}
		b = b[int(b[1])+2:]
	}
	return false
}

// finalDestination takes the destination from a routing header that still has
// stops to go, if it is one.
func finalDestination(p *flow.Packet, ext []byte) bool {
	words, kind, left := ext[1], ext[2], ext[3]
	if left == 0 || !(kind == 0 && words >= 2 && words%2 == 0 || kind == 2 && words == 2) {
		return false
	}
	p.Dst = flow.Addr(ext[len(ext)-16:])
	return true
}
