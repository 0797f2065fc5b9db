// SPDX-License-Identifier: Apache-2.0

package main

import (
	"log/slog"
	"strings"
	"testing"

	"weir/internal/traffic"
)

// A spool is of one database, and a store is none: its records would leave it.
func TestSpoolMark(t *testing.T) {
	name, _ := generate(t, traffic.Spec{Scenario: traffic.Mix, Seed: 1, Packets: 500})
	spool, store := liveStore(t), liveStore(t)
	open := func(dir, uri string) error {
		t.Helper()
		o, err := parse(t, "", "-r", name, "--store", uri, "--spool", dir)
		if err != nil {
			t.Fatal(err)
		}
		_, err = o.openSpool(slog.New(slog.DiscardHandler))
		return err
	}
	fill := func(dir string) {
		t.Helper()
		if out := runSensor(t, "-q", "-r", name, "--store", dir); out.code != 0 {
			t.Fatal(out.stderr)
		}
	}
	fill(store)
	for _, tc := range []struct{ name, dir, uri, want string }{
		{"new", spool, "bolt://neo4j@graph/weir", ""},
		{"empty", spool, "bolt://neo4j@other/weir", ""},
		{"back", spool, "bolt://neo4j@graph/weir", ""},
		{"full", spool, "neo4j+s://other@Graph:7687/Weir", ""},
		{"another database", spool, "bolt://graph/other", "records wait for the database graph:7687/weir, not for graph:7687/other"},
		{"another port", spool, "bolt://graph:17687/weir", "not for graph:17687/weir"},
		{"a store", store, "bolt://graph/weir", "is a store, and records would leave it"},
	} {
		if tc.name == "full" {
			fill(spool)
		}
		if err := open(tc.dir, tc.uri); (err == nil) != (tc.want == "") || err != nil && !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: openSpool() = %v, want %q", tc.name, err, tc.want)
		}
	}
}
