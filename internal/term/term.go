// SPDX-License-Identifier: Apache-2.0

// Package term holds what programs need to write to terminals: whether a file
// is one and how wide, texts from the wire made harmless, sizes for people,
// and aligned columns.
package term

import (
	"os"
	"strconv"
	"strings"
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
