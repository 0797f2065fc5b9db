// SPDX-License-Identifier: Apache-2.0

package neo4j

import (
	"cmp"
	"context"
	"slices"
	"testing"
	"time"

	"weir/internal/filter"
	"weir/internal/flow"
	"weir/store/storetest"
)

// whole reports what is wrong with the graph: flows without hosts, nodes that
// hang on nothing, marks that were left.
func whole(t testing.TB, d *DB) {
	t.Helper()
	for _, text := range []string{
		`MATCH (f:Flow) WHERE COUNT { (:Host)-[:SEND]->(f) } <> 1 OR COUNT { (f)-[:TO]->(:Host) } <> 1 RETURN f.key`,
		`MATCH (n) WHERE n.locked IS NOT NULL RETURN labels(n)`,
	} {
		if got := values(t, d, text); len(got) > 0 {
			t.Errorf("%s: %v", text, got)
		}
	}
}

// useless returns nodes that belong to no flow.
func useless(t testing.TB, d *DB) []any {
	t.Helper()
	return values(t, d, `MATCH (n) WHERE n:Intel AND NOT EXISTS { (:Flow)-[:INTEL]->(n) } OR n:Host AND NOT EXISTS { (n)--() } RETURN n`)
}

func TestExpireData(t *testing.T) {
	d := open(t)
	data := storetest.Random(3)
	spool := newSpool(t)
	data.Fill(t, spool)
	if err := newForwarder(t, d, spool).Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	flows := data.Flows()
	slices.SortFunc(flows, func(a, b *filter.Flow) int { return cmp.Compare(a.LastSeen, b.LastSeen) })
	before := flows[len(flows)/2].LastSeen
	var want []*filter.Flow
	for _, f := range flows {
		if f.LastSeen.Micro() >= before.Micro() {
			want = append(want, f)
		}
	}
	got, err := d.Expire(t.Context(), time.UnixMicro(before.Micro()), false)
	if err != nil || int(got.Flows) != len(flows)-len(want) || got.Intel == 0 {
		t.Errorf("%+v, %v; want %d flows, some intel", got, err, len(flows)-len(want))
	}
	compareFlows(t, normal(want), readGraph(t, d))
	whole(t, d)
}

// TestExpireWhileForwarding removes everything again and again while records come
// in: the forwarder must neither fail nor leave half a flow.
func TestExpireWhileForwarding(t *testing.T) {
	d := open(t)
	data := storetest.Random(4)
	spool := newSpool(t)
	data.Fill(t, spool)
	ctx, cancel := context.WithCancel(t.Context())
	expired := make(chan Expired, 1)
	go func() {
		var sum Expired
		// Now and then, so that the forwarder gets somewhere.
		for ; ctx.Err() == nil; time.Sleep(200 * time.Millisecond) {
			e, err := d.Expire(ctx, time.Date(2200, 1, 1, 0, 0, 0, 0, time.UTC), false)
			if err != nil && ctx.Err() == nil {
				t.Error(err)
				break
			}
			sum.Flows += e.Flows
			sum.Intel += e.Intel
			sum.Hosts += e.Hosts
		}
		expired <- sum
	}()
	err := newForwarder(t, d, spool).Drain(ctx)
	cancel()
	sum := <-expired
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("expired meanwhile: %+v", sum)
	whole(t, d)
	if _, err := d.Expire(t.Context(), time.Date(2200, 1, 1, 0, 0, 0, 0, time.UTC), false); err != nil {
		t.Fatal(err)
	}
	if got := useless(t, d); len(got) > 0 {
		t.Errorf("useless nodes: %v", got)
	}
	// The forwarder does not believe what it remembers of hosts that went.
	data = storetest.Random(5)
	data.Fill(t, spool)
	if err := newForwarder(t, d, spool).Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	compareFlows(t, data.Flows(), readGraph(t, d))
}

// coarse returns flows with wider slots.
func coarse(flows []*filter.Flow, width time.Duration) []*filter.Flow {
	for _, f := range flows {
		var times []filter.Slot
		slices.SortFunc(f.Times, func(a, b filter.Slot) int { return cmp.Compare(a.Start, b.Start) })
		for _, s := range f.Times {
			start := s.Start - flow.Time(((int64(s.Start)%int64(width))+int64(width))%int64(width))
			if len(times) == 0 || times[len(times)-1].Start != start {
				times = append(times, filter.Slot{Start: start, Width: s.Width})
			}
		}
		f.Times = times
	}
	return flows
}

func TestReduceWhileForwarding(t *testing.T) {
	d := open(t)
	data := storetest.Random(6)
	spool := newSpool(t)
	data.Fill(t, spool)
	reduced := make(chan error, 1)
	go func() {
		// When some flows are there, and others are not.
		for {
			var n int64
			if err := d.read(t.Context(), `MATCH (f:Flow) RETURN count(f) AS n`, nil, integer("n", &n)); err != nil || n > 0 {
				break
			}
		}
		_, err := d.ReducePrecision(t.Context(), 4*time.Hour, nil)
		reduced <- err
	}()
	if err := newForwarder(t, d, spool).Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := <-reduced; err != nil {
		t.Fatal(err)
	}
	compareFlows(t, coarse(data.Flows(), 4*time.Hour), readGraph(t, d))
	whole(t, d)
}
