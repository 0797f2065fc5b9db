// SPDX-License-Identifier: Apache-2.0

package filter

import (
	"slices"
	"strings"

	"weir/internal/flow"
)

// metaPrefix begins the names of attributes of intel.
const metaPrefix = "meta."

// source says where a field's values come from.
type source uint8

const (
	fromFlow   source = iota // an attribute of the flow
	fromMeta                 // an attribute of the flow's intel
	fromCount                // how much intel of a kind the flow has
	fromKind                 // whether the flow has intel of a kind
	fromRecord               // an attribute of one intel record, in a block
	fromSlot                 // an attribute of one slot of the timeline, in a block
)

// metaAttr is an attribute of a kind of intel.
type metaAttr struct {
	kind *kind
	attr int
}

// info returns the description of the attribute.
func (m metaAttr) info() *flow.Attr { return &m.kind.Attrs[m.attr] }

// field is a resolved attribute: what a clause compares.
type field struct {
	name string // canonical
	typ  Type
	set  bool
	fold bool
	// max is the greatest value of a Number, 0 for none.
	max  int64
	from source
	// flow is set for fromFlow, metas for the others; of a fromKind and a
	// fromCount only the kinds matter.
	flow  *flowAttribute
	metas []metaAttr
	// slot is set for fromSlot.
	slot slotAttr
}

// bareAddr reports whether f stands for both ends of a flow.
func (f *field) bareAddr() bool { return f.from == fromFlow && f.flow.attr == attrAddr }

// names knows every name of the language.
type names struct {
	flow  []flowAttribute
	kinds []kind
}

func newNames() *names { return &names{flow: flowAttributes(), kinds: kinds()} }

// kind returns the kind of intel with a name, or nil.
func (n *names) kind(name string) *kind {
	for i := range n.kinds {
		if strings.EqualFold(n.kinds[i].Name, name) {
			return &n.kinds[i]
		}
	}
	return nil
}

// resolve returns the field with a name, or nil. In a block that is one of the
// kind's attributes.
func (n *names) resolve(name string, block *kind) *field {
	if block != nil && block.ofSlots() {
		return slotField(name)
	}
	if block != nil {
		if attr := block.find(name); attr >= 0 {
			return recordField(block, attr)
		}
		return nil
	}
	if len(name) > len(metaPrefix) && strings.EqualFold(name[:len(metaPrefix)], metaPrefix) {
		return n.meta(name[len(metaPrefix):])
	}
	for i := range n.flow {
		a := &n.flow[i]
		if strings.EqualFold(a.Name, name) || slices.ContainsFunc(a.Aliases, func(s string) bool {
			return strings.EqualFold(s, name)
		}) {
			return &field{
				name: a.Name, typ: a.Type, set: a.Set, fold: a.Fold, max: a.max, from: fromFlow, flow: a,
			}
		}
	}
	return nil
}

// meta resolves what follows "meta.".
func (n *names) meta(name string) *field {
	kindName, attrName, dotted := strings.Cut(name, ".")
	if k := n.kind(kindName); k != nil {
		metas := []metaAttr{{kind: k}}
		switch {
		case !dotted:
			return &field{name: metaPrefix + k.Name, from: fromKind, metas: metas}
		case strings.EqualFold(attrName, countName):
			return &field{
				name: metaPrefix + k.Name + "." + countName, typ: Size, from: fromCount, metas: metas,
			}
		}
		if attr := k.find(attrName); attr >= 0 {
			f := metaField([]metaAttr{{kind: k, attr: attr}})
			f.name = metaPrefix + k.Name + "." + f.name
			return f
		}
		return nil
	}
	if dotted {
		return nil
	}
	var metas []metaAttr
	if strings.EqualFold(name, countName) {
		for i := range n.kinds {
			metas = append(metas, metaAttr{kind: &n.kinds[i]})
		}
		return &field{name: metaPrefix + countName, typ: Size, set: true, from: fromCount, metas: metas}
	}
	for i := range n.kinds {
		if attr := n.kinds[i].find(name); attr >= 0 {
			metas = append(metas, metaAttr{kind: &n.kinds[i], attr: attr})
		}
	}
	if metas == nil {
		return nil
	}
	// Of kinds that know a name with another type than the first, values would
	// have to be read in two ways.
	first := metas[0]
	metas = slices.DeleteFunc(metas, func(m metaAttr) bool {
		return !metaType(m.info()).comparable(metaType(first.info()))
	})
	f := metaField(metas)
	f.name = metaPrefix + f.name
	return f
}

// metaField returns the field of attributes of the same name, named after the
// first without a prefix.
func metaField(metas []metaAttr) *field {
	f := &field{from: fromMeta, set: true, metas: metas}
	info := metas[0].info()
	f.name, _ = metas[0].kind.spelling(metas[0].attr)
	f.typ = metaType(info)
	for _, m := range metas {
		f.fold = f.fold || m.info().Fold
	}
	return f
}

// recordField returns the field of an attribute inside a block.
func recordField(k *kind, attr int) *field {
	f := metaField([]metaAttr{{kind: k, attr: attr}})
	f.from, f.set = fromRecord, k.Attrs[attr].Type.List()
	return f
}

// companion returns the field that holds names where f holds numbers, or the
// other way round, or nil. So qtype = A and type = 28 do what they say.
func (n *names) companion(f *field) *field {
	if f.from != fromMeta && f.from != fromRecord {
		return nil
	}
	metas := make([]metaAttr, len(f.metas))
	for i, m := range f.metas {
		attr := m.kind.companion(m.attr)
		if attr < 0 {
			return nil
		}
		metas[i] = metaAttr{kind: m.kind, attr: attr}
	}
	own, _ := f.metas[0].kind.spelling(f.metas[0].attr)
	c := metaField(metas)
	c.name = strings.TrimSuffix(f.name, own) + c.name
	c.from, c.set = f.from, f.set
	return c
}

// label resolves what follows a #: nil and true for those that every flow has.
func (n *names) label(name string) (canonical string, k *kind, ok bool) {
	for _, s := range []string{"Host", "Flow"} {
		if strings.EqualFold(s, name) {
			return s, nil, true
		}
	}
	for i := range n.kinds {
		if strings.EqualFold(n.kinds[i].Label, name) {
			return n.kinds[i].Label, &n.kinds[i], true
		}
	}
	return "", nil, false
}

// ofBlock returns the name inside a block of what is called by its full name, or
// "".
func (n *names) ofBlock(name string, block *kind) string {
	f := n.resolve(name, nil)
	if block.ofSlots() {
		if f != nil && strings.HasPrefix(f.name, slotsName+".") {
			return f.name[len(slotsName)+1:]
		}
		return ""
	}
	if f == nil || f.from != fromMeta || f.metas[0].kind.Name != block.Name {
		return ""
	}
	own, _ := block.spelling(f.metas[0].attr)
	return own
}

// known returns the names that could have been meant in a place.
func (n *names) known(block *kind) []string {
	var list []string
	ofKind := func(prefix string, k *kind) {
		for i := range k.Attrs {
			if k.Attrs[i].LogOnly {
				continue
			}
			name, aliases := k.spelling(i)
			for _, s := range append(aliases, name) {
				list = append(list, prefix+s)
			}
		}
	}
	if block != nil && block.ofSlots() {
		return slotNames()
	}
	if block != nil {
		ofKind("", block)
		return list
	}
	for i := range n.flow {
		list = append(list, n.flow[i].Name)
		list = append(list, n.flow[i].Aliases...)
	}
	for i := range n.kinds {
		name := metaPrefix + n.kinds[i].Name
		list = append(list, name, name+"."+countName)
		ofKind(name+".", &n.kinds[i])
		ofKind(metaPrefix, &n.kinds[i])
	}
	return list
}

// labels returns the names of all labels.
func (n *names) labels() []string {
	list := []string{"Host", "Flow"}
	for i := range n.kinds {
		list = append(list, n.kinds[i].Label)
	}
	return list
}

// ofConnections reports whether a name is an attribute of single connections,
// which filters, selecting flows, do not have.
func ofConnections(name string) bool {
	return slices.Contains([]string{
		"uid", "history", "community_id", "end_reason", "cspayload", "scpayload", "orig_bytes",
		"resp_bytes", "missed_bytes", "tunnel_parents",
	}, strings.ToLower(name))
}

// nearest returns the name of list that resembles name most, or "" if none
// does. The order of the parts of a name counts little: addr_src is src.addr.
func nearest(name string, list []string) string {
	if len(name) > 64 {
		return ""
	}
	name = strings.ToLower(name)
	best, limit := "", max(1, len(name)/3)+1
	sorted := sortedParts(name)
	for _, candidate := range list {
		c := strings.ToLower(candidate)
		d := min(distance(name, c), distance(sorted, sortedParts(c)))
		if strings.HasPrefix(name, c) || strings.HasPrefix(c, name) {
			d = min(d, 2)
		}
		if d < limit {
			best, limit = candidate, d
		}
	}
	return best
}

// sortedParts returns the words of a name in alphabetical order.
func sortedParts(name string) string {
	parts := strings.FieldsFunc(name, func(r rune) bool { return r == '.' || r == '_' || r == '-' })
	slices.Sort(parts)
	return strings.Join(parts, ".")
}

// distance is the number of bytes to insert, delete, replace or exchange with
// the next one to make b of a.
func distance(a, b string) int {
	before, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		before, last, row = last, row, before
		row[0] = i + 1
		for j := range len(b) {
			cost := last[j]
			if a[i] != b[j] {
				cost++
			}
			row[j+1] = min(cost, last[j+1]+1, row[j]+1)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				row[j+1] = min(row[j+1], before[j-1]+1)
			}
		}
	}
	return row[len(b)]
}
