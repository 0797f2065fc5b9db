// SPDX-License-Identifier: Apache-2.0

// Package term holds what programs need to write to terminals: whether a file
// is one and how wide, texts from the wire made harmless, sizes for people,
// and aligned columns.
package term

import (
	"os"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/mattn/go-runewidth"
	"golang.org/x/sys/unix"
)

// Width returns the number of columns of the terminal that f is; ok is false
// if it is none. A terminal that does not know its width has 80.
func Width(f *os.File) (width int, ok bool) {
	ws, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ)
	if err != nil {
		return 0, false
	}
	if ws.Col == 0 {
		return 80, true
	}
	return int(ws.Col), true
}

// IsTerminal reports whether f is a terminal.
func IsTerminal(f *os.File) bool {
	_, ok := Width(f)
	return ok
}

// Escape returns s with everything that a terminal could act on, or that would
// be invisible, written as \xNN: control characters (and with them ANSI
// sequences), marks that turn the direction of text, odd spaces, and bytes
// that are not UTF-8.
func Escape(s string) string {
	for i, r := range s {
		if !printable(s[i:], r) {
			return string(appendEscaped([]byte(s[:i]), s[i:]))
		}
	}
	return s
}

// printable reports whether the rune that rest starts with is shown as it is.
func printable(rest string, r rune) bool {
	if r < utf8.RuneSelf {
		return r >= ' ' && r < 0x7f
	}
	if r == utf8.RuneError && !strings.HasPrefix(rest, string(utf8.RuneError)) {
		return false
	}
	return unicode.IsPrint(r)
}

func appendEscaped(b []byte, s string) []byte {
	const digits = "0123456789abcdef"
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		if printable(s[i:], r) {
			b = append(b, s[i:i+n]...)
		} else {
			for _, c := range []byte(s[i : i+n]) {
				b = append(b, '\\', 'x', digits[c>>4], digits[c&15])
			}
		}
		i += n
	}
	return b
}

// EscapeJSON returns JSON text in which what Escape would escape is written as
// \uNNNN. Such characters stand only inside strings, so that the value stays
// the same; white space between values stays, too.
func EscapeJSON(data []byte) []byte {
	clean := true
	for i := 0; i < len(data) && clean; {
		r, n := utf8.DecodeRune(data[i:])
		clean = jsonClean(r)
		i += n
	}
	if clean {
		return data
	}
	const digits = "0123456789abcdef"
	out := make([]byte, 0, len(data)+len(data)/8)
	unit := func(u uint16) {
		out = append(out, '\\', 'u', digits[u>>12], digits[u>>8&15], digits[u>>4&15], digits[u&15])
	}
	for len(data) > 0 {
		r, n := utf8.DecodeRune(data)
		switch {
		case jsonClean(r):
			out = append(out, data[:n]...)
		case r > 0xffff:
			r -= 0x10000
			unit(uint16(0xd800 + r>>10))
			unit(uint16(0xdc00 + r&0x3ff))
		default:
			unit(uint16(r))
		}
		data = data[n:]
	}
	return out
}

func jsonClean(r rune) bool {
	return r < 0x7f || r >= utf8.RuneSelf && unicode.IsPrint(r)
}

// StringWidth returns how many columns s takes; it must be escaped.
func StringWidth(s string) int {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return runewidth.StringWidth(s)
		}
	}
	return len(s)
}

// Bytes returns a number of bytes for people, in decimal units: "1.5 MB".
func Bytes(n int64) string {
	if n < 0 {
		// Avoids the overflow of the smallest number.
		return "-" + bytesText(-float64(n))
	}
	return bytesText(float64(n))
}

func bytesText(f float64) string {
	if f < 1000 {
		return strconv.Itoa(int(f)) + " B"
	}
	units := [...]string{"kB", "MB", "GB", "TB", "PB", "EB"}
	unit := 0
	for f /= 1000; f >= 999.95 && unit < len(units)-1; unit++ {
		f /= 1000
	}
	return strconv.FormatFloat(f, 'f', 1, 64) + " " + units[unit]
}

// Number returns n with its digits in groups of three: "1,234,567".
func Number(n int64) string {
	s := strconv.FormatInt(n, 10)
	sign := ""
	if s[0] == '-' {
		sign, s = "-", s[1:]
	}
	var b strings.Builder
	b.WriteString(sign)
	for i, c := range []byte(s) {
		if i > 0 && (len(s)-i)%3 == 0 {
			b.WriteByte(',')
		}
		b.WriteByte(c)
	}
	return b.String()
}
