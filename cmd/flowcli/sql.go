// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"

	"github.com/spf13/cobra"

	"weir/internal/command"
	"weir/store"
)

const sqlHelp = `sql runs a SELECT over the tables of a lake and prints the result.

The tables are conn (a row for each connection), flow (connections grouped by
hosts, protocol and server port), and dns, http and ssl (what was seen in them,
joined to conn by uid). "DESCRIBE conn" lists the columns of one. The language is
DuckDB's. Only a single SELECT is allowed: nothing can be changed, and no other
file read. Times are in UTC.

Output is an aligned table, with --json one array of objects, with --ndjson an
object a line, or --csv; --output FILE writes it to a file. In CSV, a text that a
spreadsheet would take for a formula starts with an apostrophe.`

const sqlExamples = `  flowcli sql "SELECT query, count(*) FROM dns GROUP BY 1 ORDER BY 2 DESC LIMIT 10"
  flowcli sql "SELECT server_name, version, cipher FROM ssl WHERE established" --format csv
  flowcli sql "SELECT date_trunc('hour', firstseen) AS hour, sum(csbytes) FROM conn GROUP BY 1 ORDER BY 1"
  flowcli sql - < query.sql`

func (o *options) newSQL() *cobra.Command {
	cmd := &cobra.Command{
		Use:               `sql "SELECT ..." [flags]`,
		Short:             "Run a SELECT over the tables of a lake",
		Long:              sqlHelp,
		Example:           sqlExamples,
		Args:              oneQuery,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE:              func(cmd *cobra.Command, args []string) error { return o.runSQL(cmd.Context(), args[0]) },
	}
	o.out.addFlags(cmd.Flags())
	command.CompleteFlags(cmd, o.out.completions())
	return cmd
}

func (o *options) runSQL(ctx context.Context, arg string) error {
	if _, err := need[directory](o, "sql", "use flowcli cypher"); err != nil {
		return err
	}
	text, err := o.queryText(arg)
	if err != nil {
		return err
	}
	return o.deliver(func(out *output) error {
		return o.withStore(ctx, func(ctx context.Context, db store.Reader) error {
			return o.printRaw(ctx, out, text, db.Raw)
		})
	})
}
