// SPDX-License-Identifier: Apache-2.0

package lake

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Errors of Pin that callers test for.
var (
	// ErrNoLinks: a part cannot have a second name, on this file system or for
	// this user.
	ErrNoLinks = errors.New("no hard links can be made")
	// ErrPinned: there is a snapshot of that name.
	ErrPinned = errors.New("there is such a snapshot already")
)

// Pinned is a snapshot of a store that stays as it is whatever becomes of the
// store: its parts have second names of their own, so that they take no space
// as long as the store has them too. It survives the process; Release ends it.
type Pinned struct {
	// ID is the name of the snapshot.
	ID string
	// Root is where its parts are: it can be read as a store.
	Root string
	// Manifest says what is in it.
	Manifest *Manifest

	lake *Lake
}

// maxPinTries is how many states of the store Pin takes at most, because parts
// left it meanwhile.
const maxPinTries = 20

// Pin makes a snapshot of all live parts under a name that is none yet, else it
// is ErrPinned. Where parts cannot have a second name it is ErrNoLinks. After a
// crash the snapshot is complete or not there.
func (l *Lake) Pin(id string) (*Pinned, error) {
	p, err := l.pin(id)
	if err != nil {
		return nil, fmt.Errorf("make snapshot %s of the store: %w", id, err)
	}
	return p, nil
}

// pinPath returns where a snapshot is.
func (l *Lake) pinPath(id string) (string, error) {
	if id == "" || id != filepath.Base(id) || id[0] == '.' {
		return "", fmt.Errorf("%q is no file name", id)
	}
	return l.join(pinName, id), nil
}

func (l *Lake) pin(id string) (*Pinned, error) {
	root, err := l.pinPath(id)
	if err != nil {
		return nil, err
	}
	if _, err := os.Lstat(root); err == nil {
		return nil, ErrPinned
	}
	// What is not finished lies where sweeps look for it.
	dir, lock, err := l.claim("p" + newID())
	if err != nil {
		return nil, err
	}
	defer func() {
		if err := release(dir, lock); err != nil { // the next sweep does it
			l.log.Warn("remove files of a snapshot", slog.Any("err", err))
		}
	}()
	made := filepath.Join(dir, "pin")
	m, err := l.linkAll(made)
	if err != nil {
		return nil, err
	}
	data, err := m.encode()
	if err != nil {
		return nil, err
	}
	name := filepath.Join(made, manifestName)
	if err := errors.Join(writeNew(name, data, true), l.give(name)); err != nil {
		return nil, err
	}
	if err := syncTree(made); err != nil {
		return nil, err
	}
	err = l.locked(func() error {
		if err := l.mkdirAll(l.join(pinName)); err != nil {
			return err
		}
		if _, err := os.Lstat(root); !missing(err) {
			return errors.Join(ErrPinned, err)
		}
		if err := os.Rename(made, root); err != nil {
			return err
		}
		return errors.Join(syncDir(l.join(pinName)), syncDir(l.path))
	})
	if err != nil {
		return nil, err
	}
	return &Pinned{ID: id, Root: root, Manifest: m, lake: l}, nil
}

// linkAll gives all live parts second names below a directory that it makes,
// and returns the manifest that they are of.
func (l *Lake) linkAll(dir string) (*Manifest, error) {
	var last int64 = -1
	for try := 1; ; try++ {
		m, err := l.Manifest()
		if err != nil {
			return nil, err
		}
		if err := l.mkdirAll(dir); err != nil {
			return nil, err
		}
		err = l.link(m, dir)
		// A part that left the store is not in the next manifest.
		if err == nil || !missing(err) || m.Generation == last || try == maxPinTries {
			return m, err
		}
		last = m.Generation
		if err := os.RemoveAll(dir); err != nil {
			return nil, err
		}
	}
}

// link gives the parts of a manifest second names below a directory.
func (l *Lake) link(m *Manifest, dir string) error {
	made := make(map[string]bool)
	for i := range m.Parts {
		name := filepath.FromSlash(m.Parts[i].Path)
		to := filepath.Join(dir, name)
		if day := filepath.Dir(to); !made[day] {
			if err := l.mkdirAll(day); err != nil {
				return err
			}
			made[day] = true
		}
		err := os.Link(l.join(name), to)
		for _, no := range []error{unix.EPERM, unix.EXDEV, unix.ENOTSUP, unix.ENOSYS, unix.EMLINK} {
			if errors.Is(err, no) {
				return fmt.Errorf("%w: %w", ErrNoLinks, err)
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// syncTree makes the names below a directory durable.
func syncTree(dir string) error {
	return filepath.WalkDir(dir, func(name string, e fs.DirEntry, err error) error {
		if err != nil || !e.IsDir() {
			return err
		}
		return syncDir(name)
	})
}

// FindPin returns the snapshot with a name. If there is none, the error is
// fs.ErrNotExist.
func (l *Lake) FindPin(id string) (*Pinned, error) {
	root, err := l.pinPath(id)
	if err != nil {
		return nil, fmt.Errorf("find snapshot: %w", err)
	}
	m, err := readManifestFile(filepath.Join(root, manifestName))
	if err != nil {
		return nil, fmt.Errorf("find snapshot %s of the store: %w", id, err)
	}
	return &Pinned{ID: id, Root: root, Manifest: m, lake: l}, nil
}

// Release ends the snapshot: what only it has of the store's parts is gone on
// return. One that is not there any more is no error.
func (p *Pinned) Release() error {
	if err := p.lake.release(p.Root); err != nil {
		return fmt.Errorf("release snapshot %s of the store: %w", p.ID, err)
	}
	return nil
}

// release removes a directory of snapshots. In one step it goes to where sweeps
// remove what is left of it, should the process be killed.
func (l *Lake) release(root string) error {
	gone := "r" + newID()
	found := false
	err := l.locked(func() error {
		if _, err := os.Lstat(root); missing(err) {
			return nil
		}
		if err := l.mkdirAll(l.join(tmpName)); err != nil {
			return err
		}
		found = true
		return errors.Join(os.Rename(root, l.join(tmpName, gone)), syncDir(filepath.Dir(root)))
	})
	if err != nil || !found {
		return err
	}
	return l.removeTree(tmpName, gone)
}
