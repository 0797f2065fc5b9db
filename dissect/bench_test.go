// SPDX-License-Identifier: Apache-2.0

package dissect

import (
	cryptotls "crypto/tls"
	"fmt"
	"strings"
	"testing"

	"weir/internal/flow"
)

// replay runs a conversation through a shard again and again, cut into segments.
type replay struct {
	s       *Shard
	tuple   flow.Tuple
	steps   []step
	packets [][]byte
	dirs    []flow.Dir
}

func newReplay(s *Shard, tuple flow.Tuple, steps []step) *replay {
	r := &replay{s: s, tuple: tuple, steps: steps}
	for _, st := range steps {
		for _, piece := range cutBy(1460)(st.data) {
			r.packets = append(r.packets, []byte(piece))
			r.dirs = append(r.dirs, st.dir)
		}
	}
	return r
}

func (r *replay) run(a *App) string {
	*a = App{}
	for i, p := range r.packets {
		ts := flow.Time(i+1) * 1e6
		if r.tuple.Proto == flow.UDP {
			r.s.Datagram(&r.tuple, a, r.dirs[i], ts, p)
		} else if a.Wants(r.dirs[i]) {
			r.s.Stream(&r.tuple, a, r.dirs[i], ts, p)
		}
	}
	return r.s.Close(&r.tuple, a)
}

func replays(tb testing.TB, s *Shard) map[string]*replay {
	tb.Helper()
	request := "GET /path/to/some/page.html?with=query&and=more HTTP/1.1\r\nHost: www.example.com\r\n" +
		"User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0\r\n" +
		"Accept: text/html,application/xhtml+xml\r\nAccept-Language: en-US,en;q=0.5\r\n" +
		"Accept-Encoding: gzip, deflate\r\nReferer: http://www.example.com/\r\nConnection: keep-alive\r\n\r\n"
	body := strings.Repeat("x", 10<<10)
	reply := fmt.Sprintf("HTTP/1.1 200 OK\r\nServer: nginx/1.24.0\r\nDate: Mon, 23 Nov 2026 12:00:00 GMT\r\n"+
		"Content-Type: text/html; charset=utf-8\r\nContent-Length: %d\r\nConnection: keep-alive\r\n"+
		"Last-Modified: Mon, 23 Nov 2026 10:00:00 GMT\r\n\r\n%s", len(body), body)
	packed := string(pack(tb, "gzip", 6, []byte(body)))
	zipped := fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n%s", len(packed), packed)
	tls13 := handshake(tb, &cryptotls.Config{InsecureSkipVerify: true, ServerName: "www.example.com"},
		&cryptotls.Config{Certificates: testCerts()[:1]})
	tls12 := handshake(tb, &cryptotls.Config{InsecureSkipVerify: true, ServerName: "www.example.com", MaxVersion: cryptotls.VersionTLS12},
		&cryptotls.Config{Certificates: testCerts()[:1]})
	dnsSteps := []step{
		client(string(dnsQuery(7, "www.example.com", 1))),
		server(string(dnsReplyTo(7, "www.example.com", 1, "www.example.com. 60 IN CNAME edge.example.net.", "edge.example.net. 60 IN A 192.0.2.1"))),
	}
	return map[string]*replay{
		"dns":   newReplay(s, testTuple(flow.UDP, 53), dnsSteps),
		"http":  newReplay(s, testTuple(flow.TCP, 80), []step{client(request), server(reply)}),
		"gzip":  newReplay(s, testTuple(flow.TCP, 8000), []step{client(request), server(zipped)}),
		"lines": newReplay(s, testTuple(flow.TCP, 80), []step{client(request), server("HTTP/1.0 200 OK\r\n\r\n" + strings.Repeat("a line of text\r\n", 200))}),
		"split": newReplay(s, testTuple(flow.TCP, 80), []step{client(request[:100]), client(request[100:]), server(reply[:70]), server(reply[70:])}),
		"tls13": newReplay(s, testTuple(flow.TCP, 443), tls13),
		"tls12": newReplay(s, testTuple(flow.TCP, 443), tls12),
		"dtls":  newReplay(s, testTuple(flow.UDP, 4433), dtlsCases()["whole handshake"].steps),
		"parts": newReplay(s, testTuple(flow.UDP, 4433), dtlsCases()["fragments in disorder"].steps),
		"smtp":  newReplay(s, testTuple(flow.TCP, 25), append(upgradeCases()["SMTP"].before, upgradeHandshake()...)),
		"xmpp":  newReplay(s, testTuple(flow.TCP, 5222), append(upgradeCases()["XMPP"].before, upgradeHandshake()...)),
		"mysql": newReplay(s, testTuple(flow.TCP, 3306), append(upgradeCases()["MySQL"].before, upgradeHandshake()...)),
		"rdp":   newReplay(s, testTuple(flow.TCP, 3389), append(upgradeCases()["RDP"].before, upgradeHandshake()...)),
		"pgsql": newReplay(s, testTuple(flow.TCP, 5432), append(upgradeCases()["PostgreSQL"].before, upgradeHandshake()...)),
		"ldap":  newReplay(s, testTuple(flow.TCP, 389), append(upgradeCases()["LDAP"].before, upgradeHandshake()...)),
		"gsi":   newReplay(s, testTuple(flow.TCP, 2811), gsiSteps()),
		"other": newReplay(s, testTuple(flow.TCP, 22), []step{server("SSH-2.0-OpenSSH_9.6\r\n"), client("SSH-2.0-PuTTY\r\n")}),
		"udp":   newReplay(s, testTuple(flow.UDP, 4500), []step{client("\x00\x01\x02\x03\x04\x05\x06\x07"), server("\x00\x01\x02\x03")}),
	}
}

// TestNoAllocations pins that a mixed sequence of packets, records included,
// allocates nothing once everything has its size.
func TestNoAllocations(t *testing.T) {
	s := NewShard(Config{})
	s.Out = flow.NewIntelBatch()
	all := replays(t, s)
	apps := make([]App, 16)
	round := func() {
		s.Out.Reset()
		for _, r := range all {
			// Several at once, so that sessions are many.
			for i := range apps {
				r.run(&apps[i])
			}
		}
		// And connections that all are open at the same time.
		for _, r := range all {
			if r.tuple.Proto == flow.TCP {
				for i := range apps {
					apps[i] = App{}
					s.Stream(&r.tuple, &apps[i], r.dirs[0], 1, r.packets[0])
				}
				for i := range apps {
					s.Close(&r.tuple, &apps[i])
				}
			}
		}
	}
	round()
	if n := testing.AllocsPerRun(20, round); n != 0 {
		for name, r := range all {
			if n := testing.AllocsPerRun(20, func() { s.Out.Reset(); r.run(&apps[0]) }); n != 0 {
				t.Logf("%s: %v allocations", name, n)
			}
		}
		t.Errorf("%v allocations a round, want 0", n)
	}
}

func benchmarkReplay(b *testing.B, name string) {
	b.Helper()
	s := NewShard(Config{})
	s.Out = flow.NewIntelBatch()
	r := replays(b, s)[name]
	n := 0
	for _, p := range r.packets {
		n += len(p)
	}
	b.SetBytes(int64(n))
	b.ReportAllocs()
	var a App
	for b.Loop() {
		if s.Out.Len() > 1000 {
			s.Out.Reset()
		}
		r.run(&a)
	}
	b.ReportMetric(float64(len(r.packets)), "packets/op")
}

func BenchmarkDNS(b *testing.B)   { benchmarkReplay(b, "dns") }
func BenchmarkHTTP(b *testing.B)  { benchmarkReplay(b, "http") }
func BenchmarkGzip(b *testing.B)  { benchmarkReplay(b, "gzip") }
func BenchmarkTLS12(b *testing.B) { benchmarkReplay(b, "tls12") }
func BenchmarkTLS13(b *testing.B) { benchmarkReplay(b, "tls13") }
func BenchmarkOther(b *testing.B) { benchmarkReplay(b, "other") }
