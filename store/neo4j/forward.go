// SPDX-License-Identifier: Apache-2.0

package neo4j

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"weir/store/lake"
)

// ForwardConfig configures a Forwarder.
type ForwardConfig struct {
	// Spool is where parts wait. Nobody else may take parts away from it, or merge
	// them. Opened with a Grace of next to nothing it has no more on disk than it
	// says.
	Spool *lake.Lake
	// MaxBytes bounds the spool while Run runs: beyond it the oldest parts are
	// dropped, and counted (default 10 GB).
	MaxBytes int64
	// Patience is for how long Drain goes on while nothing can be sent (default 2
	// minutes).
	Patience time.Duration
	// Logger receives outages and what was dropped; nil discards.
	Logger *slog.Logger
}

// Validate reports values that make no sense.
func (c *ForwardConfig) Validate() error {
	switch {
	case c.Spool == nil:
		return errors.New("there is no spool")
	case c.MaxBytes < 0:
		return fmt.Errorf("a spool of at most %d bytes", c.MaxBytes)
	case c.Patience < 0:
		return fmt.Errorf("patience %v is negative", c.Patience)
	}
	return nil
}

const (
	// pollEvery is how often the spool is looked into, and its bound kept.
	pollEvery = time.Second
	// dropAfter is how many parts may be sent before they leave the spool.
	dropAfter = 16
	// manyParts is how many parts the spool may have before some are merged.
	manyParts = 256
	// sweepEvery is how often intel is looked for that waits for a flow which is
	// there, as it may where there are several forwarders.
	sweepEvery = time.Minute
	// updateEvery is how often the imports that go on are written.
	updateEvery = 30 * time.Second
)

// Forwarder sends the parts of a spool, in order, each exactly once. Run and
// Drain must not run at the same time; the rest is safe for concurrent use.
type Forwarder struct {
	cfg  ForwardConfig
	log  *slog.Logger
	s    *sender
	wake chan struct{} // room for one

	dropConns, dropIntel atomic.Int64

	// mu is held by whoever takes parts out of the spool, merges them, or chooses
	// the next one to send; it guards the fields.
	mu sync.Mutex
	// sending is the part that is sent, "" for none; sent are those that were and
	// are still in the spool.
	sending string
	sent    map[string]bool
	// short are the imports that lack what was dropped.
	short map[string]bool

	// Of the goroutine that sends:
	begun   bool
	swept   time.Time
	updated map[string]time.Time // open imports that were written, and when

	stats   sync.Mutex // guards backlog
	backlog Backlog
}

// ForwardStats says what a Forwarder has done and what waits.
type ForwardStats struct {
	// Backlog is what waits in the spool.
	Backlog Backlog
	// Parts, Connections and Intel were sent; Flows is how many updates of flows
	// that were.
	Parts, Connections, Intel, Flows int64
	// Retries counts transactions that were tried again.
	Retries int64
	// Dropped records left the spool because it was full.
	Dropped lake.Records
	// Refused records were not taken by the database, or were in damaged parts.
	Refused lake.Records
	// Err is what keeps the forwarder from sending, nil if nothing does.
	Err error
	// Last is when a chunk was taken for the last time.
	Last time.Time
}

// Backlog is what waits in a spool.
type Backlog struct {
	Parts       int64 `json:"parts"`
	Connections int64 `json:"connections"`
	Intel       int64 `json:"intel"`
	Bytes       int64 `json:"bytes"`
	// Oldest is when the oldest part came in; zero if none waits.
	Oldest time.Time `json:"oldest,omitzero"`
}

// SpoolBacklog returns what waits in the spool at a path.
func SpoolBacklog(path string) (Backlog, error) {
	m, err := lake.ReadManifest(path)
	if err != nil {
		return Backlog{}, fmt.Errorf("read spool: %w", err)
	}
	return backlogOf(path, m.Incoming(), nil), nil
}

// backlogOf adds up parts in their order, without those that were sent.
func backlogOf(root string, parts []lake.Part, sent map[string]bool) Backlog {
	var b Backlog
	for i := range parts {
		p := &parts[i]
		if sent[p.Path] {
			continue
		}
		if b.Parts == 0 {
			b.Oldest = cameIn(root, p)
		}
		b.Parts++
		b.Bytes += p.Bytes
		r := recordsOf(p)
		b.Connections += r.Conns
		b.Intel += r.Intel
	}
	return b
}

// recordsOf returns how many records a part has.
func recordsOf(p *lake.Part) lake.Records {
	if p.Kind == lake.ConnTable {
		return lake.Records{Conns: p.Conns}
	}
	return lake.Records{Intel: p.Rows}
}

// cameIn returns about when a part came into the store. Of one that was merged,
// which only those of live traffic are, its times say when the first did.
func cameIn(root string, p *lake.Part) time.Time {
	first := time.UnixMicro(p.MinTS)
	info, err := os.Stat(filepath.Join(root, filepath.FromSlash(p.Path)))
	switch {
	case err != nil:
		return first
	case p.Import == "" && first.Before(info.ModTime()):
		return first
	}
	return info.ModTime()
}

// NewForwarder returns a Forwarder; Run or Drain does the work.
func (d *DB) NewForwarder(cfg ForwardConfig) (*Forwarder, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("forward to %s: %w", d.where, err)
	}
	if cfg.MaxBytes == 0 {
		cfg.MaxBytes = 10_000_000_000
	}
	if cfg.Patience == 0 {
		cfg.Patience = 2 * time.Minute
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	f := &Forwarder{
		cfg: cfg, log: cfg.Logger, wake: make(chan struct{}, 1), sent: make(map[string]bool),
		short: make(map[string]bool), updated: make(map[string]time.Time), s: newSender(d, cfg.Logger, ""),
	}
	f.s.waiting = func() string {
		b := f.Stats().Backlog
		return fmt.Sprintf("%d connections and %d records of intel wait in %s", b.Connections, b.Intel, cfg.Spool.Path())
	}
	if _, err := f.look(); err != nil {
		return nil, err
	}
	return f, nil
}

// Wake makes Run look into the spool now.
func (f *Forwarder) Wake() {
	select {
	case f.wake <- struct{}{}:
	default: // it is about to
	}
}

// Stats returns the counters. It is safe for concurrent use.
func (f *Forwarder) Stats() ForwardStats {
	f.stats.Lock()
	b := f.backlog
	f.stats.Unlock()
	err, last := f.s.state()
	return ForwardStats{
		Backlog: b, Parts: f.s.parts.Load(), Connections: f.s.conns.Load(), Intel: f.s.intel.Load(),
		Flows: f.s.flows.Load(), Retries: f.s.retries.Load(),
		Dropped: lake.Records{Conns: f.dropConns.Load(), Intel: f.dropIntel.Load()},
		Refused: lake.Records{Conns: f.s.lostConns.Load(), Intel: f.s.lostIntel.Load()},
		Err:     err, Last: last,
	}
}

// Run sends what comes into the spool until ctx is done. It returns an error only
// for what waiting does not mend.
func (f *Forwarder) Run(ctx context.Context) error {
	release, err := f.claim()
	if err != nil {
		return err
	}
	defer release()
	f.s.setPatience(0)
	g, inner := errgroup.WithContext(ctx)
	g.Go(func() error { return f.keepBound(inner) })
	g.Go(func() error {
		for {
			if err := f.sendAll(inner); err != nil {
				return err
			}
			timer := time.NewTimer(pollEvery)
			select {
			case <-f.wake:
			case <-timer.C:
			case <-inner.Done():
			}
			timer.Stop()
			if inner.Err() != nil {
				return context.Cause(inner)
			}
		}
	})
	if err := g.Wait(); ctx.Err() == nil {
		return fmt.Errorf("forward to %s: %w", f.s.db.where, err)
	}
	return nil
}

// Drain sends what is in the spool and returns when it is empty.
func (f *Forwarder) Drain(ctx context.Context) error {
	release, err := f.claim()
	if err != nil {
		return err
	}
	defer release()
	f.s.setPatience(f.cfg.Patience)
	if err := f.sendAll(ctx); err != nil {
		return fmt.Errorf("forward to %s: %w", f.s.db.where, err)
	}
	return nil
}

// sendAll sends parts until there is none.
func (f *Forwarder) sendAll(ctx context.Context) error {
	for {
		p, err := f.choose()
		if err != nil {
			return err
		}
		if p == nil {
			return f.settle(ctx)
		}
		// Marks of parts that are not here any more: a forwarder was killed before
		// it removed them.
		if !f.begun {
			if err := f.begin(ctx); err != nil {
				return err
			}
		}
		if err := f.sendPart(ctx, p); err != nil {
			return err
		}
		f.mu.Lock()
		f.sent[p.Path], f.sending = true, ""
		due := len(f.sent) >= dropAfter
		f.mu.Unlock()
		if due {
			if err := f.settleSent(ctx); err != nil {
				return err
			}
		}
	}
}

// begin removes the marks of parts that are not in the spool.
func (f *Forwarder) begin(ctx context.Context) error {
	m, err := f.cfg.Spool.Manifest()
	if err != nil {
		return err
	}
	var keep []string
	for i := range m.Parts {
		keep = append(keep, m.Parts[i].Path)
	}
	if err := f.s.forget(ctx, keep); err != nil {
		return err
	}
	f.begun = true
	return nil
}

// sendPart sends a part. One that is damaged is given up.
func (f *Forwarder) sendPart(ctx context.Context, p *lake.Part) error {
	for try := 1; ; try++ {
		err := f.s.sendPart(ctx, f.cfg.Spool.Path(), p, func(int64) {})
		switch {
		case err == nil:
			f.s.parts.Add(1)
			return nil
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case errors.As(err, new(*StalledError)):
			return err
		case errors.Is(err, lake.ErrDamaged):
			r := recordsOf(p)
			f.s.lostConns.Add(r.Conns)
			f.s.lostIntel.Add(r.Intel)
			f.log.Error("a part of the spool cannot be read: what was not sent of it is lost", slog.String("part", p.Path),
				slog.Int64("connections", r.Conns), slog.Int64("intel", r.Intel), slog.Any("err", err))
			return nil
		}
		// The disk may be what is wrong.
		if err := f.s.failed(ctx, slow, try, err); err != nil {
			return err
		}
	}
}

// look reads the spool and notes what waits.
func (f *Forwarder) look() (*lake.Manifest, error) {
	m, err := f.cfg.Spool.Manifest()
	if err != nil {
		return nil, fmt.Errorf("look into the spool: %w", err)
	}
	b := backlogOf(f.cfg.Spool.Path(), m.Incoming(), f.sent)
	f.stats.Lock()
	f.backlog = b
	f.stats.Unlock()
	return m, nil
}

// choose returns the next part to send, nil if there is none.
func (f *Forwarder) choose() (*lake.Part, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	m, err := f.look()
	if err != nil {
		return nil, err
	}
	f.sending = ""
	parts := m.Incoming()
	for i := range parts {
		if !f.sent[parts[i].Path] {
			f.sending = parts[i].Path
			return &parts[i], nil
		}
	}
	return nil, nil
}

// settle ends a round: what was sent leaves the spool, and what has to be done now
// and then is done.
func (f *Forwarder) settle(ctx context.Context) error {
	if err := f.settleSent(ctx); err != nil {
		return err
	}
	if f.s.waits.Load() && time.Since(f.swept) >= sweepEvery {
		f.s.waits.Store(false)
		f.swept = time.Now()
		if err := f.s.sweepWaiting(ctx); err != nil {
			return err
		}
	}
	return nil
}

// settleSent removes parts that were sent from the spool, then their marks: in
// this order, so that no part without marks is there that was sent. It writes the
// imports that are complete.
func (f *Forwarder) settleSent(ctx context.Context) error {
	f.mu.Lock()
	var paths []string
	for p := range f.sent {
		paths = append(paths, p)
	}
	var err error
	if len(paths) > 0 {
		if err = f.cfg.Spool.Drop(paths); err == nil {
			clear(f.sent)
		}
	}
	m, lerr := f.look()
	f.mu.Unlock()
	if err = errors.Join(err, lerr); err != nil {
		return err
	}
	if len(paths) > 0 {
		if err := f.s.forgetParts(ctx, paths); err != nil {
			return err
		}
	}
	return f.writeImports(ctx, m)
}

// keepBound drops the oldest parts of a spool that is too large, and merges those
// of one that has too many.
func (f *Forwarder) keepBound(ctx context.Context) error {
	ticker := time.NewTicker(pollEvery)
	defer ticker.Stop()
	merged := 0 // how many parts were left by the last merge
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-ticker.C:
		}
		if err := f.dropOldest(); err != nil {
			f.log.Warn("keep the bound of the spool", slog.Any("err", err))
			continue
		}
		f.stats.Lock()
		parts := int(f.backlog.Parts)
		f.stats.Unlock()
		if parts < manyParts || parts < merged+manyParts/2 && merged > 0 {
			continue
		}
		if err := f.compact(ctx); err != nil && ctx.Err() == nil {
			f.log.Warn("merge parts of the spool", slog.Any("err", err))
		}
		f.stats.Lock()
		merged = int(f.backlog.Parts)
		f.stats.Unlock()
	}
}

// compact merges small parts, so that the manifest stays short however long the
// server is away. Nothing is chosen to be sent meanwhile.
func (f *Forwarder) compact(ctx context.Context) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	_, err := f.cfg.Spool.Compact(ctx, lake.CompactConfig{
		MinAge: -1, MinRollup: 1 << 62, Memory: lake.MinCompactMemory,
		Except: func(path string) bool { return path == f.sending || f.sent[path] },
	})
	if _, lerr := f.look(); lerr != nil {
		err = errors.Join(err, lerr)
	}
	return err
}

// dropOldest drops the oldest parts beyond the bound, except for the one that is
// sent.
func (f *Forwarder) dropOldest() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	m, err := f.look()
	if err != nil {
		return err
	}
	var total int64
	parts := m.Incoming()
	for i := range parts {
		total += parts[i].Bytes
	}
	var paths []string
	var lost lake.Records
	for i := range parts {
		p := &parts[i]
		if total <= f.cfg.MaxBytes {
			break
		}
		if p.Path == f.sending || f.sent[p.Path] {
			continue
		}
		total -= p.Bytes
		paths = append(paths, p.Path)
		r := recordsOf(p)
		lost.Conns += r.Conns
		lost.Intel += r.Intel
		f.short[p.Import] = true
	}
	if len(paths) == 0 {
		return nil
	}
	if err := f.cfg.Spool.Drop(paths); err != nil {
		return err
	}
	f.dropConns.Add(lost.Conns)
	f.dropIntel.Add(lost.Intel)
	f.log.Warn("the spool is full: its oldest records were dropped", slog.String("spool", f.cfg.Spool.Path()),
		slog.Int64("limit", f.cfg.MaxBytes), slog.Int("parts", len(paths)),
		slog.Int64("connections", lost.Conns), slog.Int64("intel", lost.Intel))
	_, err = f.look()
	return err
}
