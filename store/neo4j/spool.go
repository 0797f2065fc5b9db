// SPDX-License-Identifier: Apache-2.0

package neo4j

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// ErrForwarding: another process sends the same parts.
var ErrForwarding = errors.New("another process sends what is in it")

// forwardLock is the file in a spool that one forwarder at a time holds a lock of.
// It holds the name under which the spool's marks are known.
const forwardLock = ".forward.lock"

// claim makes this process the only one to send the spool. The system ends the
// claim with the process.
func (f *Forwarder) claim() (release func(), err error) {
	owner, release, err := claimSending(f.cfg.Spool.Path())
	if err != nil {
		return nil, fmt.Errorf("forward to %s: %w", f.s.db.where, err)
	}
	f.s.owner = owner
	return release, nil
}

// claimSending locks a directory of parts against other senders, and returns the
// name that marks of these parts carry: two directories never have the same one.
func claimSending(dir string) (owner string, release func(), err error) {
	name := filepath.Join(dir, forwardLock)
	file, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o644)
	if err != nil {
		return "", nil, err
	}
	defer func() {
		if err != nil {
			_ = file.Close() // the first error is the one that matters
		}
	}()
	for {
		err = unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	if errors.Is(err, unix.EWOULDBLOCK) {
		return "", nil, fmt.Errorf("%s: %w", dir, ErrForwarding)
	}
	if err != nil {
		return "", nil, fmt.Errorf("lock %s: %w", name, err)
	}
	text, err := io.ReadAll(io.LimitReader(file, 100))
	if err != nil {
		return "", nil, err
	}
	owner = strings.TrimSpace(string(text))
	if owner == "" {
		owner = strings.ToLower(rand.Text())
		if _, err := file.WriteAt([]byte(owner+"\n"), 0); err != nil {
			return "", nil, err
		}
		if err := file.Sync(); err != nil {
			return "", nil, err
		}
	}
	return owner, func() { _ = file.Close() }, nil // nothing is left to be written
}
