// SPDX-License-Identifier: Apache-2.0

package neo4j

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/neo4j/neo4j-go-driver/v5/neo4j"
)

const (
	// writeTimeout bounds one transaction that writes.
	writeTimeout = 5 * time.Minute
	// grace is how much longer than the server's own limit a client waits: beyond
	// it the server hangs.
	grace = 15 * time.Second
	// retryFor bounds how long transient errors are answered by another attempt.
	retryFor = 30 * time.Second
	// brokenReads is how often a read is tried again whose connection breaks: the
	// pool may hold some to a server that was started anew since.
	brokenReads = 3
)

// session returns a session; its user closes it with closeSession.
func (d *DB) session(ctx context.Context, mode neo4j.AccessMode) neo4j.SessionWithContext {
	return d.driver.NewSession(ctx, neo4j.SessionConfig{
		AccessMode: mode, DatabaseName: d.where.database, BookmarkManager: d.bookmarks,
	})
}

// closeSession gives back what a session has, even after its context ended.
func closeSession(ctx context.Context, s neo4j.SessionWithContext) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	_ = s.Close(ctx) // its transaction has ended or is rolled back; the connection is dropped if it is broken
}

// read runs a query that only reads, in a transaction of its own, and calls each
// for every record. A record is not kept by anybody else. Errors are *Error, or
// what each returned. Transient errors are retried as long as each was not called.
func (d *DB) read(ctx context.Context, text string, params map[string]any, each func(*neo4j.Record) error) error {
	called := false
	return d.reading(ctx, func() bool { return !called }, func(t *tx) error {
		return t.each(text, params, func(r *neo4j.Record) error {
			called = true
			return each(r)
		})
	})
}

// reading runs f in a transaction that only reads. On transient errors it does so
// again as long as again allows it. A DB with notes runs nothing: all questions end here.
func (d *DB) reading(ctx context.Context, again func() bool, f func(t *tx) error) error {
	if d.notes != nil {
		return f(&tx{d: d, outer: ctx, ctx: ctx})
	}
	return d.transaction(ctx, again, f)
}

// transaction is reading, with notes or without.
func (d *DB) transaction(ctx context.Context, again func() bool, f func(t *tx) error) error {
	if err := d.ready(ctx); err != nil {
		return err
	}
	return d.retry(ctx, func() error { return d.once(ctx, neo4j.AccessModeRead, d.cfg.QueryTimeout, f) }, again, brokenReads)
}

// tx is a transaction that a function given to write uses. Errors of its methods
// are *Error, or what a callback returned.
type tx struct {
	d *DB
	// outer is the caller's context, ctx has a time limit besides.
	outer, ctx context.Context
	// t is nil where queries are noted instead of run.
	t neo4j.ExplicitTransaction
}

// run runs a statement and returns what it did.
func (t *tx) run(text string, params map[string]any) (neo4j.ResultSummary, error) {
	res, err := t.t.Run(t.ctx, text, params)
	if err != nil {
		return nil, t.d.explain(t.outer, err)
	}
	summary, err := res.Consume(t.ctx)
	return summary, t.d.explain(t.outer, err)
}

// each runs a statement and calls f for every record.
func (t *tx) each(text string, params map[string]any, f func(*neo4j.Record) error) error {
	if t.t == nil {
		t.d.notes.add(text, params)
		return t.ctx.Err()
	}
	res, err := t.t.Run(t.ctx, text, params)
	if err != nil {
		return t.d.explain(t.outer, err)
	}
	for res.Next(t.ctx) {
		if err := f(res.Record()); err != nil {
			return err
		}
	}
	return t.d.explain(t.outer, res.Err())
}

// write runs f in one transaction and commits it, unless f returns an error. On
// transient errors (deadlocks, another member becomes the leader) it waits a
// little and calls f again: f must change nothing but through its argument.
//
// An error for which Outage holds may conceal that the transaction was committed.
func (d *DB) write(ctx context.Context, f func(t *tx) error) error {
	if err := d.ready(ctx); err != nil {
		return err
	}
	return d.writeUnchecked(ctx, f)
}

// writeUnchecked is write for what makes the schema.
func (d *DB) writeUnchecked(ctx context.Context, f func(t *tx) error) error {
	return d.retry(ctx, func() error { return d.once(ctx, neo4j.AccessModeWrite, writeTimeout, f) }, func() bool { return true }, 0)
}

// once runs f in one transaction, which may take so long, and commits it unless f
// returns an error.
func (d *DB) once(outer context.Context, mode neo4j.AccessMode, timeout time.Duration, f func(t *tx) error) error {
	ctx, cancel := context.WithTimeout(outer, timeout+grace)
	defer cancel()
	s := d.session(ctx, mode)
	defer closeSession(ctx, s)
	t, err := s.BeginTransaction(ctx, neo4j.WithTxTimeout(timeout))
	if err != nil {
		return d.explain(outer, err)
	}
	if err := f(&tx{d, outer, ctx, t}); err != nil {
		return err // closing the session rolls back
	}
	return d.explain(outer, t.Commit(ctx))
}

// runAlone runs a statement that needs a transaction of its own, as those that
// change the schema and CALL { … } IN TRANSACTIONS do, and calls each for every
// record (nil: for none). It is not retried.
func (d *DB) runAlone(outer context.Context, text string, params map[string]any, timeout time.Duration, each func(*neo4j.Record) error) (neo4j.ResultSummary, error) {
	ctx, cancel := context.WithTimeout(outer, timeout+grace)
	defer cancel()
	s := d.session(ctx, neo4j.AccessModeWrite)
	defer closeSession(ctx, s)
	res, err := s.Run(ctx, text, params, neo4j.WithTxTimeout(timeout))
	if err != nil {
		return nil, d.explain(outer, err)
	}
	for each != nil && res.Next(ctx) {
		if err := each(res.Record()); err != nil {
			return nil, err
		}
	}
	summary, err := res.Consume(ctx)
	return summary, d.explain(outer, err)
}

// retry calls try again after transient errors, and so often after those of the
// connection, as long as again allows it.
func (d *DB) retry(ctx context.Context, try func() error, again func() bool, broken int) error {
	begin := time.Now()
	for wait := 50 * time.Millisecond; ; wait = min(2*wait, 5*time.Second) {
		err := try()
		if err == nil || !again() || time.Since(begin) > retryFor {
			return err
		}
		e, connection := new(neo4j.Neo4jError), new(neo4j.ConnectivityError)
		switch {
		case errors.As(err, &e) && d.mayRetry(e):
		case errors.As(err, &connection) && broken > 0:
			broken--
		default:
			return err
		}
		d.retries.Add(1)
		d.log.Debug("transaction is tried again", slog.Any("err", err))
		// Half of the wait is random, so that those who met do not meet again.
		select {
		case <-time.After(wait/2 + rand.N(wait)): // #nosec G404 -- no secret
		case <-ctx.Done():
			return err
		}
	}
}

// mayRetry reports whether another attempt may succeed.
func (d *DB) mayRetry(e *neo4j.Neo4jError) bool {
	switch {
	case e.Code == "Neo.ClientError.Statement.EntityNotFound":
		return true // somebody removed what this transaction had found
	case strings.HasSuffix(e.Code, "OutOfMemoryError"):
		return false
	case e.IsRetriableCluster():
		return d.where.routing() // otherwise a member that only reads stays what it is
	}
	return e.IsRetriable()
}
