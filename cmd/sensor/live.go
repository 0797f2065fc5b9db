// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"weir/capture"
	"weir/internal/confine"
	"weir/internal/logging"
	"weir/internal/sensor"
	"weir/internal/systemd"
	"weir/internal/zeeklog"
	"weir/store/lake"
)

// listening is one run on network interfaces, from the flags to the end.
type listening struct {
	log            *slog.Logger
	level          slog.LevelVar
	limit          *logging.Limit
	logFile        *logging.File // nil: standard error
	stdout, stderr io.Writer

	// mu guards those fields of o that a reload changes.
	mu sync.Mutex
	o  *options

	src       *capture.Live
	lake      *lake.Lake        // nil without one
	publisher *sensor.Publisher // nil without a lake
	// database is nil without one; then the following are, too.
	database *database
	spooling *sensor.Publisher // into the spool
	aside    *sensor.Aside     // in front of it, so that nobody waits for its disk
	// importID is what all stores call the records of this run, so that a lake can be
	// loaded later into a database that has them already.
	importID string

	logs     *zeeklog.Live // nil without Zeek's logs
	metrics  net.Listener  // nil without metrics
	pipeline *sensor.Pipeline

	hup   chan os.Signal // SIGHUP; two that nobody has seen are one
	again chan struct{}  // holds a value when the store's limits have changed
	// telling is held while the configuration is read again, so that the service
	// manager hears of its end before that of the run. It guards over, which says
	// that it was told of that.
	telling sync.Mutex
	over    bool

	began time.Time
	// gone is why the interfaces ended by themselves.
	gone error
	// block is when the reader last yielded a block, in nanoseconds since began.
	block atomic.Int64
	// logErr is what went wrong with Zeek's logs last; writing tells whether that
	// hangs.
	logErr  atomic.Pointer[error]
	writing sensor.Steps
}

// listen reads network interfaces until a signal ends it in order.
func listen(ctx context.Context, o *options, stdout, stderr io.Writer) (err error) {
	l := &listening{
		o: o, stdout: stdout, stderr: stderr,
		hup: make(chan os.Signal, 1), again: make(chan struct{}, 1),
	}
	// From here on until the process is gone, so that this is never undone: a SIGHUP
	// that nobody waits for ends the process, and what is not stored yet is lost.
	signal.Notify(l.hup, syscall.SIGHUP)
	if o.profile != "" {
		stop, err := profile(o.profile)
		if err != nil {
			return err
		}
		defer stop()
	}
	o.tune()
	if err := l.open(ctx); err != nil {
		return errors.Join(err, l.abandon())
	}
	report, err := confine.Enter(l.confinement())
	if err != nil {
		if errors.Is(err, os.ErrPermission) {
			err = fmt.Errorf("%w (name a directory that this user can reach, or another --user)", err)
		}
		return errors.Join(fmt.Errorf("give up privileges: %w", err), l.abandon())
	}
	if l.database != nil {
		// As the user that the process is now, whose files its own will be.
		if err := l.database.start(o.spoolSize, true); err != nil {
			return errors.Join(err, l.abandon())
		}
	}
	if len(report.Missing) > 0 {
		l.log.Warn("the sandbox is not complete", slog.Any("sandbox", report))
	}
	l.ready()
	l.log.Info("listening", slog.String("interfaces", strings.Join(o.interfaces, ",")),
		slog.String("store", o.places()), slog.Any("sandbox", report))
	err = l.run(ctx)
	if !o.quiet {
		summarize(stdout, l.src.Stats(), l.pipeline.Stats(), l.reports(), time.Since(l.began), o)
	}
	return errors.Join(err, l.gone, l.closeLog())
}

// closeLog reports the messages that were held back, and closes the log.
func (l *listening) closeLog() error {
	if l.limit == nil {
		return nil
	}
	err := l.limit.Flush(context.Background(), true)
	if l.logFile != nil {
		err = errors.Join(err, l.logFile.Close())
	}
	return err
}

// Next implements sensor.Source. Where the interfaces end by themselves, what
// was seen so far is stored as at any other end.
func (l *listening) Next() (*capture.Block, error) {
	b, err := l.src.Next()
	l.block.Store(int64(time.Since(l.began)))
	if gone := new(capture.GoneError); errors.As(err, &gone) {
		l.gone = gone
		return nil, io.EOF
	}
	return b, err
}

// Close implements sensor.Source.
func (l *listening) Close() error { return l.src.Close() }

// run reads until ctx is done or no interface is left, and stores everything.
func (l *listening) run(ctx context.Context) error {
	l.began = time.Now()
	// The signal ends the capture in order; all others go on until everything has
	// been stored.
	defer context.AfterFunc(ctx, func() {
		l.log.Info("ending")
		l.src.Stop()
		l.stopping()
	})()
	// Merging parts can wait for another run: the processor is for what is left.
	idle, halt := context.WithCancel(ctx)
	defer halt()
	ctx = context.WithoutCancel(ctx)
	helping, stop := context.WithCancel(ctx)
	defer stop()
	var helpers errgroup.Group
	for _, help := range l.helpers() {
		helpers.Go(func() error {
			err := help(helping)
			if err != nil {
				// What cannot go on ends the capture in order, too.
				l.src.Stop()
			}
			return err
		})
	}
	if l.lake != nil {
		helpers.Go(func() error { return l.maintain(idle) })
	}
	err := l.pipeline.Run(ctx, l)
	l.stopping()
	halt()
	stop()
	err = errors.Join(err, helpers.Wait(), l.src.Close(), l.finish())
	if l.database != nil {
		err = errors.Join(err, l.leaveDatabase(ctx))
	}
	return err
}

// helpers are what goes on beside the pipeline.
func (l *listening) helpers() []func(context.Context) error {
	list := []func(context.Context) error{l.reloads, l.signs, l.flushMessages}
	if l.publisher != nil {
		list = append(list, l.publisher.Run)
	}
	if l.database != nil {
		list = append(list, l.aside.Run, l.spooling.Run, l.database.run)
	}
	if l.logs != nil {
		list = append(list, l.flushLogs)
	}
	if l.metrics != nil {
		list = append(list, l.serve)
	}
	return list
}

// stopping tells the service manager once that the end has begun.
func (l *listening) stopping() {
	l.telling.Lock()
	defer l.telling.Unlock()
	if !l.over {
		l.over = true
		l.notify(systemd.Stopping("storing what was seen"))
	}
}

// finish stores the last records.
func (l *listening) finish() error {
	var errs []error
	if l.publisher != nil {
		errs = append(errs, l.publisher.Commit())
	}
	if l.database != nil {
		errs = append(errs, l.finishSpool())
	}
	if l.logs != nil {
		errs = append(errs, l.logs.Close(time.Now()))
		if n := l.logs.Stats().Lost; n > 0 {
			errs = append(errs, fmt.Errorf("%d lines of Zeek's logs were lost", n))
		}
	}
	return errors.Join(errs...)
}

// ready tells the service manager that packets are read.
func (l *listening) ready() {
	l.notify(systemd.Ready("listening on " + strings.Join(l.o.interfaces, ", ")))
}

// finishSpool puts the last records for the database into the spool.
func (l *listening) finishSpool() error {
	err := l.aside.Flush()
	if cerr := l.spooling.Commit(); err == nil {
		err = cerr
	}
	if err != nil {
		return fmt.Errorf("spool: %w", err)
	}
	return nil
}

// leaveDatabase sends what is left, as far as that takes a short time, and says
// what the database will not have. What stays in the spool is not lost.
func (l *listening) leaveDatabase(ctx context.Context) error {
	ctx, stop := context.WithTimeout(ctx, drainAtEnd)
	defer stop()
	if err := l.database.drain(ctx, "", drainAtEnd, io.Discard); err != nil {
		if why := l.database.forward.Stats().Err; why != nil {
			err = why
		}
		l.log.Warn("the next run of a sensor with this store sends what is left in the spool",
			slog.String("spool", l.o.spoolDir), slog.Any("err", err))
	}
	return errors.Join(lossOf(l.spoolStats()), l.database.db.Close())
}

// spoolStats says what became of the records for the database.
func (l *listening) spoolStats() sensor.SpoolStats {
	return sensor.SpoolStats{
		Publish: l.spooling.Stats(), Queue: l.aside.Dropped(), Forward: l.database.stats(),
	}
}

// reports says what became of the records for each store.
func (l *listening) reports() []storeReport {
	var list []storeReport
	if l.publisher != nil {
		list = append(list, storeReport{store: l.o.dir, lost: l.publisher.Stats().Lost})
	}
	if l.database != nil {
		s := l.spoolStats()
		list = append(list, storeReport{store: l.database.db.Location(), lost: s.Lost(), waits: l.database.waits()})
	}
	return list
}
