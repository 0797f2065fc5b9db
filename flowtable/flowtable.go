// SPDX-License-Identifier: Apache-2.0

// Package flowtable tracks connections: it finds the connection of each
// packet, keeps Zeek's TCP states, history and counters, and ends connections
// by timeout, by their own packets, or to stay under a memory cap. Connections
// that go on for long yield interim records where these are asked for.
//
// The table is cut into flow.Shards shards by the packet's hash. Each has its
// own lock, its own index and its own timeout lists, and a batch of packets is
// handled under one lock. What a shard does depends only on the packets of that
// shard and on the capture's time, so the result is the same for any number of
// workers.
package flowtable

import (
	"fmt"
	"sync"
	"time"
	"unsafe"

	"weir/internal/flow"
)

// Streams handles the payload of one shard's connections. The table calls it
// with the shard's lock held, so it must neither block nor do I/O. S is the
// state that the table keeps for it inside each connection: pointer-free, and
// zero when the connection begins. Times are those by which timers run, which do
// not go back where a packet's own time does.
type Streams[S any] interface {
	// Midstream says whether a TCP connection is one without a handshake, as far
	// as is known by now. Without a call, it is none.
	Midstream(s *S, on bool)
	// Start says that the first payload byte of a TCP direction is seq.
	Start(s *S, dir flow.Dir, seq uint32)
	// Shift says that a SYN changed a direction's sequence numbers, by as much as
	// given, whatever was sent before.
	Shift(s *S, dir flow.Dir, by uint32)
	// Segment gets the payload of a TCP segment, seq being its first byte.
	Segment(t *flow.Tuple, s *S, dir flow.Dir, p *flow.Packet, seq uint32) Signals
	// Ack says that the receiver acknowledged payload of dir up to ack. It
	// returns the number of holes below ack that will never be filled, and
	// their bytes.
	Ack(t *flow.Tuple, s *S, dir flow.Dir, now flow.Time, ack uint32) (gaps int, missed uint64, sig Signals)
	// Next returns the sequence number behind what is known of dir's payload,
	// without holes. It reports false where dir is not followed.
	Next(s *S, dir flow.Dir) (seq uint32, ok bool)
	// Unacked reports whether payload of dir was seen that is not acknowledged.
	Unacked(s *S, dir flow.Dir) bool
	// Fin says, once, that dir ended with a FIN, that all its payload was
	// delivered, and that it has acknowledged all that it got.
	Fin(t *flow.Tuple, s *S, dir flow.Dir, now flow.Time) Signals
	// Reset says that a TCP packet with RST came, whether or not it ends
	// anything; payload may follow.
	Reset(t *flow.Tuple, s *S, now flow.Time)
	// Flip exchanges the directions: client and server were mistaken.
	Flip(s *S)
	// Datagram gets the payload of a UDP packet.
	Datagram(t *flow.Tuple, s *S, dir flow.Dir, p *flow.Packet) Signals
	// Services returns the services found so far, comma-joined.
	Services(s *S) (service string)
	// Close ends the connection and returns its services, comma-joined.
	Close(t *flow.Tuple, s *S) (service string)
}

// Signals are what a stream handler learned from payload and the table acts on.
// All but Reversed may be repeated as long as they are true.
type Signals uint8

const (
	// Reversed says, once, that client and server of a UDP connection were
	// mistaken.
	Reversed Signals = 1 << iota
	// GaveUp says that the payload cannot be followed any more: "X" in the
	// history.
	GaveUp
	// Interactive says that the connection is a session of people, who may pause
	// for long: it gets the timeout of such.
	Interactive
	// Unread says that the payload of a UDP connection is looked at no more: it is
	// not what its port makes believe.
	Unread
)

// Timeouts are the table's timers, all in packet time. Zero means the default.
type Timeouts struct {
	Attempt     time.Duration // TCP: SYN without any answer, or nothing but bad packets (5 s)
	TCP         time.Duration // TCP: idle after an answer (5 min)
	Interactive time.Duration // TCP: idle on ports 21, 22, 23 and 513, and such services (1 h)
	DNS         time.Duration // UDP on ports 53, 137, 5353 and 5355, if below that of UDP: idle for 1 s less when looked at (10 s)
	UDP         time.Duration // UDP, and TCP after a SYN-ACK without its SYN: idle (1 min)
	ICMP        time.Duration // ICMP: idle (1 min)
	Other       time.Duration // other protocols: idle (1 min)
	Close       time.Duration // TCP: wait for stragglers after the end (5 s)
}

// WithDefaults returns t with Zeek's values in place of zeros.
func (t Timeouts) WithDefaults() Timeouts {
	set := func(d *time.Duration, def time.Duration) {
		if *d == 0 {
			*d = def
		}
	}
	set(&t.Attempt, 5*time.Second)
	set(&t.TCP, 5*time.Minute)
	set(&t.Interactive, time.Hour)
	set(&t.DNS, 10*time.Second)
	set(&t.UDP, time.Minute)
	set(&t.ICMP, time.Minute)
	set(&t.Other, time.Minute)
	set(&t.Close, 5*time.Second)
	return t
}

// Config configures a table; the zero value means the defaults.
type Config struct {
	Timeouts Timeouts
	// MaxConnections bounds the connections tracked at once (default
	// 4,000,000). Beyond it connections end early, half-open ones first.
	MaxConnections int
	// Active is after how much time a connection that goes on yields an interim
	// record (0: never; at least MinActive otherwise). First records come up to a
	// twelfth later. Where the table is nearly full, connections without one get
	// none, since what was reported takes memory: Stats.InterimSkipped.
	Active time.Duration
}

// MinActive is the least Config.Active.
const MinActive = time.Second

// Validate reports what is wrong with the configuration.
func (c Config) Validate() error {
	if c.MaxConnections < 0 {
		return fmt.Errorf("max connections %d is negative", c.MaxConnections)
	}
	t := c.Timeouts
	for _, d := range []time.Duration{t.Attempt, t.TCP, t.Interactive, t.DNS, t.UDP, t.ICMP, t.Other, t.Close} {
		if d < 0 {
			return fmt.Errorf("timeout %v is negative", d)
		}
	}
	if c.Active != 0 && c.Active < MinActive {
		return fmt.Errorf("active timeout %v is below the least of %v", c.Active, MinActive)
	}
	return nil
}

// EntrySize returns the bytes that one tracked connection takes, its share of
// the index included at the index's mean load.
func EntrySize[S any]() int { return int(unsafe.Sizeof(entry[S]{})) + 16 }

// Table is a sharded table of open connections. Its methods may be called
// concurrently; each locks the shard it works on.
type Table[S any] struct {
	shards  [flow.Shards]shard[S]
	servers *flow.ServerPorts
}

// New returns an empty table whose shard i hands payload to streams(i).
func New[S any](cfg Config, streams func(shard int) Streams[S]) (*Table[S], error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	limit := cfg.MaxConnections
	if limit == 0 {
		limit = 4_000_000
	}
	t := &Table[S]{servers: flow.NewServerPorts()}
	for i := range t.shards {
		t.shards[i].init(cfg.Timeouts.WithDefaults(), max(1, limit/flow.Shards), t.servers, streams(i))
		t.shards[i].initActive(cfg.Active)
	}
	return t, nil
}

// maxExpire bounds the connections that one call of Process ends by time-out,
// and so the size of a batch where very many end at once. The others are over as
// well, and end in the following calls.
const maxExpire = 1024

// Moment is a point in the course of the input.
type Moment struct {
	// Now is the time by which timers run.
	Now flow.Time
	// Lost is how many packets of the input were lost before.
	Lost uint64
	// Passed are the times, in their order, of packets since the moment before
	// that belong to no connection.
	Passed []flow.Time
}

// Process feeds the packets of one shard, pkts[i] for each i in idx, then ends
// what has timed out, and reports what goes on for long. Packets that were lost
// since the call before mark the connections that were open then. Records are
// added to out.
func (t *Table[S]) Process(shard int, pkts []flow.Packet, idx []uint32, at Moment, out *flow.ConnBatch) {
	s := &t.shards[shard]
	s.mu.Lock()
	defer s.mu.Unlock()
	s.out, s.pkts, s.passed = out, pkts, at.Passed
	s.noteLoss(at)
	s.noteTime(at.Now)
	for len(idx) > 0 {
		n := min(len(idx), ahead)
		s.warm(pkts, idx[:n])
		for _, i := range idx[:n] {
			s.packet(&pkts[i])
		}
		idx = idx[n:]
	}
	s.expire(at.Now, maxExpire)
	s.sweep(at.Now)
	s.out, s.pkts, s.passed = nil, nil, nil
}

// Flush ends connections of a shard, at most limit of them: those that have
// timed out as such, the others as ended by force. It reports whether there are
// more.
func (t *Table[S]) Flush(shard int, at Moment, limit int, out *flow.ConnBatch) (more bool) {
	s := &t.shards[shard]
	s.mu.Lock()
	defer s.mu.Unlock()
	s.out = out
	s.noteLoss(at)
	s.index.keep = true // no point in copying what is about to be dropped
	limit = s.expire(at.Now, limit)
	for class := range s.lists {
		for ; s.lists[class].head != none && limit > 0; limit-- {
			s.end(s.lists[class].head, flow.EndForced)
		}
	}
	s.out = nil
	s.index.keep = false
	return s.index.count > 0
}

// Locked calls f with a shard's lock held, so that f may look at what belongs
// to the shard's streams.
func (t *Table[S]) Locked(shard int, f func()) {
	s := &t.shards[shard]
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
}

// Stats counts what a table did. Packets is the number of packets that were
// given to connections; Ignored those of them that changed no counter, by the
// reason in the field's name.
type Stats struct {
	Packets            uint64
	IgnoredChecksum    uint64 // wrong transport checksum
	IgnoredHeader      uint64 // bad TCP header
	Connections        uint64 // begun
	Ended              uint64
	EndedEarly         uint64 // to stay under MaxConnections
	Open               int
	OpenPeak           int // sum of the shards' peaks
	HistoryLettersLost uint64
	Interim            uint64 // records of connections that went on
	InterimSkipped     uint64 // such that were due while the table was nearly full
}

// Stats returns the sum of all shards' counters.
func (t *Table[S]) Stats() Stats {
	var sum Stats
	for i := range t.shards {
		s := &t.shards[i]
		s.mu.Lock()
		st := s.stats
		st.Open = s.index.count
		s.mu.Unlock()
		sum.Packets += st.Packets
		sum.IgnoredChecksum += st.IgnoredChecksum
		sum.IgnoredHeader += st.IgnoredHeader
		sum.Connections += st.Connections
		sum.Ended += st.Ended
		sum.EndedEarly += st.EndedEarly
		sum.Open += st.Open
		sum.OpenPeak += st.OpenPeak
		sum.HistoryLettersLost += st.HistoryLettersLost
		sum.Interim += st.Interim
		sum.InterimSkipped += st.InterimSkipped
	}
	return sum
}

// shard is one part of the table. mu guards everything below it.
type shard[S any] struct {
	mu sync.Mutex

	index index
	slab  slab[entry[S]]
	free  uint32 // first of the unused entries
	rares slab[rare]
	// freeRares holds entry.rare values that are unused.
	freeRares []uint32
	lists     [classes]list
	timeout   [classes]flow.Time
	limit     int
	servers   *flow.ServerPorts
	streams   Streams[S]
	out       *flow.ConnBatch
	pkts      []flow.Packet   // of the call, for all shards
	passed    []flow.Time     // of the call
	record    flow.Connection // scratch of describe
	total     flow.Totals     // scratch of describe
	history   []byte          // scratch of describe
	stats     Stats
	losses
	sweeper
	warmed uint32 // keeps the compiler from dropping the reads of warm

	_ [64]byte // keeps two shards' locks out of one cache line
}

func (s *shard[S]) init(t Timeouts, limit int, servers *flow.ServerPorts, streams Streams[S]) {
	s.limit, s.servers, s.streams = limit, servers, streams
	s.free = none
	s.moved = -1 << 62 // long ago
	s.timeout = [classes]flow.Time{
		classAttempt:     flow.Time(t.Attempt),
		classClosing:     flow.Time(t.Close),
		classDNS:         flow.Time(t.DNS),
		classUDP:         flow.Time(t.UDP),
		classICMP:        flow.Time(t.ICMP),
		classOther:       flow.Time(t.Other),
		classTCP:         flow.Time(t.TCP),
		classInteractive: flow.Time(t.Interactive),
	}
	for i := range s.lists {
		s.lists[i] = list{head: none, tail: none}
	}
	s.index.init()
}
