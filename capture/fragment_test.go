// SPDX-License-Identifier: Apache-2.0

package capture_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"runtime"
	"testing"

	"github.com/google/go-cmp/cmp"

	"weir/capture"
	"weir/internal/flow"
)

// pattern returns n bytes that differ from place to place.
func pattern(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i*7 + i>>8)
	}
	return b
}

// piece4 makes the IPv4 fragment of a datagram's bytes [from, to).
func piece4(id int, datagram []byte, from, to int) []byte {
	frag := from / 8
	if to < len(datagram) {
		frag |= 0x2000
	}
	return ip4frag(a4, b4, 17, id, frag, datagram[from:to])
}

func piece6(id int, datagram []byte, from, to int) []byte {
	frag := from
	if to < len(datagram) {
		frag |= 1
	}
	return ip6(a6, b6, 44, cat([]byte{17, 0}, be16(frag), be32(uint32(id)), datagram[from:to]))
}

// piece4tcp makes an IPv4 fragment of a TCP segment.
func piece4tcp(from, to int) []byte {
	b := piece4(1, sealed(a4, b4, 6, 16, tcp(5, 80, 0x18, nil, []byte("odd"))), from, to)
	b[9], b[10], b[11] = 6, 0, 0
	binary.BigEndian.PutUint16(b[10:], onesum(b[:20]))
	return b
}

// withOptions puts four bytes of options into an IPv4 header.
func withOptions(b []byte) []byte {
	b = cat(b[:20], []byte{1, 1, 1, 0}, b[20:])
	b[0]++
	binary.BigEndian.PutUint16(b[2:], uint16(len(b)))
	b[10], b[11] = 0, 0
	binary.BigEndian.PutUint16(b[10:], onesum(b[:24]))
	return b
}

func TestFragments(t *testing.T) {
	dg := sealed(a4, b4, 17, 6, udp(7, 53, pattern(3000)))
	dg6 := sealed(a6, b6, 17, 6, udp(7, 53, pattern(3000)))
	n := len(dg)
	whole := packet{
		Src: a4, Dst: b4, Proto: 17, Sport: 7, Dport: 53, IPLen: uint32(20 + n), PayloadLen: 3000,
		Payload: string(pattern(3000)), Flags: flow.Reassembled,
	}
	whole6 := whole
	whole6.Src, whole6.Dst, whole6.IPLen = a6, b6, uint32(40+n)
	other := bytes.Repeat([]byte{0xee}, n)
	first := packet{
		Src: a4, Dst: b4, Proto: 17, Sport: 7, Dport: 53, IPLen: 1500, PayloadLen: 3000,
		Payload: string(pattern(92)), Flags: flow.Truncated,
	}
	inner := ip4(a4, b4, 17, udp(7, 53, pattern(2000)))
	tunneled := packet{
		Src: a4, Dst: b4, Proto: 17, Sport: 7, Dport: 53, IPLen: 2028, PayloadLen: 2000,
		Payload: string(pattern(2000)), Tunnel: true,
	}
	outer := func(from, to int) []byte {
		frag := from / 8
		if to < len(inner) {
			frag |= 0x2000
		}
		return ip4frag(c4, d4, 4, 9, frag, inner[from:to])
	}
	longest := sealed(a4, b4, 17, 6, udp(7, 53, pattern(65507)))
	longestWant := whole
	longestWant.IPLen, longestWant.PayloadLen, longestWant.Payload = 65535, 65507, string(pattern(65507))
	longest6 := sealed(a6, b6, 17, 6, udp(7, 53, pattern(65527)))
	longest6Want := whole6
	longest6Want.IPLen, longest6Want.PayloadLen, longest6Want.Payload = 65575, 65527, string(pattern(65527))
	type frames [][]byte
	for _, tc := range []struct {
		name     string
		frames   frames
		cut      int // bytes of the first frame that were not captured
		times    []int64
		want     []packet
		rejected map[string]uint64
		overlaps uint64
	}{
		{name: "in order", frames: frames{piece4(1, dg, 0, 1480), piece4(1, dg, 1480, 2960), piece4(1, dg, 2960, n)}, want: []packet{whole}, rejected: map[string]uint64{"fragment": 2}},
		{name: "reversed", frames: frames{piece4(1, dg, 2960, n), piece4(1, dg, 1480, 2960), piece4(1, dg, 0, 1480)}, want: []packet{whole}, rejected: map[string]uint64{"fragment": 2}},
		{name: "middle last", frames: frames{piece4(1, dg, 0, 800), piece4(1, dg, 1600, n), piece4(1, dg, 800, 1600)}, want: []packet{whole}, rejected: map[string]uint64{"fragment": 2}},
		{name: "duplicates", frames: frames{piece4(1, dg, 0, 1480), piece4(1, dg, 0, 1480), piece4(1, dg, 1480, n)}, want: []packet{whole}, rejected: map[string]uint64{"fragment": 2}, overlaps: 1},
		{name: "first copy wins", frames: frames{piece4(1, dg, 0, 1480), piece4(1, other, 800, 1600), piece4(1, dg, 1600, n)}, rejected: map[string]uint64{"fragment": 2}, overlaps: 1, want: []packet{func() packet {
			w := whole
			b := pattern(3000)
			copy(b[1480-8:1600-8], other)
			w.Payload, w.Flags = string(b), flow.Reassembled|flow.BadChecksum
			return w
		}()}},
		{name: "overlap fills several gaps", frames: frames{piece4(1, dg, 0, 8), piece4(1, dg, 400, 480), piece4(1, dg, 960, n), piece4(1, dg, 0, 1000)}, want: []packet{whole}, rejected: map[string]uint64{"fragment": 3}, overlaps: 1},
		{name: "missing", frames: frames{piece4(1, dg, 0, 1480), piece4(1, dg, 2960, n)}, rejected: map[string]uint64{"fragment": 2}},
		{name: "two identifications", frames: frames{piece4(1, dg, 0, 1480), piece4(2, dg, 1480, n)}, rejected: map[string]uint64{"fragment": 2}},
		{name: "protocol is not in the key", frames: frames{piece4(1, dg, 0, 1480), ip4frag(a4, b4, 6, 1, 1480/8, dg[1480:])}, want: []packet{whole}, rejected: map[string]uint64{"fragment": 1}},
		{name: "twice", frames: frames{piece4(1, dg, 0, 1480), piece4(1, dg, 1480, n), piece4(1, dg, 0, 1480), piece4(1, dg, 1480, n)}, want: []packet{whole, whole}, rejected: map[string]uint64{"fragment": 2}},
		{name: "timeout", frames: frames{piece4(1, dg, 0, 1480), piece4(1, dg, 1480, n)}, times: []int64{1e18, 1e18 + 300e9}, rejected: map[string]uint64{"fragment": 2}},
		{name: "just before the timeout", frames: frames{piece4(1, dg, 0, 1480), piece4(1, dg, 1480, n)}, times: []int64{1e18, 1e18 + 300e9 - 1000}, want: []packet{whole}, rejected: map[string]uint64{"fragment": 1}},
		{name: "first fragment cut", frames: frames{piece4(1, dg, 0, 1480), piece4(1, dg, 1480, n)}, cut: 1380, want: []packet{first}, rejected: map[string]uint64{"fragment": 1}},
		{name: "other fragment cut", frames: frames{piece4(1, dg, 1480, n)}, cut: 1, rejected: map[string]uint64{"truncated_fragment": 1}},
		{name: "no payload", frames: frames{ip4frag(a4, b4, 17, 1, 0x2000, nil)}, rejected: map[string]uint64{"bad_fragment": 1}},
		{name: "beyond 65535", frames: frames{ip4frag(a4, b4, 17, 1, 0x1fff, zeros(16))}, rejected: map[string]uint64{"bad_fragment": 1}},
		{name: "no room for the header", frames: frames{ip4frag(a4, b4, 17, 1, 0x1ffd, zeros(8))}, rejected: map[string]uint64{"bad_fragment": 1}},
		{name: "as long as can be", frames: frames{
			piece4(1, longest, 0, 32760), piece4(1, longest, 32760, len(longest)),
		}, want: []packet{longestWant}, rejected: map[string]uint64{"fragment": 1}},
		{name: "ipv6, as long as can be", frames: frames{
			piece6(1, longest6, 0, 32760), piece6(1, longest6, 32760, len(longest6)),
		}, want: []packet{longest6Want}, rejected: map[string]uint64{"fragment": 1}},
		{name: "second end, further", frames: frames{
			piece4(1, dg, 0, 1480), ip4frag(a4, b4, 17, 1, 2000/8, dg[2000:2400]), piece4(1, dg, 2400, n), piece4(1, dg, 1480, 2000),
		}, want: []packet{whole}, rejected: map[string]uint64{"fragment": 3}},
		{name: "second end, nearer", frames: frames{
			piece4(1, dg, 0, 1480), piece4(1, dg, 2000, n), ip4frag(a4, b4, 17, 1, 1480/8, dg[1480:1600]), piece4(1, dg, 1480, 2000),
		}, want: []packet{whole}, rejected: map[string]uint64{"fragment": 3}, overlaps: 1},
		{name: "bytes beyond the end, in a row", frames: frames{
			piece4(1, dg, 0, 1480), piece4(1, dg, 1600, 2400), ip4frag(a4, b4, 17, 1, 1480/8, dg[1480:1600]),
		}, want: []packet{func() packet {
			w := whole
			w.IPLen, w.Payload, w.Flags = 20+2400, string(pattern(3000)[:2392]), flow.Reassembled|flow.BadChecksum
			return w
		}()}, rejected: map[string]uint64{"fragment": 2}},
		{name: "bytes beyond the end, behind a hole", frames: frames{
			piece4(1, dg, 0, 1480), piece4(1, dg, 2000, 2400), ip4frag(a4, b4, 17, 1, 1480/8, dg[1480:1600]),
		}, want: []packet{func() packet {
			w := whole
			w.IPLen, w.Payload, w.Flags = 20+1600, string(pattern(3000)[:1592]), flow.Reassembled|flow.BadChecksum
			return w
		}()}, rejected: map[string]uint64{"fragment": 2}},
		{name: "end before what is there", frames: frames{piece4(1, dg, 1480, 2960), ip4frag(a4, b4, 17, 1, 100, zeros(8))}, rejected: map[string]uint64{"fragment": 2}},
		{name: "headers of the fragment that came first", frames: frames{
			piece4(1, dg, 1480, n), withOptions(piece4(1, dg, 0, 1480)),
		}, want: []packet{whole}, rejected: map[string]uint64{"fragment": 1}},
		{name: "headers with options", frames: frames{
			withOptions(piece4(1, dg, 0, 1480)), piece4(1, dg, 1480, n),
		}, want: []packet{func() packet { w := whole; w.IPLen += 4; return w }()}, rejected: map[string]uint64{"fragment": 1}},
		{name: "tcp header in pieces", frames: frames{piece4tcp(0, 8), piece4tcp(8, 16), piece4tcp(16, 23)}, want: []packet{{
			Src: a4, Dst: b4, Proto: 6, Sport: 5, Dport: 80,
			IPLen: 43, PayloadLen: 3, Payload: "odd", Flags: flow.Reassembled,
		}}, rejected: map[string]uint64{"fragment": 2}},
		{name: "ends within the transport header", frames: frames{piece4(1, dg[:7], 0, 4), ip4frag(a4, b4, 6, 1, 0x2000, dg[:8]), ip4frag(a4, b4, 6, 1, 1, dg[8:16])}, rejected: map[string]uint64{"bad_fragment": 1, "fragment": 1, "truncated_header": 1}},
		{name: "two networks", frames: frames{piece4(1, dg, 0, 1480), ip4frag(a4, d4, 17, 1, 1480/8, dg[1480:])}, rejected: map[string]uint64{"fragment": 2}},
		{name: "ipv6", frames: frames{piece6(1, dg6, 0, 1480), piece6(1, dg6, 1480, n)}, want: []packet{whole6}, rejected: map[string]uint64{"fragment": 1}},
		{name: "ipv6 reversed", frames: frames{piece6(1, dg6, 1480, n), piece6(1, dg6, 0, 1480)}, want: []packet{whole6}, rejected: map[string]uint64{"fragment": 1}},
		{name: "ipv6 duplicate", frames: frames{piece6(1, dg6, 0, 1480), piece6(1, dg6, 0, 1480), piece6(1, dg6, 1480, n)}, want: []packet{whole6}, rejected: map[string]uint64{"fragment": 2}, overlaps: 1},
		{name: "ipv6 overlap", frames: frames{piece6(1, dg6, 0, 1480), piece6(1, dg6, 1472, 2000), piece6(1, dg6, 1480, n)}, rejected: map[string]uint64{"fragment": 1, "fragment_overlap": 2}, overlaps: 1},
		{name: "ipv6 duplicate with other bytes", frames: frames{piece6(1, dg6, 0, 1480), piece6(1, other, 0, 1480), piece6(1, dg6, 1480, n)}, rejected: map[string]uint64{"fragment": 1, "fragment_overlap": 2}, overlaps: 1},
		{name: "ipv6 overlap times out as well", frames: frames{piece6(1, dg6, 0, 1480), piece6(1, dg6, 1472, 2000), piece6(1, dg6, 0, 1480), piece6(1, dg6, 1480, n)}, times: []int64{1e18, 1e18 + 1e9, 1e18 + 300e9, 1e18 + 301e9}, want: []packet{whole6}, rejected: map[string]uint64{"fragment": 2, "fragment_overlap": 1}, overlaps: 1},
		{name: "ipv6 next header of the one at the beginning", frames: frames{func() []byte { b := piece6(1, dg6, 1480, n); b[40] = 6; return b }(), piece6(1, dg6, 0, 1480)}, want: []packet{whole6}, rejected: map[string]uint64{"fragment": 1}},
		{name: "ipv6 atomic", frames: frames{piece6(1, dg6, 0, 1480), piece6(1, dg6, 0, n), piece6(1, dg6, 1480, n)}, want: []packet{func() packet { w := whole6; w.Flags = 0; return w }(), whole6}, rejected: map[string]uint64{"fragment": 1}},
		{name: "ipv6 headers before", frames: frames{ip6(a6, b6, 0, cat([]byte{44, 0, 1, 4, 0, 0, 0, 0}, piece6(1, dg6, 0, 1480)[40:])), ip6(a6, b6, 0, cat([]byte{44, 0, 1, 4, 0, 0, 0, 0}, piece6(1, dg6, 1480, n)[40:]))}, want: []packet{func() packet { w := whole6; w.IPLen += 8; return w }()}, rejected: map[string]uint64{"fragment": 1}},
		{name: "ipv6 odd length", frames: frames{piece6(1, dg6, 0, 1481)}, rejected: map[string]uint64{"bad_fragment": 1}},
		{name: "tunnel in fragments", frames: frames{outer(0, 1000), outer(1000, len(inner))}, want: []packet{tunneled}, rejected: map[string]uint64{"fragment": 1}},
		{name: "fragments in a tunnel", frames: frames{ip4(c4, d4, 4, piece4(1, dg, 0, 1480)), ip4(c4, d4, 4, piece4(1, dg, 1480, n))}, want: []packet{func() packet { w := whole; w.Tunnel = true; return w }()}, rejected: map[string]uint64{"fragment": 1}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f := newPcap(101)
			for i, b := range tc.frames {
				at := int64(1e18) + int64(i)*1000
				if tc.times != nil {
					at = tc.times[i]
				}
				kept := b
				if i == 0 {
					kept = b[:len(b)-tc.cut]
				}
				f.addWire(at, kept, len(b))
			}
			res := read(t, capture.Config{Inputs: []string{write(t, "x", f.buf)}, Checksums: true})
			var got []packet
			for i := range res.packets {
				got = append(got, shown(&res.packets[i]))
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("packets (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tc.rejected, rejected(res.stats)); diff != "" {
				t.Errorf("rejected (-want +got):\n%s", diff)
			}
			if got := res.stats.Fragments.Overlaps; got != tc.overlaps {
				t.Errorf("Overlaps = %d, want %d", got, tc.overlaps)
			}
			last := int64(1e18) + int64(len(tc.frames)-1)*1000
			if n := len(res.packets); n > 0 && tc.times == nil && tc.cut == 0 && res.packets[n-1].TS != flow.Time(last) {
				t.Errorf("TS = %d, want that of the completing fragment, %d", res.packets[n-1].TS, last)
			}
		})
	}
}

// The tag of a VLAN does not tell datagrams apart. The packet has that of the
// fragment that completes it.
func TestFragmentsVLAN(t *testing.T) {
	dg := udp(7, 53, pattern(3000))
	tagged := func(id int, b []byte) []byte { return eth(0x8100, cat(be16(id), be16(0x0800), b)) }
	f := newPcap(1)
	f.add(1e18, tagged(20, piece4(1, dg, 1480, len(dg))))
	f.add(1e18, tagged(10, piece4(1, dg, 0, 1480)))
	res := read(t, capture.Config{Inputs: []string{write(t, "x", f.buf)}})
	if len(res.packets) != 1 || res.packets[0].VLAN != 10 || string(res.packets[0].Payload) != string(pattern(3000)) {
		t.Errorf("%d packets, rejected %v, want one of VLAN 10", len(res.packets), rejected(res.stats))
	}
}

// A million first fragments stay within the limit, and the newest datagrams can
// still be completed.
func TestFragmentFlood(t *testing.T) {
	const count = 1_000_000
	dg := udp(7, 53, pattern(64))
	f := newPcap(101)
	frame := piece4(0, dg, 0, 40)
	for i := range count {
		binary.BigEndian.PutUint16(frame[4:], uint16(i))
		binary.BigEndian.PutUint32(frame[12:], uint32(i>>16))
		f.add(1e18, frame)
		if i == count-1 {
			last := piece4(0, dg, 40, len(dg))
			copy(last[4:6], frame[4:6])
			copy(last[12:16], frame[12:16])
			f.add(1e18, last)
		}
	}
	res := read(t, capture.Config{Inputs: []string{"-"}, Stdin: bytes.NewReader(f.buf)})
	if len(res.packets) != 1 || string(res.packets[0].Payload) != string(pattern(64)) {
		t.Fatalf("%d packets, want the newest datagram", len(res.packets))
	}
	s := res.stats.Fragments
	if s.Bytes > 32<<20 || s.Bytes < 16<<20 || s.Completed != 1 || s.Evicted < 900_000 {
		t.Errorf("fragments = %+v, want at most 32 MiB in use and the oldest evicted", s)
	}
}

// However many datagrams are begun, and with whatever sizes, their memory stays
// within 32 MiB, that of the index included.
func TestFragmentMemory(t *testing.T) {
	used := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	for _, size := range []int{8, 240, 1480} {
		f := newPcap(101)
		frame := ip4frag(a4, b4, 17, 0, 0x2000, zeros(size))
		for i := range 200_000 {
			binary.BigEndian.PutUint16(frame[4:], uint16(i))
			binary.BigEndian.PutUint32(frame[12:], uint32(i>>16))
			f.add(1e18, frame)
		}
		before := used()
		r, err := capture.Open(capture.Config{
			Inputs: []string{"-"}, Stdin: bytes.NewReader(f.buf), BlockSize: 1 << 16, Blocks: 2,
		})
		if err != nil {
			t.Fatal(err)
		}
		for {
			b, err := r.Next()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			b.Release()
		}
		const buffers = 1 << 20 // blocks and what else the reader has
		if grown := int64(used()) - int64(before); grown > 32<<20+buffers {
			t.Errorf("fragments of %d bytes: the heap grew by %d bytes", size, grown)
		}
		t.Logf("fragments of %d bytes: %d bytes of heap, %d counted", size, int64(used())-int64(before), r.Stats().Fragments.Bytes)
		if s := r.Stats().Fragments; s.Bytes > 32<<20 || s.Evicted == 0 {
			t.Errorf("fragments of %d bytes: %+v", size, s)
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
		runtime.KeepAlive(f)
	}
}

// Many tiny fragments of one datagram: bounded, and no quadratic walk.
func TestTinyFragments(t *testing.T) {
	dg := udp(7, 53, pattern(65000))
	for _, reverse := range []bool{false, true} {
		f := newPcap(101)
		for i := 0; i < len(dg); i += 8 {
			from := i
			if reverse {
				from = (len(dg)-1)/8*8 - i
			}
			f.add(1e18, piece4(1, dg, from, min(from+8, len(dg))))
		}
		res := read(t, capture.Config{Inputs: []string{write(t, "x", f.buf)}})
		if res.stats.Fragments.Evicted == 0 || len(res.packets) != 0 {
			t.Errorf("reverse %v: %+v, %d packets, want the datagram given up", reverse, res.stats.Fragments, len(res.packets))
		}
	}
	// As many as the limit allows are put together.
	small := udp(7, 53, pattern(1992))
	f := newPcap(101)
	for i := 0; i < len(small); i += 8 {
		f.add(1e18, piece4(1, small, i, i+8))
	}
	if res := read(t, capture.Config{Inputs: []string{write(t, "x", f.buf)}}); len(res.packets) != 1 {
		t.Errorf("250 fragments: %d packets, %v", len(res.packets), rejected(res.stats))
	}
}

// Many datagrams completed in one block: each has memory of its own.
func TestManyDatagrams(t *testing.T) {
	f := newPcap(101)
	for i := range 300 {
		dg := udp(i, 53, bytes.Repeat([]byte{byte(i)}, 20000))
		f.add(1e18, piece4(i, dg, 8, len(dg)))
	}
	for i := range 300 {
		dg := udp(i, 53, bytes.Repeat([]byte{byte(i)}, 20000))
		f.add(1e18, piece4(i, dg, 0, 8))
	}
	res := read(t, capture.Config{Inputs: []string{write(t, "x", f.buf)}})
	if len(res.packets) != 300 {
		t.Fatalf("%d packets, %v", len(res.packets), rejected(res.stats))
	}
	for i := range res.packets {
		if p := &res.packets[i]; !bytes.Equal(p.Payload, bytes.Repeat([]byte{byte(i)}, 20000)) {
			t.Fatalf("payload of datagram %d is wrong", i)
		}
	}
}

// Datagrams that complete each other: the nesting is bounded.
func TestNestedFragments(t *testing.T) {
	header := func(next byte, off int, more bool, id int) []byte {
		if more {
			off |= 1
		}
		return cat([]byte{next, 0}, be16(off), be32(uint32(id)))
	}
	// Datagram i lacks its first 16 bytes, the headers i+1 and i+2, and has the
	// header i+3: the last piece of each is completed by the one before.
	const levels = 1000
	f := newPcap(101)
	for id := 1; id <= levels; id++ {
		f.add(1e18, ip6(a6, b6, 44, cat(header(44, 16, false, id), header(44, 0, true, id+3))))
	}
	f.add(1e18, ip6(a6, b6, 44, cat(header(44, 0, true, 1), header(44, 0, true, 2), header(44, 0, true, 3))))
	res := read(t, capture.Config{Inputs: []string{write(t, "x", f.buf)}})
	want := map[string]uint64{"fragment": levels, "bad_fragment": 1}
	if diff := cmp.Diff(want, rejected(res.stats)); diff != "" {
		t.Errorf("rejected (-want +got):\n%s", diff)
	}
	if got := res.stats.Fragments.Completed; got != 32 {
		t.Errorf("Completed = %d, want 32", got)
	}
}
