// SPDX-License-Identifier: Apache-2.0

package neo4j

import (
	"cmp"
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	driver "github.com/neo4j/neo4j-go-driver/v5/neo4j"

	"weir/internal/filter"
	"weir/internal/flow"
	"weir/store/storetest"
)

// readGraph reads all flows of the database, with everything that belongs to
// them, in the order of their keys. It shares no code with what writes them.
func readGraph(t testing.TB, d *DB) []*filter.Flow {
	t.Helper()
	var out []*filter.Flow
	byKey := make(map[string]*filter.Flow)
	err := d.read(t.Context(), `MATCH (s:Host)-[:SEND]->(f:Flow)-[:TO]->(d:Host)
RETURN s.addr, d.addr, properties(f), COUNT { ()-[:SEND]->(f) } + COUNT { (f)-[:TO]->() }`, nil, func(r *driver.Record) error {
		if r.Values[3] != int64(2) {
			t.Errorf("%v: %v relations with hosts", r.Values[2], r.Values[3])
		}
		p := r.Values[2].(map[string]any)
		f := &filter.Flow{
			Src: addrOf(r.Values[0]), Dst: addrOf(r.Values[1]), Proto: p["proto"].(string),
			Dport: port(p["dport"]), Type: port(p["type"]),
			Sports: ascending[uint16](t, p["sports"]), Codes: ascending[uint16](t, p["codes"]), VLAN: ascending[uint16](t, p["vlan"]),
			ConnState: ascendingTexts(t, p["conn_state"]), Service: ascendingTexts(t, p["service"]), Sensor: ascendingTexts(t, p["sensor"]),
			Count: p["count"].(int64), CSPkts: p["cspkts"].(int64), SCPkts: p["scpkts"].(int64),
			CSBytes: p["csbytes"].(int64), SCBytes: p["scbytes"].(int64),
			FirstSeen: timeOf(t, p["firstseen"]), LastSeen: timeOf(t, p["lastseen"]),
		}
		times, _ := p["times"].([]any)
		for i, v := range times {
			f.Times = append(f.Times, filter.Slot{Start: timeOf(t, v), Width: storetest.SlotWidth})
			if i > 0 && f.Times[i].Start <= f.Times[i-1].Start {
				t.Errorf("times of %v are not ascending", p["key"])
			}
		}
		out = append(out, f)
		byKey[p["key"].(string)] = f
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	err = d.read(t.Context(), `MATCH (f:Flow)-[r:INTEL]->(i:Intel) RETURN f.key, labels(i), properties(r), properties(i)`, nil,
		func(r *driver.Record) error {
			f := byKey[r.Values[0].(string)]
			in := intelOf(t, r.Values[1].([]any), r.Values[2].(map[string]any), r.Values[3].(map[string]any))
			for range r.Values[2].(map[string]any)["count"].(int64) {
				f.Intel = append(f.Intel, in)
			}
			return nil
		})
	if err != nil {
		t.Fatal(err)
	}
	return normal(out)
}

func addrOf(v any) flow.Addr { return flow.AddrFrom(netip.MustParseAddr(v.(string))) }

func port(v any) *uint16 {
	if v == nil {
		return nil
	}
	return new(uint16(v.(int64)))
}

func timeOf(t testing.TB, v any) flow.Time {
	at := v.(time.Time)
	if at.Location().String() != "Offset" {
		t.Errorf("time %v is in zone %q, not an offset", at, at.Location())
	}
	return flow.Time(at.UnixNano())
}

func ascending[T uint16](t testing.TB, v any) []T {
	var out []T
	list, ok := v.([]any)
	if ok && len(list) == 0 {
		t.Error("an empty set is there")
	}
	for i, v := range list {
		out = append(out, T(v.(int64)))
		if i > 0 && out[i] <= out[i-1] {
			t.Errorf("set %v is not ascending", list)
		}
	}
	return out
}

func ascendingTexts(t testing.TB, v any) []string {
	var out []string
	list, _ := v.([]any)
	for i, v := range list {
		out = append(out, v.(string))
		if i > 0 && out[i] <= out[i-1] {
			t.Errorf("set %v is not ascending", list)
		}
	}
	return out
}

// intelOf puts a record together again.
func intelOf(t testing.TB, labels []any, rel, node map[string]any) filter.Intel {
	for kind, k := range flow.Kinds() {
		if !slices.Contains(labels, any(k.Label)) {
			continue
		}
		in := filter.Intel{Kind: flow.Kind(kind), Values: make([]filter.Value, len(k.Attrs))}
		for i, a := range k.Attrs {
			from := node
			if a.Role == flow.Measure {
				from = rel
			}
			v := from[cmp.Or(a.Name, a.Column)]
			if v == nil {
				continue
			}
			out := &in.Values[i]
			out.Set = true
			switch v := v.(type) {
			case string:
				out.Text = v
				if a.Fold && strings.ToLower(v) != v && node[cmp.Or(a.Name, a.Column)+"_folded"] != strings.ToLower(v) {
					t.Errorf("%s %q is not folded: %v", a.Column, v, node)
				}
			case int64:
				out.Int = v
			case bool:
				if v {
					out.Int = 1
				}
			case float64:
				out.Int = int64(math.Round(v * 1e6))
			case []any:
				for _, e := range v {
					if a.Type == flow.TextList {
						out.Texts = append(out.Texts, e.(string))
					} else {
						out.Ints = append(out.Ints, int64(math.Round(e.(float64)*1e6)))
					}
				}
			default:
				t.Errorf("%s is a %T", a.Column, v)
			}
		}
		return in
	}
	t.Fatalf("intel of no kind: %v", labels)
	return filter.Intel{}
}

// normal brings flows into a form that can be compared.
func normal(flows []*filter.Flow) []*filter.Flow {
	for _, f := range flows {
		var services []string
		for _, s := range f.Service {
			services = append(services, strings.FieldsFunc(s, func(r rune) bool { return r == ',' })...)
		}
		f.Service = services
		for _, set := range []*[]string{&f.ConnState, &f.Service, &f.Sensor} {
			slices.Sort(*set)
			*set = slices.Compact(*set)
		}
		for _, set := range []*[]uint16{&f.Sports, &f.Codes, &f.VLAN} {
			slices.Sort(*set)
			*set = slices.Compact(*set)
		}
		f.FirstSeen, f.LastSeen = flow.Time(f.FirstSeen.Micro()*1000), flow.Time(f.LastSeen.Micro()*1000)
		slices.SortFunc(f.Times, func(a, b filter.Slot) int { return cmp.Compare(a.Start, b.Start) })
		for _, in := range f.Intel {
			for i := range in.Values {
				if v := &in.Values[i]; len(v.Texts) == 0 {
					v.Texts = nil
				}
				if v := &in.Values[i]; len(v.Ints) == 0 {
					v.Ints = nil
				}
			}
		}
		slices.SortFunc(f.Intel, func(a, b filter.Intel) int { return strings.Compare(fmt.Sprint(a), fmt.Sprint(b)) })
	}
	slices.SortFunc(flows, func(a, b *filter.Flow) int { return strings.Compare(storetest.Key(a), storetest.Key(b)) })
	return flows
}

// compareFlows fails the test where flows differ.
func compareFlows(t testing.TB, want, got []*filter.Flow) {
	t.Helper()
	want, got = normal(want), normal(got)
	if len(want) != len(got) {
		t.Errorf("%d flows, want %d", len(got), len(want))
	}
	bad := 0
	for i := 0; i < min(len(want), len(got)) && bad < 3; i++ {
		if diff := gocmp.Diff(want[i], got[i]); diff != "" {
			bad++
			t.Errorf("flow %s (-want +got):\n%s", storetest.Key(want[i]), diff)
		}
	}
}
