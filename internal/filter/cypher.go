// SPDX-License-Identifier: Apache-2.0

package filter

import (
	"encoding/hex"
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

// CypherFlows is the clause that binds the nodes of every flow: Cypher.Match ends
// with it.
const CypherFlows = "MATCH (src:Host)-[:SEND]->(f:Flow)-[:TO]->(dst:Host)"

// CypherDuration is the expression for the time between the first and the last
// packet of the flow f, in microseconds. Neo4j rounds epochMillis down, but
// epochSeconds towards 1970. It checks whether what it computes overflows:
// microseconds of years up to 9999 have room.
const CypherDuration = "((f.lastseen.epochMillis - f.firstseen.epochMillis) * 1000 + " +
	"f.lastseen.microsecond % 1000 - f.firstseen.microsecond % 1000)"

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
		return "4" + hex.EncodeToString(a[12:])
	}
	return sortIPv6(a)
}

func sortIPv6(a flow.Addr) string { return "6" + hex.EncodeToString(a[:]) }

// Cypher translates the filter for Neo4j. The error is an *UnsupportedError.
func (e *Expr) Cypher(opts CypherOptions) (*Cypher, error) {
	if opts.Prefix == "" {
		opts.Prefix = "p"
	}
	g := &graph{prefix: opts.Prefix, params: make(map[string]any), known: make(map[any]string), comparisons: make(map[string]bool)}
	out := &Cypher{Match: CypherFlows, Where: "true", Params: g.params}
	if e == nil {
		return out, nil
	}
	root := gathered(pushNot(e.root, false))
	rest := []node{root}
	if j, ok := root.(*junction); ok && j.and {
		rest = j.list
	}
	if a, i := g.anchor(rest); a != nil {
		out.Match = a.match() + CypherFlows
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
	// comparisons holds the texts of all comparisons.
	comparisons map[string]bool
	err         error
}

// term is a condition in Cypher, in parentheses where it needs them.
type term struct {
	text string
	// total conditions are never NULL.
	total bool
	// and says that it is an AND, of parts where they are known.
	and   bool
	parts []term
	// nested is how deep ANDs stand in ORs.
	nested int
}

var (
	termTrue  = total("true")
	termFalse = total("false")
)

func total(text string) term   { return term{text: text, total: true} }
func partial(text string) term { return term{text: text} }

// negated returns the condition that is true where t is false or NULL.
func (t term) negated() term {
	if t.total {
		return term{text: "(NOT " + t.text + ")", total: true, nested: t.nested}
	}
	return term{text: "(NOT coalesce(" + t.text + ", false))", total: true, nested: t.nested}
}

// allOf returns the condition that all of some conditions are true.
func allOf(list ...term) term {
	if len(list) == 1 {
		return list[0]
	}
	t := joined(" AND ", list)
	t.and, t.parts = true, list
	return t
}

// someOf returns the condition that one of some conditions is true.
func someOf(list ...term) term {
	if len(list) == 1 {
		return list[0]
	}
	list = slices.Clone(list)
	for i := range list {
		list[i] = list[i].closed()
	}
	return joined(" OR ", list)
}

// closed returns a condition that stands beside others in an OR. Neo4j's planner
// would make an AND of ORs of it all, which takes for ever where ANDs and ORs are
// nested; it does not look into a CASE. It looks at the condition of one several
// times, so the longest part comes last.
func (t term) closed() term {
	if !t.and {
		return t
	}
	if len(t.parts) == 0 {
		return term{text: "CASE WHEN " + t.text + " THEN true ELSE false END", total: true, nested: t.nested + 1}
	}
	last := 0
	for i := range t.parts {
		if len(t.parts[i].text) >= len(t.parts[last].text) {
			last = i
		}
	}
	when := allOf(slices.Delete(slices.Clone(t.parts), last, last+1)...)
	return term{
		text:   "CASE WHEN " + when.text + " THEN " + t.parts[last].text + " ELSE false END",
		nested: t.nested + 1,
	}
}

// joined joins conditions, each of them once.
func joined(separator string, list []term) term {
	if len(list) == 1 {
		return list[0]
	}
	out := term{total: true}
	var texts []string
	seen := make(map[string]bool)
	for _, t := range list {
		if !seen[t.text] {
			seen[t.text] = true
			out.total = out.total && t.total
			out.nested = max(out.nested, t.nested)
			texts = append(texts, t.text)
		}
	}
	out.text = "(" + strings.Join(texts, separator) + ")"
	return out
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

// compared counts a comparison, those with the same text once.
func (g *graph) compared(text string) string {
	g.comparisons[text] = true
	if len(g.comparisons) > maxComparisons {
		g.unsupported(fmt.Sprintf("the filter has more than %d different comparisons; write IN (…)", maxComparisons))
	}
	return text
}

// maxNested is how deep ANDs may stand in ORs; four times that takes minutes to
// plan.
const maxNested = 25

// maxComparisons is how many comparisons a filter may have. The time to plan them
// grows with more than the square of their number: for these it is some seconds.
const maxComparisons = 250

// gathered returns a node whose negations are pushed down with clauses that ask
// the same field for one of several values as one clause.
func gathered(x node) node {
	j, ok := x.(*junction)
	if !ok {
		return x
	}
	out := &junction{and: j.and}
	at := make(map[string]int)
	for _, part := range j.list {
		part = gathered(part)
		inner := part
		n, negative := part.(*negation)
		if negative {
			inner = n.x
		}
		c, ok := inner.(*clause)
		if !ok || negative != j.and || !c.ofValues() {
			out.list = append(out.list, part)
			continue
		}
		i, ok := at[c.field.name]
		if !ok {
			at[c.field.name] = len(out.list)
			out.list = append(out.list, part)
			continue
		}
		first := out.list[i]
		if negative {
			first = first.(*negation).x
		}
		f := first.(*clause)
		both := &clause{field: c.field, op: opIn, values: slices.Concat(f.values, c.values)}
		out.list[i] = both
		if negative {
			out.list[i] = &negation{both}
		}
	}
	if len(out.list) == 1 {
		return out.list[0]
	}
	return out
}

// ofValues reports whether a clause asks whether some value is one of several.
func (c *clause) ofValues() bool {
	switch c.op {
	case opEqual, opIn, opMatches:
		return c.quant == quantPlain && c.field.from != fromKind
	default:
		return false
	}
}

// maxGraphSubqueries is how many subqueries a filter may need: Neo4j takes time
// to plan each.
const maxGraphSubqueries = 64

// node translates a node whose negations are pushed down.
func (g *graph) node(x node) term {
	switch x.(type) {
	case *clause, *block, *slotBlock, *label:
		g.at = x
	}
	switch x := x.(type) {
	case *junction:
		list, others := g.merge(x)
		for _, part := range others {
			list = append(list, g.node(part))
		}
		t := someOf(list...)
		if x.and {
			t = allOf(list...)
		}
		if t.nested > maxNested {
			return g.unsupported(fmt.Sprintf("AND and OR are nested more than %d levels deep", maxNested))
		}
		return t
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
		where := g.node(gathered(pushNot(x.x, false)))
		g.at = x
		return g.exists(x.kind, []term{where})
	case *slotBlock:
		return g.slots(x)
	case *clause:
		return g.clause(x)
	}
	return termFalse
}
