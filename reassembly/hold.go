// SPDX-License-Identifier: Apache-2.0

package reassembly

import (
	"bytes"
	"slices"

	"weir/internal/flow"
)

// first returns where the first waiting piece of a direction begins.
func (p *Pool) first(o *Order, dir flow.Dir) (uint32, bool) {
	if !p.Pending(o, dir) {
		return 0, false
	}
	return p.holds[o.held-1].pieces[dir][0].seq, true
}

// keep stores those parts of x that do not wait already.
func (p *Pool) keep(o *Order, dir flow.Dir, x piece, sink Sink) {
	p.stats.OutOfOrder++
	if x.seq-o.next[dir] > maxUnacked {
		p.stats.NotKept++ // outside of any window: not part of the stream
		return
	}
	if !o.has(acked, dir) && x.seq+x.n-o.next[dir] > maxAboveHole {
		p.skip(o, dir, sink)
		return
	}
	if o.held == 0 {
		p.open(o)
	}
	p.compare(o, dir, x)
	h := &p.holds[o.held-1]
	i := 0
	for ; i < len(h.pieces[dir]) && x.n > 0; i++ {
		y := h.pieces[dir][i]
		if int32(x.seq-(y.seq+y.n)) >= 0 {
			continue
		}
		if before := int32(y.seq - x.seq); before > 0 {
			part := x
			if uint32(before) < x.n {
				part = x.to(uint32(before))
			}
			if !p.insert(o, h, dir, i, part, sink) {
				return
			}
			i++
		}
		covered := y.seq + y.n - x.seq
		if int32(covered) <= 0 {
			continue
		}
		if covered >= x.n {
			return
		}
		x = x.from(covered)
	}
	if x.n > 0 {
		p.insert(o, h, dir, len(h.pieces[dir]), x, sink)
	}
}

// insert copies x into the i-th place. It reports false where the direction
// was given up for its number of pieces.
func (p *Pool) insert(o *Order, h *hold, dir flow.Dir, i int, x piece, sink Sink) bool {
	if len(h.pieces[0])+len(h.pieces[1]) >= p.cfg.ConnPieces {
		p.skip(o, dir, sink)
		return false
	}
	switch {
	case len(x.data) == 0 || !sink.Wants(dir):
		x.data = nil
	case h.bytes+len(x.data) > p.cfg.ConnBytes || !p.cfg.Budget.take(len(x.data)):
		p.stats.NotKept++
		x.data = nil
	default:
		h.bytes += len(x.data)
		p.stats.HeldBytes += int64(len(x.data))
		x.data = append(p.buffer(len(x.data)), x.data...)
	}
	h.pieces[dir] = slices.Insert(h.pieces[dir], i, x)
	return true
}

// compare counts bytes of x that differ from those that wait: somebody sends
// two versions of one stream.
func (p *Pool) compare(o *Order, dir flow.Dir, x piece) {
	for _, y := range p.holds[o.held-1].pieces[dir] {
		lo, hi := x.seq, x.seq+uint32(len(x.data))
		if int32(y.seq-lo) > 0 {
			lo = y.seq
		}
		if end := y.seq + uint32(len(y.data)); int32(hi-end) > 0 {
			hi = end
		}
		if int32(hi-lo) <= 0 {
			continue
		}
		if !bytes.Equal(x.data[lo-x.seq:hi-x.seq], y.data[lo-y.seq:hi-y.seq]) {
			p.stats.Conflicts++
			return
		}
	}
}

// drain delivers what waits and is in order now.
func (p *Pool) drain(o *Order, dir flow.Dir, sink Sink) {
	if o.held == 0 {
		return
	}
	h := &p.holds[o.held-1]
	done := 0
	for _, x := range h.pieces[dir] {
		ahead := int32(x.seq - o.next[dir])
		if ahead > 0 {
			break
		}
		done++
		if skip := uint32(-ahead); skip < x.n {
			p.deliver(o, dir, x.from(skip), sink)
		}
		p.recycle(h, x)
	}
	if done > 0 {
		h.pieces[dir] = slices.Delete(h.pieces[dir], 0, done)
		p.release(o)
	}
}

// skip gives a direction up: what waits is dropped and nothing more is passed
// on.
func (p *Pool) skip(o *Order, dir flow.Dir, sink Sink) {
	p.stats.Skipped++
	n := uint64(0)
	if o.held != 0 {
		for _, x := range p.holds[o.held-1].pieces[dir] {
			n += uint64(x.n)
		}
		p.drop(o, dir)
	}
	o.flags |= skipping << dir
	sink.Gap(dir, max(n, 1))
}

func (p *Pool) open(o *Order) {
	if n := len(p.free); n > 0 {
		o.held = p.free[n-1]
		p.free = p.free[:n-1]
		return
	}
	p.holds = append(p.holds, hold{})
	o.held = uint32(len(p.holds))
}

// drop forgets what waits of a direction.
func (p *Pool) drop(o *Order, dir flow.Dir) {
	h := &p.holds[o.held-1]
	for _, x := range h.pieces[dir] {
		p.recycle(h, x)
	}
	clear(h.pieces[dir])
	h.pieces[dir] = h.pieces[dir][:0]
	p.release(o)
}

// release returns an empty hold to the pool.
func (p *Pool) release(o *Order) {
	h := &p.holds[o.held-1]
	if len(h.pieces[0])+len(h.pieces[1]) == 0 {
		p.free = append(p.free, o.held)
		o.held = 0
	}
}

// buffer returns an empty buffer for n bytes.
func (p *Pool) buffer(n int) []byte {
	if n > bufSize {
		return make([]byte, 0, n)
	}
	if last := len(p.bufs) - 1; last >= 0 {
		b := p.bufs[last]
		p.bufs = p.bufs[:last]
		return b
	}
	return make([]byte, 0, bufSize)
}

func (p *Pool) recycle(h *hold, x piece) {
	if x.data == nil {
		return
	}
	// from cuts off the front only of pieces that are about to be recycled, so
	// that the length given back here is the length that was taken.
	h.bytes -= len(x.data)
	p.stats.HeldBytes -= int64(len(x.data))
	p.cfg.Budget.give(len(x.data))
	if cap(x.data) == bufSize && len(p.bufs) < maxBufs {
		p.bufs = append(p.bufs, x.data[:0])
	}
}
