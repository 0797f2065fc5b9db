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

// sqlOptions are the flags of sql.
type sqlOptions struct{ format string }

const sqlHelp = `sql runs a SELECT over the store's tables and prints the result.

The tables are conn (a row for each connection), flow (connections grouped by
hosts, protocol and server port), and dns, http and ssl (what was seen in them,
joined to conn by uid). "DESCRIBE conn" lists the columns of one. The language is
DuckDB's. Only a single SELECT is allowed: nothing can be changed, and no other
file read. Times are in UTC.

JSON output is an object a line. In CSV output, a text that a spreadsheet would
take for a formula starts with an apostrophe.`

const sqlExamples = `  flowcli sql "SELECT query, count(*) FROM dns GROUP BY 1 ORDER BY 2 DESC LIMIT 10"
  flowcli sql "SELECT server_name, version, cipher FROM ssl WHERE established" --format csv
  flowcli sql "SELECT date_trunc('hour', firstseen) AS hour, sum(csbytes) FROM conn GROUP BY 1 ORDER BY 1"
  flowcli sql - < query.sql`

func (o *options) newSQL() *cobra.Command {
	cmd := &cobra.Command{
		Use:     `sql "SELECT ..." [flags]`,
		Short:   "Run a SELECT over the store's tables",
		Long:    sqlHelp,
		Example: sqlExamples,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return &command.UsageError{Err: fmt.Errorf("sql takes one query in quotes, or - for standard input; got %d arguments", len(args))}
			}
			return nil
		},
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE:              func(cmd *cobra.Command, args []string) error { return o.runSQL(cmd.Context(), args[0]) },
	}
	cmd.Flags().StringVar(&o.sql.format, "format", "table", "`format` of the result: table, csv or json")
	command.CompleteFlags(cmd, map[string]cobra.CompletionFunc{"format": command.Words("table", "csv", "json")})
	return cmd
}

func (o *options) runSQL(ctx context.Context, text string) error {
	var print func(io.Writer, store.Rows) error
	switch o.sql.format {
	case "table":
		print = printTable
	case "csv":
		print = printCSV
	case "json":
		print = printJSON
	default:
		return &command.UsageError{Err: fmt.Errorf("--format %q is none of table, csv, json", o.sql.format)}
	}
	if text == "-" {
		data, err := io.ReadAll(io.LimitReader(o.stdin, maxStdin))
		if err != nil {
			return fmt.Errorf("read the query: %w", err)
		}
		text = string(data)
	}
	return o.withStore(ctx, func(ctx context.Context, db store.Reader) error {
		rows, err := db.Raw(ctx, text)
		if bad := new(store.QueryError); errors.As(err, &bad) {
			return &textError{err: bad, text: text, offset: bad.Offset}
		}
		if err != nil {
			return err
		}
		w := bufio.NewWriterSize(o.stdout, 64<<10)
		err = print(w, rows)
		return errors.Join(err, w.Flush(), rows.Close())
	})
}

// maxStdin bounds a query from standard input; longer ones are refused as too
// long by the store.
const maxStdin = 2 << 20

func printTable(w io.Writer, rows store.Rows) error {
	var columns []term.Column
	for _, c := range rows.Columns() {
		columns = append(columns, term.Column{Name: c.Name, Right: isNumber(c.Type)})
	}
	t := term.NewTable(w, " | ", true, columns...)
	cells := make([]string, len(columns))
	for row, err := range rows.All() {
		if err != nil {
			return errors.Join(t.Flush(), err)
		}
		for i := range row {
			cells[i] = cellText(row[i])
		}
		if err := t.Row(cells...); err != nil {
			return err
		}
	}
	return t.Flush()
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
