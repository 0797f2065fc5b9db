// SPDX-License-Identifier: Apache-2.0

package flow

import (
	"encoding/hex"
	"net/netip"
	"slices"
	"strings"
)

// About returns the addresses that a DNS record is about, in ascending order: those
// that a name resolves to, and the one whose name was asked for, which is where a
// query of type PTR is for a name below in-addr.arpa or ip6.arpa. They follow from
// the attributes that make the node. Records of other kinds are about none.
func About(query, qtype string, answers []string) []netip.Addr {
	var out []netip.Addr
	for _, text := range answers {
		if a, err := netip.ParseAddr(text); err == nil && a.Zone() == "" {
			out = append(out, a.Unmap())
		}
	}
	if qtype == "PTR" {
		if a, ok := reverseName(query); ok {
			out = append(out, a)
		}
	}
	slices.SortFunc(out, netip.Addr.Compare)
	return slices.Compact(out)
}

// reverseName returns the address that a name below in-addr.arpa or ip6.arpa
// stands for.
func reverseName(name string) (netip.Addr, bool) {
	name = strings.ToLower(strings.TrimSuffix(name, "."))
	if rest, ok := strings.CutSuffix(name, ".in-addr.arpa"); ok {
		parts := strings.Split(rest, ".")
		slices.Reverse(parts)
		a, err := netip.ParseAddr(strings.Join(parts, "."))
		return a, err == nil && a.Is4()
	}
	rest, ok := strings.CutSuffix(name, ".ip6.arpa")
	digits := strings.Split(rest, ".")
	if !ok || len(digits) != 32 {
		return netip.Addr{}, false
	}
	slices.Reverse(digits)
	b, err := hex.DecodeString(strings.Join(digits, ""))
	if err != nil || len(b) != 16 {
		return netip.Addr{}, false
	}
	return netip.AddrFrom16([16]byte(b)).Unmap(), true
}
