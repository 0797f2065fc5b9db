// SPDX-License-Identifier: Apache-2.0

package sensor

import (
	"context"
	"sync/atomic"
	"time"

	"weir/capture"
	"weir/flowtable"
	"weir/internal/flow"
)

// Batches leave a worker when they hold this many records, or this many bytes
// of text.
const (
	batchRecords = 512
	batchBytes   = 1 << 20
	// promptly is how long records wait for a batch to fill, with Config.Prompt.
	promptly = 200 * time.Millisecond
)

// worker tracks the connections of every shard whose number is its own modulo
// the number of workers.
type worker struct {
	p      *Pipeline
	number int
	// blocks is written and closed by the reader. Its buffer lets the reader
	// work ahead by a few blocks.
	blocks chan *capture.Block
	conns  *flow.ConnBatch
	intel  *flow.IntelBatch
	at     flowtable.Moment
	done   atomic.Uint64 // blocks
}

func newWorker(p *Pipeline, number int) *worker {
	w := &worker{p: p, number: number, blocks: make(chan *capture.Block, 4)}
	w.conns, w.intel = p.conns.get(), p.intels.get()
	w.setOut()
	return w
}

// setOut gives the worker's batch of intel to its shards.
func (w *worker) setOut() {
	for s := w.number; s < flow.Shards; s += w.p.cfg.Workers {
		w.p.shards[s].dissect.Out = w.intel
	}
}

func (w *worker) run(ctx context.Context) error {
	var prompt <-chan time.Time
	if w.p.cfg.Prompt {
		tick := time.NewTicker(promptly)
		defer tick.Stop()
		prompt = tick.C
	}
	for {
		select {
		case b, ok := <-w.blocks:
			if !ok {
				return w.finish(ctx)
			}
			w.at = flowtable.Moment{Now: b.Now, Lost: b.Lost, Passed: b.Passed}
			for s := w.number; s < flow.Shards; s += w.p.cfg.Workers {
				w.p.table.Process(s, b.Packets, b.Shard(s), w.at, w.conns)
				if err := w.send(ctx, batchRecords); err != nil {
					return err
				}
			}
			w.at.Passed = nil // goes with the block
			b.Release()
			w.done.Add(1)
		case <-prompt:
			if err := w.send(ctx, 1); err != nil {
				return err
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// finish ends the connections that are still open at the end of the input.
func (w *worker) finish(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	for s := w.number; s < flow.Shards; s += w.p.cfg.Workers {
		for more := true; more; {
			more = w.p.table.Flush(s, w.at, batchRecords, w.conns)
			if err := w.send(ctx, batchRecords); err != nil {
				return err
			}
		}
	}
	return w.send(ctx, 1)
}

// send passes on what has at least n records.
func (w *worker) send(ctx context.Context, n int) error {
	if w.conns.Len() >= n {
		if err := w.p.conns.put(ctx, w.conns); err != nil {
			return err
		}
		w.conns = w.p.conns.get()
	}
	if w.intel.Len() >= n || w.intel.Size() >= batchBytes {
		if err := w.p.intels.put(ctx, w.intel); err != nil {
			return err
		}
		w.intel = w.p.intels.get()
		w.setOut()
	}
	return nil
}

// batches passes batches from the workers to a sink and back for reuse.
type batches[B any] struct {
	// full is written by the workers and closed when the last one has ended. Its
	// buffer keeps workers busy while a sink writes.
	full chan B
	// free returns empty batches; what does not fit is left to the collector.
	free chan B
	make func() B
	// handing tells whether the sinks hang.
	handing Steps
}

func newBatches[B any](workers int, mk func() B) *batches[B] {
	n := 2 + 2*workers
	return &batches[B]{full: make(chan B, n), free: make(chan B, n+workers), make: mk}
}

func (q *batches[B]) get() B {
	select {
	case b := <-q.free:
		return b
	default:
		return q.make()
	}
}

func (q *batches[B]) put(ctx context.Context, b B) error {
	select {
	case q.full <- b:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// drain calls f, which leaves the batch empty, for each batch until the last.
func drain[B any](ctx context.Context, q *batches[B], f func(B) error) error {
	for b := range q.full {
		if err := ctx.Err(); err != nil {
			return err
		}
		q.handing.Begin()
		err := f(b)
		q.handing.End()
		if err != nil {
			return err
		}
		select {
		case q.free <- b:
		default:
		}
	}
	return nil
}
