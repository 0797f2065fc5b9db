// SPDX-License-Identifier: Apache-2.0

package lake

import (
	"github.com/parquet-go/parquet-go"

	"weir/internal/flow"
)

// Positions of the columns that tables of intel begin with, in the order of
// IntelColumns; the stored attributes follow.
const (
	intelUID = iota
	intelSensor
	intelTS
	intelSrc
	intelDst
	intelSrcBin
	intelDstBin
	intelSport
	intelDport
	intelProto
	intelAttrs
)

// storedAttr is an attribute that has a column.
type storedAttr struct {
	attr   int
	column int
	typ    flow.AttrType
}

// storedAttrs returns the attributes of a kind that are stored.
func storedAttrs(kind *flow.KindInfo) []storedAttr {
	var out []storedAttr
	for i := range kind.Attrs {
		if !kind.Attrs[i].LogOnly {
			out = append(out, storedAttr{
				attr: i, column: intelAttrs + len(out), typ: kind.Attrs[i].Type,
			})
		}
	}
	return out
}

// writeIntel adds records of one kind and day to a part; recs are their
// numbers in the batch.
func (s *partSet) writeIntel(
	p *partWriter, b *flow.IntelBatch, recs []int32, attrs []storedAttr, l *labels,
) error {
	for len(recs) > 0 {
		n := min(len(recs), chunkRows)
		for _, r := range recs[:n] {
			ts := b.Recs[r].TS.Micro()
			p.span.add(ts, ts)
		}
		if err := s.intelChunk(p, b, recs[:n], attrs, l); err != nil {
			return err
		}
		if err := p.endChunk(n, groupBytes/len(s.open)); err != nil {
			return err
		}
		recs = recs[n:]
	}
	return nil
}

// intelChunk writes every column of some records.
func (s *partSet) intelChunk(
	p *partWriter, b *flow.IntelBatch, recs []int32, attrs []storedAttr, l *labels,
) error {
	w := chunkWriter{p: p, v: s.chunk(), text: s.text[:0]}
	defer func() { s.values, s.text = w.v, w.text }()

	for _, r := range recs {
		w.v = append(w.v, parquet.Int64Value(int64(b.Recs[r].UID)))
	}
	w.put(intelUID)
	for range recs {
		w.v = append(w.v, parquet.ByteArrayValue(l.sensor))
	}
	w.put(intelSensor)
	for _, r := range recs {
		w.v = append(w.v, parquet.Int64Value(b.Recs[r].TS.Micro()))
	}
	w.put(intelTS)
	for _, r := range recs {
		w.addAddr(l, &b.Recs[r].Src)
	}
	w.put(intelSrc)
	for _, r := range recs {
		w.addAddr(l, &b.Recs[r].Dst)
	}
	w.put(intelDst)
	for _, r := range recs {
		w.v = append(w.v, parquet.FixedLenByteArrayValue(b.Recs[r].Src[:]))
	}
	w.put(intelSrcBin)
	for _, r := range recs {
		w.v = append(w.v, parquet.FixedLenByteArrayValue(b.Recs[r].Dst[:]))
	}
	w.put(intelDstBin)
	port := func(column int, value func(t *flow.Tuple) uint16) {
		for _, r := range recs {
			t := &b.Recs[r].Tuple
			if hasPorts(t) {
				w.add(parquet.Int32Value(int32(value(t))), 0, 1)
			} else {
				w.addMissing()
			}
		}
		w.put(column)
	}
	port(intelSport, func(t *flow.Tuple) uint16 { return t.Sport })
	port(intelDport, func(t *flow.Tuple) uint16 { return t.Dport })
	for _, r := range recs {
		w.v = append(w.v, parquet.ByteArrayValue(l.protos[b.Recs[r].Proto]))
	}
	w.put(intelProto)
	for i := range attrs {
		w.attribute(b, recs, &attrs[i])
	}
	return w.err
}

// attribute writes the column of one attribute.
func (w *chunkWriter) attribute(b *flow.IntelBatch, recs []int32, a *storedAttr) {
	numbers := func(value func(n int64) parquet.Value) {
		for _, r := range recs {
			if b.Has(int(r), a.attr) {
				w.add(value(b.Int(int(r), a.attr)), 0, 1)
			} else {
				w.addMissing()
			}
		}
	}
	switch a.typ {
	case flow.Text:
		for _, r := range recs {
			if b.Has(int(r), a.attr) {
				w.addText(b.Bytes(int(r), a.attr), 0, 1)
			} else {
				w.addMissing()
			}
		}
	case flow.Count:
		numbers(parquet.Int64Value)
	case flow.Bool:
		numbers(func(n int64) parquet.Value { return parquet.BooleanValue(n != 0) })
	case flow.Interval:
		numbers(seconds)
	case flow.TextList, flow.IntervalList:
		for _, r := range recs {
			if b.Has(int(r), a.attr) {
				w.list(b, int(r), a)
			} else {
				w.addMissing()
			}
		}
	}
	w.put(a.column)
}

// list adds the elements of a list that is there, though it may be empty.
func (w *chunkWriter) list(b *flow.IntelBatch, rec int, a *storedAttr) {
	repetition := uint8(0)
	if a.typ == flow.TextList {
		for text := range b.Texts(rec, a.attr) {
			w.addText(text, repetition, listElement)
			repetition = 1
		}
	} else {
		for n := range b.Ints(rec, a.attr) {
			w.add(seconds(n), repetition, listElement)
			repetition = 1
		}
	}
	if repetition == 0 {
		w.add(parquet.Value{}, 0, listEmpty)
	}
}

// seconds converts an interval in microseconds.
func seconds(micros int64) parquet.Value { return parquet.DoubleValue(float64(micros) / 1e6) }
