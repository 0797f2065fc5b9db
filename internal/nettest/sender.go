// SPDX-License-Identifier: Apache-2.0

package nettest

import (
	"errors"
	"net"
	"os"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// batch is how many frames are sent with one system call.
const batch = 64

// Sender sends frames on an interface. It belongs to one goroutine at a time.
type Sender struct {
	fd     int
	frames [batch][]byte
	vecs   [batch]unix.Iovec
	msgs   [batch]mmsghdr
}

// mmsghdr is struct mmsghdr of sendmmsg(2).
type mmsghdr struct {
	hdr unix.Msghdr
	n   uint32
	_   [4]byte
}

// NewSender returns a sender on an interface of the test's network.
func NewSender(t *testing.T, iface string) *Sender {
	t.Helper()
	i, err := net.InterfaceByName(iface)
	if err != nil {
		t.Fatal(err)
	}
	// Protocol 0: it receives nothing.
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(os.NewSyscallError("socket", err))
	}
	t.Cleanup(func() { unix.Close(fd) })
	if err := unix.Bind(fd, &unix.SockaddrLinklayer{Ifindex: i.Index}); err != nil {
		t.Fatal(os.NewSyscallError("bind", err))
	}
	s := &Sender{fd: fd}
	for k := range s.frames {
		s.frames[k] = make([]byte, 2048)
		s.vecs[k].Base = &s.frames[k][0]
		s.msgs[k].hdr.Iov = &s.vecs[k]
		s.msgs[k].hdr.SetIovlen(1)
	}
	return s
}

// Sent is what became of the frames of a Send.
type Sent struct {
	// OK frames have reached the other end. Refused ones were dropped on the way,
	// since the kernel's queue was full.
	OK, Refused uint64
	Took        time.Duration
}

// Send sends n frames, rate of them in a second (0: as fast as possible). fill
// writes frame i into a buffer of 2048 bytes and returns its length. It ends early
// when stop is closed, which may be nil, or the interface goes down.
func (s *Sender) Send(n, rate int, stop <-chan struct{}, fill func(i int, buf []byte) int) (Sent, error) {
	var out Sent
	start := time.Now()
	for i := 0; i < n; {
		select {
		case <-stop:
			out.Took = time.Since(start)
			return out, nil
		default:
		}
		k := min(batch, n-i)
		if rate > 0 {
			k = min(k, max(1, rate/500))
			if wait := time.Duration(i)*time.Second/time.Duration(rate) - time.Since(start); wait > 0 {
				time.Sleep(wait)
			}
		}
		for j := range k {
			s.vecs[j].SetLen(fill(i+j, s.frames[j]))
		}
		if err := s.flush(k, &out); err != nil {
			out.Took = time.Since(start)
			return out, err
		}
		i += k
	}
	out.Took = time.Since(start)
	return out, nil
}

// flush sends the first k frames.
func (s *Sender) flush(k int, out *Sent) error {
	for at := 0; at < k; {
		n, _, errno := unix.Syscall6(unix.SYS_SENDMMSG, uintptr(s.fd),
			uintptr(unsafe.Pointer(&s.msgs[at])), uintptr(k-at), 0, 0, 0)
		switch {
		case errno == 0:
			out.OK += uint64(n)
			at += int(n)
		case errors.Is(errno, unix.ENOBUFS):
			out.Refused++
			at++
		case errors.Is(errno, unix.EINTR), errors.Is(errno, unix.EAGAIN):
		default:
			return os.NewSyscallError("sendmmsg", errno)
		}
	}
	return nil
}

// UDP returns a fill function for Send: frames of a size that belong to flows
// connections, in turn.
func UDP(size int, flows uint32, dport uint16) func(i int, buf []byte) int {
	return func(i int, buf []byte) int {
		Frame(buf[:size], uint32(i)%flows, dport)
		return size
	}
}
