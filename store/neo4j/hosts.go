// SPDX-License-Identifier: Apache-2.0

package neo4j

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/neo4j/neo4j-go-driver/v5/neo4j"

	"weir/store"
)

// hostsText returns hosts, behind each the nodes of intel about it.
const hostsText = `UNWIND $addrs AS addr MATCH (h:Host {addr: addr})
CALL (h) {
  RETURN [h.firstseen, h.lastseen, COUNT { (h)<-[:TO]-(:Flow) }, COUNT { (h)-[:SEND]->(:Flow) },
    COUNT { MATCH (h)<-[:TO]-(:Flow)<-[:SEND]-(client:Host) RETURN DISTINCT client },
    COUNT { MATCH (h)-[:SEND]->(:Flow)-[:TO]->(server:Host) RETURN DISTINCT server }] AS head, null AS i, null AS n
  UNION ALL
  MATCH (h)-[:INTEL]->(i:Intel) WHERE $intel WITH DISTINCT i
  CALL (i) { MATCH (i)<-[m:INTEL]-() RETURN sum(m.count) AS n }
  RETURN null AS head, i, n
}
RETURN h.addr, head, labels(i), properties(i), n`

// Hosts implements store.HostFinder.
func (d *DB) Hosts(ctx context.Context, q store.HostQuery) ([]*store.Host, error) {
	hosts, err := d.hosts(ctx, q)
	if err != nil {
		return nil, fmt.Errorf("find hosts: %w", err)
	}
	return hosts, nil
}

func (d *DB) hosts(ctx context.Context, hq store.HostQuery) ([]*store.Host, error) {
	var addrs []string
	for _, a := range hq.Addrs {
		if text := a.Unmap().String(); a.IsValid() && a.Zone() == "" && !slices.Contains(addrs, text) {
			addrs = append(addrs, text)
		}
	}
	if len(addrs) == 0 {
		return nil, ctx.Err()
	}
	q, err := ask(nil)
	if err != nil {
		return nil, err
	}
	q.Params["addrs"], q.Params["intel"] = addrs, hq.Intel != 0
	found := make(map[string]*store.Host)
	intel := make(map[string]*gathering)
	err = d.answer(ctx, q, hostsText, func(r *neo4j.Record) error {
		s := scanner{values: r.Values}
		addr := s.text()
		if r.Values[1] == nil {
			g := intel[addr]
			if g == nil {
				g = newGathering()
				g.reset()
				intel[addr] = g
			}
			s.next()
			labels, node, n := s.list(), scan[map[string]any](&s, s.next()), s.number()
			return errors.Join(s.err, g.add(labels, node, nil, n))
		}
		a, err := netip.ParseAddr(addr)
		if err != nil {
			return err
		}
		s = scanner{values: s.list()}
		h := &store.Host{Addr: a, FirstSeen: s.time(), LastSeen: s.time()}
		h.In, h.Out, h.Clients, h.Servers = s.number(), s.number(), s.number(), s.number()
		found[addr] = h
		return s.err
	})
	if err != nil {
		return nil, err
	}
	var out []*store.Host
	for _, addr := range addrs {
		if h := found[addr]; h != nil {
			if g := intel[addr]; g != nil {
				h.Intel, h.MoreIntel = g.page(hq.Intel)
			}
			out = append(out, h)
		}
	}
	return out, nil
}
