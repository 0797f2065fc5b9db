// SPDX-License-Identifier: Apache-2.0

package dissect

import (
	"encoding/binary"

	"weir/internal/flow"
)

// What HTTP carries behind CONNECT or an upgrade: another protocol as it is, or
// in the frames of WebSocket. The session of HTTP stays, since its log goes on if
// that protocol is HTTP again.

// Operations of WebSocket that carry data.
const (
	frameText   = 1
	frameBinary = 2
)

// httpCarrier is what a session keeps while it carries another protocol.
type httpCarrier struct {
	in        App
	websocket bool
	broken    bool // the frames can no longer be followed
	seen      bool // a message is complete
	side      [2]httpFrame
}

// httpFrame is the frame that a direction is in.
type httpFrame struct {
	head   [14]byte
	n      uint8 // bytes of head that are there
	op     uint8 // of the message
	more   bool  // the message is not complete
	inside bool  // the header is complete
	mask   [4]byte
	at     uint32 // bytes of payload so far, modulo 4
	left   uint64
}

// hand begins to carry another protocol.
func (h *http) hand(c *httpSession, websocket bool) {
	for i := range c.side {
		q := &c.side[i]
		h.freeLine(q)
		q.state = httpNothing
	}
	if !h.s.bufs.book(h.carriers.size()) {
		return
	}
	id := h.carriers.get()
	*h.carriers.at(id) = httpCarrier{websocket: websocket}
	c.carrier = id + 1
	for i := range c.side {
		c.side[i].state = httpCarried
	}
}

// carry takes bytes of what is carried.
func (h *http) carry(t *flow.Tuple, a *App, c *httpSession, dir flow.Dir, data []byte) {
	k := h.carriers.at(c.carrier - 1)
	switch {
	case k.broken:
	case k.websocket:
		h.frames(t, a, c, k, dir, data)
	default:
		h.carried(t, a, c, k, dir, data)
	}
	if k.broken || k.in.flags&doneBoth == doneBoth && (k.seen || !k.websocket) {
		a.flags |= doneBoth
		h.close(t, a)
	}
}

// carried hands bytes on.
func (h *http) carried(
	t *flow.Tuple, a *App, c *httpSession, k *httpCarrier, dir flow.Dir, data []byte,
) {
	outer := h.s.carrier
	h.enter(a, c)
	h.s.nested(t, a, &k.in, dir, c.last, data)
	h.s.carrier = outer
}

// enter tells sessions that are inside of this one whose log is theirs.
func (h *http) enter(a *App, c *httpSession) {
	if h.s.carrier = c.outer; c.outer == 0 {
		id, _ := a.has()
		h.s.carrier = id + 1
	}
}

// carriedGap says that bytes of what is carried will never come. Frames cannot be
// found again behind that.
func (h *http) carriedGap(
	t *flow.Tuple, a *App, c *httpSession, dir flow.Dir, n uint64,
) {
	k := h.carriers.at(c.carrier - 1)
	h.made(t, c, flow.ToServer, true)
	h.made(t, c, flow.ToClient, true)
	if !k.websocket {
		outer := h.s.carrier
		h.enter(a, c)
		h.s.Gap(t, &k.in, dir, c.last, n)
		h.s.carrier = outer
	}
	if k.websocket || k.in.flags&doneBoth == doneBoth {
		a.flags |= doneBoth
		h.close(t, a)
	}
}

// dropCarrier ends what is carried.
func (h *http) dropCarrier(t *flow.Tuple, a *App, c *httpSession) {
	k := h.carriers.at(c.carrier - 1)
	outer := h.s.carrier
	h.enter(a, c)
	h.s.Close(t, &k.in)
	a.adopt(k.in)
	h.s.carrier = outer
	h.carriers.put(c.carrier - 1)
	h.s.bufs.free(h.carriers.size())
	c.carrier = 0
}

// frames reads frames of WebSocket and hands on what is in them.
func (h *http) frames(
	t *flow.Tuple, a *App, c *httpSession, k *httpCarrier, dir flow.Dir, data []byte,
) {
	f := &k.side[dir&1]
	for len(data) > 0 {
		if !f.inside {
			n := copy(f.head[f.n:frameHeader(f)], data)
			f.n += uint8(n)
			data = data[n:]
			if int(f.n) < frameHeader(f) {
				continue
			}
			if !f.begin() {
				h.s.stats.Violations++
				k.broken = true
				a.retract(protoWebSocket)
				return
			}
		}
		n := int(min(f.left, uint64(len(data))))
		if f.op == frameText || f.op == frameBinary {
			buf := h.frame
			h.frame = nil // frames may be in frames
			buf = append(buf[:0], data[:n]...)
			for i := range buf {
				buf[i] ^= f.mask[(f.at+uint32(i))&3]
			}
			if n > 0 {
				h.carried(t, a, c, k, dir, buf)
			}
			h.frame = buf
		}
		f.at += uint32(n)
		f.left -= uint64(n)
		data = data[n:]
		if f.left == 0 {
			f.n, f.inside = 0, false
			if !f.more {
				k.seen = true
				a.confirm(protoWebSocket)
			}
		}
	}
}

// frameHeader returns the length of the header that a frame has, as far as what
// is there of it tells.
func frameHeader(f *httpFrame) int {
	if f.n < 2 {
		return 2
	}
	n := 2
	switch f.head[1] & 0x7f {
	case 126:
		n += 2
	case 127:
		n += 8
	}
	if f.head[1]&0x80 != 0 {
		n += 4
	}
	return n
}

// begin reads the header of a frame. It reports false where a message begins in
// another, as Zeek sees also the operations that may come between the frames of
// one, or where there is none to continue.
func (f *httpFrame) begin() bool {
	op := f.head[0] & 0x0f
	if (op == 0) != f.more {
		return false
	}
	if !f.more {
		f.op = op
	}
	rest := f.head[2:f.n]
	switch n := f.head[1] & 0x7f; n {
	case 126:
		f.left = uint64(binary.BigEndian.Uint16(rest))
		rest = rest[2:]
	case 127:
		f.left = binary.BigEndian.Uint64(rest)
		rest = rest[8:]
	default:
		f.left = uint64(n)
	}
	f.mask = [4]byte{}
	copy(f.mask[:], rest)
	f.more = f.head[0]&0x80 == 0
	f.inside, f.at = true, 0
	return true
}
