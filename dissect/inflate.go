// SPDX-License-Identifier: Apache-2.0

package dissect

import "encoding/binary"

// inflater counts the bytes that a gzip, zlib or raw DEFLATE stream unpacks to.
// It keeps no window, since counting needs only the code lengths: a bomb is only
// a number. Input may end and go on at any byte.
type inflater struct {
	hold  uint64 // bits not used yet, the next one lowest
	nbits uint
	out   int64 // bytes unpacked so far
	state inflateState
	final bool // the block is the last one
	left  int  // bytes of a stored block or of a header field still to come

	flags uint8 // of the gzip header
	// Code lengths while a dynamic block's tables are read.
	nlen, ndist, ncode, have int
	lens                     [320]uint8

	lit, dist huffman
}

type inflateState uint8

const (
	inflateStart  inflateState = iota // nothing is known of the format
	inflateGzip                       // the ten fixed bytes of the gzip header
	inflateExtra                      // the length of the extra field
	inflateSkip                       // the extra field
	inflateName                       // the file name
	inflateNote                       // the comment
	inflateSum                        // the header checksum
	inflateBlock                      // a block's header
	inflateLength                     // the length of a stored block
	inflateStored                     // its bytes
	inflateTable                      // the counts of a dynamic block's tables
	inflateOrder                      // the code lengths of the code lengths
	inflateLens                       // the code lengths
	inflateCodes                      // compressed data
	inflateDone
	inflateBroken
)

// reset makes z ready for a new stream.
func (z *inflater) reset() {
	z.hold, z.nbits, z.out, z.state, z.final = 0, 0, 0, inflateStart, false
}

// feed takes the next bytes of the stream and returns how many bytes it unpacks
// to beyond what was returned before. What follows the end of the stream, or an
// error in it, counts nothing; nor does what comes right before the error, since
// Zeek takes no piece of what zlib unpacks but a whole one.
func (z *inflater) feed(p []byte) int64 {
	const piece = 4096
	n := z.unpack(p)
	if z.state == inflateBroken {
		n -= n % piece
	}
	return n
}

// unpack is feed without regard to how an error ends a stream.
func (z *inflater) unpack(p []byte) int64 {
	before := z.out
	for {
		p = z.fill(p)
		if z.state == inflateCodes {
			p = z.codes(p)
			if z.state == inflateCodes {
				return z.out - before
			}
			continue
		}
		if z.state == inflateStored {
			// The bytes in hold come first, then whole runs of the input.
			n := min(z.left, int(z.nbits/8))
			z.drop(uint(n) * 8)
			z.left -= n
			m := 0
			if z.nbits == 0 {
				m = min(z.left, len(p))
				p, z.left = p[m:], z.left-m
			}
			if z.out += int64(n + m); z.left > 0 {
				if n+m == 0 {
					return z.out - before
				}
				continue
			}
			z.endBlock()
			continue
		}
		if z.state >= inflateDone || !z.step() && len(p) == 0 {
			return z.out - before
		}
	}
}

// fill moves input to hold, which has at least 48 bits then, or all there are.
func (z *inflater) fill(p []byte) []byte {
	if z.nbits >= 48 {
		return p
	}
	if len(p) >= 8 {
		n := (64 - z.nbits) / 8
		z.hold |= binary.LittleEndian.Uint64(p) << (64 - 8*n) >> (64 - 8*n) << z.nbits
		z.nbits += 8 * n
		return p[n:]
	}
	for z.nbits <= 56 && len(p) > 0 {
		z.hold |= uint64(p[0]) << z.nbits
		z.nbits += 8
		p = p[1:]
	}
	return p
}

func (z *inflater) drop(n uint) {
	z.hold >>= n
	z.nbits -= n
}

// take returns the next n bits, or false where they are not there yet.
func (z *inflater) take(n uint) (uint, bool) {
	if z.nbits < n {
		return 0, false
	}
	v := uint(z.hold) & (1<<n - 1)
	z.drop(n)
	return v, true
}

// step reads one field of a header. It reports false where more input is needed
// first.
func (z *inflater) step() bool {
	switch z.state {
	case inflateStart:
		if z.nbits < 16 {
			return false
		}
		b0, b1 := uint(z.hold)&0xff, uint(z.hold)>>8&0xff
		switch {
		case b0 == 0x1f && b1 == 0x8b:
			z.state = inflateGzip
		case b0&15 == 8 && b0>>4 <= 7 && (b0<<8|b1)%31 == 0:
			z.drop(16)
			if z.state = inflateBlock; b1&0x20 != 0 {
				z.state = inflateBroken // needs a dictionary
			}
		default: // some servers leave the header out
			z.state = inflateBlock
		}
	case inflateGzip:
		if z.nbits < 32 {
			return false
		}
		z.flags = uint8(z.hold >> 24)
		if method := uint8(z.hold >> 16); method != 8 || z.flags&0xe0 != 0 {
			z.state = inflateBroken
			return true
		}
		z.drop(32)
		z.left, z.state = 6, inflateSkip
	case inflateSkip:
		for ; z.left > 0; z.left-- {
			if _, ok := z.take(8); !ok {
				return false
			}
		}
		z.nextField()
	case inflateExtra:
		n, ok := z.take(16)
		if !ok {
			return false
		}
		z.left, z.state = int(n), inflateSkip
	case inflateName, inflateNote:
		for {
			c, ok := z.take(8)
			if !ok {
				return false
			}
			if c == 0 {
				break
			}
		}
		z.nextField()
	case inflateSum:
		if _, ok := z.take(16); !ok {
			return false
		}
		z.nextField()
	case inflateBlock:
		v, ok := z.take(3)
		if !ok {
			return false
		}
		z.final = v&1 != 0
		switch v >> 1 {
		case 0:
			z.drop(z.nbits % 8)
			z.state = inflateLength
		case 1:
			z.fixed()
		case 2:
			z.state = inflateTable
		default:
			z.state = inflateBroken
		}
	case inflateLength:
		v, ok := z.take(32)
		if !ok {
			return false
		}
		if z.left, z.state = int(v&0xffff), inflateStored; v&0xffff != ^v>>16&0xffff {
			z.state = inflateBroken
		}
	default:
		return z.table()
	}
	return true
}

// nextField goes on to the next part of the gzip header that the flags name.
func (z *inflater) nextField() {
	for _, f := range [...]struct {
		bit   uint8
		state inflateState
	}{{4, inflateExtra}, {8, inflateName}, {16, inflateNote}, {2, inflateSum}} {
		if z.flags&f.bit != 0 {
			z.flags &^= f.bit
			z.state = f.state
			return
		}
	}
	z.state = inflateBlock
}

func (z *inflater) endBlock() {
	if z.state = inflateBlock; z.final {
		z.state = inflateDone
	}
}

// fixed sets up the code of a block without tables.
func (z *inflater) fixed() {
	for i := range 288 {
		switch {
		case i < 144:
			z.lens[i] = 8
		case i < 256:
			z.lens[i] = 9
		case i < 280:
			z.lens[i] = 7
		default:
			z.lens[i] = 8
		}
	}
	z.lit.build(z.lens[:288], litMeaning)
	for i := range 32 { // the last two are no distances, but part of the code
		z.lens[i] = 5
	}
	z.dist.build(z.lens[:32], distMeaning)
	z.state = inflateCodes
}

// table reads the tables of a dynamic block.
func (z *inflater) table() bool {
	switch z.state {
	case inflateTable:
		v, ok := z.take(14)
		if !ok {
			return false
		}
		z.nlen, z.ndist, z.ncode, z.have = int(v&31)+257, int(v>>5&31)+1, int(v>>10)+4, 0
		if z.state = inflateOrder; z.nlen > 286 || z.ndist > 30 {
			z.state = inflateBroken
		}
		clear(z.lens[:19])
	case inflateOrder:
		order := [19]uint8{16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15}
		for ; z.have < z.ncode; z.have++ {
			v, ok := z.take(3)
			if !ok {
				return false
			}
			z.lens[order[z.have]] = uint8(v)
		}
		// The code of the code lengths lives in dist until that is read.
		z.have, z.state = 0, inflateLens
		if !z.dist.build(z.lens[:19], nil) {
			z.state = inflateBroken
		}
	case inflateLens:
		for z.have < z.nlen+z.ndist {
			if z.nbits < 7+7 && !z.lengthReady() {
				return false
			}
			if !z.codeLength() {
				z.state = inflateBroken
				return true
			}
		}
		z.state = inflateCodes
		if z.lens[256] == 0 || !z.lit.build(z.lens[:z.nlen], litMeaning) ||
			!z.dist.build(z.lens[z.nlen:z.nlen+z.ndist], distMeaning) {
			z.state = inflateBroken
		}
	}
	return true
}

// lengthReady reports whether the bits in hold are enough for one code length
// with its repeat count.
func (z *inflater) lengthReady() bool {
	sym, n := z.dist.decode(z.hold)
	if n == 0 {
		return z.nbits >= maxCode // not a code at all
	}
	extra := [...]uint{2, 3, 7}
	if sym >= 16 {
		n += extra[sym-16]
	}
	return z.nbits >= n
}

// codeLength reads one code length, or a repetition of them.
func (z *inflater) codeLength() bool {
	sym, n := z.dist.decode(z.hold)
	if n == 0 {
		return false
	}
	z.drop(n)
	length, repeat := uint8(sym), uint(1)
	switch sym {
	case 16:
		if z.have == 0 {
			return false
		}
		length = z.lens[z.have-1]
		repeat, _ = z.take(2)
		repeat += 3
	case 17:
		length = 0
		repeat, _ = z.take(3)
		repeat += 3
	case 18:
		length = 0
		repeat, _ = z.take(7)
		repeat += 11
	}
	if z.have+int(repeat) > z.nlen+z.ndist {
		return false
	}
	for range repeat {
		z.lens[z.have] = length
		z.have++
	}
	return true
}

// codes counts compressed data until the block or the input ends, and returns
// the input that is left. Whatever run cannot do goes symbol by symbol.
func (z *inflater) codes(p []byte) []byte {
	for {
		p = z.run(p)
		if z.state != inflateCodes {
			return p
		}
		p = z.fill(p)
		sym, n := z.lit.decode(z.hold)
		if n == 0 || n > z.nbits {
			if n == 0 && z.nbits >= maxCode {
				z.state = inflateBroken
			}
			return p
		}
		m := litMeaning(sym, n)
		if m == 0 {
			z.state = inflateBroken
			return p
		}
		switch m & meansMask {
		case meansLiteral:
			z.drop(n)
			z.out++
			continue
		case meansEnd:
			z.drop(n)
			z.endBlock()
			return p
		}
		// A length and its distance are at most 48 bits, all of which must be
		// there before any is dropped.
		if n+m.extra() > z.nbits {
			return p
		}
		length := m.base() + int64(z.hold>>n&(1<<m.extra()-1))
		n += m.extra()
		dsym, dn := z.dist.decode(z.hold >> n)
		if dn == 0 || n+dn > z.nbits {
			if dn == 0 && z.nbits >= n+maxCode {
				z.state = inflateBroken
			}
			return p
		}
		d := distMeaning(dsym, dn)
		if d == 0 {
			z.state = inflateBroken
			return p
		}
		n += dn
		if n+d.extra() > z.nbits {
			return p
		}
		if d.base()+int64(z.hold>>n&(1<<d.extra()-1)) > z.out {
			z.state = inflateBroken
			return p
		}
		z.drop(n + d.extra())
		z.out += length
	}
}

// run counts symbols with short codes while there is plenty of input, all state
// in registers. It stops before what it cannot decode.
func (z *inflater) run(p []byte) []byte {
	const mask = 1<<huffBits - 1
	hold, nbits, out := z.hold, z.nbits, z.out
	lit, dist := &z.lit.run, &z.dist.run
	for len(p) >= 8 && nbits < 64 {
		// At least 56 bits. The bits above nbits are the next ones of p, too,
		// and are put there again the next time.
		hold |= binary.LittleEndian.Uint64(p) << (nbits & 63)
		p = p[(63-nbits)>>3:]
		nbits |= 56
		m := lit[hold&mask]
		for m != 0 && m&meansMask == meansLiteral && nbits >= 48 {
			hold >>= m.bits()
			nbits -= m.bits()
			out++
			m = lit[hold&mask]
		}
		if nbits < 48 {
			continue
		}
		if m == 0 || m&meansMask == meansEnd {
			break
		}
		n := m.bits()
		length := m.base() + int64(hold>>n&(1<<m.extra()-1))
		n += m.extra()
		d := dist[hold>>n&mask]
		if d == 0 {
			break
		}
		n += d.bits()
		if d.base()+int64(hold>>n&(1<<d.extra()-1)) > out {
			break
		}
		n += d.extra()
		hold >>= n
		nbits -= n
		out += length
	}
	z.hold, z.nbits, z.out = hold&(1<<nbits-1), nbits, out
	return p
}
