// SPDX-License-Identifier: Apache-2.0

package flowtable_test

import (
	"fmt"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"weir/flowtable"
	"weir/internal/flow"
)

func TestLossMarks(t *testing.T) {
	type event struct {
		at   float64
		lost uint64
		conn uint16 // source port, 0: no packet
	}
	cases := []struct {
		name   string
		active time.Duration
		events []event
		want   map[uint16][]bool // of the records, in order
	}{
		{"nothing lost", 0, []event{{0, 0, 1}, {9, 0, 2}}, map[uint16][]bool{1: {false}, 2: {false}}},
		{"lost before the first packet", 0, []event{{0, 7, 1}, {9, 7, 1}}, map[uint16][]bool{1: {false}}},
		{"open across a loss", 0, []event{{0, 0, 1}, {5, 1, 2}, {9, 1, 3}}, map[uint16][]bool{
			1: {true}, 2: {false}, 3: {false},
		}},
		{"timed out before the loss", 0, []event{{0, 0, 1}, {61, 0, 0}, {62, 1, 2}}, map[uint16][]bool{
			1: {false}, 2: {false},
		}},
		{"lost as it times out", 0, []event{{0, 0, 1}, {61, 1, 2}}, map[uint16][]bool{1: {true}, 2: {false}}},
		{
			"lost twice within a second", 0,
			[]event{{0, 0, 1}, {5, 1, 2}, {5.5, 2, 3}, {5.6, 2, 4}, {8, 2, 5}},
			// 3 and 4 began after the second loss, but cannot be told from 2.
			map[uint16][]bool{1: {true}, 2: {true}, 3: {true}, 4: {true}, 5: {false}},
		},
		{"a mark stays", time.Second, []event{
			{0, 0, 1}, {2, 0, 0}, {3, 0, 1}, {4, 1, 1}, {5, 1, 0}, {10, 1, 1}, {12, 1, 0}, {12.1, 1, 1},
		}, map[uint16][]bool{1: {false, false, true, true, true, true}}},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			table, err := flowtable.New(flowtable.Config{Active: tc.active}, func(int) flowtable.Streams[int32] { return nop{} })
			if err != nil {
				t.Fatal(err)
			}
			var out flow.ConnBatch
			var at flowtable.Moment
			for _, e := range tc.events {
				at = flowtable.Moment{Now: flow.Time(e.at * 1e9), Lost: e.lost}
				var pkts []flow.Packet
				var idx []uint32
				if e.conn != 0 {
					pkts = []flow.Packet{datagram(flow.UDP, e.at, false, e.conn, 5000, 1)}
					pkts[0].Hash = flow.Mix(uint64(e.conn))
					idx = []uint32{0}
				}
				table.Process(0, pkts, idx, at, &out)
			}
			for table.Flush(0, at, 3, &out) {
			}
			got := map[uint16][]bool{}
			for i := range out.Conns {
				got[out.Conns[i].Sport] = append(got[out.Conns[i].Sport], out.Conns[i].Loss)
			}
			if diff := gocmp.Diff(tc.want, got); diff != "" {
				t.Errorf("marks differ (-want +got):\n%s", diff)
			}
		})
	}
}

// TestLossEpochsComeRound: after a day of losses without end, marks are right
// for connections that began at any time of it.
func TestLossEpochsComeRound(t *testing.T) {
	table, err := flowtable.New(flowtable.Config{Active: time.Minute, Timeouts: flowtable.Timeouts{UDP: 1000 * time.Hour}},
		func(int) flowtable.Streams[int32] { return nop{} })
	if err != nil {
		t.Fatal(err)
	}
	var out flow.ConnBatch
	at := flowtable.Moment{}
	const epochs = 1 << 16
	for i := range epochs + 1 {
		at = flowtable.Moment{Now: flow.Time(i) * 1e9, Lost: uint64(i)}
		var pkts []flow.Packet
		if i == 1 || i == epochs/2 || i == epochs {
			pkts = []flow.Packet{datagram(flow.UDP, float64(i), false, uint16(i), 5000, 1)}
		}
		table.Process(0, pkts, []uint32{0}[:len(pkts)], at, &out)
	}
	at.Now += 1e8
	flush := func() {
		for table.Flush(0, at, 3, &out) {
		}
	}
	flush()
	for i := range out.Conns {
		c := &out.Conns[i]
		if c.End == flow.EndForced && c.Loss != (c.First < epochs*1e9) {
			t.Errorf("connection of %d s: Loss = %v", c.First/1e9, c.Loss)
		}
	}
}

// TestClockJumps: the packets' own clock leaps while the table's time goes on
// evenly, as in a live capture where somebody sets the clock. No connection is
// lost or split, none expires for it, and no duration is negative.
func TestClockJumps(t *testing.T) {
	const conns, seconds = 300, 30
	begin := flow.Time(1_763_892_000e9)
	for _, tc := range []struct {
		name string
		to   flow.Time // the packets' time at half of the capture
	}{
		{"even", begin + seconds/2*1e9},
		{"an hour back", begin - 3600e9},
		{"to 1970", 0},
		{"to 2038", 2_147_483_648e9},
	} {
		for _, active := range []time.Duration{0, 2 * time.Second} {
			t.Run(fmt.Sprintf("%s, active %v", tc.name, active), func(t *testing.T) {
				table, err := flowtable.New(flowtable.Config{Active: active}, func(int) flowtable.Streams[int32] { return nop{} })
				if err != nil {
					t.Fatal(err)
				}
				var out flow.ConnBatch
				var pkts []flow.Packet
				var idx []uint32
				now := begin
				for i := range seconds * 10 {
					now = begin + flow.Time(i)*1e8
					ts := now
					if i >= seconds*5 {
						ts = tc.to + now - begin - seconds/2*1e9
					}
					pkts, idx = pkts[:0], idx[:0]
					for c := i % 10; c < conns; c += 10 {
						p := datagram(flow.UDP, 0, i/10%2 == 1, uint16(10_000+c), 5000, 10)
						p.TS, p.Now, p.Hash, p.Origin = ts, now, flow.Mix(uint64(c+1)), uint64(i*conns+c)
						idx = append(idx, uint32(len(pkts)))
						pkts = append(pkts, p)
					}
					table.Process(5, pkts, idx, moment(now), &out)
				}
				flush(table, 5, now, &out)
				sums := map[uint64]flow.Connection{}
				for i := range out.Conns {
					c := &out.Conns[i]
					sum := sums[c.UID]
					sum.Count += c.Count
					sum.CSPkts += c.CSPkts
					sum.SCPkts += c.SCPkts
					sums[c.UID] = sum
					w := c.Whole()
					if c.Duration() < 0 || w.Duration() < 0 {
						t.Fatalf("negative duration: %+v", c)
					}
					if c.End != flow.EndForced && c.End != flow.EndActive {
						t.Fatalf("ended by the leap: %+v", c)
					}
				}
				if len(sums) != conns {
					t.Errorf("%d connections, want %d", len(sums), conns)
				}
				for uid, sum := range sums {
					if sum.Count != 1 || sum.CSPkts+sum.SCPkts != seconds {
						t.Errorf("connection %x: count %d, %d+%d packets, want 1 and %d", uid, sum.Count, sum.CSPkts, sum.SCPkts, seconds)
					}
				}
				if (table.Stats().Interim > 0) != (active > 0) {
					t.Errorf("%d interim records with an active timeout of %v", table.Stats().Interim, active)
				}
			})
		}
	}
}
