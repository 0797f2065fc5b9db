// SPDX-License-Identifier: Apache-2.0

package lake_test

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
	"time"

	"weir/store/lake"
	"weir/store/lake/laketest"
)

// status returns a size from /proc/self/status in bytes.
func status(field string) (int64, error) {
	data, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(data)) {
		if rest, ok := strings.CutPrefix(line, field+":"); ok {
			var kb int64
			_, err := fmt.Sscan(rest, &kb)
			return kb << 10, err
		}
	}
	return 0, fmt.Errorf("no %s", field)
}

// compactWithinJob is a child process that compacts once. With a cap on its
// memory it is like a sensor, of which most is taken already; without one it is
// like a program that does nothing else.
func compactWithinJob(l *lake.Lake, memory, limit int64) error {
	ballast := make([]byte, limit/10*6)
	if limit > 0 {
		debug.SetGCPercent(200)
		debug.SetMemoryLimit(limit / 20 * 23)
		for i := 0; i < len(ballast); i += 4096 {
			ballast[i] = 1
		}
	}
	runtime.GC()
	before, err := status("VmRSS")
	if err != nil {
		return err
	}
	if err := os.WriteFile("/proc/self/clear_refs", []byte("5"), 0); err != nil { // VmHWM begins anew
		return err
	}
	cfg := compactNow
	cfg.Memory = memory
	s, err := l.Compact(context.Background(), cfg)
	if err != nil {
		return err
	}
	most, err := status("VmHWM")
	if err != nil {
		return err
	}
	runtime.KeepAlive(ballast)
	cpu, err := cpuTime()
	if err != nil {
		return err
	}
	r := compactResult{CompactStats: s, CPU: cpu, RSS: most, Grown: most - before}
	return json.NewEncoder(os.Stdout).Encode(r)
}

// cloneLake makes another store of the same parts, which never change.
func cloneLake(t *testing.T, l *lake.Lake) *lake.Lake {
	t.Helper()
	to := t.TempDir()
	err := filepath.WalkDir(l.Path(), func(name string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(l.Path(), name)
		if err != nil {
			return err
		}
		if e.IsDir() {
			return os.MkdirAll(filepath.Join(to, rel), 0o755)
		}
		if filepath.Ext(rel) != ".parquet" {
			// Locks must be files of the store's own.
			data, err := os.ReadFile(name)
			if err != nil {
				return err
			}
			return os.WriteFile(filepath.Join(to, rel), data, 0o600)
		}
		return os.Link(name, filepath.Join(to, rel))
	})
	if err != nil {
		t.Fatal(err)
	}
	return openLake(t, to)
}

// TestCompactMemory compacts in processes with little memory.
func TestCompactMemory(t *testing.T) {
	if testing.Short() {
		t.Skip("takes some seconds")
	}
	compactMemory(t, 40_000, 2000)
}

// TestPerfCompactMemory does so with more connections.
func TestPerfCompactMemory(t *testing.T) {
	needPerf(t)
	compactMemory(t, 300_000, 2500)
}

func compactMemory(t *testing.T, conns, perPart int) {
	t.Helper()
	l := newLake(t)
	day := time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC)
	if err := laketest.Fill(l, laketest.Config{Day: day, Conns: conns, PerPart: perPart, Flows: conns / 2}); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct{ memory, limit int64 }{
		{lake.MinCompactMemory, 128e6},
		{32e6, 256e6},
		{128e6, 1 << 30},
		{lake.MinCompactMemory, 0},
		{0, 0},
	} {
		t.Run(fmt.Sprintf("%dM of %dM", tc.memory/1e6, tc.limit/1e6), func(t *testing.T) {
			l := cloneLake(t, l)
			out, err := job(t, fmt.Sprintf("compact-within %d %d", tc.memory, tc.limit), l.Path()).Output()
			if err != nil {
				t.Fatalf("compact: %v", err)
			}
			var r compactResult
			if err := json.Unmarshal(out, &r); err != nil {
				t.Fatalf("%q: %v", out, err)
			}
			if r.Covered != int64(conns) || r.Merged < conns/perPart {
				t.Errorf("%+v, want everything merged and rolled up", r.CompactStats)
			}
			if rows, _ := checkStore(t, l); rows != int64(conns) {
				t.Errorf("%d connections, want %d", rows, conns)
			}
			t.Logf("RSS grew by %.1f MB to %.1f MB; %.2f s of CPU; %d parts", float64(r.Grown)/1e6,
				float64(r.RSS)/1e6, r.CPU, r.Parts)
			// A sensor keeps its cap within 25 %.
			if tc.limit > 0 && r.RSS > tc.limit/4*5 {
				t.Errorf("RSS of %d MB, want %d MB and a quarter at most", r.RSS/1e6, tc.limit/1e6)
			}
			const fixed = 32e6 // encoders and decoders of every column
			if most := cmp.Or(tc.memory, 256<<20) + fixed; tc.limit == 0 && r.Grown > most {
				t.Errorf("RSS grew by %d MB, want at most %d MB", r.Grown/1e6, most/1e6)
			}
		})
	}
}

// TestCompactStops measures how soon compaction ends when it is told to.
func TestCompactStops(t *testing.T) {
	compactStops(t, 20_000, 1000, 6)
}

// TestPerfCompactStops does so with more connections, more often.
func TestPerfCompactStops(t *testing.T) {
	needPerf(t)
	compactStops(t, 100_000, 2000, 10)
}

func compactStops(t *testing.T, conns, perPart, stops int) {
	t.Helper()
	l := newLake(t)
	day := time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC)
	if err := laketest.Fill(l, laketest.Config{Day: day, Conns: conns, PerPart: perPart, Flows: conns / 2}); err != nil {
		t.Fatal(err)
	}
	// How long it takes here and now says when to stop.
	other := cloneLake(t, l)
	start := time.Now()
	compact(t, other, compactNow)
	span := time.Since(start)
	var waits []time.Duration
	for i := range stops {
		at := span * time.Duration(i+1) / time.Duration(stops+1)
		ctx, cancel := context.WithCancel(t.Context())
		clone := cloneLake(t, l)
		stopped := make(chan time.Time, 1)
		timer := time.AfterFunc(at, func() {
			stopped <- time.Now()
			cancel()
		})
		_, err := clone.Compact(ctx, compactNow)
		if timer.Stop() {
			cancel()
			continue // it was done before
		}
		wait := time.Since(<-stopped)
		if err != nil && !errors.Is(err, context.Canceled) {
			t.Errorf("Compact() = %v, want %v", err, context.Canceled)
		}
		waits = append(waits, wait)
	}
	if len(waits) < stops/2 {
		t.Fatalf("only %d of %d calls were stopped", len(waits), stops)
	}
	slices.Sort(waits)
	median, most := waits[len(waits)/2], waits[len(waits)-1]
	t.Logf("%d of %d calls, each of %v, were stopped: after %v, at most %v", len(waits), stops,
		span.Round(time.Millisecond), median, most)
	if median > 200*time.Millisecond || most > 2*time.Second {
		t.Errorf("stopped after %v, at most %v, want 200ms, at most 2s", median, most)
	}
}
