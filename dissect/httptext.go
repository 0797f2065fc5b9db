// SPDX-License-Identifier: Apache-2.0

package dissect

import (
	"bytes"
	"math"

	"weir/internal/flow"
)

// splitHeader splits a header line into name and value. name is nil where it is
// no header.
func splitHeader(line []byte) (name, value []byte) {
	for len(line) > 0 && isLWS(line[0]) {
		line = line[1:] // a continuation of nothing
	}
	n := 0
	for n < len(line) && line[n] > ' ' && line[n] < 0x7f && line[n] != ':' {
		n++
	}
	colon := n
	for colon < len(line) && isLWS(line[colon]) {
		colon++
	}
	if n == 0 || colon == len(line) || line[colon] != ':' {
		return nil, nil
	}
	value = line[colon+1:]
	for len(value) > 0 && isSpace(value[0]) {
		value = value[1:]
	}
	return line[:n], value
}

// header takes one header line with its continuations.
func (h *http) header(t *flow.Tuple, c *httpSession, dir flow.Dir, line []byte) {
	name, value := splitHeader(line)
	if name == nil {
		return
	}
	h.framing(c, dir, name, value)
	if dir == flow.ToServer {
		h.requestHeader(h.exchanges.at(h.exchange(t, c, dir)), name, value)
		return
	}
	switch {
	case len(name) == 10 && is(name, "CONNECTION"):
		token := firstToken(value)
		c.closing = c.closing || is(token, "CLOSE")
		c.upgrade = c.upgrade || is(token, "UPGRADE")
	case len(name) == 7 && is(name, "UPGRADE"):
		c.protocol = len(firstToken(value)) > 0
	}
}

// framing takes the headers that say where a body ends and how it is packed.
func (h *http) framing(c *httpSession, dir flow.Dir, name, value []byte) {
	q := &c.side[dir&1]
	part := q.state == httpPartHeader
	switch len(name) {
	case 12:
		if is(name, "CONTENT-TYPE") && !part {
			// Without room for the boundary, the body is not read as multipart.
			q.mark, _ = h.s.bufs.add(q.mark[:0], boundary(value))
		}
	case 13:
		if is(name, "CONTENT-RANGE") && dir == flow.ToClient && c.code == 206 {
			q.contentRange(value)
		}
	case 14:
		if !is(name, "CONTENT-LENGTH") {
			return
		}
		token := firstToken(value)
		if len(token) == 0 {
			return
		}
		n, ok := number(token, 10)
		if !ok {
			n = 0
		}
		if q.length = n; ok && q.partial && q.span > n {
			q.length = q.span
		}
	case 16:
		if !is(name, "CONTENT-ENCODING") || part {
			return
		}
		if token := firstToken(value); is(token, "GZIP") || is(token, "X-GZIP") || is(token, "DEFLATE") {
			q.zipped = true
		}
	case 17:
		if !is(name, "TRANSFER-ENCODING") || part {
			return
		}
		version := q.version
		if dir == flow.ToClient && c.side[flow.ToServer].ongoing {
			version = c.side[flow.ToServer].version
		}
		if version == 0x0101 && is(firstToken(value), "CHUNKED") {
			q.chunked = true
		}
	}
}

// contentRange takes "bytes 0-99/1000" of a partial reply: Zeek believes the
// longer one of it and Content-Length.
func (q *httpSide) contentRange(value []byte) {
	unit := firstToken(value)
	if string(unit) != "bytes" {
		return
	}
	rest := value[bytes.Index(value, unit)+len(unit):]
	slash := bytes.IndexByte(rest, '/')
	if slash < 0 {
		return
	}
	dash := bytes.IndexByte(rest[:slash], '-')
	if dash < 0 {
		return
	}
	first, ok1 := number(skipSpace(rest[:dash]), 10)
	last, ok2 := number(skipSpace(rest[dash+1:slash]), 10)
	n := last - first + 1
	if !ok1 || !ok2 || n <= 0 {
		return
	}
	q.partial, q.span = true, n
	if q.length <= 0 || n > q.length {
		q.length = n
	}
}

// requestHeader takes the headers of a request that become attributes.
func (h *http) requestHeader(x *httpExchange, name, value []byte) {
	switch len(name) {
	case 3:
		if is(name, "VIA") {
			h.proxy(x, name, value)
		}
	case 4:
		if is(name, "HOST") {
			h.set(x, textHost, value)
		}
	case 6:
		if is(name, "ORIGIN") {
			h.set(x, textOrigin, value)
		}
	case 7:
		if is(name, "REFERER") {
			h.set(x, textReferrer, value)
		}
	case 9:
		if is(name, "FORWARDED") || is(name, "CLIENT-IP") {
			h.proxy(x, name, value)
		}
	case 10:
		if is(name, "USER-AGENT") {
			h.set(x, textAgent, value)
		}
	case 13:
		if is(name, "AUTHORIZATION") {
			h.user(x, value)
		}
	case 15:
		if is(name, "X-FORWARDED-FOR") {
			h.proxy(x, name, value)
		}
	case 16:
		if is(name, "X-FORWARDED-FROM") || is(name, "XROXY-CONNECTION") || is(name, "PROXY-CONNECTION") {
			h.proxy(x, name, value)
		}
	case 19:
		if is(name, "PROXY-AUTHORIZATION") {
			h.user(x, value)
		}
	}
}

// proxy adds "NAME -> value" to the set of the headers that tell of a proxy.
func (h *http) proxy(x *httpExchange, name, value []byte) {
	text := h.scratch[:0]
	for _, c := range name {
		text = append(text, upper(c))
	}
	text = append(append(text, " -> "...), value...)
	h.scratch = text
	for _, span := range x.proxied[:x.nproxied] {
		at, n := int(span[0]), int(span[1])
		if bytes.Equal(x.text[at:at+n], text) {
			return
		}
	}
	if x.nproxied == maxProxied {
		h.s.stats.Truncated++
		return
	}
	if span, ok := h.keep(x, text); ok {
		x.proxied[x.nproxied] = span
		x.nproxied++
	}
}

// is reports whether name is want, which is in upper case, without regard to
// case.
func is(name []byte, want string) bool {
	if len(name) != len(want) {
		return false
	}
	for i, c := range name {
		if upper(c) != want[i] {
			return false
		}
	}
	return true
}

func isLWS(c byte) bool   { return c == ' ' || c == '\t' }
func isSpace(c byte) bool { return c == ' ' || c >= '\t' && c <= '\r' }
func isDigit(c byte) bool { return c >= '0' && c <= '9' }

func skipSpace(s []byte) []byte {
	for len(s) > 0 && isLWS(s[0]) {
		s = s[1:]
	}
	return s
}

// oneOf reports whether the bit of c, an ASCII character, is set in one of two
// sets: of the characters below 64 and of those from 64.
func oneOf(c byte, low, high uint64) bool {
	if c < 64 {
		return low>>c&1 != 0
	}
	return c < 128 && high>>(c-64)&1 != 0
}

// isToken reports whether c may be in a method or in a word of a header.
func isToken(c byte) bool {
	const (
		low = 1<<'(' | 1<<')' | 1<<'<' | 1<<'>' | 1<<',' | 1<<';' | 1<<':' | 1<<'"' | 1<<'/' |
			1<<'?' | 1<<'='
		high = 1<<('@'-64) | 1<<('\\'-64) | 1<<('['-64) | 1<<(']'-64)
	)
	return c > ' ' && c < 0x7f && !oneOf(c, low, high)
}

// firstToken returns the first word of a header's value.
func firstToken(value []byte) []byte {
	value = skipSpace(value)
	for i, c := range value {
		if !isToken(c) {
			return value[:i]
		}
	}
	return value
}

// number reads a number in base 10 or 16 up to the first byte that is no digit.
// It reports false where there is none, or where it does not fit.
func number(s []byte, base uint64) (int64, bool) {
	negative := len(s) > 0 && s[0] == '-'
	if negative {
		s = s[1:]
	}
	var n uint64
	for i, c := range s {
		var d uint64
		switch c = upper(c); {
		case isDigit(c):
			d = uint64(c - '0')
		case c >= 'A' && c <= 'F' && base == 16:
			d = uint64(c-'A') + 10
		case i > 0:
			return signed(n, negative), true
		default:
			return 0, false
		}
		if n > (math.MaxInt64-d)/base {
			return 0, false
		}
		n = n*base + d
	}
	return signed(n, negative), len(s) > 0
}

func signed(n uint64, negative bool) int64 {
	if negative {
		return -int64(n)
	}
	return int64(n)
}

// boundary returns the boundary of a multipart content type, nil for any other.
func boundary(value []byte) []byte {
	if len(value) < 10 || !bytes.EqualFold(value[:10], []byte("multipart/")) {
		return nil
	}
	for {
		i := bytes.IndexByte(value, ';')
		if i < 0 {
			return nil
		}
		value = skipSpace(value[i+1:])
		if len(value) < 9 || !bytes.EqualFold(value[:9], []byte("boundary=")) {
			continue
		}
		value = value[9:]
		if len(value) > 0 && value[0] == '"' {
			if end := bytes.IndexByte(value[1:], '"'); end >= 0 {
				return value[1 : 1+end]
			}
		}
		if end := bytes.IndexAny(value, "; \t"); end >= 0 {
			value = value[:end]
		}
		return value
	}
}

// parseVersion reads "1.1" as major<<8 | minor, anything else as 0.
func parseVersion(s []byte) uint16 {
	if len(s) >= 3 && isDigit(s[0]) && s[1] == '.' && isDigit(s[2]) {
		return uint16(s[0]-'0')<<8 | uint16(s[2]-'0')
	}
	return 0
}

// splitRequest splits what follows the method into the target and the version,
// which is 0.9 where there is none. Spaces may be part of the target.
func splitRequest(s []byte) (uri []byte, version uint16) {
	end := 0
	for end < len(s) && isURI(s[end]) {
		end++
	}
	if end == len(s) && hasPrefixFold(s, "HTTP/", false) == yes {
		end = 0
	}
	at := end
	for ; at < len(s); at++ {
		end = at
		at = len(s) - len(skipSpace(s[at:]))
		if hasPrefixFold(s[at:], "HTTP/", false) == yes {
			break
		}
	}
	if at >= len(s) {
		return s[:end], 0x0009
	}
	if at+8 <= len(s) {
		version = parseVersion(s[at+5:])
	}
	return s[:end], version
}

// isURI reports whether c needs no look at what follows the target.
func isURI(c byte) bool {
	const (
		digits = 0x3ff << '0'
		low    = digits | 1<<':' | 1<<'/' | 1<<'?' | 1<<'#' | 1<<'!' | 1<<'$' | 1<<'&' | 1<<'\'' |
			1<<'(' | 1<<')' | 1<<'*' | 1<<'+' | 1<<',' | 1<<';' | 1<<'=' | 1<<'-' | 1<<'.' |
			1<<'%' | 1
		letters = 0x3ffffff<<('A'-64) | 0x3ffffff<<('a'-64)
		high    = letters | 1<<('['-64) | 1<<(']'-64) | 1<<('@'-64) | 1<<('_'-64) | 1<<('~'-64)
	)
	return oneOf(c, low, high)
}

// unescape appends a target to dst with its %xx and %uxxxx decoded.
func unescape(dst, s []byte) []byte {
	for i := 0; i < len(s); i++ {
		if s[i] != '%' {
			n := bytes.IndexByte(s[i:], '%')
			if n < 0 {
				return append(dst, s[i:]...)
			}
			dst = append(dst, s[i:i+n]...)
			i += n
		}
		rest := s[i+1:]
		switch {
		case len(rest) < 2:
			return append(append(dst, '%'), rest...)
		case rest[0] == '%': // the first one is ignored
		case isHex(rest[0]) && isHex(rest[1]):
			dst = append(dst, unhex(rest[0])<<4|unhex(rest[1]))
			i += 2
		case len(rest) >= 5 && rest[0] == 'u' && isHex(rest[1]) && isHex(rest[2]) &&
			isHex(rest[3]) && isHex(rest[4]):
			if high := unhex(rest[1])<<4 | unhex(rest[2]); high != 0 {
				dst = append(dst, high)
			}
			dst = append(dst, unhex(rest[3])<<4|unhex(rest[4]))
			i += 5
		default:
			dst = append(dst, '%', rest[0])
			i++
		}
	}
	return dst
}

func isHex(c byte) bool {
	return isDigit(c) || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F'
}

func unhex(c byte) byte {
	if isDigit(c) {
		return c - '0'
	}
	return upper(c) - 'A' + 10
}
