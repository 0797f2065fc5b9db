// SPDX-License-Identifier: Apache-2.0

package capture_test

import (
	"bytes"
	"math/rand/v2"
	"os"
	"testing"

	"weir/capture"
)

// TestMutations changes bytes in the shared captures, and cuts some: nothing
// panics, and every frame is accounted for. Of the twelve ways to change a capture
// each has four in turn, with -short one.
func TestMutations(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 2))
	const ways = 12
	packets, step := uint64(0), 3
	if testing.Short() {
		step = ways
	}
	for _, dir := range []string{"corpus", "zeek", "zeek-edge"} {
		for i, path := range corpus(t, dir) {
			b, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if len(b) < 100 || len(b) > 300_000 {
				continue
			}
			for k := i % step; k < ways; k += step {
				c := bytes.Clone(b)
				if k == 5 {
					c = c[:100+rng.IntN(len(c)-99)]
				}
				for range 1 + len(c)/200 {
					at := rng.IntN(len(c))
					if k%3 != 2 {
						at = max(at, 100) % len(c) // spare the file header
					}
					if k%2 == 0 {
						c[at] ^= 1 << rng.IntN(8)
					} else {
						c[at] = byte(rng.Uint32())
					}
				}
				res, err := readErr(t, capture.Config{
					Inputs: []string{"-"}, Stdin: bytes.NewReader(c), Checksums: k%4 == 1, BlockSize: 1 << 16, Blocks: 2,
				})
				if err == nil {
					packets += res.stats.Packets
				}
				if t.Failed() {
					t.Fatalf("stopped at %s, changed in way %d", path, k)
				}
			}
		}
	}
	t.Logf("%d packets", packets)
}

// TestMutatedFrames changes bytes of frames of every link type, and cuts some.
func TestMutatedFrames(t *testing.T) {
	rounds := 400
	if testing.Short() {
		rounds = 20
	}
	rng := rand.New(rand.NewPCG(6, 4))
	content := le.section()
	ids := map[uint32]uint32{}
	tests := frameTests()
	for _, tc := range tests {
		if _, ok := ids[tc.link]; !ok && tc.link < 1<<16 {
			ids[tc.link] = uint32(len(ids))
			content = append(content, le.iface(int(tc.link), 0)...)
		}
	}
	frames := uint64(0)
	for range rounds {
		for _, tc := range tests {
			id, ok := ids[tc.link]
			if !ok || len(tc.frame) == 0 {
				continue
			}
			b := bytes.Clone(tc.frame)
			for range 1 + rng.IntN(8) {
				// Headers are at the front.
				at := rng.IntN(1 + rng.IntN(len(b)))
				if rng.IntN(2) == 0 {
					b[at] ^= 1 << rng.IntN(8)
				} else {
					b[at] = byte(rng.Uint32())
				}
			}
			if rng.IntN(4) == 0 {
				b = b[:rng.IntN(len(b)+1)]
			}
			content = append(content, le.enhanced(id, micro, b)...)
			frames++
		}
	}
	res := read(t, capture.Config{Inputs: []string{"-"}, Stdin: bytes.NewReader(content)})
	if res.stats.Packets != frames {
		t.Errorf("%d packets, want %d", res.stats.Packets, frames)
	}
	t.Logf("%d frames, %d delivered, rejected %v", frames, res.stats.Delivered, rejected(res.stats))
}
