// SPDX-License-Identifier: Apache-2.0

package neo4j

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"weir/internal/neo4jtest"
	"weir/store"
)

// rows returns all rows of a raw query, copied.
func rows(t testing.TB, r store.Rows, err error) [][]any {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	var list [][]any
	for row, err := range r.All() {
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, append([]any(nil), row...))
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	return list
}

func TestRawValues(t *testing.T) {
	d := open(t)
	execute(t, d, `CREATE (:Host {addr: '10.0.0.1'})-[:SEND {n: 1}]->(:Flow {key: 'k', type: 8})`, nil)
	day := time.Date(2026, 3, 1, 10, 0, 0, 5000, time.UTC)
	for _, tc := range []struct {
		name, text string
		want       any
	}{
		{"null", `RETURN null`, nil},
		{"bool", `RETURN true`, true},
		{"integer", `RETURN 9223372036854775807`, int64(9223372036854775807)},
		{"float", `RETURN 1.5`, 1.5},
		{"text", `RETURN 'a\nb'`, "a\nb"},
		{"list", `RETURN [1, 'a', null, [2]]`, []any{int64(1), "a", nil, []any{int64(2)}}},
		{"map", `RETURN {a: 1, b: {c: [true]}}`, map[string]any{"a": int64(1), "b": map[string]any{"c": []any{true}}}},
		{"node", `MATCH (f:Flow) RETURN f`, map[string]any{"labels": []any{"Flow"}, "properties": map[string]any{"key": "k", "type": int64(8)}}},
		{"relation", `MATCH ()-[r:SEND]->() RETURN r`, map[string]any{"type": "SEND", "properties": map[string]any{"n": int64(1)}}},
		{"procedure", `CALL db.labels() YIELD label WHERE label = 'Flow' RETURN label`, "Flow"},
		{"explain", `EXPLAIN RETURN 1`, nil},
		{"path", `MATCH p = (:Host)-[:SEND]->() RETURN p`, []any{
			map[string]any{"labels": []any{"Host"}, "properties": map[string]any{"addr": "10.0.0.1"}},
			map[string]any{"type": "SEND", "properties": map[string]any{"n": int64(1)}},
			map[string]any{"labels": []any{"Flow"}, "properties": map[string]any{"key": "k", "type": int64(8)}},
		}},
		{"datetime", `RETURN datetime('2026-03-01T12:00:00.000005+02:00')`, day},
		{"date", `RETURN date('2026-03-01')`, "2026-03-01"},
		{"localdatetime", `RETURN localdatetime('2026-03-01T10:00:00')`, "2026-03-01T10:00:00"},
		{"duration", `RETURN duration('P1DT2H')`, "P0M1DT7200S"},
		{"point", `RETURN point({x: 1, y: 2})`, "point({srid: 7203, x: 1, y: 2})"},
		{"point in space", `RETURN point({x: 1, y: 2, z: 0.5})`, "point({srid: 9157, x: 1, y: 2, z: 0.5})"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r, err := d.Raw(t.Context(), tc.text)
			got := rows(t, r, err)
			if tc.name == "explain" && len(got) == 0 {
				return // a plan, no rows
			}
			if len(got) != 1 || len(got[0]) != 1 {
				t.Fatalf("got %v, want one value", got)
			}
			if diff := cmp.Diff(tc.want, got[0][0]); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tc.text, diff)
			}
		})
	}
	r, err := d.Raw(t.Context(), `UNWIND range(1, 3) AS n RETURN n, n * 2 AS twice`)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]store.Column{{Name: "n", Type: "ANY"}, {Name: "twice", Type: "ANY"}}, r.Columns()); diff != "" {
		t.Errorf("columns (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([][]any{{int64(1), int64(2)}, {int64(2), int64(4)}, {int64(3), int64(6)}}, rows(t, r, nil)); diff != "" {
		t.Errorf("rows (-want +got):\n%s", diff)
	}
}

func TestRawRefuses(t *testing.T) {
	d := open(t)
	for _, tc := range []struct {
		text, msg string
		offset    int
	}{
		{`CREATE (:Host {addr: '10.0.0.9'})`, "only reading is allowed", -1},
		{`MATCH (s:Store) SET s.precision = 1 RETURN s`, "only reading is allowed", -1},
		{`MERGE (s:Store {id: 'x'})`, "only reading is allowed", -1},
		{`MATCH (s:Store) DETACH DELETE s`, "only reading is allowed", -1},
		{`CREATE INDEX evil FOR (n:Host) ON (n.x)`, "", -2},
		{`DROP CONSTRAINT weir_host_addr`, "", -2},
		{`CREATE USER mallory SET PASSWORD 'mallory123'`, "", -2},
		{`ALTER CURRENT USER SET PASSWORD FROM 'a' TO 'b2345678'`, "", -2},
		{`CALL db.createLabel('Evil')`, "", -2},
		{`LOAD CSV FROM 'file:///etc/passwd' AS line RETURN line`, "LOAD CSV", -1},
		{`MATCH (s:Store) CALL (s) { LOAD CSV FROM 'http://127.0.0.1:1/' AS line RETURN line } RETURN line`, "LOAD CSV", -1},
		{`TERMINATE TRANSACTIONS 'neo4j-transaction-1'`, "TERMINATE", -1},
		{`CALL dbms.killConnections([])`, "dbms.killConnections", -1},
		{`CALL db.labels() YIELD label CALL dbms.killConnection(label) YIELD connectionId RETURN label`, "dbms.killConnection", -1},
		{`EXPLAIN CALL db.clearQueryCaches()`, "db.clearQueryCaches", -1},
		{`PROFILE CREATE (n)`, "leave it out", -1},
		{`MATCH (f:Flow) RETRUN f`, "Invalid input 'RETRUN'", 15},
		{`RETURN 'ä😀' + nix`, "nix", 18},
		{``, "", -2},
		{`RETURN 1 / 0`, "/ by zero", -1},
		{`RETURN 1; RETURN 2`, "", -2},
		{`RETURN $missing`, "missing", -1},
	} {
		t.Run(tc.text, func(t *testing.T) {
			r, err := d.Raw(t.Context(), tc.text)
			if err == nil {
				for _, err = range r.All() {
				}
				r.Close()
			}
			e := new(store.QueryError)
			if !errors.As(err, &e) {
				t.Fatalf("error %v (%T), want a *store.QueryError", err, err)
			}
			if !strings.Contains(e.Msg, tc.msg) || tc.offset != -2 && e.Offset != tc.offset || strings.Contains(e.Msg, "\n") {
				t.Errorf("%q at %d, want …%s… at %d", e.Msg, e.Offset, tc.msg, tc.offset)
			}
			t.Log(e.Offset, e.Msg)
		})
	}
	if got := values(t, d, `MATCH (n) RETURN count(n)`); got[0] != int64(1) {
		t.Errorf("%v nodes, want the one with the label Store", got)
	}
	if got := values(t, d, `SHOW INDEXES YIELD name WHERE name = 'weir_host_addr' OR name = 'evil' RETURN name`); len(got) != 1 || got[0] != "weir_host_addr" {
		t.Errorf("indexes %v", got)
	}
}

func TestRawStreams(t *testing.T) {
	d := open(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	r, err := d.Raw(ctx, `UNWIND range(1, 1000000000) AS n RETURN n`)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, err := range r.All() {
		if err != nil {
			if !errors.Is(err, context.Canceled) {
				t.Errorf("after cancel: %v, want %v", err, context.Canceled)
			}
			break
		}
		if n++; n == 1000 {
			cancel()
		}
		if n > 100_000 {
			t.Fatal("it goes on after it was canceled")
		}
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	// One that is closed early.
	r, err = d.Raw(t.Context(), `UNWIND range(1, 1000000000) AS n RETURN n`)
	if err != nil {
		t.Fatal(err)
	}
	for _, err := range r.All() {
		if err != nil {
			t.Fatal(err)
		}
		break
	}
	begin := time.Now()
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	if took := time.Since(begin); took > 5*time.Second {
		t.Errorf("closing took %v", took)
	}
}

func TestRawTimeout(t *testing.T) {
	s := neo4jtest.Shared(t)
	limited, err := Open(t.Context(), s.URI(), Config{Password: s.Password(), Create: true, QueryTimeout: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	defer limited.Close()
	r, err := limited.Raw(t.Context(), `UNWIND range(1, 100000) AS a UNWIND range(1, 100000) AS b WITH a, b WHERE a * b = -1 RETURN count(*)`)
	if err == nil {
		for _, err = range r.All() {
		}
		r.Close()
	}
	if e := new(Error); !errors.As(err, &e) || e.Kind != Timeout || !strings.Contains(err.Error(), "1s") {
		t.Errorf("error %v, want a timeout of 1s", err)
	}
}

func TestRawWrite(t *testing.T) {
	d := open(t)
	r, err := d.RawWrite(t.Context(), `UNWIND range(1, 10) AS n CREATE (:Host {addr: toString(n)})`)
	rows(t, r, err)
	r, err = d.RawWrite(t.Context(), `MATCH (h:Host) CALL (h) { SET h.x = 1 } IN TRANSACTIONS OF 3 ROWS RETURN count(*)`)
	if got := rows(t, r, err); len(got) != 1 || got[0][0] != int64(10) {
		t.Errorf("got %v, want 10", got)
	}
	// What is not taken is done nevertheless.
	r, err = d.RawWrite(t.Context(), `MATCH (h:Host) SET h.x = 2 RETURN h`)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if got := values(t, d, `MATCH (h:Host {x: 2}) RETURN count(h)`); got[0] != int64(10) {
		t.Errorf("%v hosts, want 10", got)
	}
	_, err = d.RawWrite(t.Context(), `CREATE (:Host {addr: '1'})`)
	if e := new(store.QueryError); !errors.As(err, &e) {
		t.Errorf("a second host with the same address: %v, want a *store.QueryError", err)
	}
}

func TestRawChanges(t *testing.T) {
	d := open(t)
	for _, tc := range []struct{ text, want string }{
		{`CREATE (:Host {addr: '1'})-[:SEND]->(:Flow {key: 'a'})`, "2 nodes made, 1 relation made, 2 properties set, 2 labels added"},
		{`MATCH (h:Host) SET h.x = 1 RETURN h.x`, "1 property set"},
		{`MATCH (h:Host) RETURN h.x`, ""},
		{`RETURN 1`, ""},
		{`MATCH (f:Flow) DETACH DELETE f`, "1 node deleted, 1 relation deleted"},
		{`CREATE INDEX other FOR (n:Other) ON (n.x)`, "1 index made"},
		{`DROP INDEX other`, "1 index dropped"},
	} {
		r, err := d.RawWrite(t.Context(), tc.text)
		if err != nil {
			t.Errorf("%s: %v", tc.text, err)
			continue
		}
		rows(t, r, nil)
		if got := r.Changes(); got != tc.want {
			t.Errorf("%s: changes %q, want %q", tc.text, got, tc.want)
		}
	}
	// Rows that nobody takes.
	r, err := d.RawWrite(t.Context(), `UNWIND range(1, 5000) AS n CREATE (x:Other {n: n}) RETURN x.n`)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if got, want := r.Changes(), "5000 nodes made, 5000 properties set, 5000 labels added"; got != want {
		t.Errorf("changes %q, want %q", got, want)
	}
	r, err = d.RawWrite(t.Context(), `MATCH (x:Other) DELETE x`)
	rows(t, r, err)
}
