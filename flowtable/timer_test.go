// SPDX-License-Identifier: Apache-2.0

package flowtable_test

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"weir/flowtable"
	"weir/internal/flow"
)

// TestDNSTimer: Zeek looks at UDP connections on ports of DNS every ten seconds, at
// the first packet of the input that it gets then, and ends what was idle for nine.
func TestDNSTimer(t *testing.T) {
	own := func(at float64) flow.Packet { return datagram(flow.UDP, at, false, 4000, 53, 1) }
	other := func(at float64) flow.Packet {
		p := datagram(flow.UDP, at, false, 4000, 9999, 1)
		p.Src, p.Hash = hostB, 77<<32
		return p
	}
	for _, tc := range []struct {
		name string
		port uint16
		sig  flowtable.Signals
		pkts []flow.Packet
		want []uint64 // packets of the connections to the port
	}{
		{"idle for ten seconds", 53, 0, []flow.Packet{own(0), own(10)}, []uint64{1, 1}},
		{"idle for less", 53, 0, []flow.Packet{own(0), own(9.9)}, []uint64{2}},
		{"idle for nine when looked at", 53, 0, []flow.Packet{own(0), own(1), own(10)}, []uint64{2, 1}},
		{"idle for less when looked at", 53, 0, []flow.Packet{own(0), own(1.1), own(10)}, []uint64{3}},
		{
			"looked at again ten seconds later", 53, 0,
			[]flow.Packet{own(0), own(8), own(16.9), own(26.8), own(35.9), own(46)},
			[]uint64{4, 1, 1},
		},
		{"looked at late", 53, 0, []flow.Packet{own(0), own(1.5), own(12)}, []uint64{2, 1}},
		{"looked at in time", 53, 0, []flow.Packet{own(0), own(1.5), other(10.2), own(12), own(20.1)}, []uint64{4}},
		{"ended by another one's packet", 53, 0, []flow.Packet{own(0), other(10.2), own(10.2)}, []uint64{1, 1}},
		{"NetBIOS", 137, 0, []flow.Packet{own(0), own(10)}, []uint64{1, 1}},
		{"mDNS", 5353, 0, []flow.Packet{own(0), own(10)}, []uint64{1, 1}},
		{"LLMNR", 5355, 0, []flow.Packet{own(0), own(10)}, []uint64{1, 1}},
		{"no DNS", 5354, 0, []flow.Packet{own(0), own(59)}, []uint64{2}},
		{"no DNS by its payload", 53, flowtable.Unread, []flow.Packet{own(0), own(59)}, []uint64{2}},
		{"nor for long", 53, flowtable.Unread, []flow.Packet{own(0), own(60)}, []uint64{1, 1}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			for i := range tc.pkts {
				if tc.pkts[i].Dport == 53 {
					tc.pkts[i].Dport = tc.port
				}
			}
			// One call for each packet, and one for all.
			for _, whole := range []bool{false, true} {
				table, err := flowtable.New(flowtable.Config{}, func(int) flowtable.Streams[int32] {
					return &calls{signals: tc.sig}
				})
				if err != nil {
					t.Fatal(err)
				}
				var out flow.ConnBatch
				var idx []uint32
				for i := range tc.pkts {
					idx = append(idx, uint32(i))
					if !whole {
						table.Process(0, tc.pkts, idx[i:], moment(tc.pkts[i].Now), &out)
					}
				}
				end := tc.pkts[len(tc.pkts)-1].Now
				if whole {
					table.Process(0, tc.pkts, idx, moment(end), &out)
				}
				flush(table, 0, end, &out)
				var got []uint64
				for i := range out.Conns {
					if out.Conns[i].Dport == tc.port {
						got = append(got, out.Conns[i].CSPkts)
					}
				}
				if diff := cmp.Diff(tc.want, got); diff != "" {
					t.Errorf("whole %v: packets of connections differ (-want +got):\n%s", whole, diff)
				}
			}
		})
	}
}

// TestDNSTimerAside: packets that belong to no connection make Zeek look, too.
func TestDNSTimerAside(t *testing.T) {
	for _, tc := range []struct {
		passed []flow.Time
		want   int // connections
	}{
		{nil, 2},
		{[]flow.Time{9e9, 9.9e9}, 2},
		{[]flow.Time{10.2e9}, 1},
		{[]flow.Time{9e9, 10.2e9, 11e9}, 1},
		{[]flow.Time{10.6e9}, 2},
	} {
		table, err := flowtable.New(flowtable.Config{}, func(int) flowtable.Streams[int32] { return &calls{} })
		if err != nil {
			t.Fatal(err)
		}
		var pkts []flow.Packet
		for _, at := range []float64{0, 1.5, 12} {
			pkts = append(pkts, datagram(flow.UDP, at, false, 4000, 53, 1))
		}
		var out flow.ConnBatch
		at := moment(pkts[2].Now)
		at.Passed = tc.passed
		table.Process(0, pkts, []uint32{0, 1, 2}, at, &out)
		flush(table, 0, at.Now, &out)
		if len(out.Conns) != tc.want {
			t.Errorf("others at %v: %d connections, want %d", tc.passed, len(out.Conns), tc.want)
		}
	}
}

// TestDNSTimerOfWrongDates: a packet that is dated wrong changes nothing.
func TestDNSTimerOfWrongDates(t *testing.T) {
	for _, off := range []flow.Time{-1e18, 1e18} {
		table, err := flowtable.New(flowtable.Config{}, func(int) flowtable.Streams[int32] { return &calls{} })
		if err != nil {
			t.Fatal(err)
		}
		var pkts []flow.Packet
		for _, at := range []float64{0, 5, 10.5, 40} {
			pkts = append(pkts, datagram(flow.UDP, at, false, 4000, 53, 1))
		}
		pkts[1].TS += off
		var out flow.ConnBatch
		table.Process(0, pkts, []uint32{0, 1, 2, 3}, moment(pkts[3].Now), &out)
		flush(table, 0, pkts[3].Now, &out)
		var got []uint64
		for i := range out.Conns {
			got = append(got, out.Conns[i].CSPkts)
		}
		if diff := cmp.Diff([]uint64{3, 1}, got); diff != "" {
			t.Errorf("dated by %v: packets of connections differ (-want +got):\n%s", off, diff)
		}
	}
}

// Where all of UDP ends sooner than DNS is looked at, DNS does as well.
func TestDNSTimerOfShortUDP(t *testing.T) {
	pkts := []flow.Packet{
		datagram(flow.UDP, 0, false, 4000, 53, 1), datagram(flow.UDP, 1.5, false, 4000, 53, 1),
		datagram(flow.UDP, 3, false, 4000, 53, 1), datagram(flow.UDP, 5.1, false, 4000, 53, 1),
	}
	table, err := flowtable.New(flowtable.Config{Timeouts: flowtable.Timeouts{UDP: 2 * time.Second}}, func(int) flowtable.Streams[int32] {
		return new(calls)
	})
	if err != nil {
		t.Fatal(err)
	}
	var out flow.ConnBatch
	table.Process(0, pkts, []uint32{0, 1, 2, 3}, moment(pkts[3].Now), &out)
	flush(table, 0, pkts[3].Now, &out)
	var got []uint64
	for i := range out.Conns {
		got = append(got, out.Conns[i].CSPkts)
	}
	if diff := cmp.Diff([]uint64{3, 1}, got); diff != "" {
		t.Errorf("packets of connections differ (-want +got):\n%s", diff)
	}
}

// TestDNSTimers: connections end in the order of their deadlines, however often
// these were moved.
func TestDNSTimers(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	table, err := flowtable.New(flowtable.Config{}, func(int) flowtable.Streams[int32] { return new(calls) })
	if err != nil {
		t.Fatal(err)
	}
	var out flow.ConnBatch
	last := map[uint16]flow.Time{}
	now := flow.Time(0)
	for range 3000 {
		var pkts []flow.Packet
		var idx []uint32
		for i := range 1 + rng.IntN(30) {
			now += flow.Time(rng.IntN(400_000_000))
			p := datagram(flow.UDP, 0, false, uint16(rng.IntN(200)), 53, 1)
			p.TS, p.Now, p.Hash = now, now, uint64(p.Sport)<<32
			pkts, idx = append(pkts, p), append(idx, uint32(i))
			last[p.Sport] = now
		}
		table.Process(0, pkts, idx, moment(now), &out)
		// What was idle for nineteen seconds was looked at and ended.
		open := 0
		for port, at := range last {
			if now-at >= 19e9 {
				delete(last, port)
			} else {
				open++
			}
		}
		if got := table.Stats().Open; got > open {
			t.Fatalf("%d connections are open, want at most %d", got, open)
		}
	}
	flush(table, 0, now, &out)
	for i := range out.Conns {
		if out.Conns[i].Duration() < 0 {
			t.Fatalf("connection %+v ends before it begins", out.Conns[i])
		}
	}
}

// TestTimersRunByTheTablesTime: a packet that arrives late, or whose sender's
// clock is wrong, neither ends connections nor keeps them alive too long.
func TestTimersRunByTheTablesTime(t *testing.T) {
	at := func(ts, now float64, back bool) flow.Packet {
		p := datagram(flow.UDP, ts, back, 4000, 5000, 1)
		p.Now = flow.Time(now * 1e9)
		return p
	}
	conns, _, _ := run(t, flowtable.Config{}, []flow.Packet{
		at(100, 100, false), at(10, 100, true), at(155, 155, false), at(90, 200, true), at(259, 259, false),
		at(260, 320, false),
	})
	want := []string{
		"A SF Dd pkts 3/2 bytes 3/2 dur 2m39s end 1",
		"A S0 D pkts 1/0 bytes 1/0 dur 0s end 4",
	}
	if diff := cmp.Diff(want, describe(conns)); diff != "" {
		t.Errorf("records differ (-want +got):\n%s", diff)
	}
}

func TestIgnoredPacketsKeepNothingAlive(t *testing.T) {
	bad := datagram(flow.UDP, 50, false, 4000, 5000, 1)
	bad.Flags = flow.BadChecksum
	conns, _, _ := run(t, flowtable.Config{}, []flow.Packet{
		datagram(flow.UDP, 0, false, 4000, 5000, 1), bad, datagram(flow.UDP, 70, false, 4000, 5000, 1),
	})
	if len(conns) != 2 {
		t.Errorf("%d connections, want 2: %q", len(conns), describe(conns))
	}
}
