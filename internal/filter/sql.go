// SPDX-License-Identifier: Apache-2.0

package filter

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// SQLOptions name what SQL conditions are about.
type SQLOptions struct {
	// Conn and Flow are the aliases (or names) of the relations of connections
	// and of flows (default "conn" and "flow"). They must be other words than
	// m, u, w, x, y and z, which the conditions use.
	Conn, Flow string
	// ByUID selects single connections: Flow has one row for each, and intel is
	// that of the same uid, a column of both.
	ByUID bool
	// Table returns the relation of a kind of intel, as it stands in a FROM
	// clause, or "" if there is none (default: the kind's name in quotes).
	Table func(kind string) string
	// FirstArg is the number of the first placeholder (default 1).
	FirstArg int
	// Slot is the width of the slots of time (default an hour).
	Slot time.Duration
}

// Condition is a condition in SQL with its arguments. It may be NULL instead of
// false, which is the same in WHERE and HAVING.
type Condition struct {
	// Text is "TRUE" for no condition. No value of the filter is in it: they are
	// the placeholders $n.
	Text string
	Args []any
}

// SQL is a filter for DuckDB, in two steps. A flow is selected if Groups holds
// for it when it is made of the connections for which Rows holds; then it has
// all of its connections, since Rows depends on the flow's key only.
//
// Relations have the lake's columns. Of connections Rows needs src, dst, their
// 16-byte forms src_bin and dst_bin, proto, dport and type. Groups needs those
// of flows: the same, sports, codes, conn_state, service, vlan and sensor as
// lists of distinct values without NULL (or NULL for none), the counters, and
// firstseen and lastseen as timestamps; where Times says so, also times: a list of
// the starts of the slots in which the flow was active. Tables of intel need src_bin, dst_bin,
// proto and dport, and a column for each attribute.
type SQL struct {
	// Rows may be used before connections are grouped, and prunes what is read.
	Rows Condition
	// Groups is what then remains. Its placeholders go on after those of Rows.
	Groups Condition
	// Times says that Groups needs the column times.
	Times bool
}

// Args returns the arguments of both conditions, in the order of placeholders.
func (s *SQL) Args() []any {
	return append(slices.Clip(s.Rows.Args), s.Groups.Args...)
}

// SQL translates the filter. The error is an *UnsupportedError.
func (e *Expr) SQL(opts SQLOptions) (*SQL, error) {
	none := Condition{Text: "TRUE"}
	out := &SQL{Rows: none, Groups: none}
	if e == nil {
		return out, nil
	}
	if opts.Conn == "" {
		opts.Conn = "conn"
	}
	if opts.Flow == "" {
		opts.Flow = "flow"
	}
	if opts.Table == nil {
		opts.Table = quoteName
	}
	if opts.FirstArg == 0 {
		opts.FirstArg = 1
	}
	if opts.Slot == 0 {
		opts.Slot = time.Hour
	}
	root := pushNot(e.root, false)
	c := compiler{opts: &opts, alias: opts.Conn, next: opts.FirstArg}
	if rows := impliedByKey(root); rows != nil {
		out.Rows.Text = c.node(rows).sql
		out.Rows.Args = c.args
	}
	c.alias, c.args = opts.Flow, nil
	if groups := beyondKey(root); groups != nil {
		out.Groups.Text = c.node(groups).sql
		out.Groups.Args = c.args
	}
	if c.err != nil {
		return nil, c.err
	}
	out.Times = c.times
	return out, nil
}

// quoteName returns a name as an identifier.
func quoteName(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }

// pushNot moves negations down to the clauses, blocks and labels.
func pushNot(x node, negate bool) node {
	switch x := x.(type) {
	case *negation:
		return pushNot(x.x, !negate)
	case *junction:
		j := &junction{and: x.and != negate}
		for _, part := range x.list {
			j.list = appendFlat(j.list, pushNot(part, negate), j.and)
		}
		return j
	}
	if negate {
		return &negation{x}
	}
	return x
}

// ofKey reports whether a node depends on nothing but a flow's key.
func ofKey(x node) bool {
	switch x := x.(type) {
	case *junction:
		for _, part := range x.list {
			if !ofKey(part) {
				return false
			}
		}
	case *slotBlock:
		return false
	case *negation:
		return ofKey(x.x)
	case *clause:
		if x.field.from == fromFlow && !x.field.flow.key {
			return false
		}
		for i := range x.values {
			if o := &x.values[i]; o.kind == attribute && o.field.from == fromFlow && !o.field.flow.key {
				return false
			}
		}
	}
	return true
}

// impliedByKey returns the strongest condition on the key that x implies as it
// is written, nil for none.
func impliedByKey(x node) node {
	if ofKey(x) {
		return x
	}
	j, ok := x.(*junction)
	if !ok {
		return nil
	}
	var list []node
	for _, part := range j.list {
		switch y := impliedByKey(part); {
		case y != nil:
			list = appendFlat(list, y, j.and)
		case !j.and:
			return nil
		}
	}
	switch len(list) {
	case 0:
		return nil
	case 1:
		return list[0]
	}
	return &junction{and: j.and, list: list}
}

// beyondKey returns what remains of x where impliedByKey holds, nil for nothing.
func beyondKey(x node) node {
	if ofKey(x) {
		return nil
	}
	j, ok := x.(*junction)
	if !ok || !j.and {
		return x
	}
	var list []node
	for _, part := range j.list {
		if !ofKey(part) {
			list = append(list, part)
		}
	}
	if len(list) == 1 {
		return list[0]
	}
	return &junction{and: true, list: list}
}

// compiler writes a condition.
type compiler struct {
	opts *SQLOptions
	// alias is the relation that the condition is about.
	alias string
	args  []any
	next  int
	// at is the clause, block or label in question, for errors.
	at node
	// subqueries counts those on intel.
	subqueries int
	// times says that the column times was used.
	times bool
	err   error
}

// condition is a condition in SQL, in parentheses where it needs them.
type condition struct {
	sql string
	// total conditions are never NULL.
	total bool
}

func not3(c condition) condition {
	if c.total {
		return condition{"NOT " + c.sql, true}
	}
	return condition{"(" + c.sql + " IS NOT TRUE)", true}
}

// unsupported records that the store cannot answer the node in question.
func (c *compiler) unsupported(reason string) condition {
	if c.err == nil {
		p := printer{names: newNames()}
		p.node(c.at, false)
		c.err = &UnsupportedError{Clause: string(p.out), Reason: reason}
	}
	return condition{"FALSE", true}
}

// arg adds an argument and returns its placeholder.
func (c *compiler) arg(v any) string {
	c.args = append(c.args, v)
	c.next++
	return fmt.Sprintf("$%d", c.next-1)
}

// node translates a node whose negations are pushed down.
func (c *compiler) node(x node) condition {
	switch x.(type) {
	case *clause, *block, *slotBlock, *label:
		c.at = x
	}
	switch x := x.(type) {
	case *junction:
		total := true
		var parts []string
		merged, others := c.merge(x)
		for _, part := range others {
			sub := c.node(part)
			parts = append(parts, sub.sql)
			total = total && sub.total
		}
		return join(append(parts, merged...), x.and, total)
	case *negation:
		return not3(c.node(x.x))
	case *label:
		if x.kind == nil {
			return condition{"TRUE", true}
		}
		return c.exists(x.kind, "", false)
	case *block:
		if !x.kind.stored {
			return condition{"FALSE", true}
		}
		where := c.node(pushNot(x.x, false)).sql
		c.at = x
		return c.exists(x.kind, where, false)
	case *slotBlock:
		return c.slots(x)
	case *clause:
		return c.clause(x)
	}
	return condition{"FALSE", true}
}

// join joins conditions by AND or OR.
func join(parts []string, and, total bool) condition {
	if len(parts) == 1 {
		return condition{parts[0], total}
	}
	separator := " OR "
	if and {
		separator = " AND "
	}
	return condition{"(" + strings.Join(parts, separator) + ")", total}
}
