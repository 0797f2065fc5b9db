// SPDX-License-Identifier: Apache-2.0

package confine

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"

	seccomp "github.com/elastic/go-seccomp-bpf"
	"github.com/elastic/go-seccomp-bpf/arch"
	"github.com/landlock-lsm/go-landlock/landlock"
	ll "github.com/landlock-lsm/go-landlock/landlock/syscall"
)

// sandbox puts Landlock and seccomp in force, in this order, since seccomp
// refuses Landlock's calls.
func (r *Report) sandbox(c *Config) error {
	if err := r.landlock(c); err != nil {
		return err
	}
	return r.seccomp(len(c.ConnectTCP) > 0)
}

// What Landlock lets a process do below a directory. Neither includes executing,
// device files, sockets or symbolic links.
const (
	readRights  = ll.AccessFSReadFile | ll.AccessFSReadDir
	writeRights = readRights | ll.AccessFSWriteFile | ll.AccessFSTruncate | ll.AccessFSMakeReg | ll.AccessFSMakeDir |
		ll.AccessFSRemoveFile | ll.AccessFSRemoveDir | ll.AccessFSRefer
)

// landlockABI is the version of Landlock's interface that this code asks for: 5
// covers files, TCP and devices. 6 adds signals and abstract sockets, which
// seccomp covers as far as they matter here.
const landlockABI = 5

func (r *Report) landlock(c *Config) error {
	abi, err := ll.LandlockGetABIVersion()
	if err != nil {
		r.Missing = append(r.Missing, fmt.Sprintf("Landlock: not in this kernel or switched off (%v)", err))
		return nil
	}
	switch {
	case abi < 2:
		// Without moving files from one directory to another there is no store.
		r.Missing = append(r.Missing, "Landlock: this kernel's cannot permit renames across directories (needs Linux 5.19)")
		return nil
	case abi < 3:
		r.Missing = append(r.Missing, "Landlock: truncating files is not covered (needs Linux 6.2)")
	}
	if abi < 4 {
		r.Missing = append(r.Missing, "Landlock: TCP connections are not covered (needs Linux 6.7)")
	}
	if abi < 5 {
		r.Missing = append(r.Missing, "Landlock: device files are not covered (needs Linux 6.10)")
	}
	var rules []landlock.Rule
	if len(c.ReadWrite) > 0 {
		rules = append(rules, landlock.PathAccess(writeRights, c.ReadWrite...))
	}
	for _, path := range append(SystemFiles(), c.ReadOnly...) {
		info, err := os.Stat(path)
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
			continue // for the new user it is not there
		}
		if err != nil {
			return fmt.Errorf("allow reading: %w", err)
		}
		rights := landlock.AccessFSSet(readRights)
		if !info.IsDir() {
			rights = ll.AccessFSReadFile
		}
		if path == "/dev/null" {
			rights |= ll.AccessFSWriteFile
		}
		rules = append(rules, landlock.PathAccess(rights, path).IgnoreIfMissing())
	}
	for _, port := range c.ConnectTCP {
		rules = append(rules, landlock.ConnectTCP(port))
	}
	if err := landlock.V5.BestEffort().Restrict(rules...); err != nil {
		r.Missing = append(r.Missing, fmt.Sprintf("Landlock: %v", err))
		return nil
	}
	r.Landlock = min(abi, landlockABI)
	return nil
}

func (r *Report) seccomp(connect bool) error {
	if !seccomp.Supported() {
		r.Missing = append(r.Missing, "seccomp: not in this kernel, or refused")
		return nil
	}
	table, err := arch.GetInfo("")
	if err != nil {
		r.Missing = append(r.Missing, fmt.Sprintf("seccomp: %v", err))
		return nil
	}
	filter := seccomp.Filter{Flag: seccomp.FilterFlagTSync, Policy: policy(table, os.Getpid(), connect)}
	if err := seccomp.LoadFilter(filter); err != nil {
		var errno syscall.Errno
		if errors.As(err, &errno) {
			r.Missing = append(r.Missing, fmt.Sprintf("seccomp: %v", err))
			return nil
		}
		return fmt.Errorf("make seccomp filter: %w", err)
	}
	r.Seccomp = true
	return nil
}
