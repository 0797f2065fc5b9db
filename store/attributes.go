// SPDX-License-Identifier: Apache-2.0

package store

import (
	"slices"
	"strings"

	"weir/internal/filter"
	"weir/internal/flow"
)

// Attribute is an attribute of flows that questions can name: to sort by, to
// group by, to collect or to sum up.
type Attribute struct {
	filter.Attribute
	// Kind is the kind of intel that it is of, Attr the attribute there; both are nil
	// for those of flows.
	Kind *flow.KindInfo
	Attr *flow.Attr
}

// Attributes are what questions to a store can name: the attributes of the filter
// language that it keeps, but for numbers of records.
type Attributes []Attribute

// AttributesOf returns the attributes that a store keeps; name is one of
// filter.Attribute.Stores.
func AttributesOf(name string) Attributes {
	kinds := flow.Kinds()
	var out Attributes
	for _, a := range filter.Attributes() {
		if !slices.Contains(a.Stores, name) {
			continue
		}
		b := Attribute{Attribute: a}
		if strings.HasPrefix(a.Name, "meta.") && !b.find(kinds) {
			continue
		}
		out = append(out, b)
	}
	return out
}

// find fills in which attribute of which kind of intel it is. The number of
// records of a kind is none.
func (a *Attribute) find(kinds []flow.KindInfo) bool {
	_, rest, _ := strings.Cut(a.Name, ".")
	kind, name, _ := strings.Cut(rest, ".")
	for i := range kinds {
		if kinds[i].Name != kind {
			continue
		}
		for j := range kinds[i].Attrs {
			if attr := &kinds[i].Attrs[j]; attr.FilterName() == name {
				a.Kind, a.Attr = &kinds[i], attr
				return true
			}
		}
	}
	return false
}

// is reports whether the attribute has a name, case aside.
func (a *Attribute) is(name string) bool {
	return strings.EqualFold(a.Name, name) || slices.ContainsFunc(a.Aliases, func(alias string) bool {
		return strings.EqualFold(alias, name)
	})
}

// OrderBy returns the attribute that sorts flows; "flow" (Order) is none. Errors of
// this method and of the others are *AttributeError.
func (l Attributes) OrderBy(name string) (*Attribute, error) {
	return l.named(name, "order by", []string{"flow"}, func(a *Attribute) bool { return !a.Set })
}

// Sum returns the attribute that is summed up.
func (l Attributes) Sum(name string) (*Attribute, error) {
	return l.named(name, "sum", nil, func(a *Attribute) bool { return a.Type == filter.Size && !a.Set })
}

// GroupBy returns the attribute that makes groups; all of them do.
func (l Attributes) GroupBy(name string) (*Attribute, error) {
	return l.named(name, "group by", nil, func(*Attribute) bool { return true })
}

// Collect returns the attribute whose values are collected; all of them can be.
func (l Attributes) Collect(name string) (*Attribute, error) {
	return l.named(name, "collect", nil, func(*Attribute) bool { return true })
}

// Show returns the attribute whose values are shown; all of them can be.
func (l Attributes) Show(name string) (*Attribute, error) {
	return l.named(name, "show", nil, func(*Attribute) bool { return true })
}

// PairOrder returns the name in full of what sorts pairs of hosts: "flows" (Pair.Flows)
// or the name of an attribute. Others are an *AttributeError.
func PairOrder(name string) (string, error) {
	known := []string{
		"src.addr", "dst.addr", "flows", "count", "cspkts", "scpkts", "csbytes", "scbytes", "firstseen", "lastseen",
	}
	if strings.EqualFold(name, "flows") {
		return "flows", nil
	}
	for _, a := range filter.Attributes() {
		if b := (Attribute{Attribute: a}); slices.Contains(known, a.Name) && b.is(name) {
			return a.Name, nil
		}
	}
	return "", &AttributeError{Name: name, Use: "order pairs by", Known: known}
}

// named returns the attribute with a name that fits, or says which do: those of
// intel in short.
func (l Attributes) named(name, use string, known []string, fits func(*Attribute) bool) (*Attribute, error) {
	for i := range l {
		a := &l[i]
		if !fits(a) {
			continue
		}
		if a.is(name) {
			return a, nil
		}
		short := a.Name
		if a.Kind != nil {
			short = "meta." + a.Kind.Name + ".*"
		}
		if !slices.Contains(known, short) {
			known = append(known, short)
		}
	}
	return nil, &AttributeError{Name: name, Use: use, Known: known}
}
