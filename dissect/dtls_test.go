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

// dtlsRec frames a record.
func dtlsRec(typ byte, epoch uint16, seq byte, data string) string {
	b := binary.BigEndian.AppendUint16([]byte{typ, 0xfe, 0xfd}, epoch)
	b = append(b, 0, 0, 0, 0, 0, seq)
	return string(binary.BigEndian.AppendUint16(b, uint16(len(data)))) + data
}

// dtlsPart is the fragment from start to end of a handshake message.
func dtlsPart(typ byte, seq uint16, message string, start, end int) string {
	three := func(n int) string { return string([]byte{byte(n >> 16), byte(n >> 8), byte(n)}) }
	return string(typ) + three(len(message)) + string(binary.BigEndian.AppendUint16(nil, seq)) +
		three(start) + three(end-start) + message[start:end]
}

// dtlsMsg is a record with a whole handshake message.
func dtlsMsg(typ byte, seq byte, message string) string {
	return dtlsRec(22, 0, seq, dtlsPart(typ, uint16(seq), message, 0, len(message)))
}

func dtlsCases() map[string]struct {
	port  uint16
	steps []step
	want  []string
} {
	fixed := func(version uint16) string {
		return string(binary.BigEndian.AppendUint16(nil, version)) + strings.Repeat("r", 32)
	}
	const name = "\x00\x00\x00\x08\x00\x06\x00\x00\x03a.b"
	hello := fixed(versionDTLS12) + "\x00\x02ck\x00\x02\xc0\x2f\x01\x00\x00\x0c" + name
	withID := fixed(versionDTLS12) + "\x03sid\x00\x00\x02\xc0\x2f\x01\x00"
	withTicket := fixed(versionDTLS12) + "\x00\x00\x00\x02\xc0\x2f\x01\x00\x00\x05\x00\x23\x00\x01t"
	answer := fixed(versionDTLS12) + "\x00\xc0\x2f\x00"
	answer10 := fixed(versionDTLS10) + "\x03sid\xc0\x14\x00"
	answer13 := fixed(versionDTLS12) + "\x00\x13\x01\x00\x00\x06\x00\x2b\x00\x02\xfe\xfc"
	ccs, secret := dtlsRec(20, 0, 9, "\x01"), dtlsRec(22, 1, 0, "0123456789")
	stun := "\x00\x01\x00\x00\x21\x12\xa4\x42tttttttttttt"
	short := "\x2e\x00\x01\x00\x02xy" // of DTLS 1.3, with a number of 16 bits and a length
	const suite = "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"
	// parts cuts a hello into the given fragments, a datagram each.
	parts := func(ends ...[2]int) []step {
		var list []step
		for i, e := range ends {
			list = append(list, client(dtlsRec(22, 0, byte(i), dtlsPart(1, 0, hello, e[0], e[1]))))
		}
		return list
	}
	n := len(hello)
	repeat := func(s step, n int) []step {
		list := make([]step, n)
		for i := range list {
			list[i] = s
		}
		return list
	}
	type tc = struct {
		port  uint16
		steps []step
		want  []string
	}
	return map[string]tc{
		"whole handshake": {4433, []step{
			client(dtlsMsg(1, 0, hello)), server(dtlsMsg(3, 0, "\xfe\xff\x02ck")), client(dtlsMsg(1, 1, hello)),
			server(dtlsMsg(2, 1, answer) + dtlsMsg(11, 2, "\x00\x00\x04cert") + dtlsMsg(12, 3, "\x03\x00\x17key") + dtlsMsg(14, 4, "")),
			client(dtlsMsg(16, 2, "key") + ccs + secret), server(ccs + secret),
		}, []string{"DTLSv12 " + suite + " secp256r1 a.b F - - T CvCsxknGIi"}},
		"hello only":    {4433, []step{client(dtlsMsg(1, 0, hello))}, []string{"- - - a.b F - - F C"}},
		"two fragments": {4433, parts([2]int{0, 20}, [2]int{20, n}), []string{"- - - a.b F - - F C"}},
		"second fragment is missing": {
			4433, parts([2]int{0, 20}, [2]int{30, n}), []string{"- - - - F - - F (empty)"},
		},
		"fragments in disorder": {
			4433, parts([2]int{0, 10}, [2]int{40, n}, [2]int{20, 40}, [2]int{10, 20}), []string{"- - - a.b F - - F C"},
		},
		"fragments overlap": {
			4433, parts([2]int{0, 30}, [2]int{50, n}, [2]int{20, 55}), []string{"- - - a.b F - - F C"},
		},
		"fragments of a repeated hello": {
			4433, parts([2]int{0, 30}, [2]int{0, 30}, [2]int{30, n}), []string{"- - - a.b F - - F C"},
		},
		"too many holes": {
			4433, parts([2]int{0, 5}, [2]int{10, 15}, [2]int{20, 25}, [2]int{30, 35}, [2]int{40, 45}, [2]int{0, n - 1}, [2]int{n - 1, n}),
			[]string{"- - - a.b F - - F C"},
		},
		"server hello in fragments": {4433, []step{
			client(dtlsMsg(1, 0, hello)), server(dtlsRec(22, 0, 0, dtlsPart(2, 0, answer, 0, 9)+dtlsPart(2, 0, answer, 9, len(answer)))),
		}, []string{"DTLSv12 " + suite + " - a.b F - - F Cs"}},
		"STUN before and among it": {40001, []step{
			client(stun), server(stun), client(dtlsMsg(1, 0, hello)), server(stun), server(dtlsMsg(2, 0, answer)),
		}, []string{"DTLSv12 " + suite + " - a.b F - - F Cs"}},
		"the server is the client": {40001, []step{
			client(stun), server(dtlsMsg(1, 0, hello)), client(dtlsMsg(2, 0, answer) + ccs + secret), server(ccs + secret),
		}, []string{"DTLSv12 " + suite + " - a.b F - - T ^CsiI"}},
		"too much before":             {40001, append(repeat(client(stun), 11), client(dtlsMsg(1, 0, hello))), []string{}},
		"almost too much before":      {40001, append(repeat(client(stun), 10), client(dtlsMsg(1, 0, hello))), []string{"- - - a.b F - - F C"}},
		"too many bytes before":       {40001, []step{client(strings.Repeat("x", 1025)), client(dtlsMsg(1, 0, hello))}, []string{}},
		"as many bytes as are looked": {40001, []step{client(strings.Repeat("x", 1024)), client(dtlsMsg(1, 0, hello))}, []string{"- - - a.b F - - F C"}},
		"something else from then on": {40001, append(append([]step{client(dtlsMsg(1, 0, hello))}, repeat(client(stun), 11)...), server(dtlsMsg(2, 0, answer))), []string{"- - - a.b F - - F C"}},
		"port 443 without a hello":    {443, []step{server(dtlsMsg(2, 0, answer))}, []string{"DTLSv12 " + suite + " - - F - - F s"}},
		"other port without a hello":  {4433, []step{server(dtlsMsg(2, 0, answer))}, []string{}},
		"session id":                  {4433, []step{client(dtlsMsg(1, 0, withID)), server(dtlsMsg(2, 0, answer10) + ccs + secret), client(ccs + secret)}, []string{"DTLSv10 TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA - - T - - T CsiI"}},
		"ticket":                      {4433, []step{client(dtlsMsg(1, 0, withTicket)), server(dtlsMsg(2, 0, answer) + ccs + secret), client(ccs + secret)}, []string{"DTLSv12 " + suite + " - - T - - T CsiI"}},
		"alert":                       {4433, []step{client(dtlsMsg(1, 0, hello)), server(dtlsRec(21, 0, 0, "\x02\x28"))}, []string{"- - - a.b F handshake_failure - F Cl"}},
		"1.3":                         {4433, []step{client(dtlsMsg(1, 0, hello)), server(dtlsMsg(2, 0, answer13) + short + short), client(short)}, []string{"DTLSv13 TLS_AES_128_GCM_SHA256 - a.b F - - T Cs"}},
		"1.3 with an id":              {4433, []step{client(dtlsMsg(1, 0, hello)), server(dtlsMsg(2, 0, answer13)), server("\x3eidid"), client("\x20z")}, []string{"DTLSv13 TLS_AES_128_GCM_SHA256 - a.b F - - T Cs"}},
		"1.2 has no short headers":    {4433, []step{client(dtlsMsg(1, 0, hello)), server(dtlsMsg(2, 0, answer)), server(short), client(short)}, []string{"DTLSv12 " + suite + " - a.b F - - F Cs"}},
		"1.2 with an id":              {4433, []step{client(dtlsMsg(1, 0, hello)), server(dtlsMsg(2, 0, answer) + ccs), client(ccs + dtlsRec(25, 1, 0, "abc"))}, []string{"DTLSv12 " + suite + " - a.b F - - T CsiI"}},
		"one side encrypts":           {4433, []step{client(dtlsMsg(1, 0, hello)), server(dtlsMsg(2, 0, answer) + ccs + secret)}, []string{"DTLSv12 " + suite + " - a.b F - - F Csi"}},
		"a record that says 1.3":      {4433, []step{client(dtlsMsg(1, 0, hello)), server(strings.Replace(dtlsMsg(2, 0, answer13), "\xfe\xfd", "\xfe\xfc", 1))}, []string{"- - - a.b F - - F C"}},
		"a strange version":           {4433, []step{client(dtlsMsg(1, 0, hello)), server(dtlsMsg(2, 0, "\x01"+answer))}, []string{"- - - a.b F - - F C"}},
		"a record cut short":          {4433, []step{client(dtlsMsg(1, 0, hello)), server(dtlsMsg(2, 0, answer)[:40]), server(dtlsMsg(2, 0, answer))}, []string{"- - - a.b F - - F C"}},
		"a fragment beyond its message": {4433, []step{
			client(dtlsMsg(1, 0, hello)), server(dtlsRec(22, 0, 0, "\x02\x00\x00\x02\x00\x00\x00\x00\x01\x00\x00\x02xx")), server(dtlsMsg(2, 0, answer)),
		}, []string{"- - - a.b F - - F C"}},
		"fragments in records almost too far apart": {4433, []step{
			client(dtlsRec(22, 0, 1, dtlsPart(1, 0, hello, 0, 20))), client(dtlsRec(22, 0, window, dtlsPart(1, 0, hello, 20, n))),
		}, []string{"- - - a.b F - - F C"}},
		"fragments in records too far apart": {4433, []step{
			client(dtlsRec(22, 0, 0, dtlsPart(1, 0, hello, 0, 20))), client(dtlsRec(22, 0, window, dtlsPart(1, 0, hello, 20, n))),
			client(dtlsMsg(1, 0, hello)),
		}, []string{"- - - - F - - F (empty)"}},
		"certificates beyond their message": {4433, []step{
			client(dtlsMsg(1, 0, hello)), server(dtlsMsg(11, 0, "\x00\x00\x05cert") + dtlsMsg(2, 1, answer)),
		}, []string{"- - - a.b F - - F C"}},
	}
}

func TestDTLS(t *testing.T) {
	for name, tc := range dtlsCases() {
		t.Run(name, func(t *testing.T) {
			rows, service := conversation(t, Config{}, testTuple(flow.UDP, tc.port), flow.SSL, tc.steps, whole)
			if diff := cmp.Diff(tc.want, pick(rows, tlsFields...)); diff != "" {
				t.Errorf("rows differ (-want +got):\n%s", diff)
			}
			broken := map[string]bool{ // Zeek takes the service back
				"a record cut short": true, "a fragment beyond its message": true, "a strange version": true,
				"certificates beyond their message": true,
			}[name]
			if got, want := service == "dtls", !broken && len(rows) > 0 && strings.Contains(rows[0]["ssl_history"], "C"); got != want {
				t.Errorf("service = %q with the rows %q", service, rows)
			}
		})
	}
}

// TestDTLSHelloDetection changes a client hello that is known byte by byte.
func TestDTLSHelloDetection(t *testing.T) {
	hello := dtlsCases()["hello only"].steps[0].data
	tuple := testTuple(flow.UDP, 4433)
	for i := range len(hello) {
		b := []byte(hello)
		b[i] ^= 0x80
		fixed := i <= 9 || i == 13 || i == 25 || i == 26
		if got := detectDTLS(&tuple, b); (got == no) != fixed {
			t.Errorf("with byte %d changed: verdict %d, want no: %v", i, got, fixed)
		}
		if got := detectDTLS(&tuple, []byte(hello[:i])); (got == yes) != (i >= 27) {
			t.Errorf("with %d bytes: verdict %d", i, got)
		}
	}
}

// TestDatagramsAreGivenUp checks that a connection without a known protocol is
// of no interest after 1024 bytes or 100 datagrams.
func TestDatagramsAreGivenUp(t *testing.T) {
	for _, tc := range []struct{ size, want int }{{1, 101}, {10, 101}, {11, 94}, {100, 11}, {1024, 2}, {1025, 1}, {65507, 1}} {
		s := NewShard(Config{})
		tuple := testTuple(flow.UDP, 40001)
		var a App
		n := 0
		for ; a.Wants(flow.ToServer); n++ {
			s.Datagram(&tuple, &a, flow.Dir(n&1), 1, make([]byte, tc.size))
		}
		if n != tc.want || a.session != 0 || s.Stats().Unknown != 1 {
			t.Errorf("size %d: given up after %d datagrams, session %d, want %d and 0", tc.size, n, a.session, tc.want)
		}
	}
}

func TestDTLSSpans(t *testing.T) {
	tests := []struct {
		add  string
		want string
	}{
		{"0-5 5-9", "0-9"},
		{"5-9 0-5", "0-9"},
		{"0-2 4-6 8-9", "0-2 4-6 8-9"},
		{"0-2 4-6 8-9 1-8", "0-9"},
		{"0-9 3-4", "0-9"},
		{"3-4 0-9", "0-9"},
		{"0-1 2-3 4-5 6-7 8-9", "0-1 2-3 4-5 6-7"},
		{"0-1 2-3 4-5 6-7 8-9 3-4", "0-1 2-5 6-7"},
	}
	for _, tc := range tests {
		var m dtlsAssembly
		for part := range strings.FieldsSeq(tc.add) {
			m.add(uint32(part[0]-'0'), uint32(part[2]-'0'))
		}
		var got []string
		for _, s := range m.spans[:m.nspans] {
			got = append(got, fmt.Sprintf("%d-%d", s[0], s[1]))
		}
		if strings.Join(got, " ") != tc.want {
			t.Errorf("%s: spans %v, want %s", tc.add, got, tc.want)
		}
	}
}

func FuzzDTLS(f *testing.F) {
	for _, tc := range dtlsCases() {
		q, r := "", ""
		for _, st := range tc.steps {
			if st.dir == flow.ToServer {
				q += st.data
			} else {
				r += st.data
			}
		}
		f.Add(q, r, tc.port)
	}
	f.Fuzz(func(t *testing.T, q, r string, port uint16) {
		// The helper checks that sessions and buffers are given back.
		conversation(t, Config{}, testTuple(flow.UDP, port), flow.SSL, []step{client(q), server(r), client(r), server(q)}, whole)
	})
}
