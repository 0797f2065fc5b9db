// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"weir/internal/term"
	"weir/store"
	"weir/store/lakequery"
)

func (o *options) newStatus() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "status [flags]",
		Short: "Describe what the store holds",
		Long: `status prints the store's size, time range and sensors, its tables, and the
imports that filled it.`,
		Args:              noArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE:              func(*cobra.Command, []string) error { return o.runStatus() },
	}
	cmd.Flags().BoolVarP(&o.json, "json", "j", false, "print one JSON object")
	return cmd
}

func (o *options) runStatus() error {
	s, err := lakequery.ReadStatus(o.store)
	if err != nil {
		return err
	}
	if o.json {
		return writeJSON(o.stdout, s)
	}
	w := bufio.NewWriter(o.stdout)
	if err := o.printStatus(w, s); err != nil {
		return err
	}
	return w.Flush()
}

func (o *options) printStatus(w io.Writer, s *store.Status) error {
	line := func(name, format string, args ...any) {
		// The writer keeps the first error.
		fmt.Fprintf(w, "%-11s  %s\n", name, term.Escape(fmt.Sprintf(format, args...)))
	}
	line("store", "%s (format %d, generation %d)", s.Location, s.Format, s.Generation)
	parts := "parts"
	if s.Parts == 1 {
		parts = "part"
	}
	line("rows", "%s in %s %s, %s", term.Number(s.Rows), term.Number(s.Parts), parts, term.Bytes(s.Bytes))
	line("connections", "%s", term.Number(s.Connections))
	if s.First != nil && s.Last != nil {
		line("times", "%s to %s", o.time(*s.First), o.time(*s.Last))
	} else {
		line("times", "none")
	}
	sensors := s.Sensors
	for i := range sensors {
		if sensors[i] == "" {
			sensors[i] = "(unnamed)"
		}
	}
	line("sensors", "%s", orNone(strings.Join(sensors, ", ")))
	if len(s.Tables) > 0 {
		fmt.Fprintln(w)
		t := term.NewTable(w, "  ", true, term.Column{Name: "table"}, term.Column{Name: "parts", Right: true},
			term.Column{Name: "<1 MB", Right: true}, term.Column{Name: "<16 MB", Right: true}, term.Column{Name: "rows", Right: true}, term.Column{Name: "size", Right: true})
		for i := range s.Tables {
			ts := &s.Tables[i]
			if err := t.Row(ts.Name, term.Number(ts.Parts), term.Number(ts.Small), term.Number(ts.Medium),
				term.Number(ts.Rows), term.Bytes(ts.Bytes)); err != nil {
				return err
			}
		}
		if err := t.Flush(); err != nil {
			return err
		}
	}
	if len(s.Imports) == 0 {
		return nil
	}
	fmt.Fprintln(w)
	t := term.NewTable(w, "  ", true, term.Column{Name: "import"}, term.Column{Name: "time"},
		term.Column{Name: "sensor"}, term.Column{Name: "source"}, term.Column{Name: "packets", Right: true},
		term.Column{Name: "connections", Right: true}, term.Column{Name: "inputs"})
	for i := range s.Imports {
		imp := &s.Imports[i]
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
