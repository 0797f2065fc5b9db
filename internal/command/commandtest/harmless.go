// SPDX-License-Identifier: Apache-2.0

package commandtest

import (
	"fmt"
	"unicode"
	"unicode/utf8"
)

// Harmless returns what a terminal would act on, or somebody would not see, in what a
// program printed: anything but characters that are drawn as themselves, and line
// feeds. It lists what is dangerous by itself, and knows nothing of how texts are
// escaped.
func Harmless(text string) error {
	const most = 8 // marks that one character may bear
	line, marks, bare := 1, 0, true
	for i, r := range text {
		bad := ""
		switch {
		case r == '\n':
			line++
		case r < ' ', r >= 0x7f && r < 0xa0:
			bad = "control character"
		case r == utf8.RuneError:
			if _, n := utf8.DecodeRuneInString(text[i:]); n == 1 {
				bad = "byte that is not UTF-8"
			}
		case r >= 0x200b && r <= 0x200f, r >= 0x2028 && r <= 0x202e, r >= 0x2060 && r <= 0x206f, r == 0x61c, r == 0x180e:
			bad = "mark of direction or zero width"
		case r == 0x34f, r == 0x115f, r == 0x1160, r == 0x17b4, r == 0x17b5, r == 0x2800, r == 0x3164, r == 0xffa0,
			r >= 0x180b && r <= 0x180f, r >= 0xfe00 && r <= 0xfe0f, r >= 0xe0000 && r <= 0xe0fff:
			bad = "invisible filler or selector"
		case unicode.Is(unicode.C, r):
			bad = "control, format or private character"
		case r != ' ' && unicode.Is(unicode.Z, r):
			bad = "odd space"
		}
		if unicode.Is(unicode.M, r) {
			marks++
			if bad == "" && (bare || marks > most) {
				bad = "mark without a character to sit upon"
			}
		} else {
			marks, bare = 0, r == '\n'
		}
		if bad != "" {
			around := text[max(0, i-40):min(len(text), i+40)]
			return fmt.Errorf("line %d: %s %U near %q", line, bad, r, around)
		}
	}
	return nil
}
