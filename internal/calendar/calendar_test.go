// SPDX-License-Identifier: Apache-2.0

package calendar_test

import (
	"math"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"weir/internal/calendar"
)

func at(t *testing.T, text string) time.Time {
	t.Helper()
	out, err := time.Parse("2006-01-02 15:04", text)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func zone(t *testing.T, name string) *time.Location {
	t.Helper()
	z, err := time.LoadLocation(name)
	if err != nil {
		t.Skipf("no zones: %v", err)
	}
	return z
}

// every returns a slot of each hour from one time to another one, which is not included.
func every(t *testing.T, from, to string, count int64) (slots []calendar.Slot) {
	for at, end := at(t, from), at(t, to); at.Before(end); at = at.Add(time.Hour) {
		slots = append(slots, calendar.Slot{Start: at, Count: count})
	}
	return slots
}

func TestByHour(t *testing.T) {
	type hours = map[int]float64
	all := func(v float64, but hours) hours {
		out := hours{}
		for h := range 24 {
			out[h] = v
		}
		for h, v := range but {
			out[h] = v
		}
		return out
	}
	for _, tc := range []struct {
		name  string
		zone  string
		width time.Duration
		slots []calendar.Slot
		want  hours // those that are not zero
		days  string
		n     int
	}{
		{
			"one slot", "UTC", time.Hour,
			[]calendar.Slot{{Start: at(t, "2026-03-02 10:00"), Count: 6}},
			hours{10: 6},
			"2026-03-02 2026-03-02", 1,
		},
		{
			"missing days and hours are zeros", "UTC", time.Hour,
			[]calendar.Slot{
				{Start: at(t, "2026-03-02 10:00"), Count: 6},
				{Start: at(t, "2026-03-04 10:00"), Count: 3},
				{Start: at(t, "2026-03-04 23:00"), Count: 30},
			},
			hours{10: 3, 23: 10},
			"2026-03-02 2026-03-04", 3,
		},
		{
			"days are those of the zone", "America/New_York", time.Hour,
			[]calendar.Slot{{Start: at(t, "2026-01-02 04:00"), Count: 4}, {Start: at(t, "2026-01-02 05:00"), Count: 8}},
			hours{23: 2, 0: 4},
			"2026-01-01 2026-01-02", 2,
		},
		{
			// On 29 March 2026 the clock goes from 02:00 to 03:00: two days have three o'clock, one has two o'clock.
			"an hour that is left out", "Europe/Paris", time.Hour,
			every(t, "2026-03-27 23:00", "2026-03-29 22:00", 5),
			all(5, nil), "2026-03-28 2026-03-29", 2,
		},
		{
			// On 25 October 2026 it shows 02:00 to 03:00 twice.
			"an hour that comes twice", "Europe/Paris", time.Hour,
			[]calendar.Slot{
				{Start: at(t, "2026-10-25 00:00"), Count: 10},
				{Start: at(t, "2026-10-25 01:00"), Count: 20},
				{Start: at(t, "2026-10-25 02:00"), Count: 7},
			},
			hours{2: 15, 3: 7},
			"2026-10-25 2026-10-25", 1,
		},
		{
			// The same hour of UTC is another one of the day after the change.
			"over a change", "Europe/Paris", time.Hour,
			[]calendar.Slot{{Start: at(t, "2026-03-28 10:00"), Count: 2}, {Start: at(t, "2026-03-29 10:00"), Count: 4}},
			hours{11: 1, 12: 2},
			"2026-03-28 2026-03-29", 2,
		},
		{
			"midnight that is left out", "America/Sao_Paulo", time.Hour,
			// On 4 November 2018 the day began at 01:00.
			every(t, "2018-11-03 03:00", "2018-11-05 02:00", 1),
			all(1, nil), "2018-11-03 2018-11-04", 2,
		},
		{
			"half an hour", "Asia/Kolkata", time.Hour,
			every(t, "2026-03-01 19:00", "2026-03-03 19:00", 3),
			all(3, nil), "2026-03-02 2026-03-03", 2,
		},
		{
			"half an hour of summer time", "Australia/Lord_Howe", time.Hour,
			every(t, "2026-04-03 13:00", "2026-04-06 14:00", 2),
			all(2, nil), "2026-04-04 2026-04-06", 3,
		},
		{
			"wide slots", "UTC", 6 * time.Hour,
			[]calendar.Slot{{Start: at(t, "2026-03-02 06:00"), Count: 2}, {Start: at(t, "2026-03-03 00:00"), Count: 4}},
			hours{0: 2, 1: 2, 2: 2, 3: 2, 4: 2, 5: 2, 6: 1, 7: 1, 8: 1, 9: 1, 10: 1, 11: 1},
			"2026-03-02 2026-03-03", 2,
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got := calendar.ByHour(tc.slots, tc.width, zone(t, tc.zone))
			var want [24]float64
			for h, v := range tc.want {
				want[h] = v
			}
			if diff := cmp.Diff(want, got.Average, cmpopts.EquateNaNs(), cmpopts.EquateApprox(1e-9, 0)); diff != "" {
				t.Errorf("ByHour (-want +got):\n%s", diff)
			}
			if days := got.Days.First.String() + " " + got.Days.Last.String(); days != tc.days || got.Days.Len() != tc.n {
				t.Errorf("days %s, %d of them, want %s, %d", days, got.Days.Len(), tc.days, tc.n)
			}
		})
	}
}

// TestByHourLeftOut makes sure that an hour that no day has is not a zero.
func TestByHourLeftOut(t *testing.T) {
	got := calendar.ByHour([]calendar.Slot{{Start: at(t, "2026-03-29 10:00"), Count: 1}}, time.Hour, zone(t, "Europe/Paris"))
	for h, v := range got.Average {
		if math.IsNaN(v) != (h == 2) {
			t.Errorf("average of %02d:00 on the day without it = %v", h, v)
		}
	}
}

func TestByWeekday(t *testing.T) {
	monday, tuesday := at(t, "2026-03-02 22:00"), at(t, "2026-03-10 01:00")
	got := calendar.ByWeekday([]calendar.Slot{{Start: monday, Count: 8}, {Start: tuesday, Count: 6}}, time.Hour, time.UTC)
	for day := range 7 {
		for hour, v := range got.Average[day] {
			want := 0.0
			switch {
			case day == 0 && hour == 22:
				want = 4 // two Mondays
			case day == 1 && hour == 1:
				want = 3
			}
			if v != want {
				t.Errorf("average of day %d, hour %d = %v, want %v", day, hour, v, want)
			}
		}
	}
	if n := got.Days.Len(); n != 9 {
		t.Errorf("%d days, want 9", n)
	}
	got = calendar.ByWeekday([]calendar.Slot{{Start: tuesday, Count: 6}}, time.Hour, zone(t, "America/New_York"))
	for day := range 7 {
		if v := got.Average[day][21]; day == 0 && v != 6 || day != 0 && !math.IsNaN(v) {
			t.Errorf("Monday's evening in New York: average of day %d = %v", day, v)
		}
	}
}

func TestPerDay(t *testing.T) {
	for precision, want := range map[time.Duration]time.Duration{
		0: time.Hour, time.Hour: time.Hour, time.Minute: time.Hour, 2 * time.Hour: 2 * time.Hour, 40 * time.Minute: 2 * time.Hour,
		90 * time.Minute: 3 * time.Hour, 12 * time.Hour: 12 * time.Hour, 24 * time.Hour: 0, 7 * 24 * time.Hour: 0, 61 * time.Minute: 0,
	} {
		got, err := calendar.PerDay(precision)
		if got != want || (err != nil) != (want == 0) {
			t.Errorf("PerDay(%v) = %v, %v, want %v", precision, got, err, want)
		}
	}
}

func TestSeries(t *testing.T) {
	slots := []calendar.Slot{{Start: at(t, "2026-03-02 10:00"), Count: 6}, {Start: at(t, "2026-03-02 13:00"), Count: 2}}
	for _, tc := range []struct {
		name       string
		slots      []calendar.Slot
		start, end string
		from       string
		want       []float64
	}{
		{"gaps are zeros", slots, "", "", "2026-03-02 10:00", []float64{6, 0, 0, 2}},
		{"a window around", slots, "2026-03-02 08:30", "2026-03-02 14:01", "2026-03-02 08:00", []float64{0, 0, 6, 0, 0, 2, 0}},
		{"a window that begins", slots, "2026-03-02 09:00", "", "2026-03-02 09:00", []float64{0, 6, 0, 0, 2}},
		{"nothing in a window", nil, "2026-03-02 09:00", "2026-03-02 11:00", "2026-03-02 09:00", []float64{0, 0}},
		{"nothing", nil, "2026-03-02 09:00", "", "", nil},
		{"nothing at all", nil, "", "", "", nil},
		{"before 1970", []calendar.Slot{{Start: at(t, "1969-12-31 22:00"), Count: 1}}, "1969-12-31 21:30", "", "1969-12-31 21:00", []float64{0, 1}},
		{"a window before", slots, "", "2026-03-01 00:00", "", nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var span calendar.Span
			if tc.start != "" {
				span.Start = at(t, tc.start)
			}
			if tc.end != "" {
				span.End = at(t, tc.end)
			}
			from, got, err := calendar.Series(tc.slots, time.Hour, span)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("Series (-want +got):\n%s", diff)
			}
			if tc.from != "" && !from.Equal(at(t, tc.from)) {
				t.Errorf("begins at %v, want %s", from, tc.from)
			}
		})
	}
	_, _, err := calendar.Series(slots, time.Hour, calendar.Span{Start: at(t, "1970-01-01 00:00")})
	if err == nil {
		t.Error("Series of 56 years of hours = nil, want an error")
	}
}

func TestStep(t *testing.T) {
	const day = 24 * time.Hour
	for _, tc := range []struct {
		span, precision time.Duration
		most            int
		want            time.Duration
	}{
		{day, time.Hour, 24, time.Hour},
		{day, time.Hour, 23, 2 * time.Hour},
		{7 * day, time.Hour, 200, time.Hour},
		{7 * day, time.Hour, 60, 3 * time.Hour},
		{365 * day, time.Hour, 60, 10 * day},
		{3 * time.Hour, time.Minute, 60, 5 * time.Minute},
		{day, 7 * time.Minute, 10, 147 * time.Minute},
		{0, time.Hour, 10, time.Hour},
		{80 * 365 * day, time.Hour, 60, 11680 * time.Hour},
	} {
		if got := calendar.Step(tc.span, tc.precision, tc.most); got != tc.want {
			t.Errorf("Step(%v, %v, %d) = %v, want %v", tc.span, tc.precision, tc.most, got, tc.want)
		}
	}
}

func TestText(t *testing.T) {
	for width, want := range map[time.Duration]string{
		time.Hour: "1h", 24 * time.Hour: "1d", 48 * time.Hour: "2d", 36 * time.Hour: "36h", 90 * time.Minute: "90m", 90 * time.Second: "1m30s",
	} {
		if got := calendar.Text(width); got != want {
			t.Errorf("Text(%v) = %q, want %q", width, got, want)
		}
	}
}
