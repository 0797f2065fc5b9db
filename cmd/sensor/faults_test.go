// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"weir/internal/command"
	"weir/internal/traffic"
	"weir/store/lake"
)

// need skips a test unless the variable says that the machine has what it takes.
func need(t *testing.T, variable, what string) {
	t.Helper()
	if os.Getenv(variable) == "" {
		t.Skipf("%s is not set: this test needs %s", variable, what)
	}
}

// outcome is how a command ended.
type outcome struct {
	code           int
	stdout, stderr string
	took           time.Duration
	rss            int64 // peak, in bytes
}

// sensor runs the command as its own process.
func runSensor(t *testing.T, args ...string) outcome {
	t.Helper()
	return finish(t, exec.Command("sensor", args...))
}

// build builds the program with the flags. Those that scripts run are the test's own
// binary, which carries a query engine: its memory is not the sensor's.
func build(t *testing.T, flags ...string) string {
	t.Helper()
	program := filepath.Join(place(t, "bin", 0), "sensor")
	args := append([]string{"build", "-buildvcs=false", "-o", program}, flags...)
	if out, err := exec.Command("go", append(args, ".")...).CombinedOutput(); err != nil {
		t.Fatalf("build: %v: %s", err, out)
	}
	return program
}

func finish(t *testing.T, cmd *exec.Cmd) outcome {
	t.Helper()
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	began := time.Now()
	err := cmd.Run()
	if bad := new(exec.ExitError); err != nil && !errors.As(err, &bad) {
		t.Fatal(err)
	}
	usage, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage)
	if !ok {
		t.Fatal("no resource usage")
	}
	return outcome{
		cmd.ProcessState.ExitCode(), stdout.String(), stderr.String(), time.Since(began), usage.Maxrss << 10,
	}
}

// generate writes a capture into the test's directory.
func generate(t *testing.T, spec traffic.Spec) (string, traffic.Totals) {
	t.Helper()
	name := filepath.Join(t.TempDir(), "capture.pcap")
	totals, err := traffic.WriteFile(name, spec)
	if err != nil {
		t.Fatal(err)
	}
	return name, totals
}

// stored returns the rows of conn and the imports that a store holds.
func stored(t *testing.T, path string) (conns, imports int) {
	t.Helper()
	m, err := lake.ReadManifest(path)
	if errors.Is(err, lake.ErrNotStore) {
		return 0, 0
	}
	if err != nil {
		t.Fatal(err)
	}
	for i := range m.Parts {
		if m.Parts[i].Kind == lake.ConnTable {
			conns += int(m.Parts[i].Rows)
		}
	}
	return conns, len(m.Imports)
}

// unfinished reports whether a running import has written a part already.
func unfinished(store string) bool {
	parts, err := filepath.Glob(filepath.Join(store, ".tmp", "*", "*"))
	if err != nil {
		return false
	}
	for _, name := range parts {
		if info, err := os.Stat(name); err == nil && info.Size() > 0 {
			return true
		}
	}
	return false
}

// TestKill kills the sensor at random moments: nothing of the import is in the
// store, and reading again gives exactly the right totals.
func TestKill(t *testing.T) {
	if testing.Short() {
		t.Skip("slow: reads a capture twenty times")
	}
	name, totals := generate(t, traffic.Spec{Scenario: traffic.Flood, Connections: 600_000})
	store := filepath.Join(t.TempDir(), "lake")
	rng := rand.New(rand.NewPCG(1, 3))
	kills, late := 0, 0
	for try := 0; kills < 20; try++ {
		if try == 100 {
			t.Fatalf("only %d of 100 runs could be killed in time", kills)
		}
		cmd := exec.Command("sensor", "-q", "-r", name, "--store", store)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		ended := make(chan error, 1) // one value: the end of the process
		go func() { ended <- cmd.Wait() }()
		// Half of the kills come early, half when parts are being written.
		if kills%2 == 0 {
			time.Sleep(time.Duration(rng.IntN(200)) * time.Millisecond)
		} else {
			for deadline := time.Now().Add(10 * time.Second); !unfinished(store) && time.Now().Before(deadline); {
				time.Sleep(time.Millisecond)
			}
			time.Sleep(time.Duration(rng.IntN(60)) * time.Millisecond)
		}
		wrote := unfinished(store)
		if err := cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
			t.Fatal(err)
		}
		if err := <-ended; err == nil {
			// It was faster. Start over with an empty store.
			if err := lake.Init(store); err != nil {
				t.Fatal(err)
			}
			continue
		}
		kills++
		if wrote {
			late++
		}
		if conns, imports := stored(t, store); conns != 0 || imports != 0 {
			// The commit may have been the last thing that the process did.
			if conns != int(totals.Sum()) || imports != 1 {
				t.Fatalf("after a kill the store holds %d connections of %d imports", conns, imports)
			}
			if err := lake.Init(store); err != nil {
				t.Fatal(err)
			}
			kills--
			continue
		}
		if _, err := lake.Open(store, lake.Config{Create: true}); err != nil {
			t.Fatalf("open after a kill: %v", err)
		}
		if unfinished(store) {
			t.Fatal("what the killed import left was not removed")
		}
	}
	if late < 10 {
		t.Errorf("%d of %d kills came after parts were written, want at least 10", late, kills)
	}
	if got := runSensor(t, "-r", name, "--store", store); got.code != 0 {
		t.Fatalf("exit code %d: %s", got.code, got.stderr)
	}
	if conns, imports := stored(t, store); conns != int(totals.Sum()) || imports != 1 {
		t.Errorf("the store holds %d connections of %d imports, want %d of 1", conns, imports, totals.Sum())
	}
}

// TestInterrupt ends a read in order: exit code 130, and nothing is committed.
func TestInterrupt(t *testing.T) {
	if testing.Short() {
		t.Skip("slow: reads a large capture")
	}
	name, _ := generate(t, traffic.Spec{Scenario: traffic.Flood, Connections: 1_000_000})
	for _, sig := range []os.Signal{os.Interrupt, syscall.SIGTERM} {
		fifo := filepath.Join(t.TempDir(), "fifo")
		if err := syscall.Mkfifo(fifo, 0o600); err != nil {
			t.Fatal(err)
		}
		for _, from := range []string{name, "-", fifo} {
			t.Run(fmt.Sprintf("%v %s", sig, filepath.Base(from)), func(t *testing.T) {
				dir := t.TempDir()
				store, logs := filepath.Join(dir, "lake"), filepath.Join(dir, "logs")
				cmd := exec.Command("sensor", "-r", from, "--store", store, "--zeek-logs", logs)
				if from == "-" {
					// A pipe that never says anything.
					_, err := cmd.StdinPipe()
					if err != nil {
						t.Fatal(err)
					}
				}
				time.AfterFunc(150*time.Millisecond, func() {
					if err := cmd.Process.Signal(sig); err != nil {
						t.Error(err)
					}
				})
				got := finish(t, cmd)
				if got.code != command.Interrupted {
					t.Errorf("exit code %d, want %d: %s", got.code, command.Interrupted, got.stderr)
				}
				if got.took > 2*time.Second {
					t.Errorf("it took %v to end", got.took)
				}
				if conns, imports := stored(t, store); conns != 0 || imports != 0 || unfinished(store) {
					t.Errorf("the store holds %d connections of %d imports, or leftovers", conns, imports)
				}
				if left, err := filepath.Glob(filepath.Join(logs, "*")); err != nil || len(left) > 0 {
					t.Errorf("logs are left: %v, %v", left, err)
				}
			})
		}
	}
}

// TestDiskFull reads into a file system that is too small: one clear line, exit
// code 1, and nothing half-written.
func TestDiskFull(t *testing.T) {
	need(t, "WEIR_TEST_ROOT", "root, to mount a tmpfs")
	name, totals := generate(t, traffic.Spec{Scenario: traffic.Flood, Connections: 300_000})
	mount := func(t *testing.T, size string) string {
		t.Helper()
		dir := t.TempDir()
		if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size="+size); err != nil {
			t.Fatalf("mount a tmpfs: %v", err)
		}
		t.Cleanup(func() {
			if err := syscall.Unmount(dir, 0); err != nil {
				t.Error(err)
			}
		})
		return dir
	}
	check := func(t *testing.T, got outcome) {
		t.Helper()
		if got.code != command.Failed || strings.Count(got.stderr, "\n") != 1 || !strings.Contains(got.stderr, "no space left") {
			t.Errorf("exit code %d, stderr %q, want %d and one line about the space", got.code, got.stderr, command.Failed)
		}
	}
	for _, size := range []string{"4k", "64k", "1m", "4m"} {
		t.Run("store of "+size, func(t *testing.T) {
			store := filepath.Join(mount(t, size), "lake")
			check(t, runSensor(t, "-q", "-r", name, "--store", store))
			if conns, imports := stored(t, store); conns != 0 || imports != 0 || unfinished(store) {
				t.Errorf("the store holds %d connections of %d imports, or leftovers", conns, imports)
			}
		})
	}
	t.Run("logs", func(t *testing.T) {
		logs := filepath.Join(mount(t, "4m"), "logs")
		check(t, runSensor(t, "-q", "-r", name, "--store", "none", "--zeek-logs", logs))
		err := filepath.WalkDir(logs, func(path string, d fs.DirEntry, err error) error {
			if err == nil && !d.IsDir() {
				t.Errorf("%s is left", path)
			}
			return err
		})
		if err != nil {
			t.Error(err)
		}
	})
	t.Run("second import", func(t *testing.T) {
		store := filepath.Join(mount(t, "12m"), "lake")
		if got := runSensor(t, "-q", "-r", name, "--store", store); got.code != 0 {
			t.Fatalf("exit code %d: %s", got.code, got.stderr)
		}
		other, _ := generate(t, traffic.Spec{Scenario: traffic.Flood, Seed: 9, Connections: 600_000})
		check(t, runSensor(t, "-q", "-r", other, "--store", store))
		if conns, imports := stored(t, store); conns != int(totals.Sum()) || imports != 1 {
			t.Errorf("the store holds %d connections of %d imports, want the first import's %d", conns, imports, totals.Sum())
		}
	})
}

// TestUnreadable names a directory that may not be read. Root may read
// everything, unless it gives that power up.
func TestUnreadable(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "secret")
	if err := os.Mkdir(dir, 0); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("sensor", "-r", dir, "--store", filepath.Join(t.TempDir(), "lake"))
	if os.Geteuid() == 0 {
		path, err := exec.LookPath("sensor")
		if err != nil {
			t.Fatal(err)
		}
		cmd = exec.Command("setpriv", append([]string{
			"--inh-caps=-all", "--bounding-set=-dac_override,-dac_read_search", path,
		}, cmd.Args[1:]...)...)
	}
	got := finish(t, cmd)
	if got.code != command.Failed || strings.Count(got.stderr, "\n") != 1 || !strings.Contains(got.stderr, "permission denied") {
		t.Errorf("exit code %d, stderr %q, want %d and one line about the permission", got.code, got.stderr, command.Failed)
	}
}

// TestPerfMillionConnections measures what a connection costs: the growth of the
// peak RSS from ten thousand to a million.
func TestPerfMillionConnections(t *testing.T) {
	need(t, "WEIR_TEST_PERF", "a machine to measure on")
	rss := func(n int) int64 {
		name, _ := generate(t, traffic.Spec{Scenario: traffic.Concurrent, Connections: n})
		got := runSensor(t, "-q", "-r", name, "--store", "none")
		if got.code != 0 {
			t.Fatalf("exit code %d: %s", got.code, got.stderr)
		}
		return got.rss
	}
	const few, many = 10_000, 1_000_000
	each := float64(rss(many)-rss(few)) / (many - few)
	t.Logf("%.0f bytes for a connection", each)
	if each > 300 {
		t.Errorf("%.0f bytes for a connection, want at most 300", each)
	}
}

// TestPerfFlood reads a million SYNs within 128 MB: none is dropped.
func TestPerfFlood(t *testing.T) {
	need(t, "WEIR_TEST_PERF", "a machine to measure on")
	name, totals := generate(t, traffic.Spec{Scenario: traffic.Flood, Connections: 1_000_000})
	store := filepath.Join(t.TempDir(), "lake")
	got := finish(t, exec.Command(build(t), "-r", name, "--store", store, "--memory", "128M"))
	t.Logf("%v, %d MB", got.took, got.rss/1e6)
	if got.code != 0 {
		t.Fatalf("exit code %d: %s", got.code, got.stderr)
	}
	if conns, _ := stored(t, store); conns != int(totals.Sum()) {
		t.Errorf("%d connections are stored, want every one of %d", conns, totals.Sum())
	}
	if !strings.Contains(got.stdout, "ended early to stay within 128M of memory") {
		t.Errorf("the summary does not tell of connections that ended early: %s", got.stdout)
	}
	if got.rss > 160e6 {
		t.Errorf("peak RSS %d MB, want at most 160", got.rss/1e6)
	}
	if got.took > 3*time.Second {
		t.Errorf("it took %v, want at most 3 s", got.took)
	}
}
