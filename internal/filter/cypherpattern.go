// SPDX-License-Identifier: Apache-2.0

package filter

import (
	"context"
	"fmt"
	"regexp"
	"regexp/syntax"
	"strconv"
	"strings"
	"unicode"
)

// Neo4j's engine for regular expressions backtracks, and nothing interrupts it:
// it gets none. The distinct values of an attribute are fetched, those that a
// pattern matches are a list among the parameters.

// Pattern is a pattern of a filter with the values that it may match.
type Pattern struct {
	// Param is the parameter that is the list of the values that match.
	Param string
	// Query returns the distinct values as column v, with Params. It leaves out
	// what the pattern cannot match for the texts that it begins or ends with, or
	// holds.
	Query  string
	Params map[string]any
	// Matches reports whether the pattern matches a value of the query.
	Matches func(v any) bool
	// Clause is where the pattern stands, in its canonical form.
	Clause string
}

// Limits of what the patterns of a filter may match: the server gets a list of
// it, and keeps that in memory while the query runs.
const (
	// MaxPatternValues is the greatest number of values.
	MaxPatternValues = 200_000
	// MaxPatternBytes is their greatest length together.
	MaxPatternBytes = 16 << 20
	// maxFetched is how many patterns of a filter may need values.
	maxFetched = 32
)

// Fill sets the parameters of the patterns. It calls fetch for each query, and
// fetch calls value for each of the values until that returns an error. What
// matches too much is an *UnsupportedError.
func (c *Cypher) Fill(
	ctx context.Context,
	fetch func(ctx context.Context, query string, params map[string]any, value func(v any) error) error,
) error {
	values, bytes := 0, 0
	for i := range c.Patterns {
		p := &c.Patterns[i]
		list := []any{}
		if err := fetch(ctx, p.Query, p.Params, func(v any) error {
			if err := ctx.Err(); err != nil {
				return err
			}
			if !p.Matches(v) {
				return nil
			}
			if text, ok := v.(string); ok {
				bytes += len(text)
			}
			if values++; values > MaxPatternValues || bytes > MaxPatternBytes {
				return &UnsupportedError{
					Clause: p.Clause,
					Reason: fmt.Sprintf("patterns match more than %d different values, or %d MB of them; write a narrower one",
						MaxPatternValues, MaxPatternBytes>>20),
				}
			}
			list = append(list, v)
			return nil
		}); err != nil {
			return fmt.Errorf("fetch the values for a pattern: %w", err)
		}
		c.Params[p.Param] = list
	}
	return nil
}

// domain is where the values of an attribute are that a pattern may match.
type domain struct {
	// from is the clause that finds what has values, value the expression for one,
	// or with unwind for a list of them.
	from, value string
	unwind      bool
	// text says that values are texts, lower that they are in lower case.
	text, lower bool
	// greatest is the greatest of numbers so few that all are tried; 0 for others.
	greatest int64
}

// pattern makes a parameter for the values of a domain that a pattern matches.
func (g *graph) pattern(d *domain, p *pattern) string {
	type source struct{ from, value, pattern string }
	key := source{d.from, d.value, p.re2}
	if name, ok := g.known[key]; ok {
		return name
	}
	// Printed from the parsed tree, a pattern is whole: it opens no quotation.
	re, err := regexp.Compile(`\A(?:` + p.re2 + `)\z`)
	if err != nil {
		g.unsupported("the pattern is too large")
		return g.prefix
	}
	if d.greatest > 0 {
		list := []any{}
		for n := range d.greatest + 1 {
			if re.MatchString(strconv.FormatInt(n, 10)) {
				list = append(list, n)
			}
		}
		return g.param(key, list)
	}
	name := g.param(key, []any{})
	if len(g.patterns) == maxFetched {
		g.unsupported(fmt.Sprintf("the filter has more than %d patterns", maxFetched))
		return name
	}
	delete(g.params, name) // Fill sets it; what forgets to is told by the server
	out := Pattern{Param: name, Params: make(map[string]any), Clause: g.asked()}
	value := d.value
	if d.unwind {
		value = "v"
	}
	conditions := []string{value + " IS NOT NULL"}
	if d.text {
		conditions = append(conditions, required(p.re2, d.lower).conditions(value, out.Params)...)
	}
	where := " WHERE " + strings.Join(conditions, " AND ")
	if d.unwind {
		out.Query = d.from + " UNWIND " + d.value + " AS v WITH DISTINCT v" + where + " RETURN v"
	} else {
		out.Query = d.from + where + " RETURN DISTINCT " + d.value + " AS v"
	}
	out.Matches = func(v any) bool {
		switch v := v.(type) {
		case string:
			return re.MatchString(v)
		case int64:
			return re.MatchString(strconv.FormatInt(v, 10))
		}
		return false
	}
	g.patterns = append(g.patterns, out)
	return name
}

// requiredTexts are what whatever a pattern matches begins with, holds and ends
// with.
type requiredTexts struct{ prefix, part, suffix string }

// conditions returns the conditions that a value has the texts.
func (r requiredTexts) conditions(value string, params map[string]any) (list []string) {
	for _, x := range []struct{ name, operator, text string }{
		{"prefix", "STARTS WITH", r.prefix},
		{"part", "CONTAINS", r.part},
		{"suffix", "ENDS WITH", r.suffix},
	} {
		if x.text != "" {
			list = append(list, value+" "+x.operator+" $"+x.name)
			params[x.name] = x.text
		}
	}
	return list
}

// required returns the texts that whatever a pattern matches in full has, of
// values that are in lower case if lower is set.
func required(text string, lower bool) (r requiredTexts) {
	tree, err := syntax.Parse(text, syntax.Perl)
	if err != nil {
		return r
	}
	known := strings.Split(string(sequence(nil, tree, lower)), string(gap))
	last := len(known) - 1
	r.prefix = known[0]
	if last > 0 {
		r.suffix = known[last]
		for _, part := range known[1:last] {
			if len(part) > len(r.part) {
				r.part = part
			}
		}
	}
	return r
}

// gap stands for what a pattern leaves open. No text has it alone: as a character
// of a pattern it counts as open, too.
const gap = '\uffff'

// sequence appends the characters that a pattern asks for in turn, with gaps.
func sequence(list []rune, re *syntax.Regexp, lower bool) []rune {
	switch re.Op {
	case syntax.OpConcat, syntax.OpCapture:
		for _, sub := range re.Sub {
			list = sequence(list, sub, lower)
		}
	case syntax.OpLiteral:
		for _, r := range re.Rune {
			if re.Flags&syntax.FoldCase != 0 {
				r = onlyForm(r, lower)
			}
			list = append(list, r)
		}
	case syntax.OpEmptyMatch, syntax.OpBeginLine, syntax.OpEndLine, syntax.OpBeginText,
		syntax.OpEndText, syntax.OpWordBoundary, syntax.OpNoWordBoundary:
		// They take no part of the value.
	default:
		list = append(list, gap)
	}
	return list
}

// onlyForm returns the only character of a value that a pattern without case
// matches with r, a gap if there are several. An s is a long s, too.
func onlyForm(r rune, lower bool) rune {
	form := rune(gap)
	for c := r; ; {
		if !lower || unicode.ToLower(c) == c {
			if form != gap {
				return gap
			}
			form = c
		}
		if c = unicode.SimpleFold(c); c == r {
			return form
		}
	}
}
