// SPDX-License-Identifier: Apache-2.0

package lake_test

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"weir/store/lake"
	"weir/store/lake/laketest"
)

// rolledFlow is what matters of a row of a roll-up.
type rolledFlow struct {
	Src     string   `parquet:"src"`
	Dst     string   `parquet:"dst"`
	Proto   string   `parquet:"proto"`
	Dport   *int32   `parquet:"dport"`
	Type    *int32   `parquet:"type"`
	Sports  []int32  `parquet:"sports"`
	Count   int64    `parquet:"count"`
	SCBytes int64    `parquet:"scbytes"`
	First   int64    `parquet:"firstseen"`
	Last    int64    `parquet:"lastseen"`
	States  []string `parquet:"conn_state"`
	Times   []int64  `parquet:"times"`
	Counts  []int64  `parquet:"time_counts"`
}

func (f *rolledFlow) key() string {
	number := func(n *int32) int32 {
		if n == nil {
			return -1
		}
		return *n
	}
	return fmt.Sprint(f.Src, f.Dst, f.Proto, number(f.Dport), number(f.Type))
}

// set returns distinct values in order.
func set[T string | int32](values []T) []T {
	values = slices.Sorted(slices.Values(values))
	return slices.Compact(values)
}

// rolledFlows returns the flows of parts, those of several merged; twice is how many were
// there more than once.
func rolledFlows(t *testing.T, root string, parts []lake.Part) (flows map[string]*rolledFlow, twice int) {
	t.Helper()
	flows = make(map[string]*rolledFlow)
	slots := make(map[string]map[int64]int64)
	for i := range parts {
		for _, row := range readFile[rolledFlow](t, filepath.Join(root, parts[i].Path)) {
			key := row.key()
			f := flows[key]
			if f == nil {
				f = &rolledFlow{Src: row.Src, Dst: row.Dst, Proto: row.Proto, Dport: row.Dport, Type: row.Type, First: row.First}
				flows[key], slots[key] = f, make(map[int64]int64)
			} else {
				twice++
			}
			f.Count, f.SCBytes = f.Count+row.Count, f.SCBytes+row.SCBytes
			f.First, f.Last = min(f.First, row.First), max(f.Last, row.Last)
			f.Sports, f.States = set(append(f.Sports, row.Sports...)), set(append(f.States, row.States...))
			for j, at := range row.Times {
				slots[key][at] += row.Counts[j]
			}
		}
	}
	for key, f := range flows {
		f.Times = slices.Sorted(maps.Keys(slots[key]))
		for _, at := range f.Times {
			f.Counts = append(f.Counts, slots[key][at])
		}
	}
	return flows, twice
}

// TestWeekRollups: the roll-up of a week has the flows of its days, each once, and goes as
// soon as a row of its days does.
func TestWeekRollups(t *testing.T) {
	root := filepath.Join(t.TempDir(), "lake")
	l, err := lake.Open(root, lake.Config{Create: true})
	if err != nil {
		t.Fatal(err)
	}
	// From a Wednesday to the Thursday of the week after.
	err = laketest.Generate(t.Context(), l, laketest.Config{
		Day: time.Date(2026, 3, 4, 0, 0, 0, 0, time.UTC), Days: 9, Conns: 18_000, PerPart: 500, Hosts: 50, Flows: 2000,
	})
	if err != nil {
		t.Fatal(err)
	}
	compact := func() lake.CompactStats {
		t.Helper()
		s, err := laketest.Compact(t.Context(), l)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	if s := compact(); s.Rollups != 9 || s.Weeks != 2 || s.WeekRows >= s.RollupRows {
		t.Fatalf("Compact() = %+v, want nine days and two weeks, of fewer rows", s)
	}
	if s := compact(); s.Rollups != 0 || s.Weeks != 0 {
		t.Errorf("the second Compact() = %+v, want nothing", s)
	}
	check := func(weeks ...string) {
		t.Helper()
		found := make(map[string]lake.Part)
		for _, p := range kinds(t, l, lake.WeekTable) {
			found[p.Day] = p
		}
		if got := slices.Sorted(maps.Keys(found)); !slices.Equal(got, weeks) {
			t.Fatalf("there are weeks from %v, want %v", got, weeks)
		}
		for _, week := range found {
			days := slices.DeleteFunc(kinds(t, l, lake.RollupTable), func(p lake.Part) bool { return p.Week != week.Week })
			want, _ := rolledFlows(t, root, days)
			got, twice := rolledFlows(t, root, []lake.Part{week})
			if twice > 0 {
				t.Errorf("%d flows are in the week of %s twice", twice, week.Day)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("week of %s (-days +week):\n%s", week.Day, diff)
			}
		}
	}
	check("2026-03-04", "2026-03-09")
	// A part of connections goes, with it the day's roll-up and the week's.
	gone := kinds(t, l, lake.ConnTable)
	gone = slices.DeleteFunc(gone, func(p lake.Part) bool { return p.Day != "2026-03-06" })
	if err := l.Drop([]string{gone[0].Path}); err != nil {
		t.Fatal(err)
	}
	check("2026-03-09")
	for _, p := range kinds(t, l, lake.RollupTable) {
		if p.Day < "2026-03-09" && p.Week != "" {
			t.Errorf("the roll-up of %s names a week that is gone", p.Day)
		}
	}
	if s := compact(); s.Weeks != 1 {
		t.Errorf("Compact() after a drop = %+v, want one week", s)
	}
	check("2026-03-04", "2026-03-09")
	// A day expires, although the week that belongs to it tells of younger ones.
	old, err := l.Retain(lake.RetainConfig{MaxAge: 8 * 24 * time.Hour, Now: time.Date(2026, 3, 13, 1, 0, 0, 0, time.UTC)})
	if err != nil || len(old) != 1 || old[0].Day != "2026-03-04" {
		t.Fatalf("Retain() = %v, %v, want the first day", old, err)
	}
	if old[0].Rows != 2000 || old[0].Connections != 2000 {
		t.Errorf("Retain() dropped %d rows and %d connections, want 2000 of each: none of roll-ups", old[0].Rows, old[0].Connections)
	}
	check("2026-03-09")
	compact()
	check("2026-03-05", "2026-03-09")
}
