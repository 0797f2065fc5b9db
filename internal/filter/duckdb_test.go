// SPDX-License-Identifier: Apache-2.0

package filter_test

import (
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	_ "github.com/duckdb/duckdb-go/v2"

	"weir/internal/filter"
	"weir/internal/flow"
	"weir/store/storetest"
)

func options() filter.Options { return storetest.Options() }

func openDuckDB(t *testing.T) *sql.DB {
	t.Helper()
	db, err := sql.Open("duckdb", "")
	if err != nil {
		t.Fatal(err)
	}
	db.SetMaxOpenConns(1)
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	exec(t, db, "SET threads = 1")
	return db
}

func exec(t *testing.T, db *sql.DB, text string) {
	t.Helper()
	if _, err := db.ExecContext(t.Context(), text); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
}

func sqlText(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }

// sqlName is a text, or NULL for the empty one.
func sqlName(s string) string {
	if s == "" {
		return "NULL"
	}
	return sqlText(s)
}

func sqlAddr(a flow.Addr) string { return fmt.Sprintf("from_hex('%x')", a[:]) }

func seconds(micros int64) string { return fmt.Sprintf("(%d::DOUBLE / 1e6)", micros) }

// number is a number, or NULL.
func number(n *uint16) string {
	if n == nil {
		return "NULL"
	}
	return strconv.FormatUint(uint64(*n), 10)
}

// load makes tables like the lake's views.
func load(t *testing.T, db *sql.DB, d *storetest.Data) {
	t.Helper()
	exec(t, db, `CREATE TABLE conn (src VARCHAR, dst VARCHAR, src_bin BLOB, dst_bin BLOB, proto VARCHAR,
		sport INTEGER, dport INTEGER, type INTEGER, code INTEGER, service VARCHAR, conn_state VARCHAR,
		sensor VARCHAR, vlan INTEGER, count BIGINT, cspkts BIGINT, scpkts BIGINT, csbytes BIGINT, scbytes BIGINT,
		firstseen TIMESTAMPTZ, lastseen TIMESTAMPTZ, uid BIGINT)`)
	var rows []string
	for i := range d.Conns {
		c := &d.Conns[i]
		f := storetest.FlowOf(&c.Tuple)
		var sport, code, vlan *uint16
		if f.Dport != nil {
			sport = &c.Sport
		}
		if f.Type != nil {
			code = new(uint16(c.Code))
		}
		if c.VLAN != 0 {
			vlan = &c.VLAN
		}
		state := c.State.String()
		if c.End == flow.EndActive {
			state = ""
		}
		cells := []string{
			sqlText(c.Src.String()), sqlText(c.Dst.String()), sqlAddr(c.Src), sqlAddr(c.Dst), sqlText(f.Proto),
			number(sport), number(f.Dport), number(f.Type), number(code), sqlName(c.Service),
			sqlName(state), sqlText(c.Sensor), number(vlan),
		}
		for _, n := range []uint64{c.Count, c.CSPkts, c.SCPkts, c.CSBytes, c.SCBytes} {
			cells = append(cells, strconv.FormatUint(n, 10))
		}
		cells = append(cells, sqlTime(c.First), sqlTime(c.Last), sqlUID(c.UID))
		rows = append(rows, "("+strings.Join(cells, ", ")+")")
	}
	exec(t, db, "INSERT INTO conn VALUES "+strings.Join(rows, ", "))
	for i, k := range flow.Kinds() {
		loadKind(t, db, flow.Kind(i), &k, d.Intel)
	}
}

func sqlTime(ts flow.Time) string {
	return fmt.Sprintf("to_timestamp(0) + to_microseconds(%d)", ts.Micro())
}

func sqlUID(uid uint64) string { return fmt.Sprintf("(%d)::BIGINT", int64(uid)) }

func loadKind(t *testing.T, db *sql.DB, which flow.Kind, k *flow.KindInfo, records []storetest.Record) {
	t.Helper()
	columns := []string{"src_bin BLOB", "dst_bin BLOB", "proto VARCHAR", "dport INTEGER", "uid BIGINT"}
	types := map[flow.AttrType]string{
		flow.Text: "VARCHAR", flow.Count: "BIGINT", flow.Bool: "BOOLEAN", flow.Interval: "DOUBLE",
		flow.TextList: "VARCHAR[]", flow.IntervalList: "DOUBLE[]",
	}
	for _, a := range k.Attrs {
		if !a.LogOnly {
			columns = append(columns, fmt.Sprintf("%q %s", a.Column, types[a.Type]))
		}
	}
	exec(t, db, fmt.Sprintf("CREATE TABLE %s (%s)", k.Name, strings.Join(columns, ", ")))
	var rows []string
	for i := range records {
		r := &records[i]
		if r.Kind != which {
			continue
		}
		f := storetest.FlowOf(&r.Tuple)
		cells := []string{sqlAddr(r.Src), sqlAddr(r.Dst), sqlText(f.Proto), number(f.Dport), sqlUID(r.UID)}
		for j := range k.Attrs {
			if !k.Attrs[j].LogOnly {
				cells = append(cells, sqlValue(&r.Values[j], k.Attrs[j].Type))
			}
		}
		rows = append(rows, "("+strings.Join(cells, ", ")+")")
	}
	if len(rows) > 0 {
		exec(t, db, fmt.Sprintf("INSERT INTO %s VALUES %s", k.Name, strings.Join(rows, ", ")))
	}
}

func sqlValue(v *filter.Value, t flow.AttrType) string {
	if !v.Set {
		return "NULL"
	}
	list := func(n int, element func(i int) string) string {
		parts := make([]string, n)
		for i := range parts {
			parts[i] = element(i)
		}
		return "[" + strings.Join(parts, ", ") + "]"
	}
	switch t {
	case flow.Count:
		return strconv.FormatInt(v.Int, 10)
	case flow.Bool:
		return strconv.FormatBool(v.Int != 0)
	case flow.Interval:
		return seconds(v.Int)
	case flow.TextList:
		return list(len(v.Texts), func(i int) string { return sqlText(v.Texts[i]) })
	case flow.IntervalList:
		return list(len(v.Ints), func(i int) string { return seconds(v.Ints[i]) })
	case flow.Text:
	}
	return sqlText(v.Text)
}

// groupSQL is how a store uses the two conditions.
const groupSQL = `SELECT concat_ws(' ', f.src, f.dst, f.proto, coalesce(f.dport::VARCHAR, 'NULL'),
	coalesce(f.type::VARCHAR, 'NULL')%[3]s) AS key
FROM (
	SELECT src, dst, src_bin, dst_bin, proto, dport, type,
		list_sort(list_distinct(list(sport))) AS sports, list_sort(list_distinct(list(code))) AS codes,
		sum(count)::BIGINT AS count, sum(cspkts)::BIGINT AS cspkts, sum(scpkts)::BIGINT AS scpkts,
		sum(csbytes)::BIGINT AS csbytes, sum(scbytes)::BIGINT AS scbytes,
		min(firstseen) AS firstseen, max(lastseen) AS lastseen, list_distinct(list(conn_state)) AS conn_state,
		list_distinct(list(service)) AS service, list_distinct(list(vlan)) AS vlan,
		list_distinct(list(sensor)) AS sensor, list_distinct(flatten(list(generate_series(
			date_trunc('hour', firstseen), lastseen, INTERVAL 1 HOUR)))) AS times%[4]s
	FROM conn AS c WHERE %[1]s GROUP BY src, dst, src_bin, dst_bin, proto, dport, type%[4]s
) AS f WHERE %[2]s ORDER BY key`

// selected runs a filter on DuckDB and returns the keys of the flows.
func selected(t *testing.T, db *sql.DB, e *filter.Expr) ([]string, error) {
	t.Helper()
	q, err := e.SQL(filter.SQLOptions{Conn: "c", Flow: "f"})
	if err != nil {
		return nil, err
	}
	return run(t, db, fmt.Sprintf(groupSQL, q.Rows.Text, q.Groups.Text, "", ""), q.Args())
}

// selectedConns runs a filter that selects single connections. Their keys end
// with their uid.
func selectedConns(t *testing.T, db *sql.DB, e *filter.Expr) ([]string, error) {
	t.Helper()
	q, err := e.SQL(filter.SQLOptions{Conn: "c", Flow: "f", ByUID: true})
	if err != nil {
		return nil, err
	}
	return run(t, db, fmt.Sprintf(groupSQL, q.Rows.Text, q.Groups.Text, ", f.uid", ", uid"), q.Args())
}

// run runs a query for keys.
func run(t *testing.T, db *sql.DB, text string, args []any) (keys []string, err error) {
	t.Helper()
	rows, err := db.QueryContext(t.Context(), text, args...)
	if err != nil {
		return nil, fmt.Errorf("%s %v: %w", text, args, err)
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var key string
		if err := rows.Scan(&key); err != nil {
			return nil, err
		}
		keys = append(keys, key)
	}
	return keys, rows.Err()
}

// matching returns the keys of the flows that the evaluator selects.
func matching(all map[string]*filter.Flow, e *filter.Expr) []string {
	var keys []string
	for key, f := range all {
		if e.Match(f) {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	return keys
}

// byKey returns flows by their keys, which are those of DuckDB's answers.
func byKey(list []*filter.Flow) map[string]*filter.Flow {
	all := make(map[string]*filter.Flow)
	for _, f := range list {
		all[storetest.Key(f)] = f
	}
	return all
}
