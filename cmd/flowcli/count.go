// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"net/netip"

	"weir/store"
)

// number is a number with the name that it has in every format.
type number struct {
	name string
	n    int64
}

// printNumbers prints numbers: a line each, a record, or the object.
func printNumbers(out *output, list []number, object any) error {
	if out.json() {
		return out.object(object)
	}
	if out.format == asCSV {
		names, values := make([]string, len(list)), make([]any, len(list))
		for i := range list {
			names[i], values[i] = list[i].name, list[i].n
		}
		s, err := out.sheet(named(names...))
		if err != nil {
			return err
		}
		if err := s.row(values, nil); err != nil {
			return err
		}
		return s.end()
	}
	for _, v := range list {
		if _, err := fmt.Fprintf(out.w, "%d %s\n", v.n, v.name); err != nil {
			return err
		}
	}
	return nil
}

// printCounts prints how much is selected, whatever --skip and --limit say.
func printCounts(ctx context.Context, db store.Counter, out *output, q store.Query) error {
	n, err := db.Counts(ctx, q)
	if err != nil {
		return err
	}
	return printNumbers(out, []number{{"clients", n.Clients}, {"servers", n.Servers}, {"flows", n.Flows}}, n)
}

// pairCounts is how much is selected where pairs of hosts are listed.
type pairCounts struct {
	store.Counts
	Pairs int64 `json:"pairs"`
}

// countPairs prints the same with the number of pairs, all from one answer.
func countPairs(ctx context.Context, db store.PairLister, out *output, q store.Query) error {
	q.OrderBy, q.Skip, q.Limit = nil, 0, 0
	clients, servers := make(map[netip.Addr]struct{}), make(map[netip.Addr]struct{})
	var n pairCounts
	for p, err := range db.Pairs(ctx, store.PairQuery{Query: q}) {
		if err != nil {
			return err
		}
		clients[p.Src], servers[p.Dst] = struct{}{}, struct{}{}
		n.Flows += p.Flows
		n.Pairs++
		out.line.rows.Add(1)
	}
	n.Clients, n.Servers = int64(len(clients)), int64(len(servers))
	return printNumbers(out, []number{
		{"clients", n.Clients}, {"servers", n.Servers}, {"flows", n.Flows}, {"pairs", n.Pairs},
	}, n)
}

// printPrecision prints the width of the store's slots of time, in seconds.
func printPrecision(ctx context.Context, db store.Reporter, out *output) error {
	s, err := db.Status(ctx)
	if err != nil {
		return err
	}
	if out.format == asText {
		_, err := fmt.Fprintln(out.w, s.Precision)
		return err
	}
	return printNumbers(out, []number{{"precision", s.Precision}}, struct {
		Precision int64 `json:"precision"`
	}{s.Precision})
}
