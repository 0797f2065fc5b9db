// SPDX-License-Identifier: Apache-2.0

package capture

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"

	"weir/internal/flow"
)

// ownSize is the size of a cursor's own buffer, used while several inputs are
// merged. It is at least HeadSize.
const ownSize = 128 << 10

// input is one file to read, open or not.
type input struct {
	index    int
	name     string
	stdin    io.Reader
	stored   int64
	identity uint64    // for Packet.Origin
	first    flow.Time // time of the first packet
	cur      *cursor   // if it stays open until its turn comes
}

// cursor reads the records of one open input. Its buffer is its own, or that of
// the block which is being filled.
type cursor struct {
	in  *input
	st  *stream
	own []byte

	buf   []byte
	r, w  int   // buf[r:w] is read but not yet parsed
	start int   // where the record parsed last begins
	pos   int64 // offset of buf[0] in the content
	eof   bool
	short bool // the last read returned less than asked for
	// damage is why the content could not be decompressed further.
	damage error

	format format
	pcap   pcapFormat
	ng     ngFormat
	need   int    // with needMore: bytes from r
	bad    string // with malformed: what is wrong
	// skipFrom is where the block begins that is being skipped.
	skipFrom int64
	num      uint64 // records parsed
	rec      record
	have     bool // rec is parsed but not yet delivered
}

// openCursor opens an input and reads as much of it as its identity and format
// need.
func openCursor(l life, in *input) (*cursor, error) {
	st, err := openStream(l, in.name, in.stdin)
	if err != nil {
		return nil, err
	}
	c := &cursor{in: in, st: st, own: make([]byte, ownSize)}
	// Only regular files are awaited as far as the head hash goes: a pipe may
	// be slow, and has no identity anyway.
	want := 12
	if st.regular {
		want = HeadSize
	}
	for c.buf = c.own[:want]; !c.eof && c.w < want; {
		if err := c.read(); err != nil {
			return nil, errors.Join(err, st.close())
		}
	}
	c.buf = c.own
	c.format = sniff(c.buf[:c.w])
	in.stored = st.stored
	switch {
	case c.format != formatNone, c.w == 0 && c.damage != nil:
	case c.w == 0:
		return nil, errors.Join(fmt.Errorf("open %s: empty file", in.name), st.close())
	default:
		return nil, errors.Join(fmt.Errorf("open %s: not a capture file", in.name), st.close())
	}
	in.identity = binary.LittleEndian.Uint64(st.head[:])
	if !st.regular {
		in.identity = rand.Uint64()
	}
	return c, nil
}

// read reads once into the room behind w.
func (c *cursor) read() error {
	room := min(len(c.buf)-c.w, readSize)
	n, err := c.st.Read(c.buf[c.w:])
	c.w += n
	c.short = n < room
	if err == nil {
		return nil
	}
	c.eof = true
	if c.st.raw.err != nil {
		return fmt.Errorf("read %s: %w", c.in.name, c.st.raw.err)
	}
	if !errors.Is(err, io.EOF) {
		c.damage = err
	}
	return nil
}

// next parses the record at the beginning of the buffer into c.rec.
func (c *cursor) next() status {
	switch c.format {
	case formatPcap:
		return c.nextPcap(&c.rec)
	case formatPcapng:
		return c.nextPcapng(&c.rec)
	}
	return needMore // there is nothing, not even a header
}

// origin identifies the record parsed last: its number in its file mixed with
// the file's identity.
func (c *cursor) origin() uint64 { return c.in.identity + c.num*0x9e3779b97f4a7c15 }

// unread takes the last record back.
func (c *cursor) unread() {
	c.r = c.start
	c.num--
	c.have = false
}

// fillOwn makes room in the cursor's own buffer and reads.
func (c *cursor) fillOwn() error {
	c.pos += int64(c.r)
	c.w = copy(c.own, c.buf[c.r:c.w])
	c.r, c.buf = 0, c.own
	if c.need > len(c.own) {
		c.own = append(make([]byte, 0, c.need+ownSize), c.own...)
		c.own = c.own[:cap(c.own)]
		c.buf = c.own
	}
	return c.read()
}

// peek makes sure that c.rec is the next record. It returns false at the end of
// the input, which then is to be finished with the status.
func (c *cursor) peek() (bool, status, error) {
	for !c.have {
		st := c.next()
		switch {
		case st == gotRecord:
			c.have = true
		case st == malformed || c.eof:
			return false, st, nil
		default:
			if err := c.fillOwn(); err != nil {
				return false, st, err
			}
		}
	}
	return true, gotRecord, nil
}

// adopt makes the block's buffer that of the cursor.
func (c *cursor) adopt(b *Block) {
	if c.have {
		c.unread()
	}
	rest := c.buf[c.r:c.w]
	if len(rest) >= len(b.buf) {
		b.buf = make([]byte, len(rest)+len(b.buf))
	}
	c.pos += int64(c.r)
	c.w = copy(b.buf, rest)
	c.r, c.buf = 0, b.buf
}

// leave moves what is not yet parsed from the block's buffer to the cursor's own.
func (c *cursor) leave() {
	rest := c.buf[c.r:c.w]
	if len(rest) > len(c.own) {
		c.own = make([]byte, len(rest)+ownSize)
	}
	c.pos += int64(c.r)
	c.w = copy(c.own, rest)
	c.r, c.buf = 0, c.own
}

// damaged says why reading stops here, nil if this is the proper end.
func (c *cursor) damaged(st status) *DamageError {
	d := &DamageError{Name: c.in.name, Offset: c.pos + int64(c.r)}
	if c.ng.trailer != 0 {
		d.Offset = c.skipFrom
	}
	switch {
	case st == malformed:
		d.Reason = c.bad
	case c.damage != nil:
		d.Reason = c.st.packed + ": " + c.damage.Error()
		d.Cut = errors.Is(c.damage, io.ErrUnexpectedEOF)
	case c.r < c.w || c.ng.trailer != 0:
		d.Cut = true
		missing := int64(c.need-(c.w-c.r)) + c.ng.skip
		d.Reason = fmt.Sprintf("at least %d bytes are missing at byte %d", missing, c.pos+int64(c.w))
	default:
		return nil
	}
	return d
}

// peek opens an input and finds the time of its first packet. What can be opened
// again is closed, unless it is the only one.
func (r *Reader) peek(in *input, only bool) error {
	c, err := openCursor(r.life, in)
	if err != nil {
		return err
	}
	in.cur = c
	if err := r.header(c); err != nil {
		return err
	}
	if only {
		return nil
	}
	ok, _, err := c.peek()
	if err != nil {
		return err
	}
	if ok {
		in.first = c.rec.ts
	}
	if c.st.regular {
		in.cur = nil
		return c.st.close()
	}
	return nil
}

// header parses the file header of a pcap. That of a pcapng file is a block like
// others.
func (r *Reader) header(c *cursor) error {
	c.ng.filters, c.ng.missing.state = r.filters, ifaceUnknown
	if c.format != formatPcap {
		return nil
	}
	for {
		switch c.pcapHeader(r.filters) {
		case gotRecord:
			return nil
		case malformed:
			return fmt.Errorf("open %s: %s", c.in.name, c.bad)
		}
		if c.eof {
			c.format = formatNone
			return nil
		}
		if err := c.fillOwn(); err != nil {
			return err
		}
	}
}

// insertPending keeps the inputs that are not yet open in the order of their
// first packets.
func insertPending(list []*input, in *input) []*input {
	i, _ := slices.BinarySearchFunc(list, in, func(a, b *input) int {
		if a.first != b.first {
			if a.first < b.first {
				return -1
			}
			return 1
		}
		return a.index - b.index
	})
	return slices.Insert(list, i, in)
}
