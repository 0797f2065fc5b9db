// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"weir/internal/command"
	"weir/store"
)

// oneQuery is the check of their arguments.
func oneQuery(cmd *cobra.Command, args []string) error {
	if len(args) == 1 {
		return nil
	}
	return &command.UsageError{Err: fmt.Errorf("%s takes one query in quotes, or - for standard input; got %d arguments", cmd.Name(), len(args))}
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
func (o *options) printRaw(ctx context.Context, out *output, text string, run func(context.Context, string) (store.Rows, error)) error {
	rows, err := run(ctx, text)
	if err == nil {
		err = errors.Join(printRows(out, rows), rows.Close())
	}
	if bad := new(store.QueryError); errors.As(err, &bad) {
		return &textError{err: bad, text: text, offset: bad.Offset}
	}
	return err
}

// printRows prints a result, whose times are in UTC.
func printRows(out *output, rows store.Rows) error {
	columns := make([]column, len(rows.Columns()))
	for i, c := range rows.Columns() {
		columns[i] = column{name: c.Name, right: isNumber(c.Type)}
	}
	raw := *out
	raw.style.cell = cellText
	s, err := raw.sheet(columns)
	if err != nil {
		return err
	}
	return fill(s, rows.All(), func(row []any) error { return s.row(row, nil) })
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
