// SPDX-License-Identifier: Apache-2.0

package lake_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"weir/store/lake"
	"weir/store/lake/laketest"
)

// compactNow is a Compact that waits for nothing.
var compactNow = lake.CompactConfig{MinAge: -1, QuietFor: -1}

// compactResult is what a child process reports of a compaction.
type compactResult struct {
	lake.CompactStats
	CPU    float64  // seconds
	RSS    int64    // bytes at most
	Failed []string // parts that were left alone
	Grown  int64    // of these, what came with the compaction
}

// compactJob is a child process that compacts once.
func compactJob(l *lake.Lake) error {
	s, err := l.Compact(context.Background(), compactNow)
	if err != nil {
		return err
	}
	cpu, err := cpuTime()
	if err != nil {
		return err
	}
	rss, err := status("VmHWM")
	if err != nil {
		return err
	}
	r := compactResult{CompactStats: s, CPU: cpu, RSS: rss}
	for _, err := range s.Unfit { // an error has no form in JSON
		r.Failed = append(r.Failed, err.Error())
	}
	r.Unfit = nil
	return json.NewEncoder(os.Stdout).Encode(r)
}

// cpuTime returns the seconds that the process has run.
func cpuTime() (float64, error) {
	var u syscall.Rusage
	err := syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return float64(u.Utime.Nano()+u.Stime.Nano()) / 1e9, err
}

// compactEndlessJob is a child process that compacts until it is killed. It
// writes a byte each time that it has read some rows.
func compactEndlessJob(l *lake.Lake) error {
	fmt.Println("ready")
	cfg := compactNow
	cfg.Progress = func(int64) { fmt.Print(".") }
	for {
		if _, err := l.Compact(context.Background(), cfg); err != nil {
			return err
		}
		fmt.Print(".")
	}
}

// TestCompactDay compacts a day of a live sensor's parts in a process of its
// own and checks what it costs.
func TestCompactDay(t *testing.T) {
	conns := 300_000
	if testing.Short() {
		conns = 90_000
	}
	compactDay(t, conns, 3000)
}

// TestPerfCompactDay does so with ten million connections.
func TestPerfCompactDay(t *testing.T) {
	needPerf(t)
	perConn, rate := compactDay(t, 10_000_000, 10_000)
	if perConn > 48 {
		t.Errorf("%.1f bytes a connection, want at most 48", perConn)
	}
	if rate < 150_000 {
		t.Errorf("%.0f connections/s of CPU, want at least 150,000", rate)
	}
}

// needPerf skips a test that measures unless WEIR_TEST_PERF is set.
func needPerf(t *testing.T) {
	t.Helper()
	if os.Getenv("WEIR_TEST_PERF") == "" {
		t.Skip("set WEIR_TEST_PERF to measure")
	}
}

// compactDay returns the bytes on disk of a connection, and the connections
// compacted in a second of CPU.
func compactDay(t *testing.T, conns, perPart int) (perConn, rate float64) {
	t.Helper()
	l, err := lake.Open(filepath.Join(t.TempDir(), "lake"), lake.Config{Create: true})
	if err != nil {
		t.Fatal(err)
	}
	day := time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC)
	start := time.Now()
	if err := laketest.Fill(l, laketest.Config{Day: day, Conns: conns, PerPart: perPart, Flows: min(1_700_000, conns)}); err != nil {
		t.Fatal(err)
	}
	t.Logf("filled in %v", time.Since(start))
	before := manifest(t, l)
	start = time.Now()
	out, err := job(t, "compact", l.Path()).Output()
	if err != nil {
		t.Fatalf("compact: %v", err)
	}
	var r compactResult
	if err := json.Unmarshal(out, &r); err != nil {
		t.Fatalf("%q: %v", out, err)
	}
	m := manifest(t, l)
	var size, rows, counted int64
	for _, p := range m.Parts {
		size += p.Bytes
		if p.Kind == lake.ConnTable {
			rows += p.Rows
			counted += p.Conns
		}
	}
	perConn = float64(size) / float64(conns)
	rate = float64(conns) / r.CPU
	t.Logf("%d parts of %.1f bytes a connection became %d (%d of connections) in %v", len(before.Parts),
		float64(r.Before)/float64(r.Rows), len(m.Parts), r.Parts, time.Since(start))
	t.Logf("%.0f connections/s of CPU, RSS %d MB, %.1f bytes a connection (roll-up %.1f, of %d flows)",
		rate, r.RSS>>20, perConn, float64(r.RollupBytes)/float64(conns), r.RollupRows)
	if rows != int64(conns) || counted != int64(conns) || r.Covered != int64(conns) || r.Rollups != 1 {
		t.Errorf("%d rows of %d connections, %d rolled up to %d days, want %d of each, 1 day",
			rows, counted, r.Covered, r.Rollups, conns)
	}
	if r.Merged < conns/perPart || r.Parts > 1+conns/900_000 || len(r.Failed) > 0 {
		t.Errorf("merged %d parts to %d, want %d to few (%v)", r.Merged, r.Parts, conns/perPart, r.Failed)
	}
	if r.RSS > 512<<20 {
		t.Errorf("RSS of %d MB, want at most 512", r.RSS>>20)
	}
	return perConn, rate
}
