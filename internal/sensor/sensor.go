// SPDX-License-Identifier: Apache-2.0

// Package sensor is the pipeline from packets to records: one goroutine reads
// and decodes blocks of packets, workers take the packets of their shards
// through the flow table, reassembly and the dissectors, and two goroutines
// hand ended connections and intel to the sinks, in batches.
package sensor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"weir/capture"
	"weir/dissect"
	"weir/flowtable"
	"weir/internal/flow"
	"weir/reassembly"
)

// Sink takes what leaves the table. Connections and Intel are each called from
// one goroutine, but from two at a time; a batch is valid during the call.
type Sink interface {
	Connections(b *flow.ConnBatch) error
	Intel(b *flow.IntelBatch) error
}

// Source yields blocks of packets until io.EOF. Close, from any goroutine, makes
// a Next that waits return.
type Source interface {
	Next() (*capture.Block, error)
	Close() error
}

// Config configures a pipeline; zero values mean the defaults.
type Config struct {
	// Workers is the number of goroutines that track connections (default:
	// one a processor, at most flow.Shards). It does not change the result.
	Workers int
	// Memory is the bytes that the process should stay within (default 1 GiB);
	// the table, reassembly and dissectors get fixed shares of it.
	Memory   int64
	Timeouts flowtable.Timeouts
	// Active is after how much time a connection that goes on yields an interim
	// record; 0 is never, which is right for files.
	Active time.Duration
	// Prompt passes records to the sinks within about a second, however few they
	// are: for inputs that go on for long. Otherwise they wait for full batches.
	Prompt bool
	Sinks  []Sink
}

// DefaultMemory is the memory cap where none is given.
const DefaultMemory = 1 << 30

// Validate reports what is wrong with the configuration.
func (c Config) Validate() error {
	if c.Workers < 0 || c.Workers > flow.Shards {
		return fmt.Errorf("workers %d is not between 1 and %d", c.Workers, flow.Shards)
	}
	if c.Memory < MinMemory && c.Memory != 0 {
		return fmt.Errorf("memory %d is below the least of %d bytes", c.Memory, int64(MinMemory))
	}
	return flowtable.Config{Timeouts: c.Timeouts, Active: c.Active}.Validate()
}

// MinMemory is the least memory cap: what buffers of fixed size take, and a
// hundred thousand connections.
const MinMemory = 128e6

// Shares of the memory cap. What remains is for read blocks, for the sinks'
// buffers and for the garbage collector's headroom.
const (
	tableShare      = 0.40
	reassemblyShare = 1.0 / 16
	dissectShare    = 1.0 / 16
)

// Pipeline tracks the connections of one input.
type Pipeline struct {
	cfg     Config
	table   *flowtable.Table[stream]
	shards  [flow.Shards]*streams
	workers []*worker

	conns  *batches[*flow.ConnBatch]
	intels *batches[*flow.IntelBatch]
	stats  counters
}

// New returns a pipeline that has seen no packet.
func New(cfg Config) (*Pipeline, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if cfg.Workers == 0 {
		cfg.Workers = min(runtime.GOMAXPROCS(0), flow.Shards)
	}
	if cfg.Memory == 0 {
		cfg.Memory = DefaultMemory
	}
	share := func(part float64) int64 { return int64(part * float64(cfg.Memory)) }
	p := &Pipeline{cfg: cfg}
	p.stats.intel = make([]atomic.Uint64, len(flow.Kinds()))
	held := reassembly.NewBudget(share(reassemblyShare))
	parsing := dissect.NewMemory(share(dissectShare))
	for i := range p.shards {
		p.shards[i] = &streams{
			pool:    reassembly.NewPool(reassembly.Config{Budget: held}),
			dissect: dissect.NewShard(dissect.Config{Memory: parsing}),
		}
	}
	table, err := flowtable.New(flowtable.Config{
		Timeouts: cfg.Timeouts, Active: cfg.Active,
		MaxConnections: int(share(tableShare)) / flowtable.EntrySize[stream](),
	}, func(shard int) flowtable.Streams[stream] { return p.shards[shard] })
	if err != nil {
		return nil, err
	}
	p.table = table
	p.conns = newBatches(cfg.Workers, func() *flow.ConnBatch {
		return &flow.ConnBatch{Conns: make([]flow.Connection, 0, 2*batchRecords)}
	})
	p.intels = newBatches(cfg.Workers, flow.NewIntelBatch)
	for w := range cfg.Workers {
		p.workers = append(p.workers, newWorker(p, w))
	}
	return p, nil
}

// Run reads the source to its end, or until ctx is done, and returns when all
// records have been handed to the sinks. An error means that the sinks did not
// get everything: the caller must not commit.
func (p *Pipeline) Run(ctx context.Context, src Source) error {
	g, ctx := errgroup.WithContext(ctx)
	// When something fails, nobody may give blocks back any more: the reader
	// must not wait for one.
	defer context.AfterFunc(ctx, func() { _ = src.Close() })()
	g.Go(func() error { return p.read(ctx, src) })
	workers, wctx := errgroup.WithContext(ctx)
	for _, w := range p.workers {
		workers.Go(func() error { return w.run(wctx) })
	}
	g.Go(func() error {
		err := workers.Wait()
		close(p.conns.full)
		close(p.intels.full)
		return err
	})
	g.Go(func() error {
		return drain(ctx, p.conns, func(b *flow.ConnBatch) error {
			for _, s := range p.cfg.Sinks {
				if err := s.Connections(b); err != nil {
					return err
				}
			}
			p.stats.countConnections(b)
			b.Reset()
			return nil
		})
	})
	g.Go(func() error {
		return drain(ctx, p.intels, func(b *flow.IntelBatch) error {
			for _, s := range p.cfg.Sinks {
				if err := s.Intel(b); err != nil {
					return err
				}
			}
			p.stats.countIntel(b)
			b.Reset()
			return nil
		})
	})
	return g.Wait()
}

// read hands each block to all workers; each takes the packets of its shards.
func (p *Pipeline) read(ctx context.Context, src Source) error {
	defer func() {
		for _, w := range p.workers {
			close(w.blocks)
		}
	}()
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		b, err := src.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		b.Hold(len(p.workers))
		for _, w := range p.workers {
			select {
			case w.blocks <- b:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		b.Release()
	}
}
