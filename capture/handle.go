// SPDX-License-Identifier: Apache-2.0

package capture

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/google/gopacket/pcap"
	"golang.org/x/sys/unix"

	"weir/internal/flow"
)

// errDown says that an interface is there, but down.
var errDown = errors.New("the interface is down (ip link set up)")

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
	r.h, r.iface = h, iface{number: number, link: r.l.dec.filters.kinds[number]}
	r.lastRecv, r.lastDrop, r.recv, r.drop, r.read, r.vanished = 0, 0, 0, 0, 0, 0
	r.looped, r.copies = 0, 0
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
	r.early = r.missing() - min(r.missing(), r.vanished)
}

// noEarly ends the time after filterChanged: what is still missing has vanished.
func (r *listener) noEarly() {
	r.vanished += r.early
	r.early, r.earlyUntil = 0, 0
}

// mayCapture says why the process may not open handles any more.
func mayCapture() error {
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	return unix.Close(fd)
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
