// SPDX-License-Identifier: Apache-2.0

package lake

import (
	"cmp"
	"fmt"
	"log/slog"
	"os"
	"path"
	"path/filepath"
	"slices"
)

// removeParts takes parts out of the manifest and returns them. Every change
// that drops rows goes through it: a roll-up that counts rows which are no
// longer there, or that lost a part of its own, goes too, and the connections
// that it covered are read one by one again.
func (m *Manifest) removeParts(gone func(*Part) bool) []Part {
	stale := make(map[string]bool)
	for i := range m.Parts {
		if p := &m.Parts[i]; p.Rollup != "" && gone(p) {
			stale[p.Rollup] = true
		}
	}
	var old []Part
	m.Parts = slices.DeleteFunc(m.Parts, func(p Part) bool {
		drop := gone(&p) || p.Kind == RollupTable && stale[p.Rollup]
		if drop {
			old = append(old, p)
		}
		return drop
	})
	for i := range m.Parts {
		if stale[m.Parts[i].Rollup] {
			m.Parts[i].Rollup = ""
		}
	}
	return append(old, m.removeWeeks(old)...)
}

// removeWeeks takes out the roll-ups of weeks that other parts, which have left, belonged
// to, and returns their parts.
func (m *Manifest) removeWeeks(left []Part) (old []Part) {
	stale := make(map[string]bool)
	for i := range left {
		if left[i].Week != "" {
			stale[left[i].Week] = true
		}
	}
	if len(stale) == 0 {
		return nil
	}
	m.Parts = slices.DeleteFunc(m.Parts, func(p Part) bool {
		drop := p.Kind == WeekTable && stale[p.Week]
		if drop {
			old = append(old, p)
		}
		return drop
	})
	for i := range m.Parts {
		if stale[m.Parts[i].Week] {
			m.Parts[i].Week = ""
		}
	}
	return old
}

// lives reports whether every one of the parts is in the manifest, covered by
// the same roll-up.
func (m *Manifest) lives(parts []Part) bool {
	rollups := make(map[string]string, len(m.Parts))
	for i := range m.Parts {
		rollups[m.Parts[i].Path] = m.Parts[i].Rollup
	}
	return !slices.ContainsFunc(parts, func(p Part) bool {
		rollup, ok := rollups[p.Path]
		return !ok || rollup != p.Rollup
	})
}

// claim makes a directory in .tmp and locks it. The store's lock keeps others
// from sweeping the directory before it is owned.
func (l *Lake) claim(id string) (dir string, lock *os.File, err error) {
	dir = l.join(tmpName, id)
	err = l.locked(func() error {
		if err := l.mkdirAll(l.join(tmpName)); err != nil {
			return err
		}
		if err := os.Mkdir(dir, 0o755); err != nil {
			return err
		}
		var err error
		lock, err = os.OpenFile(filepath.Join(dir, ownerName), os.O_RDWR|os.O_CREATE, 0o644)
		if err == nil {
			_, err = tryLock(lock)
		}
		// Its owner must be able to sweep it.
		err = cmp.Or(err, l.give(dir), l.give(filepath.Join(dir, ownerName)))
		if err != nil {
			_ = release(dir, lock) // the first error is the one that matters
		}
		return err
	})
	return dir, lock, err
}

// release removes a claimed directory and gives up its lock.
func release(dir string, lock *os.File) error {
	err := os.RemoveAll(dir)
	if lock != nil {
		if cerr := lock.Close(); err == nil {
			err = cerr
		}
	}
	return err
}

// place moves parts from a directory to where the manifest will name them, and
// makes their names durable. Until the manifest does, undo takes them back.
func (l *Lake) place(dir string, parts []Part) (undo func(), err error) {
	type move struct{ from, to string }
	var moved []move
	undo = func() {
		for _, mv := range moved {
			_ = os.Rename(mv.to, mv.from)
			_ = os.Remove(filepath.Dir(mv.to)) // succeeds if the day was new
		}
	}
	dirs := make(map[string]bool)
	for i := range parts {
		to := l.join(filepath.FromSlash(parts[i].Path))
		day := filepath.Dir(to)
		if !dirs[day] {
			if err := l.mkdirAll(day); err != nil {
				return undo, fmt.Errorf("place parts: %w", err)
			}
			// The directories may be new, and so entries of their parents.
			dirs[day], dirs[filepath.Dir(day)], dirs[l.path] = true, true, true
		}
		from := filepath.Join(dir, path.Base(parts[i].Path))
		if err := l.give(from); err != nil {
			return undo, fmt.Errorf("place parts: %w", err)
		}
		if err := os.Rename(from, to); err != nil {
			return undo, fmt.Errorf("place parts: %w", err)
		}
		moved = append(moved, move{from, to})
	}
	for name := range dirs {
		if err := syncDir(name); err != nil {
			return undo, fmt.Errorf("place parts: %w", err)
		}
	}
	return undo, nil
}

// swap puts parts in the place of others in one step, after which the same
// rows are in the store; change edits the manifest further. It does nothing
// and returns false where the others, or those in also, are not live any more.
func (l *Lake) swap(dir string, old, also, parts []Part, change func(*Manifest)) (done bool, err error) {
	err = l.locked(func() error {
		m, err := ReadManifest(l.path)
		if err != nil {
			return err
		}
		if !m.lives(old) || !m.lives(also) {
			return nil
		}
		undo, err := l.place(dir, parts)
		if err == nil {
			names := make(map[string]bool, len(old))
			for i := range old {
				names[old[i].Path] = true
			}
			m.Parts = slices.DeleteFunc(m.Parts, func(p Part) bool { return names[p.Path] })
			old = append(slices.Clip(old), m.removeWeeks(old)...)
			m.Parts = append(m.Parts, parts...)
			if change != nil {
				change(m)
			}
			err = l.replaceManifest(m)
		}
		if done = err == nil || isUnsynced(err); !done {
			undo()
		}
		if err != nil {
			// After a power failure the manifest may be the one before: what that
			// names stays where it is until a sweep.
			return err
		}
		l.discard(old)
		return nil
	})
	return done, err
}

// discard retires parts that the manifest does not name any more. What goes wrong
// with their files is mended by the next sweep.
func (l *Lake) discard(old []Part) {
	if err := l.retire(old); err != nil {
		l.log.Warn("retire parts", slog.Any("err", err))
	}
}
