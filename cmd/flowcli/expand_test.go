// SPDX-License-Identifier: Apache-2.0

package main

import (
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestExpandArgs(t *testing.T) {
	tests := []struct {
		name     string
		in, want []string
	}{
		{"nothing", nil, nil},
		{"single values", []string{"-f", "dport = 80", "-j"}, []string{"--flow-filters=dport = 80", "-j"}},
		{"several values", []string{"--top", "src.addr", "dport", "-j"}, []string{"--top=src.addr", "--top=dport", "-j"}},
		{"attached", []string{"--top=a", "b", "-fx", "y"}, []string{"--top=a", "--top=b", "--flow-filters=x", "--flow-filters=y"}},
		{"short with equals", []string{"-f=x"}, []string{"--flow-filters=x"}},
		{"first value may start with a dash", []string{"-f", "-dport = 80", "-j"}, []string{"--flow-filters=-dport = 80", "-j"}},
		{"cluster", []string{"-jt", "a", "b", "-cL"}, []string{"-j", "--top=a", "--top=b", "-cL"}},
		{"value of another flag", []string{"--top", "a", "-l", "5", "b"}, []string{"--top=a", "-l", "5", "b"}},
		{"negative value of another flag", []string{"-o", "-src", "-l", "-1"}, []string{"--orderby=-src", "-l", "-1"}},
		{"value like a flag", []string{"-s", "--top", "x"}, []string{"-s", "--top", "x"}},
		{"persistent flag in front", []string{"--store", "x", "sql", "SELECT 1"}, []string{"--store", "x", "sql", "SELECT 1"}},
		{"flag without value", []string{"-f"}, []string{"--flow-filters"}},
		{"end of flags", []string{"-t", "a", "--", "b", "-f", "c"}, []string{"--top=a", "--", "b", "-f", "c"}},
		{"unknown flags stay", []string{"--nope", "-Z", "x"}, []string{"--nope", "-Z", "x"}},
		{"a lone dash is a value", []string{"-t", "a", "-"}, []string{"--top=a", "--top=-"}},
		{"optional value", []string{"--precision", "3600", "x"}, []string{"--precision=3600", "x"}},
		{"optional value that is missing", []string{"--fields", "-l", "5"}, []string{"--fields", "-l", "5"}},
		{"optional value at the end", []string{"-j", "--fields"}, []string{"-j", "--fields"}},
		{"optional values", []string{"--fields", "src.addr", "dport", "-l", "5"}, []string{"--fields=src.addr", "--fields=dport", "-l", "5"}},
		{"optional value attached", []string{"--fields=src.addr", "dport", "--precision=1h", "x"}, []string{"--fields=src.addr", "--fields=dport", "--precision=1h", "x"}},
		{"shortcuts", []string{"--host", "10.0.0.1", "::1", "--tcp", "--port", "80", "443", "-o", "src", "dst"}, []string{"--host=10.0.0.1", "--host=::1", "--tcp", "--port=80", "--port=443", "--orderby=src", "--orderby=dst"}},
		{"empty value", []string{"-f", "", "x"}, []string{"--flow-filters=", "--flow-filters=x"}},
	}
	cmd := newCommand(strings.NewReader(""), io.Discard, io.Discard)
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			got := expandArgs(cmd.Flags(), cmd.PersistentFlags(), tc.in)
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("expandArgs(%q) (-want +got):\n%s", tc.in, diff)
			}
		})
	}
}

func TestCaret(t *testing.T) {
	tests := []struct {
		text   string
		offset int
		want   string
	}{
		{"dport = x", 8, "  dport = x\n          ^\n"},
		{"x", 1, "  x\n   ^\n"},
		{"", 0, "  \n  ^\n"},
		{"x", 99, "  x\n   ^\n"},
		{"SELECT 1\nFROM WHERE\nx", 14, "  FROM WHERE\n       ^\n"},
		{"日本 x", 7, "  日本 x\n       ^\n"},
		{"\x1b[1m x", 5, "  \\x1b[1m x\n          ^\n"},
		{
			strings.Repeat("a", 100) + "b" + strings.Repeat("c", 100), 100,
			"  …" + strings.Repeat("a", 60) + "b" + strings.Repeat("c", 39) + "…\n" + strings.Repeat(" ", 63) + "^\n",
		},
	}
	for _, tc := range tests {
		if got := caret(tc.text, tc.offset); got != tc.want {
			t.Errorf("caret(%q, %d) =\n%s, want\n%s", tc.text, tc.offset, got, tc.want)
		}
	}
}
