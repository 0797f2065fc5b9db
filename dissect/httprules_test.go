// SPDX-License-Identifier: Apache-2.0

package dissect

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"weir/internal/flow"
)

// TestHTTPRules checks what Zeek makes of messages that are not as they should
// be.
func TestHTTPRules(t *testing.T) {
	get := client("GET /a HTTP/1.1\r\nHost: h\r\n\r\n")
	none := server("HTTP/1.1 204 No\r\n\r\n")
	row := func(i int) string { return fmt.Sprintf("%d GET h /a 1.1 204 No 0 0", i) }
	tests := []struct {
		name    string
		port    uint16 // 80 if 0
		fields  []string
		steps   []step
		want    []string
		service string // "http" if empty, "-" for nothing
	}{
		// Request lines.
		{
			name: "method of any characters", steps: []step{client("!#$%&'*+-.^_`|~09 / HTTP/1.1\r\n\r\n"), none},
			want: []string{"1 !#$%&'*+-.^_`|~09 - / 1.1 204 No 0 0"},
		},
		{name: "method with a brace", steps: []step{client("G{T / HTTP/1.1\r\n\r\n")}, want: nil, service: "-"},
		{name: "method with a slash", steps: []step{client("G/T / HTTP/1.1\r\n\r\n")}, want: nil, service: "-"},
		{name: "blank first", steps: []step{client(" GET / HTTP/1.1\r\n\r\n")}, want: nil, service: "-"},
		{name: "only a method", steps: []step{client("GET\r\n\r\n")}, want: nil, service: "-"},
		{name: "0.9 needs three letters", steps: []step{client("GO /\r\n\r\n")}, want: nil, service: "-"},
		{name: "0.9 needs a target", steps: []step{client("GET \r\n\r\n")}, want: nil, service: "-"},
		{
			name: "bytes beyond ASCII", steps: []step{client("GET /\xe9\xff HTTP/1.1\r\n\r\n"), none},
			want: []string{`1 GET - /\xe9\xff 1.1 204 No 0 0`},
		},
		{
			name: "version without a number", steps: []step{client("GET / HTTP/x.y\r\nHost: h\r\n\r\n"), none},
			want: []string{"1 GET h / 1.1 204 No 0 0"},
		},
		{
			name: "something behind the version", steps: []step{client("GET / HTTP/1.1 x\r\nHost: h\r\n\r\n"), none},
			want: []string{"1 GET h / 1.1 204 No 0 0"},
		},
		{
			// It stays that of the request before, without which it is none.
			name: "version cut off", steps: []step{
				get, none, client("POST / HTTP/1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"), none,
			},
			want: []string{row(1), "2 POST - / 1.1 204 No 3 0"},
		},
		{
			name: "absolute target", steps: []step{client("GET http://x:8/a?b=c HTTP/1.1\r\nHost: h\r\n\r\n"), none},
			want: []string{"1 GET h http://x:8/a?b=c 1.1 204 No 0 0"},
		},
		{
			// HEAD is compared with as many letters as there are.
			name: "letters of HEAD", steps: []step{
				client("HE / HTTP/1.1\r\n\r\n"), server("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"),
				client("HEADS / HTTP/1.1\r\n\r\n"), server("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"),
			},
			want: []string{"1 HE - / 1.1 200 OK 0 0", "2 HEADS - / 1.1 200 OK 0 2"},
		},
		// What is no request.
		{
			name: "lines behind a request that was the only one", steps: []step{
				client("POST / HTTP/1.0\r\nHost: h\r\n\r\n"), client("\x00junk\r\nmore\r\n"), server("HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n"),
				client("GET /2 HTTP/1.0\r\n\r\n"),
			},
			want: []string{"1 POST h / 1.0 200 OK 0 0", "2 GET - /2 - - - 0 0"},
		},
		{
			name: "unless more were to be expected", steps: []step{
				client("POST / HTTP/1.0\r\nConnection: Keep-Alive\r\nHost: h\r\n\r\n"),
				server("HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n"), client("\x00junk\r\nGET /2 HTTP/1.0\r\n\r\n"),
			},
			want: []string{"1 POST h / 1.0 200 OK 0 0"}, service: "-",
		},
		{
			name: "junk ends a connection", steps: []step{get, none, client("junk\r\n"), get, none},
			want: []string{row(1)}, service: "-",
		},
		{
			name: "junk ends the reply that is being read", steps: []step{
				get, server("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab"), client("junk\r\n"), server("cde"),
			},
			want: []string{"1 GET h /a 1.1 200 OK 0 2"}, service: "-",
		},
		{
			name: "junk before a reply", steps: []step{client("junk\r\n"), none}, want: []string{"1 - - - 1.1 204 No 0 0"}, service: "-",
		},
		{
			name: "junk before something else", steps: []step{client("junk\r\n"), server("junk\r\n"), none}, want: nil, service: "-",
		},
		{
			name: "much junk before a reply", steps: []step{client("junk\r\n" + strings.Repeat("x", 1020)), none}, want: nil, service: "-",
		},
		{
			// The end of the reply is that of the connection.
			name: "TLS before a reply", steps: []step{
				client(tlsRecord(recHandshake, tlsMessage(helloClient, tlsHello(versionTLS12, "", oneSuite, "")))),
				server("HTTP/1.1 400 Bad\r\n\r\nab"),
				{dir: flow.ToClient, fin: true},
			},
			want: []string{"1 - - - 1.1 400 Bad 0 4"}, service: "-",
		},
		{
			name: "junk on another port", port: 999, steps: []step{client("junk"), none},
			want: []string{"1 - - - 1.1 204 No 0 0"}, service: "-",
		},
		{
			name: "much junk on another port", port: 999, steps: []step{client(strings.Repeat("x", 1025)), none},
			want: nil, service: "-",
		},
		{
			// The reply tells what it is, and is when Zeek reads the requests.
			name: "unknown method on another port", port: 999, fields: []string{"method", "uri", "status_code", "ts"},
			steps: []step{
				client("QUERY /q HTTP/1.1\r\nHost: h\r\n\r\nQUERY /r HTTP/1.1\r\n\r\n"), none, none,
				client("QUERY /s HTTP/1.1\r\n\r\n"), none,
			},
			want: []string{"QUERY /q 204 1.002000", "QUERY /r 204 1.002000", "QUERY /s 204 1.004000"},
		},
		{
			name: "lower case on another port", port: 999, steps: []step{client("get /a http/1.1\r\n\r\n"), none},
			want: []string{"1 get - /a 1.1 204 No 0 0"},
		},
		{
			name: "unknown method without a reply", port: 999, steps: []step{client("QUERY /q HTTP/1.1\r\n\r\n")}, want: nil, service: "-",
		},
		{
			name: "unknown method, not answered in HTTP", port: 999,
			steps: []step{client("QUERY /q HTTP/1.1\r\n\r\n"), server("junk\r\n"), none}, want: nil, service: "-",
		},
		{
			// Zeek does not keep so much, and does not look at replies then.
			name: "much of an unknown method", port: 999, steps: []step{
				client("QUERY /q HTTP/1.1\r\n"), client("X: " + strings.Repeat("x", 1020) + "\r\n\r\n"), none,
			},
			want: nil, service: "-",
		},
		{
			name: "unknown method and junk", port: 999, steps: []step{client("QUERY /q HTTP/1.1\r\n\r\njunk\r\n"), none, none},
			want: []string{"1 QUERY - /q 1.1 204 No 0 0"}, service: "-",
		},
		{
			// Zeek begins anew with the request, and what the server said is no reply.
			name: "server first", steps: []step{server("220 a.b\r\n"), get, get, none},
			want: []string{"1 GET h /a - - - 0 0"}, service: "-",
		},
		{
			name: "server first, then something else", steps: []step{server("220 a.b\r\n"), client("QUIT\r\n"), get}, want: nil, service: "-",
		},
		{
			name: "much of the server first", steps: []step{server(strings.Repeat("x", 1020) + "\r\nab\r\n"), get}, want: nil, service: "-",
		},
		{
			// Zeek reads the request again when the reply comes.
			name: "a body without a length", steps: []step{
				client("POST / HTTP/1.1\r\nHost: h\r\n\r\na=1\r\n"), server("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"),
			},
			want: []string{"1 POST h / 1.1 200 OK 0 2", "2 POST h / - - - 0 0"}, service: "-",
		},
		{
			name: "HTTP/2", steps: []step{
				client("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), server("\x00\x00\x06\x04\x00\x00\x00\x00\x00"),
			},
			want: []string{"1 PRI - * - - - 0 0"}, service: "-",
		},
		{
			// And finds once more that it is none.
			name: "only the beginning of a reply to junk", steps: []step{
				client("junk\r\n"), server("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab"), server("cde"),
			},
			want: []string{"1 - - - 1.1 200 OK 0 2"}, service: "-",
		},
		{
			name: "late junk", steps: []step{
				get, server("HTTP/1.1 200 OK\r\nContent-Length: 11000\r\n\r\n" + strings.Repeat("x", 11000)),
				client("junk\r\n"), client("GET / HTTP/1.1\r\n\r\n"), none,
			},
			want: []string{"1 GET h /a 1.1 200 OK 0 11000", "2 - - - 1.1 204 No 0 0"},
		},
		// Status lines.
		{
			name: "codes", steps: []step{
				get, server("HTTP/1.1 2x0 Odd\r\nContent-Length: 0\r\n\r\n"), get, server("HTTP/1.1 2000 Long\r\nContent-Length: 0\r\n\r\n"),
				get, server("HTTP/1.1\t 299\t \tTabs\r\nContent-Length: 0\r\n\r\n"),
			},
			want: []string{"1 GET h /a 1.1 0 Odd 0 0", "2 GET h /a 1.1 200 Long 0 0", "3 GET h /a 1.1 299 Tabs 0 0"},
		},
		{name: "no code", steps: []step{get, server("HTTP/1.1 \r\n\r\n"), none}, want: []string{"1 GET h /a - - - 0 0"}, service: "-"},
		{
			name: "other versions", steps: []step{
				get, server("HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n"), get, server("HTTP/x 200 OK\r\nContent-Length: 0\r\n\r\n"),
			},
			want: []string{"1 GET h /a 2.0 200 OK 0 0", "2 GET h /a 0.0 200 OK 0 0"},
		},
		{
			name: "empty lines between replies", steps: []step{
				get, server("\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n\r\n"), get, none,
			},
			want: []string{"1 GET h /a 1.1 200 OK 0 0", "2 GET h /a 1.1 204 No 0 0"},
		},
		{
			name: "several informational replies", fields: []string{"status_code", "status_msg", "info_code", "info_msg"},
			steps: []step{
				get, server("HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
			},
			want: []string{"200 OK 100 Continue"},
		},
		{
			name: "informational reply only", steps: []step{get, server("HTTP/1.1 100 Continue\r\n\r\n")},
			want: []string{"1 GET h /a 1.1 100 Continue 0 0"},
		},
		{
			name: "reply before its request", steps: []step{none, get, server("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")},
			want: []string{"1 - - - 1.1 204 No 0 0", "2 GET h /a 1.1 200 OK 0 0"},
		},
		{
			name: "reset in a reply", steps: []step{
				get, server("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab"),
				{rst: true},
				server("cde"), none,
				client("GET /2 HTTP/1.1\r\n\r\n"),
			},
			want: []string{"1 GET h /a 1.1 200 OK 0 2", "2 GET - /2 - - - 0 0"},
		},
		{
			name: "reset between messages", steps: []step{get, none, {rst: true}, get, none}, want: []string{row(1), row(2)},
		},
		{
			name: "0.9 while a reply is being read", steps: []step{
				get, server("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nab"), client("GET /old\r\n\r\n"), server("raw"),
			},
			want: []string{"1 GET h /a 1.1 200 OK 0 2", "2 GET - /old 0.9 0 <empty> 0 3"},
		},
		// Headers.
		{
			name: "names", fields: []string{"host", "user_agent", "referrer", "origin"}, steps: []step{
				client("GET / HTTP/1.1\r\n:: Host : h\r\n(a (b) \\) c) User-Agent (d): u\r\n\xe9Referer: r\r\nOri gin: o\r\n\r\n"), none,
			},
			want: []string{"h u r -"},
		},
		{
			name: "the last one counts", fields: []string{"host", "user_agent"},
			steps: []step{client("GET / HTTP/1.1\r\nHost: a\r\nHost: b \r\nUser-Agent:\r\n\r\n"), none},
			want:  []string{"b  (empty)"},
		},
		{
			name: "a byte 0 ends them", steps: []step{client("GET / HTTP/1.1\r\nHost: h\r\n\x00x\r\nGET /2 HTTP/1.1\r\n\r\n"), none, none},
			want: []string{"1 GET h / 1.1 204 No 0 0", "2 GET - /2 1.1 204 No 0 0"},
		},
		{
			name: "headers of a trailer", steps: []step{
				client("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nHost: t\r\n\r\n"), none,
			},
			want: []string{"1 POST t / 1.1 204 No 0 0"},
		},
		// Lengths.
		{
			name: "lengths", steps: []step{
				get, server("HTTP/1.1 200 OK\r\nContent-Length: \"(x) 3\"\r\n\r\nabc"),
				get, server("HTTP/1.1 200 OK\r\nContent-Length: 3, 4\r\n\r\nabc"),
				get, server("HTTP/1.1 200 OK\r\nContent-Length: 9\r\nContent-Length: 3\r\n\r\nabc"),
				get, server("HTTP/1.1 200 OK\r\nContent-Length: 003x\r\n\r\nabc"),
				get, server("HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n"),
				get, server("HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n"),
				get, server("HTTP/1.1 200 OK\r\nContent-Length: 18446744073709551615\r\n\r\n"),
				get, none,
			},
			want: []string{
				"1 GET h /a 1.1 200 OK 0 3", "2 GET h /a 1.1 200 OK 0 3", "3 GET h /a 1.1 200 OK 0 3", "4 GET h /a 1.1 200 OK 0 3",
				"5 GET h /a 1.1 200 OK 0 0", "6 GET h /a 1.1 200 OK 0 0", "7 GET h /a 1.1 200 OK 0 0", row(8),
			},
		},
		{
			// The length is how much of a stream is lines: it has an end even where
			// there is no body.
			name: "a length of 0 ends the line that its segment ends in", steps: []step{
				client("POST / HTTP/1.1\r\nContent-Length: 0\r\n\r\nGET /a HTTP/1.1\r\nHost: h"), client("ost\r\n\r\n"), none,
				server("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\nHTTP/1.1 204 N"), server("o\r\n\r\n"),
			},
			want: []string{"1 POST - / 1.1 204 No 0 0", "2 GET h /a 1.1 200 OK 0 0", "3 - - - 1.1 204 N 0 0"},
		},
		{
			name: "but no other line", steps: []step{
				client("POST / HTTP/1.1\r\nContent-Length: 0\r\n\r\n"), client("GET /a"), client("b HTTP/1.1\r\nHost: h\r\n\r\n"), none, none,
			},
			want: []string{"1 POST - / 1.1 204 No 0 0", "2 GET h /ab 1.1 204 No 0 0"},
		},
		{
			name: "nor behind a body", steps: []step{
				client("POST / HTTP/1.1\r\nContent-Length: 2\r\n\r\n"), client("okGET /a"), client("b HTTP/1.1\r\nHost: h\r\n\r\n"), none, none,
			},
			want: []string{"1 POST - / 1.1 204 No 2 0", "2 GET h /ab 1.1 204 No 0 0"},
		},
		{
			name: "the length of a body that is not there", steps: []step{
				get, server("HTTP/1.1 304 No\r\nContent-Length: 14\r\n\r\n"), get, server("HTTP/1.1 204 N"), server("o\r\n\r\n"),
			},
			want: []string{"1 GET h /a 1.1 304 No 0 0", "2 GET h /a 1.1 204 N 0 0"},
		},
		{
			name: "no length at all", steps: []step{get, server("HTTP/1.1 200 OK\r\nContent-Length:\r\n\r\na\nb\n"), {dir: flow.ToClient, fin: true}},
			want: []string{"1 GET h /a 1.1 200 OK 0 6"},
		},
		{
			name: "chunks before a length", steps: []step{
				get, server("HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n2 ;x\r\nab\r\n0\r\n\r\n"), get, none,
			},
			want: []string{"1 GET h /a 1.1 200 OK 0 2", row(2)},
		},
		{
			name: "chunked behind another encoding", steps: []step{
				get, server("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\nContent-Length: 3\r\n\r\nabc"), get, none,
			},
			want: []string{"1 GET h /a 1.1 200 OK 0 3", row(2)},
		},
		{
			name: "chunk with too much", steps: []step{
				get, server("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nabcd\r\n1\r\nx\r\n0\r\n\r\n"), get, none,
			},
			want: []string{"1 GET h /a 1.1 200 OK 0 3", row(2)},
		},
		{
			name: "chunk of no size", steps: []step{
				get, server("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nX: y\r\n\r\n"), get, none,
			},
			want: []string{"1 GET h /a 1.1 200 OK 0 0", row(2)},
		},
		{
			name: "ranges", steps: []step{
				get, server("HTTP/1.1 206 P\r\nContent-Range: (c) bytes 1 0-1 4/100\r\n\r\nabcde"),
				get, server("HTTP/1.1 206 P\r\nContent-Range: bytes -4/9\r\n\r\nabcde"),
				get, server("HTTP/1.1 206 P\r\nContent-Length: 2\r\nContent-Range: bytes 0--5/9\r\n\r\nab"),
				get, server("HTTP/1.1 206 P\r\nContent-Length: 2\r\nContent-Range: bytes 0-9223372036854775807/9\r\n\r\nab"),
				get, server("HTTP/1.1 206 P\r\nContent-Length: 2\r\nContent-Range: Bytes 0-9/10\r\n\r\nab"),
				get, server("HTTP/1.1 206 P\r\nContent-Length: 2\r\nContent-Range: bytes 0-x/10\r\n\r\nab"),
				get, server("HTTP/1.1 200 P\r\nContent-Length: 2\r\nContent-Range: bytes 0-9/10\r\n\r\nab"),
			},
			want: []string{
				"1 GET h /a 1.1 206 P 0 5", "2 GET h /a 1.1 206 P 0 5", "3 GET h /a 1.1 206 P 0 2", "4 GET h /a 1.1 206 P 0 2",
				"5 GET h /a 1.1 206 P 0 2", "6 GET h /a 1.1 206 P 0 2", "7 GET h /a 1.1 200 P 0 2",
			},
		},
		{
			name: "packed with what is not known", steps: []step{
				get, server("HTTP/1.1 200 OK\r\nContent-Encoding: br\r\nContent-Length: 3\r\n\r\nabc"), get, none,
			},
			want: []string{"1 GET h /a 1.1 200 OK 0 3", row(2)},
		},
		{
			name: "not packed, though it says so", steps: []step{
				get, server("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 6\r\n\r\n<html>"), get, none,
			},
			want: []string{"1 GET h /a 1.1 200 OK 0 0", row(2)},
		},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			fields, port, want := tc.fields, tc.port, tc.service
			if fields == nil {
				fields = httpFields
			}
			if port == 0 {
				port = 80
			}
			switch want {
			case "":
				want = "http"
			case "-":
				want = ""
			}
			rows, service := conversation(t, Config{}, testTuple(flow.TCP, port), flow.HTTP, tc.steps, whole)
			if diff := cmp.Diff(notNil(tc.want), pick(rows, fields...)); diff != "" {
				t.Errorf("rows differ (-want +got):\n%s", diff)
			}
			if service != want {
				t.Errorf("service = %q, want %q", service, want)
			}
			for _, n := range []int{1, 2, 5} {
				conversation(t, Config{}, testTuple(flow.TCP, port), flow.HTTP, tc.steps, cutBy(n))
			}
		})
	}
}
