// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"weir/internal/command"
	"weir/internal/term"
	"weir/store"
)

// rawOptions are the flags of the commands that run a query in the store's own
// language.
type rawOptions struct{ format string }

func (r *rawOptions) addFlags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&r.format, "format", "table", "`format` of the result: table, csv or json")
	command.CompleteFlags(cmd, map[string]cobra.CompletionFunc{"format": command.Words("table", "csv", "json")})
}

// oneQuery is the check of their arguments.
func oneQuery(cmd *cobra.Command, args []string) error {
	if len(args) == 1 {
		return nil
	}
	return &command.UsageError{Err: fmt.Errorf("%s takes one query in quotes, or - for standard input; got %d arguments", cmd.Name(), len(args))}
}

// printer returns what prints a result in the wanted format.
func (r *rawOptions) printer() (func(io.Writer, store.Rows) error, error) {
	switch r.format {
	case "table":
		return printTable, nil
	case "csv":
		return printCSV, nil
	case "json":
		return printJSON, nil
	}
	return nil, &command.UsageError{Err: fmt.Errorf("--format %q is none of table, csv, json", r.format)}
}

// maxStdin bounds a query from standard input; longer ones are refused as too
// long by the store.
const maxStdin = 2 << 20

// queryText returns the query that an argument is, or stands for.
func (o *options) queryText(arg string) (string, error) {
	if arg != "-" {
		return arg, nil
	}
	data, err := io.ReadAll(io.LimitReader(o.stdin, maxStdin))
	if err != nil {
		return "", fmt.Errorf("read the query: %w", err)
	}
	return string(data), nil
}

// printRaw runs a query and prints its result. What is wrong with the query is
// shown in its text.
func (o *options) printRaw(ctx context.Context, text string, run func(context.Context, string) (store.Rows, error),
	print func(io.Writer, store.Rows) error,
) error {
	rows, err := run(ctx, text)
	if err == nil {
		w := bufio.NewWriterSize(o.stdout, 64<<10)
		err = print(w, rows)
		err = errors.Join(err, w.Flush(), rows.Close())
	}
	if bad := new(store.QueryError); errors.As(err, &bad) {
		return &textError{err: bad, text: text, offset: bad.Offset}
	}
	return err
}

func printTable(w io.Writer, rows store.Rows) error {
	columns := rows.Columns()
	var t *term.Table
	cells := make([]string, len(columns))
	for row, err := range rows.All() {
		if err != nil {
			if t != nil {
				err = errors.Join(t.Flush(), err)
			}
			return err
		}
		if t == nil {
			t = rawTable(w, columns, row)
		}
		for i := range row {
			cells[i] = cellText(row[i])
		}
		if err := t.Row(cells...); err != nil {
			return err
		}
	}
	if t == nil {
		if len(columns) == 0 {
			return nil
		}
		t = rawTable(w, columns, make([]any, len(columns)))
	}
	return t.Flush()
}

// rawTable returns a table of a result. Where columns have no types, the first row
// says which are numbers.
func rawTable(w io.Writer, columns []store.Column, first []any) *term.Table {
	list := make([]term.Column, len(columns))
	for i, c := range columns {
		list[i] = term.Column{Name: c.Name, Right: isNumber(c.Type)}
		switch first[i].(type) {
		case int64, float64:
			list[i].Right = true
		}
	}
	return term.NewTable(w, " | ", true, list...)
}

// isNumber reports whether a type's values are aligned to the right.
func isNumber(typ string) bool {
	switch typ {
	case "TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "UTINYINT", "USMALLINT",
		"UINTEGER", "UBIGINT", "UHUGEINT", "FLOAT", "DOUBLE":
		return true
	}
	return strings.HasPrefix(typ, "DECIMAL")
}

func printCSV(w io.Writer, rows store.Rows) error {
	if len(rows.Columns()) == 0 {
		return nil
	}
	out := csv.NewWriter(w)
	cells := make([]string, len(rows.Columns()))
	for i, c := range rows.Columns() {
		var err error
		if cells[i], err = csvText(c.Name); err != nil {
			return err
		}
	}
	if err := out.Write(cells); err != nil {
		return err
	}
	for row, err := range rows.All() {
		if err == nil {
			err = csvRow(cells, row)
		}
		if err == nil {
			err = out.Write(cells)
		}
		if err != nil {
			out.Flush()
			return err
		}
	}
	out.Flush()
	return out.Error()
}

func csvRow(cells []string, row []any) (err error) {
	for i := range row {
		if cells[i], err = csvText(row[i]); err != nil {
			return err
		}
	}
	return nil
}

func printJSON(w io.Writer, rows store.Rows) error {
	p, err := newJSONPrinter(rows.Columns())
	if err != nil {
		return err
	}
	for row, err := range rows.All() {
		if err != nil {
			return err
		}
		if err := p.row(w, row); err != nil {
			return err
		}
	}
	return nil
}

// jsonPrinter prints an object a line, with the columns in their order.
type jsonPrinter struct {
	names [][]byte
	line  bytes.Buffer
}

// newJSONPrinter returns a printer of columns. One whose name was there before
// gets a number.
func newJSONPrinter(columns []store.Column) (*jsonPrinter, error) {
	p := new(jsonPrinter)
	seen := make(map[string]bool)
	for _, c := range columns {
		name := c.Name
		for n := 1; seen[name]; n++ {
			name = fmt.Sprintf("%s_%d", c.Name, n)
		}
		seen[name] = true
		text, err := encodeJSON(name)
		if err != nil {
			return nil, err
		}
		p.names = append(p.names, text)
	}
	return p, nil
}

func (p *jsonPrinter) row(w io.Writer, row []any) error {
	p.line.Reset()
	for i := range row {
		value, err := encodeJSON(jsonValue(row[i]))
		if err != nil {
			return err
		}
		p.line.WriteByte("{,"[min(i, 1)])
		p.line.Write(p.names[i])
		p.line.WriteByte(':')
		p.line.Write(value)
	}
	p.line.WriteString("}\n")
	_, err := w.Write(p.line.Bytes())
	return err
}
