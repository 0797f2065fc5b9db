// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"weir/internal/logging"
	"weir/internal/sensor"
	"weir/internal/systemd"
	"weir/internal/telemetry"
)

// notify reports that the service manager could not be told something.
func (l *listening) notify(err error) {
	if err != nil {
		l.log.Warn("the service manager was not told", slog.Any("err", err))
	}
}

// flushLogs writes Zeek's logs every second, and rotates them in time.
func (l *listening) flushLogs(ctx context.Context) error {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case now := <-tick.C:
			l.writing.Begin()
			l.noteLogs(l.logs.Flush(now))
			l.writing.End()
		}
	}
}

// noteLogs remembers how writing logs went, and logs where that changes.
func (l *listening) noteLogs(err error) {
	failed := l.logErr.Load() != nil
	switch {
	case err == nil && failed:
		l.logErr.Store(nil)
		l.log.Info("logs are written again", slog.Uint64("lost_lines", l.logs.Stats().Lost))
	case err != nil:
		l.logErr.Store(&err)
		if !failed {
			l.log.Error("logs cannot be written", slog.Any("err", err))
		}
	}
}

// flushMessages logs now and then what repeats itself and was held back.
func (l *listening) flushMessages(ctx context.Context) error {
	tick := time.NewTicker(logging.DefaultInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			// A log that cannot be written has nobody to tell.
			_ = l.limit.Flush(ctx, false)
		}
	}
}

// signs gives the service manager signs of life.
func (l *listening) signs(ctx context.Context) error {
	l.notify(systemd.Watchdog(ctx, l.moving()))
	return nil
}

// moving returns a function that reports whether all that packets go through has
// moved since it was called last: workers are done with further blocks, which
// come several times a second, empty ones if need be, and none of those who
// write is still at what it was at then. The spool of a database is not among
// them: nobody waits for it.
func (l *listening) moving() func() bool {
	steps := append(l.pipeline.Handing(), &l.writing)
	if l.publisher != nil {
		steps = append(steps, l.publisher.Publishing())
	}
	return sensor.Moving(l.pipeline.Blocks, steps...)
}

// serve answers those who want metrics.
func (l *listening) serve(ctx context.Context) error {
	reg, err := l.registry()
	if err != nil {
		return errors.Join(err, l.metrics.Close())
	}
	return telemetry.Serve(ctx, l.metrics, reg, l.health, l.log)
}

// registry returns the metrics of the run.
func (l *listening) registry() (*telemetry.Registry, error) {
	s := sensor.Sources{Capture: l.src.Stats, Pipeline: l.pipeline.Stats}
	if l.publisher != nil {
		s.Store = l.publisher.Stats
	}
	if l.database != nil {
		s.Spool = l.spoolStats
	}
	if l.logs != nil {
		s.Logs = l.logs.Stats
	}
	return telemetry.NewRegistry(buildVersion(), sensor.Metrics(s)...)
}

// health tells whether the run does what it should.
func (l *listening) health() telemetry.Health {
	live := sensor.Liveness{Down: l.src.Down(), Started: l.began, Block: l.began.Add(time.Duration(l.block.Load()))}
	if l.publisher != nil {
		s := l.publisher.Stats()
		live.Publication, live.StoreError = s.Last, s.Err
	} else {
		live.Publication = time.Now()
	}
	if l.database != nil {
		s := l.spooling.Stats()
		live.Spooled, live.SpoolError, live.ForwardError = &s.Last, s.Err, l.database.trouble()
	}
	if err := l.logErr.Load(); err != nil {
		live.LogError = *err
	}
	return live.Health(time.Now())
}
