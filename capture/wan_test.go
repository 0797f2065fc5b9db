// SPDX-License-Identifier: Apache-2.0

package capture_test

import (
	"weir/capture"
)

func wanTests() []frameTest {
	fr := []byte{0x18, 0x41} // DLCI 100
	bridge := func(pid, padding int, p []byte) []byte {
		return cat([]byte{0, 0x80, 0xc2}, be16(pid), zeros(padding), p)
	}
	ui := func(p ...[]byte) []byte { return cat(fr, []byte{3}, cat(p...)) }
	llc := []byte{0xaa, 0xaa, 3}
	return []frameTest{
		{name: "ppp of a daemon", link: 166, frame: cat([]byte{1, 3, 0, 0x21}, plain4()), want: want4()},
		{name: "ppp of a daemon short", link: 166, frame: zeros(3), reason: capture.LinkHeader},
		{name: "ppp with direction", link: 204, frame: cat([]byte{1, 0xff, 3, 0, 0x57}, plain6()), want: want6()},
		{name: "ppp with direction only", link: 204, frame: nil, reason: capture.LinkHeader},
		{name: "ppp bsdos", link: 103, frame: cat(zeros(5), be16(0x21), zeros(17), plain4()), want: want4()},
		{name: "ppp bsdos 16", link: 16, frame: cat(zeros(5), be16(0x21), zeros(17), plain4()), want: want4()},
		{name: "ppp bsdos short", link: 103, frame: zeros(23), reason: capture.LinkHeader},
		{name: "slip", link: 8, frame: cat(zeros(16), plain4()), want: want4()},
		{name: "slip short", link: 8, frame: zeros(15), reason: capture.LinkHeader},
		{name: "slip bsdos", link: 102, frame: cat(zeros(24), plain4()), want: want4()},
		{name: "slip bsdos 15", link: 15, frame: cat(zeros(24), plain4()), want: want4()},
		{name: "cisco hdlc with direction", link: 205, frame: cat([]byte{0, 0x0f, 0, 8, 0}, plain4()), want: want4()},
		{name: "cisco hdlc slarp", link: 104, frame: cat([]byte{0x8f, 0, 0x80, 0x35}, zeros(14)), reason: capture.ARP},
		{name: "cisco hdlc of a small type", link: 104, frame: cat([]byte{0x0f, 0, 0, 40}, snap(0, 0x0800, plain4())), reason: capture.NotIP},
		{name: "frame relay", link: 107, frame: ui([]byte{0xcc}, plain4()), want: want4()},
		{name: "frame relay ipv6", link: 107, frame: ui([]byte{0x8e}, plain6()), want: want6()},
		{name: "frame relay snap", link: 107, frame: ui([]byte{0, 0x80}, zeros(3), be16(0x0800), plain4()), want: want4()},
		{name: "frame relay bridge", link: 107, frame: ui([]byte{0, 0x80}, bridge(7, 0, eth(0x0800, plain4()))), want: want4()},
		{name: "frame relay bridge with check sequence", link: 107, frame: ui([]byte{0, 0x80}, bridge(1, 0, cat(eth(0x8100, cat(be16(4), be16(0x0800), plain4())), zeros(4)))), want: vlan(want4(), 4)},
		{name: "frame relay bridge of token ring", link: 107, frame: ui([]byte{0, 0x80}, bridge(9, 0, zeros(60))), reason: capture.NotIP},
		{name: "frame relay ppp", link: 107, frame: ui([]byte{0xcf}, be16(0x21), plain4()), want: want4()},
		{name: "frame relay cisco", link: 107, frame: cat(fr, be16(0x86dd), plain6()), want: want6()},
		{name: "frame relay of three bytes", link: 107, frame: cat([]byte{0x18, 0x40, 1, 3, 0xcc}, plain4()), want: want4()},
		{name: "frame relay of four bytes", link: 107, frame: cat([]byte{0x18, 0x40, 0, 1, 3, 0xcc}, plain4()), want: want4()},
		{name: "frame relay without end", link: 107, frame: zeros(40), reason: capture.LinkHeader},
		{name: "frame relay of one byte", link: 107, frame: cat([]byte{1, 3, 0xcc}, plain4()), reason: capture.LinkHeader},
		{name: "frame relay short", link: 107, frame: cat(fr, []byte{3}), reason: capture.LinkHeader},
		{name: "frame relay padding only", link: 107, frame: ui([]byte{0}), reason: capture.LinkHeader},
		{name: "frame relay lmi", link: 107, frame: []byte{0, 1, 3, 8, 0, 0x75, 1, 1, 0}, reason: capture.LinkControl},
		{name: "frame relay is-is", link: 107, frame: ui([]byte{0x83}, zeros(20)), reason: capture.NotIP},
		{name: "frame relay numbered", link: 107, frame: cat(fr, zeros(20)), reason: capture.NotIP},
		{name: "frame relay with direction", link: 206, frame: cat([]byte{1}, ui([]byte{0xcc}, plain4())), want: want4()},
		{name: "multilink frame relay", link: 182, frame: cat([]byte{0xc0, 1}, ui([]byte{0xcc}, plain4())), want: want4()},
		{name: "multilink frame relay in pieces", link: 182, frame: cat([]byte{0x80, 1}, ui([]byte{0xcc}, plain4())), reason: capture.Fragment},
		{name: "multilink frame relay control", link: 182, frame: cat([]byte{0xe0, 1}, zeros(8)), reason: capture.LinkControl},
		{name: "multilink frame relay short", link: 182, frame: []byte{0xc0}, reason: capture.LinkHeader},
		{name: "atm", link: 100, frame: snap(0, 0x0800, plain4()), want: want4()},
		{name: "atm 11", link: 11, frame: snap(0, 0x86dd, plain6()), want: want6()},
		{name: "atm clip", link: 106, frame: snap(0, 0x0800, plain4()), want: want4()},
		{name: "atm bridge", link: 100, frame: cat(llc, bridge(7, 2, eth(0x0800, plain4()))), want: want4()},
		{name: "atm bridge cut", link: 100, frame: cat(llc, bridge(7, 1, nil)), reason: capture.LinkHeader},
		{name: "atm routed by nlpid", link: 100, frame: cat([]byte{0xfe, 0xfe, 3, 0xcc}, plain4()), want: want4()},
		{name: "atm short", link: 100, frame: zeros(2), reason: capture.LinkHeader},
		{name: "sunatm", link: 123, frame: cat([]byte{0x82, 0, 0, 40}, snap(0, 0x0800, plain4())), want: want4()},
		{name: "sunatm lane", link: 123, frame: cat([]byte{1, 0, 0, 40, 0, 1}, eth(0x0800, plain4())), want: want4()},
		{name: "sunatm signalling", link: 123, frame: cat([]byte{6, 0, 0, 5}, zeros(20)), reason: capture.LinkControl},
		{name: "sunatm short", link: 123, frame: []byte{2, 0, 0}, reason: capture.LinkHeader},
	}
}
