// SPDX-License-Identifier: Apache-2.0

package reassembly_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"runtime"
	"testing"

	"github.com/google/go-cmp/cmp"

	"weir/internal/flow"
	"weir/reassembly"
)

// sink writes down what it gets: bytes as text, holes as [n].
type sink struct {
	out  [2]bytes.Buffer
	deaf bool
}

func (s *sink) Wants(flow.Dir) bool            { return !s.deaf }
func (s *sink) Data(dir flow.Dir, data []byte) { s.out[dir].Write(data) }
func (s *sink) Gap(dir flow.Dir, n uint64)     { fmt.Fprintf(&s.out[dir], "[%d]", n) }

const base = 0xfffffff0 // so that the sequence numbers wrap

// step is a segment of data at an offset, or an acknowledgment where data is
// empty; lost bytes were not captured.
type step struct {
	at   uint32
	data string
	lost uint32
}

func play(p *reassembly.Pool, o *reassembly.Order, s *sink, steps []step) (gaps int, missed uint64) {
	p.Start(o, flow.ToServer, base)
	for _, st := range steps {
		if st.data == "" && st.lost == 0 {
			g, m := p.Ack(o, flow.ToServer, base+st.at, s)
			gaps, missed = gaps+g, missed+m
			continue
		}
		p.Segment(o, flow.ToServer, base+st.at, uint32(len(st.data))+st.lost, []byte(st.data), s)
	}
	return gaps, missed
}

// cases also seed the fuzz test.
var cases = []struct {
	name   string
	steps  []step
	want   string
	gaps   int
	missed uint64
}{
	{"in order", []step{{0, "abc", 0}, {3, "def", 0}}, "abcdef", 0, 0},
	{"swapped", []step{{3, "def", 0}, {0, "abc", 0}}, "abcdef", 0, 0},
	{"three, backwards", []step{{6, "ghi", 0}, {3, "def", 0}, {0, "abc", 0}}, "abcdefghi", 0, 0},
	{"sent twice", []step{{0, "abc", 0}, {0, "abc", 0}, {3, "d", 0}}, "abcd", 0, 0},
	{"sent twice, more the second time", []step{{0, "abc", 0}, {0, "abcde", 0}}, "abcde", 0, 0},
	{"first copy wins behind a hole", []step{{3, "def", 0}, {3, "XYZ", 0}, {0, "abc", 0}}, "abcdef", 0, 0},
	{"first copy wins where it overlaps", []step{{2, "cd", 0}, {4, "ef", 0}, {1, "XYZWVU", 0}, {0, "a", 0}}, "aXcdefU", 0, 0},
	{"first copy wins against one in order", []step{{2, "cd", 0}, {6, "g", 0}, {0, "ABCDEFGH", 0}}, "ABcdEFgH", 0, 0},
	{"first copy wins against one that goes on", []step{{0, "a", 0}, {2, "cd", 0}, {0, "XYZWVU", 0}}, "aYcdVU", 0, 0},
	{"but not where it was cut", []step{{2, "c", 2}, {0, "ABCDEF", 0}}, "ABCDEF", 0, 0},
	{"nor where it is longer", []step{{2, "cd", 6}, {0, "ABCDEF", 0}}, "ABcd[6]", 0, 0},
	{"covers several", []step{{1, "b", 0}, {3, "d", 0}, {0, "abcdef", 0}}, "abcdef", 0, 0},
	{"hole acknowledged", []step{{0, "abc", 0}, {13, "no", 0}, {15, "", 0}}, "abc[10]no", 1, 10},
	{"two holes acknowledged", []step{{2, "c", 0}, {5, "f", 0}, {6, "", 0}}, "[2]c[2]f", 2, 4},
	{"acknowledged, never seen", []step{{0, "ab", 0}, {9002, "", 0}}, "ab[9000]", 1, 9000},
	{"hole not acknowledged", []step{{0, "ab", 0}, {5, "f", 0}, {2, "", 0}}, "ab", 0, 0},
	{"late after the acknowledgment", []step{{3, "d", 0}, {4, "", 0}, {0, "abc", 0}}, "[3]d", 1, 3},
	{"cut by the snap length", []step{{0, "ab", 3}, {5, "f", 0}}, "ab[3]f", 0, 0},
	{"cut behind a hole", []step{{5, "fg", 3}, {0, "abcde", 0}, {10, "k", 0}}, "abcdefg[3]k", 0, 0},
	{"far outside of the window", []step{{0, "a", 0}, {50 << 20, "evil", 0}, {1, "b", 0}}, "ab", 0, 0},
}

func TestOrder(t *testing.T) {
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			p := reassembly.NewPool(reassembly.Config{})
			var o reassembly.Order
			var s sink
			gaps, missed := play(p, &o, &s, tc.steps)
			if got := s.out[0].String(); got != tc.want {
				t.Errorf("delivered %q, want %q", got, tc.want)
			}
			if gaps != tc.gaps || missed != tc.missed {
				t.Errorf("%d gaps of %d bytes, want %d of %d", gaps, missed, tc.gaps, tc.missed)
			}
			p.Close(&o)
			if st := p.Stats(); st.HeldBytes != 0 {
				t.Errorf("%d bytes are held after Close", st.HeldBytes)
			}
		})
	}
}

// TestUnacked checks what counts as sent but not acknowledged, and up to where a
// stream is known.
func TestUnacked(t *testing.T) {
	for _, tc := range []struct {
		name    string
		steps   []step
		next    uint32
		unacked bool
		gone    bool
	}{
		{"nothing", nil, 0, false, false},
		{"delivered", []step{{0, "abc", 0}}, 3, true, false},
		{"acknowledged", []step{{0, "abc", 0}, {3, "", 0}}, 3, false, false},
		{"acknowledged in part", []step{{0, "abc", 0}, {2, "", 0}}, 3, true, false},
		{"acknowledged before it was seen", []step{{3, "", 0}, {0, "abc", 0}}, 3, false, false},
		{"behind a hole", []step{{5, "abc", 0}}, 0, true, false},
		{"hole and all acknowledged", []step{{5, "abc", 0}, {8, "", 0}}, 8, false, false},
		{"much, of which nothing is acknowledged", []step{{0, "", 16 << 10}, {16 << 10, "x", 0}}, 16<<10 + 1, false, false},
		{"a little less", []step{{0, "", 16<<10 - 1}, {16<<10 - 1, "x", 0}}, 16 << 10, true, false},
		{"10 MiB beyond the acknowledgment", []step{{0, "a", 0}, {1, "", 0}, {1, "", 10 << 20}}, 10<<20 + 1, true, false},
		{"more", []step{{0, "a", 0}, {1, "", 0}, {1, "", 10<<20 + 1}}, 0, false, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p := reassembly.NewPool(reassembly.Config{})
			var o reassembly.Order
			play(p, &o, new(sink), tc.steps)
			next, ok := o.Next(flow.ToServer)
			if ok == tc.gone || ok && next != base+tc.next {
				t.Errorf("Next() = %d, %v, want %d, %v", next-base, ok, tc.next, !tc.gone)
			}
			if got := o.Unacked(flow.ToServer); got != tc.unacked {
				t.Errorf("Unacked() = %v, want %v", got, tc.unacked)
			}
			p.Close(&o)
		})
	}
}

// TestManyPieces checks that a hole is counted however much lies above it, up to
// 10 MiB, where nobody wants the bytes.
func TestManyPieces(t *testing.T) {
	const size = 1 << 10
	for _, tc := range []struct {
		pieces, apart uint32
		gaps          int
		missed        uint64
	}{
		{9 << 10, size, 1, 100},
		{10<<10 + 1, size, 0, 0},
		{1000, 2 * size, 1001, 100 + 1000*size},
		{2000, 2 * size, 0, 0}, // too many holes
	} {
		p := reassembly.NewPool(reassembly.Config{})
		var o reassembly.Order
		s := &sink{deaf: true}
		data := make([]byte, size)
		play(p, &o, s, []step{{0, "a", 0}, {1, "", 0}})
		end := uint32(101)
		for range tc.pieces {
			p.Segment(&o, flow.ToServer, base+end, size, data, s)
			end += tc.apart
		}
		gaps, missed := p.Ack(&o, flow.ToServer, base+end, s)
		if gaps != tc.gaps || missed != tc.missed {
			t.Errorf("%d pieces: %d gaps of %d bytes, want %d of %d", tc.pieces, gaps, missed, tc.gaps, tc.missed)
		}
		p.Close(&o)
	}
}

// TestShift checks that a SYN with another number moves the stream, but not the
// position in it: what was delivered is not delivered again.
func TestShift(t *testing.T) {
	p := reassembly.NewPool(reassembly.Config{})
	var o reassembly.Order
	s := new(sink)
	play(p, &o, s, []step{{0, "abc", 0}, {5, "fg", 0}})
	p.Shift(&o, flow.ToServer, 1000)
	const moved = (base + 1000) & 0xffffffff
	p.Segment(&o, flow.ToServer, moved, 5, []byte("XYZde"), s)
	if got, want := s.out[0].String(), "abcdefg"; got != want {
		t.Errorf("delivered %q, want %q", got, want)
	}
	if next, _ := o.Next(flow.ToServer); next != moved+7 {
		t.Errorf("Next() = %d, want %d", next, moved+7)
	}
	p.Close(&o)
}

func TestConflictsAreCounted(t *testing.T) {
	p := reassembly.NewPool(reassembly.Config{})
	var o reassembly.Order
	var s sink
	play(p, &o, &s, []step{{3, "def", 0}, {3, "def", 0}, {4, "X", 0}, {0, "abcdYf", 0}})
	if got := p.Stats().Conflicts; got != 2 {
		t.Errorf("Conflicts = %d, want 2", got)
	}
	if got, want := s.out[0].String(), "abcdef"; got != want {
		t.Errorf("delivered %q, want %q", got, want)
	}
}

// A segment half a circle of sequence numbers from a piece that waits, of which no
// byte was captured, is neither before nor behind it.
func TestHalfACircle(t *testing.T) {
	p := reassembly.NewPool(reassembly.Config{})
	var o reassembly.Order
	var s sink
	play(p, &o, &s, []step{{0, "a", 0}, {1, "", 0}, {1<<31 - 1, "", 9}, {1<<32 - 1, "xyz", 0}})
	if got, want := s.out[0].String(), "az"; got != want {
		t.Errorf("delivered %q, want %q", got, want)
	}
	if got := p.Stats().Conflicts; got != 0 {
		t.Errorf("Conflicts = %d, want 0", got)
	}
}

func TestNothingAcknowledged(t *testing.T) {
	p := reassembly.NewPool(reassembly.Config{})
	var o reassembly.Order
	var s sink
	steps := []step{{0, "a", 0}}
	for at := uint32(2); at < 20<<10; at += 1000 {
		steps = append(steps, step{at, string(make([]byte, 1000)), 0})
	}
	play(p, &o, &s, steps)
	if st := p.Stats(); st.Skipped != 1 || st.HeldBytes != 0 {
		t.Errorf("Stats() = %+v, want the direction given up and nothing held", st)
	}
	p.Segment(&o, flow.ToServer, base+1, 1, []byte("b"), &s)
	if got := s.out[0].Bytes(); got[0] != 'a' || bytes.Contains(got, []byte("b")) {
		t.Errorf("delivered %q after giving up", got)
	}
}

func TestMemoryIsBounded(t *testing.T) {
	budget := reassembly.NewBudget(64 << 10)
	p := reassembly.NewPool(reassembly.Config{Budget: budget, ConnBytes: 16 << 10, ConnPieces: 64})
	var s sink
	orders := make([]reassembly.Order, 100)
	for round := range 70 {
		for i := range orders {
			o := &orders[i]
			if round == 0 {
				p.Start(o, flow.ToServer, base)
				p.Ack(o, flow.ToServer, base, &s)
			}
			p.Segment(o, flow.ToServer, base+uint32(10+round*1400), 1400, make([]byte, 1400), &s)
		}
		if left := budget.Left(); left < 0 {
			t.Fatalf("the budget is overdrawn by %d bytes", -left)
		}
	}
	st := p.Stats()
	if st.NotKept == 0 || st.Skipped == 0 || st.HeldBytes > 64<<10 {
		t.Errorf("Stats() = %+v, want bytes refused, directions given up, at most 64 KiB held", st)
	}
	for i := range orders {
		p.Close(&orders[i])
	}
	if got := budget.Left(); got != 64<<10 {
		t.Errorf("Left() = %d after closing all, want all of %d", got, 64<<10)
	}
}

// TestSmallPieces: what is booked is what is taken, not the bytes of payload.
func TestSmallPieces(t *testing.T) {
	const limit = 256 << 10
	budget := reassembly.NewBudget(limit)
	p := reassembly.NewPool(reassembly.Config{Budget: budget})
	var s sink
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	orders := make([]reassembly.Order, 1000)
	for i := range orders {
		p.Start(&orders[i], flow.ToServer, base)
		p.Ack(&orders[i], flow.ToServer, base, &s)
		for at := range uint32(200) {
			p.Segment(&orders[i], flow.ToServer, base+2+2*at, 1, []byte{1}, &s)
		}
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 3*limit {
		t.Errorf("the heap grew by %d bytes under a budget of %d", grown, limit)
	}
	for i := range orders {
		p.Close(&orders[i])
	}
	if budget.Left() != limit {
		t.Errorf("Left() = %d after closing all, want %d", budget.Left(), limit)
	}
}

// TestPlacesAreGivenBack: a connection where much waited, and one byte still does,
// takes the memory of that byte.
func TestPlacesAreGivenBack(t *testing.T) {
	const limit = 256 << 10
	p := reassembly.NewPool(reassembly.Config{Budget: reassembly.NewBudget(limit)})
	s := sink{deaf: true}
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	orders := make([]reassembly.Order, 300)
	for i := range orders {
		p.Start(&orders[i], flow.ToServer, base)
		p.Ack(&orders[i], flow.ToServer, base, &s)
		for at := range uint32(1000) {
			p.Segment(&orders[i], flow.ToServer, base+2+2*at, 1, []byte{1}, &s)
		}
		n := uint32(1997)
		p.Segment(&orders[i], flow.ToServer, base, n, make([]byte, n), &s)
		if seq, ok := orders[i].Next(flow.ToServer); !ok || seq != base+n || !p.Pending(&orders[i], flow.ToServer) {
			t.Fatalf("Next() = %d, %v, want all but the last pieces delivered", seq-base, ok)
		}
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 3*limit {
		t.Errorf("the heap grew by %d bytes under a budget of %d", grown, limit)
	}
	runtime.KeepAlive(p)
}

func TestUnwantedBytesAreNotKept(t *testing.T) {
	p := reassembly.NewPool(reassembly.Config{})
	var o reassembly.Order
	s := sink{deaf: true}
	gaps, missed := play(p, &o, &s, []step{{5, "fgh", 0}, {8, "", 0}})
	if gaps != 1 || missed != 5 {
		t.Errorf("%d gaps of %d bytes, want 1 of 5", gaps, missed)
	}
	if st := p.Stats(); st.HeldBytes != 0 || st.NotKept != 0 {
		t.Errorf("Stats() = %+v, want nothing held", st)
	}
}

func TestFlip(t *testing.T) {
	p := reassembly.NewPool(reassembly.Config{})
	var o reassembly.Order
	var s sink
	p.Start(&o, flow.ToServer, 100)
	p.Start(&o, flow.ToClient, 900)
	p.Segment(&o, flow.ToServer, 101, 1, []byte("b"), &s)
	p.Flip(&o)
	p.Segment(&o, flow.ToClient, 100, 1, []byte("a"), &s)
	p.Segment(&o, flow.ToServer, 900, 1, []byte("x"), &s)
	want := [2]string{"x", "ab"}
	if diff := cmp.Diff(want, [2]string{s.out[0].String(), s.out[1].String()}); diff != "" {
		t.Errorf("delivered differs (-want +got):\n%s", diff)
	}
}

// TestShuffled sends a stream in random segments, shuffled within a window,
// with repetitions: it must come out whole.
func TestShuffled(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	p := reassembly.NewPool(reassembly.Config{})
	for range 300 {
		text := make([]byte, 5000)
		for i := range text {
			text[i] = byte(rng.Uint32())
		}
		var o reassembly.Order
		var s sink
		p.Start(&o, flow.ToServer, base)
		type seg struct{ lo, hi int }
		var segs []seg
		for at := 0; at < len(text); {
			end := min(len(text), at+1+rng.IntN(400))
			segs = append(segs, seg{at, end})
			if rng.IntN(4) == 0 {
				segs = append(segs, seg{max(0, at-rng.IntN(100)), end})
			}
			at = end
		}
		for i := range segs {
			j := min(len(segs)-1, i+rng.IntN(4))
			segs[i], segs[j] = segs[j], segs[i]
		}
		for _, g := range segs {
			p.Segment(&o, flow.ToServer, base+uint32(g.lo), uint32(g.hi-g.lo), text[g.lo:g.hi], &s)
		}
		if !bytes.Equal(s.out[0].Bytes(), text) {
			t.Fatal("the stream came out different")
		}
		p.Close(&o)
	}
	if st := p.Stats(); st.HeldBytes != 0 || st.Conflicts != 0 {
		t.Errorf("Stats() = %+v, want nothing held and no conflict", st)
	}
}

// FuzzSegments feeds arbitrary segments and acknowledgments. Bytes are a
// function of their place, so whatever is delivered must be right, and offsets
// must add up.
func FuzzSegments(f *testing.F) {
	for _, tc := range cases {
		var in []byte
		for _, st := range tc.steps {
			in = append(in, byte(st.at>>8), byte(st.at), byte(len(st.data)), byte(st.lost))
		}
		f.Add(in)
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		budget := reassembly.NewBudget(8 << 10)
		p := reassembly.NewPool(reassembly.Config{Budget: budget, ConnBytes: 4 << 10, ConnPieces: 16})
		var o reassembly.Order
		p.Start(&o, flow.ToServer, base)
		c := &checker{t: t}
		known := uint32(base)
		for ; len(in) >= 4; in = in[4:] {
			if next, ok := o.Next(flow.ToServer); ok {
				if int32(next-known) < 0 {
					t.Fatalf("Next() went back from %d to %d", known-base, next-base)
				}
				known = next
			} else if o.Unacked(flow.ToServer) {
				t.Fatal("given up, but not acknowledged")
			}
			at := uint32(in[0])<<8 | uint32(in[1])
			n, lost := uint32(in[2]), uint32(in[3]&7)
			if n == 0 {
				p.Ack(&o, flow.ToServer, base+at, c)
				continue
			}
			data := make([]byte, n)
			for i := range data {
				data[i] = at8(at + uint32(i))
			}
			p.Segment(&o, flow.ToServer, base+at, n+lost, data, c)
		}
		p.Close(&o)
		if budget.Left() != 8<<10 {
			t.Fatalf("%d bytes of the budget are lost", 8<<10-budget.Left())
		}
	})
}

func at8(offset uint32) byte { return byte(offset*31 + offset>>8) }

type checker struct {
	t    *testing.T
	next uint32
}

func (c *checker) Wants(flow.Dir) bool { return true }
func (c *checker) Gap(_ flow.Dir, n uint64) {
	c.next += uint32(n)
	if n == 0 {
		c.t.Fatal("a hole of no bytes")
	}
}

func (c *checker) Data(_ flow.Dir, data []byte) {
	for _, b := range data {
		if b != at8(c.next) {
			c.t.Fatalf("byte at offset %d is %d, want %d", c.next, b, at8(c.next))
		}
		c.next++
	}
}

func BenchmarkInOrder(b *testing.B) {
	p := reassembly.NewPool(reassembly.Config{})
	var o reassembly.Order
	s := &count{}
	data := make([]byte, 1400)
	seq := uint32(0)
	p.Start(&o, flow.ToServer, seq)
	b.SetBytes(1400)
	b.ReportAllocs()
	for b.Loop() {
		p.Segment(&o, flow.ToServer, seq, 1400, data, s)
		seq += 1400
		p.Ack(&o, flow.ToServer, seq, s)
	}
}

type count struct{ n uint64 }

func (c *count) Wants(flow.Dir) bool          { return true }
func (c *count) Data(_ flow.Dir, data []byte) { c.n += uint64(len(data)) }
func (c *count) Gap(_ flow.Dir, n uint64)     { c.n += n }
