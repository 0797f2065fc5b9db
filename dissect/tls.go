// SPDX-License-Identifier: Apache-2.0

package dissect

import "weir/internal/flow"

// SSLv2, SSLv3 and TLS over TCP; dtls.go has DTLS. One record per connection,
// written when the handshake is complete, when it turns out not to be TLS, or at the
// end; after that nothing more is wanted.

// TLS record types.
const (
	recChange    = 20
	recAlert     = 21
	recHandshake = 22
	recData      = 23
	recHeartbeat = 24
)

// Handshake messages that are read.
const (
	helloClient    = 1
	helloServer    = 2
	helloRetry     = 6
	certificate    = 11
	keyExchange    = 12
	clientExchange = 16
)

// Protocol versions.
const (
	versionSSL2  = 0x0002
	versionSSL3  = 0x0300
	versionTLS12 = 0x0303
	versionTLS13 = 0x0304
)

// maxHistory is how many letters the history of a handshake may have.
const maxHistory = 100

// tlsSide is one direction of a connection.
type tlsSide struct {
	buf       []byte // a handshake message that is not complete
	left      int    // bytes of the record still to come
	msgLeft   int    // bytes of the handshake message still to come
	msgLen    int
	head      [5]byte // the header of the record
	msgHead   [4]byte // the header of the handshake message
	nhead     uint8   // how much of them is there
	nmsg      uint8
	encrypted bool
	begun     bool // a record of the direction was read
	v2        bool // the record is one of SSLv2
	second    bool // the first byte of an alert, its level, was read
	parts     dtlsAssembly
}

// tlsSession is what a connection keeps during the handshake.
type tlsSession struct {
	written   uint32
	side      [2]tlsSide
	ts        flow.Time
	started   bool // ts is set: there is something to write
	flipped   bool // the client of the handshake is the server of the connection
	ssl2      bool // the connection goes on in SSLv2
	layered   bool // a record of TLS was seen: no other is one of SSLv2
	hasCipher bool
	hasCurve  bool
	hasAlert  bool
	ticket    bool // the client has a ticket and no session id
	exchanged bool // the client's key exchange was seen
	psk       bool // the client offered a pre-shared key
	resumed   bool
	estab     bool
	retry     bool  // the server hello is a retry request
	foreign   uint8 // datagrams that were no DTLS, one after the other
	alert     uint8
	idLen     uint8
	nhistory  uint8
	version   uint16 // negotiated, 0 if not known
	curve     uint16
	cipher    uint32
	nameLen   uint16 // of the server name, which is first in text
	protoLen  uint16 // of the protocol, which follows
	hasName   bool
	hasProto  bool
	id        [32]byte // the client's session id
	history   [maxHistory]byte
	text      []byte
}

type tls struct {
	s        *Shard
	sessions slab[tlsSession]
	scratch  []byte
}

func newTLS(s *Shard) *tls { return &tls{s: s} }

// detectTLS knows a hello in a handshake record, behind an alert for a server,
// and an SSLv2 client hello. On TLS's own ports any first record will do.
func detectTLS(t *flow.Tuple, dir flow.Dir, data []byte) verdict {
	if data[0]&0x80 != 0 && dir == flow.ToServer {
		return detectSSL2(data)
	}
	if data[0] != recAlert && data[0] != recHandshake {
		return no
	}
	switch t.Dport {
	case 443, 563, 585, 614, 636, 989, 990, 992, 993, 995, 5223:
		return match(data[1:], 0x03, -3)
	}
	if data[0] == recAlert {
		// type, version, length, two bytes
		if v := match(data, 0x15, 0x03, -3, -1, -1, -1, -1); v != yes {
			return v
		}
		data = data[7:]
		if len(data) == 0 {
			return maybe
		}
	}
	if v := match(data, 0x16, 0x03, -3, -1, -1); v != yes {
		return v
	}
	if len(data) < 11 {
		if len(data) > 5 && data[5] != helloClient && data[5] != helloServer {
			return no
		}
		return maybe
	}
	major, minor := data[9], data[10]
	switch data[5] {
	case helloClient:
		if major == 3 && minor <= 3 {
			return yes
		}
	case helloServer:
		if major == 3 && minor <= 4 || major == 0x7f && minor <= 0x50 {
			return yes
		}
	}
	return no
}

// match compares data with a pattern: -1 is any byte, -n one that is at most n.
func match(data []byte, pattern ...int) verdict {
	for i, want := range pattern {
		if i == len(data) {
			return maybe
		}
		if c := int(data[i]); want >= 0 && c != want || want < -1 && c > -want {
			return no
		}
	}
	return yes
}

// detectSSL2 knows the SSLv2 client hello by its lengths, which must agree.
func detectSSL2(data []byte) verdict {
	if len(data) >= 3 && data[2] != helloClient {
		return no
	}
	if len(data) >= 5 && !(data[3] == 0 && data[4] == 2 || data[3] == 3 && data[4] <= 3) {
		return no
	}
	if len(data) < 11 {
		return maybe
	}
	n := int(data[0]&0x7f)<<8 | int(data[1])
	ciphers, id, challenge := int(be16(data, 5)), int(be16(data, 7)), int(be16(data, 9))
	if ciphers == 0 || ciphers%3 != 0 || id > 32 || challenge < 16 || challenge > 32 ||
		n != 9+ciphers+id+challenge {
		return no
	}
	return yes
}

func (d *tls) datagram(*flow.Tuple, *App, flow.Dir, flow.Time, []byte) {}
func (d *tls) fin(*flow.Tuple, *App, flow.Dir, flow.Time)              {}

// gap ends it: records cannot be found again behind a gap.
func (d *tls) gap(t *flow.Tuple, a *App, _ flow.Dir, _ flow.Time, _ uint64) {
	d.s.stats.Gaps++
	d.finish(t, a)
}

func (d *tls) close(t *flow.Tuple, a *App) {
	if _, ok := a.has(); ok {
		d.finish(t, a)
	}
}

// finish writes the record, if there is anything to write, and frees the
// session. Nothing more is wanted then.
func (d *tls) finish(t *flow.Tuple, a *App) {
	a.flags |= doneBoth
	id, ok := a.has()
	if !ok {
		return
	}
	c := d.sessions.at(id)
	if c.started {
		d.write(t, c)
	}
	for i := range c.side {
		d.s.bufs.release(c.side[i].buf)
		c.side[i].buf = nil
	}
	d.s.bufs.release(c.text)
	c.text = nil
	vacate(d.s, a, &d.sessions, c.written)
}

// violate ends a connection that is not TLS after all.
func (d *tls) violate(t *flow.Tuple, a *App) {
	d.s.stats.Violations++
	a.retract(protoTLS)
	d.finish(t, a)
}

// session returns the connection's session, a new one where it has none. It is
// nil where there is no memory for one; nothing more is wanted then.
func (d *tls) session(a *App) *tlsSession {
	if id, ok := a.has(); ok {
		return d.sessions.at(id)
	}
	c, written := occupy(d.s, a, &d.sessions)
	if c != nil {
		*c = tlsSession{written: written}
	}
	return c
}

func (d *tls) stream(t *flow.Tuple, a *App, dir flow.Dir, ts flow.Time, data []byte) {
	c := d.session(a)
	if c == nil {
		return
	}
	q := &c.side[dir&1]
	for len(data) > 0 {
		if q.nhead < 5 {
			n := copy(q.head[q.nhead:], data)
			q.nhead += uint8(n)
			data = data[n:]
			if q.nhead < 5 {
				return
			}
			if !d.recordHeader(c, q, dir) {
				head, first := q.head, !q.begun
				d.violate(t, a)
				if first {
					// The direction never was TLS: it may be something else. The
					// scratch was in use until the record was written.
					d.scratch = append(append(d.scratch[:0], head[:]...), data...)
					d.s.redetect(t, a, dir, ts, d.scratch, protoTLS)
				}
				return
			}
			q.begun = true
		}
		n := min(q.left, len(data))
		if !d.record(c, a, q, dir, ts, data[:n]) {
			d.violate(t, a)
			return
		}
		if data = data[n:]; q.left == 0 {
			q.nhead = 0
		}
		if c.estab {
			d.finish(t, a)
			return
		}
	}
}

// recordHeader reads the header of a record. It reports false where it is none.
func (d *tls) recordHeader(c *tlsSession, q *tlsSide, dir flow.Dir) bool {
	h := q.head
	if c.ssl2 || !c.layered && h[0]&0x80 != 0 {
		q.left = int(h[0]&0x7f)<<8 | int(h[1])
		if q.left -= 3; q.left < 0 {
			return false
		}
		switch version := be16(h[:], 3); {
		case c.ssl2:
		case h[2] == 1 && dir == flow.ToServer:
			if version != versionSSL2 && (version < versionSSL3 || version > versionTLS12) {
				return false
			}
		case h[2] == 4 && h[4] < 2 && dir == flow.ToClient:
			c.ssl2 = true
		default:
			return false
		}
		q.v2 = true
		q.nmsg = 0
		return true
	}
	version := be16(h[:], 1)
	if version < versionSSL3 || version > versionTLS12 || !c.layered && (h[0] < 20 || h[0] > 30) {
		return false
	}
	c.layered, q.v2 = true, false
	q.left = int(be16(h[:], 3))
	q.second = false
	return true
}

// start notes the time of the first thing that is known.
func (c *tlsSession) start(ts flow.Time) {
	if !c.started {
		c.started, c.ts = true, ts
	}
}

// note adds a letter to the history, in upper case for the client.
func (c *tlsSession) note(dir flow.Dir, letter byte) {
	if (dir == flow.ToServer) != c.flipped {
		letter = upper(letter)
	}
	c.letter(letter)
}

func (c *tlsSession) letter(letter byte) {
	if c.nhistory < maxHistory {
		c.history[c.nhistory] = letter
		c.nhistory++
	}
}

// record takes bytes of the record that a direction is in. It reports false
// where they are not TLS.
func (d *tls) record(
	c *tlsSession, a *App, q *tlsSide, dir flow.Dir, ts flow.Time, data []byte,
) bool {
	q.left -= len(data)
	if q.v2 {
		return d.ssl2(c, a, q, dir, ts, data)
	}
	if !q.encrypted && q.head[0] == recData {
		// From the first application data on, TLS 1.3 is encrypted, whether or
		// not there was a change of the cipher.
		q.encrypted = c.version < versionSSL3 && c.version != versionSSL2 || c.version > versionTLS12
	}
	if q.encrypted {
		c.ciphertext(q, ts)
		return true
	}
	c.start(ts)
	switch q.head[0] {
	case recChange:
		if len(data) == 0 {
			break
		}
		d.change(c, q, dir)
		if len(data) > 1 {
			c.ciphertext(q, ts) // one byte is the change
		}
	case recAlert:
		for _, b := range data {
			if q.second {
				c.note(dir, 'l')
				c.hasAlert, c.alert = true, b
			}
			q.second = !q.second
		}
	case recHandshake:
		return d.handshake(c, a, q, dir, data)
	case recHeartbeat:
		if q.left == 0 {
			c.note(dir, 'b')
		}
	case recData:
	default:
		return false
	}
	return true
}

// change takes a change of cipher: the direction is encrypted from here.
func (d *tls) change(c *tlsSession, q *tlsSide, dir flow.Dir) {
	c.note(dir, 'i')
	q.encrypted = true
	if (dir == flow.ToServer) != c.flipped && c.ticket && !c.exchanged {
		c.resumed = true
	}
}

// ciphertext takes encrypted bytes: the handshake is complete with the first
// record of them, once both sides encrypt.
func (c *tlsSession) ciphertext(q *tlsSide, ts flow.Time) {
	if q.left == 0 && c.side[0].encrypted && c.side[1].encrypted {
		c.start(ts)
		c.estab = true
	}
}

// handshake takes bytes of handshake messages, which may begin and end anywhere
// in a record.
func (d *tls) handshake(c *tlsSession, a *App, q *tlsSide, dir flow.Dir, data []byte) bool {
	for len(data) > 0 {
		if q.nmsg < 4 {
			n := copy(q.msgHead[q.nmsg:], data)
			q.nmsg += uint8(n)
			if data = data[n:]; q.nmsg < 4 {
				return true
			}
			q.msgLen = int(be32(q.msgHead[:], 0) & 0xffffff)
			q.msgLeft = q.msgLen
			q.buf = q.buf[:0]
		}
		n := min(q.msgLeft, len(data))
		body := data[:n]
		data = data[n:]
		want := int(messagePart(q.msgHead[0], uint32(q.msgLen)))
		if seen := q.msgLen - q.msgLeft; want > seen && (seen > 0 || n < q.msgLen) {
			var ok bool
			if q.buf, ok = d.s.bufs.add(q.buf, body[:min(n, want-seen)]); !ok {
				return false
			}
		}
		if q.msgLeft -= n; q.msgLeft > 0 {
			return true
		}
		if len(q.buf) > 0 {
			body = q.buf
		}
		q.nmsg = 0
		if q.msgHead[0] == certificate && certificates(body) > q.msgLen {
			return false
		}
		if !d.message(c, a, dir, q.msgHead[0], body) {
			return false
		}
		if len(q.buf) > 0 {
			d.s.bufs.release(q.buf)
			q.buf = nil
		}
	}
	return true
}

// messagePart returns how much is read of a message of size bytes.
func messagePart(typ byte, size uint32) uint32 {
	switch typ {
	case helloClient, helloServer:
		return size
	case certificate, keyExchange:
		return min(size, 3)
	}
	return 0
}

// certificates returns how long a certificate message is by its own account.
func certificates(body []byte) int {
	if len(body) < 3 {
		return 0
	}
	return 3 + int(body[0])<<16 + int(be16(body, 1))
}

// message takes a handshake message; of those that are not read, body is not
// the whole.
func (d *tls) message(c *tlsSession, a *App, dir flow.Dir, typ byte, body []byte) bool {
	ok := true
	switch typ {
	case helloClient:
		ok = d.clientHello(c, a, dir, body)
	case helloServer:
		ok = d.serverHello(c, body)
	case helloRetry:
	case keyExchange:
		if len(body) >= 3 && body[0] == 3 && ecdhe(c.cipher) {
			c.hasCurve, c.curve = true, be16(body, 1)
		}
	case clientExchange:
		if (dir == flow.ToServer) != c.flipped {
			c.exchanged = true
		}
	}
	if !ok {
		return false
	}
	letter := byte('z')
	const letters = "hcsvtej.o..xkrnyg...fwuap"
	switch {
	case typ == helloServer && c.retry:
		letter, c.retry = 'j', false
	case int(typ) < len(letters) && letters[typ] != '.':
		letter = letters[typ]
	case typ == 254:
		letter = 'm'
	default:
		ok = false
	}
	c.note(dir, letter)
	return ok
}

// ssl2 takes bytes of an SSLv2 record.
func (d *tls) ssl2(
	c *tlsSession, a *App, q *tlsSide, dir flow.Dir, ts flow.Time, data []byte,
) bool {
	if q.encrypted {
		return true
	}
	if q.nmsg == 0 {
		q.buf, q.nmsg = q.buf[:0], 1
	}
	// The first bytes are enough, but for the certificate before the ciphers.
	var ok bool
	if q.buf, ok = d.s.bufs.add(q.buf, data); !ok {
		return false
	}
	if q.left > 0 {
		return true
	}
	body := q.buf
	switch q.head[2] {
	case 1: // client hello
		ciphers, id := int(be16(body, 0)), int(be16(body, 2))
		if len(body) < 6 || 6+ciphers+id+int(be16(body, 4)) > len(body) {
			return false
		}
		c.sessionID(body[6+ciphers:][:id])
		c.start(ts)
		a.confirm(a.proto)
		c.note(flow.ToServer, 'c')
	case 2: // client master key: both sides are encrypted from here
		c.start(ts)
		c.estab = true
	case 4: // server hello
		certs, ciphers := int(be16(body, 2)), int(be16(body, 4))
		if len(body) < 8 || be16(body, 0) != versionSSL2 || 8+certs+ciphers > len(body) {
			return false
		}
		c.start(ts)
		c.version = versionSSL2
		if ciphers >= 3 {
			list := body[8+certs:]
			c.cipher = uint32(list[0])<<16 | uint32(be16(list, 1))
		}
		c.hasCipher = true
		c.note(flow.ToClient, 's')
	}
	d.s.bufs.release(q.buf)
	q.buf, q.nmsg = nil, 0
	return true
}
