// SPDX-License-Identifier: Apache-2.0

package chart

import (
	"bufio"
	"fmt"
	"io"
	"strings"

	"weir/internal/term"
)

// Screen is what a picture of text may use.
type Screen struct {
	// Width is the number of columns. No line is wider.
	Width int
	// ASCII draws without any other characters, and escapes those of labels.
	ASCII bool
	// Color emits ANSI sequences. Nothing is told by color alone.
	Color bool
}

// MinWidth is the number of columns that a picture needs.
const MinWidth = 30

// MaxWidth is the number of columns that a picture uses at most: wider ones are hard to read.
const MaxWidth = 200

// Text writes a picture for a terminal.
func Text(w io.Writer, p Picture, s Screen) error {
	if s.Width < MinWidth {
		return fmt.Errorf("%d columns are too narrow for a picture: it needs %d", s.Width, MinWidth)
	}
	s.Width = min(s.Width, MaxWidth)
	h := p.head()
	var lines []string
	for _, line := range s.wrap(h.Title) {
		lines = append(lines, s.paint(bold, line))
	}
	if h.Note != "" {
		lines = append(lines, s.wrap(h.Note)...)
	}
	lines = append(lines, "")
	if p.empty() {
		lines = append(lines, "  "+term.Cut(s.label(h.Empty), s.Width-2, s.tail()))
	} else {
		lines = append(lines, p.text(s)...)
	}
	b := bufio.NewWriter(w)
	for _, line := range lines {
		b.WriteString(strings.TrimRight(line, " "))
		b.WriteByte('\n')
	}
	return b.Flush()
}

// Styles of text.
const (
	bold = "1"
	// blue is one that can be read on white and on black.
	blue = "38;5;68"
	dim  = "2"
)

// paint gives text a style where there is color.
func (s Screen) paint(style, text string) string {
	if !s.Color || strings.TrimSpace(text) == "" {
		return text
	}
	return "\x1b[" + style + "m" + text + "\x1b[0m"
}

// label returns a text that the terminal shows as it is.
func (s Screen) label(text string) string {
	text = legible(text)
	if !s.ASCII {
		return text
	}
	var b strings.Builder
	for i := range len(text) {
		if text[i] < 0x80 {
			b.WriteByte(text[i])
		} else {
			fmt.Fprintf(&b, "\\x%02x", text[i])
		}
	}
	return b.String()
}

func (s Screen) tail() string { return s.pick("…", "...") }

// pick returns what the terminal can show.
func (s Screen) pick(unicode, ascii string) string {
	if s.ASCII {
		return ascii
	}
	return unicode
}

// wrap breaks a text into lines; a word that is too long is cut.
func (s Screen) wrap(text string) []string { return s.fill(strings.Fields(s.label(text)), " ") }

// fill puts words, which are escaped, into lines.
func (s Screen) fill(words []string, space string) (lines []string) {
	line := ""
	for _, word := range words {
		word = term.Cut(word, s.Width, s.tail())
		switch {
		case line == "":
			line = word
		case term.StringWidth(line+space+word) <= s.Width:
			line += space + word
		default:
			lines = append(lines, line)
			line = word
		}
	}
	return append(lines, line)
}

// pad fills text up with spaces, on its right or its left.
func pad(text string, width int, right bool) string {
	fill := strings.Repeat(" ", max(width-term.StringWidth(text), 0))
	if right {
		return fill + text
	}
	return text + fill
}

// axisLine puts labels below an axis, each with its first character at its column; those that find no room are left out.
func axisLine(ticks []tick, columns int) (marks []int, line string) {
	end := -2
	b := make([]byte, 0, columns)
	for _, t := range ticks {
		at := int(t.at)
		if at <= end+1 || at+len(t.label) > columns {
			continue
		}
		for len(b) < at {
			b = append(b, ' ')
		}
		b = append(b, t.label...)
		end = at + len(t.label) - 1
		marks = append(marks, at)
	}
	return marks, string(b)
}
