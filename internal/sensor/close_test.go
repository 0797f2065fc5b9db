// SPDX-License-Identifier: Apache-2.0

package sensor_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestClose checks when a connection counts as closed: packets after that leave
// its duration as it is. A direction is not closed while payload of it is missing,
// nor while it has not acknowledged what the other one sent.
func TestClose(t *testing.T) {
	for _, tc := range []struct {
		name, text string
		want       []string
	}{
		{"both directions complete", `
			0.0 > S 0 0
			0.1 < SA 0 1
			0.2 > A 1 1 x10
			0.3 < A 1 11 x20
			0.4 > FA 11 21
			0.5 < FA 21 12
			0.6 > A 12 22`, []string{"A SF ShDdFfA pkts 4/3 bytes 10/20 dur 500ms"}},
		{"FIN beyond payload that was never seen", `
			0.0 > S 0 0
			0.1 < SA 0 1
			0.2 > A 1 1
			0.3 > FA 3000000001 1
			0.4 < FA 1 3000000002
			0.5 > A 3000000002 2`, []string{"A SF ShAFf pkts 4/2 bytes 3000000000/0 dur 500ms"}},
		{"the last answer is not acknowledged", `
			0.0 > S 0 0
			0.1 < SA 0 1
			0.2 < A 1 1 x40
			0.3 < FA 41 1
			0.4 > FA 1 21
			0.5 > R 2 0
			0.6 > R 2 0`, []string{"A SF ShdfFR pkts 4/3 bytes 0/40 dur 600ms"}},
		{"a reset acknowledges too", `
			0.0 > S 0 0
			0.1 < SA 0 1
			0.2 < A 1 1 x40
			0.3 < FA 41 1
			0.4 > FA 1 21
			0.5 > RA 2 41
			0.6 > R 2 0`, []string{"A SF ShdfFR pkts 4/3 bytes 0/40 dur 500ms"}},
		{"acknowledged after all", `
			0.0 > S 0 0
			0.1 < SA 0 1
			0.2 > A 1 1 x23
			0.3 > FA 24 1
			0.4 > R 1 0
			0.5 < FA 1 1
			0.6 < A 2 25
			0.7 > R 25 0`, []string{"A SF ShDFRfaR pkts 5/3 bytes 23/0 dur 600ms"}},
		{"a reset acknowledges nothing any more", `
			0.0 > S 0 0
			0.1 < SA 0 1
			0.2 > A 1 1 x23
			0.3 < RA 1 1
			0.4 > A 24 1
			30 > A 24 1`, []string{
			"A RSTR ShDrA pkts 3/2 bytes 23/0 dur 400ms",
			"A OTH A pkts 1/0 bytes 0/0 dur 0s",
		}},
		{"FIN, then payload before it", `
			0.0 > S 0 0
			0.1 < SA 0 1
			0.2 > FA 11 1
			0.3 < FA 1 1
			0.4 > A 1 1 x10
			0.5 < A 2 12
			0.6 > A 12 2`, []string{"A SF ShFfDTaA pkts 4/3 bytes 10/0 dur 600ms"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := scripted{40000, 50000, tc.text}
			if diff := cmp.Diff(tc.want, s.run(t).conns); diff != "" {
				t.Errorf("connections differ (-want +got):\n%s", diff)
			}
		})
	}
}
