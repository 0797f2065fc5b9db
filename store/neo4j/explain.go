// SPDX-License-Identifier: Apache-2.0

package neo4j

import (
	"context"
	"fmt"
	"iter"
	"maps"
	"sync"

	"weir/store"
)

// notes takes queries down instead of running them. It is safe for concurrent use.
type notes struct {
	mu   sync.Mutex
	list []store.Statement
}

func (n *notes) add(text string, params map[string]any) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.list = append(n.list, store.Statement{Text: text, Args: maps.Clone(params)})
}

// explained is a DB that notes what it would run.
type explained struct{ *DB }

// Close does nothing: the other DB stays open.
func (explained) Close() error { return nil }

// Raw implements store.RawQuerier.
func (e explained) Raw(_ context.Context, text string) (store.Rows, error) {
	e.notes.add(text, nil)
	return noRows{}, nil
}

// noRows is the result of a raw query that was not run.
type noRows struct{}

func (noRows) Columns() []store.Column      { return nil }
func (noRows) All() iter.Seq2[[]any, error] { return func(func([]any, error) bool) {} }
func (noRows) Close() error                 { return nil }

// Explain implements store.Explainer. A pattern is a query of its own, which fetches
// the values that it may match; in the query that needs them their list is empty here. The
// width of slots is read, since queries depend on it.
func (d *DB) Explain(ctx context.Context, ask func(store.Reader) error) ([]store.Statement, error) {
	if err := d.ready(ctx); err != nil {
		return nil, fmt.Errorf("explain: %w", err)
	}
	e := explained{&DB{
		driver: d.driver, where: d.where, cfg: d.cfg, log: d.log, bookmarks: d.bookmarks, checking: d.checking,
		notes: new(notes),
	}}
	e.checked.Store(true)
	if err := ask(e); err != nil {
		return nil, err
	}
	e.notes.mu.Lock()
	defer e.notes.mu.Unlock()
	return e.notes.list, nil
}
