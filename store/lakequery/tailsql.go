// SPDX-License-Identifier: Apache-2.0

package lakequery

import (
	"context"
	"database/sql"
	"fmt"
	"strconv"
	"strings"
	"time"

	"weir/internal/filter"
	"weir/store"
	"weir/store/lake"
)

// listSQL returns a list of numbers.
func listSQL(list []float64) string {
	text := make([]string, len(list))
	for i, x := range list {
		text[i] = strconv.FormatFloat(x, 'g', -1, 64)
	}
	return "[" + strings.Join(text, ", ") + "]"
}

// partsSQL returns the relation of some parts of a table.
func (d *DB) partsSQL(t *lake.Table, parts []lake.Part) string {
	pointers := make([]*lake.Part, len(parts))
	for i := range parts {
		pointers[i] = &parts[i]
	}
	return "(" + d.partsSelect(t, pointers) + ")"
}

// isLast is the condition that a row is the last one of its connection.
const isLast = "end_reason IS DISTINCT FROM 2"

// endedSQL returns the relation of the last rows of connections.
func (d *DB) endedSQL(src *tailSource) string {
	t := lake.Conns()
	text := "(SELECT * FROM " + d.partsSQL(&t, src.parts) + " WHERE " + isLast
	if len(src.mixed) > 0 {
		text += fmt.Sprintf(" UNION ALL SELECT * FROM %s WHERE %s AND epoch_us(lastseen) > %d",
			d.partsSQL(&t, src.mixed), isLast, src.after)
	}
	return text + ")"
}

// Names of the temporary tables of a Tail, which only its own connection sees:
// the last rows of connections, and of those with several rows what all say.
const (
	tailEnded  = "temp.tail_ended"
	tailMerged = "temp.tail_merged"
)

// run returns the connections of src that ended in a range of time, with the
// Tail's columns, in the order of lastseen; if last is not 0 the last ones, the
// latest first.
func (t *Tail) run(ctx context.Context, src *tailSource, r timeRange, last int) (*sql.Rows, error) {
	m := src.manifest
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
	_, err := t.conn.ExecContext(ctx, "CREATE OR REPLACE TEMP TABLE tail_ended AS SELECT * FROM "+t.db.endedSQL(src)+" WHERE "+where, args...)
	if err != nil {
		return nil, err
	}
	first, err := t.merge(ctx, m)
	if err != nil {
		return nil, err
	}
	text, err := t.selectSQL(last, func(kind string) string { return t.db.intelSQL(m, kind, first) })
	if err != nil {
		return nil, err
	}
	return t.conn.QueryContext(ctx, text.sql, text.args...)
}

// merge gathers, for connections of several rows, what all of them say. It
// returns when the first one of the connections in question began.
func (t *Tail) merge(ctx context.Context, m *lake.Manifest) (first time.Time, err error) {
	var began, ended sql.NullTime
	row := t.conn.QueryRowContext(ctx, "SELECT min(firstseen), min(lastseen) FILTER (count = 0) FROM "+tailEnded)
	if err := row.Scan(&began, &ended); err != nil {
		return first, err
	}
	table := lake.Conns()
	// Most have begun lately. Those whose first row is not found are looked for
	// further back.
	for _, back := range []time.Duration{15 * time.Minute, 24 * time.Hour, -1} {
		var parts []*lake.Part
		for i := range m.Parts {
			p := &m.Parts[i]
			recent := back < 0 || p.MaxTS >= ended.Time.Add(-back).UnixMicro()
			if p.Kind == lake.ConnTable && p.Partial > 0 && ended.Valid && recent {
				parts = append(parts, p)
			}
		}
		merged := "SELECT * FROM " + tailEnded + " WHERE false"
		if len(parts) > 0 {
			merged = mergeSelect(&table, " FROM (SELECT * FROM ("+t.db.numberedSelect(&table, parts)+
				") WHERE uid IN (SELECT uid FROM "+tailEnded+" WHERE count = 0))")
		}
		if _, err := t.conn.ExecContext(ctx, "CREATE OR REPLACE TEMP TABLE tail_merged AS "+merged); err != nil {
			return first, err
		}
		if !ended.Valid {
			return began.Time, nil
		}
		var missing int64
		row := t.conn.QueryRowContext(ctx, "SELECT count(DISTINCT uid) FROM "+tailEnded+
			" WHERE count = 0 AND uid NOT IN (SELECT uid FROM "+tailMerged+" WHERE count > 0)")
		if err := row.Scan(&missing); err != nil {
			return first, err
		}
		if missing == 0 {
			break
		}
	}
	var earlier sql.NullTime
	if err := t.conn.QueryRowContext(ctx, "SELECT min(firstseen) FROM "+tailMerged).Scan(&earlier); err != nil {
		return first, err
	}
	if earlier.Valid && earlier.Time.Before(began.Time) {
		return earlier.Time, nil
	}
	return began.Time, nil
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
	width := t.db.snapshot().SlotWidth()
	cond, err := t.query.Filter.SQL(filter.SQLOptions{Conn: "flow", Flow: "flow", ByUID: true, Table: intel, Slot: width})
	if err != nil {
		return nil, err
	}
	sets := setsOfOne
	if cond.Times {
		sets += ", " + timesOf("list_concat(["+firstSlotSQL(width)+"], "+moreSlotsSQL(width)+")") + " AS times"
	}
	text := "WITH whole AS (SELECT * FROM " + tailEnded + " WHERE count <> 0 UNION ALL SELECT * FROM " + tailMerged +
		// Their parts may have left the lake just now.
		" UNION ALL SELECT * FROM " + tailEnded + " WHERE count = 0 AND uid NOT IN (SELECT uid FROM " + tailMerged + ")), " +
		"flow AS (SELECT * REPLACE (" + flowOfOne + "), " + sets + " FROM whole), " +
		"chosen AS MATERIALIZED (SELECT * FROM whole WHERE uid IN (SELECT uid FROM flow WHERE " + cond.Rows.Text +
		" AND " + cond.Groups.Text + ")"
	order := " ORDER BY lastseen, uid"
	if last > 0 {
		order = " ORDER BY lastseen DESC, uid DESC"
		text += order + fmt.Sprintf(" LIMIT %d", last)
	}
	text += "), shown AS (" + connSelect("chosen") + ")"
	if t.query.Intel {
		text += ", texts AS (" + textsSQL(intel) + ") SELECT shown.*, coalesce(texts.intel, []) AS intel " +
			"FROM shown LEFT JOIN texts ON uid_text(texts.uid) = shown.uid"
		order = strings.ReplaceAll(order, "uid", "shown.uid")
	} else {
		text += " SELECT * FROM shown"
	}
	return &tailText{text + order, cond.Args()}, nil
}

// flowOfOne and setsOfOne make a flow of a single connection.
const (
	flowOfOne = `CASE WHEN conn_state IS NOT NULL THEN [conn_state] END AS conn_state, list_sort(list_distinct(string_split(service, ','))) AS service,
		CASE WHEN vlan IS NOT NULL THEN [vlan] END AS vlan, CASE WHEN sensor IS NOT NULL THEN [sensor] END AS sensor`
	setsOfOne = `CASE WHEN sport IS NOT NULL THEN [sport] END AS sports, CASE WHEN code IS NOT NULL THEN [code] END AS codes`
)

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
	none := tailSource{manifest: new(lake.Manifest)}
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
