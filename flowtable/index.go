// SPDX-License-Identifier: Apache-2.0

package flowtable

// none is the absent entry.
const none = ^uint32(0)

// index is an open-addressing hash table from tags to entry numbers. It holds
// no pointers, so that the garbage collector never looks at it. The tag, 32 bits
// of the packet's seeded hash, tells nearly all foreign entries apart without
// touching them, and is enough to move slots when the index grows.
type index struct {
	slots []slot
	mask  uint32
	count int
	// keep lets the index stay as large as it is.
	keep bool
}

// slot is empty where ref is 0; otherwise it refers to entry ref-1.
type slot struct{ tag, ref uint32 }

const minSlots = 64

func (x *index) init() {
	x.slots = make([]slot, minSlots)
	x.mask = minSlots - 1
}

// insert adds an entry. The caller has made sure that it is not there.
func (x *index) insert(tag, entry uint32) {
	if (x.count+1)*4 > len(x.slots)*3 {
		x.resize(len(x.slots) * 2)
	}
	x.place(slot{tag, entry + 1})
	x.count++
}

func (x *index) place(s slot) {
	i := s.tag & x.mask
	for x.slots[i].ref != 0 {
		i = (i + 1) & x.mask
	}
	x.slots[i] = s
}

func (x *index) resize(n int) {
	old := x.slots
	x.slots = make([]slot, n)
	x.mask = uint32(n - 1)
	for _, s := range old {
		if s.ref != 0 {
			x.place(s)
		}
	}
}

// remove deletes an entry and closes the hole by moving back the slots behind
// it, so that there are no tombstones and lookups stay short for ever.
func (x *index) remove(tag, entry uint32) {
	i := tag & x.mask
	for x.slots[i].ref != entry+1 {
		i = (i + 1) & x.mask
	}
	for j := i; ; {
		j = (j + 1) & x.mask
		s := x.slots[j]
		if s.ref == 0 {
			break
		}
		// s may move to i unless its home lies cyclically in (i, j].
		if home := s.tag & x.mask; (j-home)&x.mask >= (j-i)&x.mask {
			x.slots[i] = s
			i = j
		}
	}
	x.slots[i] = slot{}
	x.count--
	if !x.keep && len(x.slots) > minSlots && x.count*8 < len(x.slots) {
		x.resize(len(x.slots) / 2)
	}
}

// slab hands out numbered elements from chunks of fixed size, which never move:
// growing copies nothing and a pointer stays valid while the element is in use.
type slab[T any] struct {
	chunks []*[chunkSize]T
	next   uint32
}

// chunkSize is the number of elements of a chunk, chosen so that a chunk of
// entries fills whole pages.
const (
	chunkBits = 9
	chunkSize = 1 << chunkBits
)

// add returns a new element and its number.
func (s *slab[T]) add() (uint32, *T) {
	i := s.next
	if int(i>>chunkBits) == len(s.chunks) {
		s.chunks = append(s.chunks, new([chunkSize]T))
	}
	s.next++
	return i, s.at(i)
}

func (s *slab[T]) at(i uint32) *T {
	return &s.chunks[i>>chunkBits][i%chunkSize]
}
