// SPDX-License-Identifier: Apache-2.0

// Package traffic writes deterministic captures for tests, benchmarks and the
// demo: the same Spec always gives the same bytes, together with exact totals
// of what a correct sensor must find in them. It builds every packet itself
// and imports the standard library only.
package traffic

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"
)

// Scenario names what a capture contains.
type Scenario uint8

// The scenarios.
const (
	// Mix is office and server traffic of every kind: DNS, HTTP, TLS, scans,
	// ICMP, other UDP and a few bulk transfers, all interleaved.
	Mix Scenario = iota
	// Flood is TCP SYNs from sources that never repeat, to four servers.
	Flood
	// Concurrent is TCP connections that are established and left open.
	Concurrent
	// Demo is a working day of a small office with a few things to find.
	Demo
)

// String returns the scenario's name, as ParseScenario accepts it.
func (s Scenario) String() string {
	names := [...]string{"mix", "flood", "concurrent", "demo"}
	if int(s) < len(names) {
		return names[s]
	}
	return fmt.Sprintf("Scenario(%d)", uint8(s))
}

// ParseScenario returns the scenario of that name.
func ParseScenario(name string) (Scenario, error) {
	for s := Mix; s <= Demo; s++ {
		if s.String() == name {
			return s, nil
		}
	}
	return 0, fmt.Errorf("unknown scenario %q (mix, flood, concurrent or demo)", name)
}

// Spec says what to write. The zero value is the benchmark's mix.
type Spec struct {
	Scenario Scenario
	// Seed selects one of many captures of the same shape.
	Seed uint64
	// Packets is the approximate size of a Mix, 4,000,000 where 0. There is
	// about one connection for 15.4 packets.
	Packets int
	// Connections is the exact number of SYNs of a Flood or of connections of
	// Concurrent, 1,000,000 where 0.
	Connections int
	// Span is the time over which connections begin: where 0, 80 s for 4
	// million packets of Mix and in proportion (at least 20 s), 10 s for Flood,
	// 20 s for Concurrent. Demo has its own clock.
	Span time.Duration
	// Nano writes a nanosecond capture, otherwise times are microseconds.
	Nano bool
}

// Limits of a Spec: beyond them source ports would repeat.
const (
	maxPackets     = 100_000_000
	maxConnections = 100_000_000
)

// Validate reports what is wrong with s.
func (s Spec) Validate() error {
	switch {
	case s.Scenario > Demo:
		return fmt.Errorf("unknown scenario %d", s.Scenario)
	case s.Packets < 0 || s.Packets > maxPackets:
		return fmt.Errorf("packets %d: want 0 to %d", s.Packets, maxPackets)
	case s.Connections < 0 || s.Connections > maxConnections:
		return fmt.Errorf("connections %d: want 0 to %d", s.Connections, maxConnections)
	case s.Span < 0:
		return fmt.Errorf("span %v is negative", s.Span)
	case s.Scenario == Concurrent && s.Span > 50*time.Second:
		return fmt.Errorf("span %v: concurrent connections must begin within 50s", s.Span)
	}
	return nil
}

// Class is what a connection is for.
type Class uint8

// The classes of connections.
const (
	ClassDNS Class = iota
	ClassHTTP
	ClassTLS
	ClassScan
	ClassICMP
	ClassUDP
	ClassBulk // TCP that is none of the above
	Classes   // the number of classes
)

// String returns the class's name.
func (c Class) String() string {
	names := [Classes]string{"dns", "http", "tls", "scan", "icmp", "udp", "bulk"}
	if c < Classes {
		return names[c]
	}
	return fmt.Sprintf("Class(%d)", uint8(c))
}

// Totals says what a capture holds. A connection is what Zeek's defaults make
// of its packets: gaps inside one stay below 50 s, no 5-tuple is used twice, and
// two ICMP exchanges of one kind between the same addresses are minutes apart,
// so that no timeout can split or join any.
type Totals struct {
	// Packets counts frames, Bytes their IP lengths, FileBytes the capture.
	Packets, Bytes, FileBytes int64
	// Connections by class, and again by transport.
	Connections    [Classes]int64
	TCP, UDP, ICMP int64
	IPv6           int64 // connections over IPv6
	// Payload counts transport payload bytes, each once: a retransmitted byte
	// of TCP is not counted again.
	Payload int64
	// Retransmitted and Reordered count TCP segments sent twice and segments
	// overtaken by the next one.
	Retransmitted, Reordered int64
	// DNSQueries counts queries over UDP and TCP, each its own exchange;
	// DNSReplies those with a reply.
	DNSQueries, DNSReplies int64
	// HTTPExchanges counts requests; each has its final reply. The body sizes
	// are decoded: without chunk framing, gzip unpacked.
	HTTPExchanges, HTTPRequestBytes, HTTPResponseBytes int64
	// TLSHandshakes counts connections with a ClientHello; TLSEstablished those
	// whose handshake was completed.
	TLSHandshakes, TLSEstablished int64
	// First and Last are the times of the first and of the last packet.
	First, Last time.Time
}

// Sum returns the number of connections of all classes.
func (t *Totals) Sum() int64 {
	var n int64
	for _, c := range t.Connections {
		n += c
	}
	return n
}

// Write writes the capture that spec describes to w and returns its totals. It
// keeps only open connections in memory.
func Write(w io.Writer, spec Spec) (Totals, error) {
	if err := spec.Validate(); err != nil {
		return Totals{}, fmt.Errorf("traffic: %w", err)
	}
	g := newGenerator(w, spec)
	switch spec.Scenario {
	case Mix:
		g.startMix(spec)
	case Flood:
		g.startFlood(spec)
	case Concurrent:
		g.startConcurrent(spec)
	case Demo:
		g.startDemo()
	}
	g.run()
	g.out.flush()
	if g.out.err != nil {
		return Totals{}, fmt.Errorf("write capture: %w", g.out.err)
	}
	t := g.totals
	t.Packets, t.Bytes, t.FileBytes = g.out.packets, g.out.ipBytes, g.out.written
	if t.Packets > 0 {
		t.First, t.Last = time.Unix(0, g.out.first).UTC(), time.Unix(0, g.out.last).UTC()
	}
	return t, nil
}

// source is something that sends packets: a connection, or whatever starts
// connections. At its time, next sends at most one packet and returns when it
// wants to be called again; false ends it.
type source interface {
	next(g *generator) (at int64, again bool)
}

// event is a source's next turn.
type event struct {
	at  int64
	seq uint64 // breaks ties, so that the order does not depend on the heap
	src source
}

func (e *event) before(o *event) bool {
	return e.at < o.at || e.at == o.at && e.seq < o.seq
}

// generator is one capture in the making.
type generator struct {
	out    sink
	rng    *rand.Rand
	totals Totals
	queue  []event // binary heap
	now    int64
	seq    uint64
	ipID   uint16
	corpus *corpus
	certs  map[string][]byte // by name
	hosts  *population
}

// capturesBegin is the time of the first packet: a Monday morning.
func capturesBegin() int64 {
	return time.Date(2026, time.March, 2, 9, 0, 0, 0, time.UTC).UnixNano()
}

func newGenerator(w io.Writer, spec Spec) *generator {
	g := &generator{
		rng: rand.New(rand.NewPCG(spec.Seed, uint64(spec.Scenario))),
		now: capturesBegin(),
	}
	g.out.start(w, spec.Nano)
	return g
}

// add schedules a source.
func (g *generator) add(at int64, src source) {
	g.seq++
	g.queue = append(g.queue, event{at: at, seq: g.seq, src: src})
	q := g.queue
	for i := len(q) - 1; i > 0; {
		parent := (i - 1) / 2
		if !q[i].before(&q[parent]) {
			break
		}
		q[i], q[parent] = q[parent], q[i]
		i = parent
	}
}

// siftDown moves the root of the queue down to its place.
func (g *generator) siftDown() {
	q := g.queue
	for i := 0; ; {
		child := 2*i + 1
		if child >= len(q) {
			return
		}
		if child+1 < len(q) && q[child+1].before(&q[child]) {
			child++
		}
		if !q[child].before(&q[i]) {
			return
		}
		q[i], q[child] = q[child], q[i]
		i = child
	}
}

// run gives every source its turns in the order of time.
func (g *generator) run() {
	for len(g.queue) > 0 && g.out.err == nil {
		e := g.queue[0]
		g.now = e.at
		at, again := e.src.next(g)
		if !again {
			// A turn may have added sources, but never one before now: the
			// root is still the source whose turn it was.
			last := len(g.queue) - 1
			g.queue[0] = g.queue[last]
			g.queue[last] = event{}
			g.queue = g.queue[:last]
			g.siftDown()
			continue
		}
		g.seq++
		g.queue[0].at, g.queue[0].seq = max(at, e.at), g.seq
		g.siftDown()
	}
}

// chance is true with probability p.
func (g *generator) chance(p float64) bool { return g.rng.Float64() < p }

// between returns a number from lo to hi, both included.
func (g *generator) between(lo, hi int) int { return lo + g.rng.IntN(hi-lo+1) }

// wait returns a random time between lo and hi.
func (g *generator) wait(lo, hi time.Duration) int64 {
	return int64(lo) + g.rng.Int64N(int64(hi-lo)+1)
}

// WriteFile writes the capture to a file, which appears only when it is whole.
func WriteFile(name string, spec Spec) (Totals, error) {
	f, err := os.CreateTemp(filepath.Dir(name), filepath.Base(name)+".*.tmp")
	if err != nil {
		return Totals{}, fmt.Errorf("create capture: %w", err)
	}
	totals, err := Write(f, spec)
	if err == nil {
		err = f.Chmod(0o644)
	}
	if closing := f.Close(); err == nil && closing != nil {
		err = fmt.Errorf("close capture: %w", closing)
	}
	if err == nil {
		if err = os.Rename(f.Name(), name); err != nil {
			err = fmt.Errorf("put capture in place: %w", err)
		}
	}
	if err != nil {
		return Totals{}, errors.Join(err, os.Remove(f.Name()))
	}
	return totals, nil
}
