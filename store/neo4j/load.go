// SPDX-License-Identifier: Apache-2.0

package neo4j

import (
	"context"
	"log/slog"

	"weir/store/lake"
)

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
