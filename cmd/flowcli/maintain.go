// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/spf13/pflag"

	"weir/internal/command"
	"weir/internal/config"
	"weir/internal/term"
	"weir/store"
	"weir/store/neo4j"
)

// maintainOptions are the flags of the command without subcommand that change
// the store, as IVRE's do.
type maintainOptions struct {
	init, ensureIndexes, yes bool
	precision                precision
}

func (m *maintainOptions) addFlags(f *pflag.FlagSet) {
	f.BoolVar(&m.init, "init", false, "make an empty store, or empty the existing one")
	f.BoolVar(&m.init, "purgedb", false, "the same")
	f.BoolVar(&m.ensureIndexes, "ensure-indexes", false, "of Neo4j: make the constraints and indexes that are missing")
	f.Var(&m.precision, "reduce-precision", "make the slots of the timeline this wide, for good, a multiple of what they are, in `seconds` or as 2h")
	f.BoolVarP(&m.yes, "yes", "y", false, "with --init: do not ask")
	// Lists of flags need no two lines for one.
	_ = f.MarkHidden("purgedb")
}

// precision is a width of slots: a number of seconds, or a duration.
type precision config.Duration

func (p *precision) String() string { return (*config.Duration)(p).String() }
func (p *precision) Type() string   { return "duration" }

// Set parses text.
func (p *precision) Set(text string) error {
	if n, err := strconv.ParseUint(text, 10, 32); err == nil {
		*p = precision(time.Duration(n) * time.Second)
	} else if (*config.Duration)(p).Set(text) != nil {
		return fmt.Errorf("%q is neither a number of seconds nor a duration like 2h", text)
	}
	if *p <= 0 || time.Duration(*p)%time.Second != 0 {
		return fmt.Errorf("%q is no whole number of seconds above 0", text)
	}
	return nil
}

// maintenance returns what the flags want to have done, nil for nothing.
func (o *options) maintenance(f *pflag.FlagSet) (func(context.Context) error, error) {
	m := &o.maintain
	var wanted []func(context.Context) error
	if m.init {
		wanted = append(wanted, o.initStore)
	}
	if m.ensureIndexes {
		wanted = append(wanted, o.ensureIndexes)
	}
	if f.Changed("reduce-precision") {
		wanted = append(wanted, o.reducePrecision)
	}
	switch len(wanted) {
	case 0:
		return nil, nil
	case 1:
		return wanted[0], nil
	}
	return nil, errors.New("--init, --ensure-indexes and --reduce-precision exclude each other")
}

// eraser is a store that can be made, and emptied.
type eraser interface {
	// contents says what would be lost, "" for nothing.
	contents(ctx context.Context) (string, error)
	// erase makes an empty store.
	erase(ctx context.Context) error
}

// reducer is a store whose slots of time can be made wider.
type reducer interface {
	// reduce makes them so wide. A width that is no multiple of what they are is an
	// error that is store.ErrPrecision.
	reduce(ctx context.Context, width time.Duration) (*reduced, error)
}

// reduced says what became of the slots of a store.
type reduced struct {
	before, after time.Duration
	// flows is how many flows were changed, nil where a store makes the slots when it is
	// asked.
	flows *int64
}

// initStore makes an empty store.
func (o *options) initStore(ctx context.Context) error {
	p := o.place()
	lost, err := p.contents(ctx)
	if err != nil {
		return err
	}
	if lost != "" {
		if err := o.confirm(ctx, o.maintain.yes, lost+". Remove them all?"); err != nil {
			return err
		}
	}
	return p.erase(ctx)
}

// confirm asks before anything is lost.
func (o *options) confirm(ctx context.Context, yes bool, question string) error {
	return command.Confirm(ctx, command.Streams{In: o.stdin, Err: o.stderr}, yes, question)
}

func (o *options) ensureIndexes(ctx context.Context) error {
	c, err := need[connector](o, "--ensure-indexes", "it has no indexes, its parts are sorted")
	if err != nil {
		return err
	}
	return o.withGraph(ctx, c, true, func(ctx context.Context, db *neo4j.DB) error { return db.EnsureIndexes(ctx) })
}

func (o *options) reducePrecision(ctx context.Context) error {
	r, err := o.place().reduce(ctx, time.Duration(o.maintain.precision))
	if errors.Is(err, store.ErrPrecision) {
		return usage(fmt.Errorf("--reduce-precision: %w", err))
	}
	if err != nil {
		return err
	}
	return o.printReduced(r)
}

// printReduced says what became of the slots.
func (o *options) printReduced(r *reduced) error {
	f, err := o.out.wanted()
	if err != nil {
		return err
	}
	if f == asJSON || f == asNDJSON {
		return writeJSON(o.stdout, struct {
			Flows  *int64 `json:"flows,omitempty"`
			Before int64  `json:"before"`
			After  int64  `json:"after"`
		}{r.flows, int64(r.before / time.Second), int64(r.after / time.Second)})
	}
	before, after := config.Duration(r.before), config.Duration(r.after)
	changed := ""
	if r.flows != nil {
		changed = ": " + term.Number(*r.flows) + " flows changed"
	}
	_, err = fmt.Fprintf(o.stdout, "slots of %s instead of %s%s\n", after.String(), before.String(), changed)
	return err
}

// withGraph runs fn with the open database, within the time that the user gives.
func (o *options) withGraph(ctx context.Context, c connector, create bool, fn func(context.Context, *neo4j.DB) error) error {
	return using(ctx, o, func(ctx context.Context) (*neo4j.DB, error) { return c.connect(ctx, create) }, fn)
}

// usage makes an error one of wrong usage.
func usage(err error) error {
	if err == nil {
		return nil
	}
	return &command.UsageError{Err: err}
}
