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
	above := x.seq + x.n - o.next[dir]
	if !o.has(acked, dir) && above > maxAboveHole {
		if above > maxWindow {
			p.stats.NotKept++ // no part of this stream
			return
		}
		p.skip(o, dir, sink)
		return
	}
	if above > maxUnacked && p.waiting(o, dir)+uint64(x.n)+uint64(o.next[dir]-o.trim[dir]) > maxUnacked {
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
			pieces := len(h.pieces[dir])
			if !p.insert(o, h, dir, i, part, sink) {
				return
			}
			i += len(h.pieces[dir]) - pieces
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

// waiting returns how many bytes of a direction wait.
func (p *Pool) waiting(o *Order, dir flow.Dir) (n uint64) {
	if o.held != 0 {
		for _, x := range p.holds[o.held-1].pieces[dir] {
			n += uint64(x.n)
		}
	}
	return n
}

// insert copies x into the i-th place, or adds it to the piece before where its
// bytes are of no use. It reports false where the direction was given up because no
// more pieces may be kept.
func (p *Pool) insert(o *Order, h *hold, dir flow.Dir, i int, x piece, sink Sink) bool {
	wanted := len(x.data) > 0 && sink.Wants(dir)
	if i > 0 && !wanted {
		if y := &h.pieces[dir][i-1]; y.seq+y.n == x.seq {
			y.n += x.n
			return true
		}
	}
	if len(h.pieces[0])+len(h.pieces[1]) >= p.cfg.ConnPieces || !p.book(h, pieceCost) {
		p.skip(o, dir, sink)
		return false
	}
	data := x.data
	x.data = nil
	if wanted {
		if size := roomFor(len(data)); p.book(h, size) {
			x.data = append(p.buffer(size), data...)
		} else {
			p.stats.NotKept++
		}
	}
	h.pieces[dir] = slices.Insert(h.pieces[dir], i, x)
	return true
}

// book takes n bytes of the budget for a connection.
func (p *Pool) book(h *hold, n int) bool {
	if h.booked+n > p.cfg.ConnBytes || !p.cfg.Budget.take(n) {
		return false
	}
	h.booked += n
	p.stats.HeldBytes += int64(n)
	return true
}

// roomFor returns the capacity of the buffer for n bytes.
func roomFor(n int) int {
	for size := range sizes {
		if n <= bufSize(size) {
			return bufSize(size)
		}
	}
	return n
}

// compare counts bytes of x that differ from those that wait: somebody sends
// two versions of one stream. Places are counted from the beginning of x, since
// sequence numbers half a circle apart are neither before nor behind each other.
func (p *Pool) compare(o *Order, dir flow.Dir, x piece) {
	for _, y := range p.holds[o.held-1].pieces[dir] {
		at := int(int32(y.seq - x.seq))
		lo, hi := max(0, at), min(len(x.data), at+len(y.data))
		if lo < hi && !bytes.Equal(x.data[lo:hi], y.data[lo-at:hi-at]) {
			p.stats.Conflicts++
			return
		}
	}
}

// inOrder delivers a piece that begins at next, and what waits behind it. Where
// something waits for a part of it, that was there first and wins.
func (p *Pool) inOrder(o *Order, dir flow.Dir, x piece, sink Sink) {
	for {
		first, ok := p.first(o, dir)
		if !ok || int32(x.seq+x.n-first) <= 0 {
			break
		}
		if y := p.holds[o.held-1].pieces[dir][0]; len(y.data) < int(y.n) && int32(x.seq+x.n-y.seq-y.n) >= 0 {
			p.remove(o, dir, 1) // its bytes were not kept; here they are
			continue
		}
		if first != x.seq {
			p.deliver(o, dir, x.to(first-x.seq), sink)
		}
		p.drain(o, dir, sink)
		skip := o.next[dir] - x.seq
		if skip >= x.n {
			return
		}
		x = x.from(skip)
	}
	p.deliver(o, dir, x, sink)
	p.drain(o, dir, sink)
}

// remove forgets the first n pieces of a direction.
func (p *Pool) remove(o *Order, dir flow.Dir, n int) {
	h := &p.holds[o.held-1]
	for _, x := range h.pieces[dir][:n] {
		p.recycle(h, x)
	}
	h.cut(dir, n)
	p.release(o)
}

// cut takes the first n pieces of a direction away. Where many waited, and few do
// now, it gives their places back: what is booked is what waits.
func (h *hold) cut(dir flow.Dir, n int) {
	left := slices.Delete(h.pieces[dir], 0, n)
	if room := max(2*len(left), keepPieces); room < cap(left)/2 {
		left = append(make([]piece, 0, room), left...)
	}
	h.pieces[dir] = left
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
		h.cut(dir, done)
		p.release(o)
	}
}

// skip gives a direction up: what waits is dropped and nothing more is passed
// on.
func (p *Pool) skip(o *Order, dir flow.Dir, sink Sink) {
	p.stats.Skipped++
	n := p.waiting(o, dir)
	if o.held != 0 {
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
	h.cut(dir, len(h.pieces[dir]))
	p.release(o)
}

// release returns an empty hold to the pool.
func (p *Pool) release(o *Order) {
	h := &p.holds[o.held-1]
	if len(h.pieces[0])+len(h.pieces[1]) > 0 {
		return
	}
	p.free = append(p.free, o.held)
	o.held = 0
}

// buffer returns an empty buffer of the given capacity.
func (p *Pool) buffer(room int) []byte {
	for size := range sizes {
		list := p.bufs[size]
		if last := len(list) - 1; room == bufSize(size) && last >= 0 {
			p.bufs[size] = list[:last]
			return list[last]
		}
	}
	return make([]byte, 0, room)
}

// recycle gives back what a piece was booked with, and its buffer.
func (p *Pool) recycle(h *hold, x piece) {
	n := pieceCost + cap(x.data)
	h.booked -= n
	p.stats.HeldBytes -= int64(n)
	p.cfg.Budget.give(n)
	for size := range sizes {
		if cap(x.data) == bufSize(size) && len(p.bufs[size]) < maxSpare/bufSize(size) {
			p.bufs[size] = append(p.bufs[size], x.data[:0])
		}
	}
}
