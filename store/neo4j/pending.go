// SPDX-License-Identifier: Apache-2.0

package neo4j

import (
	"context"
	"errors"
	"iter"

	"weir/store"
)

var errPending = errors.New("not built yet")

// Fields implements store.FieldLister.
func (d *DB) Fields(context.Context, store.Query, []string) iter.Seq2[[]any, error] {
	return func(yield func([]any, error) bool) { yield(nil, errPending) }
}

// Pairs implements store.PairLister.
func (d *DB) Pairs(context.Context, store.PairQuery) iter.Seq2[*store.Pair, error] {
	return func(yield func(*store.Pair, error) bool) { yield(nil, errPending) }
}

// Hosts implements store.HostFinder.
func (d *DB) Hosts(context.Context, store.HostQuery) ([]*store.Host, error) { return nil, errPending }

// Timeline implements store.Timekeeper.
func (d *DB) Timeline(context.Context, store.TimelineQuery) ([]store.TimelineSlot, error) {
	return nil, errPending
}

// Explain implements store.Explainer.
func (d *DB) Explain(context.Context, func(store.Reader) error) ([]store.Statement, error) {
	return nil, errPending
}
