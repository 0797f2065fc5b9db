// SPDX-License-Identifier: Apache-2.0

// Package lake writes the embedded store: a directory of immutable Parquet
// parts and one manifest that says which of them count. Every change is one
// replacement of the manifest, so that any number of processes write and read
// at the same time and a killed one leaves nothing behind. docs/lake.md
// describes the files.
package lake

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"
)

// Errors that callers test for.
var (
	// ErrNotStore: the directory holds no store.
	ErrNotStore = errors.New("not a weir store")
	// ErrNewerFormat: a later version of weir wrote the store.
	ErrNewerFormat = errors.New("the store has a newer format")
	// ErrAlreadyImported: another import of the same content was committed
	// first.
	ErrAlreadyImported = errors.New("the same content is in the store already")
	// ErrFinished: the import was committed or aborted before.
	ErrFinished = errors.New("the import is finished")
	// ErrLocked: another process kept the store locked for too long.
	ErrLocked = errors.New("the store stays locked by another process")
	// ErrCompacting: another process compacts the store.
	ErrCompacting = errors.New("another process compacts the store")
)

// Names inside a store.
const (
	manifestName    = "MANIFEST"
	newManifestName = ".MANIFEST.new"
	lockName        = ".lock"
	compactLockName = ".compact.lock"
	tmpName         = ".tmp"
	oldName         = ".old"
	copyName        = ".MANIFEST.copy"
	damagedName     = ".damaged"
	pinName         = ".pin"
	ownerName       = "lock" // in the directory of an import
)

// Config says how a lake is opened. The zero value opens an existing store.
type Config struct {
	// Create makes an empty store where there is none.
	Create bool
	// Version is the program's version, kept with each import.
	Version string
	// Logger receives what was swept; nil discards.
	Logger *slog.Logger
	// LockWait is how long a commit waits for other processes; 0 means 30 s.
	LockWait time.Duration
	// Grace is how long replaced parts stay readable; 0 means 10 minutes.
	Grace time.Duration
}

// Validate reports settings that make no sense.
func (c Config) Validate() error {
	if c.LockWait < 0 {
		return fmt.Errorf("lock wait %v is negative", c.LockWait)
	}
	if c.Grace < 0 {
		return fmt.Errorf("grace %v is negative", c.Grace)
	}
	return nil
}

// Lake is an open store. It holds no lock and no file between calls, and is
// safe for concurrent use.
type Lake struct {
	path    string
	version string
	log     *slog.Logger
	wait    time.Duration
	grace   time.Duration
	clock   *wallClock
	// unfit holds the parts that compaction leaves alone, and why.
	unfit unfitParts
}

// Path returns the directory of the store.
func (l *Lake) Path() string { return l.path }

func newLake(path string, cfg Config) (*Lake, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	l := &Lake{
		path: path, version: cfg.Version, log: cfg.Logger, wait: cfg.LockWait, grace: cfg.Grace,
		clock: newWallClock(),
	}
	if l.log == nil {
		l.log = slog.New(slog.DiscardHandler)
	}
	if l.wait == 0 {
		l.wait = 30 * time.Second
	}
	if l.grace == 0 {
		l.grace = 10 * time.Minute
	}
	return l, nil
}

// Init makes an empty store at path, which may be missing, an empty directory,
// or a store: that one is emptied, snapshots included. Any other directory is refused.
func Init(path string) error {
	l, err := newLake(path, Config{})
	if err != nil {
		return err
	}
	return l.create(true)
}

// create makes the store, or empties an existing one if empty is set.
func (l *Lake) create(empty bool) error {
	if err := l.makeEmpty(empty); err != nil || !empty {
		return err
	}
	return l.release(l.join(pinName))
}

// makeEmpty is create, which snapshots survive.
func (l *Lake) makeEmpty(empty bool) error {
	if err := os.MkdirAll(l.path, 0o755); err != nil {
		return fmt.Errorf("create store: %w", err)
	}
	if err := l.checkFree(); err != nil {
		return err
	}
	return l.locked(func() error {
		m, err := ReadManifest(l.path)
		switch {
		case errors.Is(err, ErrNotStore):
			m = new(Manifest)
		case err != nil:
			return err
		case !empty:
			return nil
		}
		old := m.Parts
		m.Parts, m.Imports, m.Slot = nil, nil, 0
		if err := l.replaceManifest(m); err != nil {
			return err
		}
		return l.retire(old)
	})
}

// checkFree refuses a directory that holds other things than a store.
func (l *Lake) checkFree() error {
	entries, err := os.ReadDir(l.path)
	if err != nil {
		return fmt.Errorf("create store: %w", err)
	}
	foreign := false
	for _, e := range entries {
		switch e.Name() {
		case manifestName:
			return nil
		case newManifestName, copyName, lockName, compactLockName, tmpName, oldName, damagedName, pinName, "lost+found":
		default:
			foreign = true
		}
	}
	if foreign {
		return fmt.Errorf("create store: %s is not empty and %w", l.path, ErrNotStore)
	}
	return nil
}

// Open opens the store at path for writing: it checks the format, creates the
// store where cfg says so, and removes what dead imports left.
func Open(path string, cfg Config) (*Lake, error) {
	l, err := newLake(path, cfg)
	if err != nil {
		return nil, err
	}
	_, err = ReadManifest(path)
	if errors.Is(err, ErrNotStore) && cfg.Create {
		err = l.create(false)
	}
	if err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	if err := l.sweep(); err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	return l, nil
}

// Manifest reads the manifest: one consistent snapshot of the store.
func (l *Lake) Manifest() (*Manifest, error) { return ReadManifest(l.path) }

// newID returns a random identifier for an import.
func newID() string {
	var b [8]byte
	// Read never fails: crypto/rand ends the program if the system has no
	// randomness.
	_, _ = rand.Read(b[:])
	return hex.EncodeToString(b[:])
}

// syncDir makes changes of a directory's entries durable.
func syncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { _ = d.Close() }()
	return d.Sync()
}

// missing reports whether err says that a file is not there.
func missing(err error) bool { return errors.Is(err, fs.ErrNotExist) }

func (l *Lake) join(elem ...string) string {
	return filepath.Join(append([]string{l.path}, elem...)...)
}
