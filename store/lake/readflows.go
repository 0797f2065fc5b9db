// SPDX-License-Identifier: Apache-2.0

package lake

import (
	"context"
	"fmt"
	"slices"
	"time"

	"weir/internal/flow"
)

// Limits of what is read of a part at once. They decide where batches end, so
// that a change of them makes other batches of the same part.
const (
	// batchSlots ends a batch of flows whose rows count for so many slots.
	batchSlots = 1 << 20
	// batchText ends a batch of intel that has so many bytes of text.
	batchText = 8 << 20
	// heldFile is the size up to which a file is held in memory while it is read.
	heldFile = 16 << 20
)

// FlowRow is a flow as some rows of connections make it: what the view flow
// says of these rows.
type FlowRow struct {
	Src, Dst flow.Addr
	Proto    string
	// Dport and Type are -1 where the flow has none.
	Dport, Type int32
	// The sets are ascending, each value once.
	Sports, Codes, VLANs      []int32
	States, Services, Sensors []string
	// The sums stay within 64 bits.
	Count, CSPkts, SCPkts, CSBytes, SCBytes int64
	// First and Last are in microseconds.
	First, Last int64
	// Slots are the beginnings of the slots that a row went on in, in
	// microseconds, ascending, each once.
	Slots []int64
	// Cut is how many of the rows have more than MaxSlots, of which Slots has the
	// first.
	Cut int
}

// ReadFlows reads a part of connections of the store at root, and calls yield
// with the number, from 0, and the flows of each batch of rows, in the order of
// their keys; an error of yield ends it. A batch has so many rows; it ends
// earlier where the part does, or where its rows count for a million slots, as
// a few rows of many months do. The same part and arguments always give
// the same batches. Of the first skip batches not more is read than it takes to
// know where they end.
//
// slot is the width of the slots; without one there are none. The flows are
// valid until yield returns. A part that is not what was written is an
// ErrDamaged: before anything is yielded, unless the disk fails meanwhile.
func ReadFlows(
	ctx context.Context, root string, p *Part, rows int, slot time.Duration, skip int,
	yield func(n int, flows []FlowRow) error,
) error {
	width := slot.Microseconds()
	switch {
	case p.Kind != ConnTable:
		return fmt.Errorf("read %s: it has no connections", p.Path)
	case rows < 1 || skip < 0 || width < 0 || slot%time.Microsecond != 0:
		return fmt.Errorf("read %s: batches of %d rows after %d with slots of %v", p.Path, rows, skip, slot)
	}
	r := &flowReader{conns: newConnReader(nil, heldFile), rows: rows, skip: skip, yield: yield}
	r.flows.width = width
	defer r.conns.close()
	if err := r.conns.open(ctx, root, p); err != nil {
		return err
	}
	return r.run(ctx)
}

// flowReader cuts a part of connections into batches.
type flowReader struct {
	conns *connReader
	rows  int
	skip  int // batches
	yield func(n int, flows []FlowRow) error

	flows  aggregate
	texts  texts
	n      int  // number of the batch
	had    int  // rows of the batch so far
	slots  int  // and slots
	behind bool // only the times of the chunks before were read
	out    []FlowRow
	ints   []int32
	words  []string
	times  []int64
}

func (r *flowReader) run(ctx context.Context) error {
	c := r.conns
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, err := c.next(chunkRows)
		if err != nil {
			return err
		}
		if n == 0 {
			break
		}
		row, passed := 0, r.n < r.skip
		if passed {
			if row, err = r.pass(n); err != nil {
				return err
			}
			if row == n {
				continue
			}
		}
		if err := r.read(n, passed); err != nil {
			return err
		}
		for ; row < n; row++ {
			slots, err := c.addRow(&r.flows, &r.texts, row)
			if err != nil {
				return err
			}
			if r.ends(slots) {
				if err := r.flush(ctx); err != nil {
					return err
				}
			}
		}
	}
	if r.had == 0 || r.n < r.skip {
		return nil
	}
	return r.flush(ctx)
}

// ends counts a row of the batch, and reports whether it is the last one.
func (r *flowReader) ends(slots int) bool {
	r.had++
	r.slots += slots
	return r.had == r.rows || r.slots >= batchSlots
}

// pass passes over the rows of a chunk that belong to batches which are left
// out, and returns how many these are. It reads nothing but their times.
func (r *flowReader) pass(n int) (int, error) {
	c := r.conns
	for _, i := range []int{inFirst, inLast} {
		var err error
		if c.values[i], err = c.read(i, n); err != nil {
			return 0, err
		}
	}
	r.behind = true
	for row := range n {
		slots := 0
		if r.flows.width > 0 {
			begin, end, _ := slotsOf(c.values[inFirst][row].Int64(), c.values[inLast][row].Int64(), r.flows.width)
			slots = int(end - begin + 1)
		}
		if !r.ends(slots) {
			continue
		}
		r.n++
		r.had, r.slots = 0, 0
		if r.n == r.skip {
			return row + 1, nil
		}
	}
	return n, nil
}

// read reads the columns of a chunk; passed says that its times were read.
func (r *flowReader) read(n int, passed bool) (err error) {
	c := r.conns
	for i := range c.columns {
		if i == inFirst || i == inLast {
			if passed {
				continue
			}
		} else if r.behind {
			if err := c.seek(i); err != nil {
				return err
			}
		}
		if c.values[i], err = c.read(i, n); err != nil {
			return err
		}
	}
	r.behind = false
	return nil
}

// flush yields the batch and begins the next one.
func (r *flowReader) flush(ctx context.Context) error {
	r.out, r.ints, r.words, r.times = r.out[:0], r.ints[:0], r.words[:0], r.times[:0]
	err := r.flows.sorted(&r.texts, ctx.Err, func(row *flowRow) error {
		r.out = append(r.out, r.row(row))
		return nil
	})
	if err != nil {
		return err
	}
	if err := r.yield(r.n, r.out); err != nil {
		return err
	}
	r.n++
	r.had, r.slots = 0, 0
	r.flows.reset()
	if r.texts.full() {
		r.texts = texts{}
	}
	return nil
}

// row returns a flow whose lists lie in the reader's own.
func (r *flowReader) row(f *flowRow) FlowRow {
	numbers := func(set int) []int32 {
		n := len(r.ints)
		r.ints = append(r.ints, f.sets[set]...)
		return r.ints[n:len(r.ints):len(r.ints)]
	}
	words := func(set int) []string {
		n := len(r.words)
		for _, id := range f.sets[set] {
			r.words = append(r.words, r.texts.list[id])
		}
		slices.Sort(r.words[n:])
		return r.words[n:len(r.words):len(r.words)]
	}
	n := len(r.times)
	for _, s := range f.slots {
		r.times = append(r.times, s.slot*r.flows.width)
	}
	return FlowRow{
		Src: f.src, Dst: f.dst, Proto: r.texts.list[f.proto], Dport: f.dport, Type: f.typ,
		Sports: numbers(setSports), Codes: numbers(setCodes), VLANs: numbers(setVLANs),
		States: words(setStates), Services: words(setServices), Sensors: words(setSensors),
		Count: f.sums[0], CSPkts: f.sums[1], SCPkts: f.sums[2], CSBytes: f.sums[3], SCBytes: f.sums[4],
		First: f.first, Last: f.last, Slots: r.times[n:len(r.times):len(r.times)], Cut: int(f.cut),
	}
}
