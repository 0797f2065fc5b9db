// SPDX-License-Identifier: Apache-2.0

package traffic

import (
	"encoding/binary"
	"time"
)

// The ends of a connection, as indexes.
const (
	client = 0
	server = 1
)

// TCP flags.
const (
	fin = 1 << iota
	syn
	rst
	psh
	ack
)

// write is what one end sends: a datagram of UDP or ICMP, or bytes of a TCP
// stream.
type write struct {
	from int
	// wait passes between the end of the write before and this one.
	wait int64
	data []byte
	// more joins the next write to this one, as if they had been one.
	more bool
	// kind and code are ICMP's.
	kind, code uint8
}

// ending is how a TCP connection ends.
type ending uint8

const (
	clientCloses ending = iota
	serverCloses
	clientResets
	staysOpen
	// refused: a RST answers the SYN. ignored: nothing does. halfOpen: the
	// client resets after the SYN-ACK, as port scanners do.
	refused
	ignored
	halfOpen
)

// stage is a TCP connection's next packet.
type stage uint8

const (
	sendSYN stage = iota
	resendSYN
	sendSYNACK
	sendACK
	sendData
	sendFIN
	sendFINACK
	sendLastACK
	sendRST
	sendRefusal
	sendHalfOpenReset
)

// position is a place in a connection's writes.
type position struct {
	write, off int
}

// segment is a piece of the stream: sent already, or held back.
type segment struct {
	at  position
	seq uint32
	n   int
}

// conn is one connection and what remains to be sent of it.
type conn struct {
	side    [2]side
	proto   uint8
	v6      bool
	stamps  bool // TCP timestamps
	label   uint32
	addrSum uint32
	rtt     int64
	writes  []write
	at      position

	// TCP only.
	stage    stage
	end      ending
	seq      [2]uint32 // next sequence number of each side
	mss      int
	from     int // who sends the current message
	left     int // bytes of it that were not sent
	unacked  int
	burst    int
	ackDue   bool
	held     segment // overtaken by the segment after it
	again    segment // to be sent a second time
	pace     int64   // between segments
	clock    uint32  // of the timestamps option
	finFrom  int
	synTwice bool
}

// say appends a write that comes wait after the one before.
func (c *conn) say(from int, wait int64, data []byte) {
	c.writes = append(c.writes, write{from: from, wait: wait, data: data})
}

// sayMore appends data to what was said last.
func (c *conn) sayMore(data []byte) {
	if len(data) == 0 {
		return
	}
	last := &c.writes[len(c.writes)-1]
	last.more = true
	c.writes = append(c.writes, write{from: last.from, data: data})
}

// next implements source.
func (c *conn) next(g *generator) (int64, bool) {
	if c.proto == protoTCP {
		return c.nextTCP(g)
	}
	w := &c.writes[c.at.write]
	if c.proto == protoUDP {
		g.sendUDP(c, w)
	} else {
		g.sendICMP(c, w)
	}
	g.totals.Payload += int64(len(w.data))
	c.at.write++
	if c.at.write == len(c.writes) {
		return 0, false
	}
	return g.now + c.writes[c.at.write].wait, true
}

func (g *generator) sendUDP(c *conn, w *write) {
	n := 8 + len(w.data)
	b := g.packet(c, w.from, protoUDP, n)
	binary.BigEndian.PutUint16(b[0:], c.side[w.from].port)
	binary.BigEndian.PutUint16(b[2:], c.side[1-w.from].port)
	binary.BigEndian.PutUint16(b[4:], uint16(n))
	copy(b[8:], w.data)
	finish(b, 6, c.pseudo(protoUDP, n))
	if b[6] == 0 && b[7] == 0 { // 0 would mean "no checksum"
		b[6], b[7] = 0xff, 0xff
	}
}

func (g *generator) sendICMP(c *conn, w *write) {
	n := 8 + len(w.data)
	b := g.packet(c, w.from, c.proto, n)
	b[0], b[1] = w.kind, w.code
	// Identifier and sequence number of echoes, unused in errors.
	binary.BigEndian.PutUint32(b[4:], 0)
	if w.kind != 3 && w.kind != 1 {
		binary.BigEndian.PutUint16(b[4:], c.side[client].port)
		binary.BigEndian.PutUint16(b[6:], uint16(c.at.write/2+1))
	}
	copy(b[8:], w.data)
	pseudo := uint16(0)
	if c.v6 {
		pseudo = c.pseudo(protoICMPv6, n)
	}
	finish(b, 2, pseudo)
}

// nextTCP sends the connection's next segment.
func (c *conn) nextTCP(g *generator) (int64, bool) {
	switch c.stage {
	case sendSYN, resendSYN:
		return c.open(g)
	case sendSYNACK:
		g.sendTCP(c, server, syn|ack, c.seq[server])
		c.seq[server]++
		c.stage = sendACK
		if c.end == halfOpen {
			c.stage = sendHalfOpenReset
		}
		return g.now + c.rtt/8, true
	case sendACK:
		g.sendTCP(c, client, ack, c.seq[client])
		c.stage = sendData
		if len(c.writes) == 0 {
			return c.finish(g)
		}
		c.begin()
		return g.now + c.writes[0].wait, true
	case sendData:
		return c.sendStream(g)
	case sendFIN:
		g.sendTCP(c, c.finFrom, fin|ack, c.seq[c.finFrom])
		c.seq[c.finFrom]++
		c.stage = sendFINACK
		return g.now + c.rtt/2, true
	case sendFINACK:
		other := 1 - c.finFrom
		g.sendTCP(c, other, fin|ack, c.seq[other])
		c.seq[other]++
		c.stage = sendLastACK
		return g.now + c.rtt/2, true
	case sendLastACK:
		g.sendTCP(c, c.finFrom, ack, c.seq[c.finFrom])
	case sendRST:
		g.sendTCP(c, client, rst|ack, c.seq[client])
	case sendRefusal:
		g.sendTCP(c, server, rst|ack, 0)
	case sendHalfOpenReset:
		g.sendTCP(c, client, rst, c.seq[client])
	}
	return 0, false
}

// open sends the SYN and says what answers it.
func (c *conn) open(g *generator) (int64, bool) {
	if c.stage == resendSYN {
		c.seq[client]--
	}
	g.sendTCP(c, client, syn, c.seq[client])
	c.seq[client]++
	if c.synTwice && c.stage == sendSYN {
		c.stage = resendSYN
		return g.now + int64(time.Second), true
	}
	switch c.end {
	case ignored:
		return 0, false
	case refused:
		c.stage = sendRefusal
	case clientCloses, serverCloses, clientResets, staysOpen, halfOpen:
		c.stage = sendSYNACK
	}
	return g.now + c.rtt, true
}

// begin starts the message at the current write.
func (c *conn) begin() {
	c.left, c.from = 0, c.writes[c.at.write].from
	for i := c.at.write; i < len(c.writes); i++ {
		c.left += len(c.writes[i].data)
		if !c.writes[i].more {
			break
		}
	}
	c.burst = 0
}

// Shares of full TCP segments that are sent twice or overtaken.
const (
	resendShare  = 0.0025
	reorderShare = 0.0025
)

// sendStream sends the next segment or acknowledgment of the current message.
func (c *conn) sendStream(g *generator) (int64, bool) {
	from := c.from
	switch {
	case c.ackDue:
		c.ackDue, c.unacked = false, 0
		g.sendTCP(c, 1-from, ack, c.seq[1-from])
		if c.left == 0 && c.held.n == 0 && c.again.n == 0 {
			return c.message(g)
		}
		return g.now + c.pace, true
	case c.held.n > 0:
		c.sendPiece(g, from, c.held)
		c.held = segment{}
	case c.again.n > 0:
		c.sendPiece(g, from, c.again)
		c.again = segment{}
		g.totals.Retransmitted++
		c.unacked = 1 // provokes an acknowledgment at once
	case c.left >= 2*c.mss && g.chance(reorderShare):
		c.held = c.take(from)
		c.sendPiece(g, from, c.take(from))
		g.totals.Reordered++
		c.ackDue = true // a duplicate acknowledgment
		return g.now + c.pace, true
	default:
		piece := c.take(from)
		c.sendPiece(g, from, piece)
		if piece.n == c.mss && g.chance(resendShare) {
			c.again = piece
		}
	}
	c.unacked++
	c.burst++
	if c.left == 0 && c.again.n == 0 {
		// The last segment is acknowledged by itself, or by the answer.
		if c.at.write < len(c.writes) && c.writes[c.at.write].from != from && g.chance(0.5) {
			return c.message(g)
		}
		c.ackDue = true
	} else if c.unacked >= 2 {
		c.ackDue = true
	}
	if c.again.n > 0 {
		return g.now + c.rtt, true
	}
	if c.burst%20 == 0 {
		return g.now + c.rtt, true
	}
	return g.now + c.pace, true
}

// message goes on to the next message, or to the end.
func (c *conn) message(g *generator) (int64, bool) {
	c.ackDue, c.unacked = false, 0
	if c.at.write >= len(c.writes) {
		return c.finish(g)
	}
	c.begin()
	return g.now + c.writes[c.at.write].wait + c.rtt/2, true
}

// finish starts the end of the connection.
func (c *conn) finish(g *generator) (int64, bool) {
	switch c.end {
	case clientCloses:
		c.stage, c.finFrom = sendFIN, client
	case serverCloses:
		c.stage, c.finFrom = sendFIN, server
	case clientResets:
		c.stage = sendRST
	case staysOpen, refused, ignored, halfOpen:
		return 0, false
	}
	return g.now + c.rtt/4, true
}

// take cuts the next segment from the current message.
func (c *conn) take(from int) segment {
	s := segment{at: c.at, seq: c.seq[from], n: min(c.left, c.mss)}
	c.left -= s.n
	c.seq[from] += uint32(s.n)
	for n := s.n; n > 0; {
		rest := len(c.writes[c.at.write].data) - c.at.off
		if n < rest {
			c.at.off += n
			break
		}
		n -= rest
		c.at = position{write: c.at.write + 1}
	}
	return s
}

// sendPiece sends a piece of the stream.
func (c *conn) sendPiece(g *generator, from int, s segment) {
	flags := uint8(ack)
	if s.n < c.mss {
		flags |= psh
	}
	b := g.sendTCPHeader(c, from, flags, s.seq, s.n)
	header := len(b) - s.n
	pos, dst := s.at, b[header:]
	for len(dst) > 0 {
		n := copy(dst, c.writes[pos.write].data[pos.off:])
		dst = dst[n:]
		pos = position{write: pos.write + 1}
	}
	finish(b, 16, c.pseudo(protoTCP, len(b)))
}

// sendTCP sends a segment without payload.
func (g *generator) sendTCP(c *conn, from int, flags uint8, seq uint32) {
	b := g.sendTCPHeader(c, from, flags, seq, 0)
	finish(b, 16, c.pseudo(protoTCP, len(b)))
}

// sendTCPHeader builds a segment but for payload and checksum.
func (g *generator) sendTCPHeader(c *conn, from int, flags uint8, seq uint32, n int) []byte {
	header := 20
	switch {
	case flags&syn != 0 && c.stamps:
		header = 40
	case flags&syn != 0:
		header = 32
	case c.stamps && flags&rst == 0:
		header = 32
	}
	b := g.packet(c, from, protoTCP, header+n)
	binary.BigEndian.PutUint16(b[0:], c.side[from].port)
	binary.BigEndian.PutUint16(b[2:], c.side[1-from].port)
	binary.BigEndian.PutUint32(b[4:], seq)
	acked := uint32(0)
	if flags&ack != 0 {
		acked = c.seq[1-from]
		if c.held.n > 0 && from != c.from {
			acked = c.held.seq // the hole has not been filled
		}
	}
	binary.BigEndian.PutUint32(b[8:], acked)
	b[12], b[13] = uint8(header/4)<<4, flags
	window := uint16(502)
	if flags&syn != 0 {
		window = 64240
	} else if flags&rst != 0 {
		window = 0
	}
	binary.BigEndian.PutUint16(b[14:], window)
	b[18], b[19] = 0, 0
	c.options(b[20:header], flags, g.now, from)
	return b
}

// options fills the option bytes of a header.
func (c *conn) options(o []byte, flags uint8, now int64, from int) {
	if len(o) == 0 {
		return
	}
	if flags&syn != 0 {
		o[0], o[1] = 2, 4 // maximum segment size
		mss := uint16(1460)
		if c.v6 {
			mss = 1440
		}
		binary.BigEndian.PutUint16(o[2:], mss)
		if !c.stamps {
			copy(o[4:], []byte{1, 3, 3, 7, 1, 1, 4, 2}) // window scale, SACK permitted
			return
		}
		copy(o[4:], []byte{4, 2})
		o = o[6:]
		copy(o[10:], []byte{1, 3, 3, 7})
	} else {
		o[0], o[1] = 1, 1
		o = o[2:]
	}
	o[0], o[1] = 8, 10 // timestamps: milliseconds, each side with its own offset
	mine := c.clock + uint32(now/1e6)
	theirs := mine
	if from == client {
		theirs += 77_777
	} else {
		mine += 77_777
	}
	if flags&syn != 0 && flags&ack == 0 {
		theirs = 0
	}
	binary.BigEndian.PutUint32(o[2:], mine)
	binary.BigEndian.PutUint32(o[6:], theirs)
}
