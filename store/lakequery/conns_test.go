// SPDX-License-Identifier: Apache-2.0

package lakequery_test

import (
	"bytes"
	"database/sql"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	_ "github.com/duckdb/duckdb-go/v2" // writes a part of an older schema
	"github.com/google/go-cmp/cmp"
	"github.com/zeebo/xxh3"

	"weir/internal/filter"
	"weir/internal/flow"
	"weir/store"
	"weir/store/lake"
)

// continued returns the next record of a connection, n seconds after base.
func continued(c flow.Connection, n int, state flow.State, history string, end flow.EndReason) flow.Connection {
	t := flow.Totals{First: c.First, Last: c.Last}
	if c.Total != nil {
		t = *c.Total
	} else {
		t.CSPkts, t.SCPkts, t.CSBytes, t.SCBytes = c.CSPkts, c.SCPkts, c.CSBytes, c.SCBytes
		t.CSPayload, t.SCPayload, t.Missed = c.CSPayload, c.SCPayload, c.Missed
	}
	c.First = base + flow.Time(n)*1e9
	c.Last = c.First + 250_000_000
	c.CSPkts, c.SCPkts, c.CSBytes, c.SCBytes, c.CSPayload, c.SCPayload, c.Missed = 10, 20, 100, 200, 30, 40, 5
	t.Last = c.Last
	t.CSPkts += c.CSPkts
	t.SCPkts += c.SCPkts
	t.CSBytes += c.CSBytes
	t.SCBytes += c.SCBytes
	t.CSPayload += c.CSPayload
	t.SCPayload += c.SCPayload
	t.Missed += c.Missed
	c.State, c.History, c.End, c.Count, c.Total = state, []byte(history), end, 0, &t
	return c
}

// turned exchanges the endpoints of a record and, of all but this one, the
// counters.
func turned(c flow.Connection) flow.Connection {
	c.Src, c.Dst, c.Sport, c.Dport = c.Dst, c.Src, c.Dport, c.Sport
	if c.Proto != flow.TCP {
		return c
	}
	t := *c.Total
	a, b := t.CSPkts-c.CSPkts, t.SCPkts-c.SCPkts
	t.CSPkts, t.SCPkts = b+c.CSPkts, a+c.SCPkts
	a, b = t.CSBytes-c.CSBytes, t.SCBytes-c.SCBytes
	t.CSBytes, t.SCBytes = b+c.CSBytes, a+c.SCBytes
	a, b = t.CSPayload-c.CSPayload, t.SCPayload-c.SCPayload
	t.CSPayload, t.SCPayload = b+c.CSPayload, a+c.SCPayload
	c.Total = &t
	return c
}

// interimRecords returns records of seven connections, the last ones of each
// apart. Connection 7 has no end, as after kill -9.
func interimRecords() (before, last []flow.Connection) {
	begin := func(uid uint64, proto uint8, src string, sport uint16, dst string, dport uint16) flow.Connection {
		c := conn(uid, proto, src, sport, dst, dport, int(uid)*10)
		c.State, c.History, c.End = flow.S1, []byte("ShAD"), flow.EndActive
		return c
	}
	one := begin(1, flow.TCP, "10.0.0.1", 40000, "10.0.0.2", 80)
	oneB := continued(one, 100, flow.S1, "ShADda", flow.EndActive)
	oneB.Loss = true
	oneC := continued(oneB, 200, flow.SF, "ShADdaFf", flow.EndDetected)
	oneC.Service = "http"

	two := begin(2, flow.TCP, "10.0.0.1", 40001, "10.0.0.2", 50000)
	two.State, two.History = flow.OTH, []byte("H")
	twoB := turned(continued(two, 110, flow.S1, "^hd", flow.EndActive))
	twoC := continued(twoB, 210, flow.RSTO, "^hdR", flow.EndDetected)

	three := begin(3, flow.UDP, "10.0.0.9", 53, "10.0.0.2", 53)
	three.State, three.History = flow.S0, []byte("D")
	threeB := turned(continued(three, 120, flow.S0, "D^", flow.EndIdle))

	four := begin(4, flow.ICMP, "10.0.0.9", 8, "10.0.0.1", 0)
	four.State, four.History = flow.OTH, nil
	four.TunnelParents = []uint64{9}
	// Its end a day later.
	fourB := continued(four, 100_000, flow.OTH, "", flow.EndForced)
	fourB.TunnelParents = []uint64{9, 10}

	five := conn(5, flow.TCP, "10.0.0.1", 40005, "10.0.0.2", 80, 50)
	// The same endpoints later: another connection.
	six := begin(6, flow.TCP, "10.0.0.1", 40000, "10.0.0.2", 80)
	six.VLAN = 7
	// The clock of the packets went back.
	sixB := continued(six, 20, flow.S1, "ShADdaT", flow.EndActive)
	sixC := continued(sixB, 30, flow.S1, "ShADdaT", flow.EndIdle)

	seven := begin(7, flow.TCP, "10.0.0.7", 40000, "10.0.0.2", 80)
	sevenB := continued(seven, 130, flow.S1, "ShADdat", flow.EndActive)
	return []flow.Connection{one, two, three, four, six, seven, oneB, twoB, sixB},
		[]flow.Connection{five, sevenB, sixC, fourB, threeB, twoC, oneC}
}

func TestInterimRecordsAreMerged(t *testing.T) {
	before, last := interimRecords()
	path := filepath.Join(t.TempDir(), "records")
	// Two imports: several parts. Another one has no interim records.
	writeLake(t, path, "first", before, nil)
	writeLake(t, path, "second", last, nil)
	other := testConns()
	for i := range other {
		other[i].UID ^= 0xff00
	}
	writeLake(t, path, "third", other, nil)
	m, err := lake.ReadManifest(path)
	if err != nil {
		t.Fatal(err)
	}
	partial := map[string]int64{}
	for i := range m.Parts {
		partial[m.Parts[i].Import+m.Parts[i].Day] = m.Parts[i].Partial
		if m.Parts[i].Schema != lake.ConnSchema {
			t.Errorf("part has schema %d, want %d", m.Parts[i].Schema, lake.ConnSchema)
		}
	}
	want := map[string]int64{"first2025-11-23": 9, "second2025-11-23": 5, "second2025-11-24": 1, "third2025-11-23": 0}
	if diff := cmp.Diff(want, partial); diff != "" {
		t.Errorf("Partial (-want +got):\n%s", diff)
	}

	// The same connections, each in one row.
	var whole []flow.Connection
	for i := range last {
		w := last[i].Whole()
		w.Loss = w.Loss || w.UID == 1
		if w.UID == 6 {
			w.Last = before[4].Last // the highest time that was seen
			w.First = base + 20e9   // and the lowest
		}
		whole = append(whole, w)
	}
	plain := filepath.Join(t.TempDir(), "plain")
	writeLake(t, plain, "first", whole, nil)
	writeLake(t, plain, "third", other, nil)

	db, plainDB := openDB(t, path), openDB(t, plain)
	const query = "SELECT * FROM conn ORDER BY uid"
	_, wantRows := sqlRows(t, plainDB, query)
	_, gotRows := sqlRows(t, db, query)
	if diff := cmp.Diff(wantRows, gotRows); diff != "" {
		t.Errorf("conn (-each in one row +merged):\n%s", diff)
	}
	// Conditions reach the rows of which a connection is made in one way or another.
	for _, where := range []string{
		"dport = 80", "uid = 'C0000000000000002'", "src = '10.0.0.1' AND history LIKE '%T%'", "duration > 60",
		"cspkts > 15", "firstseen < '2025-11-23 10:00:25'", "lastseen > '2025-11-23 10:01:00'", "conn_state = 'S1'", "loss",
		"count = 1 AND end_reason <> 3", "list_contains(tunnel_parents, 'C000000000000000a')",
	} {
		query := "SELECT * FROM conn WHERE " + where + " ORDER BY uid"
		_, wantRows = sqlRows(t, plainDB, query)
		_, gotRows = sqlRows(t, db, query)
		if diff := cmp.Diff(wantRows, gotRows); diff != "" || len(wantRows) == 0 {
			t.Errorf("%s: %d rows (-each in one row +merged):\n%s", query, len(wantRows), diff)
		}
	}
	_, gotRows = sqlRows(t, db, "SELECT uid, conn_state, count, cspkts FROM conn_records WHERE uid = 'C0000000000000001' ORDER BY firstseen")
	wantRows = [][]any{
		{"C0000000000000001", "S1", int64(1), int64(3)},
		{"C0000000000000001", "S1", int64(0), int64(10)},
		{"C0000000000000001", "SF", int64(0), int64(10)},
	}
	if diff := cmp.Diff(wantRows, gotRows); diff != "" {
		t.Errorf("conn_records (-want +got):\n%s", diff)
	}
	for query, want := range map[string]int64{
		"SELECT count(*) FROM conn_records":                            int64(len(before) + len(last) + len(other)),
		"SELECT count(*) FROM conn":                                    int64(7 + len(other)),
		"SELECT sum(count)::BIGINT FROM conn":                          int64(7 + len(other)),
		"SELECT sum(count)::BIGINT FROM flow":                          int64(7 + len(other)),
		"SELECT count(*) FROM conn WHERE duration < 0":                 0,
		"SELECT count(*) FROM conn WHERE dport = 80":                   int64(4 + 3),
		"SELECT count(*) FROM conn WHERE loss":                         1,
		"SELECT count(*) FROM conn WHERE end_reason = 2":               1,
		"SELECT count(*) FROM conn WHERE community_id IS NULL":         0,
		"SELECT count(*) FROM flow WHERE list_contains(conn_state,'')": 0,
	} {
		if _, rows := sqlRows(t, db, query); rows[0][0] != want {
			t.Errorf("%s = %v, want %d", query, rows[0][0], want)
		}
	}

	// Flows are the same, but for the one that began the other way round, the state
	// of connection 7, which did not end, and the hours of which no record tells.
	const flowQuery = `SELECT * EXCLUDE (times) FROM flow WHERE dport IS DISTINCT FROM 50000 AND dport IS DISTINCT FROM 40001
		AND dport IS DISTINCT FROM 53 AND src <> '10.0.0.7' ORDER BY ALL`
	_, wantRows = sqlRows(t, plainDB, flowQuery)
	_, gotRows = sqlRows(t, db, flowQuery)
	if diff := cmp.Diff(wantRows, gotRows); diff != "" || len(wantRows) < 5 {
		t.Errorf("flow (-each in one row +merged):\n%s", diff)
	}
	states := func(text string) []string {
		e, err := filter.Parse(text, filter.Options{})
		if err != nil {
			t.Fatal(err)
		}
		return labels(flows(t, db, store.Query{Filter: e}))
	}
	if got := states("conn_state = S1 AND dport = 80"); len(got) != 1 || got[0] != "10.0.0.1 tcp/80 10.0.0.2" {
		t.Errorf("flows with a connection that ended in S1: %q, want that of connection 6", got)
	}
	if got := states("NONE conn_state AND src.addr = 10.0.0.7"); len(got) != 1 {
		t.Errorf("flows without a state: %q, want that of connection 7", got)
	}
}

// interimLake writes n connections in three records each and, in a part of its
// own, n in one, and returns the store and the sum of cspkts of all of them.
func interimLake(tb testing.TB, n int) (path string, cspkts int64) {
	tb.Helper()
	path = filepath.Join(tb.TempDir(), "store")
	conns := manyConns(n)
	writeLake(tb, path, "whole", conns, nil)
	for k := range 3 {
		for i := range conns {
			c := &conns[i]
			if k == 0 {
				c.UID ^= 0xff
				c.Total = &flow.Totals{}
				cspkts += int64(4 * c.CSPkts)
			}
			c.First += flow.Time(60e9)
			c.Last += flow.Time(60e9)
			c.Count, c.End = 0, flow.EndActive
			switch k {
			case 0:
				c.Count = 1
			case 2:
				c.End = flow.EndIdle
			}
		}
		writeLake(tb, path, fmt.Sprint("records", k), conns, nil)
	}
	return path, cspkts
}

// TestMergeManyRows merges rows of several parts with several row groups.
func TestMergeManyRows(t *testing.T) {
	const n = 130_000
	path, cspkts := interimLake(t, n)
	db := openDB(t, path)
	for query, want := range map[string][]any{
		"SELECT count(*), sum(count)::BIGINT, sum(cspkts)::BIGINT FROM conn":                     {int64(2 * n), int64(2 * n), cspkts},
		"SELECT count(*), sum(count)::BIGINT, sum(cspkts)::BIGINT FROM conn_records":             {int64(4 * n), int64(2 * n), cspkts},
		"SELECT count(*), sum(count)::BIGINT FROM conn WHERE duration >= 120 AND end_reason = 1": {int64(n), int64(n)},
		`SELECT count(*) > 100, bool_and(a.c = b.c AND a.p = b.p)
			FROM (SELECT src, dport, count(*) AS c, sum(cspkts) AS p FROM conn GROUP BY ALL) AS a
			JOIN (SELECT src, dport, sum(count) AS c, sum(cspkts) AS p FROM flow GROUP BY ALL) AS b USING (src, dport)
			WHERE src = '10.0.0.1'`: {true, true},
	} {
		_, rows := sqlRows(t, db, query)
		if diff := cmp.Diff(want, rows[0]); diff != "" {
			t.Errorf("%s (-want +got):\n%s", query, diff)
		}
	}
}

// TestOlderSchema reads parts that were written before there was a column.
func TestOlderSchema(t *testing.T) {
	path := testLake(t)
	m, err := lake.ReadManifest(path)
	if err != nil {
		t.Fatal(err)
	}
	for i := range m.Parts {
		if m.Parts[i].Kind == lake.ConnTable {
			p := &m.Parts[i]
			p.Bytes, p.Sum = makeOld(t, filepath.Join(path, p.Path))
			p.Schema, p.Footer, p.FooterSum, p.PageSum = 0, 0, "", ""
		}
	}
	writeManifest(t, path, m)
	db := openDB(t, path)
	count := func(where string) any {
		t.Helper()
		_, rows := sqlRows(t, db, "SELECT count(*) FROM conn WHERE "+where)
		return rows[0][0]
	}
	if got := count("loss IS NULL AND cspkts = 3"); got != int64(10) {
		t.Errorf("%v old rows, want 10", got)
	}
	// New parts beside old ones, without and with interim records.
	lossy := conn(0x77, flow.TCP, "10.0.0.1", 1, "10.0.0.5", 81, 0)
	lossy.Loss = true
	writeLake(t, path, "second", []flow.Connection{lossy}, nil)
	before, last := interimRecords()
	for i, records := range [][]flow.Connection{nil, before, last} {
		if records != nil {
			writeLake(t, path, fmt.Sprint("more", i), records, nil)
		}
		if err := db.Refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
		got := []any{count("loss IS NULL"), count("loss AND uid = 'C0000000000000077'"), count("dport = 81 AND src = '10.0.0.1'")}
		if diff := cmp.Diff([]any{int64(10), int64(1), int64(1)}, got); diff != "" {
			t.Errorf("step %d: old rows, marked rows, rows of port 81 (-want +got):\n%s", i, diff)
		}
	}
	opt := cmp.Comparer(func(x, y netip.Addr) bool { return x == y })
	e, err := filter.Parse("dport = 443 OR proto = gre", filter.Options{})
	if err != nil {
		t.Fatal(err)
	}
	want := flows(t, openDB(t, testLake(t)), store.Query{Filter: e})
	if diff := cmp.Diff(want, flows(t, db, store.Query{Filter: e}), opt); diff != "" || len(want) != 2 {
		t.Errorf("flows of old parts (-alone +among new ones):\n%s", diff)
	}
}

// makeOld takes the columns that came later out of a part.
func makeOld(t *testing.T, name string) (size int64, sum string) {
	t.Helper()
	db, err := sql.Open("duckdb", "")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	_, err = db.ExecContext(t.Context(), fmt.Sprintf("COPY (SELECT * EXCLUDE (loss) "+
		"FROM read_parquet('%[1]s', hive_partitioning = false)) TO '%[1]s.old' (FORMAT parquet)", name))
	if err == nil {
		err = os.Rename(name+".old", name)
	}
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return int64(len(data)), fmt.Sprintf("%016x", xxh3.Hash(data))
}

// writeManifest replaces a manifest by one that no writer makes.
func writeManifest(t *testing.T, path string, m *lake.Manifest) {
	t.Helper()
	body, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	rest := append(append([]byte(`",`), bytes.TrimPrefix(body, []byte("{"))...), '\n')
	data := append(fmt.Appendf(nil, `{"sum":"%016x`, xxh3.Hash(rest)), rest...)
	if err := os.WriteFile(filepath.Join(path, "MANIFEST"), data, 0o600); err != nil {
		t.Fatal(err)
	}
}
