// SPDX-License-Identifier: Apache-2.0

package filter_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"weir/internal/filter"
	"weir/internal/flow"
)

// TestCypherShape checks what queries begin with, and what is left for WHERE.
func TestCypherShape(t *testing.T) {
	const (
		all  = "MATCH (src:Host)-[:SEND]->(f:Flow)-[:TO]->(dst:Host)"
		then = " WITH DISTINCT f " + all
	)
	params := func(list ...any) map[string]any {
		out := make(map[string]any)
		for i, v := range list {
			out[fmt.Sprint("p", i)] = v
		}
		return out
	}
	for _, tc := range []struct {
		in, match, where string
		params           map[string]any
	}{
		{"#Flow", all, "true", params()},
		{"dport = 80", all, "(f.dport = $p0)", params(int64(80))},
		{"!dport = 80", all, "(NOT coalesce((f.dport = $p0), false))", params(int64(80))},
		{"dport = 80 OR dport IN (81, 80)", all, "(f.dport IN $p0)", params([]any{int64(80), int64(81), int64(80)})},
		{ // a text is no list, whatever it reads like
			`service = "list string:\"a\"" AND sensor IN (a)`, all, "(($p0 IN f.service) AND any(x IN f.sensor WHERE (x IN $p1)))",
			params(`list string:"a"`, []any{"a"}),
		},
		{
			`service = "networks 40a000000 40a0000ff" AND src IN (10.0.0.0/24)`, all,
			"(($p1 IN f.service) AND any(w IN $p0 WHERE src.sort >= w[0] AND src.sort <= w[1]))",
			params([]any{[]any{"40a000000", "40a0000ff"}}, "networks 40a000000 40a0000ff"),
		},
		{"dport =~ 6553.", all, "(f.dport IN $p0)", params([]any{int64(65530), int64(65531), int64(65532), int64(65533), int64(65534), int64(65535)})},
		{"src = 10.0.0.1", all, "(src.sort = $p0)", params("40a000001")},
		{"src = 10.0.0.0/8", all, "(src.sort >= $p0 AND src.sort <= $p1)", params("40a000000", "40affffff")},
		{
			"dst = ::/64", all, "(dst.sort >= $p0 AND dst.sort <= $p1)",
			params("6"+strings.Repeat("0", 32), "6"+strings.Repeat("0", 16)+strings.Repeat("f", 16)),
		},
		{"addr = 10.0.0.1 AND count > 1", "MATCH (h:Host)-[:SEND|TO]-(f:Flow) WHERE (h.sort = $p0)" + then, "(f.count > $p1)", params("40a000001", int64(1))},
		{
			"src = 10.0.0.1 OR dst = 10.0.0.1", "CALL () { MATCH (h:Host)-[:SEND]->(f:Flow) WHERE (h.sort = $p0) RETURN f UNION " +
				"MATCH (h:Host)<-[:TO]-(f:Flow) WHERE (h.sort = $p0) RETURN f } " + all, "true", params("40a000001"),
		},
		{
			"(addr = 10.0.0.1 AND dport = 80) OR (addr = 10.0.0.2 AND dport = 81)",
			"MATCH (h:Host)-[:SEND|TO]-(f:Flow) WHERE ((h.sort = $p0) OR (h.sort = $p1))" + then,
			"(CASE WHEN (f.dport = $p2) THEN ((src.sort = $p0) OR (dst.sort = $p0)) ELSE false END OR " +
				"CASE WHEN (f.dport = $p3) THEN ((src.sort = $p1) OR (dst.sort = $p1)) ELSE false END)",
			params("40a000001", "40a000002", int64(80), int64(81)),
		},
		{
			"meta.dns(query = A AND rtt > 1s) AND dport",
			"MATCH (f:Flow)-[m:INTEL]->(i:DNS) WHERE ((i.query = $p0 OR i.query_folded = $p0) AND (toInteger(round(m.rtt * 1000000)) > $p1))" + then,
			"(f.dport IS NOT NULL)", params("a", int64(1e6)),
		},
		{"!#DNS AND !meta.http", all, "((NOT EXISTS { (f)-[:INTEL]->(:DNS) }) AND (NOT EXISTS { (f)-[:INTEL]->(:HTTP) }))", params()},
		{
			"meta.dns.aa = true OR meta.dns.rtt", all,
			"EXISTS { MATCH (f)-[m:INTEL]->(i:DNS) WHERE ((m.aa = $p0) OR (toInteger(round(m.rtt * 1000000)) IS NOT NULL)) }", params(true),
		},
		{"firstseen > 2020-01-01T10:00:00.000001Z", all, "(f.firstseen > $p0)", params(filter.CypherTime(time.UnixMicro(1577872800000001)))},
	} {
		q, err := parse(t, tc.in).Cypher(filter.CypherOptions{})
		if err != nil {
			t.Errorf("Cypher of %q: %v", tc.in, err)
			continue
		}
		if q.Match != tc.match || q.Where != tc.where {
			t.Errorf("Cypher of %q =\n%s\nWHERE %s, want\n%s\nWHERE %s", tc.in, q.Match, q.Where, tc.match, tc.where)
		}
		if diff := cmp.Diff(tc.params, q.Params); diff != "" {
			t.Errorf("parameters of %q (-want +got):\n%s", tc.in, diff)
		}
	}
	var none *filter.Expr
	if q, err := none.Cypher(filter.CypherOptions{}); err != nil || q.Match != all || q.Where != "true" || len(q.Params) > 0 {
		t.Errorf("Cypher of nil = %+v, %v", q, err)
	}
	q, err := parse(t, "dport = 80").Cypher(filter.CypherOptions{Prefix: "filter"})
	if err != nil || q.Where != "(f.dport = $filter0)" || q.Params["filter0"] != int64(80) {
		t.Errorf("Cypher with a prefix = %+v, %v", q, err)
	}
}

// TestCypherPatterns checks which values are fetched for patterns.
func TestCypherPatterns(t *testing.T) {
	for _, tc := range []struct {
		in, query string
		params    map[string]any
	}{
		{`addr =~ 192\.168\.1\..*`, "MATCH (h:Host) WHERE h.addr IS NOT NULL AND h.addr STARTS WITH $prefix RETURN DISTINCT h.addr AS v", map[string]any{"prefix": "192.168.1."}},
		{"service =~ .*a+b", "MATCH (f:Flow) UNWIND f.service AS v WITH DISTINCT v WHERE v IS NOT NULL AND v ENDS WITH $suffix RETURN v", map[string]any{"suffix": "b"}},
		{"csbytes =~ 4.*", "MATCH (f:Flow) WHERE f.csbytes IS NOT NULL RETURN DISTINCT f.csbytes AS v", map[string]any{}},
		{"meta.http.uri =~ .*(/x/).*", "MATCH (i:HTTP) WHERE i.uri IS NOT NULL AND i.uri CONTAINS $part RETURN DISTINCT i.uri AS v", map[string]any{"part": "/x/"}},
		// A long s is an s, too, in values that are in lower case.
		{
			"meta.dns.query =~ www.*Google.*musik", "MATCH (i:DNS) WHERE coalesce(i.query_folded, i.query) IS NOT NULL AND " +
				"coalesce(i.query_folded, i.query) STARTS WITH $prefix AND coalesce(i.query_folded, i.query) CONTAINS $part AND " +
				"coalesce(i.query_folded, i.query) ENDS WITH $suffix RETURN DISTINCT coalesce(i.query_folded, i.query) AS v",
			map[string]any{"prefix": "www", "part": "google", "suffix": "ik"},
		},
		{"meta.http.uri =~ (?i)/x/.*", "MATCH (i:HTTP) WHERE i.uri IS NOT NULL AND i.uri STARTS WITH $prefix AND i.uri CONTAINS $part RETURN DISTINCT i.uri AS v", map[string]any{"prefix": "/", "part": "/"}},
		{"proto =~ (a|b)x?", "MATCH (f:Flow) WHERE f.proto IS NOT NULL RETURN DISTINCT f.proto AS v", map[string]any{}},
	} {
		q, err := parse(t, tc.in).Cypher(filter.CypherOptions{})
		if err != nil || len(q.Patterns) != 1 {
			t.Errorf("Cypher of %q = %+v, %v, want one pattern", tc.in, q, err)
			continue
		}
		if p := q.Patterns[0]; p.Query != tc.query || !cmp.Equal(p.Params, tc.params) || p.Clause == "" {
			t.Errorf("%q asks\n%s %v, want\n%s %v", tc.in, p.Query, p.Params, tc.query, tc.params)
		}
	}
}

// TestCypherFill checks the parameters that patterns become, and their limits.
func TestCypherFill(t *testing.T) {
	q, err := parse(t, "service =~ a.*").Cypher(filter.CypherOptions{})
	if err != nil {
		t.Fatal(err)
	}
	fill := func(n int, text string) error {
		return q.Fill(t.Context(), func(_ context.Context, _ string, _ map[string]any, value func(v any) error) error {
			for range n {
				if err := value(text); err != nil {
					return err
				}
			}
			return value("b")
		})
	}
	if err := fill(1, "ab"); err != nil || !cmp.Equal(q.Params["p0"], []any{"ab"}) {
		t.Errorf("Fill = %v, %v, want ab alone", q.Params, err)
	}
	for _, err := range []error{fill(filter.MaxPatternValues+1, "a"), fill(20, "a"+strings.Repeat("x", 1<<20))} {
		unsupported := new(filter.UnsupportedError)
		if !errors.As(err, &unsupported) || unsupported.Clause != "service =~ a.*" {
			t.Errorf("Fill = %v, want an UnsupportedError", err)
		}
	}
	if err := q.Fill(t.Context(), func(context.Context, string, map[string]any, func(any) error) error {
		return context.DeadlineExceeded
	}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Fill = %v, want the error of fetch", err)
	}
}

// TestCypherNames checks that names of properties and labels stand in statements
// without quotes, and that kinds agree on whether the case of a name counts.
func TestCypherNames(t *testing.T) {
	fold := make(map[string]bool)
	for _, k := range flow.Kinds() {
		names := []string{strings.ToLower(k.Label)}
		for _, a := range k.Attrs {
			name := a.Column
			if a.Name != "" {
				name = a.Name
			}
			names = append(names, strings.ToLower(name))
			if known, ok := fold[name]; ok && known != a.Fold {
				t.Errorf("the case of %s counts for some kinds", name)
			}
			fold[name] = a.Fold
		}
		for _, name := range names {
			if name == "" || strings.Trim(name, "abcdefghijklmnopqrstuvwxyz_") != "" {
				t.Errorf("the name %q needs quotes", name)
			}
		}
	}
}

// TestCypherSort checks the order of addresses.
func TestCypherSort(t *testing.T) {
	list := []string{"0.0.0.0", "9.255.0.1", "10.0.0.1", "255.255.255.255", "::", "::1", "::fffe:ffff:ffff", "::1:0:0:0", "2001:db8::1", "ffff::"}
	var sorts []string
	for _, text := range list {
		sorts = append(sorts, filter.CypherSort(addr(text)))
	}
	if !slices.IsSorted(sorts) || sorts[2] != "40a000001" || sorts[5] != "6"+strings.Repeat("0", 31)+"1" {
		t.Errorf("CypherSort of %v = %v", list, sorts)
	}
}

// TestCypherHoldsNoValues checks that values never become a part of the statement,
// of whatever type and wherever they stand.
func TestCypherHoldsNoValues(t *testing.T) {
	checkHoldsNoValues(t, func(e *filter.Expr) (string, int, error) {
		q, err := e.Cypher(filter.CypherOptions{})
		if err != nil {
			return "", 0, err
		}
		return strings.Join(append(queries(q), q.Match, q.Where), " "), len(q.Params) + len(q.Patterns), nil
	})
}
