// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"weir/internal/command"
	"weir/store"
	"weir/store/neo4j"
)

const cypherHelp = `cypher runs a query over the graph of a Neo4j database and prints the result.

Hosts send flows to hosts: (:Host)-[:SEND]->(:Flow)-[:TO]->(:Host). What was seen
in them are nodes of their own, (:Flow)-[:INTEL]->(:DNS), (:HTTP) and (:SSL).
docs/neo4j.md describes all properties, with examples.

The query may only read, unless --write is given; then what it changed is said
after the result, on stderr. Times are in UTC.

Output is an aligned table, with --json one array of objects, with --ndjson an
object a line, or --csv; --output FILE writes it to a file. In CSV, a text that a
spreadsheet would take for a formula starts with an apostrophe.`

const cypherExamples = `  flowcli cypher "MATCH (f:Flow) RETURN [f.proto, f.dport], count(*) AS cnt ORDER BY cnt DESC LIMIT 10"
  flowcli cypher "MATCH (h:Host)-[:SEND]->(f:Flow)-[:INTEL]->(d:DNS {query: 'example.com'}) RETURN DISTINCT h.addr"
  flowcli cypher "MATCH (h:Host) RETURN h LIMIT 3" --format json
  flowcli cypher - < query.cypher
  flowcli cypher --write "MATCH (h:Host {addr: '10.0.0.1'}) SET h.name = 'gateway'"`

func (o *options) newCypher() *cobra.Command {
	var write bool
	cmd := &cobra.Command{
		Use:               `cypher "MATCH ..." [flags]`,
		Short:             "Run a query over the graph of a Neo4j database",
		Long:              cypherHelp,
		Example:           cypherExamples,
		Args:              oneQuery,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, args []string) error {
			return o.runCypher(cmd.Context(), args[0], write)
		},
	}
	cmd.Flags().BoolVar(&write, "write", false, "let the query change the database")
	o.out.addFlags(cmd.Flags())
	command.CompleteFlags(cmd, o.out.completions())
	return cmd
}

func (o *options) runCypher(ctx context.Context, arg string, write bool) error {
	c, err := need[connector](o, "cypher", "use flowcli sql")
	if err != nil {
		return err
	}
	text, err := o.queryText(arg)
	if err != nil {
		return err
	}
	return o.deliver(func(out *output) error {
		return o.withGraph(ctx, c, false, func(ctx context.Context, db *neo4j.DB) error {
			return o.printCypher(ctx, out, db, text, write)
		})
	})
}

func (o *options) printCypher(ctx context.Context, out *output, db *neo4j.DB, text string, write bool) error {
	if !write {
		err := o.printRaw(ctx, out, text, db.Raw)
		if bad := new(store.QueryError); errors.As(err, &bad) && bad.Writes {
			return usage(errors.New("this query changes the database, which it may only with --write"))
		}
		return err
	}
	var written *neo4j.Written
	err := o.printRaw(ctx, out, text, func(ctx context.Context, text string) (store.Rows, error) {
		var err error
		if written, err = db.RawWrite(ctx, text); err != nil {
			return nil, err
		}
		return written, nil
	})
	if err == nil {
		out.line.clear()
		fmt.Fprintf(o.stderr, "flowcli: %s\n", changes(written))
	}
	return err
}

// changes says what a query changed.
func changes(w *neo4j.Written) string {
	if text := w.Changes(); text != "" {
		return text
	}
	return "nothing was changed"
}
