// SPDX-License-Identifier: Apache-2.0

package neo4j

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"testing"
	"time"

	driver "github.com/neo4j/neo4j-go-driver/v5/neo4j"

	"weir/internal/flow"
	"weir/internal/neo4jtest"
	"weir/store/lake"
)

// perfConns makes connections, each of another flow, between hosts of which few
// have most of them.
func perfConns(n int, seed uint64) []flow.Connection {
	r := rand.New(rand.NewPCG(seed, 1))
	host := rand.NewZipf(r, 1.1, 20, 9999)
	port := rand.NewZipf(r, 1.2, 2, 2000)
	begin := flow.Time(time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC).UnixNano())
	seen := make(map[flow.Tuple]bool)
	var out []flow.Connection
	addr := func(i uint64) flow.Addr {
		if i%10 == 0 {
			return flow.Addr{0x20, 1, 0xd, 0xb8, 14: byte(i >> 8), 15: byte(i)}
		}
		return flow.Addr4([4]byte{10, 0, byte(i >> 8), byte(i)})
	}
	for len(out) < n {
		k := flow.Tuple{Src: addr(host.Uint64()), Dst: addr(host.Uint64()), Dport: uint16(port.Uint64() + 1), Proto: flow.TCP}
		if seen[k] {
			continue
		}
		seen[k] = true
		c := flow.Connection{Tuple: k, Count: 1, End: flow.EndDetected, State: flow.SF, Service: "http"}
		c.UID, c.Sport = r.Uint64(), uint16(32768+r.IntN(28_000))
		c.First = begin + flow.Time(r.Int64N(int64(23*time.Hour)))
		c.Last = c.First + flow.Time(r.Int64N(int64(time.Minute)))
		c.CSPkts, c.SCPkts, c.CSBytes, c.SCBytes = 5, 6, uint64(r.IntN(5000)), uint64(r.IntN(50_000))
		out = append(out, c)
	}
	return out
}

// again returns connections of the same flows, with other ports.
func again(conns []flow.Connection, seed uint64) []flow.Connection {
	r := rand.New(rand.NewPCG(seed, 2))
	out := slices.Clone(conns)
	for i := range out {
		out[i].UID, out[i].Sport = r.Uint64(), uint16(32768+r.IntN(28_000))
		out[i].First += flow.Time(r.Int64N(int64(time.Hour)))
		out[i].Last = out[i].First + flow.Time(time.Second)
	}
	return out
}

// fillLive writes connections as a live sensor does.
func fillLive(t testing.TB, l *lake.Lake, conns []flow.Connection) {
	t.Helper()
	w, err := l.Begin(lake.Import{Sensor: "eth0", Source: "live"})
	if err != nil {
		t.Fatal(err)
	}
	for part := range slices.Chunk(conns, 100_000) {
		batch := new(flow.ConnBatch)
		for i := range part {
			batch.Add(&part[i])
		}
		if err := w.Connections(batch); err != nil {
			t.Fatal(err)
		}
		if err := w.Publish(lake.Final{}); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Commit(lake.Final{}); err != nil {
		t.Fatal(err)
	}
}

// drainRate returns how many flows a second a forwarder sends.
func drainRate(t testing.TB, d *DB, conns []flow.Connection) float64 {
	t.Helper()
	spool := newSpool(t)
	fillLive(t, spool, conns)
	f := newForwarder(t, d, spool)
	begin := time.Now()
	if err := f.Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	took := time.Since(begin)
	st := f.Stats()
	if st.Flows < int64(len(conns)) || st.Retries > 0 {
		t.Logf("%d updates of flows for %d connections, %d retries", st.Flows, len(conns), st.Retries)
	}
	return float64(st.Flows) / took.Seconds()
}

// rowsRate returns how many rows a second a statement takes.
func rowsRate(t testing.TB, d *DB, text string, conns []flow.Connection, batch int, hosts bool) float64 {
	t.Helper()
	s := newSender(d, nil, "")
	var took time.Duration
	for part := range slices.Chunk(conns, batch) {
		c := &chunk{hosts: newHostSet()}
		for i := range part {
			k := &part[i]
			slot := k.First.Micro() / 3600e6 * 3600e6
			c.addFlow(&lake.FlowRow{
				Src: k.Src, Dst: k.Dst, Proto: "tcp", Dport: int32(k.Dport), Type: -1, Sports: []int32{int32(k.Sport)},
				States: []string{"SF"}, Services: []string{"http"}, Sensors: []string{"eth0"}, Count: 1,
				CSPkts: int64(k.CSPkts), SCPkts: int64(k.SCPkts), CSBytes: int64(k.CSBytes), SCBytes: int64(k.SCBytes),
				First: k.First.Micro(), Last: k.Last.Micro(), Slots: []int64{slot},
			})
		}
		if hosts {
			if err := s.prepare(t.Context(), c, attemptTimeout); err != nil {
				t.Fatal(err)
			}
		}
		begin := time.Now()
		err := s.attempt(t.Context(), attemptTimeout, func(ctx context.Context, tx driver.ExplicitTransaction) error {
			_, err := collect(ctx, tx, text, map[string]any{"rows": c.flows})
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		took += time.Since(begin)
	}
	return float64(len(conns)) / took.Seconds()
}

// plainMerge is what one would write first: the whole path, for each row.
const plainMerge = `UNWIND $rows AS r
MERGE (s:Host {addr: r[1]}) MERGE (d:Host {addr: r[2]})
MERGE (s)-[:SEND]->(f:Flow {proto: r[3], dport: r[4]})-[:TO]->(d)
ON CREATE SET f.key = r[0], f.firstseen = r[6], f.lastseen = r[7], f.count = r[8], f.cspkts = r[9], f.scpkts = r[10],
  f.csbytes = r[11], f.scbytes = r[12], f.sports = r[13], f.conn_state = r[16], f.service = r[17], f.sensor = r[18], f.times = r[19]
ON MATCH SET f.lastseen = r[7], f.count = f.count + r[8], f.cspkts = f.cspkts + r[9], f.scpkts = f.scpkts + r[10],
  f.csbytes = f.csbytes + r[11], f.scbytes = f.scbytes + r[12], f.sports = f.sports + r[13]`

func median(list []float64) float64 {
	slices.Sort(list)
	return list[len(list)/2]
}

func TestPerfForward(t *testing.T) {
	if os.Getenv("WEIR_TEST_PERF") == "" {
		t.Skip("set WEIR_TEST_PERF to measure")
	}
	s := neo4jtest.Start(t)
	d, err := Open(t.Context(), s.URI(), Config{Password: s.Password(), Create: true})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	empty := func() {
		if err := d.Purge(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
	}
	conns := perfConns(40_000, 1)
	var plain, bare, load, known, ports []float64
	for round := range 6 { // the first one warms the server up
		empty()
		p := rowsRate(t, d, plainMerge, conns[:20_000], 1000, false)
		empty()
		b := rowsRate(t, d, newFlowQueries().create, conns, 5000, true)
		empty()
		l := drainRate(t, d, conns)
		k := drainRate(t, d, again(conns, uint64(round)))
		// One flow with all ports, beside the others.
		scan := conns[0]
		many := again(conns, uint64(round+100))
		for i := range 60_000 {
			c := scan
			c.UID, c.Sport = uint64(i), uint16(i)
			many = append(many, c)
		}
		rand.Shuffle(len(many), func(i, j int) { many[i], many[j] = many[j], many[i] })
		begin := time.Now()
		drainRate(t, d, many)
		x := float64(len(conns)) / time.Since(begin).Seconds()
		t.Logf("round %d: plain MERGE %.0f, bare CREATE %.0f, new flows %.0f, known flows %.0f, with 60,000 ports in one %.0f flows/s",
			round, p, b, l, k, x)
		if round > 0 {
			plain, bare, load, known, ports = append(plain, p), append(bare, b), append(load, l), append(known, k), append(ports, x)
		}
	}
	p, b, l, k, x := median(plain), median(bare), median(load), median(known), median(ports)
	t.Log(fmt.Sprintf("medians: plain MERGE %.0f, bare CREATE %.0f, new flows %.0f (%.1f times plain, %.0f %% of bare), known flows %.0f, with 60,000 ports %.0f",
		p, b, l, l/p, 100*l/b, k, x))
	if l < 5*p {
		t.Errorf("new flows: %.0f/s, less than 5 times %.0f/s", l, p)
	}
	if l < 0.7*b {
		t.Errorf("new flows: %.0f/s, less than 70 %% of %.0f/s", l, b)
	}
	if k < 6000 {
		t.Errorf("known flows: %.0f/s, less than 6,000", k)
	}
}
