// SPDX-License-Identifier: Apache-2.0

package capture_test

import (
	"testing"

	"weir/capture"
)

const (
	c4, d4 = "192.0.2.1", "192.0.2.2"
	c6, d6 = "2001:db8:f::1", "2001:db8:f::2"
)

func tunnelTests() []frameTest {
	in := func(p packet) packet {
		p.Tunnel = true
		return p
	}
	outer := func(proto int, p ...[]byte) []byte { return ip4(c4, d4, proto, cat(p...)) }
	gre := func(flags, proto int, p ...[]byte) []byte {
		return outer(47, be16(flags), be16(proto), cat(p...))
	}
	nested := plain4()
	depth := [][]byte{nested}
	for range 6 {
		nested = ip4(c4, d4, 4, nested)
		depth = append(depth, nested)
	}
	ppp := []byte{0xff, 3, 0, 0x21}
	key := be32(7)
	return []frameTest{
		{name: "ip in ip", link: 101, frame: outer(4, plain4()), want: in(want4())},
		{name: "ipv6 in ipv4", link: 101, frame: outer(41, plain6()), want: in(want6())},
		{name: "ipv4 in ipv6", link: 101, frame: ip6(c6, d6, 4, plain4()), want: in(want4())},
		{name: "ipv6 in ipv6", link: 101, frame: ip6(c6, d6, 41, plain6()), want: in(want6())},
		{name: "wrong version inside 4", link: 101, frame: outer(4, plain6()), reason: capture.IPVersion},
		{name: "wrong version inside 41", link: 101, frame: outer(41, plain4()), reason: capture.IPVersion},
		{name: "nothing inside", link: 101, frame: outer(4), reason: capture.TruncatedIP},
		{name: "inner length beyond outer", link: 101, frame: outer(4, plain4()[:30]), reason: capture.TunnelLength},
		{name: "more behind the inner packet", link: 101, frame: outer(4, plain4(), zeros(2)), reason: capture.TunnelLength},
		{name: "padding behind ip in ip", link: 1, frame: eth(0x0800, cat(outer(4, plain4()), zeros(2))), reason: capture.TunnelLength},
		{name: "ip in ip cut", link: 101, frame: outer(4, plain4()), cut: 1, reason: capture.TunnelLength},
		{name: "inner length 0", link: 101, frame: outer(4, plain4()[:2], zeros(2), plain4()[4:]), reason: capture.TunnelLength},
		{name: "4 deep", link: 101, frame: depth[4], want: in(want4())},
		{name: "5 deep", link: 101, frame: depth[5], reason: capture.TunnelDepth},
		{name: "gre", link: 101, frame: gre(0, 0x0800, plain4()), want: in(want4())},
		{name: "gre ipv6", link: 101, frame: gre(0, 0x86dd, plain6()), want: in(want6())},
		{name: "gre over ipv6", link: 101, frame: ip6(c6, d6, 47, cat(zeros(2), be16(0x0800), plain4())), want: in(want4())},
		{name: "gre checksum, key and sequence", link: 101, frame: gre(0xb000, 0x0800, zeros(4), key, zeros(4), plain4()), want: in(want4())},
		{name: "gre routing", link: 101, frame: gre(0x4000, 0x0800, zeros(4), []byte{8, 0, 0, 4}, ip(c4), zeros(4), plain4()), reason: capture.TunnelHeader},
		{name: "gre reserved flags", link: 101, frame: gre(0x0008, 0x0800, plain4()), reason: capture.TunnelHeader},
		{name: "gre acknowledgment", link: 101, frame: gre(0x0080, 0x0800, zeros(4), plain4()), want: in(want4())},
		{name: "gre padding", link: 1, frame: eth(0x0800, cat(gre(0, 0x0800, plain4()), zeros(4))), want: in(want4())},
		{name: "gre cut", link: 101, frame: gre(0, 0x0800, plain4()), cut: 1, reason: capture.TruncatedIPLen},
		{name: "gre ethernet", link: 101, frame: gre(0x2000, 0x6558, key, eth(0x0800, plain4())), want: in(want4())},
		{name: "gre ethernet arp", link: 101, frame: gre(0x2000, 0x6558, key, eth(0x0806, zeros(28))), reason: capture.ARP},
		{name: "gre mpls", link: 101, frame: gre(0, 0x8847, []byte{0, 1, 1, 9}, plain4()), want: in(want4())},
		{name: "erspan 1", link: 101, frame: gre(0, 0x88be, eth(0x0800, plain4())), want: in(want4())},
		{name: "erspan 2", link: 101, frame: gre(0x1000, 0x88be, zeros(4), zeros(8), eth(0x0800, plain4())), want: in(want4())},
		{name: "erspan 3", link: 101, frame: gre(0x1000, 0x22eb, zeros(4), zeros(12), eth(0x0800, plain4())), want: in(want4())},
		{name: "erspan 3 subheader", link: 101, frame: gre(0x1000, 0x22eb, zeros(4), zeros(11), []byte{1}, zeros(8), eth(0x0800, plain4())), want: in(want4())},
		{name: "erspan 3 cut", link: 101, frame: gre(0x1000, 0x22eb, zeros(15)), reason: capture.TunnelHeader},
		{name: "pptp", link: 101, frame: gre(0x3081, 0x880b, key, zeros(8), ppp, plain4()), want: in(want4())},
		{name: "pptp compressed", link: 101, frame: gre(0x3001, 0x880b, key, zeros(4), []byte{0x21}, plain4()), reason: capture.TunnelPayload},
		{name: "pptp ipv6", link: 101, frame: gre(0x3001, 0x880b, key, zeros(4), []byte{0xff, 3, 0, 0x57}, plain6()), want: in(want6())},
		{name: "pptp wrong version", link: 101, frame: gre(0x3001, 0x880b, key, zeros(4), ppp, plain6()), reason: capture.IPVersion},
		{name: "pptp longer than its packet", link: 101, frame: gre(0x3001, 0x880b, key, zeros(4), ppp, plain4(), zeros(1)), reason: capture.TunnelLength},
		{name: "pptp lcp", link: 101, frame: gre(0x3001, 0x880b, key, zeros(4), []byte{0xff, 3, 0xc0, 0x21, 1, 1, 0, 4}), reason: capture.TunnelPayload},
		{name: "pptp ack only", link: 101, frame: gre(0x2081, 0x880b, key, zeros(4)), reason: capture.TunnelHeader},
		{name: "gre version 1 with ip", link: 101, frame: gre(0x2001, 0x0800, key, plain4()), reason: capture.TunnelHeader},
		{name: "gre version 2", link: 101, frame: gre(2, 0x0800, plain4()), reason: capture.TunnelHeader},
		{name: "gre short", link: 101, frame: outer(47, zeros(3)), reason: capture.TunnelHeader},
		{name: "gre cut key", link: 101, frame: gre(0x2000, 0x0800, zeros(2)), reason: capture.TunnelHeader},
		{name: "gre wccp 1", link: 101, frame: gre(0, 0x883e, plain4()), want: in(want4())},
		{name: "gre wccp 2", link: 101, frame: gre(0, 0x883e, []byte{0x80, 0, 9, 9}, plain4()), want: in(want4())},
		{name: "gre wccp cut", link: 101, frame: gre(0, 0x883e, zeros(3)), reason: capture.TruncatedIP},
		{name: "aruba", link: 101, frame: gre(0, 0x8200, wlan(0x88, 1, 0, snap(0, 0x0800, plain4()))), want: in(want4())},
		{name: "aruba ipv6", link: 101, frame: gre(0, 0x8370, wlan(0x88, 2, 0, snap(0, 0x86dd, plain6()))), want: in(want6())},
		{name: "aruba 0x9000", link: 101, frame: gre(0x2000, 0x9000, key, wlan(0x08, 2, 0, snap(0, 0x0800, plain4()))), want: in(want4())},
		{name: "aruba arp", link: 101, frame: gre(0, 0x82f0, wlan(0x88, 2, 0, snap(0, 0x0806, zeros(28)))), reason: capture.ARP},
		{name: "aruba encrypted", link: 101, frame: gre(0, 0x8200, wlan(0x88, 0x41, 0, zeros(40))), reason: capture.Encrypted},
		{name: "aruba cut", link: 101, frame: gre(0, 0x8200, wlan(0x88, 1, 0)[:20]), reason: capture.LinkHeader},
		{name: "not aruba", link: 101, frame: gre(0, 0x8380, wlan(0x88, 1, 0, snap(0, 0x0800, plain4()))), reason: capture.TunnelPayload},
		{name: "not aruba either", link: 101, frame: gre(0, 0x8201, wlan(0x88, 1, 0, snap(0, 0x0800, plain4()))), reason: capture.TunnelPayload},
		{name: "gre keepalive", link: 101, frame: gre(0, 0), reason: capture.TunnelPayload},
		{name: "gre ip by another number", link: 101, frame: gre(0, 0x1234, plain4()), want: in(want4())},
		{name: "gre ipv6 by another number", link: 101, frame: gre(0x2000, 0, key, plain6()), want: in(want6())},
		{name: "gre of a vlan", link: 1, frame: eth(0x8100, cat(be16(9), be16(0x0800), gre(0, 0x0800, plain4()))), want: in(want4())},
		{name: "gre vlan in a vlan", link: 1, frame: eth(0x8100, cat(be16(9), be16(0x0800), gre(0, 0x6558, eth(0x8100, cat(be16(3), be16(0x0800), plain4()))))), want: in(vlan(want4(), 3))},
		{name: "gre clns", link: 101, frame: gre(0, 0x00fe, zeros(20)), reason: capture.TunnelPayload},
	}
}

func TestTunnelUID(t *testing.T) {
	f := newPcap(101).
		add(1e18, ip4(c4, d4, 4, plain4())).
		add(1e18, ip4(d4, c4, 4, plain4())).
		add(1e18, ip4(c4, "192.0.2.3", 4, plain4())).
		add(1e18, ip4(c4, d4, 4, ip4("192.0.2.8", "192.0.2.9", 4, plain4()))).
		add(1e18, ip4("192.0.2.8", "192.0.2.9", 4, plain4())).
		add(1e18, plain4())
	path := write(t, "x.pcap", f.buf)
	res := read(t, capture.Config{Inputs: []string{path}})
	p := res.packets
	if len(p) != 6 {
		t.Fatalf("%d packets, want 6", len(p))
	}
	if p[0].Tunnel == 0 || p[0].Tunnel != p[1].Tunnel {
		t.Errorf("tunnels of the two directions: %x and %x, want one", p[0].Tunnel, p[1].Tunnel)
	}
	if p[0].Tunnel == p[2].Tunnel {
		t.Errorf("tunnels of two pairs: both %x", p[0].Tunnel)
	}
	if p[3].Tunnel != p[4].Tunnel {
		t.Errorf("nested tunnel: %x, want the inner one's %x", p[3].Tunnel, p[4].Tunnel)
	}
	if p[5].Tunnel != 0 {
		t.Errorf("packet without tunnel: %x, want 0", p[5].Tunnel)
	}
	if p[0].Hash != p[5].Hash {
		t.Errorf("hash %x in a tunnel, %x outside: the key must not know of it", p[0].Hash, p[5].Hash)
	}
	if res.stats.Tunneled != 5 {
		t.Errorf("Tunneled = %d, want 5", res.stats.Tunneled)
	}
	again := read(t, capture.Config{Inputs: []string{path}})
	if again.packets[0].Tunnel != p[0].Tunnel {
		t.Errorf("read again: tunnel %x, want %x", again.packets[0].Tunnel, p[0].Tunnel)
	}
}
