// SPDX-License-Identifier: Apache-2.0

package flowtable_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"weir/flowtable"
	"weir/internal/flow"
)

func TestTunnels(t *testing.T) {
	for _, tc := range []struct {
		name    string
		uids    []uint64 // of the packets
		want    []uint64
		history string
	}{
		{"none", []uint64{0, 0}, nil, "D"},
		{"one", []uint64{1, 1, 1}, []uint64{1}, "D"},
		{"begins outside", []uint64{0, 1, 0, 1}, []uint64{1}, "D"},
		{"five changes", []uint64{1, 1, 2, 3, 4, 5, 6}, []uint64{1, 2, 3, 4, 5, 6}, "D"},
		{"six changes", []uint64{1, 2, 3, 4, 5, 6, 7, 8}, []uint64{1, 2, 3, 4, 5, 6}, "DX"},
		{"to and fro", []uint64{1, 2, 1, 2, 1, 2, 1, 2}, []uint64{1, 2}, "DX"},
		{"out and in", []uint64{1, 0, 2, 0, 1, 0}, []uint64{1, 2}, "D"},
		{"out and in too often", []uint64{1, 0, 2, 0, 1, 0, 3, 0}, []uint64{1, 2}, "DX"},
		{"in and out too often", []uint64{0, 1, 0, 1, 0, 1, 0, 1}, []uint64{1}, "DX"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var pkts []flow.Packet
			for i, uid := range tc.uids {
				p := datagram(flow.UDP, float64(i), false, 4000, 5000, 1)
				p.Tunnel = uid
				pkts = append(pkts, p)
			}
			conns, _, _ := run(t, flowtable.Config{}, pkts)
			if len(conns) != 1 {
				t.Fatalf("%d connections, want 1", len(conns))
			}
			if diff := cmp.Diff(tc.want, conns[0].TunnelParents, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("tunnel parents differ (-want +got):\n%s", diff)
			}
			if got := string(conns[0].History); got != tc.history {
				t.Errorf("history = %q, want %q", got, tc.history)
			}
		})
	}
}

// A tunnel that is too deep gives the connection one X, after the letter of its
// data.
func TestTooDeep(t *testing.T) {
	var pkts []flow.Packet
	for i := range 3 {
		p := datagram(flow.UDP, float64(i), false, 4000, 4789, 1)
		p.Flags |= flow.TooDeep
		pkts = append(pkts, p)
	}
	conns, _, _ := run(t, flowtable.Config{}, pkts)
	if got := string(conns[0].History); got != "DX" {
		t.Errorf("history = %q, want %q", got, "DX")
	}
}

// A connection takes over the uid by which packets out of its tunnel name it.
func TestFounder(t *testing.T) {
	var pkts []flow.Packet
	for i := range 3 {
		p := datagram(flow.UDP, float64(i), false, 4000, 5000, 1)
		p.Origin = uint64(100 + i)
		pkts = append(pkts, p)
	}
	pkts[1].Flags |= flow.Founder
	conns, _, _ := run(t, flowtable.Config{}, pkts)
	if len(conns) != 1 || conns[0].UID != flow.UID(&pkts[1]) {
		t.Errorf("connections %v, want one with the uid of the second packet", conns)
	}
}
