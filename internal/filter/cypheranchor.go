// SPDX-License-Identifier: Apache-2.0

package filter

import "strings"

// Neo4j looks up the hosts and flows of a condition in an index by itself, but it
// asks a subquery for each flow that is left, of all if nothing else is asked,
// and so it does for what may be true of one of two nodes. An anchor turns such a
// condition around: from the few nodes of which it is true to their flows.

// rank says how few flows a condition may be expected to select: fewest first.
type rank uint8

const (
	rankAddress rank = iota
	rankText
	rankPattern
	rankNetwork
	rankPort
	rankMany // not worth to begin with
)

// branch is one way to what an anchor finds.
type branch struct {
	// clause binds f and what the conditions are about.
	clause string
	// native branches are found by the server without an anchor, if they are the
	// only one.
	native bool
	where  []term
}

// anchor is a condition that a query begins with.
type anchor struct {
	rank rank
	// exact says that the flows found are those that fulfill the condition, rather
	// than all of them and some more.
	exact    bool
	branches []branch
}

// anchor returns what is best to begin with of several conditions, and which of
// them it stands for; nil if the server can do as well without.
func (g *graph) anchor(list []node) (*anchor, int) {
	best := rankMany
	at := -1
	for i, x := range list {
		if r := rankOf(x); r < best {
			best, at = r, i
		}
	}
	if at < 0 {
		return nil, 0
	}
	a := &anchor{rank: best, exact: true}
	before := g.subqueries
	g.begin(a, list[at])
	if len(a.branches) == 1 && a.branches[0].native && a.exact {
		g.subqueries = before
		return nil, 0
	}
	return a, at
}

// rankOf returns the rank of a node whose negations are pushed down.
func rankOf(x node) rank {
	switch x := x.(type) {
	case *junction:
		best, worst := rankMany, rankAddress
		for _, part := range x.list {
			r := rankOf(part)
			best, worst = min(best, r), max(worst, r)
		}
		if x.and {
			return best
		}
		return worst
	case *block:
		if x.kind.stored {
			return rankOf(gathered(pushNot(x.x, false)))
		}
	case *clause:
		return x.rank()
	}
	return rankMany
}

// rank returns the rank of a clause.
func (c *clause) rank() rank {
	f := c.field
	worst := rankAddress
	for i := range c.values {
		o := &c.values[i]
		switch {
		case c.quant != quantPlain, c.op.negative(), c.op.ordering(), o.kind == attribute:
			return rankMany
		case o.kind == regex:
			worst = max(worst, rankPattern)
		case o.kind == network:
			worst = max(worst, rankNetwork)
		}
	}
	switch {
	case c.op == opNone:
	case f.from == fromFlow && f.typ == Address:
		return worst
	case f.from == fromFlow && f.flow.attr == attrDport:
		return max(worst, rankPort)
	case (f.from == fromMeta || f.from == fromRecord) && f.typ == Text && len(keptOf(f.metas)) > 0:
		return max(worst, rankText)
	}
	return rankMany
}

// begin adds the branches of a node with a rank to an anchor.
func (g *graph) begin(a *anchor, x node) {
	if c, ok := x.(*clause); ok && c.field.from == fromFlow {
		g.beginFlow(a, c)
		return
	}
	if list, ok := g.ofObservations(x); ok {
		for _, o := range list {
			a.add(branch{clause: "MATCH (f:Flow)-[m:INTEL]->(i:" + o.kind.Label + ")"}, o.where)
		}
		return
	}
	j, ok := x.(*junction)
	if !ok {
		return
	}
	if !j.and {
		for _, part := range j.list {
			g.begin(a, part)
		}
		return
	}
	for _, part := range j.list {
		if rankOf(part) == rankOf(j) {
			a.exact = false
			g.begin(a, part)
			return
		}
	}
}

// beginFlow adds the branch of a clause on a flow's key.
func (g *graph) beginFlow(a *anchor, x *clause) {
	g.at = x
	c := g.compare(x)
	switch x.field.flow.attr {
	case attrSrc:
		a.add(branch{clause: "MATCH (h:Host)-[:SEND]->(f:Flow)", native: true}, c.on(hostText("h")))
	case attrDst:
		a.add(branch{clause: "MATCH (h:Host)<-[:TO]-(f:Flow)", native: true}, c.on(hostText("h")))
	case attrAddr:
		a.add(branch{clause: "MATCH (h:Host)-[:SEND|TO]-(f:Flow)"}, c.on(hostText("h")))
	default:
		a.add(branch{clause: "MATCH (f:Flow)", native: true}, c.on(g.operand(x.field)))
	}
}

// add adds a condition to the branch with the same clause.
func (a *anchor) add(b branch, where term) {
	for i := range a.branches {
		if a.branches[i].clause == b.clause {
			a.branches[i].where = append(a.branches[i].where, where)
			return
		}
	}
	b.where = []term{where}
	a.branches = append(a.branches, b)
}

// match returns the clauses that bind f.
func (a *anchor) match() string {
	texts := make([]string, len(a.branches))
	for i, b := range a.branches {
		texts[i] = b.clause + " WHERE " + someOf(b.where...).text
	}
	if len(texts) == 1 {
		return texts[0] + " WITH DISTINCT f "
	}
	return "CALL () { " + strings.Join(texts, " RETURN f UNION ") + " RETURN f } "
}
