// SPDX-License-Identifier: Apache-2.0

package lake_test

import (
	"path/filepath"
	"testing"

	"weir/store/lake"
)

func TestRunning(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store")
	l, err := lake.Open(path, lake.Config{Create: true})
	if err != nil {
		t.Fatal(err)
	}
	w, err := l.Begin(lake.Import{ID: "live-1", Source: "live"})
	if err != nil {
		t.Fatal(err)
	}
	check := func(id string, want bool) {
		t.Helper()
		if got, err := lake.Running(path, id); err != nil || got != want {
			t.Errorf("Running(%q) = %v, %v, want %v", id, got, err, want)
		}
	}
	check("live-1", true)
	check("live-1", true)
	check("live-2", false)
	if err := w.Commit(lake.Final{}); err != nil {
		t.Fatal(err)
	}
	check("live-1", false)
	if _, err := lake.Running(path, "../x"); err == nil {
		t.Error("Running() looks outside of the store")
	}
}
