// SPDX-License-Identifier: Apache-2.0

// Package reassembly puts the payload of TCP connections in order: it follows
// the sequence numbers of both directions, keeps what arrives ahead of a hole,
// drops what arrives twice (the first copy wins), and reports holes that an
// acknowledgment proves to be permanent.
//
// The state of a connection whose payload arrives in order is an Order of 32
// bytes; buffers exist only where something waits behind a hole, and bytes are
// copied only while somebody wants them.
package reassembly

import (
	"sync/atomic"

	"weir/internal/flow"
)

// maxAboveHole is how much may lie above a hole while the receiver never
// acknowledges anything, as Zeek has it (tcp_max_above_hole_without_any_acks).
const maxAboveHole = 16 << 10

// maxUnseen is how much is delivered before the receiver is taken for one whose
// acknowledgments are not seen, as Zeek has it (tcp_max_initial_window).
const maxUnseen = 16 << 10

// maxUnacked is how much may be delivered beyond the last acknowledgment, as Zeek
// has it (tcp_excessive_data_without_further_acks).
const maxUnacked = 10 << 20

// maxWindow is how far ahead of a hole a segment may lie to be believed while
// the receiver never acknowledges anything.
const maxWindow = 10 << 20

// Order is the state of one connection. The zero value is a connection that
// sent nothing. It holds no pointers; what waits lies in the Pool.
type Order struct {
	next [2]uint32 // first sequence number not delivered yet
	// trim is up to where the receiver has everything, or is not asked any more;
	// top is the end of what was seen. What lies between them Zeek still keeps.
	trim, top [2]uint32
	held      uint32 // 1 + number of the Pool's hold, 0 if nothing waits
	flags     orderFlags
}

type orderFlags uint8

// Bits for the first direction; shifted by one for the other.
const (
	started  orderFlags = 1 << 0
	acked    orderFlags = 1 << 2 // the receiver acknowledged payload
	skipping orderFlags = 1 << 4 // too much missing: ignored from here on
	unseen   orderFlags = 1 << 6 // the receiver seems to be invisible
)

func (o *Order) has(f orderFlags, dir flow.Dir) bool { return o.flags&(f<<dir) != 0 }

// Sink receives payload in order.
type Sink interface {
	// Wants reports whether payload of the direction is of use.
	Wants(dir flow.Dir) bool
	// Data gets the next bytes, valid during the call.
	Data(dir flow.Dir, data []byte)
	// Gap says that the next n bytes will never come.
	Gap(dir flow.Dir, n uint64)
}

// Config bounds the memory of a Pool; zero values mean the defaults.
type Config struct {
	// ConnBytes bounds the memory kept for one connection (default 1 MiB).
	ConnBytes int
	// ConnPieces bounds the pieces kept for one connection (default 1,024).
	ConnPieces int
	// Budget, shared by all pools, bounds the memory kept in total: buffers,
	// and what it takes to remember the pieces.
	Budget *Budget
}

// Budget is a number of bytes that several pools share. Safe for concurrent
// use.
type Budget struct{ left atomic.Int64 }

// NewBudget returns a budget of n bytes.
func NewBudget(n int64) *Budget {
	b := new(Budget)
	b.left.Store(n)
	return b
}

func (b *Budget) take(n int) bool {
	if b.left.Add(int64(-n)) < 0 {
		b.left.Add(int64(n))
		return false
	}
	return true
}

func (b *Budget) give(n int) { b.left.Add(int64(n)) }

// Left returns the bytes that are free.
func (b *Budget) Left() int64 { return b.left.Load() }

// Stats counts what a Pool did.
type Stats struct {
	Segments    uint64 // with payload
	OutOfOrder  uint64 // arrived ahead of a hole
	Retransmits uint64 // brought nothing new
	Conflicts   uint64 // overlapped kept bytes and differed from them
	Gaps        uint64 // holes given up
	GapBytes    uint64
	NotKept     uint64 // pieces whose bytes were not kept, for lack of memory
	Skipped     uint64 // directions given up for too much missing
	HeldBytes   int64  // kept now
}

// Pool keeps what waits behind holes, for the connections of one shard. It is
// not safe for concurrent use.
type Pool struct {
	cfg   Config
	holds []hold
	free  []uint32
	bufs  [sizes][][]byte // unused buffers of each size
	stats Stats
}

// hold is what waits of one connection.
type hold struct {
	pieces [2][]piece // sorted, disjoint
	booked int        // bytes taken of the budget
}

// piece is a run of payload. data is shorter than n where bytes were not
// captured or not kept, nil if none were.
type piece struct {
	seq, n uint32
	data   []byte
}

// Buffers come in a few sizes, so that many small pieces do not take many large
// buffers. Larger pieces get a buffer of their own.
const (
	sizes    = 3
	maxSpare = 256 << 10 // bytes of unused buffers of each size
	// pieceCost is what a piece without its bytes is booked with.
	pieceCost = 64
	// keepPieces is about the number of places for pieces that a hold keeps for a
	// direction where none wait.
	keepPieces = 4
)

// bufSize returns the capacity of the buffers of a size.
func bufSize(size int) int { return 64 << (size * 5 / 2) } // 64, 256, 2048

// NewPool returns an empty pool.
func NewPool(cfg Config) *Pool {
	if cfg.ConnBytes == 0 {
		cfg.ConnBytes = 1 << 20
	}
	if cfg.ConnPieces == 0 {
		cfg.ConnPieces = 1024
	}
	if cfg.Budget == nil {
		cfg.Budget = NewBudget(64 << 20)
	}
	return &Pool{cfg: cfg}
}

// Stats returns the pool's counters.
func (p *Pool) Stats() Stats { return p.stats }

// Start says that the first payload byte of a direction is seq.
func (p *Pool) Start(o *Order, dir flow.Dir, seq uint32) {
	if o.held != 0 {
		p.drop(o, dir)
	}
	o.next[dir], o.trim[dir], o.top[dir] = seq, seq, seq
	o.flags |= started << dir
	o.flags &^= (skipping | unseen) << dir
}

// Shift says that a direction's sequence numbers are others from now on, by as
// much as given: a SYN came with another one. The position in the stream remains.
func (p *Pool) Shift(o *Order, dir flow.Dir, by uint32) {
	o.next[dir] += by
	o.trim[dir] += by
	o.top[dir] += by
	if o.held != 0 {
		for i := range p.holds[o.held-1].pieces[dir] {
			p.holds[o.held-1].pieces[dir][i].seq += by
		}
	}
}

// Flip exchanges the directions.
func (p *Pool) Flip(o *Order) {
	o.next[0], o.next[1] = o.next[1], o.next[0]
	o.trim[0], o.trim[1] = o.trim[1], o.trim[0]
	o.top[0], o.top[1] = o.top[1], o.top[0]
	const first = started | acked | skipping | unseen
	o.flags = o.flags>>1&first | o.flags&first<<1
	if o.held != 0 {
		h := &p.holds[o.held-1]
		h.pieces[0], h.pieces[1] = h.pieces[1], h.pieces[0]
	}
}

// Segment takes n bytes of payload that begin at seq, of which data was
// captured, and passes on what is in order.
func (p *Pool) Segment(o *Order, dir flow.Dir, seq, n uint32, data []byte, sink Sink) {
	p.stats.Segments++
	if !o.has(started, dir) {
		p.Start(o, dir, seq)
	}
	if o.has(skipping, dir) {
		return
	}
	if int32(seq+n-o.top[dir]) > 0 {
		o.top[dir] = seq + n
	}
	ahead := int32(seq - o.next[dir])
	if ahead > 0 {
		p.keep(o, dir, piece{seq, n, data}, sink)
		return
	}
	if o.held != 0 {
		p.compare(o, dir, piece{seq, n, data})
	}
	skip := uint32(-ahead)
	if skip >= n {
		p.stats.Retransmits++
		return
	}
	x := piece{seq, n, data}.from(skip)
	if o.held == 0 {
		p.deliver(o, dir, x, sink)
	} else {
		p.inOrder(o, dir, x, sink)
	}
	if o.next[dir]-o.trim[dir] > maxUnseen || o.has(unseen, dir) {
		p.bound(o, dir, sink)
	}
}

// bound keeps what is delivered, but not acknowledged, within limits: it is more
// than maxUnseen now, or was.
func (p *Pool) bound(o *Order, dir flow.Dir, sink Sink) {
	switch unacked := o.next[dir] - o.trim[dir]; {
	case !o.has(acked, dir):
		o.flags |= unseen << dir
		o.trim[dir] = o.next[dir]
	case unacked > maxUnacked && int32(unacked) > 0:
		p.skip(o, dir, sink)
	}
}

// Ack notes that the receiver has everything of dir below ack, which is payload.
// Holes below it are given up: it returns their number and their bytes.
func (p *Pool) Ack(o *Order, dir flow.Dir, ack uint32, sink Sink) (gaps int, missed uint64) {
	o.flags |= acked << dir
	if !o.has(started, dir) || int32(ack-o.trim[dir]) <= 0 {
		return 0, 0
	}
	o.trim[dir] = ack
	if o.has(skipping, dir) {
		return 0, 0
	}
	for int32(ack-o.next[dir]) > 0 {
		to := ack
		if first, ok := p.first(o, dir); ok && int32(to-first) > 0 {
			to = first
		}
		n := to - o.next[dir]
		o.next[dir] = to
		gaps++
		missed += uint64(n)
		p.stats.Gaps++
		p.stats.GapBytes += uint64(n)
		sink.Gap(dir, uint64(n))
		p.drain(o, dir, sink)
	}
	return gaps, missed
}

// Pending reports whether payload of a direction waits behind a hole.
func (p *Pool) Pending(o *Order, dir flow.Dir) bool {
	return o.held != 0 && len(p.holds[o.held-1].pieces[dir]) > 0
}

// Next returns the first sequence number of a direction that was not delivered
// yet. It reports false where the direction sent nothing or was given up.
func (o *Order) Next(dir flow.Dir) (seq uint32, ok bool) {
	return o.next[dir], o.has(started, dir) && !o.has(skipping, dir)
}

// Unacked reports whether payload of a direction was seen that the receiver did not
// acknowledge.
func (o *Order) Unacked(dir flow.Dir) bool {
	return !o.has(skipping, dir) && int32(o.top[dir]-o.trim[dir]) > 0
}

// Close forgets a connection.
func (p *Pool) Close(o *Order) {
	if o.held != 0 {
		p.drop(o, flow.ToServer)
	}
	if o.held != 0 {
		p.drop(o, flow.ToClient)
	}
}

// deliver passes a piece on that begins at next.
func (p *Pool) deliver(o *Order, dir flow.Dir, x piece, sink Sink) {
	o.next[dir] = x.seq + x.n
	if !sink.Wants(dir) {
		return
	}
	if len(x.data) > 0 {
		sink.Data(dir, x.data)
	}
	if lost := int(x.n) - len(x.data); lost > 0 {
		sink.Gap(dir, uint64(lost))
	}
}

// from returns the piece without its first skip bytes.
func (x piece) from(skip uint32) piece {
	cut := min(int(skip), len(x.data))
	return piece{x.seq + skip, x.n - skip, x.data[cut:]}
}

// to returns the first n bytes of the piece.
func (x piece) to(n uint32) piece {
	cut := min(int(n), len(x.data))
	return piece{x.seq, n, x.data[:cut:cut]}
}

// Add adds the counters of o to s.
func (s *Stats) Add(o Stats) {
	s.Segments += o.Segments
	s.OutOfOrder += o.OutOfOrder
	s.Retransmits += o.Retransmits
	s.Conflicts += o.Conflicts
	s.Gaps += o.Gaps
	s.GapBytes += o.GapBytes
	s.NotKept += o.NotKept
	s.Skipped += o.Skipped
	s.HeldBytes += o.HeldBytes
}
