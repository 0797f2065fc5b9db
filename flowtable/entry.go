// SPDX-License-Identifier: Apache-2.0

package flowtable

import (
	"sort"
	"time"

	"weir/internal/flow"
)

// class is a timeout class. All entries of one class wait equally long, so that
// a list in the order of last use is in the order of expiry, too.
type class uint8

// The classes, in the order in which connections are given up when the table
// is full: those that lose least first.
const (
	classAttempt     class = iota // TCP that nobody answered; counts from the SYN
	classClosing                  // ended; counts from the end
	classDNS                      // UDP on ports of DNS: looked at from time to time
	classOther                    // neither TCP, UDP nor ICMP
	classICMP                     //
	classUDP                      // UDP, and TCP after a SYN-ACK without its SYN
	classTCP                      // TCP after an answer
	classInteractive              // TCP on ports of people's sessions
	classes
)

// fixed reports whether packets leave the deadline as it is.
func (c class) fixed() bool { return c <= classDNS }

// inlineHistory is the number of history letters kept in the entry itself;
// longer histories continue in a rare.
const inlineHistory = 15

// Real histories have some tens of letters. Longer ones are cut, and what a
// rare has room for is not kept beyond keepHistory when it is used again.
const (
	maxHistory  = 256
	keepHistory = 64
)

// entry is one open connection. It holds no pointers.
type entry[S any] struct {
	flow.Tuple
	tag        uint32
	prev, next uint32 // timeout list
	rare       uint32 // 1 + number of the rare, 0 if none

	class   class
	flags   entryFlags
	code    uint8
	histLen uint8 // letters in hist
	vlan    uint16
	epoch   uint16 // of losses, when the connection began

	first, last flow.Time // by the packets' own times
	// deadline is when the entry ends unless something happens, by the
	// table's time, which never goes back: lists are in its order.
	deadline flow.Time

	pkts, bytes [2]uint64

	ends   [2]endpoint // TCP; ends[0] is the client
	stream S
	hist   [inlineHistory]byte
	// stamp is the tick by which the time to the next interim record counts, 0
	// in an unused entry.
	stamp uint8
}

type entryFlags uint8

const (
	flagOneWay   entryFlags = 1 << iota // ICMP without counterpart
	flagTunneled                        // rare.tunnels is not empty
	flagQuiet                           // no packet since the last interim record
	flagLoss                            // packets were lost while it was open
	flagGaveUp                          // 'X' was written
	flagPartial                         // TCP: it is not clear where the payload begins
	flagDeferred                        // TCP: the end of a direction waits for payload
)

// endpoint is one direction of a TCP connection. Other protocols use seen, and
// count payload bytes in start and last, see addPayload.
type endpoint struct {
	start, last, ack       uint32 // sequence numbers, as in Zeek
	lastWraps, ackWraps    uint16
	synSeq, finSeq, rstSeq uint32 // relative, of the last such letter
	seen                   seen
	flags                  endpointFlags
	state, prev            tcpState
}

type endpointFlags uint8

const (
	epClosed endpointFlags = 1 << iota // did_close
	epFin                              // a FIN was seen
	epEOF                              // did_EOF: nothing more to come or to acknowledge
	epSeen                             // there was a packet
)

// seen has a bit for each letter that a direction shows once.
type seen uint8

const (
	seenSyn seen = 1 << iota
	seenFin
	seenRst
	seenAck
	seenData
	seenFinRst
	seenMulti
)

type tcpState uint8

const (
	inactive tcpState = iota
	synSent
	synAckSent
	partial
	established
	closed
	reset
)

// rare holds what few connections have.
type rare struct {
	history         []byte // what does not fit into entry.hist
	tunnels         []uint64
	tunnel          uint64 // of the last packet
	changes         uint8  // from one tunnel to another
	missed          uint64
	gaps            [2]uint32 // occurrences of G, W, T and C, by direction
	zeroWindows     [2]uint32
	retransmissions [2]uint32
	checksums       [2]uint32
	reported        reported
}

// list is an intrusive list of entries, longest waiting first.
type list struct{ head, tail uint32 }

func (s *shard[S]) push(i uint32, e *entry[S], c class) {
	l := &s.lists[c]
	e.class, e.prev, e.next = c, l.tail, none
	if l.tail == none {
		l.head = i
	} else {
		s.slab.at(l.tail).next = i
	}
	l.tail = i
}

func (s *shard[S]) unlink(e *entry[S]) {
	l := &s.lists[e.class]
	if e.prev == none {
		l.head = e.next
	} else {
		s.slab.at(e.prev).next = e.next
	}
	if e.next == none {
		l.tail = e.prev
	} else {
		s.slab.at(e.next).prev = e.prev
	}
}

// touch starts an entry's timeout anew and moves it to the end of its list.
func (s *shard[S]) touch(i uint32, e *entry[S], now flow.Time) {
	if e.class.fixed() {
		if e.class == classDNS {
			e.hear(now)
		}
		return
	}
	e.deadline = now + s.timeout[e.class]
	if e.next != none {
		s.unlink(e)
		s.push(i, e, e.class)
	}
}

// move puts an entry into another class, whose timeout starts now.
func (s *shard[S]) move(i uint32, e *entry[S], c class, now flow.Time) {
	if e.class == c {
		return
	}
	e.deadline = now + s.timeout[c]
	s.unlink(e)
	s.push(i, e, c)
}

// lastWait gives a connection that is over some time for stragglers, from now on.
func (s *shard[S]) lastWait(i uint32, e *entry[S], now flow.Time) {
	e.deadline = now + s.timeout[classClosing]
	s.unlink(e)
	s.push(i, e, classClosing)
}

// expire ends what has timed out by now, at most limit connections, and returns
// what is left of the limit.
func (s *shard[S]) expire(now flow.Time, limit int) int {
	for c := range s.lists {
		for i := s.lists[c].head; i != none && limit > 0; i = s.lists[c].head {
			e := s.slab.at(i)
			if e.deadline > now {
				break
			}
			if s.over(i, e, now) {
				s.end(i, s.reason(class(c)))
				limit--
			}
		}
	}
	return limit
}

// dnsSlack is how much less than its timeout a connection of classDNS must have
// been idle to end, as Zeek has it: then most of them need be looked at only once.
const dnsSlack = flow.Time(time.Second)

// over reports whether a connection ends whose deadline has come by now. One of
// classDNS gets another deadline where it was not idle for long enough, seen from
// the first packet of the input behind the old one.
func (s *shard[S]) over(i uint32, e *entry[S], now flow.Time) bool {
	if e.class != classDNS {
		return true
	}
	for e.deadline <= now {
		// For most the answer is the same whenever that packet came.
		if e.deadline-e.heard() >= s.timeout[classDNS]-dnsSlack {
			return true
		}
		at := s.firstSince(e.deadline, now)
		if at-e.heard() >= s.timeout[classDNS]-dnsSlack {
			return true
		}
		s.postpone(i, e, at+s.timeout[classDNS])
	}
	return false
}

// hear notes the table's time of the last packet of a connection of classDNS: by
// the packets' own times one that is dated wrong would end it early, or never. It
// lies in fields that are TCP's, in both directions since flips exchange them.
func (e *entry[S]) hear(now flow.Time) {
	for i := range e.ends {
		e.ends[i].finSeq, e.ends[i].rstSeq = uint32(now>>32), uint32(now)
	}
}

// heard returns what hear has noted.
func (e *entry[S]) heard() flow.Time {
	return flow.Time(e.ends[0].finSeq)<<32 | flow.Time(e.ends[0].rstSeq)
}

// firstSince returns the time of the first packet of this call, be it of a
// connection or not, that is not before t, at most now.
func (s *shard[S]) firstSince(t, now flow.Time) flow.Time {
	if j := sort.Search(len(s.pkts), func(j int) bool { return s.pkts[j].Now >= t }); j < len(s.pkts) {
		now = min(now, s.pkts[j].Now)
	}
	if j := sort.Search(len(s.passed), func(j int) bool { return s.passed[j] >= t }); j < len(s.passed) {
		now = min(now, s.passed[j])
	}
	return now
}

// postpone gives an entry another deadline, not after that of a connection that
// would begin now: few are behind it.
func (s *shard[S]) postpone(i uint32, e *entry[S], deadline flow.Time) {
	e.deadline = deadline
	s.unlink(e)
	l := &s.lists[e.class]
	prev := l.tail
	for prev != none && s.slab.at(prev).deadline > deadline {
		prev = s.slab.at(prev).prev
	}
	e.prev = prev
	if prev == none {
		e.next, l.head = l.head, i
	} else {
		p := s.slab.at(prev)
		e.next, p.next = p.next, i
	}
	if e.next == none {
		l.tail = i
	} else {
		s.slab.at(e.next).prev = i
	}
}

func (s *shard[S]) reason(c class) flow.EndReason {
	if c == classClosing {
		return flow.EndDetected
	}
	return flow.EndIdle
}

// full reports whether a connection must end before another one begins. A rare
// takes about as much memory as an entry, and counts like one.
func (s *shard[S]) full() bool {
	return s.index.count+int(s.rares.next)-len(s.freeRares) >= s.limit
}

// evict makes room for one connection.
func (s *shard[S]) evict() {
	for c := range s.lists {
		if i := s.lists[c].head; i != none {
			s.stats.EndedEarly++
			s.end(i, flow.EndResources)
			return
		}
	}
}

// end removes an entry and adds its record to the batch.
func (s *shard[S]) end(i uint32, why flow.EndReason) {
	e := s.slab.at(i)
	s.unlink(e)
	s.index.remove(e.tag, i)
	r := s.describe(e, why)
	r.Service = s.streams.Close(&e.Tuple, &e.stream)
	s.out.Add(r)
	if e.rare != 0 {
		if x := s.rares.at(e.rare - 1); cap(x.history) > keepHistory {
			x.history = nil
		}
		s.freeRares = append(s.freeRares, e.rare)
	}
	e.next, s.free = s.free, i
	e.stamp = 0
	s.stats.Ended++
}

// describe returns the record of a connection, without its service, valid until
// the next call: all of it, or what came since its last interim record.
func (s *shard[S]) describe(e *entry[S], why flow.EndReason) *flow.Connection {
	r := &s.record
	*r = flow.Connection{
		Tuple: e.Tuple, First: e.first, Last: max(e.first, e.last),
		CSPkts: e.pkts[0], SCPkts: e.pkts[1], CSBytes: e.bytes[0], SCBytes: e.bytes[1],
		CSPayload: e.payload(0), SCPayload: e.payload(1),
		Count: 1, VLAN: e.vlan, Code: e.code, End: why, Loss: s.lossy(e),
	}
	s.history = append(s.history[:0], e.hist[:e.histLen]...)
	if e.rare != 0 {
		x := s.rares.at(e.rare - 1)
		s.history = append(s.history, x.history...)
		r.TunnelParents, r.Missed = x.tunnels, x.missed
		if x.reported.any {
			s.continued(r, &x.reported)
		}
	}
	r.History = s.history
	r.State = e.state(s.history)
	return r
}

// entry returns an unused entry, whatever it holds. Unused ones are linked by
// their next.
func (s *shard[S]) entry() (uint32, *entry[S]) {
	i := s.free
	if i == none {
		return s.slab.add()
	}
	e := s.slab.at(i)
	s.free = e.next
	return i, e
}

// extra returns the entry's rare, making one if need be.
func (s *shard[S]) extra(e *entry[S]) *rare {
	if e.rare == 0 {
		if n := len(s.freeRares); n > 0 {
			e.rare = s.freeRares[n-1]
			s.freeRares = s.freeRares[:n-1]
		} else {
			i, _ := s.rares.add()
			e.rare = i + 1
		}
		x := s.rares.at(e.rare - 1)
		*x = rare{history: x.history[:0], tunnels: x.tunnels[:0]}
	}
	return s.rares.at(e.rare - 1)
}

// addPayload counts payload bytes of a protocol without sequence numbers.
func (ep *endpoint) addPayload(n uint32) {
	sum := ep.plain() + uint64(n)
	ep.start, ep.last = uint32(sum>>32), uint32(sum)
}

// plain returns what addPayload counted.
func (ep *endpoint) plain() uint64 { return uint64(ep.start)<<32 | uint64(ep.last) }
