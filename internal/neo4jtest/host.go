// SPDX-License-Identifier: Apache-2.0

package neo4jtest

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
)

// Host keeps a server for tests that take turns at it. Each connects to a socket
// and says its process and name; when it is its turn it learns how to reach the
// server, and when it closes the connection its turn is over.
type Host struct {
	dir      string
	listener net.Listener
	// turn holds a token while nobody has the server.
	turn chan struct{}
	// closing is closed when no more turns are given.
	closing chan struct{}
	wg      sync.WaitGroup

	// once guards the start; then proc or err is set.
	once sync.Once
	proc *process
	err  error

	// mu guards holder, who has the server, and how many connections of it and its
	// subtests there are.
	mu     sync.Mutex
	holder string
	conns  map[net.Conn]bool
}

// NewHost returns a Host. It starts the server when it is asked for.
func NewHost() (*Host, error) {
	dir, err := os.MkdirTemp("", "weir-neo4j-")
	if err != nil {
		return nil, err
	}
	l, err := net.Listen("unix", filepath.Join(dir, "socket"))
	if err != nil {
		return nil, err
	}
	h := &Host{
		dir: dir, listener: l, turn: make(chan struct{}, 1), closing: make(chan struct{}), // one has the server
		conns: map[net.Conn]bool{},
	}
	h.turn <- struct{}{}
	h.wg.Go(h.accept)
	return h, nil
}

// Socket returns what SharedEnv is set to.
func (h *Host) Socket() string { return h.listener.Addr().String() }

// Start starts the server, if it has not been started, and waits until it answers.
func (h *Host) Start() error {
	h.once.Do(func() { h.proc, h.err = start(h.dir, "") })
	return h.err
}

// Close ends the server and all turns.
func (h *Host) Close() {
	close(h.closing)
	h.listener.Close()
	h.mu.Lock()
	for c := range h.conns {
		c.Close()
	}
	h.mu.Unlock()
	h.wg.Wait()
	h.once.Do(func() {}) // waits for a start that goes on
	if h.proc != nil {
		h.proc.kill() // nobody wants its data any more
	}
	os.RemoveAll(h.dir)
}

// accept serves all connections.
func (h *Host) accept() {
	for {
		conn, err := h.listener.Accept()
		if err != nil {
			return // closed
		}
		h.mu.Lock()
		h.conns[conn] = true
		h.mu.Unlock()
		h.wg.Go(func() {
			h.serve(conn)
			h.mu.Lock()
			delete(h.conns, conn)
			h.mu.Unlock()
			conn.Close()
		})
	}
}

// serve gives one test its turn.
func (h *Host) serve(conn net.Conn) {
	r := bufio.NewReader(conn)
	name, err := r.ReadString('\n')
	if err != nil {
		return
	}
	name = strings.TrimSuffix(name, "\n")
	h.mu.Lock()
	inside := h.holder != "" && strings.HasPrefix(name+"/", h.holder+"/")
	h.mu.Unlock()
	if !inside {
		// One that goes away while it waits gets its turn, and ends it at once.
		select {
		case <-h.turn:
		case <-h.closing:
			return
		}
		h.setHolder(name)
		defer func() {
			h.setHolder("")
			h.turn <- struct{}{}
		}()
	}
	reply := ""
	if err := h.Start(); err != nil {
		reply = "failed " + strings.ReplaceAll(err.Error(), "\n", "\x00")
	} else {
		reply = "ready " + h.proc.addr + " " + h.proc.password
	}
	if _, err := fmt.Fprintln(conn, reply); err != nil {
		return
	}
	_, _ = r.ReadByte() // until the connection is closed
}

func (h *Host) setHolder(name string) {
	h.mu.Lock()
	h.holder = name
	h.mu.Unlock()
}
