// SPDX-License-Identifier: Apache-2.0

package lake

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// locked runs change while holding the store's lock. Nobody holds it for
// longer than it takes to rename some files and to write the manifest.
func (l *Lake) locked(change func() error) error {
	name := l.join(lockName)
	f, err := openLock(name)
	if err != nil {
		return fmt.Errorf("lock store: %w", err)
	}
	// Closing the only descriptor of the open file releases the lock, and so
	// does the end of the process, however it comes.
	defer func() { _ = f.Close() }()
	if err := l.give(name); err != nil {
		return fmt.Errorf("lock store: %w", err)
	}
	deadline := time.Now().Add(l.wait)
	for pause := time.Millisecond; ; pause = min(2*pause, 16*time.Millisecond) {
		free, err := tryLock(f)
		if err != nil {
			return fmt.Errorf("lock store %s: %w", name, err)
		}
		if free {
			break
		}
		// Waiting inside flock could not end, should the holder be stopped.
		if time.Now().After(deadline) {
			return fmt.Errorf("lock store: %w: %s, waited %v%s", ErrLocked, name, l.wait, holder(f))
		}
		time.Sleep(pause)
	}
	// Who waits can say for whom. A program that cannot write this still holds
	// the lock.
	if f.Truncate(0) == nil {
		_, _ = f.WriteAt(fmt.Appendf(nil, "%d\n", os.Getpid()), 0)
	}
	return change()
}

// openLock opens a lock file of the store, and makes it if it is missing. A file
// that has further names is refused: it may be anything that somebody wants
// written to, or wants to own.
func openLock(name string) (*os.File, error) {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o644)
	if err != nil {
		return nil, err
	}
	var st unix.Stat_t
	if err = unix.Fstat(int(f.Fd()), &st); err == nil && (st.Mode&unix.S_IFMT != unix.S_IFREG || st.Nlink > 1) {
		err = fmt.Errorf("%s is no file of the store's own", name)
	}
	if err != nil {
		_ = f.Close() // the first error is the one that matters
		return nil, err
	}
	return f, nil
}

// holder says which process wrote itself into a lock file, where it is known.
func holder(f *os.File) string {
	var b [20]byte
	n, _ := f.ReadAt(b[:], 0) // a short file is an error with bytes
	pid, err := strconv.Atoi(strings.TrimSpace(string(b[:n])))
	if err != nil || pid <= 0 {
		return ""
	}
	text := fmt.Sprintf(" for process %d", pid)
	if comm, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid)); err == nil {
		text += fmt.Sprintf(" (%s)", strings.TrimSpace(string(comm)))
	}
	return text
}

// tryLock takes an exclusive lock on an open file unless someone has it.
func tryLock(f *os.File) (bool, error) {
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		switch {
		case err == nil:
			return true, nil
		case errors.Is(err, unix.EWOULDBLOCK):
			return false, nil
		case errors.Is(err, unix.EINTR):
		default:
			return false, err
		}
	}
}
