// SPDX-License-Identifier: Apache-2.0

package capture

import (
	"encoding/binary"
	"math/bits"

	"weir/internal/flow"
)

// keyHash is a seeded hash of connection keys with the same value for both
// directions. Each endpoint is hashed on its own, with secrets, and the two
// values are added: without the seed nobody can choose keys that collide.
type keyHash struct{ k0, k1, k2, k3, k4, k5 uint64 }

func newKeyHash(seed uint64) keyHash {
	var k [6]uint64
	for i := range k {
		seed += 0x9e3779b97f4a7c15
		k[i] = flow.Mix(seed)
	}
	return keyHash{k[0], k[1], k[2], k[3], k[4], k[5]}
}

// sum returns the hash of the packet's connection key.
func (h *keyHash) sum(p *flow.Packet) uint64 {
	s := fold(binary.LittleEndian.Uint64(p.Src[:8])^h.k0, binary.LittleEndian.Uint64(p.Src[8:])^h.k1)
	d := fold(binary.LittleEndian.Uint64(p.Dst[:8])^h.k0, binary.LittleEndian.Uint64(p.Dst[8:])^h.k1)
	s = fold(s^h.k2, h.k3^uint64(p.Sport))
	d = fold(d^h.k2, h.k3^uint64(p.Dport))
	return fold((s+d)^h.k4, h.k5^uint64(p.Proto))
}

// fold multiplies to 128 bits and mixes the halves.
func fold(a, b uint64) uint64 {
	hi, lo := bits.Mul64(a, b)
	return hi ^ lo
}
