// SPDX-License-Identifier: Apache-2.0

// Package nettest runs tests in a network of their own, with interfaces that they
// make and send on. Nothing of it touches the host's network.
package nettest

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
)

// Variable must be set for tests that want a network of their own: they need root
// and iproute2.
const Variable = "WEIR_TEST_NETNS"

// childVariable tells a test that it runs in its own network.
const childVariable = "WEIR_NETNS_CHILD"

// Isolated runs the calling test again in a process with a network of its own. It
// reports whether this is that process; otherwise the test is over and the caller
// returns. The caller must not be a subtest.
//
//	if !nettest.Isolated(t) {
//		return
//	}
func Isolated(t *testing.T) bool {
	t.Helper()
	if os.Getenv(childVariable) != "" {
		Sysctl(t, "net/ipv6/conf/all/disable_ipv6", "1")
		Sysctl(t, "net/ipv6/conf/default/disable_ipv6", "1")
		IP(t, "link", "set", "lo", "up")
		return true
	}
	if os.Getenv(Variable) == "" {
		t.Skipf("needs root and a network of its own: set %s", Variable)
	}
	args := []string{"-test.run=^" + regexp.QuoteMeta(t.Name()) + "$", "-test.v", "-test.count=1"}
	for _, a := range os.Args[1:] {
		if strings.HasPrefix(a, "-test.timeout") || a == "-test.short" || strings.HasPrefix(a, "-test.short=") ||
			strings.HasPrefix(a, "-test.cpuprofile") {
			args = append(args, a)
		}
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self, args...)
	cmd.Env = append(os.Environ(), childVariable+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWNS}
	out, err := cmd.CombinedOutput()
	t.Logf("in a network of its own:\n%s", out)
	if err != nil {
		t.Fatalf("run in a network of its own: %v", err)
	}
	if !bytes.Contains(out, []byte("--- PASS: "+t.Name())) {
		t.Fatalf("the test did not pass in a network of its own")
	}
	return false
}

// IP runs ip(8).
func IP(t *testing.T, args ...string) {
	t.Helper()
	if out, err := exec.CommandContext(t.Context(), ipCommand(), args...).CombinedOutput(); err != nil {
		t.Fatalf("ip %s: %v: %s", strings.Join(args, " "), err, out)
	}
}

// ipCommand finds ip(8), which is not in everybody's path.
func ipCommand() string {
	if path, err := exec.LookPath("ip"); err == nil {
		return path
	}
	return "/usr/sbin/ip"
}

// Sysctl sets a kernel parameter of the test's network, named like its file.
func Sysctl(t *testing.T, name, value string) {
	t.Helper()
	err := os.WriteFile(filepath.Join("/proc/sys", name), []byte(value), 0o644)
	if err != nil && !os.IsNotExist(err) { // a kernel without IPv6
		t.Fatal(err)
	}
}

// Pair makes two interfaces with these names, connected with each other and up.
func Pair(t *testing.T, a, b string) {
	t.Helper()
	IP(t, "link", "add", a, "type", "veth", "peer", "name", b)
	for _, name := range []string{a, b} {
		// Nothing but the test sends on them.
		IP(t, "link", "set", name, "arp", "off")
		IP(t, "link", "set", name, "up")
	}
}

// Frame fills buf with an Ethernet frame of a UDP datagram over IPv4, as long as
// buf is (at least 42 bytes). Its source is the number n: the lower 16 bits are
// the port, the upper ones are in the address.
func Frame(buf []byte, n uint32, dport uint16) {
	if len(buf) < 42 {
		panic(fmt.Sprintf("nettest: a frame of %d bytes", len(buf)))
	}
	copy(buf, []byte{2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0})
	ip, size := buf[14:], len(buf)-14
	copy(ip, []byte{
		0x45, 0, byte(size >> 8), byte(size), 0, 0, 0x40, 0, 64, 17, 0, 0,
		10, 1, byte(n >> 24), byte(n >> 16), 10, 2, 0, 1,
	})
	sum := uint32(0)
	for i := 0; i < 20; i += 2 {
		sum += uint32(ip[i])<<8 | uint32(ip[i+1])
	}
	sum = sum>>16 + sum&0xffff
	sum = ^(sum>>16 + sum&0xffff)
	ip[10], ip[11] = byte(sum>>8), byte(sum)
	size -= 20
	// A checksum of 0 is none.
	copy(ip[20:], []byte{byte(n >> 8), byte(n), byte(dport >> 8), byte(dport), byte(size >> 8), byte(size), 0, 0})
}

// Privileged returns a function that runs ip(8) in a process that was started by
// this call, so that it works after the test has given up its privileges.
func Privileged(t *testing.T) func(args ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), ipCommand(), "-force", "-batch", "-")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return func(args ...string) {
		t.Helper()
		if _, err := fmt.Fprintln(in, strings.Join(args, " ")); err != nil {
			t.Fatal(err)
		}
	}
}
