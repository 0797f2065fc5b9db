// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"weir/internal/config"
	"weir/internal/sensor"
	"weir/internal/term"
	"weir/store/lake"
	"weir/store/neo4j"
)

// How long is waited for a database.
const (
	// drainPatience is for how long nothing may move while captures wait in the
	// spool; then the server is gone.
	drainPatience = 30 * time.Second
	// drainAtEnd is how long a capture that ends tries to send what is left.
	drainAtEnd = 5 * time.Second
	// claimAgain is how often it is tried to send what another process sends.
	claimAgain = 500 * time.Millisecond
	// forwardAgain is after how long it is tried again what waiting does not mend,
	// but somebody may have mended.
	forwardAgain = 30 * time.Second
)

// database is a Neo4j database and the spool in which records wait for it.
type database struct {
	db      *neo4j.DB
	spool   *lake.Lake
	forward *neo4j.Forwarder // nil before start
	log     *slog.Logger
	// stopped is why nothing more was sent when the forwarder ended last.
	stopped atomic.Pointer[error]
	// elsewhere is set while another process sends what is in the spool.
	elsewhere atomic.Bool
}

// dial connects to the database. With lazy a server that cannot be reached is
// none that is wrong.
func (o *options) dial(ctx context.Context, log *slog.Logger, lazy bool) (*neo4j.DB, error) {
	password, err := config.Password(o.passwordFile)
	if err != nil {
		return nil, err
	}
	open := neo4j.Open
	if lazy {
		open = neo4j.OpenLazy
	}
	return open(ctx, o.uri, neo4j.Config{Password: password, Create: true, Logger: log})
}

// start makes the database ready to be sent what waits. Of captures, which can be
// dropped as a whole only, the spool takes whatever comes.
func (d *database) start(bound config.Size, bounded bool) (err error) {
	most := int64(math.MaxInt64)
	if bounded {
		most = int64(bound)
	}
	d.forward, err = d.db.NewForwarder(neo4j.ForwardConfig{
		Spool: d.spool, MaxBytes: most, Patience: drainPatience, Logger: d.log,
	})
	return err
}

// run sends what comes into the spool until ctx is done. Nothing ends it: what is
// wrong is logged and shown, and the spool goes on taking records.
func (d *database) run(ctx context.Context) error {
	for {
		err := d.forward.Run(ctx)
		if err == nil || ctx.Err() != nil {
			return nil
		}
		wait := forwardAgain
		if elsewhere := errors.Is(err, neo4j.ErrForwarding); elsewhere {
			wait = claimAgain
			d.elsewhere.Store(true)
		} else {
			d.stopped.Store(&err)
			d.log.Error("the database does not take records, they stay in the spool", slog.Any("err", err))
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait):
			d.elsewhere.Store(false)
		}
	}
}

// trouble returns what keeps records in the spool that waiting does not mend, nil
// if nothing does.
func (d *database) trouble() error {
	if err := d.stopped.Load(); err != nil && d.forward.Stats().Err != nil {
		return *err
	}
	return nil
}

// stats returns the counters. Where another process sends what is in the spool,
// what waits is what the spool says.
func (d *database) stats() neo4j.ForwardStats {
	s := d.forward.Stats()
	if d.elsewhere.Load() {
		if b, err := neo4j.SpoolBacklog(d.spool.Path()); err == nil {
			s.Backlog = b
		}
	}
	return s
}

// errStalled says that the database took nothing for too long.
var errStalled = errors.New("the database has taken nothing")

// drain sends what waits in the spool, or waits until another process has done so,
// at least with an import. It gives up when nothing has moved for as long as
// patience says, and shows on a terminal how far it is.
func (d *database) drain(ctx context.Context, id string, patience time.Duration, w io.Writer) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var wg sync.WaitGroup
	defer wg.Wait()
	done := make(chan struct{})
	defer close(done)
	wg.Go(func() { d.watch(done, patience, stop, w) })
	err := d.forward.Drain(ctx)
	for errors.Is(err, neo4j.ErrForwarding) {
		d.elsewhere.Store(true)
		if gone, merr := d.gone(id); merr != nil || gone {
			return merr
		}
		select {
		case <-ctx.Done():
			err = context.Cause(ctx)
		case <-time.After(claimAgain):
			err = d.forward.Drain(ctx)
		}
	}
	d.elsewhere.Store(false)
	if err == nil || !errors.Is(context.Cause(ctx), errStalled) {
		return err
	}
	if why := d.forward.Stats().Err; why != nil {
		return fmt.Errorf("%w for %v: %w", errStalled, patience, why)
	}
	return fmt.Errorf("%w for %v", errStalled, patience)
}

// gone reports whether nothing of an import is in the spool, which has forgotten
// it then.
func (d *database) gone(id string) (bool, error) {
	m, err := d.spool.Manifest()
	if err != nil {
		return false, fmt.Errorf("look into the spool: %w", err)
	}
	return m.Find(id) == nil, nil
}

// watch stops a drain in which nothing moves, and shows it on w if that is a
// terminal, until done is closed.
func (d *database) watch(done <-chan struct{}, patience time.Duration, stop context.CancelCauseFunc, w io.Writer) {
	f, ok := w.(*os.File)
	show := ok && term.IsTerminal(f)
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	last := d.stats()
	first, began, since := last, time.Now(), time.Now()
	for {
		select {
		case <-done:
			if show {
				fmt.Fprint(w, "\r\x1b[K")
			}
			return
		case <-tick.C:
		}
		now := d.stats()
		if now.Backlog != last.Backlog || now.Connections != last.Connections || now.Intel != last.Intel || !now.Last.Equal(last.Last) {
			last, since = now, time.Now()
		}
		if time.Since(since) > patience {
			stop(errStalled)
		}
		if show {
			fmt.Fprintf(w, "\r%s\x1b[K", drainLine(&first, &now, time.Since(began)))
		}
	}
}

// drainLine is one state of what is shown while a database is sent records.
func drainLine(first, now *neo4j.ForwardStats, elapsed time.Duration) string {
	sent := now.Connections + now.Intel - first.Connections - first.Intel
	// A part counts as waiting until all of it was sent.
	left := max(0, first.Backlog.Connections+first.Backlog.Intel-sent)
	line := fmt.Sprintf("sending to the database: %s records, %s left", term.Number(sent), term.Number(left))
	if rate := float64(sent) / max(elapsed.Seconds(), 1e-9); rate >= 1 {
		line += fmt.Sprintf(", %v", time.Duration(float64(left)/rate*float64(time.Second)).Round(time.Second))
	}
	return line
}

// waits says what is left in the spool and what sends it, "" where nothing is.
func (d *database) waits() string {
	b := d.stats().Backlog
	if b.Parts == 0 {
		return ""
	}
	return fmt.Sprintf("%d records of connections and %d of intel wait in the spool %s", b.Connections, b.Intel, d.spool.Path())
}

// lossOf returns an error if a database will not have some records.
func lossOf(s sensor.SpoolStats) error {
	// What the spool itself did not take, its publisher has said.
	var errs []error
	if s.Queue != (lake.Records{}) {
		errs = append(errs, fmt.Errorf("%w before the spool, which did not take them as fast as they came: %d of connections, %d of intel",
			sensor.ErrLost, s.Queue.Conns, s.Queue.Intel))
	}
	if n := s.Forward.Refused; n != (lake.Records{}) {
		errs = append(errs, fmt.Errorf("%w that the database refused, or that could not be read in the spool: %d of connections, %d of intel",
			sensor.ErrLost, n.Conns, n.Intel))
	}
	if n := s.Forward.Dropped; n != (lake.Records{}) {
		errs = append(errs, fmt.Errorf("%w out of the spool, which was full: %d of connections, %d of intel",
			sensor.ErrLost, n.Conns, n.Intel))
	}
	return errors.Join(errs...)
}

// empty removes everything from the database and from its spool, after somebody
// at a terminal has agreed.
func (d *database) empty(ctx context.Context, w io.Writer) error {
	if err := lake.Init(d.spool.Path()); err != nil {
		return fmt.Errorf("empty the spool: %w", err)
	}
	f, ok := w.(*os.File)
	show := func(int64) {}
	if ok && term.IsTerminal(f) {
		show = func(n int64) { fmt.Fprintf(w, "\remptying the database: %s nodes removed\x1b[K", term.Number(n)) }
		defer fmt.Fprint(w, "\r\x1b[K")
	}
	return d.db.Purge(ctx, show)
}
