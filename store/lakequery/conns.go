// SPDX-License-Identifier: Apache-2.0

package lakequery

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"weir/store/lake"
)

// Relations of connections, in rawSchema or that of a pinned snapshot. Most stores hold one row a
// connection, and the three are the same. Where interim records were written,
// several rows may make one connection.
const (
	// recordsTable has all rows as they are.
	recordsTable = "conn_records"
	// flowRowsTable is what flows are made of, see flowRows.
	flowRowsTable = lake.ConnTable
	// wholeTable has one row for each connection.
	wholeTable = "conn_whole"
)

// connViews returns the statements that make the views of connections in a schema.
func (d *DB) connViews(schema string, m *lake.Manifest) []string {
	view := func(name, query string) string { return replaceView(schema+"."+name, query) }
	t := lake.Conns()
	whole, partial := connParts(m, func(*lake.Part) bool { return true })
	all := d.partsSelect(&t, slices.Concat(whole, partial))
	restWhole, restPartial := connParts(m, func(p *lake.Part) bool { return p.Rollup == "" })
	views := []string{
		view(recordsTable, all),
		view(flowRowsTable, d.flowRows(&t, whole, partial)),
		view(restTable, d.flowRows(&t, restWhole, restPartial)),
	}
	if len(partial) == 0 {
		return append(views, view(wholeTable, all))
	}
	some := " FROM (" + d.partsSelect(&t, partial) + ")"
	return append(views, view(wholeTable, d.before(&t, whole)+"SELECT *"+some+" WHERE "+single+
		" UNION ALL "+mergeSelect(&t, " FROM ("+d.numberedSelect(&t, partial)+")")))
}

// connParts returns the parts of connections that fulfill a condition: those
// whose rows are whole connections, and the others.
func connParts(m *lake.Manifest, wanted func(*lake.Part) bool) (whole, partial []*lake.Part) {
	for i := range m.Parts {
		switch p := &m.Parts[i]; {
		case p.Kind != lake.ConnTable || !wanted(p):
		case p.Partial > 0:
			partial = append(partial, p)
		default:
			whole = append(whole, p)
		}
	}
	return whole, partial
}

// flowRows returns the query of the rows that flows are made of: interim ones
// have no conn_state, since the state of a connection is its last one.
func (d *DB) flowRows(t *lake.Table, whole, partial []*lake.Part) string {
	if len(partial) == 0 {
		return d.partsSelect(t, whole)
	}
	return d.before(t, whole) + "SELECT * REPLACE (CASE WHEN " + notInterim +
		" THEN conn_state END AS conn_state) FROM (" + d.partsSelect(t, partial) + ")"
}

// before returns the query of parts in front of another one, "" if there are
// none.
func (d *DB) before(t *lake.Table, parts []*lake.Part) string {
	if len(parts) == 0 {
		return ""
	}
	return d.partsSelect(t, parts) + " UNION ALL "
}

func replaceView(name, query string) string { return "CREATE OR REPLACE VIEW " + name + " AS " + query }

// partsSelect returns the query that reads parts of a table. Those of each
// schema are read on their own: columns that they lack have no values.
func (d *DB) partsSelect(t *lake.Table, parts []*lake.Part) string {
	return d.readParts(t, parts, func(int) string { return "" })
}

// rowColumn is a number that no other row of the same parts has.
const rowColumn = "row_number"

// numberedSelect is partsSelect with rowColumn.
func (d *DB) numberedSelect(t *lake.Table, parts []*lake.Part) string {
	return d.readParts(t, parts, func(schema int) string {
		return fmt.Sprintf(", (%d::BIGINT << 56) + (file_index::BIGINT << 32) + file_row_number AS %s", schema, rowColumn)
	})
}

// readParts returns the query that reads parts, with more columns by schema.
func (d *DB) readParts(t *lake.Table, parts []*lake.Part, more func(schema int) string) string {
	files := make(map[int][]string)
	for _, p := range parts {
		files[p.Schema] = append(files[p.Schema], quote(d.file(p)))
	}
	if len(files) == 0 {
		return "SELECT " + selectColumns(t, -1) + " WHERE false"
	}
	var selects []string
	for _, schema := range slices.Sorted(maps.Keys(files)) {
		selects = append(selects, fmt.Sprintf("SELECT %s%s FROM read_parquet([%s], hive_partitioning = false)",
			selectColumns(t, schema), more(schema), strings.Join(files[schema], ", ")))
	}
	return strings.Join(selects, " UNION ALL ")
}

// selectColumns returns the columns of a table, without values where a schema
// lacks them; -1 lacks all.
func selectColumns(t *lake.Table, schema int) string {
	columns := make([]string, len(t.Columns))
	for i := range t.Columns {
		c := &t.Columns[i]
		columns[i] = ident(c.Name)
		if c.Since > schema {
			columns[i] = "NULL::" + c.Type.SQL() + " AS " + ident(c.Name)
		}
	}
	return strings.Join(columns, ", ")
}

const (
	// notInterim is the condition that a row is the last one of its connection.
	notInterim = "end_reason <> 2"
	// single is the condition that a row is a connection of its own. What it is
	// not true for are rows that lake.Part.Partial counts.
	single = notInterim + " AND count <> 0"
)

// mergeSelect returns the query that makes one row of all rows of a connection.
//
// What does not add up is that of the last row: the one that is not interim or,
// as long as there is none, the one with the longest history, which only grows,
// and then the latest time. Sums are made first, with the number of the last row,
// which then is looked up: so the state for a connection is small, whatever its
// texts are, and conditions on the others are applied while reading.
//
// Where client and server of a TCP connection turned out to be mistaken, later
// rows have them the other way round. So counters are summed by endpoint, the
// lower one first, and given to the client and the server of the last row. UDP
// counters stay with the side they were counted for, as in Zeek.
func mergeSelect(t *lake.Table, from string) string {
	const forth = "(ip_proto <> 6 OR src_bin < dst_bin OR (src_bin = dst_bin AND sport <= dport))"
	const place = "((" + notInterim + ")::BIGINT << 61) + " +
		"(least(coalesce(length(history), 0), 511)::BIGINT << 52) + " +
		"greatest(0, least(epoch_us(lastseen), (1::BIGINT << 52) - 1))"
	sums := []string{"arg_max(" + rowColumn + ", " + place + ") AS last"}
	columns := make([]string, len(t.Columns))
	for i := range t.Columns {
		name := t.Columns[i].Name
		sum := ""
		columns[i] = "s." + ident(name)
		switch {
		case name == "firstseen":
			sum = "min(firstseen)"
		case name == "lastseen":
			sum = "max(lastseen)"
		case name == "count", name == "missed_bytes":
			sum = total(name)
		case name == "loss":
			sum = "bool_or(loss)"
		case strings.HasPrefix(name, "cs"), strings.HasPrefix(name, "sc"):
			other := map[string]string{"cs": "sc", "sc": "cs"}[name[:2]] + name[2:]
			sum = total("CASE WHEN " + forth + " THEN " + name + " ELSE " + other + " END")
			columns[i] = "CASE WHEN " + forth + " THEN s." + name + " ELSE s." + other + " END"
		default:
			columns[i] = "r." + ident(name)
			continue
		}
		sums = append(sums, sum+" AS "+ident(name))
		columns[i] += " AS " + ident(name)
	}
	from += " WHERE NOT (" + single + ")"
	return "SELECT " + strings.Join(columns, ", ") + " FROM (SELECT *" + from + ") AS r JOIN (SELECT " +
		strings.Join(sums, ", ") + from + " GROUP BY uid) AS s ON r." + rowColumn + " = s.last"
}
