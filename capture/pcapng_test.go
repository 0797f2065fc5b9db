// SPDX-License-Identifier: Apache-2.0

package capture_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"weir/capture"
	"weir/internal/flow"
)

// ng makes pcapng blocks in one byte order.
type ng struct{ order binary.AppendByteOrder }

func (g ng) u16(v int) []byte    { return g.order.AppendUint16(nil, uint16(v)) }
func (g ng) u32(v uint32) []byte { return g.order.AppendUint32(nil, v) }

func (g ng) block(kind uint32, body ...[]byte) []byte {
	b := cat(body...)
	b = append(b, zeros(-len(b)&3)...)
	n := g.u32(uint32(len(b) + 12))
	return cat(g.u32(kind), n, b, n)
}

func (g ng) section() []byte {
	return g.block(0x0a0d0d0a, g.u32(0x1a2b3c4d), g.u16(1), g.u16(0), bytes.Repeat([]byte{0xff}, 8))
}

func (g ng) option(code int, v []byte) []byte {
	return cat(g.u16(code), g.u16(len(v)), v, zeros(-len(v)&3))
}

func (g ng) iface(link int, snap uint32, options ...[]byte) []byte {
	return g.block(1, g.u16(link), zeros(2), g.u32(snap), cat(options...))
}

func (g ng) enhanced(id uint32, stamp uint64, data []byte, options ...[]byte) []byte {
	return g.block(6, g.u32(id), g.u32(uint32(stamp>>32)), g.u32(uint32(stamp)), g.u32(uint32(len(data))),
		g.u32(uint32(len(data))), data, zeros(-len(data)&3), cat(options...))
}

func (g ng) simple(wire int, data []byte) []byte { return g.block(3, g.u32(uint32(wire)), data) }

func (g ng) obsolete(id int, stamp uint64, data []byte) []byte {
	return g.block(2, g.u16(id), g.u16(0xffff), g.u32(uint32(stamp>>32)), g.u32(uint32(stamp)),
		g.u32(uint32(len(data))), g.u32(uint32(len(data))), data)
}

var le, be = ng{binary.LittleEndian}, ng{binary.BigEndian}

const micro = 1_700_000_000_123_456

func ngTests() []ngTest {
	stamp := func(resolution byte, offset int64, v uint64) []byte {
		return cat(le.section(), le.iface(1, 0,
			le.option(9, []byte{resolution}), le.option(14, binary.LittleEndian.AppendUint64(nil, uint64(offset)))),
			le.enhanced(0, v, numbered(0)))
	}
	first := []flow.Time{micro * 1000}
	damage := func(at int, reason string) string { return fmt.Sprintf("%d: %s", at, reason) }
	n := len(le.section())
	var tests []ngTest
	for name, g := range map[string]ng{"le": le, "be": be} {
		tests = append(tests, []ngTest{
			{name: name + " enhanced", content: cat(g.section(), g.iface(1, 0), g.enhanced(0, micro, numbered(0))), times: first},
			{name: name + " obsolete", content: cat(g.section(), g.iface(1, 0), g.obsolete(0, micro, numbered(0))), times: first},
			{name: name + " simple", content: cat(g.section(), g.iface(1, 0), g.enhanced(0, micro, numbered(0)), g.simple(len(numbered(1)), numbered(1))), times: []flow.Time{micro * 1000, micro * 1000}},
			{name: name + " options", content: cat(g.section(), g.iface(1, 0, g.option(2, []byte("eth0")), g.option(9, []byte{9}), g.option(0, nil)), g.enhanced(0, micro*1000, numbered(0), g.option(1, []byte("comment")))), times: first},
		}...)
	}
	return append(tests, []ngTest{
		{
			name: "sections of both orders, link types", times: []flow.Time{micro * 1000, micro * 1000, micro * 1000},
			content: cat(le.section(), le.iface(101, 0), le.iface(1, 0), le.enhanced(1, micro, numbered(0)),
				be.section(), be.iface(1, 0), be.enhanced(0, micro, numbered(1)),
				le.section(), le.iface(113, 0), le.enhanced(0, micro, cat(zeros(14), numbered(2)[12:]))),
		},
		{
			name: "unknown blocks", times: first,
			content: cat(le.section(), le.block(0x80000001, zeros(3_000_000)), le.iface(1, 0), le.block(5, zeros(12)),
				le.block(4, zeros(40)), le.enhanced(0, micro, numbered(0)), le.block(0xbad)),
		},
		{name: "nanoseconds", content: stamp(9, 0, micro*1000+789), times: []flow.Time{micro*1000 + 789}},
		{name: "seconds", content: stamp(0, 0, 1_700_000_000), times: []flow.Time{1_700_000_000e9}},
		{name: "picoseconds", content: stamp(12, 1_700_000_000, 1_234_567_890_123), times: []flow.Time{1_700_000_001_234_567_890}},
		{name: "10^-19", content: stamp(19, 1_700_000_000, 15e18), times: []flow.Time{1_700_000_001_500_000_000}},
		{name: "10^-20", content: stamp(20, 1_700_000_000, 15e18), times: []flow.Time{1_700_000_000e9}},
		{name: "2^0", content: stamp(0x80, 0, 1_700_000_000), times: []flow.Time{1_700_000_000e9}},
		{name: "2^-10", content: stamp(0x8a, 0, 1_700_000_000<<10|512), times: []flow.Time{1_700_000_000_500_000_000}},
		{name: "2^-32", content: stamp(0xa0, 0, 1_700_000_000<<32|1<<30), times: []flow.Time{1_700_000_000_250_000_000}},
		{name: "2^-63", content: stamp(0xbf, 100, 3<<62), times: []flow.Time{101_500_000_000}},
		{name: "2^-64", content: stamp(0xc0, 100, 1<<63), times: []flow.Time{100_500_000_000}},
		{name: "2^-127", content: stamp(0xff, 100, 1<<63), times: []flow.Time{100e9}},
		{name: "offset", content: stamp(6, -3600, micro), times: []flow.Time{micro*1000 - 3600e9}},
		{name: "before 1970", content: stamp(6, -1<<62, micro), times: []flow.Time{0}},
		{name: "far future", content: stamp(0, 0, 1<<63), times: []flow.Time{7_250_000_000e9}},
		{name: "far future by offset", content: stamp(6, 1<<62, micro), times: []flow.Time{7_250_000_000e9}},
		{name: "far future by both", content: stamp(0, 1<<63-1, 1<<64-1), times: []flow.Time{7_250_000_000e9}},
		{name: "unknown interface", content: cat(le.section(), le.iface(1, 0), le.enhanced(7, micro, numbered(0)), le.enhanced(0, micro, numbered(0))), times: first, rejected: 1},
		{name: "packet before interface", content: cat(le.section(), le.simple(60, numbered(0))), rejected: 1},
		{name: "interfaces end with their section", content: cat(le.section(), le.iface(1, 0), le.section(), le.enhanced(0, micro, numbered(0))), rejected: 1},
		{name: "option lengths lie", content: cat(le.section(), le.block(1, le.u16(1), zeros(6), le.u16(9), le.u16(60000), zeros(8)), le.enhanced(0, micro, numbered(0))), times: first},
		{name: "empty", content: le.section()},
		{name: "block length 0", content: cat(le.section(), le.u32(6), le.u32(0), zeros(8)), damage: damage(n, "a block length of 0 bytes")},
		{name: "block length 8", content: cat(le.section(), le.u32(6), le.u32(8), zeros(8)), damage: damage(n, "a block length of 8 bytes")},
		{name: "block length 15", content: cat(le.section(), le.u32(6), le.u32(15), zeros(8)), damage: damage(n, "a block length of 15 bytes")},
		{name: "packet block of 4 GiB", content: cat(le.section(), le.u32(6), le.u32(0xfffffff0), zeros(80)), damage: damage(n, "a block of 4294967280 bytes")},
		{name: "unknown block of 4 GiB", content: cat(le.section(), le.u32(99), le.u32(0xfffffff0), zeros(80)), damage: damage(n, "at least 4294967192 bytes are missing at byte 116")},
		{name: "lengths differ", content: cat(le.section(), le.u32(1), le.u32(20), zeros(8), le.u32(24)), damage: damage(n, "the two lengths of a block differ")},
		{name: "lengths of an unknown block differ", content: cat(le.section(), le.u32(99), le.u32(20), zeros(8), le.u32(24)), damage: damage(n, "the two lengths of a block differ")},
		{name: "captured length beyond block", content: cat(le.section(), le.iface(1, 0), le.block(6, zeros(12), le.u32(100), le.u32(100), zeros(20))), damage: damage(n+20, "a captured length of 100 bytes")},
		{name: "short packet block", content: cat(le.section(), le.iface(1, 0), le.block(6, zeros(16))), damage: damage(n+20, "a short packet block")},
		{name: "short obsolete block", content: cat(le.section(), le.iface(1, 0), le.block(2, zeros(16))), damage: damage(n+20, "a short packet block")},
		{name: "short simple block", content: cat(le.section(), le.iface(1, 0), le.block(3)), damage: damage(n+20, "a short packet block")},
		{name: "short interface", content: cat(le.section(), le.block(1, zeros(4))), damage: damage(n, "a short interface description")},
		{name: "short section", content: cat(le.section(), le.block(0x0a0d0d0a, le.u32(0x1a2b3c4d))), damage: damage(n, "a short section header")},
		{name: "section without order", content: cat(le.section(), le.block(0x0a0d0d0a, zeros(16))), damage: damage(n, "a section header without byte order")},
		{name: "version 2", content: cat(le.section(), le.block(0x0a0d0d0a, le.u32(0x1a2b3c4d), le.u16(2), zeros(10))), damage: damage(n, "pcapng version 2.0 is not supported")},
	}...)
}

type ngTest struct {
	name     string
	content  []byte
	times    []flow.Time // of the packets delivered
	rejected uint64
	damage   string // "offset: reason"
}

func TestPcapng(t *testing.T) {
	for _, tc := range ngTests() {
		t.Run(tc.name, func(t *testing.T) {
			for _, size := range []int{0, 50} {
				res := read(t, capture.Config{Inputs: []string{write(t, "x", tc.content)}, BlockSize: size})
				var times []flow.Time
				for i := range res.packets {
					times = append(times, res.packets[i].TS)
				}
				if diff := cmp.Diff(tc.times, times); diff != "" {
					t.Errorf("times (-want +got):\n%s", diff)
				}
				if diff := cmp.Diff(upTo(len(times)), ports(res.packets)); diff != "" {
					t.Errorf("packets (-want +got):\n%s", diff)
				}
				if got := res.stats.Rejected[capture.UnknownInterface]; got != tc.rejected {
					t.Errorf("rejected %v, want %d unknown interfaces", rejected(res.stats), tc.rejected)
				}
				damage := ""
				if d := res.files[0].Truncated; d != nil {
					damage = fmt.Sprintf("%d: %s", d.Offset, d.Reason)
				}
				if damage != tc.damage {
					t.Errorf("damage = %q, want %q", damage, tc.damage)
				}
				if res.files[0].Size != int64(len(tc.content)) {
					t.Errorf("Size = %d, want %d", res.files[0].Size, len(tc.content))
				}
			}
		})
	}
}

// A simple packet block is cut to the first interface's snap length.
func TestSimpleSnapLength(t *testing.T) {
	full := numbered(9)
	content := cat(le.section(), le.iface(1, uint32(len(full)-5)), le.simple(len(full), full[:len(full)-5]))
	p := read(t, capture.Config{Inputs: []string{write(t, "x", content)}}).packets
	if len(p) != 1 || len(p[0].Payload) != 4 || p[0].PayloadLen != 9 || p[0].Flags&flow.Truncated == 0 {
		t.Errorf("got %+v, want 4 of 9 bytes", p)
	}
}

func TestPcapngCut(t *testing.T) {
	content := cat(le.section(), le.iface(1, 0))
	ends := []int{0, len(le.section()), len(content)}
	for i := range 3 {
		content = append(content, be.section()...)
		ends = append(ends, len(content))
		content = append(content, be.iface(1, 0, be.option(9, []byte{6}))...)
		ends = append(ends, len(content))
		content = append(content, be.enhanced(0, micro, numbered(i*9))...)
		ends = append(ends, len(content))
		content = append(content, be.block(77, zeros(30))...)
		ends = append(ends, len(content))
	}
	for cut := 1; cut <= len(content); cut++ {
		packets, offset := 0, 0
		for i, end := range ends {
			if end > cut {
				break
			}
			offset = end
			if i >= 3 && (i-3)%4 == 2 {
				packets++
			}
		}
		res := read(t, capture.Config{Inputs: []string{"-"}, Stdin: bytes.NewReader(content[:cut])})
		d := res.files[0].Truncated
		if len(res.packets) != packets || (d == nil) != (offset == cut) || d != nil && d.Offset != int64(offset) {
			t.Fatalf("cut at %d: %d packets, %v, want %d, %d", cut, len(res.packets), d, packets, offset)
		}
	}
}

// A million interfaces end the file, and cost little memory until then.
func TestManyInterfaces(t *testing.T) {
	one := le.iface(1, 0, le.option(9, []byte{9}))
	content := cat(le.section(), le.iface(1, 0), le.enhanced(0, micro, numbered(0)), bytes.Repeat(one, 1_000_000))
	r := bytes.NewReader(content)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	res := read(t, capture.Config{Inputs: []string{"-"}, Stdin: r})
	runtime.ReadMemStats(&after)
	if d := res.files[0].Truncated; len(res.packets) != 1 || d == nil || !strings.Contains(d.Reason, "more than 65536 interfaces") {
		t.Errorf("%d packets, %v", len(res.packets), d)
	}
	if used := after.TotalAlloc - before.TotalAlloc; used > 24<<20 {
		t.Errorf("a million interfaces allocated %d bytes in all", used)
	}
}
