// SPDX-License-Identifier: Apache-2.0

package lakequery

import (
	"fmt"

	"weir/internal/filter"
	"weir/store/lake"
)

// condition is a filter in SQL with the arguments of the whole query: rows
// selects connections before they are grouped to flows, groups selects flows.
// Both are "" where there is nothing to select.
type condition struct {
	rows, groups string
	args         []any
	// schema has the views, layers are those of them that flows are made of.
	schema string
	layers layers
	// times says that the column times is needed.
	times bool
}

// conditionOn translates a filter for a manifest whose views are in a schema.
func conditionOn(schema string, m *lake.Manifest, e *filter.Expr) (*condition, error) {
	layers := layersOf(m)
	sql, err := e.SQL(filter.SQLOptions{
		Conn: "conn", Flow: "flow", Slot: layers.width,
		Table: func(kind string) string { return schema + "." + ident(kind) },
	})
	if err != nil {
		return nil, err
	}
	c := &condition{
		rows: sql.Rows.Text, groups: sql.Groups.Text, args: sql.Args(),
		schema: schema, layers: layers, times: sql.Times,
	}
	for _, text := range []*string{&c.rows, &c.groups} {
		if *text == "TRUE" {
			*text = ""
		}
	}
	return c, nil
}

// arg adds an argument and returns its placeholder.
func (c *condition) arg(v any) string {
	c.args = append(c.args, v)
	return fmt.Sprintf("$%d", len(c.args))
}

// flows returns the WITH clause that makes "flows" of the flows selected, with
// the columns that sorts and joins need, and times where it is needed.
func (c *condition) flows() string {
	all := flowsOf(c.schema, c.layers, c.times, true, c.rows)
	if c.groups == "" {
		return "WITH flows AS (" + all + ")"
	}
	return "WITH flow AS (" + all + "), flows AS (SELECT * FROM flow WHERE " + c.groups + ")"
}

// page returns the end of a query that cuts a page out of its result.
func (c *condition) page(skip, limit int) (text string) {
	if limit > 0 {
		text += " LIMIT " + c.arg(int64(limit))
	}
	if skip > 0 {
		text += " OFFSET " + c.arg(int64(skip))
	}
	return text
}
