// SPDX-License-Identifier: Apache-2.0

package neo4j

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/neo4j/neo4j-go-driver/v5/neo4j"

	"weir/store"
)

// Kind says what is wrong.
type Kind string

// Kinds of errors. Waiting mends Unreachable and Server, and no other.
const (
	// Unreachable: no server answers, or the connection was lost. A transaction
	// whose end it concealed may have been committed.
	Unreachable Kind = "unreachable"
	// Server: the server answers, but says that it cannot do its work now.
	Server Kind = "server"
	// Auth: it does not accept user or password, or the user may not do that.
	Auth Kind = "auth"
	// Database: there is no such database, or something else is in it.
	Database Kind = "database"
	// NoStore: the database has no schema of weir.
	NoStore Kind = "no store"
	// Version: the server, or what is in it, is too old, too new, or not Neo4j.
	Version Kind = "version"
	// TLS: one side wants TLS and the other does not, or a certificate is not trusted.
	TLS Kind = "tls"
	// ReadOnly: this member of a cluster does not take writes.
	ReadOnly Kind = "read-only"
	// Timeout: the query took longer than it may.
	Timeout Kind = "timeout"
	// Memory: the query needs more memory than the server gives it; store.ErrMemory.
	Memory Kind = "memory"
	// Query: the server refuses the query.
	Query Kind = "query"
)

// Error is an error of the server or of the connection to it. Its text is one
// line and holds no secret.
type Error struct {
	Kind Kind
	// Location is the database's.
	Location string
	Msg      string
	// Err is the driver's error, nil if it is none.
	Err error
}

// Error implements error.
func (e *Error) Error() string { return e.Location + ": " + e.Msg }

// Unwrap returns the driver's error.
func (e *Error) Unwrap() error { return e.Err }

// Outage reports whether an error means that the server cannot be reached for
// now, rather than that something is wrong that waiting does not mend.
func Outage(err error) bool {
	e := new(Error)
	return errors.As(err, &e) && (e.Kind == Unreachable || e.Kind == Server)
}

// failure returns an *Error.
func (d *DB) failure(kind Kind, err error, msg string) error {
	return &Error{Kind: kind, Location: d.where.String(), Msg: msg, Err: err}
}

// explain turns an error of the driver into an *Error. ctx is the caller's: if it
// has ended, the error is its cause.
func (d *DB) explain(ctx context.Context, err error) error {
	own := new(Error)
	if err == nil || errors.As(err, &own) {
		return err
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if e := new(neo4j.Neo4jError); errors.As(err, &e) {
		return d.explainServer(e)
	}
	text := oneLine(err)
	// What the driver's own layers say; of the routing table's the rest names the server.
	text = strings.TrimPrefix(text, "ConnectivityError: ")
	if rest, ok := strings.CutPrefix(text, "Unable to retrieve routing table from "); ok {
		if _, inner, ok := strings.Cut(rest, ": "); ok {
			text = inner
		}
	}
	switch {
	case errors.Is(err, context.DeadlineExceeded), strings.Contains(text, context.DeadlineExceeded.Error()):
		return d.failure(Unreachable, err, "the server does not answer in time")
	case strings.Contains(text, "server responded HTTP"):
		return d.failure(Version, err, "this is a web server: expected the port of Bolt, which is 7687 by default")
	case strings.Contains(text, "x509:"):
		return d.failure(TLS, err, fmt.Sprintf("the server's certificate is not trusted (%s): set SSL_CERT_FILE to its "+
			"authority's certificate, or take %s+ssc to trust any", cutBefore(text, "x509:"), cutAfter(d.where.scheme, "+")))
	case d.where.tls() && (strings.Contains(text, "TLS") || strings.Contains(text, "tls:")):
		return d.failure(TLS, err, fmt.Sprintf("no TLS connection with the server (%s): if it has no TLS, take %s instead of %s",
			cutBefore(text, "tls:"), cutAfter(d.where.scheme, "+"), d.where.scheme))
	case !d.where.tls() && d.wantsTLS(ctx, text):
		return d.failure(TLS, err, fmt.Sprintf("the server wants TLS: take %s+s (or %s+ssc) instead of %s",
			d.where.scheme, d.where.scheme, d.where.scheme))
	case strings.Contains(text, "server did not accept any of the requested Bolt versions"),
		strings.Contains(text, "unsupported version"):
		return d.failure(Version, err, fmt.Sprintf("the server's version is too old, or it is not Neo4j: weir needs Neo4j %d.%d or newer",
			minMajor, minMinor))
	}
	if dns := new(net.DNSError); strings.Contains(text, "no such host") || errors.As(err, &dns) {
		return d.failure(Unreachable, err, "unknown host")
	}
	if strings.Contains(text, "connection refused") {
		return d.failure(Unreachable, err, "no server answers there (connection refused)")
	}
	return d.failure(Unreachable, err, "the connection failed: "+text)
}

// explainServer explains what the server said.
func (d *DB) explainServer(e *neo4j.Neo4jError) error {
	title := e.Code[strings.LastIndexByte(e.Code, '.')+1:]
	switch {
	case e.Code == "Neo.ClientError.Security.Unauthorized" && d.cfg.Password == "":
		return d.failure(Auth, e, fmt.Sprintf("the server wants a password of user %q, and none was given: %s", d.where.user, passwordPlaces))
	case e.Code == "Neo.ClientError.Security.Unauthorized":
		return d.failure(Auth, e, fmt.Sprintf("the server does not accept the password of user %q", d.where.user))
	case e.Code == "Neo.ClientError.Security.CredentialsExpired":
		return d.failure(Auth, e, fmt.Sprintf("the password of user %q has to be changed first", d.where.user))
	case e.Code == "Neo.ClientError.Security.AuthenticationRateLimit":
		return d.failure(Auth, e, "the server refuses more attempts for a while: the password was wrong too often")
	case strings.HasPrefix(e.Code, "Neo.ClientError.Security."):
		return d.failure(Auth, e, fmt.Sprintf("user %q may not do that (%s)", d.where.user, title))
	case title == "DatabaseNotFound":
		return d.failure(Database, e, fmt.Sprintf("there is no database %q", d.where.database))
	case title == "NotALeader" || title == "ForbiddenOnReadOnlyDatabase":
		if d.where.routing() {
			// Another member becomes the leader, and the driver finds it.
			return d.failure(Server, e, "no member of the cluster takes writes now")
		}
		return d.failure(ReadOnly, e, "this member of the cluster only reads: take neo4j:// instead of bolt://, which finds the one that writes")
	case strings.HasPrefix(title, "TransactionTimedOut"):
		return d.failure(Timeout, e, fmt.Sprintf("the query took longer than %v", d.cfg.QueryTimeout))
	case strings.HasSuffix(title, "OutOfMemoryError"):
		return d.failure(Memory, errors.Join(store.ErrMemory, e), store.ErrMemory.Error())
	case strings.HasPrefix(e.Code, "Neo.DatabaseError.Schema."):
		return d.failure(Database, e, fmt.Sprintf("%s (%s)", oneLine(errors.New(e.Msg)), title)) // what is there is against it
	case strings.HasPrefix(e.Code, "Neo.TransientError."), strings.HasPrefix(e.Code, "Neo.DatabaseError."):
		return d.failure(Server, e, fmt.Sprintf("%s (%s)", oneLine(errors.New(e.Msg)), e.Code))
	}
	return d.failure(Query, e, fmt.Sprintf("%s (%s)", oneLine(errors.New(e.Msg)), e.Code))
}

// constraintViolated reports whether a node was to be made that is there already.
func constraintViolated(err error) bool {
	e := new(neo4j.Neo4jError)
	return errors.As(err, &e) && e.Code == "Neo.ClientError.Schema.ConstraintValidationFailed"
}

// wantsTLS finds out why a server closed a connection without TLS.
func (d *DB) wantsTLS(ctx context.Context, text string) bool {
	suspicious := false
	for _, s := range []string{"EOF", "reset by peer", "broken pipe", "requested Bolt versions", "unsupported version"} {
		suspicious = suspicious || strings.Contains(text, s)
	}
	if !suspicious {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	dialer := tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true}} // #nosec G402 -- nothing is sent
	conn, err := dialer.DialContext(ctx, "tcp", d.where.host)
	if err != nil {
		return false
	}
	conn.Close()
	return true
}

// oneLine returns an error's text as one line of bounded length.
func oneLine(err error) string {
	text := strings.Join(strings.Fields(err.Error()), " ")
	if len(text) > 400 {
		text = strings.ToValidUTF8(text[:400], "") + "…"
	}
	return text
}

// cutBefore returns what follows the last sep, with sep, or all.
func cutBefore(s, sep string) string {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[i:]
	}
	return s
}

// cutAfter returns what stands before sep, or all.
func cutAfter(s, sep string) string {
	before, _, _ := strings.Cut(s, sep)
	return before
}
