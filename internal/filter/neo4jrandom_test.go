// SPDX-License-Identifier: Apache-2.0

package filter_test

import (
	"math/rand/v2"
	"os"
	"slices"
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

// parsed makes a random filter. Some are made of conditions that select few flows.
func (d *graphData) parsed(t *testing.T) (string, *filter.Expr) {
	t.Helper()
	text := d.Next()
	if d.IntN(5) == 0 {
		text = d.Selective()
	}
	return text, parse(t, text)
}

// TestCypherAgainstMatch compares Neo4j's answers to random filters with the
// evaluator's. The suite of stores does so with more filters, but not with those
// that select few flows. WEIR_TEST_FILTERS asks for 1,000.
func TestCypherAgainstMatch(t *testing.T) {
	n, seed := 300, uint64(7)
	if testing.Short() {
		n = 100
	}
	if os.Getenv("WEIR_TEST_FILTERS") != "" {
		n, seed = 1000, rand.Uint64()
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
	if n < 1000 {
		return // too few to reach everything
	}
	storetest.CheckReached(t, "neo4j", seed, d.Filters)
}

// graphFaults are mistakes that a compiler could make, as they show in what it
// writes.
func graphFaults() map[string]func(q *filter.Cypher) {
	text := func(old, new string) func(q *filter.Cypher) {
		return func(q *filter.Cypher) {
			q.Match = strings.ReplaceAll(q.Match, old, new)
			q.Where = strings.ReplaceAll(q.Where, old, new)
		}
	}
	return map[string]func(q *filter.Cypher){
		"<= for <":                        text(" < ", " <= "),
		"ANY for ALL":                     text(" AND all(", " AND any("),
		"ALL of nothing":                  text(") > 0 AND all(", ") >= 0 AND all("),
		"a dropped NOT":                   text("NOT ", ""),
		"NULL for false":                  text(", false))", ", NULL))"),
		"case of DNS names":               text("_folded", "_lost"),
		"duplicates counted":              text("RETURN DISTINCT v", "RETURN v"),
		"a microsecond lost":              text("round(", "floor("),
		"relations for observations":      text("RETURN m.count", "RETURN 1"),
		"the wrong end of a network":      text("w[1]", "w[0]"),
		"addresses in the order of texts": text(".sort < $", ".addr < $"),
		"AND for OR":                      text(" OR ", " AND "),
		"!~ of what is missing":           text(" IS NOT NULL AND NOT ", " IS NULL OR NOT "),
		"the source for both ends":        text("dst.sort", "src.sort"),
		"an anchor at one end":            text("[:SEND|TO]", "[:SEND]"),
		"a pattern that matches all": func(q *filter.Cypher) {
			for i := range q.Patterns {
				q.Patterns[i].Matches = func(any) bool { return true }
			}
		},
	}
}

// TestPlantedCypherFaults checks that random filters find the mistakes that a
// compiler could make.
func TestPlantedCypherFaults(t *testing.T) {
	d := newGraphData(t, 7)
	type example struct {
		text string
		e    *filter.Expr
		want []string
	}
	var examples []example
	for range 500 {
		text, e := d.parsed(t)
		examples = append(examples, example{text, e, matching(d.all, e)})
	}
	// The server plans short ones sooner.
	slices.SortStableFunc(examples, func(a, b example) int { return len(a.text) - len(b.text) })
	for name, fault := range graphFaults() {
		t.Run(name, func(t *testing.T) {
			runs := 0
			for _, x := range examples {
				q, err := x.e.Cypher(filter.CypherOptions{})
				if err != nil {
					t.Fatalf("Cypher of %q: %v", x.text, err)
				}
				match, where := q.Match, q.Where
				if fault(q); q.Match == match && q.Where == where && (name != "a pattern that matches all" || len(q.Patterns) == 0) {
					continue
				}
				runs++
				got, err := d.db.run(t, q)
				if err != nil {
					t.Fatalf("%q with the fault does not run: %v", x.text, err)
				}
				if !slices.Equal(got, x.want) {
					t.Logf("found by filter %d that it changes: %s", runs, x.text)
					return
				}
			}
			t.Errorf("%d filters that the fault changes give the right answer all the same", runs)
		})
	}
}
