// SPDX-License-Identifier: Apache-2.0

package filter

import (
	"bytes"
	"fmt"
	"strings"

	"weir/internal/flow"
)

// element is an expression for one value, or for a list of distinct ones.
type element struct {
	// sql is what is compared: for addresses the 16 bytes, for times and
	// durations microseconds.
	sql string
	// text is what patterns match, where that is not sql.
	text string
	list bool
}

// asText returns the expression that patterns match.
func (e *element) asText(t Type) string {
	switch {
	case e.text != "":
		return e.text
	case t == Text:
		return e.sql
	}
	return "CAST(" + e.sql + " AS VARCHAR)"
}

// clause translates a clause.
func (c *compiler) clause(x *clause) condition {
	f := x.field
	switch f.from {
	case fromKind:
		return c.exists(f.metas[0].kind, "", false)
	case fromMeta:
		return c.metaClause(x)
	case fromCount:
		if !f.set && !f.metas[0].kind.stored {
			return x.nothing()
		}
		if !f.set && x.quant != quantLen && !x.withAttribute() {
			return c.countClause(x)
		}
	case fromRecord:
		if !f.metas[0].kept() {
			return x.nothing()
		}
	case fromFlow, fromSlot:
	}
	p := c.bind(x)
	if f.bareAddr() {
		return c.addrClause(x, p)
	}
	e, ok := c.element(f)
	if !ok {
		return c.unsupported("it keeps no " + f.name)
	}
	if e.list {
		return listClause(x, p, e)
	}
	return scalarClause(x, p, e)
}

// scalarClause translates a clause on a field with one value or NULL.
func scalarClause(x *clause, p *predicate, e element) condition {
	switch {
	case x.quant == quantLen:
		return p.number("CASE WHEN " + e.sql + " IS NULL THEN 0 ELSE 1 END")
	case x.op == opNone && x.quant == quantNone:
		return condition{"(" + e.sql + " IS NULL)", true}
	case x.op == opNone:
		return condition{"(" + e.sql + " IS NOT NULL)", true}
	case x.quant == quantNone:
		return not3(condition{p.on(e), false})
	default:
		return condition{p.on(e), false}
	}
}

// listClause translates a clause on a field with a list of distinct values.
func listClause(x *clause, p *predicate, e element) condition {
	length := "len(" + e.sql + ")"
	if x.quant == quantLen {
		return p.number("coalesce(" + length + ", 0)")
	}
	if x.quant == quantPlain && x.op == opEqual && x.values[0].kind == literal {
		return condition{"list_contains(" + e.sql + ", " + p.args[0].lo + ")", false}
	}
	fulfilling := length
	switch {
	case x.op == opNone:
	case x.withIntel():
		// Lambdas hold no subqueries.
		fulfilling = "(SELECT count(*) FROM unnest(" + e.sql + ") AS s(v) WHERE " + p.on(element{sql: "s.v"}) + ")"
	default:
		fulfilling = "len(list_filter(" + e.sql + ", lambda x: " + p.on(element{sql: "x"}) + "))"
	}
	switch x.quant {
	case quantAll:
		return condition{"(" + length + " > 0 AND " + fulfilling + " = " + length + ")", false}
	case quantOne:
		return condition{"(" + fulfilling + " = 1)", false}
	case quantNone:
		return not3(condition{"(" + fulfilling + " > 0)", false})
	default:
		return condition{"(" + fulfilling + " > 0)", false}
	}
}

// addrClause translates a clause on both ends of a flow.
func (c *compiler) addrClause(x *clause, p *predicate) condition {
	src, dst := c.address("src"), c.address("dst")
	same := src.sql + " = " + dst.sql
	switch {
	case x.quant == quantLen:
		return p.number("CASE WHEN " + same + " THEN 1 ELSE 2 END")
	case x.op == opNone && x.quant == quantOne:
		return condition{"(" + same + ")", true}
	case x.op == opNone:
		return condition{map[bool]string{true: "FALSE", false: "TRUE"}[x.quant == quantNone], true}
	}
	neither := x.quant == quantNone
	if x.quant == quantPlain && x.op.negative() {
		p.op, neither = p.op.positive(), true
	}
	onSrc, onDst := p.on(src), p.on(dst)
	switch {
	case neither:
		return not3(join([]string{onSrc, onDst}, false, true))
	case x.quant == quantAll:
		return join([]string{onSrc, onDst}, true, true)
	case x.quant == quantOne:
		return condition{fmt.Sprintf("CASE WHEN %s THEN %s ELSE %s <> %s END", same, onSrc, onSrc, onDst), true}.enclosed()
	}
	return join([]string{onSrc, onDst}, false, true)
}

func (c condition) enclosed() condition { return condition{"(" + c.sql + ")", c.total} }

// address returns the expression for one end of a flow.
func (c *compiler) address(column string) element {
	return element{sql: c.column(column + "_bin"), text: c.column(column)}
}

func (c *compiler) column(name string) string { return c.alias + "." + quoteName(name) }

// element returns the expression for a field of flows or of a record, false if
// the store has none. A bare addr has two, see addrClause.
func (c *compiler) element(f *field) (element, bool) {
	switch f.from {
	case fromRecord:
		return record(f.metas[0], f.fold), true
	case fromCount:
		return c.counts(f)
	case fromSlot:
		return c.slot(f.slot), true
	case fromFlow:
	case fromMeta, fromKind:
		return element{}, false
	}
	column := c.column(f.flow.column)
	switch f.flow.attr {
	case attrSrc, attrDst:
		return c.address(f.flow.column), true
	case attrFirstSeen, attrLastSeen:
		return element{sql: "epoch_us(" + column + ")"}, true
	case attrDuration:
		return element{sql: fmt.Sprintf("(epoch_us(%s) - epoch_us(%s))",
			c.column("lastseen"), c.column("firstseen"))}, true
	case attrTimesStart:
		c.times = true
		return element{sql: "list_transform(" + column + ", lambda z: epoch_us(z))", list: true}, true
	case attrTimesEnd:
		c.times = true
		return element{sql: fmt.Sprintf("list_transform(%s, lambda z: epoch_us(z) + %d)", column, c.opts.Slot.Microseconds()), list: true}, true
	case attrTimesDuration:
		// Every flow was active in some slot, and all are as wide.
		return element{sql: fmt.Sprintf("[%d::BIGINT]", c.opts.Slot.Microseconds()), list: true}, true
	case attrService:
		// Connections have their services joined by commas.
		return element{
			sql: "list_distinct(flatten(list_transform(" + column +
				", lambda z: string_split(z, ','))))",
			list: true,
		}, true
	}
	return element{sql: column, list: f.set}, true
}

// record returns the expression for an attribute of an intel record m.
func record(m metaAttr, fold bool) element { return recordAs("m", m, fold) }

// recordAs is record with another alias.
func recordAs(alias string, m metaAttr, fold bool) element {
	info := m.info()
	one := func(expr string) string {
		switch {
		case fold:
			return "lower(" + expr + ")"
		case metaType(info) == Duration:
			// Seconds, from microseconds.
			return "CAST(round(" + expr + " * 1000000) AS BIGINT)"
		}
		return expr
	}
	column := alias + "." + quoteName(info.Column)
	if !info.Type.List() {
		return element{sql: one(column)}
	}
	if each := one("z"); each != "z" {
		column = "list_transform(" + column + ", lambda z: " + each + ")"
	}
	return element{sql: "list_distinct(" + column + ")", list: true}
}

// predicate is a comparison, its values bound to placeholders.
type predicate struct {
	c    *compiler
	op   operator
	typ  Type
	args []boundOperand
}

// boundOperand is an operand with its placeholders: lo is that of a literal or
// a pattern, lo and hi bound a network.
type boundOperand struct {
	*operand
	lo, hi string
}

// bind makes placeholders for the values of a clause.
func (c *compiler) bind(x *clause) *predicate {
	p := &predicate{c: c, op: x.op, typ: x.field.typ}
	if x.quant == quantLen {
		p.typ = Number
	}
	for i := range x.values {
		o := &x.values[i]
		b := boundOperand{operand: o}
		switch o.kind {
		case literal:
			b.lo = c.arg(o.val.arg(p.typ))
		case regex:
			b.lo = c.arg(o.re.re2)
		case network:
			lo, hi := bounds(o)
			b.lo, b.hi = c.arg(bytes.Clone(lo[:])), c.arg(bytes.Clone(hi[:]))
		case attribute:
			if o.field.bareAddr() {
				break
			}
			if o.field.from == fromRecord && !o.field.metas[0].kept() {
				continue // it has no values to compare with
			}
			if o.field.from == fromMeta {
				if c.unknown(o.field) {
					c.unsupported("it keeps no records of " + o.field.metas[0].kind.Name)
				}
				break
			}
			if o.field.from == fromCount && !o.field.metas[0].kind.stored {
				continue
			}
			if _, ok := c.element(o.field); !ok {
				c.unsupported("it keeps no " + o.field.name)
			}
		}
		p.args = append(p.args, b)
	}
	return p
}

// arg returns the value as an argument for DuckDB.
func (v *value) arg(t Type) any {
	switch t {
	case Text:
		return v.text
	case Address:
		// A copy: cgo takes no pointer into memory that holds other pointers.
		return bytes.Clone(v.addr[:])
	case Bool:
		return v.num != 0
	default:
		return v.num
	}
}

// bounds returns the first and the last address of a network.
func bounds(o *operand) (lo, hi flow.Addr) {
	lo = flow.AddrFrom(o.net.Addr())
	hi = lo
	bits := o.net.Bits()
	if o.net.Addr().Is4() {
		bits += 96
	}
	for i := bits; i < 128; i++ {
		hi[i/8] |= 0x80 >> (i % 8)
	}
	return lo, hi
}

// spansIPv4 reports whether the bytes of an IPv6 network's addresses enclose
// those of IPv4 addresses, none of which belong to it.
func spansIPv4(o *operand) bool {
	lo, hi := bounds(o)
	first := flow.Addr4([4]byte{})
	return bytes.Compare(lo[:], first[:]) <= 0 && bytes.Compare(first[:], hi[:]) <= 0
}

// number returns the comparison on an expression that is a number.
func (p *predicate) number(expr string) condition {
	return condition{p.on(element{sql: "(" + expr + ")"}), true}
}

// on returns the comparison on an element, in parentheses.
func (p *predicate) on(e element) string {
	var parts []string
	var in []string
	for i := range p.args {
		o := &p.args[i]
		if p.op == opIn && o.kind == literal {
			in = append(in, o.lo)
			continue
		}
		parts = append(parts, p.with(e, o))
	}
	if len(in) > 0 {
		parts = append(parts, e.sql+" IN ("+strings.Join(in, ", ")+")")
	}
	if len(parts) == 0 {
		return "FALSE"
	}
	return "(" + strings.Join(parts, " OR ") + ")"
}

// with returns the comparison of an element with one operand.
func (p *predicate) with(e element, o *boundOperand) string {
	not := ""
	if p.op.negative() {
		not = "NOT "
	}
	switch o.kind {
	case regex:
		return fmt.Sprintf("%sregexp_full_match(%s, %s)", not, e.asText(p.typ), o.lo)
	case network:
		within := fmt.Sprintf("%s BETWEEN %s AND %s", e.sql, o.lo, o.hi)
		if o.net.Addr().Is6() && spansIPv4(o.operand) {
			within += " AND NOT " + isIPv4(e.sql)
		}
		return not + "(" + within + ")"
	case attribute:
		return p.attribute(e, o.field)
	case literal:
	}
	if p.typ == Address && p.op.ordering() {
		return ordered(p.op, e.sql, o.lo, o.val.addr.Is4())
	}
	return e.sql + " " + sqlOperator(p.op) + " " + o.lo
}

// attribute returns the comparison of an element with another attribute.
func (p *predicate) attribute(e element, f *field) string {
	compare := func(other string) string {
		if p.typ == Address && p.op.ordering() {
			return orderedPair(p.op, e.sql, other)
		}
		return e.sql + " " + sqlOperator(p.op) + " " + other
	}
	if f.bareAddr() {
		return "(" + compare(p.c.address("src").sql) + " OR " + compare(p.c.address("dst").sql) + ")"
	}
	if f.from == fromMeta {
		return p.c.someIntel(f, func(other element) string { return compare(other.sql) })
	}
	other, _ := p.c.element(f)
	if !other.list {
		return compare(other.sql)
	}
	// Some element of the other list compares so exactly if its least or its
	// greatest one does.
	least, greatest := "list_min("+other.sql+")", "list_max("+other.sql+")"
	switch p.op {
	case opLess, opAtMost:
		return compare(greatest)
	case opMore, opAtLeast:
		return compare(least)
	case opDiffers:
		return "(" + compare(least) + " OR " + compare(greatest) + ")"
	default:
		return "list_contains(" + other.sql + ", " + e.sql + ")"
	}
}

func sqlOperator(op operator) string {
	switch op {
	case opDiffers:
		return "<>"
	case opIn:
		return "="
	default:
		return op.String()
	}
}

// isIPv4 returns the condition that 16 bytes hold an IPv4 address.
func isIPv4(expr string) string {
	prefix := strings.Repeat(`\x00`, 10) + `\xFF\xFF`
	return fmt.Sprintf(`(%s BETWEEN '%s\x00\x00\x00\x00'::BLOB AND '%s\xFF\xFF\xFF\xFF'::BLOB)`,
		expr, prefix, prefix)
}

// ordered compares the 16 bytes of an address with those of a known one. As
// bytes, some IPv6 addresses sort before IPv4 ones.
func ordered(op operator, expr, arg string, is4 bool) string {
	compare := expr + " " + sqlOperator(op) + " " + arg
	less := op == opLess || op == opAtMost
	switch {
	case is4 == less:
		// Only addresses of the same family come into question.
		family := isIPv4(expr)
		if !is4 {
			family = "NOT " + family
		}
		return "(" + compare + " AND " + family + ")"
	case is4:
		return "((" + compare + " AND " + isIPv4(expr) + ") OR NOT " + isIPv4(expr) + ")"
	}
	return "((" + compare + " AND NOT " + isIPv4(expr) + ") OR " + isIPv4(expr) + ")"
}

// orderedPair compares two addresses.
func orderedPair(op operator, a, b string) string {
	first, second := isIPv4(a), isIPv4(b)
	if op == opMore || op == opAtLeast {
		first, second = second, first
	}
	return fmt.Sprintf("(CASE WHEN %s = %s THEN %s %s %s ELSE %s AND NOT %s END)",
		isIPv4(a), isIPv4(b), a, sqlOperator(op), b, first, second)
}
