// SPDX-License-Identifier: Apache-2.0

package storetest

import (
	"math/rand/v2"
	"net/netip"

	"weir/internal/filter"
	"weir/internal/flow"
)

// Sizes of random data.
const (
	randomConns = 200
	randomIntel = 300
)

// source makes random values from small pools, so that they meet.
type source struct{ *rand.Rand }

func newSource(seed uint64) source { return source{rand.New(rand.NewPCG(seed, 1))} }

func pick[T any](s source, list ...T) T { return list[s.IntN(len(list))] }

// chance is true one time in n.
func (s source) chance(n int) bool { return s.IntN(n) == 0 }

// addrPool returns addresses of the corners of their families, and some that are
// alike.
func addrPool() []string {
	return []string{
		"10.0.0.1", "10.0.0.2", "10.0.1.1", "192.168.1.1", "0.0.0.0", "255.255.255.255", "::", "::1",
		"::fffe:ffff:ffff", "::1:0:0:0", "2001:db8::1", "2001:db8::2", "2001:db8:1::1", "fe80::1",
	}
}

func (s source) addr() flow.Addr { return addr(pick(s, addrPool()...)) }

func addr(text string) flow.Addr { return flow.AddrFrom(netip.MustParseAddr(text)) }

func (s source) text() string {
	if !s.chance(3) {
		return pick(s, "a", "b", "www.example.com", "GET")
	}
	return pick(s, "a", "A", "www.example.com", "WWW.Example.com", "mail.example.org", "", "80",
		"x y", "x\ny", "Größe", "GRÖSSE", "ſ", "K", "a'b\"c", `back\slash`, "NOERROR", "GET", "TLSv12", "(p)",
		"Σας", "İ", "host")
}

func (s source) count() int64 { return pick[int64](s, 0, 1, 2, 80, 200, 404, 5000000000) }

func (s source) interval() int64 {
	// As a number of seconds 249 microseconds are a bit less.
	return pick[int64](s, 0, 1, 249, 999999, 1000000, 60000000, 3600000001)
}

// conn makes a record of a connection.
func (s source) conn(uid uint64) Conn {
	c := Conn{Sensor: pick(s, "a", "b")}
	c.UID, c.Count, c.End = uid, 1, flow.EndDetected
	c.Src, c.Dst = s.addr(), s.addr()
	if s.chance(2) {
		c.Src, c.Dst = addr("10.0.0.1"), addr("10.0.0.2")
	}
	c.Proto = pick[uint8](s, flow.TCP, flow.TCP, flow.UDP, flow.ICMP, flow.ICMPv6, flow.ESP)
	switch {
	case flow.IsICMP(c.Proto):
		c.Sport, c.Code = pick[uint16](s, 0, 3, 8), pick[uint8](s, 0, 1, 2)
	case c.Proto != flow.ESP:
		ports := []uint16{0, 22, 80, 443, 40000, 65535}
		c.Sport, c.Dport = pick(s, ports...), pick(s, ports...)
	}
	c.Service = pick(s, "", "dns", "http", "http,ssl", "ssl")
	c.State = pick(s, flow.StateNone, flow.SF, flow.S0, flow.REJ)
	if s.chance(3) {
		c.VLAN = pick[uint16](s, 1, 100)
	}
	for _, n := range []*uint64{&c.CSPkts, &c.SCPkts, &c.CSBytes, &c.SCBytes} {
		*n = pick[uint64](s, 0, 1, 2, 1000, 3000000000)
	}
	c.First = flow.Time(1577872800000000+pick[int64](s, -1, 0, 1, 3600000000)) * 1000
	c.Last = c.First + flow.Time(s.interval()*1000)
	return c
}

// more makes the record that follows an interim one.
func (s source) more(c *Conn) Conn {
	next := *c
	next.Count, next.End = 0, pick(s, flow.EndActive, flow.EndDetected)
	next.First = c.Last + flow.Time(s.interval()*1000)
	next.Last = next.First + flow.Time(s.interval()*1000)
	next.CSPkts, next.CSBytes = pick[uint64](s, 0, 1, 5), pick[uint64](s, 0, 40, 1000)
	next.State = pick(s, flow.SF, flow.S0, flow.S1)
	return next
}

// record makes what was learned from one of the connections.
func (s source) record(conns []Conn) Record {
	kinds := flow.Kinds()
	k := s.IntN(len(kinds))
	c := &conns[s.IntN(len(conns))]
	for flow.IsICMP(c.Proto) { // nothing is learned from ICMP
		c = &conns[s.IntN(len(conns))]
	}
	r := Record{Tuple: c.Tuple, TS: c.First, Sensor: c.Sensor, Intel: filter.Intel{Kind: flow.Kind(k)}}
	r.Values = make([]filter.Value, len(kinds[k].Attrs))
	for i := range r.Values {
		if s.chance(3) || kinds[k].Attrs[i].LogOnly {
			continue
		}
		v := &r.Values[i]
		v.Set = true
		switch kinds[k].Attrs[i].Type {
		case flow.Text:
			v.Text = s.text()
		case flow.Count:
			v.Int = s.count()
		case flow.Bool:
			v.Int = int64(s.IntN(2))
		case flow.Interval:
			v.Int = s.interval()
		case flow.TextList:
			for range s.IntN(4) {
				v.Texts = append(v.Texts, s.text())
			}
		case flow.IntervalList:
			for range s.IntN(4) {
				v.Ints = append(v.Ints, s.interval())
			}
		}
	}
	return r
}

// Random makes connections, one in ten of which has several records, and intel.
func Random(seed uint64) *Data {
	s := newSource(seed)
	d := new(Data)
	for uid := range uint64(randomConns) {
		c := s.conn(flow.Mix(uid + 1))
		if !s.chance(10) {
			d.Conns = append(d.Conns, c)
			continue
		}
		c.End = flow.EndActive
		d.Conns = append(d.Conns, c)
		for c.End == flow.EndActive && !s.chance(5) {
			c = s.more(&c)
			d.Conns = append(d.Conns, c)
		}
	}
	for range randomIntel {
		r := s.record(d.Conns)
		d.Intel = append(d.Intel, r)
		if s.chance(10) { // the same once more
			d.Intel = append(d.Intel, r)
		}
	}
	return d
}
