// SPDX-License-Identifier: Apache-2.0

package dissect

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"weir/internal/flow"
)

func TestHTTPEntities(t *testing.T) {
	post := func(headers, body string) []step {
		return []step{client("POST /u HTTP/1.1\r\n" + headers + "\r\n"), client(body)}
	}
	form := "Content-Type: multipart/form-data; boundary=B\r\n"
	next := "GET /next HTTP/1.1\r\n\r\n"
	second := "2 GET - /next - - - 0 0"
	sized := func(headers, body string) []step {
		return post(fmt.Sprintf("%sContent-Length: %d\r\n", headers, len(body)), body)
	}
	reply := func(headers, body string) []step {
		return []step{client("GET /a HTTP/1.1\r\n\r\n"), server("HTTP/1.1 200 OK\r\n" + headers + "\r\n"), server(body)}
	}
	deep := ""
	for i := range 105 {
		deep += fmt.Sprintf("--B%03d\r\nContent-Type: multipart/mixed; boundary=B%03d\r\n\r\n", i, i+1)
	}
	big := strings.Repeat("y", 70000)
	tests := []struct {
		name  string
		steps []step
		want  []string
	}{
		{
			// The line ends of a part are only CRLF.
			"form", append(sized(form, "--B\r\nX: 1\r\n\r\na\nb\rc\r\n--B--\r\n"), client(next)),
			[]string{"1 POST - /u - - - 27 0", second},
		},
		{
			"form without a line end", append(sized(form, "--B\r\n\r\nabc\r\n--B--"), client(next)),
			[]string{"1 POST - /u - - - 19 0", second},
		},
		{
			// Outside of the parts any line end counts for two bytes, so that the
			// length is reached early.
			"preamble", append(sized(form, "1\n2\n3\n4\n5\n6\n7\n8\n--B--\r\n"), client(next)),
			[]string{"1 POST - /u - - - 24 0"},
		},
		{
			"sized part", post(form, "--B\r\nContent-Length: 9\r\n\r\n\r\n--B--\r\nrest\r\n--B--\r\n"+next),
			[]string{"1 POST - /u - - - 48 0", second},
		},
		{
			"empty part", post(form, "--B\r\nContent-Length: 0\r\n\r\nabc\n--B--\r\n"+next),
			[]string{"1 POST - /u - - - 38 0", second},
		},
		{
			"boundary in a header", post(form, "--B\r\nX: 1\r\n--B--\r\n"+next),
			[]string{"1 POST - /u - - - 18 0", second},
		},
		{
			"headers of parts count", post("Host: outer\r\n"+form, "--B\r\nHost: in\r\n ner\r\nReferer\r\n\r\n--B--\r\n"+next),
			[]string{"1 POST in ner /u - - - 39 0", second},
		},
		{
			"empty boundary",
			post("Content-Type: multipart/form-data; boundary=\"\"\r\n", "--\r\nHost: in\r\n\r\nabc\r\n----\r\n"+next),
			[]string{"1 POST in /u - - - 27 0", second},
		},
		{
			"header line without a beginning", post("Host: outer\r\n"+form, "--B\r\n Host: x\r\n\r\n--B--\r\n"+next),
			[]string{"1 POST x /u - - - 24 0", second},
		},
		{
			"nested", post(form, "--B\r\nContent-Type: multipart/mixed; boundary=\"C \\\"\"\r\n\r\n--C \"\r\nHost: c\r\n\r\n--C \"--\r\n--B--\r\n"+next),
			[]string{"1 POST c /u - - - 89 0", second},
		},
		{
			"too deep", post("Content-Type: multipart/mixed; boundary=B000\r\n", deep+"--B000--\r\n"+next),
			[]string{fmt.Sprintf("1 POST - /u - - - %d 0", len(deep)+10), second},
		},
		{
			"message", append(sized("Content-Type: message/http\r\n", "GET / HTTP/1.1\r\nHost: m\r\n\r\nbody\r\n"), client(next)),
			[]string{"1 POST m /u - - - 33 0", second},
		},
		{
			"message without a length", post("Content-Type: message/http\r\n", "Host: m\r\n\r\nbody\r\n"+next),
			[]string{"1 POST m /u - - - 39 0"},
		},
		{
			"transfer encoding inside", append(sized("Content-Type: message/rfc822\r\n", "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"), client(next)),
			[]string{"1 POST - /u - - - 38 0", second},
		},
		{
			"no boundary", append(sized("Content-Type: multipart/form-data\r\n", "a\nb\n"), client(next)),
			[]string{"1 POST - /u - - - 4 0", second},
		},
		{
			"empty body", post(form+"Content-Length: 0\r\n", next), []string{"1 POST - /u - - - 0 0", second},
		},
		{
			// The sizes are lines of the body.
			"chunks are not read", post(form+"Transfer-Encoding: chunked\r\n", "5\r\n--B--\r\n"+next),
			[]string{"1 POST - /u - - - 10 0", second},
		},
		{
			"long line", append(sized(form, "--B\r\n\r\n"+big+"\r\n--B--\r\n"), client(next)),
			[]string{"1 POST - /u - - - 70016 0", second},
		},
		{
			"reply", append(reply(form, "--B\r\n\r\na\nb\r\n--B--\r\n"), client(next)),
			[]string{"1 GET - /a 1.1 200 OK 0 19", second},
		},
		{
			// Nothing is a line any more.
			"reply that closes", append(reply("Connection: close\r\n"+form, "--B\r\n\r\na\nb\r\n--B--\r\n"), step{dir: flow.ToClient, fin: true}),
			[]string{"1 GET - /a 1.1 200 OK 0 19"},
		},
		{
			"gap in a sized part", append(reply(form, "--B\r\nContent-Length: 100\r\n\r\nabc"),
				step{dir: flow.ToClient, gap: 90}, server("1234567\r\n--B--\r\n"), client(next)),
			[]string{"1 GET - /a 1.1 200 OK 0 47", second},
		},
		{
			"gap in a part", append(reply(form, "--B\r\n\r\nabc\r\n"), step{dir: flow.ToClient, gap: 90}, server("--B--\r\n")),
			[]string{"1 GET - /a 1.1 200 OK 0 12"},
		},
		{
			"gap in a sized body", append(reply(form+"Content-Length: 112\r\n", "before\r\n"),
				step{dir: flow.ToClient, gap: 100}, server("a\r\n\n"), client(next)),
			[]string{"1 GET - /a 1.1 200 OK 0 112", second},
		},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			tuple := testTuple(flow.TCP, 80)
			rows, _ := conversation(t, Config{}, tuple, flow.HTTP, tc.steps, whole)
			if diff := cmp.Diff(tc.want, pick(rows, httpFields...)); diff != "" {
				t.Errorf("rows differ (-want +got):\n%s", diff)
			}
			for _, n := range []int{1, 2, 3, 7, 1000} {
				conversation(t, Config{}, tuple, flow.HTTP, tc.steps, cutBy(n))
			}
		})
	}
}

// TestHTTPTooLong checks that a connection says so where Zeek stops to read a
// header line.
func TestHTTPTooLong(t *testing.T) {
	folded := "X: y\r\n" + strings.Repeat(" "+strings.Repeat("z", 1000)+"\r\n", 70)
	inPart := "Content-Type: multipart/mixed; boundary=B\r\n\r\n--B\r\n" + folded
	for _, tc := range []struct {
		name, data string
		want       bool
	}{
		{"long line", "X: " + strings.Repeat("z", 70000) + "\r\n\r\n", false},
		{"folded", folded + "\r\n", true},
		{"folded in a part", inPart + "\r\n", true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := NewShard(Config{})
			s.Out = flow.NewIntelBatch()
			var a App
			tuple := testTuple(flow.TCP, 80)
			for _, piece := range cutBy(1460)("POST / HTTP/1.1\r\n" + tc.data) {
				s.Stream(&tuple, &a, flow.ToServer, 1, []byte(piece))
			}
			if a.GaveUp() != tc.want {
				t.Errorf("GaveUp = %v, want %v", a.GaveUp(), tc.want)
			}
			s.Close(&tuple, &a)
		})
	}
}
