// SPDX-License-Identifier: Apache-2.0

package lakequery

import (
	"slices"
	"strings"

	"weir/store/lake"
)

// restTable is the raw table of the connections that no roll-up covers. It and
// the roll-ups together say about flows what conn says.
const restTable = "conn_rest"

// rolled reports whether a snapshot has roll-ups worth using.
func rolled(m *lake.Manifest) bool {
	return m != nil && slices.ContainsFunc(m.Parts, func(p lake.Part) bool {
		return p.Kind == lake.RollupTable
	})
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

// flowsOf returns the query of the flows of connections that fulfill a
// condition on the flow's key ("" is none), from the views in a schema. It has the columns of flowColumns
// and the extra ones, and times if that is set. Where roll-ups are used, the flows of the other
// connections are merged with them: grouping these first is what is cheap.
func flowsOf(schema string, rolled, times bool, where string, extra ...string) string {
	var slots []string
	if times {
		slots = []string{timesSQL() + " AS times"}
	}
	if !rolled {
		return flowSelect(schema, lake.ConnTable, where, append(slots, extra...)...)
	}
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
	if times {
		columns, names = append(columns, merged("times")+" AS times"), append(names, "times")
	}
	days := "SELECT " + strings.Join(append(names, "src_bin", "dst_bin"), ", ") +
		" FROM " + schema + "." + lake.RollupTable + " AS conn"
	if where != "" {
		days += " WHERE " + where
	}
	rest := flowSelect(schema, restTable, where,
		append(slots, "any_value(src_bin) AS src_bin", "any_value(dst_bin) AS dst_bin")...)
	return "SELECT " + strings.Join(append(columns, extra...), ", ") +
		" FROM (" + days + " UNION ALL " + rest + ") AS conn GROUP BY " + flowKey
}
