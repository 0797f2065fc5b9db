// SPDX-License-Identifier: Apache-2.0

package capture_test

import (
	"encoding/binary"

	"weir/capture"
	"weir/internal/flow"
)

// packet is what the decode tests compare: all that does not depend on the seed
// and on the place in the file.
type packet struct {
	Src, Dst     string
	Proto        uint8
	Sport, Dport uint16
	IPLen        uint32
	PayloadLen   uint32
	Payload      string
	VLAN         uint16
	Code         uint8
	Flags        flow.PacketFlags
	OneWay       bool
	Tunnel       bool
}

func shown(p *flow.Packet) packet {
	return packet{
		Src: p.Src.String(), Dst: p.Dst.String(), Proto: p.Proto, Sport: p.Sport, Dport: p.Dport,
		IPLen: p.IPLen, PayloadLen: p.PayloadLen, Payload: string(p.Payload), VLAN: p.VLAN,
		Code: p.Code, Flags: p.Flags, OneWay: p.OneWay, Tunnel: p.Tunnel != 0,
	}
}

// The packet that most frames of the link layer table carry.
func plain4() []byte { return ip4("10.0.0.1", "10.0.0.2", 17, udp(1000, 53, []byte("hello"))) }

func plain6() []byte {
	return ip6("2001:db8::1", "2001:db8::2", 17, udp(1000, 53, []byte("hello")))
}

func want4() packet {
	return packet{
		Src: "10.0.0.1", Dst: "10.0.0.2", Proto: 17, Sport: 1000, Dport: 53,
		IPLen: 33, PayloadLen: 5, Payload: "hello",
	}
}

func want6() packet {
	w := want4()
	w.Src, w.Dst, w.IPLen = "2001:db8::1", "2001:db8::2", 53
	return w
}

func vlan(w packet, id uint16) packet {
	w.VLAN = id
	return w
}

// frameTest is a frame and what becomes of it: a packet or a reason.
type frameTest struct {
	name   string
	link   uint32
	frame  []byte
	cut    int // bytes of the frame that were not captured
	wire   int // length on the wire if it differs from the frame's
	verify bool
	want   packet
	reason capture.Reason
}

func linkTests() []frameTest {
	le := func(v uint32) []byte { return binary.LittleEndian.AppendUint32(nil, v) }
	tag := func(id int, t int, p []byte) []byte { return cat(be16(id), be16(t), p) }
	pppoe := func(proto int, p []byte) []byte {
		return cat([]byte{0x11, 0, 0, 1}, be16(len(p)+2), be16(proto), p)
	}
	tags := plain4()
	next := 0x0800
	for range 13 {
		tags, next = tag(1, next, tags), 0x8100
	}
	nflog := func(kind uint16, p []byte) []byte {
		b := binary.LittleEndian.AppendUint16(nil, uint16(len(p)+4))
		return cat(binary.LittleEndian.AppendUint16(b, kind), p, zeros(-len(p)&3))
	}
	return []frameTest{
		{name: "ethernet", link: 1, frame: eth(0x0800, plain4()), want: want4()},
		{name: "ethernet ipv6", link: 1, frame: eth(0x86dd, plain6()), want: want6()},
		{name: "ethernet with check sequence bits", link: 0x30000001, frame: eth(0x0800, cat(plain4(), zeros(4))), want: want4()},
		{name: "padding", link: 1, frame: eth(0x0800, cat(plain4(), zeros(13))), want: want4()},
		{name: "short ethernet", link: 1, frame: eth(0x0800, nil)[:13], reason: capture.LinkHeader},
		{name: "arp", link: 1, frame: eth(0x0806, zeros(28)), reason: capture.ARP},
		{name: "rarp", link: 1, frame: eth(0x8035, zeros(28)), reason: capture.ARP},
		{name: "lldp", link: 1, frame: eth(0x88cc, zeros(28)), reason: capture.NotIP},
		{name: "vlan", link: 1, frame: eth(0x8100, tag(0x3007, 0x0800, plain4())), want: vlan(want4(), 7)},
		{name: "stacked vlans", link: 1, frame: eth(0x88a8, tag(5, 0x8100, tag(6, 0x86dd, plain6()))), want: vlan(want6(), 6)},
		{name: "old stacked vlans", link: 1, frame: eth(0x9100, tag(5, 0x9200, tag(9, 0x0800, plain4()))), want: vlan(want4(), 9)},
		{name: "too many vlans", link: 1, frame: eth(0x8100, tags), reason: capture.LinkDepth},
		{name: "cut vlan", link: 1, frame: eth(0x8100, zeros(3)), reason: capture.LinkHeader},
		{name: "vlan arp", link: 1, frame: eth(0x8100, tag(5, 0x0806, zeros(28))), reason: capture.ARP},
		{name: "vlan with llc and padding", link: 1, frame: eth(0x8100, tag(5, 8+len(plain4()), cat(snap(0, 0x0800, plain4()), zeros(9)))), want: vlan(want4(), 5)},
		{name: "vntag", link: 1, frame: eth(0x8926, cat(zeros(4), be16(0x0800), plain4())), want: want4()},
		{name: "pbb", link: 1, frame: eth(0x88e7, cat(zeros(4), eth(0x0800, plain4()))), want: want4()},
		{name: "mpls", link: 1, frame: eth(0x8847, cat([]byte{0, 1, 0, 9, 0, 2, 1, 9}, plain4())), want: want4()},
		{name: "mpls multicast ipv6", link: 1, frame: eth(0x8848, cat([]byte{0, 1, 1, 9}, plain6())), want: want6()},
		{name: "mpls without bottom", link: 1, frame: eth(0x8847, zeros(12)), reason: capture.LinkHeader},
		{name: "mpls with something else", link: 1, frame: eth(0x8847, cat([]byte{0, 1, 1, 9}, zeros(40))), reason: capture.IPVersion},
		{name: "pppoe", link: 1, frame: eth(0x8864, pppoe(0x0021, plain4())), want: want4()},
		{name: "pppoe ipv6", link: 1, frame: eth(0x8864, pppoe(0x0057, plain6())), want: want6()},
		{name: "pppoe lcp", link: 1, frame: eth(0x8864, pppoe(0xc021, zeros(8))), reason: capture.NotIP},
		{name: "pppoe with a short length", link: 1, frame: eth(0x8864, cat([]byte{0x11, 0, 0, 1, 0, 20, 0, 0x21}, plain4())), reason: capture.TruncatedIP},
		{name: "pppoe padding", link: 1, frame: eth(0x8864, cat(pppoe(0x0021, ip4(a4, b4, 132, []byte("chunk"))), zeros(9))), want: packet{Src: a4, Dst: b4, Proto: 132, IPLen: 25, PayloadLen: 5, Payload: "chunk"}},
		{name: "pppoe length 1", link: 1, frame: eth(0x8864, cat([]byte{0x11, 0, 0, 1, 0, 1, 0, 0x21}, plain4())), reason: capture.LinkHeader},
		{name: "pppoe discovery", link: 1, frame: eth(0x8863, zeros(20)), reason: capture.NotIP},
		{name: "802.3 snap", link: 1, frame: eth(8+len(plain4()), snap(0, 0x0800, plain4())), want: want4()},
		{name: "802.3 snap bridge tunnel", link: 1, frame: eth(8+len(plain4()), snap(0xf8, 0x0800, plain4())), want: want4()},
		{name: "802.3 snap cisco", link: 1, frame: eth(30, snap(0x0c, 0x2000, zeros(22))), reason: capture.NotIP},
		{name: "802.3 llc ip", link: 1, frame: eth(3+len(plain4()), cat([]byte{6, 6, 3}, plain4())), want: want4()},
		{name: "802.3 spanning tree", link: 1, frame: eth(38, cat([]byte{0x42, 0x42, 3}, zeros(35))), reason: capture.NotIP},
		{name: "802.3 novell", link: 1, frame: eth(38, cat([]byte{0xff, 0xff}, zeros(36))), reason: capture.NotIP},
		{name: "802.3 short", link: 1, frame: eth(2, zeros(2)), reason: capture.LinkHeader},
		{name: "802.3 cut snap", link: 1, frame: eth(5, []byte{0xaa, 0xaa, 3, 0, 0}), reason: capture.LinkHeader},
		{name: "raw", link: 101, frame: plain4(), want: want4()},
		{name: "raw ipv6", link: 101, frame: plain6(), want: want6()},
		{name: "raw 12", link: 12, frame: plain4(), want: want4()},
		{name: "raw 14", link: 14, frame: plain4(), want: want4()},
		{name: "ipv4", link: 228, frame: plain4(), want: want4()},
		{name: "ipv6", link: 229, frame: plain6(), want: want6()},
		{name: "null little endian", link: 0, frame: cat(le(2), plain4()), want: want4()},
		{name: "null big endian", link: 0, frame: cat(be32(2), plain4()), want: want4()},
		{name: "null ipv6 netbsd", link: 0, frame: cat(le(24), plain6()), want: want6()},
		{name: "null ipv6 freebsd", link: 0, frame: cat(be32(28), plain6()), want: want6()},
		{name: "null ipv6 darwin", link: 0, frame: cat(le(30), plain6()), want: want6()},
		{name: "null ipv6 linux", link: 0, frame: cat(le(10), plain6()), want: want6()},
		{name: "null osi", link: 0, frame: cat(le(7), zeros(30)), reason: capture.NotIP},
		{name: "null short", link: 0, frame: zeros(3), reason: capture.LinkHeader},
		{name: "loop", link: 108, frame: cat(be32(2), plain4()), want: want4()},
		{name: "ppp", link: 9, frame: cat([]byte{0xff, 3, 0, 0x21}, plain4()), want: want4()},
		{name: "ppp without address", link: 9, frame: cat([]byte{0, 0x57}, plain6()), want: want6()},
		{name: "ppp compressed protocol", link: 9, frame: cat([]byte{0x21}, plain4()), want: want4()},
		{name: "ppp mpls", link: 9, frame: cat([]byte{0xff, 3, 2, 0x81, 0, 1, 1, 9}, plain4()), want: want4()},
		{name: "ppp lcp", link: 9, frame: []byte{0xff, 3, 0xc0, 0x21, 1, 1, 0, 4}, reason: capture.NotIP},
		{name: "ppp empty", link: 9, frame: []byte{0xff, 3}, reason: capture.LinkHeader},
		{name: "ppp hdlc", link: 50, frame: cat([]byte{0xff, 3, 0, 0x21}, plain4()), want: want4()},
		{name: "ppp cisco", link: 50, frame: cat([]byte{0x0f, 0, 8, 0}, plain4()), want: want4()},
		{name: "pppoe link", link: 51, frame: pppoe(0x0021, plain4()), want: want4()},
		{name: "pppoe link short", link: 51, frame: zeros(7), reason: capture.LinkHeader},
		{name: "cisco hdlc", link: 104, frame: cat([]byte{0x0f, 0, 0x86, 0xdd}, plain6()), want: want6()},
		{name: "cisco hdlc short", link: 104, frame: zeros(3), reason: capture.LinkHeader},
		{name: "sll", link: 113, frame: cat(zeros(14), be16(0x0800), plain4()), want: want4()},
		{name: "sll vlan", link: 113, frame: cat(zeros(14), be16(0x8100), tag(4, 0x86dd, plain6())), want: vlan(want6(), 4)},
		{name: "sll 802.2", link: 113, frame: cat(zeros(14), be16(4), snap(0, 0x0800, plain4())), want: want4()},
		{name: "sll can", link: 113, frame: cat(zeros(14), be16(0x0c), zeros(20)), reason: capture.NotIP},
		{name: "sll short", link: 113, frame: zeros(15), reason: capture.LinkHeader},
		{name: "sll2", link: 276, frame: cat(be16(0x0800), zeros(18), plain4()), want: want4()},
		{name: "sll2 arp", link: 276, frame: cat(be16(0x0806), zeros(18), zeros(28)), reason: capture.ARP},
		{name: "sll2 short", link: 276, frame: zeros(19), reason: capture.LinkHeader},
		{name: "fddi", link: 10, frame: cat(zeros(13), snap(0, 0x0800, plain4())), want: want4()},
		{name: "fddi short", link: 10, frame: zeros(12), reason: capture.LinkHeader},
		{name: "nflog", link: 239, frame: cat([]byte{2, 0, 0, 1}, nflog(1, zeros(5)), nflog(9, plain4())), want: want4()},
		{name: "nflog payload first", link: 239, frame: cat([]byte{2, 0, 0, 1}, nflog(9, ip4(a4, b4, 132, []byte("chunk"))), nflog(1, zeros(5))), want: packet{Src: a4, Dst: b4, Proto: 132, IPLen: 25, PayloadLen: 5, Payload: "chunk"}},
		{name: "nflog without payload", link: 239, frame: cat([]byte{2, 0, 0, 1}, nflog(1, zeros(5))), reason: capture.LinkHeader},
		{name: "nflog bad attribute", link: 239, frame: []byte{2, 0, 0, 1, 3, 0, 1, 0}, reason: capture.LinkHeader},
		{name: "nflog version", link: 239, frame: []byte{2, 1, 0, 1}, reason: capture.NotIP},
		{name: "unknown link type", link: 147, frame: zeros(60), reason: capture.LinkType},
		{name: "unregistered link type", link: 500, frame: zeros(60), reason: capture.LinkType},
	}
}

func ipTests() []frameTest {
	set := func(b []byte, at int, v ...byte) []byte {
		b = append([]byte(nil), b...)
		copy(b[at:], v)
		return b
	}
	v6 := func(next int, p ...[]byte) []byte { return ip6("2001:db8::1", "2001:db8::2", next, cat(p...)) }
	ext := func(next byte, words int) []byte { return cat([]byte{next, byte(words)}, zeros(6+8*words)) }
	u := udp(1000, 53, []byte("hello"))
	plus := func(w packet, n uint32) packet {
		w.IPLen += n
		return w
	}
	options := set(cat(plain4()[:20], []byte{7, 4, 4, 0}, plain4()[20:]), 0, 0x46, 0, 0, 37)
	return []frameTest{
		{name: "no packet", link: 101, frame: nil, reason: capture.TruncatedIP},
		{name: "19 bytes", link: 101, frame: plain4()[:19], reason: capture.TruncatedIP},
		{name: "39 bytes of ipv6", link: 101, frame: plain6()[:39], reason: capture.TruncatedIP},
		{name: "version 5", link: 101, frame: set(plain4(), 0, 0x55), reason: capture.IPVersion},
		{name: "ipv4 as ipv6 ethernet type", link: 1, frame: eth(0x86dd, plain4()), want: want4()},
		{name: "total length beyond the wire", link: 101, frame: plain4()[:32], reason: capture.TruncatedIPLen},
		{name: "ipv6 length beyond the wire", link: 101, frame: plain6()[:52], reason: capture.TruncatedIPLen},
		{name: "length 0", link: 101, frame: set(plain4(), 2, 0, 0), want: plus(want4(), ^uint32(32))},
		{name: "length 0 verified", link: 101, frame: set(plain4(), 2, 0, 0), verify: true, reason: capture.ZeroLength},
		{name: "header length 16", link: 101, frame: set(plain4(), 0, 0x44), reason: capture.IPHeaderLen},
		{name: "header beyond total", link: 101, frame: set(plain4(), 0, 0x4f), reason: capture.IPHeaderLen},
		{name: "header beyond captured", link: 101, frame: set(options, 0, 0x46), cut: len(options) - 22, reason: capture.IPHeaderLen},
		{name: "options", link: 101, frame: options, want: plus(want4(), 4)},
		{name: "good header checksum", link: 101, frame: plain4(), verify: true, want: want4()},
		{name: "bad header checksum", link: 101, frame: set(plain4(), 8, 63), verify: true, reason: capture.IPChecksum},
		{name: "bad header checksum ignored", link: 101, frame: set(plain4(), 8, 63), want: want4()},
		{name: "hop by hop", link: 101, frame: v6(0, ext(17, 0), u), want: plus(want6(), 8)},
		{name: "chain", link: 101, frame: v6(0, ext(60, 1), ext(43, 0), ext(51, 0), cat([]byte{17, 1}, zeros(10)), u), want: plus(want6(), 16+8+8+12)},
		{name: "extension beyond length", link: 101, frame: v6(0, ext(17, 3)[:16]), reason: capture.IPHeaderLen},
		{name: "extension of 4 bytes", link: 101, frame: v6(0, zeros(4)), reason: capture.IPHeaderLen},
		{name: "extension beyond captured", link: 101, frame: v6(0, ext(17, 3), u), cut: 20, reason: capture.TruncatedIP},
		{name: "extension not captured", link: 101, frame: v6(0, ext(17, 0), u), cut: 17, reason: capture.TruncatedIP},
		{name: "atomic fragment", link: 101, frame: v6(44, []byte{17, 0, 0, 0, 0, 0, 0, 1}, u), want: want6()},
		{name: "atomic fragment among others", link: 101, frame: v6(60, ext(44, 0), []byte{17, 0, 0, 0, 0, 0, 0, 1}, u), want: plus(want6(), 8)},
		{
			name: "atomic fragment that is cut", link: 101, frame: v6(44, []byte{17, 0, 0, 0, 0, 0, 0, 1}, u), cut: 3,
			want: func() packet { w := plus(want6(), 8); w.Payload, w.Flags = "he", flow.Truncated; return w }(),
		},
		{name: "ipv6 esp", link: 101, frame: v6(50, zeros(20)), reason: capture.IPv6ESP},
		{name: "mobility", link: 101, frame: v6(135, zeros(20)), reason: capture.Mobility},
		{name: "no next header", link: 101, frame: v6(59, zeros(20)), reason: capture.NoNextHeader},
		{
			name: "routing 0", link: 101,
			frame: v6(43, []byte{17, 4, 0, 1, 0, 0, 0, 0}, ip("2001:db8::7"), ip("2001:db8::8"), u),
			want:  func() packet { w := plus(want6(), 40); w.Dst = "2001:db8::8"; return w }(),
		},
		{
			name: "routing 0 at its end", link: 101,
			frame: v6(43, []byte{17, 2, 0, 0, 0, 0, 0, 0}, ip("2001:db8::7"), u),
			want:  plus(want6(), 24),
		},
		{
			name: "routing 2", link: 101,
			frame: v6(43, []byte{17, 2, 2, 1, 0, 0, 0, 0}, ip("2001:db8::7"), u),
			want:  func() packet { w := plus(want6(), 24); w.Dst = "2001:db8::7"; return w }(),
		},
		{
			name: "home address", link: 101,
			frame: v6(60, []byte{17, 2, 1, 2, 0, 0, 201, 16}, ip("2001:db8::9"), u),
			want:  func() packet { w := plus(want6(), 24); w.Src = "2001:db8::9"; return w }(),
		},
		{
			name: "two routing headers, the first at its end", link: 101,
			frame: v6(43, []byte{43, 2, 0, 0, 0, 0, 0, 0}, ip("2001:db8::6"), []byte{43, 2, 0, 1, 0, 0, 0, 0}, ip("2001:db8::7"),
				[]byte{17, 2, 2, 1, 0, 0, 0, 0}, ip("2001:db8::8"), u),
			want: func() packet { w := plus(want6(), 72); w.Dst = "2001:db8::7"; return w }(),
		},
		{
			name: "three home addresses", link: 101,
			frame: v6(60, []byte{60, 4, 201, 16}, ip("2001:db8::9"), []byte{201, 16}, ip("2001:db8::a"), []byte{1, 0},
				[]byte{17, 2, 1, 2, 0, 0, 201, 16}, ip("2001:db8::b"), u),
			want: func() packet { w := plus(want6(), 64); w.Src = "2001:db8::9"; return w }(),
		},
		{
			name: "home address cut", link: 101,
			frame: v6(60, []byte{17, 0, 0, 0, 0, 0, 201, 16}, u),
			want:  plus(want6(), 8),
		},
		{
			name: "esp over ipv4", link: 101, frame: ip4("10.0.0.1", "10.0.0.2", 50, []byte("abcdefgh")),
			want: packet{Src: "10.0.0.1", Dst: "10.0.0.2", Proto: 50, IPLen: 28, PayloadLen: 8, Payload: "abcdefgh"},
		},
		{
			name: "empty other protocol", link: 101, frame: ip4("10.0.0.1", "10.0.0.2", 132, nil),
			want: packet{Src: "10.0.0.1", Dst: "10.0.0.2", Proto: 132, IPLen: 20},
		},
		{
			name: "wire length lies", link: 101, frame: plain4(), wire: 4_093_509_168, want: want4(),
		},
		{
			name: "wire length below captured", link: 101, frame: plain4(), wire: 1, want: want4(),
		},
	}
}
