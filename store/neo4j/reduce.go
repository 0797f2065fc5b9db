// SPDX-License-Identifier: Apache-2.0

package neo4j

import (
	"context"
	"time"

	"weir/internal/filter"
)

// Reduced says what ReducePrecision did.
type Reduced struct {
	Flows  int64         `json:"flows"`
	Before time.Duration `json:"before"`
	After  time.Duration `json:"after"`
}

// ReducePrecision makes the slots of the timeline wider: a multiple of what they
// are. Of every flow it aligns the slots anew, each once.
func (d *DB) ReducePrecision(ctx context.Context, precision time.Duration, progress func(flows int64)) (Reduced, error) {
	panic(errSkeleton)
}

var _ = filter.And
