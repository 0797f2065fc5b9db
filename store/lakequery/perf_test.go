// SPDX-License-Identifier: Apache-2.0

package lakequery_test

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"weir/store"
	"weir/store/lake"
	"weir/store/lake/laketest"
)

// drain reads what a question yields.
func drain[T any](list func(yield func(T, error) bool)) (n int, err error) {
	list(func(_ T, e error) bool {
		if err = e; e == nil {
			n++
		}
		return e == nil
	})
	return n, err
}

// TestQuestionSpeed prints how long each question takes on a lake of two million connections
// that was compacted, or on the one that WEIR_TEST_LAKE names: the medians of three times.
func TestQuestionSpeed(t *testing.T) {
	if os.Getenv("WEIR_TEST_PERF") == "" {
		t.Skip("set WEIR_TEST_PERF to measure")
	}
	path := os.Getenv("WEIR_TEST_LAKE")
	if path == "" {
		path = filepath.Join(t.TempDir(), "lake")
		l, err := lake.Open(path, lake.Config{Create: true})
		if err != nil {
			t.Fatal(err)
		}
		err = laketest.Fill(l, laketest.Config{
			Day: time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC), Days: 7, Conns: 2_000_000, PerPart: 10_000, Flows: 600_000, Intel: 40_000,
		})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := l.Compact(t.Context(), lake.CompactConfig{MinAge: -1, QuietFor: -1, All: true}); err != nil {
			t.Fatal(err)
		}
	}
	db := openDB(t, path)
	page := func(filter string) store.Query {
		q := store.Query{Limit: 1000}
		if filter != "" {
			q.Filter = parse(t, filter)
		}
		return q
	}
	first, err := db.Top(t.Context(), store.TopQuery{Query: store.Query{Limit: 3}, Fields: []string{"dst.addr"}})
	if err != nil {
		t.Fatal(err)
	}
	host := first[2].Fields[0].(string)
	pairs := func(q store.PairQuery) func() (int, error) {
		return func() (int, error) { return drain(db.Pairs(t.Context(), q)) }
	}
	list := func(q store.Query) func() (int, error) {
		return func() (int, error) { return drain(db.Flows(t.Context(), q)) }
	}
	times := func(q store.TimelineQuery) func() (int, error) {
		return func() (int, error) {
			slots, err := db.Timeline(t.Context(), q)
			return len(slots), err
		}
	}
	withAll := page("dport = 443")
	withAll.Times, withAll.Intel = true, 10
	for _, q := range []struct {
		name string
		ask  func() (int, error)
	}{
		{"timeline", times(store.TimelineQuery{})},
		{"timeline by proto", times(store.TimelineQuery{By: []string{"proto"}})},
		{"timeline of a port", times(store.TimelineQuery{Filter: page("dport = 53").Filter})},
		{"timeline of a host", times(store.TimelineQuery{Filter: page("addr = " + host).Filter})},
		{"timeline csbytes > 1M", times(store.TimelineQuery{Filter: page("csbytes > 1M").Filter})},
		{"timeline by days", times(store.TimelineQuery{Step: 24 * time.Hour})},
		{"talk_map of all", pairs(store.PairQuery{Query: page("")})},
		{"talk_map of a port", pairs(store.PairQuery{Query: page("dport = 443")})},
		{"flow_map of a port", pairs(store.PairQuery{Query: page("dport = 443"), Services: true})},
		{"flow_map of a host", pairs(store.PairQuery{Query: page("addr = " + host), Services: true})},
		{"flows of a port", list(page("dport = 443"))},
		{"flows of a host", list(page("addr = " + host))},
		{"flows, times, intel", list(withAll)},
		{"fields of a port", func() (int, error) {
			return drain(db.Fields(t.Context(), page("dport = 443"), []string{"src.addr", "dst.addr", "sports"}))
		}},
		{"host", func() (int, error) {
			hosts, err := db.Hosts(t.Context(), store.HostQuery{Addrs: hostAddrs()[:1:1], Intel: 10})
			return len(hosts), err
		}},
	} {
		var took, used []time.Duration
		rows := 0
		for range 3 {
			start, before := time.Now(), cpu(t)
			n, err := q.ask()
			if err != nil {
				t.Fatalf("%s: %v", q.name, err)
			}
			took, used, rows = append(took, time.Since(start)), append(used, cpu(t)-before), n
		}
		slices.Sort(took)
		slices.Sort(used)
		t.Logf("%-24s %8.3f s  %8.3f s of CPU  %d rows", q.name, took[1].Seconds(), used[1].Seconds(), rows)
	}
}
