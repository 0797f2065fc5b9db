// SPDX-License-Identifier: Apache-2.0

package term_test

import (
	"testing"

	"weir/internal/term"
)

func TestCut(t *testing.T) {
	for _, tc := range []struct {
		in    string
		width int
		tail  string
		want  string
	}{
		{"example", 7, "…", "example"},
		{"example", 6, "…", "examp…"},
		{"example", 6, "...", "exa..."},
		{"日本日本", 8, "…", "日本日本"},
		{"日本日本", 6, "…", "日本…"},
		{"example", 2, "...", "ex"},
		{"example", 0, "…", ""},
	} {
		if got := term.Cut(tc.in, tc.width, tc.tail); got != tc.want {
			t.Errorf("Cut(%q, %d, %q) = %q, want %q", tc.in, tc.width, tc.tail, got, tc.want)
		}
	}
}
