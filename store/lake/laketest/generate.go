// SPDX-License-Identifier: Apache-2.0

package laketest

import (
	"context"
	"fmt"
	"runtime"
	"time"

	"golang.org/x/sync/errgroup"

	"weir/store/lake"
)

// Generate makes a lake of cfg.Days days that begin at cfg.Day, each of the same size. The
// days are written at the same time, as by so many sensors one after the other: what is in
// the lake does not depend on the number of processors, what parts are called does.
func Generate(ctx context.Context, l *lake.Lake, cfg Config) error {
	days := max(cfg.Days, 1)
	if cfg.Conns < days || cfg.PerPart < 1 {
		return fmt.Errorf("generate lake: %d connections in parts of %d do not make %d days", cfg.Conns, cfg.PerPart, days)
	}
	// What is the same for all days is made once.
	network := New(cfg)
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(runtime.GOMAXPROCS(0))
	for day := range days {
		g.Go(func() error {
			if err := ctx.Err(); err != nil {
				return err
			}
			part := cfg
			part.Day = cfg.Day.AddDate(0, 0, day)
			part.Conns = cfg.Conns*(day+1)/days - cfg.Conns*day/days
			w, err := l.Begin(lake.Import{ID: fmt.Sprintf("generated-%d", day), Sensor: "eth0", Source: "live"})
			if err != nil {
				return err
			}
			defer func() { _ = w.Abort() }() // after Commit it does nothing
			n := *network
			n.draw(cfg, uint64(day)+cfg.Draw*uint64(days))
			return n.fill(w, part)
		})
	}
	if err := g.Wait(); err != nil {
		return fmt.Errorf("generate lake: %w", err)
	}
	return nil
}

// Compact merges and rolls up all of a lake that was generated, as if it had been at rest.
func Compact(ctx context.Context, l *lake.Lake) (lake.CompactStats, error) {
	return l.Compact(ctx, lake.CompactConfig{MinAge: -1, QuietFor: -1, MinRollup: -1, ClosedAfter: time.Nanosecond})
}
