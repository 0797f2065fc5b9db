// SPDX-License-Identifier: Apache-2.0

package lake_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"weir/internal/flow"
	"weir/store/lake"
)

// sizedDays makes a store of days with the given numbers of rows, the first on
// 2026-03-01; each is an import of its own.
func sizedDays(t *testing.T, rows ...int) *lake.Lake {
	t.Helper()
	l := newLake(t)
	for i, n := range rows {
		day := time.Date(2026, 3, 1+i, 12, 0, 0, 0, time.UTC)
		conns := genConns(n, uint64(i))
		for j := range conns {
			conns[j].First = flow.Time(day.UnixNano() + int64(j))
			conns[j].Last = conns[j].First + 1e9
		}
		w := begin(t, l, lake.Import{ID: "day" + day.Format("02"), Source: "live"})
		if err := errors.Join(w.Connections(batchOf(conns...)), w.Intel(intelOf(conns))); err != nil {
			t.Fatal(err)
		}
		if err := w.Commit(lake.Final{}); err != nil {
			t.Fatal(err)
		}
	}
	return l
}

// daysLeft returns the days of the month that the store holds.
func daysLeft(t *testing.T, l *lake.Lake) string {
	t.Helper()
	seen := make(map[string]bool)
	var out []string
	for _, p := range manifest(t, l).Parts {
		if d := p.Day[len(p.Day)-2:]; !seen[d] {
			seen[d] = true
			out = append(out, d)
		}
	}
	return strings.Join(out, " ")
}

func TestRetain(t *testing.T) {
	at := func(day, hour int) time.Time { return time.Date(2026, 3, day, hour, 0, 0, 0, time.UTC) }
	const day = 24 * time.Hour
	same := []int{100, 100, 100, 100, 100}
	for _, tc := range []struct {
		name  string
		rows  []int
		cfg   lake.RetainConfig
		left  string
		clock bool
	}{
		{"nothing asked", same, lake.RetainConfig{Now: at(20, 0)}, "01 02 03 04 05", false},
		{"young", same, lake.RetainConfig{MaxAge: 5 * day, Now: at(6, 0)}, "01 02 03 04 05", false},
		{"one day", same, lake.RetainConfig{MaxAge: 4 * day, Now: at(6, 0)}, "02 03 04 05", false},
		{"not before its last record", same, lake.RetainConfig{MaxAge: 4 * day, Now: at(5, 12)}, "01 02 03 04 05", false},
		{"two days", same, lake.RetainConfig{MaxAge: 3 * day, Now: at(6, 0)}, "03 04 05", false},
		{"the large half", same, lake.RetainConfig{MaxAge: 2 * day, Now: at(6, 0)}, "01 02 03 04 05", true},
		{"forced", same, lake.RetainConfig{MaxAge: 2 * day, Now: at(6, 0), Force: true}, "04 05", false},
		{"one large day", []int{3000, 10}, lake.RetainConfig{MaxAge: day, Now: at(2, 14)}, "02", false},
		{"1970", same, lake.RetainConfig{MaxAge: day, Now: time.Unix(0, 0)}, "01 02 03 04 05", false},
		{"2038", same, lake.RetainConfig{MaxAge: day, Now: time.Unix(1<<31, 0)}, "01 02 03 04 05", true},
		{"2038, a large day last", []int{100, 5000}, lake.RetainConfig{MaxAge: day, Now: time.Unix(1<<31, 0)}, "01 02", true},
		{"2038, forced", same, lake.RetainConfig{MaxAge: day, Now: time.Unix(1<<31, 0), Force: true}, "05", false},
		{"size", same, lake.RetainConfig{MaxBytes: 1}, "05", false},
		{"size is enough", same, lake.RetainConfig{MaxBytes: 1 << 30}, "01 02 03 04 05", false},
		{"age waits, size does not", same, lake.RetainConfig{MaxAge: day, MaxBytes: 1, Now: time.Unix(1<<31, 0)}, "05", true},
		{"before", same, lake.RetainConfig{Before: at(3, 0)}, "03 04 05", false},
		{"before all", same, lake.RetainConfig{Before: at(30, 0)}, "", false},
		{"dry run", same, lake.RetainConfig{Before: at(30, 0), DryRun: true}, "01 02 03 04 05", false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			l := sizedDays(t, tc.rows...)
			before := manifest(t, l)
			days, err := l.Retain(tc.cfg)
			if tc.clock != errors.Is(err, lake.ErrClock) || err != nil && !tc.clock {
				t.Errorf("Retain() = %v, want an error that is ErrClock: %v", err, tc.clock)
			}
			if got := daysLeft(t, l); got != tc.left {
				t.Errorf("left: %s, want %s", got, tc.left)
			}
			after := manifest(t, l)
			if !tc.cfg.DryRun {
				var rows, conns int64
				parts := 0
				for _, d := range days {
					rows, conns, parts = rows+d.Rows, conns+d.Connections, parts+d.Parts
				}
				if len(before.Parts)-len(after.Parts) != parts || rows != 2*conns {
					t.Errorf("Retain() = %+v, and %d of %d parts left", days, len(after.Parts), len(before.Parts))
				}
			}
			if want := before.Generation; len(days) == 0 && after.Generation != want {
				t.Errorf("generation %d after nothing was dropped, want %d", after.Generation, want)
			}
			checkStore(t, l)
		})
	}
}

// TestRetainBytes: the size is what is left.
func TestRetainBytes(t *testing.T) {
	l := sizedDays(t, 500, 500, 500, 500)
	var last int64
	for _, p := range manifest(t, l).Parts {
		if p.Day > "2026-03-02" {
			last += p.Bytes
		}
	}
	if _, err := l.Retain(lake.RetainConfig{MaxBytes: last}); err != nil {
		t.Fatal(err)
	}
	if got := daysLeft(t, l); got != "03 04" {
		t.Errorf("left: %s, want 03 04", got)
	}
	m := manifest(t, l)
	if len(m.Imports) != 2 {
		t.Errorf("imports %+v, want those of the days that are left", m.Imports)
	}
	if old := files(t, l, ".old", "*", "*"); len(old) != 4 {
		t.Errorf("replaced: %v, want 4 parts that readers may still have open", old)
	}
}
