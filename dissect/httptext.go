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
	i := 0
	if len(line) > 0 && (!isName(line[0]) || line[0] == '(') { // rarely
		i = skipComments(line)
		for i < len(line) && !isName(line[i]) {
			i += max(1, skipComments(line[i:]))
		}
	}
	n := i
	for n < len(line) && isName(line[n]) {
		n++
	}
	if n == i {
		return nil, nil
	}
	name, line = line[i:n], line[n:]
	if len(line) == 0 || line[0] != ':' {
		if line = line[skipComments(line):]; len(line) == 0 || line[0] != ':' {
			return nil, nil
		}
	}
	value = line[1:]
	for len(value) > 0 && isSpace(value[0]) {
		value = value[1:]
	}
	return name, value
}

// header takes one header line of an entity with its continuations.
func (h *http) header(
	t *flow.Tuple, c *httpSession, dir flow.Dir, e *httpEntity, depth int, line []byte,
) {
	name, value := splitHeader(line)
	if name == nil {
		return
	}
	h.framing(c, dir, e, depth, name, value)
	if dir == flow.ToServer {
		if !c.keep && len(name) == 10 && is(name, "CONNECTION") && is(firstToken(value), "KEEP-ALIVE") {
			c.keep = true
		}
		h.requestHeader(h.exchanges.at(h.exchange(t, c, dir)), name, value)
		return
	}
	switch {
	case len(name) == 10 && is(name, "CONNECTION"):
		token := firstToken(value)
		c.closing = c.closing || is(token, "CLOSE")
		c.upgrade = c.upgrade || is(token, "UPGRADE")
	case len(name) == 7 && is(name, "UPGRADE"):
		token := firstToken(value)
		c.protocol, c.websocket = len(token) > 0, is(token, "WEBSOCKET")
	}
}

// framing takes the headers that say where a body ends and how it is packed.
func (h *http) framing(
	c *httpSession, dir flow.Dir, e *httpEntity, depth int, name, value []byte,
) {
	q := &c.side[dir&1]
	switch len(name) {
	case 12:
		if is(name, "CONTENT-TYPE") {
			h.contentType(e, value)
		}
	case 13:
		if is(name, "CONTENT-RANGE") && c.code == 206 {
			h.contentRange(e, value)
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
		if !ok || n < 0 {
			e.length = 0
			return
		}
		if e.length = n; e.partial && e.span > n {
			e.length = e.span
		}
	case 16:
		if !is(name, "CONTENT-ENCODING") {
			return
		}
		if token := firstToken(value); is(token, "GZIP") || is(token, "X-GZIP") || is(token, "DEFLATE") {
			e.zipped = true
		}
	case 17:
		if depth > 0 || !is(name, "TRANSFER-ENCODING") {
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
func (h *http) contentRange(e *httpEntity, value []byte) {
	unit, rest := cutToken(value)
	if string(unit) != "bytes" {
		return
	}
	h.scratch = h.scratch[:0]
	for _, c := range rest {
		if c != ' ' {
			h.scratch = append(h.scratch, c)
		}
	}
	bounds, _, ok := bytes.Cut(h.scratch, []byte("/"))
	from, to, isRange := bytes.Cut(bounds, []byte("-"))
	if !ok || !isRange {
		return
	}
	first, ok1 := number(from, 10)
	last, ok2 := number(to, 10)
	if !ok1 || !ok2 || first < 0 || last < first || last-first == math.MaxInt64 {
		return
	}
	n := last - first + 1
	e.partial, e.span = true, n
	if e.length <= 0 || n > e.length {
		e.length = n
	}
}

// contentType finds out whether an entity consists of others, and the boundary
// between them. Without room for the boundary, it is as if it did not.
func (h *http) contentType(e *httpEntity, value []byte) {
	if e.kind == kindOther && len(value) > 0 && isToken(value[0]) && upper(value[0]) != 'M' {
		return // like most, which need not be read to the end for that
	}
	kind, rest := cutToken(value)
	rest = rest[skipComments(rest):]
	if len(kind) == 0 || len(rest) == 0 || rest[0] != '/' {
		return
	}
	subtype, rest := cutToken(rest[1:])
	if len(subtype) == 0 {
		return
	}
	switch {
	case is(kind, "MULTIPART"):
		if mark := boundary(rest); mark != nil {
			// The dashes in front of it are there even where it is empty.
			h.scratch = append(append(h.scratch[:0], "--"...), mark...)
			e.mark, _ = h.s.bufs.add(e.mark[:0], h.scratch)
		}
		if e.kind = kindMultipart; len(e.mark) == 0 {
			e.kind = kindOther
		}
	case is(kind, "MESSAGE"):
		e.kind = kindMessage
	default:
		e.kind = kindOther
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
		return low>>(c&63)&1 != 0 // the compiler would check the shift
	}
	return c < 128 && high>>(c&63)&1 != 0
}

// The characters that are neither in a method nor in a word of a header.
const (
	specialLow = 1<<'(' | 1<<')' | 1<<'<' | 1<<'>' | 1<<',' | 1<<';' | 1<<':' | 1<<'"' | 1<<'/' |
		1<<'?' | 1<<'='
	specialHigh = 1<<('@'-64) | 1<<('\\'-64) | 1<<('['-64) | 1<<(']'-64)
	braces      = 1<<('{'-64) | 1<<('}'-64)

	// What is neither blank nor control nor one of these.
	wordLow  = ^uint64(1<<(' '+1)-1) &^ specialLow
	wordHigh = ^uint64(1<<(0x7f-64)) &^ specialHigh
)

// isMethod reports whether c may be in a method.
func isMethod(c byte) bool { return oneOf(c, wordLow, wordHigh&^braces) }

// isToken reports whether c may be in a word of a header.
func isToken(c byte) bool { return oneOf(c, wordLow, wordHigh) }

// isName reports whether c may be in the name of a header.
func isName(c byte) bool { return c > ' ' && c < 0x7f && c != ':' }

// skipComments returns how long the blanks and comments are that s begins with.
func skipComments(s []byte) int {
	i := 0
	for i < len(s) {
		if isLWS(s[i]) {
			i++
			continue
		}
		if s[i] != '(' {
			return i
		}
		for open := 0; i < len(s); i++ {
			switch s[i] {
			case '(':
				open++
			case ')':
				open--
			case '\\':
				i++
			}
			if open == 0 {
				break
			}
		}
		i++
	}
	return len(s)
}

// cutToken returns the first word of a header's value and what follows it. What
// cannot be in a word is skipped on the way to it.
func cutToken(value []byte) (token, rest []byte) {
	i, n := tokenBounds(value)
	return value[i:n], value[n:]
}

// firstToken returns the first word of a header's value.
func firstToken(value []byte) []byte {
	i, n := tokenBounds(value)
	return value[i:n]
}

// tokenBounds returns where the first word of a header's value begins and ends, both
// its length where there is none.
func tokenBounds(value []byte) (start, end int) {
	if len(value) > 0 && !isToken(value[0]) {
		start = skipComments(value)
		for start < len(value) && !isToken(value[start]) {
			start += max(1, skipComments(value[start:]))
		}
		start = min(start, len(value))
	}
	for end = start; end < len(value) && isToken(value[end]); end++ {
	}
	return start, end
}

// number reads a number in base 10 or 16 up to the first byte that is no digit;
// nothing is 0. It reports false where that is the first one, or where the number
// does not fit.
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
	return signed(n, negative), true
}

func signed(n uint64, negative bool) int64 {
	if negative {
		return -int64(n)
	}
	return int64(n)
}

// boundary returns the boundary among the parameters of a content type, the last
// one of several, or nil.
func boundary(s []byte) (mark []byte) {
	for {
		s = s[skipComments(s):]
		if len(s) == 0 || s[0] != ';' {
			return mark
		}
		name, rest := cutToken(s[1:])
		if name == nil {
			return mark
		}
		s = rest[skipComments(rest):]
		if len(s) == 0 || s[0] != '=' {
			continue
		}
		s = s[1:]
		wanted := is(name, "BOUNDARY")
		if !wanted {
			s = s[skipComments(s):]
		}
		value, rest, ok := cutValue(s, wanted)
		if !ok {
			continue
		}
		if s = rest; wanted {
			mark = value
		}
	}
}

// cutValue returns the value of a parameter and what follows it: quoted, or a
// word. The word of a boundary may be of nearly anything.
func cutValue(s []byte, isBoundary bool) (value, rest []byte, ok bool) {
	if len(s) > 0 && s[0] == '"' {
		for i := 1; i < len(s); i++ {
			switch s[i] {
			case '"':
				return unquote(s[1:i]), s[i+1:], true
			case '\\':
				i++
			}
		}
		return nil, s, false
	}
	if !isBoundary {
		value, rest = cutToken(s)
		return value, rest, value != nil
	}
	i := 0
	for i < len(s) && !isBoundaryByte(s[i]) {
		i += max(1, skipComments(s[i:]))
	}
	if i >= len(s) {
		return nil, s, false
	}
	n := i
	for n < len(s) && isBoundaryByte(s[n]) {
		n++
	}
	return s[i:n], s[n:], true
}

func isBoundaryByte(c byte) bool { return c > ' ' && c < 0x7f && c != '"' }

// unquote takes the backslashes from what was quoted.
func unquote(s []byte) []byte {
	if bytes.IndexByte(s, '\\') < 0 {
		return s
	}
	var out []byte
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' {
			if i++; i == len(s) {
				break
			}
		}
		out = append(out, s[i])
	}
	return out
}

// parseVersion reads "1.1" as major<<8 | minor, anything else as 0.
func parseVersion(s []byte) uint16 {
	if len(s) >= 3 && isDigit(s[0]) && s[1] == '.' && isDigit(s[2]) {
		return uint16(s[0]-'0')<<8 | uint16(s[2]-'0')
	}
	return 0
}

// splitRequest splits what follows the method into the target and the version,
// which is 0.9 where there is none. Spaces may be part of the target. A version
// that is cut off is not ok.
func splitRequest(s []byte) (uri []byte, version uint16, ok bool) {
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
		return s[:end], 0x0009, true
	}
	if at+8 > len(s) {
		return s[:end], 0, false
	}
	return s[:end], parseVersion(s[at+5:]), true
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
