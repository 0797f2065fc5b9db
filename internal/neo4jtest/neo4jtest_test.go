// SPDX-License-Identifier: Apache-2.0

package neo4jtest_test

import (
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"weir/internal/neo4jtest"
)

func TestMain(m *testing.M) { os.Exit(neo4jtest.Main(m)) }

// answers reports whether a Bolt handshake succeeds within a time.
func answers(t *testing.T, addr string, within time.Duration) bool {
	t.Helper()
	conn, err := net.DialTimeout("tcp", addr, within)
	if err != nil {
		return false
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(within)); err != nil {
		t.Fatal(err)
	}
	hello := append([]byte{0x60, 0x60, 0xb0, 0x17, 0, 0, 0, 5}, make([]byte, 12)...)
	if _, err := conn.Write(hello); err != nil {
		return false
	}
	var version [4]byte
	n, err := conn.Read(version[:])
	return err == nil && n == 4 && version[3] == 5
}

func TestLife(t *testing.T) {
	s := neo4jtest.Start(t)
	if !strings.HasPrefix(s.URI(), "bolt://neo4j@127.0.0.1:") || s.Password() == "" {
		t.Errorf("URI %q, password of %d bytes", s.URI(), len(s.Password()))
	}
	if !answers(t, s.Addr(), 10*time.Second) {
		t.Fatal("a server that was started does not answer")
	}
	s.Pause()
	if answers(t, s.Addr(), 500*time.Millisecond) {
		t.Error("a paused server answers")
	}
	s.Resume()
	if !answers(t, s.Addr(), 10*time.Second) {
		t.Error("a server that goes on does not answer")
	}
	addr := s.Addr()
	s.Kill()
	if answers(t, addr, time.Second) {
		t.Error("a killed server answers")
	}
	s.Restart()
	if s.Addr() != addr {
		t.Errorf("restarted at %s, was at %s", s.Addr(), addr)
	}
	if !answers(t, addr, 10*time.Second) {
		t.Error("a restarted server does not answer")
	}
}

func TestShared(t *testing.T) {
	a := neo4jtest.Shared(t)
	t.Run("inside", func(t *testing.T) {
		if b := neo4jtest.Shared(t); b.Addr() != a.Addr() {
			t.Errorf("a subtest got another server: %s, not %s", b.Addr(), a.Addr())
		}
	})
	if !answers(t, a.Addr(), 10*time.Second) {
		t.Error("it does not answer")
	}
}

func TestTurns(t *testing.T) {
	var running atomic.Int32
	t.Run("group", func(t *testing.T) {
		for range 4 {
			t.Run("one", func(t *testing.T) {
				t.Parallel()
				neo4jtest.Shared(t)
				if running.Add(1) > 1 {
					t.Error("two tests have the server at a time")
				}
				runtime.Gosched()
				running.Add(-1)
			})
		}
	})
}

func TestStartFails(t *testing.T) {
	t.Setenv("PATH", t.TempDir()) // without Java, and all else
	h, err := neo4jtest.NewHost()
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	if err := h.Start(); err == nil || !strings.Contains(err.Error(), "not found") {
		t.Errorf("start without Java: %v, want what the shell says", err)
	}
	if _, err := os.Stat(h.Socket()); err != nil {
		t.Error(err)
	}
}

// TestEndsWithParent runs itself in a process that starts a server, stops it, and
// is killed.
func TestEndsWithParent(t *testing.T) {
	if os.Getenv("NEO4JTEST_CHILD") != "" {
		s := neo4jtest.Start(t)
		s.Pause()
		fmt.Println("addr", s.Addr())
		os.Stdout.Close()
		select {} // until we are killed
	}
	if testing.Short() {
		t.Skip("needs a Neo4j server: not with -short")
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestEndsWithParent$")
	cmd.Env = append(os.Environ(), "NEO4JTEST_CHILD=1", "TMPDIR="+t.TempDir())
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(out)
	if err != nil {
		t.Fatal(err)
	}
	addr, ok := strings.CutPrefix(strings.TrimSpace(string(text)), "addr ")
	if !ok {
		t.Fatalf("the child says %q", text)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // killed
	// Its port is free again once it has ended.
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			return
		}
		conn.Close()
		if time.Now().After(deadline) {
			t.Fatal("the server outlives the process that started it")
		}
	}
}
