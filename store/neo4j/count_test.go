// SPDX-License-Identifier: Apache-2.0

package neo4j

import (
	"testing"

	"weir/internal/filter"
	"weir/store"
	"weir/store/storetest"
)

// TestCountsByHosts compares both ways to count.
func TestCountsByHosts(t *testing.T) {
	d := fill(t, storetest.Fixed()).(*DB)
	for _, text := range []string{
		"count > 0", "dport > 0", "src.addr != 10.0.0.1", "addr != 10.0.0.1", "#DNS OR proto = tcp", "csbytes > scbytes",
		"meta.dns.query =~ .*e.*", "LEN sports = 1", `proto =~ "t.*" OR dport > 50`, "src.addr < dst.addr", "dport = 1 AND count < 0",
	} {
		e, err := filter.Parse(text, storetest.Options())
		if err != nil {
			t.Fatal(err)
		}
		q := store.Query{Filter: e}
		d.fewFlows = fewFlows
		w, err := d.Counts(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		d.fewFlows = 1
		if got, err := d.Counts(t.Context(), q); err != nil || got != w {
			t.Errorf("Counts(%q) = %v, %v, want %v", text, got, err, w)
		}
	}
}
