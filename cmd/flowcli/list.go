// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"weir/internal/calendar"
	"weir/internal/term"
	"weir/store"
)

// listOptions are the flags of the command without subcommand.
type listOptions struct {
	nodeFilters, flowFilters []string

	count, json       bool
	limit, skip       int
	orderBy           []string
	separator         string
	top, collect, sum []string
	least             bool

	// flags says which of them were given.
	flags *pflag.FlagSet
}

// topLimit is how many groups --top shows where --limit is not given.
const topLimit = 10

// timeLayout is how lists show times.
const timeLayout = "2006-01-02 15:04:05"

func (l *listOptions) addFlags(f *pflag.FlagSet) {
	f.SortFlags = false
	l.flags = f
	f.StringArrayVarP(&l.flowFilters, "flow-filters", "f", nil, "select flows with these `filters`")
	f.StringArrayVarP(&l.nodeFilters, "node-filters", "n", nil, "the same; IVRE's `filters` on hosts (src.addr, dst.addr, addr)")
	f.BoolVarP(&l.count, "count", "c", false, "print the number of clients, servers and flows")
	f.StringArrayVarP(&l.top, "top", "t", nil, "group flows by these `attributes` and print the largest groups")
	f.StringArrayVarP(&l.collect, "collect", "C", nil, "with --top: print the values of these `attributes` in each group")
	f.StringArrayVarP(&l.sum, "sum", "S", nil, "with --top: rank by the sum of these `attributes` instead of the number of flows")
	f.BoolVarP(&l.least, "least", "L", false, "with --top: print the smallest groups")
	f.IntVarP(&l.limit, "limit", "l", 0, "print this `many` at most (default: all flows, 10 groups)")
	f.IntVar(&l.skip, "skip", 0, "leave out this `many` first")
	f.StringSliceVarP(&l.orderBy, "orderby", "o", nil, "sort by src, dst, flow or any `attribute` with one value; -attribute: greatest first")
	f.BoolVarP(&l.json, "json", "j", false, "print JSON, one object a line")
	f.StringVarP(&l.separator, "separator", "s", "", "print this `text` between columns, without padding and header")
}

// check reports flags that do not go together.
func (l *listOptions) check() error {
	switch {
	case l.count && len(l.top) > 0:
		return errors.New("--count and --top exclude each other")
	case len(l.top) == 0 && (len(l.collect) > 0 || len(l.sum) > 0 || l.least):
		return errors.New("--collect, --sum and --least need --top")
	case len(l.top) > 0 && len(l.orderBy) > 0:
		return errors.New("--orderby does not go with --top; see --least and --sum")
	case l.limit < 0:
		return fmt.Errorf("--limit %d is negative", l.limit)
	case l.flags.Changed("limit") && l.limit == 0:
		return errors.New("--limit 0 prints nothing; leave it out to print everything")
	case l.skip < 0:
		return fmt.Errorf("--skip %d is negative", l.skip)
	case l.json && l.separator != "":
		return errors.New("--json and --separator exclude each other")
	}
	return nil
}

// query returns the question that the flags ask.
func (o *options) query() (store.Query, error) {
	l := &o.list
	q := store.Query{Limit: l.limit, Skip: l.skip}
	for _, name := range l.orderBy {
		attr, desc := strings.CutPrefix(name, "-")
		q.OrderBy = append(q.OrderBy, store.Order{Attr: attr, Desc: desc})
	}
	var err error
	q.Filter, err = o.parseFilters()
	return q, err
}

// runList runs the command without subcommand.
func (o *options) runList(ctx context.Context) error {
	if err := o.list.check(); err != nil {
		return usage(err)
	}
	if err := o.picture.check(&o.list); err != nil {
		return usage(err)
	}
	maintain, err := o.maintenance(o.list.flags)
	if err != nil {
		return usage(err)
	}
	if maintain != nil {
		return maintain(ctx)
	}
	q, err := o.query()
	if err != nil {
		return err
	}
	return o.withStore(ctx, func(ctx context.Context, db store.Reader) error {
		switch {
		case o.picture.asked():
			return o.draw(ctx, db, q, calendar.Span{}, o.stdout, "text")
		case o.list.count:
			return o.printCounts(ctx, db, q)
		case len(o.list.top) > 0:
			return o.printTop(ctx, db, q)
		case o.list.json:
			return o.printFlowsJSON(ctx, db, q)
		}
		return o.printFlows(ctx, db, q)
	})
}

func (o *options) printCounts(ctx context.Context, db store.Counter, q store.Query) error {
	n, err := db.Counts(ctx, q)
	if err != nil {
		return err
	}
	if o.list.json {
		return writeJSON(o.stdout, n)
	}
	_, err = fmt.Fprintf(o.stdout, "%d clients\n%d servers\n%d flows\n", n.Clients, n.Servers, n.Flows)
	return err
}

func (o *options) printFlowsJSON(ctx context.Context, db store.FlowLister, q store.Query) error {
	w := bufio.NewWriterSize(o.stdout, 64<<10)
	for f, err := range db.Flows(ctx, q) {
		if err != nil {
			return errors.Join(err, w.Flush())
		}
		if err := writeJSON(w, f); err != nil {
			return err
		}
	}
	return w.Flush()
}

// printFlows prints a line for each flow, in columns.
func (o *options) printFlows(ctx context.Context, db store.FlowLister, q store.Query) error {
	right := func(name string) term.Column { return term.Column{Name: name, Right: true} }
	t := o.table(
		term.Column{Name: "src"}, term.Column{Name: "proto/dport"}, term.Column{Name: "dst"},
		right("count"), right("cspkts"), right("scpkts"), right("csbytes"), right("scbytes"),
		term.Column{Name: "firstseen"}, term.Column{Name: "lastseen"},
	)
	for f, err := range db.Flows(ctx, q) {
		if err != nil {
			if t.Rows() > 0 {
				err = errors.Join(err, t.Flush())
			}
			return err
		}
		err = t.Row(
			f.Src.String(), f.Label(), f.Dst.String(), strconv.FormatInt(f.Count, 10),
			strconv.FormatInt(f.CSPkts, 10), strconv.FormatInt(f.SCPkts, 10),
			strconv.FormatInt(f.CSBytes, 10), strconv.FormatInt(f.SCBytes, 10),
			f.FirstSeen.In(o.zone).Format(timeLayout), f.LastSeen.In(o.zone).Format(timeLayout),
		)
		if err != nil {
			return err
		}
	}
	return t.Flush()
}

// table returns a table for people, or one without padding and header where
// there is a separator.
func (o *options) table(columns ...term.Column) *term.Table {
	if o.list.separator != "" {
		return term.NewPlain(o.stdout, o.list.separator, len(columns))
	}
	return term.NewTable(o.stdout, " | ", true, columns...)
}

// topJSON is a group as --json prints it.
type topJSON struct {
	Fields    []any   `json:"fields"`
	Count     int64   `json:"count"`
	Collected [][]any `json:"collected,omitempty"`
}

// printTop prints groups as IVRE does: (values) | count | (values) ; (values).
func (o *options) printTop(ctx context.Context, db store.Ranker, q store.Query) error {
	l := &o.list
	if q.Limit == 0 {
		q.Limit = topLimit
	}
	rows, err := db.Top(ctx, store.TopQuery{
		Query: q, Fields: l.top, Collect: l.collect, Sum: l.sum, Least: l.least,
	})
	if err != nil {
		return err
	}
	if l.json {
		for i := range rows {
			if err := writeJSON(o.stdout, topJSON(rows[i])); err != nil {
				return err
			}
		}
		return nil
	}
	columns := []term.Column{{}, {Right: true}}
	if len(l.collect) > 0 {
		columns = append(columns, term.Column{})
	}
	t := term.NewTable(o.stdout, " | ", false, columns...)
	if l.separator != "" {
		t = term.NewPlain(o.stdout, l.separator, len(columns))
	}
	for i := range rows {
		cells := []string{o.tuple(rows[i].Fields), strconv.FormatInt(rows[i].Count, 10)}
		if len(l.collect) > 0 {
			groups := make([]string, len(rows[i].Collected))
			for j := range groups {
				groups[j] = o.tuple(rows[i].Collected[j])
			}
			cells = append(cells, strings.Join(groups, " ; "))
		}
		if err := t.Row(cells...); err != nil {
			return err
		}
	}
	return t.Flush()
}

// tuple returns values in parentheses, missing ones as nothing.
func (o *options) tuple(values []any) string {
	out := make([]string, len(values))
	for i, v := range values {
		switch v := v.(type) {
		case nil:
		case time.Time:
			out[i] = v.In(o.zone).Format(timeLayout)
		case float64:
			out[i] = strconv.FormatFloat(v, 'f', -1, 64)
		default:
			out[i] = fmt.Sprint(v)
		}
	}
	return "(" + strings.Join(out, ", ") + ")"
}
