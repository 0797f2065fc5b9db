// SPDX-License-Identifier: Apache-2.0

package export

import (
	"database/sql"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	_ "github.com/duckdb/duckdb-go/v2"
	"github.com/google/go-cmp/cmp"

	"weir/store"
)

// ask returns the rows of a query about a file, which is its argument.
func ask(t *testing.T, query, name string) []string {
	t.Helper()
	db, err := sql.Open("duckdb", "")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Exec("SET TimeZone = 'UTC'"); err != nil {
		t.Fatal(err)
	}
	rows, err := db.Query(query, name)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	var out []string
	for rows.Next() {
		var text string
		if err := rows.Scan(&text); err != nil {
			t.Fatal(err)
		}
		out = append(out, text)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return out
}

// TestFlowParquet reads a file of flows with DuckDB.
func TestFlowParquet(t *testing.T) {
	name := filepath.Join(t.TempDir(), "x.parquet")
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	p := NewFlowParquet(f)
	for range rowsAGroup/4 + 1 {
		for _, x := range flows() {
			if err := p.Edge(FlowEdge(x)); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := p.Edge(PairEdge(new(store.Pair))); err == nil {
		t.Error("a pair in a file of flows is no error")
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	want := []string{
		"src VARCHAR", "dst VARCHAR", "proto VARCHAR", "dport INTEGER", "type INTEGER", "sports INTEGER[]", "codes INTEGER[]",
		"count BIGINT", "cspkts BIGINT", "scpkts BIGINT", "csbytes BIGINT", "scbytes BIGINT",
		"firstseen TIMESTAMP WITH TIME ZONE", "lastseen TIMESTAMP WITH TIME ZONE",
		"conn_state VARCHAR[]", "service VARCHAR[]", "vlan INTEGER[]", "sensor VARCHAR[]", "times TIMESTAMP WITH TIME ZONE[]",
	}
	got := ask(t, "SELECT column_name || ' ' || column_type FROM (DESCRIBE FROM read_parquet($1))", name)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("columns (-want +got):\n%s", diff)
	}
	n := rowsAGroup/4 + 1
	got = ask(t, `SELECT concat_ws(' ', row, count(*)) FROM (
		SELECT concat_ws(' ', src, dst, proto, dport, type, sports, codes, scbytes, firstseen, conn_state, times) AS row
		FROM read_parquet($1)) GROUP BY row ORDER BY row`, name)
	want = []string{
		fmt.Sprintf("10.0.0.9 10.0.0.2 icmp 8 [] [0] 0 2025-11-23 09:00:00.123456+00 [] [] %d", n),
		fmt.Sprintf("10.0.0.9 10.0.0.2 tcp 80 [1, 40000] [] 4611686018427387904 2025-11-23 10:00:00.123456+00 [S0, SF] "+
			"['2025-11-23 10:00:00+00', '2025-11-23 11:00:00+00'] %d", n),
		fmt.Sprintf("2001:db8::1 10.0.0.9 gre [] [] 0 2025-11-23 10:00:00.123456+00 [] [] %d", n),
		fmt.Sprintf("::1 ::1 udp 0 [] [] 0 2025-11-23 10:00:00.123456+00 [] [] %d", n),
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("rows (-want +got):\n%s", diff)
	}
	texts := ask(t, "SELECT unnest(sensor) FROM (SELECT sensor FROM read_parquet($1) WHERE len(sensor) > 0 LIMIT 1)", name)
	list := hostile()
	for i := range list {
		list[i] = strings.ToValidUTF8(list[i], "\ufffd")
	}
	if diff := cmp.Diff(list, texts); diff != "" {
		t.Errorf("texts (-want +got):\n%s", diff)
	}
}

// TestPairParquet reads a file of pairs with DuckDB.
func TestPairParquet(t *testing.T) {
	name := filepath.Join(t.TempDir(), "x.parquet")
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	p := NewPairParquet(f)
	x := flows()[0]
	err = p.Edge(PairEdge(&store.Pair{
		Src: netip.MustParseAddr("10.0.0.1"), Dst: netip.MustParseAddr("10.0.0.2"), Flows: 2, Count: 3,
		Services: []store.Service{{Proto: "tcp", Dport: port(80)}, {Proto: "gre"}}, FirstSeen: x.FirstSeen, LastSeen: x.LastSeen,
	}))
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	got := ask(t, "SELECT concat_ws(' ', src, dst, services, flows, count, lastseen) FROM read_parquet($1)", name)
	if diff := cmp.Diff([]string{"10.0.0.1 10.0.0.2 [tcp/80, gre] 2 3 2025-11-23 11:00:00.123456+00"}, got); diff != "" {
		t.Errorf("rows (-want +got):\n%s", diff)
	}
}
