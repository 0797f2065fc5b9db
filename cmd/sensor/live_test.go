// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"weir/internal/nettest"
	"weir/store/lake"
)

// liveSensor is a running sensor on an interface.
type liveSensor struct {
	cmd    *exec.Cmd
	stdout bytes.Buffer

	mu     sync.Mutex
	stderr bytes.Buffer
	ended  chan error // one value: the end of the process
}

// startLive starts a sensor and waits until it listens.
func startLive(t *testing.T, args ...string) *liveSensor {
	t.Helper()
	s := launch(t, exec.Command("sensor", args...))
	for deadline := time.Now().Add(20 * time.Second); !strings.Contains(s.messages(), "msg=listening"); {
		select {
		case <-s.ended:
			t.Fatalf("the sensor ended: %s", s.messages())
		case <-time.After(5 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			t.Fatalf("the sensor does not listen: %s", s.messages())
		}
	}
	return s
}

// launch starts a sensor.
func launch(t *testing.T, cmd *exec.Cmd) *liveSensor {
	t.Helper()
	s := &liveSensor{cmd: cmd, ended: make(chan error, 1)}
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	s.cmd.Stdout = &s.stdout
	stderr, err := s.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		lines := bufio.NewScanner(stderr)
		for lines.Scan() {
			s.mu.Lock()
			fmt.Fprintln(&s.stderr, lines.Text())
			s.mu.Unlock()
		}
		s.ended <- s.cmd.Wait()
	}()
	t.Cleanup(func() { _ = s.cmd.Process.Kill() })
	return s
}

// liveStore returns a place for a store that every user can reach.
func liveStore(t *testing.T) string {
	t.Helper()
	store := filepath.Join(t.TempDir(), "lake")
	for dir := filepath.Dir(store); dir != "/" && dir != os.TempDir(); dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return store
}

// messages returns what the sensor has logged so far.
func (s *liveSensor) messages() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stderr.String()
}

// stop sends a signal and returns the exit code and the time until the end.
func (s *liveSensor) stop(t *testing.T, sig os.Signal) (code int, took time.Duration) {
	t.Helper()
	began := time.Now()
	if err := s.cmd.Process.Signal(sig); err != nil {
		t.Fatalf("signal: %v: %s", err, s.messages())
	}
	select {
	case <-s.ended:
	case <-time.After(30 * time.Second):
		t.Fatalf("the sensor does not end: %s", s.messages())
	}
	return s.cmd.ProcessState.ExitCode(), time.Since(began)
}

// number returns the number behind a word of the summary.
func (s *liveSensor) number(t *testing.T, word string) uint64 {
	t.Helper()
	m := regexp.MustCompile(`\b` + word + `\s+(\d+)`).FindStringSubmatch(s.stdout.String())
	if m == nil {
		t.Fatalf("the summary has no %s: %s%s", word, s.stdout.String(), s.messages())
	}
	n, err := strconv.ParseUint(m[1], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// freePort returns a TCP port of the test's network.
func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// TestLiveBooks sends ten thousand packets a second: every one of them is in the
// store.
func TestLiveBooks(t *testing.T) {
	if !nettest.Isolated(t) {
		return
	}
	nettest.Pair(t, "va", "vb")
	store := liveStore(t)
	s := startLive(t, "-i", "vb", "--store", store, "--publish", "1s", "--udp-timeout", "2s")
	sent, err := nettest.NewSender(t, "va").Send(50_000, 10_000, nil, nettest.UDP(100, 1000, 53))
	if err != nil {
		t.Fatal(err)
	}
	code, took := s.stop(t, syscall.SIGTERM)
	if code != 0 || took > 2*time.Second {
		t.Errorf("exit code %d after %v, want 0 within 2s: %s", code, took, s.messages())
	}
	if lost := s.number(t, "lost"); lost != 0 || s.number(t, "packets") != sent.OK {
		t.Errorf("%d packets were sent; %s", sent.OK, s.stdout.String())
	}
	if n := count(t, "SELECT sum(cspkts + scpkts)::BIGINT FROM "+parts(store)); n != int(sent.OK) {
		t.Errorf("%d packets are in the store, want %d", n, sent.OK)
	}
	if n := count(t, "SELECT sum(count)::BIGINT FROM "+parts(store)); n != 1000 {
		t.Errorf("%d connections are in the store, want 1000", n)
	}
}

// TestLiveOverload sends more than the sensor can take, and ends it meanwhile:
// what is lost is counted, and connections are marked.
func TestLiveOverload(t *testing.T) {
	if !nettest.Isolated(t) {
		return
	}
	nettest.Pair(t, "va", "vb")
	store := liveStore(t)
	s := startLive(t, "-i", "vb", "--store", store, "-B", "128", "--workers", "1", "--memory", "128M")
	sender, stop := nettest.NewSender(t, "va"), make(chan struct{})
	var sent nettest.Sent
	var err error
	var wg sync.WaitGroup
	wg.Go(func() { sent, err = sender.Send(1<<30, 0, stop, nettest.UDP(100, 500_000, 53)) })
	time.Sleep(4 * time.Second)
	// While the flood goes on, it must end in time.
	code, took := s.stop(t, syscall.SIGTERM)
	close(stop)
	wg.Wait()
	if err != nil {
		t.Fatal(err)
	}
	if code != 0 || took > 2*time.Second {
		t.Errorf("exit code %d after %v, want 0 within 2s: %s", code, took, s.messages())
	}
	lost, packets := s.number(t, "lost"), s.number(t, "packets")
	t.Logf("%d packets sent in %v, ended within %v\n%s", sent.OK, sent.Took, took, s.stdout.String())
	if lost == 0 || packets == 0 || lost+packets > sent.OK {
		t.Errorf("%d sent, %d counted, %d lost", sent.OK, packets, lost)
	}
	if n := count(t, "SELECT sum(cspkts + scpkts)::BIGINT FROM "+parts(store)); n != int(packets) {
		t.Errorf("%d packets are in the store, want %d", n, packets)
	}
	if n := count(t, "SELECT count(*) FROM "+parts(store)+" WHERE loss"); n == 0 {
		t.Error("no connection is marked as incomplete")
	}
}

// TestLiveOverloadBooks sends a number of packets faster than the sensor can take
// them: each is counted or lost, and none is anything else.
func TestLiveOverloadBooks(t *testing.T) {
	if !nettest.Isolated(t) {
		return
	}
	nettest.Pair(t, "va", "vb")
	store := liveStore(t)
	s := startLive(t, "-i", "vb", "--store", store, "-B", "64", "--workers", "1")
	sent, err := nettest.NewSender(t, "va").Send(2_000_000, 0, nil, nettest.UDP(60, 200_000, 53))
	if err != nil {
		t.Fatal(err)
	}
	time.Sleep(500 * time.Millisecond)
	if code, _ := s.stop(t, syscall.SIGTERM); code != 0 {
		t.Errorf("exit code %d: %s", code, s.messages())
	}
	lost, packets := s.number(t, "lost"), s.number(t, "packets")
	t.Logf("%d packets sent at %.0f a second\n%s", sent.OK, float64(sent.OK)/sent.Took.Seconds(), s.stdout.String())
	if lost == 0 || lost+packets != sent.OK {
		t.Errorf("%d sent, %d counted and %d lost: %d are missing", sent.OK, packets, lost,
			int64(sent.OK)-int64(packets)-int64(lost))
	}
	if n := count(t, "SELECT sum(cspkts + scpkts)::BIGINT FROM "+parts(store)); n != int(packets) {
		t.Errorf("%d packets are in the store, want %d", n, packets)
	}
}

// TestLiveConfined looks at a sensor that root has started: a second after it has
// opened the interface, no thread may do anything any more.
func TestLiveConfined(t *testing.T) {
	if !nettest.Isolated(t) {
		return
	}
	nettest.Pair(t, "va", "vb")
	store := liveStore(t)
	began := time.Now()
	s := startLive(t, "-i", "vb", "--store", store, "--publish", "200ms", "--udp-timeout", "200ms", "--sandbox", "strict")
	if took := time.Since(began); took > time.Second {
		t.Errorf("it took %v to open the interface and to give up privileges", took)
	}
	check := func() {
		t.Helper()
		tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", s.cmd.Process.Pid))
		if err != nil || len(tasks) == 0 {
			t.Fatalf("no threads: %v", err)
		}
		for _, name := range tasks {
			data, err := os.ReadFile(name)
			if os.IsNotExist(err) {
				continue // the thread has ended
			}
			if err != nil {
				t.Fatal(err)
			}
			for _, want := range []string{
				`Uid:\s+65534\s+65534\s+65534\s+65534\n`, `CapInh:\s+0+\n`, `CapPrm:\s+0+\n`, `CapEff:\s+0+\n`,
				`CapAmb:\s+0+\n`, `NoNewPrivs:\s+1\n`, `Seccomp:\s+2\n`,
			} {
				if !regexp.MustCompile(want).Match(data) {
					t.Errorf("%s does not match %s:\n%s", name, want, data)
				}
			}
		}
	}
	check()
	// It must do its work all the same.
	sent, err := nettest.NewSender(t, "va").Send(5000, 10_000, nil, nettest.UDP(100, 100, 53))
	if err != nil {
		t.Fatal(err)
	}
	time.Sleep(time.Second)
	check()
	if code, _ := s.stop(t, syscall.SIGINT); code != 0 {
		t.Errorf("exit code %d: %s", code, s.messages())
	}
	if n := count(t, "SELECT sum(cspkts)::BIGINT FROM "+parts(store)); n != int(sent.OK) {
		t.Errorf("%d packets are in the store, want %d: %s", n, sent.OK, s.messages())
	}
}

// TestLiveDownAndUp takes the interface down and up again, and away.
func TestLiveDownAndUp(t *testing.T) {
	if !nettest.Isolated(t) {
		return
	}
	nettest.Pair(t, "va", "vb")
	store := liveStore(t)
	s := startLive(t, "-i", "vb", "--store", store)
	send := func(n int) {
		t.Helper()
		if _, err := nettest.NewSender(t, "va").Send(n, 10_000, nil, nettest.UDP(100, 10, 53)); err != nil {
			t.Fatal(err)
		}
	}
	send(1000)
	nettest.IP(t, "link", "set", "vb", "down")
	time.Sleep(time.Second)
	nettest.IP(t, "link", "set", "vb", "up")
	time.Sleep(1900 * time.Millisecond)
	send(1000)
	time.Sleep(300 * time.Millisecond)
	nettest.IP(t, "link", "del", "vb")
	select {
	case <-s.ended:
	case <-time.After(10 * time.Second):
		t.Fatalf("it goes on without an interface: %s", s.messages())
	}
	if code := s.cmd.ProcessState.ExitCode(); code != 1 || !strings.Contains(s.messages(), "vb") {
		t.Errorf("exit code %d, want 1 and a message that names vb: %s", code, s.messages())
	}
	if n := count(t, "SELECT sum(cspkts)::BIGINT FROM "+parts(store)); n != 2000 {
		t.Errorf("%d packets are in the store, want 2000: %s", n, s.messages())
	}
}

// connNumber returns the number of the connection that a frame of nettest.Frame
// belongs to, from the address and the port of its source.
const connNumber = `(string_split(src, '.')[3]::INT * 16777216 + string_split(src, '.')[4]::INT * 65536 + sport)`

// TestLiveKill kills sensors that share a store, at random moments: the store
// opens at once, no row is there twice, and what ended a while before the kill is
// not lost.
func TestLiveKill(t *testing.T) {
	need(t, "WEIR_TEST_KILL", "half a minute; its value may be how many to kill, as 100")
	if !nettest.Isolated(t) {
		return
	}
	const (
		sensors = 4
		timeout = 200 * time.Millisecond // of a connection, and between publications
		// What may be lost is what ended within the last interval; on a busy machine
		// things take longer than they should.
		bound = 2*timeout + 1200*time.Millisecond
	)
	kills := 40
	if n, err := strconv.Atoi(os.Getenv("WEIR_TEST_KILL")); err == nil && n > 1 {
		kills = n
	}
	store := liveStore(t)
	if err := lake.Init(store); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for k := range sensors {
		a, b := fmt.Sprintf("va%d", k), fmt.Sprintf("vb%d", k)
		nettest.Pair(t, a, b)
		sender := nettest.NewSender(t, a)
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(k), 4))
			for round := range (kills + sensors - 1) / sensors {
				killOnce(t, sender, b, store, uint32(k*kills+round), rng, timeout, bound)
			}
		})
	}
	wg.Wait()
	if n := count(t, "SELECT count(*) - count(DISTINCT uid) FROM "+parts(store)); n != 0 {
		t.Errorf("%d rows are in the store twice", n)
	}
}

// killOnce starts a sensor, sends it connections of one packet, one a millisecond,
// and kills it.
func killOnce(
	t *testing.T, sender *nettest.Sender, iface, store string, round uint32, rng *rand.Rand, timeout, bound time.Duration,
) {
	t.Helper()
	s := startLive(t, "-i", iface, "--store", store, "--sensor", fmt.Sprint(round), "--user", "root",
		"--publish", timeout.String(), "--udp-timeout", timeout.String(), "--no-compact")
	var mu sync.Mutex
	var times []time.Time // when the packet of each connection was sent
	stop, done := make(chan struct{}), make(chan error, 1)
	go func() {
		_, err := sender.Send(1<<16, 1000, stop, func(i int, buf []byte) int {
			mu.Lock()
			times = append(times, time.Now())
			mu.Unlock()
			nettest.Frame(buf[:60], uint32(i), 53)
			return 60
		})
		done <- err
	}()
	time.Sleep(bound + time.Duration(rng.IntN(500))*time.Millisecond)
	killed := time.Now()
	_ = s.cmd.Process.Kill()
	<-s.ended
	close(stop)
	if err := <-done; err != nil {
		t.Error(err)
	}
	began := time.Now()
	if _, err := lake.Open(store, lake.Config{}); err != nil {
		t.Errorf("open the store: %v", err)
	}
	if took := time.Since(began); took > time.Second {
		t.Errorf("it took %v to open the store", took)
	}
	due := 0
	for due < len(times) && times[due].Before(killed.Add(-bound)) {
		due++
	}
	n := count(t, fmt.Sprintf("SELECT count(*) FROM %s WHERE sensor = '%d' AND %s < %d", parts(store), round, connNumber, due))
	if n != due {
		t.Errorf("round %d: %d of %d connections are in the store that ended in time: %s", round, n, due, s.messages())
	}
}

// rss returns the resident memory of a process in bytes.
func rss(t *testing.T, pid int) int64 {
	t.Helper()
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	if err != nil {
		t.Fatal(err)
	}
	n, err := strconv.ParseInt(strings.Fields(string(data))[1], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n * int64(os.Getpagesize())
}

// TestLiveSoak runs a sensor at 20,000 packets/s: memory and goroutines do not
// grow.
func TestLiveSoak(t *testing.T) {
	need(t, "WEIR_TEST_SOAK", "a minute; its value may be a longer duration, as 30m")
	if !nettest.Isolated(t) {
		return
	}
	span := time.Minute
	if d, err := time.ParseDuration(os.Getenv("WEIR_TEST_SOAK")); err == nil {
		span = max(span, d)
	}
	nettest.Pair(t, "va", "vb")
	store, addr := liveStore(t), freePort(t)
	s := startLive(t, "-i", "vb", "--store", store, "--metrics", addr, "--udp-timeout", "5s", "--active-timeout", "5s", "--user", "root")
	sender, stop := nettest.NewSender(t, "va"), make(chan struct{})
	var sent nettest.Sent
	var err error
	var wg sync.WaitGroup
	// Some connections go on all the time, most have a few packets.
	wg.Go(func() {
		sent, err = sender.Send(1<<30, 20_000, stop, func(i int, buf []byte) int {
			n := uint32(i / 8)
			if i%4 == 0 {
				n = uint32(i/4) % 100
			}
			nettest.Frame(buf[:200], n, 53)
			// A name that differs, so that there is something to dissect and to store.
			query(buf[42:200], uint32(i))
			return 200
		})
	})
	// measure returns the mean memory of a while, and the number of goroutines.
	measure := func(d time.Duration) (int64, float64) {
		var sum, n int64
		for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
			sum += rss(t, s.cmd.Process.Pid)
			n++
		}
		return sum / n, scrape(t, addr, "go_goroutines")
	}
	time.Sleep(span / 3)
	warm, before := measure(span / 6)
	time.Sleep(span / 3)
	late, after := measure(span / 6)
	close(stop)
	wg.Wait()
	if err != nil {
		t.Fatal(err)
	}
	code, took := s.stop(t, syscall.SIGTERM)
	if code != 0 {
		t.Errorf("exit code %d: %s", code, s.messages())
	}
	t.Logf("%d packets, memory %.1f MB, then %.1f MB, goroutines %.0f, then %.0f, ended in %v\n%s", sent.OK,
		float64(warm)/1e6, float64(late)/1e6, before, after, took, s.stdout.String())
	if float64(late) > 1.05*float64(warm) {
		t.Errorf("memory grew from %d to %d bytes", warm, late)
	}
	if after > before+2 { // a scrape more or less
		t.Errorf("goroutines grew from %.0f to %.0f", before, after)
	}
	if n := s.number(t, "packets") + s.number(t, "lost"); n != sent.OK {
		t.Errorf("%d packets counted or lost, %d sent", n, sent.OK)
	}
}

// query fills the payload of a datagram with a DNS query for a name of its own.
func query(buf []byte, n uint32) {
	clear(buf)
	binary.BigEndian.PutUint16(buf, uint16(n))
	buf[2], buf[5] = 1, 1 // recursion desired, one question
	name := fmt.Sprintf("h%07d", n%5000)
	at := 12
	for _, label := range []string{name, "example", "com"} {
		buf[at] = byte(len(label))
		at += 1 + copy(buf[at+1:], label)
	}
	copy(buf[at:], []byte{0, 0, 1, 0, 1})
}
