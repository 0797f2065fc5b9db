// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"encoding/csv"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"weir/internal/flow"
)

// neo4jPage is the documentation of the graph.
const neo4jPage = "../../docs/neo4j.md"

// intelTable returns the table of what intel has for properties.
func intelTable() string {
	var b strings.Builder
	b.WriteString("| kind | properties of the node | properties of the relation |\n|---|---|---|\n")
	for _, k := range flow.Kinds() {
		var node, relation []string
		for i := range k.Attrs {
			a := &k.Attrs[i]
			name := a.Name
			if name == "" {
				name = a.Column
			}
			switch {
			case a.LogOnly:
			case a.Role == flow.Measure:
				relation = append(relation, "`"+name+"`")
			default:
				node = append(node, "`"+name+"`")
			}
		}
		fmt.Fprintf(&b, "| `:%s` | %s | `count`, %s |\n", k.Label, strings.Join(node, ", "), strings.Join(relation, ", "))
	}
	return b.String()
}

// TestNeo4jPage checks that the generated part of the documentation is what the
// code says.
func TestNeo4jPage(t *testing.T) { generated(t, "docs/neo4j.md", "intel", intelTable()) }

// pageQuery is a query of the documentation with the result that it shows.
type pageQuery struct {
	text   string
	result [][]string // with the header
}

// pageQueries returns the queries of the documentation, each with the table that
// follows it.
func pageQueries(t *testing.T) (queries []pageQuery) {
	t.Helper()
	page, err := os.ReadFile(neo4jPage)
	if err != nil {
		t.Fatal(err)
	}
	blocks := strings.Split(string(page), "```cypher\n")
	for _, block := range blocks[1:] {
		text, rest, ok := strings.Cut(block, "```\n")
		if !ok {
			t.Fatalf("a query is not closed: %s", block)
		}
		q := pageQuery{text: text}
		for line := range strings.Lines(strings.TrimLeft(rest, "\n")) {
			line = strings.TrimSpace(line)
			if !strings.HasPrefix(line, "|") {
				break
			}
			if strings.HasPrefix(line, "|--") {
				continue
			}
			var cells []string
			for cell := range strings.SplitSeq(strings.Trim(line, "|"), "|") {
				cells = append(cells, strings.TrimSpace(cell))
			}
			q.result = append(q.result, cells)
		}
		if len(q.result) < 2 {
			t.Errorf("the documentation shows no result of\n%s", text)
		}
		queries = append(queries, q)
	}
	return queries
}

// TestNeo4jPageQueries runs the queries of the documentation over its flows.
func TestNeo4jPageQueries(t *testing.T) {
	queries := pageQueries(t)
	if len(queries) < 10 {
		t.Errorf("docs/neo4j.md shows %d queries", len(queries))
	}
	uri := loadedExamples(t)
	for _, q := range queries {
		out, msg, code := flowcli(t, "--store", uri, "cypher", q.text, "--format", "csv")
		if code != 0 {
			t.Errorf("%s\nexit code %d: %s", q.text, code, msg)
			continue
		}
		got, err := csv.NewReader(strings.NewReader(out)).ReadAll()
		if err != nil {
			t.Errorf("%s\n%v", q.text, err)
		}
		if diff := cmp.Diff(q.result, got); diff != "" {
			t.Errorf("%s\n(-docs/neo4j.md +server):\n%s", q.text, diff)
		}
	}
}

// flowcli runs the command in this process.
func flowcli(t *testing.T, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	var out, msg bytes.Buffer
	code = run(args, strings.NewReader(""), &out, &msg)
	return out.String(), msg.String(), code
}
