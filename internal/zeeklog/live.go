// SPDX-License-Identifier: Apache-2.0

package zeeklog

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"weir/internal/flow"
)

// LiveConfig says where and how to write the logs of a live run.
type LiveConfig struct {
	Config
	// Rotate is how often logs are closed and get a name of their own; zero is
	// never.
	Rotate time.Duration
}

// Validate reports what is wrong with the configuration.
func (c LiveConfig) Validate() error {
	if c.Rotate != 0 && c.Rotate < time.Second {
		return fmt.Errorf("rotation interval %v is below a second, the precision of the logs' names", c.Rotate)
	}
	return nil
}

// Live writes the logs of a run that goes on for long. A log is written in place
// (conn.log) from its first record on. Every interval it is closed and renamed
// as Zeek does it: at multiples of the interval since 1970, to the log's name
// with the time from which on it holds records (conn-26-11-25_10.00.00.log).
//
// Times are the caller's, and the names are in their location. Connections and
// Intel never fail: what cannot be written waits for the next Flush, up to
// maxWaiting bytes a log, and what comes then is lost and counted. All methods
// are safe for concurrent use, but for Connections among themselves and Intel
// among themselves.
type Live struct {
	cfg  LiveConfig
	logs *Logs

	// mu guards next and serializes Flush, Reopen and Close.
	mu   sync.Mutex
	next time.Time // when to rotate next
}

// Stats counts what a Live did.
type Stats struct {
	// Lines counts those written or waiting to be, Lost those given up.
	Lines, Lost uint64
	// Rotations counts logs that got a name of their own.
	Rotations uint64
	// Errors counts attempts to open, write, close or rename a log that failed.
	Errors uint64
}

// Limits of what waits in memory for a log's file.
const (
	writeSize  = 256 << 10 // is written without waiting for Flush
	maxWaiting = 4 << 20
)

// OpenLive makes the directory and returns a Live that writes into it from now
// on. Logs that an earlier run left get a name of their own.
func OpenLive(cfg LiveConfig, now time.Time) (*Live, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(cfg.Dir, 0o755); err != nil {
		return nil, fmt.Errorf("make log directory: %w", err)
	}
	l := &Live{cfg: cfg, logs: newLogs(cfg.Config)}
	for _, g := range l.logs.all() {
		g.live = &liveFile{log: g, name: filepath.Join(cfg.Dir, g.name+".log"), now: now}
		if err := g.live.moveLeftover(now); err != nil {
			return nil, fmt.Errorf("rename earlier %s.log: %w", g.name, err)
		}
	}
	if cfg.Rotate > 0 {
		l.next = nextRotation(now, cfg.Rotate)
	}
	return l, nil
}

// nextRotation returns when logs are rotated after now, as Zeek's
// calc_next_rotate does without a base time.
func nextRotation(now time.Time, every time.Duration) time.Time {
	return lastRotation(now, every).Add(every)
}

// lastRotation returns the last multiple of an interval up to now.
func lastRotation(now time.Time, every time.Duration) time.Time {
	past := now.UnixNano() % int64(every)
	if past < 0 {
		past += int64(every)
	}
	// Round drops the monotonic clock, which knows nothing of these multiples.
	return now.Round(0).Add(-time.Duration(past))
}

// Connections adds a batch to conn.log.
func (l *Live) Connections(b *flow.ConnBatch) error { return l.logs.Connections(b) }

// Intel adds a batch to the logs of its kinds.
func (l *Live) Intel(b *flow.IntelBatch) error { return l.logs.Intel(b) }

// Flush writes what waits, and rotates the logs if it is time to. It is to be
// called about every second. After an error it is worth while to call it again:
// it goes on where it could not.
func (l *Live) Flush(now time.Time) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	rotate := l.cfg.Rotate > 0 && !now.Before(l.next)
	var errs []error
	for _, g := range l.logs.all() {
		if rotate {
			g.live.due = lastRotation(now, l.cfg.Rotate)
		}
		errs = append(errs, g.live.flush(now))
	}
	// Where the clock was set back, the next rotation would be far away.
	if rotate || l.cfg.Rotate > 0 && l.next.Sub(now) > l.cfg.Rotate {
		l.next = nextRotation(now, l.cfg.Rotate)
	}
	return errors.Join(errs...)
}

// Reopen closes logs whose files were renamed or removed by somebody else, so
// that new ones are begun. It is what SIGHUP asks for.
func (l *Live) Reopen(now time.Time) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	var errs []error
	for _, g := range l.logs.all() {
		g.live.moved = true
		errs = append(errs, g.live.flush(now))
	}
	return errors.Join(errs...)
}

// Close ends the logs. Where logs are rotated, these are too. What could not be
// written is lost. No other method but Stats may be called afterwards.
func (l *Live) Close(now time.Time) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	var errs []error
	for _, g := range l.logs.all() {
		if l.cfg.Rotate > 0 {
			g.live.due = now
		}
		errs = append(errs, g.live.flush(now), g.live.end(now))
	}
	return errors.Join(errs...)
}

// Stats returns the counters of all logs.
func (l *Live) Stats() Stats {
	var sum Stats
	for _, g := range l.logs.all() {
		s := g.live.count()
		sum.Lines += s.Lines
		sum.Lost += s.Lost
		sum.Rotations += s.Rotations
		sum.Errors += s.Errors
	}
	return sum
}
