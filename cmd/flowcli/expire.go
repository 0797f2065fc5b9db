// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"weir/internal/command"
	"weir/internal/config"
	"weir/internal/filter"
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

const expireHelp = `expire drops old records.

Of a lake it drops whole UTC days: those whose newest record is before --before
or older than --older-than, then the oldest days until the store is not larger
than --max-size. With the last two the newest day stays, however old or large it
is. Replaced files stay for 10 minutes, for queries that still read them.
Captures stay known: reading one again does not bring back what expired.

Of a Neo4j database it drops the flows that were seen before that time for the
last time, whole, and then the hosts and the intel that belong to no other flow,
in batches. It can be interrupted and run again.`

const expireExamples = `  flowcli expire --older-than 90d --dry-run
  flowcli expire --before 2026-01-01
  flowcli expire --older-than 90d --max-size 200G --yes
  flowcli expire --store neo4j://neo4j@graph:7687 --older-than 90d`

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
			return o.runExpire(cmd.Context(), &e)
		},
	}
	f := cmd.Flags()
	f.StringVar(&e.before, "before", "", "drop what is older than this `time`, as 2026-01-01 or -30d")
	f.Var(&e.olderThan, "older-than", "drop what is older than this, as 90d")
	f.Var(&e.maxSize, "max-size", "of a lake: drop the oldest days until the store is not larger, as 200G")
	f.BoolVar(&e.dryRun, "dry-run", false, "only say what would be dropped")
	f.BoolVarP(&e.yes, "yes", "y", false, "do not ask")
	f.BoolVarP(&e.json, "json", "j", false, "print JSON: an object for each day of a lake, one of a Neo4j database")
	return cmd
}

// bounds say what is too old, or too much. Zero is no bound.
type bounds struct {
	before time.Time
	age    time.Duration
	size   int64
}

// expirer is a store that can drop what is old.
type expirer interface {
	// expire drops what is beyond the bounds, or only says what it would drop.
	expire(ctx context.Context, b bounds, dryRun bool) (expired, error)
}

// expired is what was dropped, or would be.
type expired interface {
	none() bool
	// question asks whether to drop it.
	question() string
	// text and json print it; done is what became of it.
	text(w io.Writer, done string) error
	json(w io.Writer) error
}

// errNoBound says that no bound was named.
var errNoBound = &command.UsageError{Err: errors.New("an age or size of 0 would mean no bound: name another one")}

func (o *options) runExpire(ctx context.Context, e *expireOptions) error {
	b := bounds{age: time.Duration(e.olderThan), size: int64(e.maxSize)}
	if e.before != "" {
		var err error
		if b.before, err = filter.ParseTime(e.before, filter.Options{Now: time.Now(), Zone: o.zone}); err != nil {
			return &command.UsageError{Err: fmt.Errorf("--before: %w", err)}
		}
	}
	p := o.place()
	found, err := p.expire(ctx, b, true)
	if err != nil {
		return err
	}
	done := "would drop"
	if !e.dryRun {
		done = "dropped"
		if !found.none() {
			if err := o.confirm(ctx, e.yes, found.question()); err != nil {
				return err
			}
			if found, err = p.expire(ctx, b, false); err != nil {
				return err
			}
		}
	}
	w := bufio.NewWriter(o.stdout)
	if e.json {
		err = found.json(w)
	} else {
		err = found.text(w, done)
	}
	return errors.Join(err, w.Flush())
}
