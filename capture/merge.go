// SPDX-License-Identifier: Apache-2.0

package capture

import (
	"errors"
	"log/slog"
	"math"

	"weir/internal/flow"
)

// Inputs are opened when the time of their first packet has come. While just one
// is open its records are parsed in the block's buffer, without a copy; while
// several overlap in time they are a heap, and the frames are copied together.

// activate opens the inputs whose time has come.
func (r *Reader) activate() error {
	for len(r.pending) > 0 {
		if len(r.active) > 0 {
			c := r.active[0]
			ok, st, err := c.peek()
			if err != nil {
				return err
			}
			if !ok {
				if err := r.finish(c, st); err != nil {
					return err
				}
				continue
			}
			in := r.pending[0]
			if in.first > c.rec.ts || in.first == c.rec.ts && in.index > c.in.index {
				return nil
			}
		}
		in := r.pending[0]
		r.pending = r.pending[1:]
		c := in.cur
		if c == nil {
			var err error
			if c, err = openCursor(r.life, in); err != nil {
				return err
			}
			in.cur = c
			if err := r.header(c); err != nil {
				return err
			}
		}
		if len(r.active) == 0 && len(r.pending) == 0 {
			r.active = append(r.active, c)
			return nil
		}
		ok, st, err := c.peek()
		if err != nil {
			return err
		}
		r.active = append(r.active, c)
		if !ok {
			if err := r.finish(c, st); err != nil {
				return err
			}
			continue
		}
		siftUp(r.active)
	}
	return nil
}

// fillDirect reads the only open input into the block's buffer.
func (r *Reader) fillDirect(b *Block) error {
	c := r.active[0]
	limit := flow.Time(math.MaxInt64)
	if len(r.pending) > 0 {
		limit = r.pending[0].first
		if r.pending[0].index < c.in.index {
			limit--
		}
	}
	c.adopt(b)
	for {
		st := c.next()
		switch {
		case st == gotRecord:
			if c.rec.ts > limit {
				c.unread()
				c.leave()
				return nil
			}
			r.dec.frame(&c.rec)
			if b.extraUsed > r.pool.size {
				c.leave()
				return nil
			}
		case st == malformed || c.eof:
			return r.finish(c, st)
		case c.r+c.need <= len(b.buf):
			// What a slow pipe has delivered so far goes out before waiting.
			if c.short && !c.st.regular && len(b.Packets) > 0 {
				c.leave()
				return nil
			}
			if err := c.read(); err != nil {
				return err
			}
		case c.r > 0:
			c.leave()
			return nil
		default:
			// One record is larger than the block.
			b.buf = append(make([]byte, 0, c.need), b.buf...)[:c.need]
			c.buf = b.buf
		}
	}
}

// fillMerged takes records from several inputs in the order of their times.
func (r *Reader) fillMerged(b *Block) error {
	limit := flow.Time(math.MaxInt64)
	if len(r.pending) > 0 {
		limit = r.pending[0].first - 1
	}
	used := 0
	for first := true; len(r.active) > 1; first = false {
		c := r.active[0]
		rec := c.rec
		// activate has seen to it that the first record is not behind the limit.
		if !first && rec.ts > limit || b.extraUsed > r.pool.size {
			return nil
		}
		if used+len(rec.data) > len(b.buf) {
			if used > 0 {
				return nil
			}
			b.buf = make([]byte, len(rec.data))
		}
		end := used + copy(b.buf[used:], rec.data)
		rec.data = b.buf[used:end:end]
		used = end
		r.dec.frame(&rec)
		c.have = false
		ok, st, err := c.peek()
		if err != nil {
			return err
		}
		if !ok {
			if err := r.finish(c, st); err != nil {
				return err
			}
			continue
		}
		siftDown(r.active)
	}
	return nil
}

// finish closes the input at the top of the heap, or the one added last, and
// notes what it was.
func (r *Reader) finish(c *cursor, st status) error {
	damage := c.damaged(st)
	if damage != nil && damage.Cut && !c.st.regular && r.life.stop.Err() != nil {
		damage = nil // a pipe that was left in the middle of a record
	}
	if st == malformed {
		if err := r.drain(c); err != nil {
			return err
		}
	}
	f := &r.files[c.in.index]
	*f = File{
		Name: c.in.name, Head: c.st.head, HeadLen: c.st.headLen,
		Sum: c.st.sum.Sum128().Bytes(), Size: c.st.size, Packets: c.num, Truncated: damage,
	}
	s := &r.dec.stats
	s.Read += c.st.raw.n
	s.Done++
	if damage != nil {
		s.Damaged++
		r.log.Warn("capture is damaged, what came before is kept", slog.String("file", c.in.name),
			slog.Int64("offset", damage.Offset), slog.Uint64("packets", c.num),
			slog.String("reason", damage.Reason))
	} else {
		r.log.Debug("capture read", slog.String("file", c.in.name),
			slog.Uint64("packets", c.num), slog.Int64("bytes", c.st.size))
	}
	last := len(r.active) - 1
	if r.active[last] != c {
		r.active[0] = r.active[last]
	}
	r.active[last] = nil
	r.active = r.active[:last]
	if last > 1 {
		siftDown(r.active)
	}
	c.in.cur = nil
	return c.st.close()
}

// drain reads the rest of an input that cannot be parsed further, so that its
// hash is that of the whole content.
func (r *Reader) drain(c *cursor) error {
	if r.scratch == nil {
		r.scratch = make([]byte, readSize)
	}
	for {
		// What cannot be decompressed ends the content like its end.
		if _, err := c.st.Read(r.scratch); err != nil {
			return c.st.raw.err
		}
	}
}

// closeInputs closes what is still open, after an error or at the end.
func (r *Reader) closeInputs() error {
	var errs []error
	for _, in := range r.inputs {
		if in.cur != nil {
			errs = append(errs, in.cur.st.close())
			in.cur = nil
		}
	}
	r.active, r.pending = nil, nil
	return errors.Join(errs...)
}

// before orders cursors by their next record.
func (c *cursor) before(d *cursor) bool {
	if c.rec.ts != d.rec.ts {
		return c.rec.ts < d.rec.ts
	}
	return c.in.index < d.in.index
}

// siftUp restores the heap after an append.
func siftUp(h []*cursor) {
	for i := len(h) - 1; i > 0; {
		up := (i - 1) / 2
		if !h[i].before(h[up]) {
			return
		}
		h[i], h[up] = h[up], h[i]
		i = up
	}
}

// siftDown restores the heap after a change of its top.
func siftDown(h []*cursor) {
	for i := 0; ; {
		least := i
		for k := 2*i + 1; k <= 2*i+2 && k < len(h); k++ {
			if h[k].before(h[least]) {
				least = k
			}
		}
		if least == i {
			return
		}
		h[i], h[least] = h[least], h[i]
		i = least
	}
}
