// SPDX-License-Identifier: Apache-2.0

package neo4j

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	driver "github.com/neo4j/neo4j-go-driver/v5/neo4j"

	"weir/internal/filter"
	"weir/internal/flow"
	"weir/store"
	"weir/store/lake"
	"weir/store/storetest"
)

// flowRow is the flow of a connection, as a lake has it.
func flowRow(k *flow.Connection) lake.FlowRow {
	return lake.FlowRow{
		Src: k.Src, Dst: k.Dst, Proto: "tcp", Dport: int32(k.Dport), Type: -1, Sports: []int32{int32(k.Sport)},
		States: []string{"SF"}, Services: []string{"http"}, Sensors: []string{"eth0"}, Count: 1,
		CSPkts: int64(k.CSPkts), SCPkts: int64(k.SCPkts), CSBytes: int64(k.CSBytes), SCBytes: int64(k.SCBytes),
		First: k.First.Micro(), Last: k.Last.Micro(), Slots: []int64{k.First.Micro() / 3600e6 * 3600e6},
	}
}

// loadMany makes n flows with the forwarder's own statements, but without its marks
// and without asking what is there; each tenth has a DNS exchange. What is unique of
// flows is, so the server checks that, and fills the other indexes, only once they are there.
func loadMany(t *testing.T, d *DB, n int) {
	t.Helper()
	conns := perfConns(n, 3)
	slices.SortStableFunc(conns, func(a, b flow.Connection) int { return a.Src.Compare(b.Src) })
	for _, i := range schema() {
		if i.label != "Flow" {
			continue
		}
		what := "INDEX"
		if i.unique {
			what = "CONSTRAINT"
		}
		if _, err := d.runAlone(t.Context(), "DROP "+what+" "+i.name+" IF EXISTS", nil, schemaTimeout, nil); err != nil {
			t.Fatal(err)
		}
	}
	s := newSender(d, nil, "")
	hosts := &chunk{hosts: newHostSet()}
	for i := range conns {
		f := flowRow(&conns[i])
		hosts.hosts.addFlow(&f)
	}
	if err := s.prepare(t.Context(), hosts, attemptTimeout); err != nil {
		t.Fatal(err)
	}
	dns := newKindQueries(flow.DNS, &flow.Kinds()[flow.DNS])
	run := func(text string, rows any) {
		t.Helper()
		err := s.attempt(t.Context(), attemptTimeout, func(ctx context.Context, tx driver.ExplicitTransaction) error {
			_, err := collect(ctx, tx, text, map[string]any{"rows": rows})
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	const names = 4000
	var nodes []any
	for i := range names {
		node := make([]any, 3+len(dns.nodeProperties()))
		node[0], node[1], node[2] = fmt.Sprint(i), moment(conns[0].First.Micro()), moment(conns[0].Last.Micro())
		node[3] = fmt.Sprintf("host%d.example%d.com", i, i%97)
		nodes = append(nodes, node)
	}
	run(dns.create, nodes)
	// The next rows are made while the server works.
	type rows struct{ flows, intel []any }
	ready := make(chan rows, 2)
	go func() {
		defer close(ready)
		number := 0
		for part := range slices.Chunk(conns, 5000) {
			c := new(chunk)
			var fresh sourceRows
			var intel []any
			for i := range part {
				f := flowRow(&part[i])
				c.addFlow(&f)
				row := c.flows[i].([]any)
				fresh.add(row)
				if number++; number%10 == 0 {
					relation := make([]any, 3+len(dns.measures))
					relation[0], relation[1], relation[2] = row[flowKey], fmt.Sprint(number/10%names), int64(1)
					intel = append(intel, relation)
				}
			}
			select {
			case ready <- rows{fresh.list(), intel}:
			case <-t.Context().Done():
				return
			}
		}
	}()
	var intel [][]any
	for r := range ready {
		run(s.queries.create, r.flows)
		intel = append(intel, r.intel)
	}
	// Intel is related to flows by their keys.
	if err := d.EnsureIndexes(t.Context()); err != nil {
		t.Fatal(err)
	}
	for rows := range slices.Chunk(slices.Concat(intel...), 5000) {
		run(dns.relate, rows)
	}
}

// perfFlows returns a database with n flows of loadMany: what the server has already where
// that is as many, so that one can measure again without making them again.
func perfFlows(t *testing.T, n int) *DB {
	t.Helper()
	d := perfDB(t)
	found, err := d.Counts(t.Context(), store.Query{})
	if err != nil {
		t.Fatal(err)
	}
	if found.Flows == int64(n) {
		return d
	}
	if err := d.Purge(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	loadMany(t, d, n)
	t.Logf("%d flows made in %v", n, time.Since(begin).Round(time.Second))
	return d
}

// most is how long each question may take, of a million flows and a warm server.
const most = 2 * time.Second

// TestPerfQueries measures questions to a million flows, each the median of five,
// and checks that none takes too long. With WEIR_TEST_PERF=1 it asks 100,000 flows of a small server,
// which compiles so little that each takes three times as long, and of a machine that may be busy.
func TestPerfQueries(t *testing.T) {
	flows, most := 1_000_000, most
	if quick, _ := measuring(t); quick {
		flows, most = flows/10, most/2
	}
	d := perfFlows(t, flows)
	query := func(text string) (q store.Query) {
		if text == "" {
			return q
		}
		e, err := filter.Parse(text, storetest.Options())
		if err != nil {
			t.Fatal(err)
		}
		q.Filter = e
		return q
	}
	limit := most
	measure := func(name string, ask func() (int64, error)) {
		t.Run(name, func(t *testing.T) {
			var wall, cpu []time.Duration
			found := int64(0)
			for round := range 6 { // the first one warms the server up
				m := startMeter(t, d)
				n, err := ask()
				if err != nil {
					t.Fatal(err)
				}
				if found = n; round > 0 {
					wall, cpu = append(wall, time.Since(m.begin)), append(cpu, m.used(t)-m.cpu)
				}
			}
			slices.Sort(wall)
			slices.Sort(cpu)
			t.Logf("%-60s %6d ms (%d to %d), CPU %d ms (%d to %d), %d", name, wall[2].Milliseconds(), wall[0].Milliseconds(),
				wall[4].Milliseconds(), cpu[2].Milliseconds(), cpu[0].Milliseconds(), cpu[4].Milliseconds(), found)
			// By the clock other programs of the machine count, too.
			if took := min(wall[2], cpu[2]); took > limit {
				t.Errorf("%v, more than %v", took.Round(time.Millisecond), limit)
			}
		})
	}
	top := func(q store.TopQuery) {
		q.Limit = 20
		measure(fmt.Sprintf("top %v, sum %v", q.Fields, q.Sum), func() (int64, error) {
			rows, err := d.Top(t.Context(), q)
			return int64(len(rows)), err
		})
	}
	top(store.TopQuery{Fields: []string{"proto", "dport"}})
	top(store.TopQuery{Fields: []string{"src.addr"}, Sum: []string{"csbytes", "scbytes"}})
	for _, step := range []time.Duration{0, 6 * time.Hour} {
		measure(fmt.Sprintf("timeline %v", step), func() (int64, error) {
			slots, err := d.Timeline(t.Context(), store.TimelineQuery{Step: step})
			return int64(len(slots)), err
		})
	}
	for _, text := range []string{"dport = 3", "addr = 10.0.0.7"} {
		for _, order := range [][]store.Order{nil, {{Attr: "csbytes", Desc: true}}} {
			q := query(text)
			q.OrderBy, q.Limit, q.Times = order, 1000, true
			measure(fmt.Sprintf("page of %s by %v", text, order), func() (n int64, err error) {
				for _, err := range d.Flows(t.Context(), q) {
					if err != nil {
						return n, err
					}
					n++
				}
				return n, nil
			})
		}
	}
	pairs := func(text string, services bool, order []store.Order) {
		q := store.PairQuery{Query: query(text), Services: services}
		q.Limit, q.OrderBy = 1000, order
		measure(fmt.Sprintf("pairs of %q, services %v, by %v", text, services, order), func() (n int64, err error) {
			for _, err := range d.Pairs(t.Context(), q) {
				if err != nil {
					return n, err
				}
				n++
			}
			return n, nil
		})
	}
	for _, services := range []bool{false, true} {
		for _, text := range []string{"", "dport = 3", "csbytes > 1k"} {
			pairs(text, services, nil)
		}
	}
	for _, text := range []string{
		"", "dport = 3", "dport > 100", "addr = 10.0.0.7", "src.addr = 10.0.0.0/28", `meta.query =~ .*example1\..*`, "csbytes > 1M", "csbytes > 1k",
		"scbytes < 40k", "csbytes > scbytes", "LEN sports = 1", "LEN sports > 1", "sports > 40000", "service = http", "firstseen > 2026-03-02T12:00:00Z", "#DNS",
	} {
		q := query(text)
		measure(fmt.Sprintf("counts of %q", text), func() (int64, error) {
			n, err := d.Counts(t.Context(), q)
			return n.Flows, err
		})
	}
	measure("host", func() (int64, error) {
		hosts, err := d.Hosts(t.Context(), store.HostQuery{Addrs: []netip.Addr{netip.MustParseAddr("10.0.0.7")}})
		return int64(len(hosts)), err
	})
	// Whoever ranks all pairs of hosts waits for longer: docs/neo4j.md says for how long.
	limit = 15 * most
	pairs("", false, []store.Order{{Attr: "csbytes", Desc: true}})
	top(store.TopQuery{Fields: []string{"src.addr", "dst.addr"}})
}
