// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"weir/internal/neo4jtest"
	"weir/internal/nettest"
	"weir/internal/traffic"
	"weir/store/neo4j"
)

// packets returns how many packets the flows of the database count.
func (g *graphTest) packets() string {
	g.t.Helper()
	return rows(g.t, g.db, `MATCH (f:Flow) RETURN coalesce(sum(f.cspkts + f.scpkts), 0)`)[0]
}

// TestLiveNeo4j reads interfaces into a database.
func TestLiveNeo4j(t *testing.T) {
	if testing.Short() {
		t.Skip("slow: starts a server")
	}
	if !nettest.Isolated(t) {
		return
	}
	nettest.Pair(t, "va", "vb")
	nettest.Pair(t, "vc", "vd")
	s := neo4jtest.Start(t)
	t.Run("outages", func(t *testing.T) { liveOutages(t, graph(t, s)) })
	t.Run("down", func(t *testing.T) { liveDown(t, graph(t, s)) })
	t.Run("shared spool", func(t *testing.T) { liveShared(t, graph(t, s)) })
}

// liveOutages reads an interface into a database and a lake while the server
// stands still, is killed and comes back: no packet is lost, and in the end all of
// it is in both, once. The sensor is confined, and has to look up the server's name.
func liveOutages(t *testing.T, g *graphTest) {
	_, port, err := net.SplitHostPort(g.s.Addr())
	if err != nil {
		t.Fatal(err)
	}
	const host = "graph.weir.test"
	file := nettest.NameServer(t, host+".", func() [4]byte { return [4]byte{127, 0, 0, 1} })
	// The mounts are the test's own.
	if err := syscall.Mount("", "/", "", syscall.MS_PRIVATE|syscall.MS_REC, ""); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount(file, "/etc/resolv.conf", "", syscall.MS_BIND, ""); err != nil {
		t.Fatal(err)
	}
	lake, addr := liveStore(t), freePort(t)
	s := startLive(t, "-i", "vb", "--sandbox", "strict", "--store", lake, "--store", "bolt://neo4j@"+host+":"+port, "--spool", g.spool,
		"--publish", "200ms", "--udp-timeout", "500ms", "--metrics", addr)
	sender := nettest.NewSender(t, "va")
	sent := uint64(0)
	send := func(n int) {
		t.Helper()
		got, err := sender.Send(n, 10_000, nil, nettest.UDP(100, 500, 53))
		if err != nil {
			t.Fatal(err)
		}
		sent += got.OK
	}
	send(5_000)
	eventually(t, "the database has something", func() bool { return g.packets() != "0" })
	g.s.Pause()
	send(20_000)
	time.Sleep(2 * time.Second)
	send(5_000)
	g.s.Resume()
	send(5_000)
	g.s.Kill()
	send(20_000)
	eventually(t, "the metrics show an outage", func() bool { return metric(t, addr, "weir_neo4j_up") == "0" })
	if state := health(t, addr); !strings.HasPrefix(state, "200") {
		t.Errorf("an unreachable server is unhealthy: %s", state)
	}
	g.s.Restart()
	send(10_000)
	deadline := time.Now().Add(60 * time.Second)
	for metric(t, addr, "weir_neo4j_backlog_parts") != "0" || metric(t, addr, "weir_neo4j_up") != "1" {
		if time.Now().After(deadline) {
			t.Fatalf("the spool is not drained: %s", s.messages())
		}
		time.Sleep(50 * time.Millisecond)
	}
	send(1_000)
	code, took := s.stop(t, syscall.SIGTERM)
	t.Logf("ended within %v\n%s%s", took, s.stdout.String(), s.messages())
	if code != 0 {
		t.Errorf("exit code %d, want 0", code)
	}
	if lost := s.number(t, "lost"); lost != 0 || s.number(t, "packets") != sent {
		t.Errorf("%d packets were sent; %s", sent, s.stdout.String())
	}
	if strings.Contains(s.messages(), g.s.Password()) {
		t.Error("a message holds the password")
	}
	g.open()
	if want := fmt.Sprint(sent); g.packets() != want {
		t.Errorf("%s packets are in the database, want %s", g.packets(), want)
	}
	g.equals(lake)
	g.drained()
}

// metric returns the value of a metric of a sensor.
func metric(t *testing.T, addr, name string) string {
	t.Helper()
	_, text := get(t, "http://"+addr+"/metrics")
	for line := range strings.Lines(text) {
		if value, ok := strings.CutPrefix(line, name+" "); ok {
			return strings.TrimSpace(value)
		}
	}
	t.Fatalf("there is no metric %s", name)
	return ""
}

// health returns status and text of a sensor's health.
func health(t *testing.T, addr string) string {
	t.Helper()
	code, text := get(t, "http://"+addr+"/healthz")
	return fmt.Sprint(code, " ", text)
}

func get(t *testing.T, url string) (int, string) {
	t.Helper()
	client := http.Client{Timeout: 5 * time.Second}
	r, err := client.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	text, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return r.StatusCode, string(text)
}

// liveDown begins while no server answers, and records for as long as it takes:
// nothing is lost, memory does not grow with what waits, and the next run sends it.
func liveDown(t *testing.T, g *graphTest) {
	g.s.Kill()
	s := startLive(t, append(g.flags(), "-i", "vb", "--publish", "200ms", "--udp-timeout", "300ms", "--memory", "256M")...)
	sender := nettest.NewSender(t, "va")
	sent := uint64(0)
	var first, last int64
	var frame uint32
	for i := range 30 {
		// Connections are new ones all the time.
		got, err := sender.Send(20_000, 40_000, nil, func(_ int, buf []byte) int {
			nettest.Frame(buf[:60], frame/2, 53)
			frame++
			return 60
		})
		if err != nil {
			t.Fatal(err)
		}
		sent += got.OK
		switch i {
		case 9:
			first = rss(t, s.cmd.Process.Pid)
		case 29:
			last = rss(t, s.cmd.Process.Pid)
		}
	}
	t.Logf("resident: %d MB after a third, %d MB at the end", first>>20, last>>20)
	if last > first+first/4+16<<20 {
		t.Errorf("memory grew from %d to %d bytes", first, last)
	}
	code, took := s.stop(t, syscall.SIGTERM)
	t.Logf("ended within %v\n%s%s", took, s.stdout.String(), s.messages())
	if code != 0 || took > drainAtEnd+3*time.Second {
		t.Errorf("exit code %d after %v, want 0 within %v", code, took, drainAtEnd+3*time.Second)
	}
	if lost := s.number(t, "lost"); lost != 0 || s.number(t, "packets") != sent {
		t.Errorf("%d packets were sent; %s", sent, s.stdout.String())
	}
	if want := "wait in the spool " + g.spool; !strings.Contains(s.stdout.String(), want) {
		t.Errorf("the summary does not have %q", want)
	}
	b, err := neo4j.SpoolBacklog(g.spool)
	if err != nil || b.Connections != int64(sent/2) {
		t.Errorf("SpoolBacklog() = %+v, %v, want %d of connections", b, err, sent/2)
	}
	g.s.Restart()
	g.open()
	began := time.Now()
	s = startLive(t, append(g.flags(), "-i", "vb", "--publish", "200ms")...)
	for deadline := time.Now().Add(2 * time.Minute); ; time.Sleep(50 * time.Millisecond) {
		if b, err = neo4j.SpoolBacklog(g.spool); err != nil {
			t.Fatal(err)
		}
		if b.Parts == 0 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%+v waits: %s", b, s.messages())
		}
	}
	t.Logf("%d connections sent in %v", sent/2, time.Since(began))
	if code, _ := s.stop(t, syscall.SIGTERM); code != 0 {
		t.Errorf("exit code %d: %s", code, s.messages())
	}
	if want := fmt.Sprint(sent); g.packets() != want {
		t.Errorf("%s packets are in the database, want %s", g.packets(), want)
	}
}

// liveShared has two sensors, one of which ends early, and one that reads a capture
// share a spool: whoever has it sends what all of them put there.
func liveShared(t *testing.T, g *graphTest) {
	lake := liveStore(t)
	name, _ := generate(t, traffic.Spec{Scenario: traffic.Mix, Seed: 1, Packets: 20_000})
	live := append(g.flags(), "--store", lake, "--publish", "200ms", "--udp-timeout", "300ms", "--sandbox", "strict")
	one := startLive(t, append(live, "-i", "vb", "--sensor", "one")...)
	two := startLive(t, append(live, "-i", "vd", "--sensor", "two")...)
	send := func(iface string) {
		t.Helper()
		if _, err := nettest.NewSender(t, iface).Send(5_000, 10_000, nil, nettest.UDP(100, 500, 53)); err != nil {
			t.Fatal(err)
		}
	}
	send("va")
	send("vc")
	out := g.run(0, "-r", name, "--store", lake)
	if strings.Contains(out.stdout, "wait in the spool") {
		t.Errorf("it did not wait until its records were sent: %s", out.stdout)
	}
	if code, _ := one.stop(t, syscall.SIGTERM); code != 0 {
		t.Errorf("exit code %d: %s", code, one.messages())
	}
	send("vc")
	if code, _ := two.stop(t, syscall.SIGTERM); code != 0 {
		t.Errorf("exit code %d: %s", code, two.messages())
	}
	for _, s := range []*liveSensor{one, two} {
		if strings.Contains(s.messages(), "level=ERROR") {
			t.Errorf("errors: %s", s.messages())
		}
	}
	g.drained()
	g.equals(lake)
}

// TestLiveNeo4jFull gives the spool little room while no server answers: the oldest
// records are dropped, and everybody hears of it.
func TestLiveNeo4jFull(t *testing.T) {
	if !nettest.Isolated(t) {
		return
	}
	nettest.Pair(t, "va", "vb")
	spool := liveStore(t)
	s := startLive(t, "-i", "vb", "--store", "bolt://127.0.0.1:1", "--spool", spool, "--spool-size", "300k",
		"--publish", "100ms", "--udp-timeout", "200ms")
	var frame uint32
	sent, err := nettest.NewSender(t, "va").Send(60_000, 20_000, nil, func(_ int, buf []byte) int {
		frame++
		nettest.Frame(buf[:60], frame, 53)
		return 60
	})
	if err != nil {
		t.Fatal(err)
	}
	var b neo4j.Backlog
	eventually(t, "the spool is within its bound", func() bool {
		b, err = neo4j.SpoolBacklog(spool)
		return err == nil && b.Bytes < 400_000
	})
	code, _ := s.stop(t, syscall.SIGTERM)
	if want := "records were lost out of the spool, which was full"; code != 1 || !strings.Contains(s.messages(), want) {
		t.Errorf("exit code %d, want 1 and %q: %s", code, want, s.messages())
	}
	if b, err = neo4j.SpoolBacklog(spool); err != nil {
		t.Fatal(err)
	}
	if lost := s.number(t, "without"); lost == 0 || int64(lost)+b.Connections != int64(sent.OK) {
		t.Errorf("%d lost and %d wait, want %d together: %s", lost, b.Connections, sent.OK, s.stdout.String())
	}
}

// TestLiveNeo4jUnknown names a host that nobody knows.
func TestLiveNeo4jUnknown(t *testing.T) {
	if !nettest.Isolated(t) {
		return
	}
	nettest.Pair(t, "va", "vb")
	file := nettest.NameServer(t, "graph.weir.test.", func() [4]byte { return [4]byte{127, 0, 0, 1} })
	if err := syscall.Mount("", "/", "", syscall.MS_PRIVATE|syscall.MS_REC, ""); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount(file, "/etc/resolv.conf", "", syscall.MS_BIND, ""); err != nil {
		t.Fatal(err)
	}
	out := runSensor(t, "-i", "vb", "--store", "bolt://grpah.weir.test", "--spool", liveStore(t))
	if out.code != 1 || !strings.Contains(out.stderr, "unknown host grpah.weir.test") || out.took > 10*time.Second {
		t.Errorf("exit code %d after %v, %q, want 1 within 10s and the host", out.code, out.took, out.stderr)
	}
}
