// SPDX-License-Identifier: Apache-2.0

// Package calendar turns counts per slot of time into averages over the hours of
// the day and the week, and into a series without gaps.
package calendar

import (
	"fmt"
	"math"
	"strconv"
	"time"
)

// Slot is what was counted in a span of time that begins at Start.
type Slot struct {
	Start time.Time
	Count int64
}

// Days are whole days of a zone, both ends included.
type Days struct {
	First, Last Date
}

// Date is a day of the calendar.
type Date struct {
	Year  int
	Month time.Month
	Day   int
}

// String returns the day as "2026-03-02".
func (d Date) String() string { return fmt.Sprintf("%04d-%02d-%02d", d.Year, d.Month, d.Day) }

// Len returns the number of days.
func (d Days) Len() int { return int((d.Last.noon()-d.First.noon())/86400) + 1 }

// noon orders days by a number that has the same distance between all of them.
func (d Date) noon() int64 { return time.Date(d.Year, d.Month, d.Day, 12, 0, 0, 0, time.UTC).Unix() }

func dateOf(t time.Time) Date {
	y, m, d := t.Date()
	return Date{y, m, d}
}

// Hours are averages over the hours of the day.
type Hours struct {
	Average [24]float64
	// Days are those that the average is over.
	Days Days
}

// Week holds averages over the hours of weekdays, Monday first. Those of weekdays that
// are not among the days are NaN.
type Week struct {
	Average [7][24]float64
	Days    Days
}

// PerDay returns the width of slots that hours of the day are made of: an hour, or the smallest
// multiple of it that the store can tell, whose slots are as wide as precision. Slots of a day
// tell nothing about its hours.
func PerDay(precision time.Duration) (time.Duration, error) {
	if precision <= 0 {
		return time.Hour, nil
	}
	a, b := precision, time.Hour
	for b != 0 {
		a, b = b, a%b
	}
	if precision/a >= 24 {
		return 0, fmt.Errorf("slots of %s do not tell the hours of a day", Text(precision))
	}
	return precision / a * time.Hour, nil
}

// ByHour returns the averages over the hours of the day of slots of this width, a multiple of an
// hour, in the zone. The average is over the days from the first slot to the last one; where there
// is no slot it counts as zero. Each hour that a slot covers has the slot's count. What the clock shows
// twice on a day, or never, counts as often as it shows it. There must be a slot.
func ByHour(slots []Slot, width time.Duration, zone *time.Location) Hours {
	sums, days := add(slots, width, zone)
	h := Hours{Days: days}
	for hour := range h.Average {
		var all cell
		for _, day := range sums {
			all.sum += day[hour].sum
			all.n += day[hour].n
		}
		h.Average[hour] = all.average()
	}
	return h
}

// ByWeekday is ByHour apart by weekdays.
func ByWeekday(slots []Slot, width time.Duration, zone *time.Location) Week {
	sums, days := add(slots, width, zone)
	w := Week{Days: days}
	for day := range sums {
		for hour := range sums[day] {
			w.Average[day][hour] = sums[day][hour].average()
		}
	}
	return w
}

// cell is an hour of a weekday: what was counted in it, and how often it was.
type cell struct {
	sum float64
	n   int64
}

func (c cell) average() float64 {
	if c.n == 0 {
		return math.NaN()
	}
	return c.sum / float64(c.n)
}

// add adds up slots by weekday and hour, and counts how often each of these hours was.
func add(slots []Slot, width time.Duration, zone *time.Location) (sums [7][24]cell, days Days) {
	at := func(t time.Time) *cell { return &sums[(int(t.Weekday())+6)%7][t.Hour()] }
	first, last := slots[0].Start, slots[0].Start
	for _, s := range slots {
		if s.Start.Before(first) {
			first = s.Start
		}
		if s.Start.After(last) {
			last = s.Start
		}
		for t := s.Start; t.Before(s.Start.Add(width)); t = t.Add(time.Hour) {
			at(t.In(zone)).sum += float64(s.Count)
		}
	}
	last = last.Add(width - time.Hour)
	days = Days{dateOf(first.In(zone)), dateOf(last.In(zone))}
	// A day has 25 hours at most. Hours are those in which slots begin, so that half an hour between zones
	// does not matter.
	const day = 25 * time.Hour
	from, to := days.First.noon(), days.Last.noon()
	for t := first.Add(-day); t.Before(last.Add(day)); t = t.Add(time.Hour) {
		local := t.In(zone)
		if n := dateOf(local).noon(); n >= from && n <= to {
			at(local).n++
		}
	}
	return sums, days
}

// MaxSeries is how many values a series may have.
const MaxSeries = 100_000

// Span is a time from Start to End; zero times are where the slots end.
type Span struct {
	Start, End time.Time
}

// Series returns a value for each slot of this width from the beginning of the span to its end, zero where
// there is none, and when the first one begins.
func Series(slots []Slot, width time.Duration, span Span) (time.Time, []float64, error) {
	if len(slots) > 0 {
		if span.Start.IsZero() {
			span.Start = slots[0].Start
		}
		if span.End.IsZero() {
			span.End = slots[len(slots)-1].Start.Add(width)
		}
	}
	from, to := floor(span.Start, width), floor(span.End.Add(width-1), width)
	if span.Start.IsZero() || span.End.IsZero() || !from.Before(to) {
		return time.Time{}, nil, nil
	}
	n := int64(to.Sub(from) / width)
	if n > MaxSeries {
		return time.Time{}, nil, fmt.Errorf("%d slots of %s are too many for a picture: at most %d", n, Text(width), MaxSeries)
	}
	values := make([]float64, n)
	for _, s := range slots {
		if i := int64(s.Start.Sub(from) / width); !s.Start.Before(from) && i < n {
			values[i] += float64(s.Count)
		}
	}
	return from, values, nil
}

// floor returns the last multiple of width since 1970 that is not after t.
func floor(t time.Time, width time.Duration) time.Time {
	over := t.UnixNano() % int64(width)
	if over < 0 {
		over += int64(width)
	}
	return t.Add(-time.Duration(over))
}

// Step returns a width of slots for the span that makes at most so many of them: a round one, a multiple of precision.
func Step(span time.Duration, precision time.Duration, most int) time.Duration {
	const day = 24 * time.Hour
	for _, step := range []time.Duration{
		time.Second, 5 * time.Second, 15 * time.Second, time.Minute, 5 * time.Minute, 15 * time.Minute, 30 * time.Minute,
		time.Hour, 2 * time.Hour, 3 * time.Hour, 6 * time.Hour, 12 * time.Hour, day, 2 * day, 5 * day, 10 * day, 30 * day, 100 * day,
	} {
		if step%precision == 0 && span <= step*time.Duration(most) {
			return step
		}
	}
	times := (span + precision*time.Duration(most) - 1) / (precision * time.Duration(most))
	return precision * max(times, 1)
}

// Text returns a width of slots as people write it: "15m", "6h" or "2d".
func Text(width time.Duration) string {
	const day = 24 * time.Hour
	switch {
	case width%day == 0:
		return strconv.FormatInt(int64(width/day), 10) + "d"
	case width%time.Hour == 0:
		return strconv.FormatInt(int64(width/time.Hour), 10) + "h"
	case width%time.Minute == 0:
		return strconv.FormatInt(int64(width/time.Minute), 10) + "m"
	}
	return width.String()
}
