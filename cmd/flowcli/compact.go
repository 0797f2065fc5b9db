// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"weir/internal/command"
	"weir/internal/term"
	"weir/store/lake"
)

func (o *options) newCompact() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "compact [flags]",
		Short: "Merge small parts, and roll up days that are over",
		Long: `compact merges the small parts that live sensors leave, and adds a table of flows
for each day that is over, which makes questions about flows faster. Others may
write to the store and query it meanwhile. A running sensor does the same by
itself.

What came in during the last minute waits for the next time, and so do days that
go on while they have few parts. It takes 256 MB of memory, or what --memory says,
16 MB at least.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var memory int64 // what is good for queries is more than it needs
			if cmd.Flags().Changed("memory") {
				memory = int64(o.memory)
			}
			return o.runCompact(cmd.Context(), memory)
		},
	}
	cmd.Flags().BoolVar(&o.compact, "all", false, "merge whatever can be merged, now, and roll up days that ended lately")
	cmd.Flags().BoolVarP(&o.quiet, "quiet", "q", false, "print nothing but errors")
	return cmd
}

func (o *options) runCompact(ctx context.Context, memory int64) error {
	d, err := need[directory](o, "compact", "only a lake has parts that can be merged")
	if err != nil {
		return err
	}
	l, err := lake.Open(d.path(), lake.Config{Version: buildVersion()})
	if err != nil {
		return err
	}
	var cfg lake.CompactConfig
	if o.compact {
		cfg = lake.CompactConfig{All: true, MinAge: -1, ClosedAfter: -1, QuietFor: -1, MinRollup: -1}
	}
	cfg.Memory = memory
	progress := o.progress("rows")
	cfg.Progress = progress.count
	var s lake.CompactStats
	err = o.within(ctx, func(ctx context.Context) (err error) {
		s, err = l.Compact(ctx, cfg)
		return err
	})
	progress.clear()
	if !o.quiet {
		if perr := printCompact(o.stdout, &s); err == nil {
			err = perr
		}
	}
	for _, unfit := range s.Unfit {
		fmt.Fprintf(o.stderr, "flowcli: left alone: %s\n", term.Escape(unfit.Error()))
	}
	if err == nil && len(s.Unfit) > 0 {
		return command.ErrPartial
	}
	return err
}

// printCompact says what was done.
func printCompact(w io.Writer, s *lake.CompactStats) error {
	var err error
	line := func(format string, args ...any) {
		if _, werr := fmt.Fprintf(w, format+"\n", args...); err == nil {
			err = werr
		}
	}
	number := func(n int) string { return term.Number(int64(n)) }
	if s.Merged > 0 {
		line("merged %s parts to %s: %s rows, %s to %s", number(s.Merged), number(s.Parts),
			term.Number(s.Rows), term.Bytes(s.Before), term.Bytes(s.After))
	}
	if s.Rollups > 0 {
		days := "days"
		if s.Rollups == 1 {
			days = "day"
		}
		line("rolled up %s %s: %s rows to %s flows, %s", number(s.Rollups), days,
			term.Number(s.Covered), term.Number(s.RollupRows), term.Bytes(s.RollupBytes))
	}
	if s.Weeks > 0 {
		weeks := "weeks"
		if s.Weeks == 1 {
			weeks = "week"
		}
		line("rolled up %s %s: %s flows, %s", number(s.Weeks), weeks, term.Number(s.WeekRows), term.Bytes(s.WeekBytes))
	}
	if s.Superseded > 0 {
		line("gave up %s merges of parts that left the store meanwhile", number(s.Superseded))
	}
	if s.Merged+s.Rollups+s.Weeks+s.Superseded == 0 {
		line("nothing to do")
	}
	return err
}
