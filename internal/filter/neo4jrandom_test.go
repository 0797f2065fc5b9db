// SPDX-License-Identifier: Apache-2.0

package filter_test

import (
	"math/rand/v2"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"weir/internal/filter"
	"weir/store/storetest"
)

// graphData is random flows, for Neo4j and for the evaluator.
type graphData struct {
	*storetest.Filters
	db  *graphDB
	all map[string]*filter.Flow
}

// newGraphData makes connections with intel, some of it more than once, and loads
// them.
func newGraphData(t *testing.T, seed uint64) *graphData {
	t.Helper()
	flows := storetest.Random(seed).Flows()
	d := &graphData{Filters: storetest.NewFilters(seed, "neo4j", flows), db: openNeo4j(t), all: byKey(flows)}
	d.db.loadGraph(t, d.all)
	return d
}

// parsed makes a random filter.
func (d *graphData) parsed(t *testing.T) (string, *filter.Expr) {
	t.Helper()
	text := d.Next()
	return text, parse(t, text)
}

// TestCypherAgainstMatch compares Neo4j's answers to random filters with the
// evaluator's.
func TestCypherAgainstMatch(t *testing.T) {
	n, seed := 1000, uint64(7)
	if testing.Short() {
		n = 100
	}
	if os.Getenv("WEIR_TEST_FILTERS") != "" {
		seed = rand.Uint64()
	}
	if *seedFlag != 0 {
		seed = *seedFlag
	}
	t.Logf("seed %d", seed)
	d := newGraphData(t, seed)
	share, anchored, fetched := 0, 0, 0
	for range n {
		text, e := d.parsed(t)
		want := matching(d.all, e)
		q, err := e.Cypher(filter.CypherOptions{})
		if err != nil {
			t.Fatalf("seed %d: Cypher of %q: %v", seed, text, err)
		}
		got, err := d.db.run(t, q)
		if err != nil {
			t.Fatalf("seed %d: Cypher of %q: %v", seed, text, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("seed %d: %q selects other flows (-evaluator +Neo4j):\n%s\n%+v", seed, text, diff, q)
		}
		if storetest.Telling(len(want), len(d.all)) {
			share++
		}
		if strings.Contains(q.Match, "WITH DISTINCT f") || strings.Contains(q.Match, "CALL") {
			anchored++
		}
		if len(q.Patterns) > 0 {
			fetched++
		}
	}
	t.Logf("%d of %d filters select from 5 to 95 %% of %d flows, %d begin with an anchor, %d fetch values for patterns",
		share, n, len(d.all), anchored, fetched)
	if share < n*6/10 || anchored < n/20 || fetched < n/20 {
		t.Errorf("seed %d: too few filters select some flows, begin with an anchor or fetch values", seed)
	}
	if testing.Short() {
		return // too few filters
	}
	all := storetest.Cells("neo4j")
	t.Logf("%d sorts of clauses (place, type, quantifier, operator, operand)", len(all))
	for _, c := range all {
		if d.Reached(c) == 0 {
			t.Errorf("seed %d: no filter has a clause such as %+v", seed, c)
		}
	}
}
