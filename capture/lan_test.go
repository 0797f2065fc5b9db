// SPDX-License-Identifier: Apache-2.0

package capture_test

import (
	"weir/capture"
)

func lanTests() []frameTest {
	arc := func(kind, flag byte, p []byte) []byte { return cat([]byte{1, 2, kind, flag, 0, 9}, p) }
	linux := func(kind, flag byte, p []byte) []byte { return cat([]byte{1, 2, 0, 0, kind, flag, 0, 9}, p) }
	routed := func(size byte, p []byte) []byte {
		return cat(zeros(8), []byte{0x80}, zeros(5), []byte{size}, zeros(int(size)-1), p)
	}
	return []frameTest{
		{name: "token ring", link: 6, frame: cat(zeros(14), snap(0, 0x0800, plain4())), want: want4()},
		{name: "token ring with a route", link: 6, frame: routed(6, snap(0, 0x0800, plain4())), want: want4()},
		{name: "token ring with a long route", link: 6, frame: routed(30, nil)[:20], reason: capture.LinkHeader},
		{name: "token ring short", link: 6, frame: zeros(14), reason: capture.LinkHeader},
		{name: "fddi novell", link: 10, frame: cat(zeros(13), []byte{0xff, 0xff}, zeros(30)), reason: capture.NotIP},
		{name: "arcnet", link: 7, frame: arc(212, 0, plain4()), want: want4()},
		{name: "arcnet ipv6", link: 7, frame: arc(196, 0, plain6()), want: want6()},
		{name: "arcnet old ip", link: 7, frame: cat([]byte{1, 2, 240}, plain4()), want: want4()},
		{name: "arcnet arp", link: 7, frame: arc(213, 0, zeros(20)), reason: capture.ARP},
		{name: "arcnet odd size", link: 7, frame: arc(212, 0xff, cat([]byte{212, 0, 0, 9}, plain4())), want: want4()},
		{name: "arcnet piece", link: 7, frame: arc(212, 2, plain4()), reason: capture.Fragment},
		{name: "arcnet first piece", link: 7, frame: arc(212, 1, plain4()), reason: capture.Fragment},
		{name: "arcnet appletalk", link: 7, frame: arc(221, 0, zeros(20)), reason: capture.NotIP},
		{name: "arcnet short", link: 7, frame: []byte{1, 2}, reason: capture.LinkHeader},
		{name: "arcnet cut", link: 7, frame: arc(212, 0xff, zeros(3)), reason: capture.LinkHeader},
		{name: "arcnet linux", link: 129, frame: linux(212, 0, plain4()), want: want4()},
		{name: "arcnet linux arp", link: 129, frame: linux(213, 0, zeros(8)), reason: capture.ARP},
		{name: "firewire", link: 138, frame: cat(zeros(16), be16(0x0800), plain4()), want: want4()},
		{name: "firewire short", link: 138, frame: zeros(17), reason: capture.LinkHeader},
		{name: "fibre channel", link: 122, frame: cat(zeros(16), snap(0, 0x86dd, plain6())), want: want6()},
		{name: "fibre channel short", link: 122, frame: zeros(15), reason: capture.LinkHeader},
		{name: "infiniband", link: 242, frame: cat(zeros(40), be16(0x0800), zeros(2), plain4()), want: want4()},
		{name: "infiniband of a small type", link: 242, frame: cat(zeros(44), plain4()), reason: capture.NotIP},
		{name: "infiniband short", link: 242, frame: zeros(43), reason: capture.LinkHeader},
	}
}
