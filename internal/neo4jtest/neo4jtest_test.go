// SPDX-License-Identifier: Apache-2.0

package neo4jtest_test

import (
	"net"
	"os"
	"strings"
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
