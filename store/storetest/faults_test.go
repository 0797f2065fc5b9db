// SPDX-License-Identifier: Apache-2.0

package storetest_test

import (
	"context"
	"fmt"
	"iter"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"weir/internal/filter"
	"weir/store"
	"weir/store/storetest"
)

// faulty answers like the store that it wraps, but for one mistake.
type faulty struct {
	store.Reader
	query  func(q store.Query) store.Query
	flows  func(list []*store.Flow) []*store.Flow
	counts func(n *store.Counts)
	ask    func(q *store.TopQuery)
	top    func(rows []store.TopRow) []store.TopRow
	status func(s *store.Status)

	fields    func(rows [][]any) [][]any
	pairQuery func(q *store.PairQuery)
	pairs     func(list []*store.Pair) []*store.Pair
	hosts     func(list []*store.Host) []*store.Host
	slotQuery func(q *store.TimelineQuery)
	slots     func(list []store.TimelineSlot) []store.TimelineSlot
	explain   func(list []store.Statement) []store.Statement
	// runs says that an explanation runs what it explains.
	runs bool
}

func (f *faulty) Flows(ctx context.Context, q store.Query) iter.Seq2[*store.Flow, error] {
	return func(yield func(*store.Flow, error) bool) {
		if f.query != nil {
			q = f.query(q)
		}
		var list []*store.Flow
		for x, err := range f.Reader.Flows(ctx, q) {
			if err != nil {
				yield(nil, err)
				return
			}
			list = append(list, x)
		}
		if f.flows != nil {
			list = f.flows(list)
		}
		for _, x := range list {
			if !yield(x, nil) {
				return
			}
		}
	}
}

func (f *faulty) Counts(ctx context.Context, q store.Query) (store.Counts, error) {
	if f.query != nil {
		q = f.query(q)
	}
	n, err := f.Reader.Counts(ctx, q)
	if f.counts != nil {
		f.counts(&n)
	}
	return n, err
}

func (f *faulty) Top(ctx context.Context, q store.TopQuery) ([]store.TopRow, error) {
	if f.query != nil {
		q.Query = f.query(q.Query)
	}
	if f.ask != nil {
		f.ask(&q)
	}
	rows, err := f.Reader.Top(ctx, q)
	if f.top != nil {
		rows = f.top(rows)
	}
	return rows, err
}

func (f *faulty) Status(ctx context.Context) (*store.Status, error) {
	s, err := f.Reader.Status(ctx)
	if f.status != nil && err == nil {
		f.status(s)
	}
	return s, err
}

// changed yields the elements of a list after a change, if there is one.
func changed[T any](seq iter.Seq2[T, error], keep func(T) T, change func([]T) []T) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		var list []T
		for x, err := range seq {
			if err != nil {
				yield(x, err)
				return
			}
			list = append(list, keep(x))
		}
		if change != nil {
			list = change(list)
		}
		for _, x := range list {
			if !yield(x, nil) {
				return
			}
		}
	}
}

func (f *faulty) Fields(ctx context.Context, q store.Query, names []string) iter.Seq2[[]any, error] {
	if f.query != nil {
		q = f.query(q)
	}
	return changed(f.Reader.Fields(ctx, q, names), slices.Clone[[]any], f.fields)
}

func (f *faulty) Pairs(ctx context.Context, q store.PairQuery) iter.Seq2[*store.Pair, error] {
	if f.pairQuery != nil {
		f.pairQuery(&q)
	}
	return changed(f.Reader.Pairs(ctx, q), func(p *store.Pair) *store.Pair { return p }, f.pairs)
}

func (f *faulty) Hosts(ctx context.Context, q store.HostQuery) ([]*store.Host, error) {
	list, err := f.Reader.Hosts(ctx, q)
	if f.hosts != nil {
		list = f.hosts(list)
	}
	return list, err
}

func (f *faulty) Timeline(ctx context.Context, q store.TimelineQuery) ([]store.TimelineSlot, error) {
	if f.slotQuery != nil {
		f.slotQuery(&q)
	}
	list, err := f.Reader.Timeline(ctx, q)
	if f.slots != nil {
		list = f.slots(list)
	}
	return list, err
}

func (f *faulty) Explain(ctx context.Context, ask func(store.Reader) error) ([]store.Statement, error) {
	list, err := f.Reader.Explain(ctx, ask)
	if f.runs && err == nil {
		err = ask(f.Reader)
	}
	if f.explain != nil {
		list = f.explain(list)
	}
	return list, err
}

// rewrite returns a query whose filter is another one.
func rewrite(change func(e *filter.Expr) *filter.Expr) func(q store.Query) store.Query {
	return func(q store.Query) store.Query {
		if q.Filter != nil {
			q.Filter = change(q.Filter)
		}
		return q
	}
}

// replaced returns a filter with some of its text replaced.
func replaced(old, new string) func(q store.Query) store.Query {
	return rewrite(func(e *filter.Expr) *filter.Expr {
		other, err := filter.Parse(strings.ReplaceAll(e.String(), old, new), storetest.Options())
		if err != nil {
			return e // what is left makes no sense
		}
		return other
	})
}

// each changes every flow of a list.
func each(change func(f *store.Flow)) func(list []*store.Flow) []*store.Flow {
	return func(list []*store.Flow) []*store.Flow {
		for _, f := range list {
			change(f)
		}
		return list
	}
}

// eachRow changes every row of attributes.
func eachRow(change func(row []any)) func(rows [][]any) [][]any {
	return func(rows [][]any) [][]any {
		for _, row := range rows {
			change(row)
		}
		return rows
	}
}

// eachHost changes every host of a list.
func eachHost(change func(h *store.Host)) func(list []*store.Host) []*store.Host {
	return func(list []*store.Host) []*store.Host {
		for _, h := range list {
			change(h)
		}
		return list
	}
}

// wrongStores returns stores with one mistake each.
func wrongStores() map[string]faulty {
	return map[string]faulty{
		"one flow missing": {flows: func(list []*store.Flow) []*store.Flow { return list[:max(0, len(list)-1)] }},
		"one flow doubled": {flows: func(list []*store.Flow) []*store.Flow {
			if len(list) > 3 {
				return slices.Insert(list, 3, list[3])
			}
			return list
		}},
		"two flows change places": {flows: func(list []*store.Flow) []*store.Flow {
			if len(list) > 4 {
				list[3], list[4] = list[4], list[3]
			}
			return list
		}},
		"no order":    {query: func(q store.Query) store.Query { q.OrderBy = nil; return q }},
		"no skip":     {query: func(q store.Query) store.Query { q.Skip = 0; return q }},
		"no limit":    {query: func(q store.Query) store.Query { q.Limit = 0; return q }},
		"no filter":   {query: func(q store.Query) store.Query { q.Filter = nil; return q }},
		"ignores !":   {query: replaced("!", "")},
		"= for !=":    {query: replaced(" != ", " = ")},
		"<= for <":    {query: replaced(" < ", " <= ")},
		"ANY for ALL": {query: replaced("ALL ", "ANY ")},
		"OR for AND":  {query: replaced(" AND ", " OR ")},
		"descending missing first": {query: func(q store.Query) store.Query {
			q.OrderBy = slices.Clone(q.OrderBy)
			for i := range q.OrderBy {
				q.OrderBy[i].Desc = false
			}
			return q
		}},
		"a wrong count":     {counts: func(n *store.Counts) { n.Flows++ }},
		"clients, servers":  {counts: func(n *store.Counts) { n.Clients, n.Servers = n.Servers, n.Clients }},
		"a wrong counter":   {flows: each(func(f *store.Flow) { f.CSBytes &^= 1 })},
		"no codes":          {flows: each(func(f *store.Flow) { f.Codes = nil })},
		"an empty set":      {flows: each(func(f *store.Flow) { f.Service = append([]string{}, f.Service...) })},
		"sets not in order": {flows: each(func(f *store.Flow) { slices.Reverse(f.Sports) })},
		"milliseconds":      {flows: each(func(f *store.Flow) { f.LastSeen = f.LastSeen.Truncate(time.Millisecond) })},
		"no dport of 0": {flows: each(func(f *store.Flow) {
			if f.Dport != nil && *f.Dport == 0 {
				f.Dport = nil
			}
		})},
		"a wrong sum": {top: func(rows []store.TopRow) []store.TopRow {
			if len(rows) > 0 {
				rows[0].Count--
			}
			return rows
		}},
		"no sum": {ask: func(q *store.TopQuery) { q.Sum = nil }},
		"most":   {ask: func(q *store.TopQuery) { q.Least = false }},
		"groups without value": {top: func(rows []store.TopRow) []store.TopRow {
			return slices.DeleteFunc(rows, func(r store.TopRow) bool { return r.Fields[0] == nil })
		}},
		"the last of what is collected": {top: func(rows []store.TopRow) []store.TopRow {
			for i := range rows {
				if n := len(rows[i].Collected); n > 1 {
					rows[i].Collected = rows[i].Collected[:n-1]
				}
			}
			return rows
		}},
		"no times":            {flows: each(func(f *store.Flow) { f.Times = nil })},
		"times, asked or not": {query: func(q store.Query) store.Query { q.Times = true; return q }},
		"all intel": {query: func(q store.Query) store.Query {
			if q.Intel != 0 {
				q.Intel = store.All
			}
			return q
		}},
		"nothing left out":   {flows: each(func(f *store.Flow) { f.MoreIntel = 0 })},
		"intel turned round": {flows: each(func(f *store.Flow) { slices.Reverse(f.Intel) })},
		"intel once": {flows: each(func(f *store.Flow) {
			for i := range f.Intel {
				f.Intel[i].Count = 1
			}
		})},
		"no empty lists of intel": {flows: each(func(f *store.Flow) {
			for i := range f.Intel {
				maps.DeleteFunc(f.Intel[i].Attrs, func(_ string, v any) bool {
					list, ok := v.([]any)
					return ok && len(list) == 0
				})
			}
		})},
		"attributes turned round": {fields: eachRow(func(row []any) { slices.Reverse(row) })},
		"sets not in order in rows": {fields: eachRow(func(row []any) {
			for _, v := range row {
				if list, ok := v.([]any); ok {
					slices.Reverse(list)
				}
			}
		})},
		"an empty set in rows": {fields: eachRow(func(row []any) {
			for i := range row {
				if row[i] == nil {
					row[i] = []any{}
				}
			}
		})},
		"a row missing":                        {fields: func(rows [][]any) [][]any { return rows[:max(0, len(rows)-1)] }},
		"pairs limited before they are merged": {pairs: func(list []*store.Pair) []*store.Pair { return list[:max(0, len(list)-1)] }},
		"no order of pairs":                    {pairQuery: func(q *store.PairQuery) { q.OrderBy = nil }},
		"no skipping of pairs":                 {pairQuery: func(q *store.PairQuery) { q.Skip = 0 }},
		"no times of pairs":                    {pairQuery: func(q *store.PairQuery) { q.Times = false }},
		"services always":                      {pairQuery: func(q *store.PairQuery) { q.Services = true }},
		"no filter of pairs":                   {pairQuery: func(q *store.PairQuery) { q.Filter = nil }},
		"a pair's sum": {pairs: func(list []*store.Pair) []*store.Pair {
			for _, p := range list {
				p.SCPkts = p.CSPkts
			}
			return list
		}},
		"one of a pair's services": {pairs: func(list []*store.Pair) []*store.Pair {
			for _, p := range list {
				p.Services = p.Services[:min(1, len(p.Services))]
			}
			return list
		}},
		"unknown hosts": {hosts: func(list []*store.Host) []*store.Host {
			return append(list, &store.Host{Addr: netip.MustParseAddr("203.0.113.77")})
		}},
		"hosts in another order": {hosts: func(list []*store.Host) []*store.Host { slices.Reverse(list); return list }},
		"hosts of flows only": {hosts: func(list []*store.Host) []*store.Host {
			return slices.DeleteFunc(list, func(h *store.Host) bool { return h.In+h.Out == 0 })
		}},
		"in for out":         {hosts: eachHost(func(h *store.Host) { h.In, h.Out = h.Out, h.In })},
		"flows for hosts":    {hosts: eachHost(func(h *store.Host) { h.Clients, h.Servers = h.In, h.Out })},
		"no host intel":      {hosts: eachHost(func(h *store.Host) { h.Intel, h.MoreIntel = nil, 0 })},
		"a host's last time": {hosts: eachHost(func(h *store.Host) { h.LastSeen = h.FirstSeen })},
		"no step":            {slotQuery: func(q *store.TimelineQuery) { q.Step = 0 }},
		"no after":           {slotQuery: func(q *store.TimelineQuery) { q.After = time.Time{} }},
		"no before":          {slotQuery: func(q *store.TimelineQuery) { q.Before = time.Time{} }},
		"slots that begin after": {slotQuery: func(q *store.TimelineQuery) {
			if step := max(q.Step, time.Hour); !q.After.IsZero() {
				q.After = q.After.Add(step)
			}
		}},
		"slots up to and with before": {slotQuery: func(q *store.TimelineQuery) {
			if !q.Before.IsZero() {
				q.Before = q.Before.Add(time.Microsecond)
			}
		}},
		"no groups in slots": {slotQuery: func(q *store.TimelineQuery) { q.By = nil }},
		"no filter of slots": {slotQuery: func(q *store.TimelineQuery) { q.Filter = nil }},
		"flows counted twice in a slot": {slots: func(list []store.TimelineSlot) []store.TimelineSlot {
			for i := range list {
				list[i].Flows *= 2
			}
			return list
		}},
		"slots turned round":    {slots: func(list []store.TimelineSlot) []store.TimelineSlot { slices.Reverse(list); return list }},
		"runs what it explains": {runs: true},
		"explains nothing":      {explain: func([]store.Statement) []store.Statement { return nil }},
		"no text":               {explain: func(list []store.Statement) []store.Statement { list[0].Text = " "; return list }},
		"no arguments":          {explain: func(list []store.Statement) []store.Statement { list[0].Args = nil; return list }},
		"values in the text": {explain: func(list []store.Statement) []store.Statement {
			list[0].Text = fmt.Sprint(list[0].Args)
			return list
		}},
		"another precision":  {status: func(s *store.Status) { s.Precision *= 2 }},
		"a connection more":  {status: func(s *store.Status) { s.Connections++ }},
		"the last time":      {status: func(s *store.Status) { s.Last = s.First }},
		"a sensor missing":   {status: func(s *store.Status) { s.Sensors = s.Sensors[1:] }},
		"an import's number": {status: func(s *store.Status) { s.Imports[0].Connections-- }},
	}
}

// TestFaults checks that the suite finds the mistakes of a store.
func TestFaults(t *testing.T) {
	data := storetest.Strange()
	storetest.Check(t.Context(), storetest.NewMemory(data), "lake", data, t.Errorf)
	for name, f := range wrongStores() {
		t.Run(name, func(t *testing.T) {
			f.Reader = storetest.NewMemory(data)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			found := ""
			storetest.Check(ctx, &f, "lake", data, func(format string, args ...any) {
				if found == "" {
					found = format
					cancel() // one is enough
				}
			})
			if found == "" {
				t.Error("the suite does not find it")
			}
		})
	}
}
