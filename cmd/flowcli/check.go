// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"weir/internal/command"
	"weir/internal/term"
	"weir/store/lake"
)

// checkOptions are the flags of check.
type checkOptions struct{ repair, json bool }

// errDamaged says that a check found damage, which has been reported by then.
var errDamaged = errors.New("the store is damaged")

const checkHelp = `check reads every file of the store and compares it with what was written: the
manifest, and of each part the size, the checksum, the metadata and the number
of rows. It prints a line for each file that is damaged, and one for what is
merely left over. Sensors and queries may go on meanwhile.

With --repair, damaged parts leave the store, so that queries work again, and it
says what was in them; a damaged manifest is replaced by its copy. Files are
moved into the directory .damaged of the store, not removed.

Exit codes: 0 nothing is damaged, or all of it was mended; 1 something is
damaged; 3 repaired, and records are lost.`

func (o *options) newCheck() *cobra.Command {
	var c checkOptions
	cmd := &cobra.Command{
		Use:   "check [flags]",
		Short: "Verify every file of the store, and repair it",
		Long:  checkHelp,
		Args:  noArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return o.runCheck(cmd.Context(), c) },
	}
	cmd.Flags().BoolVar(&c.repair, "repair", false, "drop what is damaged, and say what was lost")
	cmd.Flags().BoolVarP(&c.json, "json", "j", false, "print one JSON object")
	return cmd
}

func (o *options) runCheck(ctx context.Context, c checkOptions) error {
	d, err := need[directory](o, "check", "only a lake has files of its own; Neo4j checks its files itself")
	if err != nil {
		return err
	}
	run := lake.Check
	if c.repair {
		run = lake.Repair
	}
	r, err := run(ctx, d.path(), lake.CheckConfig{})
	if err != nil {
		return err
	}
	if c.json {
		err = writeJSON(o.stdout, r)
	} else {
		w := bufio.NewWriter(o.stdout)
		o.printReport(w, r)
		err = w.Flush()
	}
	switch {
	case err != nil:
		return err
	case r.Repaired && (len(r.Lost) > 0 || r.Unknown):
		return command.ErrPartial
	case len(r.Damage) > 0 && !r.Repaired:
		return errDamaged
	}
	return nil
}

// printReport prints a report for people. The writer keeps the first error.
func (o *options) printReport(w io.Writer, r *lake.Report) {
	line := func(format string, args ...any) {
		fmt.Fprintln(w, term.Escape(fmt.Sprintf(format, args...)))
	}
	for _, p := range r.Damage {
		line("damaged: %s: %s", p.Path, p.Reason)
	}
	for _, p := range r.Mended {
		line("mended: %s: %s", p.Path, p.Reason)
	}
	for _, l := range r.Lost {
		text := fmt.Sprintf("lost: %s: %s rows of %s", l.Path, term.Number(l.Rows), l.Kind)
		if l.Connections > 0 {
			text += fmt.Sprintf(", %s connections", term.Number(l.Connections))
		}
		text += fmt.Sprintf(", from %s to %s", o.time(l.First), o.time(l.Last))
		if l.Import != "" {
			text += ", of import " + l.Import
		}
		if len(l.Inputs) > 0 {
			text += ": read " + strings.Join(l.Inputs, ", ") + " again with sensor -r --replace"
		}
		line("%s", text)
	}
	if r.Unknown {
		line("lost: the changes after generation %d; nobody knows what was in them", r.Generation)
	}
	for _, p := range r.Notes {
		line("note: %s: %s", p.Path, p.Reason)
	}
	verdict := "nothing is damaged"
	if len(r.Damage) > 0 {
		verdict = fmt.Sprintf("%d damaged", len(r.Damage))
		if r.Repaired {
			verdict += ", repaired"
		}
	}
	line("%s parts, %s rows, %s: %s", term.Number(int64(r.Parts)), term.Number(r.Rows), term.Bytes(r.Bytes), verdict)
}
