// SPDX-License-Identifier: Apache-2.0

package lake

import (
	"context"
	"fmt"
	"slices"

	"github.com/parquet-go/parquet-go"

	"weir/internal/flow"
)

// IntelRow is a record of intel: which flow it belongs to, and its values.
type IntelRow struct {
	Src, Dst flow.Addr
	Proto    string
	// Dport is -1 where the flow has none.
	Dport int32
	// TS is in microseconds.
	TS int64
	// Values are by the numbers of the attributes in flow.KindInfo.Attrs.
	Values []IntelValue
}

// IntelValue is a value of an attribute, in the field for the attribute's type.
type IntelValue struct {
	// Set says that the attribute was seen: an empty text or list may be.
	Set bool
	// Int is that of a Count; a Bool is 0 or 1.
	Int int64
	// Seconds is that of an Interval.
	Seconds float64
	// Text and Texts are as they are stored: bytes that are no text stand in them
	// as \xNN.
	Text  string
	Texts []string
	// SecondsList is that of an IntervalList.
	SecondsList []float64
}

// ReadIntel reads a part of intel of the store at root as ReadFlows reads one of
// connections: batches of rows, in their order, without the first skip ones. A
// batch ends earlier where its texts take 8 MiB. The records are valid until
// yield returns, texts for good.
func ReadIntel(
	ctx context.Context, root string, p *Part, rows, skip int, yield func(n int, recs []IntelRow) error,
) error {
	kinds := flow.Kinds()
	kind := slices.IndexFunc(kinds, func(k flow.KindInfo) bool { return k.Name == p.Kind })
	switch {
	case kind < 0:
		return fmt.Errorf("read %s: it has no intel", p.Path)
	case rows < 1 || skip < 0:
		return fmt.Errorf("read %s: batches of %d rows after %d", p.Path, rows, skip)
	}
	r := newIntelReader(flow.Kind(kind))
	r.rows, r.skip, r.yield = rows, skip, yield
	defer r.close()
	if err := r.open(ctx, root, p); err != nil {
		return err
	}
	return r.run(ctx)
}

// intelReader cuts a part of intel into batches.
type intelReader struct {
	partReader
	kind  *flow.KindInfo
	attrs []storedAttr
	rows  int
	skip  int // batches
	yield func(n int, recs []IntelRow) error

	n      int // number of the batch
	recs   []IntelRow
	sizes  []int // bytes of text of each
	seen   int   // records of the batch that were counted
	size   int   // and bytes
	values []IntelValue
	texts  map[string]string
	held   int // bytes of texts
	list   []string
	floats []float64
}

// intelColumns are the columns that are read before those of the attributes.
func intelColumns() []int {
	return []int{intelTS, intelSrcBin, intelDstBin, intelDport, intelProto}
}

func newIntelReader(kind flow.Kind) *intelReader {
	info := &flow.Kinds()[kind]
	r := &intelReader{kind: info, attrs: storedAttrs(info), texts: make(map[string]string)}
	r.table = &Table{Name: info.Name, Columns: IntelColumns(kind)}
	r.keep = heldFile
	r.columns = intelColumns()
	for i := range r.attrs {
		r.columns = append(r.columns, r.attrs[i].column)
	}
	return r
}

func (r *intelReader) run(ctx context.Context) error {
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, err := r.next(chunkRows)
		if err != nil {
			return err
		}
		if n == 0 {
			break
		}
		if err := r.chunk(n); err != nil {
			return err
		}
		for k := r.complete(); k > 0; k = r.complete() {
			if err := r.flush(k); err != nil {
				return err
			}
		}
	}
	if len(r.recs) == 0 {
		return nil
	}
	return r.flush(len(r.recs))
}

// chunk adds the n rows of the chunk to the records.
func (r *intelReader) chunk(n int) error {
	first := len(r.recs)
	r.recs = slices.Grow(r.recs, n)[:first+n]
	r.sizes = slices.Grow(r.sizes, n)[:first+n]
	recs := r.recs[first:]
	clear(r.sizes[first:])
	r.values = slices.Grow(r.values, n*len(r.kind.Attrs))[:(first+n)*len(r.kind.Attrs)]
	clear(r.values[first*len(r.kind.Attrs):])
	for i, column := range intelColumns() {
		values, err := r.read(i, n)
		if err != nil {
			return err
		}
		for row := range recs {
			rec, v := &recs[row], &values[row]
			switch column {
			case intelTS:
				rec.TS = v.Int64()
			case intelSrcBin:
				copy(rec.Src[:], v.ByteArray())
			case intelDstBin:
				copy(rec.Dst[:], v.ByteArray())
			case intelDport:
				rec.Dport = -1
				if !v.IsNull() {
					rec.Dport = v.Int32()
				}
			case intelProto:
				rec.Proto = r.text(v.ByteArray())
			}
		}
	}
	for i := range r.attrs {
		values, err := r.read(len(intelColumns())+i, n)
		if err != nil {
			return err
		}
		r.attribute(&r.attrs[i], first, values)
	}
	return nil
}

// attribute fills in the values of an attribute from a record on.
func (r *intelReader) attribute(a *storedAttr, first int, values []parquet.Value) {
	rec := first - 1
	for i := 0; i < len(values); {
		rec++
		next := i + 1
		for next < len(values) && values[next].RepetitionLevel() > 0 {
			next++
		}
		in, v := values[i:next], &values[i]
		i = next
		// What is not there has level 0, an empty list too where it is seen.
		if v.DefinitionLevel() == 0 {
			continue
		}
		out := &r.values[rec*len(r.kind.Attrs)+a.attr]
		out.Set = true
		if a.typ.List() && v.DefinitionLevel() < listElement {
			continue
		}
		switch a.typ {
		case flow.Text:
			out.Text = r.text(v.ByteArray())
			r.sizes[rec] += len(out.Text)
		case flow.Count:
			out.Int = v.Int64()
		case flow.Bool:
			if v.Boolean() {
				out.Int = 1
			}
		case flow.Interval:
			out.Seconds = v.Double()
		case flow.TextList:
			n := len(r.list)
			for j := range in {
				text := r.text(in[j].ByteArray())
				r.list = append(r.list, text)
				r.sizes[rec] += len(text) + listCost
			}
			out.Texts = r.list[n:len(r.list):len(r.list)]
		case flow.IntervalList:
			n := len(r.floats)
			for j := range in {
				r.floats = append(r.floats, in[j].Double())
			}
			r.sizes[rec] += len(in) * listCost
			out.SecondsList = r.floats[n:len(r.floats):len(r.floats)]
		}
	}
}

// listCost is what an element of a list counts for beside its text.
const listCost = 16

// text returns a text, the same one for the same bytes where that is easy.
func (r *intelReader) text(b []byte) string {
	if text, ok := r.texts[string(b)]; ok {
		return text
	}
	text := string(b)
	r.texts[text] = text
	r.held += len(b) + listCost
	return text
}

// complete returns of how many of the records a batch is complete, 0 if it is
// not.
func (r *intelReader) complete() int {
	for r.seen < len(r.recs) && r.seen < r.rows && r.size < batchText {
		r.size += r.sizes[r.seen]
		r.seen++
	}
	if r.seen == r.rows || r.size >= batchText {
		return r.seen
	}
	return 0
}

// flush yields the first k records as a batch.
func (r *intelReader) flush(k int) error {
	width := len(r.kind.Attrs)
	if r.n >= r.skip {
		for i := range r.recs[:k] {
			r.recs[i].Values = r.values[i*width : (i+1)*width : (i+1)*width]
		}
		if err := r.yield(r.n, r.recs[:k:k]); err != nil {
			return err
		}
	}
	r.n++
	r.seen, r.size = 0, 0
	r.recs = slices.Delete(r.recs, 0, k)
	r.sizes = slices.Delete(r.sizes, 0, k)
	r.values = slices.Delete(r.values, 0, k*width)
	// Records that are left have lists in the old ones.
	r.list, r.floats = r.list[len(r.list):], r.floats[len(r.floats):]
	if r.held >= batchText {
		clear(r.texts)
		r.held = 0
	}
	return nil
}
