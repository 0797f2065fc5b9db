// SPDX-License-Identifier: Apache-2.0

package filter_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"weir/internal/filter"
	"weir/internal/flow"
	"weir/store/storetest"
)

// fixedGraph returns the fixed data set for Neo4j and for the evaluator. Flows
// are called by their names in both.
func fixedGraph(t *testing.T) (*graphDB, map[string]*filter.Flow) {
	t.Helper()
	_, all, _ := fixedData(t)
	db := openNeo4j(t)
	db.loadGraph(t, all)
	return db, all
}

// differs runs a filter and says how the answer differs from the evaluator's.
func (db *graphDB) differs(t *testing.T, all map[string]*filter.Flow, e *filter.Expr) string {
	t.Helper()
	got, err := db.selected(t, e)
	if err != nil {
		return "Cypher: " + err.Error()
	}
	return cmp.Diff(matching(all, e), got)
}

// TestCommonFiltersOnNeo4j runs the filters that people wrote for IVRE.
func TestCommonFiltersOnNeo4j(t *testing.T) {
	list := commonFilters(t)
	db, all := fixedGraph(t)
	ran := 0
	for _, parts := range list {
		if parts[0] == "refuse" {
			continue // see TestCommonFilters
		}
		ran++
		if diff := db.differs(t, all, parse(t, parts[1])); diff != "" {
			t.Errorf("%q (-evaluator +Neo4j): %s", parts[1], diff)
		}
	}
	if ran < 80 {
		t.Errorf("only %d filters", ran)
	}
}

// TestFiltersPageExamplesOnNeo4j runs the examples of the documentation.
func TestFiltersPageExamplesOnNeo4j(t *testing.T) {
	db, all := fixedGraph(t)
	for _, row := range pageRows(t, "| filter | selects |") {
		e := parse(t, row[0])
		got, err := db.selected(t, e)
		if err != nil {
			t.Errorf("Cypher of %q: %v", row[0], err)
		}
		want := strings.Fields(row[1])
		switch row[1] {
		case "all":
			want = matching(all, nil)
		case "none":
			want = nil
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%q (-docs/filters.md +Neo4j): %s", row[0], diff)
		}
	}
}

// TestCypherIntel checks what filters say about intel of which only the names are
// known, and comparisons with attributes of intel.
func TestCypherIntel(t *testing.T) {
	db, all := fixedGraph(t)
	for _, tc := range nothings() {
		e := parse(t, tc.in)
		if diff := db.differs(t, all, e); diff != "" {
			t.Errorf("%q (-evaluator +Neo4j): %s", tc.in, diff)
		}
	}
	for text, want := range intelOnTheRight() {
		got, err := db.selected(t, parse(t, text))
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("%q: %v (-want +Neo4j): %s", text, err, diff)
		}
	}
}

// TestCypherMoreIntel compares with attributes of intel on random data.
func TestCypherMoreIntel(t *testing.T) {
	d := newGraphData(t, 5)
	for _, text := range moreIntelOnTheRight() {
		if diff := d.db.differs(t, d.all, parse(t, text)); diff != "" {
			t.Errorf("%q (-evaluator +Neo4j): %s", text, diff)
		}
	}
}

// TestHostileFiltersOnNeo4j checks that hostile filters are answered or refused
// soon, and that no statement ever holds a value.
func TestHostileFiltersOnNeo4j(t *testing.T) {
	db, all := fixedGraph(t)
	list := hostile()
	var names []string
	for name := range list {
		names = append(names, name)
	}
	slices.Sort(names)
	const limit = 20 * time.Second
	ran, refused, slowest := 0, 0, ""
	var longest time.Duration
	for _, name := range names {
		if testing.Short() && (name == "6,000 wide classes" || name == "1,900 patterns") {
			continue // a second each
		}
		e, err := filter.Parse(list[name], options())
		if err != nil {
			continue // see TestHostileFilters
		}
		start := time.Now()
		q, err := e.Cypher(filter.CypherOptions{})
		if took := time.Since(start); took > limit/2 {
			t.Errorf("%s: Cypher took %v", name, took)
		}
		if unsupported := new(filter.UnsupportedError); errors.As(err, &unsupported) && len(err.Error()) < 600 {
			refused++
			continue
		}
		if err != nil {
			t.Errorf("%s: Cypher: %.600v", name, err)
			continue
		}
		for _, text := range append(queries(q), q.Match+q.Where) {
			if strings.Contains(text, marker) || !plain(text) {
				t.Errorf("%s: the statement holds the value: %.300s", name, text)
			}
		}
		ran++
		got, err := db.run(t, q)
		if diff := cmp.Diff(matching(all, e), got); err != nil || diff != "" {
			t.Errorf("%s: %.100q (-evaluator +Neo4j): %.600v %.600s", name, list[name], err, diff)
		}
		took := time.Since(start)
		if took > limit {
			t.Errorf("%s: Neo4j took %v", name, took)
		}
		if took > longest {
			longest, slowest = took, name
		}
	}
	t.Logf("%d filters run, %d are refused by the compiler; %q took longest, %v", ran, refused, slowest, longest)
	if ran < 80 {
		t.Errorf("only %d filters run", ran)
	}
}

// queries returns the statements of the patterns.
func queries(q *filter.Cypher) (list []string) {
	for _, p := range q.Patterns {
		list = append(list, p.Query)
	}
	return list
}

// TestCypherLargest runs the largest filters that the limits allow.
func TestCypherLargest(t *testing.T) {
	db, all := fixedGraph(t)
	list := largest()
	list["different"], list["both"], list["pairs"], list["nets"] = "type", "type", "type", "type"
	for i := range 40 {
		list["different"] += fmt.Sprintf(" OR dport = %d OR addr = 10.0.0.%d OR meta.dns.query = x%d", i, i, i)
		list["both"] += fmt.Sprintf(" OR (dport = %d AND (src = 10.1.%d.0/24 OR meta.dns(query = x%d AND rtt > %d)))", i, i, i, i)
		list["pairs"] += fmt.Sprintf(" OR csbytes > scbytes AND (count > %d OR sports > dport AND csbytes != %d)", i, i)
		list["nets"] += fmt.Sprintf(" OR addr = 10.%d.0.0/24 OR dst != 11.%d.0.0/16", i, i)
	}
	for name, text := range list {
		t.Run(name, func(t *testing.T) {
			start := time.Now()
			if diff := db.differs(t, all, parse(t, text)); diff != "" {
				t.Errorf("(-evaluator +Neo4j): %.2000s", diff)
			}
			t.Log(time.Since(start))
		})
	}
}

// TestHostileValuesOnNeo4j checks that strange texts are found where they are, and
// that their order is that of their bytes: in UTF-16, characters beyond its first
// plane come before some of those in it.
func TestHostileValuesOnNeo4j(t *testing.T) {
	texts := []string{
		"a\x00b", "\u202eevil", "x' OR '1'='1", "a\nb", `\`, "\ufeff", "é", "e\u0301", "\U0001f600", "\uff21", "\uffee",
		"\ud7ff", "\U00010000x", "z", "Z", "", "\U0010ffff",
	}
	all := make(map[string]*filter.Flow)
	for i, text := range texts {
		all[fmt.Sprint("flow ", i)] = &filter.Flow{
			Src: addr("10.0.0.1"), Dst: addr("10.0.0.2"), Proto: "tcp", Dport: new(uint16(i)), Count: 1,
			FirstSeen: seen(0), LastSeen: seen(0), Sensor: []string{"s" + text}, Service: []string{text},
			Intel: []filter.Intel{storetest.Known(flow.HTTP, map[int]any{
				flow.HTTPMethod: text, flow.HTTPHost: text, flow.HTTPProxied: []string{text, "q"},
			})},
		}
	}
	db := openNeo4j(t)
	db.loadGraph(t, all)
	for _, text := range texts {
		for _, op := range []string{"=", "!=", "=~", ">=", "<"} {
			value := storetest.Quote(text)
			if op == "=~" {
				value = storetest.Quote(`\Q` + text + `\E`)
			}
			var parts []string
			for _, name := range []string{"service", "ALL sensor", "meta.http.method", "meta.http.host", "ONE meta.proxied"} {
				parts = append(parts, name+" "+op+" "+value)
			}
			for _, part := range parts {
				if diff := db.differs(t, all, parse(t, part)); diff != "" {
					t.Errorf("%s (-evaluator +Neo4j): %s", part, diff)
				}
			}
		}
	}
	for _, text := range []string{"service < meta.http.method", "service >= meta.http.host", "sensor > meta.proxied", "sensor != meta.proxied"} {
		if diff := db.differs(t, all, parse(t, text)); diff != "" {
			t.Errorf("%s (-evaluator +Neo4j): %s", text, diff)
		}
	}
}

// TestCypherLimits checks that what is too much for the server is refused, and
// says which clause it was.
func TestCypherLimits(t *testing.T) {
	for name, tc := range map[string]struct{ text, clause string }{
		"questions": {strings.Repeat("LEN meta.dns.query = 1 OR ", 65) + "dport", "LEN meta.dns.query = 1"},
		"comparisons": {
			func() (text string) {
				for i := range 251 {
					text += fmt.Sprintf("csbytes != %d AND ", i)
				}
				return text + "dport"
			}(),
			"csbytes != 250",
		},
		"patterns": {
			func() (text string) {
				for i := range 33 {
					text += fmt.Sprintf("service =~ a%d.* AND ", i)
				}
				return text + "dport"
			}(),
			"service =~ a32.*",
		},
	} {
		_, err := parse(t, tc.text).Cypher(filter.CypherOptions{})
		unsupported := new(filter.UnsupportedError)
		if !errors.As(err, &unsupported) || unsupported.Clause != tc.clause {
			t.Errorf("%s: Cypher = %v, want an UnsupportedError for %s", name, err, tc.clause)
		}
	}
}
