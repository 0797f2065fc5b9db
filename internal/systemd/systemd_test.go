// SPDX-License-Identifier: Apache-2.0

package systemd_test

import (
	"context"
	"net"
	"path/filepath"
	"regexp"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"weir/internal/systemd"
)

// manager listens as a service manager does.
func manager(t *testing.T) *net.UnixConn {
	t.Helper()
	name := filepath.Join(t.TempDir(), "notify")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: name, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	t.Setenv("NOTIFY_SOCKET", name)
	return conn
}

// receive returns the next message, "" if none comes in time.
func receive(t *testing.T, conn *net.UnixConn, limit time.Duration) string {
	t.Helper()
	if err := conn.SetReadDeadline(time.Now().Add(limit)); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 512)
	n, err := conn.Read(buf)
	if err != nil {
		return ""
	}
	return string(buf[:n])
}

func TestNotify(t *testing.T) {
	conn := manager(t)
	for _, tc := range []struct {
		name string
		send func() error
		want string
	}{
		{"ready", func() error { return systemd.Ready("reading eth0") }, `READY=1\nSTATUS=reading eth0`},
		{"reloading", systemd.Reloading, `RELOADING=1\nMONOTONIC_USEC=[0-9]+`},
		{"status", func() error { return systemd.Status("two\nREADY=1\tlines") }, `STATUS=two READY=1 lines`},
		{"stopping", func() error { return systemd.Stopping("signal") }, `STOPPING=1\nSTATUS=signal`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if err := tc.send(); err != nil {
				t.Fatal(err)
			}
			if got := receive(t, conn, 5*time.Second); !regexp.MustCompile("^(" + tc.want + ")$").MatchString(got) {
				t.Errorf("message %q, want %s", got, tc.want)
			}
		})
	}
}

// A service manager that does not receive what it is told does not keep the
// service from going on.
func TestStuckManager(t *testing.T) {
	manager(t)
	failed := false
	began := time.Now()
	for i := 0; i < 10_000 && !failed; i++ { // the kernel's queue ends somewhere
		failed = systemd.Status("still here") != nil
	}
	if took := time.Since(began); !failed || took > 5*time.Second {
		t.Errorf("failed = %v after %v, want an error about a second after the queue is full", failed, took)
	}
}

func TestNoManager(t *testing.T) {
	t.Setenv("NOTIFY_SOCKET", "")
	t.Setenv("WATCHDOG_USEC", "")
	if err := systemd.Ready("ready"); err != nil {
		t.Errorf("Ready() = %v", err)
	}
	if err := systemd.Watchdog(t.Context(), func() bool { t.Error("alive is asked"); return true }); err != nil {
		t.Errorf("Watchdog() = %v", err)
	}
	t.Setenv("NOTIFY_SOCKET", filepath.Join(t.TempDir(), "gone"))
	if err := systemd.Ready("ready"); err == nil {
		t.Error("Ready() without the manager's socket succeeds")
	}
	t.Setenv("WATCHDOG_USEC", "soon")
	if err := systemd.Watchdog(t.Context(), nil); err == nil {
		t.Error("Watchdog() with a bad interval succeeds")
	}
}

// The watchdog is fed while there is progress, and only then.
func TestWatchdog(t *testing.T) {
	conn := manager(t)
	const interval = 300 * time.Millisecond
	t.Setenv("WATCHDOG_USEC", strconv.FormatInt(interval.Microseconds(), 10))
	var alive atomic.Bool
	alive.Store(true)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- systemd.Watchdog(ctx, alive.Load) }()
	for range 3 {
		if got := receive(t, conn, 5*time.Second); got != "WATCHDOG=1" {
			t.Errorf("message %q, want a sign of life", got)
		}
	}
	alive.Store(false)
	receive(t, conn, interval/2) // one may have been under way
	if got := receive(t, conn, 3*interval); got != "" {
		t.Errorf("message %q without progress", got)
	}
	alive.Store(true)
	if got := receive(t, conn, 5*time.Second); got != "WATCHDOG=1" {
		t.Errorf("message %q, want a sign of life", got)
	}
	cancel()
	if err := <-done; err != nil {
		t.Errorf("Watchdog() = %v", err)
	}
}
