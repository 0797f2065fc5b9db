// SPDX-License-Identifier: Apache-2.0

package sensor

import (
	"context"
	"sync"

	"weir/internal/flow"
	"weir/store/lake"
)

// Aside is a sink that passes records on to another one in a goroutine of its
// own: who hands them over never waits, whatever the other one does. What comes in
// while it holds as much as it may is dropped and counted.
//
// Connections and Intel are each called from one goroutine, Run from a third one,
// Flush when nobody calls any of them any more.
type Aside struct {
	to     Sink
	conns  *held[*flow.ConnBatch]
	intels *held[*flow.IntelBatch]
	due    chan struct{} // holds a value when there is something to pass on
}

// About what a record takes in memory, the text of intel apart.
const (
	connMemory  = 512
	intelMemory = 768
)

// NewAside returns an Aside that takes about so many bytes of memory at most.
func NewAside(to Sink, memory int64) *Aside {
	// A quarter for each kind of record, while it is filled and while it is passed on.
	most := max(memory/4, connMemory*batchRecords)
	a := &Aside{to: to, due: make(chan struct{}, 1)}
	a.conns = &held[*flow.ConnBatch]{filling: new(flow.ConnBatch), spare: new(flow.ConnBatch), fits: func(b *flow.ConnBatch, more int) bool {
		return int64(b.Len()+more)*connMemory <= most
	}}
	a.intels = &held[*flow.IntelBatch]{filling: flow.NewIntelBatch(), spare: flow.NewIntelBatch(), fits: func(b *flow.IntelBatch, more int) bool {
		return int64(b.Len()+more)*intelMemory+int64(b.Size()) <= most
	}}
	return a
}

// held is what waits to be passed on, of one kind of record.
type held[B interface {
	Len() int
	Reset()
}] struct {
	fits func(b B, more int) bool

	// mu guards what follows. Who passes records on has taken a batch out.
	mu             sync.Mutex
	filling, spare B
	dropped        int64
}

// add copies n records by way of fill, or drops them.
func (h *held[B]) add(n int, fill func(B)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.fits(h.filling, n) {
		h.dropped += int64(n)
		return
	}
	fill(h.filling)
}

// pass gives pass what has come in.
func (h *held[B]) pass(pass func(B) error) error {
	h.mu.Lock()
	b := h.filling
	h.filling = h.spare
	h.mu.Unlock()
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
	a.wake()
	return nil
}

// Intel implements Sink.
func (a *Aside) Intel(b *flow.IntelBatch) error {
	a.intels.add(b.Len(), func(to *flow.IntelBatch) { to.Append(b) })
	a.wake()
	return nil
}

func (a *Aside) wake() {
	select {
	case a.due <- struct{}{}:
	default:
	}
}

// Run passes records on until ctx is done, or until the other sink fails.
func (a *Aside) Run(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-a.due:
			if err := a.Flush(); err != nil {
				return err
			}
		}
	}
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
