// SPDX-License-Identifier: Apache-2.0

package zeeklog_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"weir/internal/flow"
	"weir/internal/zeeklog"
)

// at returns a time of the day of the tests. The zone is no whole number of
// hours from UTC, to tell rotation (by UTC) from names (local).
func at(clock string) time.Time {
	zone := time.FixedZone("test", -(3*3600 + 30*60))
	t, err := time.ParseInLocation("2006-01-02 15:04:05.000", "2026-11-25 "+clock, zone)
	if err != nil {
		panic(err)
	}
	return t
}

func openLive(t *testing.T, cfg zeeklog.LiveConfig, now time.Time) *zeeklog.Live {
	t.Helper()
	l, err := zeeklog.OpenLive(cfg, now)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// connections adds connections with the uids first, first+1, …
func connections(t *testing.T, l *zeeklog.Live, first, n int) {
	t.Helper()
	var b flow.ConnBatch
	for i := range n {
		b.Add(&flow.Connection{Tuple: flow.Tuple{UID: uint64(first + i), Proto: flow.UDP}, First: 1e18, Last: 2e18, Count: 1})
	}
	if err := l.Connections(&b); err != nil {
		t.Fatal(err)
	}
}

func flush(t *testing.T, l *zeeklog.Live, now time.Time) {
	t.Helper()
	if err := l.Flush(now); err != nil {
		t.Fatal(err)
	}
}

// content returns the logs of a directory: for each the times of its #open and
// #close lines and its uids.
func content(t *testing.T, dir string) map[string]string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	for _, e := range entries {
		text, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		var words []string
		for line := range strings.Lines(string(text)) {
			fields := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
			switch {
			case fields[0] == "#open" || fields[0] == "#close":
				words = append(words, fields[0][1:]+" "+strings.TrimPrefix(fields[1], "2026-11-25-"))
			case !strings.HasPrefix(line, "#") && len(fields) > 1:
				words = append(words, strings.TrimLeft(strings.TrimPrefix(fields[1], "C"), "0"))
			case !strings.HasPrefix(line, "#"):
				words = append(words, fields[0])
			}
		}
		out[e.Name()] = strings.Join(words, " ")
	}
	return out
}

func checkContent(t *testing.T, dir string, want map[string]string) {
	t.Helper()
	if diff := cmp.Diff(want, content(t, dir)); diff != "" {
		t.Errorf("logs differ (-want +got):\n%s", diff)
	}
}

// TestRotationAsZeek checks when logs are rotated and what they are called.
func TestRotationAsZeek(t *testing.T) {
	dir := t.TempDir()
	l := openLive(t, zeeklog.LiveConfig{Config: zeeklog.Config{Dir: dir}, Rotate: time.Hour}, at("10:10:00.500"))
	connections(t, l, 1, 1)
	flush(t, l, at("10:10:01.000"))
	checkContent(t, dir, map[string]string{"conn.log": "open 10-10-01 1"})
	connections(t, l, 2, 1)
	// Hours of UTC begin at half past.
	flush(t, l, at("10:29:59.900"))
	checkContent(t, dir, map[string]string{"conn.log": "open 10-10-01 1 2"})
	connections(t, l, 3, 1)
	flush(t, l, at("10:30:00.100"))
	first := "conn-26-11-25_10.10.00.log"
	checkContent(t, dir, map[string]string{first: "open 10-10-01 1 2 3 close 10-30-00"})
	// The log goes on with the rotation, even where its first record is late.
	flush(t, l, at("10:31:00.000"))
	connections(t, l, 4, 1)
	_, intel := sample()
	if err := l.Intel(intel); err != nil {
		t.Fatal(err)
	}
	flush(t, l, at("10:31:01.000"))
	flush(t, l, at("11:30:02.000"))
	second := "conn-26-11-25_10.30.00.log"
	want := map[string]string{
		first:                        "open 10-10-01 1 2 3 close 10-30-00",
		second:                       "open 10-31-01 4 close 11-30-02",
		"dns-26-11-25_10.31.00.log":  "open 10-31-01 123456789abcdef close 11-30-02",
		"conn-26-11-25_11.30.00.log": "open 13-00-00 5 close 13-00-00",
	}
	// Two rotations without records leave no files. The end rotates as well.
	flush(t, l, at("12:45:00.000"))
	connections(t, l, 5, 1)
	if err := l.Close(at("13:00:00.000")); err != nil {
		t.Fatal(err)
	}
	delete(want, "conn-26-11-25_11.30.00.log")
	want["conn-26-11-25_12.30.00.log"] = "open 13-00-00 5 close 13-00-00"
	checkContent(t, dir, want)
	if got, want := l.Stats(), (zeeklog.Stats{Lines: 6, Rotations: 4}); got != want {
		t.Errorf("Stats() = %+v, want %+v", got, want)
	}
}

func TestRotationJSON(t *testing.T) {
	dir := t.TempDir()
	cfg := zeeklog.LiveConfig{Config: zeeklog.Config{Dir: dir, JSON: true}, Rotate: time.Minute}
	l := openLive(t, cfg, at("10:10:00.000"))
	connections(t, l, 1, 1)
	flush(t, l, at("10:11:00.000"))
	name := filepath.Join(dir, "conn-26-11-25_10.10.00.log")
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(string(text), `{"ts":1000000000.000000,"uid":"C0000000000000001"`) || strings.Count(string(text), "\n") != 1 {
		t.Errorf("%s = %q", name, text)
	}
}

// TestNothingIsOverwritten rotates to a name that is taken.
func TestNothingIsOverwritten(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"conn-26-11-25_10.10.00.log", "conn-26-11-25_10.10.00-1.log"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("mine\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	l := openLive(t, zeeklog.LiveConfig{Config: zeeklog.Config{Dir: dir}, Rotate: time.Minute}, at("10:10:00.000"))
	connections(t, l, 1, 1)
	flush(t, l, at("10:11:00.000"))
	checkContent(t, dir, map[string]string{
		"conn-26-11-25_10.10.00.log":   "mine",
		"conn-26-11-25_10.10.00-1.log": "mine",
		"conn-26-11-25_10.10.00-2.log": "open 10-11-00 1 close 10-11-00",
	})
}

// TestKilled starts where an earlier run left logs.
func TestKilled(t *testing.T) {
	dir := t.TempDir()
	cfg := zeeklog.LiveConfig{Config: zeeklog.Config{Dir: dir}}
	killed := openLive(t, cfg, at("10:00:00.000"))
	connections(t, killed, 1, 2)
	flush(t, killed, at("10:00:07.000"))
	// Killed in the middle of a line.
	f, err := os.OpenFile(filepath.Join(dir, "conn.log"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString("cut"); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	// A log that does not say when it was opened has its file's time.
	other := filepath.Join(dir, "dns.log")
	if err := os.WriteFile(other, []byte("{}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(other, time.Time{}, at("09:30:00.000")); err != nil {
		t.Fatal(err)
	}
	// An empty one holds nothing.
	if err := os.WriteFile(filepath.Join(dir, "http.log"), nil, 0o600); err != nil {
		t.Fatal(err)
	}

	l := openLive(t, cfg, at("11:00:00.000"))
	connections(t, l, 3, 1)
	flush(t, l, at("11:00:01.000"))
	want := map[string]string{
		"conn-26-11-25_10.00.07.log": "open 10-00-07 1 2 cut",
		"conn.log":                   "open 11-00-01 3",
		"dns-26-11-25_09.30.00.log":  "{}",
		"http.log":                   "",
	}
	checkContent(t, dir, want)
	// Without rotation the end leaves the log in place, and the next run moves it.
	if err := l.Close(at("11:05:00.000")); err != nil {
		t.Fatal(err)
	}
	openLive(t, cfg, at("12:00:00.000"))
	delete(want, "conn.log")
	want["conn-26-11-25_11.00.01.log"] = "open 11-00-01 3 close 11-05-00"
	checkContent(t, dir, want)
}

// TestReopen does what logrotate does: rename, make an empty file, SIGHUP.
func TestReopen(t *testing.T) {
	dir := t.TempDir()
	l := openLive(t, zeeklog.LiveConfig{Config: zeeklog.Config{Dir: dir}}, at("10:00:00.000"))
	connections(t, l, 1, 1)
	flush(t, l, at("10:00:01.000"))
	// Without a change it does nothing.
	if err := l.Reopen(at("10:00:02.000")); err != nil {
		t.Fatal(err)
	}
	connections(t, l, 2, 1)
	flush(t, l, at("10:00:03.000"))
	if err := os.Rename(filepath.Join(dir, "conn.log"), filepath.Join(dir, "conn.log.1")); err != nil {
		t.Fatal(err)
	}
	connections(t, l, 3, 1)
	flush(t, l, at("10:00:04.000"))
	if err := os.WriteFile(filepath.Join(dir, "conn.log"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	connections(t, l, 4, 1)
	if err := l.Reopen(at("10:00:05.000")); err != nil {
		t.Fatal(err)
	}
	connections(t, l, 5, 1)
	flush(t, l, at("10:00:06.000"))
	checkContent(t, dir, map[string]string{
		"conn.log.1": "open 10-00-01 1 2 3 4 close 10-00-05",
		"conn.log":   "open 10-00-06 5",
	})
}

// TestRenamedBeforeRotation: what somebody else renamed is not renamed again,
// nor is what he put there.
func TestRenamedBeforeRotation(t *testing.T) {
	dir := t.TempDir()
	l := openLive(t, zeeklog.LiveConfig{Config: zeeklog.Config{Dir: dir}, Rotate: time.Minute}, at("10:00:00.000"))
	connections(t, l, 1, 1)
	flush(t, l, at("10:00:01.000"))
	if err := os.Rename(filepath.Join(dir, "conn.log"), filepath.Join(dir, "mine")); err != nil {
		t.Fatal(err)
	}
	flush(t, l, at("10:01:00.000"))
	checkContent(t, dir, map[string]string{"mine": "open 10-00-01 1 close 10-01-00"})
}

// TestClockSetBack: the next rotation stays within an interval.
func TestClockSetBack(t *testing.T) {
	dir := t.TempDir()
	l := openLive(t, zeeklog.LiveConfig{Config: zeeklog.Config{Dir: dir}, Rotate: time.Minute}, at("10:00:00.000"))
	connections(t, l, 1, 1)
	flush(t, l, at("09:00:30.000"))
	flush(t, l, at("09:01:00.000"))
	checkContent(t, dir, map[string]string{"conn-26-11-25_10.00.00.log": "open 09-00-30 1 close 09-01-00"})
}

// TestDirectoryVanishes: lines wait until the directory is back.
func TestDirectoryVanishes(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "logs")
	l := openLive(t, zeeklog.LiveConfig{Config: zeeklog.Config{Dir: dir}, Rotate: time.Hour}, at("10:00:00.000"))
	if err := os.Remove(dir); err != nil {
		t.Fatal(err)
	}
	connections(t, l, 1, 1)
	if err := l.Flush(at("10:00:01.000")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("Flush() = %v, want that the directory is missing", err)
	}
	// A rotation waits as well.
	if err := l.Flush(at("10:30:01.000")); err == nil {
		t.Error("Flush() succeeds without a directory")
	}
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	connections(t, l, 2, 1)
	flush(t, l, at("10:30:02.000"))
	checkContent(t, dir, map[string]string{"conn-26-11-25_10.00.00.log": "open 10-30-02 1 2 close 10-30-02"})
	if got, want := l.Stats(), (zeeklog.Stats{Lines: 2, Rotations: 1, Errors: 2}); got != want {
		t.Errorf("Stats() = %+v, want %+v", got, want)
	}
}

// TestFullDisk fills a small file system: lines that do not fit in memory are
// lost and counted, every other one is in the log once, none is cut.
func TestFullDisk(t *testing.T) {
	if os.Getenv("WEIR_TEST_ROOT") == "" {
		t.Skip("set WEIR_TEST_ROOT=1: needs root, to mount a tmpfs")
	}
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=1m"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	ballast := filepath.Join(dir, "ballast")
	if err := os.WriteFile(ballast, make([]byte, 600<<10), 0o600); err != nil {
		t.Fatal(err)
	}
	l := openLive(t, zeeklog.LiveConfig{Config: zeeklog.Config{Dir: dir}, Rotate: time.Hour}, at("10:00:00.000"))
	const batches, each = 60, 1000
	for i := range batches {
		connections(t, l, 1+i*each, each)
	}
	if err := l.Flush(at("10:00:01.000")); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("Flush() = %v, want no space", err)
	}
	full := l.Stats()
	if full.Lost == 0 || full.Lost+full.Lines != batches*each || full.Errors == 0 {
		t.Errorf("Stats() = %+v, want some lines lost and %d in all", full, batches*each)
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("", dir, "", syscall.MS_REMOUNT, "size=32m"); err != nil {
		t.Fatal(err)
	}
	flush(t, l, at("10:00:02.000"))
	connections(t, l, 1+batches*each, each)
	if err := l.Close(at("10:00:03.000")); err != nil {
		t.Fatal(err)
	}
	end := l.Stats()
	if end.Lost != full.Lost || end.Lines != full.Lines+each {
		t.Errorf("Stats() = %+v, then %+v", full, end)
	}
	_, lines := records(t, filepath.Join(dir, "conn-26-11-25_10.00.00.log"))
	if len(lines) != int(end.Lines) {
		t.Errorf("the log has %d lines, counted were %d", len(lines), end.Lines)
	}
	seen := map[string]bool{}
	for _, line := range lines {
		fields := strings.Split(line, "\t")
		if len(fields) != 22 || seen[fields[1]] {
			t.Fatalf("line %q is cut or there twice", line)
		}
		seen[fields[1]] = true
	}
}

// TestLiveConcurrently adds, flushes, rotates and reopens at once.
func TestLiveConcurrently(t *testing.T) {
	dir := t.TempDir()
	l := openLive(t, zeeklog.LiveConfig{Config: zeeklog.Config{Dir: dir}, Rotate: time.Second}, at("10:00:00.000"))
	const batches, each = 200, 50
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := range batches {
			connections(t, l, 1+i*each, each)
		}
	})
	wg.Go(func() {
		_, intel := sample()
		for range batches {
			if err := l.Intel(intel); err != nil {
				t.Error(err)
			}
		}
	})
	now := at("10:00:00.000")
	for range 50 {
		now = now.Add(400 * time.Millisecond)
		if err := errors.Join(l.Flush(now), l.Reopen(now)); err != nil {
			t.Error(err)
		}
		l.Stats()
	}
	wg.Wait()
	if err := l.Close(now); err != nil {
		t.Fatal(err)
	}
	names, err := filepath.Glob(filepath.Join(dir, "*.log"))
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]int{}
	for _, name := range names {
		_, lines := records(t, name)
		for _, line := range lines {
			kind, _, _ := strings.Cut(filepath.Base(name), "-")
			seen[kind+" "+strings.Split(line, "\t")[1]]++
		}
	}
	if n := seen["dns C0123456789abcdef"]; n != batches {
		t.Errorf("dns logs hold %d records, want %d", n, batches)
	}
	for i := range batches * each {
		if uid := fmt.Sprintf("conn C%016x", 1+i); seen[uid] != 1 {
			t.Fatalf("%s is there %d times", uid, seen[uid])
		}
	}
}

func TestLiveConfig(t *testing.T) {
	cfg := zeeklog.LiveConfig{Config: zeeklog.Config{Dir: t.TempDir()}, Rotate: time.Millisecond}
	if _, err := zeeklog.OpenLive(cfg, time.Now()); err == nil {
		t.Error("OpenLive() rotates every millisecond")
	}
}
