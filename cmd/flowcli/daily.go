// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"weir/store"
)

// daily is how many flows of which services were active in a slot of the day, summed
// over the days.
type daily struct {
	// Time is when the slot begins, as 15:04:05 in the zone of the user.
	Time     string         `json:"time"`
	Flows    int64          `json:"flows"`
	Services []dailyService `json:"services"`
}

type dailyService struct {
	store.Service
	Flows int64 `json:"flows"`
}

// printDaily prints the flows over the day: 10:00:00 | (tcp/80, 3) ; (udp/53, 2). CSV
// has a line for each service. Skip and limit count slots.
func (o *options) printDaily(ctx context.Context, db store.Timekeeper, out *output, s selection, q store.Query) error {
	slots, err := db.Timeline(ctx, store.TimelineQuery{
		Filter: s.filter, After: s.after, Before: s.before, By: []string{"proto", "dport", "type"},
	})
	if err != nil {
		return err
	}
	days, err := o.perDay(slots)
	if err != nil {
		return err
	}
	days = days[min(q.Skip, len(days)):]
	if q.Limit > 0 {
		days = days[:min(q.Limit, len(days))]
	}
	names := []string{"time", "services"}
	if out.format == asCSV {
		names = []string{"time", "proto", "dport", "type", "flows"}
	}
	out.style.headless = true
	sh, err := out.sheet(named(names...))
	if err != nil {
		return err
	}
	for _, d := range days {
		if err := addDaily(sh, out, &d); err != nil {
			return err
		}
	}
	return sh.end()
}

// addDaily adds a slot of the day to the answer.
func addDaily(s sheet, out *output, d *daily) error {
	if out.format != asCSV {
		groups := make([]string, len(d.Services))
		for i, v := range d.Services {
			groups[i] = fmt.Sprintf("(%s, %d)", v.Service, v.Flows)
		}
		return s.row([]any{d.Time, strings.Join(groups, " ; ")}, d)
	}
	for _, v := range d.Services {
		if err := s.row([]any{d.Time, v.Proto, optional(v.Dport), optional(v.Type), v.Flows}, nil); err != nil {
			return err
		}
	}
	return nil
}

// perDay sums slots up by their time of day, with the most frequent services first.
func (o *options) perDay(slots []store.TimelineSlot) ([]daily, error) {
	sums := make(map[string]map[string]*dailyService)
	for i := range slots {
		at := slots[i].Start.In(o.zone).Format("15:04:05")
		service, err := serviceOf(slots[i].Fields)
		if err != nil {
			return nil, err
		}
		if sums[at] == nil {
			sums[at] = make(map[string]*dailyService)
		}
		name := service.String()
		if sums[at][name] == nil {
			sums[at][name] = &dailyService{Service: service}
		}
		sums[at][name].Flows += slots[i].Flows
	}
	var days []daily
	for at, services := range sums {
		d := daily{Time: at}
		for _, s := range services {
			d.Services = append(d.Services, *s)
			d.Flows += s.Flows
		}
		slices.SortFunc(d.Services, func(a, b dailyService) int {
			return cmp.Or(cmp.Compare(b.Flows, a.Flows), cmp.Compare(a.Proto, b.Proto),
				compareOptional(a.Dport, b.Dport), compareOptional(a.Type, b.Type))
		})
		days = append(days, d)
	}
	slices.SortFunc(days, func(a, b daily) int { return cmp.Compare(a.Time, b.Time) })
	return days, nil
}

// compareOptional compares numbers that may be missing, those first.
func compareOptional(a, b *uint16) int {
	value := func(n *uint16) int {
		if n == nil {
			return -1
		}
		return int(*n)
	}
	return cmp.Compare(value(a), value(b))
}

// serviceOf returns the service that the values of proto, dport and type are.
func serviceOf(fields []any) (s store.Service, err error) {
	if len(fields) != 3 {
		return s, fmt.Errorf("a slot of %d values, want proto, dport and type", len(fields))
	}
	s.Proto, _ = fields[0].(string)
	for i, to := range []**uint16{&s.Dport, &s.Type} {
		if n, ok := fields[i+1].(int64); ok {
			*to = new(uint16(n))
		}
	}
	return s, nil
}
