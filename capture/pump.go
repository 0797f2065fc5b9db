// SPDX-License-Identifier: Apache-2.0

package capture

import (
	"context"
	"io"
	"sync"
)

// life says how long an input is read.
type life struct {
	// ctx ends the reading at once, with an error. stop ends that of pipes and
	// the like in good order: as if nothing more were written.
	ctx, stop context.Context
}

// forever is the life of inputs that are read to their end.
func forever() life { return life{context.Background(), context.Background()} }

const (
	// pumpSize is how much a pump reads at once, pumpDepth how often it reads
	// ahead.
	pumpSize  = readSize
	pumpDepth = 2
)

// pump reads ahead from a reader whose reads cannot be interrupted, in a goroutine
// that begins with the first Read. It ends when the reader does or the life is
// over; a read under way is then left behind until it returns.
type pump struct {
	life life
	src  io.Reader

	begin  sync.Once
	unhook [2]func() bool // end the waking by the contexts
	// mu guards what follows; cond tells of every change.
	mu    sync.Mutex
	cond  *sync.Cond
	full  [][]byte // what was read
	taken int      // bytes of full[0] that were returned
	free  [][]byte // whole buffers
	err   error    // after full
}

func newPump(l life, src io.Reader) *pump {
	p := &pump{life: l, src: src}
	p.cond = sync.NewCond(&p.mu)
	return p
}

// start begins to read.
func (p *pump) start() {
	wake := func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.cond.Broadcast()
	}
	p.unhook[0] = context.AfterFunc(p.life.ctx, wake)
	p.unhook[1] = context.AfterFunc(p.life.stop, wake)
	for range pumpDepth {
		p.free = append(p.free, make([]byte, pumpSize))
	}
	go p.run()
}

// over reports whether the life is over.
func (p *pump) over() bool { return p.life.ctx.Err() != nil || p.life.stop.Err() != nil }

func (p *pump) run() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for p.err == nil {
		for len(p.free) == 0 && !p.over() && p.err == nil {
			p.cond.Wait()
		}
		if p.over() || p.err != nil {
			return
		}
		buf := p.free[len(p.free)-1]
		p.free = p.free[:len(p.free)-1]
		p.mu.Unlock()
		n, err := p.src.Read(buf)
		p.mu.Lock()
		if n > 0 {
			p.full = append(p.full, buf[:n])
		} else {
			p.free = append(p.free, buf)
		}
		if p.err == nil {
			p.err = err
		}
		p.cond.Broadcast()
	}
}

// Read implements io.Reader. What was read before the life's stop is still
// returned, then io.EOF.
func (p *pump) Read(b []byte) (int, error) {
	p.begin.Do(p.start)
	p.mu.Lock()
	defer p.mu.Unlock()
	for {
		switch {
		case p.life.ctx.Err() != nil:
			return 0, ended(p.life.ctx)
		case len(p.full) > 0:
			buf := p.full[0]
			n := copy(b, buf[p.taken:])
			if p.taken += n; p.taken == len(buf) {
				p.taken = 0
				p.full = append(p.full[:0], p.full[1:]...)
				p.free = append(p.free, buf[:cap(buf)])
				p.cond.Broadcast()
			}
			return n, nil
		case p.err != nil:
			return 0, p.err
		case p.life.stop.Err() != nil:
			return 0, io.EOF
		}
		p.cond.Wait()
	}
}

// Close ends the goroutine, or lets it end once a read under way returns.
func (p *pump) Close() error {
	for _, undo := range p.unhook {
		if undo != nil {
			undo()
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err == nil {
		p.err = ErrClosed
	}
	p.cond.Broadcast()
	return nil
}
