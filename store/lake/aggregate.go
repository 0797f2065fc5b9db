// SPDX-License-Identifier: Apache-2.0

package lake

import (
	"bytes"
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"weir/internal/flow"
)

const slotMicros = int64(SlotWidth / time.Microsecond)

// MaxSlots bounds the slots of time that a connection's row counts for: the
// first ones of a row that would have more. Roll-ups never reach it.
const MaxSlots = 20_000

// slotOf returns the number of the slot of a time, both in microseconds. Slots
// begin at multiples of their width since 1970.
func slotOf(micros, width int64) int64 {
	slot := micros / width
	if micros%width < 0 {
		slot--
	}
	return slot
}

// slotsOf returns the numbers of the first and the last slot that a row counts
// for, and whether it would have more.
func slotsOf(first, last, width int64) (begin, end int64, cut bool) {
	begin = slotOf(first, width)
	end = max(begin, slotOf(last, width))
	if end-begin >= MaxSlots {
		return begin, begin + MaxSlots - 1, true
	}
	return begin, end, false
}

// addSum adds counters and stays within 64 bits.
func addSum(a, b int64) int64 {
	s := a + b
	switch {
	case b > 0 && s < a:
		return math.MaxInt64
	case b < 0 && s > a:
		return math.MinInt64
	}
	return s
}

// texts numbers the few texts that many rows share.
type texts struct {
	ids  map[string]int32
	list []string
	// parts holds the numbers of what a text is when split at its commas.
	parts [][]int32
}

// maxTexts bounds the distinct protocols, states, services and sensors of a day.
const maxTexts = 1 << 16

// full reports whether there are so many texts that starting anew is better.
func (t *texts) full() bool { return len(t.list) >= maxTexts/2 }

// id returns the number of a text.
func (t *texts) id(text []byte) (int32, error) {
	if id, ok := t.ids[string(text)]; ok {
		return id, nil
	}
	if len(t.list) >= maxTexts {
		return 0, fmt.Errorf("more than %d different texts", maxTexts)
	}
	if t.ids == nil {
		t.ids = make(map[string]int32)
	}
	id := int32(len(t.list))
	t.ids[string(text)] = id
	t.list, t.parts = append(t.list, string(text)), append(t.parts, nil)
	return id, nil
}

// split returns the numbers of what a text is when split at its commas.
func (t *texts) split(id int32) ([]int32, error) {
	if t.parts[id] == nil {
		var ids []int32
		for part := range strings.SplitSeq(t.list[id], ",") {
			p, err := t.id([]byte(part))
			if err != nil {
				return nil, err
			}
			ids = append(ids, p)
		}
		t.parts[id] = ids
	}
	return t.parts[id], nil
}

// dayFlow is what makes a flow; dport and typ are -1 where it has none, proto
// is the number of a text.
type dayFlow struct {
	src, dst   flow.Addr
	proto      int32
	dport, typ int32
}

// compare orders flows as roll-ups do.
func (t *texts) compare(a, b *dayFlow) int {
	if c := bytes.Compare(a.src[:], b.src[:]); c != 0 {
		return c
	}
	if c := bytes.Compare(a.dst[:], b.dst[:]); c != 0 {
		return c
	}
	if a.proto != b.proto {
		return strings.Compare(t.list[a.proto], t.list[b.proto])
	}
	return cmp.Or(cmp.Compare(a.dport, b.dport), cmp.Compare(a.typ, b.typ))
}

// The sets of a flow.
const (
	setSports = iota
	setCodes
	setStates
	setServices
	setVLANs
	setSensors
	numSets
)

// sums are the counters of a flow: count, cspkts, scpkts, csbytes, scbytes.
type sums [5]int64

func (s *sums) add(o *sums) {
	for i := range s {
		s[i] = addSum(s[i], o[i])
	}
}

// slotCount is how many connections began in a slot in which some went on.
type slotCount struct{ slot, count int64 }

// flowRow is a flow of a day, or of other rows.
type flowRow struct {
	dayFlow
	sums
	first, last int64
	sets        [numSets][]int32
	slots       []slotCount
	cut         int32 // rows with more than MaxSlots, not kept in runs
}

// merge adds what another row says of the same flow.
func (r *flowRow) merge(o *flowRow) {
	r.add(&o.sums)
	r.first, r.last = min(r.first, o.first), max(r.last, o.last)
	for i := range r.sets {
		r.sets[i] = append(r.sets[i], o.sets[i]...)
	}
	r.slots = append(r.slots, o.slots...)
}

// values returns how many values the row holds.
func (r *flowRow) values() int {
	n := len(r.slots)
	for i := range r.sets {
		n += len(r.sets[i])
	}
	return n
}

// set makes the row a copy of another one.
func (r *flowRow) set(o *flowRow) {
	sets, slots := r.sets, r.slots
	*r = *o
	for i := range sets {
		r.sets[i] = append(sets[i][:0], o.sets[i]...)
	}
	r.slots = append(slots[:0], o.slots...)
}

// tidy sorts the sets and the slots, each value once.
func (r *flowRow) tidy() {
	for i := range r.sets {
		slices.Sort(r.sets[i])
		r.sets[i] = slices.Compact(r.sets[i])
	}
	slices.SortFunc(r.slots, func(a, b slotCount) int { return cmp.Compare(a.slot, b.slot) })
	n := 0
	for _, h := range r.slots {
		if n > 0 && r.slots[n-1].slot == h.slot {
			r.slots[n-1].count = addSum(r.slots[n-1].count, h.count)
			continue
		}
		r.slots[n] = h
		n++
	}
	r.slots = r.slots[:n]
}

// aggregate holds flows in memory, their sets as lists in shared slices.
type aggregate struct {
	most  int // bytes to hold
	index map[dayFlow]int32
	flows []aggregateFlow
	nodes []setNode
	slots []slotNode
	order []int32 // of flows, when they are sorted
	width int64   // of slots, in microseconds; without slots if 0
}

type aggregateFlow struct {
	dayFlow
	sums
	first, last int64
	heads       [numSets]int32 // positions in nodes, -1 for the end
	slots       int32          // position in slots
	cut         int32
}

type setNode struct{ value, next int32 }

type slotNode struct {
	slotCount
	next int32
}

// lookback is how far duplicates are looked for: the rest goes when the flow is
// written.
const lookback = 16

// full reports whether the flows should be written.
func (a *aggregate) full() bool {
	return len(a.flows)*200+len(a.nodes)*8+len(a.slots)*24 >= a.most
}

func (a *aggregate) reset() {
	clear(a.index)
	a.flows, a.nodes, a.slots = a.flows[:0], a.nodes[:0], a.slots[:0]
}

// flow returns a flow, new if need be. It is valid until the next call.
func (a *aggregate) flow(key *dayFlow, first, last int64) *aggregateFlow {
	if a.index == nil {
		a.index = make(map[dayFlow]int32)
	}
	i, ok := a.index[*key]
	if !ok {
		i = int32(len(a.flows))
		a.index[*key] = i
		f := aggregateFlow{dayFlow: *key, first: first, last: last, slots: -1}
		for j := range f.heads {
			f.heads[j] = -1
		}
		a.flows = append(a.flows, f)
	}
	f := &a.flows[i]
	f.first, f.last = min(f.first, first), max(f.last, last)
	return f
}

// put adds a value to a set of a flow.
func (a *aggregate) put(f *aggregateFlow, set int, value int32) {
	for i, n := f.heads[set], 0; i >= 0 && n < lookback; i, n = a.nodes[i].next, n+1 {
		if a.nodes[i].value == value {
			return
		}
	}
	a.nodes = append(a.nodes, setNode{value, f.heads[set]})
	f.heads[set] = int32(len(a.nodes) - 1)
}

// times adds that count connections began at first and a record went on till
// last. It returns for how many slots that counts.
func (a *aggregate) times(f *aggregateFlow, first, last, count int64) int {
	if a.width == 0 {
		return 0
	}
	begin, end, cut := slotsOf(first, last, a.width)
	if cut {
		f.cut++
	}
	a.slot(f, begin, count)
	for n := begin + 1; n <= end; n++ {
		a.slot(f, n, 0)
	}
	return int(end - begin + 1)
}

func (a *aggregate) slot(f *aggregateFlow, slot, count int64) {
	for i, n := f.slots, 0; i >= 0 && n < lookback; i, n = a.slots[i].next, n+1 {
		if s := &a.slots[i]; s.slot == slot {
			s.count = addSum(s.count, count)
			return
		}
	}
	a.slots = append(a.slots, slotNode{slotCount{slot, count}, f.slots})
	f.slots = int32(len(a.slots) - 1)
}

// stopEvery is how often long loops ask whether to stop.
const stopEvery = 1024

// sorted calls yield with every flow, in order. The row is valid during the call.
func (a *aggregate) sorted(t *texts, stop func() error, yield func(*flowRow) error) error {
	a.order = slices.Grow(a.order[:0], len(a.flows))
	for i := range a.flows {
		a.order = append(a.order, int32(i))
	}
	var stopped error
	compared := 0
	slices.SortFunc(a.order, func(x, y int32) int {
		if compared++; compared%stopEvery == 0 && stopped == nil {
			stopped = stop()
		}
		if stopped != nil {
			return 0 // what is in order already is sorted soon
		}
		return t.compare(&a.flows[x].dayFlow, &a.flows[y].dayFlow)
	})
	var r flowRow
	for n, i := range a.order {
		if n%stopEvery == 0 && stopped == nil {
			stopped = stop()
		}
		if stopped != nil {
			return stopped
		}
		f := &a.flows[i]
		r.dayFlow, r.sums, r.first, r.last = f.dayFlow, f.sums, f.first, f.last
		for set := range r.sets {
			r.sets[set] = r.sets[set][:0]
			for n := f.heads[set]; n >= 0; n = a.nodes[n].next {
				r.sets[set] = append(r.sets[set], a.nodes[n].value)
			}
		}
		r.slots = r.slots[:0]
		for n := f.slots; n >= 0; n = a.slots[n].next {
			r.slots = append(r.slots, a.slots[n].slotCount)
		}
		r.cut = f.cut
		r.tidy()
		if err := yield(&r); err != nil {
			return err
		}
	}
	return nil
}
