// SPDX-License-Identifier: Apache-2.0

package lakequery_test

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"weir/store"
	"weir/store/lake"
	"weir/store/lake/laketest"
	"weir/store/lakequery"
)

// cpu returns the CPU time that this process has used.
func cpu(t *testing.T) time.Duration {
	t.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// TestPerfRollup compares what questions about flows cost with small parts,
// merged ones, and a roll-up.
func TestPerfRollup(t *testing.T) {
	if os.Getenv("WEIR_TEST_PERF") == "" {
		t.Skip("set WEIR_TEST_PERF to measure")
	}
	const conns, perPart = 500_000, 2_500
	path := filepath.Join(t.TempDir(), "lake")
	l, err := lake.Open(path, lake.Config{Create: true})
	if err != nil {
		t.Fatal(err)
	}
	day := time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC)
	err = laketest.Fill(l, laketest.Config{Day: day, Conns: conns, PerPart: perPart, Flows: conns / 6})
	if err != nil {
		t.Fatal(err)
	}
	top := func(q store.TopQuery) func(db *lakequery.DB) error {
		return func(db *lakequery.DB) error {
			_, err := db.Top(t.Context(), q)
			return err
		}
	}
	limit := store.Query{Limit: 10}
	questions := []struct {
		name string
		ask  func(db *lakequery.DB) error
	}{
		{"top proto, dport", top(store.TopQuery{Query: limit, Fields: []string{"proto", "dport"}})},
		{"bytes by source", top(store.TopQuery{
			Query: limit, Fields: []string{"src.addr"}, Sum: []string{"csbytes", "scbytes"},
		})},
		{"counts", func(db *lakequery.DB) error {
			_, err := db.Counts(t.Context(), store.Query{})
			return err
		}},
		{"page of flows by bytes", func(db *lakequery.DB) error {
			q := store.Query{Limit: 100, OrderBy: []store.Order{{Attr: "csbytes", Desc: true}}}
			for _, err := range db.Flows(t.Context(), q) {
				if err != nil {
					return err
				}
			}
			return nil
		}},
		{"a host's ports", top(store.TopQuery{
			Query:  store.Query{Limit: 10, Filter: parse(t, "src.addr = 10.0.1.0/24")},
			Fields: []string{"dport"}, Collect: []string{"conn_state"},
		})},
	}
	measure := func(stage string) []time.Duration {
		db := openDB(t, path)
		defer func() { _ = db.Close() }()
		used := make([]time.Duration, len(questions))
		for i, q := range questions {
			for try := range 3 {
				start := cpu(t)
				if err := q.ask(db); err != nil {
					t.Fatalf("%s: %v", q.name, err)
				}
				if took := cpu(t) - start; try == 0 || took < used[i] {
					used[i] = took
				}
			}
			t.Logf("%-12s %-24s %v", stage, q.name, used[i])
		}
		return used
	}
	compact := func(cfg lake.CompactConfig) {
		if _, err := l.Compact(t.Context(), cfg); err != nil {
			t.Fatal(err)
		}
	}
	small := measure("small parts")
	compact(lake.CompactConfig{MinAge: -1, MinRollup: 1e12})
	measure("merged")
	compact(lake.CompactConfig{MinAge: -1, QuietFor: -1})
	rolled := measure("rolled up")
	for i, q := range questions {
		if rolled[i] > small[i] {
			t.Errorf("%s takes %v with a roll-up, %v without", q.name, rolled[i], small[i])
		}
	}
}
