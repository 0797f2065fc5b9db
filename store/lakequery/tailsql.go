// SPDX-License-Identifier: Apache-2.0

package lakequery

import (
	"context"
	"database/sql"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"weir/internal/filter"
	"weir/store"
	"weir/store/lake"
)

// partsSQL returns the relation of some parts of a table.
func (d *DB) partsSQL(t *lake.Table, parts []lake.Part) string {
	// Parts of each schema are read on their own: older ones lack columns.
	files := map[int][]string{}
	var schemas []int
	for i := range parts {
		p := &parts[i]
		if files[p.Schema] == nil {
			schemas = append(schemas, p.Schema)
		}
		files[p.Schema] = append(files[p.Schema], quote(filepath.Join(d.root, filepath.FromSlash(p.Path))))
	}
	slices.Sort(schemas)
	var selects []string
	for _, schema := range schemas {
		selects = append(selects, fmt.Sprintf("SELECT %s FROM read_parquet([%s], hive_partitioning = false)",
			strings.Join(columnsSQL(t, func(c *lake.Column) bool { return c.Name == "loss" && schema == 0 }), ", "),
			strings.Join(files[schema], ", ")))
	}
	if len(selects) == 0 {
		all := columnsSQL(t, func(*lake.Column) bool { return true })
		return "(SELECT " + strings.Join(all, ", ") + " WHERE false)"
	}
	return "(" + strings.Join(selects, " UNION ALL ") + ")"
}

// columnsSQL returns the columns of a table, NULL for those that are absent.
func columnsSQL(t *lake.Table, absent func(*lake.Column) bool) []string {
	out := make([]string, len(t.Columns))
	for i := range t.Columns {
		c := &t.Columns[i]
		out[i] = ident(c.Name)
		if absent(c) {
			out[i] = "NULL::" + c.Type.SQL() + " AS " + ident(c.Name)
		}
	}
	return out
}

// listSQL returns a list of numbers.
func listSQL(list []float64) string {
	text := make([]string, len(list))
	for i, x := range list {
		text[i] = strconv.FormatFloat(x, 'g', -1, 64)
	}
	return "[" + strings.Join(text, ", ") + "]"
}

// connTable returns the table of connections.
func connTable() *lake.Table {
	return &lake.Table{Name: lake.ConnTable, Columns: lake.ConnColumns()}
}

// hasLoss reports whether connections say that packets were lost.
func hasLoss() bool {
	return slices.ContainsFunc(lake.ConnColumns(), func(c lake.Column) bool { return c.Name == "loss" })
}

// isLast is the condition that a row is the last one of its connection.
const isLast = "end_reason IS DISTINCT FROM 2"

// endedSQL returns the relation of the last rows of connections.
func (d *DB) endedSQL(src *tailSource) string {
	t := connTable()
	text := "(SELECT * FROM " + d.partsSQL(t, src.parts) + " WHERE " + isLast
	if len(src.mixed) > 0 {
		text += fmt.Sprintf(" UNION ALL SELECT * FROM %s WHERE %s AND epoch_us(lastseen) > %d",
			d.partsSQL(t, src.mixed), isLast, src.after)
	}
	return text + ")"
}

// Names of the temporary tables of a Tail, which only its own connection sees.
const (
	tailEnded  = "temp.tail_ended"
	tailTotals = "temp.tail_totals"
)

// summed lists the counters of which a connection has the sum over its rows.
func summed() []string {
	return []string{"cspkts", "scpkts", "csbytes", "scbytes", "cspayload", "scpayload", "missed_bytes", "count"}
}

// run returns the connections of src that ended in a range of time, with the
// Tail's columns, in the order of lastseen; if last is not 0 the last ones, the
// latest first.
func (t *Tail) run(ctx context.Context, src *tailSource, r timeRange, last int) (*sql.Rows, error) {
	m, err := lake.ReadManifest(t.db.path)
	if err != nil {
		return nil, err
	}
	where, args := "TRUE", []any{}
	if !r.after.IsZero() {
		args = append(args, r.after)
		where += fmt.Sprintf(" AND lastseen > $%d", len(args))
	}
	if !r.until.IsZero() {
		args = append(args, r.until)
		where += fmt.Sprintf(" AND lastseen <= $%d", len(args))
	}
	if last > 0 && t.query.Filter == nil {
		where += fmt.Sprintf(" ORDER BY lastseen DESC, uid DESC LIMIT %d", last)
	}
	_, err = t.conn.ExecContext(ctx, "CREATE OR REPLACE TEMP TABLE tail_ended AS SELECT * FROM "+t.db.endedSQL(src)+" WHERE "+where, args...)
	if err != nil {
		return nil, err
	}
	first, err := t.addUp(ctx, m)
	if err != nil {
		return nil, err
	}
	text, err := t.selectSQL(last, func(kind string) string { return t.db.intelSQL(m, kind, first) })
	if err != nil {
		return nil, err
	}
	return t.conn.QueryContext(ctx, text.sql, text.args...)
}

// addUp gathers, for connections of several rows, what all of them say. It
// returns the first packet's time of all connections in question.
func (t *Tail) addUp(ctx context.Context, m *lake.Manifest) (first time.Time, err error) {
	var oldest, ended sql.NullTime
	row := t.conn.QueryRowContext(ctx, "SELECT min(firstseen), min(lastseen) FILTER (count = 0) FROM "+tailEnded)
	if err := row.Scan(&oldest, &ended); err != nil {
		return first, err
	}
	sums := make([]string, 0, len(summed()))
	for _, name := range summed() {
		sums = append(sums, total(name)+" AS "+name)
	}
	if hasLoss() {
		sums = append(sums, "bool_or(loss) AS loss")
	}
	// Most have begun lately. Those whose first row is not found are looked for
	// further back.
	for _, back := range []time.Duration{0, 15 * time.Minute, 24 * time.Hour, -1} {
		var parts []lake.Part
		from := ended.Time.Add(-back)
		for i := range m.Parts {
			p := &m.Parts[i]
			// Whether parts of schema 0 hold such rows, they do not say.
			several := p.Kind == lake.ConnTable && (p.Schema == 0 || p.Partial > 0)
			if several && ended.Valid && back != 0 && (back < 0 || p.MaxTS >= from.UnixMicro()) {
				parts = append(parts, *p)
			}
		}
		text := "CREATE OR REPLACE TEMP TABLE tail_totals AS SELECT uid, min(firstseen) AS firstseen, max(lastseen) AS lastseen, " +
			strings.Join(sums, ", ") + " FROM " + t.db.partsSQL(connTable(), parts) +
			" WHERE uid IN (SELECT uid FROM " + tailEnded + " WHERE count = 0) GROUP BY uid"
		if _, err := t.conn.ExecContext(ctx, text); err != nil {
			return first, err
		}
		if !ended.Valid {
			break
		}
		var missing int64
		row := t.conn.QueryRowContext(ctx, "SELECT count(DISTINCT uid) FROM "+tailEnded+
			" WHERE count = 0 AND uid NOT IN (SELECT uid FROM "+tailTotals+" WHERE count > 0)")
		if err := row.Scan(&missing); err != nil {
			return first, err
		}
		if missing == 0 {
			break
		}
	}
	var began sql.NullTime
	if err := t.conn.QueryRowContext(ctx, "SELECT min(firstseen) FROM "+tailTotals).Scan(&began); err != nil {
		return first, err
	}
	first = oldest.Time
	if began.Valid && began.Time.Before(first) {
		first = began.Time
	}
	return first, nil
}

// intelSQL returns the relation of a kind's records from a time on.
func (d *DB) intelSQL(m *lake.Manifest, kind string, from time.Time) string {
	var parts []lake.Part
	for i := range m.Parts {
		if p := &m.Parts[i]; p.Kind == kind && p.MaxTS >= from.UnixMicro() {
			parts = append(parts, *p)
		}
	}
	for _, t := range lake.Tables() {
		if t.Name == kind {
			return fmt.Sprintf("(SELECT * FROM %s WHERE ts >= make_timestamp(%d))", d.partsSQL(&t, parts), from.UnixMicro())
		}
	}
	return ""
}

// tailText is a query with its arguments.
type tailText struct {
	sql  string
	args []any
}

// selectSQL returns the query that selects of the temporary tables' content what
// the filter wants, see run. intel returns the relation of a kind.
func (t *Tail) selectSQL(last int, intel func(kind string) string) (*tailText, error) {
	cond, err := t.query.Filter.SQL(filter.SQLOptions{Conn: "flow", Flow: "flow", ByUID: true, Table: intel})
	if err != nil {
		return nil, err
	}
	replace := []string{"coalesce(t.firstseen, e.firstseen) AS firstseen", "greatest(t.lastseen, e.lastseen) AS lastseen"}
	for _, name := range summed() {
		value := fmt.Sprintf("coalesce(t.%[1]s, e.%[1]s)", name)
		if name == "count" {
			// The first row may be too old to be kept.
			value = "greatest(" + value + ", 1)"
		}
		replace = append(replace, value+" AS "+name)
	}
	columns := tailColumns()
	if hasLoss() {
		replace = append(replace, "coalesce(t.loss, e.loss) AS loss")
		columns = append(columns, "loss")
	}
	text := "WITH whole AS (SELECT e.* REPLACE (" + strings.Join(replace, ", ") + ") FROM " + tailEnded +
		" AS e LEFT JOIN " + tailTotals + " AS t ON e.count = 0 AND e.uid = t.uid), " +
		"flow AS (SELECT * REPLACE (" + flowOfOne + "), " + setsOfOne + " FROM whole), " +
		"chosen AS MATERIALIZED (SELECT * FROM whole WHERE uid IN (SELECT uid FROM flow WHERE " + cond.Rows.Text +
		" AND " + cond.Groups.Text + ")"
	order := " ORDER BY lastseen, uid"
	if last > 0 {
		order = " ORDER BY lastseen DESC, uid DESC"
		text += order + fmt.Sprintf(" LIMIT %d", last)
	}
	text += ")"
	from := " FROM chosen"
	if t.query.Intel {
		text += ", texts AS (" + textsSQL(intel) + ")"
		columns = append(columns, "coalesce(texts.intel, []) AS intel")
		from += " LEFT JOIN texts USING (uid)"
	}
	order = strings.ReplaceAll(order, "uid", "chosen.uid")
	return &tailText{text + " SELECT " + strings.Join(columns, ", ") + from + order, cond.Args()}, nil
}

// flowOfOne and setsOfOne make a flow of a single connection.
const (
	flowOfOne = `CASE WHEN conn_state IS NOT NULL THEN [conn_state] END AS conn_state, list_sort(list_distinct(string_split(service, ','))) AS service,
		CASE WHEN vlan IS NOT NULL THEN [vlan] END AS vlan, CASE WHEN sensor IS NOT NULL THEN [sensor] END AS sensor`
	setsOfOne = `CASE WHEN sport IS NOT NULL THEN [sport] END AS sports, CASE WHEN code IS NOT NULL THEN [code] END AS codes`
)

// tailColumns returns the columns of view conn.
func tailColumns() []string {
	return []string{
		"uid_text(chosen.uid) AS uid", "sensor", "firstseen", "lastseen", durationSQL + " AS duration",
		"src", "sport", "dst", "dport", "type", "code", "proto", "service", "conn_state", "history", "end_reason",
		"cspkts", "scpkts", "csbytes", "scbytes", "cspayload", "scpayload", "missed_bytes", "vlan",
		"list_transform(tunnel_parents, lambda u: uid_text(u)) AS tunnel_parents",
		"community_id(src_bin, dst_bin, ip_proto, sport, dport, type, code) AS community_id",
		"count",
	}
}

// textsSQL returns a query for a few texts that say what connections were about.
func textsSQL(intel func(kind string) string) string {
	var each []string
	for _, k := range []struct{ kind, text string }{
		{"dns", "query"},
		{"http", "coalesce(method || ' ', '') || coalesce(host, '') || coalesce(uri, '')"},
		{"ssl", "server_name"},
	} {
		each = append(each, "SELECT uid, left("+k.text+", 100) AS text FROM "+intel(k.kind)+
			" AS m WHERE uid IN (SELECT uid FROM chosen)")
	}
	return "SELECT uid, list_sort(list(DISTINCT text))[1:4] AS intel FROM (" + strings.Join(each, " UNION ALL ") +
		") WHERE text <> '' GROUP BY uid"
}

// describe finds out the types of the columns.
func (t *Tail) describe(ctx context.Context) error {
	var none tailSource
	rows, err := t.run(ctx, &none, timeRange{}, 0)
	if err != nil {
		return err
	}
	defer func() { _ = rows.Close() }() // Err tells what went wrong
	types, err := rows.ColumnTypes()
	if err != nil {
		return err
	}
	for _, c := range types {
		t.columns = append(t.columns, store.Column{Name: c.Name(), Type: c.DatabaseTypeName()})
	}
	return rows.Err()
}
