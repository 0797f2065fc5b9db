// SPDX-License-Identifier: Apache-2.0

package lake_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"weir/store/lake"
)

// paths returns where parts are.
func paths(parts []lake.Part) []string {
	out := make([]string, 0, len(parts))
	for i := range parts {
		out = append(out, parts[i].Path)
	}
	return out
}

func TestIncoming(t *testing.T) {
	l := newLake(t)
	publish(t, l, lake.Import{ID: "b", Source: "live"}, 2, 50, 1)
	publish(t, l, lake.Import{ID: "a", Source: "live"}, 1, 50, 9)
	day := manifest(t, l).Parts[0].Day
	name := func(kind, id string, n int) string {
		return fmt.Sprintf("%[1]s/day=%[2]s/%[1]s-%[3]s-%05[4]d.parquet", kind, day, id, n)
	}
	want := []string{
		name("conn", "b", 1), name("dns", "b", 1), name("conn", "b", 2), name("dns", "b", 2),
		name("conn", "a", 1), name("dns", "a", 1),
	}
	if diff := gocmp.Diff(want, paths(manifest(t, l).Incoming())); diff != "" {
		t.Errorf("Incoming() (-want +got):\n%s", diff)
	}
	m := manifest(t, l)
	slices.Reverse(m.Parts)
	if diff := gocmp.Diff(want, paths(m.Incoming())); diff != "" {
		t.Errorf("Incoming() of the manifest turned round (-want +got):\n%s", diff)
	}
	// Roll-ups hold no rows of their own.
	cfg := compactNow
	cfg.MinRollup = 1
	compact(t, l, cfg)
	if m := manifest(t, l); len(m.Incoming()) != len(m.Parts)-1 {
		t.Errorf("Incoming() = %v of %v", paths(m.Incoming()), paths(m.Parts))
	}
}

func TestDrop(t *testing.T) {
	l := newLake(t)
	publish(t, l, lake.Import{ID: "live", Source: "live"}, 4, 100, 1)
	before := manifest(t, l)
	in := paths(before.Incoming())
	if err := l.Drop(append([]string{"conn/gone.parquet"}, in[1:4]...)); err != nil {
		t.Fatal(err)
	}
	after := manifest(t, l)
	if diff := gocmp.Diff(append(in[:1:1], in[4:]...), paths(after.Incoming())); diff != "" {
		t.Errorf("after Drop() (-want +got):\n%s", diff)
	}
	if after.Generation != before.Generation+1 || len(after.Imports) != 1 {
		t.Errorf("after Drop() generation %d, imports %+v", after.Generation, after.Imports)
	}
	if old := files(t, l, ".old", "*", "*"); len(old) != 3 {
		t.Errorf("replaced: %v, want 3 parts that readers may still have open", old)
	}
	if err := l.Drop(in[1:4]); err != nil || manifest(t, l).Generation != after.Generation {
		t.Errorf("Drop() of what is gone = %v, generation %d, want no change", err, manifest(t, l).Generation)
	}
	checkStore(t, l)

	spool, err := lake.Open(l.Path(), lake.Config{Grace: 1})
	if err != nil {
		t.Fatal(err)
	}
	if err := spool.Drop(in); err != nil {
		t.Fatal(err)
	}
	if left := append(files(t, l, ".old", "*"), files(t, l, "conn", "*")...); len(left) > 0 {
		t.Errorf("after all parts were dropped without grace: %v", left)
	}
	if n := len(manifest(t, l).Parts); n != 0 {
		t.Errorf("%d parts are left", n)
	}
}

// TestDropRollup: a roll-up goes with what it counts.
func TestDropRollup(t *testing.T) {
	l := newLake(t)
	publish(t, l, lake.Import{ID: "a", Source: "capture", Inputs: []lake.Input{{Name: "a", Sum: "a"}}}, 2, 800, 1)
	publish(t, l, lake.Import{ID: "b", Source: "live"}, 2, 800, 11)
	cfg := compactNow
	cfg.MinRollup = 1
	compact(t, l, cfg)
	conns := kinds(t, l, lake.ConnTable)
	if len(conns) < 2 || conns[0].Rollup == "" {
		t.Fatalf("parts %+v, want several that are covered", conns)
	}
	if err := l.Drop([]string{conns[0].Path}); err != nil {
		t.Fatal(err)
	}
	for _, p := range manifest(t, l).Parts {
		if p.Rollup != "" {
			t.Errorf("%s is covered by %s", p.Path, p.Rollup)
		}
	}
	checkStore(t, l)
}

func TestForget(t *testing.T) {
	l := newLake(t)
	for _, id := range []string{"gone", "kept", "named"} {
		publish(t, l, lake.Import{ID: id, Source: "capture", Inputs: []lake.Input{{Name: id, Sum: id}}}, 1, 50, 1)
	}
	w := begin(t, l, lake.Import{ID: "open", Source: "live"})
	if err := w.Publish(lake.Final{}); err != nil {
		t.Fatal(err)
	}
	var drop []string
	for _, p := range manifest(t, l).Parts {
		if p.Import != "named" {
			drop = append(drop, p.Path)
		}
	}
	if err := l.Drop(drop); err != nil {
		t.Fatal(err)
	}
	if err := l.Forget([]string{"gone", "named", "open", "nobody"}); err != nil {
		t.Fatal(err)
	}
	ids := func() (ids []string) {
		for _, imp := range manifest(t, l).Imports {
			ids = append(ids, imp.ID)
		}
		return ids
	}
	if diff := gocmp.Diff([]string{"kept", "named", "open"}, ids()); diff != "" {
		t.Errorf("imports (-want +got):\n%s", diff)
	}
	before := manifest(t, l).Generation
	if err := l.Forget([]string{"gone", "open"}); err != nil || manifest(t, l).Generation != before {
		t.Errorf("Forget() of nothing = %v, generation %d, want no change", err, manifest(t, l).Generation)
	}
	if err := w.Commit(lake.Final{}); err != nil {
		t.Fatal(err)
	}
	if err := l.Forget([]string{"open"}); err != nil {
		t.Fatal(err)
	}
	if diff := gocmp.Diff([]string{"kept", "named"}, ids()); diff != "" {
		t.Errorf("imports (-want +got):\n%s", diff)
	}
}

// TestCompactExcept: parts that somebody reads stay where they are.
func TestCompactExcept(t *testing.T) {
	l := newLake(t)
	publish(t, l, lake.Import{Source: "live"}, 20, 800, 1)
	read := manifest(t, l).Incoming()[7:9]
	cfg := compactNow
	cfg.Except = func(path string) bool { return slices.Contains(paths(read), path) }
	if s := compact(t, l, cfg); s.Merged != 38 || s.Covered != 19*800 {
		t.Errorf("Compact() = %+v, want 38 merged and 19 of 20 parts covered", s)
	}
	for _, p := range manifest(t, l).Parts {
		if cfg.Except(p.Path) {
			if i := slices.Index(paths(read), p.Path); p.Rollup != "" || !gocmp.Equal(p, read[i]) {
				t.Errorf("%+v became %+v", read[i], p)
			}
			read = slices.Delete(read, slices.Index(paths(read), p.Path), slices.Index(paths(read), p.Path)+1)
		}
	}
	if len(read) > 0 {
		t.Errorf("%v are gone", paths(read))
	}
	checkStore(t, l)
}

// TestKillDrop kills a process that drops what comes in: each part is wholly
// there or not at all.
func TestKillDrop(t *testing.T) {
	kills := killCount(t, 12, 3)
	l := newLake(t)
	inside := 0
	for i := range kills {
		publish(t, l, lake.Import{ID: fmt.Sprintf("i%d", i), Source: "live"}, 8, 20, uint64(i))
		before := len(manifest(t, l).Parts)
		cmd := job(t, "drop", l.Path())
		killed(t, cmd, time.Duration(i*5%60)*time.Millisecond)
		l = openLake(t, l.Path())
		left := manifest(t, l).Parts
		if r := checked(t, l.Path()); len(r.Damage) > 0 {
			t.Fatalf("after kill %d: %+v", i, r.Damage)
		}
		if n := len(files(t, l, "conn", "*", "*")) + len(files(t, l, "dns", "*", "*")); n != len(left) {
			t.Errorf("%d files for %d parts", n, len(left))
		}
		if n := len(left); n > 0 && n < before {
			inside++
		}
	}
	t.Logf("%d of %d kills came amid drops", inside, kills)
	if inside == 0 && kills >= 10 { // of a few, all may miss
		t.Error("no kill came amid drops")
	}
}
