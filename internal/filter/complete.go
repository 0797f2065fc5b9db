// SPDX-License-Identifier: Apache-2.0

package filter

import (
	"slices"
	"strings"
)

// SuggestionKind says what a suggestion is.
type SuggestionKind string

// Kinds of suggestions.
const (
	SuggestAttribute SuggestionKind = "attribute"
	SuggestOperator  SuggestionKind = "operator"
	SuggestValue     SuggestionKind = "value"
	SuggestKeyword   SuggestionKind = "keyword"
	SuggestLabel     SuggestionKind = "label"
)

// Suggestion is something that may stand at the end of a filter that is being written.
type Suggestion struct {
	Insert string         `json:"insert"`
	Kind   SuggestionKind `json:"kind"`
	Help   string         `json:"help,omitempty"`
}

// Completion is what may stand at the end of a filter.
type Completion struct {
	// Offset is where in the text, in bytes, suggestions begin: each replaces the text from there on.
	Offset int `json:"offset"`
	// Suggestions are in the order of the language: operators as the attribute has them, attributes
	// as Attributes has them.
	Suggestions []Suggestion `json:"suggestions"`
	// Attribute is the canonical name of the attribute of which a value may stand there, "" where
	// none may. Values that only a store knows are not among the suggestions.
	Attribute string `json:"attribute,omitempty"`
	// Prefix is what there is of the value. Quoted says that it began with a quote.
	Prefix string `json:"prefix,omitempty"`
	Quoted bool   `json:"quoted,omitempty"`
}

// Complete returns what may stand at the end of a text that is the beginning of a filter. Where the text is
// wrong, nothing may.
func Complete(text string) Completion {
	if len(text) > MaxLength {
		return Completion{Offset: len(text)}
	}
	c := completer{text: text, names: newNames()}
	for state := c.operand; state != nil; {
		state = state()
	}
	return c.out
}

// ValueText returns a value as it is written in a filter: in quotes where it needs them.
func ValueText(attribute, value string) string {
	n := newNames()
	f := n.resolve(attribute, nil)
	if f == nil || !n.bare(&clause{field: f, op: opIn}, nil, value) {
		return quote(value)
	}
	return value
}

// completer walks over the beginning of a filter. Its methods are states, which return the next one,
// nil at the end.
type completer struct {
	text  string
	pos   int
	names *names
	// block is the kind whose block is open at level depth of parentheses; other blocks there cannot be.
	block      *kind
	blockDepth int
	depth      int
	// field is the attribute of the clause; length says that it stands behind LEN.
	field  *field
	length bool
	out    Completion
}

type completerState func() completerState

func (c *completer) skip() {
	for c.pos < len(c.text) && isSpace(c.text[c.pos]) {
		c.pos++
	}
}

func (c *completer) atEnd() bool { return c.pos >= len(c.text) }

// word returns the name at the position.
func (c *completer) word() string {
	end := c.pos
	for end < len(c.text) && isName(c.text[end]) {
		end++
	}
	return c.text[c.pos:end]
}

// suggest adds what begins with the text from the offset on, case aside.
func (c *completer) suggest(kind SuggestionKind, insert, help string) {
	typed := c.text[c.out.Offset:]
	if len(insert) >= len(typed) && strings.EqualFold(insert[:len(typed)], typed) {
		c.out.Suggestions = append(c.out.Suggestions, Suggestion{insert, kind, help})
	}
}

// operand is where an attribute stands, or what opens and negates.
func (c *completer) operand() completerState {
	c.skip()
	c.field, c.length = nil, false
	if c.atEnd() {
		return c.suggestOperands(c.pos, true)
	}
	switch c.text[c.pos] {
	case '!', '-', '~':
		c.pos++
		return c.operand
	case '(':
		c.pos++
		c.depth++
		return c.operand
	case '#':
		return c.label
	}
	return c.attribute
}

// attribute reads an attribute with its quantifier.
func (c *completer) attribute() completerState {
	c.skip()
	start, word := c.pos, c.word()
	if start+len(word) == len(c.text) {
		return c.suggestOperands(start, !c.length)
	}
	switch keyword := keywordFrom(c.text, c.pos); keyword {
	case "NOT":
		c.pos += len(keyword)
		return c.operand
	case "ANY", "ALL", "ONE", "NONE", "LEN":
		c.pos += len(keyword)
		c.length = keyword == "LEN"
		return c.attribute
	}
	if c.block == nil && strings.EqualFold(word, slotsName) && c.text[c.pos+len(word)] == '(' {
		c.pos += len(word)
		return c.open(slotKind())
	}
	c.field = c.names.resolve(word, c.block)
	if c.field == nil {
		return nil
	}
	c.pos += len(word)
	if c.field.from == fromKind && c.text[c.pos] == '(' {
		return c.open(c.field.metas[0].kind)
	}
	return c.operator
}

// open reads the parenthesis that opens a block.
func (c *completer) open(k *kind) completerState {
	c.block, c.blockDepth = k, c.depth
	c.pos++
	c.depth++
	return c.operand
}

// suggestOperands suggests what a clause may begin with.
func (c *completer) suggestOperands(offset int, first bool) completerState {
	c.out.Offset = offset
	typed := strings.ToLower(c.text[offset:])
	switch {
	case c.block != nil && c.block.ofSlots():
		for i, help := range []string{"when the slot begins", "when the slot ends", "how wide the slot is"} {
			c.suggest(SuggestAttribute, slotNames()[i], help)
		}
	case c.block != nil:
		c.suggestOfKind("", c.block)
	default:
		for i := range c.names.flow {
			a := &c.names.flow[i]
			c.suggest(SuggestAttribute, a.Name, a.Help)
			for _, alias := range a.Aliases {
				if typed != "" && !strings.HasPrefix(a.Name, typed) {
					c.suggest(SuggestAttribute, alias, a.Help)
				}
			}
		}
		if first {
			c.suggest(SuggestAttribute, slotsName+"(", "one slot of time that fulfills all in the parentheses")
		}
		for i := range c.names.kinds {
			k := &c.names.kinds[i]
			if !k.stored {
				continue
			}
			prefix := metaPrefix + k.Name
			c.suggest(SuggestAttribute, prefix, "whether there is intel of "+k.Label)
			if first {
				c.suggest(SuggestAttribute, prefix+"(", "one record of "+k.Label+" that fulfills all in the parentheses")
			}
			// All of them at once would hide the others.
			if strings.HasPrefix(typed, metaPrefix) {
				c.suggest(SuggestAttribute, prefix+"."+countName, "number of observations")
				c.suggestOfKind(prefix+".", k)
				c.suggestOfKind(metaPrefix, k)
			}
		}
	}
	if first {
		for _, k := range [][2]string{
			{"NOT", "negates"}, {"ANY", "some value"}, {"ALL", "all values"}, {"ONE", "exactly one value"}, {"NONE", "no value"}, {"LEN", "number of values"},
		} {
			c.suggest(SuggestKeyword, k[0], k[1])
		}
	}
	return nil
}

// suggestOfKind suggests the attributes of a kind, each name once.
func (c *completer) suggestOfKind(prefix string, k *kind) {
	for i := range k.Attrs[:k.kept] {
		if k.Attrs[i].LogOnly {
			continue
		}
		name, _ := k.spelling(i)
		if !slices.ContainsFunc(c.out.Suggestions, func(s Suggestion) bool { return s.Insert == prefix+name }) {
			c.suggest(SuggestAttribute, prefix+name, k.Attrs[i].Help)
		}
	}
}

// label reads #name.
func (c *completer) label() completerState {
	start := c.pos
	c.pos++
	c.pos += len(c.word())
	if !c.atEnd() {
		return c.joint
	}
	c.out.Offset = start
	if c.block == nil {
		c.suggest(SuggestLabel, "#Host", "every flow")
		c.suggest(SuggestLabel, "#Flow", "every flow")
		for i := range c.names.kinds {
			if k := &c.names.kinds[i]; k.stored {
				c.suggest(SuggestLabel, "#"+k.Label, "flows with intel of "+k.Label)
			}
		}
	}
	return nil
}

// operator is what follows an attribute.
func (c *completer) operator() completerState {
	c.skip()
	if c.atEnd() {
		c.out.Offset = c.pos
		c.suggestOperators()
		c.suggestJoints()
		return nil
	}
	if op, n := operatorAt(c.text, c.pos); n > 0 {
		if !c.length && (c.field.from == fromKind || !c.field.takes(op)) {
			// What stands there may be the beginning of one that it takes: ! of !=.
			return nil
		}
		c.pos += n
		return c.value(op, false)
	}
	word := c.word()
	switch {
	case c.text[c.pos:] == "!":
		c.out.Offset = c.pos
		c.suggestOperators()
		return nil
	case keywordAt(c.text, c.pos) == "IN" && c.pos+len("IN") < len(c.text):
		c.pos += len("IN")
		return c.list
	case word != "" && c.pos+len(word) == len(c.text):
		c.out.Offset = c.pos
		c.suggestOperators()
		c.suggestJoints()
		return nil
	}
	return c.joint
}

// suggestOperators suggests the operators of the attribute.
func (c *completer) suggestOperators() {
	if c.field.from == fromKind {
		return
	}
	help := map[operator]string{
		opEqual: "equal", opDiffers: "different", opLess: "less", opAtMost: "at most", opMore: "more", opAtLeast: "at least",
		opMatches: "matches the pattern", opMatchesNot: "does not match", opIn: "one of (…, …)",
	}
	for _, op := range c.field.typ.operators() {
		if c.length && (op == opMatches || op == opMatchesNot) {
			continue
		}
		c.suggest(SuggestOperator, op.String(), help[op])
	}
}

// suggestJoints suggests what follows a clause.
func (c *completer) suggestJoints() {
	c.suggest(SuggestKeyword, "AND", "both")
	c.suggest(SuggestKeyword, "OR", "one or both")
	if c.depth > 0 {
		c.suggest(SuggestKeyword, ")", "closes the parenthesis")
	}
}

// joint is what follows a clause.
func (c *completer) joint() completerState {
	c.skip()
	if c.atEnd() {
		c.out.Offset = c.pos
		c.suggestJoints()
		return nil
	}
	if c.text[c.pos] == ')' {
		if c.depth == 0 {
			return nil
		}
		c.pos++
		if c.depth--; c.block != nil && c.depth == c.blockDepth {
			c.block = nil
		}
		return c.joint
	}
	switch word := keywordAt(c.text, c.pos); word {
	case "AND", "OR", "&&", "||":
		if c.pos+len(word) < len(c.text) {
			c.pos += len(word)
			return c.operand
		}
	}
	c.out.Offset = c.pos
	c.suggestJoints()
	return nil
}

// list reads the values of IN.
func (c *completer) list() completerState {
	c.skip()
	if c.atEnd() {
		c.out.Offset = c.pos
		c.suggest(SuggestOperator, "(", "opens the list of values")
		return nil
	}
	if c.text[c.pos] != '(' {
		return nil
	}
	c.pos++
	return c.value(opIn, true)
}

// value returns the state that reads a value.
func (c *completer) value(op operator, list bool) completerState {
	return func() completerState {
		c.skip()
		start := c.pos
		if c.atEnd() || c.text[start] == '"' || c.text[start] == '\'' {
			return c.quoted(start, op, list)
		}
		s := scanner{text: c.text, names: c.names, block: c.block, list: list, pattern: op == opMatches || op == opMatchesNot}
		end, err := s.end(start)
		if err != nil {
			return nil
		}
		if end < len(c.text) {
			c.pos = end
			return c.afterValue(op, list)
		}
		// The value may go on, or be complete.
		c.out.Offset = start
		c.suggestValues(c.text[start:], false, op)
		typed := strings.TrimRight(c.text[start:], " \t\r\n")
		if list {
			return nil
		}
		last := len(c.text)
		if typed == c.text[start:] {
			last = start + strings.LastIndexAny(typed, " \t\r\n") + 1
		}
		if last > start && len(c.out.Suggestions) == 0 {
			c.out.Offset = last
			c.out.Attribute, c.out.Prefix = "", ""
			c.suggestJoints()
		}
		return nil
	}
}

// quoted reads a value in quotes, or one that is not there yet.
func (c *completer) quoted(start int, op operator, list bool) completerState {
	if start < len(c.text) {
		s := scanner{text: c.text, list: list}
		if _, end, err := s.quoted(start); err == nil {
			c.pos = end
			return c.afterValue(op, list)
		}
		start++
		if strings.Contains(c.text[start:], c.text[start-1:start]) {
			return nil // text after a closing quote
		}
		c.out.Quoted = true
	}
	c.out.Offset = start
	c.suggestValues(c.text[start:], c.out.Quoted, op)
	return nil
}

// afterValue is what follows a value.
func (c *completer) afterValue(op operator, list bool) completerState {
	if !list {
		return c.joint
	}
	c.skip()
	switch {
	case c.atEnd():
		c.out.Offset = c.pos
		c.suggest(SuggestOperator, ",", "another value")
		c.suggest(SuggestOperator, ")", "closes the list of values")
		return nil
	case c.text[c.pos] == ',':
		c.pos++
		return c.value(op, true)
	case c.text[c.pos] == ')':
		c.pos++
		return c.joint
	}
	return nil
}

// suggestValues suggests the known values of the attribute.
func (c *completer) suggestValues(prefix string, quoted bool, op operator) {
	if c.length || c.field == nil || op == opMatches || op == opMatchesNot {
		return
	}
	c.out.Attribute, c.out.Prefix = c.canonical(), prefix
	for _, v := range knownValues(c.field) {
		c.suggest(SuggestValue, v, "")
	}
	if quoted {
		quote := c.text[c.out.Offset-1 : c.out.Offset]
		for i := range c.out.Suggestions {
			c.out.Suggestions[i].Insert += quote
		}
	}
}

// canonical returns the full name of the attribute, also inside a block.
func (c *completer) canonical() string {
	switch c.field.from {
	case fromRecord:
		return c.block.full() + "." + c.field.name
	case fromSlot:
		return slotsName + "." + c.field.name
	case fromFlow, fromMeta, fromCount, fromKind:
	}
	return c.field.name
}

// knownValues returns the values that an attribute often has, where they are few.
func knownValues(f *field) []string {
	switch f.from {
	case fromFlow:
		if f.typ == Bool {
			return []string{"true", "false"}
		}
		return f.flow.Values
	case fromCount, fromKind, fromSlot:
		return nil
	case fromMeta, fromRecord:
	}
	var list []string
	for _, m := range f.metas {
		for _, v := range metaValues(m) {
			if !slices.Contains(list, v) {
				list = append(list, v)
			}
		}
	}
	return list
}

func metaValues(m metaAttr) []string {
	if metaType(m.info()) == Bool {
		return []string{"true", "false"}
	}
	switch m.kind.Name + "." + m.info().Column {
	case "dns.rcode_name":
		return []string{"NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED", "YXDOMAIN", "NOTAUTH"}
	case "dns.qtype_name":
		return []string{"A", "AAAA", "PTR", "CNAME", "MX", "NS", "SOA", "SRV", "TXT", "HTTPS", "SVCB", "DS", "DNSKEY", "CAA"}
	case "dns.qclass_name":
		return []string{"C_INTERNET", "C_CSNET", "C_CHAOS", "C_HESIOD", "C_NONE", "C_ANY"}
	case "dns.opcode_name":
		return []string{"query", "notify", "dynamic-update"}
	case "http.method":
		return []string{"GET", "POST", "HEAD", "PUT", "DELETE", "OPTIONS", "CONNECT", "PATCH"}
	case "ssl.version":
		return []string{"SSLv3", "TLSv10", "TLSv11", "TLSv12", "TLSv13"}
	}
	return nil
}
