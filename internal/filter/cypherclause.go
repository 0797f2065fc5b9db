// SPDX-License-Identifier: Apache-2.0

package filter

import (
	"fmt"
	"strings"
	"time"

	"weir/internal/flow"
)

// operandText is an expression for one value, or for a list of them.
type operandText struct {
	// text is what is compared: for addresses their place in the order, for times
	// a DateTime, for durations microseconds.
	text string
	// match is what patterns match, where that is not text.
	match string
	// folded is the property that holds a text in lower case where plain, the
	// text as it was, is not: coalesce(folded, plain) is text, but no index knows.
	plain, folded string
	list          bool
	// repeats says that a list may hold a value twice, sorted that it ascends.
	repeats, sorted bool
	// costly expressions hold a subquery.
	costly bool
	// domain is where the values for a pattern come from.
	domain *domain
}

// element returns the expression for an element of the list.
func (o *operandText) element(name string) operandText {
	return operandText{text: name, domain: o.domain}
}

// clause translates a clause.
func (g *graph) clause(x *clause) term {
	f := x.field
	switch f.from {
	case fromKind:
		return g.exists(f.metas[0].kind, nil)
	case fromMeta:
		return g.metaClause(x)
	case fromCount:
		if !f.set && !f.metas[0].kind.stored {
			return g.nothing(x)
		}
	case fromRecord:
		if !f.metas[0].kept() {
			return g.nothing(x)
		}
	case fromFlow, fromSlot:
	}
	c := g.compare(x)
	switch left := g.operand(f); {
	case f.bareAddr():
		return c.within(addrTerm(x, c))
	case left.list:
		return c.within(g.listTerm(x, c, left))
	default:
		return c.within(scalarTerm(x, c, left))
	}
}

// nothing returns what a clause says about a field that never has a value.
func (g *graph) nothing(x *clause) term {
	if x.quant == quantNone || x.quant == quantLen && x.acceptsNone() {
		return termTrue
	}
	return termFalse
}

// present returns the condition that there is a value.
func (o *operandText) present() term {
	if o.folded != "" {
		return total("(" + o.plain + " IS NOT NULL)")
	}
	return total("(" + o.text + " IS NOT NULL)")
}

// scalarTerm translates a clause on a field with one value or NULL.
func scalarTerm(x *clause, c *comparison, left operandText) term {
	switch {
	case x.quant == quantLen:
		return c.number("CASE WHEN " + left.text + " IS NULL THEN 0 ELSE 1 END")
	case x.op == opNone && x.quant == quantNone:
		return left.present().negated()
	case x.op == opNone:
		return left.present()
	case x.quant == quantNone:
		return c.on(left).negated()
	default:
		return c.on(left)
	}
}

// listTerm translates a clause on a field with a list of values.
func (g *graph) listTerm(x *clause, c *comparison, left operandText) term {
	element := left.element("x")
	// Of nothing, NULL instead of a list, size and the others are NULL.
	some := partial("any(x IN " + left.text + " WHERE " + c.on(element).text + ")")
	// Where a condition is NULL, single may be, too.
	one := "single(x IN " + left.text + " WHERE coalesce(" + c.on(element).text + ", false))"
	size := "size(" + left.text + ")"
	switch {
	case x.op == opNone:
		some, one = partial("("+size+" > 0)"), size+" = 1"
	case x.quant == quantPlain && x.op == opEqual && x.values[0].kind == literal:
		some = partial("($" + c.values[0].lo + " IN " + left.text + ")")
	}
	switch x.quant {
	case quantLen:
		if left.repeats {
			g.subquery()
			return c.number("COUNT { UNWIND " + left.text + " AS v RETURN DISTINCT v }")
		}
		return c.number("coalesce(" + size + ", 0)")
	case quantOne:
		if left.repeats {
			g.subquery()
			element = left.element("v")
			where := ""
			if x.op != opNone {
				where = "WHERE " + c.on(element).text + " "
			}
			one = "COUNT { UNWIND " + left.text + " AS v WITH v " + where + "RETURN DISTINCT v } = 1"
		}
		return partial("(" + one + ")")
	case quantNone:
		return some.negated()
	case quantAll:
		if x.op == opNone {
			return some
		}
		if left.costly {
			g.sets++
			set := setName(g.sets)
			return partial(fmt.Sprintf("any(%[1]s IN [%[2]s] WHERE size(%[1]s) > 0 AND all(x IN %[1]s WHERE %[3]s))",
				set, left.text, c.on(element).text))
		}
		return partial("(" + size + " > 0 AND all(x IN " + left.text + " WHERE " + c.on(element).text + "))")
	default:
		return some
	}
}

// ends returns the expressions for both ends of a flow.
func ends() (src, dst operandText) { return hostText("src"), hostText("dst") }

// hostText returns the expression for the address of a host.
func hostText(name string) operandText {
	return operandText{
		text: name + ".sort", match: name + ".addr",
		domain: &domain{from: "MATCH (h:Host)", value: "h.addr", text: true},
	}
}

// addrTerm translates a clause on both ends of a flow.
func addrTerm(x *clause, c *comparison) term {
	src, dst := ends()
	same := src.text + " = " + dst.text
	switch {
	case x.quant == quantLen:
		return c.number("CASE WHEN " + same + " THEN 1 ELSE 2 END")
	case x.op == opNone && x.quant == quantOne:
		return total("(" + same + ")")
	case x.op == opNone && x.quant == quantNone:
		return termFalse
	case x.op == opNone:
		return termTrue
	}
	neither := x.quant == quantNone
	if x.quant == quantPlain && x.op.negative() {
		c.op, neither = c.op.positive(), true
	}
	onSrc, onDst := c.on(src), c.on(dst)
	switch {
	case neither:
		return someOf(onSrc, onDst).negated()
	case x.quant == quantAll:
		return allOf(onSrc, onDst)
	case x.quant == quantOne:
		onDst = total("(NOT coalesce(" + onDst.text + ", false))")
		return partial(fmt.Sprintf("(CASE WHEN %s THEN %s ELSE coalesce(%s, false) = %s END)",
			same, onSrc.text, onSrc.text, onDst.text))
	}
	return someOf(onSrc, onDst)
}

// operand returns the expression for a field. A bare addr has two, and those of
// intel stand in subqueries.
func (g *graph) operand(f *field) operandText {
	switch f.from {
	case fromRecord:
		return recordText(f.metas[0], f.fold)
	case fromCount:
		return g.countText(f)
	case fromSlot:
		return slotText(f.slot)
	case fromFlow:
	case fromMeta, fromKind:
		return operandText{}
	}
	switch f.flow.attr {
	case attrAddr:
		return operandText{}
	case attrSrc:
		return hostText("src")
	case attrDst:
		return hostText("dst")
	case attrDuration:
		return operandText{text: CypherDuration}
	case attrTimesStart:
		return operandText{text: "f.times", list: true, sorted: true}
	case attrTimesEnd:
		g.subquery()
		return operandText{
			text: "[t1 IN f.times | t1 + duration({seconds: " + slotWidthText + "[0]})]",
			list: true, sorted: true, costly: true,
		}
	case attrTimesDuration:
		g.subquery()
		return operandText{
			text: "CASE WHEN size(f.times) > 0 THEN COLLECT { MATCH (s:Store) RETURN s.precision * 1000000 } ELSE [] END",
			list: true, sorted: true, costly: true,
		}
	default:
		text := "f." + f.flow.column
		return operandText{
			text: text, list: f.set, sorted: f.set,
			domain: &domain{from: "MATCH (f:Flow)", value: text, unwind: f.set, text: f.typ == Text, greatest: f.max},
		}
	}
}

// comparison is the right side of a clause, its values bound to parameters.
type comparison struct {
	g      *graph
	op     operator
	typ    Type
	values []boundValue
	// in is the parameter with all literals of an IN, networks the one with all of
	// its networks.
	in, networks string
	// sets are lists of values that are collected once for a flow.
	sets []collected
}

// boundValue is an operand with its parameters: lo is that of a literal, lo and
// hi bound a network. Attributes of intel are sets.
type boundValue struct {
	*operand
	lo, hi string
	sets   []collected
}

// collected is a list of values in a variable.
type collected struct{ name, text string }

// listKey and networksKey stand for lists among the keys of parameters. They have
// types of their own: a value that is a text may read like anything.
type (
	listKey     string
	networksKey string
)

// compare makes parameters for the values of a clause.
func (g *graph) compare(x *clause) *comparison {
	c := &comparison{g: g, op: x.op, typ: x.field.typ}
	if x.quant == quantLen {
		c.typ = Number
	}
	var list, networks []any
	var key, pairs strings.Builder
	for i := range x.values {
		o := &x.values[i]
		b := boundValue{operand: o}
		switch o.kind {
		case literal:
			value := o.val.cypher(c.typ)
			if x.op == opIn {
				list = append(list, value)
				fmt.Fprintf(&key, " %T:%q", value, fmt.Sprint(value))
				continue
			}
			b.lo = g.param(value, value)
		case network:
			first, last := placesOf(o)
			if x.op == opIn {
				networks = append(networks, []any{first, last})
				pairs.WriteString(" " + first + " " + last)
				continue
			}
			b.lo, b.hi = g.param(first, first), g.param(last, last)
		case regex:
		case attribute:
			b.sets = g.collect(o.field, x.op)
			c.sets = append(c.sets, b.sets...)
		}
		c.values = append(c.values, b)
	}
	if len(list) > 0 {
		c.in = g.param(listKey(key.String()), list)
	}
	if len(networks) > 0 {
		c.networks = g.param(networksKey(pairs.String()), networks)
	}
	return c
}

// cypher returns the value as a parameter.
func (v *value) cypher(t Type) any {
	switch t {
	case Text:
		return v.text
	case Address:
		return CypherSort(v.addr)
	case Bool:
		return v.num != 0
	case Time:
		return CypherTime(time.UnixMicro(v.num))
	default:
		return v.num
	}
}

// placesOf returns the places of a network's first and last address in the order
// of addresses.
func placesOf(o *operand) (first, last string) {
	place := sortIPv6
	if o.net.Addr().Is4() {
		place = CypherSort
	}
	lo, hi := bounds(o)
	return place(lo), place(hi)
}

// within returns the condition where the sets that it names are known.
func (c *comparison) within(t term) term {
	for _, s := range c.sets {
		t = term{text: "any(" + s.name + " IN [" + s.text + "] WHERE " + t.text + ")", total: t.total, nested: t.nested}
	}
	return t
}

// number returns the comparison on an expression that is a number.
func (c *comparison) number(text string) term {
	t := c.on(operandText{text: "(" + text + ")"})
	// A right side may be missing, but not that of LEN.
	return total(t.text)
}

// on returns the comparison on one value.
func (c *comparison) on(left operandText) term {
	var list []term
	for i := range c.values {
		t := partial(c.g.compared(c.with(left, &c.values[i])))
		t.and = c.values[i].kind == network && !c.op.negative()
		list = append(list, t)
	}
	if c.in != "" {
		list = append(list, partial(c.g.compared(left.among(c.in))))
	}
	if c.networks != "" {
		within := fmt.Sprintf("any(w IN $%s WHERE %s >= w[0] AND %[2]s <= w[1])", c.networks, left.text)
		list = append(list, partial(c.g.compared(within)))
	}
	if len(list) == 0 {
		return termFalse
	}
	return someOf(list...)
}

// among returns the condition that the value is in a list.
func (o *operandText) among(param string) string {
	if o.folded != "" {
		return fmt.Sprintf("(%s IN $%s OR %s IN $%[2]s)", o.plain, param, o.folded)
	}
	return "(" + o.text + " IN $" + param + ")"
}

// with returns the comparison of a value with one operand.
func (c *comparison) with(left operandText, o *boundValue) string {
	switch o.kind {
	case regex:
		param := c.g.pattern(left.domain, o.re)
		if left.match != "" {
			left.text = left.match
		}
		if c.op.negative() {
			// NULL is not in an empty list, and not NULL.
			return "(" + left.text + " IS NOT NULL AND NOT " + left.text + " IN $" + param + ")"
		}
		return left.among(param)
	case network:
		within := fmt.Sprintf("(%[1]s >= $%[2]s AND %[1]s <= $%[3]s)", left.text, o.lo, o.hi)
		if c.op.negative() {
			return "(NOT " + within + ")"
		}
		return within
	case attribute:
		return c.withField(left, o)
	case literal:
	}
	if left.folded != "" && c.op == opEqual {
		// A text that equals one in lower case is in lower case.
		return fmt.Sprintf("(%s = $%s OR %s = $%[2]s)", left.plain, o.lo, left.folded)
	}
	if c.typ == Text && c.op.ordering() && strings.ContainsFunc(o.val.text, beyondPlane) {
		ordered := orderedText(o.val.text)
		return "(" + ordering(left.text) + " " + sqlOperator(c.op) + " $" + c.g.param(ordered, ordered) + ")"
	}
	return "(" + left.text + " " + sqlOperator(c.op) + " $" + o.lo + ")"
}

// Neo4j compares texts by code points or by UTF-16's units, as the two happen to
// be in memory. The orders differ where a character from U+E000 on meets one
// beyond U+FFFF. Texts are compared as other texts, in which U+D7FF, the last
// character before both, stands before those of the former kind: of these both
// orders are that of code points.

// lastBefore is the last character before those that differ in order.
const lastBefore = '\ud7ff'

// beyondPlane reports whether the order of a character may depend on the way of
// comparing.
func beyondPlane(r rune) bool { return r >= lastBefore }

// orderedText returns the text that is compared in place of another.
func orderedText(text string) string {
	var b strings.Builder
	for _, r := range text {
		switch {
		case r == lastBefore:
			b.WriteString(string(r) + "a")
		case r > lastBefore && r <= '\uffff':
			b.WriteString(string(lastBefore) + string(r))
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

// ordering is orderedText for an expression.
func ordering(text string) string {
	return "reduce(t = '', c IN split(" + text + `, '') | t + CASE WHEN c = '\uD7FF' THEN '\uD7FFa' ` +
		`WHEN c >= '\uE000' AND c <= '\uFFFF' THEN '\uD7FF' + c ELSE c END)`
}

// withField returns the comparison of a value with another attribute.
func (c *comparison) withField(left operandText, o *boundValue) string {
	f := o.field
	pair := func(right string) term {
		if c.typ == Text && c.op.ordering() {
			return partial("(" + ordering(left.text) + " " + sqlOperator(c.op) + " " + ordering(right) + ")")
		}
		return partial("(" + left.text + " " + sqlOperator(c.op) + " " + right + ")")
	}
	switch {
	case f.bareAddr():
		src, dst := ends()
		return someOf(pair(src.text), pair(dst.text)).text
	case f.from == fromMeta || f.from == fromCount || len(o.sets) > 0:
		var list []term
		for _, s := range o.sets {
			list = append(list, c.withList(left, operandText{text: s.name, sorted: true}, pair))
		}
		if len(list) == 0 {
			return termFalse.text
		}
		return someOf(list...).text
	case f.from == fromRecord && !f.metas[0].kept():
		return termFalse.text
	}
	right := c.g.operand(f)
	if right.list {
		return c.withList(left, right, pair).text
	}
	return pair(right.text).text
}

// withList returns the condition that a value compares so with some element of a
// list.
func (c *comparison) withList(left, right operandText, pair func(string) term) term {
	least, greatest := "("+right.text+")[0]", "("+right.text+")[-1]"
	switch {
	case c.op == opEqual || c.op == opIn:
		return partial("(" + left.text + " IN " + right.text + ")")
	case !right.sorted:
		return partial("any(y IN " + right.text + " WHERE " + pair("y").text + ")")
	case c.op == opLess || c.op == opAtMost:
		return pair(greatest)
	case c.op == opMore || c.op == opAtLeast:
		return pair(least)
	default:
		return someOf(pair(least), pair(greatest))
	}
}

// recordText returns the expression for an attribute of an observation: of the
// relation m, or of the node i that it leads to.
func recordText(m metaAttr, fold bool) operandText {
	info := m.info()
	holder := "i"
	if info.Role == flow.Measure {
		holder = "m"
	}
	plain := holder + "." + info.FilterName()
	o := operandText{text: plain, list: info.Type.List(), repeats: true}
	switch {
	case fold:
		o.text = fmt.Sprintf("coalesce(%s_folded, %[1]s)", plain)
		if !o.list {
			o.plain, o.folded = plain, plain+"_folded"
		}
	case info.Type == flow.IntervalList:
		o.text = "[z IN " + plain + " | toInteger(round(z * 1000000))]"
	case info.Type == flow.Interval:
		// Seconds, from microseconds.
		o.text = "toInteger(round(" + plain + " * 1000000))"
	}
	o.domain = &domain{
		from:  "MATCH (:Flow)-[m:INTEL]->(i:" + m.kind.Label + ")",
		value: o.text, unwind: o.list, text: metaType(info) == Text, lower: fold,
	}
	if holder == "i" {
		o.domain.from = "MATCH (i:" + m.kind.Label + ")"
	}
	return o
}
