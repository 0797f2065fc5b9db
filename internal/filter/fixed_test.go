// SPDX-License-Identifier: Apache-2.0

package filter_test

import (
	"database/sql"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"weir/internal/filter"
	"weir/store/storetest"
)

// fixedData returns the fixed data set for DuckDB and for the evaluator. Flows
// are called by their names, by keys those of DuckDB are found.
func fixedData(t *testing.T) (db *sql.DB, all map[string]*filter.Flow, keys map[string]string) {
	t.Helper()
	d := storetest.Fixed()
	flows := byKey(d.Flows())
	all, keys = make(map[string]*filter.Flow), make(map[string]string)
	for _, x := range storetest.Examples() {
		key := storetest.Key(storetest.FlowOf(&x.Conns[0].Tuple))
		all[x.Name], keys[key] = flows[key], x.Name
	}
	db = openDuckDB(t)
	load(t, db, d)
	return db, all, keys
}

// commonFilters returns the filters that people wrote for IVRE: "parse" or
// "refuse", the filter, and a part of the message.
func commonFilters(t *testing.T) (list [][]string) {
	t.Helper()
	const name = "../../../shared/ivre/filters.txt"
	text, err := os.ReadFile(name)
	if errors.Is(err, os.ErrNotExist) {
		t.Skip("no ivre/filters.txt in ../shared")
	}
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		list = append(list, strings.Split(strings.TrimRight(line, "\n"), "\t"))
	}
	return list
}

// TestCommonFilters runs the filters that people wrote for IVRE: each is read
// and selects on DuckDB what the evaluator selects, or is refused with a message
// that says what to write.
func TestCommonFilters(t *testing.T) {
	list := commonFilters(t)
	db, all, keys := fixedData(t)
	n, some := 0, 0
	for _, parts := range list {
		n++
		e, err := filter.Parse(parts[1], options())
		if parts[0] == "refuse" {
			if err == nil || !strings.Contains(err.Error(), parts[2]) {
				t.Errorf("Parse(%q) = %v, %v, want %q", parts[1], e, err, parts[2])
			}
			continue
		}
		if err != nil {
			t.Errorf("Parse(%q) = %v", parts[1], err)
			continue
		}
		want := matching(all, e)
		if len(want) > 0 && len(want) < len(all) {
			some++
		}
		if diff := onDuckDB(t, db, keys, e, want); diff != "" {
			t.Errorf("%q: %s", parts[1], diff)
		}
	}
	if n < 120 || some < n/2 {
		t.Errorf("%d filters, of which %d select some flows and not all", n, some)
	}
}

// onDuckDB runs a filter on the fixed data set. It returns how the answer
// differs from the names that the evaluator selects.
func onDuckDB(t *testing.T, db *sql.DB, keys map[string]string, e *filter.Expr, want []string) string {
	t.Helper()
	got, err := selected(t, db, e)
	if err != nil {
		return "SQL: " + err.Error()
	}
	var names []string
	for _, key := range got {
		names = append(names, keys[key])
	}
	slices.Sort(names)
	return cmp.Diff(want, names)
}
