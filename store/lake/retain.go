// SPDX-License-Identifier: Apache-2.0

package lake

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"
	"time"
)

// ErrClock says that retention waits because of the clock, or of how much it
// would drop: rather the clock is wrong than that this is meant.
var ErrClock = errors.New("retention by age waits")

// Limits of what retention believes of the clock.
const (
	// clockSet is by how much the clock may be set while the program runs.
	clockSet = time.Hour
	// clockWait is how long retention waits after the clock was set further.
	clockWait = time.Hour
)

// RetainConfig says what may stay in a store. What is zero does not bound it.
type RetainConfig struct {
	// MaxAge drops days whose newest record is older.
	MaxAge time.Duration
	// MaxBytes drops the oldest days until the store's parts are not larger, the
	// newest day excepted. Replaced parts in .old do not count.
	MaxBytes int64
	// Before drops days whose newest record is older than this point in time.
	// Somebody has named it, so that no other rule holds, not even for the newest
	// day.
	Before time.Time
	// Now is the time of day, for tests; zero is that of the system.
	Now time.Time
	// Force drops by age however much that is, and whatever the clock did. The
	// newest day stays nevertheless.
	Force bool
	// DryRun changes nothing.
	DryRun bool
}

// Validate reports settings that make no sense.
func (c RetainConfig) Validate() error {
	if c.MaxAge < 0 {
		return fmt.Errorf("age %v is negative", c.MaxAge)
	}
	if c.MaxBytes < 0 {
		return fmt.Errorf("size %d is negative", c.MaxBytes)
	}
	return nil
}

// ExpiredDay is a UTC day that retention dropped, with everything of it. Its rows are those
// of connections and intel, its parts and bytes those of roll-ups, too.
type ExpiredDay struct {
	Day         string    `json:"day"`
	Parts       int       `json:"parts"`
	Rows        int64     `json:"rows"`
	Connections int64     `json:"connections"`
	Bytes       int64     `json:"bytes"`
	Newest      time.Time `json:"newest"`
}

// wallClock notices when the clock is set.
type wallClock struct {
	start time.Time // with a monotonic reading; not changed

	mu   sync.Mutex    // guards the rest
	wall time.Time     // what the clock showed
	at   time.Duration // and how long after the start that was
	set  bool          // the clock was set then
}

func newWallClock() *wallClock {
	now := time.Now()
	return &wallClock{start: now, wall: now.Round(0)}
}

// jumped takes what the clock shows so long after the start. It returns by how
// much the clock was set since the last call, if that is much, and whether it
// was within clockWait.
func (c *wallClock) jumped(wall time.Time, at time.Duration) (by time.Duration, recent bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	by = wall.Sub(c.wall) - (at - c.at)
	if by.Abs() > clockSet {
		c.wall, c.at, c.set = wall, at, true
		return by, true
	}
	return 0, c.set && at-c.at < clockWait
}

// Retain drops what is too old or too much, whole days at a time, in one change,
// and returns the days that it dropped, the oldest first.
//
// A clock that is wrong must not empty the store. So by age the newest day never
// goes; nothing does for an hour after the clock was set by more than an hour
// while the program ran; and where everything is older than MaxAge, or more than
// one day and half of the store would go at once, that is left to somebody who
// says Force. An error that is ErrClock says so; what the other rules ask for is
// done nevertheless.
func (l *Lake) Retain(cfg RetainConfig) ([]ExpiredDay, error) {
	days, err := l.retain(cfg)
	if err != nil {
		err = fmt.Errorf("expire records: %w", err)
	}
	return days, err
}

func (l *Lake) retain(cfg RetainConfig) ([]ExpiredDay, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	var late error
	if cfg.Now.IsZero() {
		cfg.Now = time.Now()
		by, waits := l.clock.jumped(cfg.Now.Round(0), time.Since(l.clock.start))
		if waits && !cfg.Force && cfg.MaxAge > 0 {
			late = fmt.Errorf("%w an hour, since the clock was set", ErrClock)
			if by != 0 {
				late = fmt.Errorf("%w: by %v", late, by.Round(time.Second))
			}
			cfg.MaxAge = 0
		}
	}
	// Mostly there is nothing to do: that needs no lock.
	m, err := l.Manifest()
	if err != nil {
		return nil, err
	}
	days, why := m.expired(cfg)
	late = cmp.Or(late, why)
	if len(days) == 0 || cfg.DryRun {
		return days, late
	}
	err = l.locked(func() error {
		m, err := ReadManifest(l.path)
		if err != nil {
			return err
		}
		if days, _ = m.expired(cfg); len(days) == 0 {
			return nil
		}
		old := m.removeParts(func(p *Part) bool {
			return slices.ContainsFunc(days, func(d ExpiredDay) bool { return d.Day == p.Day })
		})
		m.forget()
		if err := l.replaceManifest(m); err != nil {
			return err
		}
		l.discard(old)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return days, late
}

// expired returns the days that are to go, the oldest first. The error says
// why some are left that are too old.
func (m *Manifest) expired(cfg RetainConfig) (gone []ExpiredDay, late error) {
	days := m.days()
	var total int64
	for i := range days {
		total += days[i].Bytes
	}
	// A day holds nothing that began later, so the days before one that is to
	// stay can be judged on their own.
	keep := make([]ExpiredDay, 0, len(days))
	for _, d := range days {
		if !cfg.Before.IsZero() && d.Newest.Before(cfg.Before) {
			gone = append(gone, d)
		} else {
			keep = append(keep, d)
		}
	}
	if cfg.MaxAge > 0 && len(keep) > 0 {
		limit := cfg.Now.Add(-cfg.MaxAge)
		var old, young []ExpiredDay
		var bytes int64
		for i, d := range keep {
			if i < len(keep)-1 && d.Newest.Before(limit) {
				old = append(old, d)
				bytes += d.Bytes
			} else {
				young = append(young, d)
			}
		}
		newest := slices.MaxFunc(keep, func(a, b ExpiredDay) int { return a.Newest.Compare(b.Newest) }).Newest
		switch {
		case len(old) == 0:
		case cfg.Force:
			gone, keep = append(gone, old...), young
		case newest.Before(limit):
			late = fmt.Errorf("%w: everything is older than %v, the newest record is of %s; is the clock right?",
				ErrClock, cfg.MaxAge, newest.Format(time.DateTime))
		case len(old) > 1 && bytes > total/2:
			late = fmt.Errorf("%w: %d days, %d of %d bytes, would go at once; if that is meant, expire them by hand",
				ErrClock, len(old), bytes, total)
		default:
			gone, keep = append(gone, old...), young
		}
	}
	if cfg.MaxBytes > 0 {
		var size int64
		for i := range keep {
			size += keep[i].Bytes
		}
		for len(keep) > 1 && size > cfg.MaxBytes {
			size -= keep[0].Bytes
			gone, keep = append(gone, keep[0]), keep[1:]
		}
	}
	slices.SortFunc(gone, func(a, b ExpiredDay) int { return cmp.Compare(a.Day, b.Day) })
	return gone, late
}

// days sums up the parts of each day, the oldest first.
func (m *Manifest) days() []ExpiredDay {
	byDay := make(map[string]*ExpiredDay)
	for i := range m.Parts {
		p := &m.Parts[i]
		d := byDay[p.Day]
		if d == nil {
			d = &ExpiredDay{Day: p.Day}
			byDay[p.Day] = d
		}
		d.Parts++
		if !IsRollup(p.Kind) { // made of rows that count already
			d.Rows += p.Rows
		}
		d.Connections += p.Conns
		d.Bytes += p.Bytes
		if p.Kind == WeekTable {
			continue // it tells of later days, too, and goes with the first one
		}
		if t := time.UnixMicro(p.MaxTS).UTC(); d.Newest.IsZero() || t.After(d.Newest) {
			d.Newest = t
		}
	}
	days := make([]ExpiredDay, 0, len(byDay))
	for _, d := range byDay {
		days = append(days, *d)
	}
	slices.SortFunc(days, func(a, b ExpiredDay) int { return cmp.Compare(a.Day, b.Day) })
	return days
}

// identified reports whether an import came from files, which stay known: reading
// them again must not bring back what expired.
func (imp *Import) identified() bool {
	return slices.ContainsFunc(imp.Inputs, func(in Input) bool { return in.Sum != "" })
}

// forget drops imports of which nothing is left and that cannot come again:
// those that ended, came from no file, and whose time is before that of every
// part.
func (m *Manifest) forget() {
	oldest := int64(math.MaxInt64)
	named := make(map[string]bool)
	for i := range m.Parts {
		p := &m.Parts[i]
		named[p.Import] = true
		oldest = min(oldest, p.MinTS)
	}
	m.Imports = slices.DeleteFunc(m.Imports, func(imp Import) bool {
		return !imp.identified() && !named[imp.ID] && !imp.Open && imp.Last < oldest
	})
}

// maxEnded bounds the imports that ended, came from no file, and whose parts
// were all merged with those of others: each change writes all that are known.
const maxEnded = 500

// forgetEnded drops the oldest of these imports where there are too many.
func (m *Manifest) forgetEnded() {
	if len(m.Imports) <= maxEnded {
		return
	}
	named := make(map[string]bool)
	for i := range m.Parts {
		named[m.Parts[i].Import] = true
	}
	ended := func(imp *Import) bool { return !imp.identified() && !named[imp.ID] && !imp.Open }
	n := -maxEnded
	for i := range m.Imports {
		if ended(&m.Imports[i]) {
			n++
		}
	}
	m.Imports = slices.DeleteFunc(m.Imports, func(imp Import) bool {
		if n <= 0 || !ended(&imp) {
			return false
		}
		n--
		return true
	})
}
