// SPDX-License-Identifier: Apache-2.0

package capture

import (
	"context"
	"errors"
	"io"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// openFile opens a file to read. What is not a regular file is opened so that
// neither this nor a read waits in the kernel: a fifo has no writer at first.
func openFile(name string) (*os.File, error) {
	flags := os.O_RDONLY
	if info, err := os.Stat(name); err == nil && !info.Mode().IsRegular() {
		flags |= unix.O_NONBLOCK
	}
	return os.OpenFile(name, flags, 0)
}

// waiting reads a fifo, a terminal or another file whose reads wait for somebody
// to write. They end when its life is over.
type waiting struct {
	life   life
	file   *os.File
	unhook [2]func() bool
	// conn is set for a fifo of which nothing was read yet.
	conn syscall.RawConn
}

func newWaiting(l life, file *os.File, fifo bool) (*waiting, error) {
	w := &waiting{life: l, file: file}
	if fifo {
		var err error
		if w.conn, err = file.SyscallConn(); err != nil {
			return nil, err
		}
	}
	for i, ctx := range []context.Context{l.ctx, l.stop} {
		w.unhook[i] = context.AfterFunc(ctx, func() {
			// Devices that never make a reader wait have no deadlines.
			_ = file.SetReadDeadline(time.Unix(1, 0))
		})
	}
	return w, nil
}

func (w *waiting) Read(p []byte) (n int, err error) {
	if w.conn != nil {
		n, err = w.first(p)
		w.conn = nil
	} else {
		n, err = w.file.Read(p)
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		if err = io.EOF; w.life.ctx.Err() != nil {
			err = ended(w.life.ctx)
		}
	}
	return n, err
}

// first reads from a fifo for the first time. A fifo without a writer reads as if
// it were at its end; it is only once there was a writer, who has hung up.
func (w *waiting) first(p []byte) (n int, err error) {
	if werr := w.conn.Read(func(fd uintptr) bool {
		n, err = unix.Read(int(fd), p)
		if err == nil && n == 0 {
			if !hungUp(int32(fd)) {
				return false
			}
			// What the writer wrote after the read is still there.
			n, err = unix.Read(int(fd), p)
		}
		return !errors.Is(err, unix.EAGAIN)
	}); werr != nil {
		return 0, werr
	}
	switch {
	case err != nil:
		return 0, os.NewSyscallError("read", err)
	case n == 0:
		return 0, io.EOF
	}
	return n, nil
}

// hungUp reports whether a fifo had a writer since it was opened, but has none
// now. If it cannot be told, the end is believed.
func hungUp(fd int32) bool {
	fds := []unix.PollFd{{Fd: fd}}
	_, err := unix.Poll(fds, 0) // does not wait, so it is not interrupted
	return err != nil || fds[0].Revents&(unix.POLLHUP|unix.POLLERR) != 0
}

func (w *waiting) Close() error {
	for _, undo := range w.unhook {
		undo()
	}
	return w.file.Close()
}

// ended says why a context is done that Close or the caller's context ends.
func ended(ctx context.Context) error {
	if errors.Is(context.Cause(ctx), ErrClosed) {
		return ErrClosed
	}
	return ctx.Err()
}
