// SPDX-License-Identifier: Apache-2.0

package traffic

import (
	"bytes"
	"compress/gzip"
	"math/rand/v2"
)

// words returns the words that names and texts are made of.
func words() []string {
	return []string{
		"amber", "arrow", "basin", "birch", "bridge", "canal", "cedar", "cliff", "cloud",
		"copper", "coral", "delta", "ember", "fable", "falcon", "field", "flint", "forest",
		"garnet", "glade", "harbor", "hazel", "heron", "island", "ivory", "jasper", "juniper",
		"kettle", "lagoon", "lantern", "linden", "maple", "marble", "meadow", "mirror", "moss",
		"nectar", "north", "oak", "onyx", "orchid", "otter", "pebble", "pine", "prairie",
		"quartz", "raven", "reed", "ridge", "river", "saffron", "silver", "spruce", "stone",
		"summit", "thistle", "timber", "tulip", "valley", "velvet", "walnut", "willow",
	}
}

// corpus is material that payloads are cut from.
type corpus struct {
	text   []byte // words and tags
	random []byte // like ciphertext
	packed []packed
}

// packed is a gzip body and its length unpacked.
type packed struct {
	data   []byte
	length int
}

const (
	textSize   = 512 << 10
	randomSize = 1 << 20
)

func newCorpus(rng *rand.Rand) *corpus {
	c := &corpus{text: make([]byte, 0, textSize+64), random: make([]byte, randomSize)}
	vocabulary := words()
	for len(c.text) < textSize {
		w := vocabulary[rng.IntN(len(vocabulary))]
		if rng.IntN(12) == 0 {
			c.text = append(c.text, "<p class=\""...)
			c.text = append(c.text, w...)
			c.text = append(c.text, "\">\n"...)
			continue
		}
		c.text = append(c.text, w...)
		c.text = append(c.text, ' ')
	}
	for i := 0; i < len(c.random); i += 8 {
		v := rng.Uint64()
		for j := range 8 {
			c.random[i+j] = byte(v >> (8 * j))
		}
	}
	for range 32 {
		n := 2000 + rng.IntN(40_000)
		c.packed = append(c.packed, packed{data: pack(c.textOf(rng, n)), length: n})
	}
	return c
}

// pack compresses b.
func pack(b []byte) []byte {
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	if _, err := z.Write(b); err != nil {
		panic(err) // a bytes.Buffer takes everything
	}
	if err := z.Close(); err != nil {
		panic(err)
	}
	return out.Bytes()
}

// textOf returns n bytes of text, at most 256 KiB.
func (c *corpus) textOf(rng *rand.Rand, n int) []byte { return cut(rng, c.text[:textSize], n) }

// randomOf returns n random bytes, at most 512 KiB.
func (c *corpus) randomOf(rng *rand.Rand, n int) []byte { return cut(rng, c.random, n) }

// cut returns n bytes from somewhere in the first half of pool, or a bit later.
func cut(rng *rand.Rand, pool []byte, n int) []byte {
	n = min(n, len(pool)/2)
	off := rng.IntN(len(pool) - n)
	return pool[off : off+n : off+n]
}
