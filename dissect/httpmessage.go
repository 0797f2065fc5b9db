// SPDX-License-Identifier: Apache-2.0

package dissect

import (
	"bytes"
	"encoding/base64"

	"weir/internal/flow"
)

// Texts of an exchange, by the attribute they become. The order is that in
// which they are written.
const (
	textMethod = iota
	textHost
	textURI
	textReferrer
	textVersion
	textAgent
	textOrigin
	textStatus
	textInfo
	textUser
	textCount
)

// maxProxied is how many headers of proxies one record lists.
const maxProxied = 8

// httpExchange is a request and its reply.
type httpExchange struct {
	ts        flow.Time
	next      uint32 // number of the next exchange of the session, plus 1
	number    uint32 // Zeek's: replies find their requests by it
	depth     uint32
	code      uint16
	info      uint16
	has       uint16 // bits by text; hasCode, hasInfo
	nproxied  uint8
	requested int64 // bytes of the request's body
	replied   int64 // bytes of the reply's body
	spans     [textCount][2]uint16
	proxied   [maxProxied][2]uint16
	text      []byte // the texts, in the order in which they came
}

const (
	hasCode = 1 << (textCount + iota)
	hasInfo
)

// exchange returns the number of the exchange that a message of a direction
// belongs to, which is made if there is none. Where there is no memory for one
// more, the oldest is written as it is.
func (h *http) exchange(t *flow.Tuple, c *httpSession, dir flow.Dir) uint32 {
	l := h.log(c)
	number := l.request
	if dir == flow.ToClient {
		number = l.response
	}
	if at := h.find(l, number); at != 0 {
		return at - 1
	}
	for l.count > 0 && !h.s.bufs.book(h.exchanges.size()) {
		h.write(t, c, l.head-1)
	}
	id := h.exchanges.get()
	l.depth++
	*h.exchanges.at(id) = httpExchange{ts: c.last, number: number, depth: l.depth}
	if l.tail == 0 {
		l.head = id + 1
	} else {
		h.exchanges.at(l.tail - 1).next = id + 1
	}
	l.tail = id + 1
	l.count++
	return id
}

// find returns the number of the exchange with Zeek's number, plus 1; 0 if it
// was written or never made.
func (h *http) find(l *httpLog, number uint32) uint32 {
	if l.tail != 0 && h.exchanges.at(l.tail-1).number == number {
		return l.tail
	}
	for at := l.head; at != 0; {
		x := h.exchanges.at(at - 1)
		if x.number == number {
			return at
		}
		at = x.next
	}
	return 0
}

// set gives a text a value.
func (h *http) set(x *httpExchange, text int, value []byte) {
	if span, ok := h.keep(x, value); ok {
		x.spans[text] = span
		x.has |= 1 << text
	}
}

// keep stores a value with the exchange.
func (h *http) keep(x *httpExchange, value []byte) ([2]uint16, bool) {
	at := len(x.text)
	ok := at+len(value) < 1<<16
	if ok {
		x.text, ok = h.s.bufs.add(x.text, value)
	}
	if !ok {
		h.s.stats.Truncated++
		return [2]uint16{}, false
	}
	return [2]uint16{uint16(at), uint16(len(value))}, true
}

// requestLine begins a request. It reports false where the session has ended.
func (h *http) requestLine(t *flow.Tuple, a *App, c *httpSession, line []byte) bool {
	q := &c.side[flow.ToServer]
	n := 0
	for n < len(line) && isMethod(line[n]) {
		n++
	}
	rest := skipSpace(line[n:])
	if n == 0 || len(rest) == len(line)-n {
		return h.badRequest(t, a, c, line)
	}
	uri, version, ok := splitRequest(rest)
	if ok {
		h.version(c, q, version)
	}
	if q.version == 0x0009 && (n < 3 || len(uri) == 0) {
		return h.badRequest(t, a, c, line)
	}
	if !c.guess {
		a.confirm(protoHTTP)
	}
	c.asked = true
	// As many letters as there are, be it one.
	if c.unanswered < 128 && n <= 4 && bytes.EqualFold(line[:n], []byte("HEAD")[:n]) {
		c.heads[c.unanswered>>6] |= 1 << (c.unanswered & 63)
	}
	c.unanswered++
	if n <= 7 && bytes.EqualFold(line[:n], []byte("CONNECT")[:n]) {
		c.connect = true
	}
	l := h.log(c)
	if l.request < l.response {
		l.request = l.response
	}
	if l.count > maxRequests {
		if l.response == 0 {
			l.response++
		}
		for at := l.head; at != 0; {
			x := h.exchanges.at(at - 1)
			id := at - 1
			if at = x.next; x.number >= l.response && x.number < l.request {
				h.write(t, c, id)
			}
		}
		l.response = max(l.response, l.request)
	}
	l.request++
	x := h.exchanges.at(h.exchange(t, c, flow.ToServer))
	h.set(x, textMethod, line[:n])
	h.scratch = unescape(h.scratch[:0], uri)
	h.set(x, textURI, h.scratch)
	h.begin(q, bodyMaybe)
	if q.version == 0x0009 {
		h.made(t, c, flow.ToClient, false)
		r := &c.side[flow.ToClient]
		r.old, r.state = true, httpRest
	}
	return true
}

// version notes the version of a message. From 1.1 on, requests may follow each
// other.
func (h *http) version(c *httpSession, q *httpSide, version uint16) {
	q.version = version
	c.keep = c.keep || version > 0x0100
}

// badRequest is for what is no request. An empty line is nothing, and so is any
// where no request is to be expected. It reports false where the session has
// ended.
func (h *http) badRequest(t *flow.Tuple, a *App, c *httpSession, line []byte) bool {
	if len(line) == 0 || c.asked && !c.keep {
		return true
	}
	return h.violate(t, a, c, flow.ToServer)
}

// statusLine begins a reply. It reports false where the session has ended.
func (h *http) statusLine(t *flow.Tuple, a *App, c *httpSession, line []byte) bool {
	q := &c.side[flow.ToClient]
	rest := line
	if hasPrefixFold(line, "HTTP/", false) == yes {
		rest = line[5:]
		h.version(c, q, parseVersion(rest))
		for len(rest) > 0 && !isLWS(rest[0]) {
			rest = rest[1:]
		}
		rest = skipSpace(rest)
	} else {
		rest = nil
	}
	if len(rest) < 3 {
		return len(line) == 0 || h.violate(t, a, c, flow.ToClient)
	}
	if c.unanswered > 0 {
		a.confirm(protoHTTP)
	}
	c.code = 0
	if isDigit(rest[0]) && isDigit(rest[1]) && isDigit(rest[2]) {
		c.code = uint16(rest[0]-'0')*100 + uint16(rest[1]-'0')*10 + uint16(rest[2]-'0')
	}
	reason := []byte("<empty>")
	for i := 3; i < len(rest); i++ {
		if isLWS(rest[i]) {
			reason = skipSpace(rest[i:])
			break
		}
	}
	h.reply(t, c, reason)
	if c.connect && c.code != 200 {
		c.connect = false
	}
	expect := bodyExpected
	if c.unanswered > 0 && c.heads[0]&1 != 0 || c.code >= 100 && c.code < 200 ||
		c.code == 204 || c.code == 304 {
		expect = bodyNever
	}
	h.begin(q, expect)
	return true
}

// reply notes a status line.
func (h *http) reply(t *flow.Tuple, c *httpSession, reason []byte) {
	l := h.log(c)
	if at := h.find(l, l.response); at == 0 || h.exchanges.at(at-1).answered() {
		l.response++
	}
	x := h.exchanges.at(h.exchange(t, c, flow.ToClient))
	x.code = c.code
	x.has |= hasCode
	h.set(x, textStatus, reason)
	v := c.side[flow.ToClient].version
	h.set(x, textVersion, []byte{'0' + byte(v>>8), '.', '0' + byte(v)})
	if c.code >= 100 && c.code <= 199 {
		x.info = c.code
		x.has |= hasInfo
		h.set(x, textInfo, reason)
	}
}

// answered reports whether the exchange has its final status.
func (x *httpExchange) answered() bool {
	return x.has&hasCode != 0 && (x.code < 100 || x.code > 199)
}

// beginOld begins an HTTP/0.9 reply, which is a body and nothing else.
func (h *http) beginOld(t *flow.Tuple, c *httpSession, a *App) {
	q := &c.side[flow.ToClient]
	q.version = 0x0009
	if c.unanswered > 0 {
		a.confirm(protoHTTP)
		h.answered(c)
	}
	c.closing = true
	h.reply(t, c, []byte("<empty>"))
	h.begin(q, bodyExpected)
	q.state, q.ongoing = httpRest, true
}

// begin starts a message behind its first line.
func (h *http) begin(q *httpSide, expect httpExpect) {
	h.freeZip(q)
	h.s.bufs.release(q.mark)
	q.httpEntity = httpEntity{length: -1, span: -1}
	q.state, q.expect, q.ongoing = httpHeader, expect, true
	q.trailer, q.chunked, q.onlyLF, q.plain = false, false, false, 0
}

// endHeader finds out what follows the headers.
func (h *http) endHeader(t *flow.Tuple, c *httpSession, dir flow.Dir) {
	q := &c.side[dir&1]
	if q.length >= 0 {
		// Whether there is a body or not.
		q.size = q.length
	}
	switch {
	case q.trailer, q.expect == bodyNever:
		h.made(t, c, dir, false)
	case q.kind != kindOther:
		if q.length == 0 {
			h.made(t, c, dir, false)
			return
		}
		q.state, q.left = httpParts, q.length
		if q.kind == kindMessage {
			h.beginPart(&q.httpEntity, 0)
		}
	case q.chunked:
		q.state = httpChunkSize
	case q.length == 0:
		h.made(t, c, dir, false)
	case q.length > 0:
		q.state, q.left = httpBody, q.length
	case c.closing || q.zipped:
		q.state = httpRest
	case q.expect == bodyExpected:
		q.state, q.left = httpLines, 0
	default:
		h.made(t, c, dir, false)
	}
}

// made ends the message that a direction is in, if any: the request or reply is
// complete, or will not be.
func (h *http) made(t *flow.Tuple, c *httpSession, dir flow.Dir, interrupted bool) {
	q := &c.side[dir&1]
	if !q.ongoing {
		return
	}
	if q.held {
		q.held = false
		h.header(t, c, dir, &q.httpEntity, 0, q.buf)
		q.buf, q.folding = q.buf[:0], false
	}
	if q.state == httpLines {
		q.body -= q.left // Zeek counts whole lines
	}
	q.ongoing = false
	h.endPart(t, c, dir, &q.httpEntity, 0)
	h.freeZip(q)
	h.s.bufs.release(q.mark)
	q.mark, q.onlyLF = nil, false
	id := h.exchange(t, c, dir)
	x := h.exchanges.at(id)
	switch {
	case q.state == httpCarried:
	case interrupted:
		q.state = httpNothing
	default:
		q.state = httpFirst
	}
	if dir == flow.ToServer {
		x.requested = q.body
		return
	}
	x.replied = q.body
	if x.has&hasCode == 0 || x.answered() {
		h.write(t, c, id)
	}
	if c.code < 100 || c.code >= 200 {
		h.answered(c)
	}
	// What follows may be another protocol, in both directions.
	switched := c.code == 101 && c.unanswered == 1 && c.upgrade && c.protocol
	websocket := c.websocket
	c.code, c.upgrade, c.protocol, c.websocket = 0, false, false, false
	if switched && c.carrier == 0 {
		h.hand(c, websocket)
	}
}

// answered takes the first request from the unanswered ones.
func (h *http) answered(c *httpSession) {
	if c.unanswered > 0 {
		c.unanswered--
		c.heads[0] = c.heads[0]>>1 | c.heads[1]<<63
		c.heads[1] >>= 1
	}
}

// write writes an exchange and frees it.
func (h *http) write(t *flow.Tuple, c *httpSession, id uint32) {
	l := h.log(c)
	x := h.exchanges.at(id)
	if l.head == id+1 {
		if l.head = x.next; l.head == 0 {
			l.tail = 0
		}
	} else {
		at := l.head
		for h.exchanges.at(at-1).next != id+1 {
			at = h.exchanges.at(at - 1).next
		}
		h.exchanges.at(at - 1).next = x.next
		if l.tail == id+1 {
			l.tail = at
		}
	}
	if l.count--; l.count > 0 {
		h.s.bufs.free(h.exchanges.size())
	}
	if !c.guess && h.s.begin(flow.HTTP, t, x.ts, &l.written) {
		h.fill(x)
	}
	h.s.bufs.release(x.text)
	x.text = nil
	h.exchanges.put(id)
}

// fill sets the attributes of the record begun last.
func (h *http) fill(x *httpExchange) {
	out := h.s.Out
	out.SetInt(flow.HTTPTransDepth, int64(x.depth))
	attrs := [textCount]int{
		flow.HTTPMethod, flow.HTTPHost, flow.HTTPURI, flow.HTTPReferrer, flow.HTTPVersion,
		flow.HTTPUserAgent, flow.HTTPOrigin, flow.HTTPStatusMsg, flow.HTTPInfoMsg, flow.HTTPUsername,
	}
	for i, attr := range attrs {
		if x.has&(1<<i) != 0 {
			at, n := int(x.spans[i][0]), int(x.spans[i][1])
			out.SetText(attr, x.text[at:at+n])
		}
	}
	if x.has&hasCode != 0 {
		out.SetInt(flow.HTTPStatusCode, int64(x.code))
	}
	if x.has&hasInfo != 0 {
		out.SetInt(flow.HTTPInfoCode, int64(x.info))
	}
	out.SetInt(flow.HTTPRequestBodyLen, x.requested)
	out.SetInt(flow.HTTPResponseBodyLen, x.replied)
	for _, span := range x.proxied[:x.nproxied] {
		at, n := int(span[0]), int(span[1])
		out.AppendText(flow.HTTPProxied, x.text[at:at+n])
	}
}

// user notes the user name of Basic authentication, never the password.
func (h *http) user(x *httpExchange, value []byte) {
	if len(value) < 6 || !bytes.EqualFold(value[:6], []byte("Basic ")) {
		return
	}
	coded := skipSpace(value[6:])
	for len(coded) > 0 && (coded[len(coded)-1] == '=' || isLWS(coded[len(coded)-1])) {
		coded = coded[:len(coded)-1]
	}
	// Whole groups up to the colon are enough, and the password stays coded.
	h.scratch = h.scratch[:0]
	for len(coded) > 0 {
		var group [3]byte
		k := min(4, len(coded))
		n, err := base64.RawStdEncoding.Decode(group[:], coded[:k])
		if err != nil {
			return
		}
		if i := bytes.IndexByte(group[:n], ':'); i >= 0 {
			h.set(x, textUser, append(h.scratch, group[:i]...))
			return
		}
		h.scratch = append(h.scratch, group[:n]...)
		coded = coded[k:]
	}
}
