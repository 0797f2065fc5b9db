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
	lateBytes = 10<<10 + 1
)

// httpState says what the next bytes of a direction are.
type httpState uint8

const (
	httpFirst     httpState = iota // a request or status line
	httpHeader                     // a header line, or the empty one
	httpBody                       // left bytes of body
	httpChunkSize                  // a chunk's size
	httpChunk                      // left bytes of a chunk
	httpChunkEnd                   // the line end behind a chunk
	httpLines                      // lines of body until the connection ends
	httpParts                      // lines of a body that consists of entities
	httpRest                       // body until the connection ends
	httpCarried                    // another protocol
	httpNothing                    // of no use any more
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
	httpEntity
	buf     []byte // the beginning of a line, or a header line (held)
	head    []byte // a header line of a part (folding)
	folding bool   // head is a header line that the next line may continue
	held    bool   // buf is a header line that the next line may continue
	cut     bool   // buf is as long as a line may be, and the line longer
	afterCR bool   // the last line ended in CR, to which a LF would belong
	onlyLF  bool   // of a part: a line ends in CRLF, and only in that
	ongoing bool   // a message was begun and not ended
	old     bool   // the replies are HTTP/0.9: no lines at all
	trailer bool   // the header lines are behind the last chunk
	chunked bool
	state   httpState
	expect  httpExpect
	version uint16 // major<<8 | minor
	plain   int64  // bytes of a part that are no lines
	size    int64  // bytes until a line ends whatever it ends in, -1 if none does
}

// httpLog is what Zeek's script keeps for a connection: the exchanges, and the
// numbers by which replies find their requests.
type httpLog struct {
	written uint32
	// head and tail number the first and last exchange that is not written,
	// plus 1; count counts them.
	head, tail, count uint32
	// request and response are Zeek's numbers of the current request and reply,
	// depth that of exchanges.
	request, response, depth uint32
}

// httpSession is what a connection keeps.
type httpSession struct {
	httpLog
	seen  uint32 // payload bytes so far, at most lateBytes
	base  uint32 // the log's request when this session began
	last  flow.Time
	side  [2]httpSide
	outer uint32 // number of the session whose log is used, plus 1, or 0
	// carrier numbers what this connection carries now, plus 1.
	carrier uint32
	// unanswered counts the requests without a reply; heads has a bit for each
	// of the first 128 that says whether it was HEAD.
	unanswered uint32
	heads      [2]uint64
	code       uint16 // status of the reply that is being read
	keep       bool   // more than one request is to be expected
	asked      bool   // there was a request
	replied    bool   // the server has sent something
	again      bool   // Zeek would begin anew with what the other side sends
	guess      bool   // only a reply can tell that this is HTTP
	closing    bool   // a reply said "Connection: close"
	connect    bool   // the request was CONNECT
	upgrade    bool   // the reply said "Connection: upgrade"
	protocol   bool   // the reply had an Upgrade header
	websocket  bool   // and it said WebSocket
	tooLong    bool   // a header line was continued beyond Zeek's limit
}

type http struct {
	s         *Shard
	sessions  slab[httpSession]
	exchanges slab[httpExchange]
	inflaters slab[inflater]
	parts     slab[httpEntity]
	carriers  slab[httpCarrier]
	scratch   []byte
	frame     []byte // payload of a WebSocket frame without its mask
}

func newHTTP(s *Shard) *http { return &http{s: s} }

func (h *http) datagram(*flow.Tuple, *App, flow.Dir, flow.Time, []byte) {}

// open returns the connection's session, which is made if there is none; nil
// where there is no memory for it. The first exchange is booked with it.
func (h *http) open(a *App) *httpSession {
	id, ok := a.has()
	if ok {
		return h.sessions.at(id)
	}
	if !h.s.bufs.book(h.sessions.size() + h.exchanges.size()) {
		a.flags |= doneBoth
		return nil
	}
	id = h.sessions.get()
	c := h.sessions.at(id)
	*c = httpSession{} // in place, which a literal with the next would not be
	c.written = h.s.attach(a, id)
	c.side[flow.ToServer].size, c.side[flow.ToClient].size = -1, -1
	if a.flags&inside != 0 {
		c.outer = h.s.carrier
	}
	c.base = h.log(c).request
	return c
}

// log returns the log that a session writes to: that of the session which
// carries it, since Zeek's script knows only connections.
func (h *http) log(c *httpSession) *httpLog {
	if c.outer != 0 {
		return &h.sessions.at(c.outer - 1).httpLog
	}
	return &c.httpLog
}

func (h *http) stream(t *flow.Tuple, a *App, dir flow.Dir, ts flow.Time, data []byte) {
	_, known := a.has()
	c := h.open(a)
	if c == nil {
		return
	}
	c.last = ts
	if !known {
		c.guess = h.signature(t, a, dir, data) == no
	}
	again := false
	if c.again || dir == flow.ToClient && !c.replied {
		var ok bool
		if again, ok = h.began(t, a, c, dir, ts, data); !ok {
			return
		}
	}
	c.seen = min(c.seen+uint32(min(len(data), lateBytes)), lateBytes)
	if c.guess && c.seen > probeBytes {
		a.flags |= doneBoth // Zeek no longer looks at what is replied
		h.close(t, a)
		return
	}
	q := &c.side[dir&1]
	if q.size > 0 {
		q.size -= int64(len(data))
	}
	for len(data) > 0 && q.state != httpNothing {
		if q.afterCR {
			q.afterCR = false
			if data[0] == '\n' {
				data = data[1:]
				continue
			}
		}
		switch q.state {
		case httpCarried:
			h.carry(t, a, c, dir, data)
			return
		case httpBody, httpChunk:
			n := int(min(q.left, int64(len(data))))
			h.count(q, data[:n])
			data = data[n:]
			h.skip(t, c, dir, int64(n))
		case httpParts:
			data = h.entityData(t, c, dir, data)
		case httpLines:
			data = h.bodyLine(q, data)
		case httpRest:
			if q.old && !q.ongoing {
				h.beginOld(t, c, a)
			}
			h.count(q, data)
			data = nil
		default:
			more := false
			if data, more = h.line(t, a, c, dir, data); !more {
				return
			}
		}
	}
	if q.size == 0 {
		q.size = -1
		if !h.endLine(t, a, c, dir, "\r\n") {
			return
		}
	}
	if again {
		// The violation was among what was read again.
		a.retract(protoHTTP)
		a.flags |= doneBoth
	}
	h.settle(t, a, c)
}

// signature says what the first bytes of a direction look like, and the port
// where it counts.
func (h *http) signature(t *flow.Tuple, a *App, dir flow.Dir, data []byte) verdict {
	if a.flags&inside != 0 {
		t = &h.s.noPorts
	}
	return knownHTTP(t, dir, data)
}

// began looks at the first bytes of the second direction that sends something,
// where it is not sure that the first one is of HTTP. It reports whether Zeek has
// begun anew with them, and as ok whether the session has not ended.
func (h *http) began(
	t *flow.Tuple, a *App, c *httpSession, dir flow.Dir, ts flow.Time, data []byte,
) (again, ok bool) {
	first := dir == flow.ToClient && !c.replied
	c.replied = c.replied || first
	switch {
	case first && c.guess:
		if hasPrefixFold(data, "HTTP/", true) == no {
			h.close(t, a)
			h.s.redetect(t, a, dir, ts, data, protoHTTP)
			return false, false
		}
		// Zeek reads the requests only now.
		c.guess = false
		l := h.log(c)
		for at := l.head; at != 0; at = h.exchanges.at(at - 1).next {
			if x := h.exchanges.at(at - 1); x.number > c.base {
				x.ts = ts
			}
		}
	case first && c.again:
		if hasPrefixFold(data, "HTTP/", true) == no {
			a.flags |= doneBoth
			h.close(t, a)
			return false, false
		}
		h.anew(t, c)
	case c.again && dir == flow.ToServer && c.replied:
		if knownHTTP(&h.s.noPorts, dir, data) == no {
			a.flags |= doneBoth
			h.close(t, a)
			return false, false
		}
	default:
		return false, true
	}
	again, c.again = c.again, false
	return again, true
}

// forget drops the requests of a session without a reply to tell that they were
// some.
func (h *http) forget(t *flow.Tuple, c *httpSession) {
	l := h.log(c)
	for at := l.head; at != 0; {
		x, id := h.exchanges.at(at-1), at-1
		if at = x.next; x.number > c.base {
			h.write(t, c, id)
			l.depth--
		}
	}
	l.request = c.base
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
	q.size = -1
	h.made(t, c, dir, false)
}

// settle tells the connection which directions are of no use any more, and frees
// the session where none is.
func (h *http) settle(t *flow.Tuple, a *App, c *httpSession) {
	if c.tooLong && !c.guess {
		a.flags |= gaveUp
	}
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
			h.header(t, c, dir, &q.httpEntity, 0, q.buf)
			q.buf, q.cut, q.folding = q.buf[:0], false, false
		} else {
			q.folding = true
		}
	}
	line, rest, ended := cutLine(data)
	q.afterCR = ended && len(rest) == 0 && data[len(data)-1] == '\r'
	if !ended || len(q.buf) > 0 {
		if !h.hold(c, q, line) {
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
		if !h.takeLine(t, a, c, dir, line) {
			return nil, false
		}
	case len(rest) > 0 && rest[0] != ' ' && rest[0] != '\t':
		h.header(t, c, dir, &q.httpEntity, 0, line)
	case len(q.buf) > 0 || h.hold(c, q, line):
		q.held = true // the next line may continue it
		return rest, true
	}
	q.buf, q.cut, q.folding = q.buf[:0], false, false
	return rest, true
}

// hold keeps the beginning of a line. What a header line has beyond its limit is
// left out; any other line, and all of them where there is no memory, make it
// report false.
func (h *http) hold(c *httpSession, q *httpSide, data []byte) bool {
	if room := maxLine - len(q.buf); len(data) > room {
		if q.state != httpHeader {
			h.s.stats.SessionFull++
			return false
		}
		if data = data[:room]; !q.cut {
			q.cut = true
			h.s.stats.Truncated++
		}
		c.tooLong = c.tooLong || q.folding
	}
	var ok bool
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

// endLine ends the line of which a direction has the beginning, if any, as end
// does. It reports false where the session has ended.
func (h *http) endLine(t *flow.Tuple, a *App, c *httpSession, dir flow.Dir, end string) bool {
	q := &c.side[dir&1]
	switch {
	case q.state == httpLines:
		if q.left > 0 {
			h.bodyLine(q, []byte(end))
		}
	case len(q.buf) == 0 || q.held:
	case q.state == httpParts:
		h.entityData(t, c, dir, []byte(end))
	default:
		_, more := h.line(t, a, c, dir, []byte(end))
		return more
	}
	return true
}

// takeLine handles a line that is no header. It reports false where the session
// has ended.
func (h *http) takeLine(t *flow.Tuple, a *App, c *httpSession, dir flow.Dir, line []byte) bool {
	q := &c.side[dir&1]
	switch q.state {
	case httpFirst:
		if dir == flow.ToServer {
			return h.requestLine(t, a, c, line)
		}
		return h.statusLine(t, a, c, line)
	case httpHeader:
		h.endHeader(t, c, dir)
		if dir == flow.ToClient && c.connect {
			h.hand(c, false)
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
	}
	return true
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
	h.s.bufs.release(q.head)
	h.s.bufs.release(q.mark)
	q.buf, q.head, q.mark, q.held, q.folding, q.cut = nil, nil, nil, false, false, false
}

// violate is for what is no line of HTTP. Late in a connection, it ends a
// direction; early, Zeek takes its analyzer away. Where the other direction has
// not sent anything by then, its first bytes bring it back. It reports false
// where the session has ended.
func (h *http) violate(t *flow.Tuple, a *App, c *httpSession, dir flow.Dir) bool {
	h.s.stats.Violations++
	q := &c.side[dir&1]
	if c.seen == lateBytes {
		q.state = httpNothing
		return true
	}
	a.retract(protoHTTP)
	alone := !c.replied
	if dir == flow.ToClient {
		alone = !c.asked && len(c.side[flow.ToServer].buf) == 0 && q.version == 0
	}
	if alone && c.seen <= probeBytes {
		h.made(t, c, dir, true)
		q.state = httpNothing
		c.again = true
		return true
	}
	a.flags |= doneBoth
	h.close(t, a)
	return false
}

// anew begins once more with a connection whose client has violated HTTP, now
// that the server sends something. Zeek reads again what the client has sent, so
// that there is one more record of each request.
func (h *http) anew(t *flow.Tuple, c *httpSession) {
	l := h.log(c)
	last := l.tail
	for at := l.head; at != 0; {
		x := h.exchanges.at(at - 1)
		next := x.next
		if x.number > c.base {
			if !h.s.bufs.book(h.exchanges.size()) {
				return
			}
			h.s.bufs.free(h.exchanges.size())
			l.request++
			y := h.exchanges.at(h.exchange(t, c, flow.ToServer))
			for text := range textCount {
				if x.has&(1<<text) != 0 {
					from, n := int(x.spans[text][0]), int(x.spans[text][1])
					h.set(y, text, x.text[from:from+n])
				}
			}
			y.requested = x.requested
		}
		if at == last {
			break
		}
		at = next
	}
}

// gap skips bytes of a body; any other gap ends the direction.
func (h *http) gap(t *flow.Tuple, a *App, dir flow.Dir, ts flow.Time, n uint64) {
	c := h.open(a)
	if c == nil {
		return
	}
	c.last = ts
	if c.carrier != 0 {
		h.carriedGap(t, a, c, dir, n)
		return
	}
	q := &c.side[dir&1]
	if q.ongoing && q.body > 0 && (q.state == httpBody || q.state == httpChunk) &&
		uint64(q.left) >= n {
		q.body += int64(n)
		h.skip(t, c, dir, int64(n))
		return
	}
	if q.state == httpParts && h.entityGap(t, c, dir, n) {
		h.settle(t, a, c)
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
// Zeek does not tell what a connection carries.
func (h *http) fin(t *flow.Tuple, a *App, dir flow.Dir, ts flow.Time) {
	id, ok := a.has()
	if !ok || !a.Wants(dir) || a.flags&inside != 0 {
		return
	}
	c := h.sessions.at(id)
	c.last = ts
	if !h.endLine(t, a, c, dir, "\n") {
		return
	}
	h.made(t, c, dir, false)
	h.settle(t, a, c)
}

// reset ends the messages that are being read. Where there is none, one may
// still follow. As with the end of a direction, Zeek does not tell what a
// connection carries.
func (h *http) reset(t *flow.Tuple, a *App, ts flow.Time) {
	id, ok := a.has()
	if !ok || a.flags&inside != 0 {
		return
	}
	c := h.sessions.at(id)
	c.last = ts
	h.made(t, c, flow.ToServer, true)
	h.made(t, c, flow.ToClient, true)
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
	if c.carrier != 0 {
		h.dropCarrier(t, a, c)
	}
	if c.guess {
		h.forget(t, c)
	}
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
