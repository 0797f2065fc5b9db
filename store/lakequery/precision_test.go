// SPDX-License-Identifier: Apache-2.0

package lakequery_test

import (
	"errors"
	"net/netip"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"weir/internal/flow"
	"weir/store"
	"weir/store/lake"
	"weir/store/lakequery"
)

// wide is a width of slots that no day is a multiple of.
const wide = 5 * time.Hour

// widened returns the wide slots that have hourly ones.
func widened(hours []time.Time) (out []time.Time) {
	for _, at := range hours {
		start := time.Unix(at.Unix()-at.Unix()%int64(wide/time.Second), 0).UTC()
		if !slices.ContainsFunc(out, start.Equal) {
			out = append(out, start)
		}
	}
	return out
}

// TestReducedPrecision: a lake with wider slots says of flows and times what one with
// hourly slots says of them together, and the same before its rows are rolled up and after.
func TestReducedPrecision(t *testing.T) {
	conns, intel := randomConns(600)
	spread(conns, 1)
	long := conn(1<<40, flow.TCP, "10.9.9.9", 40000, "10.9.9.8", 443, 0)
	long.Last = long.First + flow.Time(3*365*24*time.Hour) // cut off in the midst of a slot
	conns = append(conns, long)
	hourly, path := filepath.Join(t.TempDir(), "hourly"), filepath.Join(t.TempDir(), "store")
	publishLake(t, hourly, "eth0", conns, intel, 3)
	l := publishLake(t, path, "eth0", conns, intel, 9)
	want, db := openDB(t, hourly), openDB(t, path)
	if before, after, err := l.ReducePrecision(wide); err != nil || before != time.Hour || after != wide {
		t.Fatalf("ReducePrecision(%v) = %v, %v, %v", wide, before, after, err)
	}
	for _, width := range []time.Duration{0, -wide, time.Hour, 12 * time.Hour} {
		if _, _, err := l.ReducePrecision(width); !errors.Is(err, store.ErrPrecision) {
			t.Errorf("ReducePrecision(%v) = %v, want ErrPrecision", width, err)
		}
	}
	compare := func(stage string) {
		t.Helper()
		if err := db.Refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
		s, err := db.Status(t.Context())
		if err != nil || s.Precision != int64(wide/time.Second) || s.Format != 2 {
			t.Fatalf("%s: Status() = %+v, %v", stage, s, err)
		}
		compareWide(t, stage, want, db)
	}
	compare("small parts")
	s, err := l.Compact(t.Context(), lake.CompactConfig{MinAge: -1, QuietFor: -1, MinRollup: -1})
	if err != nil || s.Rollups == 0 {
		t.Fatalf("Compact() = %+v, %v, want roll-ups", s, err)
	}
	compare("rolled up")
	late, lateIntel := randomConns(100)
	spread(late, 2)
	publishLake(t, hourly, "eth1", late, lateIntel, 1)
	publishLake(t, path, "eth1", late, lateIntel, 2)
	if err := want.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	compare("with late parts")
}

// compareWide compares an hourly lake with a wide one.
func compareWide(t *testing.T, stage string, hourly, db *lakequery.DB) {
	t.Helper()
	q := store.Query{Times: true}
	want := flows(t, hourly, q)
	for i := range want {
		want[i].Times = widened(want[i].Times)
	}
	if diff := cmp.Diff(want, flows(t, db, q), cmpopts.EquateComparable(netip.Addr{})); diff != "" {
		t.Errorf("%s: flows (-hourly +wide):\n%.3000s", stage, diff)
	}
	for _, by := range [][]string{nil, {"proto"}, {"sensor"}} {
		for _, step := range []time.Duration{wide, 2 * wide} {
			for _, text := range []string{"", "count > 1"} {
				var asked store.TimelineQuery
				if text != "" {
					asked.Filter = parse(t, text)
				}
				asked.By, asked.Step = by, step
				asked.After, asked.Before = at(3600), at(40*3600)
				slots, err := hourly.Timeline(t.Context(), asked)
				if err != nil {
					t.Fatal(err)
				}
				if step == wide {
					asked.Step = 0 // which is the lake's
				}
				got, err := db.Timeline(t.Context(), asked)
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(slots, got); diff != "" || len(got) == 0 {
					t.Errorf("%s: %d slots of %v by %q of %q (-hourly +wide):\n%.3000s", stage, len(got), step, by, text, diff)
				}
			}
		}
	}
	if _, err := db.Timeline(t.Context(), store.TimelineQuery{Step: time.Hour}); !errors.Is(err, store.ErrPrecision) {
		t.Errorf("%s: Timeline() by hours = %v, want ErrPrecision", stage, err)
	}
	after, before := at(7*3600), at(8*3600)
	active := func(f *store.Flow) bool {
		return slices.ContainsFunc(f.Times, func(start time.Time) bool {
			return start.Before(before) && start.Add(wide).After(after)
		})
	}
	var n int64
	for i := range want {
		if active(&want[i]) {
			n++
		}
	}
	const layout = "2006-01-02T15:04:05Z"
	for text, want := range map[string]int64{
		"times(start < " + before.Format(layout) + " AND end > " + after.Format(layout) + ")": n,
		"ALL times.duration = 5h":                        int64(len(want)),
		"times(duration = 5h)":                           int64(len(want)),
		"times.duration = 1h":                            0,
		"times.end = " + want[0].Times[0].Format(layout): withEnd(want, want[0].Times[0]),
	} {
		if got, err := db.Counts(t.Context(), store.Query{Filter: parse(t, text)}); err != nil || got.Flows != want {
			t.Errorf("%s: Counts(%q) = %+v, %v, want %d flows", stage, text, got, err, want)
		}
	}
	if n == 0 || n == int64(len(want)) {
		t.Errorf("%d of %d flows in the window", n, len(want))
	}
	var ends []any
	for fields, err := range db.Fields(t.Context(), store.Query{Limit: 1}, []string{"times.end", "times.duration"}) {
		if err != nil {
			t.Fatal(err)
		}
		ends = slices.Clone(fields)
	}
	var starts []any
	for _, start := range want[0].Times {
		starts = append(starts, start.Add(wide))
	}
	if diff := cmp.Diff([]any{starts, []any{wide.Seconds()}}, ends); diff != "" {
		t.Errorf("%s: times.end and times.duration (-want +got):\n%s", stage, diff)
	}
	top, err := db.Top(t.Context(), store.TopQuery{Fields: []string{"times.duration"}, Collect: []string{"times.end"}, Query: store.Query{Limit: 2}})
	if err != nil || len(top) != 1 || !cmp.Equal(top[0].Fields, []any{wide.Seconds()}) {
		t.Errorf("%s: Top() by widths = %+v, %v", stage, top, err)
	}
}

// withEnd counts flows with a slot that ends at a time.
func withEnd(list []store.Flow, end time.Time) (n int64) {
	for i := range list {
		if slices.ContainsFunc(list[i].Times, func(start time.Time) bool { return start.Add(wide).Equal(end) }) {
			n++
		}
	}
	return n
}
