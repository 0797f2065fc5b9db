// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"weir/internal/command"
	"weir/internal/term"
	"weir/store/lake"
	"weir/store/neo4j"
)

const loadHelp = `load sends what is in a lake to a Neo4j database, which it makes ready where
nobody has. It sends the lake as it is when it begins: what others write or merge
meanwhile makes no difference. What the database has already, from the same
lake, it does not send again.

It may be interrupted, or the server may be: the same command goes on where it
was, and in the end nothing is missing, and nothing there twice.`

const loadExamples = `  flowcli load --store neo4j://neo4j@localhost:7687 /var/lib/weir
  WEIR_STORE=neo4j://neo4j@graph flowcli load lake --password-file ~/.neo4j --json`

// loadOptions are the flags of load.
type loadOptions struct{ json bool }

func (o *options) newLoad() *cobra.Command {
	var l loadOptions
	cmd := &cobra.Command{
		Use:     "load [flags] LAKE",
		Short:   "Send a lake to a Neo4j database",
		Long:    loadHelp,
		Example: loadExamples,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return &command.UsageError{Err: fmt.Errorf("load takes the directory of one lake; got %d arguments", len(args))}
			}
			return nil
		},
		ValidArgsFunction: command.Directories,
		RunE:              func(cmd *cobra.Command, args []string) error { return o.runLoad(cmd.Context(), args[0], &l) },
	}
	cmd.Flags().BoolVarP(&l.json, "json", "j", false, "print what was done as one JSON object")
	cmd.Flags().BoolVarP(&o.quiet, "quiet", "q", false, "print nothing but errors")
	return cmd
}

func (o *options) runLoad(ctx context.Context, path string, l *loadOptions) error {
	if neo4j.IsURI(path) {
		return usage(errors.New("load sends a lake: the Neo4j database is named by --store"))
	}
	c, err := need[connector](o, "load", "it sends a lake to a Neo4j database, which --store names as neo4j://user@host:7687")
	if err != nil {
		return err
	}
	from, err := lake.Open(path, lake.Config{Version: buildVersion()})
	if err != nil {
		return err
	}
	var s neo4j.LoadStats
	begun := false
	err = o.withGraph(ctx, c, true, func(ctx context.Context, db *neo4j.DB) (err error) {
		begun = true
		progress := o.progress("rows")
		s, err = db.Load(ctx, from, neo4j.LoadConfig{Progress: progress.of, Logger: o.logger()})
		progress.clear()
		return err
	})
	if err != nil {
		if begun {
			fmt.Fprintln(o.stderr, "flowcli: what was sent stays: the same command goes on from there")
		}
		return err
	}
	switch {
	case l.json:
		err = writeJSON(o.stdout, newLoadJSON(s))
	case !o.quiet:
		err = printLoad(o.stdout, s)
	}
	if err == nil && s.Lost != (lake.Records{}) {
		return command.ErrPartial
	}
	return err
}

// loadJSON is LoadStats as --json prints them.
type loadJSON struct {
	Imports     int64 `json:"imports"`
	Known       int64 `json:"known_imports"`
	Parts       int64 `json:"parts"`
	Connections int64 `json:"connections"`
	Intel       int64 `json:"intel"`
	Flows       int64 `json:"flow_updates"`
	LostConns   int64 `json:"lost_connections"`
	LostIntel   int64 `json:"lost_intel"`
	Resumed     bool  `json:"resumed"`
}

func newLoadJSON(s neo4j.LoadStats) loadJSON {
	return loadJSON{s.Imports, s.Known, s.Parts, s.Connections, s.Intel, s.Flows, s.Lost.Conns, s.Lost.Intel, s.Resumed}
}

// printLoad says what was sent.
func printLoad(w io.Writer, s neo4j.LoadStats) error {
	text := "sent"
	if s.Resumed {
		text = "went on and sent"
	}
	text += fmt.Sprintf(" %s imports in %s parts: %s connections, %s intel records, %s updates of flows",
		term.Number(s.Imports), term.Number(s.Parts), term.Number(s.Connections), term.Number(s.Intel), term.Number(s.Flows))
	if s.Known > 0 {
		text += fmt.Sprintf("; %s imports were there", term.Number(s.Known))
	}
	if s.Lost != (lake.Records{}) {
		text += fmt.Sprintf("; left out %s records of connections and %s of intel that cannot be read", term.Number(s.Lost.Conns), term.Number(s.Lost.Intel))
	}
	_, err := fmt.Fprintln(w, text)
	return err
}
