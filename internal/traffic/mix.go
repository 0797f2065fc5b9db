// SPDX-License-Identifier: Apache-2.0

package traffic

import (
	"encoding/binary"
	"time"
)

const (
	defaultPackets     = 4_000_000
	packetsPerConn     = 15.4
	defaultSpan        = 80 * time.Second
	shortestSpan       = 20 * time.Second
	defaultConnections = 1_000_000
)

// arrivals starts connections at random times until enough have begun.
type arrivals struct {
	left int
	mean float64 // time between two
}

// startMix prepares the mix.
func (g *generator) startMix(spec Spec) {
	packets := spec.Packets
	if packets == 0 {
		packets = defaultPackets
	}
	n := max(1, int(float64(packets)/packetsPerConn))
	span := spec.Span
	if span == 0 {
		span = max(shortestSpan, time.Duration(float64(defaultSpan)*float64(packets)/defaultPackets))
	}
	g.corpus = newCorpus(g.rng)
	g.hosts = newPopulation(g.rng, n)
	g.certs = map[string][]byte{}
	g.add(g.now, &arrivals{left: n, mean: float64(span) / float64(n)})
}

// next implements source.
func (a *arrivals) next(g *generator) (int64, bool) {
	if a.left == 0 {
		return 0, false
	}
	a.left--
	switch p := g.rng.Float64(); {
	case p < 0.35:
		g.mixDNS()
	case p < 0.55:
		g.mixHTTP()
	case p < 0.70:
		g.mixTLS()
	case p < 0.85:
		g.mixScan()
	case p < 0.90:
		g.mixICMP()
	case p < 0.9996:
		g.mixUDP()
	default:
		g.mixBulk()
	}
	return g.now + int64(g.rng.ExpFloat64()*a.mean), true
}

// scan starts one probe of a port scan.
func (g *generator) scan(from, to *host, port uint16, v6 bool) {
	k := g.connect(from, to, protoTCP, port, v6)
	switch p := g.rng.Float64(); {
	case p < 0.40:
		k.end = refused
	case p < 0.95:
		k.end = ignored
	default:
		k.end = halfOpen
	}
	g.start(k, ClassScan)
}

func (g *generator) mixScan() {
	ports := [...]uint16{21, 22, 23, 25, 80, 110, 139, 143, 443, 445, 1433, 3306, 3389, 5432, 5900, 6379, 8080, 8443, 9200, 27017}
	from := &g.hosts.scanners[g.rng.IntN(len(g.hosts.scanners))]
	to := &g.hosts.clients[g.rng.IntN(len(g.hosts.clients))]
	g.scan(from, to, ports[g.rng.IntN(len(ports))], g.chance(v6Share))
}

// echo starts n echo requests, a second apart.
func (g *generator) echo(c, target *host, v6 bool, n int, answered bool) {
	proto, request, answer := uint8(protoICMP), uint8(8), uint8(0)
	if v6 {
		proto, request, answer = protoICMPv6, 128, 129
	}
	k := g.connect(c, target, proto, 0, v6)
	data := append([]byte(nil), g.corpus.randomOf(g.rng, 56)...)
	for i := range n {
		wait := int64(time.Second) - k.rtt
		if i == 0 {
			wait = 0
		}
		if !answered {
			wait += k.rtt
		}
		k.writes = append(k.writes, write{from: client, wait: wait, data: data, kind: request})
		if answered {
			k.writes = append(k.writes, write{from: server, wait: k.rtt, data: data, kind: answer})
		}
	}
	g.start(k, ClassICMP)
}

// mixICMP starts an echo exchange, or a datagram to a closed port, which makes
// two connections: the datagram's and the unreachable message's.
func (g *generator) mixICMP() {
	c := g.hosts.client(g)
	target := c.target()
	v6 := g.chance(v6Share)
	if g.chance(0.85) {
		g.echo(c, &target, v6, g.between(2, 10), g.chance(0.92))
		return
	}
	probe := g.connect(c, &target, protoUDP, uint16(g.between(33434, 33523)), v6)
	probe.say(client, 0, opaque(g.corpus.randomOf(g.rng, 32)))
	g.start(probe, ClassUDP)

	proto, kind, code := uint8(protoICMP), uint8(3), uint8(3)
	if v6 {
		proto, kind, code = protoICMPv6, 1, 4
	}
	message := g.connect(&target, c, proto, 0, v6)
	message.writes = []write{{from: client, data: probe.cited(), kind: kind, code: code}}
	g.totals.Connections[ClassICMP]++
	g.add(g.now+message.rtt, message)
}

// cited returns the beginning of c's first packet as an ICMP error cites it.
func (c *conn) cited() []byte {
	data := c.writes[0].data
	udp := make([]byte, 8+len(data))
	binary.BigEndian.PutUint16(udp[0:], c.side[client].port)
	binary.BigEndian.PutUint16(udp[2:], c.side[server].port)
	binary.BigEndian.PutUint16(udp[4:], uint16(len(udp)))
	copy(udp[8:], data)
	finish(udp, 6, c.pseudo(protoUDP, len(udp)))
	if c.v6 {
		h := make([]byte, 40, 40+len(udp))
		binary.BigEndian.PutUint32(h, 6<<28|c.label)
		binary.BigEndian.PutUint16(h[4:], uint16(len(udp)))
		h[6], h[7] = protoUDP, c.side[client].ttl
		copy(h[8:], c.side[client].ip[:])
		copy(h[24:], c.side[server].ip[:])
		return append(h, udp...)
	}
	h := make([]byte, 20, 28)
	h[0], h[6], h[8], h[9] = 0x45, 0x40, c.side[client].ttl, protoUDP
	binary.BigEndian.PutUint16(h[2:], uint16(20+len(udp)))
	copy(h[12:], c.side[client].ip[:4])
	copy(h[16:], c.side[server].ip[:4])
	binary.BigEndian.PutUint16(h[10:], ^onesSum(h, 0))
	return append(h, udp[:8]...)
}

// opaque returns a copy of b that nothing takes for a protocol it knows: read
// as DNS, for one, it would have 65,535 questions.
func opaque(b []byte) []byte {
	o := append([]byte(nil), b...)
	for i := 0; i < len(o) && i < 12; i++ {
		o[i] = 0xff
	}
	return o
}

// mixUDP starts an exchange of NTP, or of something unknown.
func (g *generator) mixUDP() {
	c, s := g.hosts.client(g), g.hosts.site()
	v6 := g.chance(v6Share)
	if g.chance(0.3) {
		g.ntp(c, &s.host, v6)
		return
	}
	ports := [...]uint16{443, 6881, 27015, 34197, 51820, 40001}
	k := g.connect(c, &s.host, protoUDP, ports[g.rng.IntN(len(ports))], v6)
	for range g.between(2, 16) {
		from := client
		size := g.between(20, 400)
		if g.chance(0.55) && len(k.writes) > 0 {
			from, size = server, g.between(40, 1350)
		}
		k.say(from, g.wait(time.Millisecond, 900*time.Millisecond), opaque(g.corpus.randomOf(g.rng, size)))
	}
	g.start(k, ClassUDP)
}

// ntp starts an NTP exchange.
func (g *generator) ntp(c, s *host, v6 bool) {
	k := g.connect(c, s, protoUDP, 123, v6)
	request, reply := make([]byte, 48), make([]byte, 48)
	request[0] = 0x23 // version 4, client
	copy(request[40:], g.corpus.randomOf(g.rng, 8))
	copy(reply, []byte{0x24, 2, 6, 0xe9})
	copy(reply[16:], g.corpus.randomOf(g.rng, 32))
	copy(reply[24:32], request[40:])
	k.say(client, 0, request)
	k.say(server, k.rtt, reply)
	g.start(k, ClassUDP)
}

// bulk starts a transfer of n bytes from the server, or to it, in a protocol
// that nobody knows.
func (g *generator) bulk(c, s *host, port uint16, v6, upload bool, n int) *conn {
	k := g.connect(c, s, protoTCP, port, v6)
	from := server
	if upload {
		from = client
	}
	k.say(client, g.wait(time.Millisecond, 20*time.Millisecond), opaque(g.corpus.randomOf(g.rng, 40)))
	k.say(server, g.wait(time.Millisecond, 20*time.Millisecond), opaque(g.corpus.randomOf(g.rng, 40)))
	for first := true; n > 0; first = false {
		size := min(n, 256<<10)
		if first {
			k.say(from, g.wait(time.Millisecond, 20*time.Millisecond), g.corpus.randomOf(g.rng, size))
		} else {
			k.sayMore(g.corpus.randomOf(g.rng, size))
		}
		n -= size
	}
	return k
}

func (g *generator) mixBulk() {
	ports := [...]uint16{873, 5001, 8730, 9418}
	c, s := g.hosts.client(g), g.hosts.site()
	k := g.bulk(c, &s.host, ports[g.rng.IntN(len(ports))], g.chance(v6Share), g.chance(0.4), g.between(1<<20, 6<<20))
	g.start(k, ClassBulk)
}
