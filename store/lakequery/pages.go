// SPDX-License-Identifier: Apache-2.0

package lakequery

import (
	"context"
	"database/sql"
	"errors"
	"slices"
	"strings"

	"weir/internal/filter"
	"weir/store"
	"weir/store/lake"
)

// relations are the views of one snapshot, for our own queries.
type relations struct {
	schema   string
	manifest *lake.Manifest
	query    func(ctx context.Context, text string, args ...any) (*sql.Rows, error)
}

// errReplaced says that the views were made anew after a query for them was made.
var errReplaced = errors.New("another snapshot has replaced the one that was asked")

// onCurrent calls fn with the relations of the snapshot that queries see by now. How a
// question is asked depends on which parts there are: where another snapshot replaces
// that one before the query has run, fn is called again. It must not have handed on
// anything by then.
func (d *DB) onCurrent(ctx context.Context, fn func(r *relations) error) error {
	for try := 1; ; try++ {
		m := d.snapshot()
		query := func(ctx context.Context, text string, args ...any) (*sql.Rows, error) {
			rows, err := d.query(ctx, text, args...)
			if err == nil && d.snapshot() != m {
				return nil, errors.Join(errReplaced, rows.Close())
			}
			return rows, err
		}
		err := fn(&relations{schema: rawSchema, manifest: m, query: query})
		switch {
		case !errors.Is(err, errReplaced):
			return err
		case try == maxTries:
			// One that stays.
			return d.onOne(ctx, func(r *relations) (int, error) { return 0, fn(r) })
		}
	}
}

// condition translates a filter.
func (r *relations) condition(e *filter.Expr) (*condition, error) {
	return conditionOn(r.schema, r.manifest, e)
}

// onOne calls fn with the relations of a snapshot that stays the same, for
// questions that take several queries. fn returns how many rows of the answer it has
// handed on: as long as there are none, it is called again where parts of the
// snapshot are gone for good.
func (d *DB) onOne(ctx context.Context, fn func(r *relations) (handed int, err error)) error {
	if d.notes != nil {
		return d.onCurrent(ctx, func(r *relations) error {
			_, err := fn(r)
			return err
		})
	}
	for tries := 1; ; tries++ {
		p, err := d.pin(ctx)
		if err != nil {
			return err
		}
		handed, err := fn(&relations{schema: p.schema, manifest: p.manifest, query: p.query})
		p.release()
		if cerr := ctx.Err(); err != nil && cerr != nil {
			return cerr
		}
		if err == nil || handed > 0 || !isIO(err) || tries == maxTries {
			return d.explain(ctx, err)
		}
		if err := d.Refresh(ctx); err != nil {
			return err
		}
		if d.snapshot() == p.manifest {
			return d.explain(ctx, err)
		}
	}
}

// inPages asks for what a query wants: at once where it fits into memory,
// otherwise page by page from one snapshot. rows is how many rows of lists a page may
// have; ask hands on a page and returns how many rows it had, fewer if nobody wants more.
func (d *DB) inPages(ctx context.Context, q store.Query, rows int, ask func(r *relations, page store.Query) (int, error)) error {
	fits := func(n int) bool { return n > 0 && n <= rows }
	if fits(q.Limit) || fits(d.connRows()) || d.notes != nil {
		return d.onCurrent(ctx, func(r *relations) error {
			_, err := ask(r, q)
			return err
		})
	}
	return d.onOne(ctx, func(r *relations) (handed int, err error) {
		q := q
		for left := q.Limit; ; {
			page := q
			page.Limit = rows
			if q.Limit > 0 {
				page.Limit = min(page.Limit, left)
			}
			n, err := ask(r, page)
			handed += n
			if err != nil || n < page.Limit {
				return handed, err
			}
			q.Skip += n
			if left -= n; left == 0 {
				return handed, nil
			}
		}
	})
}

// scanned yields the rows of a result as scan reads them, and returns how many it
// had, fewer if yield returned false.
func scanned[T any](rows *sql.Rows, scan func(*sql.Rows) (T, error), yield func(T, error) bool) (n int, err error) {
	defer func() { _ = rows.Close() }() // Err tells what went wrong
	for rows.Next() {
		v, err := scan(rows)
		if err != nil {
			return n, err
		}
		if !yield(v, nil) {
			return n, nil
		}
		n++
	}
	return n, rows.Err()
}

// keysOnly reports whether a sort needs nothing but the keys of flows.
func keysOnly(orders []store.Order) bool {
	return !slices.ContainsFunc(orders, func(o store.Order) bool {
		known, err := attributes().OrderBy(o.Attr)
		return o.Attr != "flow" && (err != nil || !attributeOf(known, lake.SlotWidth).ofKey())
	})
}

// keys returns the query of the distinct values of columns of the keys of flows, for a
// filter that depends on these alone. It puts no flows together.
func (c *condition) keys(columns string) string {
	tables := c.layers.rollups()
	if c.layers.rest {
		tables = append(tables, restTable)
	}
	for i, table := range tables {
		tables[i] = "SELECT " + columns + " FROM " + c.schema + "." + table + " AS conn"
		if c.rows != "" {
			tables[i] += " WHERE " + c.rows
		}
	}
	return "SELECT DISTINCT * FROM (" + strings.Join(tables, " UNION ALL ") + ")"
}

// flowPage returns the WITH clause that makes "page" of the keys of a page of flows.
func (c *condition) flowPage(q *store.Query, order string) string {
	const page = "page AS MATERIALIZED (SELECT " + flowKey + ", src_bin FROM "
	if c.groups == "" && !c.layers.apart && keysOnly(q.OrderBy) {
		return "WITH " + page + "(" + c.keys(flowKey+", src_bin, dst_bin") + ") ORDER BY " + order + c.page(q.Skip, q.Limit) + ")"
	}
	return c.flows() + ", " + page + "flows ORDER BY " + order + c.page(q.Skip, q.Limit) + ")"
}

// nearPage is a condition on connections that all those of the page fulfill. Roll-ups are
// in the order of src, so that little is read where the page is, too.
const nearPage = "conn.src_bin >= (SELECT min(src_bin) FROM page) AND conn.src_bin <= (SELECT max(src_bin) FROM page)"

// onPage is the condition that a row conn is of a flow of the page.
func onPage() string {
	return nearPage + " AND EXISTS (FROM page WHERE " + sameFlow("page", "conn") + ")"
}
