// SPDX-License-Identifier: Apache-2.0

package lakequery_test

import (
	"fmt"
	"iter"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sync/errgroup"

	"weir/internal/filter"
	"weir/internal/flow"
	"weir/store/lake"
	"weir/store/lakequery"
)

func openTail(tb testing.TB, path string, q lakequery.TailQuery) *lakequery.Tail {
	tb.Helper()
	tail, err := openDB(tb, path).Tail(tb.Context(), q)
	if err != nil {
		tb.Fatalf("Tail() = %v", err)
	}
	tb.Cleanup(func() {
		if err := tail.Close(); err != nil {
			tb.Errorf("Close() = %v", err)
		}
	})
	return tail
}

// cells returns rows as maps.
func cells(tb testing.TB, tail *lakequery.Tail, rows iter.Seq2[[]any, error]) (out []map[string]any) {
	tb.Helper()
	for row, err := range rows {
		if err != nil {
			tb.Fatalf("row: %v", err)
		}
		m := make(map[string]any)
		for i, c := range tail.Columns() {
			m[c.Name] = row[i]
		}
		out = append(out, m)
	}
	return out
}

// uids returns the uids of rows, and checks that they are in order.
func uids(tb testing.TB, tail *lakequery.Tail, rows iter.Seq2[[]any, error]) []string {
	tb.Helper()
	out := []string{}
	var last time.Time
	for _, row := range cells(tb, tail, rows) {
		ended := row["lastseen"].(time.Time)
		if ended.Before(last) {
			tb.Errorf("%v comes after %v", ended, last)
		}
		last = ended
		out = append(out, row["uid"].(string))
	}
	return out
}

func uidTexts(list ...uint64) []string {
	out := []string{}
	for _, uid := range list {
		out = append(out, flow.UIDText(uid))
	}
	return out
}

func checkUIDs(tb testing.TB, what string, got []string, want ...uint64) {
	tb.Helper()
	if diff := cmp.Diff(uidTexts(want...), got); diff != "" {
		tb.Errorf("%s: other connections (-want +got):\n%s", what, diff)
	}
}

// liveWriter begins an import that is published again and again.
func liveWriter(tb testing.TB, path, id string) *lake.Writer {
	tb.Helper()
	l, err := lake.Open(path, lake.Config{Create: true})
	if err != nil {
		tb.Fatal(err)
	}
	w, err := l.Begin(lake.Import{ID: id, Sensor: "eth0", Source: "live"})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := w.Abort(); err != nil {
			tb.Error(err)
		}
	})
	return w
}

func publish(tb testing.TB, w *lake.Writer, conns ...flow.Connection) {
	tb.Helper()
	b := new(flow.ConnBatch)
	for i := range conns {
		b.Add(&conns[i])
	}
	if err := w.Connections(b); err != nil {
		tb.Fatal(err)
	}
	if err := w.Publish(lake.Final{}); err != nil {
		tb.Fatal(err)
	}
}

// tcp returns a connection that began at a second.
func tcp(uid uint64, second int) flow.Connection {
	return conn(uid, flow.TCP, "10.0.0.1", uint16(uid), "10.0.0.2", 80, second)
}

// interim turns a connection into one of its records: the first or a later one,
// the last or an earlier one.
func interim(c flow.Connection, first, last bool) flow.Connection {
	if !last {
		c.End = flow.EndActive
	}
	if !first {
		c.Count = 0
		c.Total = &flow.Totals{}
	}
	return c
}

func TestTail(t *testing.T) {
	path := testLake(t)
	tail := openTail(t, path, lakequery.TailQuery{})
	checkUIDs(t, "before anything", uids(t, tail, tail.Poll(t.Context())))
	w := liveWriter(t, path, "live")
	publish(t, w, tcp(0x101, 100), tcp(0x102, 90))
	checkUIDs(t, "two", uids(t, tail, tail.Poll(t.Context())), 0x102, 0x101)
	checkUIDs(t, "nothing new", uids(t, tail, tail.Poll(t.Context())))
	// Several publications and imports at once.
	publish(t, w, tcp(0x103, 110))
	writeLake(t, path, "other", []flow.Connection{tcp(0x201, 1)}, nil)
	publish(t, w, tcp(0x104, 105))
	checkUIDs(t, "three commits", uids(t, tail, tail.Poll(t.Context())), 0x201, 0x104, 0x103)
	// A replaced import's connections are gone, the new ones end.
	writeLake(t, path, "again", []flow.Connection{tcp(0x202, 1)}, nil, "other")
	checkUIDs(t, "replaced", uids(t, tail, tail.Poll(t.Context())), 0x202)
	if tail.Missed() {
		t.Error("Missed() though nothing was")
	}
	// A store made anew begins with low generations.
	if err := os.RemoveAll(path); err != nil {
		t.Fatal(err)
	}
	writeLake(t, path, "new", []flow.Connection{tcp(0x301, 1)}, nil)
	checkUIDs(t, "new store", uids(t, tail, tail.Poll(t.Context())), 0x301)
}

// TestTailInterim follows connections of several records.
func TestTailInterim(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store")
	w := liveWriter(t, path, "live")
	const day = 24 * 3600
	// Long ago, and before the Tail: interim records, their connections still open.
	publish(t, w, interim(tcp(1, -3*day), true, false))
	publish(t, w, interim(tcp(2, 0), true, false), tcp(9, 0))
	tail := openTail(t, path, lakequery.TailQuery{})
	checkUIDs(t, "last", uids(t, tail, tail.Last(t.Context(), 10)), 9)
	publish(t, w, interim(tcp(1, 60), false, false), interim(tcp(2, 60), false, false))
	checkUIDs(t, "interim records", uids(t, tail, tail.Poll(t.Context())))
	end := interim(tcp(1, 120), false, true)
	end.State, end.History = flow.RSTO, []byte("R")
	publish(t, w, end, interim(tcp(2, 121), false, true), tcp(3, 119))
	rows := cells(t, tail, tail.Poll(t.Context()))
	type row struct {
		UID           any
		First, Last   time.Time
		CSPkts, Count any
		State, Hist   any
	}
	var got []row
	for _, r := range rows {
		got = append(got, row{r["uid"], r["firstseen"].(time.Time), r["lastseen"].(time.Time), r["cspkts"], r["count"], r["conn_state"], r["history"]})
	}
	want := []row{
		{flow.UIDText(3), at(119), at(120.5), int64(3), int64(1), "SF", "ShADadFf"},
		{flow.UIDText(1), at(-3 * day), at(121.5), int64(9), int64(1), "RSTO", "R"},
		{flow.UIDText(2), at(0), at(122.5), int64(9), int64(1), "SF", "ShADadFf"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("connections differ (-want +got):\n%s", diff)
	}
	// Filters see whole connections.
	byTotal := openTail(t, path, lakequery.TailQuery{Filter: parse(t, "cspkts = 9 AND duration > 1d")})
	checkUIDs(t, "filtered", uids(t, byTotal, byTotal.Last(t.Context(), 10)), 1)
	// The first record may have left the store: view conn counts 0 then, too.
	publish(t, w, interim(tcp(4, 130), false, true))
	if rows := cells(t, tail, tail.Poll(t.Context())); len(rows) != 1 || rows[0]["count"] != int64(0) || rows[0]["cspkts"] != int64(3) {
		t.Errorf("a connection without its first record = %v", rows)
	}
}

// TestTailWhileWriting polls while a sensor publishes and imports come in: every
// connection that ends is seen once.
func TestTailWhileWriting(t *testing.T) {
	path := testLake(t)
	tail := openTail(t, path, lakequery.TailQuery{Intel: true})
	tail.SetLimits(40, time.Hour)
	var want []string
	var g errgroup.Group
	const publications, imports = 60, 10
	for n := range publications {
		for i := range n % 7 {
			want = append(want, flow.UIDText(uint64(1000*n+i)))
		}
	}
	for n := range imports {
		for i := range 100 {
			want = append(want, flow.UIDText(uint64(1_000_000+1000*n+i)))
		}
	}
	g.Go(func() error {
		w := liveWriter(t, path, "live")
		for n := range publications {
			var conns []flow.Connection
			for i := range n % 7 {
				conns = append(conns, tcp(uint64(1000*n+i), 10*n+i))
			}
			publish(t, w, append(conns, interim(tcp(uint64(500_000+n), n), true, false))...)
		}
		return w.Commit(lake.Final{})
	})
	g.Go(func() error {
		for n := range imports {
			var conns []flow.Connection
			for i := range 100 {
				conns = append(conns, tcp(uint64(1_000_000+1000*n+i), i))
			}
			writeLake(t, path, fmt.Sprintf("import-%d", n), conns, nil)
		}
		return nil
	})
	done := make(chan error, 1)
	go func() { done <- g.Wait() }()
	var got []string
	for running := true; running; {
		select {
		case err := <-done:
			if err != nil {
				t.Fatal(err)
			}
			running = false
		default:
		}
		got = append(got, uids(t, tail, tail.Poll(t.Context()))...)
	}
	slices.Sort(want)
	slices.Sort(got)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("connections differ (-want +got):\n%s", diff)
	}
	if tail.Missed() {
		t.Error("Missed() though nothing was")
	}
}

// TestTailLargeImport sorts many connections in batches.
func TestTailLargeImport(t *testing.T) {
	path := testLake(t)
	tail := openTail(t, path, lakequery.TailQuery{})
	tail.SetLimits(200, time.Hour)
	r := rand.New(rand.NewPCG(1, 1))
	want := map[string]int{}
	var conns []flow.Connection
	for i := range 5000 {
		second := r.IntN(3 * 24 * 3600)
		if i%3 == 0 {
			second = 7 // very many at once
		}
		conns = append(conns, tcp(uint64(i+1)<<20, second))
		want[flow.UIDText(uint64(i+1)<<20)]++
	}
	writeLake(t, path, "large", conns, nil)
	got := map[string]int{}
	for _, uid := range uids(t, tail, tail.Poll(t.Context())) {
		got[uid]++
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("connections differ (-want +got):\n%s", diff)
	}
}

func TestTailLast(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store")
	// The latest connections lie in several parts, in disorder.
	writeLake(t, path, "a", []flow.Connection{tcp(1, 10), tcp(2, 500), tcp(3, 20)}, nil)
	writeLake(t, path, "b", []flow.Connection{tcp(4, 30), tcp(5, 400)}, nil)
	writeLake(t, path, "c", []flow.Connection{tcp(6, 1), tcp(7, 2), tcp(8, 450)}, nil)
	for _, tc := range []struct {
		n      int
		filter string
		want   []uint64
	}{
		{0, "proto = tcp", nil},
		{1, "proto = tcp", []uint64{2}},
		{3, "proto = tcp", []uint64{5, 8, 2}},
		{4, "proto = tcp", []uint64{4, 5, 8, 2}},
		{100, "proto = tcp", []uint64{6, 7, 1, 3, 4, 5, 8, 2}},
		{2, "sport IN (1, 6, 7)", []uint64{7, 1}},
		{2, "proto = udp", nil},
	} {
		for _, batch := range []int64{1, 3, 1000} {
			tail := openTail(t, path, lakequery.TailQuery{Filter: parse(t, tc.filter)})
			tail.SetLimits(batch, time.Hour)
			checkUIDs(t, fmt.Sprintf("Last(%d) of %q", tc.n, tc.filter), uids(t, tail, tail.Last(t.Context(), tc.n)), tc.want...)
		}
	}
	tail := openTail(t, path, lakequery.TailQuery{})
	checkUIDs(t, "Last(3) of all", uids(t, tail, tail.Last(t.Context(), 3)), 5, 8, 2)
	// What came since belongs to Poll.
	writeLake(t, path, "d", []flow.Connection{tcp(9, 600)}, nil)
	checkUIDs(t, "Last(1)", uids(t, tail, tail.Last(t.Context(), 1)), 2)
	checkUIDs(t, "Poll()", uids(t, tail, tail.Poll(t.Context())), 9)
}

// TestTailFilters compares with the evaluator, each connection being a flow.
func TestTailFilters(t *testing.T) {
	conns, intel := randomConns(300)
	path := filepath.Join(t.TempDir(), "store")
	writeLake(t, path, "x", conns, intel)
	db := openDB(t, path)
	var list []*filter.Flow
	for i := range conns {
		for _, f := range newModel(conns[i:i+1], flow.NewIntelBatch()) {
			for j := range intel.Recs {
				if intel.Recs[j].UID == conns[i].UID {
					f.Intel = append(f.Intel, filter.IntelOf(intel, j))
				}
			}
			list = append(list, f)
		}
	}
	for i, text := range filterTexts() {
		if testing.Short() && i%5 != 0 {
			continue
		}
		e := parse(t, text)
		want := []string{}
		for i, f := range list {
			if e.Match(f) {
				want = append(want, flow.UIDText(conns[i].UID))
			}
		}
		tail, err := db.Tail(t.Context(), lakequery.TailQuery{Filter: e, Intel: true})
		if err != nil {
			t.Fatalf("Tail(%q) = %v", text, err)
		}
		got := uids(t, tail, tail.Last(t.Context(), len(conns)))
		if err := tail.Close(); err != nil {
			t.Error(err)
		}
		slices.Sort(want)
		slices.Sort(got)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("Last() of %q (-evaluator +DuckDB):\n%s", text, diff)
		}
	}
	if _, err := db.Tail(t.Context(), lakequery.TailQuery{Filter: parse(t, strings.Repeat("meta.dns.count > 1 OR ", 64)+"meta.dns.count > 2")}); err == nil {
		t.Error("Tail() takes a filter that the lake cannot answer")
	}
}

func TestTailColumns(t *testing.T) {
	path := testLake(t)
	db := openDB(t, path)
	names, rows := sqlRows(t, db, "FROM conn ORDER BY lastseen, uid")
	tail := openTail(t, path, lakequery.TailQuery{})
	var own []string
	for _, c := range tail.Columns() {
		own = append(own, c.Name)
	}
	if diff := cmp.Diff(names, own); diff != "" {
		t.Errorf("columns differ from view conn (-view +tail):\n%s", diff)
	}
	var got [][]any
	for row, err := range tail.Last(t.Context(), 100) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, slices.Clone(row))
	}
	if diff := cmp.Diff(rows, got); diff != "" {
		t.Errorf("rows differ from view conn (-view +tail):\n%s", diff)
	}
	tail = openTail(t, path, lakequery.TailQuery{Intel: true, Filter: parse(t, "#DNS")})
	var texts []any
	for _, row := range cells(t, tail, tail.Last(t.Context(), 100)) {
		texts = append(texts, row["intel"])
	}
	if diff := cmp.Diff([]any{[]any{"www.example.com"}, []any{"mail.example.org"}}, texts); diff != "" {
		t.Errorf("intel differs (-want +got):\n%s", diff)
	}
}

// live adds an import of a sensor, which may be merged with others.
func live(tb testing.TB, path, id string, conns ...flow.Connection) {
	tb.Helper()
	w := liveWriter(tb, path, id)
	publish(tb, w, conns...)
	if err := w.Commit(lake.Final{}); err != nil {
		tb.Fatal(err)
	}
}

// compact merges all parts, however new they are.
func compact(tb testing.TB, path string) {
	tb.Helper()
	l, err := lake.Open(path, lake.Config{})
	if err != nil {
		tb.Fatal(err)
	}
	stats, err := l.Compact(tb.Context(), lake.CompactConfig{MinAge: -1, All: true})
	if err != nil {
		tb.Fatal(err)
	}
	if stats.Parts != 1 {
		tb.Fatalf("Compact() = %+v, want one part", stats)
	}
}

func TestTailAndMerging(t *testing.T) {
	one, two, three := tcp(1, 100), tcp(2, 200), tcp(3, 300)
	start := func(t *testing.T) (string, *lakequery.Tail) {
		path := filepath.Join(t.TempDir(), "store")
		live(t, path, "a", one)
		return path, openTail(t, path, lakequery.TailQuery{})
	}
	t.Run("in time", func(t *testing.T) {
		path, tail := start(t)
		live(t, path, "b", two)
		checkUIDs(t, "before", uids(t, tail, tail.Poll(t.Context())), 2)
		compact(t, path)
		checkUIDs(t, "merged", uids(t, tail, tail.Poll(t.Context())))
		live(t, path, "c", three)
		checkUIDs(t, "after", uids(t, tail, tail.Poll(t.Context())), 3)
		if tail.Missed() {
			t.Error("Missed() though nothing was")
		}
	})
	t.Run("too late", func(t *testing.T) {
		path, tail := start(t)
		tail.SetLimits(1000, 0)
		live(t, path, "b", two)
		compact(t, path)
		live(t, path, "c", three)
		checkUIDs(t, "merged", uids(t, tail, tail.Poll(t.Context())), 2, 3)
		if !tail.Missed() {
			t.Error("Missed() = false though parts were merged before they were seen")
		}
		if tail.Missed() {
			t.Error("Missed() = true twice")
		}
	})
	t.Run("only what is new", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "store")
		if err := lake.Init(path); err != nil {
			t.Fatal(err)
		}
		tail := openTail(t, path, lakequery.TailQuery{})
		tail.SetLimits(1000, 0)
		live(t, path, "b", two)
		live(t, path, "c", three)
		compact(t, path)
		checkUIDs(t, "merged", uids(t, tail, tail.Poll(t.Context())), 2, 3)
		if tail.Missed() {
			t.Error("Missed() though nothing was")
		}
	})
	t.Run("while reading", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "store")
		writeLake(t, path, "a", []flow.Connection{one}, nil)
		tail := openTail(t, path, lakequery.TailQuery{})
		tail.SetLimits(1, time.Hour)
		writeLake(t, path, "b", []flow.Connection{two, three}, nil)
		var got []string
		for row, err := range tail.Poll(t.Context()) {
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, row[0].(string))
			if len(got) == 1 {
				// Retention, or --replace.
				writeLake(t, path, "c", nil, nil, "b")
			}
		}
		if len(got) == 0 || got[0] != flow.UIDText(2) {
			t.Errorf("got %v", got)
		}
		if len(got) == 1 && !tail.Missed() {
			t.Error("Missed() = false though a part was removed while it was read")
		}
	})
}
