// SPDX-License-Identifier: Apache-2.0

package capture_test

import (
	"bytes"
	"encoding/binary"
	"log/slog"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"weir/capture"
)

// Types of 802.11 frames.
const (
	wlanPlain = 0x08
	wlanQoS   = 0x88
)

// radiotap makes a radiotap header: the words of present fields, and the fields.
func radiotap(fields []byte, present ...uint32) []byte {
	le := binary.LittleEndian
	b := le.AppendUint16([]byte{0, 0}, uint16(4+4*len(present)+len(fields)))
	for _, p := range present {
		b = le.AppendUint32(b, p)
	}
	return append(b, fields...)
}

// subframe makes one of the frames of an A-MSDU, padded unless it is the last.
func subframe(last bool, payload []byte) []byte {
	b := cat([]byte("addressesabc"), be16(len(payload)), payload)
	if !last {
		b = append(b, zeros(-len(b)&3)...)
	}
	return b
}

func wlanTests() []frameTest {
	le := func(v uint32) []byte { return binary.LittleEndian.AppendUint32(nil, v) }
	data := snap(0, 0x0800, plain4())
	data6 := snap(0, 0x86dd, plain6())
	frame := wlan(wlanQoS, 1, 0, data)
	ppi := func(size uint16, link uint32, p ...[]byte) []byte {
		return cat([]byte{0, 0}, binary.LittleEndian.AppendUint16(nil, size), le(link), cat(p...))
	}
	nested := frame
	link := uint32(105)
	for range 9 {
		nested, link = ppi(8, link, nested), 192
	}
	padded := cat(wlan(wlanQoS, 1, 0), zeros(2), data)
	return []frameTest{
		{name: "802.11", link: 105, frame: wlan(wlanPlain, 1, 0, data), want: want4()},
		{name: "802.11 from access point", link: 105, frame: wlan(wlanPlain, 2, 0, data6), want: want6()},
		{name: "802.11 with check sequence", link: 105, frame: wlan(wlanPlain, 2, 0, data, zeros(4)), want: want4()},
		{name: "802.11 qos", link: 105, frame: frame, want: want4()},
		{name: "802.11 retry", link: 105, frame: wlan(wlanQoS, 9, 0, data), want: want4()},
		{name: "802.11 with ack in it", link: 105, frame: wlan(0x18, 1, 0, data), want: want4()},
		{name: "802.11 between access points", link: 105, frame: wlan(wlanQoS, 3, 0, data), want: want4()},
		{name: "802.11 ht control", link: 105, frame: wlan(wlanQoS, 0x81, 0, zeros(4), data), want: want4()},
		{name: "802.11 order without qos", link: 105, frame: wlan(wlanPlain, 0x81, 0, data), want: want4()},
		{name: "802.11 arp", link: 105, frame: wlan(wlanPlain, 1, 0, snap(0, 0x0806, zeros(28))), reason: capture.ARP},
		{name: "802.11 eapol", link: 105, frame: wlan(wlanPlain, 1, 0, snap(0, 0x888e, zeros(28))), reason: capture.NotIP},
		{name: "802.11 vlan", link: 105, frame: wlan(wlanPlain, 1, 0, snap(0, 0x8100, cat(be16(3), be16(0x0800), plain4()))), want: vlan(want4(), 3)},
		{name: "802.11 later fragment", link: 105, frame: wlan(wlanPlain, 1, 0, plain4()), reason: capture.NotIP},
		{name: "802.11 beacon", link: 105, frame: wlan(0x80, 0, 0, zeros(60)), reason: capture.LinkControl},
		{name: "802.11 acknowledgement", link: 105, frame: cat([]byte{0xd4, 0}, zeros(8)), reason: capture.LinkControl},
		{name: "802.11 null", link: 105, frame: wlan(0x48, 1, 0), reason: capture.LinkControl},
		{name: "802.11 qos null", link: 105, frame: wlan(0xc8, 1, 0), reason: capture.LinkControl},
		{name: "802.11 protected", link: 105, frame: wlan(wlanPlain, 0x41, 0, zeros(60)), reason: capture.Encrypted},
		{name: "802.11 protected qos", link: 105, frame: wlan(wlanQoS, 0x41, 0, zeros(60)), reason: capture.Encrypted},
		{name: "802.11 protected qos in the clear", link: 105, frame: wlan(wlanQoS, 0x41, 0, data), reason: capture.Encrypted},
		{name: "802.11 decrypted", link: 105, frame: wlan(wlanPlain, 0x41, 0, data), want: want4()},
		{name: "802.11 one byte", link: 105, frame: []byte{wlanPlain}, reason: capture.LinkHeader},
		{name: "802.11 short", link: 105, frame: wlan(wlanPlain, 1, 0)[:23], reason: capture.LinkHeader},
		{name: "802.11 short qos", link: 105, frame: wlan(wlanQoS, 3, 0)[:31], reason: capture.LinkHeader},
		{name: "802.11 short ht control", link: 105, frame: wlan(wlanQoS, 0x81, 0, zeros(3)), reason: capture.LinkHeader},
		{name: "802.11 nothing in it", link: 105, frame: wlan(wlanQoS, 1, 0), reason: capture.LinkHeader},
		{name: "802.11 a-msdu of one", link: 105, frame: wlan(wlanQoS, 2, 0x80, subframe(true, data)), want: want4()},
		{name: "802.11 a-msdu with arp first", link: 105, frame: wlan(wlanQoS, 2, 0x80, subframe(false, snap(0, 0x0806, zeros(28))), subframe(true, data)), want: want4()},
		{name: "802.11 a-msdu and check sequence", link: 105, frame: wlan(wlanQoS, 2, 0x80, subframe(false, data), zeros(4)), want: want4()},
		{name: "802.11 a-msdu of arp", link: 105, frame: wlan(wlanQoS, 2, 0x80, subframe(false, snap(0, 0x0806, zeros(28))), subframe(true, zeros(30))), reason: capture.ARP},
		{name: "802.11 a-msdu cut", link: 105, frame: wlan(wlanQoS, 2, 0x80, subframe(true, data)), cut: 1, reason: capture.LinkHeader},
		{name: "802.11 a-msdu short", link: 105, frame: wlan(wlanQoS, 2, 0x80, zeros(13)), reason: capture.LinkHeader},
		{name: "802.11 a-msdu without order", link: 105, frame: wlan(wlanPlain, 2, 0, subframe(true, data)), reason: capture.NotIP},
		{name: "radiotap", link: 127, frame: cat(radiotap(nil, 0), frame), want: want4()},
		{name: "radiotap with fields", link: 127, frame: cat(radiotap(zeros(12), 0x0f), frame), want: want4()},
		{name: "radiotap with time and padding", link: 127, frame: cat(radiotap(cat(zeros(8), []byte{0x20}), 3), padded), want: want4()},
		{name: "radiotap with padding", link: 127, frame: cat(radiotap([]byte{0x20}, 2), padded), want: want4()},
		{name: "radiotap with more fields and padding", link: 127, frame: cat(radiotap(cat(zeros(4), zeros(8), []byte{0x20}), 1<<31|3, 0), padded), want: want4()},
		{name: "radiotap with bits of another flag", link: 127, frame: cat(radiotap([]byte{0x10}, 2), frame), want: want4()},
		{name: "radiotap padding that is none", link: 127, frame: cat(radiotap([]byte{0x20}, 4), frame), want: want4()},
		{name: "radiotap endless fields", link: 127, frame: cat(radiotap(nil, 1<<31|2, 1<<31), frame), want: want4()},
		{name: "radiotap beacon", link: 127, frame: cat(radiotap(nil, 0), wlan(0x80, 0, 0)), reason: capture.LinkControl},
		{name: "radiotap cut", link: 127, frame: radiotap(zeros(9), 0)[:16], reason: capture.LinkHeader},
		{name: "radiotap of length 4", link: 127, frame: cat([]byte{0, 0, 4, 0}, frame), reason: capture.LinkHeader},
		{name: "radiotap short", link: 127, frame: zeros(3), reason: capture.LinkHeader},
		{name: "ppi", link: 192, frame: ppi(8, 105, frame), want: want4()},
		{name: "ppi with fields", link: 192, frame: ppi(20, 105, zeros(12), frame), want: want4()},
		{name: "ppi ethernet", link: 192, frame: ppi(8, 1, eth(0x8100, cat(be16(3), be16(0x0800), plain4()))), want: vlan(want4(), 3)},
		{name: "ppi radiotap", link: 192, frame: ppi(8, 127, radiotap(nil, 0), frame), want: want4()},
		{name: "ppi of an unknown link type", link: 192, frame: ppi(8, 195, zeros(60)), reason: capture.LinkType},
		{name: "ppi in each other", link: 192, frame: nested, reason: capture.LinkDepth},
		{name: "ppi cut", link: 192, frame: ppi(20, 105, zeros(11)), reason: capture.LinkHeader},
		{name: "ppi of length 7", link: 192, frame: ppi(7, 105, zeros(11)), reason: capture.LinkHeader},
		{name: "ppi short", link: 192, frame: zeros(7), reason: capture.LinkHeader},
		{name: "prism", link: 119, frame: cat(le(0x44), le(144), zeros(136), frame), want: want4()},
		{name: "prism short", link: 119, frame: zeros(143), reason: capture.LinkHeader},
		{name: "prism with avs", link: 119, frame: cat(be32(0x80211001), be32(64), zeros(56), frame), want: want4()},
		{name: "avs", link: 163, frame: cat(be32(0x80211001), be32(64), zeros(56), frame), want: want4()},
		{name: "avs cut", link: 163, frame: cat(be32(0x80211001), be32(65), zeros(56)), reason: capture.LinkHeader},
		{name: "avs of length 7", link: 163, frame: cat(be32(0x80211001), be32(7), zeros(56)), reason: capture.LinkHeader},
		{name: "avs short", link: 163, frame: zeros(7), reason: capture.LinkHeader},
	}
}

// An A-MSDU is one frame of the capture, whatever becomes of what is in it: tags and
// tunnels of one packet say nothing about the next.
func TestAggregate(t *testing.T) {
	udp4 := func(dst string) []byte { return ip4("10.0.0.1", dst, 17, udp(1000, 53, []byte("hello"))) }
	frame := wlan(wlanQoS, 2, 0x80,
		subframe(false, snap(0, 0x8100, cat(be16(7), be16(0x0800), udp4("10.0.0.2")))),
		subframe(false, snap(0, 0x0806, zeros(28))),
		subframe(false, snap(0, 0x0800, ip4(c4, d4, 4, udp4("10.0.0.3")))),
		subframe(false, snap(0, 0x0800, udp4("10.0.0.4"))),
		subframe(true, snap(0, 0x0800, cat(udp4("10.0.0.5"), zeros(3)))))
	f := newPcap(105).add(1e18, frame).add(2e18, wlan(wlanPlain, 2, 0, snap(0, 0x0800, plain4())))
	res := read(t, capture.Config{Inputs: []string{write(t, "x.pcap", f.buf)}})
	type seen struct {
		dst    string
		vlan   uint16
		tunnel bool
	}
	var got []seen
	for i := range res.packets {
		p := &res.packets[i]
		got = append(got, seen{p.Dst.String(), p.VLAN, p.Tunnel != 0})
	}
	want := []seen{
		{"10.0.0.2", 7, false},
		{"10.0.0.3", 0, true},
		{"10.0.0.4", 0, false},
		{"10.0.0.5", 0, false},
		{"10.0.0.2", 0, false},
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(seen{})); diff != "" {
		t.Errorf("packets (-want +got):\n%s", diff)
	}
	if s := res.stats; s.Packets != 2 || s.Delivered != 2 || s.Aggregated != 3 {
		t.Errorf("%d frames, %d delivered, %d aggregated, want 2, 2, 3", s.Packets, s.Delivered, s.Aggregated)
	}
}

// What a tunnel over UDP carries is counted apart, in an A-MSDU as well: the frame
// after it is no part of the tunnel.
func TestAggregateOfTunnels(t *testing.T) {
	over := func(sport int) []byte {
		return ip4(c4, d4, 17, udp(sport, 4789, cat(vxlanHeader(8), eth(0x0800, plain4()))))
	}
	frame := wlan(wlanQoS, 2, 0x80, subframe(false, snap(0, 0x0800, over(1))), subframe(false, snap(0, 0x0800, over(2))),
		subframe(true, snap(0, 0x86dd, plain6())))
	res := read(t, capture.Config{Inputs: []string{"-"}, Stdin: bytes.NewReader(newPcap(105).add(1e18, frame).buf)})
	var tunneled []bool
	for i := range res.packets {
		tunneled = append(tunneled, res.packets[i].Tunnel != 0)
	}
	if want := []bool{false, true, false, true, false}; !slices.Equal(tunneled, want) {
		t.Errorf("packets in tunnels: %v, want %v", tunneled, want)
	}
	if s := res.stats; s.Delivered != 1 || s.Aggregated != 2 || s.Tunnels.Inner != 2 {
		t.Errorf("%d delivered, %d aggregated, %d inner, want 1, 2, 2", s.Delivered, s.Aggregated, s.Tunnels.Inner)
	}
}

// A frame completes only so many datagrams, however many fragments it holds: else a
// small one could fill a block with all that waits.
func TestAggregateOfFragments(t *testing.T) {
	const datagrams, most = 40, 32
	whole := udp(1000, 53, pattern(48))
	f := newPcap(105)
	var last [][]byte
	for id := range datagrams {
		f.add(1e18, wlan(wlanPlain, 2, 0, snap(0, 0x0800, piece4(id, whole, 0, 40))))
		last = append(last, subframe(false, snap(0, 0x0800, piece4(id, whole, 40, len(whole)))))
	}
	f.add(2e18, wlan(wlanQoS, 2, 0x80, last...))
	res := read(t, capture.Config{Inputs: []string{"-"}, Stdin: bytes.NewReader(f.buf)})
	s := res.stats
	if n := len(res.packets); n != most || s.Aggregated != most-1 || s.Fragments.Completed != most || s.Fragments.Evicted != datagrams-most {
		t.Errorf("%d packets, %d aggregated, %+v, want %d of %d datagrams", n, s.Aggregated, s.Fragments, most, datagrams)
	}
	if s.Fragments.Bytes != 0 {
		t.Errorf("%d bytes of fragments are left, want none", s.Fragments.Bytes)
	}
}

// Some access points pad the frames of an A-MSDU in ways of their own, and not all
// frames have a SNAP header.
func TestAggregatePadding(t *testing.T) {
	for size := range 4 {
		for pad := range 4 {
			first := subframe(true, snap(0, 0x0800, cat(plain4(), zeros(size))))
			frame := wlan(wlanQoS, 2, 0x80, first, zeros(pad), subframe(true, snap(0, 0x86dd, plain6())))
			f := newPcap(105).add(1e18, frame)
			res := read(t, capture.Config{Inputs: []string{"-"}, Stdin: bytes.NewReader(f.buf)})
			if n := len(res.packets); n != 2 {
				t.Errorf("%d bytes, %d of padding: %d packets, want 2", len(first), pad, n)
			}
		}
	}
	bpdu := cat([]byte{0x42, 0x42, 3}, zeros(38))
	frame := wlan(wlanQoS, 2, 0x80, subframe(false, snap(0, 0x0800, plain4())), subframe(false, bpdu),
		subframe(true, snap(0, 0x86dd, plain6())))
	res := read(t, capture.Config{Inputs: []string{"-"}, Stdin: bytes.NewReader(newPcap(105).add(1e18, frame).buf)})
	if n := len(res.packets); n != 2 {
		t.Errorf("around spanning tree: %d packets, want 2", n)
	}
}

// A link type that only headers of frames name is named as well.
func TestNamedLinkType(t *testing.T) {
	var log bytes.Buffer
	le := binary.LittleEndian
	inner := le.AppendUint32([]byte{0, 0, 8, 0}, 195)
	frame := cat(le.AppendUint32([]byte{0, 0, 8, 0}, 192), inner, zeros(20))
	f := newPcap(192).add(1e18, frame).add(1e18, frame)
	res := read(t, capture.Config{
		Inputs: []string{write(t, "x.pcap", f.buf)}, Log: slog.New(slog.NewTextHandler(&log, nil)),
	})
	if n := res.stats.Rejected[capture.LinkType]; n != 2 {
		t.Errorf("rejected %v, want 2 for their link type", rejected(res.stats))
	}
	got := log.String()
	if strings.Count(got, "level=WARN") != 1 || !strings.Contains(got, `link_type="IEEE802_15_4_WITHFCS (195)"`) {
		t.Errorf("log is not one line about the link type:\n%s", got)
	}
}
