// SPDX-License-Identifier: Apache-2.0

package capture

import (
	"encoding/binary"

	"weir/internal/flow"
)

// mayCarry reports whether a UDP packet may belong to a connection with a tunnel
// in it: by its ports, by what its payload looks like, or since there are such
// connections on any port.
func (d *decoder) mayCarry(p *flow.Packet, payload []byte) bool {
	return tunnelPort(p.Dport) || tunnelPort(p.Sport) || d.carriers.detected > 0 ||
		len(payload) >= 3 && suspicious(payload) && detect(payload) != flow.NoCarrier
}

// suspicious says of most payloads that detect will find nothing, by their first
// two bytes.
func suspicious(b []byte) bool { return b[1] == 0x52 || b[0]>>4 == 6 || b[0] == 0 && b[1] <= 1 }

// detect returns the tunnel protocol that a UDP payload on any port looks like.
func detect(b []byte) flow.Carrier {
	switch {
	case len(b) < 3:
	case b[1] == 0x52 && b[2] == 0x11:
		return flow.AYIYA
	case b[0]>>4 == 6 || b[0] == 0 && b[1] <= 1:
		if likeTeredo(b) {
			return flow.Teredo
		}
	}
	return flow.NoCarrier
}

// likeTeredo tells by which payloads Zeek looks for Teredo where the port is
// another one: IPv6 with an address of Teredo's, or IPv6 behind an origin
// indication.
func likeTeredo(b []byte) bool {
	const prefix = 0x20010000
	if len(b) < 40 {
		return false
	}
	if b[0]>>4 == 6 && (binary.BigEndian.Uint32(b[8:]) == prefix || binary.BigEndian.Uint32(b[24:]) == prefix) {
		return true
	}
	if b[1] == 1 {
		size := 13 + int(b[2]) + int(b[3])
		if len(b) < size+40 {
			return false
		}
		if b = b[size:]; b[0] != 0 {
			return false
		}
	}
	return b[1] == 0 && len(b) >= 48 && b[8]>>4 == 6
}

// carrier delivers a UDP packet that may carry a tunnel, and then what is in it:
// packets of their own, whose tunnel is the UDP connection. payload is all that
// was captured behind the UDP header, whatever length that one claims.
func (d *decoder) carrier(p *flow.Packet, payload []byte) Reason {
	t := &d.carriers
	key := carrierKeyOf(p)
	i := t.find(&key, d.now)
	if i == none {
		if !tunnelPort(p.Sport) && !tunnelPort(p.Dport) && detect(payload) == flow.NoCarrier {
			d.deliver(p)
			return Delivered
		}
		p.Origin = d.origin // part of the uid
		var evicted bool
		if i, evicted = t.begin(&key, p, d.now); evicted {
			d.stats.Tunnels.Evicted++
		}
		p.Flags |= flow.Founder
	}
	d.stats.Tunnels.Connections = len(t.index)
	if p.Flags&flow.BadChecksum != 0 {
		d.deliver(p)
		return Delivered
	}
	t.touch(i, d.now)
	c := &t.all[i]
	in := d.unwrap(c, p, payload)
	d.deliver(p)
	if in.next != innerNone {
		d.inside(c.uid, &in)
	}
	return Delivered
}

// inner is what a tunnel over UDP carries.
type inner struct {
	data    []byte
	carrier flow.Carrier
	next    innerKind
	// pair is the uid by which GRE is known.
	pair uint64
}

// innerKind says how the content of a tunnel begins.
type innerKind uint8

const (
	innerNone innerKind = iota
	innerIP
	innerEthernet
	innerGRE
	innerARP
	innerOther
)

// inside decodes the content of a tunnel.
func (d *decoder) inside(uid uint64, in *inner) {
	d.depth++
	d.parent, d.via, d.vlan, d.carried, d.padding = uid, in.carrier, 0, true, 0
	b := in.data
	n := len(b) + d.missing
	r := TunnelPayload
	switch in.next {
	case innerIP:
		r = d.ip(b, n)
	case innerEthernet:
		r = d.ethernet(b, n)
	case innerARP:
		r = ARP
	case innerGRE:
		d.parent, d.missing = in.pair, 0
		r = d.gre(b, 0)
	}
	if r != Delivered {
		d.stats.Tunnels.Rejected[r]++
	}
}

// unwrap reads the header of the tunnel that a packet carries, if it does, and
// marks the packet.
func (d *decoder) unwrap(c *carrier, p *flow.Packet, b []byte) (in inner) {
	var kind flow.Carrier
	switch c.server {
	case portVXLAN:
		kind = flow.VXLAN
	case portGeneve:
		kind = flow.Geneve
	case portGTPUser, portGTPControl:
		return d.gtp(c, p, b)
	case portTeredo:
		kind = flow.Teredo
	case portAYIYA:
		kind = flow.AYIYA
	case portGRE:
		if d.depth == maxTunnels {
			d.stats.Tunnels.Rejected[TunnelDepth]++
			return inner{}
		}
		return inner{data: b, next: innerGRE, pair: d.pairUID(p)}
	default:
		if kind = detect(b); kind == flow.NoCarrier {
			return inner{}
		}
	}
	if c.violated>>kind&1 != 0 {
		return inner{}
	}
	if d.depth == maxTunnels {
		d.stats.Tunnels.Rejected[TunnelDepth]++
		p.Flags |= flow.TooDeep
		return inner{}
	}
	var valid bool
	switch kind {
	case flow.VXLAN:
		in, valid = vxlan(p, b)
	case flow.Geneve:
		in, valid = geneve(p, b)
	case flow.AYIYA:
		in, valid = ayiya(p, b)
	case flow.Teredo:
		in, valid = teredo(c, p, b)
	}
	if !valid {
		d.violation(c, kind)
	}
	in.carrier = kind
	return in
}

// likeVXLAN reports whether a UDP packet's payload may be VXLAN with an Ethernet
// frame in it: senders leave the checksum out, and others have to take that.
func likeVXLAN(p *flow.Packet, b []byte) bool {
	return p.Dport == portVXLAN && len(b) > 8+14 && b[0]&0x08 != 0
}

// violation notes that a payload is not of the protocol that it should be of.
func (d *decoder) violation(c *carrier, kind flow.Carrier) {
	c.violated |= 1 << kind
	d.stats.Tunnels.Invalid++
}

// vxlan, geneve, ayiya and teredo read a tunnel's header. They report whether it is
// one; what is valid may still hold nothing.
func vxlan(p *flow.Packet, b []byte) (in inner, valid bool) {
	if len(b) < 8 || b[0]&0x08 == 0 {
		return inner{}, false
	}
	p.Carries = flow.VXLAN
	if len(b) > 8 {
		in = inner{data: b[8:], next: innerEthernet}
	}
	return in, true
}

func geneve(p *flow.Packet, b []byte) (in inner, valid bool) {
	if len(b) < 8 {
		return inner{}, false
	}
	if b[0]>>6 != 0 {
		return inner{}, true // a later version is ignored
	}
	size := 8 + int(b[0]&0x3f)*4
	if len(b) < size {
		return inner{}, false
	}
	p.Carries = flow.Geneve
	if len(b) == size {
		return inner{}, true
	}
	in = inner{data: b[size:], next: innerOther}
	switch binary.BigEndian.Uint16(b[2:]) {
	case greEthernet:
		in.next = innerEthernet
	case etherIPv4, etherIPv6:
		in.next = innerIP
	case etherARP:
		in.next = innerARP
	}
	return in, true
}

func ayiya(p *flow.Packet, b []byte) (in inner, valid bool) {
	if len(b) < 8 {
		return inner{}, false
	}
	size := 8 + 1<<(b[0]>>4) + int(b[1]>>4)*4 // identity and signature
	if len(b) < size {
		return inner{}, false
	}
	if b[2]&15 != 1 {
		return inner{}, true // no packet to be forwarded
	}
	p.Carries = flow.AYIYA
	if len(b) == size {
		return inner{}, true
	}
	in = inner{data: b[size:], next: innerOther}
	if b[3] == flow.IPIP || b[3] == flow.IPv6 {
		in.next = innerIP
	}
	return in, true
}

func teredo(c *carrier, p *flow.Packet, b []byte) (in inner, valid bool) {
	if len(b) >= 2 && b[0] == 0 && b[1] == 1 { // authentication
		if len(b) < 4 {
			return inner{}, false
		}
		size := 4 + int(b[2]) + int(b[3]) + 9
		if len(b) < size {
			return inner{}, false
		}
		b = b[size:]
	}
	if len(b) >= 2 && b[0] == 0 && b[1] == 0 { // origin
		if len(b) < 8 {
			return inner{}, false
		}
		b = b[8:]
	}
	if len(b) < 40 || b[0]>>4 != 6 {
		return inner{}, false
	}
	size := 40 + int(binary.BigEndian.Uint16(b[4:]))
	bubble := b[6] == noNextHeader && size == 40
	if len(b) != size && !(bubble && len(b) > size) {
		return inner{}, false
	}
	// Zeek believes in Teredo once both ends have spoken it.
	way := uint8(1)
	if c.client != (endpoint{p.Src, p.Sport}) {
		way = 2
	}
	if c.teredo |= way; c.teredo == 3 {
		p.Carries = flow.Teredo
	}
	return inner{data: b, next: innerIP}, true
}

// gtp reads a GTP header. In contrast to the others Zeek goes on after payloads
// that are not valid; only the service is then not believed.
func (d *decoder) gtp(c *carrier, p *flow.Packet, b []byte) (in inner) {
	const (
		extended = 4
		optional = 7
		userData = 255
	)
	if len(b) < 8 {
		d.violation(c, flow.GTPv1)
		return inner{}
	}
	flags, message := b[0], b[1]
	size := 8
	if flags&optional != 0 {
		size += 4
	}
	if flags&extended != 0 {
		// Each has its length, in words, first, and the type of the next one last.
		for more := true; more; {
			if len(b) <= size || b[size] == 0 || len(b) < size+int(b[size])*4 {
				d.violation(c, flow.GTPv1)
				return inner{}
			}
			size += int(b[size]) * 4
			more = b[size-1] != 0
		}
	}
	if len(b) < size {
		d.violation(c, flow.GTPv1)
		return inner{}
	}
	switch {
	case d.depth == maxTunnels:
		d.stats.Tunnels.Rejected[TunnelDepth]++
		return inner{}
	case d.via == flow.GTPv1, flags>>5 != 1:
		// GTP is never carried by GTP.
		d.violation(c, flow.GTPv1)
		return inner{}
	case flags&0x10 == 0, message != userData:
		return inner{}
	}
	b = b[size:]
	if !wholeIP(b) {
		d.violation(c, flow.GTPv1)
		return inner{}
	}
	if c.violated>>flow.GTPv1&1 == 0 {
		p.Carries = flow.GTPv1
	}
	return inner{data: b, next: innerIP, carrier: flow.GTPv1}
}

// wholeIP reports whether b is an IP packet, by its length to the byte.
func wholeIP(b []byte) bool {
	if len(b) < 20 {
		return false
	}
	switch b[0] >> 4 {
	case 4:
		return len(b) == int(binary.BigEndian.Uint16(b[2:]))
	case 6:
		return len(b) == 40+int(binary.BigEndian.Uint16(b[4:]))
	}
	return false
}
