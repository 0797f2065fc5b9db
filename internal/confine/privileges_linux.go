// SPDX-License-Identifier: Apache-2.0

package confine

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
	"kernel.org/pub/linux/libs/security/libcap/psx"
)

// dropPrivileges becomes the user, gives up all capabilities and the ways to get
// new ones, in every thread, and looks whether all of that came true.
func dropPrivileges(a Account) error {
	if _, err := os.ReadDir("/proc/self/task"); err != nil {
		// The call in every thread below would end the process.
		return fmt.Errorf("list threads, is /proc mounted: %w", err)
	}
	// Memory holds what others sent: no file of it is left behind.
	if err := unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}); err != nil {
		return fmt.Errorf("leave no core file: %w", err)
	}
	if os.Getuid() != a.UID {
		// C's library changes every thread.
		if err := syscall.Setgroups([]int{a.GID}); err != nil {
			return fmt.Errorf("leave groups: %w", err)
		}
		if err := syscall.Setresgid(a.GID, a.GID, a.GID); err != nil {
			return fmt.Errorf("become group %d: %w", a.GID, err)
		}
		if err := syscall.Setresuid(a.UID, a.UID, a.UID); err != nil {
			return fmt.Errorf("become user %s: %w", a.Name, err)
		}
	}
	// The kernel empties the ambient set together with the permitted one, but it
	// may know sets that are newer than this code: ask for it first.
	if _, _, errno := psx.Syscall6(unix.SYS_PRCTL, unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0, 0); errno != 0 && errno != unix.EINVAL {
		return fmt.Errorf("drop ambient capabilities: %w", errno)
	}
	header := &unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	none := new([2]unix.CapUserData)
	if _, _, errno := psx.Syscall3(unix.SYS_CAPSET, uintptr(unsafe.Pointer(header)), uintptr(unsafe.Pointer(none)), 0); errno != 0 {
		return fmt.Errorf("drop capabilities: %w", errno)
	}
	if _, _, errno := psx.Syscall6(unix.SYS_PRCTL, unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0, 0); errno != 0 {
		return fmt.Errorf("set no_new_privs: %w", errno)
	}
	return verify(a)
}

// verify reads back what every thread has.
func verify(a Account) error {
	tasks, err := filepath.Glob("/proc/self/task/*/status")
	if err != nil || len(tasks) == 0 {
		return fmt.Errorf("list threads: %w", errors.Join(err, fs.ErrNotExist))
	}
	uid, gid := strconv.Itoa(a.UID), strconv.Itoa(a.GID)
	want := map[string]string{
		"Uid": strings.Join([]string{uid, uid, uid, uid}, "\t"), "Gid": strings.Join([]string{gid, gid, gid, gid}, "\t"),
		"NoNewPrivs": "1", "CapEff": "", "CapPrm": "", "CapInh": "", "CapAmb": "",
	}
	for _, name := range tasks {
		text, err := os.ReadFile(name)
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ESRCH) {
			continue // a thread that has ended
		}
		if err != nil {
			return fmt.Errorf("read a thread's state: %w", err)
		}
		for line := range strings.Lines(string(text)) {
			key, value, _ := strings.Cut(line, ":")
			value = strings.TrimSpace(value)
			if strings.HasPrefix(key, "Cap") {
				value = strings.TrimLeft(value, "0")
			}
			if expected, ok := want[key]; ok && value != expected {
				return fmt.Errorf("%s: %s is %q, want %q", name, key, value, expected)
			}
		}
	}
	return nil
}

// writable checks that the user can make files in directories.
func writable(dirs []string, a Account) error {
	for _, dir := range dirs {
		// With the slash only a directory will do.
		err := unix.Access(dir+"/", unix.R_OK|unix.W_OK|unix.X_OK)
		if err != nil {
			return fmt.Errorf("write to %s as user %s: %w", dir, a.Name, err)
		}
	}
	return nil
}
