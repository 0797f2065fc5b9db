// SPDX-License-Identifier: Apache-2.0

package traffic

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
)

// Ephemeral source ports. None of them is a well-known server port, so that no
// analyzer takes a client for a server.
const (
	firstPort = 32768
	lastPort  = 60999
)

// host is a machine. Its source ports are used once each, so that no 5-tuple
// ever comes back.
type host struct {
	v4    [4]byte
	v6    [16]byte
	mac   [6]byte
	ttl   uint8
	ports uint16 // used so far
	pings uint16 // echo and unreachable targets used so far
}

// site is a server with a name.
type site struct {
	host
	name  string
	alias string // canonical name behind a CNAME, or ""
}

// population is everybody who takes part.
type population struct {
	clients   []host
	sites     []site
	resolvers []host
	scanners  []host
	popular   *rand.Zipf
}

// sitesCount is the number of named servers of the mix.
const sitesCount = 2000

func newPopulation(rng *rand.Rand, connections int) *population {
	p := &population{
		clients:   make([]host, max(50, connections/100)),
		sites:     make([]site, sitesCount),
		resolvers: make([]host, 4),
		scanners:  make([]host, max(4, connections/20_000)),
		popular:   rand.NewZipf(rng, 1.15, 3, sitesCount-1),
	}
	for i := range p.clients {
		p.clients[i] = newHost(10, 0, i+256, 64)
	}
	for i := range p.resolvers {
		p.resolvers[i] = newHost(10, 1, i+53, 64)
	}
	for i := range p.scanners {
		p.scanners[i] = newHost(198, 2, i+1, 50)
		p.scanners[i].v4 = [4]byte{198, 19, byte(i >> 8), byte(i)}
	}
	zones := [...]string{"example.com", "example.net", "example.org", "test"}
	labels := words()
	for i := range p.sites {
		s := &p.sites[i]
		s.host = newHost(198, 3, i+1, 56)
		s.v4 = [4]byte{198, 18, byte(i >> 8), byte(i)}
		label := fmt.Sprintf("%s-%s%d", labels[i%len(labels)], labels[(i/7+3)%len(labels)], i)
		s.name = label + "." + zones[i%len(zones)]
		if i%4 == 0 {
			s.name = "www." + s.name
		}
		if i%5 == 0 {
			s.alias = fmt.Sprintf("edge%d.cdn.example.net", i%97)
		}
	}
	return p
}

// newHost makes a host whose addresses derive from its group and number.
func newHost(net, group byte, n int, ttl uint8) host {
	h := host{v4: [4]byte{net, group + byte(n>>16)<<3, byte(n >> 8), byte(n)}, ttl: ttl}
	copy(h.v6[:], []byte{0x20, 0x01, 0x0d, 0xb8, 0, group})
	binary.BigEndian.PutUint32(h.v6[12:], uint32(n))
	h.mac = [6]byte{0x02, 0, group, byte(n >> 16), byte(n >> 8), byte(n)}
	return h
}

// nextPort returns a source port that h has not used yet.
func (h *host) nextPort() uint16 {
	port := firstPort + h.ports%(lastPort-firstPort+1)
	h.ports++
	return port
}

// client picks a client, some more often than others.
func (p *population) client(g *generator) *host {
	u := g.rng.Float64()
	i := int(u * u * float64(len(p.clients)))
	for p.clients[i].ports > lastPort-firstPort {
		i = (i + 1) % len(p.clients)
	}
	return &p.clients[i]
}

// site picks a site by Zipf's law.
func (p *population) site() *site { return &p.sites[p.popular.Uint64()] }

// target returns an address that nobody else of from's peers has: what from
// pings or probes.
func (h *host) target() host {
	n := int(h.pings)
	h.pings++
	t := newHost(198, 4, n+1, 60)
	t.v4 = [4]byte{198, 51, byte(n >> 8), byte(n)}
	return t
}

// v6Share is the share of IPv6 among connections that could use either.
const v6Share = 0.15

// connect returns a connection from c to s; writes and times are the caller's.
func (g *generator) connect(c, s *host, proto uint8, port uint16, v6 bool) *conn {
	k := &conn{
		proto: proto, v6: v6,
		rtt:    g.wait(300e3, 60e6),
		pace:   g.wait(30e3, 900e3),
		stamps: g.chance(0.7),
		seq:    [2]uint32{g.rng.Uint32(), g.rng.Uint32()},
		clock:  g.rng.Uint32(),
		mss:    1460,
	}
	k.side[client] = side{port: c.nextPort(), mac: c.mac, ttl: c.ttl}
	k.side[server] = side{port: port, mac: s.mac, ttl: s.ttl}
	if v6 {
		k.side[client].ip, k.side[server].ip = c.v6, s.v6
		k.label = g.rng.Uint32() & 0xfffff
		k.mss -= 20
		g.totals.IPv6++
	} else {
		copy(k.side[client].ip[:], c.v4[:])
		copy(k.side[server].ip[:], s.v4[:])
	}
	k.sumAddresses()
	if k.stamps {
		k.mss -= 12
	}
	switch proto {
	case protoTCP:
		g.totals.TCP++
	case protoUDP:
		g.totals.UDP++
	default:
		g.totals.ICMP++
	}
	return k
}

// start counts k and schedules its first packet for now.
func (g *generator) start(k *conn, class Class) {
	g.totals.Connections[class]++
	if k.proto == protoTCP {
		for i := range k.writes {
			g.totals.Payload += int64(len(k.writes[i].data))
		}
	}
	g.add(g.now, k)
}

// sumAddresses computes the addresses' part of the pseudo header's sum.
func (c *conn) sumAddresses() {
	c.addrSum = 0
	for i := range c.side {
		for b := c.side[i].ip[:]; len(b) > 0; b = b[2:] {
			c.addrSum += uint32(b[0])<<8 | uint32(b[1])
		}
	}
}
