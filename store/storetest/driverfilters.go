// SPDX-License-Identifier: Apache-2.0

package storetest

import (
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"testing"

	"weir/internal/filter"
	"weir/store"
)

// FilterCount returns how many random filters a driver is tested with: usual ones,
// or as many as WEIR_TEST_FILTERS says where it is a number above 1.
func FilterCount(usual int) int {
	if n, err := strconv.Atoi(os.Getenv("WEIR_TEST_FILTERS")); err == nil && n > 1 {
		return n
	}
	return usual
}

// perData is how many random filters are run on the same data.
const perData = 250

// filters compares the answers to random filters with the evaluator's.
func (d Driver) filters(t *testing.T) {
	seed := d.Seed
	if text := os.Getenv("WEIR_SEED"); text != "" {
		n, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			t.Fatalf("WEIR_SEED: %v", err)
		}
		seed = n
	}
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("seed %d", seed)
	telling := 0
	var sources []*Filters
	for done, n := 0, uint64(0); done < d.Filters; n++ {
		data := Random(seed + n)
		r := d.Fill(t, data)
		g := NewFilters(seed+n, d.Name, data.Flows())
		if len(sources) > 0 {
			g.todo = sources[0].todo
		}
		sources = append(sources, g)
		for range min(perData, d.Filters-done) {
			text := g.Next()
			c := newChecker(t.Context(), r, d.Name, data, func(format string, args ...any) {
				t.Errorf("seed %d, %q: "+format, append([]any{seed + n, text}, args...)...)
			})
			if c.random(text, done) {
				telling++
			}
			done++
		}
		closeReader(t, r)
		t.Logf("%d filters", done)
	}
	t.Logf("%d of %d filters select from 5 to 95 %% of the flows", telling, d.Filters)
	if telling < d.Filters*6/10 {
		t.Errorf("seed %d: only %d of %d filters select from 5 to 95 %% of the flows", seed, telling, d.Filters)
	}
	if d.Filters < 1250 {
		return // too few to reach everything
	}
	CheckReached(t, d.Name, seed, sources...)
}

// CheckReached wants every sort of clause that a store answers to be in some filter
// of the sources.
func CheckReached(t *testing.T, name string, seed uint64, sources ...*Filters) {
	t.Helper()
	cells := Cells(name)
	t.Logf("%d sorts of clauses (place, type, quantifier, operator, operand)", len(cells))
	for _, cell := range cells {
		if !slices.ContainsFunc(sources, func(g *Filters) bool { return g.reached[cell] > 0 }) {
			t.Errorf("seed %d: no filter has a clause such as %+v", seed, cell)
		}
	}
}

// random checks the n-th random filter and reports whether it tells flows apart.
func (c *checker) random(text string, n int) bool {
	e, err := filter.Parse(text, Options())
	if err != nil {
		c.report("Parse: %v", err)
		return false
	}
	q := store.Query{Filter: e}
	c.checkList(q)
	c.randomQuestion(q, n)
	switch n % 10 {
	case 0:
		c.checkCounts(q)
	case 5:
		c.checkTop(store.TopQuery{Query: q, Fields: []string{"proto", "service"}, Collect: []string{"src"}, Sum: []string{"scbytes"}})
	}
	return Telling(len(c.selected(e)), len(c.flows))
}
