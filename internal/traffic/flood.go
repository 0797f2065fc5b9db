// SPDX-License-Identifier: Apache-2.0

package traffic

import "time"

// flood sends SYNs at even intervals, each from a source of its own.
type flood struct {
	sent, total int
	step        float64
	begin       int64
	packet      conn
}

const floodServers = 4

func (g *generator) startFlood(spec Spec) {
	total, span := spec.Connections, spec.Span
	if total == 0 {
		total = defaultConnections
	}
	if span == 0 {
		span = 10 * time.Second
	}
	f := &flood{total: total, step: float64(span) / float64(total), begin: g.now}
	attacker := newHost(10, 0, 1, 44)
	f.packet.proto = protoTCP
	f.packet.side[client] = side{mac: attacker.mac, ttl: attacker.ttl}
	g.add(g.now, f)
}

// next implements source.
func (f *flood) next(g *generator) (int64, bool) {
	if f.sent == f.total {
		return 0, false
	}
	n := uint64(f.sent)
	f.sent++
	// Spread the number over 24 bits of address and 15 of port, one to one:
	// multiplication by an odd number and a shifted xor can both be undone.
	const mask = 1<<39 - 1
	id := n * 0x5_851f_42d4_c957 & mask
	id ^= id >> 20
	id = id * 0x2_545f_4914_f6cd & mask
	c := &f.packet
	copy(c.side[client].ip[:], []byte{10, byte(id >> 16), byte(id >> 8), byte(id)})
	c.side[client].port = firstPort + uint16(id>>24)
	to := newHost(192, 0, int(n%floodServers)+1, 64)
	c.side[server] = side{mac: to.mac, ttl: to.ttl, port: 80}
	copy(c.side[server].ip[:], []byte{192, 0, 2, byte(n%floodServers) + 1})
	if n/floodServers%2 == 1 {
		c.side[server].port = 443
	}
	c.sumAddresses()
	g.sendTCP(c, client, syn, g.rng.Uint32())
	g.totals.Connections[ClassScan]++
	g.totals.TCP++
	return f.begin + int64(float64(f.sent)*f.step), true
}

// openings establishes connections at even intervals and leaves them open.
type openings struct {
	left  int
	begin int64
	total int
	span  time.Duration
	sites []host
	from  []host
}

func (g *generator) startConcurrent(spec Spec) {
	o := &openings{total: spec.Connections, span: spec.Span, begin: g.now}
	if o.total == 0 {
		o.total = defaultConnections
	}
	if o.span == 0 {
		o.span = 20 * time.Second
	}
	o.left = o.total
	for i := range o.total/(lastPort-firstPort) + 1 {
		o.from = append(o.from, newHost(10, 0, i+1, 64))
	}
	for i := range floodServers {
		h := newHost(192, 0, i+1, 64)
		h.v4 = [4]byte{192, 0, 2, byte(i + 1)}
		o.sites = append(o.sites, h)
	}
	g.add(g.now, o)
}

// next implements source.
func (o *openings) next(g *generator) (int64, bool) {
	if o.left == 0 {
		return 0, false
	}
	o.left--
	done := o.total - o.left
	k := g.connect(&o.from[done%len(o.from)], &o.sites[done%len(o.sites)], protoTCP, 443, false)
	k.end = staysOpen
	g.start(k, ClassBulk)
	return o.begin + int64(float64(done)/float64(o.total)*float64(o.span)), true
}
