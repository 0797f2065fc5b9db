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

// TestTimesAreSlots: the view of flows has the hours that lake.ReadFlows finds,
// however long a connection is and whenever it was.
func TestTimesAreSlots(t *testing.T) {
	r := rand.New(rand.NewPCG(2, 2))
	path := filepath.Join(t.TempDir(), "store")
	var conns []flow.Connection
	for i := range 40 {
		c := conn(uint64(i+1), flow.TCP, "10.0.0.1", 40000, "10.0.0.2", uint16(i/4), 0)
		switch i % 4 {
		case 0:
			c.First = -flow.Time(r.Int64N(1e16)) // before 1970
			c.Last = c.First + flow.Time(r.Int64N(2e13))
		case 1:
			c.First -= c.First % 3600e9 // exactly an hour, or a bit less or more
			c.Last = c.First + 3600e9 + flow.Time(i%3-1)*1000
		case 2:
			c.Last = c.First - flow.Time(r.Int64N(1e13)) // as an importer may say
		case 3:
			if i < 8 {
				c.Last = c.First + 3*365*24*3600e9
			}
		}
		conns = append(conns, c)
	}
	writeLake(t, path, "x", conns, nil)
	want := make(map[string]map[int64]bool)
	cut := 0
	m, err := lake.ReadManifest(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range m.Incoming() {
		err := lake.ReadFlows(t.Context(), path, &p, 7, lake.SlotWidth, 0, func(_ int, flows []lake.FlowRow) error {
			for i := range flows {
				key := fmt.Sprint(flows[i].Dport)
				if want[key] == nil {
					want[key] = make(map[int64]bool)
				}
				for _, start := range flows[i].Slots {
					want[key][start] = true
				}
				cut += flows[i].Cut
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if cut != 2 {
		t.Errorf("%d rows with more than %d slots, want 2", cut, lake.MaxSlots)
	}
	db := openDB(t, path)
	got := make(map[string]map[int64]bool)
	_, rows := sqlRows(t, db, "SELECT dport, times FROM flow")
	for _, row := range rows {
		starts := make(map[int64]bool)
		last := time.Time{}
		for i, v := range row[1].([]any) {
			at := v.(time.Time)
			if i > 0 && !last.Before(at) {
				t.Errorf("%v comes after %v", at, last)
			}
			last = at
			starts[at.UnixMicro()] = true
		}
		got[fmt.Sprint(row[0])] = starts
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("times (-ReadFlows +view):\n%.3000s", diff)
	}
	for text, want := range map[string]int64{
		fmt.Sprintf("LEN times >= %d", lake.MaxSlots): 2,
		"times < 1970-01-01T00:00:00Z":                10,
		"LEN times.duration = 1":                      10,
		"ALL times.duration = 1h":                     10,
		"times.duration < 1h":                         0,
	} {
		if n, err := db.Counts(t.Context(), store.Query{Filter: parse(t, text)}); err != nil || n.Flows != want {
			t.Errorf("Counts(%q) = %+v, %v, want %d flows", text, n, err, want)
		}
	}
}
