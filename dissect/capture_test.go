// SPDX-License-Identifier: Apache-2.0

package dissect

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"

	"weir/internal/flow"
)

// A small reader of captures and a small TCP, enough to run the dissectors over
// real traffic without the rest of the sensor.

type testPacket struct {
	ts         flow.Time
	src, dst   flow.Addr
	sport      uint16
	dport      uint16
	proto      uint8
	seq, ack   uint32
	flags      uint8
	payload    []byte
	payloadLen int // as the headers say
}

func readCapture(tb testing.TB, name string) []testPacket {
	tb.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		tb.Fatal(err)
	}
	if bytes.HasPrefix(data, []byte{0x1f, 0x8b}) {
		zr, err := gzip.NewReader(bytes.NewReader(data))
		if err != nil {
			tb.Fatal(err)
		}
		if data, err = io.ReadAll(zr); err != nil {
			tb.Fatal(err)
		}
	}
	var list []testPacket
	add := func(link uint32, ts int64, frame []byte, wire int) {
		if p, ok := decodeFrame(link, frame, wire); ok {
			p.ts = flow.Time(ts)
			list = append(list, p)
		}
	}
	if len(data) < 24 {
		return nil
	}
	var bo binary.ByteOrder = binary.LittleEndian
	if binary.LittleEndian.Uint32(data) == 0x0a0d0d0a {
		readPcapng(data, add)
		return list
	}
	scale := int64(1000)
	switch binary.BigEndian.Uint32(data) {
	case 0xa1b2c3d4:
		bo = binary.BigEndian
	case 0xa1b23c4d:
		bo, scale = binary.BigEndian, 1
	case 0x4d3cb2a1:
		scale = 1
	}
	link := bo.Uint32(data[20:]) & 0xffff
	for data = data[24:]; len(data) >= 16; {
		n := int(bo.Uint32(data[8:]))
		if n > len(data)-16 {
			break
		}
		ts := int64(bo.Uint32(data))*1e9 + int64(bo.Uint32(data[4:]))*scale
		add(link, ts, data[16:16+n], int(bo.Uint32(data[12:])))
		data = data[16+n:]
	}
	return list
}

func readPcapng(data []byte, add func(uint32, int64, []byte, int)) {
	var bo binary.ByteOrder = binary.LittleEndian
	type iface struct {
		link uint32
		unit int64 // nanoseconds
	}
	var ifaces []iface
	for len(data) >= 12 {
		typ := bo.Uint32(data)
		if typ == 0x0a0d0d0a {
			if bo = binary.LittleEndian; binary.BigEndian.Uint32(data[8:]) == 0x1a2b3c4d {
				bo = binary.BigEndian
			}
			ifaces = nil
		}
		n := int(bo.Uint32(data[4:]))
		if n < 12 || n > len(data) {
			return
		}
		body := data[8 : n-4]
		switch typ {
		case 1:
			i := iface{uint32(bo.Uint16(body)), 1000}
			for opt := body[8:]; len(opt) >= 4; {
				code, size := bo.Uint16(opt), int(bo.Uint16(opt[2:]))
				if code == 9 {
					i.unit = 1e9
					for range opt[4] {
						i.unit /= 10
					}
				}
				opt = opt[min(len(opt), 4+(size+3)&^3):]
			}
			ifaces = append(ifaces, i)
		case 6:
			i := ifaces[bo.Uint32(body)]
			ticks := int64(bo.Uint32(body[4:]))<<32 | int64(bo.Uint32(body[8:]))
			add(i.link, ticks*i.unit, body[20:20+bo.Uint32(body[12:])], int(bo.Uint32(body[16:])))
		}
		data = data[n:]
	}
}

func decodeFrame(link uint32, f []byte, wire int) (p testPacket, ok bool) {
	typ := uint16(0x0800)
	switch link {
	case 1:
		if len(f) < 14 {
			return p, false
		}
		typ = be16(f, 12)
		f = f[14:]
		for (typ == 0x8100 || typ == 0x88a8 || typ == 0x9100) && len(f) >= 4 {
			typ = be16(f, 2)
			f = f[4:]
		}
	case 12, 14, 101, 228, 229:
	case 113:
		if len(f) < 16 {
			return p, false
		}
		typ = be16(f, 14)
		f = f[16:]
	case 276:
		if len(f) < 20 {
			return p, false
		}
		typ = be16(f, 0)
		f = f[20:]
	case 0, 108:
		if len(f) < 4 {
			return p, false
		}
		f = f[4:]
	default:
		return p, false
	}
	if typ != 0x0800 && typ != 0x86dd || len(f) == 0 {
		return p, false
	}
	return decodeIP(f)
}

func decodeIP(f []byte) (p testPacket, ok bool) {
	total := 0
	switch f[0] >> 4 {
	case 4:
		if len(f) < 20 || be16(f, 6)&0x3fff != 0 {
			return p, false
		}
		n := int(f[0]&15) * 4
		if total = int(be16(f, 2)); total == 0 {
			total = len(f)
		}
		p.src, p.dst = flow.Addr4([4]byte(f[12:])), flow.Addr4([4]byte(f[16:]))
		p.proto = f[9]
		if n > len(f) {
			return p, false
		}
		f, total = f[n:], total-n
	case 6:
		if len(f) < 40 {
			return p, false
		}
		p.src, p.dst = flow.Addr(f[8:24]), flow.Addr(f[24:40])
		p.proto, total = f[6], int(be16(f, 4))
		f = f[40:]
		for p.proto == 0 || p.proto == 60 || p.proto == 43 {
			if len(f) < 8 {
				return p, false
			}
			n := 8 + int(f[1])*8
			p.proto = f[0]
			if n > len(f) {
				return p, false
			}
			f, total = f[n:], total-n
		}
	default:
		return p, false
	}
	f = f[:min(len(f), max(total, 0))]
	switch {
	case p.proto == flow.UDP && len(f) >= 8:
		p.sport, p.dport = be16(f, 0), be16(f, 2)
		p.payload, p.payloadLen = f[8:], total-8
	case p.proto == flow.TCP && len(f) >= 20 && int(f[12]>>4)*4 <= len(f):
		n := int(f[12]>>4) * 4
		p.sport, p.dport = be16(f, 0), be16(f, 2)
		p.seq, p.ack, p.flags = be32(f, 4), be32(f, 8), f[13]
		p.payload, p.payloadLen = f[n:], total-n
	default:
		return p, false
	}
	return p, true
}

// testConn is a connection of the small TCP.
type testConn struct {
	t      flow.Tuple
	a      App
	last   flow.Time
	closed bool
	side   [2]testSide
}

type testSide struct {
	begun, fin, finished bool
	start, next, finSeq  uint32
	segments             map[uint32][]byte
}

type testKey struct {
	a, b   flow.Addr
	ap, bp uint16
	proto  uint8
}

// testTable runs packets through a shard.
type testTable struct {
	s        *Shard
	conns    map[testKey]*testConn
	services map[string]string // by "orig:port resp:port"
	order    []*testConn
}

func likelyServer(port uint16, proto uint8) bool {
	tcp := "21 22 25 53 79 80 81 88 135 139 143 443 445 465 502 563 585 587 614 631 636 989 990 992 " +
		"993 995 1080 1434 1883 2811 3128 3306 3389 5222 5223 5269 6666 6667 6668 6669 8000 8080 8888 20000"
	udp := "53 67 88 123 137 161 162 443 514 1812 2123 2152 3389 3544 4011 4754 4789 5060 5072 5353 " +
		"5355 6081 20000"
	list := tcp
	if proto == flow.UDP {
		list = udp
	}
	return strings.Contains(" "+list+" ", fmt.Sprintf(" %d ", port))
}

func (tt *testTable) packet(p *testPacket) {
	key := testKey{p.src, p.dst, p.sport, p.dport, p.proto}
	if c := p.src.Compare(p.dst); c > 0 || c == 0 && p.sport > p.dport {
		key = testKey{p.dst, p.src, p.dport, p.sport, p.proto}
	}
	c := tt.conns[key]
	idle := flow.Time(60e9)
	if p.proto == flow.TCP {
		idle = 300e9
	}
	if c != nil {
		syn := p.flags&(flow.SYN|flow.ACK) == flow.SYN
		old := p.ts-c.last > idle || c.closed && p.ts-c.last > 5e9
		if old || syn && (c.closed || c.side[0].begun && c.side[0].start != p.seq) {
			tt.close(c)
			c = nil
		}
	}
	if c == nil {
		c = &testConn{t: flow.Tuple{Src: p.src, Dst: p.dst, Sport: p.sport, Dport: p.dport, Proto: p.proto}}
		flip := likelyServer(p.sport, p.proto) && !likelyServer(p.dport, p.proto)
		if p.proto == flow.TCP {
			flip = flip && p.flags&(flow.SYN|flow.ACK) != flow.SYN
			if p.flags&flow.SYN == 0 {
				c.a.Midstream(true)
			}
		}
		if flip {
			c.t.Src, c.t.Dst, c.t.Sport, c.t.Dport = p.dst, p.src, p.dport, p.sport
		}
		tt.conns[key] = c
		tt.order = append(tt.order, c)
	}
	c.last = p.ts
	dir := flow.ToServer
	if p.src != c.t.Src || p.sport != c.t.Sport {
		dir = flow.ToClient
	}
	if p.proto == flow.UDP {
		was := c.a.Reversed()
		if len(p.payload) > 0 {
			tt.s.Datagram(&c.t, &c.a, dir, p.ts, p.payload)
		}
		if c.a.Reversed() && !was {
			c.t.Src, c.t.Dst, c.t.Sport, c.t.Dport = c.t.Dst, c.t.Src, c.t.Dport, c.t.Sport
		}
		return
	}
	tt.tcp(c, p, dir)
}

func (tt *testTable) tcp(c *testConn, p *testPacket, dir flow.Dir) {
	q, peer := &c.side[dir], &c.side[dir.Reverse()]
	seq := p.seq
	if p.flags&flow.SYN != 0 {
		if !q.begun || q.next == q.start+1 {
			q.begun, q.start, q.next = true, seq, seq+1
		}
		seq++
	}
	if !q.begun {
		q.begun, q.start, q.next = true, seq-1, seq
	}
	if q.segments == nil {
		q.segments = map[uint32][]byte{}
	}
	if p.flags&flow.ACK != 0 && p.flags&flow.RST == 0 && peer.begun {
		tt.acked(c, p, dir.Reverse())
	}
	// As in Zeek, a segment that the capture cut is not delivered at all.
	if len(p.payload) > 0 && len(p.payload) == p.payloadLen && p.flags&flow.RST == 0 {
		if old := q.segments[seq]; len(old) < len(p.payload) {
			q.segments[seq] = p.payload
		}
		tt.deliver(c, p.ts, dir)
	}
	if p.flags&flow.FIN != 0 {
		q.fin, q.finSeq = true, seq+uint32(p.payloadLen)
	}
	tt.finish(c, p.ts, dir)
	if p.flags&flow.RST != 0 {
		c.closed = true
	}
}

func (tt *testTable) finish(c *testConn, ts flow.Time, dir flow.Dir) {
	q := &c.side[dir]
	if q.fin && !q.finished && q.next == q.finSeq {
		q.finished = true
		c.closed = c.side[0].finished && c.side[1].finished
		tt.s.Fin(&c.t, &c.a, dir, ts)
	}
}

// acked finds gaps: the peer has what the capture has not.
func (tt *testTable) acked(c *testConn, p *testPacket, dir flow.Dir) {
	q := &c.side[dir]
	for q.begun && int32(p.ack-q.next) > 0 {
		nearest := p.ack
		if q.fin && nearest == q.finSeq+1 {
			nearest = q.finSeq
		}
		for seq := range q.segments {
			if int32(seq-q.next) > 0 && int32(seq-nearest) < 0 {
				nearest = seq
			}
		}
		if nearest == q.next {
			break
		}
		tt.s.Gap(&c.t, &c.a, dir, p.ts, uint64(nearest-q.next))
		q.next = nearest
		tt.deliver(c, p.ts, dir)
	}
	tt.finish(c, p.ts, dir)
}

func (tt *testTable) deliver(c *testConn, ts flow.Time, dir flow.Dir) {
	q := &c.side[dir]
	for again := true; again; {
		again = false
		for seq, data := range q.segments {
			if int32(seq-q.next) > 0 {
				continue
			}
			delete(q.segments, seq)
			if skip := q.next - seq; skip < uint32(len(data)) {
				q.next += uint32(len(data)) - skip
				if c.a.Wants(dir) {
					tt.s.Stream(&c.t, &c.a, dir, ts, bytes.Clone(data[skip:]))
				}
				again = true
			}
		}
	}
}

func (tt *testTable) close(c *testConn) {
	service := tt.s.Close(&c.t, &c.a)
	key := fmt.Sprintf("%v:%d %v:%d", c.t.Src, c.t.Sport, c.t.Dst, c.t.Dport)
	tt.services[key] = service
	c.closed = true
}

// runCapture runs a capture and returns the records and the services.
func runCapture(tb testing.TB, name string) (*flow.IntelBatch, map[string]string) {
	tb.Helper()
	tt := &testTable{s: NewShard(Config{}), conns: map[testKey]*testConn{}, services: map[string]string{}}
	tt.s.Out = flow.NewIntelBatch()
	for _, p := range readCapture(tb, name) {
		tt.packet(&p)
	}
	open := map[*testConn]bool{}
	for _, c := range tt.conns {
		open[c] = true
	}
	for _, c := range tt.order {
		if open[c] {
			tt.close(c)
		}
	}
	if st := tt.s.Stats(); st.Sessions != 0 {
		tb.Errorf("%s: %d sessions left", name, st.Sessions)
	}
	if used := tt.s.bufs.memory.Used(); used != 0 {
		tb.Errorf("%s: %d bytes of buffers left", name, used)
	}
	return tt.s.Out, tt.services
}
