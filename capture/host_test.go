// SPDX-License-Identifier: Apache-2.0

package capture_test

import (
	"encoding/binary"

	"weir/capture"
)

func hostTests() []frameTest {
	le := func(v uint32) []byte { return binary.LittleEndian.AppendUint32(nil, v) }
	jnx := []byte("MGC")
	pktap := func(kind, link uint32, p []byte) []byte { return cat(le(20), le(kind), le(link), zeros(8), p) }
	return []frameTest{
		{name: "null ipv6 solaris", link: 0, frame: cat(le(26), plain6()), want: want6()},
		{name: "loop ipv6", link: 108, frame: cat(be32(24), plain6()), want: want6()},
		{name: "pflog", link: 117, frame: cat([]byte{61, 2}, zeros(62), plain4()), want: want4()},
		{name: "pflog ipv6", link: 117, frame: cat([]byte{100, 24}, zeros(98), plain6()), want: want6()},
		{name: "pflog of another family", link: 117, frame: cat([]byte{61, 16}, zeros(90)), reason: capture.NotIP},
		{name: "pflog cut", link: 117, frame: cat([]byte{61, 2}, zeros(61)), reason: capture.LinkHeader},
		{name: "pflog of length 0", link: 117, frame: cat([]byte{0, 2}, zeros(61)), reason: capture.LinkHeader},
		{name: "pflog short", link: 117, frame: []byte{4, 2, 0}, reason: capture.LinkHeader},
		{name: "enc", link: 109, frame: cat(le(2), zeros(8), plain4()), want: want4()},
		{name: "enc big endian", link: 109, frame: cat(be32(24), zeros(8), plain6()), want: want6()},
		{name: "enc short", link: 109, frame: cat(le(2), zeros(7)), reason: capture.LinkHeader},
		{name: "ipnet", link: 226, frame: cat([]byte{1, 2}, zeros(22), plain4()), want: want4()},
		{name: "ipnet ipv6", link: 226, frame: cat([]byte{1, 26}, zeros(22), plain6()), want: want6()},
		{name: "ipnet short", link: 226, frame: cat([]byte{1, 2}, zeros(21)), reason: capture.LinkHeader},
		{name: "pktap", link: 258, frame: pktap(1, 1, eth(0x0800, plain4())), want: want4()},
		{name: "pktap of loopback", link: 258, frame: pktap(1, 0, cat(le(30), plain6())), want: want6()},
		{name: "pktap without packet", link: 258, frame: pktap(0, 1, nil), reason: capture.LinkControl},
		{name: "pktap of an unknown link type", link: 258, frame: pktap(1, 147, zeros(20)), reason: capture.LinkType},
		{name: "pktap cut", link: 258, frame: pktap(1, 1, nil)[:19], reason: capture.LinkHeader},
		{name: "pktap of length 8", link: 258, frame: cat(le(8), zeros(40)), reason: capture.LinkHeader},
		{name: "pktap short", link: 258, frame: zeros(11), reason: capture.LinkHeader},
		{name: "juniper", link: 178, frame: cat(jnx, []byte{0x80, 0, 3, 1, 1, 1}, eth(0x0800, plain4())), want: want4()},
		{name: "juniper without extensions", link: 178, frame: cat(jnx, []byte{1}, eth(0x86dd, plain6())), want: want6()},
		{name: "juniper without ethernet", link: 178, frame: cat(jnx, []byte{0x82, 0, 1, 1}, be32(2), plain4()), want: want4()},
		{name: "juniper cut", link: 178, frame: cat(jnx, []byte{0x80, 0, 9, 1}), reason: capture.LinkHeader},
		{name: "juniper of something else", link: 178, frame: eth(0x0800, plain4()), reason: capture.LinkHeader},
	}
}
