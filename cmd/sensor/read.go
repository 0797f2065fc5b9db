// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"weir/capture"
	"weir/internal/command"
	"weir/internal/flow"
	"weir/internal/sensor"
	"weir/internal/zeeklog"
	"weir/store/lake"
)

// reading is one reading of captures, from the flags to the commit.
type reading struct {
	o              *options
	log            *slog.Logger
	stdout, stderr io.Writer

	reader  *capture.Reader
	targets []*target
	logs    *zeeklog.Logs
	cancel  context.CancelFunc
	failed  atomic.Pointer[error] // of the sink that failed first
	// signaled is done when somebody wants the program to end.
	signaled context.Context

	// lasting is set where nothing can be read again: what came through a pipe
	// becomes visible while it goes on, and a signal ends it like its end.
	lasting bool
	ended   atomic.Bool // the input was read to its end
	// importID is what all targets call the result, so that a lake can be loaded
	// later into a database that has it already.
	importID string
}

// sink ends the reading when it fails.
type sink struct {
	sensor.Sink
	fail func(error)
}

func (s sink) Connections(b *flow.ConnBatch) error { return s.check(s.Sink.Connections(b)) }
func (s sink) Intel(b *flow.IntelBatch) error      { return s.check(s.Sink.Intel(b)) }

func (s sink) check(err error) error {
	if err != nil {
		s.fail(err)
	}
	return err
}

// fail ends the reading for an error of a sink. Others that notice the end first
// know only that they were told to.
func (r *reading) fail(err error) {
	r.failed.CompareAndSwap(nil, &err)
	r.cancel()
}

// readCaptures reads what the options name and commits the result.
func readCaptures(ctx context.Context, o *options, stdin io.Reader, stdout, stderr io.Writer) (err error) {
	r := &reading{o: o, stdout: stdout, stderr: stderr, log: slog.New(handler(stderr, o.level(slog.LevelWarn)))}
	if o.profile != "" {
		stop, err := profile(o.profile)
		if err != nil {
			return err
		}
		defer stop()
	}
	o.tune()
	names, skipped, err := capture.Expand(o.read)
	if err != nil {
		return err
	}
	if skipped > 0 {
		r.log.Warn("files that are no captures were left out", slog.Int("files", skipped))
	}
	if names, err = r.distinct(names); err != nil {
		return err
	}
	// Where nothing can be read again, the spool of a database has a bound.
	lasting := !slices.ContainsFunc(names, hasIdentity)
	targets, err := o.targets(ctx, r.log, lasting, stdin, stderr)
	if err != nil {
		return err
	}
	defer func() {
		if cerr := closeTargets(targets); err == nil {
			err = cerr
		}
	}()
	passes, err := r.plan(ctx, targets, names)
	if err != nil {
		return err
	}
	partial := false
	for _, p := range passes {
		one := &reading{
			o: o, log: r.log, stdout: stdout, stderr: stderr, targets: p.targets,
			lasting: !slices.ContainsFunc(p.names, hasIdentity), signaled: ctx,
		}
		err := one.read(ctx, p.names, stdin)
		if errors.Is(err, command.ErrPartial) {
			partial = true
		} else if err != nil {
			return err
		}
	}
	if partial {
		return command.ErrPartial
	}
	return nil
}

// read reads captures as one stream and commits the result.
func (r *reading) read(ctx context.Context, names []string, stdin io.Reader) (err error) {
	o, stderr := r.o, r.stderr
	signaled := r.signaled
	if r.lasting {
		// The signal ends the input, not what is made of it.
		ctx = context.WithoutCancel(ctx)
	}
	// What fails in a sink ends the reading at once, even where it waits for a
	// pipe that says nothing.
	ctx, r.cancel = context.WithCancel(ctx)
	defer r.cancel()
	// Before the first bytes of a pipe there is nothing to end in order.
	waiting := context.AfterFunc(signaled, r.cancel)
	if r.reader, err = capture.Open(capture.Config{
		Inputs: names, Stdin: stdin, Context: ctx,
		Filter: o.filter, Checksums: o.checksums, UDPTimeout: o.timeouts.UDP, Log: r.log,
	}); err != nil {
		return inputError(err)
	}
	waiting()
	defer func() {
		if cerr := r.reader.Close(); err == nil {
			err = cerr
		}
	}()
	if err := r.openSinks(ctx); err != nil {
		return err
	}
	defer func() {
		if err != nil && !errors.Is(err, command.ErrPartial) {
			r.abort()
		}
	}()
	if r.lasting {
		defer context.AfterFunc(signaled, r.reader.Stop)()
		if err := r.run(ctx); err != nil || signaled.Err() == nil {
			return err
		}
		what := "what was read is stored"
		if r.reader.Stats().Packets == 0 {
			what = "nothing was read"
		}
		fmt.Fprintln(stderr, "sensor: interrupted,", what)
		return errStored
	}
	return r.run(ctx)
}

// errStored says that a signal ended an input that goes on for long; what was
// read is stored, and that has been said.
var errStored = errors.New("interrupted")

// openSinks opens the stores and the logs, after everything else was checked.
func (r *reading) openSinks(ctx context.Context) (err error) {
	for _, t := range r.targets {
		if err := t.begin(ctx, r); err != nil {
			r.abort()
			return err
		}
	}
	if r.o.zeekLogs != "" {
		if r.logs, err = zeeklog.Create(zeeklog.Config{Dir: r.o.zeekLogs, JSON: r.o.zeekJSON}); err != nil {
			r.abort()
			return err
		}
	}
	return nil
}

// abort drops what was not committed.
func (r *reading) abort() {
	if r.logs != nil {
		r.logs.Abort()
	}
	for _, t := range r.targets {
		if err := t.abort(); err != nil {
			r.log.Warn("drop what was not committed", slog.Any("err", err))
		}
	}
}

// run reads to the end and commits.
func (r *reading) run(ctx context.Context) error {
	cfg := r.o.pipeline()
	if r.lasting {
		cfg.Active, cfg.Prompt = r.o.active, true
	}
	for _, t := range r.targets {
		cfg.Sinks = append(cfg.Sinks, sink{t.sink(), r.fail})
	}
	if r.logs != nil {
		cfg.Sinks = append(cfg.Sinks, sink{r.logs, r.fail})
	}
	p, err := sensor.New(cfg)
	if err != nil {
		return err
	}
	began := time.Now()
	stop := showProgress(r.stderr, r.reader, r.o.quiet)
	err = r.pump(ctx, p)
	stop()
	if err == nil {
		err = ctx.Err()
	}
	if failed := r.failed.Load(); failed != nil {
		err = *failed
	}
	if err != nil {
		return err
	}
	r.ended.Store(true)
	stats := r.reader.Stats()
	if r.lasting && stats.Packets == 0 && stats.Damaged == 0 {
		// A pipe that has said nothing leaves no import behind.
		r.abort()
		return nil
	}
	partial := isPartial(stats)
	took := time.Since(began)
	if err := r.commit(ctx); err != nil {
		return err
	}
	err = r.send(ctx)
	if !r.o.quiet {
		summarize(r.stdout, stats, p.Stats(), r.reports(), took, r.o)
	}
	if err == nil && partial {
		return command.ErrPartial
	}
	return err
}

// send has databases take what was committed.
func (r *reading) send(ctx context.Context) error {
	var errs []error
	for _, t := range r.targets {
		errs = append(errs, t.send(ctx, r))
	}
	return errors.Join(errs...)
}

func (r *reading) reports() []storeReport {
	var list []storeReport
	for _, t := range r.targets {
		list = append(list, t.report())
	}
	return list
}

// commit makes the result visible: in the stores first, since giving the finished
// logs their names is all that is left to do then.
func (r *reading) commit(ctx context.Context) error {
	if r.logs != nil {
		if err := r.logs.Finish(); err != nil {
			return err
		}
	}
	for _, t := range r.targets {
		if err := t.commit(ctx, r); err != nil {
			return err
		}
	}
	if r.logs == nil {
		return nil
	}
	stale, err := r.logs.Commit()
	for _, name := range stale {
		r.log.Warn("a log of an earlier run stays", slog.String("log", name))
	}
	return err
}

// pump reads to the end. Where the input goes on for long, it publishes meanwhile,
// and has databases take what was published.
func (r *reading) pump(ctx context.Context, p *sensor.Pipeline) error {
	if !r.lasting {
		return p.Run(ctx, r.reader)
	}
	g, ctx := errgroup.WithContext(ctx)
	publishing, stop := context.WithCancel(ctx)
	defer stop()
	g.Go(func() error {
		defer stop()
		return p.Run(ctx, r.reader)
	})
	for _, t := range r.targets {
		g.Go(func() error { return t.publisher.Run(publishing) })
		if t.database != nil {
			g.Go(func() error { return t.database.run(publishing) })
		}
	}
	return g.Wait()
}

// isPartial reports whether a part of the input was skipped.
func isPartial(stats capture.Stats) bool {
	for reason := range stats.Rejected {
		if capture.Reason(reason).Skipped() && stats.Rejected[reason] > 0 {
			return true
		}
	}
	return stats.Damaged > 0
}

// describe returns what a store is told of the input so far.
func (r *reading) describe(t *target) lake.Final {
	stats := r.reader.Stats()
	final := lake.Final{Packets: stats.Packets, Truncated: isPartial(stats), Replace: t.replace}
	if !r.ended.Load() {
		return final
	}
	for _, f := range r.reader.Files() {
		in := lake.Input{Name: f.Name, Size: f.Size}
		if hasIdentity(f.Name) {
			in.Sum, in.Head, in.HeadLen = fmt.Sprintf("%x", f.Sum), fmt.Sprintf("%x", f.Head), int64(f.HeadLen)
		}
		final.Inputs = append(final.Inputs, in)
	}
	return final
}
