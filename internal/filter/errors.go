// SPDX-License-Identifier: Apache-2.0

package filter

import (
	"fmt"
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

// UnsupportedError says that a store cannot answer a clause of a filter.
type UnsupportedError struct {
	// Clause is the clause in its canonical form.
	Clause string
	// Reason says why not.
	Reason string
}

// Error implements error.
func (e *UnsupportedError) Error() string {
	return fmt.Sprintf("filter %s: not supported by this store yet: %s", e.Clause, e.Reason)
}
