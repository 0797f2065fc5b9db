// SPDX-License-Identifier: Apache-2.0

package storetest

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"time"

	"weir/internal/filter"
	"weir/internal/flow"
	"weir/store"
)

// fill adds to a flow what a query asked for beside it.
func (m *model) fill(s *store.Flow, f *filter.Flow, q *store.Query) {
	if q.Times {
		s.Times = slotStarts(f.Times)
	}
	if q.Intel != 0 {
		s.Intel, s.MoreIntel = limitIntel(groupIntel(f.Intel, false), q.Intel)
	}
}

// slotStarts returns the starts of slots, each once, in ascending order.
func slotStarts(slots []filter.Slot) []time.Time {
	var out []time.Time
	for _, s := range slots {
		out = append(out, micro(s.Start))
	}
	slices.SortFunc(out, time.Time.Compare)
	return slices.Compact(out)
}

// groupIntel counts records with the same attributes, those with the same
// attributes of a node where only these count.
func groupIntel(records []filter.Intel, nodes bool) []store.Intel {
	var out []store.Intel
	for i := range records {
		k := &flow.Kinds()[records[i].Kind]
		attrs := make(map[string]any)
		for j := range k.Attrs {
			if v := intelValue(&k.Attrs[j], &records[i].Values[j]); v != nil && (!nodes || k.Attrs[j].Role == flow.Key) {
				attrs[k.Attrs[j].FilterName()] = v
			}
		}
		at := slices.IndexFunc(out, func(in store.Intel) bool { return in.Kind == k.Name && reflect.DeepEqual(in.Attrs, attrs) })
		if at < 0 {
			at = len(out)
			out = append(out, store.Intel{Kind: k.Name, Attrs: attrs})
		}
		out[at].Count++
	}
	slices.SortFunc(out, compareIntel)
	return out
}

// intelValue returns the value of an attribute in a record, nil for none.
func intelValue(a *flow.Attr, v *filter.Value) any {
	if !v.Set {
		return nil
	}
	switch a.Type {
	case flow.Text:
		return v.Text
	case flow.Count:
		return v.Int
	case flow.Bool:
		return v.Int != 0
	case flow.Interval:
		return seconds(v.Int)
	case flow.TextList:
		return append([]any{}, list(v.Texts...)...)
	case flow.IntervalList:
		out := []any{}
		for _, n := range v.Ints {
			out = append(out, seconds(n))
		}
		return out
	}
	panic("no type of intel")
}

// compareIntel orders intel: by kind, the most frequent first, then by values.
func compareIntel(a, b store.Intel) int {
	kindOf := func(in store.Intel) int {
		return slices.IndexFunc(flow.Kinds(), func(k flow.KindInfo) bool { return k.Name == in.Kind })
	}
	kind := kindOf(a)
	if c := cmp.Or(cmp.Compare(kind, kindOf(b)), cmp.Compare(b.Count, a.Count)); c != 0 {
		return c
	}
	for _, attr := range flow.Kinds()[kind].Attrs {
		name := attr.FilterName()
		if c := compareMissing(a.Attrs[name], b.Attrs[name], false); c != 0 {
			return c
		}
	}
	return 0
}

// limitIntel cuts a list of intel, n of store.Query.Intel, and says what is left out.
func limitIntel(list []store.Intel, n int) ([]store.Intel, int64) {
	switch {
	case n == 0:
		return nil, 0
	case n == store.All || n >= len(list):
		return list, 0
	}
	return list[:n], int64(len(list) - n)
}

// fields answers Fields.
func (m *model) fields(q *store.Query, names []string) [][]any {
	var out [][]any
	for _, f := range page(m.sorted(q), q) {
		var row []any
		for _, name := range names {
			a := m.find(name)
			values := m.values(f, a)
			switch {
			case values[0] == nil:
				row = append(row, nil)
			case a.Set:
				slices.SortFunc(values, compareValues)
				row = append(row, values)
			default:
				row = append(row, values[0])
			}
		}
		out = append(out, row)
	}
	return out
}

// pairs answers Pairs.
func (m *model) pairs(q *store.PairQuery) []*store.Pair {
	byHosts := make(map[[2]netip.Addr]*store.Pair)
	for _, f := range m.selected(q.Filter) {
		s := m.seen[f]
		p := byHosts[[2]netip.Addr{s.Src, s.Dst}]
		if p == nil {
			p = &store.Pair{Src: s.Src, Dst: s.Dst, FirstSeen: s.FirstSeen, LastSeen: s.LastSeen}
			byHosts[[2]netip.Addr{s.Src, s.Dst}] = p
		}
		if q.Services { // flows are in the order of their keys
			p.Services = append(p.Services, store.Service{Proto: s.Proto, Dport: s.Dport, Type: s.Type})
		}
		if q.Times {
			p.Times = append(p.Times, slotStarts(f.Times)...)
		}
		p.Flows++
		for _, sum := range []struct {
			total *int64
			n     int64
		}{{&p.Count, s.Count}, {&p.CSPkts, s.CSPkts}, {&p.SCPkts, s.SCPkts}, {&p.CSBytes, s.CSBytes}, {&p.SCBytes, s.SCBytes}} {
			*sum.total = saturate(uint64(*sum.total) + uint64(sum.n))
		}
		if s.FirstSeen.Before(p.FirstSeen) {
			p.FirstSeen = s.FirstSeen
		}
		if s.LastSeen.After(p.LastSeen) {
			p.LastSeen = s.LastSeen
		}
	}
	pairs := slices.Collect(maps.Values(byHosts))
	for _, p := range pairs {
		slices.SortFunc(p.Times, time.Time.Compare)
		p.Times = slices.Compact(p.Times)
	}
	slices.SortFunc(pairs, func(a, b *store.Pair) int {
		for _, o := range q.OrderBy {
			if c := compareMissing(pairValue(a, o.Attr), pairValue(b, o.Attr), o.Desc); c != 0 {
				return c
			}
		}
		return cmp.Or(a.Src.Compare(b.Src), a.Dst.Compare(b.Dst))
	})
	return page(pairs, &q.Query)
}

// pairValue returns what sorts a pair.
func pairValue(p *store.Pair, name string) any {
	switch name, _ := store.PairOrder(name); name {
	case "src.addr":
		return p.Src
	case "dst.addr":
		return p.Dst
	case "flows":
		return p.Flows
	case "count":
		return p.Count
	case "cspkts":
		return p.CSPkts
	case "scpkts":
		return p.SCPkts
	case "csbytes":
		return p.CSBytes
	case "scbytes":
		return p.SCBytes
	case "firstseen":
		return p.FirstSeen
	case "lastseen":
		return p.LastSeen
	}
	panic("no order of pairs by " + name)
}

// timeline answers Timeline.
func (m *model) timeline(q *store.TimelineQuery) []store.TimelineSlot {
	step := cmp.Or(q.Step, SlotWidth*time.Microsecond).Microseconds()
	groups := make(map[string]*store.TimelineSlot)
	for _, f := range m.selected(q.Filter) {
		starts := make(map[int64]bool)
		for _, s := range f.Times {
			at := floor(s.Start.Micro(), step)
			end := time.UnixMicro(at + step)
			if (q.Before.IsZero() || time.UnixMicro(at).Before(q.Before)) && (q.After.IsZero() || end.After(q.After)) {
				starts[at] = true
			}
		}
		for at := range starts {
			for _, fields := range m.combinations(f, q.By) {
				key := fmt.Sprintf("%d %#v", at, fields)
				if groups[key] == nil {
					groups[key] = &store.TimelineSlot{Start: time.UnixMicro(at).UTC(), Fields: fields}
				}
				groups[key].Flows++
			}
		}
	}
	var out []store.TimelineSlot
	for _, g := range groups {
		out = append(out, *g)
	}
	slices.SortFunc(out, func(a, b store.TimelineSlot) int {
		return cmp.Or(a.Start.Compare(b.Start), cmp.Compare(b.Flows, a.Flows), compareTuples(a.Fields, b.Fields))
	})
	return out
}

// floor returns the greatest multiple of step that is at most n.
func floor(n, step int64) int64 {
	rest := n % step
	if rest < 0 {
		rest += step
	}
	return n - rest
}

// hosts answers Hosts; records are all intel there is.
func (m *model) hosts(q *store.HostQuery, records []Record) []*store.Host {
	var out []*store.Host
	for _, addr := range q.Addrs {
		addr = addr.Unmap()
		if addr.Zone() != "" {
			continue // texts of intel may have one, hosts do not
		}
		if slices.ContainsFunc(out, func(h *store.Host) bool { return h.Addr == addr }) {
			continue
		}
		if h := m.host(addr, q.Intel, records); h != nil {
			out = append(out, h)
		}
	}
	return out
}

// host returns a host, nil if it is unknown.
func (m *model) host(addr netip.Addr, limit int, records []Record) *store.Host {
	h := &store.Host{Addr: addr}
	known := false
	seen := func(first, last time.Time) {
		if !known || first.Before(h.FirstSeen) {
			h.FirstSeen = first
		}
		if !known || last.After(h.LastSeen) {
			h.LastSeen = last
		}
		known = true
	}
	clients, servers := make(map[netip.Addr]bool), make(map[netip.Addr]bool)
	for _, f := range m.flows {
		s := m.seen[f]
		if s.Src == addr || s.Dst == addr {
			seen(s.FirstSeen, s.LastSeen)
		}
		if s.Dst == addr {
			h.In++
			clients[s.Src] = true
		}
		if s.Src == addr {
			h.Out++
			servers[s.Dst] = true
		}
	}
	h.Clients, h.Servers = int64(len(clients)), int64(len(servers))
	var about []filter.Intel
	for i := range records {
		r := &records[i]
		if r.Kind == flow.DNS && isAbout(storedIntel(&r.Intel).Values, addr) {
			seen(micro(r.TS), micro(r.TS))
			about = append(about, storedIntel(&r.Intel))
		}
	}
	if !known {
		return nil
	}
	h.Intel, h.MoreIntel = limitIntel(groupIntel(about, true), limit)
	return h
}

// isAbout reports whether a DNS record is about an address.
func isAbout(values []filter.Value, addr netip.Addr) bool {
	for _, text := range values[flow.DNSAnswers].Texts {
		if a, err := netip.ParseAddr(text); err == nil && a.Unmap() == addr {
			return true
		}
	}
	return values[flow.DNSQTypeName].Text == "PTR" && addr.Is4() &&
		strings.EqualFold(strings.TrimSuffix(values[flow.DNSQuery].Text, "."), reverse4(addr))
}

// reverse4 returns the name below in-addr.arpa of an address of IPv4.
func reverse4(addr netip.Addr) string {
	b := addr.As4()
	return fmt.Sprintf("%d.%d.%d.%d.in-addr.arpa", b[3], b[2], b[1], b[0])
}
