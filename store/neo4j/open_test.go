// SPDX-License-Identifier: Apache-2.0

package neo4j

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"log/slog"
	"math/big"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	driver "github.com/neo4j/neo4j-go-driver/v5/neo4j"

	"weir/internal/neo4jtest"
)

func TestParseURI(t *testing.T) {
	for _, tc := range []struct {
		uri, want, server string
	}{
		{"neo4j://h", "neo4j://neo4j@h:7687", "neo4j://h:7687"},
		{"neo4j://alice@db.example.com:7688/flows", "neo4j://alice@db.example.com:7688/flows", "neo4j://db.example.com:7688"},
		{"NEO4J+S://h/", "neo4j+s://neo4j@h:7687", "neo4j+s://h:7687"},
		{"bolt+ssc://h", "bolt+ssc://neo4j@h:7687", "bolt+ssc://h:7687"},
		{"bolt://[::1]", "bolt://neo4j@[::1]:7687", "bolt://[::1]:7687"},
		{"bolt://[2001:db8::1]:99/a-b.c", "bolt://neo4j@[2001:db8::1]:99/a-b.c", "bolt://[2001:db8::1]:99"},
		{"bolt://a%20b%2Fc@h", "bolt://a%20b%2Fc@h:7687", "bolt://h:7687"},
	} {
		got, err := parseURI(tc.uri)
		if err != nil {
			t.Errorf("parseURI(%q): %v", tc.uri, err)
			continue
		}
		if got.String() != tc.want || got.server() != tc.server {
			t.Errorf("parseURI(%q) = %s, %s; want %s, %s", tc.uri, got, got.server(), tc.want, tc.server)
		}
		if again, err := parseURI(got.String()); err != nil || *again != *got {
			t.Errorf("parseURI(%q) = %v, %v; want the same again", got, again, err)
		}
	}
}

func TestParseURIErrors(t *testing.T) {
	for _, tc := range []struct{ uri, want string }{
		{"http://h", "begins with one of neo4j, "},
		{"bolt+unix://h", "begins with one of neo4j, "},
		{"neo4j://", "not the name of a host"},
		{"neo4j:///db", "not the name of a host"},
		{"neo4j://neo4j:secret@h", "password in the URI"},
		{"neo4j://neo4j:secr/et@h/db", "password in the URI"},
		{"neo4j://neo4j:se@cr:et@h", "password in the URI"},
		{"neo4j://neo4j:se?cr#et@h", "password in the URI"},
		{"neo4j://:secret@h", "password in the URI"},
		{"neo4j://@h", "not a user"},
		{"neo4j://%zz@h", "not a user"},
		{"neo4j://h?password=secret", "? or #"},
		{"neo4j://h:0", "not a port"},
		{"neo4j://h:99999", "not a port"},
		{"neo4j://2001:db8::1", "in brackets"},
		{"neo4j://h/a/b", "not the name of a database"},
		{"neo4j://h/System", "the server's own"},
		{"neo4j://h/a b", "not the name of a database"},
		{"neo4j://h/a`b", "not the name of a database"},
	} {
		_, err := parseURI(tc.uri)
		if err == nil || !strings.Contains(err.Error(), tc.want) || strings.Contains(err.Error(), "secr") {
			t.Errorf("parseURI(%q): %v, want …%s…", tc.uri, err, tc.want)
		}
	}
}

func TestIsURI(t *testing.T) {
	for name, want := range map[string]bool{
		"neo4j://h": true, "bolt+ssc://h": true, "Neo4j+s://h": true, "neo4j+foo://h": true,
		"/var/lib/weir": false, "neo4j": false, "neo4j:/h": false, "http://h": false, "": false,
	} {
		if got := IsURI(name); got != want {
			t.Errorf("IsURI(%q) = %v, want %v", name, got, want)
		}
	}
}

// wantRefusal opens a database and wants an error of a kind, soon, with a text that
// names the place and holds no secret.
func wantRefusal(t *testing.T, uri string, cfg Config, kind Kind, want string) {
	t.Helper()
	begin := time.Now()
	d, err := Open(t.Context(), uri, cfg)
	if err == nil {
		d.Close()
	}
	if took := time.Since(begin); took > 10*time.Second {
		t.Errorf("%s: it took %v", uri, took)
	}
	e := new(Error)
	if !errors.As(err, &e) || e.Kind != kind {
		t.Fatalf("%s: error %v, want one of kind %s", uri, err, kind)
	}
	text := err.Error()
	if !strings.Contains(text, want) || strings.Contains(text, "\n") || !strings.HasPrefix(text, e.Location) || strings.Contains(text, "sesame") {
		t.Errorf("%s: %q, want …%s… in one line after the location, no secret", uri, text, want)
	}
	if Outage(err) != (kind == Unreachable || kind == Server) {
		t.Errorf("%s: Outage(%v) = %v", uri, err, Outage(err))
	}
	t.Log(text)
}

func TestOpenErrors(t *testing.T) {
	s := neo4jtest.Shared(t)
	good := Config{Password: s.Password(), Create: true}
	t.Run("wrong password", func(t *testing.T) {
		for _, scheme := range []string{"bolt", "neo4j"} {
			wantRefusal(t, scheme+"://neo4j@"+s.Addr(), Config{Password: "opensesame"}, Auth, `does not accept the password of user "neo4j"`)
		}
	})
	t.Run("no password", func(t *testing.T) {
		wantRefusal(t, "bolt://neo4j@"+s.Addr(), Config{}, Auth, "none was given: give it in $WEIR_NEO4J_PASSWORD or with --password-file")
	})
	t.Run("unknown user", func(t *testing.T) {
		wantRefusal(t, "bolt://mallory@"+s.Addr(), good, Auth, `"mallory"`)
	})
	t.Run("wrong database", func(t *testing.T) {
		for _, scheme := range []string{"bolt", "neo4j"} {
			wantRefusal(t, scheme+"://"+s.Addr()+"/nosuch", good, Database, `there is no database "nosuch"`)
		}
	})
	t.Run("unknown host", func(t *testing.T) {
		for _, scheme := range []string{"bolt", "neo4j", "neo4j+s"} {
			wantRefusal(t, scheme+"://no-such-host.invalid", good, Unreachable, "unknown host")
		}
	})
	t.Run("nobody answers", func(t *testing.T) {
		for _, scheme := range []string{"bolt", "neo4j", "bolt+s"} {
			wantRefusal(t, scheme+"://127.0.0.1:1", good, Unreachable, "connection refused")
		}
	})
	t.Run("silence", func(t *testing.T) {
		addr := serve(t, func(c net.Conn) { _, _ = io.Copy(io.Discard, c) })
		cfg := good
		cfg.ConnectTimeout = time.Second
		for _, scheme := range []string{"bolt", "neo4j", "bolt+s"} {
			wantRefusal(t, scheme+"://"+addr, cfg, Unreachable, "does not answer in time")
		}
	})
	t.Run("TLS wanted from a plain server", func(t *testing.T) {
		for _, scheme := range []string{"bolt", "neo4j"} {
			wantRefusal(t, scheme+"+s://"+s.Addr(), good, TLS, "take "+scheme+" instead of "+scheme+"+s")
			wantRefusal(t, scheme+"+ssc://"+s.Addr(), good, TLS, "take "+scheme+" instead of "+scheme+"+ssc")
		}
	})
	t.Run("TLS", func(t *testing.T) {
		addr := tlsFront(t, s.Addr())
		wantRefusal(t, "bolt://"+addr, good, TLS, "take bolt+s (or bolt+ssc) instead of bolt")
		wantRefusal(t, "neo4j://"+addr, good, TLS, "take neo4j+s (or neo4j+ssc) instead of neo4j")
		wantRefusal(t, "bolt+s://"+addr, good, TLS, "take bolt+ssc to trust any")
		wantRefusal(t, "neo4j+s://"+addr, good, TLS, "take neo4j+ssc to trust any")
		d, err := Open(t.Context(), "bolt+ssc://"+addr, good)
		if err != nil {
			t.Fatalf("TLS with any certificate: %v", err)
		}
		defer d.Close()
		values(t, d, `MATCH (s:Store) RETURN s.precision`)
	})
	t.Run("web server", func(t *testing.T) {
		addr := serve(t, func(c net.Conn) { _, _ = io.WriteString(c, "HTTP/1.1 400 Bad Request\r\n\r\n") })
		wantRefusal(t, "bolt://"+addr, good, Version, "web server")
	})
	t.Run("no store", func(t *testing.T) {
		d := open(t)
		statement(t, d, `MATCH (s:Store) DELETE s`, nil)
		wantRefusal(t, s.URI(), Config{Password: s.Password()}, NoStore, "--init")
		if d, err := Open(t.Context(), s.URI(), good); err != nil {
			t.Error(err)
		} else {
			d.Close()
		}
	})
	t.Run("newer format", func(t *testing.T) {
		d := open(t)
		statement(t, d, `MATCH (s:Store) SET s.format = 99`, nil)
		wantRefusal(t, s.URI(), good, Version, "format 99")
		statement(t, d, `MATCH (s:Store) SET s.format = $format`, map[string]any{"format": format})
	})
}

func TestOpenFakes(t *testing.T) {
	none := func(string) string { return "" }
	for _, tc := range []struct {
		name   string
		server fakeServer
		kind   Kind
		want   string
	}{
		{"old", fakeServer{"Neo4j/4.4.30", none}, Version, "version is too old: it is Neo4j 4.4.30, weir needs 5.23"},
		{"a little old", fakeServer{"Neo4j/5.22.0", none}, Version, "too old"},
		{"just right", fakeServer{"Neo4j/5.23.0", none}, NoStore, "--init"},
		{"Aura", fakeServer{"Neo4j/5.27-aura", none}, NoStore, "--init"},
		{"calendar", fakeServer{"Neo4j/2025.06.1", none}, NoStore, "--init"},
		{"other", fakeServer{"Memgraph/3.0", none}, Version, "not Neo4j"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			wantRefusal(t, "bolt://"+tc.server.start(t), Config{Password: "opensesame"}, tc.kind, tc.want)
		})
	}
	for _, code := range []string{"Neo.ClientError.Cluster.NotALeader", "Neo.ClientError.General.ForbiddenOnReadOnlyDatabase"} {
		t.Run(code, func(t *testing.T) {
			f := fakeServer{"Neo4j/5.26.0", func(q string) string {
				if strings.Contains(q, "CREATE CONSTRAINT") {
					return code
				}
				return ""
			}}
			wantRefusal(t, "bolt://"+f.start(t), Config{Create: true}, ReadOnly, "take neo4j://")
		})
	}
	t.Run("very old", func(t *testing.T) {
		addr := serve(t, func(c net.Conn) { _, _ = c.Write([]byte{0, 0, 0, 0}) })
		wantRefusal(t, "bolt://"+addr, Config{}, Version, "too old")
	})
}

func TestOpenRouting(t *testing.T) {
	s := neo4jtest.Shared(t)
	d, err := Open(t.Context(), "neo4j://"+s.Addr()+"/neo4j", Config{Password: s.Password(), Create: true})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if err := d.Purge(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	statement(t, d, `CREATE (:Host {addr: '10.0.0.1'})`, nil)
	if got := values(t, d, `MATCH (h:Host) RETURN h.addr`); len(got) != 1 {
		t.Errorf("hosts %v", got)
	}
	if want := "neo4j://neo4j@" + s.Addr() + "/neo4j"; d.Location() != want {
		t.Errorf("location %q, want %q", d.Location(), want)
	}
}

func TestOpenLazy(t *testing.T) {
	s := neo4jtest.Shared(t)
	cfg := Config{Password: s.Password(), Create: true}
	// A port where nobody answers yet.
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	l.Close()
	var log bytes.Buffer
	cfg.Logger = slog.New(slog.NewTextHandler(&log, nil))
	d, err := OpenLazy(t.Context(), "bolt://"+addr, cfg)
	if err != nil {
		t.Fatalf("a server that is down: %v", err)
	}
	defer d.Close()
	if text := log.String(); !strings.Contains(text, "cannot be reached yet") || !strings.Contains(text, "connection refused") {
		t.Errorf("a server that is down is logged as %q", text)
	}
	if _, err := d.precision(t.Context()); !Outage(err) {
		t.Errorf("while it is down: %v, want an outage", err)
	}
	if l, err = net.Listen("tcp", addr); err != nil {
		t.Fatal(err)
	}
	serveOn(t, l, func(c net.Conn) { forward(c, s.Addr()) })
	if p, err := d.precision(t.Context()); err != nil || p <= 0 {
		t.Errorf("when it answers: %v, %v", p, err)
	}
	if _, err := OpenLazy(t.Context(), s.URI(), Config{Password: "opensesame"}); err == nil || Outage(err) {
		t.Errorf("wrong password: %v, want an error that is no outage", err)
	}
}

// TestWriteRetries has two transactions lock two nodes in opposite order: one of
// them is told to try again, and does.
func TestWriteRetries(t *testing.T) {
	d := open(t)
	statement(t, d, `CREATE (:Host {addr: 'a', n: 0}), (:Host {addr: 'b', n: 0})`, nil)
	var once [2]sync.Once
	var met sync.WaitGroup
	met.Add(2)
	errs := make(chan error, 2)
	for i, order := range [][]string{{"a", "b"}, {"b", "a"}} {
		go func() {
			errs <- d.write(t.Context(), func(t *tx) error {
				for k, addr := range order {
					if k == 1 {
						once[i].Do(func() { met.Done(); met.Wait() })
					}
					if _, err := t.run(`MATCH (h:Host {addr: $addr}) SET h.n = h.n + 1`, map[string]any{"addr": addr}); err != nil {
						return err
					}
				}
				return nil
			})
		}()
	}
	for range 2 {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	if got := values(t, d, `MATCH (h:Host) RETURN sum(h.n)`); got[0] != int64(4) {
		t.Errorf("sum %v, want 4", got[0])
	}
	if d.retries.Load() == 0 {
		t.Error("nothing was tried again")
	}
}

func TestCallbackErrors(t *testing.T) {
	d := open(t)
	stop := errors.New("stop")
	if err := d.read(t.Context(), `UNWIND range(1, 100000) AS n RETURN n`, nil, func(*driver.Record) error { return stop }); !errors.Is(err, stop) || Outage(err) {
		t.Errorf("read: %v, want the callback's error", err)
	}
	err := d.write(t.Context(), func(t *tx) error {
		if _, err := t.run(`CREATE (:Host {addr: 'x'})`, nil); err != nil {
			return err
		}
		return stop
	})
	if !errors.Is(err, stop) || Outage(err) {
		t.Errorf("write: %v, want the callback's error", err)
	}
	if got := values(t, d, `MATCH (h:Host) RETURN count(h)`); got[0] != int64(0) {
		t.Errorf("%v hosts, want none: the transaction was given up", got[0])
	}
}

// forward passes bytes between a connection and an address.
func forward(c net.Conn, addr string) {
	up, err := net.Dial("tcp", addr)
	if err != nil {
		return
	}
	defer up.Close()
	go func() {
		_, _ = io.Copy(up, c)
		up.Close()
	}()
	_, _ = io.Copy(c, up)
}

// tlsFront ends TLS before a server, with a certificate that nobody trusts, and
// returns its address.
func tlsFront(t *testing.T, addr string) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{
		Certificates: []tls.Certificate{{Certificate: [][]byte{cert}, PrivateKey: key}},
	})
	if err != nil {
		t.Fatal(err)
	}
	serveOn(t, l, func(c net.Conn) { forward(c, addr) })
	return l.Addr().String()
}

// TestReadAgain breaks the connection that the pool holds, as a server does that is
// started anew: the next question is answered nevertheless. Of a server that stays
// away the error comes soon.
func TestReadAgain(t *testing.T) {
	s := neo4jtest.Shared(t)
	p := newProxy(t, s.Addr())
	d, err := Open(t.Context(), p.uri(), Config{Password: s.Password(), Create: true})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	for range 3 {
		p.cutAll()
		if got := values(t, d, `RETURN 1`); got[0] != int64(1) {
			t.Errorf("%v, want 1", got)
		}
	}
	if d.retries.Load() == 0 {
		t.Error("no connection broke")
	}
	p.setRefuse(true)
	began := time.Now()
	err = d.read(t.Context(), `RETURN 1`, nil, func(*driver.Record) error { return nil })
	if took := time.Since(began); !Outage(err) || took > 5*time.Second {
		t.Errorf("read = %v after %v, want an outage soon", err, took)
	}
}
