// SPDX-License-Identifier: Apache-2.0

package neo4j

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
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

// meter measures by the server's CPU time, which says more than the clock where
// other programs run, and by the clock.
type meter struct {
	pid   int
	begin time.Time
	cpu   time.Duration
}

// startMeter begins to measure the server of a database on this machine.
func startMeter(t testing.TB, d *DB) *meter {
	t.Helper()
	_, port, err := net.SplitHostPort(d.where.host)
	if err != nil {
		t.Fatal(err)
	}
	n, err := strconv.Atoi(port)
	if err != nil {
		t.Fatal(err)
	}
	m := &meter{pid: listenerOf(t, n), begin: time.Now()}
	m.cpu = m.used(t)
	return m
}

// rate returns how many of n things were done in a second of the server's CPU
// time, and of the clock's.
func (m *meter) rate(t testing.TB, n int) rate {
	t.Helper()
	return rate{float64(n) / (m.used(t) - m.cpu).Seconds(), float64(n) / time.Since(m.begin).Seconds()}
}

type rate struct{ cpu, wall float64 }

// String returns both.
func (r rate) String() string { return fmt.Sprintf("%.0f/s (%.0f/CPU s)", r.wall, r.cpu) }

// used returns the CPU time of the server.
func (m *meter) used(t testing.TB) time.Duration {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", m.pid))
	if err != nil {
		t.Fatal(err)
	}
	fields := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+2:]))
	var ticks int
	for _, f := range fields[11:13] { // in user and system mode, in hundredths of a second
		n, err := strconv.Atoi(f)
		if err != nil {
			t.Fatal(err)
		}
		ticks += n
	}
	return time.Duration(ticks) * 10 * time.Millisecond
}

// listenerOf returns the process that listens at a port.
func listenerOf(t testing.TB, port int) int {
	t.Helper()
	socket := ""
	for _, name := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, line := range strings.Split(string(b), "\n") {
			f := strings.Fields(line)
			if len(f) > 9 && strings.HasSuffix(f[1], fmt.Sprintf(":%04X", port)) && f[3] == "0A" {
				socket = "socket:[" + f[9] + "]"
			}
		}
	}
	links, err := filepath.Glob("/proc/[0-9]*/fd/*")
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range links {
		if to, err := os.Readlink(l); err == nil && to == socket {
			pid, err := strconv.Atoi(strings.Split(l, "/")[2])
			if err != nil {
				t.Fatal(err)
			}
			return pid
		}
	}
	t.Fatalf("no process listens at port %d", port)
	return 0
}

// drainRate returns how many flows a second a forwarder sends.
func drainRate(t testing.TB, d *DB, conns []flow.Connection) rate {
	t.Helper()
	spool := newSpool(t)
	fillLive(t, spool, conns)
	f := newForwarder(t, d, spool)
	m := startMeter(t, d)
	if err := f.Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	st := f.Stats()
	if st.Connections != int64(len(conns)) {
		t.Errorf("%d connections were sent, of %d", st.Connections, len(conns))
	}
	return m.rate(t, int(st.Flows))
}

// intelRate returns how many records of intel a second a forwarder sends, two for
// each connection.
func intelRate(t testing.TB, d *DB, conns []flow.Connection, seed uint64) rate {
	t.Helper()
	r := rand.New(rand.NewPCG(seed, 3))
	spool := newSpool(t)
	w, err := spool.Begin(lake.Import{Sensor: "eth0", Source: "live"})
	if err != nil {
		t.Fatal(err)
	}
	batch := flow.NewIntelBatch()
	for i := range conns {
		for range 2 {
			batch.Begin(flow.DNS, &conns[i].Tuple, conns[i].First)
			batch.SetString(flow.DNSQuery, fmt.Sprintf("host%d.example.com", r.IntN(5000)))
			batch.SetString(flow.DNSQTypeName, "A")
			batch.SetInt(flow.DNSTransID, int64(r.IntN(1<<16)))
			batch.SetInt(flow.DNSRTT, int64(r.IntN(100_000)))
			batch.AppendText(flow.DNSAnswers, fmt.Appendf(nil, "192.0.2.%d", r.IntN(256)))
		}
	}
	if err := w.Intel(batch); err != nil {
		t.Fatal(err)
	}
	if err := w.Commit(lake.Final{}); err != nil {
		t.Fatal(err)
	}
	f := newForwarder(t, d, spool)
	m := startMeter(t, d)
	if err := f.Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	st := f.Stats()
	if st.Intel != int64(2*len(conns)) {
		t.Errorf("%d records of intel were sent, of %d", st.Intel, 2*len(conns))
	}
	return m.rate(t, int(st.Intel))
}

// rowsRate returns how many rows a second a statement takes.
func rowsRate(t testing.TB, d *DB, text string, conns []flow.Connection, batch int, hosts bool) rate {
	t.Helper()
	s := newSender(d, nil, "")
	var chunks []*chunk
	for part := range slices.Chunk(conns, batch) {
		c := &chunk{hosts: newHostSet()}
		for i := range part {
			f := flowRow(&part[i])
			c.hosts.addFlow(&f)
			c.addFlow(&f)
		}
		if hosts {
			if err := s.prepare(t.Context(), c, attemptTimeout); err != nil {
				t.Fatal(err)
			}
		}
		chunks = append(chunks, c)
	}
	m := startMeter(t, d)
	for _, c := range chunks {
		err := s.attempt(t.Context(), attemptTimeout, func(ctx context.Context, tx driver.ExplicitTransaction) error {
			_, err := collect(ctx, tx, text, map[string]any{"rows": c.flows})
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return m.rate(t, len(conns))
}

// plainMerge is what one would write first: the whole path, for each row.
const plainMerge = `UNWIND $rows AS r
MERGE (s:Host {addr: r[1]}) MERGE (d:Host {addr: r[2]})
MERGE (s)-[:SEND]->(f:Flow {proto: r[3], dport: r[4]})-[:TO]->(d)
ON CREATE SET f.key = r[0], f.firstseen = r[6], f.lastseen = r[7], f.count = r[8], f.cspkts = r[9], f.scpkts = r[10],
  f.csbytes = r[11], f.scbytes = r[12], f.sports = r[13], f.conn_state = r[16], f.service = r[17], f.sensor = r[18], f.times = r[19]
ON MATCH SET f.lastseen = r[7], f.count = f.count + r[8], f.cspkts = f.cspkts + r[9], f.scpkts = f.scpkts + r[10],
  f.csbytes = f.csbytes + r[11], f.scbytes = f.scbytes + r[12], f.sports = f.sports + r[13]`

// bareCreate is the statement that makes flows, which looks for both hosts of each.
func bareCreate() string {
	const bySource = "UNWIND $rows AS g MATCH (s:Host {addr: g[0]})\nUNWIND g[1] AS r MATCH (d:"
	return strings.Replace(newFlowQueries().create, bySource, "UNWIND $rows AS r MATCH (s:Host {addr: r[1]}) MATCH (d:", 1)
}

// median returns the medians of both rates.
func median(list []rate) rate {
	slices.SortFunc(list, func(a, b rate) int { return cmp.Compare(a.wall, b.wall) })
	wall := list[len(list)/2].wall
	slices.SortFunc(list, func(a, b rate) int { return cmp.Compare(a.cpu, b.cpu) })
	return rate{list[len(list)/2].cpu, wall}
}

// perfServer returns an empty database to measure with.
func perfServer(t testing.TB) *DB {
	t.Helper()
	d := perfDB(t)
	if err := d.Purge(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	return d
}

// perfDB returns the database of a server of the test's own, a large one where all is
// measured, or of the one that WEIR_TEST_PERF names by its URI, with the password in
// WEIR_NEO4J_PASSWORD.
func perfDB(t testing.TB) *DB {
	t.Helper()
	uri, password := os.Getenv("WEIR_TEST_PERF"), os.Getenv("WEIR_NEO4J_PASSWORD")
	if !IsURI(uri) {
		start := neo4jtest.Start
		if uri == "full" {
			start = neo4jtest.StartLarge
		}
		s := start(t)
		uri, password = s.URI(), s.Password()
	}
	d, err := Open(t.Context(), uri, Config{Password: password, Create: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	return d
}

// measuring skips a test that measures unless WEIR_TEST_PERF is set, and reports
// whether it is 1: then, as in CI, on a machine that may be busy and with a server
// that compiles little, less is measured, and half of what is wanted is enough.
func measuring(t *testing.T) (quick bool, share float64) {
	t.Helper()
	switch os.Getenv("WEIR_TEST_PERF") {
	case "":
		t.Skip("set WEIR_TEST_PERF to measure: 1 for a quick look, full for all of it")
	case "1":
		return true, 0.5
	}
	return false, 1
}

// TestPerfForward compares what is sent in a second with bare statements on the same
// server, and checks what is wanted of it.
func TestPerfForward(t *testing.T) {
	quick, share := measuring(t)
	d := perfServer(t)
	empty := func() {
		if err := d.Purge(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
	}
	rounds := 5
	if quick {
		rounds = 2
	}
	conns := perfConns(20_000, 1)
	var plain, bare, load, known, ports, intel []rate
	for round := range rounds + 1 { // the first one warms the server up
		empty()
		p := rowsRate(t, d, plainMerge, conns, 1000, false)
		empty()
		b := rowsRate(t, d, bareCreate(), conns, 5000, true)
		empty()
		l := drainRate(t, d, conns)
		k := drainRate(t, d, again(conns, uint64(round)))
		// One flow with all ports, beside the others.
		many := again(conns, uint64(round+100))
		for i := range 60_000 {
			c := conns[0]
			c.UID, c.Sport = uint64(i), uint16(i)
			many = append(many, c)
		}
		rand.Shuffle(len(many), func(i, j int) { many[i], many[j] = many[j], many[i] })
		x := drainRate(t, d, many)
		in := intelRate(t, d, conns[:10_000], uint64(round))
		t.Logf("round %d: plain MERGE %v, bare CREATE %v, new flows %v, known flows %v, with 60,000 ports in one %v, intel %v",
			round, p, b, l, k, x, in)
		if round > 0 {
			plain, bare, load = append(plain, p), append(bare, b), append(load, l)
			known, ports, intel = append(known, k), append(ports, x), append(intel, in)
		}
	}
	p, b, l, k := median(plain), median(bare), median(load), median(known)
	t.Logf("medians of %d: plain MERGE %v, bare CREATE %v, new flows %v, known flows %v, with 60,000 ports in one %v, intel %v",
		rounds, p, b, l, k, median(ports), median(intel))
	t.Logf("new flows: %.1f times plain MERGE (CPU: %.1f), %.0f %% of bare CREATE (CPU: %.0f %%)",
		l.wall/p.wall, l.cpu/p.cpu, 100*l.wall/b.wall, 100*l.cpu/b.cpu)
	if l.wall < share*5*p.wall {
		t.Errorf("new flows: %.0f/s, less than 5 times %.0f/s", l.wall, p.wall)
	}
	if l.wall < share*0.7*b.wall {
		t.Errorf("new flows: %.0f/s, less than 70 %% of %.0f/s", l.wall, b.wall)
	}
	if k.wall < share*6000 {
		t.Errorf("known flows: %.0f/s, less than 6,000", k.wall)
	}
}
