// SPDX-License-Identifier: Apache-2.0

package capture

import (
	"bytes"

	"weir/internal/flow"
)

// Limits of IP reassembly: about 32 MiB in all, most of it unitSize bytes at a
// time. When it is used up the oldest datagram is given up.
const (
	fragTimeout   = 300e9
	maxDatagrams  = 1 << 16
	unitData      = 120
	unitSize      = unitData + 8
	gramSize      = 192 // with its place in the index
	unitsPerSlab  = 8 << 10
	maxSlabs      = 20
	maxUnits      = unitsPerSlab * maxSlabs
	maxPieceUnits = 2048 // of one datagram: bounds the walk along its list
	maxJoins      = 32   // datagrams completed by one frame: bounds a block's memory
)

// fragment is one fragment of a datagram.
type fragment struct {
	key   fragKey
	data  []byte // as captured
	size  int    // as the IP length says
	off   int
	hdr   int // length of the IP headers before it
	proto uint8
	more  bool
}

// fragKey is what the fragments of a datagram have in common.
type fragKey struct {
	src, dst flow.Addr
	id       uint32
	v6       bool
}

// unit is a run of bytes of a datagram. A datagram's units form a list, sorted
// by offset and without overlaps.
type unit struct {
	next int32
	off  uint16
	n    uint16
	data [unitData]byte
}

// datagram is a datagram of which fragments are missing.
type datagram struct {
	links
	key         fragKey
	begun       flow.Time
	head, tail  int32 // units
	units       int32
	have, total int32 // bytes; total is -1 until the last fragment came
	hdr         int32 // length of the headers that the datagram gets
	proto       uint8
	dead        bool // overlapped, its fragments are dropped until it times out
}

// fragments holds the datagrams that are not yet complete. Units are linked by
// index as well, so that the garbage collector has nothing to follow.
type fragments struct {
	byAge[datagram, *datagram]
	index    map[fragKey]int32
	slabs    []*[unitsPerSlab]unit
	freeUnit int32
	made     int // units handed out at least once
	used     int // units in use
	stats    FragmentStats
}

// fragment adds a fragment and decodes the datagram if that completes it. p holds
// the addresses of the fragment's IP header.
func (d *decoder) fragment(p *flow.Packet, f *fragment) Reason {
	if len(f.data) < f.size {
		if f.off != 0 {
			return FragmentTruncated
		}
		// What was captured of the first fragment tells at least the ports.
		return d.payload(p, f, f.data, f.size)
	}
	if f.more && f.size%8 != 0 {
		if f.key.v6 {
			return FragmentBad
		}
		f.size &^= 7
	}
	most := 0xffff - f.hdr // so that the datagram's length fits into its header
	if f.key.v6 {
		most += 40
	}
	if f.size == 0 || f.off+f.size > most {
		return FragmentBad
	}
	f.data = f.data[:f.size]
	s := &d.frags
	g, r := s.add(f, d.now)
	if r != Delivered {
		return r
	}
	gram := &s.all[g]
	n := s.whole(gram)
	if n == 0 {
		return Fragment
	}
	if d.joins++; d.joins > maxJoins {
		s.stats.Evicted++
		s.remove(g)
		return FragmentBad
	}
	b := d.block.alloc(n)
	for u := gram.head; u != none; {
		unit := s.unit(u)
		if int(unit.off) >= n {
			break
		}
		copy(b[unit.off:], unit.data[:unit.n])
		u = unit.next
	}
	f.proto, f.hdr = gram.proto, int(gram.hdr)
	s.remove(g)
	s.stats.Completed++
	p.IPLen = uint32(f.hdr + len(b))
	p.Flags |= flow.Reassembled
	d.missing, d.padding = 0, 0
	return d.payload(p, f, b, len(b))
}

// payload decodes the n bytes of a datagram of which b is there.
func (d *decoder) payload(p *flow.Packet, f *fragment, b []byte, n int) Reason {
	if f.key.v6 {
		return d.ip6Chain(p, f.proto, b, n, f.hdr)
	}
	return d.transport(p, f.proto, b, n)
}

// add stores a fragment. Delivered means that it was taken.
func (s *fragments) add(f *fragment, now flow.Time) (int32, Reason) {
	s.expire(now)
	g, ok := s.index[f.key]
	if !ok {
		g = s.begin(f.key, now)
	}
	gram := &s.all[g]
	if gram.dead {
		return none, FragmentOverlap
	}
	touches, same := s.compare(gram, f)
	if touches {
		s.stats.Overlaps++
		if f.key.v6 && !same {
			s.dropUnits(gram)
			gram.dead = true
			return none, FragmentOverlap
		}
	}
	// Offsets and lengths are multiples of 8, so there are no more runs.
	s.reserve(f.size/8+1, g)
	s.insert(gram, f)
	if gram.units > maxPieceUnits {
		s.stats.Evicted++
		s.remove(g)
		return none, FragmentBad
	}
	if !f.more {
		// Of several ends the furthest counts.
		gram.total = max(gram.total, int32(f.off+f.size))
	}
	// The datagram gets the headers of the fragment that came first. Only what
	// follows those of IPv6 is told by the one at the beginning.
	if gram.hdr == 0 {
		gram.hdr, gram.proto = int32(f.hdr), f.proto
	} else if f.key.v6 && f.off == 0 {
		gram.proto = f.proto
	}
	return g, Delivered
}

// whole returns the length of a datagram that is complete, otherwise 0. One that has
// bytes beyond its end is as long as the bytes that follow each other without a
// hole, as in Zeek.
func (s *fragments) whole(gram *datagram) int {
	if gram.total < 0 || gram.have < gram.total {
		return 0
	}
	n := 0
	for i := gram.head; i != none; {
		u := s.unit(i)
		if int(u.off) != n {
			break
		}
		n = u.end()
		i = u.next
	}
	if n < int(gram.total) {
		return 0
	}
	return n
}

// compare tells whether a fragment touches bytes that are already there, and
// whether it is nothing but a repetition of them.
func (s *fragments) compare(gram *datagram, f *fragment) (touches, same bool) {
	if gram.tail == none || s.unit(gram.tail).end() <= f.off {
		return false, false
	}
	at, end := f.off, f.off+f.size
	same = true
	for i := gram.head; i != none && at < end; {
		u := s.unit(i)
		i = u.next
		if u.end() <= at {
			continue
		}
		if int(u.off) >= end {
			break
		}
		touches = true
		if int(u.off) > at {
			return true, false
		}
		stop := min(u.end(), end)
		have := u.data[at-int(u.off) : stop-int(u.off)]
		same = same && bytes.Equal(have, f.data[at-f.off:stop-f.off])
		at = stop
	}
	return touches, same && touches && at == end
}

// insert fills the gaps that a fragment covers: of bytes that came twice, the
// first copy stays.
func (s *fragments) insert(gram *datagram, f *fragment) {
	at, end := f.off, f.off+f.size
	prev, cur := none, gram.head
	if gram.tail != none && s.unit(gram.tail).end() <= at {
		prev, cur = gram.tail, none // in order, as nearly always
	}
	for at < end {
		for cur != none && s.unit(cur).end() <= at {
			prev, cur = cur, s.unit(cur).next
		}
		stop := end
		if cur != none && int(s.unit(cur).off) < end {
			if stop = int(s.unit(cur).off); stop <= at {
				at = s.unit(cur).end()
				continue
			}
		}
		for at < stop {
			i := s.newUnit()
			u := s.unit(i)
			u.off, u.n = uint16(at), uint16(copy(u.data[:], f.data[at-f.off:stop-f.off]))
			u.next = cur
			if prev == none {
				gram.head = i
			} else {
				s.unit(prev).next = i
			}
			if cur == none {
				gram.tail = i
			}
			prev = i
			at += int(u.n)
			gram.have += int32(u.n)
			gram.units++
		}
	}
}

func (u *unit) end() int { return int(u.off) + int(u.n) }

func (s *fragments) unit(i int32) *unit {
	return &s.slabs[i/unitsPerSlab][i%unitsPerSlab]
}

// newUnit takes a unit that reserve has seen to.
func (s *fragments) newUnit() int32 {
	s.used++
	if i := s.freeUnit; s.used <= s.made {
		s.freeUnit = s.unit(i).next
		return i
	}
	if s.made == len(s.slabs)*unitsPerSlab {
		s.slabs = append(s.slabs, new([unitsPerSlab]unit))
	}
	s.made++
	return int32(s.made - 1)
}

// reserve gives up the oldest datagrams, but for g, until n units are free.
func (s *fragments) reserve(n int, g int32) {
	for maxUnits-s.used < n {
		victim := s.oldest
		if victim == g {
			victim = s.all[g].newer
		}
		if victim == none {
			return
		}
		s.stats.Evicted++
		s.remove(victim)
	}
}

// begin makes a new datagram, the newest.
func (s *fragments) begin(key fragKey, now flow.Time) int32 {
	if s.index == nil {
		s.index = make(map[fragKey]int32)
		s.byAge = newByAge[datagram]()
	}
	if len(s.index) == maxDatagrams {
		s.stats.Evicted++
		s.remove(s.oldest)
	}
	g := s.link(datagram{key: key, begun: now, head: none, tail: none, total: -1})
	s.index[key] = g
	s.count()
	return g
}

// remove forgets a datagram.
func (s *fragments) remove(g int32) {
	gram := &s.all[g]
	s.dropUnits(gram)
	delete(s.index, gram.key)
	s.drop(g)
	s.count()
}

// dropUnits gives the datagram's memory back.
func (s *fragments) dropUnits(gram *datagram) {
	if gram.tail != none {
		s.unit(gram.tail).next = s.freeUnit
		s.freeUnit = gram.head
		s.used -= int(gram.units)
	}
	gram.head, gram.tail, gram.units, gram.have = none, none, 0, 0
}

// expire gives up datagrams that were begun five minutes ago.
func (s *fragments) expire(now flow.Time) {
	for len(s.index) > 0 && now-s.all[s.oldest].begun >= fragTimeout {
		s.stats.TimedOut++
		s.remove(s.oldest)
	}
}

func (s *fragments) count() {
	s.stats.Bytes = uint64(s.used)*unitSize + uint64(len(s.index))*gramSize
}
