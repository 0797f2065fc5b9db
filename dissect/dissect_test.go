// SPDX-License-Identifier: Apache-2.0

package dissect

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"weir/internal/flow"
)

// step is something that happens in a conversation.
type step struct {
	dir  flow.Dir
	data string
	gap  uint64 // a gap instead of data
	fin  bool   // the end of the direction instead of data
	rst  bool   // a reset instead of data
}

func client(data string) step { return step{dir: flow.ToServer, data: data} }
func server(data string) step { return step{dir: flow.ToClient, data: data} }

func testTuple(proto uint8, port uint16) flow.Tuple {
	return flow.Tuple{
		UID: 7, Proto: proto, Sport: 40000, Dport: port,
		Src: flow.Addr4([4]byte{10, 0, 0, 1}), Dst: flow.Addr4([4]byte{10, 0, 0, 2}),
	}
}

// conversation runs steps over one connection, data cut into pieces by cut, and
// returns the rows of a kind and the services.
func conversation(
	tb testing.TB, cfg Config, tuple flow.Tuple, kind flow.Kind, steps []step,
	cut func(string) []string,
) ([]zeekRow, string) {
	tb.Helper()
	s := NewShard(cfg)
	s.Out = flow.NewIntelBatch()
	var a App
	ts := flow.Time(1e9)
	for _, st := range steps {
		ts += 1e6
		switch {
		case st.gap > 0:
			s.Gap(&tuple, &a, st.dir, ts, st.gap)
		case st.fin:
			s.Fin(&tuple, &a, st.dir, ts)
		case st.rst:
			s.Reset(&tuple, &a, ts)
		case tuple.Proto == flow.UDP:
			s.Datagram(&tuple, &a, st.dir, ts, []byte(st.data))
		default:
			for _, piece := range cut(st.data) {
				// What is not wanted is not delivered; what is, is not kept.
				if b := []byte(piece); a.Wants(st.dir) {
					s.Stream(&tuple, &a, st.dir, ts, b)
					clear(b)
				}
			}
		}
	}
	service := s.Close(&tuple, &a)
	if a.Wants(flow.ToServer) || a.Wants(flow.ToClient) {
		tb.Error("a closed connection wants more")
	}
	if st := s.Stats(); st.Sessions != 0 {
		tb.Errorf("%d sessions are left", st.Sessions)
	}
	if used := s.bufs.memory.Used(); used != 0 {
		tb.Errorf("%d bytes of buffers are left", used)
	}
	return zeekRows(s.Out, kind), service
}

func whole(s string) []string { return []string{s} }

func single(s string) []string { return strings.Split(s, "") }

// cutBy cuts at multiples of n.
func cutBy(n int) func(string) []string {
	return func(s string) []string {
		var list []string
		for len(s) > n {
			list = append(list, s[:n])
			s = s[n:]
		}
		return append(list, s)
	}
}

// cutAt cuts everything in two at one place.
func cutAt(n int) func(string) []string {
	return func(s string) []string {
		if n >= len(s) {
			return []string{s}
		}
		return []string{s[:n], s[n:]}
	}
}

// checkSplits checks that a conversation gives the same rows however it is cut.
func checkSplits(tb testing.TB, tuple flow.Tuple, kind flow.Kind, steps []step) {
	tb.Helper()
	want, service := conversation(tb, Config{}, tuple, kind, steps, whole)
	check := func(name string, cut func(string) []string) {
		tb.Helper()
		got, other := conversation(tb, Config{}, tuple, kind, steps, cut)
		if diff := cmp.Diff(want, got); diff != "" {
			tb.Fatalf("%s differs (-whole +cut):\n%s", name, diff)
		}
		if service != other {
			tb.Fatalf("%s: service = %q, want %q", name, other, service)
		}
	}
	check("byte by byte", single)
	longest := 0
	for _, st := range steps {
		longest = max(longest, len(st.data))
	}
	for n := 1; n < min(longest, 700); n++ {
		check(fmt.Sprintf("cut at %d", n), cutAt(n))
	}
	for _, n := range []int{2, 3, 5, 7, 64, 536} {
		check(fmt.Sprintf("cut by %d", n), cutBy(n))
	}
}

// pick returns the named fields of rows, "-" where one is unset.
func pick(rows []zeekRow, fields ...string) []string {
	list := []string{}
	for _, r := range rows {
		var values []string
		for _, f := range fields {
			v, ok := r[f]
			if !ok {
				v = "-"
			}
			values = append(values, v)
		}
		list = append(list, strings.Join(values, " "))
	}
	return list
}

func TestAppSize(t *testing.T) {
	if n := sizeOf(App{}); n > 8 {
		t.Errorf("App has %d bytes, want at most 8", n)
	}
	var a App
	if !a.Wants(flow.ToServer) || !a.Wants(flow.ToClient) {
		t.Error("the zero App wants nothing")
	}
}

func TestServices(t *testing.T) {
	s := NewShard(Config{})
	tests := []struct {
		name             string
		confirm, retract []uint8
		want             string
	}{
		{"none", nil, nil, ""},
		{"one", []uint8{protoDNS}, nil, "dns"},
		{"order", []uint8{protoHTTP, protoTLS}, nil, "http,ssl"},
		{"twice", []uint8{protoHTTP, protoHTTP, protoDNS, protoHTTP}, nil, "http,dns"},
		{"retract first", []uint8{protoHTTP, protoTLS}, []uint8{protoHTTP}, "ssl"},
		{"retract last", []uint8{protoHTTP, protoTLS}, []uint8{protoTLS}, "http"},
		{"not shown", []uint8{protoBanner}, nil, ""},
		{"not shown among others", []uint8{protoBanner, protoHTTP, protoGSI, protoTLS}, nil, "http"},
		{"retract unknown", []uint8{protoHTTP}, []uint8{protoTLS}, "http"},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			var a App
			for _, p := range tc.confirm {
				a.confirm(p)
			}
			for _, p := range tc.retract {
				a.retract(p)
			}
			if got := s.Service(a); got != tc.want {
				t.Errorf("Service = %q, want %q", got, tc.want)
			}
		})
	}
}

// TestAdopt checks that half of SSH is no service of the connection that carries it.
func TestAdopt(t *testing.T) {
	s := NewShard(Config{})
	var outer, in App
	outer.confirm(protoHTTP)
	outer.confirm(protoWebSocket)
	in.confirm(protoBanner)
	outer.adopt(in)
	in.retract(protoBanner)
	in.confirm(protoSSH)
	outer.adopt(in)
	if got := s.Service(outer); got != "http,websocket,ssh" {
		t.Errorf("Service = %q, want http,websocket,ssh", got)
	}
}

// TestInteractive checks which services give a connection a long timeout.
func TestInteractive(t *testing.T) {
	for proto := uint8(protoTLS); proto <= protoBanner; proto++ {
		var a App
		a.confirm(proto)
		if want := proto == protoSSH || proto == protoFTP; a.Interactive() != want {
			t.Errorf("protocol %d: Interactive = %v, want %v", proto, a.Interactive(), want)
		}
	}
	if protoBanner >= firstCarrier {
		t.Errorf("protocols up to %d and tunnels from %d have numbers in common", protoBanner, firstCarrier)
	}
}

// A tunnel is a service beside others; no tunnel is none.
func TestCarries(t *testing.T) {
	s := NewShard(Config{})
	for c := range flow.NumCarriers {
		var a App
		a.Carries(c)
		if got := s.Service(a); got != c.String() {
			t.Errorf("Service = %q, want %q", got, c)
		}
		a.Carries(flow.NoCarrier)
		a.confirm(protoDNS)
		a.Carries(c)
		want := "dns"
		if c != flow.NoCarrier {
			want = c.String() + ",dns"
		}
		if got := s.Service(a); got != want {
			t.Errorf("Service = %q, want %q", got, want)
		}
	}
}

func TestConfigValidate(t *testing.T) {
	tests := []struct {
		cfg Config
		ok  bool
	}{
		{Config{}, true},
		{Config{MaxSession: 4096, MaxRecords: 1}, true},
		{Config{MaxSession: 10}, false},
		{Config{MaxSession: -1}, false},
		{Config{MaxRecords: -1}, false},
	}
	for _, tc := range tests {
		if err := tc.cfg.Validate(); (err == nil) != tc.ok {
			t.Errorf("Validate(%+v) = %v, want ok %v", tc.cfg, err, tc.ok)
		}
	}
}

// TestDetect checks what the first bytes of a direction lead to.
func TestDetect(t *testing.T) {
	tests := []struct {
		name    string
		port    uint16
		dir     flow.Dir
		data    string
		proto   uint8
		pending bool // more bytes are needed
	}{
		{"method", 1234, flow.ToServer, "GET / HTTP/1.1\r\n", protoHTTP, false},
		{"rare method", 1234, flow.ToServer, "PROPFIND /", protoHTTP, false},
		{"half a method", 1234, flow.ToServer, "PROP", 0, true},
		{"blank", 1234, flow.ToServer, " \r\n", 0, true},
		{"not a method", 1234, flow.ToServer, "GEX /\r\n", 0, false},
		{"a request of another protocol", 1234, flow.ToServer, "INVITE sip:a SIP/2.0\r\nX: HTTP/1.1\r\n", 0, false},
		{"method from the server", 1234, flow.ToClient, "GET / HTTP/1.1\r\n", 0, false},
		{"status", 1234, flow.ToClient, "http/1.0 200", protoHTTP, false},
		{"half a status", 1234, flow.ToClient, "HTTP/", 0, true},
		{"port", 8080, flow.ToServer, "x", protoHTTP, false},
		{"binary", 1234, flow.ToServer, "\x00\x01\x02", 0, false},
		{"client hello", 1234, flow.ToServer, "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", protoTLS, false},
		{"client hello on 80", 80, flow.ToServer, "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", protoTLS, false},
		{"half a hello", 1234, flow.ToServer, "\x16\x03\x01\x02\x00", 0, true},
		{"half a hello on 80", 80, flow.ToServer, "\x16", 0, true},
		{"server hello", 1234, flow.ToClient, "\x16\x03\x03\x00\x60\x02\x00\x00\x5c\x03\x03", protoTLS, false},
		{
			"alert and hello", 1234, flow.ToClient,
			"\x15\x03\x01\x00\x02\x01\x70\x16\x03\x03\x00\x60\x02\x00\x00\x5c\x03\x03", protoTLS, false,
		},
		{"other handshake", 1234, flow.ToServer, "\x16\x03\x01\x02\x00\x0b\x00\x01\xfc\x03\x03", 0, false},
		{
			"SSLv2", 1234, flow.ToServer,
			"\x80\x2e\x01\x03\x00\x00\x15\x00\x00\x00\x10", protoTLS, false,
		},
		{"SSLv2 lengths", 1234, flow.ToServer, "\x80\x2e\x01\x03\x00\x00\x15\x00\x00\x00\x11", 0, false},
		{"port 53", 53, flow.ToServer, "\x00", protoDNS, false},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			for _, cut := range []func(string) []string{whole, single} {
				s := NewShard(Config{})
				s.Out = flow.NewIntelBatch()
				var a App
				tuple := testTuple(flow.TCP, tc.port)
				for _, piece := range cut(tc.data) {
					s.Stream(&tuple, &a, tc.dir, 1, []byte(piece))
				}
				if a.proto != tc.proto {
					t.Errorf("protocol %d, want %d", a.proto, tc.proto)
				}
				if want := tc.proto != 0 || tc.pending; a.Wants(tc.dir) != want {
					t.Errorf("Wants = %v, want %v", a.Wants(tc.dir), want)
				}
				s.Close(&tuple, &a)
				if n := s.Stats().Sessions; n != 0 {
					t.Errorf("%d sessions are left", n)
				}
			}
		})
	}
}

// TestMidstream checks that a connection without a beginning is not taken for
// HTTP or TLS, but for DNS.
func TestMidstream(t *testing.T) {
	for port, want := range map[uint16]bool{80: false, 443: false, 53: true} {
		s := NewShard(Config{})
		s.Out = flow.NewIntelBatch()
		var a App
		a.Midstream(true)
		tuple := testTuple(flow.TCP, port)
		s.Stream(&tuple, &a, flow.ToServer, 1, []byte("GET / HTTP/1.1\r\n\r\n"))
		if got := a.Wants(flow.ToServer); got != want {
			t.Errorf("port %d: Wants = %v, want %v", port, got, want)
		}
		s.Close(&tuple, &a)
	}
}

// TestBecomesMidstream checks that what was read stays where the other side turns
// out to be without a beginning, and that nothing more is read until that is
// taken back.
func TestBecomesMidstream(t *testing.T) {
	s := NewShard(Config{})
	s.Out = flow.NewIntelBatch()
	var a App
	tuple := testTuple(flow.TCP, 80)
	s.Stream(&tuple, &a, flow.ToServer, 1, []byte("GET /1 HTTP/1.1\r\n\r\n"))
	a.Midstream(true)
	s.Stream(&tuple, &a, flow.ToClient, 1, []byte("HTTP/1.1 200 OK\r\n\r\n"))
	s.Stream(&tuple, &a, flow.ToServer, 1, []byte("GET /2 HTTP/1.1\r\n\r\n"))
	a.Midstream(false)
	s.Stream(&tuple, &a, flow.ToServer, 1, []byte("GET /3 HTTP/1.1\r\n\r\n"))
	s.Close(&tuple, &a)
	got := pick(zeekRows(s.Out, flow.HTTP), "uri", "status_code")
	if diff := cmp.Diff([]string{"/1 -", "/3 -"}, got); diff != "" {
		t.Errorf("rows differ (-want +got):\n%s", diff)
	}
}

// TestMaxRecords checks the limit of records of one connection, also where its
// session comes and goes.
func TestMaxRecords(t *testing.T) {
	var steps []step
	for i := range 20 {
		steps = append(steps, client(string(dnsQuery(uint16(i), "a.example", 1))),
			server(string(dnsAnswer(uint16(i), "a.example"))))
	}
	rows, _ := conversation(t, Config{MaxRecords: 5}, testTuple(flow.UDP, 53), flow.DNS, steps, whole)
	if len(rows) != 5 {
		t.Errorf("%d records over UDP, want 5", len(rows))
	}
	steps = nil
	for range 20 {
		steps = append(steps, client("GET / HTTP/1.1\r\n\r\n"), server("HTTP/1.1 204 No\r\n\r\n"))
	}
	rows, _ = conversation(t, Config{MaxRecords: 5}, testTuple(flow.TCP, 80), flow.HTTP, steps, whole)
	if len(rows) != 5 {
		t.Errorf("%d records over HTTP, want 5", len(rows))
	}
}

// TestMemory checks that buffers stay below the limit of one connection and of
// all, and that both are counted.
func TestMemory(t *testing.T) {
	long := "GET /" + strings.Repeat("x", 1<<20)
	s := NewShard(Config{})
	s.Out = flow.NewIntelBatch()
	var a App
	tuple := testTuple(flow.TCP, 80)
	peak := int64(0)
	for _, piece := range cutBy(1000)(long) {
		s.Stream(&tuple, &a, flow.ToServer, 1, []byte(piece))
		peak = max(peak, s.bufs.memory.Used())
	}
	if peak > 2*DefaultMaxSession {
		t.Errorf("one connection used %d bytes, want at most %d", peak, 2*DefaultMaxSession)
	}
	if a.Wants(flow.ToServer) {
		t.Error("a target of 1 MiB does not end the direction")
	}
	if n := s.Stats().SessionFull; n != 1 {
		t.Errorf("SessionFull = %d, want 1", n)
	}
	s.Close(&tuple, &a)

	// A header line is cut.
	long = "GET / HTTP/1.1\r\nX: " + strings.Repeat("x", 1<<20)
	a = App{}
	for _, piece := range cutBy(1000)(long) {
		s.Stream(&tuple, &a, flow.ToServer, 1, []byte(piece))
		peak = max(peak, s.bufs.memory.Used())
	}
	if peak > 2*DefaultMaxSession {
		t.Errorf("one connection used %d bytes, want at most %d", peak, 2*DefaultMaxSession)
	}
	if !a.Wants(flow.ToServer) {
		t.Error("a header of 1 MiB ends the direction")
	}
	if n := s.Stats().Truncated; n != 1 {
		t.Errorf("Truncated = %d, want 1", n)
	}
	s.Close(&tuple, &a)

	memory := NewMemory(100 << 10)
	s = NewShard(Config{Memory: memory})
	s.Out = flow.NewIntelBatch()
	apps := make([]App, 1000)
	for i := range apps {
		s.Stream(&tuple, &apps[i], flow.ToServer, 1, []byte("GET / HTTP/1.1\r\nHost: "+strings.Repeat("y", 300)))
		if memory.Used() > 100<<10 {
			t.Fatalf("%d bytes used, want at most %d", memory.Used(), 100<<10)
		}
	}
	if s.Stats().MemoryFull == 0 {
		t.Error("MemoryFull = 0 with a thousand half headers in 100 KiB")
	}
	for i := range apps {
		s.Close(&tuple, &apps[i])
	}
	if memory.Used() != 0 {
		t.Errorf("%d bytes are left", memory.Used())
	}
}

// TestMemoryFull checks that connections without memory for a session lose
// nothing but what needs one.
func TestMemoryFull(t *testing.T) {
	for _, limit := range []int64{0, 100, 150, 500, 700, 1500} {
		memory := NewMemory(limit)
		s := NewShard(Config{Memory: memory})
		s.Out = flow.NewIntelBatch()
		dnsTuple, webTuple := testTuple(flow.UDP, 53), testTuple(flow.TCP, 80)
		const n = 20
		var queries, web [n]App
		for i := range n {
			s.Datagram(&dnsTuple, &queries[i], flow.ToServer, 1, dnsQuery(1, "a.example", 1))
			s.Stream(&webTuple, &web[i], flow.ToServer, 1, []byte("\x16\x03"))
			s.Stream(&webTuple, &web[i], flow.ToServer, 1, []byte("GET / HTTP/1.1\r\n\r\nGET /2 HTTP/1.1\r\n\r\n"))
			s.Stream(&webTuple, &web[i], flow.ToClient, 1, []byte("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\n\x1f\x8b\x08\x00"))
			if memory.Used() > limit {
				t.Fatalf("%d bytes used of %d", memory.Used(), limit)
			}
		}
		for i := range n {
			s.Close(&dnsTuple, &queries[i])
			s.Close(&webTuple, &web[i])
		}
		if got := s.Stats().Records[flow.DNS]; got != n {
			t.Errorf("limit %d: %d DNS records of %d queries", limit, got, n)
		}
		if s.Stats().MemoryFull == 0 {
			t.Errorf("limit %d: MemoryFull = 0", limit)
		}
		if memory.Used() != 0 || s.Stats().Sessions != 0 {
			t.Errorf("limit %d: %d bytes and %d sessions are left", limit, memory.Used(), s.Stats().Sessions)
		}
	}
}

// TestGarbage runs random and half-random payloads through everything.
func TestGarbage(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	s := NewShard(Config{})
	s.Out = flow.NewIntelBatch()
	seeds := append(httpSeeds(), tlsSeeds()...)
	for _, tc := range dtlsCases() {
		for _, st := range tc.steps {
			seeds = append(seeds, st.data)
		}
	}
	for _, tc := range upgradeCases() {
		for _, st := range append(tc.before, gsiSteps()...) {
			seeds = append(seeds, st.data)
		}
	}
	ports := []uint16{53, 80, 443, 137, 9999, 21, 25, 110, 143, 3306, 3389, 5222, 6667}
	for range 3000 {
		proto := uint8(flow.TCP)
		if r.IntN(3) == 0 {
			proto = flow.UDP
		}
		tuple := testTuple(proto, ports[r.IntN(len(ports))])
		var a App
		for range r.IntN(8) {
			dir := flow.Dir(r.IntN(2))
			data := []byte(seeds[r.IntN(len(seeds))])
			for range r.IntN(6) {
				if len(data) > 0 {
					data[r.IntN(len(data))] = byte(r.Uint32())
				}
			}
			switch n := r.IntN(12); {
			case proto == flow.UDP:
				s.Datagram(&tuple, &a, dir, 5, data)
			case n == 0:
				s.Gap(&tuple, &a, dir, 5, uint64(r.IntN(3000)))
			case n == 1:
				s.Fin(&tuple, &a, dir, 5)
			case n == 2:
				s.Reset(&tuple, &a, 5)
			default:
				for _, piece := range cutBy(1 + r.IntN(600))(string(data)) {
					s.Stream(&tuple, &a, dir, 5, []byte(piece))
				}
			}
		}
		s.Close(&tuple, &a)
		s.Out.Reset()
	}
	if n := s.Stats().Sessions; n != 0 {
		t.Errorf("%d sessions are left", n)
	}
	if used := s.bufs.memory.Used(); used != 0 {
		t.Errorf("%d bytes of buffers are left", used)
	}
}
