// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"time"

	"weir/store"
)

// printFlows lists flows. Text shows the columns below; CSV those of flowRecord. JSON
// is a store.Flow, whose tags are the names of its fields:
//
//	src, dst             addresses of the client and of the server
//	proto, dport, type   dport where the protocol has ports, type of ICMP
//	sports, codes        ports of the client, codes of ICMP, ascending
//	count                number of connections
//	cspkts, scpkts       packets from the client to the server, and back
//	csbytes, scbytes     bytes of IP packets, likewise
//	firstseen, lastseen  times of the first and of the last packet
//	conn_state, service, vlan, sensor
//	                     what its connections have, each value once
//	times                starts of the slots of time in which it was active
//	meta                 what was learned from it: kind, count (of records) and
//	                     attrs, by the names that filters have for them
//
// What a flow has none of is left out. Times are RFC 3339 in UTC.
func (o *options) printFlows(ctx context.Context, db store.FlowLister, out *output, q store.Query) error {
	q.Times = o.list.timeline || out.json()
	if out.json() {
		q.Intel = store.All
	}
	columns, values := flowLine()
	if out.format == asCSV {
		columns, values = flowRecord()
	}
	if o.list.timeline {
		columns = append(columns, column{name: "times"})
		some := values
		values = func(f *store.Flow) []any { return append(some(f), list(f.Times)) }
	}
	s, err := out.sheet(columns)
	if err != nil {
		return err
	}
	return fill(s, db.Flows(ctx, q), func(f *store.Flow) error {
		if out.json() {
			return s.row(nil, f)
		}
		return s.row(values(f), nil)
	})
}

// counters are the names of the numbers that flows and pairs have.
func counters() []column {
	list := named("count", "cspkts", "scpkts", "csbytes", "scbytes")
	for i := range list {
		list[i].right = true
	}
	return append(list, named("firstseen", "lastseen")...)
}

// flowLine returns the columns that people see, and the values of a flow.
func flowLine() ([]column, func(*store.Flow) []any) {
	return append(named("src", "proto/dport", "dst"), counters()...), func(f *store.Flow) []any {
		return []any{
			f.Src.String(), f.Label(), f.Dst.String(), f.Count, f.CSPkts, f.SCPkts, f.CSBytes, f.SCBytes, f.FirstSeen, f.LastSeen,
		}
	}
}

// flowRecord returns the columns that programs see, and the values of a flow.
func flowRecord() ([]column, func(*store.Flow) []any) {
	columns := append(named("src", "dst", "proto", "dport", "type", "sports", "codes"), counters()...)
	return append(columns, named("conn_state", "service", "vlan", "sensor")...), func(f *store.Flow) []any {
		return []any{
			f.Src.String(), f.Dst.String(), f.Proto, optional(f.Dport), optional(f.Type), list(f.Sports), list(f.Codes),
			f.Count, f.CSPkts, f.SCPkts, f.CSBytes, f.SCBytes, f.FirstSeen, f.LastSeen,
			list(f.ConnState), list(f.Service), list(f.VLAN), list(f.Sensor),
		}
	}
}

// optional returns a number that may be missing as a value of a sheet.
func optional(n *uint16) any {
	if n == nil {
		return nil
	}
	return int64(*n)
}

// list returns distinct values as a value of a sheet, nil for none.
func list[T uint16 | string | time.Time](values []T) any {
	if len(values) == 0 {
		return nil
	}
	out := make([]any, len(values))
	for i, v := range values {
		switch v := any(v).(type) {
		case uint16:
			out[i] = int64(v)
		default:
			out[i] = v
		}
	}
	return out
}
