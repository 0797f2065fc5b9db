// SPDX-License-Identifier: Apache-2.0

package chart

import (
	"strings"
	"testing"
	"time"
)

func TestTimeTicks(t *testing.T) {
	at := func(text string) time.Time {
		t.Helper()
		out, err := time.Parse("2006-01-02 15:04", text)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	for _, tc := range []struct {
		name, start, end, zone string
		step                   time.Duration
		room                   int
		want                   string
	}{
		{"hours", "2026-03-02 10:00", "2026-03-02 16:00", "UTC", time.Hour, 56, "10:00 11:00 12:00 13:00 14:00 15:00"},
		{"not finer than slots", "2026-03-02 10:00", "2026-03-02 12:00", "UTC", time.Hour, 100, "10:00 11:00"},
		{"midnight is a day", "2026-03-02 20:00", "2026-03-03 04:00", "UTC", time.Hour, 32, "20:00 22:00 Mar_3 02:00"},
		{"days of the zone", "2026-03-01 23:00", "2026-03-04 23:00", "Europe/Paris", time.Hour, 32, "Mar_2 Mar_3 Mar_4"},
		// The clock goes from 02:00 to 03:00, and back from 03:00 to 02:00.
		{"an hour is left out", "2026-03-28 23:00", "2026-03-29 05:00", "Europe/Paris", time.Hour, 80, "Mar_29 01:00 03:00 04:00 05:00 06:00"},
		{"six hours over a change", "2026-03-28 05:00", "2026-03-30 04:00", "Europe/Paris", time.Hour, 64, "06:00 12:00 18:00 Mar_29 06:00 12:00 18:00 Mar_30"},
		{"an hour comes twice", "2026-10-24 22:00", "2026-10-25 04:00", "Europe/Paris", 3 * time.Hour, 80, "Oct_25 03:00"},
		{"Mondays", "2026-03-03 00:00", "2026-03-31 00:00", "UTC", 24 * time.Hour, 40, "Mar_9 Mar_16 Mar_23 Mar_30"},
		{"months", "2025-11-15 00:00", "2026-03-15 00:00", "UTC", 24 * time.Hour, 40, "Dec_2025 2026 Feb_2026 Mar_2026"},
		{"years", "2001-06-01 00:00", "2026-06-01 00:00", "UTC", 24 * time.Hour, 36, "2005 2010 2015 2020 2025"},
		{"weeks that begin on Thursdays", "2026-02-26 00:00", "2026-03-12 00:00", "UTC", 7 * 24 * time.Hour, 32, "Feb_26 Mar_5"},
		{"many such weeks", "2026-02-26 00:00", "2026-04-16 00:00", "UTC", 7 * 24 * time.Hour, 32, "Feb_26 Mar_12 Mar_26 Apr_9"},
		{"days of another zone", "2026-03-02 00:00", "2026-03-06 00:00", "Asia/Kolkata", 24 * time.Hour, 30, "Mar_2_05:30 Mar_4_05:30"},
		{"days over a change", "2026-03-28 00:00", "2026-03-31 00:00", "Europe/Paris", 24 * time.Hour, 60, "Mar_28_01:00 Mar_29_01:00 Mar_30_02:00"},
		{"no room", "2001-06-01 00:00", "2901-06-01 00:00", "UTC", 24 * time.Hour, 5, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			zone, err := time.LoadLocation(tc.zone)
			if err != nil {
				t.Skipf("no zones: %v", err)
			}
			start, end := at(tc.start), at(tc.end)
			var got []string
			last := -1.0
			for _, k := range timeTicks(start, end, tc.step, zone, tc.room) {
				got = append(got, strings.ReplaceAll(k.label, " ", "_"))
				if k.at <= last || k.at < 0 || k.at >= 1 {
					t.Errorf("tick %q at %v after one at %v", k.label, k.at, last)
				}
				last = k.at
			}
			if text := strings.Join(got, " "); text != tc.want {
				t.Errorf("timeTicks = %s, want %s", text, tc.want)
			}
		})
	}
}
