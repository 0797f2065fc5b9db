// SPDX-License-Identifier: Apache-2.0

package lakequery

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"weir/internal/filter"
	"weir/store"
)

// attribute says how an attribute of flows is read from a row of flows.
type attribute struct {
	filter.Attribute
	// sql is an expression over the columns of flows.
	sql string
	// sort lists the expressions that sort by it, where that is not sql.
	sort []string
	// table and column say where an attribute of intel is; list that it holds
	// several values in a record.
	table, column string
	list          bool
	// times says that sql needs the column times, see flowsOf.
	times bool
}

// addrOrder returns the expressions that sort by an address: IPv4 before IPv6,
// then by number.
func addrOrder(column string) []string {
	return []string{"contains(" + column + ", ':')", column + "_bin"}
}

// keyOrder returns the expressions that sort by a flow's key.
func keyOrder() []string {
	return append(append(addrOrder("src"), addrOrder("dst")...), "proto", "dport", "type")
}

// attributeOf says how an attribute is read from the lake, whose slots of time have a width.
func attributeOf(a *store.Attribute, width time.Duration) *attribute {
	b := &attribute{Attribute: a.Attribute}
	switch {
	case a.Kind != nil:
		b.table, b.column, b.list = a.Kind.Name, a.Attr.Column, a.Attr.Type.List()
	case a.Name == "addr":
		b.sql = "list_distinct([src, dst])"
	case a.Name == "src.addr":
		b.sql, b.sort = "src", addrOrder("src")
	case a.Name == "dst.addr":
		b.sql, b.sort = "dst", addrOrder("dst")
	case a.Name == "duration":
		b.sql = durationSQL
	case a.Name == "times.start":
		b.sql, b.times = "times", true
	case a.Name == "times.end":
		b.sql, b.times = fmt.Sprintf("list_transform(times, lambda u: make_timestamptz(epoch_us(u) + %d))", width.Microseconds()), true
	case a.Name == "times.duration":
		b.sql = fmt.Sprintf("[%d::DOUBLE]", int64(width.Seconds()))
	default:
		b.sql = ident(a.Name)
	}
	return b
}

// ofKey reports whether it is a part of the flow's key.
func (a *attribute) ofKey() bool {
	return a.table == "" && slices.Contains(strings.Split(flowKey, ", "), strings.Trim(a.sql, `"`))
}

// attributes returns what queries can name.
func attributes() store.Attributes { return store.AttributesOf("lake") }
