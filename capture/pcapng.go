// SPDX-License-Identifier: Apache-2.0

package capture

import (
	"encoding/binary"
	"fmt"
	"math/bits"

	"weir/internal/flow"
)

// Block types of pcapng.
const (
	blockSection   = 0x0a0d0d0a
	blockInterface = 1
	blockPacket    = 2 // obsolete
	blockSimple    = 3
	blockEnhanced  = 6
)

const (
	// maxBlock is the largest block of a type that is parsed; others are
	// skipped at any length.
	maxBlock = 1 << 20
	// maxIfaces bounds the interfaces of a section.
	maxIfaces = 1 << 16
)

// sectionMagic is the type of a section header block, a palindrome.
var sectionMagic = [4]byte{0x0a, 0x0d, 0x0d, 0x0a}

// ngFormat is the state of reading a pcapng file.
type ngFormat struct {
	order   binary.ByteOrder
	filters *filterSet
	ifaces  []iface
	missing iface // of packets whose interface was not described
	// snap is the snap length of the section's first interface, which simple
	// packet blocks are cut to; 0 for none.
	snap uint32
	last flow.Time
	// skip counts bytes of a block that are read over; trailer is the total
	// length that then has to follow once more.
	skip    int64
	trailer uint32
}

// clock converts the timestamps of an interface.
type clock struct {
	// A timestamp counts units of 1/scale seconds, or of 2^-shift if scale is 0.
	scale  uint64
	shift  uint
	offset int64 // seconds to add
}

// sectionOrder returns the byte order that the magic of a section tells.
func sectionOrder(b []byte) (binary.ByteOrder, bool) {
	switch binary.LittleEndian.Uint32(b) {
	case 0x1a2b3c4d:
		return binary.LittleEndian, true
	case 0x4d3c2b1a:
		return binary.BigEndian, true
	}
	return nil, false
}

// nextPcapng parses blocks until one holds a packet.
func (c *cursor) nextPcapng(rec *record) status {
	for {
		if st := c.skipBlock(); st != gotRecord {
			return st
		}
		b := c.buf[c.r:c.w]
		if len(b) < 12 {
			c.need = 12
			return needMore
		}
		c.start = c.r
		if [4]byte(b) == sectionMagic {
			order, ok := sectionOrder(b[8:])
			if !ok {
				c.bad = "a section header without byte order"
				return malformed
			}
			c.ng.order = order
		}
		kind, total := c.ng.order.Uint32(b), c.ng.order.Uint32(b[4:])
		if total < 12 || total%4 != 0 {
			c.bad = fmt.Sprintf("a block length of %d bytes", total)
			return malformed
		}
		switch kind {
		case blockSection, blockInterface, blockPacket, blockSimple, blockEnhanced:
		default:
			c.ng.skip, c.ng.trailer = int64(total)-4, total
			c.skipFrom = c.pos + int64(c.r)
			continue
		}
		if total > maxBlock {
			c.bad = fmt.Sprintf("a block of %d bytes", total)
			return malformed
		}
		if len(b) < int(total) {
			c.need = int(total)
			return needMore
		}
		if c.ng.order.Uint32(b[total-4:]) != total {
			c.bad = "the two lengths of a block differ"
			return malformed
		}
		if c.parseBlock(kind, b[8:total-4], rec); c.bad != "" {
			return malformed
		}
		c.r += int(total)
		if kind != blockSection && kind != blockInterface {
			c.num++
			rec.origin = c.origin()
			return gotRecord
		}
	}
}

// skipBlock reads over the rest of a block that is not parsed.
func (c *cursor) skipBlock() status {
	if c.ng.trailer == 0 {
		return gotRecord
	}
	n := min(c.ng.skip, int64(c.w-c.r))
	c.r += int(n)
	c.ng.skip -= n
	if c.ng.skip > 0 || c.w-c.r < 4 {
		c.need = 4
		return needMore
	}
	if c.ng.order.Uint32(c.buf[c.r:]) != c.ng.trailer {
		c.bad = "the two lengths of a block differ"
		return malformed
	}
	c.r += 4
	c.ng.trailer = 0
	return gotRecord
}

// parseBlock takes a block's body apart; c.bad is set if it makes no sense.
func (c *cursor) parseBlock(kind uint32, b []byte, rec *record) {
	order := c.ng.order
	var id, caplen, wire uint32
	var stamp uint64
	switch kind {
	case blockSection:
		if len(b) < 16 {
			c.bad = "a short section header"
			return
		}
		if major := order.Uint16(b[4:]); major != 1 {
			c.bad = fmt.Sprintf("pcapng version %d.%d is not supported", major, order.Uint16(b[6:]))
		}
		c.ng.ifaces, c.ng.snap = c.ng.ifaces[:0], 0
		return
	case blockInterface:
		c.addInterface(b)
		return
	case blockEnhanced:
		if len(b) < 20 {
			c.bad = "a short packet block"
			return
		}
		id = order.Uint32(b)
		stamp = uint64(order.Uint32(b[4:]))<<32 | uint64(order.Uint32(b[8:]))
		caplen, wire = order.Uint32(b[12:]), order.Uint32(b[16:])
		b = b[20:]
	case blockPacket:
		if len(b) < 20 {
			c.bad = "a short packet block"
			return
		}
		id = uint32(order.Uint16(b))
		stamp = uint64(order.Uint32(b[4:]))<<32 | uint64(order.Uint32(b[8:]))
		caplen, wire = order.Uint32(b[12:]), order.Uint32(b[16:])
		b = b[20:]
	case blockSimple:
		if len(b) < 4 {
			c.bad = "a short packet block"
			return
		}
		wire = order.Uint32(b)
		b = b[4:]
		caplen = min(wire, uint32(len(b)))
		if c.ng.snap != 0 {
			caplen = min(caplen, c.ng.snap)
		}
	}
	if caplen > MaxFrame || int(caplen) > len(b) {
		c.bad = fmt.Sprintf("a captured length of %d bytes", caplen)
		return
	}
	rec.data = b[:caplen:caplen]
	rec.wire = int(max(wire, caplen))
	if int64(id) >= int64(len(c.ng.ifaces)) {
		rec.iface = &c.ng.missing
		rec.ts = c.ng.last
		return
	}
	rec.iface = &c.ng.ifaces[id]
	if kind == blockSimple {
		rec.ts = c.ng.last // these carry no time
		return
	}
	rec.ts = rec.iface.clock.time(stamp)
	c.ng.last = rec.ts
}

// addInterface parses an interface description.
func (c *cursor) addInterface(b []byte) {
	if len(b) < 8 {
		c.bad = "a short interface description"
		return
	}
	if len(c.ng.ifaces) == maxIfaces {
		c.bad = fmt.Sprintf("more than %d interfaces in a section", maxIfaces)
		return
	}
	order := c.ng.order
	i := c.ng.filters.iface(uint32(order.Uint16(b)))
	if len(c.ng.ifaces) == 0 {
		c.ng.snap = order.Uint32(b[4:])
	}
	resolution, offset := uint8(6), int64(0)
	for b = b[8:]; len(b) >= 4; {
		code, n := order.Uint16(b), int(order.Uint16(b[2:]))
		b = b[4:]
		if code == 0 || n > len(b) {
			break
		}
		switch {
		case code == 9 && n == 1: // if_tsresol
			resolution = b[0]
		case code == 14 && n == 8: // if_tsoffset
			offset = int64(order.Uint64(b))
		}
		b = b[min((n+3)&^3, len(b)):]
	}
	i.clock = c.clockFor(resolution, offset)
	c.ng.ifaces = append(c.ng.ifaces, i)
}

// clockFor returns a clock, the one of an earlier interface if it is the same.
func (c *cursor) clockFor(resolution uint8, offset int64) *clock {
	k := clock{offset: offset, scale: 1}
	exp := uint(resolution & 0x7f)
	if resolution&0x80 != 0 {
		k.scale, k.shift = 0, exp
	} else {
		for range min(exp, 19) { // 10^19 is the last that fits
			k.scale *= 10
		}
		if exp > 19 {
			// A finer unit than 64 bits can count a nanosecond of: all zero.
			k.scale, k.shift = 0, 127
		}
	}
	if n := len(c.ng.ifaces); n > 0 && c.ng.ifaces[n-1].clock != nil && *c.ng.ifaces[n-1].clock == k {
		return c.ng.ifaces[n-1].clock
	}
	return &k
}

// time converts a timestamp, limited to the years 1970 to 2199, so that nobody
// who adds a timeout to it overflows.
func (k *clock) time(stamp uint64) flow.Time {
	var sec, nano uint64
	switch {
	case k.scale == 1000000:
		sec = stamp / 1000000
		nano = stamp % 1000000 * 1000
	case k.scale == 1000000000:
		sec = stamp / 1000000000
		nano = stamp % 1000000000
	case k.scale != 0:
		sec = stamp / k.scale
		hi, lo := bits.Mul64(stamp%k.scale, 1e9)
		nano, _ = bits.Div64(hi, lo, k.scale)
	case k.shift < 64:
		sec = stamp >> k.shift
		hi, lo := bits.Mul64(stamp&(1<<k.shift-1), 1e9)
		if k.shift > 0 {
			nano = hi<<(64-k.shift) | lo>>k.shift
		}
	case k.shift < 94:
		// Less than a second in all; from 2^-94 on, less than a nanosecond.
		hi, _ := bits.Mul64(stamp, 1e9)
		nano = hi >> (k.shift - 64)
	}
	if sec > maxTime {
		sec, nano = maxTime, 0
	}
	total := int64(sec)
	switch {
	case k.offset > maxTime-total:
		return maxTime * 1e9
	case k.offset < -total:
		return 0
	}
	return flow.Time((total+k.offset)*1e9 + int64(nano))
}
