// SPDX-License-Identifier: Apache-2.0

package confine

import (
	seccomp "github.com/elastic/go-seccomp-bpf"
	"github.com/elastic/go-seccomp-bpf/arch"
	"golang.org/x/sys/unix"
)

// allowedCalls are the calls that may be made with any arguments. The list
// holds for every machine: those that a machine does not have are left out.
func allowedCalls() []string {
	return []string{
		// Memory; mmap and mprotect are below.
		"brk", "madvise", "mincore", "mremap", "munmap",
		// Threads; clone is below.
		"exit", "exit_group", "futex", "gettid", "get_robust_list", "membarrier", "rseq", "sched_getaffinity",
		"sched_getparam", "sched_getscheduler", "sched_yield", "set_robust_list", "set_tid_address", "getcpu",
		// Signals; kill and tgkill are below.
		"restart_syscall", "rt_sigaction", "rt_sigpending", "rt_sigprocmask", "rt_sigreturn", "rt_sigsuspend",
		"rt_sigtimedwait", "sigaltstack",
		// Time, and the timers of a CPU profile.
		"clock_getres", "clock_gettime", "clock_nanosleep", "gettimeofday", "nanosleep", "time",
		"setitimer", "timer_create", "timer_delete", "timer_settime",
		// What the process is told about itself and the machine.
		"capget", "getcwd", "getegid", "geteuid", "getgid", "getgroups", "getpgid", "getpgrp", "getpid", "getppid",
		"getpriority", "getrandom", "getresgid", "getresuid", "getrlimit", "getrusage", "getsid", "getuid", "ioprio_get",
		"sysinfo", "times", "uname",
		// Waiting.
		"epoll_create", "epoll_create1", "epoll_ctl", "epoll_pwait", "epoll_pwait2", "epoll_wait", "eventfd", "eventfd2",
		"pipe", "pipe2", "poll", "ppoll", "pselect6", "select",
		// Open files; fcntl is below.
		"close", "close_range", "copy_file_range", "dup", "dup2", "dup3", "fadvise64", "fallocate", "fchmod", "fchown", "fdatasync",
		"flock", "fstat", "fstatat", "fstatfs", "fsync", "ftruncate", "getdents", "getdents64", "lseek", "pread64", "preadv",
		"pwrite64", "pwritev", "read", "readv", "sendfile", "splice", "sync_file_range", "syncfs", "write", "writev",
		// Names of files; Landlock says which.
		"access", "chmod", "chown", "creat", "faccessat", "faccessat2", "fchmodat", "fchmodat2", "fchownat", "lchown", "link",
		"linkat", "lstat", "mkdir", "mkdirat", "newfstatat", "open", "openat", "readlink", "readlinkat", "rename",
		"renameat", "renameat2", "rmdir", "stat", "statfs", "statx", "truncate", "umask", "unlink", "unlinkat", "utimensat",
		// Open sockets: capture handles, the metrics' listener and its
		// connections, the notification socket. Nothing is bound.
		"accept", "accept4", "connect", "getpeername", "getsockname", "getsockopt", "recvfrom", "recvmsg", "setsockopt",
		"shutdown",
	}
}

// absentCalls are answered as by a kernel that does not have them, so that
// libraries take the older way, whose arguments can be looked at.
func absentCalls() []string {
	return []string{"clone3", "openat2", "io_uring_setup", "io_uring_enter", "io_uring_register", "memfd_secret", "map_shadow_stack"}
}

// safeControls are the requests of ioctl that read something. Requests that
// write are not among them: one puts text into the input of the terminal, which
// a shell with more rights may read.
func safeControls() []uint64 {
	return []uint64{
		unix.TCGETS, unix.TIOCGWINSZ, unix.TIOCINQ,
		unix.SIOCGIFNAME, unix.SIOCGIFINDEX, unix.SIOCGIFFLAGS, unix.SIOCGIFHWADDR, unix.SIOCGIFMTU,
		unix.SIOCGIFCONF, unix.SIOCGIFADDR, unix.SIOCETHTOOL, unix.SIOCGSTAMP,
	}
}

// fileControls are the commands of fcntl. Those that name a process to which the
// kernel sends a signal, any signal, are not among them.
func fileControls() []uint64 {
	return []uint64{
		unix.F_DUPFD, unix.F_DUPFD_CLOEXEC, unix.F_GETFD, unix.F_SETFD, unix.F_GETFL, unix.F_SETFL,
		unix.F_GETLK, unix.F_SETLK, unix.F_SETLKW, unix.F_OFD_GETLK, unix.F_OFD_SETLK, unix.F_OFD_SETLKW,
		unix.F_GETPIPE_SZ, unix.F_SETPIPE_SZ,
	}
}

// policy returns the filter for a machine and this process: everything else
// gets EPERM. With connect it admits TCP sockets.
func policy(table *arch.Info, pid int, connect bool) seccomp.Policy {
	allowed := seccomp.SyscallGroup{Action: seccomp.ActionAllow, Names: known(table, allowedCalls())}
	allow := func(name string, conditions ...seccomp.Condition) {
		if _, ok := table.SyscallNames[name]; ok {
			allowed.NamesWithCondtions = append(allowed.NamesWithCondtions, seccomp.NameWithConditions{Name: name, Conditions: conditions})
		}
	}
	is := func(argument uint32, value uint64) seccomp.Condition {
		return seccomp.Condition{Argument: argument, Operation: seccomp.Equal, Value: value}
	}
	// Threads, no processes.
	allow("clone", seccomp.Condition{Argument: 0, Operation: seccomp.BitsSet, Value: unix.CLONE_THREAD})
	// No new code.
	for _, name := range []string{"mmap", "mprotect"} {
		allow(name, seccomp.Condition{Argument: 2, Operation: seccomp.BitsNotSet, Value: unix.PROT_EXEC})
	}
	// Signals to itself.
	allow("kill", is(0, uint64(pid)))
	allow("tgkill", is(0, uint64(pid)))
	// Lower priority of its threads, and asking for its limits.
	allow("setpriority", is(0, unix.PRIO_PROCESS))
	allow("ioprio_set", is(0, ioprioWhoProcess))
	allow("prlimit64", is(0, 0), is(2, 0))
	// Names for threads and memory.
	allow("prctl", is(0, unix.PR_SET_NAME))
	allow("prctl", is(0, unix.PR_SET_VMA))
	for _, request := range safeControls() {
		allow("ioctl", is(1, request))
	}
	for _, command := range fileControls() {
		allow("fcntl", is(1, command))
	}
	// A service manager's notification socket takes datagrams; other daemons'
	// sockets are streams. Flags may be added to the type.
	for _, flags := range []uint64{0, unix.SOCK_CLOEXEC, unix.SOCK_NONBLOCK, unix.SOCK_CLOEXEC | unix.SOCK_NONBLOCK} {
		allow("socket", is(0, unix.AF_UNIX), is(1, unix.SOCK_DGRAM|flags))
		if !connect {
			continue
		}
		for _, family := range []uint64{unix.AF_INET, unix.AF_INET6} {
			// Landlock does not know Multipath TCP, another protocol number.
			for _, protocol := range []uint64{0, unix.IPPROTO_TCP} {
				allow("socket", is(0, family), is(1, unix.SOCK_STREAM|flags), is(2, protocol))
			}
		}
	}
	absent := seccomp.SyscallGroup{Action: seccomp.ActionErrno | seccomp.Action(unix.ENOSYS), Names: known(table, absentCalls())}
	return seccomp.Policy{DefaultAction: seccomp.ActionErrno, Syscalls: []seccomp.SyscallGroup{allowed, absent}}
}

// ioprioWhoProcess is IOPRIO_WHO_PROCESS, which x/sys/unix does not have.
const ioprioWhoProcess = 1

// known returns the calls that a machine has.
func known(table *arch.Info, names []string) []string {
	var out []string
	for _, name := range names {
		if _, ok := table.SyscallNames[name]; ok {
			out = append(out, name)
		}
	}
	return out
}
