// SPDX-License-Identifier: Apache-2.0

package lake

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Running reports whether the process of an import is still there. It needs no
// right to write.
func Running(path, id string) (bool, error) {
	if id == "" || id != filepath.Base(id) {
		return false, fmt.Errorf("import %q: no such name", id)
	}
	f, err := os.Open(filepath.Join(path, tmpName, id, ownerName))
	if missing(err) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("look for the process of import %s: %w", id, err)
	}
	// Closing it releases the lock. Who sweeps just now takes the import for alive,
	// and the next one does not.
	defer func() { _ = f.Close() }()
	err = unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return true, nil
	}
	if err != nil {
		return false, fmt.Errorf("look for the process of import %s: %w", id, err)
	}
	return false, nil
}
