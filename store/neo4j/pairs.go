// SPDX-License-Identifier: Apache-2.0

package neo4j

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/neo4j/neo4j-go-driver/v5/neo4j"

	"weir/internal/filter"
	"weir/store"
)

// Pairs implements store.PairLister.
func (d *DB) Pairs(ctx context.Context, q store.PairQuery) iter.Seq2[*store.Pair, error] {
	return func(yield func(*store.Pair, error) bool) {
		if err := d.pairs(ctx, q, func(p *store.Pair) bool { return yield(p, nil) }); err != nil {
			yield(nil, fmt.Errorf("list pairs of hosts: %w", err))
		}
	}
}

func (d *DB) pairs(ctx context.Context, pq store.PairQuery, yield func(*store.Pair) bool) error {
	order, err := pairOrder(pq.OrderBy)
	if err != nil {
		return err
	}
	q, err := ask(pq.Filter)
	if err != nil {
		return err
	}
	few := d.fewFlows
	if pq.Limit > 0 && strings.HasPrefix(order, "src.sort") {
		// Of so many flows a page needs but a few clients.
		few = min(few, 10*(int64(pq.Skip)+int64(pq.Limit)))
	}
	byHost, err := d.manyByHosts(ctx, q, few)
	if err != nil {
		return err
	}
	text := "dst, count(*) AS flows, min(f.firstseen) AS firstseen, max(f.lastseen) AS lastseen"
	whole := "src, dst, flows, firstseen, lastseen"
	for _, name := range sums() {
		sum := new(halves)
		sum.add("f." + name)
		text += ", " + sum.parts(name)
		whole += ", " + sum.whole(name) + " AS " + name
	}
	list := ""
	if pq.Services || pq.Times {
		// What a page shows of flows is looked up for its own alone.
		text += ", collect(f) AS list"
		whole += ", list"
		if pq.Services {
			list += ", [f IN list | [f.proto, f.dport, f.type]]"
		}
		if pq.Times {
			list += ", [f IN list | f.times]"
		}
	}
	if byHost {
		// The pairs of one client after those of another, in the order of the index: nothing is kept of
		// those that are done, and a page in that order needs no more clients than its own.
		text = "MATCH (src:Host) USING INDEX src:Host(sort) WHERE src.sort >= '' CALL (src) { " +
			"MATCH (src)-[:SEND]->(f:Flow)-[:TO]->(dst:Host) WHERE " + q.Where + " RETURN " + text + " }"
	} else {
		text = q.begin() + " WITH src, " + text
	}
	text += " WITH " + whole + " ORDER BY " + order + q.page(pq.Skip, pq.Limit) +
		" RETURN src.addr, dst.addr, flows, count, cspkts, scpkts, csbytes, scbytes, firstseen, lastseen" + list
	return d.answer(ctx, q, text, func(r *neo4j.Record) error {
		p, err := scanPair(r.Values, &pq)
		if err != nil {
			return err
		}
		if !yield(p) {
			return errStop
		}
		return nil
	})
}

// manyByHosts reports whether a filter selects more than a few flows, so that they had better
// be looked at client by client than all put together at once. A filter that begins with some
// hosts or some intel selects few.
func (d *DB) manyByHosts(ctx context.Context, q *question, few int64) (bool, error) {
	switch {
	case q.Match != filter.CypherFlows:
		return false, nil
	case q.Where == "true":
		return true, nil
	}
	some := &question{&filter.Cypher{Match: q.Match, Where: q.Where, Params: maps.Clone(q.Params), Patterns: q.Patterns}}
	text := some.beginFor("") + " WITH f LIMIT " + some.arg("few", few+1) + " RETURN count(*)"
	var n int64
	err := d.answer(ctx, some, text, func(r *neo4j.Record) error {
		s := scanner{values: r.Values}
		n = s.number()
		return s.err
	})
	return n > few, err
}

// pairOrder returns the terms that sort pairs.
func pairOrder(orders []store.Order) (string, error) {
	var terms []string
	for _, o := range orders {
		name, err := store.PairOrder(o.Attr)
		if err != nil {
			return "", err
		}
		switch name {
		case "src.addr":
			name = "src.sort"
		case "dst.addr":
			name = "dst.sort"
		}
		if o.Desc {
			name += " DESC"
		}
		terms = append(terms, name)
	}
	return strings.Join(append(terms, "src.sort", "dst.sort"), ", "), nil
}

// scanPair reads a row of pairs.
func scanPair(v []any, q *store.PairQuery) (*store.Pair, error) {
	s := scanner{values: v}
	p := &store.Pair{Src: s.addr(), Dst: s.addr()}
	for _, n := range []*int64{&p.Flows, &p.Count, &p.CSPkts, &p.SCPkts, &p.CSBytes, &p.SCBytes} {
		*n = s.number()
	}
	p.FirstSeen, p.LastSeen = s.time(), s.time()
	if q.Services {
		for _, v := range s.list() {
			t := scanner{values: scan[[]any](&s, v)}
			if s.err != nil {
				break
			}
			p.Services = append(p.Services, store.Service{Proto: t.text(), Dport: t.port(), Type: t.port()})
			s.err = cmp.Or(s.err, t.err)
		}
		slices.SortFunc(p.Services, compareServices)
	}
	if q.Times {
		for _, v := range s.list() {
			if v == nil {
				continue
			}
			for _, t := range scan[[]any](&s, v) {
				p.Times = append(p.Times, scan[time.Time](&s, t).UTC())
			}
		}
		slices.SortFunc(p.Times, time.Time.Compare)
		p.Times = slices.CompactFunc(p.Times, time.Time.Equal)
	}
	if s.err != nil {
		return nil, fmt.Errorf("a flow is not as weir makes them: %w", s.err)
	}
	return p, nil
}

// compareServices orders services, what is missing last.
func compareServices(a, b store.Service) int {
	return cmp.Or(cmp.Compare(a.Proto, b.Proto), comparePorts(a.Dport, b.Dport), comparePorts(a.Type, b.Type))
}

func comparePorts(a, b *uint16) int {
	switch {
	case a == nil && b == nil:
		return 0
	case a == nil:
		return 1
	case b == nil:
		return -1
	}
	return cmp.Compare(*a, *b)
}
