// SPDX-License-Identifier: Apache-2.0

package neo4j

import (
	"fmt"
	"net"
	"strconv"
)

// Endpoint is where a URI says that a server listens.
type Endpoint struct {
	Host string
	Port uint16
	// TLS says that connections are encrypted, Routing that the server names the
	// members of its cluster, to which connections go, too.
	TLS, Routing bool
}

// ParseURI checks a URI, and returns where the server is. No error repeats what
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
	return Endpoint{Host: host, Port: uint16(port), TLS: t.tls(), Routing: t.routing()}, nil
}
