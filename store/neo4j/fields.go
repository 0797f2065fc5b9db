// SPDX-License-Identifier: Apache-2.0

package neo4j

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"strings"

	"github.com/neo4j/neo4j-go-driver/v5/neo4j"

	"weir/store"
)

// Fields implements store.FieldLister.
func (d *DB) Fields(ctx context.Context, q store.Query, names []string) iter.Seq2[[]any, error] {
	return func(yield func([]any, error) bool) {
		if err := d.fields(ctx, q, names, func(row []any) bool { return yield(row, nil) }); err != nil {
			yield(nil, fmt.Errorf("list attributes: %w", err))
		}
	}
}

func (d *DB) fields(ctx context.Context, sq store.Query, names []string, yield func([]any) bool) error {
	known := attributes()
	if len(names) == 0 {
		_, err := known.Show("")
		return err
	}
	var columns []string
	for i, name := range names {
		a, err := known.Show(name)
		if err != nil {
			return err
		}
		columns = append(columns, fmt.Sprintf("%s AS v%d", valueText(a), i))
	}
	q, err := ask(sq.Filter)
	if err != nil {
		return err
	}
	order, err := orderBy(sq.OrderBy)
	if err != nil {
		return err
	}
	text := q.beginInOrder(order) + " WITH src, f, dst ORDER BY " + order + q.page(sq.Skip, sq.Limit) +
		" RETURN " + strings.Join(columns, ", ")
	if err := d.needPrecision(ctx, q, text); err != nil {
		return err
	}
	return d.answer(ctx, q, text, func(r *neo4j.Record) error {
		row := r.Values
		for i, v := range row {
			list, ok := v.([]any)
			switch {
			case !ok:
				row[i] = plain(v)
			case len(list) == 0 || list[0] == nil:
				row[i] = nil
			default:
				slices.SortFunc(plainAll(list), compareValues)
			}
		}
		if !yield(row) {
			return errStop
		}
		return nil
	})
}

// valueText returns the expression for the value of an attribute, for a set that for
// the list of its distinct values.
func valueText(a *store.Attribute) string {
	switch {
	case a.Kind != nil:
		return "COLLECT { " + intelText(a) + " }"
	case a.Name == "addr":
		return bothEnds
	case a.Name == "times.start":
		return "f.times"
	case a.Name == "times.end":
		return slotEnds
	case a.Name == "times.duration":
		return slotWidths
	}
	return scalarText(a)
}
