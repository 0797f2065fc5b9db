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
	"weir/internal/flow"
)

// graphData is random flows, for Neo4j and for the evaluator.
type graphData struct {
	*generator
	db  *graphDB
	all map[string]*filter.Flow
}

// newGraphData makes connections with intel, some of it more than once, and slots
// of time; a filter of its generator may ask for these, too.
func newGraphData(t *testing.T, seed uint64) *graphData {
	t.Helper()
	g := newGenerator(seed)
	for i := range g.attrs {
		if strings.HasPrefix(g.attrs[i].Name, "times.") {
			g.attrs[i].Stores = append(g.attrs[i].Stores, "lake")
		}
	}
	conns := make([]conn, 200)
	for i := range conns {
		conns[i] = g.conn()
	}
	var records []record
	for range 300 {
		r := g.record(conns)
		for range 1 + max(0, g.IntN(8)-4) {
			records = append(records, r)
		}
	}
	d := &graphData{generator: g, db: openNeo4j(t), all: flows(conns, records)}
	withTimes(d.all, conns)
	d.db.loadGraph(t, d.all)
	var keys []string
	for key := range d.all {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	for _, key := range keys {
		g.flows = append(g.flows, d.all[key])
	}
	return d
}

// withTimes gives flows the slots of their connections.
func withTimes(all map[string]*filter.Flow, conns []conn) {
	width := slotWidth.Microseconds()
	for i := range conns {
		f := all[conns[i].key()]
		for slot := conns[i].first / width; slot <= conns[i].last/width; slot++ {
			f.Times = append(f.Times, filter.Slot{Start: flow.Time(slot * width * 1000), Width: width})
		}
	}
}

// parsed makes a random filter.
func (d *graphData) parsed(t *testing.T) (string, *filter.Expr) {
	t.Helper()
	text := d.filter(2)
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
		if telling(len(want), len(d.all)) {
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
	all := cells(d.attrs)
	t.Logf("%d sorts of clauses (place, type, quantifier, operator, operand)", len(all))
	for _, c := range all {
		if d.reached[c] == 0 {
			t.Errorf("seed %d: no filter has a clause such as %+v", seed, c)
		}
	}
}
