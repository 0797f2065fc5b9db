// SPDX-License-Identifier: Apache-2.0

package neo4j

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"weir/store"
	"weir/store/storetest"
)

// scriptOf returns the statements that make flows.
func scriptOf(t *testing.T, flows []*store.Flow) []string {
	t.Helper()
	var b strings.Builder
	s, err := NewScript(&b, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range flows {
		if err := s.Flow(f); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return strings.Split(strings.TrimSuffix(b.String(), ";\n"), ";\n")
}

// TestScript runs a script over an empty database, twice, and compares the flows with those that
// it was made of: whatever texts they have.
func TestScript(t *testing.T) {
	var flows []*store.Flow
	db := fill(t, storetest.Strange())
	for f, err := range db.Flows(t.Context(), store.Query{Times: true}) {
		if err != nil {
			t.Fatal(err)
		}
		flows = append(flows, f)
	}
	// Texts that end literals, or stand for other characters before these are read.
	for i, text := range []string{`'`, `\`, `\'`, `\u0027`, `\\u0027`, `u`, `\u`, "`", `'}] AS r RETURN 1;`, "\n;\n", "//", "/*", "\x00", "\u202e", "$x", "\U000e0001"} {
		port := uint16(i)
		flows = append(flows, &store.Flow{
			Src: netip.MustParseAddr("192.0.2.1"), Dst: netip.MustParseAddr("192.0.2.2"), Proto: "tcp", Dport: &port, Count: 1,
			FirstSeen: flows[0].FirstSeen, LastSeen: flows[0].FirstSeen, Service: []string{text}, Sensor: []string{text},
		})
	}
	statements := scriptOf(t, flows)
	d := open(t)
	if err := d.Purge(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		for _, s := range statements {
			statement(t, d, s, nil)
		}
	}
	want := make(map[string]*store.Flow)
	key := func(f *store.Flow) string { return fmt.Sprint(f.Src, " ", f.Label(), " ", f.Dst, " ", f.Type == nil) }
	for _, f := range flows {
		want[key(f)] = f
	}
	got := make(map[string]*store.Flow)
	for f, err := range d.Flows(t.Context(), store.Query{Times: true}) {
		if err != nil {
			t.Fatal(err)
		}
		got[key(f)] = f
	}
	if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
		t.Errorf("flows (-want +got):\n%s", diff)
	}
	if len(want) < 100 {
		t.Errorf("%d flows are few", len(want))
	}
	n, err := d.Counts(t.Context(), store.Query{})
	if err != nil || n.Flows != int64(len(want)) {
		t.Errorf("Counts() = %+v, %v, want %d flows", n, err, len(want))
	}
}
