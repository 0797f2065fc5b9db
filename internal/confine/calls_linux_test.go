// SPDX-License-Identifier: Apache-2.0

package confine_test

import (
	"encoding/binary"
	"slices"
	"testing"

	"github.com/elastic/go-seccomp-bpf/arch"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"

	"weir/internal/confine"
)

// verdict runs the filter on a call: 0x7fff0000 lets it through, 0x50000|errno
// refuses it.
func verdict(t *testing.T, vm *bpf.VM, table *arch.Info, name string, args ...uint64) int {
	t.Helper()
	number, ok := table.SyscallNames[name]
	if !ok {
		t.Fatalf("%s has no %s", table.Name, name)
	}
	// struct seccomp_data of a little-endian machine, each of its words in the
	// byte order of the virtual machine.
	data := make([]byte, 64)
	binary.BigEndian.PutUint32(data, uint32(number))
	binary.BigEndian.PutUint32(data[4:], uint32(table.ID))
	for i, arg := range args {
		binary.BigEndian.PutUint32(data[16+8*i:], uint32(arg))
		binary.BigEndian.PutUint32(data[20+8*i:], uint32(arg>>32))
	}
	got, err := vm.Run(data)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func TestFilter(t *testing.T) {
	const (
		pid    = 4711
		allow  = 0x7fff0000
		eperm  = 0x50000 | int(unix.EPERM)
		enosys = 0x50000 | int(unix.ENOSYS)

		stream = unix.SOCK_STREAM | unix.SOCK_CLOEXEC | unix.SOCK_NONBLOCK
		dgram  = unix.SOCK_DGRAM | unix.SOCK_CLOEXEC | unix.SOCK_NONBLOCK
	)
	cases := []struct {
		name    string
		args    []uint64
		want    int
		connect int // with TCP connections
	}{
		{"read", nil, allow, allow},
		{"renameat", nil, allow, allow},
		{"setpriority", []uint64{unix.PRIO_PROCESS, 5, 19}, allow, allow},
		{"setpriority", []uint64{unix.PRIO_USER, 0, 19}, eperm, eperm},
		{"execve", nil, eperm, eperm},
		{"execveat", nil, eperm, eperm},
		{"ptrace", nil, eperm, eperm},
		{"bind", nil, eperm, eperm},
		{"listen", nil, eperm, eperm},
		{"sendto", nil, eperm, eperm},
		{"symlinkat", nil, eperm, eperm},
		{"seccomp", nil, eperm, eperm},
		{"clone3", nil, enosys, enosys},
		{"io_uring_setup", nil, enosys, enosys},
		{"clone", []uint64{unix.CLONE_VM | unix.CLONE_THREAD | unix.CLONE_SIGHAND}, allow, allow},
		{"clone", []uint64{uint64(unix.SIGCHLD)}, eperm, eperm},
		{"clone", []uint64{unix.CLONE_VM | unix.CLONE_VFORK}, eperm, eperm},
		{"mmap", []uint64{0, 4096, unix.PROT_READ | unix.PROT_WRITE}, allow, allow},
		{"mmap", []uint64{0, 4096, unix.PROT_READ | unix.PROT_EXEC}, eperm, eperm},
		{"mprotect", []uint64{0, 4096, unix.PROT_NONE}, allow, allow},
		{"mprotect", []uint64{0, 4096, unix.PROT_EXEC}, eperm, eperm},
		{"kill", []uint64{pid, 1}, allow, allow},
		{"kill", []uint64{1, 9}, eperm, eperm},
		{"kill", []uint64{^uint64(0), 9}, eperm, eperm},
		{"tgkill", []uint64{pid, pid + 1, 23}, allow, allow},
		{"tgkill", []uint64{pid - 1, pid - 1, 23}, eperm, eperm},
		{"fcntl", []uint64{1, unix.F_SETFL, unix.O_NONBLOCK}, allow, allow},
		{"fcntl", []uint64{1, unix.F_DUPFD_CLOEXEC, 0}, allow, allow},
		{"fcntl", []uint64{1, unix.F_OFD_SETLK, 0xc000000000}, allow, allow},
		{"fcntl", []uint64{1, unix.F_SETOWN, 1}, eperm, eperm},
		{"fcntl", []uint64{1, unix.F_SETSIG, 9}, eperm, eperm},
		{"fcntl", []uint64{1, unix.F_SETOWN_EX, 0xc000000000}, eperm, eperm},
		{"ioctl", []uint64{1, unix.TCGETS}, allow, allow},
		{"ioctl", []uint64{0, unix.TIOCSTI}, eperm, eperm},
		{"ioctl", []uint64{0, unix.TIOCSTI | 1<<32}, eperm, eperm},
		{"prctl", []uint64{unix.PR_SET_NAME}, allow, allow},
		{"prctl", []uint64{unix.PR_SET_DUMPABLE, 1}, eperm, eperm},
		{"prlimit64", []uint64{0, unix.RLIMIT_NOFILE, 0}, allow, allow},
		{"prlimit64", []uint64{0, unix.RLIMIT_CORE, 0xc000000000}, eperm, eperm},
		{"prlimit64", []uint64{1, unix.RLIMIT_NOFILE, 0}, eperm, eperm},
		{"socket", []uint64{unix.AF_UNIX, dgram, 0}, allow, allow},
		{"socket", []uint64{unix.AF_UNIX, stream, 0}, eperm, eperm},
		{"socket", []uint64{unix.AF_INET, stream, 0}, eperm, allow},
		{"socket", []uint64{unix.AF_INET6, stream, unix.IPPROTO_TCP}, eperm, allow},
		{"socket", []uint64{unix.AF_INET, stream, unix.IPPROTO_MPTCP}, eperm, eperm},
		{"socket", []uint64{unix.AF_INET, dgram, 0}, eperm, eperm},
		{"socket", []uint64{unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_TCP}, eperm, eperm},
		{"socket", []uint64{unix.AF_PACKET, unix.SOCK_RAW, 0}, eperm, eperm},
		{"socket", []uint64{unix.AF_NETLINK, unix.SOCK_RAW, 0}, eperm, eperm},
	}
	machine, err := arch.GetInfo("")
	if err != nil {
		t.Fatal(err)
	}
	for _, connect := range []bool{false, true} {
		program, err := confine.Assemble(machine, pid, connect)
		if err != nil {
			t.Fatal(err)
		}
		vm, err := bpf.NewVM(program)
		if err != nil {
			t.Fatal(err)
		}
		for _, tc := range cases {
			want := tc.want
			if connect {
				want = tc.connect
			}
			if got := verdict(t, vm, machine, tc.name, tc.args...); got != want {
				t.Errorf("%s(%#x) with connect %v gives %#x, want %#x", tc.name, tc.args, connect, got, want)
			}
		}
	}
}

// A name that no machine knows is a mistake: it would be left out everywhere.
func TestCallNames(t *testing.T) {
	allowed, absent := confine.Calls()
	all := append(slices.Clone(allowed), absent...)
	for i, name := range all {
		_, old := arch.X86_64.SyscallNames[name]
		if _, ok := arch.AARCH64.SyscallNames[name]; !ok && !old {
			t.Errorf("%s is not known", name)
		}
		if slices.Contains(all[:i], name) {
			t.Errorf("%s is there twice", name)
		}
	}
	// A newer machine has few of the old names: what Go, C's library and a store
	// use there must not be left out.
	arm := confine.Known(arch.AARCH64)
	for _, name := range []string{
		"futex", "openat", "fstatat", "epoll_pwait", "ppoll", "pselect6", "getdents64", "renameat", "unlinkat", "mkdirat",
		"fsync", "flock", "rt_sigreturn", "madvise", "accept4", "connect", "recvfrom", "getrandom", "clock_nanosleep",
	} {
		if !slices.Contains(arm, name) {
			t.Errorf("arm64 lacks %s", name)
		}
	}
	for _, name := range []string{"mmap", "mprotect", "clone", "kill", "tgkill", "ioctl", "socket", "prctl", "setpriority"} {
		if _, ok := arch.AARCH64.SyscallNames[name]; !ok {
			t.Errorf("arm64 has no %s", name)
		}
	}
}
