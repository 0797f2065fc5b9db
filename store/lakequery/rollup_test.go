// SPDX-License-Identifier: Apache-2.0

package lakequery_test

import (
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"net/netip"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"weir/internal/filter"
	"weir/internal/flow"
	"weir/store"
	"weir/store/lake"
	"weir/store/lakequery"
)

// publishLake adds a live import to the store at path, in n publications.
func publishLake(t *testing.T, path, sensor string, conns []flow.Connection, intel *flow.IntelBatch, n int) *lake.Lake {
	t.Helper()
	l, err := lake.Open(path, lake.Config{Create: true})
	if err != nil {
		t.Fatal(err)
	}
	w, err := l.Begin(lake.Import{Sensor: sensor, Source: "live"})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = w.Abort() }() // after Commit it does nothing
	if err := w.Intel(intel); err != nil {
		t.Fatal(err)
	}
	for i := range n {
		b := new(flow.ConnBatch)
		for j := i * len(conns) / n; j < (i+1)*len(conns)/n; j++ {
			b.Add(&conns[j])
		}
		if err := w.Connections(b); err != nil {
			t.Fatal(err)
		}
		if err := w.Publish(lake.Final{}); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Commit(lake.Final{}); err != nil {
		t.Fatal(err)
	}
	return l
}

// spread puts connections on three days, and makes some of them interim
// records, extremely large, or very long.
func spread(conns []flow.Connection, seed uint64) {
	r := rand.New(rand.NewPCG(seed, 3))
	for i := range conns {
		c := &conns[i]
		c.UID ^= seed
		day := flow.Time(r.IntN(3)) * 86_400e9
		c.First, c.Last = c.First+day, c.Last+day
		switch r.IntN(8) {
		case 0:
			c.End, c.State = flow.EndActive, flow.S1
		case 1:
			c.Count = 0
		case 2:
			c.Last += flow.Time(r.IntN(30)) * 3_600e9
		case 3:
			c.Count = uint64(r.IntN(5))
		case 4:
			if r.IntN(40) == 0 {
				c.CSBytes = math.MaxUint64
			}
		}
	}
}

// rollupFilters returns filters of every kind, and some of two or three of them.
func rollupFilters(n int) []string {
	texts := append([]string{""}, filterTexts()...)
	r := rand.New(rand.NewPCG(5, 5))
	for range n {
		text := ""
		for i := range 2 + r.IntN(2) {
			if i > 0 {
				text += []string{" AND ", " OR "}[r.IntN(2)]
			}
			text += []string{"", "!"}[r.IntN(2)] + "(" + filterTexts()[r.IntN(len(filterTexts()))] + ")"
		}
		texts = append(texts, text)
	}
	return texts
}

// rollupAnswers asks everything about a filter.
func rollupAnswers(t *testing.T, db *lakequery.DB, e *filter.Expr) string {
	t.Helper()
	q := store.Query{Filter: e}
	var out []any
	for _, order := range [][]store.Order{nil, {{Attr: "csbytes", Desc: true}, {Attr: "flow"}}} {
		q.OrderBy = order
		out = append(out, flows(t, db, q))
	}
	page := q
	page.Skip, page.Limit = 2, 5
	out = append(out, flows(t, db, page))
	n, err := db.Counts(t.Context(), q)
	if err != nil {
		t.Fatal(err)
	}
	out = append(out, n)
	for _, top := range []store.TopQuery{
		{Fields: []string{"proto", "dport"}},
		{Fields: []string{"src.addr"}, Sum: []string{"csbytes", "scbytes"}, Collect: []string{"sports", "conn_state"}},
		{Fields: []string{"service"}, Collect: []string{"sensor", "vlan"}, Least: true},
		{Fields: []string{"meta.dns.query"}, Collect: []string{"dst.addr"}},
		{Fields: []string{"times.start"}, Collect: []string{"proto"}},
		{Fields: []string{"proto"}, Collect: []string{"times.duration", "times.start"}},
	} {
		top.Query = store.Query{Filter: e, Limit: 20}
		rows, err := db.Top(t.Context(), top)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, rows)
	}
	out = append(out, newAnswers(t, db, e)...)
	// Texts compare in no time.
	text, err := json.MarshalIndent(out, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// newAnswers asks about times, intel, attributes, pairs and hosts.
func newAnswers(t *testing.T, db *lakequery.DB, e *filter.Expr) (out []any) {
	t.Helper()
	everything := store.Query{Filter: e, Times: true, Intel: store.All}
	some := store.Query{Filter: e, Times: true, Intel: 2, Skip: 1, Limit: 6, OrderBy: []store.Order{{Attr: "count", Desc: true}}}
	for _, q := range []store.Query{everything, some} {
		out = append(out, flows(t, db, q))
		for _, services := range []bool{false, true} {
			for p, err := range db.Pairs(t.Context(), store.PairQuery{Query: q, Services: services}) {
				if err != nil {
					t.Fatal(err)
				}
				out = append(out, *p)
			}
		}
		names := []string{"addr", "dport", "sports", "service", "times.start", "meta.dns.answers", "csbytes", "firstseen"}
		for row, err := range db.Fields(t.Context(), q, names) {
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, slices.Clone(row))
		}
	}
	for _, q := range []store.TimelineQuery{
		{},
		{Step: 6 * time.Hour, By: []string{"proto", "dport"}},
		{By: []string{"sensor"}, After: day(1).Add(90 * time.Minute), Before: day(2).Add(time.Nanosecond)},
		{By: []string{"dst.addr"}, After: day(1)},
		{Step: 24 * time.Hour, Before: day(2)},
	} {
		q.Filter = e
		slots, err := db.Timeline(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, slots)
	}
	hosts, err := db.Hosts(t.Context(), store.HostQuery{Addrs: hostAddrs(), Intel: 2})
	if err != nil {
		t.Fatal(err)
	}
	return append(out, hosts)
}

// day returns the begin of a day of spread.
func day(n int) time.Time {
	return time.Unix(0, int64(base)).UTC().Truncate(24*time.Hour).AddDate(0, 0, n)
}

// hostAddrs returns addresses that connections of randomConns have.
func hostAddrs() (out []netip.Addr) {
	for _, text := range []string{"10.0.0.1", "fe80::1", "::ffff:10.0.0.2", "2001:db8::1", "192.0.2.99"} {
		out = append(out, netip.MustParseAddr(text))
	}
	return out
}

// TestRollupAnswers: every answer is the same with small parts, merged ones,
// roll-ups, and roll-ups with late parts.
func TestRollupAnswers(t *testing.T) {
	random, every := 30, 5
	if testing.Short() {
		random, every = 4, 20
	}
	conns, intel := randomConns(1200)
	spread(conns, 1)
	late, lateIntel := randomConns(200)
	spread(late, 2)
	plain, path := filepath.Join(t.TempDir(), "plain"), filepath.Join(t.TempDir(), "store")
	publishLake(t, plain, "eth0", conns, intel, 3)
	l := publishLake(t, path, "eth0", conns, intel, 40)
	want, db := openDB(t, plain), openDB(t, path)
	known := make(map[string]string) // what want answers
	stages := 0
	compare := func(stage string, every int) {
		t.Helper()
		stages++ // each stage has its own filters
		for _, d := range []*lakequery.DB{want, db} {
			if err := d.Refresh(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		for i, text := range rollupFilters(random) {
			if (i+stages)%every != 0 {
				continue
			}
			var e *filter.Expr
			if text != "" {
				e = parse(t, text)
			}
			if known[text] == "" {
				known[text] = rollupAnswers(t, want, e)
			}
			if got := rollupAnswers(t, db, e); got != known[text] {
				t.Fatalf("%s: %q (-plain +got):\n%s", stage, text, cmp.Diff(known[text], got))
			}
		}
		const columns = "SELECT * FROM flow ORDER BY src, dst, proto, dport, type"
		_, a := sqlRows(t, want, columns)
		_, b := sqlRows(t, db, columns)
		if diff := cmp.Diff(a, b); diff != "" {
			t.Errorf("%s: view flow (-plain +got):\n%s", stage, diff)
		}
	}
	now := lake.CompactConfig{MinAge: -1, QuietFor: -1, MinRollup: 1e9}
	compact := func() lake.CompactStats {
		t.Helper()
		s, err := l.Compact(t.Context(), now)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	compare("small parts", 2*every)
	if s := compact(); s.Merged == 0 || s.Rollups != 0 {
		t.Errorf("Compact() = %+v, want merges only", s)
	}
	compare("merged", 2*every)
	now.MinRollup = -1
	if s := compact(); s.Rollups != 3 || s.Covered != 1200 || s.Weeks != 1 {
		t.Errorf("Compact() = %+v, want three roll-ups, and one of their week", s)
	}
	compare("rolled up", every)
	publishLake(t, plain, "eth1", late, lateIntel, 1)
	publishLake(t, path, "eth1", late, lateIntel, 3)
	clear(known)
	compare("with late parts", every)
	checkTimes(t, db, append(conns[:len(conns):len(conns)], late...), len(conns))
}

// checkTimes checks the hours of the roll-ups against the connections that
// they cover, the first ones of conns.
func checkTimes(t *testing.T, db *lakequery.DB, conns []flow.Connection, covered int) {
	t.Helper()
	want := make(map[string]int64)
	for i := range conns[:covered] {
		c := &conns[i]
		day := c.First.Micro() / 86_400e6
		for h := c.First.Micro() / 3600e6; h <= c.Last.Micro()/3600e6; h++ {
			key := fmt.Sprint(modelKey(&c.Tuple), day, h)
			if want[key] += 0; h == c.First.Micro()/3600e6 {
				want[key] += int64(c.Count)
			}
		}
	}
	got := make(map[string]int64)
	_, rows := sqlRows(t, db, `SELECT src || ' ' || proto || coalesce('/' || coalesce(dport, type), '') || ' ' || dst,
		epoch_us(firstseen) // 86400000000, unnest(list_transform(times, lambda x: epoch_us(x) // 3600000000)), unnest(time_counts)
		FROM flow_day`)
	for _, row := range rows {
		got[fmt.Sprint(row[0], row[1], row[2])] += row[3].(int64)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("times (-want +got):\n%s", diff)
	}
}
