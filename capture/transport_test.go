// SPDX-License-Identifier: Apache-2.0

package capture_test

import (
	"encoding/binary"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"weir/capture"
	"weir/internal/flow"
)

const (
	a4, b4 = "10.0.0.1", "10.0.0.2"
	a6, b6 = "2001:db8::1", "2001:db8::2"
)

// sealed puts the right checksum into a segment, at its offset.
func sealed(src, dst string, proto int, at int, seg []byte) []byte {
	binary.BigEndian.PutUint16(seg[at:], onesum(pseudo(src, dst, proto, len(seg)), seg))
	return seg
}

func transportTests() []frameTest {
	from4 := func(proto int, seg []byte) []byte { return ip4(a4, b4, proto, seg) }
	base := func(proto uint8, ipLen uint32, sport, dport uint16) packet {
		return packet{Src: a4, Dst: b4, Proto: proto, IPLen: ipLen, Sport: sport, Dport: dport}
	}
	with := func(p packet, n uint32, payload string, f flow.PacketFlags) packet {
		p.PayloadLen, p.Payload, p.Flags = n, payload, f
		return p
	}
	at := func(b []byte, i int, v ...byte) []byte {
		copy(b[i:], v)
		return b
	}
	goodTCP := func() []byte { return sealed(a4, b4, 6, 16, tcp(5, 80, 0x18, nil, []byte("odd"))) }
	goodUDP := func() []byte { return sealed(a4, b4, 17, 6, udp(5, 53, []byte("x"))) }
	goodICMP := func() []byte {
		b := icmp(8, 0, []byte("ping"))
		binary.BigEndian.PutUint16(b[2:], onesum(b))
		return b
	}
	in6 := func(p packet, grow uint32) packet {
		p.Src, p.Dst = a6, b6
		p.IPLen += grow
		return p
	}
	return []frameTest{
		{name: "tcp", link: 101, frame: from4(6, tcp(5, 80, 0x18, nil, []byte("data"))), want: with(base(6, 44, 5, 80), 4, "data", 0)},
		{name: "tcp options", link: 101, frame: from4(6, tcp(5, 80, 0x10, zeros(12), []byte("data"))), want: with(base(6, 56, 5, 80), 4, "data", 0)},
		{name: "tcp 19 bytes", link: 101, frame: from4(6, tcp(5, 80, 0x18, nil, nil)[:19]), reason: capture.TruncatedHeader},
		{name: "tcp 19 bytes captured", link: 101, frame: from4(6, tcp(5, 80, 0x18, nil, nil)), cut: 1, reason: capture.CapturedHeader},
		{name: "tcp offset 4", link: 101, frame: from4(6, at(tcp(5, 80, 2, nil, nil), 12, 0x40)), want: with(base(6, 40, 5, 80), 0, "", flow.BadHeader)},
		{name: "tcp offset beyond packet", link: 101, frame: from4(6, at(tcp(5, 80, 2, nil, nil), 12, 0x60)), want: with(base(6, 40, 5, 80), 0, "", flow.BadHeader)},
		{name: "tcp offset beyond captured", link: 101, frame: from4(6, tcp(5, 80, 2, zeros(8), nil)), cut: 1, want: with(base(6, 48, 5, 80), 0, "", flow.BadHeader|flow.Truncated)},
		{name: "tcp cut by the snap length", link: 101, frame: from4(6, tcp(5, 80, 0x18, nil, []byte("data"))), cut: 2, want: with(base(6, 44, 5, 80), 4, "da", flow.Truncated)},
		{name: "tcp good checksum", link: 101, verify: true, frame: from4(6, goodTCP()), want: with(base(6, 43, 5, 80), 3, "odd", 0)},
		{name: "tcp bad checksum", link: 101, verify: true, frame: from4(6, at(goodTCP(), 20, 'O')), want: with(base(6, 43, 5, 80), 3, "Odd", flow.BadChecksum)},
		{name: "tcp bad checksum ignored", link: 101, frame: from4(6, at(goodTCP(), 20, 'O')), want: with(base(6, 43, 5, 80), 3, "Odd", 0)},
		{name: "tcp cut and unverifiable", link: 101, verify: true, frame: from4(6, at(goodTCP(), 20, 'O')), cut: 1, want: with(base(6, 43, 5, 80), 3, "Od", flow.Truncated)},
		{name: "tcp good checksum ipv6", link: 101, verify: true, frame: ip6(a6, b6, 6, sealed(a6, b6, 6, 16, tcp(5, 80, 0x18, nil, []byte("odd")))), want: in6(with(base(6, 43, 5, 80), 3, "odd", 0), 20)},
		{name: "tcp bad checksum ipv6", link: 101, verify: true, frame: ip6(a6, b6, 6, goodTCP()), want: in6(with(base(6, 43, 5, 80), 3, "odd", flow.BadChecksum), 20)},
		{name: "udp", link: 101, frame: from4(17, udp(5, 53, []byte("data"))), want: with(base(17, 32, 5, 53), 4, "data", 0)},
		{name: "udp 7 bytes", link: 101, frame: from4(17, zeros(7)), reason: capture.TruncatedHeader},
		{name: "udp 7 bytes captured", link: 101, frame: from4(17, zeros(8)), cut: 1, reason: capture.CapturedHeader},
		{name: "udp length below ip length", link: 101, frame: from4(17, at(udp(5, 53, []byte("data")), 4, 0, 10)), want: with(base(17, 32, 5, 53), 2, "da", 0)},
		{name: "udp length above ip length", link: 101, frame: from4(17, at(udp(5, 53, []byte("data")), 4, 1, 0)), want: with(base(17, 32, 5, 53), 248, "data", 0)},
		{name: "udp length 0", link: 101, frame: from4(17, at(udp(5, 53, []byte("data")), 4, 0, 0)), want: with(base(17, 32, 5, 53), 0, "", 0)},
		{name: "udp no checksum", link: 101, verify: true, frame: from4(17, udp(5, 53, []byte("x"))), want: with(base(17, 29, 5, 53), 1, "x", 0)},
		{name: "udp no checksum ipv6", link: 101, verify: true, frame: ip6(a6, b6, 17, udp(5, 53, []byte("x"))), want: in6(with(base(17, 29, 5, 53), 1, "x", flow.BadChecksum), 20)},
		{name: "udp good checksum", link: 101, verify: true, frame: from4(17, goodUDP()), want: with(base(17, 29, 5, 53), 1, "x", 0)},
		{name: "udp bad checksum", link: 101, verify: true, frame: from4(17, at(goodUDP(), 8, 'y')), want: with(base(17, 29, 5, 53), 1, "y", flow.BadChecksum)},
		{name: "icmp echo", link: 101, frame: from4(1, icmp(8, 0, []byte("ping"))), want: with(base(1, 32, 8, 0), 4, "ping", 0)},
		{name: "icmp good checksum", link: 101, verify: true, frame: from4(1, goodICMP()), want: with(base(1, 32, 8, 0), 4, "ping", 0)},
		{name: "icmp bad checksum", link: 101, verify: true, frame: from4(1, at(goodICMP(), 8, 'P')), want: with(base(1, 32, 8, 0), 4, "Ping", flow.BadChecksum)},
		{name: "icmpv6 good checksum", link: 101, verify: true, frame: ip6(a6, b6, 58, sealed(a6, b6, 58, 2, icmp(128, 0, nil))), want: in6(with(base(58, 28, 128, 129), 0, "", 0), 20)},
		{name: "icmpv6 bad checksum", link: 101, verify: true, frame: ip6(a6, b6, 58, icmp(128, 0, nil)), want: in6(with(base(58, 28, 128, 129), 0, "", flow.BadChecksum), 20)},
		{name: "icmp 7 bytes", link: 101, frame: from4(1, zeros(7)), reason: capture.TruncatedHeader},
		{name: "icmp 7 bytes captured", link: 101, frame: from4(1, zeros(8)), cut: 1, reason: capture.CapturedHeader},
		{
			name: "icmp unreachable", link: 101, frame: from4(1, icmp(3, 3, []byte("cited"))),
			want: func() packet {
				p := with(base(1, 33, 3, 3), 5, "cited", 0)
				p.Code, p.OneWay = 3, true
				return p
			}(),
		},
	}
}

// frameFile makes a capture of one frame.
func (tc *frameTest) frameFile() []byte {
	wire := tc.wire
	if wire == 0 {
		wire = len(tc.frame)
	}
	return newPcap(tc.link).addWire(1e18, tc.frame[:len(tc.frame)-tc.cut], wire).buf
}

func frameTests() []frameTest {
	return slices.Concat(linkTests(), etherTests(), wanTests(), lanTests(), hostTests(), wlanTests(),
		ipTests(), transportTests(), tunnelTests())
}

func TestDecode(t *testing.T) {
	for _, tc := range frameTests() {
		t.Run(tc.name, func(t *testing.T) {
			path := write(t, "one.pcap", tc.frameFile())
			res := read(t, capture.Config{Inputs: []string{path}, Checksums: tc.verify})
			if tc.reason != capture.Delivered {
				want := map[string]uint64{tc.reason.String(): 1}
				if diff := cmp.Diff(want, rejected(res.stats)); diff != "" {
					t.Errorf("rejected (-want +got):\n%s", diff)
				}
				return
			}
			if len(res.packets) != 1 {
				t.Fatalf("got %d packets, rejected %v", len(res.packets), rejected(res.stats))
			}
			if diff := cmp.Diff(tc.want, shown(&res.packets[0])); diff != "" {
				t.Errorf("packet (-want +got):\n%s", diff)
			}
		})
	}
}

func TestTCPFields(t *testing.T) {
	for _, tc := range []struct {
		name    string
		flags   byte
		options []byte
		scale   uint8
		has     bool
	}{
		{"scale", 2, []byte{2, 4, 5, 0xb4, 1, 3, 3, 7}, 7, true},
		{"scale of a syn-ack", 0x12, []byte{3, 3, 0, 0}, 0, true},
		{"scale above 14", 2, []byte{3, 3, 200, 0}, 14, true},
		{"scale of another packet", 0x10, []byte{3, 3, 7, 0}, 0, false},
		{"after the end of options", 2, []byte{0, 3, 3, 7}, 0, false},
		{"option of length 1", 2, []byte{9, 1, 3, 3, 7, 1, 1, 1}, 0, false},
		{"option beyond the header", 2, []byte{1, 1, 3, 30}, 0, false},
		{"lone kind", 2, []byte{1, 1, 1, 3}, 0, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			path := write(t, "one.pcap", newPcap(101).
				add(1e18, ip4(a4, b4, 6, tcp(5, 80, tc.flags, tc.options, nil))).buf)
			p := &read(t, capture.Config{Inputs: []string{path}}).packets[0]
			if p.WScale != tc.scale || p.Flags&flow.HasWScale != 0 != tc.has {
				t.Errorf("options %x: WScale = %d (%b), want %d, %v", tc.options, p.WScale, p.Flags, tc.scale, tc.has)
			}
			if p.Seq != 1000 || p.Ack != 2000 || p.Window != 4096 || p.TCPFlags != tc.flags {
				t.Errorf("got seq %d ack %d window %d flags %#x, want 1000 2000 4096 %#x",
					p.Seq, p.Ack, p.Window, p.TCPFlags, tc.flags)
			}
		})
	}
}

func TestICMPCounterparts(t *testing.T) {
	pairs := map[int]map[uint8]uint8{
		1:  {8: 0, 13: 14, 15: 16, 10: 9, 17: 18},
		58: {128: 129, 133: 134, 135: 136, 130: 131, 139: 140, 144: 145},
	}
	for proto, forward := range pairs {
		other := map[uint8]uint8{}
		for a, b := range forward {
			other[a], other[b] = b, a
		}
		f := newPcap(101)
		for kind := range 256 {
			f.add(1e18, ip4(a4, b4, proto, icmp(byte(kind), 77, nil)))
		}
		res := read(t, capture.Config{Inputs: []string{write(t, "all.pcap", f.buf)}})
		for kind := range 256 {
			p := &res.packets[kind]
			want, two := uint16(77), false
			if o, ok := other[uint8(kind)]; ok {
				want, two = uint16(o), true
			}
			if p.Sport != uint16(kind) || p.Dport != want || p.OneWay == two || p.Code != 77 {
				t.Errorf("protocol %d type %d: %d -> %d, one way %v, want -> %d, %v",
					proto, kind, p.Sport, p.Dport, p.OneWay, want, !two)
			}
		}
	}
}

func TestHash(t *testing.T) {
	frames := newPcap(101)
	for i := range 512 {
		src := addr(a4).Netip().AsSlice()
		src[3], src[2] = byte(i), byte(i>>8)
		b := ip4(a4, b4, 6, tcp(1000, 80, 2, nil, nil))
		copy(b[12:], src)
		frames.add(1e18, b)
		copy(b[12:], b[16:20])
		copy(b[16:], src)
		copy(b[20:], cat(be16(80), be16(1000)))
		frames.add(1e18, b)
	}
	path := write(t, "x.pcap", frames.buf)
	one := read(t, capture.Config{Inputs: []string{path}, Seed: 1}).packets
	two := read(t, capture.Config{Inputs: []string{path}, Seed: 1}).packets
	other := read(t, capture.Config{Inputs: []string{path}, Seed: 2}).packets
	seen, shards, moved := map[uint64]bool{}, map[uint64]int{}, 0
	for i := 0; i < len(one); i += 2 {
		h := one[i].Hash
		if one[i+1].Hash != h {
			t.Fatalf("connection %d: directions hash to %x and %x", i/2, h, one[i+1].Hash)
		}
		if two[i].Hash != h {
			t.Fatalf("connection %d: hash %x and %x with one seed", i/2, h, two[i].Hash)
		}
		if other[i].Hash%flow.Shards != h%flow.Shards {
			moved++
		}
		seen[h] = true
		shards[h%flow.Shards]++
	}
	if len(seen) != 512 || len(shards) < 60 || moved < 400 {
		t.Errorf("512 keys: %d hashes, %d shards, %d in other shards with another seed",
			len(seen), len(shards), moved)
	}
	for s, n := range shards {
		if n > 25 {
			t.Errorf("shard %d has %d of 512 keys", s, n)
		}
	}
	for _, change := range []func(p []byte){
		func(p []byte) { p[9] = 17 },
		func(p []byte) { p[21]++ },
		func(p []byte) { p[15]++ },
	} {
		b := ip4(a4, b4, 6, tcp(1000, 80, 2, nil, zeros(8)))
		c := append([]byte(nil), b...)
		change(c)
		path := write(t, "y.pcap", newPcap(101).add(1e18, b).add(1e18, c).buf)
		res := read(t, capture.Config{Inputs: []string{path}})
		if res.packets[0].Hash == res.packets[1].Hash {
			t.Errorf("keys of %x and %x have one hash", b, c)
		}
	}
}
