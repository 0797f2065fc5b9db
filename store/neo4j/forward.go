// SPDX-License-Identifier: Apache-2.0

package neo4j

import (
	"context"
	"log/slog"
	"time"

	"weir/store/lake"
)

// ForwardConfig configures a Forwarder.
type ForwardConfig struct {
	// Spool is where parts wait. Nobody else may take parts away from it.
	Spool *lake.Lake
	// MaxBytes bounds the spool: beyond it the oldest parts are dropped, and
	// counted (default 10 GB).
	MaxBytes int64
	// Logger receives outages and what was dropped; nil discards.
	Logger *slog.Logger
}

// Forwarder sends the parts of a spool, in order, each exactly once.
type Forwarder struct{}

// ForwardStats says what a Forwarder has done and what waits.
type ForwardStats struct {
	// Backlog is what waits in the spool.
	Backlog Backlog
	// Parts, Connections and Intel were sent; Flows is how many updates of flows
	// that were.
	Parts, Connections, Intel, Flows int64
	// Retries counts transactions that were tried again.
	Retries int64
	// Dropped records left the spool because it was full.
	Dropped lake.Records
	// Err is what keeps the forwarder from sending, nil if nothing does.
	Err error
	// Last is when a chunk was taken for the last time.
	Last time.Time
}

// Backlog is what waits in a spool.
type Backlog struct {
	Parts       int64 `json:"parts"`
	Connections int64 `json:"connections"`
	Intel       int64 `json:"intel"`
	Bytes       int64 `json:"bytes"`
	// Oldest is when the oldest part came in; zero if none waits.
	Oldest time.Time `json:"oldest,omitzero"`
}

// SpoolBacklog returns what waits in the spool at a path.
func SpoolBacklog(path string) (Backlog, error) { panic(errSkeleton) }

// NewForwarder returns a Forwarder; Run or Drain does the work.
func (d *DB) NewForwarder(cfg ForwardConfig) (*Forwarder, error) { panic(errSkeleton) }

// Run sends what comes into the spool until ctx is done. It returns an error only
// for what waiting does not mend.
func (f *Forwarder) Run(ctx context.Context) error { panic(errSkeleton) }

// Drain sends what is in the spool and returns when it is empty.
func (f *Forwarder) Drain(ctx context.Context) error { panic(errSkeleton) }

// Wake makes Run look into the spool now.
func (f *Forwarder) Wake() { panic(errSkeleton) }

// Stats returns the counters. It is safe for concurrent use.
func (f *Forwarder) Stats() ForwardStats { panic(errSkeleton) }

// Imports returns what was read into the database, whole.
func (d *DB) Imports(ctx context.Context) ([]lake.Import, error) { panic(errSkeleton) }

// LoadConfig configures Load.
type LoadConfig struct {
	// Progress is called with the number of rows sent, and of all, now and then.
	Progress func(sent, all int64)
	Logger   *slog.Logger
}

// LoadStats says what Load did.
type LoadStats struct {
	// Imports and Parts were sent, Known imports were in the database already.
	Imports, Known, Parts     int64
	Connections, Intel, Flows int64
	// Resumed says that an earlier Load was interrupted, and went on.
	Resumed bool
}

// Load sends what is in a lake. It sends a snapshot of the lake, which stays the
// same if Load is interrupted and called again.
func (d *DB) Load(ctx context.Context, l *lake.Lake, cfg LoadConfig) (LoadStats, error) {
	panic(errSkeleton)
}
