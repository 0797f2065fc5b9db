// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"

	"weir/store"
	"weir/store/neo4j"
)

// printFields lists attributes of flows, a column each. Of sets it shows all values.
func printFields(ctx context.Context, db store.FieldLister, out *output, q store.Query, names []string) error {
	s, err := out.sheet(named(names...))
	if err != nil {
		return err
	}
	return fill(s, db.Fields(ctx, q, names), func(values []any) error { return s.row(values, nil) })
}

// printAttributes lists the attributes that --fields, --top, --orderby and filters can
// name.
func (o *options) printAttributes(out *output) error {
	kind := "lake"
	if neo4j.IsURI(o.store) {
		kind = "neo4j"
	}
	names := []string{"attribute", "type", "help"}
	if out.format != asText {
		names = []string{"attribute", "aliases", "type", "set", "help"}
	}
	s, err := out.sheet(named(names...))
	if err != nil {
		return err
	}
	for _, a := range store.AttributesOf(kind) {
		values := []any{a.Name, list(a.Aliases), a.Type.String(), a.Set, a.Help}
		if out.format == asText {
			typ := a.Type.String()
			if a.Set {
				typ = "set of " + typ
			}
			values = []any{a.Name, typ, a.Help}
		}
		if err := s.row(values, nil); err != nil {
			return err
		}
	}
	return s.end()
}
