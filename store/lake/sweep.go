// SPDX-License-Identifier: Apache-2.0

package lake

import (
	"fmt"
	"log/slog"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"time"
)

// partSuffix ends the name of every part.
const partSuffix = ".parquet"

// Sweep removes what processes left behind that were killed, and replaced parts
// whose grace is over. Open does the same; who keeps a store open for long calls
// it now and then.
func (l *Lake) Sweep() error { return l.sweep() }

// sweep removes what no manifest names: the files of imports whose process is
// gone, parts that a killed commit had moved into place, and replaced parts
// whose grace is over. Commits move parts under the same lock, so that nothing
// is taken from under one.
func (l *Lake) sweep() error {
	return l.locked(func() error {
		m, err := ReadManifest(l.path)
		if err != nil {
			return err
		}
		if err := os.Remove(l.join(newManifestName)); err != nil && !missing(err) {
			return fmt.Errorf("sweep store: %w", err)
		}
		if err := l.endKilled(m); err != nil {
			return fmt.Errorf("sweep store: %w", err)
		}
		if err := l.sweepImports(); err != nil {
			return fmt.Errorf("sweep store: %w", err)
		}
		if err := l.sweepParts(m); err != nil {
			return fmt.Errorf("sweep store: %w", err)
		}
		return l.purge(time.Now())
	})
}

// endKilled marks imports that go on according to the manifest, though their
// process is gone.
func (l *Lake) endKilled(m *Manifest) error {
	ended := 0
	for i := range m.Imports {
		imp := &m.Imports[i]
		if !imp.Open {
			continue
		}
		dead, err := abandoned(l.join(tmpName, imp.ID, ownerName))
		if err != nil {
			return err
		}
		if dead {
			imp.Open, imp.Killed = false, true
			ended++
			l.log.Info("marked an import whose program was killed", slog.String("import", imp.ID))
		}
	}
	if ended == 0 {
		return nil
	}
	return l.replaceManifest(m)
}

// sweepImports removes the directories of imports that nobody owns.
func (l *Lake) sweepImports() error {
	entries, err := readDir(l.join(tmpName))
	if err != nil {
		return err
	}
	for _, e := range entries {
		dir := l.join(tmpName, e.Name())
		dead, err := abandoned(filepath.Join(dir, ownerName))
		if err != nil {
			return err
		}
		if !dead {
			continue
		}
		if err := l.removeTree(tmpName, e.Name()); err != nil {
			return err
		}
		l.log.Info("removed files of an unfinished import", slog.String("dir", dir))
	}
	return nil
}

// abandoned reports whether no process holds the lock file of an import. The
// file is made and locked under the store's lock, so one that is missing
// belongs to an import that ended.
func abandoned(name string) (bool, error) {
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	if missing(err) {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	defer func() { _ = f.Close() }()
	return tryLock(f)
}

// sweepParts removes the parts that the manifest does not name, and the
// directories of days that are empty then.
func (l *Lake) sweepParts(m *Manifest) error {
	unnamed, err := l.unnamed(m)
	if err != nil {
		return err
	}
	for _, name := range unnamed {
		file := l.join(filepath.FromSlash(name))
		if err := os.Remove(file); err != nil && !missing(err) {
			return err
		}
		_ = os.Remove(filepath.Dir(file)) // succeeds once the day is empty
		l.log.Info("removed a part that the manifest does not name", slog.String("part", name))
	}
	return nil
}

// retire moves parts that the manifest no longer names to where readers of the
// previous manifest do not look, and removes those whose grace is over.
func (l *Lake) retire(parts []Part) error {
	now := time.Now()
	if len(parts) > 0 {
		dir := l.join(oldName, strconv.FormatInt(now.UnixNano(), 10))
		if err := l.mkdirAll(dir); err != nil {
			return fmt.Errorf("retire parts: %w", err)
		}
		for i := range parts {
			from := l.join(filepath.FromSlash(parts[i].Path))
			err := os.Rename(from, filepath.Join(dir, path.Base(parts[i].Path)))
			if err != nil && !missing(err) {
				return fmt.Errorf("retire parts: %w", err)
			}
			_ = os.Remove(filepath.Dir(from)) // succeeds once the day is empty
		}
	}
	return l.purge(time.Now()) // later than now: the least grace is over
}

// purge removes retired parts whose grace is over.
func (l *Lake) purge(now time.Time) error {
	entries, err := readDir(l.join(oldName))
	if err != nil {
		return fmt.Errorf("purge old parts: %w", err)
	}
	for _, e := range entries {
		ns, err := strconv.ParseInt(e.Name(), 10, 64)
		if err != nil {
			continue
		}
		// A time in the future is that of a clock that was set back since.
		if age := now.Sub(time.Unix(0, ns)); age < l.grace && age > -fileAhead {
			continue
		}
		if err := l.removeTree(oldName, e.Name()); err != nil {
			return fmt.Errorf("purge old parts: %w", err)
		}
	}
	return nil
}

// removeTree removes a file or directory of the store with all that is in it. It
// follows no symbolic link out of the store: root may be asked to sweep a store
// that belongs to somebody else.
func (l *Lake) removeTree(names ...string) error {
	root, err := os.OpenRoot(l.path)
	if err != nil {
		return err
	}
	defer func() { _ = root.Close() }()
	return root.RemoveAll(filepath.Join(names...))
}

// readDir lists a directory; one that is missing is empty.
func readDir(name string) ([]os.DirEntry, error) {
	entries, err := os.ReadDir(name)
	if missing(err) {
		return nil, nil
	}
	return entries, err
}

// Replaced returns where the replaced parts of the store at root are that were
// not removed yet: by the name of the file, relative to root, with slashes.
func Replaced(root string) (map[string]string, error) {
	dirs, err := readDir(filepath.Join(root, oldName))
	if err != nil {
		return nil, err
	}
	found := make(map[string]string)
	for _, dir := range dirs {
		if _, err := strconv.ParseInt(dir.Name(), 10, 64); err != nil || !dir.IsDir() {
			continue
		}
		entries, err := readDir(filepath.Join(root, oldName, dir.Name())) // it may be gone by now
		if err != nil {
			return nil, err
		}
		for _, e := range entries {
			found[e.Name()] = path.Join(oldName, dir.Name(), e.Name())
		}
	}
	return found, nil
}
