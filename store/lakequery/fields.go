// SPDX-License-Identifier: Apache-2.0

package lakequery

import (
	"context"
	"database/sql"
	"fmt"
	"iter"
	"strings"

	"weir/store"
)

// Fields implements store.FieldLister.
func (d *DB) Fields(ctx context.Context, q store.Query, names []string) iter.Seq2[[]any, error] {
	return func(yield func([]any, error) bool) {
		if err := d.fields(ctx, q, names, yield); err != nil {
			yield(nil, fmt.Errorf("list attributes of flows: %w", err))
		}
	}
}

func (d *DB) fields(ctx context.Context, q store.Query, names []string, yield func([]any, error) bool) error {
	if len(names) == 0 {
		_, err := attributes().Show("")
		return err
	}
	known := make([]*store.Attribute, len(names))
	for i, name := range names {
		var err error
		if known[i], err = attributes().Show(name); err != nil {
			return err
		}
	}
	values := make([]any, len(names))
	into := make([]any, len(names))
	for i := range values {
		into[i] = &values[i]
	}
	scan := func(rows *sql.Rows) ([]any, error) {
		if err := rows.Scan(into...); err != nil {
			return nil, err
		}
		for i := range values {
			values[i] = shownField(values[i])
		}
		return values, nil
	}
	return d.inPages(ctx, q, d.pageFlows, func(r *relations, page store.Query) (int, error) {
		c, err := r.condition(q.Filter)
		if err != nil {
			return 0, err
		}
		list := make([]*attribute, len(known))
		for i := range known {
			list[i] = attributeOf(known[i], c.layers.width)
		}
		text, err := fieldsSQL(c, page, list)
		if err != nil {
			return 0, err
		}
		rows, err := r.query(ctx, text, c.args...)
		if err != nil {
			return 0, err
		}
		return scanned(rows, scan, yield)
	})
}

// shownField is plain for the elements of sets, too, nil for an empty one.
func shownField(v any) any {
	set, ok := v.([]any)
	if !ok {
		return plain(v)
	}
	if len(set) == 0 {
		return nil
	}
	for i := range set {
		set[i] = plain(set[i])
	}
	return set
}

// fieldsSQL returns the query that lists attributes of flows: like flowsSQL, but it
// reads only what it shows.
func fieldsSQL(c *condition, q store.Query, list []*attribute) (string, error) {
	order, err := orderBy(q.OrderBy)
	if err != nil {
		return "", err
	}
	columns := make([]string, len(list))
	var joins strings.Builder
	times := false
	for i, a := range list {
		times = times || a.times
		switch {
		case a.table != "":
			where := ""
			if q.Limit > 0 {
				where = " AND " + ofPage
			}
			value := "m." + ident(a.column)
			if a.list {
				value = "unnest(" + value + ")"
			}
			columns[i] = fmt.Sprintf("intel_%d.vs", i)
			fmt.Fprintf(&joins, " LEFT JOIN (SELECT k0, k1, k2, k3, list_sort(list(v)) AS vs FROM (SELECT DISTINCT m.src AS k0, "+
				"m.dst AS k1, m.proto AS k2, m.dport AS k3, %[1]s AS v FROM %[2]s.%[3]s AS m WHERE m.%[4]s IS NOT NULL%[5]s) "+
				"GROUP BY k0, k1, k2, k3) AS intel_%[6]d ON intel_%[6]d.k0 = flows.src AND intel_%[6]d.k1 = flows.dst AND "+
				"intel_%[6]d.k2 = flows.proto AND intel_%[6]d.k3 IS NOT DISTINCT FROM flows.dport",
				value, c.schema, ident(a.table), ident(a.column), where, i)
		case a.Set:
			columns[i] = "list_sort(" + a.sql + ")"
		default:
			columns[i] = a.sql
		}
	}
	show := "SELECT " + strings.Join(columns, ", ") + " FROM "
	if q.Limit == 0 {
		c.times = c.times || times
		return c.flows() + " " + show + "flows" + joins.String() + " ORDER BY " + order + c.page(q.Skip, q.Limit), nil
	}
	return c.flowPage(&q, order) + " " + show + "(" + flowsOf(c.schema, c.layers, times, true, onPage()) +
		") AS flows" + joins.String() + " ORDER BY " + order, nil
}
