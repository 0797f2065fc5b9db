// SPDX-License-Identifier: Apache-2.0

package lakequery

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"weir/store"
)

// Top implements store.Ranker.
func (d *DB) Top(ctx context.Context, q store.TopQuery) ([]store.TopRow, error) {
	rows, err := d.top(ctx, q)
	if err != nil {
		return nil, fmt.Errorf("rank flows: %w", err)
	}
	return rows, nil
}

func (d *DB) top(ctx context.Context, q store.TopQuery) (out []store.TopRow, err error) {
	err = d.onCurrent(ctx, func(r *relations) error {
		out, err = r.top(ctx, q)
		return err
	})
	return out, err
}

func (r *relations) top(ctx context.Context, q store.TopQuery) ([]store.TopRow, error) {
	text, args, err := r.topSQL(q)
	if err != nil {
		return nil, err
	}
	rows, err := r.query(ctx, text, args...)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }() // Err tells what went wrong
	var out []store.TopRow
	values := make([]any, len(q.Fields)+2)
	into := make([]any, len(values))
	for i := range values {
		into[i] = &values[i]
	}
	for rows.Next() {
		if err := rows.Scan(into...); err != nil {
			return nil, err
		}
		row := store.TopRow{Fields: make([]any, len(q.Fields))}
		for i := range q.Fields {
			row.Fields[i] = plain(values[i])
		}
		row.Count, _ = values[len(q.Fields)].(int64)
		tuples, _ := values[len(q.Fields)+1].([]any)
		for _, t := range tuples {
			members, _ := t.(map[string]any)
			tuple := make([]any, len(q.Collect))
			for i := range tuple {
				tuple[i] = plain(members[collected(i)])
			}
			row.Collected = append(row.Collected, tuple)
		}
		out = append(out, row)
	}
	return out, rows.Err()
}

// plain turns a value of DuckDB's driver into one of store's.
func plain(v any) any {
	switch v := v.(type) {
	case int32:
		return int64(v)
	case time.Time:
		return v.UTC()
	}
	return v
}

// collected names the i-th collected attribute.
func collected(i int) string { return fmt.Sprintf("c%d", i) }

// topSQL returns the query that ranks groups. A set attribute makes a row for
// each of its elements, one without value where it has none. What is collected
// is looked up for the groups shown only, apart from the ranking: several
// elements of a collected set must not count a flow several times.
func (r *relations) topSQL(q store.TopQuery) (string, []any, error) {
	if len(q.Fields) == 0 {
		_, err := attributes().GroupBy("")
		return "", nil, err
	}
	c, err := r.condition(q.Filter)
	if err != nil {
		return "", nil, err
	}
	var fields, aliases, sorted, joined, collect, sums []string
	grouped, gathered := sources{schema: c.schema}, sources{schema: c.schema}
	for i, name := range q.Fields {
		a, err := attributes().GroupBy(name)
		if err != nil {
			return "", nil, err
		}
		field := attributeOf(a, c.layers.width)
		c.times = c.times || field.times
		f := fmt.Sprintf("f%d", i)
		fields = append(fields, grouped.value(field, "flows", "group_"+f)+" AS "+f)
		aliases = append(aliases, f)
		sorted = append(sorted, f+" NULLS LAST")
		joined = append(joined, fmt.Sprintf("best.%[1]s IS NOT DISTINCT FROM ranked.%[1]s", f))
	}
	for i, name := range q.Collect {
		a, err := attributes().Collect(name)
		if err != nil {
			return "", nil, err
		}
		field := attributeOf(a, c.layers.width)
		c.times = c.times || field.times
		collect = append(collect, fmt.Sprintf("%s: %s", collected(i),
			gathered.value(field, "ranked", "gather_"+collected(i))))
	}
	for _, name := range q.Sum {
		a, err := attributes().Sum(name)
		if err != nil {
			return "", nil, err
		}
		sums = append(sums, attributeOf(a, c.layers.width).sql+"::HUGEINT")
	}
	amount := "count(*)"
	if len(sums) > 0 {
		amount = total(strings.Join(sums, " + "))
	}
	direction := " DESC"
	if q.Least {
		direction = ""
	}
	order := "amount" + direction + ", " + strings.Join(sorted, ", ")
	list := strings.Join(aliases, ", ")
	flows := c.flows
	if summable(c, q) {
		flows = func() string { return "WITH flows AS (" + countersOf(c.schema, c.layers, c.rows) + ")" }
	}
	text := flows() + ", ranked AS (SELECT flows.*, " + strings.Join(fields, ", ") +
		" FROM flows" + grouped.String() + ")" +
		", best AS (SELECT " + list + ", " + amount + " AS amount FROM ranked GROUP BY " + list +
		" ORDER BY " + order + c.page(q.Skip, q.Limit) + ")"
	if len(collect) == 0 {
		return text + " SELECT *, NULL FROM best ORDER BY " + order, c.args, nil
	}
	return text + " SELECT " + list + ", amount, list_sort(list(DISTINCT tuple)) FROM (" +
		"SELECT best.*, {" + strings.Join(collect, ", ") + "} AS tuple FROM best JOIN ranked ON " +
		strings.Join(joined, " AND ") + gathered.String() + ") GROUP BY ALL ORDER BY " + order, c.args, nil
}

// summable reports whether countersOf has all that a ranking needs.
func summable(c *condition, q store.TopQuery) bool {
	if c.groups != "" || len(q.Sum) == 0 || len(q.Collect) > 0 {
		return false
	}
	for _, name := range q.Sum {
		a, err := attributes().Sum(name)
		if err != nil || !slices.Contains([]string{"count", "cspkts", "scpkts", "csbytes", "scbytes"}, a.Name) {
			return false
		}
	}
	for _, name := range q.Fields {
		a, err := attributes().GroupBy(name)
		if err != nil || !slices.Contains([]string{"src.addr", "dst.addr", "proto", "dport", "type"}, a.Name) {
			return false
		}
	}
	return true
}

// sources collects what a query reads beside its main table: joins with intel,
// and the elements of sets.
type sources struct {
	schema       string
	joins, lists strings.Builder
}

func (s *sources) String() string { return s.joins.String() + s.lists.String() }

// value returns the expression for one value of an attribute of the flows in
// main. Of a set, that is each of its elements in turn, or nothing once.
func (s *sources) value(a *attribute, main, alias string) string {
	switch {
	case a.table != "":
		value := "i." + ident(a.column)
		if a.list {
			value = "unnest(" + value + ")"
		}
		fmt.Fprintf(&s.joins, " LEFT JOIN (SELECT DISTINCT src_bin AS k1, dst_bin AS k2, proto AS k3, "+
			"dport AS k4, %[1]s AS v FROM %[2]s.%[3]s AS i WHERE i.%[6]s IS NOT NULL) AS %[4]s ON %[4]s.k1 = %[5]s.src_bin AND "+
			"%[4]s.k2 = %[5]s.dst_bin AND %[4]s.k3 = %[5]s.proto AND %[4]s.k4 IS NOT DISTINCT FROM %[5]s.dport",
			value, s.schema, ident(a.table), alias, main, ident(a.column))
		return alias + ".v"
	case !a.Set:
		return a.sql
	}
	fmt.Fprintf(&s.lists, ", unnest(CASE WHEN len(%[1]s) > 0 THEN %[1]s ELSE [NULL] END) AS %[2]s(v)",
		a.sql, alias)
	return alias + ".v"
}
