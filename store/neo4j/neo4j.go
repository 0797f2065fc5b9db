// SPDX-License-Identifier: Apache-2.0

// Package neo4j keeps flows in a Neo4j server, as a graph of hosts, flows and
// what is known about them. docs/neo4j.md describes the graph. Records come in
// through a spool, a lake of their own, whose parts a Forwarder sends in chunks:
// neither an outage nor a kill loses or doubles any.
package neo4j

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/neo4j/neo4j-go-driver/v5/neo4j"

	"weir/store"
)

// Config says how a server is reached. The zero value means the defaults.
type Config struct {
	// Password is that of the user in the URI.
	Password string
	// ConnectTimeout bounds how long Open waits for the server (default 10 s).
	ConnectTimeout time.Duration
	// QueryTimeout bounds each query (default 10 minutes).
	QueryTimeout time.Duration
	// Create makes the schema where the database has none.
	Create bool
	// Precision is the width of the timeline's slots where the schema is made, in
	// whole seconds (default one hour).
	Precision time.Duration
	// Logger receives retries; nil discards.
	Logger *slog.Logger
}

// DB is a database. It is safe for concurrent use.
type DB struct {
	driver neo4j.DriverWithContext
	log    *slog.Logger
}

var _ store.Reader = (*DB)(nil)

var errSkeleton = errors.New("skeleton")

// IsURI reports whether the name of a store is that of a Neo4j database rather
// than that of a directory.
func IsURI(name string) bool { panic(errSkeleton) }

// Open connects to the database that uri names, as
// neo4j://user@host:7687/database, and checks its version and schema.
func Open(ctx context.Context, uri string, cfg Config) (*DB, error) { panic(errSkeleton) }

// OpenLazy is Open, except that a server that cannot be reached is no error: it
// is checked when it answers.
func OpenLazy(ctx context.Context, uri string, cfg Config) (*DB, error) { panic(errSkeleton) }

// Outage reports whether an error means that the server cannot be reached for
// now, rather than that something is wrong that waiting does not mend.
func Outage(err error) bool { panic(errSkeleton) }

// Location returns the URI of the database, without secrets.
func (d *DB) Location() string { panic(errSkeleton) }

// Close ends the connections.
func (d *DB) Close() error { panic(errSkeleton) }

// Init makes the schema where there is none.
func (d *DB) Init(ctx context.Context) error { panic(errSkeleton) }

// EnsureIndexes makes the constraints and indexes that are missing, and waits
// until they are there.
func (d *DB) EnsureIndexes(ctx context.Context) error { panic(errSkeleton) }

// Purge removes everything that weir keeps in the database, in batches, and
// makes the schema anew. progress is called with the number of nodes removed so
// far; it may be nil.
func (d *DB) Purge(ctx context.Context, progress func(nodes int64)) error { panic(errSkeleton) }

// Expired says what Expire removed, or would remove.
type Expired struct {
	Flows  int64     `json:"flows"`
	Intel  int64     `json:"intel"`
	Hosts  int64     `json:"hosts"`
	Newest time.Time `json:"newest"`
}

// Expire removes the flows that were seen before a time for the last time, then
// intel and hosts that belong to no flow any more, in batches. With dryRun it
// only counts the flows.
func (d *DB) Expire(ctx context.Context, before time.Time, dryRun bool) (Expired, error) {
	panic(errSkeleton)
}
