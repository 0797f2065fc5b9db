// SPDX-License-Identifier: Apache-2.0

package zeeklog

import (
	"net/netip"
	"strconv"
	"unicode/utf8"

	"weir/internal/flow"
)

const hexDigits = "0123456789abcdef"

// appendSeconds appends microseconds as seconds with six decimals.
func appendSeconds(b []byte, us int64) []byte {
	if us < 0 {
		b = append(b, '-')
		us = -us
	}
	b = strconv.AppendInt(b, us/1e6, 10)
	b = append(b, '.')
	frac := us % 1e6
	for div := int64(1e5); div > 0; div /= 10 {
		b = append(b, byte('0'+frac/div%10))
	}
	return b
}

// appendTSV appends text as Zeek's ASCII writer does: control characters as
// \xNN and a backslash doubled, inside a list also the comma; a text that would
// read as unset or empty has its first byte escaped. Beyond ASCII, characters
// stay where all of the text is UTF-8; one byte that is not has all escaped.
func appendTSV(b, text []byte, inList bool) []byte {
	switch string(text) {
	case "":
		return append(b, "(empty)"...)
	case "-":
		return append(b, `\x2d`...)
	case "(empty)":
		return append(b, `\x28empty)`...)
	}
	foreign := !utf8.Valid(text)
	for _, c := range text {
		switch {
		case c == '\\':
			b = append(b, '\\', '\\')
		case c < 0x20 || c == 0x7f || inList && c == ',' || c >= utf8.RuneSelf && foreign:
			b = append(b, '\\', 'x', hexDigits[c>>4], hexDigits[c&15])
		default:
			b = append(b, c)
		}
	}
	return b
}

// appendJSON appends text as a JSON string; bytes that are not UTF-8 become
// \xNN with the backslash escaped, as in Zeek's JSON.
func appendJSON(b, text []byte) []byte {
	b = append(b, '"')
	for i := 0; i < len(text); {
		c := text[i]
		switch {
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		case c < 0x20 || c == 0x7f:
			b = append(b, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
		case c < utf8.RuneSelf:
			b = append(b, c)
		default:
			r, n := utf8.DecodeRune(text[i:])
			if r == utf8.RuneError && n <= 1 {
				b = append(b, '\\', '\\', 'x', hexDigits[c>>4], hexDigits[c&15])
				break
			}
			b = append(b, text[i:i+n]...)
			i += n
			continue
		}
		i++
	}
	return append(b, '"')
}

// locals are the networks that Zeek's default Site::local_nets holds besides
// those that net/netip knows as private, loopback or link-local: what IANA lists
// as special and not global, and the 6to4 form of each such IPv4 network.
func locals() []netip.Prefix {
	var nets []netip.Prefix
	for _, text := range []string{
		"0.0.0.0/8", "100.64.0.0/10", "192.0.0.0/24", "192.0.2.0/24", "198.18.0.0/15", "198.51.100.0/24",
		"203.0.113.0/24", "224.0.0.0/24", "239.0.0.0/8", "240.0.0.0/4", "255.255.255.255/32",
		"::/128", "64:ff9b:1::/48", "100::/64", "2001::/23", "2001:db8::/32",
	} {
		net := netip.MustParsePrefix(text)
		nets = append(nets, net)
		if net.Addr().Is4() {
			nets = append(nets, sixToFour(net))
		}
	}
	for _, text := range []string{"10.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.168.0.0/16"} {
		nets = append(nets, sixToFour(netip.MustParsePrefix(text)))
	}
	return nets
}

// sixToFour returns the IPv6 network that an IPv4 network has by RFC 3056.
func sixToFour(net netip.Prefix) netip.Prefix {
	v4, v6 := net.Addr().As4(), [16]byte{0x20, 0x02}
	copy(v6[2:], v4[:])
	return netip.PrefixFrom(netip.AddrFrom16(v6), 16+net.Bits())
}

// isLocal reports whether Zeek's local_orig and local_resp are true for an
// address.
func (l *Logs) isLocal(a flow.Addr) bool {
	ip := a.Netip()
	if ip.IsPrivate() || ip.IsLoopback() || ip.IsLinkLocalUnicast() {
		return true
	}
	for _, net := range l.local {
		if net.Contains(ip) {
			return true
		}
	}
	return false
}
