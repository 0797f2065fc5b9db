// SPDX-License-Identifier: Apache-2.0

package lakequery_test

import (
	"path/filepath"
	"strings"
	"testing"

	"weir/store/lake"
)

// TestDamagedLater flips bits while the store is open: of a part that is known
// already, pages are all that is looked at again.
func TestDamagedLater(t *testing.T) {
	path := testLake(t)
	db := openDB(t, path)
	m, err := lake.ReadManifest(path)
	if err != nil {
		t.Fatal(err)
	}
	for i := range m.Parts {
		p := &m.Parts[i]
		if p.Kind == "conn" {
			flip(t, filepath.Join(path, p.Path), 60, 3) // of a uid
		}
	}
	_, err = db.Raw(t.Context(), "SELECT max(uid) FROM conn")
	if err == nil || !strings.Contains(err.Error(), "conn-first-00001.parquet is damaged") {
		t.Errorf("Raw() = %v, want an error that names the part", err)
	}
	writeLake(t, path, "second", testConns(), nil)
	if err := db.Refresh(t.Context()); err != nil {
		t.Errorf("Refresh() = %v, though the part was good before", err)
	}
	if _, rows := sqlRows(t, db, "SELECT count(*) FROM dns"); rows[0][0] != int64(3) {
		t.Errorf("SELECT count(*) = %v, want 3", rows[0][0])
	}
}
