// SPDX-License-Identifier: Apache-2.0

package zeeklog

import "testing"

func TestAppendTSV(t *testing.T) {
	tests := []struct {
		name, text, want string
		inList           bool
	}{
		{name: "plain", text: "/a b,c", want: "/a b,c"},
		{name: "list", text: "a,b", inList: true, want: `a\x2cb`},
		{name: "control", text: "a\tb\x00\x7f", want: `a\x09b\x00\x7f`},
		{name: "backslash", text: `a\b`, want: `a\\b`},
		{name: "utf-8", text: "gr\u00fc\u4f9e", want: "gr\u00fc\u4f9e"},
		{name: "one byte is not utf-8", text: "\u4f9eM\xb8v", want: `\xe4\xbe\x9eM\xb8v`},
		{name: "surrogate", text: "\xed\xa0\x80", want: `\xed\xa0\x80`},
		{name: "empty", text: "", want: "(empty)"},
		{name: "as if unset", text: "-", want: `\x2d`},
		{name: "as if empty", text: "(empty)", want: `\x28empty)`},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			if got := string(appendTSV(nil, []byte(tc.text), tc.inList)); got != tc.want {
				t.Errorf("appendTSV(%q) = %q, want %q", tc.text, got, tc.want)
			}
		})
	}
}
