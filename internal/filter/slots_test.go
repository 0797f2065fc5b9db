// SPDX-License-Identifier: Apache-2.0

package filter_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"weir/internal/filter"
	"weir/internal/flow"
)

// TestActive: a window is half open, and one without bounds selects everything.
func TestActive(t *testing.T) {
	ten := time.Date(2020, 1, 1, 10, 0, 0, 0, time.UTC)
	at := func(minutes int) time.Time { return ten.Add(time.Duration(minutes) * time.Minute) }
	slot := func(hours int64) filter.Slot {
		return filter.Slot{Start: flow.Time(ten.UnixNano() + hours*3600e9), Width: 3600e6}
	}
	// Active from 10:00 to 11:00, and from 13:00 to 14:00.
	f := &filter.Flow{Times: []filter.Slot{slot(0), slot(3)}}
	for _, tc := range []struct {
		after, before time.Time
		text          string
		want          bool
	}{
		{time.Time{}, at(0), "times(start < 2020-01-01T10:00:00Z)", false},
		{time.Time{}, at(1), "times(start < 2020-01-01T10:01:00Z)", true},
		{at(240), time.Time{}, "times(end > 2020-01-01T14:00:00Z)", false},
		{at(239), time.Time{}, "times(end > 2020-01-01T13:59:00Z)", true},
		{at(60), at(180), "times(start < 2020-01-01T13:00:00Z AND end > 2020-01-01T11:00:00Z)", false}, // in between
		{at(59), at(60), "times(start < 2020-01-01T11:00:00Z AND end > 2020-01-01T10:59:00Z)", true},
		{at(61), at(181), "times(start < 2020-01-01T13:01:00Z AND end > 2020-01-01T11:01:00Z)", true},
		{at(-60), at(600), "times(start < 2020-01-01T20:00:00Z AND end > 2020-01-01T09:00:00Z)", true},
	} {
		e := filter.Active(tc.after, tc.before)
		if diff := cmp.Diff(tc.text, e.String()); diff != "" {
			t.Errorf("Active(%v, %v) (-want +got):\n%s", tc.after, tc.before, diff)
		}
		if got := e.Match(f); got != tc.want {
			t.Errorf("Active(%v, %v) selects the flow: %t, want %t", tc.after, tc.before, got, tc.want)
		}
		// What users write is the same filter.
		parsed, err := filter.Parse(tc.text, options())
		if err != nil || parsed.String() != e.String() || parsed.Match(f) != tc.want {
			t.Errorf("Parse(%q) = %v, %v", tc.text, parsed, err)
		}
	}
	if e := filter.Active(time.Time{}, time.Time{}); e != nil {
		t.Errorf("Active() without bounds = %v, want nil", e)
	}
}
