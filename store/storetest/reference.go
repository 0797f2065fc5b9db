// SPDX-License-Identifier: Apache-2.0

package storetest

import (
	"cmp"
	"fmt"
	"math"
	"math/big"
	"net/netip"
	"slices"
	"strings"
	"time"

	"weir/internal/filter"
	"weir/internal/flow"
	"weir/store"
)

// model answers questions from flows in memory. It is slow and plain: what it
// says is what every store must say.
type model struct {
	flows []*filter.Flow
	// attrs are what queries can name, names finds them by their names in lower case.
	attrs []filter.Attribute
	names map[string]*filter.Attribute
	// seen are the flows as stores show them.
	seen map[*filter.Flow]*store.Flow
}

// newModel returns a model of the store called name.
func newModel(name string, flows []*filter.Flow) *model {
	m := &model{flows: flows, names: make(map[string]*filter.Attribute), seen: make(map[*filter.Flow]*store.Flow)}
	for _, f := range flows {
		m.seen[f] = shown(f)
	}
	for _, a := range filter.Attributes() {
		if where := Place(name, &a); where == "flow" || where == "meta" {
			m.attrs = append(m.attrs, a)
		}
	}
	for i := range m.attrs {
		a := &m.attrs[i]
		for _, known := range append([]string{a.Name}, a.Aliases...) {
			m.names[strings.ToLower(known)] = a
		}
	}
	return m
}

// selected returns the flows that a filter selects, in the order of their keys.
func (m *model) selected(e *filter.Expr) []*filter.Flow {
	var out []*filter.Flow
	for _, f := range m.flows {
		if e.Match(f) {
			out = append(out, f)
		}
	}
	return out
}

// page cuts a page out of a list.
func page[T any](list []T, q *store.Query) []T {
	list = list[min(q.Skip, len(list)):]
	if q.Limit > 0 {
		list = list[:min(q.Limit, len(list))]
	}
	return list
}

// sorted returns all flows that a query selects, in its order.
func (m *model) sorted(q *store.Query) []*filter.Flow {
	flows := m.selected(q.Filter)
	slices.SortStableFunc(flows, func(a, b *filter.Flow) int {
		for _, o := range q.OrderBy {
			if c := m.compare(a, b, o); c != 0 {
				return c
			}
		}
		return compareKeys(a, b)
	})
	return flows
}

// list answers Flows.
func (m *model) list(q *store.Query) []*store.Flow {
	var out []*store.Flow
	for _, f := range page(m.sorted(q), q) {
		s := shown(f)
		m.fill(s, f, q)
		out = append(out, s)
	}
	return out
}

// compare compares two flows by one criterion of a sort.
func (m *model) compare(a, b *filter.Flow, o store.Order) int {
	names := []string{o.Attr}
	if o.Attr == "flow" {
		names = []string{"proto", "dport", "type"}
	}
	for _, name := range names {
		if c := compareMissing(m.value(a, name), m.value(b, name), o.Desc); c != 0 {
			return c
		}
	}
	return 0
}

// value returns the only value of an attribute, addresses as such, or nil.
func (m *model) value(f *filter.Flow, name string) any {
	a := m.find(name)
	switch {
	case a == nil:
		return nil
	case a.Name == "src.addr":
		return f.Src.Netip()
	case a.Name == "dst.addr":
		return f.Dst.Netip()
	}
	return m.values(f, a)[0]
}

// compareMissing compares values; nil is last either way.
func compareMissing(a, b any, desc bool) int {
	switch {
	case a == nil && b == nil:
		return 0
	case a == nil:
		return 1
	case b == nil:
		return -1
	case desc:
		return compareValues(b, a)
	}
	return compareValues(a, b)
}

func compareValues(a, b any) int {
	switch a := a.(type) {
	case string:
		return cmp.Compare(a, b.(string))
	case int64:
		return cmp.Compare(a, b.(int64))
	case float64:
		return cmp.Compare(a, b.(float64))
	case time.Time:
		return a.Compare(b.(time.Time))
	case netip.Addr:
		return a.Compare(b.(netip.Addr))
	case []any:
		other := b.([]any)
		for i := range min(len(a), len(other)) {
			if c := compareValues(a[i], other[i]); c != 0 {
				return c
			}
		}
		return cmp.Compare(len(a), len(other))
	case bool:
		other, _ := b.(bool)
		switch {
		case a == other:
			return 0
		case a:
			return 1
		}
		return -1
	}
	panic(fmt.Sprintf("no order of %T", a))
}

// compareTuples compares lists of values; nil is last.
func compareTuples(a, b []any) int {
	for i := range a {
		if c := compareMissing(a[i], b[i], false); c != 0 {
			return c
		}
	}
	return 0
}

// shown returns a flow as a store lists it.
func shown(f *filter.Flow) *store.Flow {
	service := strings.FieldsFunc(strings.Join(f.Service, ","), func(r rune) bool { return r == ',' })
	return &store.Flow{
		Src: f.Src.Netip(), Dst: f.Dst.Netip(), Proto: f.Proto, Dport: f.Dport, Type: f.Type,
		Sports: distinct(f.Sports), Codes: distinct(f.Codes), Count: f.Count, CSPkts: f.CSPkts, SCPkts: f.SCPkts,
		CSBytes: f.CSBytes, SCBytes: f.SCBytes, FirstSeen: micro(f.FirstSeen), LastSeen: micro(f.LastSeen),
		ConnState: distinct(f.ConnState), Service: distinct(service), VLAN: distinct(f.VLAN), Sensor: distinct(f.Sensor),
	}
}

// micro returns a time as stores keep it.
func micro(t flow.Time) time.Time { return time.UnixMicro(t.Micro()).UTC() }

// distinct returns the distinct elements of a list, sorted; nil for none.
func distinct[T cmp.Ordered](list []T) []T {
	out := slices.Compact(slices.Sorted(slices.Values(list)))
	if len(out) == 0 {
		return nil
	}
	return out
}

// counts answers Counts.
func (m *model) counts(e *filter.Expr) store.Counts {
	clients, servers := make(map[flow.Addr]bool), make(map[flow.Addr]bool)
	list := m.selected(e)
	for _, f := range list {
		clients[f.Src], servers[f.Dst] = true, true
	}
	return store.Counts{Clients: int64(len(clients)), Servers: int64(len(servers)), Flows: int64(len(list))}
}

// top answers Top.
func (m *model) top(q *store.TopQuery) []store.TopRow {
	type group struct {
		store.TopRow
		sum big.Int
	}
	groups := make(map[string]*group)
	var order []*group
	for _, f := range m.selected(q.Filter) {
		amount := big.NewInt(1)
		if len(q.Sum) > 0 {
			amount = new(big.Int)
			for _, name := range q.Sum {
				n, _ := m.value(f, name).(int64)
				amount.Add(amount, big.NewInt(n))
			}
		}
		for _, fields := range m.combinations(f, q.Fields) {
			key := fmt.Sprintf("%#v", fields)
			g := groups[key]
			if g == nil {
				g = &group{TopRow: store.TopRow{Fields: fields}}
				groups[key] = g
				order = append(order, g)
			}
			g.sum.Add(&g.sum, amount)
			if len(q.Collect) > 0 {
				g.Collected = append(g.Collected, m.combinations(f, q.Collect)...)
			}
		}
	}
	for _, g := range order {
		g.Count = math.MaxInt64
		if g.sum.IsInt64() {
			g.Count = g.sum.Int64()
		}
		slices.SortFunc(g.Collected, compareTuples)
		g.Collected = slices.CompactFunc(g.Collected, func(a, b []any) bool { return compareTuples(a, b) == 0 })
	}
	slices.SortFunc(order, func(a, b *group) int {
		c := cmp.Compare(b.Count, a.Count)
		if q.Least {
			c = -c
		}
		return cmp.Or(c, compareTuples(a.Fields, b.Fields))
	})
	var out []store.TopRow
	for _, g := range page(order, &q.Query) {
		out = append(out, g.TopRow)
	}
	return out
}

// combinations returns every combination of the values of attributes.
func (m *model) combinations(f *filter.Flow, names []string) [][]any {
	out := [][]any{nil}
	for _, name := range names {
		var next [][]any
		for _, tuple := range out {
			for _, v := range m.values(f, m.find(name)) {
				next = append(next, append(slices.Clone(tuple), v))
			}
		}
		out = next
	}
	return out
}

// find returns the attribute with a name, nil if there is none.
func (m *model) find(name string) *filter.Attribute { return m.names[strings.ToLower(name)] }

// known lists attributes in errors: those of each kind of intel in short.
func (m *model) known(fits func(a *filter.Attribute) bool) []string {
	var out []string
	for _, a := range m.attrs {
		name := a.Name
		if parts := strings.Split(name, "."); parts[0] == "meta" {
			name = "meta." + parts[1] + ".*"
		}
		if fits(&a) && !slices.Contains(out, name) {
			out = append(out, name)
		}
	}
	return out
}

// values returns the distinct values of an attribute as groups have them; nil
// alone where the flow has none.
func (m *model) values(f *filter.Flow, a *filter.Attribute) []any {
	var out []any
	for _, v := range m.rawValues(f, a) {
		if !slices.Contains(out, v) {
			out = append(out, v)
		}
	}
	if len(out) == 0 {
		return []any{nil}
	}
	return out
}

func (m *model) rawValues(f *filter.Flow, a *filter.Attribute) []any {
	if parts := strings.Split(a.Name, "."); parts[0] == "meta" {
		return intelValues(f, parts[1], parts[2])
	}
	s := m.seen[f]
	switch a.Name {
	case "addr":
		return list(f.Src.String(), f.Dst.String())
	case "src.addr":
		return list(f.Src.String())
	case "dst.addr":
		return list(f.Dst.String())
	case "proto":
		return list(f.Proto)
	case "dport":
		return optional(f.Dport)
	case "type":
		return optional(f.Type)
	case "sports":
		return numbers(s.Sports)
	case "codes":
		return numbers(s.Codes)
	case "count":
		return list(f.Count)
	case "cspkts":
		return list(f.CSPkts)
	case "scpkts":
		return list(f.SCPkts)
	case "csbytes":
		return list(f.CSBytes)
	case "scbytes":
		return list(f.SCBytes)
	case "firstseen":
		return list(s.FirstSeen)
	case "lastseen":
		return list(s.LastSeen)
	case "duration":
		return list(seconds(f.LastSeen.Micro() - f.FirstSeen.Micro()))
	case "times.start", "times.end", "times.duration":
		var out []any
		for _, slot := range f.Times {
			switch a.Name {
			case "times.start":
				out = append(out, micro(slot.Start))
			case "times.end":
				out = append(out, micro(slot.Start).Add(time.Duration(slot.Width)*time.Microsecond))
			default:
				out = append(out, seconds(slot.Width))
			}
		}
		return out
	case "conn_state":
		return list(s.ConnState...)
	case "service":
		return list(s.Service...)
	case "vlan":
		return numbers(s.VLAN)
	case "sensor":
		return list(s.Sensor...)
	}
	panic("no attribute " + a.Name)
}

// intelValues returns the values of an attribute in all records of a kind.
func intelValues(f *filter.Flow, kind, name string) []any {
	var out []any
	for i := range f.Intel {
		k := flow.Kinds()[f.Intel[i].Kind]
		if k.Name != kind {
			continue
		}
		for j := range k.Attrs {
			a, v := &k.Attrs[j], &f.Intel[i].Values[j]
			if !v.Set || cmp.Or(a.Name, a.Column) != name {
				continue
			}
			switch a.Type {
			case flow.Text:
				out = append(out, v.Text)
			case flow.Count:
				out = append(out, v.Int)
			case flow.Bool:
				out = append(out, v.Int != 0)
			case flow.Interval:
				out = append(out, seconds(v.Int))
			case flow.TextList:
				out = append(out, list(v.Texts...)...)
			case flow.IntervalList:
				for _, n := range v.Ints {
					out = append(out, seconds(n))
				}
			}
		}
	}
	return out
}

func seconds(micros int64) float64 { return float64(micros) / 1e6 }

func list[T any](values ...T) []any {
	var out []any
	for _, v := range values {
		out = append(out, v)
	}
	return out
}

func optional(n *uint16) []any {
	if n == nil {
		return nil
	}
	return list(int64(*n))
}

func numbers(values []uint16) []any {
	var out []any
	for _, n := range values {
		out = append(out, int64(n))
	}
	return out
}
