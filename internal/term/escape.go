// SPDX-License-Identifier: Apache-2.0

package term

import (
	"unicode"
	"unicode/utf8"
)

// maxMarks is how many marks a character may bear: the scripts that stack most need
// five, and a flood of them covers the lines around.
const maxMarks = 6

// shown decides, character by character, what is shown as it is. The zero value
// stands at the start of a text.
type shown struct {
	// bears is whether there is a character for marks to sit upon, marks how many do.
	bears bool
	marks int
}

// next reports whether a terminal shows r as itself, and nothing else: no control
// character (and so no ANSI sequence), no mark that turns the direction of text, no
// odd space, nothing invisible, and no mark that would sit upon what stands before
// the text, or upon too many others.
func (s *shown) next(r rune) bool {
	if r < utf8.RuneSelf {
		s.bears, s.marks = r >= ' ' && r < 0x7f, 0
		return s.bears
	}
	if unicode.Is(unicode.M, r) && !invisible(r) {
		s.marks++
		return s.bears && s.marks <= maxMarks
	}
	s.bears, s.marks = unicode.IsPrint(r) && !invisible(r), 0
	return s.bears
}

// invisible reports whether r is a character of the printable ones that nothing is
// drawn for, as fillers and selectors of variants.
func invisible(r rune) bool {
	return r == '\u2800' || unicode.In(r, unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector)
}

// Escape returns s with everything that a terminal could act on, or that would
// be invisible, written as \xNN: control characters (and with them ANSI
// sequences), marks that turn the direction of text, odd spaces, fillers, floods
// of combining marks, and bytes that are not UTF-8.
func Escape(s string) string {
	var state shown
	for i, r := range s {
		if r == utf8.RuneError && invalid(s[i:]) || !state.next(r) {
			return string(appendEscaped([]byte(s[:i]), s[i:]))
		}
	}
	return s
}

// invalid reports whether s starts with a byte that is not UTF-8.
func invalid(s string) bool {
	r, n := utf8.DecodeRuneInString(s)
	return r == utf8.RuneError && n <= 1
}

// appendEscaped appends s, which starts with something that is not shown.
func appendEscaped(b []byte, s string) []byte {
	var state shown
	for len(s) > 0 {
		r, n := utf8.DecodeRuneInString(s)
		switch {
		case invalid(s):
			state = shown{}
			b = appendBytes(b, s[:n])
		case state.next(r):
			b = append(b, s[:n]...)
		default:
			b = appendBytes(b, s[:n])
		}
		s = s[n:]
	}
	return b
}

// appendBytes appends the bytes of s as \xNN.
func appendBytes(b []byte, s string) []byte {
	const digits = "0123456789abcdef"
	for i := range len(s) {
		b = append(b, '\\', 'x', digits[s[i]>>4], digits[s[i]&15])
	}
	return b
}

// EscapeJSON returns JSON text in which what Escape would escape is written as
// \uNNNN. Such characters stand only inside strings, so that the value stays
// the same; white space between values stays, too.
func EscapeJSON(data []byte) []byte {
	var state shown
	clean := true
	for i := 0; i < len(data) && clean; {
		r, n := utf8.DecodeRune(data[i:])
		clean = state.nextJSON(r)
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
	state = shown{}
	for len(data) > 0 {
		r, n := utf8.DecodeRune(data)
		switch {
		case state.nextJSON(r):
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

// nextJSON is next for a character of JSON, whose quotes bear no marks.
func (s *shown) nextJSON(r rune) bool {
	if r < 0x7f {
		s.bears, s.marks = r >= ' ' && r != '"', 0
		return true
	}
	return s.next(r)
}
