// SPDX-License-Identifier: Apache-2.0

package flowtable_test

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"weir/flowtable"
	"weir/internal/flow"
)

// runLive feeds packets to a shard as a live capture does: the table hears of
// the time every 100 ms. It goes on until the time end.
func runLive(t *testing.T, cfg flowtable.Config, pkts []flow.Packet, end flow.Time) ([]flow.Connection, flowtable.Stats) {
	t.Helper()
	table, err := flowtable.New(cfg, func(int) flowtable.Streams[int32] { return new(calls) })
	if err != nil {
		t.Fatal(err)
	}
	var out flow.ConnBatch
	now := pkts[0].Now
	idle := func(until flow.Time) {
		for ; now+1e8 < until; now += 1e8 {
			table.Process(0, nil, nil, moment(now), &out)
		}
		now = until
	}
	for i := range pkts {
		idle(pkts[i].Now)
		table.Process(0, pkts, []uint32{uint32(i)}, moment(now), &out)
	}
	idle(end)
	flush(table, 0, end, &out)
	return out.Conns, table.Stats()
}

// interimText describes a record in short: its interval, in seconds, its
// packets and payload, and which one it is.
func interimText(conns []flow.Connection) []string {
	var out []string
	for i := range conns {
		c := &conns[i]
		total := "first"
		if t := c.Total; t != nil {
			total = fmt.Sprintf("total %d/%d %d/%d", t.CSPkts, t.SCPkts, t.CSPayload, t.SCPayload)
		}
		out = append(out, fmt.Sprintf("%g-%g %d/%d %d/%d end %d count %d %s", float64(c.First)/1e9,
			float64(c.Last)/1e9, c.CSPkts, c.SCPkts, c.CSPayload, c.SCPayload, c.End, c.Count, total))
	}
	return out
}

func TestInterimRecords(t *testing.T) {
	every := func(step, end float64, n int) (pkts []flow.Packet) {
		for at := 0.0; at <= end; at += step {
			pkts = append(pkts, datagram(flow.UDP, at, len(pkts)%2 == 1, 4000, 5000, n))
		}
		return pkts
	}
	long := flowtable.Timeouts{UDP: time.Hour, ICMP: time.Hour, TCP: time.Hour}
	cases := []struct {
		name   string
		active time.Duration
		times  flowtable.Timeouts
		pkts   []flow.Packet
		end    flow.Time
		want   []string
	}{
		{"none asked for", 0, long, every(10, 200, 5), 210e9, []string{
			"0-200 11/10 55/50 end 4 count 1 first",
		}},
		{"every active timeout, the first up to a twelfth later", time.Minute, long, every(10, 200, 5), 210e9, []string{
			"0-60 4/3 20/15 end 2 count 1 first",
			"70-120 3/3 15/15 end 2 count 0 total 7/6 35/30",
			"130-180 3/3 15/15 end 2 count 0 total 10/9 50/45",
			"190-200 1/1 5/5 end 4 count 0 total 11/10 55/50",
		}},
		{"shorter than the active timeout", time.Minute, long, every(10, 50, 5), 55e9, []string{
			"0-50 3/3 15/15 end 4 count 1 first",
		}},
		{"idle: no record, and none that is late", time.Minute, long, append(every(10, 20, 5),
			datagram(flow.UDP, 400, false, 4000, 5000, 7)), 500e9, []string{
			"0-20 2/1 10/5 end 2 count 1 first",
			"400-400 1/0 7/0 end 2 count 0 total 3/1 17/5",
			"400-400 0/0 0/0 end 4 count 0 total 3/1 17/5",
		}},
		{"ended by its timeout", 10 * time.Second, flowtable.Timeouts{}, every(10, 20, 5), 200e9, []string{
			"0-10 1/1 5/5 end 2 count 1 first",
			"20-20 1/0 5/0 end 2 count 0 total 2/1 10/5",
			"20-20 0/0 0/0 end 1 count 0 total 2/1 10/5",
		}},
		{"ICMP", 10 * time.Second, long, []flow.Packet{
			datagram(flow.ICMP, 0, false, 8, 0, 56), datagram(flow.ICMP, 1, true, 8, 0, 56),
			datagram(flow.ICMP, 30, false, 8, 0, 56),
		}, 31e9, []string{
			"0-1 1/1 56/56 end 2 count 1 first",
			"30-30 1/0 56/0 end 2 count 0 total 2/1 112/56",
			"30-30 0/0 0/0 end 4 count 0 total 2/1 112/56",
		}},
		{"TCP with a retransmission and its end", 10 * time.Second, long, script(t, `
			0.0 > S 0 0 0
			0.1 < SA 0 1 0
			0.2 > A 1 1 100
			5.0 < A 1 101 1000
			20  > A 1 1 100
			20.1 < A 1001 101 500
			20.2 > A 101 1501 0
			40  > FA 101 1501 0
			40.1 < FA 1501 102 0
			40.2 > A 102 1502 0`, 40000, 80), 60e9, []string{
			"0-5 2/2 100/1000 end 2 count 1 first",
			"20-20.2 2/1 0/500 end 2 count 0 total 4/3 100/1500",
			"40-40 1/0 0/0 end 2 count 0 total 5/3 100/1500",
			"40.1-40.1 1/1 0/0 end 3 count 0 total 6/4 100/1500",
		}},
		{"TCP whose client and server were mistaken", time.Second, long, script(t, `
			0.0 < SA 0 1 0
			3.0 < A 1 1 300
			3.1 > A 1 301 40`, 40000, 50000), 3.2e9, []string{
			"0-0 1/0 0/0 end 2 count 1 first",
			"3-3 0/1 0/300 end 2 count 0 total 0/2 0/300",
			"3.1-3.1 1/0 40/0 end 4 count 0 total 1/2 40/300",
		}},
		{"UDP whose client and server were mistaken", time.Second, long, []flow.Packet{
			datagram(flow.UDP, 0, false, 53, 53, 10), datagram(flow.UDP, 3, false, 53, 53, mistaken),
			datagram(flow.UDP, 6, true, 53, 53, 9),
		}, 6e9, []string{
			"0-0 1/0 10/0 end 2 count 1 first",
			"3-3 1/0 77/0 end 2 count 0 total 2/0 87/0",
			"6-6 1/0 9/0 end 2 count 0 total 3/0 96/0",
			"6-6 0/0 0/0 end 4 count 0 total 3/0 96/0",
		}},
		{"a count by sequence numbers that shrinks and grows again", time.Second, long, script(t, `
			0.0 > S 0 0 0
			0.1 < SA 0 1 0
			0.2 < A 1 1 500
			3.0 < SA 100000 1 0
			6.0 < A 100001 1 200
			9.0 < A 100201 1 600
			12.0 < A 100801 1 1`, 40000, 80), 12e9, []string{
			"0-0.2 1/2 0/500 end 2 count 1 first",
			"3-3 0/1 0/0 end 2 count 0 total 1/3 0/0",
			"6-6 0/1 0/0 end 2 count 0 total 1/4 0/200",
			"9-9 0/1 0/300 end 2 count 0 total 1/5 0/800",
			"12-12 0/1 0/1 end 2 count 0 total 1/6 0/801",
			"12-12 0/0 0/0 end 4 count 0 total 1/6 0/801",
		}},
		{"payload that a RST does not take back", time.Second, long, script(t, `
			0.0 > S 0 0 100
			3.0 > R 1 0 0`, 40000, 80), 9e9, []string{
			"0-0 1/0 100/0 end 2 count 1 first",
			"3-3 1/0 0/0 end 2 count 0 total 2/0 100/0",
			"3-3 0/0 0/0 end 3 count 0 total 2/0 100/0",
		}},
		{"what a half-open connection acknowledged, which a RST takes back", time.Second, long, script(t, `
			0.0 > S 0 0 0
			0.5 < A 700 5001 0
			3.0 > R 5001 0 0`, 40000, 80), 9e9, []string{
			"0-0.5 1/1 5000/0 end 2 count 1 first",
			"3-3 1/0 0/0 end 2 count 0 total 2/1 0/0",
			"3-3 0/0 0/0 end 3 count 0 total 2/1 0/0",
		}},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			conns, st := runLive(t, flowtable.Config{Active: tc.active, Timeouts: tc.times}, tc.pkts, tc.end)
			if diff := gocmp.Diff(tc.want, interimText(conns)); diff != "" {
				t.Errorf("records differ (-want +got):\n%s", diff)
			}
			interim := uint64(0)
			for i := range conns {
				if conns[i].End == flow.EndActive {
					interim++
				}
			}
			if st.Interim != interim || st.Ended != 1 || st.Connections != 1 {
				t.Errorf("Stats() = %+v, want %d interim records of one connection", st, interim)
			}
		})
	}
}

// conversations makes a random mix in one shard: TCP with retransmissions, lost
// packets and mistaken roles, UDP and ICMP.
func conversations(t *testing.T, seed uint64) []flow.Packet {
	t.Helper()
	rng := rand.New(rand.NewPCG(seed, 1))
	var pkts []flow.Packet
	for conn := range 40 {
		begin := rng.Float64() * 30
		var list []flow.Packet
		if conn%4 > 1 {
			proto := [2]uint8{flow.UDP, flow.ICMP}[conn%2]
			sport, dport := uint16(2000+conn), uint16(53)
			if proto == flow.ICMP {
				sport, dport = 8, uint16(conn)
			}
			for i := range 30 {
				n := rng.IntN(90)
				list = append(list, datagram(proto, begin+float64(i)*rng.Float64(), rng.IntN(2) == 0, sport, dport, n))
			}
		} else {
			var text string
			at := begin
			line := func(dir, flags string, seq, ack, n uint32) {
				at += rng.Float64() * 2
				if rng.IntN(12) != 0 { // or lost
					text += fmt.Sprintf("%f %s %s %d %d %d\n", at, dir, flags, seq, ack, n)
				}
			}
			line(">", "S", 0, 0, 0)
			line("<", "SA", 0, 1, 0)
			seq := [2]uint32{1, 1}
			for range 20 {
				d := rng.IntN(2)
				n := uint32(rng.IntN(1400))
				for again := true; again; again = rng.IntN(4) == 0 {
					line([2]string{">", "<"}[d], "A", seq[d], seq[1-d], n)
				}
				seq[d] += n
			}
			if rng.IntN(2) == 0 {
				line(">", "FA", seq[0], seq[1], 0)
				line("<", "FA", seq[1], seq[0]+1, 0)
				line(">", "A", seq[0]+1, seq[1]+1, 0)
			}
			list = script(t, text, uint16(40000+conn), 50000)
		}
		for i := range list {
			list[i].Origin = uint64(len(pkts) + 1)
			pkts = append(pkts, list[i])
		}
	}
	slices.SortStableFunc(pkts, func(a, b flow.Packet) int { return cmp.Compare(a.TS, b.TS) })
	for i := range pkts {
		pkts[i].Now = pkts[i].TS
	}
	return pkts
}

// TestInterimSums: whatever happens in a connection, its last record tells what
// one without interim records does, and its records together say the same.
func TestInterimSums(t *testing.T) {
	long := flowtable.Timeouts{UDP: time.Hour, ICMP: time.Hour, TCP: time.Hour}
	byUID := func(a, b flow.Connection) int { return cmp.Compare(a.UID, b.UID) }
	several := 0
	for seed := range uint64(20) {
		pkts := conversations(t, seed)
		end := pkts[len(pkts)-1].Now + 3e9
		want, _ := runLive(t, flowtable.Config{Timeouts: long}, pkts, end)
		records, _ := runLive(t, flowtable.Config{Timeouts: long, Active: 2 * time.Second}, pkts, end)
		sums := map[uint64]flow.Connection{}
		var got []flow.Connection
		for i := range records {
			c := records[i]
			if c.Last < c.First {
				t.Errorf("seed %d: record ends before it begins: %+v", seed, c)
			}
			sum, known := sums[c.UID]
			if known != (c.Total != nil) || known != (c.Count == 0) {
				t.Errorf("seed %d: Total = %v, Count = %d, while there were records: %v", seed, c.Total, c.Count, known)
			}
			several += int(1 - c.Count)
			if known && c.Proto == flow.TCP && sum.Src != c.Src {
				sum.CSPkts, sum.SCPkts = sum.SCPkts, sum.CSPkts
				sum.CSBytes, sum.SCBytes = sum.SCBytes, sum.CSBytes
				sum.CSPayload, sum.SCPayload = sum.SCPayload, sum.CSPayload
			}
			sum.Src = c.Src
			sum.Count += c.Count
			sum.CSPkts += c.CSPkts
			sum.SCPkts += c.SCPkts
			sum.CSBytes += c.CSBytes
			sum.SCBytes += c.SCBytes
			sum.CSPayload += c.CSPayload
			sum.SCPayload += c.SCPayload
			sum.Missed += c.Missed
			sums[c.UID] = sum
			if c.End == flow.EndActive {
				continue
			}
			w := c.Whole()
			got = append(got, w)
			if sum.Count != 1 || sum.CSPkts != w.CSPkts || sum.SCPkts != w.SCPkts || sum.CSBytes != w.CSBytes ||
				sum.SCBytes != w.SCBytes || sum.CSPayload != w.CSPayload || sum.SCPayload != w.SCPayload ||
				sum.Missed != w.Missed {
				t.Fatalf("seed %d: records say %+v in sum, want %+v", seed, sum, w)
			}
		}
		slices.SortFunc(want, byUID)
		slices.SortFunc(got, byUID)
		if diff := gocmp.Diff(want, got); diff != "" {
			t.Fatalf("seed %d: whole connections differ (-without +with interim records):\n%s", seed, diff)
		}
	}
	if several < 1000 {
		t.Errorf("only %d records after the first ones: the test shows little", several)
	}
}

// TestInterimBounds: a call writes a limited number of interim records, and the
// sweep comes to all connections nevertheless, also in a table that is nearly
// full.
func TestInterimBounds(t *testing.T) {
	const n = 5000
	for _, tc := range []struct{ limit, want int }{
		{1_000_000, n}, {2 * n, 3750}, {n, 0},
	} {
		t.Run(fmt.Sprint(tc.limit), func(t *testing.T) {
			table, err := flowtable.New(flowtable.Config{
				Active: time.Second, MaxConnections: tc.limit * flow.Shards, Timeouts: flowtable.Timeouts{Attempt: time.Hour},
			}, func(int) flowtable.Streams[int32] { return nop{} })
			if err != nil {
				t.Fatal(err)
			}
			var pkts []flow.Packet
			var idx []uint32
			for i := range n {
				pkts = append(pkts, syn(i, 1e9))
				idx = append(idx, uint32(i))
			}
			var out flow.ConnBatch
			table.Process(0, pkts, idx, moment(1e9), &out)
			seen := map[uint64]bool{}
			for i := range 10 {
				out.Reset()
				table.Process(0, nil, nil, moment(flow.Time(22e8+i*1e6)), &out)
				if got := len(out.Conns); got > 1024 {
					t.Errorf("%d records in one call, want at most 1024", got)
				}
				for j := range out.Conns {
					seen[out.Conns[j].UID] = true
				}
			}
			st := table.Stats()
			if len(seen) != tc.want || st.Interim != uint64(tc.want) || st.InterimSkipped != uint64(n-tc.want) {
				t.Errorf("records of %d connections, Stats() = %+v; want %d and the others skipped", len(seen), st, tc.want)
			}
			if st.EndedEarly != 0 {
				t.Errorf("%d connections ended early to make room for what was reported", st.EndedEarly)
			}
			out.Reset()
			flush(table, 0, 3e9, &out)
			if len(out.Conns) != n {
				t.Errorf("%d records at the end, want %d", len(out.Conns), n)
			}
		})
	}
}

// TestLongSilence: connections stay due, and are not mistaken for new ones, for
// however many ticks they are silent, and through leaps of the table's time.
func TestLongSilence(t *testing.T) {
	for _, step := range []flow.Time{5e7, 1e9, 7e9, 40e9, 300e9} {
		table, err := flowtable.New(flowtable.Config{Active: time.Second, Timeouts: flowtable.Timeouts{UDP: 100 * time.Hour}},
			func(int) flowtable.Streams[int32] { return nop{} })
		if err != nil {
			t.Fatal(err)
		}
		var out flow.ConnBatch
		now := flow.Time(0)
		for round := range 5 {
			p := datagram(flow.UDP, float64(now)/1e9, false, 4000, 5000, 1)
			table.Process(3, []flow.Packet{p}, []uint32{0}, moment(now), &out)
			for range 400 {
				now += step
				table.Process(3, nil, nil, moment(now), &out)
			}
			if got := len(out.Conns); got != round+1 {
				t.Errorf("step %v: %d records after %d packets, want one each", time.Duration(step), got, round+1)
			}
		}
	}
}

// TestTablesTimeGoesBack: an input that began with a time from the future goes
// on with the right one. Interim records go on, too.
func TestTablesTimeGoesBack(t *testing.T) {
	var pkts []flow.Packet
	for i := range 20 {
		p := datagram(flow.UDP, float64(i), false, 4000, 5000, 1)
		if i < 2 {
			p.Now += 1e18
		}
		pkts = append(pkts, p)
	}
	table, err := flowtable.New(flowtable.Config{Active: 5 * time.Second}, func(int) flowtable.Streams[int32] { return nop{} })
	if err != nil {
		t.Fatal(err)
	}
	var out flow.ConnBatch
	for i := range pkts {
		table.Process(0, pkts, []uint32{uint32(i)}, moment(pkts[i].Now), &out)
	}
	if n := len(out.Conns); n < 2 || n > 4 {
		t.Errorf("%d interim records in 18 s with an active timeout of 5 s, want 3: %q", n, interimText(out.Conns))
	}
}

func TestActiveIsValidated(t *testing.T) {
	for _, d := range []time.Duration{-time.Second, 1, 999 * time.Millisecond} {
		if err := (flowtable.Config{Active: d}).Validate(); err == nil {
			t.Errorf("Validate() with an active timeout of %v succeeds", d)
		}
	}
	for _, d := range []time.Duration{0, time.Second, time.Hour} {
		if err := (flowtable.Config{Active: d}).Validate(); err != nil {
			t.Errorf("Validate() with an active timeout of %v = %v", d, err)
		}
	}
}

func TestNoAllocationForInterimRecords(t *testing.T) {
	table, err := flowtable.New(flowtable.Config{Active: time.Second}, func(int) flowtable.Streams[int32] { return nop{} })
	if err != nil {
		t.Fatal(err)
	}
	const n = 1000
	pkts := make([]flow.Packet, n)
	idx := make([]uint32, n)
	now := flow.Time(0)
	var out flow.ConnBatch
	p := datagram(flow.UDP, 0, false, 0, 5000, 1)
	round := func() {
		now += 2e9
		for i := range pkts {
			p.Sport = uint16(i)
			p.TS, p.Now, p.Hash = now, now, flow.Mix(uint64(i+1))
			pkts[i], idx[i] = p, uint32(i)
		}
		out.Reset()
		table.Process(0, pkts, idx, moment(now), &out)
	}
	for range 3 {
		round()
	}
	if got := testing.AllocsPerRun(10, round); got > 0 || len(out.Conns) != n {
		t.Errorf("%v allocations for %d records, want none for %d", got, len(out.Conns), n)
	}
}

// BenchmarkSweep measures the sweep of a table with a million connections, none
// of which is due, which happens twelve times in an active timeout; and with
// all of them due.
func BenchmarkSweep(b *testing.B) {
	const conns = 1_000_000
	for _, due := range []bool{false, true} {
		b.Run(fmt.Sprintf("due=%v", due), func(b *testing.B) {
			active := 1000 * time.Hour
			if due {
				active = time.Minute
			}
			table, err := flowtable.New(flowtable.Config{
				Active: active, Timeouts: flowtable.Timeouts{Attempt: 1e6 * time.Hour},
			}, func(int) flowtable.Streams[int32] { return nop{} })
			if err != nil {
				b.Fatal(err)
			}
			pkts := make([]flow.Packet, 4096)
			var out flow.ConnBatch
			feed := func(base int, now flow.Time) {
				for i := range pkts {
					pkts[i] = syn((base+i)%conns, now)
				}
				for s, idx := range shardOf(pkts) {
					table.Process(s, pkts, idx, moment(now), &out)
				}
				out.Reset()
			}
			now := flow.Time(1e9)
			for base := 0; base < conns; base += len(pkts) {
				feed(base, now)
			}
			for b.Loop() {
				if due {
					b.StopTimer()
					for base := 0; base < conns; base += len(pkts) {
						feed(base, now)
					}
					b.StartTimer()
				}
				now += flow.Time(active) / 12
				if due {
					now += flow.Time(active)
				}
				for s := range flow.Shards {
					for more := true; more; {
						out.Reset()
						table.Process(s, nil, nil, moment(now), &out)
						more = len(out.Conns) > 0
					}
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/conns, "ns/connection")
		})
	}
}
