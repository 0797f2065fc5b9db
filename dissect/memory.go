// SPDX-License-Identifier: Apache-2.0

package dissect

import "unsafe"

// slabLen is the number of items that a slab grows by.
const slabLen = 64

// slab keeps items of one type at fixed places and reuses the freed ones, so
// that sessions cost no allocation and no pointer in the flow table.
type slab[T any] struct {
	chunks []*[slabLen]T
	free   []uint32
	next   uint32 // the first number never used
}

// size returns the bytes of one item, which is what one in use is booked with.
func (b *slab[T]) size() int {
	var item T
	return int(unsafe.Sizeof(item))
}

// get returns the number of an unused item, which is as its last user left it.
func (b *slab[T]) get() uint32 {
	if n := len(b.free); n > 0 {
		id := b.free[n-1]
		b.free = b.free[:n-1]
		return id
	}
	if b.next%slabLen == 0 {
		b.chunks = append(b.chunks, new([slabLen]T))
	}
	b.next++
	return b.next - 1
}

// at returns the item of a number. The pointer stays valid.
func (b *slab[T]) at(id uint32) *T { return &b.chunks[id/slabLen][id%slabLen] }

// put makes an item unused.
func (b *slab[T]) put(id uint32) { b.free = append(b.free, id) }

// The capacities of buffers: 256 bytes and fourfold up to 64 KiB, and what
// MaxSession allows beyond that in one step.
const (
	minBuffer = 256
	classes   = 5
	// keepBytes is how much of each capacity an idle shard keeps.
	keepBytes = 64 << 10
)

// buffers hands out byte slices and takes them back. What it has handed out is
// booked with the memory shared by all shards, and so are sessions; what it
// keeps is bounded.
type buffers struct {
	memory *Memory
	max    int // capacity of one buffer
	stats  *Stats
	idle   [classes][][]byte
}

// book books n bytes that are kept elsewhere. It reports false where all
// connections together have as much as they may.
func (b *buffers) book(n int) bool {
	if b.memory.take(n) {
		return true
	}
	b.stats.MemoryFull++
	return false
}

// free is the opposite of book.
func (b *buffers) free(n int) { b.memory.used.Add(int64(-n)) }

// class returns the smallest capacity class that holds n bytes.
func class(n int) int {
	c := 0
	for size := minBuffer; size < n; size <<= 2 {
		c++
	}
	return c
}

// grow returns buf with room for n more bytes. It reports false where the
// connection or all of them may not have that much; buf is then as before.
func (b *buffers) grow(buf []byte, n int) ([]byte, bool) {
	need := len(buf) + n
	if need <= cap(buf) {
		return buf, true
	}
	if need > b.max {
		b.stats.SessionFull++
		return buf, false
	}
	c := class(need)
	size := min(minBuffer<<(2*c), b.max)
	if !b.book(size) {
		return buf, false
	}
	var next []byte
	if c < classes && len(b.idle[c]) > 0 {
		last := len(b.idle[c]) - 1
		next, b.idle[c] = b.idle[c][last][:0], b.idle[c][:last]
	} else {
		next = make([]byte, 0, size)
	}
	next = append(next, buf...)
	b.release(buf)
	return next, true
}

// add appends data to buf, which grows as needed.
func (b *buffers) add(buf, data []byte) ([]byte, bool) {
	buf, ok := b.grow(buf, len(data))
	if ok {
		buf = append(buf, data...)
	}
	return buf, ok
}

// release takes a buffer back. Mostly there is none, which costs no call.
func (b *buffers) release(buf []byte) {
	if cap(buf) > 0 {
		b.put(buf)
	}
}

func (b *buffers) put(buf []byte) {
	size := cap(buf)
	b.free(size)
	c := class(size)
	if c < classes && minBuffer<<(2*c) == size && len(b.idle[c])*size < keepBytes {
		b.idle[c] = append(b.idle[c], buf)
	}
}
