// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"log/slog"
	"syscall"
	"time"

	"weir/store/lake"
)

// How often the store is looked after.
const (
	compactEvery = 30 * time.Second
	// compactAtMost is how long merging waits at most after it failed, as on a
	// full disk: each time twice as long as before.
	compactAtMost = 16 * time.Minute
	retainEvery   = 10 * time.Minute
)

// compactShare is the part of the memory cap that merging parts may take. With
// the least cap it is lake.MinCompactMemory.
const compactShare = 1.0 / 8

// keptStore is the store that a keeper looks after.
type keptStore interface {
	Compact(context.Context, lake.CompactConfig) (lake.CompactStats, error)
	Retain(lake.RetainConfig) ([]lake.ExpiredDay, error)
	Sweep() error
}

// keeper merges small parts and sums up days that are over, removes what is too
// old or too much, and what killed programs left, in the background. It is for
// one goroutine.
type keeper struct {
	store   keptStore
	log     *slog.Logger
	compact bool
	memory  int64 // that merging may take
	limits  func() lake.RetainConfig
	again   <-chan struct{} // has a value when the limits may have changed

	merging, retaining, sweeping trouble
}

// maintain looks after the store until ctx is done.
func (l *listening) maintain(ctx context.Context) error {
	k := &keeper{
		store: l.lake, log: l.log, compact: !l.o.noCompact,
		memory: int64(float64(l.o.memory) * compactShare), limits: l.limits,
		again: l.again,
	}
	k.run(ctx)
	return nil
}

func (k *keeper) run(ctx context.Context) {
	var compact <-chan time.Time
	wait := compactEvery
	timer := time.NewTimer(wait)
	defer timer.Stop()
	if k.compact {
		compact = timer.C
	}
	retain := time.NewTicker(retainEvery)
	defer retain.Stop()
	// A sensor that is started again and again must drop old parts, too.
	k.retain()
	for {
		select {
		case <-ctx.Done():
			return
		case <-compact:
			wait = k.merge(ctx, wait)
			timer.Reset(wait)
		case <-retain.C:
			k.sweep()
			k.retain()
		case <-k.again:
			k.retain()
		}
	}
}

// merge merges small parts, with less of the processor than the capture gets.
// It returns how long to wait now, where it was wait before.
func (k *keeper) merge(ctx context.Context, wait time.Duration) time.Duration {
	var stats lake.CompactStats
	err := lake.LowPriority(func(err error) {
		k.log.Debug("merge parts at normal priority", slog.Any("err", err))
	}, func() (err error) {
		stats, err = k.store.Compact(ctx, lake.CompactConfig{Memory: k.memory})
		return err
	})
	if stats.Merged > 0 || stats.Rollups > 0 || stats.Weeks > 0 {
		k.log.Debug("merged parts of the store", slog.Int("parts", stats.Merged), slog.Int("into", stats.Parts),
			slog.Int64("rows", stats.Rows), slog.Int("days_summed_up", stats.Rollups),
			slog.Int("weeks_summed_up", stats.Weeks))
	}
	for _, unfit := range stats.Unfit {
		k.log.Warn("a part of the store cannot be merged, run flowcli check", slog.Any("err", unfit))
	}
	switch {
	case err == nil:
		if k.merging.ends() {
			k.log.Info("parts of the store are merged again")
		}
	case errors.Is(err, lake.ErrCompacting), ctx.Err() != nil:
		// Another process is at it, or this one ends: nothing is lost.
	default:
		wait = min(2*wait, compactAtMost)
		if k.merging.begins(err) {
			k.log.Warn("parts of the store cannot be merged", slog.Any("err", err))
		}
		return wait
	}
	return compactEvery
}

// retain removes what is too old or too much.
func (k *keeper) retain() {
	limits := k.limits()
	if limits.MaxAge == 0 && limits.MaxBytes == 0 {
		k.retaining.ends()
		return
	}
	days, err := k.store.Retain(limits)
	for _, d := range days {
		k.log.Info("removed a day from the store", slog.String("day", d.Day), slog.Int("parts", d.Parts),
			slog.Int64("rows", d.Rows), slog.Int64("bytes", d.Bytes))
	}
	switch {
	case err == nil:
		if k.retaining.ends() {
			k.log.Info("what is old is removed from the store again")
		}
	case k.retaining.begins(err):
		k.log.Warn("what is old stays in the store", slog.Any("err", err))
	}
}

// sweep removes what killed programs left. Opening the store has done so once.
func (k *keeper) sweep() {
	err := k.store.Sweep()
	switch {
	case err == nil:
		k.sweeping.ends()
	case k.sweeping.begins(err):
		k.log.Warn("files that nothing names stay in the store", slog.Any("err", err))
	}
}

// trouble is something that goes wrong for a while, and is logged when that
// begins and not every time.
type trouble struct {
	on  bool
	why error
}

// begins notes an error and reports whether it is another one than before. The
// text is no help, since it names files.
func (t *trouble) begins(err error) bool {
	var why error
	if errno, ok := errors.AsType[syscall.Errno](err); ok {
		why = errno
	} else if errors.Is(err, lake.ErrClock) {
		why = lake.ErrClock
	}
	fresh := !t.on || why != t.why
	t.on, t.why = true, why
	return fresh
}

// ends notes that all is well and reports whether it was not before.
func (t *trouble) ends() bool {
	was := t.on
	*t = trouble{}
	return was
}

// limits returns what the store may hold.
func (l *listening) limits() lake.RetainConfig {
	l.mu.Lock()
	defer l.mu.Unlock()
	return lake.RetainConfig{MaxAge: time.Duration(l.o.retain), MaxBytes: int64(l.o.maxSize)}
}
