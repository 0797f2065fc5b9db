// SPDX-License-Identifier: Apache-2.0

package lake

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/parquet-go/parquet-go"
)

// CheckConfig says how a store is checked. The zero value is the default.
type CheckConfig struct {
	// LockWait is how long to wait for other processes; 0 means 30 s.
	LockWait time.Duration
	// Logger receives what a repair moved; nil discards.
	Logger *slog.Logger
}

// Problem is something about one file of a store.
type Problem struct {
	// Path is relative to the store.
	Path   string `json:"path"`
	Reason string `json:"reason"`
}

// Loss is what was in a part that a repair dropped.
type Loss struct {
	Path string `json:"path"`
	Kind string `json:"kind"`
	Day  string `json:"day"`
	Rows int64  `json:"rows"`
	// Connections is the number of connections of a conn part.
	Connections int64 `json:"connections,omitempty"`
	// First and Last bound the times of the rows.
	First time.Time `json:"first"`
	Last  time.Time `json:"last"`
	// Import is the id of the import, "" where several were merged; Inputs are
	// the names of its files.
	Import string   `json:"import,omitempty"`
	Inputs []string `json:"inputs,omitempty"`
}

// Report is what was found out about a store.
type Report struct {
	// Generation is that of the manifest; Parts, Rows and Bytes are what it names.
	Generation int64 `json:"generation"`
	Parts      int   `json:"parts"`
	Rows       int64 `json:"rows"`
	Bytes      int64 `json:"bytes"`
	// Damage is what makes queries fail, and what a repair mends or drops.
	Damage []Problem `json:"damage"`
	// Notes are harmless: files that wait for being removed, or whose owner is
	// gone; the next program that opens the store for writing removes those.
	Notes []Problem `json:"notes"`
	// Repaired says that a repair changed the store; Mended are the files that it
	// brought back with nothing lost, Lost is what is not in the store any more.
	Repaired bool      `json:"repaired"`
	Mended   []Problem `json:"mended"`
	Lost     []Loss    `json:"lost"`
	// Unknown says that changes after the manifest's copy are lost, too, with
	// the parts that they added: nobody knows what was in them.
	Unknown bool `json:"unknown,omitempty"`
}

// Check reads every file of the store at path and compares it with what was
// written: the manifest, and of each part the size, sum, metadata, columns and
// number of rows. Others may write meanwhile. Damage is in the report, not an
// error.
func Check(ctx context.Context, path string, cfg CheckConfig) (*Report, error) {
	r, _, err := check(ctx, path, cfg)
	if err != nil {
		return nil, fmt.Errorf("check store: %w", err)
	}
	return r, nil
}

// check also returns the manifest by which it checked, nil if there is none.
func check(ctx context.Context, path string, cfg CheckConfig) (*Report, *Manifest, error) {
	l, err := newLake(path, Config{LockWait: cfg.LockWait, Logger: cfg.Logger})
	if err != nil {
		return nil, nil, err
	}
	r := &Report{Damage: []Problem{}, Notes: []Problem{}, Mended: []Problem{}, Lost: []Loss{}}
	m, err := ReadManifest(path)
	copied, cerr := readManifestFile(l.join(copyName))
	if bad := new(DamagedError); errors.As(err, &bad) {
		r.Damage = append(r.Damage, Problem{manifestName, bad.Reason})
		m, err = copied, nil
	} else if err == nil && cerr != nil && !missing(cerr) {
		r.Notes = append(r.Notes, Problem{copyName, "it is damaged; the next change of the store writes a new one"})
	}
	if err != nil {
		return nil, nil, err
	}
	if m == nil {
		r.Damage = append(r.Damage, Problem{copyName, cerr.Error()})
		return r, nil, nil
	}
	r.Generation, r.Parts = m.Generation, len(m.Parts)
	for i := range m.Parts {
		r.Rows += m.Parts[i].Rows
		r.Bytes += m.Parts[i].Bytes
		reason, err := l.checkPart(ctx, &m.Parts[i])
		if err != nil {
			return nil, nil, err
		}
		if reason != "" && l.names(&m.Parts[i]) {
			r.Damage = append(r.Damage, Problem{m.Parts[i].Path, reason})
		}
	}
	notes, err := l.strays(m)
	r.Notes = append(r.Notes, notes...)
	return r, m, err
}

// names reports whether the manifest names a part still: one that is gone may
// have been replaced meanwhile.
func (l *Lake) names(p *Part) bool {
	m, err := l.Manifest()
	return err != nil || slices.ContainsFunc(m.Parts, func(q Part) bool { return q.Path == p.Path })
}

// checkPart reads a part, and returns what is wrong with it.
func (l *Lake) checkPart(ctx context.Context, p *Part) (reason string, err error) {
	err = VerifyWhole(ctx, l.path, p)
	if bad := new(DamagedError); errors.As(err, &bad) {
		return bad.Reason, nil
	}
	switch {
	case missing(err):
		return "it is missing", nil
	case ctx.Err() != nil:
		return "", ctx.Err()
	case err != nil: // as a sector that cannot be read
		return err.Error(), nil
	}
	f, err := os.Open(l.join(filepath.FromSlash(p.Path)))
	if err != nil {
		return err.Error(), nil
	}
	defer func() { _ = f.Close() }()
	// The file is what was written. What follows is for mistakes of programs.
	if reason, err := p.verifyFrame(f); err != nil || reason != "" {
		return reason, err
	}
	file, err := parquet.OpenFile(f, p.Bytes, parquet.SkipPageIndex(true), parquet.SkipBloomFilters(true))
	if err != nil {
		return err.Error(), nil
	}
	if n := file.NumRows(); n != p.Rows {
		return fmt.Sprintf("it has %d rows, not %d", n, p.Rows), nil
	}
	for _, t := range Tables() {
		if t.Name != p.Kind {
			continue
		}
		for i := range t.Columns {
			if t.Columns[i].Since <= p.Schema && file.Root().Column(t.Columns[i].Name) == nil {
				return fmt.Sprintf("it has no column %s", t.Columns[i].Name), nil
			}
		}
	}
	return "", nil
}

// strays lists files that no manifest names. It takes the store's lock, so that
// no change is under way; where somebody keeps that, it says so instead.
func (l *Lake) strays(m *Manifest) ([]Problem, error) {
	var out []Problem
	note := func(name, format string, args ...any) {
		out = append(out, Problem{name, fmt.Sprintf(format, args...)})
	}
	err := l.locked(func() error {
		if now, err := l.Manifest(); err == nil {
			m = now
		}
		unnamed, err := l.unnamed(m)
		if err != nil {
			return err
		}
		for _, name := range unnamed {
			note(name, "the manifest does not name it: a killed program left it")
		}
		entries, err := readDir(l.join(tmpName))
		if err != nil {
			return err
		}
		for _, e := range entries {
			if dead, err := abandoned(l.join(tmpName, e.Name(), ownerName)); err == nil && dead {
				note(path.Join(tmpName, e.Name()), "left by a program that was killed")
			}
		}
		for _, dir := range []string{oldName, damagedName} {
			n, bytes := treeSize(l.join(dir))
			if n > 0 && dir == oldName {
				note(dir, "%d replaced files, %d bytes, go after their grace", n, bytes)
			} else if n > 0 {
				note(dir, "%d files, %d bytes, were set aside by repairs: remove them yourself", n, bytes)
			}
		}
		pins, err := readDir(l.join(pinName))
		if err != nil {
			return err
		}
		for _, e := range pins {
			n, bytes := treeSize(l.join(pinName, e.Name()))
			note(path.Join(pinName, e.Name()),
				"%d files, %d bytes, are kept as a snapshot: if nothing reads it any more, remove it yourself", n, bytes)
		}
		return nil
	})
	if errors.Is(err, ErrLocked) || errors.Is(err, fs.ErrPermission) {
		note(lockName, "files that no manifest names were not looked for: %v", err)
		err = nil
	}
	return out, err
}

// unnamed lists the parts that the manifest does not name, in the directories
// of all tables. The caller holds the store's lock.
func (l *Lake) unnamed(m *Manifest) ([]string, error) {
	live := make(map[string]bool, len(m.Parts))
	for i := range m.Parts {
		live[m.Parts[i].Path] = true
	}
	var out []string
	tables, err := readDir(l.path)
	if err != nil {
		return nil, err
	}
	for _, table := range tables {
		if !table.IsDir() || table.Name()[0] == '.' || table.Name() == "lost+found" {
			continue
		}
		days, err := readDir(l.join(table.Name()))
		if err != nil {
			return nil, err
		}
		for _, day := range days {
			if !day.IsDir() || !strings.HasPrefix(day.Name(), dayPrefix) {
				continue
			}
			files, err := readDir(l.join(table.Name(), day.Name()))
			if err != nil {
				return nil, err
			}
			for _, f := range files {
				name := path.Join(table.Name(), day.Name(), f.Name())
				if !live[name] && strings.HasSuffix(name, partSuffix) {
					out = append(out, name)
				}
			}
		}
	}
	return out, nil
}

// treeSize returns how many files are below a directory, and their size.
func treeSize(dir string) (n, bytes int64) {
	_ = filepath.WalkDir(dir, func(_ string, e fs.DirEntry, err error) error {
		if err == nil && e.Type().IsRegular() {
			if info, err := e.Info(); err == nil {
				n, bytes = n+1, bytes+info.Size()
			}
		}
		return nil
	})
	return n, bytes
}

// lossOf describes a part.
func lossOf(m *Manifest, p *Part) Loss {
	loss := Loss{
		Path: p.Path, Kind: p.Kind, Day: p.Day, Rows: p.Rows, Connections: p.Conns,
		First: time.UnixMicro(p.MinTS).UTC(), Last: time.UnixMicro(p.MaxTS).UTC(), Import: p.Import,
	}
	if imp := m.Find(p.Import); imp != nil {
		for i := range imp.Inputs {
			loss.Inputs = append(loss.Inputs, imp.Inputs[i].Name)
		}
	}
	return loss
}

// setAside moves a file of the store to where repairs keep what they dropped.
func (l *Lake) setAside(name string, stamp int64) error {
	dir := l.join(damagedName, strconv.FormatInt(stamp, 10), filepath.FromSlash(path.Dir(name)))
	if err := l.mkdirAll(dir); err != nil {
		return fmt.Errorf("set aside %s: %w", name, err)
	}
	err := os.Rename(l.join(filepath.FromSlash(name)), filepath.Join(dir, path.Base(name)))
	if err != nil && !missing(err) {
		return fmt.Errorf("set aside %s: %w", name, err)
	}
	_ = os.Remove(filepath.Dir(l.join(filepath.FromSlash(name)))) // succeeds once the day is empty
	return nil
}
