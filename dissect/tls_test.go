// SPDX-License-Identifier: Apache-2.0

package dissect

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	cryptotls "crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/binary"
	"io"
	"math/big"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"weir/internal/flow"
)

// tlsTape records what two ends of a pipe write, in order.
type tlsTape struct {
	mu    sync.Mutex
	steps []step
}

type tapedConn struct {
	net.Conn
	tape *tlsTape
	dir  flow.Dir
}

func (c *tapedConn) Write(b []byte) (int, error) {
	c.tape.mu.Lock()
	c.tape.steps = append(c.tape.steps, step{dir: c.dir, data: string(b)})
	c.tape.mu.Unlock()
	return c.Conn.Write(b)
}

// testCerts returns an RSA and an ECDSA certificate.
var testCerts = sync.OnceValue(func() []cryptotls.Certificate {
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"},
		NotAfter: time.Now().Add(time.Hour), DNSNames: []string{"www.example.com"},
	}
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	r, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	certs := make([]cryptotls.Certificate, 2)
	der, err := x509.CreateCertificate(rand.Reader, template, template, &r.PublicKey, r)
	if err != nil {
		panic(err)
	}
	certs[0] = cryptotls.Certificate{Certificate: [][]byte{der}, PrivateKey: r}
	if der, err = x509.CreateCertificate(rand.Reader, template, template, &ec.PublicKey, ec); err != nil {
		panic(err)
	}
	certs[1] = cryptotls.Certificate{Certificate: [][]byte{der}, PrivateKey: ec}
	return certs
})

// handshake makes two ends talk and returns what they sent.
func handshake(tb testing.TB, clientConfig, serverConfig *cryptotls.Config) []step {
	tb.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	defer ln.Close()
	a, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		tb.Fatal(err)
	}
	tape := new(tlsTape)
	done := make(chan struct{})
	go func() {
		defer close(done)
		b, err := ln.Accept()
		if err != nil {
			return
		}
		conn := cryptotls.Server(&tapedConn{b, tape, flow.ToClient}, serverConfig)
		if buf := make([]byte, 5); conn.Handshake() == nil {
			if _, err := io.ReadFull(conn, buf); err == nil {
				_, _ = conn.Write([]byte("world"))
			}
		}
		_ = b.Close()
	}()
	conn := cryptotls.Client(&tapedConn{a, tape, flow.ToServer}, clientConfig)
	if conn.Handshake() == nil {
		if _, err := conn.Write([]byte("hello")); err == nil {
			_, _ = io.ReadFull(conn, make([]byte, 5))
		}
	}
	_ = a.Close()
	<-done
	return tape.steps
}

var tlsFields = []string{
	"version", "cipher", "curve", "server_name", "resumed", "last_alert", "next_protocol", "established",
	"ssl_history",
}

func TestTLSHandshakes(t *testing.T) {
	certs := testCerts()
	config := func(cert int, edit func(c *cryptotls.Config)) *cryptotls.Config {
		c := &cryptotls.Config{
			Certificates: certs[cert : cert+1], InsecureSkipVerify: true, ServerName: "WWW.example.com",
			MinVersion: cryptotls.VersionTLS10,
		}
		if edit != nil {
			edit(c)
		}
		return c
	}
	version := func(v uint16, ciphers ...uint16) func(c *cryptotls.Config) {
		return func(c *cryptotls.Config) { c.MaxVersion, c.CipherSuites = v, ciphers }
	}
	curve := func(id cryptotls.CurveID) func(c *cryptotls.Config) {
		return func(c *cryptotls.Config) { c.CurvePreferences = []cryptotls.CurveID{id} }
	}
	tests := []struct {
		name           string
		cert           int
		client, server func(c *cryptotls.Config)
		want           string
	}{
		{
			"1.3", 1, curve(cryptotls.X25519), nil,
			"TLSv13 TLS_AES_128_GCM_SHA256 x25519 WWW.example.com F - - T CsiI",
		},
		{
			"1.3 post-quantum", 1, curve(cryptotls.X25519MLKEM768), nil,
			"TLSv13 TLS_AES_128_GCM_SHA256 X25519MLKEM768 WWW.example.com F - - T CsiI",
		},
		{
			"1.3 with a retry", 1, func(c *cryptotls.Config) {
				c.CurvePreferences = []cryptotls.CurveID{cryptotls.X25519, cryptotls.CurveP384}
			}, curve(cryptotls.CurveP384),
			// Zeek takes the second hello, behind the changes of cipher, for ciphertext.
			"TLSv13 TLS_AES_128_GCM_SHA256 secp384r1 WWW.example.com F - - T CjiI",
		},
		{
			"1.2 with ALPN and tickets", 1, func(c *cryptotls.Config) {
				version(cryptotls.VersionTLS12)(c)
				curve(cryptotls.CurveP256)(c)
				c.NextProtos = []string{"h2", "http/1.1"}
				c.ClientSessionCache = cryptotls.NewLRUClientSessionCache(1)
			}, func(c *cryptotls.Config) { c.NextProtos = []string{"http/1.1"} },
			"TLSv12 TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256 secp256r1 WWW.example.com F - http/1.1 T CsxknGIti",
		},
		{
			"1.2 without tickets and name", 0, func(c *cryptotls.Config) {
				version(cryptotls.VersionTLS12, cryptotls.TLS_RSA_WITH_AES_256_CBC_SHA)(c)
				c.ServerName = ""
			}, func(c *cryptotls.Config) {
				c.SessionTicketsDisabled, c.CipherSuites = true, []uint16{cryptotls.TLS_RSA_WITH_AES_256_CBC_SHA}
			},
			"TLSv12 TLS_RSA_WITH_AES_256_CBC_SHA - - F - - T CsxnGIi",
		},
		{
			"1.2 with client certificate", 0, func(c *cryptotls.Config) {
				version(cryptotls.VersionTLS12)(c)
				curve(cryptotls.CurveP521)(c)
			},
			func(c *cryptotls.Config) { c.ClientAuth = cryptotls.RequireAnyClientCert },
			"TLSv12 TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256 secp521r1 WWW.example.com F - - T CsxkrnXGYIi",
		},
		{
			"1.1", 0, version(cryptotls.VersionTLS11), nil,
			"TLSv11 TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA x25519 WWW.example.com F - - T CsxknGIi",
		},
		{
			"1.0", 0, version(cryptotls.VersionTLS10), nil,
			"TLSv10 TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA x25519 WWW.example.com F - - T CsxknGIi",
		},
		{
			"no common version", 1, version(cryptotls.VersionTLS11), func(c *cryptotls.Config) { c.MinVersion = cryptotls.VersionTLS12 },
			"- - - WWW.example.com F protocol_version - F Cl",
		},
		{
			"no common protocol", 1, func(c *cryptotls.Config) { c.NextProtos = []string{"a"} },
			func(c *cryptotls.Config) { c.NextProtos = []string{"b"} },
			"- - - WWW.example.com F no_application_protocol - F Cl",
		},
		{
			"untrusted", 0, func(c *cryptotls.Config) {
				version(cryptotls.VersionTLS12)(c)
				c.InsecureSkipVerify = false
			}, nil,
			"TLSv12 TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256 x25519 WWW.example.com F bad_certificate - F CsxknL",
		},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			steps := handshake(t, config(tc.cert, tc.client), config(tc.cert, tc.server))
			tuple := testTuple(flow.TCP, 8443)
			rows, service := conversation(t, Config{}, tuple, flow.SSL, steps, whole)
			got := pick(rows, tlsFields...)
			for i := range got { // which side is first with its change is up to the two
				got[i] = strings.Replace(got[i], "CjIi", "CjiI", 1)
			}
			if diff := cmp.Diff([]string{tc.want}, got); diff != "" {
				t.Errorf("rows differ (-want +got):\n%s", diff)
			}
			if service != "ssl" {
				t.Errorf("service = %q, want ssl", service)
			}
			checkSplits(t, tuple, flow.SSL, steps)
		})
	}
}

func TestTLSResumption(t *testing.T) {
	for _, tc := range []struct {
		version uint16
		want    []string
	}{
		{cryptotls.VersionTLS12, []string{"F T CsxknGIti", "T T CsiI"}},
		{cryptotls.VersionTLS13, []string{"F T CsiI", "T T CsiI"}},
	} {
		server := &cryptotls.Config{Certificates: testCerts()[1:]}
		client := &cryptotls.Config{
			InsecureSkipVerify: true, ServerName: "h", MaxVersion: tc.version,
			ClientSessionCache: cryptotls.NewLRUClientSessionCache(4),
			CurvePreferences:   []cryptotls.CurveID{cryptotls.CurveP256},
		}
		var got []string
		for range 2 {
			rows, _ := conversation(t, Config{}, testTuple(flow.TCP, 443), flow.SSL, handshake(t, client, server), whole)
			got = append(got, pick(rows, "resumed", "established", "ssl_history")...)
		}
		if tc.version == cryptotls.VersionTLS12 {
			got[1] = strings.Replace(got[1], "Csti", "Csi", 1) // a renewed ticket is up to the server
		}
		if diff := cmp.Diff(tc.want, got); diff != "" {
			t.Errorf("version %x differs (-want +got):\n%s", tc.version, diff)
		}
	}
}

// tlsRecord frames a record, tlsMessage a handshake message.
func tlsRecord(typ byte, data string) string {
	return string(binary.BigEndian.AppendUint16([]byte{typ, 3, 3}, uint16(len(data)))) + data
}

func tlsMessage(typ byte, data string) string {
	return string([]byte{typ, byte(len(data) >> 16), byte(len(data) >> 8), byte(len(data))}) + data
}

func tlsHello(version uint16, id, suites, extensions string) string {
	b := binary.BigEndian.AppendUint16(nil, version)
	b = append(b, strings.Repeat("r", 32)...)
	b = append(append(b, byte(len(id))), id...)
	b = append(b, suites...)
	if extensions != "" {
		b = append(binary.BigEndian.AppendUint16(b, uint16(len(extensions))), extensions...)
	}
	return string(b)
}

const oneSuite = "\x00\x02\xc0\x2f\x01\x00" // as a client offers it

func tlsCases() map[string]struct {
	steps []step
	want  []string
} {
	hello := tlsRecord(22, tlsMessage(1, tlsHello(0x0303, "", oneSuite, "\x00\x00\x00\x08\x00\x06\x00\x00\x03a.b")))
	answer := tlsRecord(22, tlsMessage(2, tlsHello(0x0303, "", "\xc0\x2f\x00", "")))
	ccs, secret := tlsRecord(20, "\x01"), tlsRecord(22, "0123456789")
	v2hello := "\x80\x1f\x01\x00\x02\x00\x06\x00\x00\x00\x10\x01\x00\x80\x07\x00\xc0" + strings.Repeat("c", 16)
	v2server := "\x04\x00\x01\x00\x02\x00\x03\x00\x03\x00\x10crt\x07\x00\xc0" + strings.Repeat("i", 16)
	v2server = string([]byte{0x80, byte(len(v2server))}) + v2server
	type tc = struct {
		steps []step
		want  []string
	}
	return map[string]tc{
		"client hello only":   {[]step{client(hello)}, []string{"- - - a.b F - - F C"}},
		"half a client hello": {[]step{client(hello[:30])}, []string{"- - - - F - - F (empty)"}},
		"session id": {
			[]step{
				client(tlsRecord(22, tlsMessage(1, tlsHello(0x0303, "session", oneSuite, "")))),
				server(tlsRecord(22, tlsMessage(2, tlsHello(0x0303, "session", "\xc0\x2f\x00", ""))) + ccs + secret),
				client(ccs + secret),
			},
			[]string{"TLSv12 TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256 - - T - - T CsiI"},
		},
		"ticket": {
			[]step{
				client(tlsRecord(22, tlsMessage(1, tlsHello(0x0303, "", oneSuite, "\x00\x23\x00\x03abc")))),
				server(answer + ccs + secret), client(ccs + secret),
			},
			[]string{"TLSv12 TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256 - - T - - T CsiI"},
		},
		"draft of 1.3": {
			[]step{
				client(hello),
				server(tlsRecord(22, tlsMessage(2, "\x7f\x10"+strings.Repeat("r", 32)+"\x13\x02\x00\x08\x00\x28\x00\x04\x00\x18\x00\x00")) + tlsRecord(23, "x")),
				client(tlsRecord(23, "y")),
			},
			[]string{"TLSv13-draft16 TLS_AES_256_GCM_SHA384 secp384r1 a.b F - - T Cs"},
		},
		"unknown numbers": {
			[]step{
				client(hello), server(tlsRecord(22, tlsMessage(2, tlsHello(0x0303, "", "\xab\xcd\x00", "\x00\x33\x00\x02\x7a\x7b"))) +
					tlsRecord(21, "\x01\x02\x02\x7b")),
			},
			[]string{"TLSv12 unknown-43981 unknown-31355 a.b F unknown-123 - F Csll"},
		},
		"one message in many records": {
			[]step{client(tlsRecord(22, hello[5:9]) + tlsRecord(22, hello[9:12]) + tlsRecord(22, hello[12:])), server(answer)},
			[]string{"TLSv12 TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256 - a.b F - - F Cs"},
		},
		"many messages in one record": {
			[]step{client(hello), server(tlsRecord(22, answer[5:]+tlsMessage(11, "\x00\x00\x04cert")+tlsMessage(12, "\x03\x00\x1dkey")+tlsMessage(14, "")))},
			[]string{"TLSv12 TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256 x25519 a.b F - - F Csxkn"},
		},
		"certificates beyond their message": {
			[]step{client(hello), server(answer + tlsRecord(22, tlsMessage(11, "\x00\x00\x05cert")) + ccs)},
			[]string{"TLSv12 TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256 - a.b F - - F Cs"},
		},
		"unknown message": {
			[]step{client(hello), server(answer + tlsRecord(22, tlsMessage(77, "x")) + ccs)},
			[]string{"TLSv12 TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256 - a.b F - - F Csz"},
		},
		"alert first": {
			[]step{client(hello), server(tlsRecord(21, "\x01\x70") + answer)},
			[]string{"TLSv12 TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256 - a.b F unrecognized_name - F Cls"},
		},
		"heartbeat": {
			[]step{client(hello + tlsRecord(24, "\x01\x00\x01x")), server(answer)},
			[]string{"TLSv12 TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256 - a.b F - - F CBs"},
		},
		"gap": {
			[]step{client(hello), {dir: flow.ToClient, gap: 10}, server(answer)},
			[]string{"- - - a.b F - - F C"},
		},
		"SSLv2": {
			[]step{client(v2hello), server(v2server), client("\x80\x08\x02\x07\x00\xc0\x00\x00\x00\x00")},
			[]string{"SSLv2 SSLv20_CK_DES_192_EDE3_CBC_WITH_MD5 - - F - - T Cs"},
		},
		"SSLv2 hello of TLS": {
			[]step{client("\x80\x1f\x01\x03\x01" + v2hello[5:]), server(answer)},
			[]string{"TLSv12 TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256 - - F - - F Cs"},
		},
		"SSLv2 hello of TLS with a session id": {
			[]step{
				client("\x80\x22\x01\x03\x01\x00\x06\x00\x03\x00\x10\x01\x00\x80\x07\x00\xc0sid" + strings.Repeat("c", 16)),
				server(tlsRecord(22, tlsMessage(2, tlsHello(0x0301, "sid", "\xc0\x13\x00", "")))),
			},
			[]string{"TLSv10 TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA - - T - - F Cs"},
		},
		"SSLv2 answer to TLS": {
			[]step{client(hello), server(v2server)},
			[]string{"- - - a.b F - - F C"},
		},
		"strange types behind the change of cipher": {
			[]step{client(hello), server(answer + ccs + "\x99\x03\x03\x00\x01x"), client(ccs + "\x05\x03\x03\x00\x01x")},
			[]string{"TLSv12 TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256 - a.b F - - T CsiI"},
		},
		"a strange type before it": {
			[]step{client(hello), server("\x1f\x03\x03\x00\x01x" + answer)},
			[]string{"- - - a.b F - - F C"},
		},
		"a strange version of the server": {
			[]step{client(hello), server(tlsRecord(22, tlsMessage(2, tlsHello(0x0305, "", "\xc0\x2f\x00", ""))) + answer)},
			[]string{"- - - a.b F - - F C"},
		},
		"two names": {
			[]step{client(tlsRecord(22, tlsMessage(1, tlsHello(0x0303, "", oneSuite, "\x00\x00\x00\x0e\x00\x0c\x01\x00\x01x\x00\x00\x01y\x00\x00\x01z"))))},
			[]string{"- - - y F - - F C"},
		},
		"an empty name": {
			[]step{client(tlsRecord(22, tlsMessage(1, tlsHello(0x0303, "", oneSuite, "\x00\x00\x00\x05\x00\x03\x00\x00\x00"))))},
			[]string{"- - - (empty) F - - F C"},
		},
		"server is the client": {
			[]step{server(hello), client(answer)},
			[]string{"TLSv12 TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256 - a.b F - - F ^Cs"},
		},
		"broken later": {
			[]step{client(hello), server(answer + "garbage garbage")},
			[]string{"TLSv12 TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256 - a.b F - - F Cs"},
		},
	}
}

func TestTLSRecords(t *testing.T) {
	for name, tc := range tlsCases() {
		t.Run(name, func(t *testing.T) {
			tuple := testTuple(flow.TCP, 443)
			rows, _ := conversation(t, Config{}, tuple, flow.SSL, tc.steps, whole)
			if diff := cmp.Diff(tc.want, pick(rows, tlsFields...)); diff != "" {
				t.Errorf("rows differ (-want +got):\n%s", diff)
			}
			checkSplits(t, tuple, flow.SSL, tc.steps)
		})
	}
}

// TestTLSToHTTP checks that a client hello to an HTTP server gives both.
func TestTLSToHTTP(t *testing.T) {
	hello := tlsCases()["client hello only"].steps[0]
	steps := []step{hello, server("HTTP/1.1 400 Bad Request\r\nContent-Length: 3\r\n\r\nbad")}
	tuple := testTuple(flow.TCP, 80)
	rows, service := conversation(t, Config{}, tuple, flow.HTTP, steps, whole)
	if diff := cmp.Diff([]string{"1 - - - 1.1 400 Bad Request 0 3"}, pick(rows, httpFields...)); diff != "" {
		t.Errorf("rows differ (-want +got):\n%s", diff)
	}
	if service != "" {
		t.Errorf("service = %q, want none", service)
	}
	checkSplits(t, tuple, flow.HTTP, steps)
	rows, _ = conversation(t, Config{}, tuple, flow.SSL, steps, whole)
	if diff := cmp.Diff([]string{"- - - a.b F - - F C"}, pick(rows, tlsFields...)); diff != "" {
		t.Errorf("ssl rows differ (-want +got):\n%s", diff)
	}
}

// TestTLSFromServerOnly checks a page behind the hello of a server whose cipher has
// no name, and which is therefore written as a number.
func TestTLSFromServerOnly(t *testing.T) {
	hello := tlsRecord(22, tlsMessage(2, tlsHello(0x0303, "", "\x12\x34\x00", "")))
	steps := []step{server(hello), client("GET /a HTTP/1.0\r\n\r\n")}
	tuple := testTuple(flow.TCP, 80)
	rows, _ := conversation(t, Config{}, tuple, flow.HTTP, steps, whole)
	if diff := cmp.Diff([]string{"1 GET - /a - - - 0 0"}, pick(rows, httpFields...)); diff != "" {
		t.Errorf("rows differ (-want +got):\n%s", diff)
	}
	checkSplits(t, tuple, flow.HTTP, steps)
}

// TestTLSInConnect checks TLS inside a CONNECT.
func TestTLSInConnect(t *testing.T) {
	certs := testCerts()
	inner := handshake(t, &cryptotls.Config{InsecureSkipVerify: true, ServerName: "in.example"},
		&cryptotls.Config{Certificates: certs[1:]})
	steps := append([]step{
		client("CONNECT in.example:443 HTTP/1.1\r\nHost: in.example:443\r\n\r\n"),
		server("HTTP/1.1 200 OK\r\n\r\n"),
	}, inner...)
	tuple := testTuple(flow.TCP, 3128)
	rows, service := conversation(t, Config{}, tuple, flow.SSL, steps, whole)
	if got := pick(rows, "version", "server_name", "established"); len(got) != 1 || got[0] != "TLSv13 in.example T" {
		t.Errorf("ssl rows = %q", got)
	}
	if service != "http,ssl" {
		t.Errorf("service = %q, want http,ssl", service)
	}
	checkSplits(t, tuple, flow.SSL, steps)
}

// TestTLSIsDone checks that nothing is wanted behind the handshake.
func TestTLSIsDone(t *testing.T) {
	steps := handshake(t, &cryptotls.Config{InsecureSkipVerify: true, ServerName: "h"},
		&cryptotls.Config{Certificates: testCerts()[1:]})
	s := NewShard(Config{})
	s.Out = flow.NewIntelBatch()
	var a App
	tuple := testTuple(flow.TCP, 443)
	for _, st := range steps {
		s.Stream(&tuple, &a, st.dir, 1, []byte(st.data))
	}
	if a.Wants(flow.ToServer) || a.Wants(flow.ToClient) {
		t.Error("more is wanted behind the handshake")
	}
	if s.Stats().Sessions != 0 || s.Out.Len() != 1 {
		t.Errorf("%d sessions and %d records behind the handshake, want 0 and 1", s.Stats().Sessions, s.Out.Len())
	}
}

func TestCipherNames(t *testing.T) {
	for _, suites := range [][]*cryptotls.CipherSuite{cryptotls.CipherSuites(), cryptotls.InsecureCipherSuites()} {
		for _, c := range suites {
			if got := cipherName(uint32(c.ID)); got != c.Name {
				t.Errorf("cipherName(%#x) = %q, want %q", c.ID, got, c.Name)
			}
		}
	}
	for code, want := range map[uint32]string{
		0x0000: "TLS_NULL_WITH_NULL_NULL", 0x001b: "TLS_DH_ANON_WITH_3DES_EDE_CBC_SHA", 0x00ff: "TLS_EMPTY_RENEGOTIATION_INFO_SCSV",
		0x1305: "TLS_AES_128_CCM_8_SHA256", 0xc0af: "TLS_ECDHE_ECDSA_WITH_AES_256_CCM_8", 0x2c: "",
		0xcc13: "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256_OLD", 0x010080: "SSLv20_CK_RC4_128_WITH_MD5",
		0xc001: "TLS_ECDH_ECDSA_WITH_NULL_SHA", 0xc0b5: "TLS_SHA384_SHA384", 0xc0b6: "", 0xffffffff: "",
	} {
		if got := cipherName(code); got != want {
			t.Errorf("cipherName(%#x) = %q, want %q", code, got, want)
		}
	}
	for code := range uint32(1 << 17) {
		if strings.ContainsAny(cipherName(code), " ") {
			t.Fatalf("cipherName(%#x) = %q", code, cipherName(code))
		}
	}
	for code, want := range map[uint16]string{1: "sect163k1", 23: "secp256r1", 41: "curveSM2", 42: "", 0: "", 0x0a0a: "grease_0x0A0A", 0xfafa: "grease_0xFAFA"} {
		if got := curveName(code); got != want {
			t.Errorf("curveName(%d) = %q, want %q", code, got, want)
		}
	}
}

// tlsSeeds are the payloads of the conversations above.
func tlsSeeds() []string {
	var list []string
	for _, tc := range tlsCases() {
		for _, st := range tc.steps {
			if st.data != "" {
				list = append(list, st.data)
			}
		}
	}
	return list
}

func FuzzTLS(f *testing.F) {
	for _, tc := range tlsCases() {
		q, r := "", ""
		for _, st := range tc.steps {
			if st.dir == flow.ToServer {
				q += st.data
			} else {
				r += st.data
			}
		}
		f.Add(q, r, uint16(3))
	}
	f.Fuzz(func(t *testing.T, q, r string, n uint16) {
		steps := []step{client(q), server(r), client(r), server(q)}
		tuple := testTuple(flow.TCP, 443)
		want, service := conversation(t, Config{}, tuple, flow.SSL, steps, whole)
		got, other := conversation(t, Config{}, tuple, flow.SSL, steps, cutBy(1+int(n)%300))
		if diff := cmp.Diff(want, got); diff != "" || service != other {
			t.Fatalf("cut by %d differs (-whole +cut), service %q and %q:\n%s", 1+int(n)%300, service, other, diff)
		}
	})
}
