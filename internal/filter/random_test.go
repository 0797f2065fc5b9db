// SPDX-License-Identifier: Apache-2.0

package filter_test

import (
	"database/sql"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"weir/internal/filter"
	"weir/store/storetest"
)

var seedFlag = flag.Uint64("seed", 0, "seed of the random filters and data of TestSQLAgainstMatch")

// randomData is random flows, for DuckDB and for the evaluator.
type randomData struct {
	*storetest.Filters
	db  *sql.DB
	all map[string]*filter.Flow
	// conns are the connections, each as a flow of its own.
	conns map[string]*filter.Flow
}

// newRandomData makes connections with intel, loads them and returns a source of
// filters that tell their flows apart.
func newRandomData(t *testing.T, seed uint64) *randomData {
	t.Helper()
	data := storetest.Random(seed)
	flows := data.Flows()
	d := &randomData{
		Filters: storetest.NewFilters(seed, "lake", flows), db: openDuckDB(t), all: byKey(flows),
		conns: make(map[string]*filter.Flow),
	}
	load(t, d.db, data)
	for i := range data.Conns {
		uid := data.Conns[i].UID
		own := &storetest.Data{
			Conns: slices.DeleteFunc(slices.Clone(data.Conns), func(c storetest.Conn) bool { return c.UID != uid }),
			Intel: slices.DeleteFunc(slices.Clone(data.Intel), func(r storetest.Record) bool { return r.UID != uid }),
		}
		for _, f := range own.Flows() {
			d.conns[fmt.Sprintf("%s %d", storetest.Key(f), int64(uid))] = f
		}
	}
	return d
}

// parsed makes a random filter.
func (d *randomData) parsed(t *testing.T) (string, *filter.Expr) {
	t.Helper()
	text := d.Next()
	e, err := filter.Parse(text, options())
	if err != nil {
		t.Fatalf("Parse(%q) = %v", text, err)
	}
	return text, e
}

// TestSQLAgainstMatch compares DuckDB's answers to random filters with the
// evaluator's. WEIR_TEST_FILTERS asks for filters that were not seen before, and for as
// many as it says where it is a number above 1.
func TestSQLAgainstMatch(t *testing.T) {
	n, seed := 1500, uint64(7)
	if testing.Short() {
		n = 200
	}
	if os.Getenv("WEIR_TEST_FILTERS") != "" {
		n, seed = storetest.FilterCount(3000), rand.Uint64()
	}
	if *seedFlag != 0 {
		seed = *seedFlag
	}
	t.Logf("seed %d", seed)
	d := newRandomData(t, seed)
	share := 0
	for i := range n {
		text, e := d.parsed(t)
		want := matching(d.all, e)
		if again := parse(t, e.String()); !slices.Equal(matching(d.all, again), want) {
			t.Errorf("seed %d: the canonical form of %q, %q, selects other flows", seed, text, e)
		}
		got, err := selected(t, d.db, e)
		if err != nil {
			t.Fatalf("seed %d: SQL of %q: %v", seed, text, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			q, _ := e.SQL(filter.SQLOptions{Conn: "c", Flow: "f"})
			t.Errorf("seed %d: %q selects other flows (-evaluator +DuckDB):\n%s\n%+v", seed, text, diff, q)
		}
		if storetest.Telling(len(want), len(d.all)) {
			share++
		}
		if i%5 > 0 {
			continue
		}
		got, err = selectedConns(t, d.db, e)
		if err != nil {
			t.Fatalf("seed %d: SQL of %q for connections: %v", seed, text, err)
		}
		if diff := cmp.Diff(matching(d.conns, e), got); diff != "" {
			t.Errorf("seed %d: %q selects other connections (-evaluator +DuckDB):\n%s", seed, text, diff)
		}
	}
	t.Logf("%d of %d filters select from 5 to 95 %% of %d flows", share, n, len(d.all))
	if share < n*6/10 {
		t.Errorf("seed %d: only %d of %d filters select from 5 to 95 %% of the flows", seed, share, n)
	}
	if testing.Short() {
		return // too few filters
	}
	storetest.CheckReached(t, "lake", seed, d.Filters)
}

// faults are mistakes that a compiler could make, as they show in what it
// writes.
func faults() map[string]func(q *filter.SQL) {
	text := func(old, new string) func(q *filter.SQL) {
		return func(q *filter.SQL) {
			q.Rows.Text = strings.ReplaceAll(q.Rows.Text, old, new)
			q.Groups.Text = strings.ReplaceAll(q.Groups.Text, old, new)
		}
	}
	const prefix = `\xFF\xFF`
	return map[string]func(q *filter.SQL){
		"<= for <":                         text(" < ", " <= "),
		">= for >":                         text(" > $", " >= $"),
		"ANY for ALL":                      text(" = len(", " > 0 * len("),
		"a dropped NOT":                    text("NOT (", "("),
		"NULL for false":                   text(" IS NOT TRUE", " = FALSE"),
		"IPv4 addresses between IPv6 ones": text(prefix, `\x00\x00`),
		"case of DNS names":                text("lower(", "("),
		"a part of the value matches":      text("regexp_full_match", "regexp_matches"),
		"duplicates counted":               text("count(DISTINCT", "count("),
		"a flow without port has no intel": text("coalesce(c.dport, -1)", "c.dport"),
		"a comma in service":               text("string_split(z, ',')", "[z]"),
		"ALL of nothing":                   text(" > 0 AND len(", " >= 0 AND len("),
		"AND for OR":                       text(" OR ", " AND "),
		"the network's first address for its last": func(q *filter.SQL) {
			for _, args := range [][]any{q.Rows.Args, q.Groups.Args} {
				for i := 1; i < len(args); i++ {
					first, ok := args[i-1].([]byte)
					last, network := args[i].([]byte)
					if ok && network && slices.Compare(first, last) < 0 {
						args[i] = first
					}
				}
			}
		},
	}
}

// TestPlantedFaults checks that random filters find the mistakes that a compiler
// could make.
func TestPlantedFaults(t *testing.T) {
	d := newRandomData(t, 7)
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
	for name, fault := range faults() {
		t.Run(name, func(t *testing.T) {
			runs := 0
			for _, x := range examples {
				q, err := x.e.SQL(filter.SQLOptions{Conn: "c", Flow: "f"})
				if err != nil {
					t.Fatalf("SQL of %q: %v", x.text, err)
				}
				right := *q
				right.Rows.Args, right.Groups.Args = slices.Clone(q.Rows.Args), slices.Clone(q.Groups.Args)
				if fault(q); cmp.Equal(*q, right) {
					continue
				}
				runs++
				got, err := run(t, d.db, fmt.Sprintf(groupSQL, q.Rows.Text, q.Groups.Text, "", ""), q.Args())
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
