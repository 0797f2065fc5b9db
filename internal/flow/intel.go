// SPDX-License-Identifier: Apache-2.0

package flow

import (
	"cmp"
	"encoding/binary"
	"iter"
)

// AttrType is the type of an intel attribute's values.
type AttrType uint8

// Attribute types. Lists keep their order and may hold duplicates.
const (
	Text         AttrType = iota // UTF-8 or raw bytes from the wire
	Count                        // non-negative integer
	Bool                         // true or false
	Interval                     // microseconds
	TextList                     // list of Text
	IntervalList                 // list of Interval
)

// List reports whether values of the type are lists.
func (t AttrType) List() bool { return t == TextList || t == IntervalList }

// Role says what an attribute is for in the graph.
type Role uint8

// Roles of attributes.
const (
	// Key attributes identify what was learned (names, codes, texts, answers).
	Key Role = iota
	// Measure attributes belong to one observation (lengths, times, TTLs).
	Measure
)

// Attr is one attribute of a kind of intel.
type Attr struct {
	// Column is Zeek's field name: column of the kind's table and field of
	// Zeek's log.
	Column string
	// Name is the filter language's name (IVRE's) where it differs from Column;
	// filters accept both.
	Name string
	Type AttrType
	Role Role
	// LogOnly attributes are fields of Zeek's log that weir never sets. They
	// keep the log's columns in place and are not stored.
	LogOnly bool
	// ZeekType is the type in the #types line of Zeek's log.
	ZeekType string
	// Fold attributes compare without case (DNS names).
	Fold bool
	Help string
}

// FilterName returns the filter language's name of the attribute, which is that
// of its property in a graph, too.
func (a *Attr) FilterName() string { return cmp.Or(a.Name, a.Column) }

// Kind numbers a kind of intel: the index in Kinds.
type Kind uint8

// The kinds of intel that the sensor extracts.
const (
	DNS Kind = iota
	HTTP
	SSL
)

// KindInfo describes one kind of intel.
type KindInfo struct {
	// Name is the name of the table and of Zeek's log ("dns"); Label the
	// node's label and the filter's #label ("DNS").
	Name, Label string
	// Proto is set where the log has a column proto.
	Proto bool
	Attrs []Attr
}

// Value is one attribute's value inside an IntelBatch.
type Value struct {
	num    int64
	off, n uint32
	set    bool
}

// Intel is one thing learned from the payload of a connection.
type Intel struct {
	Tuple
	TS   Time
	Kind Kind
	// first is the index of the record's first value; it has one value for
	// each attribute of its kind.
	first uint32
}

// IntelBatch holds intel records, their values in memory shared by the whole
// batch, so that adding a record allocates nothing once the batch has grown.
// Writing is Begin, then Set… and Append… for attributes in any order (one list
// at a time), then Begin of the next or Drop. Not safe for concurrent use.
type IntelBatch struct {
	Recs   []Intel
	values []Value
	data   []byte
	widths []int // attributes of each kind
}

// NewIntelBatch returns an empty batch.
func NewIntelBatch() *IntelBatch {
	kinds := Kinds()
	b := &IntelBatch{widths: make([]int, len(kinds))}
	for i := range kinds {
		b.widths[i] = len(kinds[i].Attrs)
	}
	return b
}

// Begin starts a record; the following Set and Append calls fill it.
func (b *IntelBatch) Begin(kind Kind, t *Tuple, ts Time) {
	first := len(b.values)
	for range b.widths[kind] {
		b.values = append(b.values, Value{})
	}
	b.Recs = append(b.Recs, Intel{Tuple: *t, TS: ts, Kind: kind, first: uint32(first)})
}

// Drop removes the record begun last.
func (b *IntelBatch) Drop() {
	last := len(b.Recs) - 1
	b.values = b.values[:b.Recs[last].first]
	b.Recs = b.Recs[:last]
}

func (b *IntelBatch) slot(attr int) *Value {
	return &b.values[int(b.Recs[len(b.Recs)-1].first)+attr]
}

// SetText sets a Text attribute of the current record, copying text.
func (b *IntelBatch) SetText(attr int, text []byte) {
	v := b.slot(attr)
	v.off, v.n, v.set = uint32(len(b.data)), uint32(len(text)), true
	b.data = append(b.data, text...)
}

// SetString is SetText for a string.
func (b *IntelBatch) SetString(attr int, text string) {
	v := b.slot(attr)
	v.off, v.n, v.set = uint32(len(b.data)), uint32(len(text)), true
	b.data = append(b.data, text...)
}

// SetInt sets a Count or Interval (microseconds) attribute.
func (b *IntelBatch) SetInt(attr int, n int64) {
	v := b.slot(attr)
	v.num, v.set = n, true
}

// SetBool sets a Bool attribute.
func (b *IntelBatch) SetBool(attr int, on bool) {
	n := int64(0)
	if on {
		n = 1
	}
	b.SetInt(attr, n)
}

// SetEmpty sets a list attribute to the empty list.
func (b *IntelBatch) SetEmpty(attr int) {
	v := b.slot(attr)
	v.off, v.n, v.num, v.set = uint32(len(b.data)), 0, 0, true
}

// AppendText adds an element to a TextList attribute. Elements of one list must
// be added one after the other, with no other Set or Append between them.
func (b *IntelBatch) AppendText(attr int, text []byte) {
	v := b.slot(attr)
	if !v.set {
		b.SetEmpty(attr)
	}
	start := len(b.data)
	b.data = binary.AppendUvarint(b.data, uint64(len(text)))
	b.data = append(b.data, text...)
	v.n += uint32(len(b.data) - start)
	v.num++
}

// AppendInt adds an element to an IntervalList attribute, under AppendText's
// rule.
func (b *IntelBatch) AppendInt(attr int, n int64) {
	v := b.slot(attr)
	if !v.set {
		b.SetEmpty(attr)
	}
	b.data = binary.LittleEndian.AppendUint64(b.data, uint64(n))
	v.n += 8
	v.num++
}

// Has reports whether an attribute of record rec is set.
func (b *IntelBatch) Has(rec, attr int) bool {
	return b.values[int(b.Recs[rec].first)+attr].set
}

// Int returns a Count, Bool (0 or 1) or Interval attribute, or the number of
// elements of a list. It is 0 where unset.
func (b *IntelBatch) Int(rec, attr int) int64 {
	return b.values[int(b.Recs[rec].first)+attr].num
}

// Bytes returns a Text attribute, nil where unset. The slice is valid until
// the batch is reset.
func (b *IntelBatch) Bytes(rec, attr int) []byte {
	v := b.values[int(b.Recs[rec].first)+attr]
	if !v.set {
		return nil
	}
	return b.data[v.off : v.off+v.n : v.off+v.n]
}

// Texts yields the elements of a TextList attribute.
func (b *IntelBatch) Texts(rec, attr int) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		rest := b.Bytes(rec, attr)
		for len(rest) > 0 {
			n, w := binary.Uvarint(rest)
			end := w + int(n)
			if !yield(rest[w:end:end]) {
				return
			}
			rest = rest[end:]
		}
	}
}

// Ints yields the elements of an IntervalList attribute.
func (b *IntelBatch) Ints(rec, attr int) iter.Seq[int64] {
	return func(yield func(int64) bool) {
		rest := b.Bytes(rec, attr)
		for ; len(rest) >= 8; rest = rest[8:] {
			if !yield(int64(binary.LittleEndian.Uint64(rest))) {
				return
			}
		}
	}
}

// Len returns the number of records.
func (b *IntelBatch) Len() int { return len(b.Recs) }

// Size returns the bytes of text held, a bound for cutting batches.
func (b *IntelBatch) Size() int { return len(b.data) }

// Reset empties the batch and keeps its memory.
func (b *IntelBatch) Reset() {
	b.Recs, b.values, b.data = b.Recs[:0], b.values[:0], b.data[:0]
}

// Append adds copies of all records of another batch.
func (b *IntelBatch) Append(other *IntelBatch) {
	first, start := uint32(len(b.values)), uint32(len(b.data))
	for i := range other.Recs {
		r := other.Recs[i]
		r.first += first
		b.Recs = append(b.Recs, r)
	}
	for _, v := range other.values {
		// Numbers have no place in the data; then it does not matter.
		v.off += start
		b.values = append(b.values, v)
	}
	b.data = append(b.data, other.data...)
}
