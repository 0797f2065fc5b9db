// SPDX-License-Identifier: Apache-2.0

package dissect

import "weir/internal/flow"

// probeLen is how many first bytes of a direction may be kept until a protocol
// is known. Every detector decides with fewer.
const probeLen = 64

// probeBytes is how many bytes of a connection Zeek keeps until it knows the
// protocol. It does not look for one beyond that.
const probeBytes = 1024

// probe is the session of a connection whose first bytes are too few to tell.
type probe struct {
	written uint32
	n       [2]uint8
	data    [2][probeLen]byte
}

// detect looks at the first bytes of a direction and gives the connection its
// dissector. Protocols in the bit set not are out of question.
func (s *Shard) detect(t *flow.Tuple, a *App, dir flow.Dir, ts flow.Time, data []byte, not uint32) {
	first := data
	kept, rest := 0, data
	id, ok := a.has()
	if ok {
		p := s.probes.at(id)
		if kept = int(p.n[dir]); kept > 0 {
			n := copy(s.joined[:], p.data[dir][:kept])
			n += copy(s.joined[n:], data)
			first, rest = s.joined[:n], data[n-kept:]
		}
	}
	ports := t
	if a.flags&inside != 0 {
		ports = &s.noPorts
	}
	undecided := false
	for _, i := range s.streams {
		p := &s.protos[i]
		if not>>i&1 != 0 || p.whole && a.flags&midstream != 0 {
			continue
		}
		switch p.tcp(ports, dir, first) {
		case yes:
			s.start(t, a, i+1, dir, ts, first, rest, kept > 0)
			return
		case maybe:
			undecided = true
		}
		if undecided {
			// A later protocol may know the bytes by the port alone; this one
			// has not had enough of them yet.
			break
		}
	}
	if !undecided || kept+len(data) >= probeLen {
		if s.unknown(a, dir); kept+len(data) > probeBytes {
			s.unknown(a, dir.Reverse())
		}
		return
	}
	if !ok {
		if !s.bufs.book(s.probes.size()) {
			s.unknown(a, dir)
			return
		}
		id = s.probes.get()
		*s.probes.at(id) = probe{}
		s.probes.at(id).written = s.attach(a, id)
	}
	p := s.probes.at(id)
	p.n[dir] += uint8(copy(p.data[dir][kept:], data))
}

// How much is looked at of a datagram connection before it is given up, which is
// as much as Zeek looks at.
const (
	maxProbeDatagrams = 100
	maxProbeBytes     = 1024
)

// detectDatagram gives a connection its dissector if a datagram says which.
func (s *Shard) detectDatagram(t *flow.Tuple, a *App, data []byte) {
	before := a.session >> 16
	for _, i := range s.datagrams {
		p := &s.protos[i]
		if before > 0 && !p.later || p.udp(t, data) != yes {
			continue
		}
		a.session = 0
		if a.proto = i + 1; before > maxForeign {
			a.flags |= doneBoth // the dissector would have given up by now
		}
		return
	}
	if len(data) == 0 && before > 0 {
		return
	}
	size := a.session&0xffff + uint32(min(len(data), maxProbeBytes+1))
	if a.session = (before+1)<<16 | size; size > maxProbeBytes || before+1 > maxProbeDatagrams {
		a.session = 0
		a.flags |= doneBoth
		s.stats.Unknown++
	}
}

// start hands the connection over to a dissector, with the bytes kept so far.
func (s *Shard) start(t *flow.Tuple, a *App, proto uint8, dir flow.Dir, ts flow.Time,
	first, rest []byte, joined bool,
) {
	n := 0
	if id, ok := a.has(); ok {
		p := s.probes.at(id)
		n = copy(s.other[:], p.data[dir.Reverse()][:p.n[dir.Reverse()]])
		s.freeProbe(a)
	}
	a.proto = proto
	// Each call may end with a dissector that gave up, or that handed the
	// connection on.
	if n > 0 {
		s.Stream(t, a, dir.Reverse(), ts, s.other[:n])
	}
	s.Stream(t, a, dir, ts, first)
	if joined {
		s.Stream(t, a, dir, ts, rest)
	}
}

// unknown marks a direction as of no use. Where the other direction is of none
// either, the connection's session goes.
func (s *Shard) unknown(a *App, dir flow.Dir) {
	s.stats.Unknown++
	a.flags |= doneToServer << (dir & 1)
	id, ok := a.has()
	if !ok {
		return
	}
	p := s.probes.at(id)
	p.n[dir] = 0
	if p.n[dir.Reverse()] == 0 {
		s.freeProbe(a)
	}
}

func (s *Shard) freeProbe(a *App) {
	id, _ := a.has()
	s.detach(a, s.probes.at(id).written)
	s.probes.put(id)
	s.bufs.free(s.probes.size())
}

// handOver makes the connection one whose payload was not looked at yet, in both
// directions: the dissector that had it, whose session must be freed already,
// found that another protocol begins here. That is proto where what came before
// names it, as STARTTLS does, and 0 where the first bytes of either direction
// are to tell. Its ports tell nothing about it. What the caller has already of
// the new protocol it hands to Shard.Stream.
func (a *App) handOver(proto uint8) {
	a.proto = proto
	a.flags = a.flags&^doneBoth | inside
}

// redetect looks for another protocol in the first bytes of a direction, which
// turned out not to be of the protocol not. The other direction has shown that it
// is of none.
func (s *Shard) redetect(t *flow.Tuple, a *App, dir flow.Dir, ts flow.Time, data []byte, not uint8) {
	a.proto = 0
	a.flags = a.flags&^doneBoth | doneToServer<<(dir.Reverse()&1)
	s.detect(t, a, dir, ts, data, 1<<(not-1))
}

// nested hands payload on that another protocol carries. The carrier keeps its
// session, and in it the state in of what it carries; confirmed services become
// those of the connection, and retracted ones no longer are. Shard.Close of in is
// what the carrier owes when it ends.
func (s *Shard) nested(t *flow.Tuple, a, in *App, dir flow.Dir, ts flow.Time, data []byte) {
	in.flags |= inside
	before := in.services
	s.Stream(t, in, dir, ts, data)
	for ; before != 0; before >>= 5 {
		if proto := uint8(before & 31); !in.confirmed(proto) {
			a.retract(proto)
		}
	}
	a.adopt(*in)
}

// adopt adds the services of what a connection carries to its own.
func (a *App) adopt(in App) {
	for rest := in.services; rest != 0; rest >>= 5 {
		if proto := uint8(rest & 31); proto != protoBanner { // which is none yet
			a.confirm(proto)
		}
	}
}
