// SPDX-License-Identifier: Apache-2.0

package lakequery_test

import (
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"weir/internal/flow"
	"weir/store"
	"weir/store/lake"
)

// scatter puts connections on twenty days. Some last for days or weeks, and some are
// interim records.
func scatter(conns []flow.Connection, seed uint64) {
	r := rand.New(rand.NewPCG(seed, 4))
	const day = 86_400e9
	for i := range conns {
		c := &conns[i]
		c.UID ^= seed
		c.First = base + flow.Time(r.Int64N(20*day))
		c.Last = c.First + flow.Time(r.Int64N(3_600e9))
		switch r.IntN(10) {
		case 0:
			c.Last += flow.Time(r.Int64N(3 * day))
		case 1:
			c.Last += flow.Time(r.Int64N(15 * day))
		case 2:
			c.End, c.State = flow.EndActive, flow.S1
		}
	}
}

// slotsOf returns how many flows of connections are in each slot.
func slotsOf(conns []flow.Connection, step time.Duration) map[string]int64 {
	width := step.Microseconds()
	flows := make(map[string]map[string]bool)
	for i := range conns {
		c := &conns[i]
		for at := c.First.Micro() / width * width; ; at += width {
			key := time.UnixMicro(at).UTC().Format(time.DateTime)
			if flows[key] == nil {
				flows[key] = make(map[string]bool)
			}
			flows[key][fmt.Sprint(modelKey(&c.Tuple))] = true
			if at+width > c.Last.Micro() {
				break
			}
		}
	}
	out := make(map[string]int64)
	for key, set := range flows {
		out[key] = int64(len(set))
	}
	return out
}

// TestTimelineLayers: each flow counts once in each slot, whatever tells of it: roll-ups of
// weeks, of days, connections that none covers, or several of these.
func TestTimelineLayers(t *testing.T) {
	conns, intel := randomConns(1500)
	scatter(conns, 1)
	path := filepath.Join(t.TempDir(), "store")
	l := publishLake(t, path, "eth0", conns, intel, 3)
	db := openDB(t, path)
	check := func(stage string) {
		t.Helper()
		if err := db.Refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
		for _, step := range []time.Duration{time.Hour, 6 * time.Hour, 24 * time.Hour, 7 * 24 * time.Hour} {
			slots, err := db.Timeline(t.Context(), store.TimelineQuery{Step: step})
			if err != nil {
				t.Fatal(err)
			}
			got := make(map[string]int64)
			for _, s := range slots {
				got[s.Start.Format(time.DateTime)] += s.Flows
			}
			if diff := cmp.Diff(slotsOf(conns, step), got); diff != "" {
				t.Fatalf("%s, in steps of %v (-want +got):\n%s", stage, step, diff)
			}
		}
	}
	compact := func(what lake.CompactConfig) lake.CompactStats {
		t.Helper()
		what.MinAge, what.QuietFor = -1, -1
		s, err := l.Compact(t.Context(), what)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	late := func(sensor string, seed uint64, change func([]flow.Connection)) {
		t.Helper()
		more, _ := randomConns(60)
		scatter(more, seed)
		change(more)
		publishLake(t, path, sensor, more, new(flow.IntelBatch), 2)
		conns = append(conns, more...)
	}
	check("small parts")
	if s := compact(lake.CompactConfig{MinRollup: -1}); s.Weeks < 3 {
		t.Fatalf("Compact() = %+v, want three weeks", s)
	}
	check("weeks")
	late("eth1", 2, func([]flow.Connection) {})
	check("weeks and late parts")
	// The first day alone gets a new roll-up: its week is one of days again.
	late("eth2", 3, func(more []flow.Connection) {
		for i := range more {
			more[i].First, more[i].Last = base+flow.Time(i)*60e9, base+flow.Time(i)*3_600e9
		}
	})
	check("weeks and a late day")
	compact(lake.CompactConfig{MinRollup: 100})
	check("compacted again")
}

// TestTimelineEndsBefore: connections that end before they begin, as records do whose clock
// was set, are in the slot of their beginning, which may be before and after all times that
// their part is said to have.
func TestTimelineEndsBefore(t *testing.T) {
	conns, intel := randomConns(600)
	for i := range conns {
		conns[i].First = base + flow.Time(i)*300e9
		conns[i].Last = conns[i].First + 1e9
	}
	path := filepath.Join(t.TempDir(), "store")
	l := publishLake(t, path, "eth0", conns, intel, 1)
	compact := func() {
		t.Helper()
		if _, err := l.Compact(t.Context(), lake.CompactConfig{MinAge: -1, QuietFor: -1, MinRollup: -1}); err != nil {
			t.Fatal(err)
		}
	}
	compact()
	late := make([]flow.Connection, 20)
	for i := range late {
		late[i] = conns[i*30]
		late[i].UID ^= 1
		late[i].Last = late[i].First - 30*3_600e9
	}
	publishLake(t, path, "eth1", late, new(flow.IntelBatch), 1)
	db := openDB(t, path)
	for _, stage := range []string{"late", "compacted"} {
		slots, err := db.Timeline(t.Context(), store.TimelineQuery{})
		if err != nil {
			t.Fatal(err)
		}
		got := make(map[string]int64)
		for _, s := range slots {
			got[s.Start.Format(time.DateTime)] += s.Flows
		}
		if diff := cmp.Diff(slotsOf(append(conns[:600:600], late...), time.Hour), got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", stage, diff)
		}
		compact()
		if err := db.Refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}
