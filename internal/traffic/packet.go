// SPDX-License-Identifier: Apache-2.0

package traffic

import (
	"encoding/binary"
	"io"
	"math/bits"
)

// IP protocols that the generator sends.
const (
	protoICMP   = 1
	protoTCP    = 6
	protoUDP    = 17
	protoICMPv6 = 58
)

const (
	etherLen   = 14
	minFrame   = 60 // without the frame check sequence
	maxFrame   = 1514
	recordLen  = 16
	sinkBuffer = 1 << 20
)

// sink writes a pcap file through a buffer in which frames are built in place.
type sink struct {
	w       io.Writer
	buf     []byte
	err     error
	nano    bool
	packets int64
	ipBytes int64
	written int64
	first   int64
	last    int64
}

// start writes the file header.
func (s *sink) start(w io.Writer, nano bool) {
	s.w, s.nano = w, nano
	s.buf = make([]byte, 0, sinkBuffer)
	magic := uint32(0xa1b2c3d4)
	if nano {
		magic = 0xa1b23c4d
	}
	s.buf = binary.LittleEndian.AppendUint32(s.buf, magic)
	s.buf = binary.LittleEndian.AppendUint16(s.buf, 2) // version 2.4
	s.buf = binary.LittleEndian.AppendUint16(s.buf, 4)
	s.buf = append(s.buf, make([]byte, 8)...)                // zone and accuracy
	s.buf = binary.LittleEndian.AppendUint32(s.buf, 262_144) // snap length
	s.buf = binary.LittleEndian.AppendUint32(s.buf, 1)       // Ethernet
}

// frame appends a record of n bytes at time t and returns its bytes, which the
// caller fills entirely. They are valid until the next call.
func (s *sink) frame(t int64, n int) []byte {
	if len(s.buf)+recordLen+n > cap(s.buf) {
		s.flush()
	}
	frac := uint32(t % 1e9)
	if !s.nano {
		t -= t % 1000
		frac /= 1000
	}
	b := s.buf[len(s.buf) : len(s.buf)+recordLen+n]
	binary.LittleEndian.PutUint32(b[0:], uint32(t/1e9))
	binary.LittleEndian.PutUint32(b[4:], frac)
	binary.LittleEndian.PutUint32(b[8:], uint32(n))
	binary.LittleEndian.PutUint32(b[12:], uint32(n))
	s.buf = s.buf[:len(s.buf)+recordLen+n]
	if s.packets == 0 {
		s.first = t
	}
	s.last = t
	s.packets++
	return b[recordLen:]
}

func (s *sink) flush() {
	if s.err == nil && len(s.buf) > 0 {
		_, s.err = s.w.Write(s.buf)
		s.written += int64(len(s.buf))
	}
	s.buf = s.buf[:0]
}

// side is one end of a connection.
type side struct {
	ip   [16]byte // IPv4 in the first four bytes
	port uint16
	mac  [6]byte
	ttl  uint8
}

// packet builds the Ethernet and IP headers of a packet from c's side from and
// returns the n bytes after them, which the caller fills. finish completes it.
func (g *generator) packet(c *conn, from int, proto uint8, n int) []byte {
	src, dst := &c.side[from], &c.side[1-from]
	ipHeader := 20
	if c.v6 {
		ipHeader = 40
	}
	size := etherLen + ipHeader + n
	// What the capturing host receives is padded; what it sends is not yet.
	pad := 0
	if from == 1 && size < minFrame {
		pad = minFrame - size
	}
	f := g.out.frame(g.now, size+pad)
	clear(f[size:])
	g.out.ipBytes += int64(ipHeader + n)
	copy(f[0:6], dst.mac[:])
	copy(f[6:12], src.mac[:])
	h := f[etherLen:]
	if c.v6 {
		f[12], f[13] = 0x86, 0xdd
		binary.BigEndian.PutUint32(h, 6<<28|c.label)
		binary.BigEndian.PutUint16(h[4:], uint16(n))
		h[6], h[7] = proto, src.ttl
		copy(h[8:24], src.ip[:])
		copy(h[24:40], dst.ip[:])
		return h[40 : 40+n : 40+n]
	}
	g.ipID++
	f[12], f[13] = 0x08, 0x00
	h[0], h[1] = 0x45, 0
	binary.BigEndian.PutUint16(h[2:], uint16(ipHeader+n))
	binary.BigEndian.PutUint16(h[4:], g.ipID)
	h[6], h[7] = 0x40, 0 // don't fragment
	h[8], h[9] = src.ttl, proto
	h[10], h[11] = 0, 0
	copy(h[12:16], src.ip[:4])
	copy(h[16:20], dst.ip[:4])
	binary.BigEndian.PutUint16(h[10:], ^onesSum(h[:20], 0))
	return h[20 : 20+n : 20+n]
}

// finish puts the transport checksum at offset at of segment; pseudo is the sum
// of the pseudo header (0 for ICMP over IPv4).
func finish(segment []byte, at int, pseudo uint16) {
	segment[at], segment[at+1] = 0, 0
	binary.BigEndian.PutUint16(segment[at:], ^onesSum(segment, pseudo))
}

// pseudo returns the sum of the pseudo header of an n byte segment.
func (c *conn) pseudo(proto uint8, n int) uint16 {
	return fold(uint64(c.addrSum) + uint64(proto) + uint64(n))
}

// onesSum returns the ones' complement sum of b, which is padded with a zero
// byte if odd, and start. The sum is taken over little-endian words of eight
// bytes: it is the same in any byte order, but for the order of the result.
func onesSum(b []byte, start uint16) uint16 {
	sum := uint64(bits.ReverseBytes16(start))
	var carry uint64
	for len(b) >= 32 {
		sum, carry = bits.Add64(sum, binary.LittleEndian.Uint64(b), carry)
		sum, carry = bits.Add64(sum, binary.LittleEndian.Uint64(b[8:]), carry)
		sum, carry = bits.Add64(sum, binary.LittleEndian.Uint64(b[16:]), carry)
		sum, carry = bits.Add64(sum, binary.LittleEndian.Uint64(b[24:]), carry)
		b = b[32:]
	}
	for len(b) >= 8 {
		sum, carry = bits.Add64(sum, binary.LittleEndian.Uint64(b), carry)
		b = b[8:]
	}
	var rest [8]byte
	copy(rest[:], b)
	sum, carry = bits.Add64(sum, binary.LittleEndian.Uint64(rest[:]), carry)
	sum, carry = bits.Add64(sum, 0, carry)
	sum += carry
	return bits.ReverseBytes16(fold(sum))
}

// fold adds the 16-bit words of a sum until one is left.
func fold(sum uint64) uint16 {
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return uint16(sum)
}
