// SPDX-License-Identifier: Apache-2.0

package lake_test

import (
	"cmp"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/parquet-go/parquet-go"
	"golang.org/x/sys/unix"

	"weir/store/lake"
	"weir/store/lake/laketest"
)

// publish writes n parts of connections and of DNS records.
func publish(t *testing.T, l *lake.Lake, imp lake.Import, n, rows int, seed uint64) {
	t.Helper()
	w := begin(t, l, imp)
	for i := range n {
		conns := genConns(rows, seed+uint64(i))
		for j := range conns {
			conns[j].VLAN = uint16(j % 3)
			for k := range j % 4 {
				conns[j].TunnelParents = append(conns[j].TunnelParents, uint64(j+k))
			}
		}
		if err := w.Connections(batchOf(conns...)); err != nil {
			t.Fatal(err)
		}
		if err := w.Intel(genDNS(rows, seed+uint64(i))); err != nil {
			t.Fatal(err)
		}
		if err := w.Publish(lake.Final{}); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Commit(lake.Final{}); err != nil {
		t.Fatal(err)
	}
}

func compact(t *testing.T, l *lake.Lake, cfg lake.CompactConfig) lake.CompactStats {
	t.Helper()
	s, err := l.Compact(t.Context(), cfg)
	if err != nil {
		t.Fatalf("Compact() = %v", err)
	}
	if left := files(t, l, ".tmp", "*"); len(left) > 0 {
		t.Errorf("after Compact: %v", left)
	}
	return s
}

// kinds returns the parts of a table.
func kinds(t *testing.T, l *lake.Lake, kind string) []lake.Part {
	t.Helper()
	return slices.DeleteFunc(manifest(t, l).Parts, func(p lake.Part) bool { return p.Kind != kind })
}

func sortedRows[T any](t *testing.T, l *lake.Lake, kind string, uid func(*T) int64) []T {
	t.Helper()
	rows := readRows[T](t, l, kind)
	slices.SortFunc(rows, func(a, b T) int { return cmp.Compare(uid(&a), uid(&b)) })
	return rows
}

// same compares many rows.
func same[T any](t *testing.T, before, after []T) {
	t.Helper()
	if len(before) != len(after) {
		t.Fatalf("%d rows became %d", len(before), len(after))
	}
	for i := range before {
		// Comparing row by row with cmp takes seconds.
		if !reflect.DeepEqual(before[i], after[i]) {
			t.Fatalf("row %d changed (-before +after):\n%s", i, gocmp.Diff(before[i], after[i]))
		}
	}
}

func TestCompactKeepsRows(t *testing.T) {
	l := newLake(t)
	publish(t, l, lake.Import{ID: "one", Source: "live", Sensor: "a"}, 15, 700, 1)
	publish(t, l, lake.Import{ID: "two", Source: "stdin", Sensor: "b"}, 15, 1100, 101)
	uid := func(r *connRow) int64 { return r.UID }
	dnsUID := func(r *dnsRow) int64 { return r.UID }
	conns, dns := sortedRows(t, l, "conn", uid), sortedRows(t, l, "dns", dnsUID)
	before := manifest(t, l)
	s := compact(t, l, compactNow)
	if s.Merged != 60 || s.Parts != 2 || s.Rows != 2*15*1800 || s.Rollups != 1 || s.Covered != 15*1800 {
		t.Errorf("Compact() = %+v, want 60 parts merged to 2, and a roll-up", s)
	}
	same(t, conns, sortedRows(t, l, "conn", uid))
	same(t, dns, sortedRows(t, l, "dns", dnsUID))
	checkStore(t, l)
	want := lake.Part{Kind: "conn", Day: before.Parts[0].Day}
	for _, p := range before.Parts {
		if p.Kind == "conn" {
			if want.Rows == 0 {
				want.MinTS, want.MaxTS = p.MinTS, p.MaxTS
			}
			want.Rows, want.Conns = want.Rows+p.Rows, want.Conns+p.Conns
			want.MinTS, want.MaxTS = min(want.MinTS, p.MinTS), max(want.MaxTS, p.MaxTS)
		}
	}
	got := kinds(t, l, "conn")[0]
	rollup := kinds(t, l, lake.RollupTable)
	if len(rollup) != 1 || got.Rollup == "" || rollup[0].Rollup != got.Rollup {
		t.Errorf("%+v is covered by %+v", got, rollup)
	}
	got.Path, got.Sum, got.Bytes, got.Rollup = "", "", 0, ""
	got.Schema, got.Generation, got.Footer, got.FooterSum, got.PageSum = 0, 0, 0, "", ""
	if diff := gocmp.Diff(want, got); diff != "" {
		t.Errorf("merged part (-want +got):\n%s", diff)
	}
	if s := compact(t, l, compactNow); s.Merged+s.Rollups != 0 {
		t.Errorf("second Compact() = %+v, want nothing to do", s)
	}
}

// TestCompactKeepsImports: what can be replaced stays apart.
func TestCompactKeepsImports(t *testing.T) {
	l := newLake(t)
	file := func(name string) lake.Import {
		return lake.Import{ID: name, Source: "capture", Inputs: []lake.Input{{Name: name, Sum: name, Size: 1}}}
	}
	publish(t, l, file("one"), 14, 500, 1)
	publish(t, l, file("two"), 14, 600, 101)
	publish(t, l, lake.Import{ID: "live", Source: "live"}, 14, 500, 201)
	compact(t, l, compactNow)
	got := make(map[string]int64)
	for _, p := range kinds(t, l, "conn") {
		got[p.Import] += p.Rows
		if p.Rollup == "" {
			t.Errorf("%s is not covered", p.Path)
		}
	}
	if diff := gocmp.Diff(map[string]int64{"one": 7000, "two": 8400, "live": 7000}, got); diff != "" {
		t.Errorf("rows of imports (-want +got):\n%s", diff)
	}
	// The roll-up counts connections that leave: it must not outlive them.
	w := begin(t, l, lake.Import{})
	if err := w.Commit(lake.Final{Replace: []string{"one"}}); err != nil {
		t.Fatal(err)
	}
	for _, p := range manifest(t, l).Parts {
		if p.Rollup != "" || p.Kind == lake.RollupTable || p.Import == "one" {
			t.Errorf("after an import was replaced: %+v", p)
		}
	}
	checkStore(t, l)
	if s := compact(t, l, compactNow); s.Rollups != 1 || s.Covered != 15400 {
		t.Errorf("Compact() = %+v, want a new roll-up", s)
	}
}

// TestCompactWaits: young parts, days that go on, and few parts stay.
func TestCompactWaits(t *testing.T) {
	l := newLake(t)
	publish(t, l, lake.Import{Source: "live"}, 14, 800, 1)
	if s := compact(t, l, lake.CompactConfig{}); s.Merged+s.Rollups != 0 {
		t.Errorf("Compact() of young parts = %+v, want nothing", s)
	}
	if s := compact(t, l, lake.CompactConfig{MinAge: -1}); s.Merged != 28 || s.Rollups != 0 {
		t.Errorf("Compact() before the day is quiet = %+v, want no roll-up", s)
	}
	if s := compact(t, l, lake.CompactConfig{MinAge: -1, QuietFor: -1, MinRollup: 1e6}); s.Rollups != 0 {
		t.Errorf("Compact() of few rows = %+v, want no roll-up", s)
	}
	if s := compact(t, l, compactNow); s.Rollups != 1 {
		t.Errorf("Compact() = %+v, want a roll-up", s)
	}
	// A few late rows do without; many make a new one.
	publish(t, l, lake.Import{Source: "live"}, 1, 300, 50)
	if s := compact(t, l, compactNow); s.Rollups != 0 {
		t.Errorf("Compact() of few late rows = %+v, want no roll-up", s)
	}
	publish(t, l, lake.Import{Source: "live"}, 4, 800, 60)
	if s := compact(t, l, compactNow); s.Rollups != 1 || s.Covered != 14*800+300+4*800 {
		t.Errorf("Compact() of many late rows = %+v, want a new roll-up", s)
	}
	if n := len(kinds(t, l, lake.RollupTable)); n != 1 {
		t.Errorf("%d parts of roll-ups, want 1", n)
	}
	// Today goes on.
	today := newLake(t)
	now := time.Now().UTC().Truncate(24 * time.Hour)
	if err := laketest.Fill(today, laketest.Config{Day: now, Conns: 11_000, PerPart: 1000, Flows: 5000}); err != nil {
		t.Fatal(err)
	}
	if s := compact(t, today, compactNow); s.Merged+s.Rollups != 0 {
		t.Errorf("Compact() of 11 parts of today = %+v, want nothing", s)
	}
	cfg := compactNow
	cfg.All = true
	if s := compact(t, today, cfg); s.Merged != 11 || s.Rollups != 0 {
		t.Errorf("Compact() of all = %+v, want 11 merged", s)
	}
}

func TestCompactLeavesDamage(t *testing.T) {
	l := newLake(t)
	publish(t, l, lake.Import{Source: "live"}, 20, 800, 1)
	bad := kinds(t, l, "conn")[7]
	name := filepath.Join(l.Path(), bad.Path)
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	data[len(data)/2] ^= 1
	write(t, name, string(data))
	s := compact(t, l, compactNow)
	if s.Merged != 39 || len(s.Unfit) != 1 || !strings.Contains(s.Unfit[0].Error(), bad.Path) {
		t.Errorf("Compact() = %+v, want 39 merged, %s left alone", s, bad.Path)
	}
	if s.Covered != 19*800 {
		t.Errorf("the roll-up covers %d rows, want %d", s.Covered, 19*800)
	}
	if parts := kinds(t, l, "conn"); len(parts) != 2 || parts[0].Path != bad.Path || parts[0].Rollup != "" {
		t.Errorf("parts = %+v, want the damaged one and another", parts)
	}
	if s := compact(t, l, compactNow); s.Merged+s.Rollups+len(s.Unfit) != 0 {
		t.Errorf("second Compact() = %+v, want nothing to do", s)
	}
}

func TestCompactOneAtATime(t *testing.T) {
	l := newLake(t)
	publish(t, l, lake.Import{Source: "live"}, 14, 800, 1)
	f, err := os.OpenFile(filepath.Join(l.Path(), ".compact.lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Compact(t.Context(), compactNow); !errors.Is(err, lake.ErrCompacting) {
		t.Errorf("Compact() = %v, want %v", err, lake.ErrCompacting)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	// Canceled in the midst of a merge, it leaves nothing.
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	before := manifest(t, l)
	cfg := compactNow
	cfg.Progress = func(int64) { cancel() }
	if _, err := l.Compact(ctx, cfg); !errors.Is(err, context.Canceled) {
		t.Errorf("Compact() = %v, want %v", err, context.Canceled)
	}
	if diff := gocmp.Diff(before, manifest(t, l)); diff != "" {
		t.Errorf("after cancel (-before +after):\n%s", diff)
	}
	if left := files(t, l, ".tmp", "*"); len(left) > 0 {
		t.Errorf("after cancel: %v", left)
	}
	warn := func(err error) { t.Errorf("LowPriority: %v", err) }
	err = lake.LowPriority(warn, func() error {
		n, err := unix.Getpriority(unix.PRIO_PROCESS, 0)
		if n != 20-10 { // as the system call has it
			t.Errorf("the priority is %d, want 10", n)
		}
		compact(t, l, compactNow)
		return err
	})
	if err != nil {
		t.Error(err)
	}
	checkStore(t, l)
}

// TestCompactSurvivesChange: an import is replaced while its parts are merged.
func TestCompactSurvivesChange(t *testing.T) {
	l := newLake(t)
	publish(t, l, lake.Import{ID: "gone", Source: "capture"}, 14, 800, 1)
	cfg, once := compactNow, false
	cfg.Progress = func(int64) {
		if !once {
			once = true
			if err := commitRows(l, 10, lake.Import{}, lake.Final{Replace: []string{"gone"}}); err != nil {
				t.Error(err)
			}
		}
	}
	if s := compact(t, l, cfg); s.Superseded != 2 || s.Merged+s.Rollups != 0 {
		t.Errorf("Compact() = %+v, want two merges given up", s)
	}
	if conns, dns := checkStore(t, l); conns != 10 || dns != 10 {
		t.Errorf("%d connections, %d DNS records, want 10 each", conns, dns)
	}
}

// TestCompactKill kills compactors at any moment.
func TestCompactKill(t *testing.T) {
	kills := killCount(t, 20, 4)
	l := newLake(t)
	first := time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC)
	const conns, perPart = 12_000, 400
	fill := func(l *lake.Lake, i int) time.Time {
		day := first.AddDate(0, 0, i)
		err := laketest.Fill(l, laketest.Config{
			Day: day, Conns: conns, PerPart: perPart, Flows: 3000, Draw: uint64(i),
		})
		if err != nil {
			t.Fatal(err)
		}
		return day
	}
	inside, merged := 0, 0
	for i := range kills {
		day := fill(l, i)
		before := len(manifest(t, l).Parts)
		cmd := job(t, "compact-endless", l.Path())
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		// By its progress, since a busy machine may take any time.
		if _, err := io.ReadFull(out, make([]byte, len("ready\n")+i*37%60)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Duration(i%4) * time.Millisecond)
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait() // says that it was killed
		inside += len(files(t, l, ".tmp", "*"))
		start := time.Now()
		openLake(t, l.Path())
		if took := time.Since(start); took > 2*time.Second {
			t.Errorf("the store took %v to open", took)
		}
		// All files are read now and then only: the store grows.
		if i%10 == 9 {
			if rows, _ := checkStore(t, l); rows != int64(i+1)*conns {
				t.Fatalf("%d rows after %d kills, want %d", rows, i+1, (i+1)*conns)
			}
		}
		if left := files(t, l, ".tmp", "*"); len(left) > 0 {
			t.Errorf("after kill and open: %v", left)
		}
		checkDay(t, l, day.Format(time.DateOnly), conns)
		if len(manifest(t, l).Parts) < before {
			merged++
		}
	}
	t.Logf("%d of %d kills hit a compaction, %d came after a merge", inside, kills, merged)
	if inside < kills/5 || merged < kills/5 {
		t.Errorf("only %d of %d kills hit a compaction, %d came after a merge", inside, kills, merged)
	}
}

// checkDay checks that a day has so many different connections, and its
// roll-up those that it covers.
func checkDay(t *testing.T, l *lake.Lake, day string, conns int) {
	t.Helper()
	uids := make(map[int64]bool)
	counts := make(map[string]int64)
	for _, p := range manifest(t, l).Parts {
		if p.Day != day {
			continue
		}
		type counter struct {
			UID   int64 `parquet:"uid"`
			Count int64 `parquet:"count"`
		}
		name := filepath.Join(l.Path(), p.Path)
		switch p.Kind {
		case lake.ConnTable:
			for _, r := range readFile[counter](t, name) {
				if uids[r.UID] {
					t.Errorf("%s: uid %d is there twice", day, r.UID)
				}
				uids[r.UID] = true
			}
			if p.Rollup != "" {
				counts[p.Rollup] -= p.Conns
			}
		case lake.RollupTable:
			for _, r := range readFile[struct {
				Count int64 `parquet:"count"`
			}](t, name) {
				counts[p.Rollup] += r.Count
			}
		}
	}
	if len(uids) != conns {
		t.Errorf("%s: %d connections, want %d", day, len(uids), conns)
	}
	for id, n := range counts {
		if n != 0 {
			t.Errorf("%s: the roll-up %s counts %d connections too many", day, id, n)
		}
	}
}

func readFile[T any](t *testing.T, name string) []T {
	t.Helper()
	rows, err := parquet.ReadFile[T](name)
	if err != nil {
		t.Fatalf("read %s: %v", name, err)
	}
	return rows
}
