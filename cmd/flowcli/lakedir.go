// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"weir/internal/term"
	"weir/store"
	"weir/store/lake"
	"weir/store/lakequery"
)

// lakeDir is the directory of a lake.
type lakeDir struct{ o *options }

func (l *lakeDir) kind() string { return "a lake" }
func (l *lakeDir) path() string { return l.o.store }

// open implements place.
func (l *lakeDir) open(ctx context.Context) (store.Reader, error) { return l.query(ctx) }

// query implements directory.
func (l *lakeDir) query(ctx context.Context) (*lakequery.DB, error) {
	return lakequery.Open(ctx, l.o.store, l.o.limits())
}

// write opens the lake for changes.
func (l *lakeDir) write() (*lake.Lake, error) {
	return lake.Open(l.o.store, lake.Config{Version: buildVersion()})
}

// describe implements place. It reads no part, so that it tells of damaged
// stores, too.
func (l *lakeDir) describe(context.Context) (*description, error) {
	s, err := lakequery.ReadStatus(l.o.store)
	if err != nil {
		return nil, err
	}
	return &description{Status: s}, nil
}

// contents implements eraser.
func (l *lakeDir) contents(context.Context) (string, error) {
	// What cannot be read, or is no store, Init says.
	m, err := lake.ReadManifest(l.o.store)
	if err != nil || len(m.Imports) == 0 {
		return "", nil
	}
	return fmt.Sprintf("%s holds %d imports", l.o.store, len(m.Imports)), nil
}

// erase implements eraser.
func (l *lakeDir) erase(context.Context) error { return lake.Init(l.o.store) }

// reduce implements reducer.
func (l *lakeDir) reduce(_ context.Context, width time.Duration) (*reduced, error) {
	w, err := l.write()
	if err != nil {
		return nil, err
	}
	before, after, err := w.ReducePrecision(width)
	if err != nil {
		return nil, err
	}
	return &reduced{before: before, after: after}, nil
}

// expire implements expirer.
func (l *lakeDir) expire(_ context.Context, b bounds, dryRun bool) (expired, error) {
	if b.before.IsZero() && b.age == 0 && b.size == 0 {
		return nil, errNoBound
	}
	w, err := l.write()
	if err != nil {
		return nil, err
	}
	days, err := w.Retain(lake.RetainConfig{
		Before: b.before, MaxAge: b.age, MaxBytes: b.size, Force: true, DryRun: dryRun,
	})
	return expiredDays(days), err
}

// expiredDays are the days that left a lake.
type expiredDays []lake.ExpiredDay

func (d expiredDays) none() bool { return len(d) == 0 }

func (d expiredDays) question() string {
	n, size := d.sum()
	return fmt.Sprintf("Drop %d days up to %s: %s connections, %s?", len(d), d[len(d)-1].Day, term.Number(n), term.Bytes(size))
}

func (d expiredDays) sum() (conns, bytes int64) {
	for i := range d {
		conns += d[i].Connections
		bytes += d[i].Bytes
	}
	return conns, bytes
}

func (d expiredDays) text(w io.Writer, done string) error {
	for _, day := range d {
		fmt.Fprintf(w, "%s %s: %s connections, %s rows, %s\n", done, day.Day,
			term.Number(day.Connections), term.Number(day.Rows), term.Bytes(day.Bytes))
	}
	n, size := d.sum()
	_, err := fmt.Fprintf(w, "%s %d days, %s connections, %s\n", done, len(d), term.Number(n), term.Bytes(size))
	return err
}

func (d expiredDays) json(w io.Writer) error {
	for i := range d {
		if err := writeJSON(w, &d[i]); err != nil {
			return err
		}
	}
	return nil
}

// waitForLake returns once there is a lake at a path.
func waitForLake(ctx context.Context, path string) error {
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		if _, err := lake.ReadManifest(path); !errors.Is(err, lake.ErrNotStore) {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}
