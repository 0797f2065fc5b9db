// SPDX-License-Identifier: Apache-2.0

package filter

import (
	"fmt"
	"strings"
)

// operands reads the texts of a clause's values by the type of its field.
func (p *parser) operands(c *clause, list []scanned) error {
	if c.quant == quantLen {
		for _, s := range list {
			n, err := parseInt(s.text)
			if err != nil {
				return errorf(s.offset, "LEN needs an operator and a number: %v", err)
			}
			c.values = append(c.values, operand{typ: Number, val: value{num: n}})
		}
		return nil
	}
	c.field = p.byValue(c, list)
	for _, s := range list {
		o, err := p.operand(c, s)
		if err != nil {
			return err
		}
		c.values = append(c.values, o)
	}
	return nil
}

// byValue returns the field that the values fit: of a number and its name that
// intel keeps both, numbers select the former, anything else the latter.
func (p *parser) byValue(c *clause, list []scanned) *field {
	other := p.names.companion(c.field)
	if other == nil {
		return c.field
	}
	numbers := !(c.op == opMatches || c.op == opMatchesNot)
	for _, s := range list {
		if p.attribute(c, s) != nil {
			return c.field
		}
		numbers = numbers && isNumber(s.text)
	}
	if c.op == opMatches || c.op == opMatchesNot {
		// A pattern of digits is one for the number.
		numbers = c.field.typ.numeric() && !strings.ContainsFunc(list[0].text, isLetter)
	}
	if numbers == c.field.typ.numeric() {
		return c.field
	}
	return other
}

func isLetter(r rune) bool { return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' }

// attribute returns the field that an unquoted value names, if it can be
// compared with the clause's, or nil.
func (p *parser) attribute(c *clause, s scanned) *field {
	if s.quoted || c.op == opMatches || c.op == opMatchesNot {
		return nil
	}
	f := p.names.resolve(s.text, p.block)
	if f == nil || f.from == fromKind || !f.typ.comparable(c.field.typ) {
		return nil
	}
	return f
}

// operand reads one value.
func (p *parser) operand(c *clause, s scanned) (operand, error) {
	f := c.field
	if other := p.attribute(c, s); other != nil {
		return operand{kind: attribute, typ: other.typ, field: other}, nil
	}
	if c.op == opMatches || c.op == opMatchesNot {
		return p.pattern(c, s)
	}
	if f.typ == Address && strings.Contains(s.text, "/") {
		net, err := readNetwork(s.text)
		if err != nil {
			return operand{}, errorf(s.offset, "%v", err)
		}
		if c.op.ordering() {
			return operand{}, errorf(s.offset, "%s compares with an address, not with a network", c.op)
		}
		return operand{kind: network, typ: Address, net: net}, nil
	}
	v, err := readValue(f, s.text, &p.opts)
	if err != nil {
		return operand{}, errorf(s.offset, "%v", err)
	}
	return operand{typ: f.typ, val: v}, nil
}

// pattern reads the value of =~. On addresses that may be a network: no address
// has a slash.
func (p *parser) pattern(c *clause, s scanned) (operand, error) {
	if c.field.typ == Address && strings.Contains(s.text, "/") {
		net, err := readNetwork(s.text)
		if err != nil {
			return operand{}, errorf(s.offset, "%v, and no address has a slash", err)
		}
		return operand{kind: network, typ: Address, net: net}, nil
	}
	re, err := newPattern(s.text, c.field.fold)
	if err != nil {
		return operand{}, errorf(s.offset, "%v", err)
	}
	p.cost += re.cost
	p.letters += re.letters
	if p.cost > maxCost || p.letters > maxLetters {
		return operand{}, errorf(s.offset, "the patterns of the filter are too large together")
	}
	return operand{kind: regex, typ: c.field.typ, re: re}, nil
}

// bare reports whether text, printed without quotes, is read back as the same
// value of clause c.
func (n *names) bare(c *clause, block *kind, text string) bool {
	for i := range len(text) {
		// White space other than spaces is kept, but not shown well.
		if text[i] < ' ' || text[i] >= 0x7f {
			return false
		}
	}
	if text == "" || text[0] == ' ' || text[0] == '"' || text[0] == '\'' {
		return false
	}
	list := c.op == opIn
	suffix := ""
	if list {
		suffix = ")"
	}
	s := scanner{
		text: "= " + text + suffix, names: n, block: block, list: list,
		pattern: c.op == opMatches || c.op == opMatchesNot,
	}
	v, end, err := s.scan(2)
	if err != nil || v.text != text || end != len(s.text)-len(suffix) {
		return false
	}
	other := n.resolve(text, block)
	return other == nil || s.pattern || other.from == fromKind || !other.typ.comparable(c.field.typ)
}

// quote returns text in quotes: single ones where that saves backslashes.
func quote(text string) string {
	if strings.ContainsAny(text, `"\`) && !strings.Contains(text, "'") {
		return "'" + text + "'"
	}
	return fmt.Sprintf(`"%s"`, strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(text))
}
