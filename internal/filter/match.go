// SPDX-License-Identifier: Apache-2.0

package filter

import (
	"bytes"
	"cmp"
	"slices"
	"strings"

	"weir/internal/flow"
)

// Flow is what filters select, as the evaluator sees it: all connections of a
// client, a server, a protocol and a port, and their intel.
type Flow struct {
	Src, Dst flow.Addr
	// Proto is the protocol's label (flow.ProtoLabel).
	Proto string
	// Dport is nil where the protocol has no ports, Type where it is not ICMP.
	Dport, Type *uint16
	// Sports and Codes may hold duplicates, in any order, as may the other
	// lists.
	Sports, Codes []uint16
	// Count is the number of connections.
	Count                            int64
	CSPkts, SCPkts, CSBytes, SCBytes int64
	FirstSeen, LastSeen              flow.Time
	// Times are the slots in which the flow was active.
	Times []Slot
	// Service may hold lists of protocols, joined by commas.
	ConnState, Service []string
	VLAN               []uint16
	Sensor             []string
	Intel              []Intel
}

// Slot is an interval of the timeline.
type Slot struct {
	Start flow.Time
	// Width is in microseconds.
	Width int64
}

// Intel is one intel record of a flow.
type Intel struct {
	Kind flow.Kind
	// Values holds a value for each attribute of the kind, in their order.
	Values []Value
}

// Value is the value of an attribute of intel; its type says what is valid.
type Value struct {
	Set bool
	// Int is a Count, a Bool (0 or 1) or an Interval in microseconds.
	Int   int64
	Text  string
	Texts []string
	Ints  []int64
}

// IntelOf copies a record of a batch.
func IntelOf(b *flow.IntelBatch, rec int) Intel {
	in := Intel{Kind: b.Recs[rec].Kind}
	attrs := flow.Kinds()[in.Kind].Attrs
	in.Values = make([]Value, len(attrs))
	for i := range attrs {
		v := &in.Values[i]
		if v.Set = b.Has(rec, i); !v.Set {
			continue
		}
		switch attrs[i].Type {
		case flow.Text:
			v.Text = string(b.Bytes(rec, i))
		case flow.TextList:
			for text := range b.Texts(rec, i) {
				v.Texts = append(v.Texts, string(text))
			}
		case flow.IntervalList:
			v.Ints = slices.Collect(b.Ints(rec, i))
		case flow.Count, flow.Bool, flow.Interval:
			v.Int = b.Int(rec, i)
		}
	}
	return in
}

// subject is what a node is matched against: a flow, and inside a block one of
// its records.
type subject struct {
	flow   *Flow
	record *Intel
	slot   *Slot
}

func (j *junction) match(s *subject) bool {
	for _, x := range j.list {
		if x.match(s) != j.and {
			return !j.and
		}
	}
	return j.and
}

func (n *negation) match(s *subject) bool { return !n.x.match(s) }

func (l *label) match(s *subject) bool { return l.kind == nil || s.observations(l.kind) > 0 }

func (b *block) match(s *subject) bool {
	for i := range s.flow.Intel {
		rec := &s.flow.Intel[i]
		if b.kind.stored && rec.Kind == b.kind.number && b.x.match(&subject{flow: s.flow, record: rec}) {
			return true
		}
	}
	return false
}

// observations returns how many records of a kind the flow has.
func (s *subject) observations(k *kind) int64 {
	n := int64(0)
	for i := range s.flow.Intel {
		if k.stored && s.flow.Intel[i].Kind == k.number {
			n++
		}
	}
	return n
}

func (c *clause) match(s *subject) bool {
	if c.field.from == fromKind {
		return s.observations(c.field.metas[0].kind) > 0
	}
	values := s.values(c.field)
	if c.quant == quantLen {
		n := value{num: int64(len(values))}
		return c.compare(s, &n)
	}
	if c.quant == quantPlain && c.field.bareAddr() && c.op.negative() {
		positive := *c
		positive.op = c.op.positive()
		return positive.fulfilling(s, values) == 0
	}
	n := c.fulfilling(s, values)
	switch c.quant {
	case quantAll:
		return n > 0 && n == len(values)
	case quantOne:
		return n == 1
	case quantNone:
		return n == 0
	default:
		return n > 0
	}
}

// fulfilling returns how many of the values fulfill the comparison.
func (c *clause) fulfilling(s *subject, values []value) int {
	n := 0
	for i := range values {
		if c.op == opNone || c.compare(s, &values[i]) {
			n++
		}
	}
	return n
}

// compare reports whether v fulfills the comparison with one of the operands.
func (c *clause) compare(s *subject, v *value) bool {
	for i := range c.values {
		if c.with(s, v, &c.values[i]) {
			return true
		}
	}
	return false
}

// with compares v with one operand.
func (c *clause) with(s *subject, v *value, o *operand) bool {
	switch o.kind {
	case network:
		return o.net.Contains(v.addr.Netip()) != c.op.negative()
	case regex:
		return o.re.matches(v.print(o.typ)) != c.op.negative()
	case attribute:
		for _, other := range s.values(o.field) {
			if c.op.holds(order(o.typ, v, &other)) {
				return true
			}
		}
		return false
	case literal:
	}
	return c.op.holds(order(o.typ, v, &o.val))
}

// matches reports whether the pattern matches the whole text: whether the
// longest of the leftmost matches does.
func (p *pattern) matches(text string) bool {
	at := p.re.FindStringIndex(text)
	return at != nil && at[0] == 0 && at[1] == len(text)
}

// holds says what the operator makes of a comparison's result (-1, 0, 1).
func (op operator) holds(order int) bool {
	switch op {
	case opEqual, opIn:
		return order == 0
	case opDiffers:
		return order != 0
	case opLess:
		return order < 0
	case opAtMost:
		return order <= 0
	case opMore:
		return order > 0
	case opAtLeast:
		return order >= 0
	default:
		return false
	}
}

// order compares two values of a type.
func order(t Type, a, b *value) int {
	switch t {
	case Text:
		return cmp.Compare(a.text, b.text)
	case Address:
		return a.addr.Compare(b.addr)
	default:
		return cmp.Compare(a.num, b.num)
	}
}

// values returns the distinct values of a field.
func (s *subject) values(f *field) []value {
	var list []value
	switch f.from {
	case fromFlow:
		list = s.flow.values(f.flow.attr)
	case fromRecord:
		list = s.record.values(list, f.metas[0])
	case fromMeta:
		for i := range s.flow.Intel {
			rec := &s.flow.Intel[i]
			for _, m := range f.metas {
				if m.kind.stored && rec.Kind == m.kind.number {
					list = rec.values(list, m)
				}
			}
		}
	case fromCount:
		for _, m := range f.metas {
			if n := s.observations(m.kind); n > 0 {
				list = append(list, value{num: n})
			}
		}
	case fromSlot:
		list = []value{s.slot.value(f.slot)}
	case fromKind:
	}
	if f.fold {
		for i := range list {
			list[i].text = strings.ToLower(list[i].text)
		}
	}
	if len(list) < 2 {
		return list
	}
	slices.SortFunc(list, func(a, b value) int {
		return cmp.Or(cmp.Compare(a.num, b.num), cmp.Compare(a.text, b.text),
			bytes.Compare(a.addr[:], b.addr[:]))
	})
	return slices.Compact(list)
}

// values returns the values of an attribute of the flow.
func (f *Flow) values(attr flowAttr) []value {
	switch attr {
	case attrAddr:
		return []value{{addr: f.Src}, {addr: f.Dst}}
	case attrSrc:
		return []value{{addr: f.Src}}
	case attrDst:
		return []value{{addr: f.Dst}}
	case attrProto:
		return texts(f.Proto)
	case attrDport:
		return optional(f.Dport)
	case attrType:
		return optional(f.Type)
	case attrSports:
		return numbers(f.Sports)
	case attrCodes:
		return numbers(f.Codes)
	case attrCount:
		return []value{{num: f.Count}}
	case attrCSPkts:
		return []value{{num: f.CSPkts}}
	case attrSCPkts:
		return []value{{num: f.SCPkts}}
	case attrCSBytes:
		return []value{{num: f.CSBytes}}
	case attrSCBytes:
		return []value{{num: f.SCBytes}}
	case attrFirstSeen:
		return []value{{num: f.FirstSeen.Micro()}}
	case attrLastSeen:
		return []value{{num: f.LastSeen.Micro()}}
	case attrDuration:
		return []value{{num: f.LastSeen.Micro() - f.FirstSeen.Micro()}}
	case attrTimesStart:
		return f.slots(slotStart)
	case attrTimesEnd:
		return f.slots(slotEnd)
	case attrTimesDuration:
		return f.slots(slotDuration)
	case attrConnState:
		return texts(f.ConnState...)
	case attrService:
		return texts(strings.Split(strings.Join(f.Service, ","), ",")...)
	case attrVLAN:
		return numbers(f.VLAN)
	case attrSensor:
		return texts(f.Sensor...)
	}
	return nil
}

// slots returns the values of an attribute of the flow's slots.
func (f *Flow) slots(attr slotAttr) []value {
	list := make([]value, len(f.Times))
	for i := range f.Times {
		list[i] = f.Times[i].value(attr)
	}
	return list
}

func optional(n *uint16) []value {
	if n == nil {
		return nil
	}
	return []value{{num: int64(*n)}}
}

func numbers(list []uint16) []value {
	out := make([]value, len(list))
	for i, n := range list {
		out[i].num = int64(n)
	}
	return out
}

// texts returns the texts of a list; empty ones are none.
func texts(list ...string) []value {
	var out []value
	for _, s := range list {
		if s != "" {
			out = append(out, value{text: s})
		}
	}
	return out
}

// values appends the values of an attribute of the record.
func (in *Intel) values(list []value, m metaAttr) []value {
	if m.attr >= len(in.Values) || !in.Values[m.attr].Set {
		return list
	}
	v := &in.Values[m.attr]
	switch m.info().Type {
	case flow.TextList:
		for _, text := range v.Texts {
			list = append(list, value{text: text})
		}
	case flow.IntervalList:
		for _, n := range v.Ints {
			list = append(list, value{num: n})
		}
	case flow.Text:
		list = append(list, value{text: v.Text})
	case flow.Count, flow.Bool, flow.Interval:
		list = append(list, value{num: v.Int})
	}
	return list
}
