// SPDX-License-Identifier: Apache-2.0

package logging

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// DefaultInterval is the least time between two lines with the same message.
const DefaultInterval = 10 * time.Second

// maxMessages bounds the messages that a limit remembers. Messages are constant
// texts of the program; this many are never in use.
const maxMessages = 256

// Limit is a [slog.Handler] that passes the first line with a message on, and
// then one in an interval. The attribute "repeated" of that one says how many
// lines were left out before it: those that differ in attributes count as the
// same. Below [slog.LevelWarn] nothing is limited: such lines say what
// happens, not that it goes wrong. It may be used from several goroutines.
//
// The last lines before silence are not lost either: [Limit.Flush] reports what
// was left out and not said yet.
type Limit struct {
	next  slog.Handler
	state *limitState
}

// limitState is what a handler shares with those made from it.
type limitState struct {
	interval time.Duration

	// mu guards seen.
	mu   sync.Mutex
	seen map[limitKey]*repeats
}

type limitKey struct {
	level   slog.Level
	message string
}

// repeats is what is known of one message.
type repeats struct {
	passed  time.Time // the last line that was passed on
	omitted int       // lines since then
	last    slog.Record
	next    slog.Handler // that last would have gone to
}

// NewLimit returns a handler in front of next. An interval of 0 means
// [DefaultInterval].
func NewLimit(next slog.Handler, interval time.Duration) *Limit {
	if interval == 0 {
		interval = DefaultInterval
	}
	return &Limit{next, &limitState{interval: interval, seen: map[limitKey]*repeats{}}}
}

// Enabled says what next says.
func (l *Limit) Enabled(ctx context.Context, level slog.Level) bool {
	return l.next.Enabled(ctx, level)
}

// WithAttrs returns a handler with the same limit.
func (l *Limit) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &Limit{l.next.WithAttrs(attrs), l.state}
}

// WithGroup returns a handler with the same limit.
func (l *Limit) WithGroup(name string) slog.Handler {
	return &Limit{l.next.WithGroup(name), l.state}
}

// Handle passes a line on, or counts it.
func (l *Limit) Handle(ctx context.Context, r slog.Record) error {
	if r.Level < slog.LevelWarn {
		return l.next.Handle(ctx, r)
	}
	omitted, pass, spare := l.state.admit(r, l.next)
	// Not under the lock: writing may take its time.
	err := spare.report(ctx)
	if !pass {
		return err
	}
	if omitted > 0 {
		r = r.Clone()
		r.AddAttrs(slog.Int("repeated", omitted))
	}
	if herr := l.next.Handle(ctx, r); herr != nil {
		return herr
	}
	return err
}

// admit decides about a line. Where a message has to be forgotten to make room,
// it returns what is known of it.
func (s *limitState) admit(r slog.Record, next slog.Handler) (omitted int, pass bool, spare *repeats) {
	now := time.Now()
	key := limitKey{r.Level, r.Message}
	s.mu.Lock()
	defer s.mu.Unlock()
	m := s.seen[key]
	if m == nil {
		if len(s.seen) >= maxMessages {
			spare = s.forget()
		}
		s.seen[key] = &repeats{passed: now}
		return 0, true, spare
	}
	if now.Sub(m.passed) < s.interval {
		m.omitted++
		m.last, m.next = r.Clone(), next
		return 0, false, nil
	}
	omitted = m.omitted
	*m = repeats{passed: now}
	return omitted, true, nil
}

// forget removes the message whose last line is the oldest.
func (s *limitState) forget() *repeats {
	var oldest limitKey
	var found *repeats
	for key, m := range s.seen {
		if found == nil || m.passed.Before(found.passed) {
			oldest, found = key, m
		}
	}
	delete(s.seen, oldest)
	return found
}

// report passes on the last line that was left out, and how many there were.
func (m *repeats) report(ctx context.Context) error {
	if m == nil || m.omitted == 0 {
		return nil
	}
	r := m.last
	r.AddAttrs(slog.Int("repeated", m.omitted-1))
	return m.next.Handle(ctx, r)
}

// Flush reports the messages whose lines were left out for at least an interval
// without being told: the last of them, with the number of the others. It is
// called now and then, and with all set at the end, for every message.
func (l *Limit) Flush(ctx context.Context, all bool) error {
	now := time.Now()
	var due []*repeats
	l.state.mu.Lock()
	for key, m := range l.state.seen {
		if !all && now.Sub(m.passed) < l.state.interval {
			continue
		}
		if m.omitted == 0 {
			// Silent for an interval: its next line is a first one again.
			delete(l.state.seen, key)
			continue
		}
		due = append(due, m)
		l.state.seen[key] = &repeats{passed: now}
	}
	l.state.mu.Unlock()
	var err error
	for _, m := range due {
		if rerr := m.report(ctx); rerr != nil {
			err = rerr
		}
	}
	return err
}
