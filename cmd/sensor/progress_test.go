// SPDX-License-Identifier: Apache-2.0

package main

import (
	"testing"
	"time"

	"weir/capture"
	"weir/store/neo4j"
)

func TestProgressLine(t *testing.T) {
	cases := []struct {
		name  string
		stats capture.Stats
		want  string
	}{
		{"nothing read", capture.Stats{Total: 1000}, "[....................]   0 %  0 packets, 0 packets/s"},
		{
			"a quarter",
			capture.Stats{Total: 1000, Read: 250, Packets: 4000},
			"[#####...............]  25 %  4000 packets, 2000 packets/s, 6s left",
		},
		{
			"all",
			capture.Stats{Total: 1000, Read: 1000, Packets: 4000},
			"[####################] 100 %  4000 packets, 2000 packets/s, 0s left",
		},
		{"size unknown", capture.Stats{Read: 77, Packets: 50}, "50 packets, 25 packets/s"},
		{"grew meanwhile", capture.Stats{Total: 10, Read: 77, Packets: 50}, "50 packets, 25 packets/s"},
	}
	for _, tc := range cases {
		if got := progressLine(tc.stats, 2*time.Second); got != tc.want {
			t.Errorf("%s: progressLine() = %q, want %q", tc.name, got, tc.want)
		}
	}
}

func TestDrainLine(t *testing.T) {
	first := neo4j.ForwardStats{Connections: 100, Backlog: neo4j.Backlog{Connections: 3000, Intel: 1000}}
	for _, tc := range []struct {
		now     neo4j.ForwardStats
		elapsed time.Duration
		want    string
	}{
		{first, time.Second, "sending to the database: 0 records, 4,000 left"},
		{neo4j.ForwardStats{Connections: 900, Intel: 200}, 10 * time.Second, "sending to the database: 1,000 records, 3,000 left, 30s"},
		// Others may have put more into the spool.
		{neo4j.ForwardStats{Connections: 5100}, 10 * time.Second, "sending to the database: 5,000 records, 0 left, 0s"},
	} {
		if got := drainLine(&first, &tc.now, tc.elapsed); got != tc.want {
			t.Errorf("drainLine() = %q, want %q", got, tc.want)
		}
	}
}
