// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"weir/internal/command"
	"weir/internal/config"
	"weir/store"
	"weir/store/lakequery"
	"weir/store/neo4j"
)

// place is where a store is. Nothing is open yet: whether a kind of store can do
// what a command wants is known before. What only one kind can do are the
// interfaces below, see need.
type place interface {
	// kind names the kind of store in messages.
	kind() string
	// open opens the store for questions.
	open(ctx context.Context) (store.Reader, error)
	// describe says what the store holds, and what it is without, as far as that
	// can be known without the store itself.
	describe(ctx context.Context) (*description, error)
	eraser
	expirer
	reducer
}

// directory is a store that is a lake.
type directory interface {
	path() string
	// query opens it for what only a lake answers.
	query(ctx context.Context) (*lakequery.DB, error)
}

// connector is a store that is a Neo4j database.
type connector interface {
	// connect connects to the database. With create it makes the schema where there
	// is none.
	connect(ctx context.Context, create bool) (*neo4j.DB, error)
}

// place returns the store that the user names.
func (o *options) place() place {
	if neo4j.IsURI(o.store) {
		return &graph{o}
	}
	return &lakeDir{o}
}

// need returns the store as what a command needs. Where its kind has no such
// thing the error says why, and what to do instead.
func need[T any](o *options, what, why string) (T, error) {
	p := o.place()
	t, ok := p.(T)
	if !ok {
		return t, &command.UsageError{Err: fmt.Errorf("%s: not on %s: %s", what, p.kind(), why)}
	}
	return t, nil
}

// withStore runs fn with the open store, within the time that the user gives.
func (o *options) withStore(ctx context.Context, fn func(context.Context, store.Reader) error) error {
	return using(ctx, o, o.place().open, fn)
}

// using runs fn with what open opens, within the time that the user gives.
func using[T io.Closer](ctx context.Context, o *options, open func(context.Context) (T, error), fn func(context.Context, T) error) error {
	return o.within(ctx, func(ctx context.Context) (err error) {
		db, err := open(ctx)
		if err != nil {
			return err
		}
		defer func() {
			if cerr := db.Close(); err == nil {
				err = cerr
			}
		}()
		return fn(ctx, db)
	})
}

// within runs fn within the time that the user gives. An error of fn that comes
// when the time is over, or after an interrupt, is one of these.
func (o *options) within(ctx context.Context, fn func(context.Context) error) error {
	late := fmt.Errorf("gave up after %v", o.timeout)
	if o.timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, o.timeout, late)
		defer cancel()
	}
	err := fn(ctx)
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	// A connection may notice that the time is over before the context does.
	if end, ok := ctx.Deadline(); ok && !time.Now().Before(end) {
		return late
	}
	return err
}

// findStore settles which store is meant, and checks its name.
func (o *options) findStore() error {
	if o.store == "" {
		path, err := config.DefaultStore()
		if err != nil {
			return err
		}
		o.store = path
	}
	if neo4j.IsURI(o.store) {
		if _, err := neo4j.ParseURI(o.store); err != nil {
			return usage(fmt.Errorf("--store: %w", err))
		}
	} else if scheme, _, ok := strings.Cut(o.store, "://"); ok {
		// Nothing after the scheme is shown: it may hold a password.
		return usage(fmt.Errorf("--store %s://…: a store is a directory or a URI of Neo4j, as neo4j://user@host:7687", scheme))
	}
	return nil
}

// limits returns what a query of a lake may use.
func (o *options) limits() lakequery.Config {
	return lakequery.Config{Memory: int64(o.memory), Threads: o.threads}
}
