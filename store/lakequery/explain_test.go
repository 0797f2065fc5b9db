// SPDX-License-Identifier: Apache-2.0

package lakequery_test

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"weir/internal/flow"
	"weir/store"
)

// questions asks r everything, and returns an error for each question by its name.
func questions(ctx context.Context, r store.Reader, q store.Query) map[string]error {
	_, flowsErr := drain(r.Flows(ctx, q))
	_, fieldsErr := drain(r.Fields(ctx, q, []string{"dport", "meta.dns.query", "times.start"}))
	_, pairsErr := drain(r.Pairs(ctx, store.PairQuery{Query: q, Services: true}))
	_, hostsErr := r.Hosts(ctx, store.HostQuery{Addrs: []netip.Addr{netip.MustParseAddr("10.0.0.1")}, Intel: 1})
	_, lineErr := r.Timeline(ctx, store.TimelineQuery{Filter: q.Filter, By: []string{"proto"}})
	_, countsErr := r.Counts(ctx, q)
	_, topErr := r.Top(ctx, store.TopQuery{Query: q, Fields: []string{"dport"}})
	rows, rawErr := r.Raw(ctx, "SELECT count(*) FROM flow")
	if rawErr == nil {
		_, rawErr = drain(rows.All())
		rawErr = errors.Join(rawErr, rows.Close())
	}
	return map[string]error{
		"Flows": flowsErr, "Fields": fieldsErr, "Pairs": pairsErr, "Hosts": hostsErr, "Timeline": lineErr,
		"Counts": countsErr, "Top": topErr, "Raw": rawErr,
	}
}

// TestExplainRunsNothing: what is explained is neither read nor answered, and values
// are arguments.
func TestExplainRunsNothing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store")
	writeLake(t, path, "a", testConns(), nil)
	db := openDB(t, path)
	db.SetPage(2)
	// Whoever reads a part fails.
	parts, err := filepath.Glob(filepath.Join(path, "conn", "*", "*.parquet"))
	if err != nil || len(parts) == 0 {
		t.Fatalf("parts %v, %v", parts, err)
	}
	for _, name := range parts {
		if err := os.Truncate(name, 8); err != nil {
			t.Fatal(err)
		}
	}
	q := store.Query{Filter: parse(t, "dport = 4711 AND csbytes > 815"), Times: true, Intel: 1}
	for name, err := range questions(t.Context(), db, q) {
		if err == nil {
			t.Errorf("%s has an answer though the parts cannot be read", name)
		}
	}
	list, err := db.Explain(t.Context(), func(r store.Reader) error {
		for name, err := range questions(t.Context(), r, q) {
			// To prepare a person's query is to look at the parts.
			if err != nil && name != "Raw" {
				t.Errorf("%s: %v", name, err)
			}
		}
		n, err := drain(r.Flows(t.Context(), q))
		if n != 0 || err != nil {
			t.Errorf("Flows() of an explanation: %d flows, %v", n, err)
		}
		if _, err := r.Top(t.Context(), store.TopQuery{}); err == nil {
			t.Error("a question that is wrong has no error")
		}
		return r.Close()
	})
	if err != nil || len(list) < 8 {
		t.Fatalf("Explain() = %d statements, %v", len(list), err)
	}
	asked := 0
	for _, s := range list {
		if strings.Contains(s.Text, "4711") || strings.Contains(s.Text, "815") {
			t.Errorf("a value of the filter is in %s", s.Text)
		}
		if s.Args["1"] == int64(4711) && s.Args["2"] == int64(815) {
			asked++
		}
	}
	if asked != 7 {
		t.Errorf("%d statements have the arguments of the filter, want 7: %+v", asked, list)
	}
	if _, err := db.Explain(t.Context(), func(store.Reader) error { return os.ErrProcessDone }); !errors.Is(err, os.ErrProcessDone) {
		t.Errorf("Explain() = %v, want the error of ask", err)
	}
}

// TestExplainedStatements: the statements answer the question when they are run.
func TestExplainedStatements(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store")
	writeLake(t, path, "a", testConns(), nil)
	db := openDB(t, path)
	list, err := db.Explain(t.Context(), func(r store.Reader) error {
		_, err := drain(r.Pairs(t.Context(), store.PairQuery{}))
		return err
	})
	if err != nil || len(list) != 1 {
		t.Fatalf("Explain() = %+v, %v", list, err)
	}
	want, err := drain(db.Pairs(t.Context(), store.PairQuery{}))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := db.Run(t.Context(), list[0].Text); err != nil || got != want {
		t.Errorf("%d rows, %v, want %d", got, err, want)
	}
}

// TestQuestionsCanceled: no question is answered when nobody wants to know any more.
func TestQuestionsCanceled(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store")
	writeLake(t, path, "a", testConns(), nil)
	db := openDB(t, path)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, page := range []int{1000, 2} {
		db.SetPage(page)
		for name, err := range questions(ctx, db, store.Query{}) {
			if !errors.Is(err, context.Canceled) {
				t.Errorf("%s after the end: %v", name, err)
			}
		}
	}
	for name, err := range questions(t.Context(), db, store.Query{}) {
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestQuestionsWhilePartsMove: answers in pages are of one snapshot, and every question
// follows parts that have moved or are gone.
func TestQuestionsWhilePartsMove(t *testing.T) {
	l := newMovingLake(t)
	db := openDB(t, l.path)
	pairs := func(each func()) (out []store.Pair) {
		t.Helper()
		for p, err := range db.Pairs(t.Context(), store.PairQuery{Services: true, Query: store.Query{Times: true}}) {
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, *p)
			each()
		}
		return out
	}
	rows := func(each func()) (out [][]any) {
		t.Helper()
		for row, err := range db.Fields(t.Context(), store.Query{}, []string{"dst.addr", "csbytes", "sports"}) {
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, append([]any(nil), row...))
			each()
		}
		return out
	}
	nothing := func() {}
	wantPairs, wantRows := pairs(nothing), rows(nothing)
	if len(wantPairs) != movingParts || len(wantRows) != movingParts {
		t.Fatalf("%d pairs and %d rows, want %d", len(wantPairs), len(wantRows), movingParts)
	}
	db.SetPage(4)
	same := cmp.Comparer(func(a, b netip.Addr) bool { return a == b })
	if diff := cmp.Diff(wantPairs, pairs(l.next), same); diff != "" {
		t.Errorf("Pairs() in pages (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(wantRows, rows(nothing)); diff != "" {
		t.Errorf("Fields() in pages, all parts moved (-want +got):\n%s", diff)
	}
	if err := os.RemoveAll(filepath.Join(l.path, ".old")); err != nil {
		t.Fatal(err)
	}
	hosts, err := db.Hosts(t.Context(), store.HostQuery{Addrs: []netip.Addr{netip.MustParseAddr("10.0.0.1")}})
	if err != nil || len(hosts) != 1 || hosts[0].Out != movingParts || hosts[0].Servers != movingParts {
		t.Errorf("Hosts() when parts are gone = %+v, %v", hosts, err)
	}
	for name, err := range questions(t.Context(), db, store.Query{}) {
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestTimelineSlots checks the bounds and the widths of slots.
func TestTimelineSlots(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store")
	conns := testConns()[:2] // two connections of one flow
	conns[1].Last = conns[1].First + 2*3600e9
	writeLake(t, path, "a", conns, nil)
	db := openDB(t, path)
	ten := time.Unix(0, int64(base)).UTC()
	for _, tc := range []struct {
		q    store.TimelineQuery
		want []time.Duration // since ten
	}{
		{store.TimelineQuery{}, []time.Duration{0, time.Hour, 2 * time.Hour}},
		{store.TimelineQuery{Step: 2 * time.Hour}, []time.Duration{0, 2 * time.Hour}},
		{store.TimelineQuery{Step: 24 * time.Hour}, []time.Duration{-10 * time.Hour}},
		{store.TimelineQuery{After: ten.Add(time.Hour)}, []time.Duration{time.Hour, 2 * time.Hour}},
		{store.TimelineQuery{After: ten.Add(time.Hour - 1)}, []time.Duration{0, time.Hour, 2 * time.Hour}},
		{store.TimelineQuery{Before: ten.Add(time.Hour)}, []time.Duration{0}},
		{store.TimelineQuery{Before: ten.Add(time.Hour + 1)}, []time.Duration{0, time.Hour}},
		{store.TimelineQuery{After: ten.Add(90 * time.Minute), Before: ten.Add(91 * time.Minute)}, []time.Duration{time.Hour}},
		{store.TimelineQuery{After: ten.Add(5 * time.Hour)}, nil},
	} {
		slots, err := db.Timeline(t.Context(), tc.q)
		if err != nil {
			t.Fatal(err)
		}
		var got []time.Duration
		for _, s := range slots {
			if got = append(got, s.Start.Sub(ten)); s.Flows != 1 {
				t.Errorf("%+v: %d flows at %v, want 1", tc.q, s.Flows, s.Start)
			}
		}
		if diff := cmp.Diff(tc.want, got); diff != "" {
			t.Errorf("%+v (-want +got):\n%s", tc.q, diff)
		}
	}
	for _, step := range []time.Duration{-time.Hour, time.Second, 90 * time.Minute} {
		if _, err := db.Timeline(t.Context(), store.TimelineQuery{Step: step}); !errors.Is(err, store.ErrPrecision) {
			t.Errorf("Timeline() in steps of %v: %v, want ErrPrecision", step, err)
		}
	}
}

// TestHostsIntel: names are found however the address is written.
func TestHostsIntel(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store")
	conns, batch := testConns(), flow.NewIntelBatch()
	dnsQuery(batch, &conns[4], "a.example", "10.0.0.2")
	dnsQuery(batch, &conns[4], "a.example", "10.0.0.2")
	dnsQuery(batch, &conns[4], "mapped.example", "::ffff:a00:2", "10.0.0.99")
	dnsQuery(batch, &conns[4], "other.example", "10.0.0.20", "x10.0.0.2")
	dnsQuery(batch, &conns[5], "long.example", "2001:0DB8:0:0::2")
	writeLake(t, path, "a", conns, batch)
	db := openDB(t, path)
	addrs := []netip.Addr{
		netip.MustParseAddr("10.0.0.99"), netip.MustParseAddr("10.0.0.2"), netip.MustParseAddr("2001:db8::2"),
		netip.MustParseAddr("::ffff:10.0.0.2"), netip.MustParseAddr("10.9.9.9"), netip.MustParseAddr("fe80::1%eth0"),
	}
	hosts, err := db.Hosts(t.Context(), store.HostQuery{Addrs: addrs, Intel: 1})
	if err != nil {
		t.Fatal(err)
	}
	type seen struct {
		Addr             string
		In, Out, Clients int64
		Name             any
		Count, More      int64
	}
	var got []seen
	for _, h := range hosts {
		s := seen{Addr: h.Addr.String(), In: h.In, Out: h.Out, Clients: h.Clients, More: h.MoreIntel}
		if len(h.Intel) == 1 {
			s.Name, s.Count = h.Intel[0].Attrs["query"], h.Intel[0].Count
		}
		got = append(got, s)
	}
	want := []seen{
		{"10.0.0.99", 0, 0, 0, "mapped.example", 1, 0},
		{"10.0.0.2", 3, 1, 2, "a.example", 2, 1},
		{"2001:db8::2", 1, 0, 1, "long.example", 1, 0},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("Hosts() (-want +got):\n%s", diff)
	}
	none, err := db.Hosts(t.Context(), store.HostQuery{Addrs: addrs[1:2]})
	if err != nil || len(none) != 1 || none[0].Intel != nil || none[0].MoreIntel != 0 {
		t.Errorf("Hosts() without intel = %+v, %v", none, err)
	}
}
