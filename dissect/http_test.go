// SPDX-License-Identifier: Apache-2.0

package dissect

import (
	"bytes"
	"compress/flate"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"weir/internal/flow"
)

var httpFields = []string{
	"trans_depth", "method", "host", "uri", "version", "status_code", "status_msg",
	"request_body_len", "response_body_len",
}

// httpCase is a conversation and what it comes to.
type httpCase struct {
	name   string
	steps  []step
	fields []string // httpFields if nil
	want   []string
	// service is what is confirmed, "http" if empty, "-" for nothing.
	service string
	// loose conversations depend on how they are cut.
	loose bool
}

func httpCases(tb testing.TB) []httpCase {
	tb.Helper()
	gz := func(data string) string { return string(pack(tb, "gzip", flate.DefaultCompression, []byte(data))) }
	zl := func(format, data string) string {
		return string(pack(tb, format, flate.DefaultCompression, []byte(data)))
	}
	get := client("GET /a HTTP/1.1\r\nHost: h\r\n\r\n")
	big := strings.Repeat("0123456789", 100)
	fin := step{dir: flow.ToClient, fin: true}
	return []httpCase{
		{
			name: "sized", steps: []step{get, server("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc")},
			want: []string{"1 GET h /a 1.1 200 OK 0 3"},
		},
		{
			name: "upload", steps: []step{
				client("POST /u HTTP/1.1\r\nHost: h\r\nContent-Length: 1000\r\n\r\n" + big),
				server("HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n"),
			},
			want: []string{"1 POST h /u 1.1 201 Created 1000 0"},
		},
		{
			name: "attributes", steps: []step{
				client("GET /%41%20b%zz%u0041%u4e00%%41%4 HTTP/1.1\r\nhost:  Example:80 \r\nREFERER: http://r/\r\n" +
					"user-agent: agent/1 (x; y)\r\nOrigin: o\r\nVia: 1.1 p\r\nX-Forwarded-For: 1.2.3.4, 5.6.7.8\r\n" +
					"Via: 1.1 p\r\nAuthorization: bAsIc  dXNlcjpwYXNzd29yZA==\r\n\r\n"),
				server("HTTP/1.0 404 Not Found\r\nContent-Length: 0\r\n\r\n"),
			},
			fields: []string{"uri", "host", "referrer", "user_agent", "origin", "proxied", "username", "password", "version"},
			want: []string{
				`/A b%zzAN\x00A%4 Example:80  http://r/ agent/1 (x; y) o ` +
					`VIA -> 1.1 p,X-FORWARDED-FOR -> 1.2.3.4\x2c 5.6.7.8 user - 1.0`,
			},
		},
		{
			name: "continued header", steps: []step{
				client("GET / HTTP/1.1\r\nUser-Agent: a\r\n b\r\n\tc\r\nHost\t: h\r\n no colon\r\nX\r\n\r\n"),
				server("HTTP/1.1 204 No\r\n\r\n"),
			},
			fields: []string{"user_agent", "host"}, want: []string{`a b\x09c h no colon`},
		},
		{
			name: "line ends", steps: []step{
				client("GET / HTTP/1.1\nHost: a\rUser-Agent: b\r\n\r\r\n"),
				server("HTTP/1.1 200 OK\rContent-Length: 2\r\n\nxy"),
			},
			fields: []string{"host", "user_agent", "response_body_len"}, want: []string{"a b 2"},
		},
		{
			name: "pipelining", steps: []step{
				client("GET /1 HTTP/1.1\r\n\r\nHEAD /2 HTTP/1.1\r\n\r\nGET /3 HTTP/1.1\r\n\r\n"),
				server("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n1111HTTP/1.1 200 OK\r\nContent-Length: 90000\r\n\r\n"),
				server("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n33"),
			},
			want: []string{"1 GET - /1 1.1 200 OK 0 4", "2 HEAD - /2 1.1 200 OK 0 0", "3 GET - /3 1.1 200 OK 0 2"},
		},
		{
			name: "no body", steps: []step{
				get, server("HTTP/1.1 304 Not Modified\r\nContent-Length: 500\r\n\r\n"),
				get, server("HTTP/1.1 204 No Content\r\n\r\n"), get, server("HTTP/1.1 200 \r\nContent-Length: 1\r\n\r\nx"),
				get, server("HTTP/1.1 200\r\nContent-Length: 1\r\n\r\nx"),
			},
			want: []string{
				"1 GET h /a 1.1 304 Not Modified 0 0", "2 GET h /a 1.1 204 No Content 0 0",
				"3 GET h /a 1.1 200 (empty) 0 1", "4 GET h /a 1.1 200 <empty> 0 1",
			},
		},
		{
			name: "informational", steps: []step{
				client("POST / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n"),
				server("HTTP/1.1 100 Continue\r\n\r\n"), client("abc"),
				server("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx"),
			},
			fields: []string{"trans_depth", "status_code", "info_code", "info_msg", "request_body_len", "response_body_len"},
			want:   []string{"1 200 100 Continue 3 1"},
		},
		{
			name: "chunked", steps: []step{get, server("HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n" +
				"3;ext=1\r\nabc\r\nA\r\n0123456789\r\n0\r\nTrailer: x\r\n\r\nHTTP/1.1 204 Next\r\n\r\n")},
			want: []string{"1 GET h /a 1.1 200 OK 0 13", "2 - - - 1.1 204 Next 0 0"},
		},
		{
			name: "chunk overflow", steps: []step{
				client("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n10000000000000000\r\n\r\nGET /s HTTP/1.1\r\n\r\n"),
			},
			want: []string{"1 POST - / - - - 0 0", "2 GET - /s - - - 0 0"},
		},
		{
			name: "length overflow", steps: []step{
				client("POST / HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\nGET /s HTTP/1.1\r\n\r\n"),
			},
			want:  []string{"1 POST - / - - - 0 0", "2 GET - /s - - - 0 0"},
			loose: true,
		},
		{
			name: "chunked needs 1.1", steps: []step{
				get, server("HTTP/1.0 200 OK\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"), fin,
			},
			want: []string{"1 GET h /a 1.0 200 OK 0 13"},
		},
		{
			name: "until close", steps: []step{
				get, server("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nab\ncd"), fin,
			},
			want: []string{"1 GET h /a 1.1 200 OK 0 5"},
		},
		{
			name: "lines until close", steps: []step{get, server("HTTP/1.0 200 OK\r\n\r\nab\ncd\r\nef"), fin},
			want: []string{"1 GET h /a 1.0 200 OK 0 12"},
		},
		{
			name: "lines cut off", steps: []step{get, server("HTTP/1.0 200 OK\r\n\r\nab\ncd\r\nef")},
			want: []string{"1 GET h /a 1.0 200 OK 0 8"},
		},
		{
			name: "gzip", steps: []step{get, server(fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n"+
				"Content-Length: %d\r\n\r\n%s", len(gz(big)), gz(big)))},
			want: []string{"1 GET h /a 1.1 200 OK 0 1000"},
		},
		{
			name: "gzip in chunks", steps: []step{get, server(fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Encoding: x-gzip\r\n"+
				"Transfer-Encoding: chunked\r\n\r\n5\r\n%s\r\n%x\r\n%s\r\n0\r\n\r\n", gz(big)[:5], len(gz(big))-5, gz(big)[5:]))},
			want: []string{"1 GET h /a 1.1 200 OK 0 1000"},
		},
		{
			name: "gzip until close", steps: []step{get, server("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n" + gz(big)), fin},
			want: []string{"1 GET h /a 1.1 200 OK 0 1000"},
		},
		{
			name: "deflate", steps: []step{
				get, server(fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Encoding: deflate\r\nContent-Length: %d\r\n\r\n%s",
					len(zl("zlib", big)), zl("zlib", big))),
				get, server(fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Encoding: deflate\r\nContent-Length: %d\r\n\r\n%s",
					len(zl("raw", big)), zl("raw", big))),
			},
			want: []string{"1 GET h /a 1.1 200 OK 0 1000", "2 GET h /a 1.1 200 OK 0 1000"},
		},
		{
			name: "gzip bomb", steps: []step{get, server(fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n"+
				"Content-Length: %d\r\n\r\n%s", len(gz(strings.Repeat("\x00", 5<<20))), gz(strings.Repeat("\x00", 5<<20))))},
			want: []string{"1 GET h /a 1.1 200 OK 0 5242880"},
		},
		{
			name: "range", steps: []step{
				get, server("HTTP/1.1 206 Partial\r\nContent-Range: bytes 10-14/100\r\n\r\nabcde"),
				get, server("HTTP/1.1 206 Partial\r\nContent-Length: 3\r\nContent-Range: bytes 10-14/100\r\n\r\nabcde"),
				get, server("HTTP/1.1 206 Partial\r\nContent-Range: bytes 5-4/9\r\nContent-Length: 3\r\n\r\nabc"),
			},
			want: []string{
				"1 GET h /a 1.1 206 Partial 0 5", "2 GET h /a 1.1 206 Partial 0 5", "3 GET h /a 1.1 206 Partial 0 3",
			},
		},
		{
			name: "byte ranges", steps: []step{get, server("HTTP/1.1 206 Partial\r\n" +
				"Content-Type: multipart/byteranges; boundary=\"B\"\r\nConnection: close\r\n\r\n" +
				"--B\r\nContent-Range: bytes 0-4/9\r\n\r\na\nb\rc\r\n--B\r\nContent-Range: bytes 5-8/9\r\n\r\n\r\n\r\n\r\n--B--\r\n"), fin},
			// 5+2 "--B", 26+2+2 the header, 5 the part, 2 its end, and so on.
			want: []string{"1 GET h /a 1.1 206 Partial 0 90"},
		},
		{
			name: "form without length", steps: []step{client("POST / HTTP/1.0\r\n" +
				"Content-Type: multipart/form-data; boundary=xyz\r\n\r\n" +
				"--xyz\r\nContent-Disposition: form-data\r\n\r\nv\ra\nl\r\n--xyz--\r\nGET /next HTTP/1.0\r\n\r\n")},
			want: []string{"1 POST - / - - - 57 0", "2 GET - /next - - - 0 0"},
		},
		{
			name: "gap in a body", steps: []step{
				get, server("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n" + big[:100]),
				{dir: flow.ToClient, gap: 500},
				server(big[:400]), get, server("HTTP/1.1 204 No\r\n\r\n"),
			},
			want: []string{"1 GET h /a 1.1 200 OK 0 1000", "2 GET h /a 1.1 204 No 0 0"},
		},
		{
			name: "gap in a chunk", steps: []step{
				get, server("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3e8\r\nabc"),
				{dir: flow.ToClient, gap: 900},
				server(big[:97] + "\r\n0\r\n\r\n"),
			},
			want: []string{"1 GET h /a 1.1 200 OK 0 1000"},
		},
		{
			name: "gap beyond the body", steps: []step{
				get, server("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc"),
				{dir: flow.ToClient, gap: 98},
				server("more"),
				get,
			},
			want: []string{"1 GET h /a 1.1 200 OK 0 3", "2 GET h /a - - - 0 0"},
		},
		{
			name: "gap in the requests", steps: []step{
				get, server("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\na"),
				{dir: flow.ToServer, gap: 10},
				client("GET /lost HTTP/1.1\r\n\r\n"), server("bc"),
			},
			want: []string{"1 GET h /a 1.1 200 OK 0 1"},
		},
		{
			name: "no reply", steps: []step{get, get},
			want: []string{"1 GET h /a - - - 0 0", "2 GET h /a - - - 0 0"},
		},
		{
			name: "reply only", steps: []step{server("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nab")},
			want: []string{"1 - - - 1.1 200 OK 0 2"}, service: "-",
		},
		{
			name: "unfinished", steps: []step{get, server("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc")},
			want: []string{"1 GET h /a 1.1 200 OK 0 3"},
		},
		{
			name: "unfinished header", steps: []step{client("GET / HTTP/1.1\r\nHost: x\r\nUser-Agent: cut"), {dir: flow.ToServer, fin: true}},
			want: []string{"1 GET x / - - - 0 0"},
		},
		{
			name: "upgrade", steps: []step{
				client("GET /ws HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"),
				server("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n\x81\x05hello"),
				client("\x81\x85maskGET / HTTP/1.1\r\n\r\n"), server("HTTP/1.1 200 OK\r\n\r\n"),
			},
			want: []string{"1 GET - /ws 1.1 101 Switching Protocols 0 0"}, loose: true,
		},
		{
			name: "connect refused", steps: []step{
				client("CONNECT h:443 HTTP/1.1\r\nHost: h\r\n\r\n"),
				server("HTTP/1.1 403 No\r\nContent-Length: 2\r\n\r\nno"), get, server("HTTP/1.1 204 No\r\n\r\n"),
			},
			want: []string{"1 CONNECT h h:443 1.1 403 No 0 2", "2 GET h /a 1.1 204 No 0 0"},
		},
		{
			name: "connect to HTTP", steps: []step{
				client("CONNECT h:80 HTTP/1.1\r\nHost: h\r\n\r\n"), server("HTTP/1.0 200 Established\r\n\r\n"),
				get, server("HTTP/1.1 204 No\r\n\r\n"),
			},
			// The end of the first reply, which has no length, is a record of its own.
			want: []string{
				"2 GET h /a 1.1 204 No 0 0", "3 - - - - - - 0 0", "1 CONNECT h h:80 1.0 200 Established 0 0",
			},
		},
		{
			name: "connect to something else", steps: []step{
				client("CONNECT h:22 HTTP/1.1\r\nHost: h\r\n\r\n"), server("HTTP/1.0 200 Established\r\n\r\nSSH-2.0-x\r\n"),
				client("SSH-2.0-y\r\n"),
			},
			want:    []string{"1 CONNECT h h:22 1.0 200 Established 0 0"},
			service: "http,ssh",
		},
		{
			name: "0.9", steps: []step{client("GET /old\r\n"), server("<html>\r\nHTTP/1.1 200"), fin},
			// The request has no end of its own: Zeek makes another record of that.
			want: []string{"1 GET - /old 0.9 0 <empty> 0 20", "2 - - - - - - 0 0"},
		},
		{
			name: "spaces in the target", steps: []step{client("GET /a b\tc HTTP/1.1\r\n\r\n")},
			want: []string{`1 GET - /a b\x09c - - - 0 0`},
		},
		{
			name: "no target", steps: []step{client("GET HTTP/1.1\r\n\r\n")},
			want: []string{"1 GET - (empty) - - - 0 0"},
		},
		{
			name: "lower case version", steps: []step{client("get / http/1.1\r\n\r\n"), server("http/1.1 200 ok\r\nContent-Length: 0\r\n\r\n")},
			want: []string{"1 get - / 1.1 200 ok 0 0"},
		},
		{
			name: "empty lines between", steps: []step{client("\r\nGET / HTTP/1.1\r\n\r\n\r\n\r\nGET /2 HTTP/1.1\r\n\r\n")},
			want: []string{"1 GET - / - - - 0 0", "2 GET - /2 - - - 0 0"},
		},
		{
			name: "not a request", steps: []step{client("\x00\x01nothing\r\nGET / HTTP/1.1\r\n\r\n")}, want: nil, service: "-",
		},
		{
			name: "not a reply", steps: []step{get, server("SSH-2.0-OpenSSH\r\n"), get}, want: []string{"1 GET h /a - - - 0 0"}, service: "-",
		},
		{
			name: "reply before the request is done", steps: []step{
				client("POST / HTTP/1.1\r\nContent-Length: 6\r\n\r\nabc"), server("HTTP/1.1 400 Bad\r\nContent-Length: 0\r\n\r\n"), client("def"),
			},
			want: []string{"1 POST - / 1.1 400 Bad 0 0", "2 - - - - - - 6 0"},
		},
		{
			name: "long header line", steps: []step{client("GET / HTTP/1.1\r\nHost: h\r\nX: " + strings.Repeat("x", 70000) + "\r\n\r\n")},
			want: []string{"1 GET h / - - - 0 0"}, loose: true,
		},
	}
}

func TestHTTP(t *testing.T) {
	for _, tc := range httpCases(t) {
		t.Run(tc.name, func(t *testing.T) {
			fields := tc.fields
			if fields == nil {
				fields = httpFields
			}
			tuple := testTuple(flow.TCP, 80)
			rows, service := conversation(t, Config{}, tuple, flow.HTTP, tc.steps, whole)
			got := pick(rows, fields...)
			if fields[0] == "trans_depth" && !strings.HasPrefix(tc.name, "connect") {
				slices.Sort(got)
			}
			if diff := cmp.Diff(notNil(tc.want), got); diff != "" {
				t.Errorf("rows differ (-want +got):\n%s", diff)
			}
			want := tc.service
			if want == "" {
				want = "http"
			}
			if want != service && !(want == "-" && service == "") {
				t.Errorf("service = %q, want %q", service, want)
			}
			if !tc.loose {
				checkSplits(t, tuple, flow.HTTP, tc.steps)
			}
		})
	}
}

// TestHTTPOrder checks that pipelined requests may all come first.
func TestHTTPOrder(t *testing.T) {
	var apart, first []step
	for i := range 20 {
		q := client(fmt.Sprintf("GET /%d HTTP/1.1\r\nHost: h\r\n\r\n", i))
		r := server(fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", i, strings.Repeat("x", i)))
		apart = append(apart, q, r)
		first = append(first, q)
	}
	for i := range 20 {
		first = append(first, apart[2*i+1])
	}
	tuple := testTuple(flow.TCP, 80)
	want, _ := conversation(t, Config{}, tuple, flow.HTTP, apart, whole)
	got, _ := conversation(t, Config{}, tuple, flow.HTTP, first, whole)
	if diff := cmp.Diff(pick(want, httpFields...), pick(got, httpFields...)); diff != "" {
		t.Errorf("requests first differ (-apart +first):\n%s", diff)
	}
}

// TestHTTPPipelineFlood checks that requests without replies are bounded and not
// lost.
func TestHTTPPipelineFlood(t *testing.T) {
	s := NewShard(Config{})
	s.Out = flow.NewIntelBatch()
	var a App
	tuple := testTuple(flow.TCP, 80)
	const n = 10000
	most := uint32(0)
	for range n {
		s.Stream(&tuple, &a, flow.ToServer, 1, []byte("GET / HTTP/1.1\r\n\r\n"))
		id, _ := a.has()
		most = max(most, s.protos[protoHTTP-1].dissector.(*http).sessions.at(id).count)
	}
	s.Close(&tuple, &a)
	if most > maxRequests+1 {
		t.Errorf("%d requests wait, want at most %d", most, maxRequests+1)
	}
	if s.Out.Len() != n {
		t.Errorf("%d records of %d requests", s.Out.Len(), n)
	}
}

// TestPasswordIsNotKept checks that no record holds a password, coded or not.
func TestPasswordIsNotKept(t *testing.T) {
	tests := []struct{ value, user string }{
		{"Basic dXNlcjpzZWNyZXQ=", "user"},
		{"Basic dXNlcjpzZWNyZXQ", "user"},
		{"basic OnNlY3JldA==", "(empty)"},
		{"Basic c2VjcmV0", "-"},   // no colon
		{"Basic !!secret!!", "-"}, // not base64
		{"Bearer c2VjcmV0", "-"},  // not Basic
		{"Basic dXNlcjpzZWNyZXQ= trailing", "user"},
	}
	for _, tc := range tests {
		s := NewShard(Config{})
		s.Out = flow.NewIntelBatch()
		var a App
		tuple := testTuple(flow.TCP, 80)
		s.Stream(&tuple, &a, flow.ToServer, 1, []byte("GET / HTTP/1.1\r\nAuthorization: "+tc.value+"\r\n\r\n"))
		s.Close(&tuple, &a)
		rows := zeekRows(s.Out, flow.HTTP)
		if got := pick(rows, "username"); got[0] != tc.user {
			t.Errorf("username of %q = %q, want %q", tc.value, got[0], tc.user)
		}
		if text := fmt.Sprint(rows); strings.Contains(text, "secret") || strings.Contains(text, "c2Vjcm") {
			t.Errorf("the record of %q holds the password: %s", tc.value, text)
		}
	}
}

// httpSeeds are the payloads of the conversations above.
func httpSeeds() []string {
	var list []string
	for _, tc := range httpCases(&testing.T{}) {
		for _, st := range tc.steps {
			if st.data != "" && len(st.data) < 10000 {
				list = append(list, st.data)
			}
		}
	}
	return list
}

// bodiless finds messages that may have a length and no body: replies to HEAD, of
// which as many letters count as there are, and of some codes.
var bodiless = regexp.MustCompile(`(?i)\bH(EA?D?)?[ \t]| (1..|204|304)`)

// cutsMatter reports whether what a conversation yields may depend on how its
// payload is cut: what a violation ends is the segment, the length of a body of
// parts, or of none, ends a line, an error in a packed body costs what its segment
// had of it,
// SOCKS has one message in each piece, and what is unknown is not looked at for
// long.
func cutsMatter(tuple flow.Tuple, steps []step) bool {
	s := NewShard(Config{})
	s.Out = flow.NewIntelBatch()
	var a App
	for _, st := range steps {
		text := strings.ToLower(st.data)
		for _, word := range []string{"multipart", "message", "upgrade", "connect", "content-encoding"} {
			if strings.Contains(text, word) {
				return true
			}
		}
		for rest := text; strings.Contains(rest, "content-length"); {
			_, rest, _ = strings.Cut(rest, "content-length")
			if n, ok := number(bytes.TrimLeft([]byte(rest), ": \t"), 10); !ok || n <= 0 || strings.Contains(text, "chunked") ||
				bodiless.MatchString(steps[0].data+st.data) {
				return true
			}
		}
		if tuple.Dport != 80 && st.dir == flow.ToServer && isRequest([]byte(text)) {
			return true // other methods are looked for in the first piece alone
		}
		if strings.HasPrefix(text, "\x05") || len(text) > probeBytes && tuple.Dport != 80 {
			return true
		}
		if st.data != "" {
			s.Stream(&tuple, &a, st.dir, 1, []byte(st.data))
		}
	}
	return s.Stats().Violations > 0
}

func FuzzHTTP(f *testing.F) {
	for _, tc := range httpCases(f) {
		q, r := "", ""
		for _, st := range tc.steps {
			if st.dir == flow.ToServer {
				q += st.data
			} else {
				r += st.data
			}
		}
		if len(q)+len(r) < 5000 {
			f.Add(q, r, uint16(20))
		}
	}
	f.Add("QUERY /q HTTP/1.1\r\n\r\nQUERY /r HTTP/1.1\r\n\r\n", "HTTP/1.1 204 No\r\n\r\n", uint16(20))
	f.Add("POST / HTTP/1.1\r\nContent-Length: 0\r\n\r\nGET /a", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\nHT", uint16(20))
	f.Fuzz(func(t *testing.T, q, r string, n uint16) {
		steps := []step{client(q), server(r), {dir: flow.ToServer, fin: true}, {dir: flow.ToClient, fin: true}}
		for _, port := range []uint16{80, 4000} {
			tuple := testTuple(flow.TCP, port)
			if cutsMatter(tuple, steps) {
				conversation(t, Config{}, tuple, flow.HTTP, steps, cutBy(1+int(n)%500))
				continue
			}
			want, _ := conversation(t, Config{}, tuple, flow.HTTP, steps, whole)
			got, _ := conversation(t, Config{}, tuple, flow.HTTP, steps, cutBy(1+int(n)%500))
			if diff := cmp.Diff(want, got); diff != "" {
				t.Fatalf("cut by %d differs (-whole +cut):\n%s", 1+int(n)%500, diff)
			}
		}
		steps[1].gap, steps[2].fin = uint64(n)+1, false
		conversation(t, Config{}, testTuple(flow.TCP, 80), flow.HTTP, append(steps, server(r), client(q)), whole)
	})
}
