// SPDX-License-Identifier: Apache-2.0

package term_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"weir/internal/command/commandtest"
	"weir/internal/term"
)

func TestEscape(t *testing.T) {
	tests := []struct{ in, want string }{
		{"", ""},
		{"www.example.com", "www.example.com"},
		{"grüße 日本 🙂", "grüße 日本 🙂"},
		{"a\tb\r\nc", `a\x09b\x0d\x0ac`},
		{"\x1b[31mred\x1b[0m", `\x1b[31mred\x1b[0m`},
		{"\x1b]0;title\x07", `\x1b]0;title\x07`},
		{"del\x7f", `del\x7f`},
		{"csi\u009b31m", `csi\xc2\x9b31m`},
		{"rtl\u202egnp.exe", `rtl\xe2\x80\xaegnp.exe`},
		{"mark\u200f\u2066", `mark\xe2\x80\x8f\xe2\x81\xa6`},
		{"zero\u200bwidth\ufeff", `zero\xe2\x80\x8bwidth\xef\xbb\xbf`},
		{"line\u2028sep", `line\xe2\x80\xa8sep`},
		{"bad\xff\xfeutf8\xc3", `bad\xff\xfeutf8\xc3`},
		{"replacement\ufffd", "replacement\ufffd"},
		{"nbsp\u00a0", `nbsp\xc2\xa0`},
		{`back\slash`, `back\slash`},
		{"filler\u3164\u2800", `filler\xe3\x85\xa4\xe2\xa0\x80`},
		{"\u0301alone", `\xcc\x81alone`},
		{"\t\u0301", `\x09\xcc\x81`},
		{"e\u0301 नि ᄒ", "e\u0301 नि ᄒ"},
		{"z" + strings.Repeat("\u0301", 8) + "e\u0301", "z" + strings.Repeat("\u0301", 6) + `\xcc\x81\xcc\x81` + "e\u0301"},
		{"heart\u2764\ufe0f", "heart\u2764" + `\xef\xb8\x8f`},
	}
	for _, tc := range tests {
		if got := term.Escape(tc.in); got != tc.want {
			t.Errorf("Escape(%q) = %q, want %q", tc.in, got, tc.want)
		}
	}
}

// harmless reports whether a terminal shows every character of s as it is, in one line.
func harmless(s string) bool {
	return commandtest.Harmless(s) == nil && !strings.Contains(s, "\n")
}

// TestTableSeparator checks that no cell passes for more columns.
func TestTableSeparator(t *testing.T) {
	tests := []struct{ sep, want string }{
		{" | ", "a \\x7c b; c, d | 1\n"},
		{"|", "a \\x7c b; c, d|1\n"},
		{", ", "a | b; c, d, 1\n"},
		{"\t", "a | b; c, d\t1\n"},
		{"#|#", "a | b; c, d#|#1\n"},
	}
	for _, tc := range tests {
		var b bytes.Buffer
		tab := term.NewPlain(&b, tc.sep, 2)
		if err := errors.Join(tab.Row("a | b; c, d", "1"), tab.Flush()); err != nil {
			t.Fatal(err)
		}
		if b.String() != tc.want {
			t.Errorf("row separated by %q = %q, want %q", tc.sep, b.String(), tc.want)
		}
	}
}

func FuzzEscape(f *testing.F) {
	for _, s := range []string{"a", "\x1b[31m", "\u202e", "\xff", "é\x00", "e\u0301\u0301", "\u0301\"", "\u3164"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got := term.Escape(s)
		if !harmless(got) {
			t.Errorf("Escape(%q) = %q, which is not harmless", s, got)
		}
		if got != s && !strings.Contains(got, `\x`) {
			t.Errorf("Escape(%q) = %q", s, got)
		}
		if again := term.Escape(got); again != got {
			t.Errorf("Escape(Escape(%q)) = %q, want %q", s, again, got)
		}
		data, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		escaped := term.EscapeJSON(data)
		if !harmless(string(escaped)) {
			t.Errorf("EscapeJSON(%q) = %q, which is not harmless", data, escaped)
		}
		var want, back string
		if err := json.Unmarshal(data, &want); err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(escaped, &back); err != nil || back != want {
			t.Errorf("EscapeJSON(%q) = %q, which reads as %q, %v", data, escaped, back, err)
		}
	})
}

func TestEscapeJSON(t *testing.T) {
	tests := []struct{ in, want string }{
		{`{"a":"b"}`, `{"a":"b"}`},
		{"{\"a\":\"\x7f\u009b\u202e\"}", `{"a":"\u007f\u009b\u202e"}`},
		{"\"\U000e0001é\"", `"\udb40\udc01é"`},
		{"[\"\u0301\",\n \"e\u0301\"]", "[\"" + `\u0301` + "\",\n \"e\u0301\"]"},
	}
	for _, tc := range tests {
		if got := string(term.EscapeJSON([]byte(tc.in))); got != tc.want {
			t.Errorf("EscapeJSON(%q) = %q, want %q", tc.in, got, tc.want)
		}
	}
}

func TestBytes(t *testing.T) {
	tests := []struct {
		in   int64
		want string
	}{
		{0, "0 B"},
		{999, "999 B"},
		{1000, "1.0 kB"},
		{1550, "1.6 kB"},
		{999_949, "999.9 kB"},
		{999_950, "1.0 MB"},
		{24_400_000, "24.4 MB"},
		{5e9, "5.0 GB"},
		{-1500, "-1.5 kB"},
		{math.MaxInt64, "9.2 EB"},
		{math.MinInt64, "-9.2 EB"},
	}
	for _, tc := range tests {
		if got := term.Bytes(tc.in); got != tc.want {
			t.Errorf("Bytes(%d) = %q, want %q", tc.in, got, tc.want)
		}
	}
}

func TestNumber(t *testing.T) {
	tests := map[int64]string{
		0: "0", 999: "999", 1000: "1,000", -1234567: "-1,234,567", 123456: "123,456",
		math.MinInt64: "-9,223,372,036,854,775,808",
	}
	for in, want := range tests {
		if got := term.Number(in); got != want {
			t.Errorf("Number(%d) = %q, want %q", in, got, want)
		}
	}
}

func TestStringWidth(t *testing.T) {
	tests := map[string]int{"": 0, "abc": 3, "日本": 4, "é": 1, "e\u0301": 1}
	for in, want := range tests {
		if got := term.StringWidth(in); got != want {
			t.Errorf("StringWidth(%q) = %d, want %d", in, got, want)
		}
	}
}

func TestIsTerminal(t *testing.T) {
	f, err := os.Create(filepath.Join(t.TempDir(), "x"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if term.IsTerminal(f) {
		t.Error("IsTerminal(file) = true, want false")
	}
	if w, ok := term.Width(f); ok {
		t.Errorf("Width(file) = %d, true, want false", w)
	}
	ptmx, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Skipf("no pseudo terminals: %v", err)
	}
	defer ptmx.Close()
	if w, ok := term.Width(ptmx); !ok || w != 80 {
		t.Errorf("Width(new pseudo terminal) = %d, %v, want 80, true", w, ok)
	}
}

func TestTable(t *testing.T) {
	var b bytes.Buffer
	tab := term.NewTable(&b, " | ", true, term.Column{Name: "name"}, term.Column{Name: "n", Right: true}, term.Column{Name: "last"})
	for _, row := range [][]string{{"a", "1", "x"}, {"日本", "1000", "\x1b[1m"}, {"short"}, {"too", "2", "many", "cells"}} {
		if err := tab.Row(row...); err != nil {
			t.Fatal(err)
		}
	}
	if err := tab.Flush(); err != nil {
		t.Fatal(err)
	}
	want := `name  |    n | last
a     |    1 | x
日本  | 1000 | \x1b[1m
short |      | 
too   |    2 | many
`
	if diff := cmp.Diff(want, b.String()); diff != "" {
		t.Errorf("table (-want +got):\n%s", diff)
	}
	if got := tab.Rows(); got != 4 {
		t.Errorf("Rows() = %d, want 4", got)
	}
}

func TestTableEmpty(t *testing.T) {
	var b bytes.Buffer
	if err := term.NewTable(&b, " ", true, term.Column{Name: "a"}, term.Column{Name: "b"}).Flush(); err != nil {
		t.Fatal(err)
	}
	if got := b.String(); got != "a b\n" {
		t.Errorf("table without rows = %q, want its header", got)
	}
}

func TestTablePlain(t *testing.T) {
	var b bytes.Buffer
	tab := term.NewPlain(&b, ";", 2)
	for _, row := range [][]string{{"a", "b"}, {"longer", "\n"}} {
		if err := tab.Row(row...); err != nil {
			t.Fatal(err)
		}
	}
	if err := tab.Flush(); err != nil {
		t.Fatal(err)
	}
	if got, want := b.String(), "a;b\nlonger;\\x0a\n"; got != want {
		t.Errorf("plain table = %q, want %q", got, want)
	}
}

// TestTableLong makes sure that every row of a long table is there once, and
// that columns only widen.
func TestTableLong(t *testing.T) {
	for _, n := range []int{999, 1000, 1001, 5000} {
		var b bytes.Buffer
		tab := term.NewTable(&b, "|", false, term.Column{Right: true}, term.Column{})
		for i := range n {
			cell := "x"
			if i == 3000 {
				cell = "wide"
			}
			if err := tab.Row(cell, strconv.Itoa(i)); err != nil {
				t.Fatal(err)
			}
		}
		if err := tab.Flush(); err != nil {
			t.Fatal(err)
		}
		lines := strings.Split(strings.TrimSuffix(b.String(), "\n"), "\n")
		if len(lines) != n {
			t.Fatalf("%d lines, want %d", len(lines), n)
		}
		for i, line := range lines {
			want := fmt.Sprintf("x|%d", i)
			switch {
			case i == 3000:
				want = "wide|3000"
			case i > 3000:
				want = fmt.Sprintf("   x|%d", i)
			}
			if line != want {
				t.Fatalf("line %d = %q, want %q", i, line, want)
			}
		}
	}
}

type failing struct{}

func (failing) Write([]byte) (int, error) { return 0, os.ErrClosed }

func TestTableError(t *testing.T) {
	tab := term.NewTable(failing{}, " ", false, term.Column{})
	if err := tab.Row("x"); err != nil {
		t.Fatal(err)
	}
	if err := tab.Flush(); err == nil {
		t.Error("Flush() to a failing writer = nil, want an error")
	}
}
