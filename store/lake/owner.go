// SPDX-License-Identifier: Apache-2.0

package lake

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// A store belongs to the owner of its directory. Root may write into it as
// well, and what root makes there has to be of use to the owner.

// give hands a file or directory of the store that was just made to the
// store's owner. It follows no symbolic link, and leaves alone what has further
// names: somebody has put it there.
func (l *Lake) give(path string) error {
	if os.Geteuid() != 0 {
		return nil
	}
	info, err := os.Stat(l.path)
	if err != nil {
		return err
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok || st.Uid == 0 {
		return nil
	}
	made, err := os.Lstat(path)
	if err != nil {
		return err
	}
	if is, ok := made.Sys().(*syscall.Stat_t); !ok || !made.IsDir() && (!made.Mode().IsRegular() || is.Nlink > 1) {
		return nil
	}
	return os.Lchown(path, int(st.Uid), int(st.Gid))
}

// mkdirAll makes a directory of the store, with its parents, for the owner. A
// symbolic link is no directory of the store.
func (l *Lake) mkdirAll(dir string) error {
	if dir == l.path {
		return nil
	}
	err := os.Mkdir(dir, 0o755)
	if missing(err) {
		if err := l.mkdirAll(filepath.Dir(dir)); err != nil {
			return err
		}
		err = os.Mkdir(dir, 0o755)
	}
	if errors.Is(err, fs.ErrExist) {
		if info, serr := os.Lstat(dir); serr == nil && info.IsDir() {
			return nil
		}
	}
	if err != nil {
		return err
	}
	return l.give(dir)
}

// Give makes a user the owner of the store at path with everything in it, as
// root does before a program goes on as that user. An empty directory is as good
// as a store. Symbolic links are not followed, and files that have further names
// elsewhere are left alone.
func Give(path string, uid, gid int) error {
	if err := give(path, uid, gid); err != nil {
		return fmt.Errorf("give store %s to user %d: %w", path, uid, err)
	}
	return nil
}

func give(path string, uid, gid int) error {
	l, err := newLake(path, Config{})
	if err != nil {
		return err
	}
	if err := l.checkFree(); err != nil {
		return err
	}
	root, err := os.OpenRoot(path)
	if err != nil {
		return err
	}
	defer func() { _ = root.Close() }()
	// The directory comes first: who makes a file in it from here on gives it
	// to its owner.
	return fs.WalkDir(root.FS(), ".", func(name string, e fs.DirEntry, err error) error {
		if err == nil && (e.IsDir() || e.Type().IsRegular()) {
			err = giveOne(root, name, uid, gid)
		}
		if missing(err) && name != "." { // replaced meanwhile
			return nil
		}
		return err
	})
}

func giveOne(root *os.Root, name string, uid, gid int) error {
	info, err := root.Lstat(name)
	if err != nil {
		return err
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	switch {
	case !ok, !info.IsDir() && (!info.Mode().IsRegular() || st.Nlink > 1):
		return nil
	case int(st.Uid) == uid && int(st.Gid) == gid:
		return nil
	}
	return root.Lchown(name, uid, gid)
}
