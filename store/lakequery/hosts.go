// SPDX-License-Identifier: Apache-2.0

package lakequery

import (
	"context"
	"database/sql"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"weir/internal/flow"
	"weir/store"
)

// Hosts implements store.HostFinder.
func (d *DB) Hosts(ctx context.Context, q store.HostQuery) ([]*store.Host, error) {
	hosts, err := d.hosts(ctx, q)
	if err != nil {
		return nil, fmt.Errorf("find hosts: %w", err)
	}
	return hosts, nil
}

// knownHosts are hosts by their addresses.
type knownHosts map[netip.Addr]*store.Host

// add returns the host with an address, and makes the time from first to last one at
// which it was there.
func (l knownHosts) add(a netip.Addr, first, last time.Time) *store.Host {
	h := l[a]
	if h == nil {
		h = &store.Host{Addr: a, FirstSeen: first.UTC(), LastSeen: last.UTC()}
		l[a] = h
	}
	if first.Before(h.FirstSeen) {
		h.FirstSeen = first.UTC()
	}
	if last.After(h.LastSeen) {
		h.LastSeen = last.UTC()
	}
	return h
}

func (d *DB) hosts(ctx context.Context, q store.HostQuery) (out []*store.Host, err error) {
	var addrs []netip.Addr
	for _, a := range q.Addrs {
		if a = a.Unmap(); a.IsValid() && a.Zone() == "" && !slices.Contains(addrs, a) {
			addrs = append(addrs, a)
		}
	}
	if len(addrs) == 0 {
		return nil, nil
	}
	var found knownHosts
	err = d.onOne(ctx, func(r *relations) (int, error) {
		found = make(knownHosts)
		if err := r.hostFlows(ctx, addrs, found); err != nil {
			return 0, err
		}
		return 0, r.hostIntel(ctx, addrs, q.Intel, found)
	})
	if err != nil {
		return nil, err
	}
	for _, a := range addrs {
		if h := found[a]; h != nil {
			out = append(out, h)
		}
	}
	return out, nil
}

// hostFlows finds out which flows hosts have.
func (r *relations) hostFlows(ctx context.Context, addrs []netip.Addr, found knownHosts) error {
	c, err := r.condition(nil)
	if err != nil {
		return err
	}
	wanted := make([]string, len(addrs))
	for i, a := range addrs {
		bin := a.As16()
		wanted[i] = c.arg(bin[:])
	}
	side := func(in bool, host, peer string) string {
		return fmt.Sprintf("SELECT %[1]t, %[2]s, count(*), count(DISTINCT %[3]s), min(firstseen), max(lastseen) FROM (%[4]s) GROUP BY %[2]s",
			in, host, peer, flowsOf(c.schema, c.layers, false, false, host+"_bin IN ("+strings.Join(wanted, ", ")+")"))
	}
	rows, err := r.query(ctx, side(true, "dst", "src")+" UNION ALL "+side(false, "src", "dst"), c.args...)
	if err != nil {
		return err
	}
	_, err = scanned(rows, func(rows *sql.Rows) (none struct{}, err error) {
		var in bool
		var text string
		var flows, peers int64
		var first, last time.Time
		if err := rows.Scan(&in, &text, &flows, &peers, &first, &last); err != nil {
			return none, err
		}
		a, err := netip.ParseAddr(text)
		if err != nil {
			return none, err
		}
		h := found.add(a, first, last)
		if in {
			h.In, h.Clients = flows, peers
		} else {
			h.Out, h.Servers = flows, peers
		}
		return none, nil
	}, func(struct{}, error) bool { return true })
	return err
}

// hostIntel finds out what is known about hosts. An address can be written in many
// ways, so that SQL only leaves out what certainly is about none of them: see flow.About.
func (r *relations) hostIntel(ctx context.Context, addrs []netip.Addr, most int, found knownHosts) error {
	kind := &flow.Kinds()[flow.DNS]
	query, qtype, answers := kind.Attrs[flow.DNSQuery].Column, kind.Attrs[flow.DNSQTypeName].Column, kind.Attrs[flow.DNSAnswers].Column
	c := new(condition)
	wanted := make([]string, len(addrs))
	for i, a := range addrs {
		wanted[i] = c.arg(a.String())
	}
	attrs := intelAttrs(kind, true)
	var columns, order []string
	for i := range attrs {
		column := "m." + ident(attrs[i].Column)
		columns, order = append(columns, column), append(order, column+" NULLS LAST")
	}
	list := strings.Join(columns, ", ")
	rows, err := r.query(ctx, "SELECT count(*) AS n, min(ts), max(ts), "+list+" FROM "+r.schema+"."+ident(kind.Name)+
		" AS m WHERE list_has_any(m."+ident(answers)+", ["+strings.Join(wanted, ", ")+"]) OR list_bool_or(list_transform(m."+
		ident(answers)+", lambda a: contains(a, ':'))) OR m."+ident(qtype)+" = 'PTR' GROUP BY "+list+
		" ORDER BY n DESC, "+strings.Join(order, ", "), c.args...)
	if err != nil {
		return err
	}
	var n int64
	var first, last time.Time
	values := make([]any, len(attrs))
	into := []any{&n, &first, &last}
	for i := range values {
		into = append(into, &values[i])
	}
	_, err = scanned(rows, func(rows *sql.Rows) (none struct{}, err error) {
		if err := rows.Scan(into...); err != nil {
			return none, err
		}
		in := store.Intel{Kind: kind.Name, Count: n, Attrs: make(map[string]any)}
		for i := range attrs {
			if v := plain(values[i]); v != nil {
				in.Attrs[attrs[i].FilterName()] = v
			}
		}
		value := func(column string) any {
			return values[slices.IndexFunc(attrs, func(a flow.Attr) bool { return a.Column == column })]
		}
		name, _ := value(query).(string)
		typ, _ := value(qtype).(string)
		for _, a := range flow.About(name, typ, texts(value(answers))) {
			if !slices.Contains(addrs, a) {
				continue
			}
			h := found.add(a, first, last)
			switch {
			case most == store.All || len(h.Intel) < most:
				h.Intel = append(h.Intel, in)
			case most > 0:
				h.MoreIntel++
			}
		}
		return none, nil
	}, func(struct{}, error) bool { return true })
	return err
}
