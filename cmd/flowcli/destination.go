// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/google/renameio/v2"
)

// regularOrNew reports whether a name is that of a file, or of none yet: others, as
// /dev/stdout and pipes, are written to as they are.
func regularOrNew(name string) bool {
	info, err := os.Stat(name)
	return err != nil || info.Mode().IsRegular()
}

// writeFile calls write with where the file with a name is written. A new file
// takes its place once it is complete; after an error all is as before.
func writeFile(name string, write func(io.Writer) error) (err error) {
	if !regularOrNew(name) {
		f, err := os.OpenFile(name, os.O_WRONLY, 0)
		if err != nil {
			return fmt.Errorf("write the answer: %w", err)
		}
		err = write(f)
		return errors.Join(err, f.Close())
	}
	// A link stays one.
	if target, err := filepath.EvalSymlinks(name); err == nil {
		name = target
	}
	f, err := renameio.NewPendingFile(name, renameio.WithTempDir(filepath.Dir(name)),
		renameio.WithPermissions(0o666), renameio.WithExistingPermissions())
	if bad := new(fs.PathError); errors.As(err, &bad) {
		// The name of the new file would only confuse.
		err = &fs.PathError{Op: "create", Path: name, Err: bad.Err}
	}
	if err != nil {
		return fmt.Errorf("write the answer: %w", err)
	}
	defer func() { err = errors.Join(err, f.Cleanup()) }()
	if err := write(f); err != nil {
		return err
	}
	if err := f.CloseAtomicallyReplace(); err != nil {
		return fmt.Errorf("write the answer: %w", err)
	}
	return nil
}
