// SPDX-License-Identifier: Apache-2.0

package main

import (
	"testing"
	"time"

	"weir/capture"
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
