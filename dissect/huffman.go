// SPDX-License-Identifier: Apache-2.0

package dissect

const (
	huffBits = 9 // codes up to this length are decoded in one step
	maxCode  = 15
)

// huffman is a canonical Huffman code.
type huffman struct {
	// quick maps the next huffBits bits to a symbol and its length (4 bits), 0
	// where the code is longer.
	quick [1 << huffBits]uint16
	// run maps the same bits to a meaning, 0 where the code is longer.
	run   [1 << huffBits]meaning
	count [maxCode + 1]uint16 // codes of each length
	syms  [288]uint16         // symbols in the order of their codes
}

// meaning is what counting needs to know of a symbol: the length of its code
// (5 bits), how many extra bits follow (4 bits), what it stands for (2 bits),
// and the base of the length or distance. 0 is no symbol.
type meaning uint32

const (
	meansLiteral = iota << 9
	meansMatch   // a length or a distance
	meansEnd

	meansMask = 3 << 9
)

func (m meaning) bits() uint  { return uint(m & 31) }
func (m meaning) extra() uint { return uint(m >> 5 & 15) }
func (m meaning) base() int64 { return int64(m >> 11) }

// litMeaning returns the meaning of a literal or length symbol whose code has n
// bits.
func litMeaning(sym, n uint) meaning {
	switch {
	case sym < 256:
		return meaning(n | meansLiteral)
	case sym == 256:
		return meaning(n | meansEnd)
	}
	sym -= 257
	base, extra := 3+sym, uint(0)
	switch {
	case sym > 28:
		return 0
	case sym == 28:
		base = 258
	case sym >= 8:
		extra = sym/4 - 1
		base = 3 + (4+sym%4)<<extra
	}
	return meaning(base<<11 | meansMatch | extra<<5 | n)
}

// distMeaning returns the meaning of a distance symbol.
func distMeaning(sym, n uint) meaning {
	base, extra := 1+sym, uint(0)
	switch {
	case sym > 29:
		return 0
	case sym >= 4:
		extra = sym/2 - 1
		base = 1 + (2+sym&1)<<extra
	}
	return meaning(base<<11 | meansMatch | extra<<5 | n)
}

// build makes the code of the given lengths, whose symbols have the given
// meanings. It reports false where they make no complete code; a code of no or
// one symbol may be incomplete.
func (h *huffman) build(lens []uint8, means func(sym, n uint) meaning) bool {
	clear(h.count[:])
	for _, n := range lens {
		h.count[n]++
	}
	used := len(lens) - int(h.count[0])
	h.count[0] = 0
	left := 1
	var next, first [maxCode + 2]uint16
	for n := 1; n <= maxCode; n++ {
		if left = left<<1 - int(h.count[n]); left < 0 {
			return false
		}
		next[n+1] = next[n] + h.count[n]
		first[n+1] = (first[n] + h.count[n]) << 1
	}
	if left > 0 && (used > 1 || used == 1 && h.count[1] != 1) {
		return false
	}
	clear(h.quick[:])
	clear(h.run[:])
	for sym, n := range lens {
		if n == 0 {
			continue
		}
		h.syms[next[n]] = uint16(sym)
		next[n]++
		code := first[n]
		first[n]++
		if n > huffBits {
			continue
		}
		m := meaning(0)
		if means != nil {
			m = means(uint(sym), uint(n))
		}
		for i := reverse(code, n); i < 1<<huffBits; i += 1 << n {
			h.quick[i] = uint16(sym)<<4 | uint16(n)
			h.run[i] = m
		}
	}
	return true
}

// reverse returns the n low bits of code in reverse order.
func reverse(code uint16, n uint8) uint16 {
	r := uint16(0)
	for range n {
		r = r<<1 | code&1
		code >>= 1
	}
	return r
}

// decode returns the symbol at the low end of hold and the length of its code,
// 0 where there is none.
func (h *huffman) decode(hold uint64) (sym, n uint) {
	if e := h.quick[hold&(1<<huffBits-1)]; e != 0 {
		return uint(e >> 4), uint(e & 15)
	}
	code, first, index := 0, 0, 0
	for n = 1; n <= maxCode; n++ {
		code |= int(hold & 1)
		hold >>= 1
		count := int(h.count[n])
		if code-count < first {
			return uint(h.syms[index+code-first]), n
		}
		index += count
		first = (first + count) << 1
		code <<= 1
	}
	return 0, 0
}
