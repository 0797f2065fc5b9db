// SPDX-License-Identifier: Apache-2.0

package zeeklog

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"
)

// liveFile is one log of a live run. Lines are kept until they are written; a
// write that ends in the middle of one is continued there by the next.
type liveFile struct {
	log  *log
	name string // conn.log in its directory

	// due, unless zero, is a rotation that is due, moved that the file may have
	// been renamed by somebody else. Both belong to the caller of flush.
	due   time.Time
	moved bool

	// mu guards what follows. It is held while the file is written, which those
	// who add lines wait for.
	mu      sync.Mutex
	now     time.Time // as far as known
	since   time.Time // from when on the file holds records; zero before the first
	waiting []byte
	failed  bool // the last write failed: flush tries again
	file    *os.File
	stats   Stats
}

// add takes a line.
func (f *liveFile) add(line []byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.since.IsZero() {
		f.since = f.now
	}
	if len(f.waiting)+len(line) > maxWaiting {
		f.stats.Lost++
		return
	}
	f.waiting = append(f.waiting, line...)
	f.stats.Lines++
	if len(f.waiting) >= writeSize && !f.failed {
		// The error comes again, or is gone, with the next flush.
		_ = f.write()
	}
}

func (f *liveFile) count() Stats {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.stats
}

// flush writes what waits and does what is due.
func (f *liveFile) flush(now time.Time) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.now = now
	if err := f.write(); err != nil {
		// What is due waits until the file is complete.
		return err
	}
	if f.moved {
		if err := f.reopen(); err != nil {
			return f.fail("reopen", err)
		}
		f.moved = false
	}
	if !f.due.IsZero() {
		if err := f.rotate(); err != nil {
			return f.fail("rotate", err)
		}
		f.due = time.Time{}
	}
	return nil
}

// fail counts an error and says what it is about.
func (f *liveFile) fail(doing string, err error) error {
	f.stats.Errors++
	return fmt.Errorf("%s %s.log: %w", doing, f.log.name, err)
}

// write writes all that waits, into a new file if there is none.
func (f *liveFile) write() error {
	if len(f.waiting) == 0 {
		return nil
	}
	f.failed = true
	if f.file == nil {
		if err := f.create(); err != nil {
			return f.fail("create", err)
		}
	}
	n, err := f.file.Write(f.waiting)
	f.waiting = f.waiting[:copy(f.waiting, f.waiting[n:])]
	if err != nil {
		return f.fail("write", err)
	}
	if cap(f.waiting) > 2*writeSize {
		f.waiting = nil
	}
	f.failed = false
	return nil
}

// create begins a file, and puts the header in front of what waits. An empty
// file is taken as it is: logrotate makes such.
func (f *liveFile) create() error {
	if err := f.moveLeftover(f.now); err != nil {
		return err
	}
	file, err := os.OpenFile(f.name, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o644)
	if err != nil {
		return err
	}
	f.file = file
	f.waiting = append([]byte(f.log.header(f.now)), f.waiting...)
	return nil
}

// reopen gives up a file that no longer has the log's name.
func (f *liveFile) reopen() error {
	if f.file == nil {
		return nil
	}
	own, err := f.named()
	if err != nil || own {
		return err
	}
	return f.close()
}

// named reports whether the file at the log's name is the one being written.
func (f *liveFile) named() (bool, error) {
	have, err := f.file.Stat()
	if err != nil {
		return false, err
	}
	there, err := os.Stat(f.name)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil && os.SameFile(have, there), err
}

// rotate closes the file and gives it its own name.
func (f *liveFile) rotate() error {
	// A log that was begun once holds records from each rotation on, even where
	// the first one comes late.
	since := f.since
	if !since.IsZero() {
		f.since = f.due
	}
	if f.file == nil {
		return nil
	}
	own, err := f.named()
	if err == nil && own {
		// Lines that the file gets after an error here are still in it when the
		// rename is tried again.
		err = moveTo(f.name, since)
	}
	if err != nil {
		f.since = since
		return err
	}
	f.stats.Rotations++
	return f.close()
}

// close ends the file with the time.
func (f *liveFile) close() error {
	_, err := f.file.WriteString(f.log.footer(f.now))
	if cerr := f.file.Close(); err == nil {
		err = cerr
	}
	f.file = nil
	return err
}

// end closes the file for good. What waits is lost.
func (f *liveFile) end(now time.Time) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.now = now
	for line := range bytes.Lines(f.waiting) {
		if line[0] != '#' {
			f.stats.Lost++
			f.stats.Lines--
		}
	}
	f.waiting = nil
	if f.file == nil {
		return nil
	}
	if err := f.close(); err != nil {
		return f.fail("close", err)
	}
	return nil
}

// moveLeftover gives a log that is there already a name of its own: another run
// was killed, or somebody put it there.
func (f *liveFile) moveLeftover(now time.Time) error {
	info, err := os.Stat(f.name)
	if errors.Is(err, fs.ErrNotExist) || err == nil && info.Size() == 0 {
		return nil
	}
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%s is no regular file", f.name)
	}
	opened, ok := openedAt(f.name, now.Location())
	if !ok {
		opened = info.ModTime().In(now.Location())
	}
	return moveTo(f.name, opened)
}

// maxHead bounds what is read of a log to find out when it was opened.
const maxHead = 4 << 10

// openedAt returns the time of a log's #open line.
func openedAt(name string, zone *time.Location) (time.Time, bool) {
	file, err := os.Open(name)
	if err != nil {
		return time.Time{}, false
	}
	defer func() { _ = file.Close() }() // only read
	lines := bufio.NewScanner(io.LimitReader(file, maxHead))
	for lines.Scan() && strings.HasPrefix(lines.Text(), "#") {
		if text, ok := strings.CutPrefix(lines.Text(), "#open\t"); ok {
			t, err := time.ParseInLocation(stampLayout, text, zone)
			return t, err == nil
		}
	}
	return time.Time{}, false
}

// rotatedLayout is Zeek's Log::default_rotation_date_format.
const rotatedLayout = "06-01-02_15.04.05"

// maxSuffix bounds how many logs may have names of the same time.
const maxSuffix = 10000

// moveTo renames conn.log to conn-26-11-25_10.00.00.log, or with a number behind
// the time if that is taken: nothing is ever overwritten.
func moveTo(name string, since time.Time) error {
	ext := filepath.Ext(name)
	base := strings.TrimSuffix(name, ext) + "-" + since.Format(rotatedLayout)
	for n := range maxSuffix {
		to := base + ext
		if n > 0 {
			to = base + "-" + strconv.Itoa(n) + ext
		}
		_, err := os.Lstat(to)
		if err == nil {
			continue
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return os.Rename(name, to)
	}
	return fmt.Errorf("there are %d files %s-*%s", maxSuffix, base, ext)
}
