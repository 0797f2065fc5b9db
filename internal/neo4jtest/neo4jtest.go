// SPDX-License-Identifier: Apache-2.0

// Package neo4jtest starts real Neo4j servers for tests: Start one of the test's
// own, Shared one that all tests take turns at. A server ends with the process
// that started it, even if that is killed.
package neo4jtest

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// SharedEnv names the environment variable that holds the folder of a server that
// runs for several test processes, as `make test` sets it.
const SharedEnv = "WEIR_NEO4J_SHARED"

// Server is a Neo4j server on loopback. Its methods fail the test that it was made
// for if they cannot do what they say.
type Server struct {
	tb       testing.TB
	addr     string
	password string
	// proc is nil where the server belongs to another process.
	proc *Process
	own  bool
}

// Start starts a server of the test's own with an empty database, and ends it
// with the test.
func Start(tb testing.TB) *Server {
	tb.Helper()
	dir, err := os.MkdirTemp("", "weir-neo4j-")
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { os.RemoveAll(dir) })
	p, err := Run(dir)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(p.Stop)
	return &Server{tb: tb, addr: p.Addr(), password: p.Password(), proc: p, own: true}
}

// Main runs the tests of a package and then ends the server that they shared, if
// they started one. TestMain of a package that uses Shared calls it:
//
//	func TestMain(m *testing.M) { os.Exit(neo4jtest.Main(m)) }
//
// Without it the server ends with the process just the same, but leaves its folder.
func Main(m *testing.M) int {
	code := m.Run()
	shared.mu.Lock()
	defer shared.mu.Unlock()
	if shared.proc != nil {
		shared.proc.Kill() // nobody wants its data any more
		os.RemoveAll(shared.proc.dir)
		shared.proc = nil
	}
	return code
}

// shared is the server of this process. That it outlives the tests is its purpose.
var shared struct {
	mu   sync.Mutex
	proc *Process
	// holder is the name of the test that has the server.
	holder string
}

// Shared returns the server that the tests of this process share, or that `make
// test` runs for those of all packages. The caller has it for itself until its
// test ends; subtests of the caller get the same one, and must not use it in
// parallel. What other tests left is in the database: empty it first.
func Shared(tb testing.TB) *Server {
	tb.Helper()
	s, dir, err := sharedServer()
	if err != nil {
		tb.Fatal(err)
	}
	s.tb = tb
	shared.mu.Lock()
	inside := shared.holder != "" && strings.HasPrefix(tb.Name(), shared.holder+"/")
	shared.mu.Unlock()
	if inside {
		return s
	}
	lock, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		tb.Fatal(err)
	}
	for {
		// Of one process, too, only one open file has the lock.
		err = syscall.Flock(int(lock.Fd()), syscall.LOCK_EX)
		if !errors.Is(err, syscall.EINTR) {
			break
		}
	}
	if err != nil {
		tb.Fatalf("lock the shared server: %v", err)
	}
	shared.mu.Lock()
	shared.holder = tb.Name()
	shared.mu.Unlock()
	tb.Cleanup(func() {
		shared.mu.Lock()
		shared.holder = ""
		shared.mu.Unlock()
		lock.Close()
	})
	return s
}

// sharedServer returns the server and its folder, and starts one if there is none.
func sharedServer() (*Server, string, error) {
	if dir := os.Getenv(SharedEnv); dir != "" {
		addr, password, err := await(dir, startTimeout)
		if err != nil {
			return nil, "", fmt.Errorf("the server that %s names: %w", SharedEnv, err)
		}
		return &Server{addr: addr, password: password}, dir, nil
	}
	shared.mu.Lock()
	defer shared.mu.Unlock()
	if shared.proc == nil {
		dir, err := os.MkdirTemp("", "weir-neo4j-")
		if err != nil {
			return nil, "", err
		}
		p, err := Run(dir)
		if err != nil {
			os.RemoveAll(dir)
			return nil, "", err
		}
		shared.proc = p
	}
	p := shared.proc
	return &Server{addr: p.Addr(), password: p.Password(), proc: p}, p.dir, nil
}

// URI returns how to reach the server, as bolt://neo4j@127.0.0.1:7687.
func (s *Server) URI() string { return "bolt://neo4j@" + s.addr }

// Addr returns the host and port.
func (s *Server) Addr() string { return s.addr }

// Password returns the password of the user in the URI.
func (s *Server) Password() string { return s.password }

// process returns the process of a server of the test's own.
func (s *Server) process() *Process {
	s.tb.Helper()
	if !s.own {
		s.tb.Fatal("other tests share this server: use Start")
	}
	return s.proc
}

// Kill ends the server at once, as kill -9 does.
func (s *Server) Kill() {
	s.tb.Helper()
	s.process().Kill()
}

// Restart starts a server that was killed again, with the same data at the same
// port, and waits until it answers.
func (s *Server) Restart() {
	s.tb.Helper()
	if err := s.process().start(); err != nil {
		s.tb.Fatal(err)
	}
}

// Pause stops the server, Resume lets it go on.
func (s *Server) Pause() {
	s.tb.Helper()
	s.signal(syscall.SIGSTOP)
}

// Resume lets a server go on that was stopped.
func (s *Server) Resume() {
	s.tb.Helper()
	s.signal(syscall.SIGCONT)
}

func (s *Server) signal(sig syscall.Signal) {
	s.tb.Helper()
	if err := s.process().cmd.Process.Signal(sig); err != nil {
		s.tb.Fatalf("send the server %v: %v", sig, err)
	}
}

// startTimeout is far above what a start takes (8 s, four times that where many
// tests run).
const startTimeout = 3 * time.Minute
