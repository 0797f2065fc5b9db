// SPDX-License-Identifier: Apache-2.0

package capture

import (
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/google/gopacket/pcap"
	"golang.org/x/sys/unix"

	"weir/internal/flow"
)

const (
	// lookEvery is how often an interface's state is looked at, and how often one
	// that is gone is looked for.
	lookEvery = 500 * time.Millisecond
	// retryEvery is how often opening an interface that is there is tried again.
	retryEvery = time.Second
	// maxFailures is how often reading fails until another handle is tried.
	maxFailures = 10
	// maxPatience is how long packets stay in the kernel's buffer before some are
	// dropped for lack of a block.
	maxPatience = 500 * time.Millisecond
)

// listener reads one interface. All but filters, done and isDown belongs to its
// goroutine.
type listener struct {
	l     *Live
	name  string
	index int
	// filters takes one request of SetFilter, who waits for the answer.
	filters chan filterRequest
	// done is closed when the goroutine has ended and the handle is closed.
	done chan struct{}
	// isDown says that the interface is down or gone.
	isDown atomic.Bool

	h     *pcap.Handle // nil while the interface is away
	iface iface
	link  *linkWatch
	state linkState // as seen last
	away  error     // why there is no handle
	lost  bool      // it will not come back
	// quick counts reads in succession that timed out too early, the last of
	// them at the time idle, when idleRead packets had been read.
	quick    int
	idle     time.Time
	idleRead uint64
	notes    limiter
	// failures counts failed reads of an interface that is there and up.
	failures int

	looked, tried time.Time
	due           bool   // it is time to look at the interface's state
	change        uint32 // of l.change, as seen last
	stopped       time.Time
	closed        bool

	// b is the block that is being filled, nil if there is none. While dropping,
	// packets are counted as overload instead, until there are as many bytes as a
	// block has.
	b        *Block
	first    flow.Time // time of the first packet of the chunk
	dropping bool
	dropped  int           // bytes
	patience time.Duration // how long to wait for a block before dropping

	// What the handle has done, to know what is left in the kernel.
	lastRecv, lastDrop   uint32 // the kernel's counters, which wrap
	recv, drop, read     uint64
	vanished, early      uint64
	looped, copies       uint64 // loopback packets read, copies of them not shown
	earlyUntil           flow.Time
	overload, overloadBy uint64 // not yet added to l.lost
}

// filterRequest asks a listener to use another filter.
type filterRequest struct {
	expr   string
	answer chan<- error
}

func newListener(l *Live, name string, index int) *listener {
	return &listener{
		l: l, name: name, index: index, patience: maxPatience, notes: limiter{log: l.log},
		filters: make(chan filterRequest, 1), done: make(chan struct{}),
	}
}

// open opens the interface and begins to look at its state. One that is down is
// away until it is up.
func (r *listener) open(filter string) error {
	if err := r.openHandle(filter); err != nil {
		if !errors.Is(err, errDown) {
			return err
		}
		r.away = err
		r.isDown.Store(true)
	}
	link, err := newLinkWatch(r.name)
	if err != nil {
		return fmt.Errorf("capture on %s: watch its state: %w", r.name, err)
	}
	r.link = link
	if r.state, err = link.look(); err != nil {
		return fmt.Errorf("capture on %s: look at its state: %w", r.name, err)
	}
	r.looked = time.Now()
	return nil
}

// run reads until the reading ends.
func (r *listener) run() {
	defer close(r.done)
	defer r.close()
	for {
		if c := r.l.change.Load(); c != r.change {
			r.change = c
			r.changed()
		}
		if r.closed {
			return
		}
		if !r.stopped.IsZero() && (r.h == nil || time.Since(r.stopped) > stopWithin) {
			r.hand()
			return
		}
		if r.due && r.h != nil {
			r.look()
		}
		if r.h == nil {
			if !r.lost {
				r.reopen()
			}
			if r.lost {
				r.hand()
				return
			}
			continue
		}
		data, ci, err := r.h.ZeroCopyReadPacketData()
		switch {
		case err == nil:
			if !r.packet(data, ci.Length, flow.Time(ci.Timestamp.UnixNano())) {
				r.hand()
				return
			}
		case errors.Is(err, pcap.NextErrorTimeoutExpired):
			r.timedOut()
			if !r.stopped.IsZero() && time.Since(r.stopped) > readTimeout+readTimeout/2 {
				// The kernel has handed over what it had.
				r.hand()
				return
			}
		default:
			r.failed(err)
		}
	}
}

// changed does what Stop, Close or SetFilter have asked for.
func (r *listener) changed() {
	r.closed = r.l.pool.ctx.Err() != nil
	r.l.mu.Lock()
	r.stopped = r.l.stopped
	r.l.mu.Unlock()
	select {
	case req := <-r.filters:
		var err error
		if r.h != nil {
			if err = setFilter(r.h, req.expr); err == nil {
				r.filterChanged(req.expr)
			}
		}
		req.answer <- err
	default:
	}
}

// packet puts a packet into the chunk, or drops it. It returns false for the
// first packet that came after the reading was stopped, which is left.
func (r *listener) packet(data []byte, wire int, ts flow.Time) bool {
	if !r.stopped.IsZero() && ts > flow.Time(r.stopped.UnixNano()) {
		return false
	}
	r.read++
	if r.loopback(data) {
		r.looped++
	}
	if r.earlyUntil != 0 {
		if ts > r.earlyUntil {
			r.noEarly()
		} else if r.early > 0 {
			r.early--
		}
	}
	need := chunkHeader + len(data)
	if r.b != nil && (r.b.used+need > len(r.b.buf) || r.b.used > 0 && old(ts, r.first)) ||
		r.dropping && (r.dropped+need > r.l.cfg.BlockSize || old(ts, r.first)) {
		r.hand()
	}
	if r.b == nil && !r.dropping {
		r.b = r.block()
		r.dropping, r.dropped = r.b == nil, 0
		r.first = ts
	}
	if r.dropping {
		r.dropped += need
		r.overload++
		r.overloadBy += uint64(len(data))
		return true
	}
	if r.b.used == 0 {
		r.first = ts
	}
	b := r.b.buf[r.b.used:]
	binary.LittleEndian.PutUint64(b, uint64(ts))
	binary.LittleEndian.PutUint32(b[8:], uint32(len(data)))
	binary.LittleEndian.PutUint32(b[12:], uint32(max(wire, len(data))))
	binary.LittleEndian.PutUint32(b[16:], r.iface.number)
	copy(b[chunkHeader:], data)
	r.b.used += need
	return true
}

// block returns a free block, or nil if there is none. Short halts of who takes
// the packets are sat out, while the kernel keeps what comes in: until its buffer
// is full, or patience is used up. There is new patience once half of the blocks
// are free, so that what is too slow for long costs none of the kernel's buffer.
func (r *listener) block() *Block {
	b := r.l.pool.try()
	if b != nil {
		if 2*len(r.l.pool.free) >= r.l.pool.max {
			r.patience = maxPatience
		}
		return b
	}
	drop := r.drop
	for b == nil && r.patience > 0 && r.drop == drop && r.change == r.l.change.Load() && r.stopped.IsZero() {
		began := time.Now()
		b = r.l.pool.wait(readTimeout / 10)
		r.patience -= time.Since(began)
		r.count()
	}
	return b
}

// loopback reports whether a packet is one of the loopback interface. The kernel
// shows those twice, as they leave and as they come back, and libpcap leaves out
// the former.
func (r *listener) loopback(data []byte) bool {
	at := 2 // of the device's type in the header of "any"
	switch {
	case r.name != AnyInterface:
		return r.state.loop
	case r.iface.link == linkSLL2:
		at = 8
	case r.iface.link != linkSLL:
		return false
	}
	return len(data) >= at+2 && binary.BigEndian.Uint16(data[at:]) == unix.ARPHRD_LOOPBACK
}

// missing returns how many packets the kernel has received that are not accounted
// for otherwise.
func (r *listener) missing() uint64 { return r.recv - min(r.recv, r.drop+r.read+r.copies) }

// noteCopies counts copies of loopback packets as far as the kernel's counters
// bear them out: the filter may have kept them away.
func (r *listener) noteCopies() {
	n := min(r.looped-r.copies, r.missing())
	r.copies += n
	r.l.lost.copies.Add(n)
}

// old reports whether a chunk that began at a time must not wait longer. The
// clock may have been set back meanwhile.
func old(ts, first flow.Time) bool { return ts-first > chunkSpan || first-ts > chunkSpan }

// hand passes on the chunk, if there is one, and brings the counters up to date.
func (r *listener) hand() {
	r.count()
	r.due = time.Since(r.looked) >= lookEvery
	if r.overload > 0 {
		r.l.lost.overload.Add(r.overload)
		r.l.lost.overloadBytes.Add(r.overloadBy)
		r.overload, r.overloadBy = 0, 0
	}
	r.dropping = false
	if r.b != nil && r.b.used > 0 {
		r.b.Now, r.b.Lost = r.l.now(), r.l.lostSum()
		r.l.full <- r.b
		r.b = nil
	}
}

// timedOut passes on what there is.
func (r *listener) timedOut() {
	// All that had come when the kernel was asked last was read by now.
	r.noteCopies()
	r.hand()
	if r.earlyUntil != 0 && r.l.now()-r.earlyUntil > 2*chunkSpan {
		r.noEarly()
	}
	// A read that finds an error in the socket's state does not wait.
	now := time.Now()
	if r.read == r.idleRead && now.Sub(r.idle) < readTimeout/4 {
		r.quick++
	} else {
		r.quick = 0
	}
	r.idle, r.idleRead = now, r.read
	if r.quick > 4 {
		time.Sleep(readTimeout / 4)
	}
}

// count reads the kernel's counters.
func (r *listener) count() {
	if r.h == nil {
		return
	}
	s, err := r.h.Stats()
	if err != nil {
		return // a handle whose interface has vanished may have none
	}
	recv := uint64(uint32(s.PacketsReceived) - r.lastRecv)
	drop := uint64(uint32(s.PacketsDropped) - r.lastDrop)
	r.lastRecv, r.lastDrop = uint32(s.PacketsReceived), uint32(s.PacketsDropped)
	r.recv += recv
	r.drop += drop
	r.l.lost.kernel.Add(drop)
	r.l.lost.received.Add(recv)
}

// close closes the handle. What it still holds is lost.
func (r *listener) close() {
	if r.h != nil && r.link != nil {
		_ = r.drops() // an interface that is gone has no counters
	}
	r.closeHandle()
	if r.b != nil {
		r.b.Release()
		r.b = nil
	}
	if r.link != nil {
		r.link.close()
	}
}

func (r *listener) closeHandle() {
	if r.h == nil {
		return
	}
	r.count()
	r.noEarly()
	r.noteCopies()
	filtered := min(r.vanished, r.missing())
	r.l.lost.filtered.Add(filtered)
	r.l.lost.unread.Add(r.missing() - filtered)
	r.h.Close()
	r.h = nil
}

// look notes whether the interface is up. It may close the handle, and with it
// the data of the packet that was read last.
func (r *listener) look() {
	was := r.state
	if err := r.drops(); err != nil {
		if errors.Is(err, errNoLink) {
			r.vanish(errNoLink)
		}
		return // what cannot be asked now is asked the next time
	}
	switch {
	case r.name == AnyInterface:
	case r.state.index != was.index:
		r.vanish(errors.New("another interface has taken its place"))
	case !r.state.up && !r.isDown.Load():
		r.isDown.Store(true)
		r.notes.note(slog.LevelWarn, "interface is down", r.name, nil)
	case r.state.up && r.isDown.Load():
		r.isDown.Store(false)
		r.notes.note(slog.LevelInfo, "interface is up again", r.name, nil)
	}
}

// drops counts what the interface has dropped since the last look at its state.
func (r *listener) drops() error {
	r.looked, r.due = time.Now(), false
	s, err := r.link.look()
	if err != nil {
		return err
	}
	// Counters begin again with another interface, and the sum over all of them
	// goes back where one has gone.
	if s.index == r.state.index || r.name == AnyInterface {
		if s.missed > r.state.missed {
			r.l.lost.iface.Add(s.missed - r.state.missed)
		}
		if s.dropped > r.state.dropped {
			r.l.lost.queue.Add(s.dropped - r.state.dropped)
		}
	}
	r.state = s
	return nil
}

// failed is called when a read fails. An interface that has only gone down is
// read again by the same handle, which could perhaps not be opened again; some
// versions of libpcap fail for it.
func (r *listener) failed(err error) {
	if errors.Is(err, pcap.NextErrorReadError) {
		err = r.h.Error()
	}
	r.hand()
	index := r.state.index
	if r.drops() != nil || r.state.index != index {
		r.vanish(err)
		return
	}
	if r.state.up || r.name == AnyInterface {
		if r.failures++; r.failures == maxFailures {
			r.failures = 0
			r.vanish(err)
			return
		}
	}
	r.due = true
	time.Sleep(readTimeout)
}

// vanish closes the handle: the interface must be opened again.
func (r *listener) vanish(err error) {
	if r.h == nil {
		return
	}
	r.closeHandle()
	r.away = err
	r.isDown.Store(true)
	r.notes.note(slog.LevelWarn, "interface is gone", r.name, err)
	r.tried = time.Time{}
	// Without the privilege there is nothing to wait for.
	if err := mayCapture(); err != nil {
		r.away = fmt.Errorf("%w, and opening it again is not permitted (%w)", r.away, err)
		r.giveUp()
	}
}

// reopen waits a while and tries to open the interface again.
func (r *listener) reopen() {
	r.hand()
	select {
	case <-time.After(readTimeout):
	case <-r.l.pool.ctx.Done():
		return
	}
	now := time.Now()
	if now.Sub(r.looked) < lookEvery || now.Sub(r.tried) < retryEvery {
		return
	}
	r.looked = now
	s, err := r.link.look()
	if err != nil || r.name != AnyInterface && !s.up {
		return
	}
	r.tried = now
	r.l.mu.Lock()
	filter := r.l.filter
	r.l.mu.Unlock()
	if err := r.openHandle(filter); err != nil {
		r.away = err
		if _, denied := errors.AsType[*PermissionError](err); denied {
			r.giveUp()
		}
		return
	}
	r.state, r.away = s, nil
	r.isDown.Store(false)
	r.notes.note(slog.LevelInfo, "interface is back", r.name, nil)
}

// giveUp notes that the interface is gone for good.
func (r *listener) giveUp() {
	r.lost = true
	r.l.mu.Lock()
	defer r.l.mu.Unlock()
	r.l.gone = append(r.l.gone, r.name)
	r.l.goneErr = r.away
	if len(r.l.gone) < len(r.l.readers) {
		r.l.log.Warn("interface is given up, it cannot be opened again",
			slog.String("iface", r.name), slog.Any("err", r.away))
	}
}
