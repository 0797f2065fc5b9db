// SPDX-License-Identifier: Apache-2.0

package dissect

import (
	"bytes"

	"weir/internal/flow"
)

// Protocols that are followed only as far as it takes to know that it is them,
// and to see where they go over to TLS. Each is known as Zeek knows it: by its
// port, or by what its first bytes say.

const (
	// linePart is how much of a line, packet or tag is read.
	linePart = 64
	// maxLines is how many lines or tags both sides together may have before it
	// is given up: who wants TLS asks for it early.
	maxLines = 250
	// maxTag is the length of the longest tag of an IMAP command that is known
	// again in its reply.
	maxTag = 24
)

// outcome is what a line, packet or tag leads to.
type outcome uint8

const (
	goOn    outcome = iota
	giveUp          // nothing more is of interest
	secured         // TLS begins
	sniff           // something begins that its first bytes have to tell
	tokens          // GSSAPI's tokens begin
)

// upgradeSession is what a connection keeps during such a dialogue.
type upgradeSession struct {
	written uint32
	left    [2]uint32 // bytes of the packet that are still to come
	n       [2]uint8  // how much there is of line
	skip    [2]bool   // the line began in a gap
	lines   uint8
	asked   uint8  // what the client asked for last
	idLen   uint8  // of id; of other protocols than IMAP bits of what was seen
	pending uint16 // the code of the reply whose last line is still to come
	id      [maxTag]byte
	line    [2][linePart]byte
}

// What a client may ask for.
const (
	askedNothing = iota
	askedTLS
	askedTokens
	askedUser
	askedLogin
	askedHello
)

type upgrade struct {
	s        *Shard
	sessions slab[upgradeSession]
}

func newUpgrade(s *Shard) *upgrade { return &upgrade{s: s} }

// upgradePort returns the protocol that Zeek looks for on a port.
func upgradePort(port uint16) uint8 {
	switch port {
	case 21, 2811:
		return protoFTP
	case 25, 587:
		return protoSMTP
	case 143:
		return protoIMAP
	case 1434, 3306:
		return protoMySQL
	case 389, 3268:
		return protoLDAP
	case 3389:
		return protoRDP
	case 5432:
		return protoPostgreSQL
	case 5222, 5269:
		return protoXMPP
	case 6666, 6667, 6668, 6669:
		return protoIRC
	}
	return 0
}

// detectUpgrade knows them all; start tells which it is.
func detectUpgrade(t *flow.Tuple, dir flow.Dir, data []byte) verdict {
	if upgradePort(t.Dport) != 0 {
		return yes
	}
	_, v := upgradeBytes(dir, data)
	return v
}

// upgradeBytes returns the protocol that the first bytes of a direction are of:
// protoFTP also for the greeting that FTP and SMTP have in common.
func upgradeBytes(dir flow.Dir, data []byte) (uint8, verdict) {
	switch data[0] {
	case 0:
		if dir == flow.ToServer {
			return protoPostgreSQL, prefix(data, requestSSL)
		}
	case '0':
		if dir == flow.ToServer { // a request of an extension of LDAP
			return protoLDAP, match(data, '0', -0x7f, 2, 1, -0x7f, 0x77)
		}
	case '2':
		if dir == flow.ToClient {
			if v := prefix(data, "220"); v != yes {
				return protoFTP, v
			}
			if len(data) == 3 {
				return protoFTP, maybe
			}
			if c := data[3]; c == ' ' || c == '-' || c >= '\t' && c <= '\r' {
				return protoFTP, yes
			}
		}
	case '+':
		if dir == flow.ToClient {
			return protoPOP3, prefix(data, "+OK")
		}
	case 'N', 'n':
		if dir == flow.ToServer {
			return protoIRC, prefixFold(data, "NICK ")
		}
	case '<':
		// XML's declaration or the stream itself; Zeek wants the name space, too.
		if v := prefix(data, "<?xml "); v != no {
			return protoXMPP, v
		}
		return protoXMPP, prefix(data, "<stream:stream ")
	case 3:
		if dir == flow.ToServer {
			v := match(data, 3, 0, -1, -1, -1, 0xe0, -1, -1, -1, -1, -1)
			if v == yes {
				v = prefix(data[11:], "Cookie: mstshash=")
			}
			return protoRDP, v
		}
	}
	return 0, no
}

// prefix reports whether data begins with text.
func prefix(data []byte, text string) verdict {
	if n := min(len(data), len(text)); string(data[:n]) != text[:n] {
		return no
	}
	return enough(data, text)
}

// prefixFold is prefix without regard to case.
func prefixFold(data []byte, text string) verdict {
	if n := min(len(data), len(text)); !bytes.EqualFold(data[:n], []byte(text)[:n]) {
		return no
	}
	return enough(data, text)
}

func enough(data []byte, text string) verdict {
	if len(data) < len(text) {
		return maybe
	}
	return yes
}

func (d *upgrade) datagram(*flow.Tuple, *App, flow.Dir, flow.Time, []byte) {}
func (d *upgrade) fin(*flow.Tuple, *App, flow.Dir, flow.Time)              {}

func (d *upgrade) gap(t *flow.Tuple, a *App, dir flow.Dir, _ flow.Time, _ uint64) {
	d.s.stats.Gaps++
	id, ok := a.has()
	if !ok {
		a.flags |= doneBoth
		return
	}
	if !lineBased(a.proto) {
		d.close(t, a)
		a.flags |= doneBoth
		return
	}
	// The line that ends behind the gap is none, what follows it may be.
	c := d.sessions.at(id)
	c.n[dir&1], c.skip[dir&1] = 0, true
}

func (d *upgrade) close(_ *flow.Tuple, a *App) {
	id, ok := a.has()
	if !ok {
		return
	}
	d.s.detach(a, d.sessions.at(id).written)
	d.sessions.put(id)
	d.s.bufs.free(d.sessions.size())
}

// lineBased reports whether a protocol's messages are lines.
func lineBased(proto uint8) bool {
	switch proto {
	case protoXMPP, protoMySQL, protoRDP, protoPostgreSQL, protoLDAP:
		return false
	}
	return true
}

func (d *upgrade) stream(t *flow.Tuple, a *App, dir flow.Dir, ts flow.Time, data []byte) {
	id, ok := a.has()
	if !ok {
		if !d.s.bufs.book(d.sessions.size()) {
			a.flags |= doneBoth
			return
		}
		id = d.sessions.get()
		*d.sessions.at(id) = upgradeSession{written: d.s.attach(a, id)}
		if a.flags&inside == 0 {
			a.proto = upgradePort(t.Dport)
		}
		if a.proto == 0 || a.flags&inside != 0 {
			a.proto, _ = upgradeBytes(dir, data)
		}
		if a.proto == 0 { // not after a detector that said yes
			a.proto = protoFTP
		}
	}
	c := d.sessions.at(id)
	for len(data) > 0 {
		var n int
		var what outcome
		switch a.proto {
		case protoXMPP:
			n, what = c.tag(a, dir, data)
		case protoMySQL:
			n, what = c.mysql(a, dir, data)
		case protoRDP:
			n, what = c.tpkt(a, dir, data)
		case protoPostgreSQL:
			n, what = c.postgresql(a, dir, data)
		case protoLDAP:
			n, what = c.ldap(a, dir, data)
		default:
			n, what = c.text(t, a, dir, data)
		}
		data = data[n:]
		switch what {
		case goOn:
			continue
		case giveUp:
			d.close(t, a)
			a.flags |= doneBoth
			return
		case secured:
			d.close(t, a)
			a.handOver(protoTLS)
		case sniff:
			d.close(t, a)
			a.handOver(0)
		case tokens:
			d.close(t, a)
			a.handOver(protoGSI)
		}
		d.s.Stream(t, a, dir, ts, data)
		return
	}
}

// text takes bytes of a line and returns how many.
func (c *upgradeSession) text(t *flow.Tuple, a *App, dir flow.Dir, data []byte) (int, outcome) {
	buf, n := &c.line[dir&1], &c.n[dir&1]
	end := bytes.IndexByte(data, '\n')
	if end < 0 {
		*n += uint8(copy(buf[*n:], data))
		return len(data), goOn
	}
	*n += uint8(copy(buf[*n:], data[:end]))
	line := bytes.TrimRight(buf[:*n], "\r")
	*n = 0
	if c.skip[dir&1] {
		c.skip[dir&1] = false
		return end + 1, goOn
	}
	if c.lines++; c.lines > maxLines {
		return end + 1, giveUp
	}
	what := goOn
	switch a.proto {
	case protoFTP:
		what = c.ftp(t, a, dir, line)
	case protoSMTP:
		what = c.smtp(a, dir, line)
	case protoPOP3:
		what = c.pop3(a, dir, line)
	case protoIMAP:
		what = c.imap(a, dir, line)
	case protoIRC:
		what = c.irc(t, a, dir, line)
	}
	return end + 1, what
}

// firstWord cuts the first word off a line, with the blanks around it.
func firstWord(line []byte) (first, rest []byte) {
	line = bytes.TrimLeft(line, " \t")
	i := bytes.IndexAny(line, " \t")
	if i < 0 {
		return line, nil
	}
	return line[:i], bytes.TrimLeft(line[i:], " \t")
}

// isWord reports whether a word is a command, which is given in capitals.
func isWord(word []byte, command string) bool { return bytes.EqualFold(word, []byte(command)) }

// reply returns the code of a server's line, 0 where it has none, and whether it
// is the last line of a reply.
func reply(line []byte) (code int, last bool) {
	if len(line) < 3 {
		return 0, false
	}
	for _, b := range line[:3] {
		if b < '0' || b > '9' {
			return 0, false
		}
		code = code*10 + int(b-'0')
	}
	return code, len(line) == 3 || line[3] != '-'
}

// ftp also has what greets as FTP does and is SMTP: both are told apart by what
// the client says, where the port does not tell.
// It is followed beyond the login, since it may turn out not to be FTP.
func (c *upgradeSession) ftp(t *flow.Tuple, a *App, dir flow.Dir, line []byte) outcome {
	known := a.flags&inside == 0 && upgradePort(t.Dport) == protoFTP
	if dir == flow.ToServer {
		cmd, rest := firstWord(line)
		switch {
		case !known && (isWord(cmd, "HELO") || isWord(cmd, "EHLO") || isWord(cmd, "XEHLO")):
			a.proto = protoSMTP
			return c.smtp(a, dir, line)
		case isWord(cmd, "USER"):
			c.asked = askedUser
		case known && isWord(cmd, "AUTH"):
			// Zeek follows these two, and only in capitals.
			switch string(rest) {
			case "GSSAPI":
				c.asked = askedTokens
			case "TLS":
				c.asked = askedTLS
			default:
				c.asked = askedNothing
			}
		}
		if known && len(cmd) >= 3 {
			a.confirm(protoFTP)
		}
		return goOn
	}
	return c.ftpReply(a, known, line)
}

// ftpReply takes a line of the server. A line that is no part of a reply means,
// as for Zeek, that it is not FTP.
func (c *upgradeSession) ftpReply(a *App, known bool, line []byte) outcome {
	code, last := reply(line)
	if c.pending != 0 {
		// Lines inside a reply may be anything.
		if code != int(c.pending) || len(line) < 4 || line[3] != ' ' {
			return goOn
		}
	} else if code < 100 || len(line) > 3 && line[3] != ' ' && line[3] != '-' {
		a.retract(protoFTP)
		return giveUp
	}
	if !known && c.asked == askedUser && (code == 230 || code == 331) {
		a.confirm(protoFTP)
	}
	if c.pending = 0; !last {
		c.pending = uint16(code)
		return goOn
	}
	switch {
	case code == 234 && c.asked == askedTLS:
		return secured
	case code == 334 && c.asked == askedTokens:
		return tokens
	}
	return goOn
}

func (c *upgradeSession) smtp(a *App, dir flow.Dir, line []byte) outcome {
	if dir == flow.ToServer {
		cmd, _ := firstWord(line)
		switch {
		case isWord(cmd, "HELO"), isWord(cmd, "EHLO"), isWord(cmd, "XEHLO"):
			a.confirm(protoSMTP)
		case isWord(cmd, "STARTTLS"), isWord(cmd, "X-ANONYMOUSTLS"):
			c.asked = askedTLS
		case isWord(cmd, "DATA"), isWord(cmd, "BDAT"):
			return giveUp // a mail, which is not for lines of commands
		}
		return goOn
	}
	code, last := reply(line)
	if code < 100 || code > 599 { // as for Zeek, not SMTP after all
		a.retract(protoSMTP)
		return giveUp
	}
	if !last {
		return goOn
	}
	asked := c.asked
	c.asked = askedNothing
	if asked == askedTLS && code == 220 {
		return secured
	}
	return goOn
}

func (c *upgradeSession) pop3(a *App, dir flow.Dir, line []byte) outcome {
	cmd, _ := firstWord(line)
	if dir == flow.ToServer {
		switch {
		case isWord(cmd, "STLS"):
			c.asked = askedTLS
		case isWord(cmd, "USER"), isWord(cmd, "CAPA"):
			c.asked = askedUser
		case isWord(cmd, "PASS"), isWord(cmd, "APOP"):
			c.asked = askedLogin
		default:
			c.asked = askedNothing
		}
		return goOn
	}
	if !isWord(cmd, "+OK") {
		if isWord(cmd, "-ERR") {
			c.asked = askedNothing
		}
		return goOn // perhaps a line inside a reply
	}
	asked := c.asked
	c.asked = askedNothing
	switch asked {
	case askedTLS:
		a.confirm(protoPOP3)
		return secured
	case askedUser:
		a.confirm(protoPOP3)
	case askedLogin:
		return giveUp
	}
	return goOn
}

func (c *upgradeSession) imap(a *App, dir flow.Dir, line []byte) outcome {
	tag, rest := firstWord(line)
	cmd, _ := firstWord(rest)
	if dir == flow.ToServer {
		switch {
		case isWord(cmd, "STARTTLS"):
			if len(tag) <= maxTag {
				c.asked, c.idLen = askedTLS, uint8(copy(c.id[:], tag))
			}
		case isWord(cmd, "LOGIN"), isWord(cmd, "AUTHENTICATE"):
			return giveUp
		}
		return goOn
	}
	if isWord(tag, "*") {
		if isWord(cmd, "OK") || isWord(cmd, "PREAUTH") || isWord(cmd, "CAPABILITY") {
			a.confirm(protoIMAP)
		}
		return goOn
	}
	if c.asked == askedTLS && string(tag) == string(c.id[:c.idLen]) {
		c.asked = askedNothing
		if isWord(cmd, "OK") {
			return secured
		}
	}
	return goOn
}

// irc confirms IRC on its own ports by what a client says. Elsewhere it takes a
// name, a user and a server's reply.
func (c *upgradeSession) irc(t *flow.Tuple, a *App, dir flow.Dir, line []byte) outcome {
	known := a.flags&inside == 0 && upgradePort(t.Dport) == protoIRC
	first, rest := firstWord(line)
	if len(first) > 0 && first[0] == ':' {
		first, _ = firstWord(rest)
	}
	if dir == flow.ToServer {
		switch {
		case isWord(first, "STARTTLS"):
			c.asked = askedTLS
		case isWord(first, "NICK"):
			c.idLen |= 1
		case isWord(first, "USER"):
			c.idLen |= 2
		case isWord(first, "JOIN"), isWord(first, "PRIVMSG"):
		default:
			return goOn
		}
		if known {
			a.confirm(protoIRC)
		}
		return goOn
	}
	if code, _ := reply(first); code != 0 && len(first) == 3 && (known || c.idLen == 3) {
		a.confirm(protoIRC)
		switch {
		case code == 670 && c.asked == askedTLS:
			return secured
		case code <= 5:
			return giveUp // registered: too late for TLS
		}
	}
	return goOn
}

// tag takes bytes of XMPP up to the end of a tag. Of its text only the name is
// read.
func (c *upgradeSession) tag(a *App, dir flow.Dir, data []byte) (int, outcome) {
	name, n := &c.line[dir&1], &c.n[dir&1]
	if !c.skip[dir&1] { // outside of a tag
		i := bytes.IndexByte(data, '<')
		if i < 0 {
			return len(data), goOn
		}
		c.skip[dir&1], *n = true, 0
		return i + 1, goOn
	}
	end := bytes.IndexByte(data, '>')
	if end < 0 {
		*n += uint8(copy(name[*n:], data))
		return len(data), goOn
	}
	*n += uint8(copy(name[*n:], data[:end]))
	c.skip[dir&1] = false
	if c.lines++; c.lines > maxLines {
		return end + 1, giveUp
	}
	tag := name[:*n]
	if i := bytes.IndexAny(tag, " \t\r\n/"); i > 0 {
		tag = tag[:i]
	}
	switch {
	case dir == flow.ToServer && string(tag) == "stream:stream":
		a.confirm(protoXMPP)
	case dir == flow.ToServer && string(tag) == "starttls":
		c.asked = askedTLS
	case dir == flow.ToClient && string(tag) == "proceed" && c.asked == askedTLS:
		return end + 1, secured
	}
	switch string(tag) {
	case "success", "message", "presence", "db:result", "db:verify":
		return end + 1, giveUp // beyond the point where TLS may begin
	}
	return end + 1, goOn
}

// head collects the first want bytes of a packet. It reports false where they
// are not all there yet.
func (c *upgradeSession) head(dir flow.Dir, data []byte, want int) (int, bool) {
	n := &c.n[dir&1]
	used := copy(c.line[dir&1][*n:max(want, int(*n))], data)
	*n += uint8(used)
	return used, int(*n) >= want
}

// mysql takes bytes of MySQL's packets: the server's greeting and the client's
// answer, whose flags ask for TLS.
func (c *upgradeSession) mysql(a *App, dir flow.Dir, data []byte) (int, outcome) {
	const header, flagTLS = 4, 0x08
	if left := &c.left[dir&1]; *left > 0 {
		n := min(len(data), int(*left))
		if *left -= uint32(n); *left > 0 || dir == flow.ToClient {
			return n, goOn
		}
		return n, c.answered(a, flagTLS)
	}
	if dir == flow.ToClient && c.asked != askedNothing {
		return len(data), giveUp // more than a greeting before an answer
	}
	n, ok := c.head(dir, data, header+2)
	if !ok {
		return n, goOn
	}
	h := &c.line[dir&1]
	size := uint32(h[0]) | uint32(h[1])<<8 | uint32(h[2])<<16
	if size < 3 {
		return n, giveUp
	}
	c.left[dir&1] = size - 2
	if dir == flow.ToClient {
		if h[3] != 0 || h[4] != 10 && h[4] != 9 {
			return n, giveUp
		}
		c.asked = askedHello
		c.n[dir&1] = 0
		return n, goOn
	}
	if h[3] != 1 || c.asked == askedNothing {
		return n, giveUp
	}
	return n, goOn
}

// answered is for the end of the client's first packet.
func (c *upgradeSession) answered(a *App, flagTLS byte) outcome {
	a.confirm(protoMySQL)
	if c.line[flow.ToServer&1][5]&flagTLS != 0 {
		return secured
	}
	return giveUp
}

// tpkt takes bytes of RDP's packets until one is a TLS record instead.
func (c *upgradeSession) tpkt(a *App, dir flow.Dir, data []byte) (int, outcome) {
	const header = 4
	if left := &c.left[dir&1]; *left > 0 {
		n := min(len(data), int(*left))
		*left -= uint32(n)
		return n, goOn
	}
	if c.n[dir&1] == 0 {
		if b := data[0]; b >= recChange && b <= recData {
			return 0, sniff
		} else if b != 3 {
			return 0, giveUp
		}
	}
	// Every packet has these: the shortest is a header and three bytes of X.224.
	n, ok := c.head(dir, data, header+3)
	if !ok {
		return n, goOn
	}
	h := &c.line[dir&1]
	size := be16(h[:], 2)
	c.n[dir&1] = 0
	if h[1] != 0 || size < header+3 {
		return n, giveUp
	}
	c.left[dir&1] = uint32(size) - header - 3
	if c.lines++; c.lines > maxLines {
		return n, giveUp
	}
	switch h[5] {
	case 0xe0, 0xd0: // a connection's request and its confirmation
		return n, goOn
	case 0xf0: // data: RDP's own security, no TLS
		a.confirm(protoRDP)
	}
	return n, giveUp
}

// PostgreSQL's request for TLS, and how all of its requests for other than a
// session begin.
const (
	requestSSL  = "\x00\x00\x00\x08\x04\xd2\x16\x2f"
	requestCode = "\x00\x00\x00\x08\x04\xd2"
)

// postgresql takes a client's first messages, which are requests for TLS or
// GSSAPI or the beginning of a session, and the server's answers of one byte.
func (c *upgradeSession) postgresql(a *App, dir flow.Dir, data []byte) (int, outcome) {
	if dir == flow.ToClient {
		asked := c.asked
		c.asked = askedNothing
		switch b := data[0]; {
		case b == 'S' && asked == askedTLS:
			a.confirm(protoPostgreSQL)
			return 1, secured
		case b == 'N' && asked != askedNothing:
			a.confirm(protoPostgreSQL)
			return 1, goOn
		}
		return 1, giveUp
	}
	n, ok := c.head(dir, data, len(requestSSL))
	if !ok {
		return n, goOn
	}
	c.n[dir&1] = 0
	c.lines++
	request := string(c.line[dir&1][:len(requestSSL)])
	switch {
	case c.lines > maxLines || request[:len(requestCode)] != requestCode:
		return n, giveUp // a session, or something else
	case request == requestSSL:
		c.asked = askedTLS
	default:
		c.asked = askedTokens
	}
	return n, goOn
}

// berSize returns the length of what a BER header begins, header included. It is
// 0 where there is too little of the header, and negative where there is none.
func berSize(data []byte) int {
	switch {
	case len(data) < 2:
		return 0
	case data[1] < 0x80:
		return 2 + int(data[1])
	case data[1] == 0x80 || data[1] > 0x84:
		return -1
	}
	n := 2 + int(data[1]&0x7f)
	if len(data) < n {
		return 0
	}
	size := 0
	for _, b := range data[2:n] {
		size = size<<8 | int(b)
	}
	return n + size
}

// ldap takes bytes of LDAP's messages: TLS follows the request of an extension.
func (c *upgradeSession) ldap(a *App, dir flow.Dir, data []byte) (int, outcome) {
	left, n, buf := &c.left[dir&1], &c.n[dir&1], &c.line[dir&1]
	if *left > 0 {
		skip := min(len(data), int(*left))
		*left -= uint32(skip)
		return skip, goOn
	}
	for i, b := range data {
		buf[*n] = b
		*n++
		size := berSize(buf[:*n])
		if buf[0] != 0x30 || size < 0 || size > 1<<24 {
			return i + 1, giveUp
		}
		if size == 0 || int(*n) < min(size, linePart) {
			continue
		}
		message := buf[:*n]
		*left, *n = uint32(size-int(*n)), 0
		if c.lines++; c.lines > maxLines {
			return i + 1, giveUp
		}
		return i + 1, c.ldapMessage(a, dir, message)
	}
	return len(data), goOn
}

// ldapMessage takes the beginning of a message.
func (c *upgradeSession) ldapMessage(a *App, dir flow.Dir, message []byte) outcome {
	const startTLS = "\x80\x161.3.6.1.4.1.1466.20037"
	body := message[2:]
	if message[1] >= 0x80 {
		body = message[2+message[1]&0x7f:]
	}
	if len(body) < 3 || body[0] != 2 || int(body[1]) > len(body)-3 {
		return giveUp
	}
	body = body[2+body[1]:] // behind the number of the message
	op := body[0]
	size := berSize(body)
	if size <= 0 {
		return giveUp
	}
	if dir == flow.ToServer {
		c.asked = askedHello
		if op == 0x77 && bytes.Contains(body, []byte(startTLS)) {
			c.asked = askedTLS
		}
		return goOn
	}
	if c.asked == askedNothing {
		return goOn
	}
	a.confirm(protoLDAP)
	if op == 0x78 && c.asked == askedTLS {
		c.asked = askedNothing
		if bytes.Contains(body, []byte("\x0a\x01\x00")) { // success
			return secured
		}
		return goOn
	}
	return giveUp // a session without TLS
}
