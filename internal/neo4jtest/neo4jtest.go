// SPDX-License-Identifier: Apache-2.0

// Package neo4jtest starts real Neo4j servers for tests.
package neo4jtest

import "testing"

// Server is a Neo4j server on loopback.
type Server struct{}

// Start starts a server of the test's own with an empty database, and ends it
// with the test.
func Start(tb testing.TB) *Server { panic("skeleton") }

// Shared returns the server that the tests of this process share. The caller has
// it for itself until its test ends. What other tests left is in the database:
// empty it first.
func Shared(tb testing.TB) *Server { panic("skeleton") }

// URI returns how to reach the server, as bolt://neo4j@127.0.0.1:7687.
func (s *Server) URI() string { panic("skeleton") }

// Addr returns the host and port.
func (s *Server) Addr() string { panic("skeleton") }

// Password returns the password of the user in the URI.
func (s *Server) Password() string { panic("skeleton") }

// Kill ends the server at once, as kill -9 does.
func (s *Server) Kill() { panic("skeleton") }

// Restart starts a server that was killed again, with the same data at the same
// port, and waits until it answers.
func (s *Server) Restart() { panic("skeleton") }

// Pause stops the server, Resume lets it go on.
func (s *Server) Pause() { panic("skeleton") }

// Resume lets a server go on that was stopped.
func (s *Server) Resume() { panic("skeleton") }
