// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"time"

	"weir/internal/command"
	"weir/internal/sensor"
	"weir/store/lake"
	"weir/store/neo4j"
)

// target is a store that captures are read into: a lake, or the spool of a
// database.
type target struct {
	// name is the store's, what the word for it in messages.
	name, what string
	path       string    // of the lake or of the spool
	database   *database // nil for a lake

	// What follows belongs to one reading.

	replace []string // imports that the new one replaces
	writer  *lake.Writer
	// publisher makes what comes through a pipe visible while it goes on; nil of
	// captures that can be read again.
	publisher *sensor.Publisher
}

// targets returns the stores that the options name. A server must answer, and what
// earlier runs left in its spool is sent first. bounded says that records may be
// dropped where the spool is full.
func (o *options) targets(ctx context.Context, log *slog.Logger, bounded bool, stdin io.Reader, stderr io.Writer) ([]*target, error) {
	var list []*target
	if o.dir != "" {
		list = append(list, &target{name: o.dir, what: "the store", path: o.dir})
	}
	if o.uri == "" {
		return list, nil
	}
	db, err := o.dial(ctx, log, false)
	if err != nil {
		return nil, err
	}
	t := &target{name: db.Location(), what: "the database", path: o.spoolDir, database: &database{db: db, log: log}}
	list = append(list, t)
	if t.database.spool, err = o.openSpool(log); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	if err := t.prepare(ctx, o, bounded, stdin, stderr); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return list, nil
}

// prepare sends what waits in the spool, or asks whether all of it may go.
func (t *target) prepare(ctx context.Context, o *options, bounded bool, stdin io.Reader, stderr io.Writer) error {
	d := t.database
	if err := d.start(o.spoolSize, bounded); err != nil {
		return err
	}
	if o.init {
		streams := command.Streams{In: stdin, Err: stderr}
		return command.Confirm(ctx, streams, o.yes, fmt.Sprintf("Remove everything that weir keeps in %s?", t.name))
	}
	if d.waits() == "" {
		return nil
	}
	// What another process sends need not be waited for.
	if err := d.drain(ctx, "", drainPatience, progressOf(o, stderr)); err != nil {
		return fmt.Errorf("send what an earlier run left in the spool %s: %w", t.path, err)
	}
	return nil
}

// progressOf returns where progress is shown.
func progressOf(o *options, stderr io.Writer) io.Writer {
	if o.quiet {
		return io.Discard
	}
	return stderr
}

// closeTargets ends the connections to databases.
func closeTargets(list []*target) error {
	var errs []error
	for _, t := range list {
		if t.database != nil {
			errs = append(errs, t.database.db.Close())
		}
	}
	return errors.Join(errs...)
}

// manifest returns what the store knows, nil if it knows nothing.
func (t *target) manifest(ctx context.Context) (*lake.Manifest, error) {
	m, err := lake.ReadManifest(t.path)
	if errors.Is(err, lake.ErrNotStore) {
		// It is made once there is something to put into it.
		m, err = nil, nil
	}
	if err != nil || t.database == nil {
		return m, err
	}
	known, err := t.database.db.Imports(ctx)
	if err != nil {
		return nil, err
	}
	// What waits in the spool is as good as sent, and may be in part.
	if m != nil {
		for _, imp := range m.Imports {
			if !slices.ContainsFunc(known, func(k lake.Import) bool { return k.ID == imp.ID }) {
				known = append(known, imp)
			}
		}
	}
	return &lake.Manifest{Imports: known}, nil
}

// begin opens the store for a reading.
func (t *target) begin(ctx context.Context, r *reading) error {
	var l *lake.Lake
	var err error
	if t.database == nil {
		l, err = lake.Open(t.path, lake.Config{Create: true, Version: buildVersion(), Logger: r.log})
	} else {
		l = t.database.spool
		if r.o.init {
			err = t.database.empty(ctx, progressOf(r.o, r.stderr))
		}
	}
	if err != nil {
		return err
	}
	source := "capture"
	if r.lasting {
		source = "stdin"
	}
	if t.writer, err = l.Begin(lake.Import{
		ID: r.importID, Sensor: r.o.sensor, Source: source, Options: r.o.fingerprint(),
	}); err != nil {
		return err
	}
	r.importID = t.writer.ID()
	if !r.lasting {
		return nil
	}
	cfg := sensor.PublishConfig{
		Every: r.o.publish, Describe: func() lake.Final { return r.describe(t) }, Strict: true, Log: r.log,
	}
	if t.database != nil {
		cfg.Published = t.database.forward.Wake
	}
	t.publisher = sensor.NewPublisher(t.writer, cfg)
	return nil
}

// sink returns where records go.
func (t *target) sink() sensor.Sink {
	if t.publisher != nil {
		return t.publisher
	}
	return t.writer
}

// commit makes the result visible. Of a database it waits in the spool then.
func (t *target) commit(ctx context.Context, r *reading) error {
	if t.publisher != nil {
		return t.publisher.Commit()
	}
	final := r.describe(t)
	if t.database != nil {
		if err := t.unknown(ctx, final.Inputs); err != nil {
			return err
		}
	}
	return t.writer.Commit(final)
}

// unknown refuses captures that another run read into the database while this one
// read them, as the lake does by itself.
func (t *target) unknown(ctx context.Context, inputs []lake.Input) error {
	m, err := t.manifest(ctx)
	if neo4j.Outage(err) {
		return nil // what was read is worth more than that question
	}
	if err != nil {
		return err
	}
	for i := range m.Imports {
		for _, have := range m.Imports[i].Inputs {
			for _, in := range inputs {
				if in.Sum != "" && in.Sum == have.Sum && in.Size == have.Size {
					return fmt.Errorf("%w: %s, import %s", lake.ErrAlreadyImported, in.Name, m.Imports[i].ID)
				}
			}
		}
	}
	return nil
}

// abort drops what was not committed.
func (t *target) abort() error {
	if t.writer == nil {
		return nil
	}
	return t.writer.Abort()
}

// spooledError says that a database did not get everything, which is not lost.
type spooledError struct {
	err   error
	spool string
}

func (e *spooledError) Error() string { return e.err.Error() + "; " + e.what() }

// what says where everything is.
func (e *spooledError) what() string {
	return "all that was read is in the spool " + e.spool + ", and the next run with this store sends it"
}

func (e *spooledError) Unwrap() error { return e.err }

// errHurried says that a signal ended a drain.
var errHurried = errors.New("a signal ended it")

// send sends what was committed to the database. A signal ends that, of pipes
// after a short time: what waits is safe.
func (t *target) send(ctx context.Context, r *reading) error {
	if t.database == nil {
		return nil
	}
	ctx, stop := context.WithCancelCause(context.WithoutCancel(ctx))
	defer stop(nil)
	defer context.AfterFunc(r.signaled, func() {
		if r.lasting {
			select {
			case <-ctx.Done():
			case <-time.After(drainAtEnd):
			}
		}
		stop(errHurried)
	})()
	err := t.database.drain(ctx, t.writer.ID(), drainPatience, progressOf(r.o, r.stderr))
	switch {
	case err == nil:
	case !errors.Is(context.Cause(ctx), errHurried):
		return &spooledError{err, t.path}
	case !r.lasting:
		return &spooledError{context.Canceled, t.path}
	}
	return lossOf(t.stats())
}

// stats says what became of the records for a database.
func (t *target) stats() sensor.SpoolStats {
	s := sensor.SpoolStats{Forward: t.database.stats()}
	if t.publisher != nil {
		s.Publish = t.publisher.Stats()
	}
	return s
}

// report says what became of the records.
func (t *target) report() storeReport {
	if t.database == nil {
		return storeReport{store: t.name}
	}
	s := t.stats()
	return storeReport{store: t.name, lost: s.Lost(), waits: t.database.waits()}
}
