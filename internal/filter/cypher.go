// SPDX-License-Identifier: Apache-2.0

package filter

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"weir/internal/flow"
)

// CypherOptions name what conditions in Cypher are about.
type CypherOptions struct {
	// Prefix begins the names of parameters (default "p"). The names of variables
	// are src, f and dst, and inside of conditions i, m, n, v, x, y, z and words
	// that end with a digit.
	Prefix string
}

// Cypher is a filter for Neo4j. Match and Where make
//
//	<Match> WHERE <Where> RETURN …
//
// which has one row for each flow that is selected.
type Cypher struct {
	// Match holds the clauses that bind the nodes src, f and dst. Where the filter
	// has a condition that selects few flows, they begin with it.
	Match string
	// Where is the condition, "true" for none. It may be NULL instead of false. No
	// value of the filter is in either text: they are parameters.
	Where  string
	Params map[string]any
	// Patterns are parameters that are to be filled in first, see Fill.
	Patterns []Pattern
}

// plainMatch binds the nodes of every flow.
const plainMatch = "MATCH (src:Host)-[:SEND]->(f:Flow)-[:TO]->(dst:Host)"

// CypherTime returns a time as the server is to keep and to compare it: with an
// offset of 0 and no name of a zone, which Neo4j tells apart, and in
// microseconds.
func CypherTime(t time.Time) time.Time {
	// The driver sends the offset alone for a zone of this name.
	return t.Truncate(time.Microsecond).In(time.FixedZone("Offset", 0))
}

// CypherSort returns the text of an address whose order among such texts is that
// of addresses: IPv4 before IPv6, then by number. It is the property sort of a
// Host.
func CypherSort(a flow.Addr) string {
	if a.Is4() {
		return fmt.Sprintf("4%x", a[12:])
	}
	return sortIPv6(a)
}

func sortIPv6(a flow.Addr) string { return fmt.Sprintf("6%x", a[:]) }

// Cypher translates the filter for Neo4j. The error is an *UnsupportedError.
func (e *Expr) Cypher(opts CypherOptions) (*Cypher, error) {
	if opts.Prefix == "" {
		opts.Prefix = "p"
	}
	g := &graph{prefix: opts.Prefix, params: make(map[string]any), known: make(map[any]string)}
	out := &Cypher{Match: plainMatch, Where: "true", Params: g.params}
	if e == nil {
		return out, nil
	}
	root := pushNot(e.root, false)
	rest := []node{root}
	if j, ok := root.(*junction); ok && j.and {
		rest = j.list
	}
	if a, i := g.anchor(rest); a != nil {
		out.Match = a.match() + plainMatch
		if a.exact {
			rest = slices.Delete(slices.Clone(rest), i, i+1)
		}
	}
	switch len(rest) {
	case 0:
	case 1:
		out.Where = g.node(rest[0]).text
	default:
		out.Where = g.node(&junction{and: true, list: rest}).text
	}
	if g.err != nil {
		return nil, g.err
	}
	out.Patterns = g.patterns
	return out, nil
}

// graph writes a condition in Cypher.
type graph struct {
	prefix string
	params map[string]any
	// known holds the names of parameters by their value, or what stands for it.
	known    map[any]string
	patterns []Pattern
	// at is the clause, block or label in question, for errors.
	at node
	// subqueries counts those of the filter, sets names those on the right side.
	subqueries, sets int
	err              error
}

// term is a condition in Cypher, in parentheses where it needs them.
type term struct {
	text string
	// total conditions are never NULL.
	total bool
}

var (
	termTrue  = term{"true", true}
	termFalse = term{"false", true}
)

// negated returns the condition that is true where t is false or NULL.
func (t term) negated() term {
	if t.total {
		return term{"(NOT " + t.text + ")", true}
	}
	return term{"(NOT coalesce(" + t.text + ", false))", true}
}

// all and some of several conditions.
func allOf(list ...term) term  { return joined(" AND ", list) }
func someOf(list ...term) term { return joined(" OR ", list) }

// joined joins conditions, each of them once.
func joined(separator string, list []term) term {
	total := true
	var texts []string
	seen := make(map[string]bool)
	for _, t := range list {
		if seen[t.text] {
			continue
		}
		seen[t.text] = true
		total = total && t.total
		texts = append(texts, t.text)
	}
	if len(texts) == 1 {
		return term{texts[0], total}
	}
	return term{"(" + strings.Join(texts, separator) + ")", total}
}

// unsupported records that the server cannot answer the node in question.
func (g *graph) unsupported(reason string) term {
	if g.err == nil {
		g.err = &UnsupportedError{Clause: g.asked(), Reason: reason}
	}
	return termFalse
}

// asked returns the node in question in its canonical form.
func (g *graph) asked() string {
	p := printer{names: newNames()}
	p.node(g.at, false)
	return string(p.out)
}

// param adds a parameter and returns its name. What has the same key has the
// same value.
func (g *graph) param(key, value any) string {
	name, ok := g.known[key]
	if !ok {
		name = fmt.Sprintf("%s%d", g.prefix, len(g.known))
		g.known[key], g.params[name] = name, value
	}
	return name
}

// subquery counts a subquery.
func (g *graph) subquery() {
	if g.subqueries++; g.subqueries > maxGraphSubqueries {
		g.unsupported(fmt.Sprintf("the filter needs more than %d questions about intel; "+
			"write IN (…) or meta.<kind>( … OR … )", maxGraphSubqueries))
	}
}

// maxGraphSubqueries is how many subqueries a filter may need: Neo4j takes time
// to plan each.
const maxGraphSubqueries = 64

// node translates a node whose negations are pushed down.
func (g *graph) node(x node) term {
	switch x.(type) {
	case *clause, *block, *label:
		g.at = x
	}
	switch x := x.(type) {
	case *junction:
		list, others := g.merge(x)
		for _, part := range others {
			list = append(list, g.node(part))
		}
		if x.and {
			return allOf(list...)
		}
		return someOf(list...)
	case *negation:
		return g.node(x.x).negated()
	case *label:
		if x.kind == nil {
			return termTrue
		}
		return g.exists(x.kind, nil)
	case *block:
		if !x.kind.stored {
			return termFalse
		}
		where := g.node(pushNot(x.x, false))
		g.at = x
		return g.exists(x.kind, []term{where})
	case *clause:
		return g.clause(x)
	}
	return termFalse
}
