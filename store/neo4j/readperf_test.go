// SPDX-License-Identifier: Apache-2.0

package neo4j

import (
	"fmt"
	"testing"
	"time"

	"weir/internal/filter"
	"weir/internal/flow"
	"weir/store"
	"weir/store/lake"
	"weir/store/storetest"
)

// fillMany sends n flows, each tenth of them with a DNS exchange.
func fillMany(t *testing.T, n int) *DB {
	t.Helper()
	d := open(t)
	spool := newSpool(t)
	w, err := spool.Begin(lake.Import{ID: "perf", Sensor: "a", Source: "capture"})
	if err != nil {
		t.Fatal(err)
	}
	batch, intel := new(flow.ConnBatch), flow.NewIntelBatch()
	for i, c := range perfConns(n, 3) {
		batch.Add(&c)
		if i%10 == 0 {
			intel.Begin(flow.DNS, &c.Tuple, c.First)
			intel.SetString(flow.DNSQuery, fmt.Sprintf("host%d.example%d.com", i%4000, i%97))
			intel.SetString(flow.DNSRcodeName, "NOERROR")
			intel.SetInt(flow.DNSRTT, int64(i%5000))
			intel.AppendText(flow.DNSAnswers, fmt.Appendf(nil, "198.51.100.%d", i%256))
		}
	}
	if err := w.Connections(batch); err != nil {
		t.Fatal(err)
	}
	if err := w.Intel(intel); err != nil {
		t.Fatal(err)
	}
	if err := w.Commit(lake.Final{}); err != nil {
		t.Fatal(err)
	}
	if err := newForwarder(t, d, spool).Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	return d
}

// TestQuerySpeed measures questions to 100,000 flows (20,000 for a quick look), each the fastest of three.
// It is no test of a target.
func TestQuerySpeed(t *testing.T) {
	flows := 100_000
	if quick, _ := measuring(t); quick {
		flows = 20_000
	}
	d := fillMany(t, flows)
	query := func(text string) store.Query {
		if text == "" {
			return store.Query{}
		}
		e, err := filter.Parse(text, storetest.Options())
		if err != nil {
			t.Fatal(err)
		}
		return store.Query{Filter: e}
	}
	measure := func(name string, ask func() (int64, error)) {
		best, found := time.Hour, int64(0)
		for range 3 {
			begin := time.Now()
			n, err := ask()
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			best, found = min(best, time.Since(begin)), n
		}
		t.Logf("%-60s %6d ms, %d", name, best.Milliseconds(), found)
	}
	for _, text := range []string{
		"", "dport > 1000", "LEN sports = 1", `src.addr =~ 10\.0\.1.*`, "src.addr = 10.0.0.0/28", "addr = 10.0.0.7", "meta.query =~ .*example1\\..*",
		"meta.dns.query = host7.example7.com", "#DNS", "csbytes > scbytes", "firstseen > 2026-03-02T22:00:00Z",
	} {
		q := query(text)
		measure("counts "+text, func() (int64, error) {
			n, err := d.Counts(t.Context(), q)
			return n.Flows, err
		})
		list := func(q store.Query) func() (int64, error) {
			return func() (n int64, err error) {
				for _, err := range d.Flows(t.Context(), q) {
					if err != nil {
						return n, err
					}
					n++
				}
				return n, nil
			}
		}
		q.Limit = 1000
		measure("first 1000 of "+text, list(q))
		q.OrderBy = []store.Order{{Attr: "csbytes", Desc: true}}
		measure("greatest 1000 of "+text, list(q))
		if text == "" {
			measure("all", list(store.Query{}))
		}
	}
	for _, q := range []store.TopQuery{
		{Fields: []string{"proto", "dport"}},
		{Fields: []string{"src.addr"}, Sum: []string{"csbytes", "scbytes"}},
		{Fields: []string{"src.addr", "dst.addr"}},
		{Fields: []string{"src.addr"}, Collect: []string{"dport"}},
		{Fields: []string{"times.start"}},
		{Fields: []string{"meta.dns.query"}},
		{Fields: []string{"service"}},
	} {
		q.Limit = 10
		measure(fmt.Sprintf("top %v, sum %v, collect %v", q.Fields, q.Sum, q.Collect), func() (int64, error) {
			rows, err := d.Top(t.Context(), q)
			return int64(len(rows)), err
		})
	}
	measure("status", func() (int64, error) {
		s, err := d.Status(t.Context())
		if err != nil {
			return 0, err
		}
		return s.Connections, nil
	})
}
