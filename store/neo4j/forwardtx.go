// SPDX-License-Identifier: Apache-2.0

package neo4j

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/neo4j/neo4j-go-driver/v5/neo4j"

	"weir/internal/flow"
)

// Limits of transactions that write.
const (
	// attemptTimeout bounds one try of a transaction, maxAttemptTimeout one whose
	// tries before took too long.
	attemptTimeout    = 2 * time.Minute
	maxAttemptTimeout = 30 * time.Minute
	// closeTimeout bounds how long a connection is taken leave of.
	closeTimeout = time.Second
	// refusals is how often the server must refuse a chunk, and take something
	// else, for the chunk to be at fault.
	refusals = 3
	// conflicts is how often a chunk is tried again because something else
	// changed what it is about.
	conflicts = 100
	// despair is how often a chunk may need more memory or time than there is.
	despair = 10
)

// Errors that the sender's own code makes.
var (
	// errApplied: the chunk's mark is there, so that all of it is.
	errApplied = errors.New("the chunk was applied before")
	// errChanged: something that was there a moment ago is not there any more.
	errChanged = errors.New("the graph was changed meanwhile")
	// errPrecision: the store's slots have another width than is known.
	errPrecision = errors.New("the precision of the store was changed")
	// errNoStore: the database was never made a store, or was emptied.
	errNoStore = errors.New("the database holds no weir store: make one with flowcli --init")
)

// StalledError says that nothing could be sent for too long.
type StalledError struct {
	// For is since when, Waiting what waits, and where.
	For     time.Duration
	Waiting string
	// Err is what happened last.
	Err error
}

// Error implements error.
func (e *StalledError) Error() string {
	return fmt.Sprintf("nothing could be sent for %v (%s): %v", e.For.Round(time.Second), e.Waiting, e.Err)
}

// Unwrap returns what happened last.
func (e *StalledError) Unwrap() error { return e.Err }

// sender writes chunks into the database. It is safe for concurrent use.
type sender struct {
	db  *DB
	log *slog.Logger
	// owner is whose marks the sender makes and removes.
	owner string
	// patience is for how long nothing may succeed before the sender gives up; 0
	// is for ever.
	patience atomic.Int64
	// cut says how parts are cut that were not begun.
	cut func(slot time.Duration) cut
	// waiting says what waits, and where, for the error.
	waiting func() string
	queries flowQueries
	kinds   []kindQueries

	// shared lets one transaction at a time make nodes that many chunks share:
	// hosts and intel. Two of them would run into each other.
	shared sync.Mutex
	hosts  hostCache // guarded by shared
	// width is that of the store's slots, 0 where it is not known.
	width atomic.Int64

	parts, conns, intel, flows, retries atomic.Int64
	lostConns, lostIntel                atomic.Int64
	// waits says that intel was written that waits for its flow.
	waits atomic.Bool

	mu   sync.Mutex // guards the rest
	last time.Time  // of the last success, or of the start
	sent time.Time  // of the last chunk
	err  error      // why the last try failed, nil after a success
}

func newSender(db *DB, log *slog.Logger, owner string) *sender {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	s := &sender{db: db, log: log, owner: owner, queries: newFlowQueries(), last: time.Now(), cut: newCut, waiting: db.Location}
	for i, k := range flow.Kinds() {
		s.kinds = append(s.kinds, newKindQueries(flow.Kind(i), &k))
	}
	return s
}

// setPatience begins to wait: nothing is too late yet.
func (s *sender) setPatience(d time.Duration) {
	s.patience.Store(int64(d))
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last = time.Now()
}

// work is what is done in a transaction.
type work func(ctx context.Context, tx neo4j.ExplicitTransaction) error

// attempt runs one transaction, once. After an error of its commit it may have
// been committed nevertheless.
func (s *sender) attempt(ctx context.Context, timeout time.Duration, fn work) (err error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	if err := s.db.ready(ctx); err != nil {
		return err
	}
	session := s.db.session(ctx, neo4j.AccessModeWrite)
	// What goes wrong while leaving is the server's to clean up.
	leave := func(fn func(context.Context) error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTimeout)
		defer cancel()
		_ = fn(ctx)
	}
	defer leave(session.Close)
	tx, err := session.BeginTransaction(ctx, neo4j.WithTxTimeout(timeout))
	if err != nil {
		return err
	}
	if err := fn(ctx, tx); err != nil {
		leave(tx.Rollback)
		return err
	}
	return tx.Commit(ctx)
}

// collect runs one statement in a transaction and returns its rows.
func collect(ctx context.Context, tx neo4j.ExplicitTransaction, text string, params map[string]any) ([]*neo4j.Record, error) {
	result, err := tx.Run(ctx, text, params)
	if err != nil {
		return nil, err
	}
	return result.Collect(ctx)
}

// number runs a statement that returns one number.
func number(ctx context.Context, tx neo4j.ExplicitTransaction, text string, params map[string]any) (int, error) {
	rows, err := collect(ctx, tx, text, params)
	if err != nil {
		return 0, err
	}
	if len(rows) != 1 || len(rows[0].Values) != 1 {
		return 0, fmt.Errorf("%d rows, not one", len(rows))
	}
	n, ok := rows[0].Values[0].(int64)
	if !ok {
		return 0, fmt.Errorf("a %T, not a number", rows[0].Values[0])
	}
	return int(n), nil
}

// expect runs a statement that returns how many things it did, and wants it to
// be so many.
func expect(ctx context.Context, tx neo4j.ExplicitTransaction, text string, params map[string]any, want int) error {
	n, err := number(ctx, tx, text, params)
	if err == nil && n != want {
		return fmt.Errorf("%w: %d of %d", errChanged, n, want)
	}
	return err
}

// verdict is what an error asks for.
type verdict uint8

const (
	// passing errors go by: outages, deadlocks, time-outs.
	passing verdict = iota
	// conflicting ones come of what others do at the same time.
	conflicting
	// slow ones need somebody to change something: a password, the store.
	slow
	// refusal: the server does not want this transaction, or is sick.
	refusal
)

// judge says what to do about an error of a transaction.
func judge(err error) verdict {
	var server *neo4j.Neo4jError
	var own *Error
	switch {
	case errors.Is(err, errChanged), errors.Is(err, errPrecision), errors.Is(err, errApplied):
		return conflicting
	case errors.Is(err, errNoStore):
		return slow
	case errors.As(err, &server):
		return judgeCode(server.Code)
	case errors.As(err, &own) && own.Kind != Unreachable && own.Kind != Server:
		return slow
	case neo4j.IsUsageError(err):
		return refusal
	}
	return passing // the connection, or time
}

// judgeCode says what to do about an error that the server reports.
func judgeCode(code string) verdict {
	class := strings.SplitN(code, ".", 4)
	if len(class) != 4 {
		return slow
	}
	switch {
	case class[1] == "TransientError":
		return passing
	case code == "Neo.ClientError.Schema.ConstraintValidationFailed",
		// What was found is gone: somebody removed it.
		code == "Neo.ClientError.Statement.EntityNotFound":
		return conflicting
	case class[1] == "ClientError" && class[2] == "Transaction",
		class[1] == "ClientError" && class[2] == "Cluster",
		class[1] == "ClientError" && class[2] == "General":
		return passing
	case class[1] == "ClientError" && (class[2] == "Security" || class[2] == "Database" || class[2] == "Request"):
		return slow
	}
	return refusal
}

// deadlock reports whether the server ended a transaction because others waited
// for it, and it for them: the price of sending several at a time, and no trouble.
func deadlock(err error) bool {
	var server *neo4j.Neo4jError
	return errors.As(err, &server) && server.Code == "Neo.TransientError.Transaction.DeadlockDetected"
}

// tookTooLong reports whether an error is one of time.
func tookTooLong(err error) bool {
	var server *neo4j.Neo4jError
	if errors.As(err, &server) {
		return strings.HasPrefix(server.Code, "Neo.ClientError.Transaction.TransactionTimedOut")
	}
	return errors.Is(err, context.DeadlineExceeded)
}

// tooMuch reports whether an error is that a transaction takes more memory than
// the server gives to one, or has.
func tooMuch(err error) bool {
	var server *neo4j.Neo4jError
	return errors.As(err, &server) && strings.Contains(server.Code, "OutOfMemory")
}

// pause returns how long to wait before a try: about twice as long each time, and
// a random part of it, so that those who ran into each other do not again.
func pause(v verdict, try int) time.Duration {
	first, most := 100*time.Millisecond, 10*time.Second
	switch v {
	case conflicting:
		first, most = 5*time.Millisecond, time.Second
	case slow:
		first, most = 2*time.Second, 30*time.Second
	case passing, refusal:
	}
	d := min(first<<min(try-1, 20), most)
	return d/2 + rand.N(d/2+1)
}

// failed notes an error and waits before the next try. It returns an error where
// there is to be none.
func (s *sender) failed(ctx context.Context, v verdict, try int, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	s.retries.Add(1)
	s.mu.Lock()
	since := time.Since(s.last)
	first := s.err == nil
	s.mu.Unlock()
	if limit := time.Duration(s.patience.Load()); limit > 0 && since > limit {
		return &StalledError{For: since, Waiting: s.waiting(), Err: s.db.explain(ctx, err)}
	}
	usual := v == conflicting || deadlock(err)
	if first && !usual {
		err = s.db.explain(ctx, err)
		s.mu.Lock()
		s.err = err
		s.mu.Unlock()
	}
	if usual {
		s.log.Debug("try again", slog.Any("err", err), slog.Int("try", try))
	} else if first {
		s.log.Warn("cannot write to the database, trying again", slog.String("store", s.db.Location()), slog.Any("err", err))
	}
	timer := time.NewTimer(pause(v, try))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// succeeded notes that the server took something.
func (s *sender) succeeded() {
	s.mu.Lock()
	was := s.err
	since := time.Since(s.last)
	s.err, s.last = nil, time.Now()
	s.mu.Unlock()
	if was != nil {
		s.log.Info("the database takes records again", slog.String("store", s.db.Location()),
			slog.Duration("after", since.Round(time.Millisecond)))
	}
}

// do runs a transaction that may be committed twice without harm, until it
// succeeds.
func (s *sender) do(ctx context.Context, fn work) error {
	timeout := attemptTimeout
	for try := 1; ; try++ {
		err := s.attempt(ctx, timeout, fn)
		if err == nil {
			s.succeeded()
			return nil
		}
		if tookTooLong(err) && ctx.Err() == nil {
			timeout = min(2*timeout, maxAttemptTimeout)
		}
		v := judge(err)
		if v == refusal && try >= refusals && s.healthy(ctx) {
			return err
		}
		if err := s.failed(ctx, v, try, err); err != nil {
			return err
		}
	}
}

// healthy reports whether the server takes a change of another kind: then it is
// not the server that is sick.
func (s *sender) healthy(ctx context.Context) bool {
	return s.attempt(ctx, attemptTimeout, func(ctx context.Context, tx neo4j.ExplicitTransaction) error {
		const text = `MATCH (s:Store) SET s.probed = $now RETURN count(s)`
		return expect(ctx, tx, text, map[string]any{"now": time.Now().UnixMicro()}, 1)
	}) == nil
}

// precision returns the width of the store's slots.
func (s *sender) precision(ctx context.Context) (time.Duration, error) {
	if w := s.width.Load(); w > 0 {
		return time.Duration(w), nil
	}
	var seconds int64
	err := s.do(ctx, func(ctx context.Context, tx neo4j.ExplicitTransaction) error {
		rows, err := collect(ctx, tx, `MATCH (s:Store) RETURN s.precision LIMIT 1`, nil)
		if err != nil {
			return err
		}
		if len(rows) == 0 {
			return errNoStore
		}
		n, ok := rows[0].Values[0].(int64)
		if !ok || n <= 0 {
			return fmt.Errorf("the store's precision is %v", rows[0].Values[0])
		}
		seconds = n
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("read the store's precision: %w", err)
	}
	s.width.Store(seconds * int64(time.Second))
	return time.Duration(seconds) * time.Second, nil
}

// state returns when a chunk was taken last, and why the last try failed.
func (s *sender) state() (sent time.Time, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sent, s.err
}

// utc is the zone of times in the graph: an offset, not a named zone, which would
// be another type of value.
func utc() *time.Location { return time.FixedZone("Offset", 0) }

// moment returns a time in microseconds as the graph has it.
func moment(micros int64) time.Time { return time.UnixMicro(micros).In(utc()) }

// orNil returns nil for an empty list, which is an absent property.
func orNil[T any](list []T) any {
	if len(list) == 0 {
		return nil
	}
	return list
}
