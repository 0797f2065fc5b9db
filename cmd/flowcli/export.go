// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"weir/internal/command"
	"weir/internal/export"
	"weir/internal/term"
	"weir/store"
	"weir/store/neo4j"
)

const exportHelp = `export writes the graph of the flows that filters select: hosts, and between them
an edge for each flow, or for each pair of hosts (--mode).

  graphml  for yEd, Gephi and NetworkX: a directed graph with typed attributes
  dot      for graphviz: hosts white where flows go to them, else gray; the color
           of an edge is that of its service
  json     {"nodes": [...], "edges": [...]}: hosts, and flows as flowcli --json has
           them, with their times
  csv      the edges, a line each; lists as JSON
  cypher   statements that make hosts and flows in any Neo4j, as flowcli load does
  parquet  the edges, with the columns of view flow and the times, for DuckDB

Hosts have the numbers of the selected flows to (in) and from them (out), and when
these were seen. The formats with hosts keep the edges in a temporary file meanwhile,
and take some 100 bytes of memory a host, 4 million of them at most; the others
need no memory. Flows of cypher replace those that are there; intel is left out.

What comes from the wire is escaped in each of them: control characters, for example,
are \xNN in graphml, dot and csv, \uNNNN in json and cypher.`

const exportExamples = `  flowcli export --format graphml -f 'dport = 443' > https.graphml
  flowcli export --output office.dot -n 'addr = 10.1.0.0/16' -m flow_map
  flowcli export --format cypher | cypher-shell -a neo4j://graph -u neo4j
  flowcli export --output flows.parquet`

// exportOptions are the flags of export.
type exportOptions struct {
	format string
	output fileName
	mode   mode
}

// exportFormats are the names of the formats, by what files of theirs end with.
func exportFormats() [][2]string {
	return [][2]string{
		{".graphml", "graphml"},
		{".dot", "dot"},
		{".gv", "dot"},
		{".json", "json"},
		{".csv", "csv"},
		{".cypher", "cypher"},
		{".cql", "cypher"},
		{".parquet", "parquet"},
	}
}

func exportFormatNames() []string {
	var names []string
	for _, f := range exportFormats() {
		if !slices.Contains(names, f[1]) {
			names = append(names, f[1])
		}
	}
	return names
}

func (o *options) newExport() *cobra.Command {
	x := exportOptions{mode: defaultMode}
	cmd := &cobra.Command{
		Use:               "export --format FORMAT [flags]",
		Short:             "Write the graph of flows for other programs",
		Long:              exportHelp,
		Example:           exportExamples,
		Args:              noArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := cmp.Or(x.complete(), o.list.checkPage(cmd.Flags())); err != nil {
				return usage(err)
			}
			return o.runExport(cmd.Context(), &x)
		},
	}
	f := cmd.Flags()
	f.SortFlags = false
	f.StringVar(&x.format, "format", "", "`format`: graphml, dot, json, csv, cypher or parquet (default: what --output ends with)")
	f.Var(&x.output, "output", "write to this `file`, which is there when it is complete")
	f.VarP(&x.mode, "mode", "m", "what an edge is, by `mode`: default, a flow; flow_map, a pair of hosts with the services; talk_map, a pair without")
	o.list.addSelection(f)
	o.list.addPage(f, "write this `many` edges at most (default: all)", "sort edges by src, dst, flow or any `attribute` with one value; -attribute: greatest first")
	complete := map[string]cobra.CompletionFunc{
		"format": command.Words(exportFormatNames()...), "mode": command.Words(modes()...), "output": command.Files(),
		"orderby": completeAttributes()["orderby"],
	}
	maps.Copy(complete, o.completeSelection())
	command.CompleteFlags(cmd, complete)
	return cmd
}

// complete checks the flags, and finds the format.
func (x *exportOptions) complete() error {
	suffix := filepath.Ext(string(x.output))
	if x.format == "" {
		for _, f := range exportFormats() {
			if strings.EqualFold(suffix, f[0]) {
				x.format = f[1]
			}
		}
	}
	names := strings.Join(exportFormatNames(), ", ")
	switch {
	case x.format == "" && suffix != "":
		return fmt.Errorf("--output %s: no format has the suffix %s; give --format, one of %s", x.output, suffix, names)
	case x.format == "":
		return errors.New("export needs --format, one of " + names)
	case !slices.Contains(exportFormatNames(), x.format):
		return fmt.Errorf("--format %q is none of %s", x.format, names)
	case x.format == "cypher" && x.mode != defaultMode:
		return errors.New("--format cypher writes flows: it goes with --mode default alone")
	}
	return nil
}

func (o *options) runExport(ctx context.Context, x *exportOptions) error {
	if f, ok := o.stdout.(*os.File); ok && x.output == "" && x.format == "parquet" && term.IsTerminal(f) {
		return usage(errors.New("parquet is no text: name a file with --output, or redirect"))
	}
	if o.list.shortcuts.width.show {
		return usage(errors.New("--precision needs a width here"))
	}
	s, err := o.selection()
	if err != nil {
		return err
	}
	q := o.query(s)
	q.Times = true
	line := o.wait()
	defer line.stop()
	return o.withStore(ctx, func(ctx context.Context, db store.Reader) error {
		write := func(w io.Writer) error {
			b := bufio.NewWriterSize(line.before(w), 64<<10)
			return errors.Join(x.write(ctx, db, q, b, line), b.Flush())
		}
		if x.output == "" || x.output == "-" {
			return write(o.stdout)
		}
		return writeFile(string(x.output), write)
	})
}

// exporter writes edges.
type exporter interface {
	Edge(e *export.Edge) error
	// finish writes what is held back, once, after the last edge.
	finish() error
	// Close gives back what it takes, finished or not.
	Close() error
}

// write writes the graph of the flows that a query selects; line counts its edges.
func (x *exportOptions) write(ctx context.Context, db store.Reader, q store.Query, w io.Writer, line *waiting) (err error) {
	out, err := x.exporter(ctx, db, w)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	add := func(e *export.Edge) error {
		line.rows.Add(1)
		return out.Edge(e)
	}
	if x.mode == defaultMode {
		for f, err := range db.Flows(ctx, q) {
			if err == nil {
				err = add(export.FlowEdge(f))
			}
			if err != nil {
				return err
			}
		}
		return out.finish()
	}
	for pair, err := range db.Pairs(ctx, store.PairQuery{Query: q, Services: x.mode == flowMap}) {
		if err == nil {
			err = add(export.PairEdge(pair))
		}
		if err != nil {
			return err
		}
	}
	return out.finish()
}

// exporter returns what writes the format.
func (x *exportOptions) exporter(ctx context.Context, db store.Reporter, w io.Writer) (exporter, error) {
	columns := export.FlowColumns()
	if x.mode != defaultMode {
		columns = export.PairColumns()
	}
	var format export.Format
	switch x.format {
	case "csv":
		return newCSVExport(w, columns)
	case "cypher":
		s, err := db.Status(ctx)
		if err != nil {
			return nil, err
		}
		script, err := neo4j.NewScript(w, time.Duration(s.Precision)*time.Second)
		return &scriptExport{script}, err
	case "parquet":
		if x.mode == defaultMode {
			return &endingExport{export.NewFlowParquet(w)}, nil
		}
		return &endingExport{export.NewPairParquet(w)}, nil
	case "graphml":
		format = export.NewGraphML(columns)
	case "dot":
		format = export.NewDOT(columns)
	default:
		format = export.JSON{}
	}
	g, err := export.NewGraph(format)
	return &graphExport{g, w}, err
}

// graphExport is a format with hosts.
type graphExport struct {
	*export.Graph
	w io.Writer
}

func (g *graphExport) Edge(e *export.Edge) error {
	err := g.Graph.Edge(e)
	if errors.Is(err, export.ErrTooLarge) {
		err = fmt.Errorf("%w: select less, or take csv, cypher or parquet", err)
	}
	return err
}

func (g *graphExport) finish() error { return g.Finish(g.w) }

// endingExport is a format whose Close is its end.
type endingExport struct {
	out interface {
		Edge(e *export.Edge) error
		Close() error
	}
}

func (x *endingExport) Edge(e *export.Edge) error { return x.out.Edge(e) }
func (x *endingExport) finish() error             { return x.out.Close() }
func (x *endingExport) Close() error              { return nil }

// scriptExport writes Cypher.
type scriptExport struct{ script *neo4j.Script }

func (s *scriptExport) Edge(e *export.Edge) error {
	f, ok := e.Object.(*store.Flow)
	if !ok {
		return errors.New("cypher has no edges but flows")
	}
	return s.script.Flow(f)
}
func (s *scriptExport) finish() error { return s.script.Close() }
func (s *scriptExport) Close() error  { return nil }

// csvExport writes edges as CSV.
type csvExport struct {
	sheet *csvSheet
	row   []any
}

func newCSVExport(w io.Writer, columns []export.Column) (*csvExport, error) {
	names := make([]string, len(columns))
	for i := range columns {
		names[i] = columns[i].Name
	}
	s, err := newCSVSheet(w, named(names...))
	return &csvExport{s, make([]any, len(columns))}, err
}

func (c *csvExport) Edge(e *export.Edge) error {
	for i, v := range e.Values {
		c.row[i] = listed(v)
	}
	return c.sheet.row(c.row, nil)
}

func (c *csvExport) finish() error { return c.sheet.end() }
func (c *csvExport) Close() error  { return nil }

// listed returns a value with lists as csvText takes them, nil for those without values.
func listed(v any) any {
	switch v := v.(type) {
	case []uint16:
		return list(v)
	case []string:
		return list(v)
	case []time.Time:
		return list(v)
	}
	return v
}
