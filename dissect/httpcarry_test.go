// SPDX-License-Identifier: Apache-2.0

package dissect

import (
	"encoding/binary"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"weir/internal/flow"
)

// wsFrame makes a frame of WebSocket, of which the client's are masked.
func wsFrame(dir flow.Dir, first byte, payload string) step {
	b := []byte{first}
	var bit byte
	if dir == flow.ToServer {
		bit = 0x80
	}
	switch n := len(payload); {
	case n < 126:
		b = append(b, bit|byte(n))
	case n < 1<<16:
		b = binary.BigEndian.AppendUint16(append(b, bit|126), uint16(n))
	default:
		b = binary.BigEndian.AppendUint64(append(b, bit|127), uint64(n))
	}
	if bit != 0 {
		mask := "\x11\x22\xff\x00"
		b = append(b, mask...)
		for i := range len(payload) {
			b = append(b, payload[i]^mask[i&3])
		}
	} else {
		b = append(b, payload...)
	}
	return step{dir: dir, data: string(b)}
}

func TestHTTPCarries(t *testing.T) {
	upgrade := func(to string) []step {
		return []step{
			client("GET /ws HTTP/1.1\r\nHost: h\r\nUpgrade: " + to + "\r\nConnection: Upgrade\r\n\r\n"),
			server("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: " + to + "\r\n\r\n"),
		}
	}
	ws := upgrade("WebSocket")
	connect := []step{
		client("CONNECT h:80 HTTP/1.1\r\nHost: h\r\n\r\n"), server("HTTP/1.0 200 Established\r\n\r\n"),
	}
	get := "GET /in HTTP/1.1\r\nHost: i\r\n\r\n"
	ok := "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
	switched := "1 GET h /ws 1.1 101 Switching Protocols 0 0"
	long := "GET /" + strings.Repeat("x", 70000) + " HTTP/1.1\r\n\r\n"
	tests := []struct {
		name    string
		begin   []step
		steps   []step
		want    []string
		service string
	}{
		{
			"nothing", ws, nil, []string{switched}, "http",
		},
		{
			"ping", ws,
			[]step{wsFrame(flow.ToClient, 0x89, "Zeek"), wsFrame(flow.ToServer, 0x8a, "Zeek")},
			[]string{switched},
			"http,websocket",
		},
		{
			// The reply inside is taken for that to the upgrade, since it had none
			// that was final.
			"HTTP", ws,
			[]step{wsFrame(flow.ToServer, 0x82, get), wsFrame(flow.ToClient, 0x82, ok)},
			[]string{"1 GET h /ws 1.1 200 OK 0 2", "2 GET i /in - - - 0 0"},
			"http,websocket",
		},
		{
			"HTTP in fragments", ws,
			[]step{
				wsFrame(flow.ToServer, 0x01, get[:9]), wsFrame(flow.ToServer, 0x80, get[9:]),
				wsFrame(flow.ToClient, 0x02, "H"), wsFrame(flow.ToClient, 0x00, ok[1:20]),
				wsFrame(flow.ToClient, 0x80, ok[20:]),
			},
			[]string{"1 GET h /ws 1.1 200 OK 0 2", "2 GET i /in - - - 0 0"},
			"http,websocket",
		},
		{
			"text in a ping is no data", ws,
			[]step{wsFrame(flow.ToServer, 0x89, get), wsFrame(flow.ToClient, 0x8a, ok)},
			[]string{switched},
			"http,websocket",
		},
		{
			"message inside a message", ws,
			[]step{
				wsFrame(flow.ToServer, 0x02, get[:9]), wsFrame(flow.ToServer, 0x82, get), wsFrame(flow.ToServer, 0x80, get[9:]),
			},
			[]string{switched},
			"http",
		},
		{
			"nothing to continue", ws, []step{wsFrame(flow.ToServer, 0x80, get)}, []string{switched}, "http",
		},
		{
			"long lengths", ws,
			[]step{wsFrame(flow.ToServer, 0x82, long[:300]), wsFrame(flow.ToServer, 0x82, long[300:])},
			[]string{switched},
			"http,websocket",
		},
		{
			"gap", ws, []step{{dir: flow.ToClient, gap: 3}, wsFrame(flow.ToServer, 0x82, get)}, []string{switched}, "http",
		},
		{
			"another protocol", upgrade("other"),
			[]step{client(get), server(ok)},
			[]string{"1 GET h /ws 1.1 200 OK 0 2", "2 GET i /in - - - 0 0"},
			"http",
		},
		{
			"h2c", upgrade("h2c"),
			[]step{client("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), server("\x00\x00\x06\x04\x00\x00\x00\x00\x00")},
			[]string{switched},
			"http",
		},
		{
			"behind CONNECT", connect,
			[]step{client(get), server(ok), client(get), server(ok)},
			[]string{
				"2 GET i /in 1.1 200 OK 0 2", "3 GET i /in 1.1 200 OK 0 2", "4 - - - - - - 0 0",
				"1 CONNECT h h:80 1.0 200 Established 0 0",
			},
			"http",
		},
		{
			"unknown method behind CONNECT", connect,
			[]step{client("QUERY /in HTTP/1.1\r\nHost: i\r\n\r\n"), server(ok)},
			[]string{
				"2 QUERY i /in 1.1 200 OK 0 2", "3 - - - - - - 0 0", "1 CONNECT h h:80 1.0 200 Established 0 0",
			},
			"http",
		},
		{
			"unknown method behind CONNECT without a reply", connect,
			[]step{client("QUERY /in HTTP/1.1\r\nHost: i\r\n\r\n"), server("junk\r\n")},
			[]string{"1 CONNECT h h:80 1.0 200 Established 0 0"},
			"http",
		},
		{
			// What is read anew is what is carried.
			"junk behind CONNECT before a reply", connect,
			[]step{client("junk\r\n"), server(ok)},
			[]string{"2 - - - 1.1 200 OK 0 2", "3 - - - - - - 0 0", "1 CONNECT h h:80 1.0 200 Established 0 0"},
			"http",
		},
		{
			// The service is one of the connection.
			"junk behind CONNECT", connect,
			[]step{client(get), server(ok), client("junk\r\n")},
			[]string{"2 GET i /in 1.1 200 OK 0 2", "3 - - - - - - 0 0", "1 CONNECT h h:80 1.0 200 Established 0 0"},
			"",
		},
		{
			"end behind CONNECT", connect,
			[]step{
				client(get), {dir: flow.ToClient, fin: true}, {dir: flow.ToServer, fin: true},
			},
			[]string{"1 CONNECT h h:80 1.0 200 Established 0 0", "2 GET i /in - - - 0 0"},
			"http",
		},
		{
			"CONNECT behind CONNECT", connect, append(connect[:2:2], client(get), server(ok)),
			[]string{
				"3 GET i /in 1.1 200 OK 0 2", "4 - - - - - - 0 0", "5 - - - - - - 0 0",
				"1 CONNECT h h:80 1.0 200 Established 0 0", "2 CONNECT h h:80 1.0 200 Established 0 0",
			},
			"http",
		},
		{
			"WebSocket in WebSocket", ws,
			[]step{
				wsFrame(flow.ToServer, 0x82, ws[0].data), wsFrame(flow.ToClient, 0x82, ws[1].data),
				wsFrame(flow.ToServer, 0x82, wsFrame(flow.ToServer, 0x82, get).data),
			},
			[]string{switched, "2 GET h /ws - - - 0 0", "3 GET i /in - - - 0 0"},
			"http,websocket",
		},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			steps := append(tc.begin[:2:2], tc.steps...)
			tuple := testTuple(flow.TCP, 8080)
			rows, service := conversation(t, Config{}, tuple, flow.HTTP, steps, whole)
			got := pick(rows, httpFields...)
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("rows differ (-want +got):\n%s", diff)
			}
			if service != tc.service {
				t.Errorf("service = %q, want %q", service, tc.service)
			}
			// Several things may come at once.
			var joined []step
			for _, st := range steps {
				last := len(joined) - 1
				if last >= 0 && joined[last].dir == st.dir && st.data != "" && joined[last].data != "" {
					joined[last].data += st.data
				} else {
					joined = append(joined, st)
				}
			}
			again, _ := conversation(t, Config{}, tuple, flow.HTTP, joined, whole)
			if diff := cmp.Diff(got, pick(again, httpFields...)); diff != "" {
				t.Errorf("joined differs (-apart +joined):\n%s", diff)
			}
			if strings.HasPrefix(tc.name, "unknown method") {
				return // which is looked for in the first piece alone
			}
			single, _ := conversation(t, Config{}, tuple, flow.HTTP, steps, cutBy(7))
			if diff := cmp.Diff(got, pick(single, httpFields...)); diff != "" {
				t.Errorf("cut by 7 differs (-whole +cut):\n%s", diff)
			}
		})
	}
}

// TestHTTPCarrierMemory checks that nothing is carried where there is no memory
// for it, and that the request is not lost then.
func TestHTTPCarrierMemory(t *testing.T) {
	memory := NewMemory(1 << 20)
	s := NewShard(Config{Memory: memory})
	s.Out = flow.NewIntelBatch()
	var a App
	tuple := testTuple(flow.TCP, 80)
	s.Stream(&tuple, &a, flow.ToServer, 1, []byte("CONNECT h:1 HTTP/1.1\r\n\r\n"))
	if !memory.take(1<<20 - int(memory.Used())) {
		t.Fatal("the memory is not there")
	}
	s.Stream(&tuple, &a, flow.ToClient, 1, []byte("HTTP/1.1 200 OK\r\n\r\n"))
	if a.Wants(flow.ToServer) || a.Wants(flow.ToClient) {
		t.Error("without memory, a connection wants what it carries")
	}
	s.Close(&tuple, &a)
	if got := fmt.Sprint(pick(zeekRows(s.Out, flow.HTTP), "method", "status_code")); got != "[CONNECT 200]" {
		t.Errorf("rows = %s", got)
	}
}
