// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"weir/internal/nettest"
	"weir/store/lake"
)

// nobody is who root becomes.
const nobody = 65534

// place makes a directory of a user's below one that every user can reach.
func place(t *testing.T, name string, uid int) string {
	t.Helper()
	dir := filepath.Join(filepath.Dir(liveStore(t)), name)
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(dir, uid, uid); err != nil {
		t.Fatal(err)
	}
	return dir
}

// eventually waits for something that takes a while.
func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !done(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within 10s", what)
		}
	}
}

// contains reports whether a file has a text.
func contains(name, text string) bool {
	data, err := os.ReadFile(name)
	return err == nil && strings.Contains(string(data), text)
}

func write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// signal sends a signal.
func (s *liveSensor) signal(t *testing.T, sig os.Signal) {
	t.Helper()
	if err := s.cmd.Process.Signal(sig); err != nil {
		t.Fatalf("signal: %v: %s", err, s.messages())
	}
}

// TestLiveReload changes the configuration of a running sensor, and renames its
// logs.
func TestLiveReload(t *testing.T) {
	if !nettest.Isolated(t) {
		return
	}
	nettest.Pair(t, "va", "vb")
	store, logs, etc := liveStore(t), place(t, "log", nobody), place(t, "etc", 0)
	log, conf := filepath.Join(logs, "sensor.log"), filepath.Join(etc, "weir.toml")
	write(t, conf, "[sensor]\nfilter = \"udp port 53\"\nudp-timeout = \"300ms\"\npublish = \"200ms\"\n")
	cmd := exec.Command("sensor", "-i", "vb", "--store", store, "--config", conf, "--log-file", log, "--zeek-logs", logs,
		"--sandbox", "strict", "--metrics", freePort(t))
	told := manager(t, cmd, filepath.Join(etc, "notify"))
	s := launch(t, cmd)
	eventually(t, "listening", func() bool { return contains(log, "msg=listening") })
	sender := nettest.NewSender(t, "va")
	send := func(n int, port uint16) {
		t.Helper()
		if _, err := sender.Send(n, 10_000, nil, nettest.UDP(100, uint32(n), port)); err != nil {
			t.Fatal(err)
		}
	}
	packets := func() int { return count(t, "SELECT coalesce(sum(cspkts), 0)::BIGINT FROM "+parts(store)) }
	send(100, 53)
	send(7, 54)
	eventually(t, "stored", func() bool { return anyStored(t, store) && packets() == 100 })
	eventually(t, "logged", func() bool { return contains(filepath.Join(logs, "conn.log"), "\n") })

	// Everything is renamed, and another filter takes effect.
	for _, name := range []string{"sensor.log", "conn.log"} {
		if err := os.Rename(filepath.Join(logs, name), filepath.Join(logs, name+".1")); err != nil {
			t.Fatal(err)
		}
	}
	write(t, conf, "[sensor]\nfilter = \"udp port 54\"\nudp-timeout = \"400ms\"\npublish = \"200ms\"\nverbose = true\nretain = \"1d\"\n"+
		"max-size = \"1G\"\nworkers = 3\n")
	s.signal(t, syscall.SIGHUP)
	eventually(t, "reloaded", func() bool { return contains(log, "changes that take a restart") })
	if !contains(log, `keys=workers,udp-timeout`) {
		data, _ := os.ReadFile(log)
		t.Errorf("the warning does not name the keys: %s", data)
	}
	time.Sleep(300 * time.Millisecond)
	send(50, 54)
	send(9, 53)
	eventually(t, "the new filter", func() bool { return packets() == 150 })
	eventually(t, "the new log", func() bool { return contains(filepath.Join(logs, "conn.log"), "\n") })

	// A broken file, a bad filter, no file: all goes on.
	for i, text := range []string{"[sensor]\nfilter = \n", "[sensor]\nfilter = \"udp prot 53\"\n", "[sensor]\nunknown = 1\n"} {
		write(t, conf, text)
		before, _ := os.ReadFile(log)
		s.signal(t, syscall.SIGHUP)
		want := []string{"the configuration is wrong", "the filter is wrong", "unknown key"}[i]
		eventually(t, want, func() bool {
			data, err := os.ReadFile(log)
			if i == 2 { // the same message is not repeated at once
				want = "msg=reloading"
			}
			return err == nil && strings.Contains(string(data[len(before):]), want)
		})
		time.Sleep(50 * time.Millisecond)
	}
	send(25, 54)
	eventually(t, "the filter in force", func() bool { return packets() == 175 })

	// The log's directory is taken away.
	if err := os.Chown(logs, 0, 0); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(log, log+".2"); err != nil {
		t.Fatal(err)
	}
	s.signal(t, syscall.SIGHUP)
	eventually(t, "a message in the old log", func() bool { return contains(log+".2", "reopen the log file") })
	if code, took := s.stop(t, syscall.SIGTERM); code != 0 || took > 2*time.Second {
		t.Errorf("exit code %d after %v: %s%s", code, took, s.messages(), s.stdout.String())
	}
	// The service manager was told in order, each reload with its end.
	want := []string{"READY"}
	for range 5 {
		want = append(want, "RELOADING", "READY")
	}
	if diff := cmp.Diff(append(want, "STOPPING"), told()); diff != "" {
		t.Errorf("the service manager was told (-want +got):\n%s", diff)
	}
	// The first, the second and the third lot: a line each.
	if n := lines(t, filepath.Join(logs, "conn.log*")); n != 175 {
		t.Errorf("%d lines are in the logs, want 175", n)
	}
}

// manager makes a service manager's socket for a command, and returns a function
// that returns what the command has said there.
func manager(t *testing.T, cmd *exec.Cmd, name string) func() []string {
	t.Helper()
	l, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: name, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	if err := os.Chmod(name, 0o666); err != nil {
		t.Fatal(err)
	}
	cmd.Env = append(os.Environ(), "NOTIFY_SOCKET="+name)
	var states []string
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		buf := make([]byte, 4096)
		for {
			n, err := l.Read(buf)
			if err != nil {
				return
			}
			state, _, _ := strings.Cut(string(buf[:n]), "=")
			states = append(states, state)
		}
	}()
	return func() []string {
		// What was sent is there already.
		if err := l.SetReadDeadline(time.Now().Add(50 * time.Millisecond)); err != nil {
			t.Fatal(err)
		}
		<-ended
		return states
	}
}

// anyStored reports whether there is a part of conn.
func anyStored(t *testing.T, store string) bool {
	t.Helper()
	n, _ := stored(t, store)
	return n > 0
}

// lines counts the records in Zeek's logs.
func lines(t *testing.T, pattern string) int {
	t.Helper()
	n := 0
	for _, name := range glob(t, pattern) {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(data)) {
			if !strings.HasPrefix(line, "#") {
				n++
			}
		}
	}
	return n
}

func glob(t *testing.T, pattern string) []string {
	t.Helper()
	names, err := filepath.Glob(pattern)
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// TestLiveRotate lets logs be rotated every second, with SIGHUPs in between: no
// line is lost, and each connection has one, with all of it.
func TestLiveRotate(t *testing.T) {
	if !nettest.Isolated(t) {
		return
	}
	nettest.Pair(t, "va", "vb")
	store, logs := liveStore(t), place(t, "log", nobody)
	s := startLive(t, "-i", "vb", "--store", store, "--zeek-logs", logs, "--rotate", "1s", "--active-timeout", "1s",
		"--udp-timeout", "500ms", "--sandbox", "strict")
	// 500 connections go on all the time, 3,500 others end at once.
	const flows, packets = 4000, 20_000
	sent := make(chan error, 1)
	sender := nettest.NewSender(t, "va")
	go func() {
		_, err := sender.Send(packets, 5000, nil, func(i int, buf []byte) int {
			n := uint32(i % 500)
			if i%5 == 0 && i/5 < flows-500 {
				n = 500 + uint32(i/5)
			}
			nettest.Frame(buf[:100], n, 53)
			return 100
		})
		sent <- err
	}()
	for range 8 {
		time.Sleep(400 * time.Millisecond)
		s.signal(t, syscall.SIGHUP)
	}
	if err := <-sent; err != nil {
		t.Fatal(err)
	}
	if code, took := s.stop(t, syscall.SIGTERM); code != 0 || took > 2*time.Second {
		t.Errorf("exit code %d after %v: %s", code, took, s.messages())
	}
	names := glob(t, filepath.Join(logs, "conn*"))
	if len(names) < 3 {
		t.Errorf("the logs are %q, want at least 3", names)
	}
	zeek := regexp.MustCompile(`/conn-\d\d-\d\d-\d\d_\d\d\.\d\d\.\d\d(-\d+)?\.log$`)
	uids, sum := map[string]bool{}, 0
	for _, name := range names {
		if !zeek.MatchString(name) {
			t.Errorf("the log %s does not have Zeek's name", name)
		}
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasSuffix(string(data), "\n") || !strings.Contains(string(data), "#close") {
			t.Errorf("%s is not ended well", name)
		}
		for line := range strings.Lines(string(data)) {
			if strings.HasPrefix(line, "#") {
				continue
			}
			f := strings.Split(line, "\t")
			if uids[f[1]] {
				t.Errorf("connection %s has two lines", f[1])
			}
			uids[f[1]] = true
			n, err := strconv.Atoi(f[16]) // orig_pkts
			if err != nil {
				t.Fatal(err)
			}
			sum += n
		}
	}
	if len(uids) != flows || sum != packets {
		t.Errorf("%d connections of %d packets are logged, want %d of %d", len(uids), sum, flows, packets)
	}
	if n := count(t, "SELECT count(*) FROM "+parts(store)+" WHERE end_reason = 2"); n == 0 {
		t.Error("there are no interim records: the test shows nothing")
	}
}

// TestLiveDiskFull lets a sensor's store run full and gives room again.
func TestLiveDiskFull(t *testing.T) {
	if !nettest.Isolated(t) {
		return
	}
	nettest.Pair(t, "va", "vb")
	dir := place(t, "small", nobody)
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=3m,mode=755"); err != nil {
		t.Fatal(err)
	}
	defer syscall.Unmount(dir, syscall.MNT_DETACH) //nolint:errcheck // the mount is the test's own
	store, addr := filepath.Join(dir, "lake"), freePort(t)
	s := startLive(t, "-i", "vb", "--store", store, "--publish", "200ms", "--udp-timeout", "200ms", "--metrics", addr, "--no-compact")
	sender := nettest.NewSender(t, "va")
	at := uint32(0)
	send := func() {
		t.Helper()
		begin := at
		if _, err := sender.Send(2000, 10_000, nil, func(i int, buf []byte) int {
			nettest.Frame(buf[:100], begin+uint32(i), 53)
			return 100
		}); err != nil {
			t.Fatal(err)
		}
		at += 2000
	}
	health := func() int {
		resp, err := http.Get("http://" + addr + "/healthz")
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		return resp.StatusCode
	}
	send()
	eventually(t, "stored", func() bool { n, _ := stored(t, store); return n == 2000 })
	if code := health(); code != 200 {
		t.Errorf("/healthz says %d", code)
	}
	filler := filepath.Join(dir, "filler")
	if f, err := os.Create(filler); err != nil {
		t.Fatal(err)
	} else {
		for err == nil {
			_, err = f.Write(make([]byte, 4096))
		}
		f.Close()
	}
	send()
	eventually(t, "failing", func() bool { return health() == 503 })
	send()
	time.Sleep(500 * time.Millisecond)
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	send()
	eventually(t, "well again", func() bool { return health() == 200 })
	eventually(t, "stored again", func() bool { n, _ := stored(t, store); return n >= 4000 })
	code, _ := s.stop(t, syscall.SIGTERM)
	if s.number(t, "packets") != uint64(at) || s.number(t, "lost") != 0 {
		t.Errorf("the capture did not go on: %s", s.stdout.String())
	}
	rows := count(t, "SELECT count(*) FROM "+parts(store))
	m := regexp.MustCompile(`without (\d+) records of connections`).FindStringSubmatch(s.stdout.String())
	if m == nil {
		t.Fatalf("the summary does not tell what was lost: %s%s", s.stdout.String(), s.messages())
	}
	n, err := strconv.Atoi(m[1])
	if err != nil {
		t.Fatal(err)
	}
	if n == 0 || rows+n != int(at) {
		t.Errorf("%d rows are stored and %d are lost of %d", rows, n, at)
	}
	if code != 1 || !strings.Contains(s.messages(), fmt.Sprintf("sensor: records were lost: %d of connections", n)) {
		t.Errorf("exit code %d, want 1 and a line about what was lost: %s", code, s.messages())
	}
	check(t, store)
}

// check verifies a store.
func check(t *testing.T, store string) {
	t.Helper()
	report, err := lake.Check(t.Context(), store, lake.CheckConfig{})
	if err != nil || len(report.Damage)+len(report.Notes) > 0 {
		t.Errorf("check: %v, %+v", err, report)
	}
}

// TestLiveStart begins on interfaces that are not as they should be.
func TestLiveStart(t *testing.T) {
	if !nettest.Isolated(t) {
		return
	}
	nettest.Pair(t, "va", "vb")
	nettest.Pair(t, "vc", "vd")
	nettest.IP(t, "link", "set", "vd", "down")
	sensor, err := exec.LookPath("sensor")
	if err != nil {
		t.Fatal(err)
	}
	// The home is root's, also for others that root starts.
	home := place(t, "home", 0)
	if err := os.Chmod(home, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name string
		args []string
		code int
		want string // in the one or two lines that it says
	}{
		{"unknown", []string{"sensor", "-i", "vbb"}, 2, `there is no interface "vbb", did you mean vb? (there are: `},
		{"down", []string{"sensor", "-i", "vd"}, 1, "capture on vd: the interface is down"},
		{"twice", []string{"sensor", "-i", "vb", "-i", "vb"}, 2, "vb is given twice"},
		{"any and more", []string{"sensor", "-i", "vb", "-i", "any"}, 2, "give no other"},
		{"filter", []string{"sensor", "-i", "vb", "tcp prot 80"}, 2, "syntax error"},
		{"file, too", []string{"sensor", "-i", "vb", "-r", "x.pcap"}, 2, "-i and -r exclude each other"},
		{"user", []string{"sensor", "-i", "vb", "--user", "who"}, 2, "--user: "},
		{"nobody", []string{"setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", sensor, "-i", "vb"}, 1, "CAP_NET_RAW"},
	} {
		cmd := exec.Command(tc.args[0], append(tc.args[1:], "--store", "none")...)
		cmd.Env = append(os.Environ(), "XDG_CONFIG_HOME="+home)
		got := finish(t, cmd)
		if got.code != tc.code || !strings.Contains(got.stderr, tc.want) || strings.Count(got.stderr, "\n") > tc.code {
			t.Errorf("%s: exit code %d, stderr %q, want %d and %q", tc.name, got.code, got.stderr, tc.code, tc.want)
		}
	}
	// One that is down does not stop the others.
	store := liveStore(t)
	s := startLive(t, "-i", "vd", "-i", "vb", "--store", store, "-p", "-s", "96", "-B", "1024", "--user", "root", "--sandbox", "off")
	if !strings.Contains(s.messages(), "iface=vd") {
		t.Errorf("it does not say that vd is down: %s", s.messages())
	}
	send := func(iface string) {
		t.Helper()
		if _, err := nettest.NewSender(t, iface).Send(1000, 10_000, nil, nettest.UDP(100, 10, 53)); err != nil {
			t.Fatal(err)
		}
	}
	send("va")
	nettest.IP(t, "link", "set", "vd", "up")
	eventually(t, "vd is given up", func() bool { return strings.Contains(s.messages(), "interface is given up") })
	send("va")
	if code, _ := s.stop(t, syscall.SIGINT); code != 0 || s.number(t, "packets") != 2000 {
		t.Errorf("exit code %d, %s%s", code, s.stdout.String(), s.messages())
	}
	// All of them, without a store.
	s = startLive(t, "-i", "any", "--store", "none")
	send("va")
	send("vc")
	if code, _ := s.stop(t, syscall.SIGINT); code != 0 || s.number(t, "packets") < 4000 || strings.Contains(s.stdout.String(), "store") {
		t.Errorf("exit code %d, %s%s", code, s.stdout.String(), s.messages())
	}
	// The address of the metrics is taken.
	addr := freePort(t)
	s = startLive(t, "-i", "vb", "--store", "none", "--metrics", addr)
	if got := runSensor(t, "-i", "vb", "--store", "none", "--metrics", addr); got.code != 1 || !strings.Contains(got.stderr, "address already in use") {
		t.Errorf("exit code %d, stderr %q", got.code, got.stderr)
	}
	if code, _ := s.stop(t, syscall.SIGINT); code != 0 {
		t.Errorf("exit code %d: %s", code, s.messages())
	}
}

// TestLiveSignals sends signals when they are least convenient.
func TestLiveSignals(t *testing.T) {
	if !nettest.Isolated(t) {
		return
	}
	nettest.Pair(t, "va", "vb")
	// A reload right at the start and at the end, and two signals to end.
	store := liveStore(t)
	s := launch(t, exec.Command("sensor", "-i", "vb", "--store", store, "--udp-timeout", "1h"))
	eventually(t, "the store is open", func() bool { return strings.Contains(s.messages(), "the store is given") })
	s.signal(t, syscall.SIGHUP)
	eventually(t, "listening", func() bool { return strings.Contains(s.messages(), "msg=listening") })
	sent, err := nettest.NewSender(t, "va").Send(300_000, 100_000, nil, nettest.UDP(60, 1<<31, 53))
	if err != nil {
		t.Fatal(err)
	}
	s.signal(t, syscall.SIGTERM)
	s.signal(t, syscall.SIGHUP)
	time.Sleep(20 * time.Millisecond)
	s.signal(t, syscall.SIGHUP)
	if code, took := s.stop(t, syscall.SIGTERM); code != 0 || took > 3*time.Second {
		t.Errorf("exit code %d after %v: %s", code, took, s.messages())
	}
	if strings.Contains(s.messages(), "interrupted") {
		t.Errorf("it claims to have been interrupted: %s", s.messages())
	}
	lost := s.number(t, "lost")
	if n := count(t, "SELECT count(*) FROM "+parts(store)); n+int(lost) != int(sent.OK) {
		t.Errorf("%d connections are in the store, %d packets were lost, of %d", n, lost, sent.OK)
	}
}

// TestPerfLiveMillion ends a sensor with a million open connections.
func TestPerfLiveMillion(t *testing.T) {
	need(t, "WEIR_TEST_PERF", "a machine to measure on")
	if !nettest.Isolated(t) {
		return
	}
	nettest.Pair(t, "va", "vb")
	store := liveStore(t)
	s := startLive(t, "-i", "vb", "--store", store, "--udp-timeout", "1h")
	sent, err := nettest.NewSender(t, "va").Send(1_000_000, 100_000, nil, nettest.UDP(60, 1<<31, 53))
	if err != nil {
		t.Fatal(err)
	}
	code, took := s.stop(t, syscall.SIGTERM)
	t.Logf("%d sent, ended within %v", sent.OK, took)
	if code != 0 || took > 10*time.Second {
		t.Errorf("exit code %d after %v, want 0 within 10s: %s", code, took, s.messages())
	}
	lost := s.number(t, "lost")
	if n := count(t, "SELECT count(*) FROM "+parts(store)); n+int(lost) != int(sent.OK) {
		t.Errorf("%d connections are in the store, %d packets were lost, of %d", n, lost, sent.OK)
	}
}
