// SPDX-License-Identifier: Apache-2.0

package filter

import (
	"fmt"
	"strconv"
	"strings"
)

// SyntaxError says what is wrong with a filter, and where.
type SyntaxError struct {
	// Offset is the position in the text, in bytes from 0.
	Offset int
	// Msg says what is wrong, and where it can what to write instead.
	Msg string
	// Expected lists what could stand there, if that is a short list.
	Expected []string
	// Nearest is the known name that resembles an unknown one most, or "".
	Nearest string
}

// Error implements error.
func (e *SyntaxError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "offset %d: %s", e.Offset, e.Msg)
	if len(e.Expected) > 0 {
		b.WriteString("; expected ")
		for i, s := range e.Expected {
			switch {
			case i > 0 && i == len(e.Expected)-1:
				b.WriteString(" or ")
			case i > 0:
				b.WriteString(", ")
			}
			b.WriteString(s)
		}
	}
	return b.String()
}

// maxShown is how many characters of a user's text a message repeats.
const maxShown = 64

// shown returns text as messages repeat it: in quotes, not too much of it, and
// nothing that a terminal would take for more than text.
func shown(text string) string {
	n := 0
	for i := range text {
		if n++; n > maxShown {
			return strconv.Quote(text[:i]) + "…"
		}
	}
	return strconv.Quote(text)
}

// UnsupportedError says that a store cannot answer a clause of a filter.
type UnsupportedError struct {
	// Clause is the clause in its canonical form.
	Clause string
	// Reason says why not.
	Reason string
}

// Error implements error.
func (e *UnsupportedError) Error() string {
	clause := e.Clause
	if len(clause) > 4*maxShown {
		clause = strings.ToValidUTF8(clause[:4*maxShown], "") + "…"
	}
	return fmt.Sprintf("filter %s: not supported by this store yet: %s", clause, e.Reason)
}
