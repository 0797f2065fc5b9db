// SPDX-License-Identifier: Apache-2.0

package neo4j

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"
)

// passwordPlaces says where programs take the password from.
const passwordPlaces = "give it in $WEIR_NEO4J_PASSWORD or with --password-file"

// schemes are the forms of URIs that name a database, and what they mean: neo4j
// asks the server for the members of its cluster, bolt talks to one server; s
// wants TLS, ssc TLS with any certificate.
func schemes() []string {
	return []string{"neo4j", "neo4j+s", "neo4j+ssc", "bolt", "bolt+s", "bolt+ssc"}
}

// IsURI reports whether the name of a store is that of a Neo4j database rather
// than that of a directory.
func IsURI(name string) bool {
	scheme, _, ok := strings.Cut(name, "://")
	scheme = strings.ToLower(scheme)
	return ok && (strings.HasPrefix(scheme, "neo4j") || strings.HasPrefix(scheme, "bolt"))
}

// target is what a URI names.
type target struct {
	scheme, user, host, database string
}

// parseURI takes a URI apart. No error repeats what may be a password.
func parseURI(uri string) (*target, error) {
	scheme, rest, ok := strings.Cut(uri, "://")
	scheme = strings.ToLower(scheme)
	known := false
	for _, s := range schemes() {
		known = known || s == scheme
	}
	if !ok || !known {
		return nil, fmt.Errorf("the URI of a database begins with one of %s, each followed by ://", strings.Join(schemes(), ", "))
	}
	t := &target{scheme: scheme, user: "neo4j"}
	// A password may hold anything, a slash too: so look for its end first.
	if i := strings.LastIndexByte(rest, '@'); i >= 0 {
		user, err := url.PathUnescape(rest[:i])
		switch {
		case strings.Contains(rest[:i], ":"):
			return nil, errors.New("there is a password in the URI, where others see it: " + passwordPlaces)
		case err != nil || user == "" || strings.ContainsAny(rest[:i], "/?#"):
			return nil, errors.New("what stands before @ in the URI is not a user")
		}
		t.user, rest = user, rest[i+1:]
	}
	if strings.ContainsAny(rest, "?#") {
		return nil, errors.New("a URI with ? or # is not supported: expected " + scheme + "://user@host:port/database")
	}
	host, database, _ := strings.Cut(rest, "/")
	t.database = strings.TrimSuffix(database, "/")
	if !validDatabase(t.database) {
		return nil, fmt.Errorf("%q is not the name of a database: expected letters, digits, dots and dashes", t.database)
	}
	if strings.EqualFold(t.database, "system") {
		return nil, errors.New("the database system is the server's own: name another one, or none for the user's default")
	}
	name, port, err := net.SplitHostPort(host)
	if err != nil {
		// Without a port; an IPv6 address stands in brackets.
		name, port = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]"), "7687"
		if strings.Contains(name, ":") && !strings.HasPrefix(host, "[") {
			return nil, fmt.Errorf("%q is not host:port (an IPv6 address stands in brackets)", host)
		}
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return nil, fmt.Errorf("%q is not a port", port)
	}
	if name == "" || strings.ContainsAny(name, "[]% \t") {
		return nil, fmt.Errorf("%q is not the name of a host", name)
	}
	t.host = net.JoinHostPort(name, port)
	return t, nil
}

// validDatabase reports whether a name can be that of a database; the empty one
// means the user's home database.
func validDatabase(name string) bool {
	for _, c := range []byte(name) {
		letter := 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
		if !letter && (c < '0' || c > '9') && c != '.' && c != '-' {
			return false
		}
	}
	return true
}

// server returns the URI as the driver wants it.
func (t *target) server() string { return t.scheme + "://" + t.host }

// routing reports whether the server is asked for the members of its cluster.
func (t *target) routing() bool { return strings.HasPrefix(t.scheme, "neo4j") }

// tls reports whether connections are encrypted.
func (t *target) tls() bool { return strings.Contains(t.scheme, "+") }

// String returns the URI in its canonical form.
func (t *target) String() string {
	s := t.scheme + "://" + url.PathEscape(t.user) + "@" + t.host
	if t.database != "" {
		s += "/" + t.database
	}
	return s
}
