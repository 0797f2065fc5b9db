// SPDX-License-Identifier: Apache-2.0

package lake_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"weir/store/lake"
)

func pin(t *testing.T, l *lake.Lake, id string) *lake.Pinned {
	t.Helper()
	p, err := l.Pin(id)
	if err != nil {
		t.Fatalf("Pin(%s) = %v", id, err)
	}
	return p
}

// checkPin reads all of a snapshot and returns how many connections and records
// it has.
func checkPin(t *testing.T, p *lake.Pinned) (conns, intel int64) {
	t.Helper()
	for _, part := range p.Manifest.Incoming() {
		var err error
		if part.Kind == lake.ConnTable {
			err = lake.ReadFlows(t.Context(), p.Root, &part, 500, time.Hour, 0, func(_ int, flows []lake.FlowRow) error {
				for i := range flows {
					conns += flows[i].Count
				}
				return nil
			})
		} else {
			err = lake.ReadIntel(t.Context(), p.Root, &part, 500, 0, func(_ int, recs []lake.IntelRow) error {
				intel += int64(len(recs))
				return nil
			})
		}
		if err != nil {
			t.Fatalf("snapshot %s: %v", p.ID, err)
		}
	}
	return conns, intel
}

// TestPin: a snapshot stays whatever happens to the store.
func TestPin(t *testing.T) {
	l := newLake(t)
	publish(t, l, lake.Import{ID: "a", Source: "live"}, 14, 800, 1)
	before := manifest(t, l)
	made := pin(t, l, "load")
	if _, err := l.Pin("load"); !errors.Is(err, lake.ErrPinned) {
		t.Errorf("Pin() again = %v, want %v", err, lake.ErrPinned)
	}
	for _, id := range []string{"", ".", "..", "../x", "a/b", ".x"} {
		if _, err := l.Pin(id); err == nil {
			t.Errorf("Pin(%q) = nil, want an error", id)
		}
	}
	if left := files(t, l, ".tmp", "*"); len(left) > 0 {
		t.Errorf("after Pin(): %v", left)
	}
	// Merged, dropped, expired, and swept.
	publish(t, l, lake.Import{ID: "b", Source: "live"}, 2, 800, 50)
	if s := compact(t, l, compactNow); s.Merged == 0 || s.Rollups == 0 {
		t.Fatalf("Compact() = %+v", s)
	}
	l, err := lake.Open(l.Path(), lake.Config{Grace: 1})
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Drop(paths(manifest(t, l).Incoming()[:1])); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Retain(lake.RetainConfig{Before: time.Now()}); err != nil {
		t.Fatal(err)
	}
	if n := len(manifest(t, l).Parts); n != 0 {
		t.Fatalf("%d parts are left", n)
	}
	if err := l.Sweep(); err != nil {
		t.Fatal(err)
	}
	if old := files(t, l, ".old", "*"); len(old) > 0 {
		t.Errorf("replaced: %v, want nothing, since there is no grace", old)
	}
	r := checked(t, l.Path())
	if len(r.Damage) > 0 || len(r.Notes) != 1 || r.Notes[0].Path != ".pin/load" || !strings.Contains(r.Notes[0].Reason, "29 files") {
		t.Errorf("Check() = %+v, want a note about the snapshot", r)
	}
	if r := repaired(t, l.Path()); r.Repaired {
		t.Errorf("Repair() = %+v, want nothing to do", r)
	}

	found, err := l.FindPin("load")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range []*lake.Pinned{made, found} {
		if diff := gocmp.Diff(before, p.Manifest); diff != "" || p.ID != "load" {
			t.Errorf("the snapshot %s (-want +got):\n%s", p.ID, diff)
		}
		if conns, intel := checkPin(t, p); conns != 14*800 || intel != 14*800 {
			t.Errorf("the snapshot has %d connections, %d records, want %d", conns, intel, 14*800)
		}
	}
	if r := checked(t, found.Root); len(r.Damage) > 0 || r.Parts != 28 {
		t.Errorf("Check() of the snapshot = %+v", r)
	}
	for range 2 {
		if err := found.Release(); err != nil {
			t.Fatal(err)
		}
		if left := append(files(t, l, ".pin", "*"), files(t, l, ".tmp", "*")...); len(left) > 0 {
			t.Errorf("after Release(): %v", left)
		}
	}
	if _, err := l.FindPin("load"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("FindPin() after Release() = %v, want %v", err, fs.ErrNotExist)
	}
	// A store that is emptied keeps nothing.
	pin(t, l, "load")
	if err := lake.Init(l.Path()); err != nil {
		t.Fatal(err)
	}
	if left := append(files(t, l, ".pin"), files(t, l, ".tmp", "*")...); len(left) > 0 {
		t.Errorf("after Init(): %v", left)
	}
}

func TestPinNoLinks(t *testing.T) {
	l := newLake(t)
	publish(t, l, lake.Import{}, 1, 100, 1)
	// No file system lets a directory have a second name.
	name := filepath.Join(l.Path(), manifest(t, l).Parts[1].Path)
	if err := errors.Join(os.Remove(name), os.Mkdir(name, 0o755)); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Pin("load"); !errors.Is(err, lake.ErrNoLinks) {
		t.Errorf("Pin() = %v, want %v", err, lake.ErrNoLinks)
	}
	// A part that is lost is an error of the store.
	if err := os.Remove(name); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Pin("load"); !errors.Is(err, fs.ErrNotExist) || errors.Is(err, lake.ErrNoLinks) {
		t.Errorf("Pin() = %v, want %v", err, fs.ErrNotExist)
	}
	if left := append(files(t, l, ".pin", "*"), files(t, l, ".tmp", "*")...); len(left) > 0 {
		t.Errorf("after Pin() that failed: %v", left)
	}
}

// TestPinWhileMerged takes snapshots of a store that changes all the time.
func TestPinWhileMerged(t *testing.T) {
	l := newLake(t)
	const publications, rows = 30, 100
	done := make(chan error, 1)
	go func() {
		for i := range publications {
			if err := commitRows(l, rows, lake.Import{ID: fmt.Sprintf("i%d", i), Source: "live"}, lake.Final{}); err != nil {
				done <- err
				return
			}
			if _, err := l.Compact(t.Context(), lake.CompactConfig{MinAge: -1, All: true, MinRollup: 1 << 40}); err != nil {
				done <- err
				return
			}
		}
		done <- nil
	}()
	var last int64
	for i := 0; ; i++ {
		p := pin(t, l, fmt.Sprint(i))
		conns, intel := checkPin(t, p)
		if conns != intel || conns < last || conns%rows != 0 {
			t.Errorf("a snapshot of %d connections and %d records comes after one of %d", conns, intel, last)
		}
		last = conns
		if err := p.Release(); err != nil {
			t.Fatal(err)
		}
		select {
		case err := <-done:
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("%d snapshots", i)
			return
		default:
		}
	}
}

// TestKillPin: a snapshot is complete or not there.
func TestKillPin(t *testing.T) {
	kills := killCount(t, 12, 3)
	l := newLake(t)
	publish(t, l, lake.Import{ID: "a", Source: "live"}, 20, 20, 1)
	inside := 0
	for i := range kills {
		cmd := job(t, "pin", l.Path())
		killed(t, cmd, time.Duration(5+i*7%40)*time.Millisecond)
		inside += len(files(t, l, ".tmp", "*"))
		l = openLake(t, l.Path())
		if left := files(t, l, ".tmp", "*"); len(left) > 0 {
			t.Errorf("after kill and open: %v", left)
		}
		for _, name := range files(t, l, ".pin", "*") {
			p, err := l.FindPin(filepath.Base(name))
			if err != nil {
				t.Fatal(err)
			}
			if conns, intel := checkPin(t, p); conns != 400 || intel != 400 {
				t.Errorf("the snapshot has %d connections, %d records, want 400", conns, intel)
			}
			if err := p.Release(); err != nil {
				t.Fatal(err)
			}
		}
		if r := checked(t, l.Path()); len(r.Damage)+len(r.Notes) > 0 {
			t.Errorf("Check() = %+v, want nothing", r)
		}
	}
	t.Logf("%d of %d kills hit a snapshot that was made or removed", inside, kills)
	if inside == 0 {
		t.Error("no kill hit a snapshot that was made or removed")
	}
}
