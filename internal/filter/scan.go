// SPDX-License-Identifier: Apache-2.0

package filter

import (
	"fmt"
	"strings"
)

// isSpace reports whether c is white space between words.
func isSpace(c byte) bool { return c == ' ' || c == '\t' || c == '\n' || c == '\r' }

// isName reports whether c can be part of an attribute's name.
func isName(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' || c == '.'
}

// isEdge reports whether a keyword may end before position i of text, or begin
// after it: white space, a parenthesis or the text's end.
func isEdge(text string, i int) bool {
	return i < 0 || i >= len(text) || isSpace(text[i]) || text[i] == '(' || text[i] == ')'
}

// keywordAt returns the keyword at position i of text, or "". Keywords are whole
// words; && and || are keywords, too.
func keywordAt(text string, i int) string {
	if !isEdge(text, i-1) {
		return ""
	}
	return keywordFrom(text, i)
}

// keywordFrom is keywordAt where anything may stand before, such as a !.
func keywordFrom(text string, i int) string {
	rest := text[i:]
	for _, word := range [...]string{
		"AND", "OR", "NOT", "IN", "ANY", "ALL", "ONE", "NONE", "LEN", "&&", "||",
	} {
		if strings.HasPrefix(rest, word) && isEdge(text, i+len(word)) {
			return word
		}
	}
	return ""
}

// endsValue reports whether a keyword at position i of text ends an unquoted
// value. For && and || a parenthesis beside them is not enough, since patterns
// have them there.
func endsValue(text string, i int) bool {
	word := keywordAt(text, i)
	if word == "&&" || word == "||" {
		before, after := i-1, i+len(word)
		return (before < 0 || isSpace(text[before])) && (after >= len(text) || isSpace(text[after]))
	}
	return word != ""
}

// operatorAt returns the longest operator at position i of text and its length,
// 0 if there is none. IN is not among them.
func operatorAt(text string, i int) (operator, int) {
	rest := text[i:]
	for _, o := range [...]struct {
		text string
		op   operator
	}{
		{"==", opEqual},
		{"=~", opMatches},
		{"!=", opDiffers},
		{"!~", opMatchesNot},
		{"<=", opAtMost},
		{">=", opAtLeast},
		{"=", opEqual},
		{":", opEqual},
		{"<", opLess},
		{">", opMore},
	} {
		if strings.HasPrefix(rest, o.text) {
			return o.op, len(o.text)
		}
	}
	return opNone, 0
}

// scanned is the text of a value.
type scanned struct {
	text   string
	offset int
	quoted bool
}

// scanner finds where values end.
type scanner struct {
	text  string
	names *names
	block *kind
	// pattern: brackets inside […] or after a backslash do not count.
	pattern bool
	// list: a comma ends the value.
	list bool
}

// scan reads the value at position i, which is not white space, and returns the
// position after it.
func (s *scanner) scan(i int) (scanned, int, error) {
	if i < len(s.text) && (s.text[i] == '"' || s.text[i] == '\'') {
		return s.quoted(i)
	}
	end, err := s.end(i)
	if err != nil {
		return scanned{}, 0, err
	}
	text := strings.TrimRight(s.text[i:end], " \t\r\n")
	if text == "" {
		return scanned{}, 0, s.missing(i)
	}
	if err := s.check(i, text); err != nil {
		return scanned{}, 0, err
	}
	return scanned{text: text, offset: i}, end, nil
}

// missing returns the error for a value that is not there.
func (s *scanner) missing(i int) error {
	msg := "a value is missing"
	if word := keywordAt(s.text, i); word != "" {
		msg += fmt.Sprintf(" before %s; quote %s if it is the value", word, word)
	}
	return &SyntaxError{Offset: i, Msg: msg}
}

// quoted reads a value in quotes.
func (s *scanner) quoted(start int) (scanned, int, error) {
	quote := s.text[start]
	var b strings.Builder
	i := start + 1
	for ; i < len(s.text) && s.text[i] != quote; i++ {
		c := s.text[i]
		if quote == '"' && c == '\\' && i+1 < len(s.text) &&
			(s.text[i+1] == '"' || s.text[i+1] == '\\') {
			i++
			c = s.text[i]
		}
		b.WriteByte(c)
	}
	if i >= len(s.text) {
		return scanned{}, 0, &SyntaxError{Offset: start, Msg: fmt.Sprintf("the quote %c is not closed", quote)}
	}
	i++
	if !isEdge(s.text, i) && !(s.list && s.text[i] == ',') {
		return scanned{}, 0, &SyntaxError{
			Offset: i, Msg: "text after a closing quote",
			Expected: []string{"white space", "a parenthesis", "the end"},
		}
	}
	return scanned{text: b.String(), offset: start, quoted: true}, i, nil
}

// end returns the position after an unquoted value that starts at i: that of
// the next keyword, of an unbalanced closing parenthesis, or the text's end.
// What stands in balanced parentheses belongs to the value.
func (s *scanner) end(i int) (int, error) {
	var open []int
	for i < len(s.text) {
		c := s.text[i]
		switch {
		case s.pattern && c == '\\' && i+1 < len(s.text):
			i += 2
			continue
		case s.pattern && c == '[':
			i = classEnd(s.text, i)
			continue
		case c == '(':
			open = append(open, i)
		case c == ')' && len(open) == 0:
			return i, nil
		case c == ')':
			open = open[:len(open)-1]
		case c == ',' && s.list && len(open) == 0:
			return i, nil
		case len(open) == 0 && endsValue(s.text, i):
			return i, nil
		}
		i++
	}
	if len(open) > 0 {
		return 0, &SyntaxError{
			Offset:   open[len(open)-1],
			Msg:      "the parenthesis in the value is not closed; quote the value if it belongs to it",
			Expected: []string{")"},
		}
	}
	return i, nil
}

// classEnd returns the position after the character class of a pattern that
// starts at i; the text's end if it is not closed.
func classEnd(text string, i int) int {
	i++
	if i < len(text) && text[i] == '^' {
		i++
	}
	if i < len(text) && text[i] == ']' {
		i++
	}
	for i < len(text) {
		switch {
		case text[i] == ']':
			return i + 1
		case text[i] == '\\':
			i += 2
		case strings.HasPrefix(text[i:], "[:"):
			if end := strings.Index(text[i:], ":]"); end >= 0 {
				i += end + 2
			} else {
				i++
			}
		default:
			i++
		}
	}
	return len(text)
}

// check refuses unquoted values that look like a forgotten or misspelled
// keyword: a value that starts at offset and holds a clause, or a lower-case
// and, or, in.
func (s *scanner) check(offset int, text string) error {
	after := offset + len(text)
	for after < len(s.text) && isSpace(s.text[after]) {
		after++
	}
	in := keywordAt(s.text, after) == "IN"
	for i := 1; i < len(text); i++ {
		// What stands in parentheses is a word of its own only if they do.
		if !isSpace(text[i-1]) && !(text[i-1] == '(' && i > 1 && isSpace(text[i-2])) {
			continue
		}
		for _, word := range [...]string{"and", "or", "in"} {
			if strings.HasPrefix(text[i:], word) && isEdge(text, i+len(word)) {
				upper := strings.ToUpper(word)
				return &SyntaxError{
					Offset: offset + i,
					Msg:    fmt.Sprintf("write %s, or quote the value if %q belongs to it", upper, word),
				}
			}
		}
		if name := s.clauseAt(text[i:], in); name != "" {
			return &SyntaxError{
				Offset: offset + i,
				Msg:    fmt.Sprintf("write AND before %s, or quote the value if it belongs to it", name),
			}
		}
	}
	return nil
}

// clauseAt returns the attribute at the beginning of text if an operator
// follows, or the block that opens there, or "". in says that IN follows text.
func (s *scanner) clauseAt(text string, in bool) string {
	text = strings.TrimLeft(text, "!-~")
	n := 0
	for n < len(text) && isName(text[n]) {
		n++
	}
	if n == 0 {
		return ""
	}
	name, rest := text[:n], text[n:]
	f := s.names.resolve(name, s.block)
	if f == nil {
		return ""
	}
	if (f.from == fromKind || f.opensSlots(name)) && strings.HasPrefix(rest, "(") {
		return name + "("
	}
	rest = strings.TrimLeft(rest, " \t\r\n")
	if _, length := operatorAt(rest, 0); length == 0 && !(in && rest == "") && keywordFrom(rest, 0) != "IN" {
		return ""
	}
	return name
}
