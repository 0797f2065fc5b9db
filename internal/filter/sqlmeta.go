// SPDX-License-Identifier: Apache-2.0

package filter

import (
	"fmt"
	"slices"
	"strings"
)

// Conditions on intel ask whether a flow's key is among the keys of records.
// DuckDB makes a semi join of that, with the records' side in its hash table; of
// EXISTS it would first make a list of the distinct keys of all flows. Only
// comparisons with an attribute of the flow itself are correlated subqueries.

// key returns what links records to flows, or to connections, as a list of
// expressions. What has no port must still be equal to itself.
func (c *compiler) key(alias string) string {
	if c.opts.ByUID {
		return alias + ".uid"
	}
	return fmt.Sprintf("%[1]s.src_bin, %[1]s.dst_bin, %[1]s.proto, coalesce(%[1]s.dport, -1)", alias)
}

// table returns the relation of a kind, "" if the store has none.
func (c *compiler) table(k *kind) string { return c.opts.Table(k.Name) }

// nothing returns what a clause says about a field that never has a value.
func (x *clause) nothing() condition {
	if x.quant == quantNone || x.quant == quantLen && x.acceptsNone() {
		return condition{"TRUE", true}
	}
	return condition{"FALSE", true}
}

// maxSubqueries is how many subqueries on intel a filter may need. DuckDB plans
// this many in a second, but takes half a minute for six times as many.
const maxSubqueries = 64

// amongKeys returns the condition that the flow's key is selected by a
// subquery, which starts after SELECT.
func (c *compiler) amongKeys(query string) condition {
	return condition{"(" + c.key(c.alias) + ") IN (SELECT " + query + ")", true}
}

// from returns the relation of a kind for a subquery.
func (c *compiler) from(k *kind) string {
	table := c.table(k)
	if table == "" {
		c.unsupported("it keeps no records of " + k.Name)
	}
	if c.subqueries++; c.subqueries > maxSubqueries {
		c.unsupported(fmt.Sprintf("the filter asks for intel more than %d times; "+
			"write IN (…) or meta.%s( … OR … )", maxSubqueries, k.Name))
	}
	return table
}

// exists returns the condition that the flow has a record m of kind k that
// fulfills a condition, if that is not empty; correlated says that it refers to
// the flow.
func (c *compiler) exists(k *kind, where string, correlated bool) condition {
	if !k.stored {
		return condition{"FALSE", true}
	}
	table := c.from(k)
	if correlated {
		return condition{"EXISTS (SELECT 1 FROM " + table + " AS m WHERE " + c.linked() + " AND " + where + ")", true}
	}
	if where != "" {
		where = " WHERE " + where
	}
	return c.amongKeys(c.key("m") + " FROM " + table + " AS m" + where)
}

// linked returns the condition that record m is the flow's.
func (c *compiler) linked() string {
	return "(" + c.key("m") + ") = (" + c.key(c.alias) + ")"
}

// counts returns the expression for the number of records of kinds, NULL where
// there are none; for several kinds a list.
func (c *compiler) counts(f *field) (element, bool) {
	var each []string
	for _, m := range f.metas {
		if m.kind.stored && c.table(m.kind) != "" {
			each = append(each, "nullif((SELECT count(*) FROM "+c.from(m.kind)+" AS m WHERE "+c.linked()+"), 0)")
		}
	}
	switch {
	case len(each) == 0:
		return element{}, false
	case !f.set:
		return element{sql: each[0]}, true
	}
	return element{sql: "list_distinct([" + strings.Join(each, ", ") + "])", list: true}, true
}

// countClause translates a clause on the number of records of one kind.
func (c *compiler) countClause(x *clause) condition {
	k := x.field.metas[0].kind
	if x.op == opNone {
		any := c.exists(k, "", false)
		if x.quant == quantNone {
			return not3(any)
		}
		return any
	}
	table := c.from(k)
	p := c.bind(x)
	some := c.amongKeys(c.key("m") + " FROM " + table + " AS m GROUP BY ALL HAVING " + p.on(element{sql: "count(*)"}))
	if x.quant == quantNone {
		return not3(some)
	}
	return some
}

// kept returns the attributes of kinds that the store has.
func (c *compiler) kept(metas []metaAttr) []metaAttr {
	var list []metaAttr
	for _, m := range metas {
		if m.kept() && c.table(m.kind) != "" {
			list = append(list, m)
		}
	}
	return list
}

// unknown reports whether the store lacks what there is of an attribute.
func (c *compiler) unknown(f *field) bool {
	return slices.ContainsFunc(f.metas, metaAttr.kept) && len(c.kept(f.metas)) == 0
}

// someIntel returns the condition that some value of an attribute of intel on
// the right side, where records are called n, fulfills a condition.
func (c *compiler) someIntel(f *field, on func(element) string) string {
	var parts []string
	for _, m := range c.kept(f.metas) {
		e := recordAs("n", m, f.fold)
		from := c.from(m.kind) + " AS n"
		if e.list {
			from += ", unnest(" + e.sql + ") AS y(v)"
			e = element{sql: "y.v"}
		}
		parts = append(parts, "EXISTS (SELECT 1 FROM "+from+" WHERE ("+c.key("n")+") = ("+c.key(c.alias)+") AND "+on(e)+")")
	}
	if len(parts) == 0 {
		return "FALSE"
	}
	return "(" + strings.Join(parts, " OR ") + ")"
}

// withIntel reports whether the clause compares with an attribute of intel.
func (c *clause) withIntel() bool {
	return slices.ContainsFunc(c.values, func(o operand) bool {
		return o.kind == attribute && (o.field.from == fromMeta || o.field.from == fromCount)
	})
}

// present returns the condition that an element is there.
func present(e element) string { return e.sql + " IS NOT NULL" }

// metaClause translates a clause on an attribute of one or more kinds of intel.
func (c *compiler) metaClause(x *clause) condition {
	if !slices.ContainsFunc(x.field.metas, metaAttr.kept) {
		return x.nothing()
	}
	metas := c.kept(x.field.metas)
	if c.unknown(x.field) {
		return c.unsupported("it keeps no records of " + x.field.metas[0].kind.Name)
	}
	p := c.bind(x)
	fulfilling := present
	if x.op != opNone {
		fulfilling = p.on
	}
	switch x.quant {
	case quantLen:
		return c.distinct(x, metas, present, x, p)
	case quantOne:
		one := &clause{
			quant: quantLen, op: opEqual, field: x.field,
			values: []operand{{typ: Number, val: value{num: 1}}},
		}
		return c.distinct(x, metas, fulfilling, one, c.bind(one))
	case quantNone:
		return not3(c.some(x, metas, fulfilling))
	case quantAll:
		other := func(e element) string {
			return "(" + present(e) + " AND " + fulfilling(e) + " IS NOT TRUE)"
		}
		parts := []string{c.some(x, metas, present).sql}
		if x.op != opNone {
			parts = append(parts, not3(c.some(x, metas, other)).sql)
		}
		return join(parts, true, true)
	}
	return c.some(x, metas, fulfilling)
}

// withAttribute reports whether the clause compares with another attribute.
func (c *clause) withAttribute() bool {
	for i := range c.values {
		if c.values[i].kind == attribute {
			return true
		}
	}
	return false
}

// recordCondition is a condition on one record of a kind.
type recordCondition struct {
	kind  *kind
	where string
}

// ofRecords returns the conditions of which a node asks that some record
// fulfills one, false if it asks for something else.
func (c *compiler) ofRecords(x node) ([]recordCondition, bool) {
	switch x := x.(type) {
	case *label:
		if x.kind != nil && x.kind.stored {
			return []recordCondition{{x.kind, "TRUE"}}, true
		}
	case *block:
		if !x.kind.stored {
			return nil, false
		}
		return []recordCondition{{x.kind, c.node(pushNot(x.x, false)).sql}}, true
	case *clause:
		if x.field.from == fromKind && x.field.metas[0].kind.stored {
			return []recordCondition{{x.field.metas[0].kind, "TRUE"}}, true
		}
		if x.field.from != fromMeta || x.quant != quantPlain || x.withAttribute() {
			return nil, false
		}
		metas := c.kept(x.field.metas)
		if len(metas) == 0 {
			return nil, false
		}
		on := present
		if x.op != opNone {
			on = c.bind(x).on
		}
		list := make([]recordCondition, len(metas))
		for i, m := range metas {
			list[i] = recordCondition{m.kind, some(record(m, x.field.fold), on)}
		}
		return list, true
	}
	return nil, false
}

// some returns the condition that the value of a record's attribute, or some
// element of its list, fulfills a condition.
func some(e element, on func(element) string) string {
	if e.list {
		return "len(list_filter(" + e.sql + ", lambda x: " + on(element{sql: "x"}) + ")) > 0"
	}
	return on(e)
}

// merge translates the parts of a junction that ask whether some record
// fulfills a condition, or in an AND that none does, with one subquery for each
// kind. It returns their conditions and the other parts.
func (c *compiler) merge(j *junction) (merged []string, others []node) {
	var kinds []*kind
	var first []node
	var conditions [][]string
	for _, part := range j.list {
		asked := part
		n, negative := part.(*negation)
		if negative {
			asked = n.x
		}
		list, ok := []recordCondition(nil), false
		if negative == j.and {
			list, ok = c.ofRecords(asked)
		}
		if !ok {
			others = append(others, part)
			continue
		}
		for _, r := range list {
			i := slices.Index(kinds, r.kind)
			if i < 0 {
				i = len(kinds)
				kinds, first = append(kinds, r.kind), append(first, asked)
				conditions = append(conditions, nil)
			}
			conditions[i] = append(conditions[i], r.where)
		}
	}
	for i, k := range kinds {
		c.at = first[i]
		found := c.exists(k, join(conditions[i], false, false).sql, false)
		if j.and {
			found = not3(found)
		}
		merged = append(merged, found.sql)
	}
	return merged, others
}

// some returns the condition that some value of the attributes fulfills a
// condition.
func (c *compiler) some(x *clause, metas []metaAttr, on func(element) string) condition {
	parts := make([]string, len(metas))
	for i, m := range metas {
		e := record(m, x.field.fold)
		switch {
		case !e.list && x.withAttribute():
			parts[i] = c.exists(m.kind, on(e), true).sql
		case x.withAttribute():
			// The body of a lambda in a subquery cannot refer to the outer query.
			parts[i] = "EXISTS (SELECT 1 FROM " + c.values(m, e) + " WHERE " + c.linked() +
				" AND " + on(element{sql: "u.v"}) + ")"
		default:
			parts[i] = c.exists(m.kind, some(e, on), false).sql
		}
	}
	return join(parts, false, true)
}

// values returns the relation of the records of a kind, one row for each
// element u.v of a list.
func (c *compiler) values(m metaAttr, e element) string {
	return c.from(m.kind) + " AS m, unnest(" + e.sql + ") AS u(v)"
}

// acceptsNone reports whether a LEN clause is right where there is no value.
func (c *clause) acceptsNone() bool {
	return slices.ContainsFunc(c.values, func(o operand) bool {
		switch n := o.val.num; c.op {
		case opEqual, opIn, opAtLeast:
			return n == 0
		case opDiffers, opLess:
			return n != 0
		default:
			return c.op == opAtMost
		}
	})
}

// distinct returns the condition that the number of distinct values that fulfill
// a condition compares as the LEN clause number says, which p has bound.
func (c *compiler) distinct(
	x *clause, metas []metaAttr, on func(element) string, number *clause, p *predicate,
) condition {
	correlated := x.withAttribute()
	columns := c.key("m") + ", "
	if correlated {
		columns = ""
	}
	parts := make([]string, len(metas))
	for i, m := range metas {
		e := record(m, x.field.fold)
		from := ""
		if !e.list {
			from = c.from(m.kind) + " AS m"
		} else {
			from = c.values(m, e)
			e = element{sql: "u.v"}
		}
		parts[i] = "SELECT " + columns + e.sql + " AS v FROM " + from + " WHERE " + on(e)
		if correlated {
			parts[i] += " AND " + c.linked()
		}
	}
	all := "(" + strings.Join(parts, " UNION ALL ") + ") AS w"
	if correlated {
		return p.number("SELECT count(DISTINCT w.v) FROM " + all)
	}
	// Flows without any value are in no group: where 0 is right, those that are
	// not right are looked for.
	having := p.on(element{sql: "count(DISTINCT w.v)"})
	ofNone := number.acceptsNone()
	if ofNone {
		having = "NOT " + having
	}
	among := c.amongKeys("* EXCLUDE v FROM " + all + " GROUP BY ALL HAVING " + having)
	if ofNone {
		return not3(among)
	}
	return among
}
