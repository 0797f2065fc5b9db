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

// loadMany makes n flows with the forwarder's own statements, but without its marks
// and without asking what is there; each tenth has a DNS exchange.
func loadMany(t *testing.T, d *DB, n int) {
	t.Helper()
	conns := perfConns(n, 3)
	slices.SortStableFunc(conns, func(a, b flow.Connection) int { return a.Src.Compare(b.Src) })
	s := newSender(d, nil, "")
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
	number := 0
	for part := range slices.Chunk(conns, 5000) {
		c := &chunk{hosts: newHostSet()}
		var fresh sourceRows
		var intel []any
		for i := range part {
			k := &part[i]
			f := lake.FlowRow{
				Src: k.Src, Dst: k.Dst, Proto: "tcp", Dport: int32(k.Dport), Type: -1, Sports: []int32{int32(k.Sport)},
				States: []string{"SF"}, Services: []string{"http"}, Sensors: []string{"eth0"}, Count: 1,
				CSPkts: int64(k.CSPkts), SCPkts: int64(k.SCPkts), CSBytes: int64(k.CSBytes), SCBytes: int64(k.SCBytes),
				First: k.First.Micro(), Last: k.Last.Micro(), Slots: []int64{k.First.Micro() / 3600e6 * 3600e6},
			}
			c.hosts.addFlow(&f)
			c.addFlow(&f)
			row := c.flows[i].([]any)
			fresh.add(row)
			if number++; number%10 == 0 {
				relation := make([]any, 3+len(dns.measures))
				relation[0], relation[1], relation[2] = row[flowKey], fmt.Sprint(number/10%names), int64(1)
				intel = append(intel, relation)
			}
		}
		if err := s.prepare(t.Context(), c, attemptTimeout); err != nil {
			t.Fatal(err)
		}
		run(s.queries.create, fresh.list())
		run(dns.relate, intel)
	}
}

// most is how long each question may take, of a million flows and a warm server.
const most = 2 * time.Second

// TestPerfQueries measures questions to a million flows, each the median of five,
// and checks that none takes too long. WEIR_TEST_PERF=1 asks 100,000 flows; a server
// that scripts/neo4j has started (WEIR_TEST_PERF is its URI) has the memory that is meant.
func TestPerfQueries(t *testing.T) {
	flows := 1_000_000
	if quick, _ := measuring(t); quick {
		flows = 100_000
	}
	d := perfServer(t)
	begin := time.Now()
	loadMany(t, d, flows)
	t.Logf("%d flows made in %v", flows, time.Since(begin).Round(time.Second))
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
	measure := func(name string, ask func() (int64, error)) {
		var took []time.Duration
		found := int64(0)
		for round := range 6 { // the first one warms the server up
			begin := time.Now()
			n, err := ask()
			if err != nil {
				t.Errorf("%s: %v", name, err)
				return
			}
			if found = n; round > 0 {
				took = append(took, time.Since(begin))
			}
		}
		slices.Sort(took)
		t.Logf("%-60s %6d ms (%d to %d), %d", name, took[2].Milliseconds(), took[0].Milliseconds(), took[4].Milliseconds(), found)
		if took[2] > most {
			t.Errorf("%s: %v, more than %v", name, took[2].Round(time.Millisecond), most)
		}
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
	for _, services := range []bool{false, true} {
		for _, text := range []string{"", "dport = 3"} {
			q := store.PairQuery{Query: query(text), Services: services}
			q.Limit = 1000
			measure(fmt.Sprintf("pairs of %q, services %v", text, services), func() (n int64, err error) {
				for _, err := range d.Pairs(t.Context(), q) {
					if err != nil {
						return n, err
					}
					n++
				}
				return n, nil
			})
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
}
