// SPDX-License-Identifier: Apache-2.0

package capture_test

import (
	"bytes"
	"testing"

	"weir/capture"
)

// fuzzRead reads content from a pipe with two block sizes and wants the same.
func fuzzRead(t *testing.T, content []byte) {
	t.Helper()
	var packets []uint64
	for _, size := range []int{0, 64} {
		res, err := readErr(t, capture.Config{
			Inputs: []string{"-"}, Stdin: bytes.NewReader(content), BlockSize: size, Blocks: 2, Checksums: size == 0,
		})
		if err != nil {
			return
		}
		packets = append(packets, res.stats.Packets)
	}
	if packets[0] != packets[1] {
		t.Errorf("%d packets with large blocks, %d with small ones", packets[0], packets[1])
	}
}

func FuzzPcap(f *testing.F) {
	file := newPcap(1)
	for i := range 5 {
		file.add(1e18, numbered(i))
	}
	f.Add(file.buf)
	f.Add(file.buf[:len(file.buf)-7])
	f.Add(newPcapOrder(101, be.order, true).add(1e18, plain6()).buf)
	f.Add(gz(f, file.buf))
	f.Add(zst(f, file.buf))
	f.Fuzz(fuzzRead)
}

func FuzzPcapng(f *testing.F) {
	for _, tc := range ngTests() {
		if len(tc.content) < 10_000 {
			f.Add(tc.content)
		}
	}
	f.Fuzz(fuzzRead)
}

// FuzzDecode reads a frame of any link type, three times: fragments may then
// complete each other.
func FuzzDecode(f *testing.F) {
	for _, tc := range frameTests() {
		f.Add(tc.link, tc.frame, uint16(tc.cut), tc.verify)
	}
	for _, tc := range carrierTests() {
		for _, frame := range tc.frames {
			f.Add(uint32(101), frame, uint16(tc.cut), tc.verify)
		}
	}
	dg := udp(7, 53, pattern(3000))
	f.Add(uint32(101), piece4(1, dg, 0, 1480), uint16(0), false)
	f.Add(uint32(101), piece6(1, dg, 1480, 2960), uint16(0), true)
	f.Fuzz(func(t *testing.T, link uint32, frame []byte, cut uint16, verify bool) {
		if len(frame) > capture.MaxFrame {
			return
		}
		file := newPcap(link&0x03ffffff).add(1e18, frame)
		file.addWire(1e18, frame[:max(0, len(frame)-int(cut))], len(frame)).add(1e18, frame)
		res := read(t, capture.Config{
			Inputs: []string{"-"}, Stdin: bytes.NewReader(file.buf), BlockSize: 1 << 16, Blocks: 2, Checksums: verify,
		})
		if res.stats.Packets != 3 || res.stats.Damaged != 0 {
			t.Errorf("%d packets, %v, want 3", res.stats.Packets, res.files[0].Truncated)
		}
	})
}
