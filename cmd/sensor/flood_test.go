// SPDX-License-Identifier: Apache-2.0

package main

import (
	"database/sql"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	_ "github.com/duckdb/duckdb-go/v2"

	"weir/internal/traffic"
)

// parts is the SQL for all connections of a store that nobody changes.
func parts(store string) string {
	return fmt.Sprintf("read_parquet('%s/conn/*/*.parquet')", store)
}

// count runs a query that gives one number.
func count(t *testing.T, query string) int {
	t.Helper()
	db, err := sql.Open("duckdb", "")
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	}()
	var n int
	if err := db.QueryRowContext(t.Context(), query).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

// TestPerfFloodAmongOthers reads ten million SYNs with a thousand real connections
// among them, within half a gigabyte: every connection is stored, and the
// real ones as if they were alone.
func TestPerfFloodAmongOthers(t *testing.T) {
	need(t, "WEIR_TEST_PERF", "a machine to measure on, and a gigabyte of disk")
	flood, many := generate(t, traffic.Spec{Scenario: traffic.Flood, Connections: 10_000_000, Span: 30 * time.Second})
	mix, few := generate(t, traffic.Spec{Scenario: traffic.Mix, Packets: 15_400, Span: 30 * time.Second})
	dir := t.TempDir()
	alone, among := filepath.Join(dir, "alone"), filepath.Join(dir, "among")
	if got := runSensor(t, "-q", "-r", mix, "--store", alone); got.code != 0 {
		t.Fatalf("exit code %d: %s", got.code, got.stderr)
	}
	got := runSensor(t, "-r", flood, "-r", mix, "--store", among, "--memory", "512M")
	if got.code != 0 {
		t.Fatalf("exit code %d: %s", got.code, got.stderr)
	}
	each := got.took / time.Duration(many.Sum()/1_000_000)
	t.Logf("%v a million, %d MB", each, got.rss/1e6)
	if conns, _ := stored(t, among); conns != int(many.Sum()+few.Sum()) {
		t.Errorf("%d connections are stored, want every one of %d", conns, many.Sum()+few.Sum())
	}
	if got.rss > 640e6 {
		t.Errorf("peak RSS %d MB, want at most 640", got.rss/1e6)
	}
	if each > 3*time.Second {
		t.Errorf("it took %v a million, want at most 3 s", each)
	}
	same := count(t, `SELECT count(*) FROM `+parts(alone)+` AS a WHERE (
		SELECT count(*) = 1 AND bool_and(b.conn_state = a.conn_state AND b.history IS NOT DISTINCT FROM a.history
			AND b.lastseen = a.lastseen AND b.service IS NOT DISTINCT FROM a.service
			AND b.cspkts = a.cspkts AND b.scpkts = a.scpkts AND b.csbytes = a.csbytes AND b.scbytes = a.scbytes
			AND b.cspayload = a.cspayload AND b.scpayload = a.scpayload)
		FROM `+parts(among)+` AS b WHERE b.src = a.src AND b.dst = a.dst AND b.proto = a.proto
			AND b.sport IS NOT DISTINCT FROM a.sport AND b.dport IS NOT DISTINCT FROM a.dport
			AND b.type IS NOT DISTINCT FROM a.type)`)
	t.Logf("%d of %d real connections are in one right record", same, few.Sum())
	if want := int(few.Sum()) * 99 / 100; same < want {
		t.Errorf("%d of %d real connections are in one right record, want at least %d", same, few.Sum(), want)
	}
}
