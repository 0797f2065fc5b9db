// SPDX-License-Identifier: Apache-2.0

package dissect

import (
	"bytes"

	"weir/internal/flow"
)

// HTTP/1.x and 0.9. The reading is Zeek's, with its views on what a line is,
// where a body ends, and which request a reply belongs to.

const (
	// maxRequests is how many requests may wait for their replies. Zeek then
	// writes them all.
	maxRequests = 100
	// maxLine bounds one header line, continuations included.
	maxLine = 64 << 10
	// lateBytes is how far into a connection something else than HTTP is still
	// taken as a sign that it never was HTTP.
	lateBytes = 10 << 10
)

// httpState says what the next bytes of a direction are.
type httpState uint8

const (
	httpFirst      httpState = iota // a request or status line
	httpHeader                      // a header line, or the empty one
	httpBody                        // left bytes of body
	httpChunkSize                   // a chunk's size
	httpChunk                       // left bytes of a chunk
	httpChunkEnd                    // the line end behind a chunk
	httpLines                       // lines of body until the connection ends
	httpMultipart                   // lines of body between the parts of it
	httpPartHeader                  // a header line of a part
	httpPartLines                   // lines of a part, which end in CRLF
	httpPart                        // left bytes of a part
	httpRest                        // body until the connection ends
	httpTunnel                      // behind the reply to CONNECT, but for a LF that may come
	httpNothing                     // of no use any more
)

// httpExpect says whether a message may have a body.
type httpExpect uint8

const (
	bodyMaybe httpExpect = iota // only with a length
	bodyExpected
	bodyNever
)

// httpSide is one direction of a connection and the message it is in.
type httpSide struct {
	buf     []byte // the beginning of a line, or a header line (held)
	held    bool   // buf is a header line that the next line may continue
	afterCR bool   // the last line ended in CR, to which a LF would belong
	ongoing bool   // a message was begun and not ended
	old     bool   // the replies are HTTP/0.9: no lines at all
	trailer bool   // the header lines are behind the last chunk
	chunked bool
	zipped  bool
	partial bool // Content-Range gave the length
	state   httpState
	expect  httpExpect
	version uint16 // major<<8 | minor
	zip     uint32 // number of the inflater, plus 1
	mark    []byte // the boundary of a multipart body
	length  int64  // Content-Length, -1 if there is none
	span    int64  // the length that Content-Range gave, or that of a part, -1 if none
	left    int64  // bytes to come; in httpLines, those of the unfinished line
	body    int64  // bytes of body so far, unpacked
}

// httpSession is what a connection keeps.
type httpSession struct {
	written uint32
	seen    uint32 // payload bytes so far, at most lateBytes
	last    flow.Time
	side    [2]httpSide
	// head and tail number the first and last exchange that is not written,
	// plus 1; count counts them.
	head, tail, count uint32
	// request and response are Zeek's numbers of the current request and reply,
	// depth that of exchanges.
	request, response, depth uint32
	// unanswered counts the requests without a reply; heads has a bit for each
	// of the first 128 that says whether it was HEAD.
	unanswered uint32
	heads      [2]uint64
	code       uint16 // status of the reply that is being read
	closing    bool   // a reply said "Connection: close"
	connect    bool   // the request was CONNECT
	upgrade    bool   // the reply said "Connection: upgrade"
	protocol   bool   // the reply had an Upgrade header
}

type http struct {
	s         *Shard
	sessions  slab[httpSession]
	exchanges slab[httpExchange]
	inflaters slab[inflater]
	scratch   []byte
}

func newHTTP(s *Shard) *http { return &http{s: s} }

func (h *http) datagram(*flow.Tuple, *App, flow.Dir, flow.Time, []byte) {}

// open returns the connection's session, which is made if there is none; nil
// where there is no memory for it. The first exchange is booked with it.
func (h *http) open(a *App) *httpSession {
	id, ok := a.has()
	if !ok {
		if !h.s.bufs.book(h.sessions.size() + h.exchanges.size()) {
			a.flags |= doneBoth
			return nil
		}
		id = h.sessions.get()
		*h.sessions.at(id) = httpSession{written: h.s.attach(a, id)}
	}
	return h.sessions.at(id)
}

func (h *http) stream(t *flow.Tuple, a *App, dir flow.Dir, ts flow.Time, data []byte) {
	c := h.open(a)
	if c == nil {
		return
	}
	c.last = ts
	c.seen = min(c.seen+uint32(min(len(data), lateBytes)), lateBytes)
	q := &c.side[dir&1]
	for len(data) > 0 && q.state != httpNothing {
		if q.afterCR {
			q.afterCR = false
			if data[0] == '\n' {
				data = data[1:]
				if q.state != httpTunnel {
					continue
				}
			}
		}
		switch q.state {
		case httpTunnel:
			h.tunnel(t, a, c, data)
			return
		case httpBody, httpChunk:
			n := int(min(q.left, int64(len(data))))
			h.count(q, data[:n])
			data = data[n:]
			h.skip(t, c, dir, int64(n))
		case httpPart:
			n := int(min(q.left, int64(len(data))))
			h.count(q, data[:n])
			data = data[n:]
			if q.left -= int64(n); q.left == 0 {
				q.state = httpMultipart
			}
		case httpLines:
			data = h.bodyLine(q, data)
		case httpRest:
			if q.old && !q.ongoing {
				h.beginOld(t, c, a)
			}
			h.count(q, data)
			return
		default:
			more := false
			if data, more = h.line(t, a, c, dir, data); !more {
				return
			}
		}
	}
	h.settle(t, a, c)
}

// skip takes n bytes from the body or chunk that a direction is in.
func (h *http) skip(t *flow.Tuple, c *httpSession, dir flow.Dir, n int64) {
	q := &c.side[dir&1]
	if q.left -= n; q.left > 0 {
		return
	}
	if q.state == httpChunk {
		q.state = httpChunkEnd
		return
	}
	h.made(t, c, dir, false)
}

// settle tells the connection which directions are of no use any more, and frees
// the session where none is.
func (h *http) settle(t *flow.Tuple, a *App, c *httpSession) {
	for dir := range c.side {
		if q := &c.side[dir]; q.state == httpNothing {
			a.flags |= doneToServer << dir
			h.freeLine(q)
		}
	}
	if a.flags&doneBoth == doneBoth {
		h.close(t, a)
	}
}

// line reads up to one line of data and returns what is behind it. It reports
// false where the session has ended.
func (h *http) line(
	t *flow.Tuple, a *App, c *httpSession, dir flow.Dir, data []byte,
) ([]byte, bool) {
	q := &c.side[dir&1]
	if q.held {
		q.held = false
		if data[0] != ' ' && data[0] != '\t' {
			h.header(t, c, dir, q.buf)
			q.buf = q.buf[:0]
		}
	}
	line, rest, ended := cutLine(data)
	if q.state == httpPartLines {
		line, rest, ended = cutCRLF(q, data)
	} else {
		q.afterCR = ended && len(rest) == 0 && data[len(data)-1] == '\r'
	}
	if !ended || len(q.buf) > 0 {
		if len(q.buf)+len(line) > maxLine && q.state == httpPartLines {
			// No boundary is that long.
			h.count(q, q.buf)
			q.buf = q.buf[:0]
		}
		if !h.hold(q, line) {
			h.made(t, c, dir, true)
			q.state = httpNothing
			return nil, true
		}
		if !ended {
			return nil, true
		}
		line = q.buf
	}
	switch {
	case q.state != httpHeader || len(line) == 0 || line[0] == 0:
		if !h.takeLine(t, a, c, dir, line, rest) {
			return nil, false
		}
	case len(rest) > 0 && rest[0] != ' ' && rest[0] != '\t':
		h.header(t, c, dir, line)
	case len(q.buf) > 0 || h.hold(q, line):
		q.held = true // the next line may continue it
		return rest, true
	}
	q.buf = q.buf[:0]
	return rest, true
}

// hold keeps the beginning of a line.
func (h *http) hold(q *httpSide, data []byte) bool {
	ok := len(q.buf)+len(data) <= maxLine
	if !ok {
		h.s.stats.SessionFull++
		return false
	}
	q.buf, ok = h.s.bufs.add(q.buf, data)
	return ok
}

// cutLine splits data behind its first line, which ends in CR, LF or CRLF. It
// reports false where no line ends in data.
func cutLine(data []byte) (line, rest []byte, ended bool) {
	for from, to := 0, 128; from < len(data); from, to = to, to*4 {
		// Looking at a part first keeps many short lines that end in CR from
		// being searched for LF over and over.
		part := data[from:min(to, len(data))]
		i := bytes.IndexByte(part, '\n')
		if i >= 0 {
			part = part[:i]
		}
		if j := bytes.IndexByte(part, '\r'); j >= 0 {
			j += from
			if j+1 < len(data) && data[j+1] == '\n' {
				return data[:j], data[j+2:], true
			}
			return data[:j], data[j+1:], true
		}
		if i >= 0 {
			return data[:from+i], data[from+i+1:], true
		}
	}
	return data, nil, false
}

// cutCRLF is cutLine for lines that end in CRLF only. A CR that was the last byte
// kept of the line is taken back where the LF follows.
func cutCRLF(q *httpSide, data []byte) (line, rest []byte, ended bool) {
	if n := len(q.buf); n > 0 && q.buf[n-1] == '\r' && data[0] == '\n' {
		q.buf = q.buf[:n-1]
		return nil, data[1:], true
	}
	return bytes.Cut(data, []byte("\r\n"))
}

// bodyLine counts what data has of a line of a body without a length, the end of
// a line as two bytes whatever it is, and returns what is behind it.
func (h *http) bodyLine(q *httpSide, data []byte) []byte {
	line, rest, ended := cutLine(data)
	h.count(q, line)
	if q.left += int64(len(line)); ended {
		q.body += 2
		q.left = 0
		q.afterCR = len(rest) == 0 && data[len(data)-1] == '\r'
	}
	return rest
}

// takeLine handles a line that is no header. rest is what follows it in the same
// segment. It reports false where the session has ended.
func (h *http) takeLine(
	t *flow.Tuple, a *App, c *httpSession, dir flow.Dir, line, rest []byte,
) bool {
	q := &c.side[dir&1]
	switch q.state {
	case httpFirst:
		if dir == flow.ToServer {
			h.requestLine(t, a, c, line)
			return true
		}
		return h.statusLine(t, a, c, line)
	case httpHeader:
		h.endHeader(t, c, dir)
		if dir == flow.ToClient && c.connect {
			if q.afterCR {
				q.state = httpTunnel
				return true
			}
			h.tunnel(t, a, c, rest)
			return false
		}
	case httpChunkSize:
		n, ok := number(line, 16)
		if !ok || n <= 0 {
			q.state, q.trailer = httpHeader, true
			break
		}
		q.state, q.left = httpChunk, n
	case httpChunkEnd:
		q.state = httpChunkSize
	case httpMultipart, httpPartHeader, httpPartLines:
		h.multipartLine(t, c, dir, line)
	}
	return true
}

// tunnel hands the connection on to whatever dissector knows what runs inside a
// CONNECT. rest is what the server has sent of it.
func (h *http) tunnel(t *flow.Tuple, a *App, c *httpSession, rest []byte) {
	ts := c.last
	h.close(t, a)
	a.handOver(0)
	h.s.Stream(t, a, flow.ToClient, ts, rest)
}

// multipartLine takes a line of a multipart body, which ends with the closing
// boundary.
func (h *http) multipartLine(t *flow.Tuple, c *httpSession, dir flow.Dir, line []byte) {
	q := &c.side[dir&1]
	h.count(q, line)
	q.body += 2
	n := len(q.mark)
	if len(line) >= n+2 && string(line[:2]) == "--" && bytes.Equal(line[2:2+n], q.mark) {
		if len(line) >= n+4 && string(line[2+n:4+n]) == "--" {
			h.made(t, c, dir, false)
			return
		}
		q.state, q.length, q.span, q.partial = httpPartHeader, -1, -1, false
		return
	}
	if q.state != httpPartHeader {
		return
	}
	if len(line) > 0 {
		if name, value := splitHeader(line); name != nil {
			h.framing(c, dir, name, value)
		}
		return
	}
	// A part with a length is counted as it is, one without line by line.
	switch {
	case q.length > 0:
		q.state, q.left, q.span = httpPart, q.length, q.length
	case q.length == 0:
		q.state = httpMultipart
	default:
		q.state = httpPartLines
	}
}

// count adds data to the body.
func (h *http) count(q *httpSide, data []byte) {
	if !q.zipped {
		q.body += int64(len(data))
		return
	}
	if q.zip == 0 {
		if !h.s.bufs.book(h.inflaters.size()) {
			q.zipped = false
			q.body += int64(len(data))
			return
		}
		id := h.inflaters.get()
		h.inflaters.at(id).reset()
		q.zip = id + 1
	}
	q.body += h.inflaters.at(q.zip - 1).feed(data)
}

// freeZip frees the inflater of a message.
func (h *http) freeZip(q *httpSide) {
	if q.zip != 0 {
		h.inflaters.put(q.zip - 1)
		h.s.bufs.free(h.inflaters.size())
		q.zip = 0
	}
}

// freeLine frees what a direction has buffered.
func (h *http) freeLine(q *httpSide) {
	h.s.bufs.release(q.buf)
	h.s.bufs.release(q.mark)
	q.buf, q.mark, q.held = nil, nil, false
}

// violate gives up a direction, or all of a connection that turned out not to
// speak HTTP. It reports false where the session has ended.
func (h *http) violate(t *flow.Tuple, a *App, c *httpSession) bool {
	h.s.stats.Violations++
	if c.seen == lateBytes {
		c.side[flow.ToClient].state = httpNothing
		return true
	}
	a.retract(protoHTTP)
	a.flags |= doneBoth
	h.close(t, a)
	return false
}

// gap skips bytes of a body; any other gap ends the direction.
func (h *http) gap(t *flow.Tuple, a *App, dir flow.Dir, ts flow.Time, n uint64) {
	c := h.open(a)
	if c == nil {
		return
	}
	c.last = ts
	q := &c.side[dir&1]
	if q.ongoing && q.body > 0 && (q.state == httpBody || q.state == httpChunk) &&
		uint64(q.left) >= n {
		q.body += int64(n)
		h.skip(t, c, dir, int64(n))
		return
	}
	if q.state == httpPart && q.left < q.span && uint64(q.left) >= n {
		// The gap is one of the part, but does not count for the whole.
		if q.left -= int64(n); q.left == 0 {
			q.state = httpMultipart
		}
		return
	}
	h.s.stats.Gaps++
	h.made(t, c, dir, true)
	if dir == flow.ToServer {
		// Whether a reply has a body may depend on the request's method.
		h.made(t, c, flow.ToClient, true)
	}
	q.state = httpNothing
	h.settle(t, a, c)
}

// fin ends a direction: what is there of a line is one, and the message is done.
func (h *http) fin(t *flow.Tuple, a *App, dir flow.Dir, ts flow.Time) {
	id, ok := a.has()
	if !ok || !a.Wants(dir) {
		return
	}
	c := h.sessions.at(id)
	c.last = ts
	q := &c.side[dir&1]
	if q.state == httpLines && q.left > 0 {
		q.body += 2
		q.left = 0
	}
	if len(q.buf) > 0 && !q.held {
		if _, more := h.line(t, a, c, dir, []byte("\n")); !more {
			return
		}
	}
	h.made(t, c, dir, false)
	h.settle(t, a, c)
}

func (h *http) close(t *flow.Tuple, a *App) {
	id, ok := a.has()
	if !ok {
		return
	}
	c := h.sessions.at(id)
	h.made(t, c, flow.ToServer, true)
	h.made(t, c, flow.ToClient, true)
	for c.head != 0 {
		h.write(t, c, c.head-1)
	}
	for i := range c.side {
		h.freeLine(&c.side[i])
		h.freeZip(&c.side[i])
	}
	h.s.detach(a, c.written)
	h.sessions.put(id)
	h.s.bufs.free(h.sessions.size() + h.exchanges.size())
}
