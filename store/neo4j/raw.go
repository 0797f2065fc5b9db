// SPDX-License-Identifier: Apache-2.0

package neo4j

import (
	"context"

	"weir/store"
)

// Raw implements store.RawQuerier with Cypher, in a transaction that may only read.
func (d *DB) Raw(ctx context.Context, text string) (store.Rows, error) { panic(errSkeleton) }

// RawWrite runs Cypher that may change the database.
func (d *DB) RawWrite(ctx context.Context, text string) (store.Rows, error) { panic(errSkeleton) }
