// SPDX-License-Identifier: Apache-2.0

package flowtable

import (
	"slices"

	"weir/internal/flow"
)

// ahead is for how many packets warm fetches memory.
const ahead = 16

// warm reads the index slots of some packets, then the entries they refer to.
// The reads do not depend on each other, so that the processor waits for all
// cache misses at once instead of for one after the other.
func (s *shard[S]) warm(pkts []flow.Packet, idx []uint32) {
	var refs [ahead]uint32
	x := &s.index
	for j, i := range idx {
		refs[j%ahead] = x.slots[uint32(pkts[i].Hash>>32)&x.mask].ref
	}
	touched := uint32(0)
	for j := range idx {
		if ref := refs[j%ahead]; ref != 0 {
			e := s.slab.at(ref - 1)
			// One field of each of its cache lines.
			touched += e.tag + uint32(e.pkts[0]) + e.ends[0].start + uint32(e.stamp)
		}
	}
	s.warmed = touched
}

// packet finds or makes the connection of p and updates it.
func (s *shard[S]) packet(p *flow.Packet) {
	s.stats.Packets++
	tag := uint32(p.Hash >> 32)
	i, dir := s.lookup(tag, p)
	if i != none {
		e := s.slab.at(i)
		if e.deadline <= p.Now && s.over(i, e, p.Now) {
			s.end(i, s.reason(e.class))
			i = none
		} else if p.Proto == flow.TCP && p.TCPFlags&flow.SYN != 0 && e.reused(p, dir) {
			s.end(i, flow.EndDetected)
			i = none
		}
	}
	fresh := i == none
	if fresh {
		i, dir = s.begin(tag, p)
	}
	e := s.slab.at(i)
	if p.Flags&flow.Founder != 0 {
		s.found(e, p)
	}
	if p.Tunnel != 0 || e.flags&flagTunneled != 0 {
		s.tunnel(e, p.Tunnel, fresh)
	}
	used := true
	switch p.Proto {
	case flow.TCP:
		used = s.tcp(i, e, p, dir)
	case flow.UDP:
		used = s.udp(i, e, p, dir)
	case flow.ICMP, flow.ICMPv6:
		used = s.icmp(e, p, dir)
	default:
		e.count(p, dir)
		e.last = p.TS
	}
	if used {
		if e.flags&flagQuiet != 0 {
			s.resume(e)
		}
		s.touch(i, e, p.Now)
	}
}

// lookup returns the connection of p and p's direction in it.
func (s *shard[S]) lookup(tag uint32, p *flow.Packet) (uint32, flow.Dir) {
	x := &s.index
	for j := tag & x.mask; ; j = (j + 1) & x.mask {
		sl := x.slots[j]
		if sl.ref == 0 {
			return none, 0
		}
		if sl.tag != tag {
			continue
		}
		e := s.slab.at(sl.ref - 1)
		if e.Proto != p.Proto {
			continue
		}
		oneWay := e.flags&flagOneWay != 0
		if oneWay != p.OneWay {
			continue
		}
		if e.Sport == p.Sport && e.Dport == p.Dport && e.Src == p.Src && e.Dst == p.Dst {
			return sl.ref - 1, flow.ToServer
		}
		if !oneWay && e.Sport == p.Dport && e.Dport == p.Sport && e.Src == p.Dst && e.Dst == p.Src {
			return sl.ref - 1, flow.ToClient
		}
	}
}

// begin makes the connection whose first packet is p.
func (s *shard[S]) begin(tag uint32, p *flow.Packet) (uint32, flow.Dir) {
	for s.full() && s.index.count > 0 {
		if s.expire(p.Now, 1) == 1 { // nothing is over anyway
			s.evict()
		}
	}
	i, e := s.entry()
	*e = entry[S]{
		Tuple: flow.Tuple{
			UID: flow.UID(p), Src: p.Src, Dst: p.Dst, Sport: p.Sport, Dport: p.Dport, Proto: p.Proto,
		},
		tag: tag, code: p.Code, vlan: p.VLAN, first: p.TS, last: p.TS,
		epoch: s.epoch, stamp: s.begun,
	}
	if p.OneWay {
		e.flags = flagOneWay
	}
	dir := flow.ToServer
	if s.servers.Reversed(p) {
		e.Src, e.Dst, e.Sport, e.Dport = p.Dst, p.Src, p.Dport, p.Sport
		dir = flow.ToClient
		s.letter(e, '^')
	}
	s.index.insert(tag, i)
	c := s.initialClass(&e.Tuple)
	e.deadline = p.Now + s.timeout[c]
	s.push(i, e, c)
	s.stats.Connections++
	s.stats.OpenPeak = max(s.stats.OpenPeak, s.index.count)
	return i, dir
}

func (s *shard[S]) initialClass(t *flow.Tuple) class {
	switch t.Proto {
	case flow.TCP:
		// Until a packet is accepted it is not even that.
		return classAttempt
	case flow.UDP:
		switch t.Dport {
		case 53, 137, 5353, 5355:
			if s.timeout[classDNS] < s.timeout[classUDP] {
				return classDNS
			}
		}
		return classUDP
	case flow.ICMP, flow.ICMPv6:
		return classICMP
	}
	return classOther
}

func (e *entry[S]) count(p *flow.Packet, dir flow.Dir) {
	e.pkts[dir]++
	e.bytes[dir] += uint64(p.IPLen)
}

// udp, icmp and tcp update e with a packet. They report whether the packet
// counts: what is ignored keeps no connection alive.
func (s *shard[S]) udp(i uint32, e *entry[S], p *flow.Packet, dir flow.Dir) (used bool) {
	if p.Flags&flow.BadChecksum != 0 {
		s.badChecksum(e, dir)
		return false
	}
	e.count(p, dir)
	e.last = p.TS
	ep := &e.ends[dir]
	ep.addPayload(p.PayloadLen)
	if ep.seen&seenData == 0 {
		ep.seen |= seenData
		s.letterDir(e, 'D', dir)
	}
	if p.Flags&flow.TooDeep != 0 {
		s.giveUp(e)
	}
	if len(p.Payload) > 0 {
		if sig := s.streams.Datagram(&e.Tuple, &e.stream, dir, p); sig != 0 {
			s.heed(i, e, sig, p.Now)
		}
	}
	return true
}

func (s *shard[S]) icmp(e *entry[S], p *flow.Packet, dir flow.Dir) (used bool) {
	if p.Flags&flow.BadChecksum != 0 {
		s.stats.IgnoredChecksum++
		return false
	}
	e.last = p.TS
	e.ends[dir].addPayload(p.PayloadLen)
	e.ends[dir].seen |= seenData
	// Zeek counts packets and IP bytes of ICMP only where they were captured
	// whole, but payload bytes always.
	if p.Flags&flow.Truncated == 0 {
		e.count(p, dir)
	}
	return true
}

func (s *shard[S]) badChecksum(e *entry[S], dir flow.Dir) {
	s.stats.IgnoredChecksum++
	x := s.extra(e)
	x.checksums[dir]++
	if powerOfTen(x.checksums[dir]) {
		s.letterDir(e, 'C', dir)
	}
}

// found gives a connection the uid by which packets out of its tunnel name it. It
// has another one only where its first packets did not look like a tunnel's, and
// keeps that where records have named it already.
func (s *shard[S]) found(e *entry[S], p *flow.Packet) {
	named := e.rare != 0 && s.rares.at(e.rare-1).reported.any || s.streams.Services(&e.stream) != ""
	if !named {
		e.UID = flow.UID(p)
	}
}

// tunnel notes the innermost tunnel of a packet, at the first packet and where it
// changes, but for those after maxChanges, at which Zeek looks no more. fresh says
// that the connection begins with the packet.
func (s *shard[S]) tunnel(e *entry[S], uid uint64, fresh bool) {
	x := s.extra(e)
	e.flags |= flagTunneled
	if x.tunnel == uid {
		return
	}
	if !fresh {
		if x.changes == maxChanges {
			s.giveUp(e)
			return
		}
		x.changes++
	}
	x.tunnel = uid
	if uid != 0 && len(x.tunnels) <= maxChanges && !slices.Contains(x.tunnels, uid) {
		x.tunnels = append(x.tunnels, uid)
	}
}

// maxChanges is how often a connection may change from one tunnel to another, or
// into a tunnel and out of it.
const maxChanges = 5

// giveUp notes that not all of a connection can be looked at.
func (s *shard[S]) giveUp(e *entry[S]) {
	if e.flags&flagGaveUp == 0 {
		e.flags |= flagGaveUp
		s.letter(e, 'X')
	}
}

// heed acts on what the payload of a connection showed.
func (s *shard[S]) heed(i uint32, e *entry[S], sig Signals, now flow.Time) {
	if sig&Reversed != 0 {
		// As in Zeek, what was counted so far stays where it is.
		e.turn()
		s.streams.Flip(&e.stream)
		s.letter(e, '^')
	}
	if sig&GaveUp != 0 {
		s.giveUp(e)
	}
	if sig&Unread != 0 && e.class == classDNS {
		s.move(i, e, classUDP, now)
	}
	if sig&Interactive != 0 && !e.class.fixed() {
		s.move(i, e, classInteractive, now)
	}
}

// letter appends to the history.
func (s *shard[S]) letter(e *entry[S], c byte) {
	if e.histLen < inlineHistory {
		e.hist[e.histLen] = c
		e.histLen++
		return
	}
	x := s.extra(e)
	if len(x.history) >= maxHistory {
		s.stats.HistoryLettersLost++
		return
	}
	x.history = append(x.history, c)
}

// letterDir appends c, in lower case if the server is meant.
func (s *shard[S]) letterDir(e *entry[S], c byte, dir flow.Dir) {
	if dir == flow.ToClient {
		c += 'a' - 'A'
	}
	s.letter(e, c)
}

// powerOfTen reports whether n is 1, 10, 100, …: the occurrences that Zeek logs.
func powerOfTen(n uint32) bool {
	for n >= 10 && n%10 == 0 {
		n /= 10
	}
	return n == 1
}
