// SPDX-License-Identifier: Apache-2.0

package filter

import (
	"slices"
	"strconv"
	"strings"
)

// matchIntel returns the clause that finds the observations of a kind that a
// flow has.
func matchIntel(k *kind) string { return "MATCH (f)-[m:INTEL]->(i:" + k.Label + ")" }

// exists returns the condition that the flow has an observation of kind k that
// fulfills one of some conditions, if there are any.
func (g *graph) exists(k *kind, conditions []term) term {
	if !k.stored {
		return termFalse
	}
	g.subquery()
	if len(conditions) == 0 || slices.ContainsFunc(conditions, func(t term) bool { return t.text == termTrue.text }) {
		return total("EXISTS { (f)-[:INTEL]->(:" + k.Label + ") }")
	}
	return total("EXISTS { " + matchIntel(k) + " WHERE " + someOf(conditions...).text + " }")
}

// countText returns the expression for the numbers of observations of kinds, of
// those that the flow has.
func (g *graph) countText(f *field) operandText {
	var each []string
	from := "MATCH (f:Flow)-[m:INTEL]->(i:Intel) WITH f, labels(i) AS kind, sum(m.count) AS n"
	for _, m := range f.metas {
		if m.kind.stored {
			each = append(each, g.countOf(m.kind))
			if !f.set {
				from = "MATCH (f:Flow)-[m:INTEL]->(:" + m.kind.Label + ") WITH f, sum(m.count) AS n"
			}
		}
	}
	return operandText{
		text: counted(each), list: true, repeats: f.set, costly: true, domain: &domain{from: from, value: "n"},
	}
}

// countOf returns the expression for the number of observations of a kind. Inside
// of an expression over a list there can be no aggregation.
func (g *graph) countOf(k *kind) string {
	g.subquery()
	return "reduce(n = 0, v IN COLLECT { MATCH (f)-[m:INTEL]->(:" + k.Label + ") RETURN m.count } | n + v)"
}

// counted returns the list of numbers of observations without those of kinds of
// which there are none.
func counted(each []string) string {
	return "[n IN [" + strings.Join(each, ", ") + "] WHERE n > 0]"
}

// rows returns the query for the distinct values v of an attribute of a flow's
// intel that fulfill a condition.
func (g *graph) rows(m metaAttr, fold bool, on func(operandText) term) string {
	g.subquery()
	e := recordText(m, fold)
	value := operandText{text: "v", domain: e.domain}
	each := " WITH " + e.text + " AS v"
	if e.list {
		each = " UNWIND " + e.text + " AS v WITH v"
	}
	return matchIntel(m.kind) + each + " WHERE " + on(value).text + " RETURN DISTINCT v"
}

// isThere returns the condition that there is a value.
func isThere(o operandText) term { return o.present() }

// keptOf returns the attributes that have values.
func keptOf(metas []metaAttr) []metaAttr {
	return slices.DeleteFunc(slices.Clone(metas), func(m metaAttr) bool { return !m.kept() })
}

// collect returns the sets of values of a field on the right side for which
// subqueries are needed, one for each kind of intel, in ascending order.
func (g *graph) collect(f *field, op operator) (list []collected) {
	add := func(text string) {
		g.sets++
		list = append(list, collected{setName(g.sets), text})
	}
	switch f.from {
	case fromMeta:
		by := "v"
		if f.typ == Text && op.ordering() {
			by = ordering(by)
		}
		for _, m := range keptOf(f.metas) {
			add("COLLECT { " + g.rows(m, f.fold, isThere) + " ORDER BY " + by + " }")
		}
	case fromCount:
		for _, m := range f.metas {
			if m.kind.stored {
				add(counted([]string{g.countOf(m.kind)}))
			}
		}
	case fromFlow:
		if o := g.operand(f); o.costly {
			add(o.text)
		}
	case fromKind, fromRecord, fromSlot:
	}
	return list
}

// metaClause translates a clause on an attribute of one or more kinds of intel.
func (g *graph) metaClause(x *clause) term {
	metas := keptOf(x.field.metas)
	if len(metas) == 0 {
		return g.nothing(x)
	}
	c := g.compare(x)
	fulfilling := isThere
	if x.op != opNone {
		fulfilling = c.on
	}
	distinct := func(on func(operandText) term) string {
		var each []string
		for _, m := range metas {
			each = append(each, g.rows(m, x.field.fold, on))
		}
		return "COUNT { " + strings.Join(each, " UNION ") + " }"
	}
	some := func(on func(operandText) term) term {
		var list []term
		for _, m := range metas {
			list = append(list, g.exists(m.kind, []term{someOfRecord(m, x.field.fold, on)}))
		}
		return someOf(list...)
	}
	switch x.quant {
	case quantLen:
		return c.number(distinct(isThere))
	case quantOne:
		return c.within(total("(" + distinct(fulfilling) + " = 1)"))
	case quantNone:
		return c.within(some(fulfilling).negated())
	case quantAll:
		if x.op == opNone {
			return some(isThere)
		}
		return c.within(allOf(some(isThere), some(func(o operandText) term {
			return allOf(o.present(), c.on(o).negated())
		}).negated()))
	default:
		return c.within(some(fulfilling))
	}
}

// someOfRecord returns the condition that a value of an observation fulfills a
// condition.
func someOfRecord(m metaAttr, fold bool, on func(operandText) term) term {
	e := recordText(m, fold)
	if e.list {
		return partial("any(x IN " + e.text + " WHERE " + on(e.element("x")).text + ")")
	}
	return on(e)
}

// observation is a condition on one observation of a kind.
type observation struct {
	kind  *kind
	where term
}

// ofObservations returns the conditions of which a node asks that some
// observation fulfills one, false if it asks for something else.
func (g *graph) ofObservations(x node) ([]observation, bool) {
	switch x := x.(type) {
	case *label:
		if x.kind != nil && x.kind.stored {
			return []observation{{x.kind, termTrue}}, true
		}
	case *block:
		if !x.kind.stored {
			return nil, false
		}
		g.at = x
		return []observation{{x.kind, g.node(gathered(pushNot(x.x, false)))}}, true
	case *clause:
		g.at = x
		if x.field.from == fromKind && x.field.metas[0].kind.stored {
			return []observation{{x.field.metas[0].kind, termTrue}}, true
		}
		metas := keptOf(x.field.metas)
		if x.field.from != fromMeta || x.quant != quantPlain || len(metas) == 0 {
			return nil, false
		}
		on := isThere
		if x.op != opNone {
			before := g.subqueries
			c := g.compare(x)
			if len(c.sets) > 0 {
				g.subqueries = before // they are counted when the clause is translated
				return nil, false
			}
			on = c.on
		}
		var list []observation
		for _, m := range metas {
			list = append(list, observation{m.kind, someOfRecord(m, x.field.fold, on)})
		}
		return list, true
	}
	return nil, false
}

// merge translates the parts of a junction that ask whether some observation
// fulfills a condition, or in an AND that none does, with one subquery for each
// kind. It returns their conditions and the other parts.
func (g *graph) merge(j *junction) (merged []term, others []node) {
	var kinds []*kind
	var first []node
	var conditions [][]term
	for _, part := range j.list {
		asked := part
		n, negative := part.(*negation)
		if negative {
			asked = n.x
		}
		list, ok := []observation(nil), false
		if negative == j.and {
			list, ok = g.ofObservations(asked)
		}
		if !ok {
			others = append(others, part)
			continue
		}
		for _, o := range list {
			i := slices.IndexFunc(kinds, func(k *kind) bool { return k.Name == o.kind.Name })
			if i < 0 {
				i = len(kinds)
				kinds, first = append(kinds, o.kind), append(first, asked)
				conditions = append(conditions, nil)
			}
			conditions[i] = append(conditions[i], o.where)
		}
	}
	for i, k := range kinds {
		g.at = first[i]
		found := g.exists(k, conditions[i])
		if j.and {
			found = found.negated()
		}
		merged = append(merged, found)
	}
	return merged, others
}

// setName returns the variable of a collected set.
func setName(n int) string { return "r" + strconv.Itoa(n) }
