// SPDX-License-Identifier: Apache-2.0

package flowtable

import (
	"time"

	"weir/internal/flow"
)

// A connection's time to its next interim record is counted in ticks, so that
// it fits into a byte. ticks of them are Config.Active.
const ticks = 12

// maxInterim bounds the interim records of one call of Process. The sweep goes
// on in the next one.
const maxInterim = 1024

// sweeper finds the connections that are due for an interim record: a sweep
// over all entries every tick. It mostly reads one byte of an entry, and needs
// neither a list nor a time for each connection. All shards sweep at the same
// time, so that records do not depend on the shard of a connection.
type sweeper struct {
	step flow.Time // of a tick, 0 if there are no interim records
	// swept is when the last sweep was due, by the table's time.
	swept    flow.Time
	started  bool
	due      flow.Time // ticks since then
	sweeping bool
	cursor   uint32 // next entry of the sweep
	// tick is the number of the last sweep: 1 to 255, then 1 again. begun is that
	// of the first one after the packets of this call: new connections count
	// from it, so that none is early.
	tick, begun uint8
}

// reported is what the interim records of a connection have said together.
type reported struct {
	counters
	// from is the time of the first packet since then; until it comes, that of
	// the last packet before.
	from flow.Time
	any  bool
}

// counters are those of a connection, by direction.
type counters struct {
	pkts, bytes, payload [2]uint64
	missed               uint64
}

func (c *counters) flip() {
	c.pkts[0], c.pkts[1] = c.pkts[1], c.pkts[0]
	c.bytes[0], c.bytes[1] = c.bytes[1], c.bytes[0]
	c.payload[0], c.payload[1] = c.payload[1], c.payload[0]
}

// add adds what a record says.
func (c *counters) add(r *flow.Connection) {
	for d, n := range [2][3]uint64{
		{r.CSPkts, r.CSBytes, r.CSPayload}, {r.SCPkts, r.SCBytes, r.SCPayload},
	} {
		c.pkts[d] += n[0]
		c.bytes[d] += n[1]
		c.payload[d] += n[2]
	}
	c.missed += r.Missed
}

// laterTick returns the n-th tick after t.
func laterTick(t uint8, n flow.Time) uint8 { return uint8((flow.Time(t)-1+n)%255) + 1 }

func (s *shard[S]) initActive(active time.Duration) {
	s.tick, s.begun = 1, 1
	s.step = flow.Time(active) / ticks
}

// maxSteps bounds the ticks between two sweeps: all connections are due then.
const maxSteps = ticks + 1

// noteTime finds out how many ticks have gone by.
func (s *shard[S]) noteTime(now flow.Time) {
	if s.step == 0 {
		return
	}
	if !s.started {
		s.started, s.swept = true, now
	}
	// The table's time goes back only where it began with a wrong one.
	s.swept = min(s.swept, now)
	s.due = (now - s.swept) / s.step
	s.begun = laterTick(s.tick, min(s.due, maxSteps)+1)
}

// sweep writes the interim records that are due. When it is through, the stamps
// of all connections are between ticks before s.tick and maxSteps+1 after it, and
// s.tick moves by maxSteps at most, so that the age of a stamp is unambiguous.
func (s *shard[S]) sweep(now flow.Time) {
	if !s.sweeping {
		if s.due == 0 {
			return
		}
		s.swept += s.due * s.step
		s.tick = laterTick(s.tick, min(s.due, maxSteps))
		s.due = 0
		s.sweeping, s.cursor = true, 0
	}
	for left := maxInterim; s.cursor < s.slab.next; s.cursor++ {
		e := s.slab.at(s.cursor)
		if e.stamp == 0 {
			continue
		}
		age := int(s.tick) - int(e.stamp)
		if age < 0 {
			age += 255
		}
		// What is over will end soon. Stamps after the tick look very old.
		if age < ticks || age > 255/2 || e.deadline <= now {
			continue
		}
		if left == 0 {
			return
		}
		if s.interim(e) {
			left--
		}
	}
	s.sweeping = false
}

// interim writes the interim record of a connection that is due, if there is
// anything to say.
func (s *shard[S]) interim(e *entry[S]) (written bool) {
	// Even where a connection is silent for so long that the epochs come round,
	// it was open when packets were lost.
	if s.lossy(e) {
		e.flags |= flagLoss
	}
	e.stamp = s.tick
	switch {
	case e.flags&flagQuiet != 0:
		// Due as soon as it is not.
		e.stamp = laterTick(s.tick, 255-ticks)
		return false
	case e.rare == 0 && s.crowded():
		s.stats.InterimSkipped++
		return false
	}
	r := s.describe(e, flow.EndActive)
	if r.CSPkts|r.SCPkts|r.CSBytes|r.SCBytes|r.CSPayload|r.SCPayload|r.Missed == 0 {
		e.stamp = laterTick(s.tick, 255-ticks)
		return false
	}
	r.Service = s.streams.Services(&e.stream)
	s.out.Add(r)
	s.stats.Interim++
	x := &s.extra(e).reported
	x.any = true
	x.counters.add(r)
	x.from = max(e.first, e.last)
	e.flags |= flagQuiet
	return true
}

// crowded reports whether the table has no room to remember what was reported:
// an eighth of it is for new connections.
func (s *shard[S]) crowded() bool {
	return s.index.count+int(s.rares.next)-len(s.freeRares) >= s.limit-s.limit/8
}

// resume notes the first packet since the last interim record, which e has
// counted already.
func (s *shard[S]) resume(e *entry[S]) {
	e.flags &^= flagQuiet
	s.rares.at(e.rare - 1).reported.from = e.last
}

// continued makes the record of a whole connection that of what was not yet
// reported. A count by sequence numbers may have shrunk: nothing is reported
// then until it has grown beyond what was.
func (s *shard[S]) continued(r *flow.Connection, x *reported) {
	s.total = flow.Totals{
		First: r.First, Last: r.Last, CSPkts: r.CSPkts, SCPkts: r.SCPkts, CSBytes: r.CSBytes, SCBytes: r.SCBytes,
		CSPayload: r.CSPayload, SCPayload: r.SCPayload, Missed: r.Missed,
	}
	r.Total, r.Count = &s.total, 0
	// The clock of the packets may have gone back meanwhile.
	r.First, r.Last = x.from, max(x.from, r.Last)
	less := func(n *uint64, before uint64) { *n -= min(*n, before) }
	less(&r.CSPkts, x.pkts[0])
	less(&r.SCPkts, x.pkts[1])
	less(&r.CSBytes, x.bytes[0])
	less(&r.SCBytes, x.bytes[1])
	less(&r.CSPayload, x.payload[0])
	less(&r.SCPayload, x.payload[1])
	less(&r.Missed, x.missed)
}

// losses follow the packets that were lost, whoever they belonged to. A
// connection keeps the epoch in which it began, and was open during a loss if
// the epoch has moved since.
//
// Epochs move at most once a second, so that their 16 bits come round after 18
// hours at the earliest. Until then interim marks have seen the difference; only
// without interim records could a connection go unmarked, if it ends in one of
// the seconds in which the epoch is its own again. What is lost before the epoch
// may move again marks the connections of that epoch, too: some of them may have
// begun up to a second later. A mark stays, in interim records as well.
type losses struct {
	lost  uint64 // as of the last Moment
	epoch uint16
	moved flow.Time // when epoch moved, by the table's time
	since bool      // more was lost since then
}

const epochStep = flow.Time(time.Second)

// noteLoss moves the epoch where packets were lost since the last call.
func (s *shard[S]) noteLoss(at Moment) {
	if at.Lost != s.lost {
		s.lost, s.since = at.Lost, true
	}
	if !s.since {
		return
	}
	if d := at.Now - s.moved; d >= epochStep || d < 0 {
		s.epoch++
		s.moved, s.since = at.Now, false
	}
}

// lossy reports whether packets were lost while the connection was open.
func (s *shard[S]) lossy(e *entry[S]) bool {
	return e.epoch != s.epoch || s.since || e.flags&flagLoss != 0
}
