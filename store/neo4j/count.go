// SPDX-License-Identifier: Apache-2.0

package neo4j

import (
	"context"
	"fmt"

	"github.com/neo4j/neo4j-go-driver/v5/neo4j"
	"golang.org/x/sync/errgroup"

	"weir/internal/filter"
	"weir/store"
)

// countAll counts everything without looking at it.
const countAll = `CALL () { MATCH (h:Host) WHERE EXISTS { (h)-[:SEND]->() } RETURN count(h) AS clients }
CALL () { MATCH (h:Host) WHERE EXISTS { (h)<-[:TO]-() } RETURN count(h) AS servers }
CALL () { MATCH (f:Flow) RETURN count(f) AS flows }
RETURN clients, servers, flows`

// fewFlows is how many flows are looked at one by one for their hosts.
const fewFlows = 100_000

// Counts implements store.Counter.
func (d *DB) Counts(ctx context.Context, sq store.Query) (store.Counts, error) {
	n, err := d.counts(ctx, sq.Filter)
	if err != nil {
		return store.Counts{}, fmt.Errorf("count flows: %w", err)
	}
	return n, nil
}

func (d *DB) counts(ctx context.Context, e *filter.Expr) (n store.Counts, err error) {
	q, err := ask(e)
	if err != nil {
		return n, err
	}
	const number = " RETURN count(DISTINCT src), count(DISTINCT dst), count(*)"
	text, few := "", int64(0)
	switch {
	case e == nil:
		text = countAll
	case q.Match != filter.CypherFlows:
		// There are few, or the flows are not found by their hosts.
		text = q.begin() + number
	default:
		few = d.fewFlows
		text = q.beginFew(few+1) + number
	}
	err = d.answer(ctx, q, text, func(r *neo4j.Record) error {
		s := scanner{values: r.Values}
		n.Clients, n.Servers, n.Flows = s.number(), s.number(), s.number()
		return s.err
	})
	if err != nil || few == 0 || n.Flows <= few && d.notes == nil {
		return n, err
	}
	return d.countByHosts(ctx, q)
}

// countByHosts counts the flows that a filter selects, which are many, and their hosts: for
// each client how many flows it has, and for each server whether it has one. So nothing has to be
// told apart, most flows are looked at without their other end, and the server needs
// a thread for each of the two. Patterns must have been filled in.
func (d *DB) countByHosts(ctx context.Context, q *question) (n store.Counts, err error) {
	filled := *q.Cypher
	filled.Patterns = nil
	q = &question{&filled}
	toDst, fromSrc := "", ""
	if namesHosts(q.Where) {
		toDst, fromSrc = "-[:TO]->(dst:Host)", "<-[:SEND]-(src:Host)"
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		text := "MATCH (src:Host) WITH COUNT { (src)-[:SEND]->(f:Flow)" + toDst + " WHERE " + q.Where + " } AS flows" +
			" WHERE flows > 0 RETURN count(*), sum(flows)"
		return d.answer(ctx, q, text, func(r *neo4j.Record) error {
			s := scanner{values: r.Values}
			n.Clients, n.Flows = s.number(), s.number()
			return s.err
		})
	})
	g.Go(func() error {
		text := "MATCH (dst:Host) WHERE EXISTS { (dst)<-[:TO]-(f:Flow)" + fromSrc + " WHERE " + q.Where + " } RETURN count(*)"
		return d.answer(ctx, q, text, func(r *neo4j.Record) error {
			s := scanner{values: r.Values}
			n.Servers = s.number()
			return s.err
		})
	})
	err = g.Wait()
	return n, err
}
