// SPDX-License-Identifier: Apache-2.0

package lake_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"weir/store/lake"
)

func checked(t *testing.T, path string) *lake.Report {
	t.Helper()
	r, err := lake.Check(t.Context(), path, lake.CheckConfig{})
	if err != nil {
		t.Fatalf("Check() = %v", err)
	}
	return r
}

func repaired(t *testing.T, path string) *lake.Report {
	t.Helper()
	r, err := lake.Repair(t.Context(), path, lake.CheckConfig{})
	if err != nil {
		t.Fatalf("Repair() = %v", err)
	}
	return r
}

// twoImports makes a store of two imports with connections and DNS.
func twoImports(t *testing.T) *lake.Lake {
	t.Helper()
	l := newLake(t)
	for _, id := range []string{"a", "b"} {
		imp := lake.Import{ID: id, Inputs: []lake.Input{{Name: id + ".pcap", Sum: id, Head: id, Size: 1}}}
		if err := commitRows(l, 100, imp, lake.Final{}); err != nil {
			t.Fatal(err)
		}
	}
	if r := checked(t, l.Path()); len(r.Damage) > 0 || len(r.Notes) > 0 || r.Parts != 4 || r.Rows != 400 {
		t.Fatalf("Check() = %+v, want nothing wrong", r)
	}
	return l
}

func damage(t *testing.T, name string, at int) {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	data[at] ^= 0x10
	if err := os.WriteFile(name, data, 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestCheckParts(t *testing.T) {
	l := twoImports(t)
	parts := manifest(t, l).Parts
	// One of every way: another byte, cut off, gone.
	damage(t, filepath.Join(l.Path(), parts[0].Path), 100)
	if err := os.Truncate(filepath.Join(l.Path(), parts[1].Path), parts[1].Bytes-1); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(l.Path(), parts[2].Path)); err != nil {
		t.Fatal(err)
	}
	want := []struct{ path, reason string }{
		{parts[0].Path, "its sum is"},
		{parts[1].Path, "bytes, not"},
		{parts[2].Path, "missing"},
	}
	r := checked(t, l.Path())
	if len(r.Damage) != len(want) {
		t.Fatalf("Check() found %+v, want %d", r.Damage, len(want))
	}
	for i, p := range r.Damage {
		if p.Path != want[i].path || !strings.Contains(p.Reason, want[i].reason) {
			t.Errorf("Check() found %+v, want %+v", p, want[i])
		}
	}
	before := manifest(t, l).Generation
	if r = repaired(t, l.Path()); !r.Repaired || len(r.Lost) != 3 {
		t.Fatalf("Repair() = %+v, want 3 parts lost", r)
	}
	for i, loss := range r.Lost {
		p := parts[i]
		if loss.Path != p.Path || loss.Rows != 100 || loss.Connections != p.Conns || loss.Import != p.Import ||
			len(loss.Inputs) != 1 || loss.Inputs[0] != p.Import+".pcap" || loss.First.UnixMicro() != p.MinTS {
			t.Errorf("lost %+v, want %+v", loss, p)
		}
	}
	m := manifest(t, l)
	if len(m.Parts) != 1 || m.Generation != before+1 || !m.Find("a").Damaged || !m.Find("b").Damaged {
		t.Errorf("after the repair: %+v", m)
	}
	if got := files(t, l, ".damaged", "*", "*", "*", "*"); len(got) != 2 {
		t.Errorf("set aside: %v, want two parts", got)
	}
	r = checked(t, l.Path())
	if len(r.Damage) != 0 || len(r.Notes) != 1 || r.Notes[0].Path != ".damaged" {
		t.Errorf("Check() after the repair = %+v, want a note about .damaged only", r)
	}
	if r = repaired(t, l.Path()); r.Repaired || len(r.Lost) > 0 {
		t.Errorf("Repair() again = %+v, want nothing", r)
	}
}

// What was made of damaged parts goes with them, and nothing is lost with a
// damaged roll-up, which is made again.
func TestRepairRollups(t *testing.T) {
	l := newLake(t)
	publish(t, l, lake.Import{ID: "a", Source: "live"}, 3, 1000, 7)
	cfg := lake.CompactConfig{MinAge: -1, QuietFor: -1, MinRollup: 1}
	if s := compact(t, l, cfg); s.Rollups != 1 {
		t.Fatalf("Compact() = %+v, want a roll-up", s)
	}
	kinds := func() map[string]int {
		n := make(map[string]int)
		for _, p := range manifest(t, l).Parts {
			n[p.Kind]++
		}
		return n
	}
	find := func(kind string) string {
		for _, p := range manifest(t, l).Parts {
			if p.Kind == kind {
				return filepath.Join(l.Path(), p.Path)
			}
		}
		t.Fatalf("no part of %s", kind)
		return ""
	}
	conns := kinds()[lake.ConnTable]

	damage(t, find(lake.RollupTable), 100)
	r := repaired(t, l.Path())
	if n := kinds(); !r.Repaired || len(r.Lost) != 0 || len(r.Mended) != 1 || n[lake.RollupTable] != 0 || n[lake.ConnTable] != conns {
		t.Errorf("Repair() of a roll-up = %+v, then %v", r, n)
	}
	if r = checked(t, l.Path()); len(r.Damage) != 0 {
		t.Errorf("Check() after it = %+v", r.Damage)
	}
	if s := compact(t, l, cfg); s.Rollups != 1 {
		t.Errorf("Compact() after it = %+v, want a roll-up", s)
	}

	damage(t, find(lake.ConnTable), 100)
	r = repaired(t, l.Path())
	if n := kinds(); len(r.Lost) != 1 || r.Lost[0].Kind != lake.ConnTable || n[lake.RollupTable] != 0 || n[lake.ConnTable] != conns-1 {
		t.Errorf("Repair() of connections = %+v, then %v", r, n)
	}
}

func TestCheckManifest(t *testing.T) {
	for _, tc := range []struct {
		name    string
		stale   bool // the copy is of the generation before
		at      int
		conns   int64
		unknown bool
	}{
		{"sum", false, 10, 200, false},
		{"prefix", false, 2, 200, false},
		{"generation", false, 55, 200, true}, // nobody can tell that nothing is lost
		{"parts", false, 300, 200, false},
		{"stale copy", true, 300, 100, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			l := newLake(t)
			copyName := filepath.Join(l.Path(), ".MANIFEST.copy")
			if err := commitRows(l, 100, lake.Import{ID: "a"}, lake.Final{}); err != nil {
				t.Fatal(err)
			}
			old, err := os.ReadFile(copyName)
			if err != nil {
				t.Fatal(err)
			}
			if err := commitRows(l, 100, lake.Import{ID: "b"}, lake.Final{}); err != nil {
				t.Fatal(err)
			}
			if tc.stale {
				write(t, copyName, string(old))
			}
			name := filepath.Join(l.Path(), "MANIFEST")
			data, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			if tc.name == "generation" {
				tc.at = bytes.Index(data, []byte("generation")) + 3
			}
			damage(t, name, tc.at)
			if _, err := lake.Open(l.Path(), lake.Config{}); err == nil || !strings.Contains(err.Error(), "flowcli check") {
				t.Errorf("Open() = %v, want an error that says flowcli check", err)
			}
			r := checked(t, l.Path())
			if len(r.Damage) != 1 || r.Damage[0].Path != "MANIFEST" {
				t.Errorf("Check() = %+v, want a damaged manifest", r)
			}
			r = repaired(t, l.Path())
			if !r.Repaired || len(r.Mended) != 1 || len(r.Lost) != 0 || r.Unknown != tc.unknown {
				t.Errorf("Repair() = %+v, want a manifest from its copy, unknown %v", r, tc.unknown)
			}
			if got := manifest(t, l).Generation; got <= 3 {
				t.Errorf("generation %d after the repair, want more than any reader saw", got)
			}
			if conns, dns := checkStore(t, openLake(t, l.Path())); conns != tc.conns || dns != tc.conns {
				t.Errorf("%d connections, %d dns records, want %d", conns, dns, tc.conns)
			}
			if n := len(files(t, l, ".damaged", "*", "*", "*", "*")); n != int(200-tc.conns)/50 {
				t.Errorf("%d parts set aside, want %d", n, (200-tc.conns)/50)
			}
		})
	}
}

// TestRepairOlderManifest: a part that the last change replaced is brought back.
func TestRepairOlderManifest(t *testing.T) {
	l := twoImports(t)
	copyName := filepath.Join(l.Path(), ".MANIFEST.copy")
	old, err := os.ReadFile(copyName)
	if err != nil {
		t.Fatal(err)
	}
	if err := commitRows(l, 50, lake.Import{ID: "c"}, lake.Final{Replace: []string{"a"}}); err != nil {
		t.Fatal(err)
	}
	write(t, copyName, string(old))
	damage(t, filepath.Join(l.Path(), "MANIFEST"), 400)
	r := repaired(t, l.Path())
	if len(r.Lost) > 0 || len(r.Mended) != 3 {
		t.Errorf("Repair() = %+v, want the manifest and two parts mended", r)
	}
	if conns, _ := checkStore(t, l); conns != 200 {
		t.Errorf("%d connections, want 200", conns)
	}
}

func TestCheckBothManifests(t *testing.T) {
	l := twoImports(t)
	for _, name := range []string{"MANIFEST", ".MANIFEST.copy"} {
		damage(t, filepath.Join(l.Path(), name), 400)
	}
	if r := checked(t, l.Path()); len(r.Damage) != 2 {
		t.Errorf("Check() = %+v, want both manifests damaged", r)
	}
	if _, err := lake.Repair(t.Context(), l.Path(), lake.CheckConfig{}); err == nil {
		t.Error("Repair() = nil, want an error")
	}
}

func TestCheckNotes(t *testing.T) {
	l := twoImports(t)
	stray := filepath.Join(l.Path(), "conn", "day=2020-01-01", "x.parquet")
	if err := os.MkdirAll(filepath.Dir(stray), 0o755); err != nil {
		t.Fatal(err)
	}
	write(t, stray, "torn")
	if err := os.MkdirAll(filepath.Join(l.Path(), ".tmp", "dead"), 0o755); err != nil {
		t.Fatal(err)
	}
	mine := begin(t, l, lake.Import{ID: "mine"})
	if err := commitRows(l, 1, lake.Import{ID: "c"}, lake.Final{Replace: []string{"a"}}); err != nil {
		t.Fatal(err)
	}
	damage(t, filepath.Join(l.Path(), ".MANIFEST.copy"), 100)
	r := checked(t, l.Path())
	var got []string
	for _, n := range r.Notes {
		got = append(got, n.Path)
	}
	if want := ".MANIFEST.copy conn/day=2020-01-01/x.parquet .tmp/dead .old"; strings.Join(got, " ") != want {
		t.Errorf("Check() notes %v, want %s", got, want)
	}
	if len(r.Damage) > 0 {
		t.Errorf("Check() = %+v, want no damage", r)
	}
	if err := mine.Abort(); err != nil {
		t.Fatal(err)
	}
	// Somebody keeps the lock: the rest is checked.
	release := holdStore(t, l.Path())
	defer release()
	r, err := lake.Check(t.Context(), l.Path(), lake.CheckConfig{LockWait: time.Millisecond})
	if err != nil || len(r.Damage) > 0 || !strings.Contains(r.Notes[len(r.Notes)-1].Reason, "not looked for") {
		t.Errorf("Check() of a locked store = %+v, %v", r, err)
	}
}

// TestVerifyFrame flips every bit of what describes the pages of a large part.
func TestVerifyFrame(t *testing.T) {
	l := newLake(t)
	if err := commitRows(l, 15_000, lake.Import{ID: "a"}, lake.Final{}); err != nil {
		t.Fatal(err)
	}
	for _, p := range manifest(t, l).Parts {
		if p.Kind != "conn" {
			continue
		}
		if p.Bytes < 256<<10 {
			t.Fatalf("%s has %d bytes, want a large one", p.Path, p.Bytes)
		}
		name := filepath.Join(l.Path(), p.Path)
		if err := lake.VerifyPart(l.Path(), &p); err != nil {
			t.Fatal(err)
		}
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		f, err := os.OpenFile(name, os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		// The first page's header, and the end.
		var places []int
		for at := range 30 {
			places = append(places, 4+at)
		}
		for at := len(data) - int(p.Footer); at < len(data); at += 37 {
			places = append(places, at)
		}
		silent := 0
		for _, at := range places {
			for bit := range 8 {
				if _, err := f.WriteAt([]byte{data[at] ^ 1<<bit}, int64(at)); err != nil {
					t.Fatal(err)
				}
				if lake.VerifyPart(l.Path(), &p) == nil {
					silent++
					if at > 40 {
						t.Errorf("bit %d of byte %d flipped: VerifyPart() = nil", bit, at)
					}
				}
			}
			if _, err := f.WriteAt(data[at:at+1], int64(at)); err != nil {
				t.Fatal(err)
			}
		}
		// The header is a little shorter than what was flipped.
		if silent > 8*12 {
			t.Errorf("%d flipped bits of the first header were not found", silent)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// A part that is replaced while others are found damaged is no damage.
func TestCheckWhilePartsAreReplaced(t *testing.T) {
	l := twoImports(t)
	parts := manifest(t, l).Parts
	// Opening one of these waits for somebody to open the other end.
	var fifos []string
	for _, p := range parts[:2] {
		name := filepath.Join(l.Path(), p.Path)
		if err := errors.Join(os.Remove(name), unix.Mkfifo(name, 0o644)); err != nil {
			t.Fatal(err)
		}
		fifos = append(fifos, name)
	}
	replaced := make(chan error, 1)
	go func() {
		first, err := os.OpenFile(fifos[0], os.O_WRONLY, 0)
		// The manifest has been read.
		err = errors.Join(err, commitRows(l, 10, lake.Import{ID: "c"}, lake.Final{Replace: []string{"b"}}))
		second, oerr := os.OpenFile(fifos[1], os.O_WRONLY, 0)
		replaced <- errors.Join(err, oerr, first.Close(), second.Close())
	}()
	r := checked(t, l.Path())
	if err := <-replaced; err != nil {
		t.Fatal(err)
	}
	if len(r.Damage) != 2 || r.Damage[0].Path != parts[0].Path || r.Damage[1].Path != parts[1].Path {
		t.Errorf("Check() found %+v, want the first two parts only", r.Damage)
	}
}
