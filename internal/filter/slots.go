// SPDX-License-Identifier: Apache-2.0

package filter

import (
	"fmt"
	"math"
	"strings"
	"time"

	"weir/internal/flow"
)

// slotsName names the block about one slot of the timeline.
const slotsName = "times"

// slotBlock asks for one slot in which the flow was active that fulfills all of x.
type slotBlock struct{ x node }

// slotKind stands for the attributes of slots while the inside of a block is read
// or printed. It is no kind of intel.
func slotKind() *kind { return &kind{KindInfo: flow.KindInfo{Name: slotsName}} }

// ofSlots reports whether k is what slotKind returns.
func (k *kind) ofSlots() bool { return k.Name == slotsName && len(k.Attrs) == 0 }

// full returns the name of a block.
func (k *kind) full() string {
	if k.ofSlots() {
		return slotsName
	}
	return metaPrefix + k.Name
}

// slotAttr is an attribute of one slot.
type slotAttr uint8

const (
	slotStart slotAttr = iota
	slotEnd
	slotDuration
)

// slotNames returns the names of the attributes of a slot.
func slotNames() []string { return []string{"start", "end", "duration"} }

// slotField returns the field of a slot with a name, nil if there is none.
func slotField(name string) *field {
	for i, s := range slotNames() {
		if !strings.EqualFold(s, name) {
			continue
		}
		f := &field{name: s, typ: Time, from: fromSlot, slot: slotAttr(i)}
		if f.slot == slotDuration {
			f.typ = Duration
		}
		return f
	}
	return nil
}

func (b *slotBlock) match(s *subject) bool {
	for i := range s.flow.Times {
		if b.x.match(&subject{flow: s.flow, slot: &s.flow.Times[i]}) {
			return true
		}
	}
	return false
}

// value returns the value of an attribute of a slot.
func (s *Slot) value(attr slotAttr) value {
	switch attr {
	case slotEnd:
		return value{num: s.Start.Micro() + s.Width}
	case slotDuration:
		return value{num: s.Width}
	default:
		return value{num: s.Start.Micro()}
	}
}

// Active returns the filter that selects the flows that were active between two
// times: those with a slot that begins before before and ends after after. A zero
// time bounds nothing; without any the filter is nil.
func Active(after, before time.Time) *Expr {
	var list []node
	add := func(name string, op operator, t time.Time) {
		if !t.IsZero() {
			literal := operand{kind: literal, typ: Time, val: value{num: t.UnixMicro()}}
			list = append(list, &clause{field: slotField(name), op: op, values: []operand{literal}})
		}
	}
	add("start", opLess, before)
	add("end", opMore, after)
	switch len(list) {
	case 0:
		return nil
	case 1:
		return &Expr{root: &slotBlock{list[0]}}
	}
	return &Expr{root: &slotBlock{&junction{and: true, list: list}}}
}

// bounds returns what x says of the first and the last packet of a flow that has
// such a slot, in microseconds: the first was before first, the last at last or
// later. Slots are that wide.
func (b *slotBlock) bounds(width int64) (first, last int64) {
	first, last = math.MaxInt64, math.MinInt64
	parts := []node{b.x}
	if j, ok := b.x.(*junction); ok && j.and {
		parts = j.list
	}
	for _, part := range parts {
		c, ok := part.(*clause)
		if !ok || c.quant != quantPlain || len(c.values) != 1 || c.values[0].kind != literal {
			continue
		}
		n := c.values[0].val.num
		switch {
		case c.field.slot == slotStart && (c.op == opLess || c.op == opAtMost || c.op == opEqual) && n <= math.MaxInt64-width:
			first = min(first, n+width)
		case c.field.slot == slotEnd && (c.op == opMore || c.op == opAtLeast || c.op == opEqual) && n >= math.MinInt64+width:
			last = max(last, n-width)
		}
	}
	return first, last
}

// slots translates the block. What follows for the flow's first and last packet
// comes first, so that the list of slots is made where that does not decide.
func (c *compiler) slots(b *slotBlock) condition {
	var parts []string
	first, last := b.bounds(c.opts.Slot.Microseconds())
	if first != math.MaxInt64 {
		parts = append(parts, "epoch_us("+c.column("firstseen")+") < "+c.arg(first))
	}
	if last != math.MinInt64 {
		parts = append(parts, "epoch_us("+c.column("lastseen")+") >= "+c.arg(last))
	}
	c.times = true
	inside := c.node(pushNot(b.x, false)).sql
	parts = append(parts, "len(list_filter("+c.column(slotsName)+", lambda y: "+inside+")) > 0")
	return condition{"(" + strings.Join(parts, " AND ") + ")", false}
}

// slot returns the expression for an attribute of the slot y.
func (c *compiler) slot(attr slotAttr) element {
	width := c.opts.Slot.Microseconds()
	switch attr {
	case slotEnd:
		return element{sql: fmt.Sprintf("(epoch_us(y) + %d)", width)}
	case slotDuration:
		return element{sql: fmt.Sprintf("(%d::BIGINT)", width)}
	default:
		return element{sql: "epoch_us(y)"}
	}
}

// slotWidthText is the query for the width of slots, in seconds.
const slotWidthText = "COLLECT { MATCH (s:Store) RETURN s.precision }"

// slots translates the block: w0 is the width of slots, t0 a slot.
func (g *graph) slots(b *slotBlock) term {
	inside := g.node(gathered(pushNot(b.x, false)))
	text := "any(t0 IN f.times WHERE " + inside.text + ")"
	if strings.Contains(text, "w0") {
		g.subquery()
		text = "any(w0 IN " + slotWidthText + " WHERE " + text + ")"
	}
	return partial(text)
}

// slotText returns the expression for an attribute of the slot t0.
func slotText(attr slotAttr) operandText {
	switch attr {
	case slotEnd:
		return operandText{text: "(t0 + duration({seconds: w0}))"}
	case slotDuration:
		return operandText{text: "(w0 * 1000000)"}
	default:
		return operandText{text: "t0"}
	}
}
