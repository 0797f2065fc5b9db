// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"iter"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"weir/internal/filter"
	"weir/store"
)

// someFlows answers questions about time with what it holds, and keeps the questions.
type someFlows struct {
	flows []*store.Flow
	slots []store.TimelineSlot
	asked store.TimelineQuery
}

func (s *someFlows) Flows(_ context.Context, q store.Query) iter.Seq2[*store.Flow, error] {
	return func(yield func(*store.Flow, error) bool) {
		for _, f := range s.flows {
			g := *f
			if !q.Times {
				g.Times = nil
			}
			if !yield(&g, nil) {
				return
			}
		}
	}
}

func (s *someFlows) Timeline(_ context.Context, q store.TimelineQuery) ([]store.TimelineSlot, error) {
	s.asked = q
	return s.slots, nil
}

// printed returns the text that print prints.
func printed(t *testing.T, o *options, f format, print func(*output) error) string {
	t.Helper()
	var b bytes.Buffer
	if err := print(&output{w: &b, format: f, style: style{sep: " | ", cell: listCell(o.zone)}, line: new(waiting)}); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// TestDaily sums slots of several days up by their time of day in the user's zone.
func TestDaily(t *testing.T) {
	day := time.Date(2025, 11, 23, 0, 0, 0, 0, time.UTC)
	slot := func(day time.Time, hour int, flows int64, fields ...any) store.TimelineSlot {
		return store.TimelineSlot{Start: day.Add(time.Duration(hour) * time.Hour), Fields: fields, Flows: flows}
	}
	next := day.AddDate(0, 0, 1)
	db := &someFlows{slots: []store.TimelineSlot{
		slot(day, 10, 2, "tcp", int64(80), nil), slot(day, 10, 1, "udp", int64(53), nil),
		slot(day, 23, 1, "icmp", nil, int64(8)), slot(next, 10, 1, "tcp", int64(80), nil),
		slot(next, 10, 1, "tcp", int64(9), nil), slot(next, 10, 1, "gre", nil, nil),
	}}
	india, err := time.LoadLocation("Asia/Kolkata")
	if err != nil {
		t.Fatal(err)
	}
	e, err := filter.Parse("proto != esp", filter.Options{})
	if err != nil {
		t.Fatal(err)
	}
	s := selection{filter: e, after: day, before: next.AddDate(0, 0, 1)}
	for _, tc := range []struct {
		name   string
		zone   *time.Location
		format format
		q      store.Query
		want   string
	}{
		{"text", time.UTC, asText, store.Query{}, "10:00:00 | (tcp/80, 3) ; (gre, 1) ; (tcp/9, 1) ; (udp/53, 1)\n23:00:00 | (icmp/8, 1)\n"},
		{"zone", india, asText, store.Query{}, "04:30:00 | (icmp/8, 1)\n15:30:00 | (tcp/80, 3) ; (gre, 1) ; (tcp/9, 1) ; (udp/53, 1)\n"},
		{"skip", time.UTC, asText, store.Query{Skip: 1}, "23:00:00 | (icmp/8, 1)\n"},
		{"limit", time.UTC, asCSV, store.Query{Limit: 1}, "time,proto,dport,type,flows\n10:00:00,tcp,80,,3\n10:00:00,gre,,,1\n10:00:00,tcp,9,,1\n10:00:00,udp,53,,1\n"},
		{"beyond", time.UTC, asJSON, store.Query{Skip: 7, Limit: 7}, "[]\n"},
		{"NDJSON", time.UTC, asNDJSON, store.Query{Skip: 1}, `{"time":"23:00:00","flows":1,"services":[{"proto":"icmp","type":8,"flows":1}]}` + "\n"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			o := &options{zone: tc.zone}
			got := printed(t, o, tc.format, func(out *output) error { return o.printDaily(t.Context(), db, out, s, tc.q) })
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
	if db.asked.Filter != e || !db.asked.After.Equal(s.after) || !db.asked.Before.Equal(s.before) || db.asked.Step != 0 {
		t.Errorf("asked %+v, want the filter and the window", db.asked)
	}
}

// TestTimesOfFlows lists a flow with several slots: they stand in its line.
func TestTimesOfFlows(t *testing.T) {
	first := time.Date(2025, 11, 23, 10, 0, 0, 0, time.UTC)
	db := &someFlows{flows: []*store.Flow{{
		Src: netip.MustParseAddr("10.0.0.1"), Dst: netip.MustParseAddr("10.0.0.2"), Proto: "gre", Count: 2,
		FirstSeen: first, LastSeen: first.Add(time.Hour), Times: []time.Time{first, first.Add(time.Hour)},
	}}}
	o := &options{zone: time.UTC, list: listOptions{timeline: true}}
	for _, tc := range []struct {
		format format
		want   string
	}{
		{asText, "src      | proto/dport | dst      | count | cspkts | scpkts | csbytes | scbytes | firstseen           | lastseen            | times\n" +
			"10.0.0.1 | gre         | 10.0.0.2 |     2 |      0 |      0 |       0 |       0 | 2025-11-23 10:00:00 | 2025-11-23 11:00:00 | 2025-11-23 10:00:00, 2025-11-23 11:00:00\n"},
		{asCSV, "src,dst,proto,dport,type,sports,codes,count,cspkts,scpkts,csbytes,scbytes,firstseen,lastseen,conn_state,service,vlan,sensor,times\n" +
			`10.0.0.1,10.0.0.2,gre,,,,,2,0,0,0,0,2025-11-23T10:00:00Z,2025-11-23T11:00:00Z,,,,,"[""2025-11-23T10:00:00Z"",""2025-11-23T11:00:00Z""]"` + "\n"},
		{asJSON, "[\n" + `{"src":"10.0.0.1","dst":"10.0.0.2","proto":"gre","count":2,"cspkts":0,"scpkts":0,"csbytes":0,"scbytes":0,"firstseen":"2025-11-23T10:00:00Z","lastseen":"2025-11-23T11:00:00Z","times":["2025-11-23T10:00:00Z","2025-11-23T11:00:00Z"]}` + "\n]\n"},
	} {
		got := printed(t, o, tc.format, func(out *output) error { return o.printFlows(t.Context(), db, out, store.Query{}) })
		if diff := cmp.Diff(tc.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tc.format, diff)
		}
	}
}
