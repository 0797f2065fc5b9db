// SPDX-License-Identifier: Apache-2.0

package lakequery

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"weir/store/lake"
)

// rawSchema is the schema of the tables as parts hold them, for our own
// queries: with addresses in 16 bytes and uids as numbers.
const rawSchema = "raw"

// macros returns the statements that make the functions which the views use.
func macros() []string {
	return append(communityIDMacros(),
		"CREATE SCHEMA "+rawSchema,
		// The text of a uid, as flow.UIDText.
		`CREATE MACRO uid_text(u) AS 'C' || lower(lpad(to_hex(u::BIGINT), 16, '0'))`,
	)
}

// views returns the statements that make the views of a manifest.
func (d *DB) views(m *lake.Manifest) []string {
	out := append(d.rawViews(rawSchema, m), rollupView(),
		replaceView("conn", connSelect(rawSchema+"."+wholeTable)),
		replaceView("conn_records", connSelect(rawSchema+"."+recordsTable)),
		replaceView("flow", flowsOf(rawSchema, layersOf(m), true, false, "")),
	)
	for _, t := range lake.Tables() {
		if t.Name != lake.ConnTable {
			out = append(out, intelView(&t))
		}
	}
	return out
}

// rawViews returns the statements that make the views for our own queries, in a
// schema.
func (d *DB) rawViews(schema string, m *lake.Manifest) []string {
	out := d.connViews(schema, m)
	for _, t := range append(lake.Tables(), lake.Rollup(), lake.WeekRollup()) {
		if t.Name != lake.ConnTable {
			out = append(out, d.rawView(schema, m, &t))
		}
	}
	return append(out, d.restDaysView(schema, m))
}

// rawView returns the view of a table's parts. Their list comes from the
// manifest, never from the directory.
func (d *DB) rawView(schema string, m *lake.Manifest, t *lake.Table) string {
	var parts []*lake.Part
	for i := range m.Parts {
		if m.Parts[i].Kind == t.Name {
			parts = append(parts, &m.Parts[i])
		}
	}
	return replaceView(schema+"."+ident(t.Name), d.partsSelect(t, parts))
}

// durationSQL is the time between the first and the last packet, in seconds.
const durationSQL = `(epoch_us(lastseen) - epoch_us(firstseen)) / 1e6`

// connSelect shows the connections of a relation to people, in the order of the
// documentation.
func connSelect(relation string) string {
	return `SELECT uid_text(uid) AS uid, sensor, firstseen, lastseen, ` + durationSQL + ` AS duration,
	src, sport, dst, dport, type, code, proto, service, conn_state, history, end_reason,
	cspkts, scpkts, csbytes, scbytes, cspayload, scpayload, missed_bytes, vlan,
	list_transform(tunnel_parents, lambda u: uid_text(u)) AS tunnel_parents,
	community_id(src_bin, dst_bin, ip_proto, sport, dport, type, code) AS community_id, count, loss
	FROM ` + relation
}

// intelView returns the statement that shows a kind of intel to people: the
// connection's endpoints, then the kind's own columns.
func intelView(t *lake.Table) string {
	shown := []string{"sensor", "ts", "src", "sport", "dst", "dport", "proto"}
	columns := append([]string{"uid_text(uid) AS uid"}, shown...)
	skip := append([]string{"uid", "src_bin", "dst_bin"}, shown...)
	for i := range t.Columns {
		if name := t.Columns[i].Name; !slices.Contains(skip, name) {
			columns = append(columns, ident(name))
		}
	}
	return fmt.Sprintf("CREATE OR REPLACE VIEW %s AS SELECT %s FROM %s.%s",
		ident(t.Name), strings.Join(columns, ", "), rawSchema, ident(t.Name))
}

// total returns a sum that stays within 64 bits.
func total(expr string) string {
	return fmt.Sprintf("least(sum(%s), %d)::BIGINT", expr, int64(math.MaxInt64))
}

// distinct returns a sorted list of the distinct values of a column.
func distinct(column string) string { return "list_sort(list_distinct(list(" + column + ")))" }

// servicesSQL is the set of protocols found in connections; the column of one
// connection may hold several, joined by commas.
const servicesSQL = "list_sort(list_distinct(flatten(list(string_split(service, ',')))))"

// stateSQL is the state of connections that have ended.
const stateSQL = "CASE WHEN end_reason <> 2 THEN conn_state END"

// flowColumns returns the columns of flows, in the order of the documentation.
func flowColumns() []string {
	columns := []string{
		"src", "dst", "proto", "dport", "type",
		distinct("sport") + " AS sports", distinct("code") + " AS codes",
	}
	for _, name := range []string{"count", "cspkts", "scpkts", "csbytes", "scbytes"} {
		columns = append(columns, total(name)+" AS "+name)
	}
	return append(columns, "min(firstseen) AS firstseen", "max(lastseen) AS lastseen",
		distinct(stateSQL)+" AS conn_state", servicesSQL+" AS service",
		distinct("vlan")+" AS vlan", distinct("sensor")+" AS sensor")
}

// firstSlotSQL is the first slot of time of a width that a connection's row counts for,
// in microseconds: the start of an hour, as lake.Rollup has it, or of what hours make up.
func firstSlotSQL(width time.Duration) string {
	return window{step: width.Microseconds()}.slot("epoch_us(firstseen)")
}

// moreSlotsSQL is the list of the slots after the first one. The last one has the last of
// the hours that the row counts for, so that rows and roll-ups tell the same.
func moreSlotsSQL(width time.Duration) string {
	return fmt.Sprintf("range(%s + %d, least(epoch_us(lastseen), %s + %d) + 1, %[2]d)",
		firstSlotSQL(width), width.Microseconds(),
		firstSlotSQL(lake.SlotWidth), (lake.MaxSlots-1)*lake.SlotWidth.Microseconds())
}

// longSQL is the condition that there are slots after the first one.
func longSQL(width time.Duration) string {
	return fmt.Sprintf("epoch_us(lastseen) >= %s + %d", firstSlotSQL(width), width.Microseconds())
}

// timesOf returns a list of times from one of microseconds.
func timesOf(list string) string {
	return "list_transform(" + list + ", lambda u: make_timestamptz(u))"
}

// timesSQL is the set of the slots of time of connections. It is made only
// where somebody asks for it. Most connections have one slot, for which no list
// is made.
func timesSQL(width time.Duration) string {
	return timesOf("list_sort(list_distinct(list_concat(list(" + firstSlotSQL(width) + "), " +
		"coalesce(flatten(list(" + moreSlotsSQL(width) + ") FILTER (" + longSQL(width) + ")), []::BIGINT[]))))")
}

// flowKey is what makes a flow.
const flowKey = "src, dst, proto, dport, type"

// flowSelect groups the connections of a raw table that fulfill a condition ("" is
// none) to flows.
func flowSelect(schema, table, where string, extra ...string) string {
	s := "SELECT " + strings.Join(append(flowColumns(), extra...), ", ") +
		" FROM " + schema + "." + table + " AS conn"
	if where != "" {
		s += " WHERE " + where
	}
	return s + " GROUP BY " + flowKey
}
