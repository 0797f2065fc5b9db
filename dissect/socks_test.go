// SPDX-License-Identifier: Apache-2.0

package dissect

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"weir/internal/flow"
)

// socksCase is a conversation over SOCKS and the HTTP records that it yields.
type socksCase struct {
	name    string
	port    uint16 // 9000 if 0
	steps   []step
	want    []string
	service string
}

func socksCases() []socksCase {
	hello := client("\x05\x01\x00")
	chosen := server("\x05\x00")
	ask := client("\x05\x01\x00\x03\x03a.b\x00\x50")
	granted := server("\x05\x00\x00\x01\x01\x02\x03\x04\x10\x00")
	get := client("GET /a HTTP/1.1\r\nHost: h\r\n\r\n")
	reply := server("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
	row := []string{"1 GET h /a 1.1 200 OK 0 2"}
	return []socksCase{
		{"domain", 0, []step{hello, chosen, ask, granted, get, reply}, row, "socks,http"},
		{"own port", 1080, []step{hello, chosen, ask, granted, get, reply}, row, "socks,http"},
		{
			"IPv4 and IPv6", 0, []step{
				hello, chosen, client("\x05\x01\x00\x01\x01\x02\x03\x04\x00\x50"),
				server("\x05\x00\x00\x040123456789abcdef\x00\x00"), get, reply,
			}, row, "socks,http",
		},
		{
			"name and password", 0, []step{
				client("\x05\x02\x00\x02"), server("\x05\x02"), client("\x01\x03bob\x01x"), server("\x01\x00"),
				ask, granted, get, reply,
			}, row, "socks,http",
		},
		{
			"other authentication", 0, []step{
				client("\x05\x01\x01"), server("\x05\x01"), client("anything"), server("at all"),
				ask, granted, get, reply,
			}, row, "socks,http",
		},
		{
			"broken password", 0, []step{
				client("\x05\x01\x02"), server("\x05\x02"), client("\x01\x09bob"), server("\x01\x00"),
				ask, granted, get, reply,
			}, nil, "",
		},
		{
			"no method", 0, []step{hello, server("\x05\xff"), ask, granted, get, reply}, row, "socks,http",
		},
		{
			"no command", 0, []step{hello, chosen, client("\x05\x04\x00\x03\x03a.b\x00\x50"), granted, get, reply}, nil, "",
		},
		{
			"reserved", 0, []step{hello, chosen, client("\x05\x01\x01\x03\x03a.b\x00\x50"), granted, get, reply}, nil, "",
		},
		{
			"no address", 0, []step{hello, chosen, ask, server("\x05\x01\x00\x00\x00\x00\x00\x00\x00\x00"), get, reply}, nil, "",
		},
		{
			"message in two pieces", 0, []step{
				hello, chosen, client("\x05\x01\x00"), client("\x03\x03a.b\x00\x50"), granted, get, reply,
			}, nil, "",
		},
		{
			// What follows in the same piece is not read.
			"request too early", 0,
			[]step{hello, chosen, client("\x05\x01\x00\x03\x03a.b\x00\x50" + get.data), granted, get, reply},
			row, "socks,http",
		},
		{
			"version 4", 1080,
			[]step{client("\x04\x01\x00\x50\x01\x02\x03\x04\x00"), server("\x00\x5a\x00\x00\x00\x00\x00\x00"), get, reply},
			nil, "",
		},
		{"HTTP on its port", 1080, []step{get, reply}, row, "http"},
		{
			"server of something else", 0,
			[]step{hello, server("HTTP/1.1 400 Bad\r\nContent-Length: 0\r\n\r\n")},
			[]string{"1 - - - 1.1 400 Bad 0 0"},
			"",
		},
		{
			"CONNECT inside", 0,
			[]step{
				hello, chosen, ask, granted, client("CONNECT x:1 HTTP/1.1\r\n\r\n"), server("HTTP/1.1 200 OK\r\n\r\n"), get, reply,
			},
			[]string{"2 GET h /a 1.1 200 OK 0 2", "3 - - - - - - 0 0", "1 CONNECT - x:1 1.1 200 OK 0 0"},
			"socks,http",
		},
		{
			"nested", 0, []step{hello, chosen, ask, granted, hello, chosen, ask, granted, get, reply}, row, "socks,http",
		},
		{
			"gap", 0, []step{hello, chosen, ask, {dir: flow.ToClient, gap: 10}, get, reply}, nil, "",
		},
	}
}

func TestSOCKS(t *testing.T) {
	for _, tc := range socksCases() {
		t.Run(tc.name, func(t *testing.T) {
			port := tc.port
			if port == 0 {
				port = 9000
			}
			rows, service := conversation(t, Config{}, testTuple(flow.TCP, port), flow.HTTP, tc.steps, whole)
			if diff := cmp.Diff(notNil(tc.want), pick(rows, httpFields...)); diff != "" {
				t.Errorf("rows differ (-want +got):\n%s", diff)
			}
			if service != tc.service {
				t.Errorf("service = %q, want %q", service, tc.service)
			}
			// Cut differently, the messages are others, but nothing breaks.
			for _, n := range []int{1, 2, 3, 5} {
				conversation(t, Config{}, testTuple(flow.TCP, port), flow.HTTP, tc.steps, cutBy(n))
			}
		})
	}
}

func FuzzSOCKS(f *testing.F) {
	for _, tc := range socksCases() {
		q, r := "", ""
		for _, st := range tc.steps {
			if st.dir == flow.ToServer {
				q += st.data
			} else {
				r += st.data
			}
		}
		f.Add(q, r, uint8(3), uint8(2))
	}
	f.Fuzz(func(t *testing.T, q, r string, n, m uint8) {
		var steps []step
		for len(q) > 0 || len(r) > 0 {
			i, j := min(len(q), 1+int(n)), min(len(r), 1+int(m))
			steps = append(steps, client(q[:i]), server(r[:j]))
			q, r = q[i:], r[j:]
		}
		for _, port := range []uint16{1080, 9000} {
			conversation(t, Config{}, testTuple(flow.TCP, port), flow.HTTP, steps, whole)
		}
	})
}
