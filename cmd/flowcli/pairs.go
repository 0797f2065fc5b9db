// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"weir/store"
)

// mode is what a list has a line for.
type mode string

// Modes, with IVRE's names.
const (
	defaultMode mode = "default"  // each flow
	flowMap     mode = "flow_map" // each pair of hosts, with its services
	talkMap     mode = "talk_map" // each pair of hosts
)

func modes() []string { return []string{string(defaultMode), string(flowMap), string(talkMap)} }

func (m *mode) String() string { return string(*m) }
func (m *mode) Type() string   { return "mode" }

// Set implements pflag.Value.
func (m *mode) Set(text string) error {
	if !slices.Contains(modes(), text) {
		return fmt.Errorf("expected one of %s", strings.Join(modes(), ", "))
	}
	*m = mode(text)
	return nil
}

// printPairs lists pairs of hosts, into which all their flows are merged. Counters are
// sums over the flows. JSON is a store.Pair.
func (o *options) printPairs(ctx context.Context, db store.PairLister, out *output, q store.Query) error {
	services := o.list.mode == flowMap
	q.Times = o.list.timeline || out.json()
	columns := named("src")
	add := func(more ...column) { columns = append(columns, more...) }
	switch {
	case services && out.format == asCSV:
		add(named("dst", "services")...)
	case services:
		add(named("services", "dst")...)
	default:
		add(named("dst")...)
	}
	add(column{name: "flows", right: true})
	add(counters()...)
	if o.list.timeline {
		add(column{name: "times"})
	}
	s, err := out.sheet(columns)
	if err != nil {
		return err
	}
	return fill(s, db.Pairs(ctx, store.PairQuery{Query: q, Services: services}), func(p *store.Pair) error {
		if out.json() {
			return s.row(nil, p)
		}
		values := []any{p.Src.String()}
		if services && out.format != asCSV {
			values = append(values, labels(p.Services))
		}
		values = append(values, p.Dst.String())
		if services && out.format == asCSV {
			values = append(values, labels(p.Services))
		}
		values = append(values, p.Flows, p.Count, p.CSPkts, p.SCPkts, p.CSBytes, p.SCBytes, p.FirstSeen, p.LastSeen)
		if o.list.timeline {
			values = append(values, list(p.Times))
		}
		return s.row(values, nil)
	})
}

// labels returns services as a list of "tcp/80".
func labels(services []store.Service) []any {
	out := make([]any, len(services))
	for i := range services {
		out[i] = services[i].String()
	}
	return out
}
