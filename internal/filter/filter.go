// SPDX-License-Identifier: Apache-2.0

// Package filter is the language that selects flows: a parser, a canonical
// printer, an evaluator that says what every store must answer, and the
// translations to DuckDB's SQL and to Neo4j's Cypher.
//
// A filter is a tree of clauses joined by AND, OR and !. A clause compares the
// values of one attribute: none or one for a scalar, any number for a set. What
// attributes there are is said by one table (see Attributes); those of intel
// derive from flow.Kinds.
//
// Every clause is either true or false: a comparison on a missing attribute is
// false, and ! is logical not.
package filter

import (
	"fmt"
	"time"
	"unicode/utf8"
)

// Limits of a filter's text. Beyond them Parse returns a *SyntaxError.
const (
	// MaxLength is the greatest length of a filter, in bytes.
	MaxLength = 64 << 10
	// MaxDepth is how deep parentheses and negations may be nested.
	MaxDepth = 100
	// MaxClauses is how many clauses and values a filter may have.
	MaxClauses = 2000
	// MaxPattern is the greatest length of one pattern, in bytes.
	MaxPattern = 1000
)

// Options say how the values of a filter are read. The zero value means the
// present time and the local zone.
type Options struct {
	// Now is what relative times count from.
	Now time.Time
	// Zone is the zone of times that name none.
	Zone *time.Location
}

// Expr is a parsed filter. A nil *Expr selects every flow. It is not changed
// after it was made and safe for concurrent use.
type Expr struct {
	root node
}

// Parse reads a filter. The error is a *SyntaxError.
func Parse(text string, opts Options) (*Expr, error) {
	if len(text) > MaxLength {
		return nil, &SyntaxError{
			Offset: MaxLength,
			Msg:    fmt.Sprintf("the filter is longer than %d bytes", MaxLength),
		}
	}
	for i, r := range text {
		if r != utf8.RuneError {
			continue
		}
		if _, n := utf8.DecodeRuneInString(text[i:]); n == 1 {
			return nil, errorf(i, "the byte 0x%02x is not UTF-8", text[i])
		}
	}
	if opts.Now.IsZero() {
		opts.Now = time.Now()
	}
	if opts.Zone == nil {
		opts.Zone = time.Local
	}
	p := parser{text: text, opts: opts, names: newNames()}
	root, err := p.filter()
	if err != nil {
		return nil, err
	}
	return &Expr{root: root}, nil
}

// And returns the filter that selects what all of exprs select. Nil ones are
// left out; of none is left, it is nil.
func And(exprs ...*Expr) *Expr {
	var list []node
	for _, e := range exprs {
		if e == nil {
			continue
		}
		list = appendFlat(list, e.root, true)
	}
	switch len(list) {
	case 0:
		return nil
	case 1:
		return &Expr{root: list[0]}
	}
	return &Expr{root: &junction{and: true, list: list}}
}

// String returns the filter in its canonical form, which reads back as the same
// filter: names and values are spelled in one way, relative times have become
// absolute ones. It is empty for nil.
func (e *Expr) String() string {
	if e == nil {
		return ""
	}
	p := printer{names: newNames()}
	p.node(e.root, false)
	return string(p.out)
}

// Match reports whether the filter selects f. It is what every store's answer
// is compared with.
func (e *Expr) Match(f *Flow) bool {
	return e == nil || e.root.match(&subject{flow: f})
}
