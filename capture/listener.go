// SPDX-License-Identifier: Apache-2.0

package capture

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
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

	looked, tried time.Time
	due           bool   // it is time to look at the interface's state
	change        uint32 // of l.change, as seen last
	stopped       time.Time

	// b is the block that is being filled, nil if there is none. While dropping,
	// packets are counted as overload instead, until there are as many bytes as a
	// block has.
	b        *Block
	first    flow.Time // time of the first packet of the chunk
	dropping bool
	dropped  int // bytes

	// What the handle has done, to know what is left in the kernel.
	lastRecv, lastDrop   uint32 // the kernel's counters, which wrap
	recv, drop, read     uint64
	vanished, early      uint64
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
		l: l, name: name, index: index, notes: limiter{log: l.log},
		filters: make(chan filterRequest, 1), done: make(chan struct{}),
	}
}

// open opens the interface and begins to look at its state.
func (r *listener) open(filter string) error {
	if err := r.openHandle(filter); err != nil {
		return err
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

// errDown says that an interface is there, but down.
var errDown = errors.New("the interface is down")

// openHandle opens and activates a handle, with the filter in the kernel.
func (r *listener) openHandle(filter string) error {
	r.l.opening.Lock()
	defer r.l.opening.Unlock()
	in, err := pcap.NewInactiveHandle(r.name)
	if err != nil {
		return fmt.Errorf("capture on %s: %w", r.name, err)
	}
	defer in.CleanUp()
	cfg := &r.l.cfg
	for _, err := range []error{
		in.SetSnapLen(cfg.SnapLen),
		in.SetPromisc(cfg.Promiscuous && r.name != AnyInterface),
		in.SetTimeout(readTimeout),
		in.SetBufferSize(cfg.KernelBuffer),
	} {
		if err != nil {
			return fmt.Errorf("capture on %s: %w", r.name, err)
		}
	}
	h, err := in.Activate()
	if err != nil {
		return r.activation(err, in.Error())
	}
	number := uint32(h.LinkType())
	if err := setFilter(h, filter); err != nil {
		h.Close()
		return err
	}
	r.h, r.iface = h, iface{number: number, link: kindOf(number)}
	r.lastRecv, r.lastDrop, r.recv, r.drop, r.read, r.vanished = 0, 0, 0, 0, 0, 0
	r.quick = 0
	r.filterChanged(filter)
	return nil
}

// activation explains why a handle could not be activated. err is what kind of
// failure it is, detail libpcap's words.
func (r *listener) activation(err, detail error) error {
	if detail == nil || detail.Error() == "" {
		detail = err
	}
	switch err.Error() {
	case "Permission Denied":
		return &PermissionError{Interface: r.name, Err: detail}
	case "No Such Device":
		return unknownInterface(r.name)
	case "Interface Not Up":
		return fmt.Errorf("capture on %s: %w", r.name, errDown)
	}
	if strings.Contains(detail.Error(), "permitted") {
		return &PermissionError{Interface: r.name, Err: detail}
	}
	return fmt.Errorf("capture on %s: %w", r.name, detail)
}

// setFilter puts a filter into the kernel. What the kernel cannot run is refused:
// libpcap would run it here, and what the filter rejects would take room in the
// kernel's buffer and be counted as received.
func setFilter(h *pcap.Handle, expr string) error {
	code, err := h.CompileBPFFilter(expr)
	if err == nil {
		err = kernelRuns(code)
	}
	if err == nil {
		err = h.SetBPFFilter(expr)
	}
	if err != nil {
		return &FilterError{Expr: expr, Err: err}
	}
	return nil
}

// kernelRuns says why the kernel would refuse a program.
func kernelRuns(code []pcap.BPFInstruction) error {
	if len(code) > pcap.MaxBpfInstructions {
		return fmt.Errorf("%d instructions are more than the kernel takes", len(code))
	}
	for _, in := range code {
		if in.Code == bpfJMP && int32(in.K) < 0 {
			return errors.New("the kernel runs no loops (protochain)")
		}
	}
	return nil
}

// filterChanged notes that what the kernel has received so far, and what was not
// read yet, must pass a new filter, which libpcap applies to it: what does not
// pass is no longer to be expected.
func (r *listener) filterChanged(filter string) {
	if filter == "" && r.recv == 0 {
		return
	}
	r.earlyUntil = flow.Time(time.Now().UnixNano())
	r.count()
	r.early = r.recv - min(r.recv, r.drop+r.read+r.vanished)
}

// noEarly ends the time after filterChanged: what is still missing has vanished.
func (r *listener) noEarly() {
	r.vanished += r.early
	r.early, r.earlyUntil = 0, 0
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
		if r.l.pool.ctx.Err() != nil {
			r.discard()
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
		r.b = r.l.pool.try()
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

// discard drops the chunk, at a Close.
func (r *listener) discard() {
	if r.b != nil && r.b.used > 0 {
		r.b.Release()
		r.b = nil
	}
}

// timedOut passes on what there is.
func (r *listener) timedOut() {
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
	known := r.drop + r.read
	// What did not pass a filter that came later was not received after all.
	vanished := min(r.vanished, r.recv-min(r.recv, known))
	r.l.lost.received.Add(-vanished)
	r.l.lost.unread.Add(r.recv - min(r.recv, known+vanished))
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

// failed is called when a read fails.
func (r *listener) failed(err error) {
	if errors.Is(err, pcap.NextErrorReadError) {
		err = r.h.Error()
	}
	r.vanish(err)
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

// mayCapture says why the process may not open handles any more.
func mayCapture() error {
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	return unix.Close(fd)
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

// limiter logs the comings and goings of an interface, a few at once and one
// every ten seconds after that.
type limiter struct {
	log        *slog.Logger
	times      [6]time.Time // of the last lines
	suppressed int
}

func (n *limiter) note(level slog.Level, msg, name string, err error) {
	now := time.Now()
	if !n.times[0].IsZero() && now.Sub(n.times[0]) < 60*time.Second {
		n.suppressed++
		return
	}
	copy(n.times[:], n.times[1:])
	n.times[len(n.times)-1] = now
	attrs := []slog.Attr{slog.String("iface", name)}
	if err != nil {
		attrs = append(attrs, slog.Any("err", err))
	}
	if n.suppressed > 0 {
		attrs = append(attrs, slog.Int("suppressed", n.suppressed))
		n.suppressed = 0
	}
	n.log.LogAttrs(context.Background(), level, msg, attrs...)
}
