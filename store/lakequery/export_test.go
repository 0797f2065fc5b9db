// SPDX-License-Identifier: Apache-2.0

package lakequery

import (
	"context"
	"database/sql"
	"time"
)

// SetLimits lets tests see small batches, and merges before their time.
func (t *Tail) SetLimits(batch int64, mergeAge time.Duration) { t.batch, t.mergeAge = batch, mergeAge }

// SetPage lets tests see small pages of flows.
func (d *DB) SetPage(flows int) { d.pageFlows = flows }

// QueryAfter runs a query for two numbers; before is called before each try.
func (d *DB) QueryAfter(ctx context.Context, before func(), text string) (a, b int64, err error) {
	var rows *sql.Rows
	err = d.trying(ctx, func() (err error) {
		before()
		rows, err = d.db.QueryContext(ctx, text)
		return err
	})
	if err != nil {
		return 0, 0, err
	}
	defer func() { _ = rows.Close() }()
	if rows.Next() {
		err = rows.Scan(&a, &b)
	}
	return a, b, err
}

// Run runs a statement as questions do, and returns how many rows it has.
func (d *DB) Run(ctx context.Context, text string, args ...any) (n int, err error) {
	rows, err := d.query(ctx, text, args...)
	if err != nil {
		return 0, err
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		n++
	}
	return n, rows.Err()
}
