// SPDX-License-Identifier: Apache-2.0

package term

import "github.com/mattn/go-runewidth"

// Cut returns s, which must be escaped, in at most width columns. Where it takes more, its end is replaced by
// tail, "…" or what a terminal has instead.
func Cut(s string, width int, tail string) string {
	if StringWidth(s) <= width {
		return s
	}
	if StringWidth(tail) > width {
		tail = ""
	}
	return runewidth.Truncate(s, width, tail)
}
