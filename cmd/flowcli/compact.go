// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"weir/internal/command"
	"weir/internal/term"
	"weir/store/lake"
)

// compactOptions are the flags of compact.
type compactOptions struct{ all, quiet bool }

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
	cmd.Flags().BoolVar(&o.compact.all, "all", false, "merge whatever can be merged, now, and roll up days that ended lately")
	cmd.Flags().BoolVarP(&o.compact.quiet, "quiet", "q", false, "print nothing but errors")
	return cmd
}

func (o *options) runCompact(ctx context.Context, memory int64) error {
	if o.timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, o.timeout, fmt.Errorf("gave up after %v", o.timeout))
		defer cancel()
	}
	l, err := lake.Open(o.store, lake.Config{Version: buildVersion()})
	if err != nil {
		return err
	}
	var cfg lake.CompactConfig
	if o.compact.all {
		cfg = lake.CompactConfig{All: true, MinAge: -1, ClosedAfter: -1, QuietFor: -1, MinRollup: -1}
	}
	cfg.Memory = memory
	progress := o.progress()
	cfg.Progress = progress.rows
	s, err := l.Compact(ctx, cfg)
	progress.clear()
	if !o.compact.quiet {
		if perr := printCompact(o.stdout, &s); err == nil {
			err = perr
		}
	}
	for _, unfit := range s.Unfit {
		fmt.Fprintf(o.stderr, "flowcli: left alone: %s\n", term.Escape(unfit.Error()))
	}
	if err != nil {
		if cause := context.Cause(ctx); cause != nil && o.timeout > 0 && errors.Is(ctx.Err(), context.DeadlineExceeded) {
			return cause
		}
		return err
	}
	if len(s.Unfit) > 0 {
		return command.ErrPartial
	}
	return nil
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
	if s.Superseded > 0 {
		line("gave up %s merges of parts that left the store meanwhile", number(s.Superseded))
	}
	if s.Merged+s.Rollups+s.Superseded == 0 {
		line("nothing to do")
	}
	return err
}

// progress shows how far a compaction is, on a terminal.
type progress struct {
	w     io.Writer // nil: not shown
	shown time.Time
}

// progressEvery is how often the line is written again.
const progressEvery = 200 * time.Millisecond

func (o *options) progress() *progress {
	if f, ok := o.stderr.(*os.File); ok && term.IsTerminal(f) && !o.compact.quiet {
		return &progress{w: f}
	}
	return &progress{}
}

func (p *progress) rows(n int64) {
	if p.w == nil || time.Since(p.shown) < progressEvery {
		return
	}
	p.shown = time.Now()
	fmt.Fprintf(p.w, "\r%s rows", term.Number(n))
}

// clear removes the line.
func (p *progress) clear() {
	if p.w != nil && !p.shown.IsZero() {
		fmt.Fprint(p.w, "\r\x1b[K")
	}
}
