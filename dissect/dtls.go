// SPDX-License-Identifier: Apache-2.0

package dissect

import "weir/internal/flow"

// DTLS over UDP: TLS's handshake in records that each stand for themselves, its
// messages numbered and perhaps in fragments.

// Versions of DTLS.
const (
	versionDTLS10 = 0xfeff
	versionDTLS12 = 0xfefd
	versionDTLS13 = 0xfefc
)

const (
	// recWithID is a record of DTLS 1.2 that has a connection's id in its header,
	// of a length that the header does not say.
	recWithID = 25
	// dtlsHeader and dtlsMessage are the lengths of the headers of a record and
	// of a handshake message.
	dtlsHeader  = 13
	dtlsMessage = 12
	// maxForeign is how many datagrams in a row may be no DTLS. Others share the
	// ports: STUN comes before the handshake and among it.
	maxForeign = 10
	// maxDTLSMessage is the length of the longest message that is put together.
	maxDTLSMessage = 100000
	// window is how far apart the numbers of records may be that the pieces of a
	// message came in. Zeek gives up beyond that, though the numbers say nothing
	// about the pieces.
	window = 32
	// maxSpans is how many pieces with holes between them a message may have.
	maxSpans = 4
)

// dtls reads DTLS with the sessions of TLS.
type dtls struct{ *tls }

// dtlsAssembly is a handshake message of which some fragments were seen: q.buf has
// as much of it as is read.
type dtlsAssembly struct {
	active bool
	typ    byte
	seq    uint16
	nspans uint8
	size   uint32
	first  uint64              // the lowest number of a record with a fragment
	spans  [maxSpans][2]uint32 // what was seen, in order, none touches the next
}

// dtlsVersion reports whether a record of that version is DTLS: those of DTLS 1.3
// that have a version say 1.2.
func dtlsVersion(v uint16) bool { return v == versionDTLS10 || v == versionDTLS12 }

// detectDTLS knows a client hello, and on its own port any record.
func detectDTLS(t *flow.Tuple, data []byte) verdict {
	if len(data) < dtlsHeader || data[0] < recChange || data[0] > recHeartbeat || data[1] != 0xfe ||
		data[2] != 0xff && data[2] != 0xfd {
		return no
	}
	if t.Dport == 443 {
		return yes
	}
	if data[0] != recHandshake || len(data) < dtlsHeader+dtlsMessage+2 ||
		data[dtlsHeader] != helloClient {
		return no
	}
	for _, b := range data[3:10] { // the epoch and all of the number but its last byte
		if b != 0 {
			return no
		}
	}
	if v := be16(data, dtlsHeader+dtlsMessage); v != versionDTLS10 && v != versionDTLS12 {
		return no
	}
	return yes
}

func (d dtls) stream(*flow.Tuple, *App, flow.Dir, flow.Time, []byte) {}

func (d dtls) datagram(t *flow.Tuple, a *App, dir flow.Dir, ts flow.Time, data []byte) {
	c := d.session(a)
	if c == nil {
		return
	}
	for len(data) > 0 {
		n, ok := d.dtlsRecord(c, a, dir, ts, data)
		if n < 0 {
			d.s.stats.Violations++
			a.retract(protoDTLS)
			d.finish(t, a)
			return
		}
		if c.estab || c.foreign > maxForeign {
			d.finish(t, a)
			return
		}
		if !ok {
			return // no boundary of a record is left in the datagram
		}
		data = data[n:]
	}
}

// dtlsRecord reads the record that data begins with and returns its length. It
// reports false where it cannot say where the next one begins, with a negative length
// where it is broken: Zeek writes what it has then, and no more.
func (d dtls) dtlsRecord(
	c *tlsSession, a *App, dir flow.Dir, ts flow.Time, data []byte,
) (int, bool) {
	q := &c.side[dir&1]
	if c.version == versionDTLS13 && data[0]&0xe0 == 0x20 {
		q.encrypted = true
		c.ciphertext(q, ts)
		return shortHeader(data)
	}
	if len(data) < dtlsHeader || !dtlsVersion(be16(data, 1)) {
		c.foreign++
		return 0, false
	}
	if a.services != 0 {
		c.foreign = 0
	}
	typ, body := data[0], data[dtlsHeader:]
	n := int(be16(data, 11))
	if be16(data, 3) > 0 { // the epoch: the records behind a change of cipher
		c.ciphertext(q, ts)
		return dtlsHeader + n, typ != recWithID && n <= len(body)
	}
	if n > len(body) {
		return -1, false
	}
	body = body[:n]
	c.start(ts)
	switch typ {
	case recChange:
		d.change(c, q, dir)
	case recAlert:
		if len(body) == 2 {
			c.note(dir, 'l')
			c.hasAlert, c.alert = true, body[1]
		}
	case recHandshake:
		record := uint64(be16(data, 5))<<32 | uint64(be32(data, 7))
		for len(body) > 0 {
			if body = d.fragment(c, a, q, dir, record, body); body == nil {
				return -1, false
			}
		}
	case recHeartbeat:
		c.note(dir, 'b')
	}
	return dtlsHeader + n, true
}

// shortHeader returns the length of a record of DTLS 1.3 that is encrypted, if
// its header has it.
func shortHeader(data []byte) (int, bool) {
	if data[0]&0x10 != 0 || data[0]&0x04 == 0 {
		return 0, false // an id of unknown length, or the rest of the datagram
	}
	head := 2 + int(data[0]>>3&1)
	if len(data) < head+2 {
		return 0, false
	}
	n := head + 2 + int(be16(data, head))
	return n, n <= len(data)
}

// fragment reads a handshake message, or a piece of one, and returns what
// follows it in the record of that number, nil where it is none.
func (d dtls) fragment(
	c *tlsSession, a *App, q *tlsSide, dir flow.Dir, record uint64, data []byte,
) []byte {
	if len(data) < dtlsMessage {
		return nil
	}
	size, seq := be32(data, 0)&0xffffff, be16(data, 4)
	off, n := be32(data, 5)&0xffffff, be32(data, 8)&0xffffff
	typ, body := data[0], data[dtlsMessage:]
	if n > uint32(len(body)) || off > size || n > size-off || size > maxDTLSMessage {
		return nil
	}
	body, rest := body[:n], body[n:]
	if n == size {
		if !d.whole(c, a, dir, typ, body, size) {
			return nil
		}
		return rest
	}
	m := &q.parts
	if !m.active || m.seq != seq || m.typ != typ || m.size != size {
		// The pieces of another message are lost if it was not complete: its
		// sender repeats them all.
		*m = dtlsAssembly{active: true, typ: typ, seq: seq, size: size, first: record}
		want := int(messagePart(typ, size))
		var ok bool
		if q.buf, ok = d.s.bufs.grow(q.buf[:0], want); !ok {
			m.active = false
			return nil
		}
		q.buf = q.buf[:want]
	}
	if record >= m.first+window || m.first >= record+window {
		return nil
	}
	m.first = min(m.first, record)
	if int(off) < len(q.buf) {
		copy(q.buf[off:], body)
	}
	m.add(off, off+n)
	if m.nspans != 1 || m.spans[0] != [2]uint32{0, size} {
		return rest
	}
	m.active = false
	ok := d.whole(c, a, dir, typ, q.buf, size)
	d.s.bufs.release(q.buf)
	q.buf = nil
	if !ok {
		return nil
	}
	return rest
}

// whole takes a message that is complete; body is at least what is read of it.
func (d dtls) whole(
	c *tlsSession, a *App, dir flow.Dir, typ byte, body []byte, size uint32,
) bool {
	if typ == certificate && certificates(body) > int(size) {
		return false
	}
	return d.message(c, a, dir, typ, body)
}

// add notes that the bytes from start to end were seen. What would make one span
// too many is left out: it has to come again.
func (m *dtlsAssembly) add(start, end uint32) {
	i := 0
	for i < int(m.nspans) && m.spans[i][1] < start {
		i++
	}
	j := i // the spans i to j-1 touch the new one
	for j < int(m.nspans) && m.spans[j][0] <= end {
		start, end = min(start, m.spans[j][0]), max(end, m.spans[j][1])
		j++
	}
	if i == j {
		if m.nspans == maxSpans {
			return
		}
		copy(m.spans[i+1:], m.spans[i:m.nspans])
		m.nspans++
	} else {
		copy(m.spans[i+1:], m.spans[j:m.nspans])
		m.nspans -= uint8(j - i - 1)
	}
	m.spans[i] = [2]uint32{start, end}
}
