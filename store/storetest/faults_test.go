// SPDX-License-Identifier: Apache-2.0

package storetest_test

import (
	"context"
	"iter"
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
