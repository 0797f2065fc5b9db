// SPDX-License-Identifier: Apache-2.0

package sensor

import (
	"context"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"weir/internal/flow"
	"weir/store/lake"
)

// Aside is a sink that passes records on to another one in goroutines of its own,
// so that who hands them over does not wait for the other one, but for a moment
// where that is only a little late. What comes in while the other one stands still
// and the Aside holds as much as it may is dropped and counted.
//
// Connections and Intel are each called from one goroutine, Run from a third one,
// Flush when nobody calls any of them any more.
type Aside struct {
	to     Sink
	conns  *held[*flow.ConnBatch]
	intels *held[*flow.IntelBatch]
}

// asideWait is how long who hands over records waits for the other sink to take
// some, once each time that it stands still. Interfaces' buffers last longer.
const asideWait = 100 * time.Millisecond

// About what a record takes in memory, the text of intel apart.
const (
	connMemory  = 512
	intelMemory = 768
)

// NewAside returns an Aside that takes about so many bytes of memory at most.
func NewAside(to Sink, memory int64) *Aside {
	// A quarter for each kind of record, while it is filled and while it is passed on.
	most := max(memory/4, connMemory*batchRecords)
	return &Aside{
		to: to,
		conns: newHeld(func() *flow.ConnBatch { return new(flow.ConnBatch) }, func(b *flow.ConnBatch, more int) bool {
			return int64(b.Len()+more)*connMemory <= most
		}),
		intels: newHeld(flow.NewIntelBatch, func(b *flow.IntelBatch, more int) bool {
			return int64(b.Len()+more)*intelMemory+int64(b.Size()) <= most
		}),
	}
}

// batch is what both kinds of batches can do.
type batch interface {
	Len() int
	Reset()
}

// held is what waits to be passed on, of one kind of record.
type held[B batch] struct {
	fits func(b B, more int) bool
	// due holds a value when there is something to pass on, taken when something was
	// taken out.
	due, taken chan struct{}

	// mu guards what follows. Who passes records on has taken a batch out.
	mu             sync.Mutex
	filling, spare B
	dropped        int64
	stuck          bool // it was waited for in vain since something was taken out
}

func newHeld[B batch](empty func() B, fits func(b B, more int) bool) *held[B] {
	return &held[B]{
		fits: fits, due: make(chan struct{}, 1), taken: make(chan struct{}, 1), filling: empty(), spare: empty(),
	}
}

// add copies n records by way of fill, or drops them.
func (h *held[B]) add(n int, fill func(B)) {
	if !h.try(n, fill) {
		h.wait(n, fill)
	}
	signal(h.due)
}

// try copies records if there is room.
func (h *held[B]) try(n int, fill func(B)) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.fits(h.filling, n) {
		return false
	}
	fill(h.filling)
	return true
}

// wait waits for room, and drops the records where none comes.
func (h *held[B]) wait(n int, fill func(B)) {
	h.mu.Lock()
	stuck := h.stuck
	h.mu.Unlock()
	if !stuck {
		timer := time.NewTimer(asideWait)
		defer timer.Stop()
		for !stuck {
			select {
			case <-h.taken:
				if h.try(n, fill) {
					return
				}
			case <-timer.C:
				stuck = true
			}
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	// In the meantime something may have been taken out.
	if h.fits(h.filling, n) {
		fill(h.filling)
		return
	}
	h.stuck = true
	h.dropped += int64(n)
}

// pass gives pass what has come in.
func (h *held[B]) pass(pass func(B) error) error {
	h.mu.Lock()
	b := h.filling
	h.filling, h.stuck = h.spare, false
	h.mu.Unlock()
	signal(h.taken)
	var err error
	if b.Len() > 0 {
		err = pass(b)
		b.Reset()
	}
	h.mu.Lock()
	h.spare = b
	h.mu.Unlock()
	return err
}

// run passes on what comes in until ctx is done, or pass fails.
func (h *held[B]) run(ctx context.Context, pass func(B) error) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-h.due:
			if err := h.pass(pass); err != nil {
				return err
			}
		}
	}
}

// signal leaves a value in a channel with room for one.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

func (h *held[B]) lost() int64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.dropped
}

// Connections implements Sink.
func (a *Aside) Connections(b *flow.ConnBatch) error {
	a.conns.add(b.Len(), func(to *flow.ConnBatch) {
		for i := range b.Conns {
			to.Add(&b.Conns[i])
		}
	})
	return nil
}

// Intel implements Sink.
func (a *Aside) Intel(b *flow.IntelBatch) error {
	a.intels.add(b.Len(), func(to *flow.IntelBatch) { to.Append(b) })
	return nil
}

// Run passes records on until ctx is done, or until the other sink fails.
func (a *Aside) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return a.conns.run(ctx, a.to.Connections) })
	g.Go(func() error { return a.intels.run(ctx, a.to.Intel) })
	return g.Wait()
}

// Flush passes on what there is.
func (a *Aside) Flush() error {
	if err := a.conns.pass(a.to.Connections); err != nil {
		return err
	}
	return a.intels.pass(a.to.Intel)
}

// Dropped returns how many records were not passed on. It is safe for concurrent
// use.
func (a *Aside) Dropped() lake.Records {
	return lake.Records{Conns: a.conns.lost(), Intel: a.intels.lost()}
}
