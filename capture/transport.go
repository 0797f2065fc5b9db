// SPDX-License-Identifier: Apache-2.0

package capture

import (
	"encoding/binary"

	"weir/internal/flow"
)

// transport decodes what follows the IP headers, whose addresses and IPLen are
// already in p. b is what was captured of the n bytes that the IP length leaves.
func (d *decoder) transport(p *flow.Packet, proto uint8, b []byte, n int) Reason {
	p.Proto = proto
	if len(b) < n {
		p.Flags |= flow.Truncated
	}
	seg := b
	switch proto {
	case flow.TCP:
		if n < 20 {
			return TruncatedHeader
		}
		if len(b) < 20 {
			return CapturedHeader
		}
		p.Sport = binary.BigEndian.Uint16(b)
		p.Dport = binary.BigEndian.Uint16(b[2:])
		p.Seq = binary.BigEndian.Uint32(b[4:])
		p.Ack = binary.BigEndian.Uint32(b[8:])
		p.TCPFlags = b[13]
		p.Window = binary.BigEndian.Uint16(b[14:])
		hdr := int(b[12]>>4) * 4
		if hdr < 20 || hdr > n || hdr > len(b) {
			p.Flags |= flow.BadHeader
			seg = nil
			break
		}
		if p.TCPFlags&flow.SYN != 0 && hdr > 20 {
			windowScale(p, b[20:hdr])
		}
		p.PayloadLen = uint32(n - hdr)
		p.Payload = b[hdr:len(b):len(b)]
	case flow.UDP:
		if n < 8 {
			return TruncatedHeader
		}
		if len(b) < 8 {
			return CapturedHeader
		}
		p.Sport = binary.BigEndian.Uint16(b)
		p.Dport = binary.BigEndian.Uint16(b[2:])
		size := int(binary.BigEndian.Uint16(b[4:]))
		p.PayloadLen = uint32(max(size, 8) - 8)
		end := max(8, min(size, len(b)))
		p.Payload = b[8:end:end]
	case flow.ICMP, flow.ICMPv6:
		if n < 8 {
			return TruncatedHeader
		}
		if len(b) < 8 {
			return CapturedHeader
		}
		p.Code = b[1]
		p.Sport = uint16(b[0])
		p.Dport, p.OneWay = counterpart(proto, b[0], b[1])
		p.PayloadLen = uint32(n - 8)
		p.Payload = b[8:len(b):len(b)]
	case flow.IPIP, flow.IPv6, flow.GRE:
		return d.tunnel(p, proto, b)
	case noNextHeader:
		return NoNextHeader
	default:
		p.PayloadLen = uint32(n)
		p.Payload = b
	}
	if d.verify && len(seg) == n && !checksumOK(p, seg) {
		p.Flags |= flow.BadChecksum
	}
	if proto == flow.UDP && d.mayCarry(p, b[8:]) {
		return d.carrier(p, b[8:len(b):len(b)])
	}
	d.deliver(p)
	return Delivered
}

const noNextHeader = 59

// deliver completes a packet and counts it in.
func (d *decoder) deliver(p *flow.Packet) {
	p.TS, p.Now = d.ts, d.now
	p.Origin = d.origin
	p.VLAN = d.vlan
	p.Hash = d.hash.sum(p)
	if p.Tunnel = d.parent; p.Tunnel != 0 {
		d.stats.Tunneled++
	}
	if d.carried {
		d.stats.Tunnels.Inner++
	} else {
		d.stats.Delivered++
	}
	d.block.commit(p)
}

// windowScale looks for the option in a SYN's options.
func windowScale(p *flow.Packet, b []byte) {
	for len(b) > 0 {
		switch b[0] {
		case 0:
			return
		case 1:
			b = b[1:]
			continue
		}
		if len(b) < 2 || b[1] < 2 || int(b[1]) > len(b) {
			return
		}
		if b[0] == 3 && b[1] == 3 {
			// RFC 7323: larger shifts are used as 14.
			p.WScale = min(b[2], 14)
			p.Flags |= flow.HasWScale
			return
		}
		b = b[b[1]:]
	}
}

// counterpart returns the ICMP type that answers a type, or for one-way messages
// the code.
func counterpart(proto, kind, code uint8) (other uint16, oneWay bool) {
	if proto == flow.ICMP {
		switch kind {
		case 8:
			return 0, false
		case 0:
			return 8, false
		case 13, 15, 17:
			return uint16(kind) + 1, false
		case 14, 16, 18:
			return uint16(kind) - 1, false
		case 10:
			return 9, false
		case 9:
			return 10, false
		}
		return uint16(code), true
	}
	switch kind {
	case 128, 133, 135, 139, 144:
		return uint16(kind) + 1, false
	case 129, 134, 136, 140, 145:
		return uint16(kind) - 1, false
	case 130:
		return 131, false
	case 131:
		return 130, false
	}
	return uint16(code), true
}
