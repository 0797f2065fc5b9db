// SPDX-License-Identifier: Apache-2.0

package flowtable_test

import (
	"encoding/binary"
	"math/rand/v2"
	"testing"

	"weir/flowtable"
	"weir/internal/flow"
)

// syn returns the n-th SYN of a flood.
func syn(n int, at flow.Time) flow.Packet {
	p := flow.Packet{
		Proto: flow.TCP, Src: flow.Addr4([4]byte{10}), Dst: hostB, Sport: uint16(n), Dport: 80,
		TCPFlags: flow.SYN, Seq: uint32(n), Window: 100, IPLen: 40, TS: at, Now: at, Origin: uint64(n),
	}
	binary.BigEndian.PutUint32(p.Src[12:], uint32(n>>16)+1)
	p.Hash = flow.Mix(uint64(n) + 1)
	return p
}

// shardOf groups packets by shard, as capture does.
func shardOf(pkts []flow.Packet) [flow.Shards][]uint32 {
	var idx [flow.Shards][]uint32
	for i := range pkts {
		s := pkts[i].Hash % flow.Shards
		idx[s] = append(idx[s], uint32(i))
	}
	return idx
}

func TestFullTableEndsHalfOpenFirst(t *testing.T) {
	const limit = 64 * flow.Shards
	table, err := flowtable.New(flowtable.Config{MaxConnections: limit},
		func(int) flowtable.Streams[int32] { return new(calls) })
	if err != nil {
		t.Fatal(err)
	}
	var out flow.ConnBatch
	feed := func(pkts []flow.Packet) {
		for s, idx := range shardOf(pkts) {
			table.Process(s, pkts, idx, moment(pkts[len(pkts)-1].Now), &out)
		}
	}
	// A few answered connections in each shard, then far more SYNs than fit.
	const real = 8 * flow.Shards
	var pkts []flow.Packet
	for i := range real {
		p := syn(i, 1e9)
		q := p
		q.Src, q.Dst, q.Sport, q.Dport = p.Dst, p.Src, p.Dport, p.Sport
		q.TCPFlags, q.Seq, q.Ack = flow.SYN|flow.ACK, 7, p.Seq+1
		pkts = append(pkts, p, q)
	}
	feed(pkts)
	const flood = 10 * limit
	for i := 0; i < flood; i += 1000 {
		pkts = pkts[:0]
		for j := i; j < i+1000; j++ {
			pkts = append(pkts, syn(real+j, 2e9))
		}
		feed(pkts)
		if open := table.Stats().Open; open > limit {
			t.Fatalf("%d connections are open, want at most %d", open, limit)
		}
	}
	for s := range flow.Shards {
		flush(table, s, 3e9, &out)
	}
	const want = real + (flood+999)/1000*1000
	if len(out.Conns) != want {
		t.Errorf("%d records, want every one of %d", len(out.Conns), want)
	}
	early := 0
	for i := range out.Conns {
		c := &out.Conns[i]
		if c.End != flow.EndResources {
			continue
		}
		early++
		if c.State != flow.S0 {
			t.Fatalf("ended an answered connection early: %+v", c)
		}
	}
	if st := table.Stats(); early == 0 || uint64(early) != st.EndedEarly {
		t.Errorf("%d records ended early, Stats say %d", early, st.EndedEarly)
	}
}

// TestRandomTraffic compares the table with a plain map, over a traffic that
// makes the index grow, shrink and move slots.
func TestRandomTraffic(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	table, err := flowtable.New(flowtable.Config{}, func(int) flowtable.Streams[int32] { return new(calls) })
	if err != nil {
		t.Fatal(err)
	}
	type key struct{ a, b uint16 }
	type counts struct{ pkts, bytes uint64 }
	want := map[key][]counts{}
	last := map[key]flow.Time{}
	var out flow.ConnBatch
	now := flow.Time(0)
	for range 200_000 {
		now += flow.Time(rng.IntN(2_000_000))
		if rng.IntN(20_000) == 0 {
			now += 70e9 // everything times out
		}
		k := key{uint16(10_000 + rng.IntN(3_000)), uint16(30_000 + rng.IntN(3))}
		p := datagram(flow.UDP, 0, rng.IntN(2) == 0, k.a, k.b, rng.IntN(100))
		p.TS, p.Now = now, now
		p.Hash = flow.Mix(uint64(k.a)<<16 | uint64(k.b))
		p.Hash = p.Hash&^0xffff<<32 | p.Hash&0xff // few tags, so that many collide
		list := want[k]
		if len(list) == 0 || now-last[k] >= 60e9 {
			list = append(list, counts{})
		}
		list[len(list)-1].pkts++
		list[len(list)-1].bytes += uint64(p.IPLen)
		want[k], last[k] = list, now
		table.Process(3, []flow.Packet{p}, []uint32{0}, moment(now), &out)
	}
	flush(table, 3, now, &out)
	got := map[key][]counts{}
	for i := range out.Conns {
		c := &out.Conns[i]
		k := key{c.Sport, c.Dport}
		if c.Src == hostB {
			k = key{c.Dport, c.Sport}
		}
		got[k] = append(got[k], counts{c.CSPkts + c.SCPkts, c.CSBytes + c.SCBytes})
	}
	if len(got) != len(want) {
		t.Fatalf("%d keys, want %d", len(got), len(want))
	}
	for k, list := range want {
		if len(got[k]) != len(list) {
			t.Fatalf("key %v: %d connections, want %d", k, len(got[k]), len(list))
		}
		for i := range list {
			if got[k][i] != list[i] {
				t.Errorf("key %v, connection %d: %+v, want %+v", k, i, got[k][i], list[i])
			}
		}
	}
}

func TestEntrySize(t *testing.T) {
	if got := flowtable.EntrySize[[3]uint64](); got > 290 {
		t.Errorf("EntrySize() = %d bytes, want at most 290", got)
	}
}

func TestNoAllocationPerPacket(t *testing.T) {
	table, err := flowtable.New(flowtable.Config{}, func(int) flowtable.Streams[int32] { return nop{} })
	if err != nil {
		t.Fatal(err)
	}
	const n = 4096
	pkts := make([]flow.Packet, 0, 2*n)
	idx := make([]uint32, 0, 2*n)
	var out flow.ConnBatch
	now := flow.Time(0)
	round := func() {
		// New connections each time, an answer each, and the end of the last
		// round's by time-out.
		pkts, idx = pkts[:0], idx[:0]
		now += 400e9
		for i := range n {
			p := syn(i, now)
			q := p
			q.Src, q.Dst, q.Sport, q.Dport = p.Dst, p.Src, p.Dport, p.Sport
			q.TCPFlags, q.Ack = flow.SYN|flow.ACK, p.Seq+1
			pkts = append(pkts, p, q)
			idx = append(idx, uint32(2*i), uint32(2*i+1))
		}
		out.Reset()
		table.Process(0, pkts, idx, moment(now), &out)
	}
	round()
	round()
	if got := testing.AllocsPerRun(10, round); got > 8 {
		t.Errorf("%v allocations for %d packets, want none per packet", got, 2*n)
	}
}

// nop is a stream handler that does nothing.
type nop struct{}

func (nop) Start(*int32, flow.Dir, uint32)                                                {}
func (nop) Segment(*flow.Tuple, *int32, flow.Dir, *flow.Packet, uint32) flowtable.Signals { return 0 }

func (nop) Ack(*flow.Tuple, *int32, flow.Dir, flow.Time, uint32) (int, uint64, flowtable.Signals) {
	return 0, 0, 0
}

func (nop) Next(*int32, flow.Dir) (uint32, bool)                                   { return 0, false }
func (nop) Unacked(*int32, flow.Dir) bool                                          { return false }
func (nop) Shift(*int32, flow.Dir, uint32)                                         {}
func (nop) Reset(*flow.Tuple, *int32, flow.Time)                                   {}
func (nop) Fin(*flow.Tuple, *int32, flow.Dir, flow.Time) flowtable.Signals         { return 0 }
func (nop) Flip(*int32)                                                            {}
func (nop) Datagram(*flow.Tuple, *int32, flow.Dir, *flow.Packet) flowtable.Signals { return 0 }
func (nop) Midstream(*int32, bool)                                                 {}
func (nop) Services(*int32) string                                                 { return "" }
func (nop) Close(*flow.Tuple, *int32) string                                       { return "" }

func BenchmarkProcess(b *testing.B) {
	table, err := flowtable.New(flowtable.Config{}, func(int) flowtable.Streams[int32] { return nop{} })
	if err != nil {
		b.Fatal(err)
	}
	// 100,000 open connections, packets of random ones.
	rng := rand.New(rand.NewPCG(1, 2))
	const conns = 100_000
	pkts := make([]flow.Packet, 4096)
	var out flow.ConnBatch
	fill := func(next func(i int) int) [flow.Shards][]uint32 {
		for i := range pkts {
			pkts[i] = syn(next(i), 1e9)
		}
		return shardOf(pkts)
	}
	for base := 0; base < conns; base += len(pkts) {
		for s, idx := range fill(func(i int) int { return base + i }) {
			table.Process(s, pkts, idx, moment(1e9), &out)
		}
	}
	idx := fill(func(int) int { return rng.IntN(conns) })
	b.ReportAllocs()
	for b.Loop() {
		for s := range idx {
			table.Process(s, pkts, idx[s], moment(1e9), &out)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(pkts)), "ns/packet")
}
