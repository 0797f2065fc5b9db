// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"weir/internal/command"
	"weir/internal/term"
	"weir/store"
	"weir/store/neo4j"
)

const statusHelp = `status prints the store's size, time range and sensors, what it holds of each
kind, and the imports that filled it.

Of a Neo4j database it also prints what waits to be sent to it in the spool of
this machine's sensor, if there is one, and for how long; also where the server
does not answer.`

func (o *options) newStatus() *cobra.Command {
	cmd := &cobra.Command{
		Use:               "status [flags]",
		Short:             "Describe what the store holds",
		Long:              statusHelp,
		Args:              noArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE:              func(cmd *cobra.Command, _ []string) error { return o.runStatus(cmd.Context()) },
	}
	cmd.Flags().BoolVarP(&o.json, "json", "j", false, "print one JSON object")
	cmd.Flags().StringVar(&o.spool, "spool", "", "`directory` of the spool of a Neo4j database (default: where a sensor of this user keeps it)")
	command.CompleteFlags(cmd, map[string]cobra.CompletionFunc{"spool": command.Directories})
	return cmd
}

// description is what status tells of a store.
type description struct {
	// Status is nil where the store does not answer, Spool where it has none.
	*store.Status
	Spool *spoolStatus `json:"spool,omitempty"`
}

// spoolStatus is what waits to be sent.
type spoolStatus struct {
	Path string `json:"path"`
	neo4j.Backlog
	// Age is for how long the oldest part has waited, in seconds.
	Age float64 `json:"age_seconds"`
}

func (o *options) runStatus(ctx context.Context) error {
	var d *description
	err := o.within(ctx, func(ctx context.Context) (err error) {
		d, err = o.place().describe(ctx)
		return err
	})
	if d == nil {
		return err
	}
	w := bufio.NewWriter(o.stdout)
	if o.json {
		return errors.Join(err, writeJSON(w, d), w.Flush())
	}
	return errors.Join(err, o.printStatus(w, d), w.Flush())
}

// line prints a line of the description for people. The writer keeps the first
// error.
func line(w io.Writer, name, format string, args ...any) {
	fmt.Fprintf(w, "%-11s  %s\n", name, term.Escape(fmt.Sprintf(format, args...)))
}

func (o *options) printStatus(w io.Writer, d *description) error {
	if d.Status != nil {
		o.printSummary(w, d.Status)
	}
	if d.Spool != nil {
		o.printSpool(w, d.Spool)
	}
	if d.Status == nil {
		return nil
	}
	if err := printTables(w, d.Tables); err != nil {
		return err
	}
	return o.printImports(w, d.Imports)
}

// printSummary prints what there is to say about the whole store. Only a lake
// has generations, parts, and a size of them.
func (o *options) printSummary(w io.Writer, s *store.Status) {
	about := fmt.Sprintf("format %d", s.Format)
	if s.Generation > 0 {
		about += fmt.Sprintf(", generation %d", s.Generation)
	}
	line(w, "store", "%s (%s)", s.Location, about)
	if s.Generation > 0 {
		parts := "parts"
		if s.Parts == 1 {
			parts = "part"
		}
		line(w, "rows", "%s in %s %s, %s", term.Number(s.Rows), term.Number(s.Parts), parts, term.Bytes(s.Bytes))
	} else {
		line(w, "nodes", "%s", term.Number(s.Rows))
	}
	line(w, "connections", "%s", term.Number(s.Connections))
	if s.First != nil && s.Last != nil {
		line(w, "times", "%s to %s", o.time(*s.First), o.time(*s.Last))
	} else {
		line(w, "times", "none")
	}
	sensors := make([]string, len(s.Sensors))
	for i, name := range s.Sensors {
		if name == "" {
			name = "(unnamed)"
		}
		sensors[i] = name
	}
	line(w, "sensors", "%s", orNone(strings.Join(sensors, ", ")))
}

// printSpool prints what waits.
func (o *options) printSpool(w io.Writer, s *spoolStatus) {
	line(w, "spool", "%s", s.Path)
	if s.Parts == 0 {
		line(w, "waiting", "nothing")
		return
	}
	line(w, "waiting", "%s connections, %s intel records in %s parts, %s, for %v", term.Number(s.Connections),
		term.Number(s.Intel), term.Number(s.Parts), term.Bytes(s.Bytes), time.Duration(s.Age*float64(time.Second)).Round(time.Second))
}

// printTables prints what the store holds of each kind.
func printTables(w io.Writer, tables []store.TableStatus) error {
	if len(tables) == 0 {
		return nil
	}
	right := func(name string) term.Column { return term.Column{Name: name, Right: true} }
	columns := []term.Column{{Name: "label"}, right("nodes")}
	var parts int64
	for i := range tables {
		parts += tables[i].Parts
	}
	if parts > 0 {
		columns = []term.Column{{Name: "table"}, right("parts"), right("<1 MB"), right("<16 MB"), right("rows"), right("size")}
	}
	fmt.Fprintln(w)
	t := term.NewTable(w, "  ", true, columns...)
	for i := range tables {
		ts := &tables[i]
		cells := []string{ts.Name, term.Number(ts.Parts), term.Number(ts.Small), term.Number(ts.Medium), term.Number(ts.Rows), term.Bytes(ts.Bytes)}
		if parts == 0 {
			cells = []string{ts.Name, term.Number(ts.Rows)}
		}
		if err := t.Row(cells...); err != nil {
			return err
		}
	}
	return t.Flush()
}

// printImports prints what filled the store.
func (o *options) printImports(w io.Writer, imports []store.ImportStatus) error {
	if len(imports) == 0 {
		return nil
	}
	fmt.Fprintln(w)
	t := term.NewTable(w, "  ", true, term.Column{Name: "import"}, term.Column{Name: "time"},
		term.Column{Name: "sensor"}, term.Column{Name: "source"}, term.Column{Name: "packets", Right: true},
		term.Column{Name: "connections", Right: true}, term.Column{Name: "inputs"})
	for i := range imports {
		imp := &imports[i]
		inputs := strings.Join(imp.Inputs, ", ")
		if imp.Truncated {
			inputs += " (truncated)"
		}
		if imp.Open || imp.Killed {
			state := "open"
			if imp.Killed {
				state = "killed"
			}
			age := max(0, time.Since(imp.Time)).Round(time.Second)
			inputs += fmt.Sprintf(" (%s, published %v ago)", state, age)
		}
		if imp.Damaged {
			inputs += " (damaged)"
		}
		if imp.Lost > 0 {
			inputs += fmt.Sprintf(" (%s records lost)", term.Number(imp.Lost))
		}
		if err := t.Row(imp.ID, o.time(imp.Time), imp.Sensor, imp.Source, term.Number(int64(imp.Packets)),
			term.Number(imp.Connections), inputs); err != nil {
			return err
		}
	}
	return t.Flush()
}

// time returns a time for people, in the zone they chose.
func (o *options) time(t time.Time) string { return t.In(o.zone).Format(timeLayout + " MST") }

func orNone(s string) string {
	if s == "" {
		return "none"
	}
	return s
}
