// SPDX-License-Identifier: Apache-2.0

package sensor_test

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"fmt"
	"net/netip"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"weir/capture"
	"weir/internal/flow"
	"weir/internal/sensor"
)

// The packets of this file are made by hand, with checksums that are right unless
// the test breaks them.

const (
	c4, s4 = "10.0.0.1", "192.0.2.9"
	c6, s6 = "2001:db8::1", "2001:db8::9"
	home   = "2001:db8:1::5"
	final  = "2001:db8:2::8"
)

func join(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

func u16(v int) []byte { return binary.BigEndian.AppendUint16(nil, uint16(v)) }

func u32(v uint32) []byte { return binary.BigEndian.AppendUint32(nil, v) }

func address(s string) []byte { return netip.MustParseAddr(s).AsSlice() }

// sum is the Internet checksum.
func sum(parts ...[]byte) uint16 {
	b := join(parts...)
	if len(b)%2 == 1 {
		b = append(b, 0)
	}
	total := uint32(0)
	for i := 0; i < len(b); i += 2 {
		total += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	for total > 0xffff {
		total = total>>16 + total&0xffff
	}
	return ^uint16(total)
}

// sealed puts the checksum into a segment, with a pseudo header of these addresses.
func sealed(src, dst string, proto, at int, segment []byte) []byte {
	b := bytes.Clone(segment)
	var pseudo []byte
	if proto != flow.ICMP {
		pseudo = join(address(src), address(dst), u32(uint32(len(b))), u32(uint32(proto)))
	}
	binary.BigEndian.PutUint16(b[at:], sum(pseudo, b))
	return b
}

func tcpSegment(src, dst string, sport, dport int, flags byte, seq, ack uint32, payload string) []byte {
	return sealed(src, dst, flow.TCP, 16, join(u16(sport), u16(dport), u32(seq), u32(ack), []byte{0x50, flags},
		u16(4096), u32(0), []byte(payload)))
}

func udpSegment(src, dst string, sport, dport int, payload string) []byte {
	return sealed(src, dst, flow.UDP, 6, join(u16(sport), u16(dport), u16(8+len(payload)), u16(0), []byte(payload)))
}

// spoiled returns b with its last byte changed.
func spoiled(b []byte) []byte {
	b = bytes.Clone(b)
	b[len(b)-1] ^= 0x55
	return b
}

// unsummed returns a UDP segment without a checksum.
func unsummed(b []byte) []byte {
	b = bytes.Clone(b)
	b[6], b[7] = 0, 0
	return b
}

func packet4(src, dst string, proto byte, frag int, payload []byte) []byte {
	h := join([]byte{0x45, 0}, u16(20+len(payload)), u16(77), u16(frag), []byte{64, proto, 0, 0}, address(src), address(dst))
	binary.BigEndian.PutUint16(h[10:], sum(h))
	return append(h, payload...)
}

func packet6(src, dst string, next byte, payload []byte) []byte {
	return join([]byte{0x60, 0, 0, 0}, u16(len(payload)), []byte{next, 64}, address(src), address(dst), payload)
}

// homeOption is a destination options header with the home address.
func homeOption(next byte) []byte {
	return join([]byte{next, 2, 1, 2, 0, 0, 0xc9, 16}, address(home))
}

// routing is a routing header of type 0 that leads to the final destination.
func routing(next byte) []byte { return join([]byte{next, 2, 0, 1, 0, 0, 0, 0}, address(final)) }

// brokenHeader returns an IPv4 packet whose header's checksum is wrong.
func brokenHeader(b []byte) []byte {
	b = bytes.Clone(b)
	b[8]--
	return b
}

// brief is a sink of connections, a line each, that counts their packets.
type brief struct {
	lines   []string
	packets uint64
}

func (s *brief) Connections(b *flow.ConnBatch) error {
	for i := range b.Conns {
		x := &b.Conns[i]
		history := cmp.Or(string(x.History), "-")
		s.packets += x.CSPkts + x.SCPkts
		tunneled := ""
		if len(x.TunnelParents) > 0 {
			tunneled = " in a tunnel"
		}
		s.lines = append(s.lines, fmt.Sprintf("%d %v>%v %v %s %d/%d %d/%d %d/%d %dms%s", x.Proto, x.Src, x.Dst, x.State, history,
			x.CSPkts, x.SCPkts, x.CSBytes, x.SCBytes, x.CSPayload, x.SCPayload, (x.Last-x.First)/1e6, tunneled))
	}
	return nil
}
func (*brief) Intel(*flow.IntelBatch) error { return nil }

// TestChecksums checks what becomes of packets with wrong checksums where these are
// verified, as Zeek has it without -C.
func TestChecksums(t *testing.T) {
	const syn, ack, syncAck = flow.SYN, flow.ACK, flow.SYN | flow.ACK
	synSegment := tcpSegment(c4, s4, 40000, 9999, syn, 100, 0, "")
	goodSYN := packet4(c4, s4, flow.TCP, 0, synSegment)
	// The payload of the SYN's packet is empty: its last byte is the urgent pointer.
	badSYN := packet4(c4, s4, flow.TCP, 0, spoiled(synSegment))
	hello := udpSegment(c4, s4, 40000, 9999, "hello")
	goodUDP, badUDP := packet4(c4, s4, flow.UDP, 0, hello), packet4(c4, s4, flow.UDP, 0, spoiled(hello))
	ping := sealed(c4, s4, flow.ICMP, 2, []byte("\x08\x00\x00\x00\x00\x01\x00\x01ping"))
	ping6 := sealed(c6, s6, flow.ICMPv6, 2, []byte("\x80\x00\x00\x00\x00\x01\x00\x01ping"))
	hello6 := func(src, dst string) []byte { return udpSegment(src, dst, 40000, 9999, "hello") }
	syn6 := func(src, dst string) []byte { return tcpSegment(src, dst, 40000, 9999, syn, 100, 0, "") }
	long := udpSegment(c4, s4, 40000, 9999, string(bytes.Repeat([]byte("weir"), 300)))
	first := packet4(c4, s4, flow.UDP, 0x2000, long[:800])
	greIP := func(inner []byte) []byte { return packet4(c4, s4, flow.GRE, 0, join([]byte{0, 0, 8, 0}, inner)) }
	inner := func(segment []byte) []byte { return packet4("10.9.0.1", "10.9.0.2", flow.UDP, 0, segment) }
	innerHello := udpSegment("10.9.0.1", "10.9.0.2", 40000, 9999, "hello")
	zeroLength := bytes.Clone(goodSYN)
	zeroLength[2], zeroLength[3] = 0, 0
	binary.BigEndian.PutUint16(zeroLength[10:], 0)
	binary.BigEndian.PutUint16(zeroLength[10:], sum(zeroLength[:20]))
	back := func(flags byte, seq, ackNo uint32, payload string) []byte {
		return packet4(s4, c4, flow.TCP, 0, tcpSegment(s4, c4, 9999, 40000, flags, seq, ackNo, payload))
	}
	forth := func(flags byte, seq, ackNo uint32, payload string) []byte {
		return packet4(c4, s4, flow.TCP, 0, tcpSegment(c4, s4, 40000, 9999, flags, seq, ackNo, payload))
	}
	many := func(n int, b []byte) (list [][]byte) {
		for range n {
			list = append(list, b)
		}
		return list
	}
	for _, tc := range []struct {
		name   string
		frames [][]byte
		cut    int // bytes of each frame that were not captured
		want   []string
		reason capture.Reason // and how many frames were rejected for it
		count  uint64
	}{
		{"a SYN, then a good one", [][]byte{badSYN, goodSYN}, 0, []string{
			"6 10.0.0.1>192.0.2.9 OTH C 0/0 0/0 0/0 0ms", "6 10.0.0.1>192.0.2.9 S0 S 1/0 40/0 0/0 0ms",
		}, 0, 0},
		{"segments of a connection", [][]byte{
			goodSYN, back(syncAck, 500, 101, ""), forth(ack, 101, 501, ""),
			spoiled(forth(ack, 101, 501, "data")), spoiled(back(ack, 501, 101, "data")),
		}, 0, []string{"6 10.0.0.1>192.0.2.9 S1 ShACc 2/1 80/40 0/0 200ms"}, 0, 0},
		{"UDP, then a good one", [][]byte{badUDP, goodUDP}, 0, []string{"17 10.0.0.1>192.0.2.9 S0 CD 1/0 33/0 5/0 100ms"}, 0, 0},
		{"UDP only", [][]byte{badUDP}, 0, []string{"17 10.0.0.1>192.0.2.9 OTH C 0/0 0/0 0/0 0ms"}, 0, 0},
		{"ten times, one letter for each power of ten", many(12, badUDP), 0, []string{"17 10.0.0.1>192.0.2.9 OTH CC 0/0 0/0 0/0 0ms"}, 0, 0},
		{"UDP without a checksum", [][]byte{packet4(c4, s4, flow.UDP, 0, unsummed(hello))}, 0, []string{"17 10.0.0.1>192.0.2.9 S0 D 1/0 33/0 5/0 0ms"}, 0, 0},
		{"IPv4 header", [][]byte{brokenHeader(goodUDP)}, 0, nil, capture.IPChecksum, 1},
		{"IPv4 header of a fragment", [][]byte{
			brokenHeader(first), packet4(c4, s4, flow.UDP, 100, long[800:]),
		}, 0, nil, capture.IPChecksum, 1},
		{"ICMP", [][]byte{packet4(c4, s4, flow.ICMP, 0, spoiled(ping))}, 0, []string{"1 10.0.0.1>192.0.2.9 OTH - 0/0 0/0 0/0 0ms"}, 0, 0},
		{"ICMP, then a good one", [][]byte{packet4(c4, s4, flow.ICMP, 0, spoiled(ping)), packet4(c4, s4, flow.ICMP, 0, ping)}, 0, []string{"1 10.0.0.1>192.0.2.9 OTH - 1/0 32/0 4/0 100ms"}, 0, 0},
		{"ICMPv6", [][]byte{packet6(c6, s6, flow.ICMPv6, spoiled(ping6)), packet6(c6, s6, flow.ICMPv6, ping6)}, 0, []string{"58 2001:db8::1>2001:db8::9 OTH - 1/0 52/0 4/0 100ms"}, 0, 0},
		{"IPv6", [][]byte{packet6(c6, s6, flow.UDP, spoiled(hello6(c6, s6))), packet6(c6, s6, flow.UDP, hello6(c6, s6))}, 0, []string{"17 2001:db8::1>2001:db8::9 S0 CD 1/0 53/0 5/0 100ms"}, 0, 0},
		{"IPv6 without a checksum", [][]byte{packet6(c6, s6, flow.UDP, unsummed(hello6(c6, s6)))}, 0, []string{"17 2001:db8::1>2001:db8::9 OTH C 0/0 0/0 0/0 0ms"}, 0, 0},
		{"IPv6, home address", [][]byte{packet6(c6, s6, 60, join(homeOption(flow.TCP), syn6(home, s6)))}, 0, []string{"6 2001:db8:1::5>2001:db8::9 S0 S 1/0 84/0 0/0 0ms"}, 0, 0},
		{"IPv6, home address left out", [][]byte{packet6(c6, s6, 60, join(homeOption(flow.UDP), hello6(c6, s6)))}, 0, []string{"17 2001:db8:1::5>2001:db8::9 OTH C 0/0 0/0 0/0 0ms"}, 0, 0},
		{"IPv6, final destination", [][]byte{packet6(c6, s6, 43, join(routing(flow.UDP), hello6(c6, final)))}, 0, []string{"17 2001:db8::1>2001:db8:2::8 S0 D 1/0 77/0 5/0 0ms"}, 0, 0},
		{"IPv6, next destination instead", [][]byte{packet6(c6, s6, 43, join(routing(flow.UDP), hello6(c6, s6)))}, 0, []string{"17 2001:db8::1>2001:db8:2::8 OTH C 0/0 0/0 0/0 0ms"}, 0, 0},
		{"cut by the snap length", [][]byte{badUDP}, 3, []string{"17 10.0.0.1>192.0.2.9 S0 D 1/0 33/0 5/0 0ms"}, 0, 0},
		{"fragments", [][]byte{first, packet4(c4, s4, flow.UDP, 100, long[800:])}, 0, []string{"17 10.0.0.1>192.0.2.9 S0 D 1/0 1228/0 1200/0 0ms"}, capture.Fragment, 1},
		{"fragments of a wrong datagram", [][]byte{first, packet4(c4, s4, flow.UDP, 100, spoiled(long[800:]))}, 0, []string{"17 10.0.0.1>192.0.2.9 OTH C 0/0 0/0 0/0 0ms"}, capture.Fragment, 1},
		{"length of zero", [][]byte{zeroLength}, 0, nil, capture.ZeroLength, 1},
		{"in a tunnel", [][]byte{greIP(inner(innerHello)), greIP(inner(spoiled(innerHello)))}, 0, []string{"17 10.9.0.1>10.9.0.2 S0 DC 1/0 33/0 5/0 0ms in a tunnel"}, 0, 0},
		{"IPv4 header in a tunnel", [][]byte{greIP(brokenHeader(inner(innerHello)))}, 0, nil, capture.IPChecksum, 1},
		{"IPv4 header of a tunnel", [][]byte{brokenHeader(greIP(inner(innerHello)))}, 0, nil, capture.IPChecksum, 1},
	} {
		t.Run(tc.name, func(t *testing.T) {
			file := []byte("\xd4\xc3\xb2\xa1\x02\x00\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00\xff\xff\x00\x00\x65\x00\x00\x00")
			for i, frame := range tc.frames {
				for _, v := range []int{1_700_000_000, i * 100_000, len(frame) - tc.cut, len(frame)} {
					file = binary.LittleEndian.AppendUint32(file, uint32(v))
				}
				file = append(file, frame[:len(frame)-tc.cut]...)
			}
			for _, verify := range []bool{true, false} {
				r, err := capture.Open(capture.Config{Inputs: []string{"-"}, Stdin: bytes.NewReader(file), Checksums: verify})
				if err != nil {
					t.Fatal(err)
				}
				sink := new(brief)
				p, err := sensor.New(sensor.Config{Workers: 1, Sinks: []sensor.Sink{sink}})
				if err != nil {
					t.Fatal(err)
				}
				if err := p.Run(t.Context(), r); err != nil {
					t.Fatal(err)
				}
				in, out := r.Stats(), p.Stats()
				if got := in.Delivered - out.Table.IgnoredChecksum; got != sink.packets {
					t.Errorf("verify %v: %d packets delivered, %d with wrong checksums, but %d in records",
						verify, in.Delivered, out.Table.IgnoredChecksum, sink.packets)
				}
				if !verify {
					if out.Table.IgnoredChecksum+in.Rejected[capture.IPChecksum]+in.Rejected[capture.ZeroLength] != 0 {
						t.Errorf("without verifying: %+v, %v", out.Table, in.Rejected)
					}
					continue
				}
				if diff := gocmp.Diff(tc.want, sink.lines); diff != "" {
					t.Errorf("connections (-want +got):\n%s", diff)
				}
				if got := in.Rejected[tc.reason]; got != tc.count {
					t.Errorf("%d frames rejected as %v, want %d", got, tc.reason, tc.count)
				}
			}
		})
	}
}
