// SPDX-License-Identifier: Apache-2.0

// Package neo4jtest starts real Neo4j servers for tests: Start one of the test's
// own, Shared one that all tests take turns at. A server ends with the process
// that started it, even if that is killed.
package neo4jtest

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
)

// SharedEnv names the environment variable that holds the socket where test
// processes ask for the server that they share.
const SharedEnv = "WEIR_NEO4J_SHARED"

// Server is a Neo4j server on loopback. Its methods fail the test that it was made
// for if they cannot do what they say.
type Server struct {
	tb       testing.TB
	addr     string
	password string
	// proc is nil where others use the server, too.
	proc *process
}

// Start starts a server of the test's own with an empty database, and ends it
// with the test.
func Start(tb testing.TB) *Server {
	tb.Helper()
	return own(tb, "")
}

// StartLarge is Start for a server that has enough memory, and compiles well enough, for
// a million flows.
func StartLarge(tb testing.TB) *Server {
	tb.Helper()
	return own(tb, "large")
}

func own(tb testing.TB, size string) *Server {
	tb.Helper()
	skipShort(tb)
	dir, err := os.MkdirTemp("", "weir-neo4j-")
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { os.RemoveAll(dir) })
	p, err := start(dir, size)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(p.kill) // nobody wants its data any more
	return &Server{tb: tb, addr: p.addr, password: p.password, proc: p}
}

// skipShort skips a test where tests shall be short: a start takes many seconds.
func skipShort(tb testing.TB) {
	tb.Helper()
	if testing.Short() {
		tb.Skip("needs a Neo4j server: not with -short")
	}
}

// M runs the tests of a package that uses Shared:
//
//	func TestMain(m *testing.M) { os.Exit(neo4jtest.M{M: m}.Run()) }
type M struct{ M interface{ Run() int } }

// Run runs the tests. A server starts when the first of them asks for it, unless
// there is one already, as in `make test`; it ends when the tests have.
func (m M) Run() int {
	if os.Getenv(SharedEnv) != "" {
		return m.M.Run()
	}
	host, err := NewHost()
	if err == nil {
		defer host.Close()
		err = os.Setenv(SharedEnv, host.Socket())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "neo4jtest:", err)
		return 1
	}
	return m.M.Run()
}

// Main is M{m}.Run().
func Main(m *testing.M) int { return M{M: m}.Run() }

// Shared returns the server that the tests of this process share, or that `make
// test` runs for those of all packages. The caller has it for itself until its
// test ends; subtests of the caller get the same one, and must not use it in
// parallel. What other tests left is in the database: empty it first.
func Shared(tb testing.TB) *Server {
	tb.Helper()
	skipShort(tb)
	socket := os.Getenv(SharedEnv)
	if socket == "" {
		tb.Fatal("TestMain must run the tests by neo4jtest.M")
	}
	conn, err := net.Dial("unix", socket)
	if err != nil {
		tb.Fatal(err)
	}
	// The connection is the lock: it ends with the test, or with the process.
	tb.Cleanup(func() { conn.Close() })
	var kind, a, b string
	if _, err = fmt.Fprintf(conn, "%d/%s\n", os.Getpid(), tb.Name()); err == nil {
		var line string
		line, err = bufio.NewReader(conn).ReadString('\n')
		kind, a, _ = strings.Cut(strings.TrimSuffix(line, "\n"), " ")
	}
	if err != nil {
		tb.Fatalf("ask for the shared server: %v", err)
	}
	if kind != "ready" {
		tb.Fatalf("the shared server: %s", strings.ReplaceAll(a, "\x00", "\n"))
	}
	a, b, _ = strings.Cut(a, " ")
	return &Server{tb: tb, addr: a, password: b}
}

// URI returns how to reach the server, as bolt://neo4j@127.0.0.1:7687.
func (s *Server) URI() string { return "bolt://neo4j@" + s.addr }

// Addr returns the host and port.
func (s *Server) Addr() string { return s.addr }

// Password returns the password of the user in the URI.
func (s *Server) Password() string { return s.password }

// own returns the process of a server of the test's own.
func (s *Server) own() *process {
	s.tb.Helper()
	if s.proc == nil {
		s.tb.Fatal("other tests share this server: use Start")
	}
	return s.proc
}

// Kill ends the server at once, as kill -9 does.
func (s *Server) Kill() {
	s.tb.Helper()
	s.own().kill()
}

// Restart starts a server that was killed again, with the same data at the same
// port, and waits until it answers.
func (s *Server) Restart() {
	s.tb.Helper()
	if err := s.own().start(); err != nil {
		s.tb.Fatal(err)
	}
}

// Pause stops the server and returns when it stands still. Resume lets it go on.
func (s *Server) Pause() {
	s.tb.Helper()
	s.signal(syscall.SIGSTOP)
	// Threads stop one by one.
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		stopped, err := s.own().stopped()
		if err != nil {
			s.tb.Fatal(err)
		}
		if stopped {
			return
		}
		if time.Now().After(deadline) {
			s.tb.Fatal("the server does not stop")
		}
	}
}

// Resume lets a server go on that was stopped.
func (s *Server) Resume() {
	s.tb.Helper()
	s.signal(syscall.SIGCONT)
}

func (s *Server) signal(sig syscall.Signal) {
	s.tb.Helper()
	if err := s.own().cmd.Process.Signal(sig); err != nil {
		s.tb.Fatalf("send the server %v: %v", sig, err)
	}
}
