// SPDX-License-Identifier: Apache-2.0

package lakequery

import (
	"strings"
	"time"

	"weir/store/lake"
)

// Raw tables of what no roll-up covers: connections, and the roll-ups of days that are in
// none of a week. They and the roll-ups of weeks together say about flows what conn says.
const (
	restTable     = "conn_rest"
	restDaysTable = lake.RollupTable + "_rest"
)

// layers are the tables that flows are made of.
type layers struct {
	weeks, days, rest bool
	// apart says that no flow is in two rows: there is one roll-up, and nothing else.
	apart bool
	// width is that of the slots of time which flows are shown with.
	width time.Duration
}

// layersOf returns those of a snapshot.
func layersOf(m *lake.Manifest) (l layers) {
	if m == nil {
		return layers{rest: true, width: lake.SlotWidth}
	}
	l.width = m.SlotWidth()
	ids := make(map[string]bool)
	for i := range m.Parts {
		switch p := &m.Parts[i]; {
		case p.Kind == lake.WeekTable:
			l.weeks, ids[p.Week] = true, true
		case p.Kind == lake.RollupTable && p.Week == "":
			l.days, ids[p.Rollup] = true, true
		case p.Kind == lake.ConnTable && p.Rollup == "":
			l.rest = true
		}
	}
	l.rest = l.rest || len(ids) == 0
	l.apart = len(ids) == 1 && !l.rest
	return l
}

// rollups returns the tables of roll-ups.
func (l layers) rollups() (tables []string) {
	if l.weeks {
		tables = append(tables, lake.WeekTable)
	}
	if l.days {
		tables = append(tables, restDaysTable)
	}
	return tables
}

// restDaysView returns the view of restDaysTable.
func (d *DB) restDaysView(schema string, m *lake.Manifest) string {
	var parts []*lake.Part
	for i := range m.Parts {
		if p := &m.Parts[i]; p.Kind == lake.RollupTable && p.Week == "" {
			parts = append(parts, p)
		}
	}
	t := lake.Rollup()
	return replaceView(schema+"."+restDaysTable, d.partsSelect(&t, parts))
}

// rollupView returns the statement that shows the roll-ups to people.
func rollupView() string {
	table := lake.Rollup()
	var shown []string
	for i := range table.Columns {
		if name := table.Columns[i].Name; !strings.HasSuffix(name, "_bin") {
			shown = append(shown, ident(name))
		}
	}
	return replaceView(ident(table.Name), "SELECT "+strings.Join(shown, ", ")+
		" FROM "+rawSchema+"."+ident(table.Name))
}

// merged returns a sorted list of the distinct elements of a column of lists.
func merged(column string) string {
	return "list_sort(list_distinct(flatten(list(" + column + "))))"
}

// flowsOf returns the query of the flows of connections that fulfill a condition on the
// flow's key ("" is none), from the views in a schema. It has the columns of flowColumns and,
// where they are wanted, the addresses in binary and times. Flows of several layers are
// merged: grouping the connections among them first is what is cheap.
func flowsOf(schema string, from layers, times, bins bool, where string) string {
	columns := []string{flowKey, merged("sports") + " AS sports", merged("codes") + " AS codes"}
	names := []string{flowKey, "sports", "codes"}
	for _, name := range []string{"count", "cspkts", "scpkts", "csbytes", "scbytes"} {
		columns, names = append(columns, total(name)+" AS "+name), append(names, name)
	}
	columns = append(columns, "min(firstseen) AS firstseen", "max(lastseen) AS lastseen")
	names = append(names, "firstseen", "lastseen")
	for _, name := range []string{"conn_state", "service", "vlan", "sensor"} {
		columns, names = append(columns, merged(name)+" AS "+name), append(names, name)
	}
	var more []string
	if times {
		columns, names = append(columns, merged("times")+" AS times"), append(names, from.times()+" AS times")
		more = append(more, timesSQL(from.width)+" AS times")
	}
	if bins || !from.apart && (from.weeks || from.days) {
		names = append(names, "src_bin", "dst_bin")
		more = append(more, binColumns()...)
	}
	if bins {
		columns = append(columns, binColumns()...)
	}
	rows := func(table string) string {
		s := "SELECT " + strings.Join(names, ", ") + " FROM " + schema + "." + table + " AS conn"
		if where != "" {
			s += " WHERE " + where
		}
		return s
	}
	var parts []string
	for _, table := range from.rollups() {
		parts = append(parts, rows(table))
	}
	if from.rest {
		parts = append(parts, flowSelect(schema, restTable, where, more...))
	}
	if len(parts) == 1 && (from.apart || from.rest) {
		return parts[0]
	}
	return "SELECT " + strings.Join(columns, ", ") + " FROM (" + strings.Join(parts, " UNION ALL ") +
		") AS conn GROUP BY " + flowKey
}

// countersOf returns the query of rows that together have the counters of the flows of
// connections that fulfill a condition on the flow's key: any number of rows for a flow.
// Sums by what belongs to the key need no more, and to put flows together is what takes long.
func countersOf(schema string, from layers, where string) string {
	var tables, parts []string
	if from.weeks {
		tables = append(tables, lake.WeekTable)
	}
	if from.days {
		tables = append(tables, restDaysTable)
	}
	if from.rest {
		tables = append(tables, restTable)
	}
	for _, table := range tables {
		s := "SELECT " + flowKey + ", count, cspkts, scpkts, csbytes, scbytes FROM " + schema + "." + table + " AS conn"
		if where != "" {
			s += " WHERE " + where
		}
		parts = append(parts, s)
	}
	return strings.Join(parts, " UNION ALL ")
}

// times returns the slots of time of a row of a roll-up, which keeps those of
// lake.SlotWidth.
func (l layers) times() string {
	if l.width == lake.SlotWidth {
		return "times"
	}
	w := window{step: l.width.Microseconds()}
	return "list_sort(list_distinct(list_transform(times, lambda t: make_timestamptz(" + w.slot("epoch_us(t)") + "))))"
}

// binColumns returns the addresses of a flow in binary, of its rows.
func binColumns() []string {
	return []string{"any_value(src_bin) AS src_bin", "any_value(dst_bin) AS dst_bin"}
}
