// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"strings"

	"weir/store"
)

// printTop prints groups of flows. Text is as IVRE's: (values) | count | (values) ;
// (values), where what flows lack is empty. The other formats have a column for each
// attribute, then "flows", their number, or "sum", and "collected", a list of objects.
func (o *options) printTop(ctx context.Context, db store.Ranker, out *output, q store.Query) error {
	l := &o.list
	if q.Limit == 0 {
		q.Limit = topLimit
	}
	rows, err := db.Top(ctx, store.TopQuery{
		Query: q, Fields: l.top, Collect: l.collect, Sum: l.sum, Least: l.least,
	})
	if err != nil {
		return err
	}
	columns, values := o.topRecord()
	if out.format == asText {
		columns, values = o.topLine(out.style.cell)
		out.style.headless = true
	}
	s, err := out.sheet(columns)
	if err != nil {
		return err
	}
	for i := range rows {
		if err := s.row(values(&rows[i]), nil); err != nil {
			return err
		}
	}
	return s.end()
}

// topLine returns the columns that people see, and the values of a group.
func (o *options) topLine(cell func(any) string) ([]column, func(*store.TopRow) []any) {
	tuple := func(values []any) string {
		out := make([]string, len(values))
		for i, v := range values {
			out[i] = cell(v)
		}
		return "(" + strings.Join(out, ", ") + ")"
	}
	columns := []column{{}, {right: true}}
	if len(o.list.collect) > 0 {
		columns = append(columns, column{})
	}
	return columns, func(r *store.TopRow) []any {
		values := []any{tuple(r.Fields), r.Count}
		if len(o.list.collect) > 0 {
			groups := make([]string, len(r.Collected))
			for i := range groups {
				groups[i] = tuple(r.Collected[i])
			}
			values = append(values, strings.Join(groups, " ; "))
		}
		return values
	}
}

// topRecord returns the columns that programs see, and the values of a group.
func (o *options) topRecord() ([]column, func(*store.TopRow) []any) {
	l := &o.list
	columns := named(l.top...)
	if len(l.sum) > 0 {
		columns = append(columns, column{name: "sum"})
	} else {
		columns = append(columns, column{name: "flows"})
	}
	if len(l.collect) > 0 {
		columns = append(columns, column{name: "collected"})
	}
	return columns, func(r *store.TopRow) []any {
		values := append(append([]any{}, r.Fields...), r.Count)
		if len(l.collect) > 0 {
			groups := make([]any, len(r.Collected))
			for i, group := range r.Collected {
				object := make(map[string]any, len(group))
				for j, v := range group {
					object[l.collect[j]] = v
				}
				groups[i] = object
			}
			values = append(values, groups)
		}
		return values
	}
}
