// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"weir/internal/command"
	"weir/internal/config"
	"weir/internal/filter"
	"weir/internal/term"
	"weir/store/lake"
)

// expireOptions are the flags of expire.
type expireOptions struct {
	before    string
	olderThan config.Duration
	maxSize   config.Size
	dryRun    bool
	yes       bool
	json      bool
}

const expireHelp = `expire drops old records, whole UTC days at a time: the days whose newest record
is before --before or older than --older-than, then the oldest days until the
store is not larger than --max-size. With the last two the newest day stays,
however old or large it is.

Replaced files stay for 10 minutes, for queries that still read them. Captures
stay known: reading one again does not bring back what expired.`

const expireExamples = `  flowcli expire --older-than 90d --dry-run
  flowcli expire --before 2026-01-01
  flowcli expire --older-than 90d --max-size 200G --yes`

func (o *options) newExpire() *cobra.Command {
	var e expireOptions
	cmd := &cobra.Command{
		Use:     "expire (--before TIME | --older-than AGE | --max-size SIZE) [flags]",
		Short:   "Drop old records",
		Long:    expireHelp,
		Example: expireExamples,
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			f := cmd.Flags()
			if !f.Changed("before") && !f.Changed("older-than") && !f.Changed("max-size") {
				return &command.UsageError{Err: errors.New("expire needs --before, --older-than or --max-size")}
			}
			return o.runExpire(&e)
		},
	}
	f := cmd.Flags()
	f.StringVar(&e.before, "before", "", "drop what is older than this `time`, as 2026-01-01 or -30d")
	f.Var(&e.olderThan, "older-than", "drop what is older than this, as 90d")
	f.Var(&e.maxSize, "max-size", "drop the oldest days until the store is not larger, as 200G")
	f.BoolVar(&e.dryRun, "dry-run", false, "only say what would be dropped")
	f.BoolVarP(&e.yes, "yes", "y", false, "do not ask")
	f.BoolVarP(&e.json, "json", "j", false, "print a JSON object for each day")
	return cmd
}

func (o *options) runExpire(e *expireOptions) error {
	cfg := lake.RetainConfig{
		MaxAge: time.Duration(e.olderThan), MaxBytes: int64(e.maxSize), Force: true, DryRun: true,
	}
	if e.before != "" {
		t, err := filter.ParseTime(e.before, filter.Options{Now: time.Now(), Zone: o.zone})
		if err != nil {
			return &command.UsageError{Err: fmt.Errorf("--before: %w", err)}
		}
		cfg.Before = t
	}
	if cfg.Before.IsZero() && cfg.MaxAge == 0 && cfg.MaxBytes == 0 {
		return &command.UsageError{Err: errors.New("an age or size of 0 would mean no bound: name another one")}
	}
	l, err := lake.Open(o.store, lake.Config{Version: buildVersion()})
	if err != nil {
		return err
	}
	days, err := l.Retain(cfg)
	if err != nil {
		return err
	}
	if !e.dryRun && len(days) > 0 {
		if !e.yes && !o.confirmExpire(days) {
			return errors.New("nothing was changed")
		}
		cfg.DryRun = false
		if days, err = l.Retain(cfg); err != nil {
			return err
		}
	}
	return o.printExpired(days, e)
}

// confirmExpire asks somebody at a terminal; nobody else is asked.
func (o *options) confirmExpire(days []lake.ExpiredDay) bool {
	f, ok := o.stdin.(*os.File)
	if !ok || !term.IsTerminal(f) {
		return true
	}
	n, size := sumDays(days)
	fmt.Fprintf(o.stderr, "Drop %d days up to %s: %s connections, %s? [y/N] ",
		len(days), days[len(days)-1].Day, term.Number(n), term.Bytes(size))
	answer, _ := bufio.NewReader(f).ReadString('\n')
	a := strings.ToLower(strings.TrimSpace(answer))
	return a == "y" || a == "yes"
}

func sumDays(days []lake.ExpiredDay) (conns, bytes int64) {
	for i := range days {
		conns += days[i].Connections
		bytes += days[i].Bytes
	}
	return conns, bytes
}

func (o *options) printExpired(days []lake.ExpiredDay, e *expireOptions) error {
	w := bufio.NewWriter(o.stdout)
	for i := range days {
		if !e.json {
			break
		}
		if err := writeJSON(w, &days[i]); err != nil {
			return err
		}
	}
	if !e.json {
		done := "dropped"
		if e.dryRun {
			done = "would drop"
		}
		for _, d := range days {
			fmt.Fprintf(w, "%s %s: %s connections, %s rows, %s\n", done, d.Day,
				term.Number(d.Connections), term.Number(d.Rows), term.Bytes(d.Bytes))
		}
		n, size := sumDays(days)
		fmt.Fprintf(w, "%s %d days, %s connections, %s\n", done, len(days), term.Number(n), term.Bytes(size))
	}
	return w.Flush()
}
