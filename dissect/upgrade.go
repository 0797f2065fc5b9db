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

// detectUpgrade knows them all; upgradeProto tells which it is.
func detectUpgrade(t *flow.Tuple, dir flow.Dir, data []byte) verdict {
	_, v := upgradeBytes(dir, data)
	if port := upgradePort(t.Dport); port != 0 && (v == no || lineBased(port)) {
		return yes
	}
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
		if dir == flow.ToServer { // LDAP's bind, as the first and a short message
			return protoLDAP, match(data, '0', -0xff, 2, 1, -0xff, 0x60)
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

// upgradeProto returns the protocol of a connection that begins with data, which
// detectUpgrade said yes to: that of its port, but for messages that are not lines
// only where the bytes are not known to be of another.
func upgradeProto(t *flow.Tuple, a *App, dir flow.Dir, data []byte) uint8 {
	known, v := upgradeBytes(dir, data)
	if a.flags&inside == 0 {
		if port := upgradePort(t.Dport); port != 0 && (v != yes || lineBased(port)) {
			return port
		}
	}
	return known
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
	vacate(d.s, a, &d.sessions, d.sessions.at(id).written)
}

// lineBased reports whether a protocol's messages are lines.
func lineBased(proto uint8) bool {
	switch proto {
	case protoXMPP, protoMySQL, protoRDP, protoPostgreSQL, protoLDAP:
		return false
	}
	return true
}

// open returns the connection's session, which is made if there is none; nil
// where there is no memory for it, and nothing more is wanted then.
func (d *upgrade) open(a *App) *upgradeSession {
	if id, ok := a.has(); ok {
		return d.sessions.at(id)
	}
	c, written := occupy(d.s, a, &d.sessions)
	if c != nil {
		*c = upgradeSession{written: written}
	}
	return c
}

func (d *upgrade) stream(t *flow.Tuple, a *App, dir flow.Dir, ts flow.Time, data []byte) {
	if _, ok := a.has(); !ok {
		a.proto = upgradeProto(t, a, dir, data)
	}
	c := d.open(a)
	if c == nil {
		return
	}
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

// head collects the first want bytes of a packet. It reports false where they
// are not all there yet.
func (c *upgradeSession) head(dir flow.Dir, data []byte, want int) (int, bool) {
	n := &c.n[dir&1]
	used := copy(c.line[dir&1][*n:max(want, int(*n))], data)
	*n += uint8(used)
	return used, int(*n) >= want
}
