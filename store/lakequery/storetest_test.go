// SPDX-License-Identifier: Apache-2.0

package lakequery_test

import (
	"path/filepath"
	"testing"

	"weir/store"
	"weir/store/lake"
	"weir/store/lakequery"
	"weir/store/storetest"
)

// fillLake writes data into a lake and opens it for queries.
func fillLake(tb testing.TB, d *storetest.Data) store.Reader {
	tb.Helper()
	path := filepath.Join(tb.TempDir(), "store")
	l, err := lake.Open(path, lake.Config{Create: true})
	if err != nil {
		tb.Fatalf("Open(%q) = %v", path, err)
	}
	d.Fill(tb, l)
	db, err := lakequery.Open(tb.Context(), path, lakequery.Config{})
	if err != nil {
		tb.Fatalf("Open(%q) = %v", path, err)
	}
	return db
}

// TestStore runs the suite of all drivers on the lake.
func TestStore(t *testing.T) {
	d := storetest.Driver{
		Name: "lake", Fill: fillLake, Filters: storetest.FilterCount(300), Seed: 7,
		Raw: storetest.RawQueries{
			Flows:   "SELECT count(*) FROM flow",
			Refused: []string{"DROP VIEW flow", "SELECT 1; SELECT 2", "SELEKT", "SELECT nothing FROM flow", "COPY flow TO '/tmp/x'"},
			Endless: "SELECT sum(sin(a.range * b.range)) FROM range(10000000) a, range(10000000) b",
		},
	}
	if testing.Short() {
		d.Filters = 30
	}
	storetest.Run(t, d)
}
