// SPDX-License-Identifier: Apache-2.0

package lake

import (
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// locked runs change while holding the store's lock. Nobody holds it for
// longer than it takes to rename some files and to write the manifest.
func (l *Lake) locked(change func() error) error {
	name := l.join(lockName)
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return fmt.Errorf("lock store: %w", err)
	}
	// Closing the only descriptor of the open file releases the lock.
	defer func() { _ = f.Close() }()
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
			return fmt.Errorf("lock store: %w: %s, waited %v", ErrLocked, name, l.wait)
		}
		time.Sleep(pause)
	}
	return change()
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
