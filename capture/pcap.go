// SPDX-License-Identifier: Apache-2.0

package capture

import (
	"encoding/binary"
	"fmt"
	"math/bits"

	"weir/internal/flow"
)

// record is one frame as a file holds it.
type record struct {
	data   []byte // captured bytes
	ts     flow.Time
	origin uint64 // for Packet.Origin
	wire   int    // length on the wire, never less than len(data)
	iface  *iface
}

// iface is what frames of one interface have in common.
type iface struct {
	number uint32 // of the link type, in files
	link   linkKind
	state  ifaceState
	filter *program // nil takes all
	clock  *clock   // pcapng only
}

// ifaceState says what keeps the frames of an interface from being decoded.
type ifaceState uint8

const (
	ifaceOK ifaceState = iota
	ifaceUnknown
	ifaceNoFilter // the filter does not compile for its link type
)

// status is the outcome of an attempt to parse a record.
type status uint8

const (
	gotRecord status = iota
	needMore         // cursor.need bytes must be in the buffer
	malformed        // cursor.bad says why
)

const (
	pcapHeaderLen = 24
	maxTime       = 7_250_000_000 // seconds: the year 2199, well below 2^63 ns
)

// pcapFormat is the state of reading a pcap file.
type pcapFormat struct {
	big     bool
	recLen  int    // length of a record header
	perUnit uint32 // nanoseconds in a unit of the fraction
	swapLen bool   // old versions had the two lengths the other way round
	iface   iface
}

// header parses the file header at the beginning of the buffer.
func (c *cursor) pcapHeader(fs *filterSet) status {
	b := c.buf[c.r:c.w]
	if len(b) < pcapHeaderLen {
		c.need = pcapHeaderLen
		return needMore
	}
	var order binary.ByteOrder = binary.LittleEndian
	magic := order.Uint32(b)
	if b[0] == 0xa1 {
		c.pcap.big, order = true, binary.BigEndian
		magic = order.Uint32(b)
	}
	c.pcap.recLen, c.pcap.perUnit = 16, 1000
	switch magic {
	case 0xa1b23c4d:
		c.pcap.perUnit = 1
	case 0xa1b2cd34:
		c.pcap.recLen = 24
	}
	major, minor := order.Uint16(b[4:]), order.Uint16(b[6:])
	if major != 2 || minor > 4 {
		c.bad = fmt.Sprintf("pcap version %d.%d is not supported", major, minor)
		return malformed
	}
	c.pcap.swapLen = minor < 4
	// The upper bits tell of frame check sequences, which the IP length cuts.
	c.pcap.iface = fs.iface(order.Uint32(b[20:]) & 0x03ffffff)
	c.r += pcapHeaderLen
	return gotRecord
}

// nextPcap parses the record at the beginning of the buffer.
func (c *cursor) nextPcap(rec *record) status {
	b := c.buf[c.r:c.w]
	hdr := c.pcap.recLen
	if len(b) < hdr {
		c.need = hdr
		return needMore
	}
	_ = b[15]
	sec := binary.LittleEndian.Uint32(b)
	frac := binary.LittleEndian.Uint32(b[4:])
	caplen := binary.LittleEndian.Uint32(b[8:])
	wire := binary.LittleEndian.Uint32(b[12:])
	if c.pcap.big {
		sec, frac = bits.ReverseBytes32(sec), bits.ReverseBytes32(frac)
		caplen, wire = bits.ReverseBytes32(caplen), bits.ReverseBytes32(wire)
	}
	if c.pcap.swapLen && caplen > wire {
		caplen, wire = wire, caplen
	}
	if caplen > MaxFrame {
		c.bad = fmt.Sprintf("a captured length of %d bytes", caplen)
		return malformed
	}
	end := hdr + int(caplen)
	if len(b) < end {
		c.need = end
		return needMore
	}
	rec.data = b[hdr:end:end]
	rec.wire = int(max(wire, caplen))
	rec.ts = flow.Time(sec)*1e9 + flow.Time(frac)*flow.Time(c.pcap.perUnit)
	rec.iface = &c.pcap.iface
	c.start = c.r
	c.r += end
	c.num++
	rec.origin = c.origin()
	return gotRecord
}
