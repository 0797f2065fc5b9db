// SPDX-License-Identifier: Apache-2.0

package dissect

import (
	"bytes"
	"math"

	"weir/internal/flow"
)

// Bodies of the types multipart and message, which are entities with headers and
// bodies of their own. What is in them counts for little: but Zeek finds the end
// of such a body by reading it, and takes headers from wherever they are.

// maxDepth is how deep entities may be in others. What is below is not read.
const maxDepth = 100

// httpKind is the type of an entity.
type httpKind uint8

const (
	kindOther httpKind = iota
	kindMultipart
	kindMessage
)

// httpEntity is a message, or a part of one.
type httpEntity struct {
	mark    []byte // the boundary between the parts, with its dashes
	length  int64  // Content-Length, -1 if there is none
	span    int64  // the length that Content-Range gave
	left    int64  // bytes to come; in httpLines, those of the unfinished line
	body    int64  // bytes of body so far, unpacked
	zip     uint32 // number of the inflater, plus 1
	child   uint32 // number of the part that is being read, plus 1
	kind    httpKind
	header  bool // of a part: the header lines are not at their end
	ended   bool // of a part
	zipped  bool
	partial bool // Content-Range gave the length
}

// entityData reads up to one line, or what is there of bytes that are no lines,
// and returns what is behind it.
func (h *http) entityData(t *flow.Tuple, c *httpSession, dir flow.Dir, data []byte) []byte {
	q := &c.side[dir&1]
	if q.plain > 0 {
		n := int(min(q.plain, int64(len(data))))
		q.plain -= int64(n)
		h.deliver(t, c, dir, &q.httpEntity, nil, 0, data[:n], false)
		return data[n:]
	}
	line, rest, ended := cutEntity(q, data)
	if !ended || len(q.buf) > 0 {
		if len(q.buf)+len(line) > maxLine && len(q.buf) > 0 {
			// No boundary is that long: its end may come by itself.
			piece := q.buf
			q.buf = q.buf[:0]
			h.deliver(t, c, dir, &q.httpEntity, nil, 0, piece, false)
			return data
		}
		var ok bool
		if q.buf, ok = h.s.bufs.add(q.buf, line); !ok {
			h.made(t, c, dir, true)
			q.state = httpNothing
			return nil
		}
		if !ended {
			return nil
		}
		line = q.buf
	}
	q.afterCR = !q.onlyLF && len(rest) == 0 && data[len(data)-1] == '\r'
	q.buf = q.buf[:0]
	h.deliver(t, c, dir, &q.httpEntity, nil, 0, line, true)
	return rest
}

// cutEntity splits data behind its first line. In the body of a part, that ends
// in CRLF only; a CR that was the last byte kept is taken back where the LF
// follows.
func cutEntity(q *httpSide, data []byte) (line, rest []byte, ended bool) {
	if !q.onlyLF {
		return cutLine(data)
	}
	if n := len(q.buf); n > 0 && q.buf[n-1] == '\r' && data[0] == '\n' {
		q.buf = q.buf[:n-1]
		return nil, data[1:], true
	}
	return bytes.Cut(data, []byte("\r\n"))
}

// deliver hands data to an entity: a line, or a piece that is none.
func (h *http) deliver(t *flow.Tuple, c *httpSession, dir flow.Dir,
	e, parent *httpEntity, depth int, data []byte, line bool,
) {
	q := &c.side[dir&1]
	n := int64(len(data))
	switch {
	case e.ended:
	case e.header:
		h.partHeader(t, c, dir, e, parent, depth, data)
	case e.kind != kindOther:
		h.entityBody(t, c, dir, e, parent, depth, data, line)
		if depth > 0 || e.length <= 0 || q.state != httpParts {
			return
		}
		if line {
			n += 2
		}
		if e.left -= n; e.left <= 0 {
			q.plain = 0
			h.endEntity(t, c, dir, e, parent, depth)
		}
	case e.length >= 0:
		e.body += n
		if e.left -= n; e.left <= 0 {
			q.plain, q.size = 0, -1
			h.endEntity(t, c, dir, e, parent, depth)
		}
	default:
		e.body += n
	}
}

// entityBody takes data of an entity that consists of others. Those in a packed
// one are not read.
func (h *http) entityBody(t *flow.Tuple, c *httpSession, dir flow.Dir,
	e, parent *httpEntity, depth int, data []byte, line bool,
) {
	if e.zipped {
		if depth == 0 {
			h.count(&c.side[dir&1], data)
		}
		return
	}
	if e.body += int64(len(data)); line {
		e.body += 2
	}
	if e.kind == kindMultipart && bytes.HasPrefix(data, e.mark) {
		h.endPart(t, c, dir, e, depth)
		if bytes.HasPrefix(data[len(e.mark):], []byte("--")) {
			h.endEntity(t, c, dir, e, parent, depth)
			return
		}
		h.beginPart(e, depth)
		return
	}
	if e.child != 0 {
		h.deliver(t, c, dir, h.parts.at(e.child-1), e, depth+1, data, line)
	}
}

// beginPart begins a part of an entity. Without memory for it, or below the
// limit, its lines are none of a part.
func (h *http) beginPart(e *httpEntity, depth int) {
	if depth >= maxDepth || !h.s.bufs.book(h.parts.size()) {
		return
	}
	id := h.parts.get()
	*h.parts.at(id) = httpEntity{header: true, length: -1, span: -1}
	e.child = id + 1
}

// endPart ends the part that an entity is in, if any.
func (h *http) endPart(t *flow.Tuple, c *httpSession, dir flow.Dir, e *httpEntity, depth int) {
	id := e.child
	if id == 0 {
		return
	}
	part := h.parts.at(id - 1)
	h.endEntity(t, c, dir, part, e, depth+1)
	h.endPart(t, c, dir, part, depth+1) // where it ended before
	e.child = 0
	h.s.bufs.release(part.mark)
	part.mark = nil
	h.parts.put(id - 1)
	h.s.bufs.free(h.parts.size())
}

// endEntity ends an entity; the one on top is the message.
func (h *http) endEntity(t *flow.Tuple, c *httpSession, dir flow.Dir,
	e, parent *httpEntity, depth int,
) {
	if depth == 0 {
		h.made(t, c, dir, false)
		return
	}
	if e.ended {
		return
	}
	if e.ended = true; e.header {
		h.partHeadersEnd(t, c, dir, e, parent, depth)
	} else {
		h.endPart(t, c, dir, e, depth)
	}
	if parent.kind == kindMultipart {
		c.side[dir&1].onlyLF = false
	}
}

// partHeader takes a header line of a part, or the empty one.
func (h *http) partHeader(t *flow.Tuple, c *httpSession, dir flow.Dir,
	e, parent *httpEntity, depth int, line []byte,
) {
	q := &c.side[dir&1]
	switch {
	case len(line) == 0 || line[0] == 0:
		h.partHeadersEnd(t, c, dir, e, parent, depth)
		if !e.ended && e.kind == kindMessage {
			h.beginPart(e, depth)
		}
		return
	case !isLWS(line[0]):
		h.partHeaderEnd(t, c, dir, e, depth)
	case !q.folding:
		line = skipSpace(line)
	case len(q.head) >= maxLine:
		c.tooLong = true
		return
	}
	if room := maxLine - len(q.head); len(line) > room {
		line = line[:room]
		h.s.stats.Truncated++
	}
	// Without memory for it, the line is as if it were not there.
	q.head, q.folding = h.s.bufs.add(q.head, line)
	q.folding = q.folding && len(q.head) > 0
}

// partHeaderEnd handles the header line that is kept, if any.
func (h *http) partHeaderEnd(t *flow.Tuple, c *httpSession, dir flow.Dir, e *httpEntity, depth int) {
	if q := &c.side[dir&1]; q.folding {
		q.folding = false
		h.header(t, c, dir, e, depth, q.head)
		q.head = q.head[:0]
	}
}

// partHeadersEnd finds out what follows the headers of a part.
func (h *http) partHeadersEnd(t *flow.Tuple, c *httpSession, dir flow.Dir,
	e, parent *httpEntity, depth int,
) {
	q := &c.side[dir&1]
	h.partHeaderEnd(t, c, dir, e, depth)
	e.header = false
	if parent.kind == kindMultipart {
		q.onlyLF = true
	}
	if e.length >= 0 {
		q.size = e.length
	}
	switch {
	case e.kind != kindOther:
	case e.length > 0:
		e.left, q.plain = e.length, e.length
	case e.length == 0:
		h.endEntity(t, c, dir, e, parent, depth)
	case c.closing || e.zipped:
		q.plain = math.MaxInt32
	}
}

// entityGap skips n bytes of the innermost entity that has not ended, if they
// are all in it; the ones around it do not count them.
func (h *http) entityGap(t *flow.Tuple, c *httpSession, dir flow.Dir, n uint64) bool {
	q := &c.side[dir&1]
	e, parent, depth := &q.httpEntity, (*httpEntity)(nil), 0
	for e.child != 0 && !h.parts.at(e.child-1).ended {
		e, parent, depth = h.parts.at(e.child-1), e, depth+1
	}
	if e.body == 0 || e.length < 0 || e.left < 0 || uint64(e.left) < n || depth == 0 && q.chunked {
		return false
	}
	e.body += int64(n)
	e.left -= int64(n)
	if q.plain = e.left; e.left == 0 {
		h.endEntity(t, c, dir, e, parent, depth)
	}
	return true
}
