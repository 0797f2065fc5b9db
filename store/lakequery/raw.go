// SPDX-License-Identifier: Apache-2.0

package lakequery

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"math/big"
	"strconv"
	"strings"
	"time"

	duckdb "github.com/duckdb/duckdb-go/v2"

	"weir/store"
)

// Raw implements store.RawQuerier: it runs one SELECT over the views.
func (d *DB) Raw(ctx context.Context, text string) (store.Rows, error) {
	rows, err := d.raw(ctx, text)
	if err != nil {
		return nil, fmt.Errorf("run SQL: %w", err)
	}
	return rows, nil
}

func (d *DB) raw(ctx context.Context, text string) (*rawRows, error) {
	if err := d.check(ctx, text); err != nil {
		return nil, err
	}
	var rows *rawRows
	err := d.trying(ctx, func() (err error) {
		rows, err = d.rawOnce(ctx, text)
		return err
	})
	if err != nil {
		return nil, rawError(ctx, err)
	}
	return rows, nil
}

// rawOnce runs a checked query on a connection of its own.
func (d *DB) rawOnce(ctx context.Context, text string) (*rawRows, error) {
	conn, err := d.db.Conn(ctx)
	if err != nil {
		return nil, err
	}
	if err := prepareSelect(conn, text); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	if d.notes != nil {
		d.notes.add(text, nil)
		text = nothing
	}
	rows, err := conn.QueryContext(ctx, text) //nolint:rowserrcheck // All checks it.
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	r := &rawRows{ctx: ctx, rows: rows, conn: conn}
	types, err := rows.ColumnTypes()
	if err != nil {
		return nil, errors.Join(err, r.Close())
	}
	for _, t := range types {
		r.columns = append(r.columns, store.Column{Name: t.Name(), Type: t.DatabaseTypeName()})
	}
	return r, nil
}

// rawRows is the result of a raw query.
type rawRows struct {
	ctx     context.Context // of the query, which lasts until Close
	rows    *sql.Rows
	conn    *sql.Conn
	columns []store.Column
}

// Columns implements store.Rows.
func (r *rawRows) Columns() []store.Column { return r.columns }

// All implements store.Rows.
func (r *rawRows) All() iter.Seq2[[]any, error] {
	return func(yield func([]any, error) bool) {
		values := make([]any, len(r.columns))
		into := make([]any, len(values))
		for i := range values {
			into[i] = &values[i]
		}
		for r.rows.Next() {
			if err := r.rows.Scan(into...); err != nil {
				yield(nil, fmt.Errorf("read result: %w", err))
				return
			}
			for i := range values {
				values[i] = rawValue(values[i], r.columns[i].Type)
			}
			if !yield(values, nil) {
				return
			}
		}
		if err := r.rows.Err(); err != nil {
			yield(nil, fmt.Errorf("read result: %w", rawError(r.ctx, err)))
		}
	}
}

// Close implements store.Rows.
func (r *rawRows) Close() error { return errors.Join(r.rows.Close(), r.conn.Close()) }

// rawValue turns a value of the driver into one that store.Rows promises. typ
// is DuckDB's name of its type, "" inside of others.
func rawValue(v any, typ string) any {
	switch v := v.(type) {
	case int8:
		return int64(v)
	case int16:
		return int64(v)
	case int32:
		return int64(v)
	case uint8:
		return int64(v)
	case uint16:
		return int64(v)
	case uint32:
		return int64(v)
	case uint64:
		return small(new(big.Int).SetUint64(v))
	case *big.Int:
		return small(v)
	case float32:
		return float64(v)
	case time.Time:
		switch typ {
		case "DATE":
			return v.UTC().Format(time.DateOnly)
		case "TIME", "TIMETZ":
			return v.Format("15:04:05.999999")
		}
		return v.UTC()
	case duckdb.Decimal:
		return json.Number(v.String())
	case []byte:
		if typ == "UUID" && len(v) == 16 {
			return fmt.Sprintf("%x-%x-%x-%x-%x", v[:4], v[4:6], v[6:8], v[8:10], v[10:])
		}
	case duckdb.Interval:
		return intervalText(v)
	case []any:
		out := make([]any, len(v))
		for i := range v {
			out[i] = rawValue(v[i], "")
		}
		return out
	case map[string]any:
		out := make(map[string]any, len(v))
		for k, e := range v {
			out[k] = rawValue(e, "")
		}
		return out
	case duckdb.OrderedMap:
		out := make(map[string]any, v.Len())
		keys, values := v.Keys(), v.Values()
		for i := range keys {
			out[fmt.Sprint(rawValue(keys[i], ""))] = rawValue(values[i], "")
		}
		return out
	case duckdb.Map:
		out := make(map[string]any, len(v))
		for k, e := range v {
			out[fmt.Sprint(rawValue(k, ""))] = rawValue(e, "")
		}
		return out
	case duckdb.Union:
		return rawValue(v.Value, "")
	}
	return v
}

// small returns n as an int64 if it fits.
func small(n *big.Int) any {
	if n != nil && n.IsInt64() {
		return n.Int64()
	}
	return n
}

// intervalText writes an interval as SQL does: "1 month 2 days 03:04:05.5".
func intervalText(v duckdb.Interval) string {
	var parts []string
	unit := func(n int64, name string) {
		switch {
		case n == 1 || n == -1:
			parts = append(parts, strconv.FormatInt(n, 10)+" "+name)
		case n != 0:
			parts = append(parts, strconv.FormatInt(n, 10)+" "+name+"s")
		}
	}
	unit(int64(v.Months/12), "year")
	unit(int64(v.Months%12), "month")
	unit(int64(v.Days), "day")
	if v.Micros != 0 || len(parts) == 0 {
		sign, micros := "", uint64(v.Micros)
		if v.Micros < 0 {
			sign, micros = "-", -micros
		}
		seconds := micros / 1e6
		text := fmt.Sprintf("%s%02d:%02d:%02d", sign, seconds/3600, seconds/60%60, seconds%60)
		if frac := micros % 1e6; frac != 0 {
			text += strings.TrimRight(fmt.Sprintf(".%06d", frac), "0")
		}
		parts = append(parts, text)
	}
	return strings.Join(parts, " ")
}
