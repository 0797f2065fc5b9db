// SPDX-License-Identifier: Apache-2.0

// Package logging says where log lines go and how many of them: a file that can
// be opened anew when it is rotated, and a limit for lines that repeat.
package logging

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
)

// File is a log file to which lines are appended. It may be used from several
// goroutines; a line is one write.
type File struct {
	name string

	// mu guards file.
	mu   sync.Mutex
	file *os.File
}

// Open opens a log file, which is made if it is missing.
func Open(name string) (*File, error) {
	// The name must mean the same after a change of the working directory.
	abs, err := filepath.Abs(name)
	if err != nil {
		return nil, fmt.Errorf("open log %s: %w", name, err)
	}
	f := &File{name: abs}
	if f.file, err = open(abs); err != nil {
		return nil, err
	}
	return f, nil
}

func open(name string) (*os.File, error) {
	file, err := os.OpenFile(name, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o640)
	if err != nil {
		return nil, fmt.Errorf("open log: %w", err)
	}
	return file, nil
}

// Name returns the absolute name of the file.
func (f *File) Name() string { return f.name }

// Chown gives the file to another user, so that it can be opened anew after the
// process has become that user.
func (f *File) Chown(uid, gid int) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.file == nil {
		return fmt.Errorf("give log away: %w", os.ErrClosed)
	}
	if err := f.file.Chown(uid, gid); err != nil {
		return fmt.Errorf("give log away: %w", err)
	}
	return nil
}

// Write appends to the file.
func (f *File) Write(p []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.file == nil {
		return 0, os.ErrClosed
	}
	return f.file.Write(p)
}

// Reopen opens the file by its name anew, after it was renamed. If that fails,
// lines go on into the old file.
func (f *File) Reopen() error {
	// Opening may take its time: nobody waits for it.
	file, err := open(f.name)
	if err != nil {
		return err
	}
	f.mu.Lock()
	old := f.file
	if old != nil {
		f.file = file
	}
	f.mu.Unlock()
	if old == nil {
		return errors.Join(fmt.Errorf("open log anew: %w", os.ErrClosed), file.Close())
	}
	if err := old.Close(); err != nil {
		return fmt.Errorf("close old log: %w", err)
	}
	return nil
}

// Close closes the file. Later writes fail.
func (f *File) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.file == nil {
		return nil
	}
	err := f.file.Close()
	f.file = nil
	if err != nil {
		return fmt.Errorf("close log: %w", err)
	}
	return nil
}
