// SPDX-License-Identifier: Apache-2.0

package neo4j

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"

	"weir/internal/filter"
	"weir/store"
	"weir/store/storetest"
)

// TestCountsByHosts compares both ways to count.
func TestCountsByHosts(t *testing.T) {
	d := fill(t, storetest.Fixed()).(*DB)
	for _, text := range []string{
		"count > 0", "dport > 0", "src.addr != 10.0.0.1", "addr != 10.0.0.1", "#DNS OR proto = tcp", "csbytes > scbytes",
		"meta.dns.query =~ .*e.*", "LEN sports = 1", `proto =~ "t.*" OR dport > 50`, "src.addr < dst.addr", "dport = 1 AND count < 0",
	} {
		e, err := filter.Parse(text, storetest.Options())
		if err != nil {
			t.Fatal(err)
		}
		q := store.Query{Filter: e}
		d.fewFlows = fewFlows
		w, err := d.Counts(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		d.fewFlows = 1
		if got, err := d.Counts(t.Context(), q); err != nil || got != w {
			t.Errorf("Counts(%q) = %v, %v, want %v", text, got, err, w)
		}
	}
}

// TestPairsByHosts compares both ways to put pairs together.
func TestPairsByHosts(t *testing.T) {
	d := fill(t, storetest.Fixed()).(*DB)
	list := func(q store.PairQuery) (out []*store.Pair) {
		for p, err := range d.Pairs(t.Context(), q) {
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, p)
		}
		return out
	}
	many := 0
	for _, text := range []string{"count > 0", "dport > 0", "src.addr != 10.0.0.1", "#DNS OR proto = tcp", "meta.dns.query =~ .*e.*", "src.addr < dst.addr", "count < 0"} {
		e, err := filter.Parse(text, storetest.Options())
		if err != nil {
			t.Fatal(err)
		}
		for _, order := range [][]store.Order{nil, {{Attr: "src.addr", Desc: true}}, {{Attr: "csbytes", Desc: true}}, {{Attr: "flows"}}} {
			for _, page := range [][2]int{{0, 0}, {1, 2}} {
				q := store.PairQuery{Query: store.Query{Filter: e, OrderBy: order, Skip: page[0], Limit: page[1], Times: true}, Services: true}
				d.fewFlows = fewFlows
				want := list(q)
				d.fewFlows = 1
				got := list(q)
				if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
					t.Errorf("pairs of %q by %v, page %v (-want +got):\n%s", text, order, page, diff)
				}
				many += len(got)
			}
		}
	}
	if many < 20 {
		t.Errorf("%d pairs are few", many)
	}
}
