// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"weir/store/lake"
)

// How often the store is looked after.
const (
	compactEvery = 30 * time.Second
	retainEvery  = 10 * time.Minute
)

// compactShare is the part of the memory cap that merging parts may take. With
// the least cap it is lake.MinCompactMemory.
const compactShare = 1.0 / 8

// maintain merges small parts and sums up days that are over, and removes what
// is too old or too much, in the background.
func (l *listening) maintain(ctx context.Context) error {
	compact := time.NewTicker(compactEvery)
	defer compact.Stop()
	retain := time.NewTicker(retainEvery)
	defer retain.Stop()
	// A sensor that is started again and again must drop old parts, too.
	l.retain()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-compact.C:
			l.compact(ctx)
		case <-retain.C:
			l.retain()
		}
	}
}

// compact merges small parts, with less of the processor than the capture gets.
func (l *listening) compact(ctx context.Context) {
	if l.o.noCompact {
		return
	}
	var stats lake.CompactStats
	err := lake.LowPriority(func(err error) {
		l.log.Debug("merge parts at normal priority", slog.Any("err", err))
	}, func() (err error) {
		stats, err = l.lake.Compact(ctx, lake.CompactConfig{Memory: int64(float64(l.o.memory) * compactShare)})
		return err
	})
	switch {
	case errors.Is(err, lake.ErrCompacting), errors.Is(err, context.Canceled):
		// Another process is at it, or this one ends: nothing is lost.
	case err != nil:
		l.log.Warn("merge parts of the store", slog.Any("err", err))
	case stats.Merged > 0 || stats.Rollups > 0:
		l.log.Debug("merged parts of the store", slog.Int("parts", stats.Merged), slog.Int("into", stats.Parts),
			slog.Int64("rows", stats.Rows), slog.Int("days_summed_up", stats.Rollups))
	}
	for _, unfit := range stats.Unfit {
		l.log.Warn("a part of the store cannot be merged, run flowcli check", slog.Any("err", unfit))
	}
}

// retain removes what is too old or too much.
func (l *listening) retain() {
	limits := l.limits()
	if limits.MaxAge == 0 && limits.MaxBytes == 0 {
		return
	}
	days, err := l.lake.Retain(limits)
	for _, d := range days {
		l.log.Info("removed a day from the store", slog.String("day", d.Day), slog.Int("parts", d.Parts),
			slog.Int64("rows", d.Rows), slog.Int64("bytes", d.Bytes))
	}
	if err != nil {
		l.log.Warn("remove what is old from the store", slog.Any("err", err))
	}
}

// limits returns what the store may hold.
func (l *listening) limits() lake.RetainConfig {
	l.mu.Lock()
	defer l.mu.Unlock()
	return lake.RetainConfig{MaxAge: time.Duration(l.o.retain), MaxBytes: int64(l.o.maxSize)}
}
