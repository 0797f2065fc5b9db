// SPDX-License-Identifier: Apache-2.0

package lakequery

import (
	"fmt"
	"slices"
	"strings"

	"weir/internal/filter"
	"weir/internal/flow"
	"weir/store"
	"weir/store/lake"
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

// attributes returns the attributes of flows that queries can name: those of
// the filter language that the lake has.
func attributes() []attribute {
	var out []attribute
	for _, a := range filter.Attributes() {
		if !slices.Contains(a.Stores, "lake") {
			continue
		}
		b := attribute{Attribute: a}
		switch {
		case strings.HasPrefix(a.Name, "meta."):
			if !b.findColumn() {
				continue
			}
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
		case a.Name == "times.duration":
			b.sql = fmt.Sprintf("[%d::DOUBLE]", int64(lake.SlotWidth.Seconds()))
		default:
			b.sql = ident(a.Name)
		}
		out = append(out, b)
	}
	return out
}

// findColumn fills in where an attribute of intel is. The number of records of
// a kind is in no column.
func (a *attribute) findColumn() bool {
	_, rest, _ := strings.Cut(a.Name, ".")
	kind, name, _ := strings.Cut(rest, ".")
	for _, k := range flow.Kinds() {
		if k.Name != kind {
			continue
		}
		for _, attr := range k.Attrs {
			own := attr.Name
			if own == "" {
				own = attr.Column
			}
			if own == name {
				a.table, a.column, a.list = k.Name, attr.Column, attr.Type.List()
				return true
			}
		}
	}
	return false
}

// is reports whether the attribute has a name, case aside.
func (a *attribute) is(name string) bool {
	return strings.EqualFold(a.Name, name) || slices.ContainsFunc(a.Aliases, func(alias string) bool {
		return strings.EqualFold(alias, name)
	})
}

// find returns the attribute with a name that fits; use says what for.
func find(name, use string, fits func(*attribute) bool) (*attribute, error) {
	list := attributes()
	for i := range list {
		if fits(&list[i]) && list[i].is(name) {
			return &list[i], nil
		}
	}
	return nil, &store.AttributeError{Name: name, Use: use, Known: names(fits)}
}

// names lists the attributes that fit, those of intel in short.
func names(fits func(*attribute) bool) []string {
	var out []string
	for _, a := range attributes() {
		switch {
		case !fits(&a):
		case a.table == "":
			out = append(out, a.Name)
		case !slices.Contains(out, "meta."+a.table+".*"):
			out = append(out, "meta."+a.table+".*")
		}
	}
	return out
}

func anyAttribute(*attribute) bool { return true }

func scalarAttribute(a *attribute) bool { return !a.Set }

func sumAttribute(a *attribute) bool { return a.Type == filter.Size && !a.Set }
