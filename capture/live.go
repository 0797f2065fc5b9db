// SPDX-License-Identifier: Apache-2.0

package capture

import (
	"cmp"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"weir/internal/flow"
)

// Defaults of live capture.
const (
	// DefaultKernelBuffer is the size of the kernel's buffer for an interface.
	DefaultKernelBuffer = 32 << 20
	// DefaultSnapLen is how much of a packet is captured.
	DefaultSnapLen = MaxFrame
	// AnyInterface is the name that stands for all interfaces.
	AnyInterface = "any"
)

const (
	// readTimeout is how long a read waits, and how long the kernel keeps
	// packets back before it hands over a part of its buffer that is not full.
	readTimeout = 100 * time.Millisecond
	// quietAfter is when Next yields an empty block.
	quietAfter = 200 * time.Millisecond
	// stopWithin is how long Stop goes on with what the kernel holds.
	stopWithin = 300 * time.Millisecond
	// chunkSpan is how old the first packet of a chunk may get.
	chunkSpan = flow.Time(readTimeout)
	// maxInterfaces bounds how many interfaces are read.
	maxInterfaces = 64
)

// LiveConfig says which interfaces to read and how. The zero value of a field is
// its default.
type LiveConfig struct {
	// Interfaces are the names of interfaces, or AnyInterface alone.
	Interfaces []string
	// Filter is a BPF expression as tcpdump knows it; empty takes everything. The
	// kernel applies it, to frames, before fragments and tunnels are resolved.
	Filter string
	// Promiscuous takes packets for other hosts, too. "any" does not know it.
	Promiscuous bool
	// SnapLen is how many bytes of a frame are captured, at most MaxFrame.
	SnapLen int
	// KernelBuffer is the size of the kernel's buffer for each interface.
	KernelBuffer int
	// Checksums is as in Config: what this host sends has wrong ones.
	Checksums bool
	// UDPTimeout is as in Config.
	UDPTimeout time.Duration
	// BlockSize and Blocks are as in Config. There is one more block for each
	// interface than Blocks says, the one that it fills.
	BlockSize, Blocks int
	// Seed is the seed of Packet.Hash; 0 takes a random one.
	Seed uint64
	// Log gets a line where an interface goes down, comes back, or is given up.
	// Nil discards them.
	Log *slog.Logger
}

// Validate reports what is wrong with a configuration: a *UsageError.
func (c *LiveConfig) Validate() error {
	switch {
	case len(c.Interfaces) == 0:
		return &UsageError{"no interface given"}
	case len(c.Interfaces) > maxInterfaces:
		return &UsageError{fmt.Sprintf("%d interfaces are given, at most %d are read", len(c.Interfaces), maxInterfaces)}
	case slices.Contains(c.Interfaces, AnyInterface) && len(c.Interfaces) > 1:
		return &UsageError{`"any" is all interfaces: give no other beside it`}
	case c.SnapLen != 0 && (c.SnapLen < 64 || c.SnapLen > MaxFrame):
		return &UsageError{fmt.Sprintf("snap length %d is not between 64 and %d", c.SnapLen, MaxFrame)}
	case c.KernelBuffer != 0 && (c.KernelBuffer < 64<<10 || c.KernelBuffer > 1<<30):
		return &UsageError{fmt.Sprintf("kernel buffer of %d bytes is not between 64 KiB and 1 GiB", c.KernelBuffer)}
	case c.BlockSize < 0 || c.BlockSize > 1<<30:
		return &UsageError{fmt.Sprintf("block size %d is out of range", c.BlockSize)}
	case c.UDPTimeout < 0:
		return &UsageError{fmt.Sprintf("timeout %v is negative", c.UDPTimeout)}
	case c.Blocks < 0 || c.Blocks == 1:
		return &UsageError{fmt.Sprintf("number of blocks %d is out of range", c.Blocks)}
	}
	names := slices.Sorted(slices.Values(c.Interfaces))
	for i, name := range names {
		switch {
		case name == "":
			return &UsageError{"an interface's name is empty"}
		case i > 0 && name == names[i-1]:
			return &UsageError{fmt.Sprintf("interface %s is given twice", name)}
		}
	}
	return nil
}

// PermissionError says that the process may not capture.
type PermissionError struct {
	Interface string
	Err       error
}

// Error says what it takes.
func (e *PermissionError) Error() string {
	return fmt.Sprintf("capture on %s: %v: it takes root, or the capability CAP_NET_RAW", e.Interface, e.Err)
}

// Unwrap returns libpcap's complaint.
func (e *PermissionError) Unwrap() error { return e.Err }

// GoneError says that every interface is gone and cannot be opened again.
type GoneError struct {
	Interfaces []string
	Err        error // why the last one could not be read any more
}

// Error names the interfaces.
func (e *GoneError) Error() string {
	return fmt.Sprintf("capture on %s: no interface is left: %v", strings.Join(e.Interfaces, ", "), e.Err)
}

// Unwrap returns the reason.
func (e *GoneError) Unwrap() error { return e.Err }

// Live reads network interfaces.
//
// A goroutine for each interface copies what the kernel hands over into blocks,
// and Next decodes them in place, roughly in the order of arrival. Where no block
// is free for half a second, or the kernel's buffer is full, the goroutine goes on
// to empty that buffer and drops a block's worth of packets at a time, counted as
// Lost.Overload: memory is bounded whatever comes in.
//
// Packets keep the kernel's timestamps. Packet.Now and Block.Now follow a clock
// from the start on that nobody sets and that goes on while the machine is
// suspended, so that setting the clock expires nothing.
// Block.Lost tells of packets lost before the block. An interface that goes down
// is read again once it is up; one that vanishes is opened again once it is back,
// as long as the process may.
//
// Next belongs to one goroutine; all other methods may be called from any, at any
// time.
type Live struct {
	cfg     LiveConfig
	log     *slog.Logger
	pool    *pool
	end     context.CancelCauseFunc // ends the pool's context
	dec     *decoder
	readers []*listener
	// full passes blocks to Next. It has room for all of them, so that sending
	// never waits. It is closed after the last reader has ended.
	full  chan *Block
	quiet *time.Timer
	start flow.Time     // by the clock
	up    time.Duration // then
	// What decode keeps: the packets so far, for Packet.Origin; the losses so
	// far; what packets of the link type seen last have in common.
	num       uint64
	lostSoFar uint64
	iface     iface

	// change counts what Stop, Close and SetFilter want of the readers, who look
	// for it with every packet.
	change atomic.Uint32
	lost   losses

	// opening is held while a handle is opened: gopacket keeps an error message
	// in a global variable meanwhile.
	opening sync.Mutex

	// setting is held by a SetFilter under way.
	setting sync.Mutex

	// busy is held by a Next under way. It guards err.
	busy sync.Mutex
	err  error // what Next returns from now on

	// mu guards what follows.
	mu      sync.Mutex
	snap    Stats     // as of the last block
	filter  string    // the one in force
	stopped time.Time // when Stop was called
	gone    []string  // interfaces that are given up
	goneErr error
}

// losses are the counters that readers add to.
type losses struct {
	received, kernel, iface, queue, overload, overloadBytes, unread atomic.Uint64
	// libpcap has taken these, and does not show them.
	filtered, copies atomic.Uint64
}

func (l *losses) load() Losses {
	return Losses{
		Kernel: l.kernel.Load(), Interface: l.iface.Load(), Queue: l.queue.Load(), Overload: l.overload.Load(),
		OverloadBytes: l.overloadBytes.Load(), Unread: l.unread.Load(),
	}
}

// Listen opens the interfaces and begins to read them. A configuration that
// Validate rejects and an unknown interface are a *UsageError, a bad filter
// expression a *FilterError, and a lack of permission a *PermissionError. Of
// several interfaces some may be down: they are opened once they are up, if the
// process still may do that then. Close must be called in the end.
func Listen(cfg LiveConfig) (*Live, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cfg.Interfaces = slices.Clone(cfg.Interfaces)
	cfg.SnapLen = cmp.Or(cfg.SnapLen, DefaultSnapLen)
	cfg.KernelBuffer = cmp.Or(cfg.KernelBuffer, DefaultKernelBuffer)
	cfg.Seed = cmp.Or(cfg.Seed, rand.Uint64()|1)
	cfg.BlockSize = max(cmp.Or(cfg.BlockSize, DefaultBlockSize), chunkHeader+cfg.SnapLen)
	cfg.Blocks = cmp.Or(cfg.Blocks, DefaultBlocks) + len(cfg.Interfaces)
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	ctx, end := context.WithCancelCause(context.Background())
	l := &Live{
		cfg: cfg, log: cfg.Log, filter: cfg.Filter, end: end,
		pool: newPool(ctx, cfg.Blocks, cfg.BlockSize),
		dec:  newDecoder(cfg.Checksums, cfg.Seed, newFilterSet("", cfg.Log), cfg.UDPTimeout),
		full: make(chan *Block, cfg.Blocks),
	}
	l.pool.fill()
	l.dec.identity = rand.Uint64()
	if err := l.open(); err != nil {
		end(ErrClosed)
		return nil, err
	}
	l.start, l.up = flow.Time(time.Now().UnixNano()), uptime()
	l.quiet = time.NewTimer(quietAfter)
	var running sync.WaitGroup
	for _, r := range l.readers {
		running.Go(r.run)
	}
	go func() {
		running.Wait()
		close(l.full)
	}()
	return l, nil
}

// open opens all interfaces, or none.
func (l *Live) open() (err error) {
	defer func() {
		if err != nil {
			for _, r := range l.readers {
				r.close()
			}
		}
	}()
	supported, opened := false, false
	for i, name := range l.cfg.Interfaces {
		r := newListener(l, name, i)
		l.readers = append(l.readers, r)
		if err := r.open(l.cfg.Filter); err != nil {
			return err
		}
		if r.h == nil {
			continue
		}
		opened = true
		if r.iface.link == linkUnknown {
			l.dec.filters.warn(r.iface.number, "it is not supported")
			continue
		}
		supported = true
	}
	if !opened {
		return l.readers[0].away
	}
	for _, r := range l.readers {
		if r.h == nil {
			r.notes.note(slog.LevelWarn, "interface is down, the others are read without it", r.name, nil)
		}
	}
	if !supported {
		return &UsageError{fmt.Sprintf("capture on %s: link type %s is not supported",
			strings.Join(l.cfg.Interfaces, ", "), linkName(l.readers[0].iface.number))}
	}
	return nil
}

// now returns the time by which timers run.
func (l *Live) now() flow.Time { return l.start + flow.Time(uptime()-l.up) }

// uptime returns how long the machine is up, the time that it was suspended
// included: what was open before has been silent for so long, and other hosts have
// given it up. Go's monotonic clock stands still meanwhile.
func uptime() time.Duration {
	var ts unix.Timespec
	// It cannot fail: Linux has had this clock since 2.6.39.
	_ = unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts)
	return time.Duration(ts.Nano())
}

// Next returns the next block of packets, or an empty one when the interfaces
// have been quiet for a while, so that timers can run. It returns io.EOF after
// the last block once Stop was called, and a *GoneError after it if all
// interfaces are gone for good. The caller owns the block, and gives it back with
// Release.
func (l *Live) Next() (*Block, error) {
	l.busy.Lock()
	defer l.busy.Unlock()
	if l.err != nil {
		return nil, l.err
	}
	for {
		if l.pool.ctx.Err() != nil {
			l.err = ended(l.pool.ctx)
			return nil, l.err
		}
		l.quiet.Reset(quietAfter)
		select {
		case b, ok := <-l.full:
			if !ok {
				l.err = l.ending()
				l.publish()
				return nil, l.err
			}
			l.decode(b)
			return b, nil
		case <-l.quiet.C:
			// Where no block is free there is no need for an empty one.
			if b := l.pool.try(); b != nil {
				b.Now, b.Lost = l.now(), l.lostSum()
				l.decode(b)
				return b, nil
			}
		case <-l.pool.ctx.Done():
		}
	}
}

// ending says why the last reader has ended.
func (l *Live) ending() error {
	if l.pool.ctx.Err() != nil {
		return ended(l.pool.ctx)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.stopped.IsZero() && len(l.gone) == len(l.readers) {
		return &GoneError{Interfaces: l.gone, Err: l.goneErr}
	}
	return io.EOF
}

// A chunk is the content of a block's buffer: frames, each with a header of its
// time, its captured length, its length on the wire and its link type.
const chunkHeader = 20

// decode turns the chunk of a block into packets.
func (l *Live) decode(b *Block) {
	d := l.dec
	d.block = b
	// Chunks of several interfaces may overtake each other.
	b.Now = max(b.Now, d.now)
	d.now = b.Now
	b.Lost = max(b.Lost, l.lostSoFar)
	l.lostSoFar = b.Lost
	rec := record{iface: &l.iface}
	for buf := b.buf[:b.used]; len(buf) > 0; {
		n := int(binary.LittleEndian.Uint32(buf[8:]))
		rec.ts = flow.Time(binary.LittleEndian.Uint64(buf))
		rec.wire = int(binary.LittleEndian.Uint32(buf[12:]))
		if link := binary.LittleEndian.Uint32(buf[16:]); link != l.iface.number || l.num == 0 {
			l.iface = d.filters.iface(link)
		}
		end := chunkHeader + n
		rec.data = buf[chunkHeader:end:end]
		l.num++
		rec.origin = d.identity + l.num*0x9e3779b97f4a7c15
		d.decode(&rec)
		buf = buf[end:]
	}
	b.finish(d.now)
	l.publish()
}

// lostSum returns how many packets were lost so far.
func (l *Live) lostSum() uint64 {
	s := l.lost.load()
	return s.Sum()
}

func (l *Live) publish() {
	s := l.dec.stats
	s.Now = l.dec.now
	s.Fragments = l.dec.frags.stats
	l.mu.Lock()
	l.snap = s
	l.mu.Unlock()
}

// Stats returns the state of the reading: what was decoded as of the last block,
// what was received and lost as of a moment ago. Files is how many interfaces there
// are.
func (l *Live) Stats() Stats {
	l.mu.Lock()
	s := l.snap
	l.mu.Unlock()
	s.Received, s.Lost = l.lost.received.Load(), l.lost.load()
	s.Files = len(l.readers)
	filtered, copies := l.lost.filtered.Load(), l.lost.copies.Load()
	s.Packets += filtered + copies
	s.Rejected[Filtered] += filtered
	s.Rejected[Copy] += copies
	return s
}

// Down returns the interfaces that are down or gone.
func (l *Live) Down() []string {
	var names []string
	for _, r := range l.readers {
		if r.isDown.Load() {
			names = append(names, r.name)
		}
	}
	return names
}

// Stop ends the reading in good order: what the kernel has received is still
// delivered, for some hundred milliseconds at most, then Next returns io.EOF.
func (l *Live) Stop() {
	l.mu.Lock()
	if l.stopped.IsZero() {
		l.stopped = time.Now()
	}
	l.mu.Unlock()
	l.change.Add(1)
}

// SetFilter replaces the filter of all interfaces, or of none: an expression that
// does not compile is a *FilterError. Packets that the kernel has received and
// that were not yet read must pass the new one.
func (l *Live) SetFilter(expr string) error {
	l.setting.Lock()
	defer l.setting.Unlock()
	l.mu.Lock()
	old := l.filter
	l.mu.Unlock()
	err := l.setFilter(expr)
	if err != nil {
		_ = l.setFilter(old) // err says more
	}
	return err
}

func (l *Live) setFilter(expr string) error {
	// What opens an interface from now on takes the new one.
	l.mu.Lock()
	l.filter = expr
	l.mu.Unlock()
	answers := make([]chan error, len(l.readers))
	for i, r := range l.readers {
		answers[i] = make(chan error, 1)
		select {
		case r.filters <- filterRequest{expr, answers[i]}:
		case <-r.done:
		}
	}
	l.change.Add(1)
	var first error
	for i, r := range l.readers {
		select {
		case err := <-answers[i]:
			if first == nil {
				first = err
			}
		case <-r.done:
		}
	}
	return first
}

// Close ends the reading at once, and returns when the handles are closed. A Next
// that waits and later ones return ErrClosed.
func (l *Live) Close() error {
	l.end(ErrClosed)
	l.change.Add(1)
	for _, r := range l.readers {
		<-r.done
	}
	return nil
}
