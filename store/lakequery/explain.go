// SPDX-License-Identifier: Apache-2.0

package lakequery

import (
	"context"
	"database/sql"
	"fmt"
	"strconv"
	"sync"

	"weir/store"
)

// notes takes statements down instead of running them. It is safe for concurrent use.
type notes struct {
	mu   sync.Mutex
	list []store.Statement
}

func (n *notes) add(text string, args []any) {
	s := store.Statement{Text: text}
	for i, arg := range args {
		if s.Args == nil {
			s.Args = make(map[string]any)
		}
		s.Args[strconv.Itoa(i+1)] = arg
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.list = append(n.list, s)
}

// nothing is a query without rows that takes the place of a statement that was noted.
const nothing = "SELECT NULL WHERE false"

// run runs a query on the views, or notes it. All questions end here.
func (d *DB) run(ctx context.Context, text string, args ...any) (*sql.Rows, error) {
	if d.notes != nil {
		d.notes.add(text, args)
		text, args = nothing, nil
	}
	return d.db.QueryContext(ctx, text, args...)
}

// explained is a DB that notes what it would run.
type explained struct{ *DB }

// Close does nothing: the other DB stays open.
func (explained) Close() error { return nil }

// Explain implements store.Explainer. What is asked page by page is one statement
// there, without the page. Status answers, since it reads no part.
func (d *DB) Explain(ctx context.Context, ask func(store.Reader) error) ([]store.Statement, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("explain: %w", err)
	}
	e := explained{&DB{lakeDB: d.lakeDB, notes: new(notes)}}
	if err := ask(e); err != nil {
		return nil, err
	}
	e.notes.mu.Lock()
	defer e.notes.mu.Unlock()
	return e.notes.list, nil
}
