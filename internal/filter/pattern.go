// SPDX-License-Identifier: Apache-2.0

package filter

import (
	"errors"
	"fmt"
	"regexp"
	"regexp/syntax"
)

// pattern is a regular expression that must match a whole value. As in Go, a
// dot matches no line feed, and ^ and $ are the value's ends, unless the
// pattern says (?s) or (?m).
type pattern struct {
	// text is the pattern as written.
	text string
	// re is for the evaluator: the pattern as written, longest match.
	re *regexp.Regexp
	// re2 is the same for DuckDB's RE2, to be matched in full: printed from the
	// parsed tree, so that it holds none of the constructs on which the two
	// differ (names of groups, names of classes, which become ranges).
	re2 string
	// cost is the estimated size of the compiled pattern.
	cost int
	// letters is how many characters its classes hold, see maxLetters.
	letters int
}

// maxLetters bounds how many characters all classes of a filter's patterns hold
// together, of those that may have an upper and a lower case: to print a class
// takes time for each. A negated class holds some hundred thousand.
const maxLetters = 16_000_000

// maxCost bounds the estimated size of a filter's compiled patterns. It keeps
// the time to match a value short; RE2 refuses patterns from about five times
// this size, and Go some larger ones.
const maxCost = 20_000

// newPattern compiles a pattern; fold makes it ignore case.
func newPattern(text string, fold bool) (*pattern, error) {
	if len(text) > MaxPattern {
		return nil, fmt.Errorf("the pattern is longer than %d bytes", MaxPattern)
	}
	flags := syntax.Perl
	if fold {
		flags |= syntax.FoldCase
	}
	tree, err := syntax.Parse(text, flags)
	if err != nil {
		if serr, ok := errors.AsType[*syntax.Error](err); ok {
			return nil, fmt.Errorf("the pattern is wrong: %s at %s", serr.Code, shown(serr.Expr))
		}
		return nil, fmt.Errorf("the pattern is wrong: %w", err)
	}
	p := &pattern{text: text, cost: cost(tree), letters: letters(tree)}
	if p.cost > maxCost {
		return nil, errors.New("the pattern is too large: its repetitions multiply")
	}
	if p.letters > maxLetters {
		return nil, errors.New("the pattern is too large: it has too many classes such as [^a]")
	}
	withoutNames(tree)
	p.re2 = tree.String()
	if fold {
		text = "(?i)" + text
	}
	if p.re, err = regexp.Compile(text); err != nil {
		return nil, fmt.Errorf("the pattern is wrong: %w", err)
	}
	p.re.Longest()
	return p, nil
}

// withoutNames makes named groups plain ones.
func withoutNames(re *syntax.Regexp) {
	re.Name = ""
	for _, sub := range re.Sub {
		withoutNames(sub)
	}
}

// letters returns how many characters classes hold between the first letter and
// the last one that has two cases.
func letters(re *syntax.Regexp) int {
	n := 0
	if re.Op == syntax.OpCharClass {
		for i := 0; i+1 < len(re.Rune); i += 2 {
			n += max(0, int(min(re.Rune[i+1], 0x1e943))-int(max(re.Rune[i], 'A'))+1)
		}
	}
	for _, sub := range re.Sub {
		n += letters(sub)
	}
	return n
}

// cost estimates the number of instructions of a program that matches bytes,
// from above, without going beyond twice maxCost.
func cost(re *syntax.Regexp) int {
	n := 1
	switch re.Op {
	case syntax.OpLiteral:
		n = len(re.Rune)
		for _, r := range re.Rune {
			if r >= 0x80 || re.Flags&syntax.FoldCase != 0 {
				n++
			}
		}
	case syntax.OpCharClass:
		n += len(re.Rune) / 2
	case syntax.OpAnyChar, syntax.OpAnyCharNotNL:
		n = 2
	default:
	}
	for _, sub := range re.Sub {
		n = min(n+cost(sub), 2*maxCost)
	}
	if re.Op == syntax.OpRepeat {
		n = min(n*max(re.Min, re.Max, 1), 2*maxCost)
	}
	return n
}
