// SPDX-License-Identifier: Apache-2.0

package lake

import (
	"bufio"
	"container/heap"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// runs are files of sorted flows, in the compactor's directory: what does not
// fit into memory at once.
type runs struct {
	dir   string
	texts *texts
	most  int          // that are read at the same time
	stop  func() error // says why to give up
	names []string
	made  int
}

const runBuffer = 64 << 10

// tidyValues is how many values a flow that is merged has before duplicates are
// looked for.
const tidyValues = 128 << 10

// add writes the flows that source yields to a new run. Where there are many,
// they become one.
func (r *runs) add(source func(yield func(*flowRow) error) error) error {
	if len(r.names) >= r.most {
		names := r.names
		r.names = nil
		err := r.write(func(yield func(*flowRow) error) error { return r.merge(names, yield) })
		if err != nil {
			return err
		}
	}
	return r.write(source)
}

func (r *runs) write(source func(yield func(*flowRow) error) error) (err error) {
	r.made++
	name := filepath.Join(r.dir, fmt.Sprintf("run-%05d", r.made))
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	w := bufio.NewWriterSize(f, runBuffer)
	var record, length []byte
	err = source(func(row *flowRow) error {
		record = row.append(record[:0])
		length = binary.AppendUvarint(length[:0], uint64(len(record)))
		// The writer keeps the first error.
		_, _ = w.Write(length)
		_, err := w.Write(record)
		return err
	})
	if err != nil {
		return err
	}
	r.names = append(r.names, name)
	return w.Flush()
}

// each calls yield with every flow of all runs, in order and merged, and
// removes the runs. The row is valid during the call.
func (r *runs) each(yield func(*flowRow) error) error {
	names := r.names
	r.names = nil
	return r.merge(names, yield)
}

func (r *runs) merge(names []string, yield func(*flowRow) error) (err error) {
	var files []*os.File
	defer func() {
		for _, f := range files {
			err = errors.Join(err, f.Close(), os.Remove(f.Name()))
		}
	}()
	var sources []rowSource
	for _, name := range names {
		f, err := os.Open(name)
		if err != nil {
			return err
		}
		files = append(files, f)
		sources = append(sources, &runFile{file: f, in: bufio.NewReaderSize(f, runBuffer)})
	}
	return mergeRows(r.texts, r.stop, sources, yield)
}

// rowSource yields flows in order.
type rowSource interface {
	// next fills in the next flow; io.EOF is the end.
	next(row *flowRow) error
}

// mergeRows calls yield with every flow of all sources, in order, those of several
// merged. stop says why to give up. The row is valid during the call.
func mergeRows(t *texts, stop func() error, sources []rowSource, yield func(*flowRow) error) error {
	h := &runHeap{texts: t}
	for _, source := range sources {
		run := &openRun{source: source}
		switch err := run.next(); err {
		case nil:
			h.runs = append(h.runs, run)
		case io.EOF:
		default:
			return err
		}
	}
	heap.Init(h)
	var row flowRow
	for n := 0; len(h.runs) > 0; n++ {
		if n%stopEvery == 0 {
			if err := stop(); err != nil {
				return err
			}
		}
		row.set(&h.runs[0].row)
		merged, tidyAt := false, tidyValues
		for {
			switch err := h.runs[0].next(); err {
			case nil:
				heap.Fix(h, 0)
			case io.EOF:
				heap.Pop(h)
			default:
				return err
			}
			if len(h.runs) == 0 || h.runs[0].row.dayFlow != row.dayFlow {
				break
			}
			row.merge(&h.runs[0].row)
			merged = true
			if row.values() >= tidyAt {
				row.tidy()
				tidyAt = max(tidyValues, 2*row.values())
			}
		}
		if merged {
			row.tidy()
		}
		if err := yield(&row); err != nil {
			return err
		}
	}
	return nil
}

// runFile reads a run.
type runFile struct {
	file   *os.File
	in     *bufio.Reader
	record []byte
}

func (o *runFile) next(row *flowRow) error {
	n, err := binary.ReadUvarint(o.in)
	if err != nil {
		return err
	}
	if uint64(cap(o.record)) < n {
		o.record = make([]byte, n+n/4)
	}
	o.record = o.record[:n]
	if _, err := io.ReadFull(o.in, o.record); err != nil {
		return fmt.Errorf("read %s: %w", o.file.Name(), io.ErrUnexpectedEOF)
	}
	row.decode(o.record)
	return nil
}

// openRun is a source that is read, at one of its flows.
type openRun struct {
	source rowSource
	row    flowRow
}

func (o *openRun) next() error { return o.source.next(&o.row) }

// runHeap is the runs with the least flow first; it implements heap.Interface.
type runHeap struct {
	texts *texts
	runs  []*openRun
}

func (h *runHeap) Len() int { return len(h.runs) }
func (h *runHeap) Less(i, j int) bool {
	return h.texts.compare(&h.runs[i].row.dayFlow, &h.runs[j].row.dayFlow) < 0
}
func (h *runHeap) Swap(i, j int) { h.runs[i], h.runs[j] = h.runs[j], h.runs[i] }
func (h *runHeap) Push(x any)    { h.runs = append(h.runs, x.(*openRun)) }
func (h *runHeap) Pop() any {
	last := h.runs[len(h.runs)-1]
	h.runs = h.runs[:len(h.runs)-1]
	return last
}

// append encodes the row. Only this process reads it.
func (r *flowRow) append(b []byte) []byte {
	b = append(append(b, r.src[:]...), r.dst[:]...)
	for _, n := range []int32{r.proto, r.dport, r.typ} {
		b = binary.AppendVarint(b, int64(n))
	}
	for _, n := range r.sums {
		b = binary.AppendVarint(b, n)
	}
	b = binary.AppendVarint(b, r.first)
	b = binary.AppendVarint(b, r.last-r.first)
	for _, set := range r.sets {
		b = binary.AppendUvarint(b, uint64(len(set)))
		last := int32(0)
		for _, n := range set {
			b = binary.AppendVarint(b, int64(n)-int64(last))
			last = n
		}
	}
	b = binary.AppendUvarint(b, uint64(len(r.slots)))
	last := int64(0)
	for _, s := range r.slots {
		b = binary.AppendVarint(b, s.slot-last)
		b = binary.AppendVarint(b, s.count)
		last = s.slot
	}
	return b
}

// decode is the reverse of append.
func (r *flowRow) decode(b []byte) {
	b = b[copy(r.src[:], b):]
	b = b[copy(r.dst[:], b):]
	next := func() int64 {
		n, size := binary.Varint(b)
		b = b[size:]
		return n
	}
	length := func() int {
		n, size := binary.Uvarint(b)
		b = b[size:]
		return int(n)
	}
	r.proto, r.dport, r.typ = int32(next()), int32(next()), int32(next())
	for i := range r.sums {
		r.sums[i] = next()
	}
	r.first = next()
	r.last = r.first + next()
	for i := range r.sets {
		r.sets[i] = r.sets[i][:0]
		last := int32(0)
		for range length() {
			last += int32(next())
			r.sets[i] = append(r.sets[i], last)
		}
	}
	r.slots = r.slots[:0]
	last := int64(0)
	for range length() {
		last += next()
		r.slots = append(r.slots, slotCount{last, next()})
	}
}
