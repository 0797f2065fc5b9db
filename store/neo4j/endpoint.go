// SPDX-License-Identifier: Apache-2.0

package neo4j

import (
	"fmt"
	"net"
	"strconv"
	"strings"
)

// Endpoint is where a URI says that a server listens, and its database there.
type Endpoint struct {
	Host string
	Port uint16
	// Database is its name, "" for the user's home database.
	Database string
	// TLS says that connections are encrypted, Routing that the server names the
	// members of its cluster, to which connections go, too.
	TLS, Routing bool
}

// String returns what makes the database another one: as host:7687/name.
func (e Endpoint) String() string {
	s := net.JoinHostPort(strings.ToLower(e.Host), strconv.Itoa(int(e.Port)))
	if e.Database != "" {
		s += "/" + strings.ToLower(e.Database)
	}
	return s
}

// ParseURI checks a URI, and returns what it names. No error repeats what
// may be a password.
func ParseURI(uri string) (Endpoint, error) {
	t, err := parseURI(uri)
	if err != nil {
		return Endpoint{}, err
	}
	host, text, err := net.SplitHostPort(t.host)
	if err != nil {
		return Endpoint{}, fmt.Errorf("%q is not host:port", t.host)
	}
	port, err := strconv.ParseUint(text, 10, 16)
	if err != nil {
		return Endpoint{}, fmt.Errorf("%q is not a port", text)
	}
	return Endpoint{Host: host, Port: uint16(port), Database: t.database, TLS: t.tls(), Routing: t.routing()}, nil
}
