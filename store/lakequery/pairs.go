// SPDX-License-Identifier: Apache-2.0

package lakequery

import (
	"context"
	"database/sql"
	"fmt"
	"iter"
	"net/netip"
	"slices"
	"strings"

	"weir/store"
)

// Pairs implements store.PairLister.
func (d *DB) Pairs(ctx context.Context, q store.PairQuery) iter.Seq2[*store.Pair, error] {
	return func(yield func(*store.Pair, error) bool) {
		if err := d.pairs(ctx, q, yield); err != nil {
			yield(nil, fmt.Errorf("list pairs of hosts: %w", err))
		}
	}
}

func (d *DB) pairs(ctx context.Context, q store.PairQuery, yield func(*store.Pair, error) bool) error {
	return d.inPages(ctx, q.Query, d.pageFlows, func(r *relations, page store.Query) (int, error) {
		c, err := r.condition(q.Filter)
		if err != nil {
			return 0, err
		}
		text, err := pairsSQL(c, store.PairQuery{Query: page, Services: q.Services})
		if err != nil {
			return 0, err
		}
		rows, err := r.query(ctx, text, c.args...)
		if err != nil {
			return 0, err
		}
		return scanned(rows, scanPair, yield)
	})
}

// pairOrder returns the expressions that sort pairs, their hosts last.
func pairOrder(orders []store.Order) (string, error) {
	var terms []string
	add := func(list []string, desc bool) {
		for _, term := range list {
			if desc {
				term += " DESC"
			}
			terms = append(terms, term)
		}
	}
	for _, o := range orders {
		name, err := store.PairOrder(o.Attr)
		if err != nil {
			return "", err
		}
		switch name {
		case "src.addr":
			add(addrOrder("src"), o.Desc)
		case "dst.addr":
			add(addrOrder("dst"), o.Desc)
		default:
			add([]string{ident(name)}, o.Desc)
		}
	}
	add(append(addrOrder("src"), addrOrder("dst")...), false)
	return strings.Join(terms, ", "), nil
}

// pairsSQL returns the query that lists pairs of hosts: flows grouped once more. What
// makes lists is gathered for the pairs of the page only.
func pairsSQL(c *condition, q store.PairQuery) (string, error) {
	order, err := pairOrder(q.OrderBy)
	if err != nil {
		return "", err
	}
	sums := []string{"src", "dst", "count(*) AS flows"}
	for _, name := range []string{"count", "cspkts", "scpkts", "csbytes", "scbytes"} {
		sums = append(sums, total(name)+" AS "+name)
	}
	sums = append(sums, "min(firstseen) AS firstseen", "max(lastseen) AS lastseen")
	bins := []string{"any_value(src_bin) AS src_bin", "any_value(dst_bin) AS dst_bin"}
	lists := []string{"NULL", "NULL"}
	if q.Services {
		lists[0] = "list({p: proto, d: dport, t: type} ORDER BY proto, dport NULLS LAST, type NULLS LAST)"
	}
	if q.Times {
		lists[1] = merged("times")
	}
	pairs := func(columns ...[]string) string {
		var list []string
		for _, l := range columns {
			list = append(list, l...)
		}
		return "SELECT " + strings.Join(list, ", ") + " FROM flows GROUP BY src, dst"
	}
	byKey := c.groups == "" && pairKeysOnly(q.OrderBy)
	if q.Limit == 0 || !byKey && !q.Services && !q.Times {
		c.times = c.times || q.Times
		text := c.flows()
		return text + " SELECT * EXCLUDE (src_bin, dst_bin) FROM (" + pairs(sums, lists, bins) + ") ORDER BY " + order +
			c.page(q.Skip, q.Limit), nil
	}
	const page = "page AS MATERIALIZED (SELECT src, dst, src_bin FROM ("
	text := ""
	if byKey {
		text = "WITH " + page + c.keys("src, dst, src_bin, dst_bin")
	} else {
		text = c.flows() + ", " + page + pairs(sums, bins)
	}
	text += ") ORDER BY " + order + c.page(q.Skip, q.Limit) + ") "
	gathered := *c
	gathered.times = c.times || q.Times
	gathered.rows = and(nearPage, "EXISTS (FROM page WHERE page.src = conn.src AND page.dst = conn.dst)", c.rows)
	return text + "SELECT * EXCLUDE (src_bin, dst_bin) FROM (" + gathered.flows() + " " + pairs(sums, lists, bins) +
		") ORDER BY " + order, nil
}

// pairKeysOnly reports whether a sort, which is a right one, needs nothing but the hosts.
func pairKeysOnly(orders []store.Order) bool {
	return !slices.ContainsFunc(orders, func(o store.Order) bool {
		name, _ := store.PairOrder(o.Attr)
		return name != "src.addr" && name != "dst.addr"
	})
}

// scanPair reads a row of pairsSQL.
func scanPair(rows *sql.Rows) (*store.Pair, error) {
	p := new(store.Pair)
	var src, dst string
	var services, slots any
	err := rows.Scan(&src, &dst, &p.Flows, &p.Count, &p.CSPkts, &p.SCPkts, &p.CSBytes, &p.SCBytes,
		&p.FirstSeen, &p.LastSeen, &services, &slots)
	if err != nil {
		return nil, err
	}
	if p.Src, err = netip.ParseAddr(src); err != nil {
		return nil, err
	}
	if p.Dst, err = netip.ParseAddr(dst); err != nil {
		return nil, err
	}
	p.FirstSeen, p.LastSeen = p.FirstSeen.UTC(), p.LastSeen.UTC()
	list, _ := services.([]any)
	for _, v := range list {
		m, _ := v.(map[string]any)
		s := store.Service{Dport: optionalPort(m["d"]), Type: optionalPort(m["t"])}
		s.Proto, _ = m["p"].(string)
		p.Services = append(p.Services, s)
	}
	p.Times = moments(slots)
	return p, nil
}

// optionalPort returns a 16-bit number, nil if there is none.
func optionalPort(v any) *uint16 {
	n, ok := v.(int32)
	if !ok {
		return nil
	}
	return new(uint16(n))
}
