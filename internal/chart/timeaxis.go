// SPDX-License-Identifier: Apache-2.0

package chart

import (
	"math"
	"time"
)

// tick is a place on an axis, from 0 to 1, with its label.
type tick struct {
	at    float64
	label string
}

// period is a distance between ticks by the calendar: only one of its fields is set.
type period struct {
	years, months, days, hours, minutes, seconds int
}

// timeTicks returns round times of the zone between start and end: as many as there are, but only those whose labels find
// room, which is a number of characters. None is finer than the steps; where steps of days are not those of the zone, ticks
// close to their width would be somewhere within them, and are where steps begin instead.
func timeTicks(start, end time.Time, step time.Duration, zone *time.Location, room int) []tick {
	var ticks []tick
	for _, p := range []period{
		{seconds: 1},
		{seconds: 5},
		{seconds: 15},
		{minutes: 1},
		{minutes: 5},
		{minutes: 15},
		{minutes: 30},
		{hours: 1},
		{hours: 2},
		{hours: 3},
		{hours: 6},
		{hours: 12},
		{days: 1},
		{days: 2},
		{days: 7},
		{days: 14},
		{months: 1},
		{months: 3},
		{months: 6},
		{years: 1},
		{years: 2},
		{years: 5},
		{years: 10},
		{years: 50},
		{years: 100},
	} {
		most := room / (p.wide() + 2)
		if p.least() < min(step, 23*time.Hour) || p.least()*time.Duration(most) < end.Sub(start)/2 {
			continue
		}
		if ticks = p.ticks(start, end, zone); len(ticks) > most {
			continue
		}
		if step >= day && p.least() < 3*step && !aligned(ticks, start, end, step) {
			return stepTicks(start, end, step, zone, room)
		}
		return ticks
	}
	return nil
}

const day = 24 * time.Hour

// aligned reports whether all ticks are where steps begin.
func aligned(ticks []tick, start, end time.Time, step time.Duration) bool {
	for _, t := range ticks {
		steps := t.at * float64(end.Sub(start)) / float64(step)
		if math.Abs(steps-math.Round(steps)) > 0.001 {
			return false
		}
	}
	return true
}

// stepTicks returns ticks where steps begin: all of them, or each so many if there is no room.
func stepTicks(start, end time.Time, step time.Duration, zone *time.Location, room int) (ticks []tick) {
	layout := "Jan 2"
	for t := start; t.Before(end); t = t.Add(step) {
		if local := t.In(zone); local.Hour() != 0 || local.Minute() != 0 {
			layout = "Jan 2 15:04"
		}
	}
	n := int((end.Sub(start) + step - 1) / step)
	most := max(room/(len("Jan 22 15:04")+2), 1)
	if layout == "Jan 2" {
		most = max(room/(len("Jan 22")+2), 1)
	}
	every := (n + most - 1) / most
	for i := 0; i < n; i += every {
		t := start.Add(time.Duration(i) * step)
		ticks = append(ticks, tick{float64(t.Sub(start)) / float64(end.Sub(start)), t.In(zone).Format(layout)})
	}
	return ticks
}

// wide returns how many characters labels have at most.
func (p period) wide() int {
	switch {
	case p.years > 0:
		return 4
	case p.months > 0 || p.seconds > 0:
		return 8
	}
	return 6
}

// least returns how long the period is at least.
func (p period) least() time.Duration {
	const shortest = 23 * time.Hour
	return time.Duration(p.years)*365*shortest + time.Duration(p.months)*28*shortest + time.Duration(p.days)*shortest +
		time.Duration(p.hours)*time.Hour + time.Duration(p.minutes)*time.Minute + time.Duration(p.seconds)*time.Second
}

func (p period) ticks(start, end time.Time, zone *time.Location) (ticks []tick) {
	at := p.before(start.In(zone))
	for n := 1; ; n++ {
		t := at(n)
		if !t.Before(end) {
			return ticks
		}
		if t.Before(start) || len(ticks) > 0 && !t.After(at(n-1)) {
			continue
		}
		ticks = append(ticks, tick{float64(t.Sub(start)) / float64(end.Sub(start)), p.label(t)})
	}
}

// before returns the function that counts periods from a round time that is not after t, as the calendar does: hours
// that are left out or come twice do not shift what follows.
func (p period) before(t time.Time) func(n int) time.Time {
	zone := t.Location()
	y, mo, d := t.Date()
	date := func(y int, mo time.Month, d, h, m, s int) time.Time { return time.Date(y, mo, d, h, m, s, 0, zone) }
	switch {
	case p.years > 0:
		return func(n int) time.Time { return date(y-y%p.years+(n-1)*p.years, 1, 1, 0, 0, 0) }
	case p.months > 0:
		first := 1 + (int(mo)-1)/p.months*p.months
		return func(n int) time.Time { return date(y, time.Month(first+(n-1)*p.months), 1, 0, 0, 0) }
	case p.days >= 7: // weeks begin on Mondays
		monday := d - (int(t.Weekday())+6)%7
		return func(n int) time.Time { return date(y, mo, monday+(n-1)*p.days, 0, 0, 0) }
	case p.days > 0:
		return func(n int) time.Time { return date(y, mo, d+(n-1)*p.days, 0, 0, 0) }
	case p.hours > 0:
		return func(n int) time.Time { return date(y, mo, d, (n-1)*p.hours, 0, 0) }
	case p.minutes > 0:
		return func(n int) time.Time { return date(y, mo, d, t.Hour(), (n-1)*p.minutes, 0) }
	}
	return func(n int) time.Time { return date(y, mo, d, t.Hour(), t.Minute(), (n-1)*p.seconds) }
}

func (p period) label(t time.Time) string {
	midnight := t.Hour() == 0 && t.Minute() == 0 && t.Second() == 0
	switch {
	case p.years > 0:
		return t.Format("2006")
	case p.months > 0 && t.Month() == time.January:
		return t.Format("2006")
	case p.months > 0:
		return t.Format("Jan 2006")
	case p.days > 0 || midnight:
		return t.Format("Jan 2")
	case p.seconds > 0:
		return t.Format("15:04:05")
	}
	return t.Format("15:04")
}
