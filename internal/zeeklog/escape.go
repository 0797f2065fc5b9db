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

// appendTSV appends text as Zeek's ASCII writer does: control characters and
// bytes that are not UTF-8 as \xNN, a backslash doubled, inside a list also the
// comma; a text that would read as unset or empty has its first byte escaped.
func appendTSV(b, text []byte, inList bool) []byte {
	switch string(text) {
	case "":
		return append(b, "(empty)"...)
	case "-":
		return append(b, `\x2d`...)
	case "(empty)":
		return append(b, `\x28empty)`...)
	}
	for i := 0; i < len(text); {
		c := text[i]
		switch {
		case c == '\\':
			b = append(b, '\\', '\\')
		case c < 0x20 || c == 0x7f || inList && c == ',':
			b = append(b, '\\', 'x', hexDigits[c>>4], hexDigits[c&15])
		case c < utf8.RuneSelf:
			b = append(b, c)
		default:
			r, n := utf8.DecodeRune(text[i:])
			if r == utf8.RuneError && n <= 1 {
				b = append(b, '\\', 'x', hexDigits[c>>4], hexDigits[c&15])
				break
			}
			b = append(b, text[i:i+n]...)
			i += n
			continue
		}
		i++
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

// isLocal reports whether an address is private, so that Zeek's default
// Site::local_nets has it.
func isLocal(a flow.Addr) bool {
	ip := a.Netip()
	if ip.IsPrivate() || ip.IsLoopback() || ip.IsLinkLocalUnicast() {
		return true
	}
	return ip.Is4() && netip.PrefixFrom(netip.AddrFrom4([4]byte{100, 64, 0, 0}), 10).Contains(ip)
}
