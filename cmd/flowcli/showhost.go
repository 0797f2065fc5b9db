// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"weir/internal/flow"
	"weir/internal/term"
	"weir/store"
)

// hostJSON is a host as show prints it.
type hostJSON struct {
	*store.Host
	// Names resolve to it: of more records than showIntel, those in the most frequent ones.
	Names     []ranked `json:"names"`
	MoreNames int      `json:"more_names,omitempty"`
	// Serves and Uses are services by the number of its flows, in and out; Sources and Targets
	// the hosts at the other ends of these by bytes.
	Serves  []ranked `json:"serves"`
	Uses    []ranked `json:"uses"`
	Sources []ranked `json:"sources"`
	Targets []ranked `json:"targets"`
	// Seen are names in its flows by kind of intel, with the number of flows.
	Seen map[string][]ranked `json:"seen"`
}

// ranked is a line of a ranking.
type ranked struct {
	Name  string `json:"name"`
	Count int64  `json:"count"`
}

// showHost prints a host.
func (o *options) showHost(ctx context.Context, db store.Reader, w *bufio.Writer, a netip.Addr, opts *showOptions) error {
	hosts, err := db.Hosts(ctx, store.HostQuery{Addrs: []netip.Addr{a}, Intel: opts.intel()})
	if err != nil {
		return err
	}
	if len(hosts) == 0 {
		hint, err := nearHost(ctx, db, a)
		if err != nil {
			return err
		}
		return fmt.Errorf("not in the store: %s", hint)
	}
	h := hostJSON{Host: hosts[0]}
	h.names(opts.limit)
	if err := h.rank(ctx, db, opts.limit); err != nil {
		return err
	}
	if o.json {
		return writeJSON(w, h)
	}
	return o.printHost(w, &h)
}

// names fills in the names that resolve to the host, from its intel.
func (h *hostJSON) names(limit int) {
	counts := make(map[string]int64)
	for _, in := range h.Intel {
		if name, ok := in.Attrs["query"].(string); ok {
			counts[name] += in.Count
		}
	}
	h.Intel = nil
	h.Names = []ranked{}
	for name, n := range counts {
		h.Names = append(h.Names, ranked{name, n})
	}
	slices.SortFunc(h.Names, func(a, b ranked) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), strings.Compare(a.Name, b.Name))
	})
	if limit != store.All && len(h.Names) > limit {
		h.MoreNames = len(h.Names) - limit
		h.Names = h.Names[:limit]
	}
}

// rank fills in the rankings.
func (h *hostJSON) rank(ctx context.Context, db store.Ranker, limit int) (err error) {
	top := func(text string, sum []string, name func([]any) (string, error), fields ...string) ([]ranked, error) {
		e, err := parsed(text)
		if err != nil {
			return nil, err
		}
		q := store.TopQuery{Query: store.Query{Filter: e, Limit: max(limit, 0)}, Fields: fields, Sum: sum}
		rows, err := db.Top(ctx, q)
		if err != nil {
			return nil, err
		}
		list := make([]ranked, len(rows))
		for i := range rows {
			text, err := name(rows[i].Fields)
			if err != nil {
				return nil, err
			}
			list[i] = ranked{text, rows[i].Count}
		}
		return list, nil
	}
	bytes := []string{"csbytes", "scbytes"}
	in, out := fmt.Sprintf("dst.addr = %s", h.Addr), fmt.Sprintf("src.addr = %s", h.Addr)
	for _, q := range []struct {
		to     *[]ranked
		text   string
		sum    []string
		name   func([]any) (string, error)
		fields []string
	}{
		{&h.Serves, in, nil, serviceName, []string{"proto", "dport", "type"}},
		{&h.Uses, out, nil, serviceName, []string{"proto", "dport", "type"}},
		{&h.Sources, in, bytes, firstText, []string{"src.addr"}},
		{&h.Targets, out, bytes, firstText, []string{"dst.addr"}},
	} {
		if *q.to, err = top(q.text, q.sum, q.name, q.fields...); err != nil {
			return err
		}
	}
	h.Seen = make(map[string][]ranked)
	for _, k := range flow.Kinds() {
		i := slices.IndexFunc(k.Attrs, func(a flow.Attr) bool { return a.Fold && a.Type == flow.Text })
		if i < 0 {
			continue
		}
		attr := "meta." + k.Name + "." + k.Attrs[i].FilterName()
		list, err := top(fmt.Sprintf("addr = %s AND %s", h.Addr, attr), nil, firstText, attr)
		if err != nil {
			return err
		}
		if len(list) > 0 {
			h.Seen[k.Name] = list
		}
	}
	return nil
}

// serviceName returns the service that the values of proto, dport and type make.
func serviceName(fields []any) (string, error) {
	s, err := serviceOf(fields)
	return s.String(), err
}

func firstText(fields []any) (string, error) { return cellText(fields[0]), nil }

func (o *options) printHost(w *bufio.Writer, h *hostJSON) error {
	fmt.Fprintf(w, "%s\n\n", h.Addr)
	line(w, "first seen", "%s", o.time(h.FirstSeen))
	line(w, "last seen", "%s", o.time(h.LastSeen))
	line(w, "flows", "%s in, from %s; %s out, to %s", term.Number(h.In), things(h.Clients, "host"), term.Number(h.Out), things(h.Servers, "host"))
	number := func(n int64) string { return term.Number(n) }
	type list struct {
		title, column string
		rows          []ranked
		cell          func(int64) string
	}
	names := "names that resolve to it"
	if h.MoreNames > 0 {
		more := term.Number(int64(h.MoreNames))
		if h.MoreIntel > 0 {
			more = "at least " + more
		}
		names += fmt.Sprintf(" (%s more)", more)
	}
	lists := []list{
		{names, "records", h.Names, number},
		{"services that it is asked for", "flows", h.Serves, number},
		{"services that it uses", "flows", h.Uses, number},
		{"hosts that come to it", "bytes", h.Sources, term.Bytes},
		{"hosts that it goes to", "bytes", h.Targets, term.Bytes},
	}
	for _, k := range flow.Kinds() {
		lists = append(lists, list{"names in its flows: " + k.Name, "flows", h.Seen[k.Name], number})
	}
	for _, l := range lists {
		if len(l.rows) == 0 {
			continue
		}
		fmt.Fprintf(w, "\n%s\n", l.title)
		t := term.NewTable(w, " | ", true, term.Column{Name: l.column, Right: true}, term.Column{Name: "name"})
		for _, r := range l.rows {
			if err := t.Row(l.cell(r.Count), r.Name); err != nil {
				return err
			}
		}
		if err := t.Flush(); err != nil {
			return err
		}
	}
	return nil
}

// things returns a number of things: "1 host", "2 hosts".
func things(n int64, what string) string {
	if n != 1 {
		what += "s"
	}
	return term.Number(n) + " " + what
}
