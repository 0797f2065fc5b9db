// SPDX-License-Identifier: Apache-2.0

package sensor

import "sync/atomic"

// Steps counts what one goroutine does again and again, so that others see when
// it hangs: that takes a step which has begun and does not end.
type Steps struct{ begun, done atomic.Uint64 }

// Begin begins a step.
func (s *Steps) Begin() { s.begun.Add(1) }

// End ends it.
func (s *Steps) End() { s.done.Add(1) }

// current returns the number of the step under way, 0 if there is none.
func (s *Steps) current() uint64 {
	// In this order: a step that ends meanwhile is none.
	begun := s.begun.Load()
	if s.done.Load() >= begun {
		return 0
	}
	return begun
}

// Moving returns a function that reports whether a sensor has moved since it was
// called last: more blocks are done, and no step that was under way then still
// is. It belongs to one goroutine.
func Moving(blocks func() uint64, steps ...*Steps) func() bool {
	seen, last := false, uint64(0)
	under := make([]uint64, len(steps))
	return func() bool {
		n := blocks()
		moving := !seen || n != last
		seen, last = true, n
		for i, s := range steps {
			current := s.current()
			if current != 0 && current == under[i] {
				moving = false
			}
			under[i] = current
		}
		return moving
	}
}

// Blocks returns how many blocks all workers are done with. Safe for concurrent
// use.
func (p *Pipeline) Blocks() uint64 {
	least := p.workers[0].done.Load()
	for _, w := range p.workers[1:] {
		least = min(least, w.done.Load())
	}
	return least
}

// Handing returns what the goroutines do that hand batches to the sinks.
func (p *Pipeline) Handing() []*Steps { return []*Steps{&p.conns.handing, &p.intels.handing} }
