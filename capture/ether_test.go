// SPDX-License-Identifier: Apache-2.0

package capture_test

import (
	"weir/capture"
)

func etherTests() []frameTest {
	tag := func(id int, t int, p []byte) []byte { return cat(be16(id), be16(t), p) }
	nested := snap(0, 0x0800, plain4())
	for range 9 {
		nested = snap(0, 0x8100, tag(1, len(nested), nested))
	}
	mac := zeros(12)
	return []frameTest{
		{name: "fabric path", link: 1, frame: eth(0x8903, cat(be16(77), eth(0x0800, plain4()))), want: want4()},
		{name: "fabric path with vlan", link: 1, frame: eth(0x8903, cat(be16(77), eth(0x8100, tag(9, 0x86dd, plain6())))), want: vlan(want6(), 9)},
		{name: "fabric path with snap", link: 1, frame: eth(0x8903, cat(be16(77), eth(8+len(plain4()), snap(0, 0x0800, plain4())))), want: want4()},
		{name: "fabric path cut", link: 1, frame: eth(0x8903, zeros(15)), reason: capture.LinkHeader},
		{name: "802.3 length beyond the frame", link: 1, frame: eth(9+len(plain4()), snap(0, 0x0800, plain4())), reason: capture.LinkHeader},
		{name: "802.3 not captured whole", link: 1, frame: eth(8+len(plain4()), snap(0, 0x0800, plain4())), cut: 1, reason: capture.LinkHeader},
		{name: "neither length nor type", link: 1, frame: eth(1501, snap(0, 0x0800, plain4())), reason: capture.NotIP},
		{name: "802.3 padding", link: 1, frame: eth(8+len(plain4()), cat(snap(0, 0x0800, plain4()), zeros(7))), want: want4()},
		{name: "802.3 numbered snap", link: 1, frame: eth(9+len(plain4()), cat([]byte{0xaa, 0xaa, 0, 0, 0, 0, 0, 8, 0}, plain4())), want: want4()},
		{name: "802.3 numbered snap cut", link: 1, frame: eth(3, []byte{0xaa, 0xaa, 0}), reason: capture.LinkHeader},
		{name: "802.3 iso ip", link: 1, frame: eth(4+len(plain4()), cat([]byte{0xfe, 0xfe, 3, 0xcc}, plain4())), want: want4()},
		{name: "802.3 is-is", link: 1, frame: eth(30, cat([]byte{0xfe, 0xfe, 3, 0x83}, zeros(26))), reason: capture.NotIP},
		{name: "802.3 iso cut", link: 1, frame: eth(3, []byte{0xfe, 0xfe, 3}), reason: capture.LinkHeader},
		{name: "802.3 in each other", link: 1, frame: eth(len(nested), nested), reason: capture.LinkDepth},
		{name: "priority tag with llc and padding", link: 1, frame: eth(0x8100, tag(0, 8+len(plain4()), cat(snap(0, 0x0800, plain4()), zeros(9)))), want: want4()},
		{name: "vlan llc cut", link: 1, frame: eth(0x8100, tag(5, 8, cat(snap(0, 0x0800, plain4())))), reason: capture.TruncatedIP},
		{name: "vntag cut", link: 1, frame: eth(0x8926, zeros(5)), reason: capture.LinkHeader},
		{name: "vlan, pbb and 802.3 that is cut", link: 1, frame: eth(0x8100, tag(5, 0x88e7, cat(zeros(4), eth(9+len(plain4()), snap(0, 0x0800, plain4()))))), reason: capture.LinkHeader},
		{name: "pbb cut", link: 1, frame: eth(0x88e7, zeros(17)), reason: capture.LinkHeader},
		{name: "vntag and vlan", link: 1, frame: eth(0x8926, cat(zeros(4), be16(0x8100), tag(6, 0x0800, plain4()))), want: vlan(want4(), 6)},
		{name: "mpls link", link: 219, frame: cat([]byte{0, 1, 1, 9}, plain4()), want: want4()},
		{name: "dsa", link: 284, frame: cat(mac, []byte{0xc0, 0x10, 5, 0x39}, be16(0x0800), plain4()), want: want4()},
		{name: "dsa with vlan", link: 284, frame: cat(mac, []byte{0xe0, 0x10, 5, 0x39}, be16(0x0800), plain4()), want: vlan(want4(), 0x539)},
		{name: "dsa short", link: 284, frame: zeros(17), reason: capture.LinkHeader},
		{name: "edsa", link: 285, frame: cat(mac, be16(0xdada), zeros(2), []byte{0xe0, 0x10, 5, 0x39}, be16(0x86dd), plain6()), want: vlan(want6(), 0x539)},
		{name: "edsa short", link: 285, frame: zeros(21), reason: capture.LinkHeader},
		{name: "broadcom tag", link: 281, frame: cat(mac, []byte{0x20, 0, 0x80, 8}, be16(0x0800), plain4()), want: want4()},
		{name: "broadcom tag short", link: 281, frame: zeros(17), reason: capture.LinkHeader},
		{name: "broadcom tag in front", link: 282, frame: cat([]byte{0x20, 0, 0x80, 8}, eth(0x0800, plain4())), want: want4()},
		{name: "broadcom tag in front short", link: 282, frame: zeros(3), reason: capture.LinkHeader},
	}
}
