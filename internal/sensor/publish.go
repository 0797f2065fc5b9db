// SPDX-License-Identifier: Apache-2.0

package sensor

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"weir/internal/flow"
	"weir/store/lake"
)

// Defaults of PublishConfig.
const (
	DefaultPublishEvery = 5 * time.Second
	DefaultPublishMost  = 100_000
)

// PublishConfig configures a Publisher.
type PublishConfig struct {
	// Every and Most say when records become visible: after this long, or when
	// there are so many connections (defaults: 5 s, 100,000).
	Every time.Duration
	Most  int64
	// Describe returns what is known of the input so far.
	Describe func() lake.Final
	// Published is called when records have become visible; nil is nobody.
	Published func()
	// Strict makes an error of the store one of the sink, which ends the
	// pipeline. Otherwise the input goes on: what the store cannot take is counted
	// as lost, and it is tried again at every turn.
	Strict bool
	// Log gets a line when the store stops taking records, and when it takes them
	// again; nil discards them.
	Log *slog.Logger
}

// Publisher is the sink of inputs that go on for long: it writes records into a
// store and makes them visible every few seconds. Connections and Intel are each
// called from one goroutine, Run from a third one.
type Publisher struct {
	cfg    PublishConfig
	writer *lake.Writer
	due    chan struct{} // holds a value when there is enough to publish
	turns  Steps         // publications, also those that fail

	// mu guards what follows.
	mu    sync.Mutex
	stats PublishStats
}

// PublishStats says what a Publisher has done so far.
type PublishStats struct {
	// Stored records are in the store, lost ones will never be.
	Stored, Lost lake.Records
	// Publications became visible, Failures did not.
	Publications, Failures uint64
	// Last is when the store took records for the last time, or when the
	// Publisher began.
	Last time.Time
	// Err is why the last publication failed, nil if it did not.
	Err error
}

// NewPublisher returns a Publisher of an import that w has begun. Commit or Abort
// must be called in the end.
func NewPublisher(w *lake.Writer, cfg PublishConfig) *Publisher {
	if cfg.Every == 0 {
		cfg.Every = DefaultPublishEvery
	}
	if cfg.Most == 0 {
		cfg.Most = DefaultPublishMost
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Published == nil {
		cfg.Published = func() {}
	}
	return &Publisher{
		cfg: cfg, writer: w, due: make(chan struct{}, 1), stats: PublishStats{Last: time.Now()},
	}
}

// Connections implements Sink.
func (p *Publisher) Connections(b *flow.ConnBatch) error {
	err := p.writer.Connections(b)
	if p.writer.Pending() >= p.cfg.Most {
		select {
		case p.due <- struct{}{}:
		default:
		}
	}
	return p.tolerate(err)
}

// Intel implements Sink.
func (p *Publisher) Intel(b *flow.IntelBatch) error { return p.tolerate(p.writer.Intel(b)) }

// tolerate returns the errors that are to end the pipeline. The writer counts
// what it could not take, and the next publication reports why.
func (p *Publisher) tolerate(err error) error {
	if p.cfg.Strict || errors.Is(err, lake.ErrFinished) {
		return err
	}
	return nil
}

// Run publishes until ctx is done. Only with Strict does it return an error.
func (p *Publisher) Run(ctx context.Context) error {
	tick := time.NewTicker(p.cfg.Every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		case <-p.due:
			tick.Reset(p.cfg.Every)
		}
		err := p.publish()
		if err != nil && p.cfg.Strict {
			return err
		}
	}
}

// publish makes visible what there is.
func (p *Publisher) publish() error {
	p.turns.Begin()
	defer p.turns.End()
	err := p.writer.Publish(p.cfg.Describe())
	p.note(err)
	if err == nil {
		p.cfg.Published()
	}
	return err
}

// Publishing tells whether Run hangs.
func (p *Publisher) Publishing() *Steps { return &p.turns }

// note remembers how a publication went, and logs where that changes.
func (p *Publisher) note(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	before := p.stats.Err
	p.stats.Err = err
	if err != nil {
		p.stats.Failures++
		if before == nil && !p.cfg.Strict {
			p.cfg.Log.Error("the store does not take records", slog.Any("err", err))
		}
		return
	}
	p.stats.Publications++
	p.stats.Last = time.Now()
	if before != nil {
		lost := p.writer.Lost()
		p.cfg.Log.Info("the store takes records again", slog.Int64("lost_connections", lost.Conns),
			slog.Int64("lost_intel", lost.Intel))
	}
}

// ErrLost says that records never reached the store.
var ErrLost = errors.New("records were lost")

// Commit ends the import after the last record. It returns ErrLost where some
// did not reach the store.
func (p *Publisher) Commit() error {
	err := p.writer.Commit(p.cfg.Describe())
	p.note(err)
	if lost := p.writer.Lost(); lost != (lake.Records{}) {
		return errors.Join(fmt.Errorf("%w: %d of connections, %d of intel", ErrLost, lost.Conns, lost.Intel), err)
	}
	return err
}

// Abort drops what was not published. After Commit it does nothing.
func (p *Publisher) Abort() error { return p.writer.Abort() }

// Stats returns the counters. It is safe for concurrent use.
func (p *Publisher) Stats() PublishStats {
	p.mu.Lock()
	s := p.stats
	p.mu.Unlock()
	s.Stored, s.Lost = p.writer.Published(), p.writer.Lost()
	return s
}
