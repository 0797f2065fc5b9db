// SPDX-License-Identifier: Apache-2.0

package filter

import (
	"net/netip"

	"weir/internal/flow"
)

// node is a part of a filter. Nodes are not changed after parsing.
type node interface {
	match(s *subject) bool
}

// junction joins two or more nodes, none of them a junction of the same sort.
type junction struct {
	and  bool
	list []node
}

// negation is the logical not of a node that is no negation itself.
type negation struct{ x node }

// label is #name. Without a kind it is true.
type label struct {
	name string
	kind *kind
}

// block asks for one intel record of a kind that fulfills all of x.
type block struct {
	kind *kind
	x    node
}

// clause compares the values of a field, or asks whether there are any.
type clause struct {
	quant quantifier
	field *field
	op    operator
	// values holds one operand, or several for opIn, none for opNone.
	values []operand
}

// quantifier says how many of the values must fulfill a comparison.
type quantifier uint8

const (
	// quantPlain is that of clauses without one: some value, except that
	// addr != x means both ends.
	quantPlain quantifier = iota
	quantAny
	quantAll
	quantOne
	quantNone
	quantLen
)

// String returns the keyword.
func (q quantifier) String() string {
	return [...]string{"", "ANY", "ALL", "ONE", "NONE", "LEN"}[q]
}

// operator is what a clause compares with.
type operator uint8

const (
	opNone operator = iota
	opEqual
	opDiffers
	opLess
	opAtMost
	opMore
	opAtLeast
	opMatches
	opMatchesNot
	opIn
)

// String returns the canonical form of the operator.
func (op operator) String() string {
	return [...]string{"", "=", "!=", "<", "<=", ">", ">=", "=~", "!~", "IN"}[op]
}

// ordering reports whether the operator needs an order.
func (op operator) ordering() bool { return op >= opLess && op <= opAtLeast }

// negative reports whether the operator negates another one.
func (op operator) negative() bool { return op == opDiffers || op == opMatchesNot }

// positive returns the operator that a negative one negates.
func (op operator) positive() operator {
	switch op {
	case opDiffers:
		return opEqual
	case opMatchesNot:
		return opMatches
	default:
		return op
	}
}

// operandKind says what is on the right side of an operator.
type operandKind uint8

const (
	literal operandKind = iota
	network             // =, != and IN on addresses, and =~ with a network
	regex
	attribute
)

// operand is the right side of an operator.
type operand struct {
	kind operandKind
	typ  Type
	// val is a literal.
	val value
	net netip.Prefix
	re  *pattern
	// field is the attribute that is compared with.
	field *field
}

// value is one value of an attribute: num for numbers, sizes, times (in
// microseconds since 1970), durations (in microseconds) and bools (0 or 1);
// text, in lower case where case does not count; or an address.
type value struct {
	num  int64
	text string
	addr flow.Addr
}

// appendFlat appends x to the list of a junction, its parts if it is one of the
// same sort.
func appendFlat(list []node, x node, and bool) []node {
	if j, ok := x.(*junction); ok && j.and == and {
		return append(list, j.list...)
	}
	return append(list, x)
}

// not returns the negation of x.
func not(x node) node {
	if n, ok := x.(*negation); ok {
		return n.x
	}
	return &negation{x}
}
