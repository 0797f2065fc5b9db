// SPDX-License-Identifier: Apache-2.0

package capture_test

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"testing"

	"weir/capture"
)

// mixed makes a pcapng with an interface for each link type, and about n frames
// of every kind that the tests know: all link layers, tunnels, fragments.
func mixed(n int) []byte {
	out := le.section()
	ids := map[uint32]uint32{}
	tests := frameTests()
	for _, tc := range carrierTests() {
		for _, frame := range tc.frames {
			tests = append(tests, frameTest{link: 101, frame: frame})
		}
	}
	for _, tc := range tests {
		if _, ok := ids[tc.link]; !ok && tc.link < 1<<16 {
			ids[tc.link] = uint32(len(ids))
			out = append(out, le.iface(int(tc.link), 0)...)
		}
	}
	rng := rand.New(rand.NewPCG(7, 7))
	dg := udp(7, 53, pattern(3000))
	for i := 0; i < n; i++ {
		stamp := uint64(micro + i)
		if i%20 == 0 {
			id := rng.IntN(1 << 16)
			out = append(out, le.enhanced(ids[101], stamp, piece4(id, dg, 0, 1480))...)
			if i%40 == 0 {
				out = append(out, le.enhanced(ids[101], stamp, piece4(id, dg, 1480, len(dg)))...)
				i++
			}
			continue
		}
		tc := tests[rng.IntN(len(tests))]
		if id, ok := ids[tc.link]; ok {
			out = append(out, le.enhanced(id, stamp, tc.frame)...)
		}
	}
	return out
}

// Reading allocates blocks and tables, but nothing for a packet.
func TestAllocations(t *testing.T) {
	const frames = 200_000
	content := mixed(frames)
	// A filter takes all but for link types that libpcap has no filters for.
	for _, filter := range []string{"", "not port 54321"} {
		t.Run("filter="+filter, func(t *testing.T) { allocations(t, content, frames, filter) })
	}
}

// allocations verifies that reading allocates next to nothing.
func allocations(t *testing.T, content []byte, frames uint64, filter string) {
	var packets uint64
	var stats capture.Stats
	allocs := testing.AllocsPerRun(2, func() {
		r, err := capture.Open(capture.Config{
			Inputs: []string{"-"}, Stdin: bytes.NewReader(content), Filter: filter, Checksums: true,
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
		stats = r.Stats()
		packets = stats.Packets
	})
	if packets < frames*9/10 || stats.Delivered < frames/3 || stats.Fragments.Completed == 0 || stats.Tunneled == 0 || stats.Tunnels.Inner == 0 {
		t.Fatalf("stats = %+v, want a mixture", stats)
	}
	if perPacket := allocs / float64(packets); perPacket > 0.005 {
		t.Errorf("%.0f allocations for %d packets, %.4f each, want next to none", allocs, packets, perPacket)
	}
}
