// SPDX-License-Identifier: Apache-2.0

package filter

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// parser reads a filter from left to right. Its methods leave pos after what
// they read.
type parser struct {
	text  string
	pos   int
	opts  Options
	names *names
	// block is the kind whose block is being read, or nil.
	block *kind
	depth int
	// clauses, cost and letters count what the limits are about.
	clauses int
	cost    int
	letters int
}

// errorf returns an error at an offset.
func errorf(offset int, format string, args ...any) *SyntaxError {
	return &SyntaxError{Offset: offset, Msg: fmt.Sprintf(format, args...)}
}

func (p *parser) skip() {
	for p.pos < len(p.text) && isSpace(p.text[p.pos]) {
		p.pos++
	}
}

// peek returns the next byte, 0 at the end.
func (p *parser) peek() byte {
	if p.pos < len(p.text) {
		return p.text[p.pos]
	}
	return 0
}

// enter counts a level of nesting; the caller calls leave.
func (p *parser) enter() error {
	p.depth++
	if p.depth > MaxDepth {
		return errorf(p.pos, "the filter is nested deeper than %d levels", MaxDepth)
	}
	return nil
}

func (p *parser) leave() { p.depth-- }

// count counts a clause or a value.
func (p *parser) count() error {
	p.clauses++
	if p.clauses > MaxClauses {
		return errorf(p.pos, "the filter has more than %d clauses and values", MaxClauses)
	}
	return nil
}

// filter reads the whole text.
func (p *parser) filter() (node, error) {
	x, err := p.or()
	if err != nil {
		return nil, err
	}
	if p.pos < len(p.text) {
		// Only a closing parenthesis ends an or before the text does.
		return nil, errorf(p.pos, "a closing parenthesis without an opening one")
	}
	return x, nil
}

func (p *parser) or() (node, error) {
	return p.junction(false, p.and, "OR", "||")
}

func (p *parser) and() (node, error) {
	return p.junction(true, p.unary, "AND", "&&")
}

// junction reads operands that a keyword joins. An or must be followed by the
// end or a closing parenthesis.
func (p *parser) junction(and bool, operand func() (node, error), keywords ...string) (node, error) {
	var list []node
	for {
		x, err := operand()
		if err != nil {
			return nil, err
		}
		list = appendFlat(list, x, and)
		p.skip()
		word := keywordAt(p.text, p.pos)
		if word != keywords[0] && word != keywords[1] {
			break
		}
		p.pos += len(word)
	}
	if !and && p.pos < len(p.text) && p.peek() != ')' {
		return nil, p.unexpected()
	}
	if len(list) == 1 {
		return list[0], nil
	}
	return &junction{and: and, list: list}, nil
}

// unexpected returns the error for what follows an operand.
func (p *parser) unexpected() error {
	err := &SyntaxError{Offset: p.pos, Expected: []string{"AND", "OR"}}
	word := p.word()
	switch upper := strings.ToUpper(word); upper {
	case "":
		err.Msg = "unexpected " + p.rune()
	case "AND", "OR":
		err.Msg = fmt.Sprintf("unexpected %q: write %s", word, upper)
		err.Expected = nil
	default:
		err.Msg = "unexpected " + shown(word)
	}
	return err
}

// rune returns the character at the present position, in quotes.
func (p *parser) rune() string {
	_, n := utf8.DecodeRuneInString(p.text[p.pos:])
	return strconv.Quote(p.text[p.pos : p.pos+n])
}

// word returns the name or word at the present position.
func (p *parser) word() string {
	end := p.pos
	for end < len(p.text) && isName(p.text[end]) {
		end++
	}
	return p.text[p.pos:end]
}

func (p *parser) unary() (node, error) {
	p.skip()
	switch c := p.peek(); {
	case c == '!':
		p.pos++
		return p.negated(p.unary)
	case keywordFrom(p.text, p.pos) == "NOT":
		p.pos += len("NOT")
		return p.negated(p.unary)
	case c == '-', c == '~':
		p.pos++
		p.skip()
		switch p.peek() {
		case '(':
			return nil, errorf(p.pos-1, "%c negates one clause only: write !( … )", c)
		case '!', '-', '~':
			return nil, &SyntaxError{
				Offset: p.pos, Msg: fmt.Sprintf("%c negates one clause only", c),
				Expected: []string{"an attribute"},
			}
		}
		return p.negated(p.clause)
	case c == '(':
		return p.group(p.pos)
	}
	return p.clause()
}

func (p *parser) negated(operand func() (node, error)) (node, error) {
	if err := p.enter(); err != nil {
		return nil, err
	}
	defer p.leave()
	x, err := operand()
	if err != nil {
		return nil, err
	}
	return not(x), nil
}

// group reads a filter in parentheses; open is where the opening one is.
func (p *parser) group(open int) (node, error) {
	if err := p.enter(); err != nil {
		return nil, err
	}
	defer p.leave()
	p.pos = open + 1
	x, err := p.or()
	if err != nil {
		return nil, err
	}
	if p.peek() != ')' {
		return nil, &SyntaxError{
			Offset: open, Msg: "the parenthesis is not closed", Expected: []string{")"},
		}
	}
	p.pos++
	return x, nil
}

// clause reads a clause, a block or a label.
func (p *parser) clause() (node, error) {
	p.skip()
	if err := p.count(); err != nil {
		return nil, err
	}
	if p.peek() == '#' {
		return p.label()
	}
	c := &clause{}
	if word := keywordFrom(p.text, p.pos); word != "" {
		for q := quantAny; q <= quantLen; q++ {
			if q.String() == word {
				c.quant = q
			}
		}
		if c.quant == quantPlain {
			return nil, p.noOperand()
		}
		p.pos += len(word)
		p.skip()
	}
	start := p.pos
	name := p.word()
	if name == "" || keywordFrom(p.text, p.pos) != "" {
		return nil, p.noOperand()
	}
	f := p.names.resolve(name, p.block)
	if f == nil {
		return nil, p.unknown(name)
	}
	p.pos += len(name)
	if f.opensSlots(name) && p.peek() == '(' {
		return p.openSlots(c, start)
	}
	if f.from == fromKind {
		if p.peek() == '(' {
			return p.openBlock(c, f, start)
		}
		if c.quant != quantPlain {
			return nil, errorf(start, "%s needs an attribute of %s", c.quant, f.name)
		}
	}
	c.field = f
	if err := p.comparison(c, start); err != nil {
		return nil, err
	}
	c.normalize()
	return c, nil
}

// normalize drops a quantifier that says nothing.
func (c *clause) normalize() {
	if c.quant == quantAny && !(c.field.bareAddr() && c.op.negative()) {
		c.quant = quantPlain
	}
}

// noOperand returns the error for a place where a clause should stand.
func (p *parser) noOperand() error {
	err := &SyntaxError{Offset: p.pos, Expected: []string{"an attribute"}}
	word := keywordFrom(p.text, p.pos)
	_, operator := operatorAt(p.text, p.pos)
	switch {
	case word != "":
		err.Msg = "a filter is missing before " + word
	case operator > 0:
		err.Msg = "an attribute is missing"
	case p.pos >= len(p.text) || p.peek() == ')':
		err.Msg = "a filter is missing"
	default:
		err.Msg = "unexpected " + p.rune()
	}
	return err
}

// unknown returns the error for a name that is none.
func (p *parser) unknown(name string) error {
	err := &SyntaxError{Offset: p.pos}
	switch upper := strings.ToUpper(name); {
	case upper != name && (upper == "NOT" || upper == "ANY" || upper == "ALL" || upper == "ONE" ||
		upper == "NONE" || upper == "LEN"):
		err.Msg = fmt.Sprintf("unknown attribute %s: write %s", name, upper)
		return err
	case upper == name && keywordFrom(name, 0) != "":
		err.Msg = fmt.Sprintf("unknown attribute: the keyword %s needs white space around it", name)
		return err
	case p.block != nil && p.names.ofBlock(name, p.block) != "":
		err.Nearest = p.names.ofBlock(name, p.block)
		err.Msg = fmt.Sprintf("in the parentheses of %s write %s", p.block.full(), err.Nearest)
		return err
	case p.block != nil && p.names.resolve(name, nil) != nil:
		err.Msg = fmt.Sprintf("%s is no attribute of %s; it belongs outside the parentheses", name, p.block.full())
		return err
	case p.block == nil && ofConnections(name):
		err.Msg = fmt.Sprintf("unknown attribute of flows: %s belongs to single connections", name)
		return err
	}
	if strings.HasSuffix(name, ".") {
		err.Offset += len(name)
		err.Msg = "the rest of a name is missing after " + shown(name)
		return err
	}
	err.Msg = "unknown attribute"
	if p.block != nil {
		err.Msg += " of " + p.block.full()
	}
	if err.Nearest = nearest(name, p.names.known(p.block)); err.Nearest != "" {
		err.Msg += "; nearest " + err.Nearest
	}
	err.Msg += ": " + shown(name)
	return err
}

// label reads #name.
func (p *parser) label() (node, error) {
	start := p.pos
	p.pos++
	name := p.word()
	if p.block != nil {
		return nil, errorf(start, "a label belongs outside the parentheses of %s", p.block.full())
	}
	canonical, k, ok := p.names.label(name)
	if !ok {
		err := errorf(start, "unknown label: %s", shown("#"+name))
		if err.Nearest = nearest(name, p.names.labels()); err.Nearest != "" {
			err.Nearest = "#" + err.Nearest
			err.Msg = fmt.Sprintf("unknown label; nearest %s: %s", err.Nearest, shown("#"+name))
		}
		return nil, err
	}
	p.pos += len(name)
	return &label{name: canonical, kind: k}, nil
}

// openBlock reads what follows the name of a kind of intel at start.
func (p *parser) openBlock(c *clause, f *field, start int) (node, error) {
	if c.quant != quantPlain {
		return nil, errorf(start, "%s stands before an attribute, not before a block", c.quant)
	}
	p.block = f.metas[0].kind
	x, err := p.group(p.pos)
	p.block = nil
	if err != nil {
		return nil, err
	}
	return &block{kind: f.metas[0].kind, x: x}, nil
}

// opensSlots reports whether a parenthesis after name opens a block about a slot.
func (f *field) opensSlots(name string) bool {
	return f.from == fromFlow && f.flow.attr == attrTimesStart && strings.EqualFold(name, slotsName)
}

// openSlots reads what follows the name of the block about a slot at start.
func (p *parser) openSlots(c *clause, start int) (node, error) {
	if c.quant != quantPlain {
		return nil, errorf(start, "%s stands before an attribute, not before a block", c.quant)
	}
	p.block = slotKind()
	x, err := p.group(p.pos)
	p.block = nil
	if err != nil {
		return nil, err
	}
	return &slotBlock{x: x}, nil
}

// comparison reads what follows the attribute of c, whose name is at start.
func (p *parser) comparison(c *clause, start int) error {
	name := p.text[start:p.pos]
	p.skip()
	at := p.pos
	op, length := operatorAt(p.text, p.pos)
	if length == 0 && keywordAt(p.text, p.pos) == "IN" {
		op, length = opIn, len("IN")
	}
	if length == 0 {
		return p.presence(c, start)
	}
	switch {
	case c.field.from == fromKind:
		return errorf(at, "%s is no value: compare one of its attributes, such as %s.%s",
			c.field.name, c.field.name, p.example(c.field))
	case c.quant == quantLen && (op == opMatches || op == opMatchesNot):
		return errorf(at, "LEN needs an operator and a number: %s takes a pattern", op)
	case c.quant != quantLen && !c.field.takes(op):
		err := errorf(at, "%s takes no %s", name, op)
		err.Expected = operatorNames(c.field.typ)
		return err
	}
	c.op = op
	p.pos += length
	if op == opIn {
		return p.values(c)
	}
	p.skip()
	v, end, err := p.scanner(op, false).scan(p.pos)
	if err != nil {
		return err
	}
	p.pos = end
	return p.operands(c, []scanned{v})
}

// takes reports whether the field's type has an operator.
func (f *field) takes(op operator) bool {
	return slices.Contains(f.typ.operators(), op)
}

// example returns the name of an attribute of the kind that f stands for.
func (p *parser) example(f *field) string {
	name, _ := f.metas[0].kind.spelling(0)
	return name
}

// presence ends a clause without an operator.
func (p *parser) presence(c *clause, start int) error {
	if c.quant == quantLen {
		return errorf(start, "LEN needs an operator and a number")
	}
	if p.pos >= len(p.text) || p.peek() == ')' || keywordAt(p.text, p.pos) != "" {
		return nil
	}
	err := errorf(p.pos, "an operator is missing after %s", p.text[start:p.pos])
	err.Msg = strings.TrimRight(err.Msg, " \t\r\n")
	for _, op := range c.field.typ.operators() {
		err.Expected = append(err.Expected, op.String())
	}
	switch word := p.word(); strings.ToUpper(word) {
	case "IN":
		p.pos += len(word)
		err.Msg, err.Expected = "write "+p.inList(), nil
	case "AND", "OR":
		err.Msg, err.Expected = "write "+strings.ToUpper(word), nil
	case "":
		if c.field.from == fromKind && p.peek() == '(' {
			err.Msg = fmt.Sprintf("a block opens right after the name: write %s(", c.field.name)
			err.Expected = nil
		} else if c := p.peek(); c < ' ' || c >= 0x80 {
			err.Msg += ", before " + p.rune()
		}
	}
	return err
}

// inList returns how the rest of a clause reads with IN.
func (p *parser) inList() string {
	p.skip()
	s := p.scanner(opIn, false)
	end, err := s.end(p.pos)
	if err != nil {
		return "IN ( … )"
	}
	rest := strings.TrimSpace(p.text[p.pos:end])
	if rest == "" || len(rest) > 64 || shown(rest) != `"`+rest+`"` {
		return "IN ( … )"
	}
	if !strings.HasPrefix(rest, "(") {
		rest = "(" + rest + ")"
	}
	return "IN " + rest
}

func (p *parser) scanner(op operator, list bool) *scanner {
	return &scanner{
		text: p.text, names: p.names, block: p.block, list: list,
		pattern: op == opMatches || op == opMatchesNot,
	}
}

// values reads the values of IN.
func (p *parser) values(c *clause) error {
	p.skip()
	if p.peek() != '(' {
		return &SyntaxError{
			Offset: p.pos, Msg: "IN needs its values in parentheses: write " + p.inList(),
		}
	}
	open := p.pos
	var list []scanned
	for {
		p.pos++
		p.skip()
		if err := p.count(); err != nil {
			return err
		}
		v, end, err := p.scanner(opIn, true).scan(p.pos)
		if err != nil {
			return err
		}
		list = append(list, v)
		p.pos = end
		p.skip()
		switch p.peek() {
		case ',':
			continue
		case ')':
			p.pos++
			return p.operands(c, list)
		}
		return &SyntaxError{
			Offset: open, Msg: "the list of values is not closed", Expected: []string{",", ")"},
		}
	}
}
