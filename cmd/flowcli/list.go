// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"weir/internal/filter"
	"weir/store"
)

// listOptions are the flags of the command without subcommand.
type listOptions struct {
	nodeFilters, flowFilters []string
	shortcuts                shortcuts

	count             bool
	limit, skip       int
	orderBy           []string
	top, collect, sum []string
	least             bool
	mode              mode
	timeline, daily   bool
	fields            []string
	explain           bool

	// flags says which of them were given.
	flags *pflag.FlagSet
}

// topLimit is how many groups --top shows where --limit is not given.
const topLimit = 10

// timeLayout is how lists show times.
const timeLayout = "2006-01-02 15:04:05"

// showFields is the value that --fields has without one.
const showFields = "list"

// addSelection adds the flags that select flows.
func (l *listOptions) addSelection(f *pflag.FlagSet) {
	f.StringArrayVarP(&l.flowFilters, "flow-filters", "f", nil, "select flows with these `filters`")
	f.StringArrayVarP(&l.nodeFilters, "node-filters", "n", nil, "the same; IVRE's `filters` on hosts (src.addr, dst.addr, addr)")
	l.shortcuts.addFlags(f)
}

func (l *listOptions) addFlags(f *pflag.FlagSet) {
	f.SortFlags = false
	l.flags = f
	l.addSelection(f)
	f.BoolVarP(&l.count, "count", "c", false, "print the number of clients, servers and flows; with --mode also of pairs")
	f.StringArrayVarP(&l.top, "top", "t", nil, "group flows by these `attributes` and print the largest groups; flows without one of them are a group, too")
	f.StringArrayVarP(&l.collect, "collect", "C", nil, "with --top: print the values of these `attributes` in each group")
	f.StringArrayVarP(&l.sum, "sum", "S", nil, "with --top: rank by the sum of these `attributes` instead of the number of flows")
	f.BoolVarP(&l.least, "least", "L", false, "with --top: print the smallest groups")
	f.VarP(&l.mode, "mode", "m", "with `mode` flow_map list pairs of hosts with their services, with talk_map without them; flows are merged before --skip and --limit (default: list flows)")
	f.Lookup("mode").DefValue = "" // said there
	f.StringArrayVar(&l.fields, "fields", nil, "print these `attributes` of each flow instead; without a value: list the attributes that there are")
	f.Lookup("fields").NoOptDefVal = showFields
	f.BoolVarP(&l.timeline, "timeline", "T", false, "print when each flow was active, too: the starts of its slots of time")
	f.BoolVar(&l.daily, "flow-daily", false, "print for each slot of the day how many flows of which services were active, summed over the days")
	l.addPage(f, "print this `many` at most (default: all flows, 10 groups)", "sort by src, dst, flow or any `attribute` with one value; -attribute: greatest first")
	f.BoolVar(&l.explain, "explain", false, "print the SQL or Cypher that would answer, with its arguments, and run nothing")
}

// questions returns the flags that each ask something else, of those that are given.
func (l *listOptions) questions() []string {
	var given []string
	add := func(set bool, flag string) {
		if set {
			given = append(given, flag)
		}
	}
	add(l.count, "--count")
	add(len(l.top) > 0, "--top")
	add(len(l.fields) > 0, "--fields")
	add(l.daily, "--flow-daily")
	add(l.mode != defaultMode && !l.count, "--mode "+string(l.mode))
	add(l.shortcuts.width.show, "--precision without a width")
	return given
}

// check reports flags that do not go together.
func (l *listOptions) check() error {
	asked := l.questions()
	switch {
	case len(asked) > 1:
		return fmt.Errorf("%s and %s exclude each other", asked[0], asked[1])
	case len(l.top) > 0 && l.mode != defaultMode:
		return errors.New("--top and --mode exclude each other")
	case len(l.top) == 0 && (len(l.collect) > 0 || len(l.sum) > 0 || l.least):
		return errors.New("--collect, --sum and --least need --top")
	case len(l.top) > 0 && len(l.orderBy) > 0:
		return errors.New("--orderby does not go with --top; see --least and --sum")
	case l.daily && len(l.orderBy) > 0:
		return errors.New("--orderby does not go with --flow-daily, which is in the order of time")
	case l.timeline && len(asked) > 0 && l.mode == defaultMode:
		return fmt.Errorf("--timeline and %s exclude each other", asked[0])
	case l.timeline && l.count:
		return errors.New("--timeline and --count exclude each other")
	}
	if err := l.checkPage(l.flags); err != nil {
		return err
	}
	for _, list := range []struct {
		flag  string
		names []string
	}{{"top", l.top}, {"collect", l.collect}, {"sum", l.sum}, {"fields", l.fields}} {
		for _, name := range list.names {
			if strings.Contains(name, ",") {
				return fmt.Errorf("--%s %s: several attributes stand apart: --%s %s", list.flag, name, list.flag, apart(name))
			}
		}
	}
	return nil
}

// addPage adds the flags that say which of them are wanted, of which things, in which order.
func (l *listOptions) addPage(f *pflag.FlagSet, limit, order string) {
	f.IntVarP(&l.limit, "limit", "l", 0, limit)
	f.IntVar(&l.skip, "skip", 0, "leave out this `many` first")
	f.StringSliceVarP(&l.orderBy, "orderby", "o", nil, order)
}

// checkPage reports wrong values of the flags that addPage adds.
func (l *listOptions) checkPage(f *pflag.FlagSet) error {
	switch {
	case l.limit < 0:
		return fmt.Errorf("--limit %d is negative", l.limit)
	case f.Changed("limit") && l.limit == 0:
		return errors.New("--limit 0 selects nothing; leave it out to have everything")
	case l.skip < 0:
		return fmt.Errorf("--skip %d is negative", l.skip)
	case f.Changed("orderby") && len(l.orderBy) == 0:
		return errors.New("--orderby is empty: name src, dst, flow or an attribute")
	}
	return nil
}

// selection is what the flags select.
type selection struct {
	filter *filter.Expr
	// named is the filter without the window.
	named *filter.Expr
	// after and before are the window that is part of the filter; zero times are none.
	after, before time.Time
}

// selection returns what the flags select.
func (o *options) selection() (s selection, err error) {
	s.filter, err = o.parseFilters()
	if err != nil {
		return s, err
	}
	opts := o.reading()
	exprs, err := o.list.shortcuts.filters(opts)
	if err != nil {
		return s, err
	}
	if s.after, s.before, err = o.list.shortcuts.window(opts); err != nil {
		return s, err
	}
	s.named = filter.And(append([]*filter.Expr{s.filter}, exprs...)...)
	s.filter = filter.And(s.named, filter.Active(s.after, s.before))
	return s, nil
}

// query returns the question that the flags ask.
func (o *options) query(s selection) store.Query {
	l := &o.list
	q := store.Query{Limit: l.limit, Skip: l.skip, Filter: s.filter}
	for _, name := range l.orderBy {
		attr, desc := strings.CutPrefix(name, "-")
		q.OrderBy = append(q.OrderBy, store.Order{Attr: attr, Desc: desc})
	}
	return q
}

// runList runs the command without subcommand.
func (o *options) runList(ctx context.Context) error {
	if err := cmp.Or(o.list.check(), o.picture.check(&o.list)); err != nil {
		return usage(err)
	}
	maintain, err := o.maintenance(o.list.flags)
	if err != nil {
		return usage(err)
	}
	f, err := o.out.wanted()
	if err != nil {
		return err
	}
	if maintain != nil {
		switch {
		case o.list.explain:
			return usage(errors.New("--explain explains questions, and nothing that changes the store"))
		case o.out.file != "":
			return usage(errors.New("--output is for answers, and changing the store has none"))
		}
		return maintain(ctx)
	}
	if f.picture() && !o.picture.asked() {
		return usage(fmt.Errorf("--output %s: this answer is a list, not a picture; write it to .txt, .json, .ndjson or .csv", o.out.file))
	}
	if f.picture() && o.list.explain {
		return usage(fmt.Errorf("--output %s: an explanation is no picture; write it to .txt, .json, .ndjson or .csv", o.out.file))
	}
	if slices.Contains(o.list.fields, showFields) {
		return o.deliver(o.printAttributes)
	}
	s, err := o.selection()
	if err != nil {
		return err
	}
	return o.ask(ctx, func(ctx context.Context, db store.Reader, out *output) error {
		return o.answer(ctx, db, out, s)
	})
}

// answer answers the question that the flags ask.
func (o *options) answer(ctx context.Context, db store.Reader, out *output, s selection) error {
	l, q := &o.list, o.query(s)
	switch {
	case o.picture.asked():
		return o.draw(ctx, db, out, s, q)
	case l.shortcuts.width.show:
		return printPrecision(ctx, db, out)
	case l.count && l.mode != defaultMode:
		return countPairs(ctx, db, out, q)
	case l.count:
		return printCounts(ctx, db, out, q)
	case len(l.top) > 0:
		return o.printTop(ctx, db, out, q)
	case len(l.fields) > 0:
		return printFields(ctx, db, out, q, l.fields)
	case l.daily:
		return o.printDaily(ctx, db, out, s, q)
	case l.mode != defaultMode:
		return o.printPairs(ctx, db, out, q)
	}
	return o.printFlows(ctx, db, out, q)
}
