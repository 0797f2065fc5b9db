// SPDX-License-Identifier: Apache-2.0

package flowtable

import "weir/internal/flow"

// maxJump is the largest step of a sequence number that Zeek believes where a
// SYN, a RST or an acknowledgment of zero makes it (1 MiB).
const maxJump = 1 << 20

// reused reports whether a SYN begins a new connection between the endpoints of
// e, which then is over.
func (e *entry[S]) reused(p *flow.Packet, dir flow.Dir) bool {
	c, r := &e.ends[flow.ToServer], &e.ends[flow.ToClient]
	if p.TCPFlags&flow.ACK == 0 {
		if (c.flags|r.flags)&epClosed != 0 {
			return true
		}
		if dir == flow.ToClient && c.state == synAckSent && r.state == inactive && p.Seq == r.start {
			return false // the reversal that tcpState handles
		}
		return p.Seq != c.start
	}
	if c.state != inactive {
		return false
	}
	return (c.flags|r.flags)&epClosed != 0 || p.Seq != r.start
}

// tcp updates e with a TCP packet, in the order in which Zeek does.
func (s *shard[S]) tcp(i uint32, e *entry[S], p *flow.Packet, dir flow.Dir) (used bool) {
	if p.Flags&flow.BadHeader != 0 {
		s.stats.IgnoredHeader++
		return false
	}
	if p.Flags&flow.BadChecksum != 0 {
		s.badChecksum(e, dir)
		return false
	}
	e.count(p, dir)

	fl := p.TCPFlags
	if e.ends[dir].flags&epSeen == 0 {
		s.firstPacket(e, dir, fl)
	}
	payload := p.PayloadLen
	if fl&flow.RST != 0 {
		payload = 0
	}
	seqLen := payload
	if fl&flow.SYN != 0 {
		seqLen++
	}
	if fl&flow.FIN != 0 {
		seqLen++
	}
	end := p.Seq + seqLen

	self := &e.ends[dir]
	marked := fl&(flow.SYN|flow.FIN|flow.RST) != 0
	if self.state == inactive || marked {
		s.initEndpoint(e, self, dir, p, end)
	}

	if s.flagLetters(e, self, dir, p, payload) {
		s.flip(e)
		s.midstream(e, false)
		if e.class == classAttempt { // the attempt was the other side's
			s.move(i, e, classUDP, p.Now)
		}
		dir = dir.Reverse()
		s.lateLetters(e, dir, p, payload)
	}
	self, peer := &e.ends[dir], &e.ends[dir.Reverse()]
	if p.Window == 0 && fl&flow.RST == 0 && peer.state != closed && self.state != reset {
		x := s.extra(e)
		x.zeroWindows[dir]++
		if powerOfTen(x.zeroWindows[dir]) {
			s.letterDir(e, 'W', dir)
		}
	}
	if self.flags&peer.flags&epClosed == 0 {
		e.last = p.TS
	}
	if fl&flow.FIN != 0 {
		self.flags |= epFin
		self.finSeq = end - self.start - 1
	}
	if fl&flow.RST != 0 {
		s.streams.Reset(&e.Tuple, &e.stream, p.Now)
	}
	follows := payload > 0 && self.follows(p.Seq)
	acked := false
	if fl&flow.ACK != 0 {
		acked = peer.acknowledge(p.Ack, fl&flow.RST != 0)
	}
	if self.advance(end, fl, p.PayloadLen) {
		x := s.extra(e)
		x.retransmissions[dir]++
		if powerOfTen(x.retransmissions[dir]) {
			s.letterDir(e, 'T', dir)
		}
	}

	closing := false
	if self.state == inactive || marked { // nothing else changes a state
		var flipped bool
		if closing, flipped = s.tcpState(i, e, p, dir); flipped {
			dir = dir.Reverse()
		}
	}
	if acked {
		s.acked(i, e, dir.Reverse(), p)
	}
	// A segment cut by the snap length counts as not seen, as in Zeek: parts of
	// messages would be mistaken for whole ones.
	if follows && fl&flow.RST == 0 && len(p.Payload) >= int(payload) {
		seq := p.Seq
		if fl&flow.SYN != 0 {
			seq++
		}
		if sig := s.streams.Segment(&e.Tuple, &e.stream, dir, p, seq); sig != 0 {
			s.heed(i, e, sig, p.Now)
		}
	}
	if self.ended() {
		s.checkEOF(i, e, dir, p)
	}
	if closing {
		s.closed(i, e, dir, p)
	}
	return true
}

// firstPacket finds out whether the payload is seen from its beginning, for which
// Zeek looks at the first packet of each direction: the client's has to be a SYN
// and the server's one with SYN, unless the client had none.
func (s *shard[S]) firstPacket(e *entry[S], dir flow.Dir, fl uint8) {
	e.ends[dir].flags |= epSeen
	switch {
	case dir == flow.ToServer:
		s.midstream(e, fl&(flow.SYN|flow.ACK) != flow.SYN)
	case fl&flow.SYN == 0:
		s.midstream(e, true)
	}
}

// midstream notes whether a connection is one without a handshake.
func (s *shard[S]) midstream(e *entry[S], on bool) {
	if on != (e.flags&flagPartial != 0) {
		e.flags ^= flagPartial
		s.streams.Midstream(&e.stream, on)
	}
}

// initEndpoint sets the sequence numbers of a direction at its first packet and
// where a SYN starts it again.
func (s *shard[S]) initEndpoint(e *entry[S], ep *endpoint, dir flow.Dir, p *flow.Packet, end uint32) {
	syn := p.TCPFlags&flow.SYN != 0
	switch {
	case ep.state == inactive && !syn:
		ep.start, ep.ack, ep.last = p.Seq-1, p.Seq-1, p.Seq
		s.streams.Start(&e.stream, dir, p.Seq)
		return
	case ep.state == inactive && syn:
		s.streams.Start(&e.stream, dir, p.Seq+1)
	case (ep.state == synSent || ep.state == synAckSent) && syn && p.Seq != ep.start:
	case (ep.state == established || ep.state == partial) && syn:
	case ep.state == reset && ep.prev == inactive && syn:
	default:
		return
	}
	if ep.state != inactive && p.Seq != ep.start {
		s.streams.Shift(&e.stream, dir, p.Seq-ep.start)
	}
	ep.start, ep.ack, ep.last = p.Seq, p.Seq, end
	ep.lastWraps, ep.ackWraps = 0, 0
}

// flagLetters writes the history letter of a packet's flags. It returns true,
// having written nothing, where the packet proves that client and server were
// mistaken: so far only a SYN-ACK was seen, and now data or an acknowledgment.
func (s *shard[S]) flagLetters(e *entry[S], ep *endpoint, dir flow.Dir, p *flow.Packet, payload uint32) (flip bool) {
	once := func(bit seen, c byte) {
		if ep.seen&bit == 0 {
			ep.seen |= bit
			s.letterDir(e, c, dir)
		}
	}
	rel := p.Seq - ep.start
	switch p.TCPFlags & (flow.SYN | flow.FIN | flow.RST) {
	case 0:
		bit := seenAck
		if payload > 0 {
			bit = seenData
		} else if p.TCPFlags&flow.ACK == 0 {
			return false
		}
		if ep.seen&bit == 0 && e.histLen == 1 && e.hist[0] == 'H' {
			return true
		}
		s.lateLetters(e, dir, p, payload)
	case flow.SYN:
		if ep.seen&seenSyn == 0 || ep.synSeq != rel {
			c := byte('S')
			if p.TCPFlags&flow.ACK != 0 {
				c = 'H'
			}
			ep.seen |= seenSyn
			ep.synSeq = rel
			s.letterDir(e, c, dir)
		}
	case flow.FIN:
		if at := rel + payload; ep.seen&seenFin == 0 || ep.finSeq != at {
			ep.seen |= seenFin
			s.letterDir(e, 'F', dir)
		}
	case flow.RST:
		if ep.seen&seenRst == 0 || ep.rstSeq != rel {
			ep.seen |= seenRst
			ep.rstSeq = rel
			s.letterDir(e, 'R', dir)
		}
	case flow.FIN | flow.RST, flow.SYN | flow.FIN | flow.RST:
		once(seenFinRst, 'I')
	default:
		once(seenMulti, 'Q')
	}
	return false
}

// lateLetters writes the letter of a packet without SYN, FIN and RST.
func (s *shard[S]) lateLetters(e *entry[S], dir flow.Dir, p *flow.Packet, payload uint32) {
	ep := &e.ends[dir]
	bit, c := seenAck, byte('A')
	if payload > 0 {
		bit, c = seenData, 'D'
	}
	if ep.seen&bit == 0 {
		ep.seen |= bit
		s.letterDir(e, c, dir)
	}
}

// turn exchanges the addresses of client and server.
func (e *entry[S]) turn() {
	e.Src, e.Dst, e.Sport, e.Dport = e.Dst, e.Src, e.Dport, e.Sport
}

// flip exchanges client and server.
func (s *shard[S]) flip(e *entry[S]) {
	e.turn()
	e.pkts[0], e.pkts[1] = e.pkts[1], e.pkts[0]
	e.bytes[0], e.bytes[1] = e.bytes[1], e.bytes[0]
	e.ends[0], e.ends[1] = e.ends[1], e.ends[0]
	if e.rare != 0 {
		x := s.rares.at(e.rare - 1)
		x.gaps[0], x.gaps[1] = x.gaps[1], x.gaps[0]
		x.zeroWindows[0], x.zeroWindows[1] = x.zeroWindows[1], x.zeroWindows[0]
		x.retransmissions[0], x.retransmissions[1] = x.retransmissions[1], x.retransmissions[0]
		x.checksums[0], x.checksums[1] = x.checksums[1], x.checksums[0]
		x.reported.flip()
	}
	s.streams.Flip(&e.stream)
	if e.histLen == 1 && e.hist[0] == 'H' {
		e.hist[0], e.hist[1], e.histLen = '^', 'h', 2
		return
	}
	s.letter(e, '^')
}

// before reports whether a sequence number lies before the first one of ep, last
// being the highest of its kind so far, which came round wraps times. Zeek cannot
// tell such a number from one that is more than 2 GiB ahead.
func (ep *endpoint) before(seq, last uint32, wraps uint16) bool {
	switch delta := int32(seq - last); {
	case delta < 0 && wraps > 0 && seq > last:
		wraps--
	case delta > 0 && seq < last:
		wraps++
	}
	return wraps == 0 && int32(seq-ep.start) < 0
}

// follows reports whether payload at seq is part of what ep sends.
func (ep *endpoint) follows(seq uint32) bool { return !ep.before(seq, ep.last, ep.lastWraps) }

// acknowledge notes that ep's peer acknowledged ack. It reports whether that is
// more than before. What a reset acknowledges is not counted, but believed.
func (ep *endpoint) acknowledge(ack uint32, rst bool) (more bool) {
	if ep.state == inactive {
		ep.start, ep.ack, ep.last = ack-1, ack-1, ack-1
		return false
	}
	delta := int32(ack - ep.ack)
	if delta <= 0 || ep.before(ack, ep.ack, ep.ackWraps) {
		return false
	}
	if rst || ack == 0 && delta > maxJump {
		return true
	}
	if ack < ep.ack {
		ep.ackWraps++
	}
	ep.ack = ack
	return true
}

// advance moves the end of what ep has sent. It reports a retransmission.
func (ep *endpoint) advance(end uint32, fl uint8, payload uint32) (again bool) {
	delta := int32(end - ep.last)
	switch {
	case fl&(flow.SYN|flow.RST) != 0 && (delta > maxJump || delta < -maxJump):
	case fl&flow.FIN != 0 && ep.last == ep.start+1:
		if end < ep.last && delta > 0 {
			ep.lastWraps++
		}
		ep.last = end
	case ep.state == reset:
	case delta > 0:
		if end < ep.last {
			ep.lastWraps++
		}
		ep.last = end
	case payload > 0:
		return true
	}
	return false
}

func (ep *endpoint) to(st tcpState) {
	if ep.state != st {
		ep.prev, ep.state = ep.state, st
	}
}

// tcpState runs the state machine for a packet of dir. It reports whether the
// packet closes its direction, and whether it showed that the connection began
// the other way round.
func (s *shard[S]) tcpState(i uint32, e *entry[S], p *flow.Packet, dir flow.Dir) (closing, flipped bool) {
	self, peer := &e.ends[dir], &e.ends[dir.Reverse()]
	fl := p.TCPFlags
	answered := false
	waiting := self.state <= synAckSent && peer.state <= synAckSent
	switch self.state {
	case inactive:
		if fl&flow.SYN != 0 {
			flipped, answered = s.firstSyn(e, p, dir)
			if flipped {
				dir = dir.Reverse()
				self, peer = &e.ends[dir], &e.ends[dir.Reverse()]
			}
		}
		if fl&flow.FIN != 0 {
			self.to(closed)
			closing = true
		}
		if fl&flow.RST != 0 {
			self.to(reset)
			closing = true
		}
		if self.state == inactive {
			switch {
			case dir == flow.ToClient && p.PayloadLen == 0 && peer.state == synSent:
				// An odd acknowledgment before the SYN-ACK.
			case fl&flow.ACK != 0 && peer.state == established:
				self.to(established)
				s.midstream(e, false) // only the SYN was missed
			default:
				self.to(partial)
			}
		}
	case synSent, synAckSent:
		if fl&flow.FIN != 0 {
			self.to(closed)
			closing = true
		}
		if fl&flow.RST != 0 {
			self.to(reset)
			closing = true
		}
	case established, partial:
		if self.state == partial && peer.state == inactive && fl&(flow.SYN|flow.ACK) == flow.SYN {
			self.to(synSent)
		}
		if fl&flow.FIN != 0 && fl&flow.RST == 0 {
			self.to(closed)
			closing = true
			if peer.state == reset && peer.prev == closed {
				peer.to(closed)
			}
		}
		if fl&flow.RST != 0 {
			self.to(reset)
			closing = true
		}
	case closed:
		if fl&flow.RST != 0 && peer.state != closed {
			self.to(reset)
			closing = self.flags&epClosed == 0
			if e.class != classClosing { // what is over already ends no later
				s.lastWait(i, e, p.Now)
			}
		}
	}
	// The server's SYN decides on the timeout of the port.
	if done := waiting && (self.state > synAckSent || peer.state > synAckSent); done || answered {
		s.inUse(i, e, answered, p.Now)
	}
	return closing, flipped
}

// firstSyn handles a SYN from an endpoint that sent nothing before. It reports
// whether it showed that the connection began the other way round, and whether it
// is the answer of the server.
func (s *shard[S]) firstSyn(e *entry[S], p *flow.Packet, dir flow.Dir) (flipped, answered bool) {
	self, peer := &e.ends[dir], &e.ends[dir.Reverse()]
	pure := p.TCPFlags&flow.ACK == 0
	if dir == flow.ToServer {
		st := synAckSent
		if pure {
			st = synSent
		}
		self.to(st)
		return false, false
	}
	if pure && peer.state == synAckSent && p.Seq == self.start {
		s.flip(e)
		s.midstream(e, false)
		self, peer = &e.ends[flow.ToServer], &e.ends[flow.ToClient]
		peer.to(established)
		flipped = true
	} else if peer.state == synSent {
		peer.to(established)
	}
	self.to(established)
	return flipped, peer.state != partial
}

// inUse gives an entry the timeout of a connection that is more than an attempt.
// Only where the server has answered it depends on the port.
func (s *shard[S]) inUse(i uint32, e *entry[S], answered bool, now flow.Time) {
	if e.class == classClosing {
		return
	}
	c := classTCP
	if answered {
		switch e.Dport {
		case 21, 22, 23, 513:
			c = classInteractive
		}
	}
	s.move(i, e, c, now)
}

// acked tells the streams that what dir sent was acknowledged, and counts the
// holes that this leaves for good.
func (s *shard[S]) acked(i uint32, e *entry[S], dir flow.Dir, p *flow.Packet) {
	ep := &e.ends[dir]
	ack := p.Ack
	// A FIN is no payload. Of one that lies more than 2 GiB ahead Zeek does not
	// know where it is.
	if end := ep.start + ep.finSeq; ep.flags&epFin != 0 && int32(ack-end) > 0 && int32(ep.finSeq) >= 0 {
		ack = end
	}
	if ack-ep.start <= 1 {
		return // a SYN is none either
	}
	gaps, missed, sig := s.streams.Ack(&e.Tuple, &e.stream, dir, p.Now, ack)
	if gaps > 0 && e.clean() {
		x := s.extra(e)
		x.missed += missed
		for range gaps {
			x.gaps[dir]++
			if powerOfTen(x.gaps[dir]) {
				s.letterDir(e, 'G', dir)
			}
		}
	}
	if sig != 0 {
		s.heed(i, e, sig, p.Now)
	}
	if ep.ended() {
		s.checkEOF(i, e, dir, p)
	}
}

// clean reports whether both directions were seen from the handshake on and
// neither was reset, so that a hole means lost packets.
func (e *entry[S]) clean() bool {
	for d := range e.ends {
		ep := &e.ends[d]
		if ep.state != established && (ep.state != closed || ep.prev != established) {
			return false
		}
	}
	return true
}

// pending reports whether a direction has more to say, or its sender has more to
// acknowledge, unless that can do so no more.
func (s *shard[S]) pending(e *entry[S], dir flow.Dir) bool {
	ep := &e.ends[dir]
	next, ok := s.streams.Next(&e.stream, dir)
	if !ok {
		return false
	}
	missing := int64(int32(ep.last - next))
	if ep.lastWraps == 0 { // it may be more than 2 GiB then
		missing = int64(ep.last) - int64(ep.start) - int64(next-ep.start)
	}
	if missing < 0 {
		return false
	}
	// The last number is that of the FIN.
	return missing > 1 || ep.state != reset && s.streams.Unacked(&e.stream, dir.Reverse())
}

// ended reports whether the end of a direction was seen and it is not known yet to
// be complete.
func (ep *endpoint) ended() bool {
	return ep.flags&(epFin|epEOF) == epFin || ep.state >= closed && ep.flags&epEOF == 0
}

// checkEOF notes, once, that a direction that has ended is complete.
func (s *shard[S]) checkEOF(i uint32, e *entry[S], dir flow.Dir, p *flow.Packet) {
	ep := &e.ends[dir]
	if s.pending(e, dir) {
		return
	}
	ep.flags |= epEOF
	if ep.flags&epFin != 0 {
		if sig := s.streams.Fin(&e.Tuple, &e.stream, dir, p.Now); sig != 0 {
			s.heed(i, e, sig, p.Now)
		}
	}
	// As in Zeek, whichever direction is complete first ends the wait.
	if e.flags&flagDeferred != 0 {
		s.closed(i, e, dir, p)
		e.flags &^= flagDeferred
	}
}

// closed closes a direction whose last packet was seen, unless payload is missing,
// and schedules the end of a connection that is complete.
func (s *shard[S]) closed(i uint32, e *entry[S], dir flow.Dir, p *flow.Packet) {
	self, peer := &e.ends[dir], &e.ends[dir.Reverse()]
	if s.pending(e, dir) {
		e.flags |= flagDeferred
		return
	}
	e.flags &^= flagDeferred
	if self.flags&epClosed != 0 {
		return
	}
	self.flags |= epClosed
	if self.state == reset || peer.flags&epClosed != 0 || peer.state == inactive {
		s.lastWait(i, e, p.Now)
	}
}

// payload returns the payload bytes of a direction, as Zeek counts them.
func (e *entry[S]) payload(dir flow.Dir) uint64 {
	ep := &e.ends[dir]
	switch e.Proto {
	case flow.TCP:
	case flow.UDP, flow.ICMP, flow.ICMPv6:
		return ep.plain()
	default:
		return 0
	}
	// The other side acknowledged data of an earlier connection, and was reset: what
	// its numbers say was never sent here.
	if ep.prev == synSent && ep.state == reset && e.ends[dir.Reverse()].state == inactive && ep.ack != ep.start && ep.ack != ep.start+1 {
		return 0
	}
	last := uint64(ep.lastWraps)<<32 | uint64(ep.last)
	acked := uint64(ep.ackWraps)<<32 | uint64(ep.ack)
	end := max(last, acked)
	size := end - uint64(ep.start)
	if end < uint64(ep.start) {
		size = 0
	}
	if size > 0 {
		size--
	}
	if size > 0 && ep.flags&epFin != 0 {
		size--
	}
	return size
}

// state returns Zeek's conn_state.
func (e *entry[S]) state(history []byte) flow.State {
	switch e.Proto {
	case flow.TCP:
	case flow.UDP:
		c, r := e.ends[0].seen&seenData != 0, e.ends[1].seen&seenData != 0
		switch {
		case c && r:
			return flow.SF
		case c:
			return flow.S0
		case r:
			return flow.SHR
		}
		return flow.OTH
	default:
		return flow.OTH
	}
	c, r := e.ends[0].state, e.ends[1].state
	mute := func(st tcpState) bool { return st == inactive || st == partial }
	switch {
	case r == reset:
		switch {
		case c == synSent || c == synAckSent:
			return flow.REJ
		case c == reset && e.payload(0) == 0 && e.payload(1) == 0:
			return flow.REJ
		case mute(c):
			return flow.RSTRH
		}
		return flow.RSTR
	case c == reset:
		if !mute(r) {
			return flow.RSTO
		}
		if abandoned(history) {
			return flow.RSTOS0
		}
		return flow.OTH
	case c == closed && r == closed:
		return flow.SF
	case c == closed:
		if mute(r) {
			return flow.SH
		}
		return flow.S2
	case r == closed:
		if mute(c) {
			return flow.SHR
		}
		return flow.S3
	case c == synSent && r == inactive:
		return flow.S0
	case c == established && r == established:
		return flow.S1
	}
	return flow.OTH
}

// abandoned reports whether a history says that the client sent a SYN and then,
// nothing of substance between, a RST: ^\^?S[^HAFGIQ]*R
func abandoned(history []byte) bool {
	h := history
	if len(h) > 0 && h[0] == '^' {
		h = h[1:]
	}
	if len(h) == 0 || h[0] != 'S' {
		return false
	}
	for _, c := range h[1:] {
		switch c {
		case 'R':
			return true
		case 'H', 'A', 'F', 'G', 'I', 'Q':
			return false
		}
	}
	return false
}
