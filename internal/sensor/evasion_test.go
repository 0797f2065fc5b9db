// SPDX-License-Identifier: Apache-2.0

package sensor_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestEvasion checks conversations that are made to be misread: what is counted,
// and that nothing is learned from payload that is not part of the stream.
func TestEvasion(t *testing.T) {
	const (
		handshake = `
			0.0 > S 0 0
			0.1 < SA 0 1
			0.2 > A 1 1
			`
		get = `"GET /a HTTP/1.1\r\nHost: one.example\r\n\r\n"`    // 38 bytes
		ok  = `"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc"` // 41 bytes
		bad = `"GET /b HTTP/1.1\r\nHost: two.example\r\n\r\n"`    // as long as get
	)
	for _, tc := range []struct {
		name         string
		aport, bport uint16
		text         string
		conns, intel []string
	}{
		{
			"in order", 40000, 8081, handshake + `
			0.3 > A 1 1 ` + get + `
			0.4 < A 1 39 ` + ok + `
			0.5 > A 39 42`,
			[]string{"A S1 ShADd pkts 4/2 bytes 38/41 dur 500ms http"},
			[]string{"http GET one.example /a 200 3"},
		},
		{
			"the first copy wins where two overlap", 40000, 8081, handshake + `
			0.3 > A 6 1 "a HTTP/1.1\r\nHost: one.example\r\n\r\n"
			0.4 > A 1 1 ` + bad + `
			0.5 < A 1 39 ` + ok + `
			0.6 > A 39 42`,
			[]string{"A S1 ShADTd pkts 5/2 bytes 38/41 dur 600ms http"},
			[]string{"http GET one.example /a 200 3"},
		},
		{
			"the first copy wins when it was delivered", 40000, 8081, handshake + `
			0.3 > A 1 1 "GET /a HT"
			0.4 > A 1 1 ` + bad + `
			0.5 < A 1 39 ` + ok,
			[]string{"A S1 ShADd pkts 4/2 bytes 38/41 dur 500ms http"},
			[]string{"http GET two.example /a 200 3"},
		},
		{
			"byte by byte, backwards", 40000, 8081, handshake + `
			0.3 > A 3 1 "T /a HTTP/1.1\r\nHost: one.example\r\n\r\n"
			0.4 > A 2 1 E
			0.5 > A 1 1 G
			0.6 < A 1 39 ` + ok,
			[]string{"A S1 ShADTd pkts 5/2 bytes 38/41 dur 600ms http"},
			[]string{"http GET one.example /a 200 3"},
		},
		{
			"urgent data is data", 40000, 8081, handshake + `
			0.3 > AU 1 1 ` + get + `
			0.4 < A 1 39 ` + ok,
			[]string{"A S1 ShADd pkts 3/2 bytes 38/41 dur 400ms http"},
			[]string{"http GET one.example /a 200 3"},
		},
		{
			"fast open: data on the SYN", 40000, 8081, `
			0.0 > S 0 0 ` + get + `
			0.1 < SA 0 39 ` + ok + `
			0.2 > A 39 42`,
			[]string{"A S1 SThtA pkts 2/1 bytes 38/41 dur 200ms http"},
			[]string{"http GET one.example /a 200 3"},
		},
		{
			"data on the SYN, not accepted and sent again", 40000, 8081, `
			0.0 > S 0 0 ` + get + `
			0.1 < SA 0 1
			0.2 > A 1 1 ` + get + `
			0.3 < A 1 39 ` + ok,
			[]string{"A S1 SThDd pkts 2/2 bytes 38/41 dur 300ms http"},
			[]string{"http GET one.example /a 200 3"},
		},
		{
			"data of a reset is none", 40000, 8081, handshake + `
			0.3 > RA 1 1 ` + get,
			[]string{"A RSTO ShART pkts 3/1 bytes 0/0 dur 300ms"},
			nil,
		},
		{
			"a reset far away, then the request", 40000, 8081, handshake + `
			0.3 > R 900000000 0
			0.4 > A 1 1 ` + get + `
			0.5 < A 1 39 ` + ok,
			[]string{"A RSTO ShARDd pkts 4/2 bytes 38/41 dur 500ms http"},
			[]string{"http GET one.example /a 200 3"},
		},
		{
			"after a reset in the window numbers are not believed, but data is read", 40000, 8081, handshake + `
			0.3 > R 1 0
			0.4 > A 1 1 ` + get + `
			0.5 < A 1 39 ` + ok,
			[]string{"A RSTO ShARDd pkts 4/2 bytes 38/41 dur 500ms http"},
			[]string{"http GET one.example /a 200 3"},
		},
		{
			"data before the first number", 40000, 8081, handshake + `
			0.3 > A -37 1 ` + bad + `
			0.4 > A 1 1 ` + get + `
			0.5 < A 1 39 ` + ok,
			[]string{"A S1 ShADTd pkts 4/2 bytes 38/41 dur 500ms http"},
			[]string{"http GET one.example /a 200 3"},
		},
		{
			"data far outside of the window", 40000, 8081, handshake + `
			0.3 > A 50000001 1 ` + bad + `
			0.4 > A 1 1 ` + get + `
			0.5 < A 1 39 ` + ok,
			[]string{"A S1 ShADTd pkts 4/2 bytes 50000038/41 dur 500ms http"},
			[]string{"http GET one.example /a 200 3"},
		},
		{
			"an acknowledgment of what was never sent", 40000, 8081, handshake + `
			0.3 < A 1 39
			0.4 < A 1 39 ` + ok + `
			0.5 > A 39 42`,
			[]string{"A S1 ShAaGd pkts 3/3 bytes 38/41 dur 500ms missed 38"},
			[]string{"http 200 3"},
		},
		{
			"a gap in the answer's body", 40000, 8081, handshake + `
			0.3 > A 1 1 ` + get + `
			0.4 < A 1 39 "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nab"
			0.5 < A 45 39 "ij"
			0.6 > A 39 47`,
			[]string{"A S1 ShADdg pkts 4/3 bytes 38/46 dur 600ms missed 3 http"},
			[]string{"http GET one.example /a 200 7"},
		},
		{
			"a gap that nobody acknowledged is none", 40000, 8081, handshake + `
			0.3 > A 1 1 "GET /a"
			0.4 > A 20 1 ` + bad,
			[]string{"A S1 ShAD pkts 4/1 bytes 57/0 dur 400ms"},
			nil,
		},
		{
			"one gap letter for two gaps", 40000, 8081, handshake + `
			0.3 < A 1 101
			0.4 < A 1 201`,
			[]string{"A S1 ShAaG pkts 2/3 bytes 200/0 dur 400ms missed 200"},
			nil,
		},
		{
			"picked up in the middle: no request", 40000, 80, `
			0.0 > A 100 1 ` + get + `
			0.1 < A 1 138 ` + ok,
			[]string{"A OTH Dd pkts 1/1 bytes 38/41 dur 100ms"},
			nil,
		},
		{
			"picked up in the middle, a message for itself", 40000, 53, `
			0.0 > A 100 1 "\x00\x13\x00\x01\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x01x\x00\x00\x01\x00\x01"
			0.1 < A 1 121`,
			[]string{"A OTH Da pkts 1/1 bytes 21/0 dur 100ms dns"},
			[]string{"dns x"},
		},
		{
			"only the client is seen", 40000, 8081, `
			0.0 > S 0 0
			0.1 > A 1 1
			0.2 > A 1 1 ` + get + `
			0.3 > A 39 42
			0.4 > FA 39 42`,
			[]string{"A SH SADF pkts 5/0 bytes 38/0 dur 400ms http"},
			[]string{"http GET one.example /a 0"},
		},
		{
			"only the server is seen", 40000, 8081, `
			0.0 < SA 0 1
			0.1 < A 1 39 ` + ok + `
			0.2 < FA 42 39`,
			[]string{"A SHR ^hdf pkts 0/3 bytes 0/41 dur 200ms"},
			[]string{"http 200 3"},
		},
		{
			"split handshake", 40000, 8081, `
			0.0 > S 0 0
			0.1 < S 0 0
			0.2 > SA 0 1
			0.3 < A 1 1
			0.4 > A 1 1 ` + get + `
			0.5 < A 1 39 ` + ok,
			[]string{
				"A S0 S pkts 1/0 bytes 0/0 dur 0s",
				"B S1 ShAdD pkts 3/2 bytes 41/38 dur 400ms",
			},
			nil,
		},
		{
			"a second SYN with other data does not replace the first", 40000, 8081, `
			0.0 > S 0 0 ` + get + `
			0.1 > S 0 0 ` + bad + `
			0.2 < SA 0 39 ` + ok,
			[]string{"A S1 STht pkts 2/1 bytes 38/41 dur 200ms http"},
			[]string{"http GET one.example /a 200 3"},
		},
		{
			"a SYN inside, with another number, is another connection", 40000, 8081, handshake + `
			0.3 > A 1 1 "GET /a"
			0.4 > S 777 0
			0.5 > A 778 1 ` + bad,
			[]string{
				"A S1 ShAD pkts 3/1 bytes 6/0 dur 300ms",
				"A S0 SD pkts 2/0 bytes 38/0 dur 100ms http",
			},
			[]string{"http GET two.example /b 0"},
		},
		{
			"data after both ends", 40000, 8081, handshake + `
			0.3 > FA 1 1
			0.4 < FA 1 2
			0.5 > A 2 2 ` + get + `
			0.6 < A 2 40 ` + ok,
			[]string{"A SF ShAFfDd pkts 4/3 bytes 38/41 dur 400ms"},
			nil,
		},
		{
			"a FIN that closes before its data", 40000, 8081, handshake + `
			0.3 > FA 39 1
			0.4 > A 1 1 ` + get + `
			0.5 < FA 1 40 ` + ok + `
			0.6 > A 40 43`,
			[]string{"A SF ShAFDTf pkts 5/2 bytes 38/41 dur 500ms http"},
			[]string{"http GET one.example /a 200 3"},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := scripted{tc.aport, tc.bport, tc.text}
			got := s.run(t)
			if diff := cmp.Diff(tc.conns, got.conns); diff != "" {
				t.Errorf("connections differ (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tc.intel, got.intel); diff != "" {
				t.Errorf("intel differs (-want +got):\n%s", diff)
			}
		})
	}
}
