// SPDX-License-Identifier: Apache-2.0

package main

import (
	"io"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"weir/internal/nettest"
	"weir/store/lake"
)

// TestLiveRace runs a sensor that was built with the race detector, under load,
// with everything going on at once that may go on.
func TestLiveRace(t *testing.T) {
	need(t, "WEIR_TEST_RACE", "a C compiler, and half a minute")
	if !nettest.Isolated(t) {
		return
	}
	program := build(t, "-race")
	nettest.Pair(t, "va", "vb")
	store, logs, etc, addr := liveStore(t), place(t, "log", nobody), place(t, "etc", 0), freePort(t)
	conf := filepath.Join(etc, "weir.toml")
	settings := []string{
		"[sensor]\nfilter = \"udp\"\nretain = \"100d\"\n",
		"[sensor]\nfilter = \"udp port 53\"\nverbose = true\nmax-size = \"1G\"\n",
	}
	write(t, conf, settings[0])
	cmd := exec.Command(program, "-i", "vb", "--store", store, "--publish", "200ms", "--udp-timeout", "1s", "--active-timeout", "1s",
		"--config", conf, "--metrics", addr, "--zeek-logs", logs, "--rotate", "1s", "--sandbox", "off")
	s := launch(t, cmd)
	eventually(t, "listening", func() bool { return strings.Contains(s.messages(), "msg=listening") })
	stop := make(chan struct{})
	var ending atomic.Bool
	var wg sync.WaitGroup
	every := func(d time.Duration, f func(i int)) {
		wg.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				case <-time.After(d):
					f(i)
				}
			}
		})
	}
	sender := nettest.NewSender(t, "va")
	wg.Go(func() {
		if _, err := sender.Send(1<<30, 3000, stop, func(i int, buf []byte) int {
			n := uint32(i / 4)
			if i%4 == 0 {
				n = uint32(i) % 50
			}
			nettest.Frame(buf[:200], n, 53)
			query(buf[42:200], uint32(i))
			return 200
		}); err != nil {
			t.Error(err)
		}
	})
	every(700*time.Millisecond, func(i int) {
		write(t, conf, settings[i%2])
		_ = s.cmd.Process.Signal(syscall.SIGHUP) // it may have ended
	})
	every(150*time.Millisecond, func(i int) {
		resp, err := http.Get("http://" + addr + []string{"/metrics", "/healthz"}[i%2])
		if err != nil {
			if !ending.Load() {
				t.Error(err)
			}
			return
		}
		defer resp.Body.Close()
		if _, err := io.Copy(io.Discard, resp.Body); err != nil && !ending.Load() {
			t.Error(err)
		}
	})
	l, err := lake.Open(store, lake.Config{})
	if err != nil {
		t.Fatal(err)
	}
	every(time.Second, func(int) {
		// As another process would; the sensor's own begins after half a minute.
		if _, err := l.Compact(t.Context(), lake.CompactConfig{MinAge: time.Second}); err != nil {
			t.Errorf("compact: %v", err)
		}
	})
	time.Sleep(20 * time.Second)
	// The end comes while all of this goes on.
	ending.Store(true)
	code, took := s.stop(t, syscall.SIGTERM)
	close(stop)
	wg.Wait()
	if code != 0 || strings.Contains(s.messages(), "DATA RACE") {
		t.Errorf("exit code %d after %v: %s", code, took, s.messages())
	}
	if n := s.number(t, "packets"); n == 0 {
		t.Error("no packet was seen")
	}
}

// TestLiveLeak runs a sensor within the test: nothing of it goes on after its end.
func TestLiveLeak(t *testing.T) {
	if !nettest.Isolated(t) {
		return
	}
	nettest.Pair(t, "va", "vb")
	sender, addr, dir := nettest.NewSender(t, "va"), freePort(t), t.TempDir()
	// One goroutine of the runtime waits for signals from the first Notify on.
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGUSR1)
	signal.Stop(hup)
	before := runtime.NumGoroutine()
	var log strings.Builder
	ended := make(chan int, 1)
	go func() {
		ended <- run([]string{
			"-i", "vb", "--store", filepath.Join(dir, "lake"), "--zeek-logs", filepath.Join(dir, "log"), "--rotate", "1s",
			"--publish", "100ms", "--metrics", addr, "--user", "root", "--sandbox", "off", "-q",
		}, strings.NewReader(""), io.Discard, &log)
	}()
	eventually(t, "serving", func() bool {
		resp, err := http.Get("http://" + addr + "/healthz")
		if err != nil {
			return false
		}
		resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	})
	if _, err := sender.Send(5000, 10_000, nil, nettest.UDP(100, 1000, 53)); err != nil {
		t.Fatal(err)
	}
	time.Sleep(1200 * time.Millisecond)
	if err := syscall.Kill(os.Getpid(), syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if code := <-ended; code != 0 {
		t.Errorf("exit code %d: %s", code, log.String())
	}
	http.DefaultClient.CloseIdleConnections()
	eventually(t, "the end of every goroutine", func() bool {
		if runtime.NumGoroutine() <= before {
			return true
		}
		time.Sleep(100 * time.Millisecond)
		return false
	})
}
