// SPDX-License-Identifier: Apache-2.0

package neo4j

import (
	"testing"

	"weir/store"
	"weir/store/storetest"
)

// fill sends data by way of a spool.
func fill(tb testing.TB, data *storetest.Data) store.Reader {
	tb.Helper()
	d := open(tb)
	spool := newSpool(tb)
	data.Fill(tb, spool)
	if err := newForwarder(tb, d, spool).Drain(tb.Context()); err != nil {
		tb.Fatalf("Drain() = %v", err)
	}
	return d
}

// TestStore runs the suite of all drivers on Neo4j.
func TestStore(t *testing.T) {
	d := storetest.Driver{
		Name: "neo4j", Fill: fill, Filters: storetest.FilterCount(100), Seed: 11,
		Raw: storetest.RawQueries{
			Flows:   "MATCH (f:Flow) RETURN count(f)",
			Refused: []string{"MATCH (f:Flow) DETACH DELETE f", "MATCH (f:Flow) SET f.count = 0", "SELEKT", "RETURN nothing", "CREATE INDEX FOR (h:Host) ON (h.x)"},
			Endless: "UNWIND range(1, 1000000) AS a UNWIND range(1, 1000000) AS b RETURN sum(sin(a * b))",
		},
	}
	storetest.Run(t, d)
}
