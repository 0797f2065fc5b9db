// SPDX-License-Identifier: Apache-2.0

package capture

import (
	"context"
	"sync/atomic"
	"time"

	"weir/internal/flow"
)

// blockState is the part of a Block that only this package sees.
type blockState struct {
	pool  *pool
	refs  atomic.Int32
	buf   []byte // what was read, or for merged inputs and live ones the copied frames
	used  int    // live only: how much of buf holds frames
	extra []byte // datagrams put together from fragments
	// extraUsed counts the bytes in all extra slabs of this block. Older slabs
	// are only referenced by the packets that point into them.
	extraUsed int

	counts [flow.Shards]uint32
	ends   [flow.Shards]uint32
	order  []uint32
}

// Shard returns the indexes into Packets of the packets of shard i
// (Hash % flow.Shards), in the order of the packets.
func (b *Block) Shard(i int) []uint32 {
	end := b.ends[i]
	return b.order[end-b.counts[i] : end : end]
}

// Hold adds n references to the block.
func (b *Block) Hold(n int) { b.refs.Add(int32(n)) }

// Release gives up one reference. After the last one the block and everything
// its packets point to belongs to the reader again.
func (b *Block) Release() {
	switch n := b.refs.Add(-1); {
	case n == 0:
		b.pool.put(b)
	case n < 0:
		panic("capture: block released more often than held")
	}
}

// slot returns the next packet of the block, zeroed and not yet counted.
func (b *Block) slot() *flow.Packet {
	n := len(b.Packets)
	if n == cap(b.Packets) {
		b.Packets = append(b.Packets, flow.Packet{})[:n]
	}
	p := &b.Packets[: n+1 : cap(b.Packets)][n]
	*p = flow.Packet{}
	return p
}

// commit counts the packet that slot returned last.
func (b *Block) commit(p *flow.Packet) {
	b.counts[p.Hash%flow.Shards]++
	b.Packets = b.Packets[:len(b.Packets)+1]
}

// maxPassed bounds Block.Passed.
const maxPassed = 4096

// passed notes the time of a packet that is not in the block.
func (b *Block) passed(now flow.Time) {
	if n := len(b.Passed); n < maxPassed && (n == 0 || b.Passed[n-1] < now) {
		b.Passed = append(b.Passed, now)
	}
}

// alloc returns n bytes of memory that lives as long as the block's content.
func (b *Block) alloc(n int) []byte {
	used := len(b.extra)
	if cap(b.extra)-used < n {
		size := max(64<<10, 2*cap(b.extra), n)
		b.extra, used = make([]byte, 0, min(size, max(1<<20, n))), 0
	}
	b.extraUsed += n
	b.extra = b.extra[:used+n]
	return b.extra[used : used+n : used+n]
}

// finish groups the packets by shard: a counting sort, stable by construction.
func (b *Block) finish(now flow.Time) {
	b.Now = now
	n := len(b.Packets)
	if cap(b.order) < n {
		b.order = make([]uint32, cap(b.Packets))
	}
	b.order = b.order[:n]
	var next [flow.Shards]uint32
	sum := uint32(0)
	for i, c := range b.counts {
		next[i] = sum
		sum += c
	}
	for i := range b.Packets {
		s := b.Packets[i].Hash % flow.Shards
		b.order[next[s]] = uint32(i)
		next[s]++
	}
	b.ends = next
}

// minRecord is the size of a record of a frame without payload.
const minRecord = 64

// pool hands out a fixed number of blocks.
type pool struct {
	size int
	made int // blocks made so far; used by the reading goroutine only
	max  int
	free chan *Block // holds every block that was made
	// ctx ends the waiting for a block, and with it the reading.
	ctx context.Context
}

func newPool(ctx context.Context, blocks, size int) *pool {
	return &pool{size: size, max: blocks, free: make(chan *Block, blocks), ctx: ctx}
}

// get returns an empty block, waiting for one if all are in use.
func (p *pool) get() (*Block, error) {
	if p.ctx.Err() != nil {
		return nil, ended(p.ctx)
	}
	var b *Block
	select {
	case b = <-p.free:
	default:
		if p.made < p.max {
			p.made++
			b = p.make()
			break
		}
		select {
		case b = <-p.free:
		case <-p.ctx.Done():
			return nil, ended(p.ctx)
		}
	}
	b.reset()
	return b, nil
}

// make returns a new block.
func (p *pool) make() *Block {
	// Room for the smallest usual frames. Memory that large frames leave unused
	// is never touched.
	b := &Block{Packets: make([]flow.Packet, 0, p.size/minRecord)}
	b.pool, b.buf = p, make([]byte, p.size)
	return b
}

// fill makes all blocks at once, for try.
func (p *pool) fill() {
	for ; p.made < p.max; p.made++ {
		p.free <- p.make()
	}
}

// try returns an empty block, or nil if all are in use. It may be called from
// several goroutines, after fill.
func (p *pool) try() *Block {
	select {
	case b := <-p.free:
		b.reset()
		return b
	default:
		return nil
	}
}

// wait is try, but waits a while if all are in use.
func (p *pool) wait(d time.Duration) *Block {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case b := <-p.free:
		b.reset()
		return b
	case <-timer.C:
	case <-p.ctx.Done():
	}
	return nil
}

// reset empties a block and gives it its first reference.
func (b *Block) reset() {
	b.Packets, b.Passed, b.Now, b.Lost = b.Packets[:0], b.Passed[:0], 0, 0
	b.extra, b.extraUsed, b.used = b.extra[:0], 0, 0
	clear(b.counts[:])
	b.refs.Store(1)
}

func (p *pool) put(b *Block) { p.free <- b }
