// SPDX-License-Identifier: Apache-2.0

package sensor

import (
	"weir/dissect"
	"weir/flowtable"
	"weir/internal/flow"
	"weir/reassembly"
)

// stream is what a connection keeps for its payload.
type stream struct {
	order reassembly.Order
	app   dissect.App
}

// streams joins reassembly and dissectors of one shard: it is the table's
// stream handler, and the sink of what reassembly has put in order.
type streams struct {
	pool    *reassembly.Pool
	dissect *dissect.Shard

	// The connection and the time of the call that is going on.
	tuple *flow.Tuple
	app   *dissect.App
	now   flow.Time
}

func (x *streams) at(t *flow.Tuple, s *stream, now flow.Time) *streams {
	x.tuple, x.app, x.now = t, &s.app, now
	return x
}

// Midstream implements flowtable.Streams.
func (x *streams) Midstream(s *stream, on bool) { s.app.Midstream(on) }

// Start implements flowtable.Streams.
func (x *streams) Start(s *stream, dir flow.Dir, seq uint32) { x.pool.Start(&s.order, dir, seq) }

// Shift implements flowtable.Streams.
func (x *streams) Shift(s *stream, dir flow.Dir, by uint32) { x.pool.Shift(&s.order, dir, by) }

// Segment implements flowtable.Streams.
func (x *streams) Segment(t *flow.Tuple, s *stream, dir flow.Dir, p *flow.Packet, seq uint32) flowtable.Signals {
	x.pool.Segment(&s.order, dir, seq, p.PayloadLen, p.Payload, x.at(t, s, p.Now))
	return signals(s.app)
}

// signals returns what the table should know of a connection's payload.
func signals(a dissect.App) (sig flowtable.Signals) {
	if a.GaveUp() {
		sig |= flowtable.GaveUp
	}
	if a.Interactive() {
		sig |= flowtable.Interactive
	}
	return sig
}

// Ack implements flowtable.Streams.
func (x *streams) Ack(t *flow.Tuple, s *stream, dir flow.Dir, now flow.Time, ack uint32) (
	gaps int, missed uint64, sig flowtable.Signals,
) {
	gaps, missed = x.pool.Ack(&s.order, dir, ack, x.at(t, s, now))
	return gaps, missed, signals(s.app)
}

// Next implements flowtable.Streams.
func (x *streams) Next(s *stream, dir flow.Dir) (seq uint32, ok bool) { return s.order.Next(dir) }

// Unacked implements flowtable.Streams.
func (x *streams) Unacked(s *stream, dir flow.Dir) bool { return s.order.Unacked(dir) }

// Fin implements flowtable.Streams.
func (x *streams) Fin(t *flow.Tuple, s *stream, dir flow.Dir, now flow.Time) flowtable.Signals {
	if s.app.Wants(dir) {
		x.dissect.Fin(t, &s.app, dir, now)
	}
	return signals(s.app)
}

// Reset implements flowtable.Streams.
func (x *streams) Reset(t *flow.Tuple, s *stream, now flow.Time) { x.dissect.Reset(t, &s.app, now) }

// Flip implements flowtable.Streams.
func (x *streams) Flip(s *stream) { x.pool.Flip(&s.order) }

// Datagram implements flowtable.Streams.
func (x *streams) Datagram(t *flow.Tuple, s *stream, dir flow.Dir, p *flow.Packet) flowtable.Signals {
	s.app.Carries(p.Carries)
	if !s.app.Wants(dir) {
		return 0
	}
	before := s.app.Reversed()
	x.dissect.Datagram(t, &s.app, dir, p.Now, p.Payload)
	sig := signals(s.app)
	if s.app.Reversed() != before {
		sig |= flowtable.Reversed
	}
	if !s.app.Wants(dir) {
		sig |= flowtable.Unread
	}
	return sig
}

// Services implements flowtable.Streams.
func (x *streams) Services(s *stream) string { return x.dissect.Service(s.app) }

// Close implements flowtable.Streams.
func (x *streams) Close(t *flow.Tuple, s *stream) string {
	x.pool.Close(&s.order)
	return x.dissect.Close(t, &s.app)
}

// Wants implements reassembly.Sink.
func (x *streams) Wants(dir flow.Dir) bool { return x.app.Wants(dir) }

// Data implements reassembly.Sink.
func (x *streams) Data(dir flow.Dir, data []byte) {
	x.dissect.Stream(x.tuple, x.app, dir, x.now, data)
}

// Gap implements reassembly.Sink.
func (x *streams) Gap(dir flow.Dir, n uint64) {
	if x.app.Wants(dir) {
		x.dissect.Gap(x.tuple, x.app, dir, x.now, n)
	}
}
