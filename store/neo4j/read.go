// SPDX-License-Identifier: Apache-2.0

package neo4j

import (
	"context"
	"errors"
	"iter"

	"weir/store"
)

var errSkeleton = errors.New("skeleton")

// Flows implements store.FlowLister.
func (d *DB) Flows(ctx context.Context, q store.Query) iter.Seq2[*store.Flow, error] {
	panic(errSkeleton)
}

// Counts implements store.Counter.
func (d *DB) Counts(ctx context.Context, q store.Query) (store.Counts, error) { panic(errSkeleton) }

// Top implements store.Ranker.
func (d *DB) Top(ctx context.Context, q store.TopQuery) ([]store.TopRow, error) { panic(errSkeleton) }

// Status implements store.Reporter.
func (d *DB) Status(ctx context.Context) (*store.Status, error) { panic(errSkeleton) }
