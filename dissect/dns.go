// SPDX-License-Identifier: Apache-2.0

package dissect

import (
	"encoding/binary"

	"weir/internal/flow"
)

// DNS over UDP and TCP, mDNS, LLMNR and NetBIOS name service. A record is a
// query and its reply, paired by the 16-bit identifier, first in first out.

const (
	dnsHeader = 12
	// maxQuestions is how many questions a message may have; more are taken for
	// something else than DNS.
	maxQuestions = 25
	// maxPending is how many queries or replies of one identifier wait for their
	// counterpart, and for how many identifiers, before they are given up.
	maxPending = 50
	// maxWaiting is how many messages of a connection wait in all. Zeek has no
	// such limit, but every new message is compared with them.
	maxWaiting = 256
	// maxAnswerText bounds the answers of one record. Compression lets a message
	// name far more than it holds.
	maxAnswerText = 64 << 10
)

// dnsItem is a query or reply that waits for its counterpart.
type dnsItem struct {
	ts               flow.Time
	next             uint32 // number of the next item of the session, plus 1
	id               uint16
	qtype, qclass    uint16
	flags            dnsFlags
	z, rcode, opcode uint8
	nameLen          uint16
	answers          uint16
	name             [58]byte // the query name, if it fits
	more             []byte   // a longer name, then the answers of a reply
}

// dnsFlags are the facts of a record.
type dnsFlags uint16

const (
	dnsAA dnsFlags = 1 << iota
	dnsTC
	dnsRD
	dnsRA
	dnsSawReply    // a reply was seen: rcode is valid
	dnsSawQuery    // a query was seen
	dnsHasQuestion // the query's question was read: qtype and qclass are valid
	dnsHasName     // the name is valid
	dnsRejected
)

// dnsMessage is the record that a message makes, with what it is paired with.
type dnsMessage struct {
	item     dnsItem
	name     []byte
	answers  answers
	answered bool // an answer was read
	parsed   bool // the questions and answers were all readable
}

// dnsSession is what a connection keeps while messages wait.
type dnsSession struct {
	written uint32
	// head and tail are the numbers of the first and last waiting item, plus 1.
	head, tail uint32
	count      uint32     // of waiting items
	stream     *dnsStream // TCP only
}

// dnsStream puts the messages of a TCP connection together.
type dnsStream struct {
	dir [2]struct {
		buf  []byte // a message that is not complete, behind its length
		need int    // its length; valid when size is 2
		size uint8  // how many bytes of the length were seen
	}
}

type dns struct {
	s        *Shard
	sessions slab[dnsSession]
	items    slab[dnsItem]
	streams  []*dnsStream // unused ones
	msg      dnsMessage
	nameBuf  []byte
}

func newDNS(s *Shard) *dns { return &dns{s: s, nameBuf: make([]byte, 0, maxName)} }

// datagram reads a datagram. Roles are turned around only on the ports on which
// Zeek looks for DNS: what is found elsewhere changes nothing of the connection.
func (d *dns) datagram(t *flow.Tuple, a *App, dir flow.Dir, ts flow.Time, data []byte) {
	if dir == flow.ToServer && dnsPort(t.Dport) && a.services == 0 && a.session == 0 && a.flags&gaveUp == 0 && len(data) >= dnsHeader &&
		data[2]&0x80 != 0 && !multicast(t.Dst) {
		a.flags |= reversed
	}
	d.message(t, a, ts, data)
}

// multicast reports whether no reply can come from addr.
func multicast(addr flow.Addr) bool {
	if addr.Is4() {
		return addr[12]&0xf0 == 0xe0
	}
	return addr[0] == 0xff
}

func (d *dns) stream(t *flow.Tuple, a *App, dir flow.Dir, ts flow.Time, data []byte) {
	session := d.open(a)
	if session == nil {
		a.flags |= doneBoth
		return
	}
	if session.stream == nil {
		session.stream = d.newStream()
	}
	q := &session.stream.dir[dir&1]
	for len(data) > 0 {
		if q.size < 2 {
			q.need = q.need<<8 | int(data[0])
			q.size++
			data = data[1:]
			continue
		}
		if len(q.buf) == 0 && len(data) >= q.need {
			msg := data[:q.need]
			data = data[q.need:]
			q.size, q.need = 0, 0
			d.message(t, a, ts, msg)
			if !a.Wants(dir) {
				return
			}
			continue
		}
		n := min(q.need-len(q.buf), len(data))
		var ok bool
		if q.buf, ok = d.s.bufs.add(q.buf, data[:n]); !ok {
			d.stop(a, dir)
			return
		}
		data = data[n:]
		if len(q.buf) == q.need {
			d.message(t, a, ts, q.buf)
			q.buf, q.size, q.need = q.buf[:0], 0, 0
			if !a.Wants(dir) {
				return
			}
		}
	}
	if len(q.buf) == 0 && q.buf != nil {
		d.s.bufs.release(q.buf)
		q.buf = nil
	}
}

// stop gives up a direction of a TCP connection.
func (d *dns) stop(a *App, dir flow.Dir) {
	a.flags |= doneToServer << (dir & 1)
	if id, ok := a.has(); ok {
		q := &d.sessions.at(id).stream.dir[dir&1]
		d.s.bufs.release(q.buf)
		q.buf = nil
	}
}

func (d *dns) gap(_ *flow.Tuple, a *App, dir flow.Dir, _ flow.Time, _ uint64) {
	d.s.stats.Gaps++
	d.stop(a, dir)
}

// fin reads what is there of a message whose rest will not come.
func (d *dns) fin(t *flow.Tuple, a *App, dir flow.Dir, ts flow.Time) {
	id, ok := a.has()
	if !ok {
		return
	}
	session := d.sessions.at(id)
	if session.stream == nil {
		return
	}
	q := &session.stream.dir[dir&1]
	if len(q.buf) > 0 {
		d.message(t, a, ts, q.buf)
	}
	d.stop(a, dir)
}

func (d *dns) close(t *flow.Tuple, a *App) {
	id, ok := a.has()
	if !ok {
		return
	}
	session := d.sessions.at(id)
	if st := session.stream; st != nil {
		for i := range st.dir {
			d.s.bufs.release(st.dir[i].buf)
		}
		*st = dnsStream{}
		d.streams = append(d.streams, st)
		session.stream = nil
	}
	for session.head != 0 {
		d.writeItem(t, session, d.unlink(session, 0, session.head-1))
	}
	d.free(a, id)
}

// open returns the connection's session, which is made if there is none; nil
// where there is no memory for it.
func (d *dns) open(a *App) *dnsSession {
	id, ok := a.has()
	if !ok {
		if !d.s.bufs.book(d.sessions.size()) {
			return nil
		}
		id = d.sessions.get()
		*d.sessions.at(id) = dnsSession{written: d.s.attach(a, id)}
	}
	return d.sessions.at(id)
}

func (d *dns) free(a *App, id uint32) {
	d.s.detach(a, d.sessions.at(id).written)
	d.sessions.put(id)
	d.s.bufs.free(d.sessions.size())
}

func (d *dns) newStream() *dnsStream {
	if n := len(d.streams); n > 0 {
		st := d.streams[n-1]
		d.streams = d.streams[:n-1]
		return st
	}
	return new(dnsStream)
}

// message reads one message and pairs it.
func (d *dns) message(t *flow.Tuple, a *App, ts flow.Time, data []byte) {
	if len(data) < dnsHeader {
		return
	}
	opcode := data[2] >> 3 & 15
	tracked := opcode == opQuery || opcode == opNotify || opcode == opUpdate
	m := &d.msg
	m.item = dnsItem{
		ts: ts, id: binary.BigEndian.Uint16(data), opcode: opcode,
	}
	m.name, m.answers, m.answered, m.parsed = nil, m.answers[:0], false, false
	if !tracked && t.Dport != 137 { // NetBIOS has operations of its own
		a.flags |= gaveUp
		return
	}
	reply := data[2]&0x80 != 0
	questions := be16(data, 4)
	if reply {
		m.item.flags = dnsSawReply
		m.item.rcode = data[3] & 15
		if m.item.rcode != 0 && questions == 0 {
			m.item.flags |= dnsRejected
		}
	} else {
		m.item.flags = dnsSawQuery
	}
	if questions > maxQuestions {
		d.s.stats.Violations++
		a.retract(protoDNS)
		a.flags |= doneBoth
	} else {
		d.parse(t, data, reply)
	}
	if m.parsed {
		a.confirm(protoDNS)
	}
	if tracked {
		d.pair(t, a, reply)
	}
}

// parse reads the questions and answers of a message into d.msg. Of a dynamic
// update these are its zone, its prerequisites and its changes, as in Zeek, where
// the zone leaves no trace.
func (d *dns) parse(t *flow.Tuple, data []byte, reply bool) {
	m := &d.msg
	netbios := t.Dport == 137
	update := m.item.opcode == opUpdate && !netbios
	off := dnsHeader
	rejected := reply && be16(data, 6)|be16(data, 8)|be16(data, 10) == 0
	for range be16(data, 4) {
		at := off
		if off = skipName(data, off, netbios); len(data)-off < 4 {
			return
		}
		switch {
		case update:
		case !reply:
			m.name, _ = appendName(d.nameBuf[:0], data, at, netbios)
			m.item.flags |= dnsHasQuestion | dnsHasName
			m.item.qtype, m.item.qclass = be16(data, off), be16(data, off+2)
			m.item.z = data[3] >> 4 & 7
			m.item.flags &^= dnsTC | dnsRD
			if data[2]&2 != 0 {
				m.item.flags |= dnsTC
			}
			if data[2]&1 != 0 {
				m.item.flags |= dnsRD
			}
		case rejected:
			m.item.flags |= dnsRejected
		}
		off += 4
	}
	if netbios && m.item.flags&dnsHasQuestion != 0 && t.Proto == flow.UDP {
		decoded := appendNetBIOS(m.name[len(m.name):], m.name)
		if len(decoded) > 0 {
			m.name = decoded
		}
	}
	r := rr{netbios: netbios, section: sectionAnswer}
	if update {
		r.section = sectionPrerequisite
	}
	if off = d.section(data, off, be16(data, 6), &r, reply); off < 0 {
		return
	}
	if update {
		r.section = sectionUpdate
		if off = d.section(data, off, be16(data, 8), &r, reply); off < 0 {
			return
		}
	}
	m.parsed = true
}

// section reads the records of a section that begins at off. It returns where they
// end, or a negative number where the message cannot be read further.
func (d *dns) section(data []byte, off int, records uint16, r *rr, reply bool) int {
	for range records {
		r.owner = off
		if off = skipName(data, off, r.netbios); len(data)-off < 4 {
			return -1
		}
		r.typ, r.class, r.ttl = be16(data, off), be16(data, off+2), be32(data, off+4)
		r.length = int(be16(data, off+8))
		if r.off = off + 10; r.off > len(data) || r.length > len(data)-r.off {
			return -1
		}
		off = r.off + r.length
		switch {
		case r.length == 0 && off < len(data) && r.section == sectionAnswer:
			return -1 // Zeek takes no record that is empty, unless it is the last
		case !reply:
		case len(d.msg.answers) >= maxAnswerText:
			d.s.stats.Truncated++
			return -1
		default:
			if off = d.answer(data, r); off < 0 {
				return -1
			}
		}
	}
	return off
}

// answer reads one record of a reply. It returns where the next one begins, or a
// negative number where the message cannot be read further.
func (d *dns) answer(data []byte, r *rr) (next int) {
	m := &d.msg
	start := len(m.answers)
	list := binary.BigEndian.AppendUint32(m.answers, r.ttl)
	list = binary.BigEndian.AppendUint32(list, 0)
	var result rrResult
	if r.section == sectionAnswer {
		list, next, result = appendData(list, data, r)
	} else {
		list, next, result = appendChange(list, data, r)
	}
	m.answers = list
	n := len(list) - start - answerHead
	if result == rrSilent || result == rrBroken || n == 0 {
		m.answers = list[:start]
	} else {
		binary.BigEndian.PutUint32(list[start+4:], uint32(n))
		m.item.answers++
	}
	switch {
	case result == rrBroken:
		return -1
	case result == rrSilent:
		return next
	case !m.answered:
		m.answered = true
		m.item.flags |= dnsHasName
		m.name, _ = appendName(d.nameBuf[:0], data, r.owner, r.netbios)
		if data[2]&4 != 0 {
			m.item.flags |= dnsAA
		}
		if data[3]&0x80 != 0 {
			m.item.flags |= dnsRA
		}
	}
	if result == rrCut {
		return -1
	}
	return next
}

// pair writes the record of d.msg and its counterpart, or keeps it until that
// comes.
func (d *dns) pair(t *flow.Tuple, a *App, reply bool) {
	m := &d.msg
	want, mine := dnsSawReply, dnsSawQuery
	if reply {
		want, mine = dnsSawQuery, dnsSawReply
	}
	id, ok := a.has()
	if ok {
		session := d.sessions.at(id)
		prev, at := uint32(0), session.head
		for at != 0 {
			item := d.items.at(at - 1)
			if item.id == m.item.id && item.flags&want != 0 {
				break
			}
			prev, at = at, item.next
		}
		if at != 0 {
			d.writePair(t, session, d.unlink(session, prev, at-1), reply)
			if session.head == 0 && session.stream == nil {
				d.free(a, id)
			}
			return
		}
		d.makeRoom(t, session, m.item.id, mine)
	}
	session := d.open(a)
	if session == nil {
		alone := dnsSession{written: a.session}
		d.write(t, &alone, &m.item, m.name, m.answers, 0)
		a.session = alone.written
		return
	}
	if !d.keep(session) {
		d.write(t, session, &m.item, m.name, m.answers, 0)
	}
}

// makeRoom gives up waiting messages where there are too many of them. The first
// query of a connection is never given up, as in Zeek, which keeps it elsewhere.
func (d *dns) makeRoom(t *flow.Tuple, session *dnsSession, id uint16, mine dnsFlags) {
	if session.count <= maxPending {
		return
	}
	same, others, first := 0, 0, true
	var seen [maxPending + 1]uint16
	for at := session.head; at != 0; {
		item := d.items.at(at - 1)
		at = item.next
		if item.flags&mine == 0 {
			continue
		}
		if first && mine == dnsSawQuery {
			first = false
			continue
		}
		if item.id == id {
			same++
			continue
		}
		known := false
		for _, v := range seen[:others] {
			known = known || v == item.id
		}
		if !known && others < len(seen) {
			seen[others] = item.id
			others++
		}
	}
	flushSame := same > maxPending
	flushAll := same == 0 && others > maxPending || session.count >= maxWaiting
	if !flushSame && !flushAll {
		return
	}
	first = true
	prev := uint32(0)
	for at := session.head; at != 0; {
		item := d.items.at(at - 1)
		next := item.next
		keep := item.flags&mine == 0 || !flushAll && item.id != id
		if !keep && first && mine == dnsSawQuery {
			keep = true
		}
		if item.flags&mine != 0 {
			first = false
		}
		if keep {
			prev = at
		} else {
			d.writeItem(t, session, d.unlink(session, prev, at-1))
		}
		at = next
	}
}

// keep appends d.msg to the waiting messages. It reports false where there is no
// memory for it.
func (d *dns) keep(session *dnsSession) bool {
	m := &d.msg
	if !d.s.bufs.book(d.items.size()) {
		return false
	}
	number := d.items.get()
	item := d.items.at(number)
	more := item.more[:0]
	*item = m.item
	item.nameLen = uint16(len(m.name))
	room := true
	if len(m.name) <= len(item.name) {
		copy(item.name[:], m.name)
	} else if more, room = d.s.bufs.add(more, m.name); !room {
		item.nameLen = uint16(copy(item.name[:], m.name))
	}
	if room && len(m.answers) > 0 {
		if more, room = d.s.bufs.add(more, m.answers); !room {
			item.answers = 0
		}
	}
	if !room {
		d.s.stats.Truncated++
	}
	item.more = more
	if session.tail == 0 {
		session.head = number + 1
	} else {
		d.items.at(session.tail - 1).next = number + 1
	}
	session.tail = number + 1
	session.count++
	return true
}

// unlink takes the item of a number, which follows the one numbered prev-1, from
// the waiting ones.
func (d *dns) unlink(session *dnsSession, prev, number uint32) uint32 {
	item := d.items.at(number)
	session.count--
	if prev == 0 {
		session.head = item.next
	} else {
		d.items.at(prev - 1).next = item.next
	}
	if session.tail == number+1 {
		session.tail = prev
	}
	return number
}

// text returns the name and the answers of an item.
func (i *dnsItem) text() ([]byte, answers) {
	n := int(i.nameLen)
	if n <= len(i.name) {
		return i.name[:n], i.more
	}
	return i.more[:n], i.more[n:]
}

func (d *dns) freeItem(number uint32) {
	item := d.items.at(number)
	d.s.bufs.release(item.more)
	item.more = nil
	d.items.put(number)
	d.s.bufs.free(d.items.size())
}
