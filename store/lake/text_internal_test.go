// SPDX-License-Identifier: Apache-2.0

package lake

import (
	"bytes"
	"strconv"
	"testing"
	"unicode/utf8"
)

func TestAppendText(t *testing.T) {
	for _, tc := range []struct{ in, want string }{
		{"", ""},
		{"example.com", "example.com"},
		{`DOMAIN\user`, `DOMAIN\user`},
		{`back\\slash`, `back\\slash`},
		{"é漢字", "é漢字"},
		{"\ufffd", "\ufffd"},
		{"a\xff", `a\xff`},
		{"a\x00b", `a\x00b`},
		{`a\xff`, `a\x5cxff`},
		{`a\xFF`, `a\xFF`},
		{`\xf`, `\xf`},
		{"\\\xff", `\\xff`},
		{"\xe6\xbc", `\xe6\xbc`},
		{"\t\x1b[31m", "\t\x1b[31m"},
	} {
		if got := string(appendText(nil, []byte(tc.in))); got != tc.want {
			t.Errorf("appendText(%q) = %q, want %q", tc.in, got, tc.want)
		}
	}
}

// unescape is the inverse that docs/lake.md gives.
func unescape(text []byte) []byte {
	var out []byte
	for len(text) > 0 {
		if text[0] == '\\' && looksEscaped(text) {
			n, _ := strconv.ParseUint(string(text[2:4]), 16, 8)
			out = append(out, byte(n))
			text = text[4:]
			continue
		}
		out = append(out, text[0])
		text = text[1:]
	}
	return out
}

func FuzzText(f *testing.F) {
	for _, seed := range []string{"", `\`, `\x`, `\x5c`, "\\\xff", `\\x41`, "a\xff\x00é", "\\x\xff", `\x4\x41`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		got := appendText(nil, text)
		if !utf8.Valid(got) || bytes.IndexByte(got, 0) >= 0 {
			t.Errorf("appendText(%q) = %q, not text", text, got)
		}
		if back := unescape(got); !bytes.Equal(back, text) {
			t.Errorf("appendText(%q) = %q, which stands for %q", text, got, back)
		}
		if plainText(text) && !bytes.Equal(got, text) {
			t.Errorf("plainText(%q), but appendText = %q", text, got)
		}
	})
}
