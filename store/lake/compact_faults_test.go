// SPDX-License-Identifier: Apache-2.0

package lake_test

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"weir/store/lake"
)

// TestCompactFullDisk: whatever a full disk keeps from being written, nothing is
// lost, nothing is left over, and with room again all is merged.
func TestCompactFullDisk(t *testing.T) {
	l := smallLake(t, 8<<20)
	dir := l.Path()
	publish(t, l, lake.Import{Source: "live"}, 14, 800, 1)
	const rows = 14 * 800
	filler := filepath.Join(dir, ".old", "filler")
	if err := os.MkdirAll(filepath.Dir(filler), 0o755); err != nil {
		t.Fatal(err)
	}
	failed, merged, rollups := 0, 0, 0
	for pages := 0; merged < 28 || rollups == 0; pages += 3 { // that are left on the disk
		var fs unix.Statfs_t
		if err := unix.Statfs(dir, &fs); err != nil {
			t.Fatal(err)
		}
		if pages > 2000 {
			t.Fatalf("with %d pages left, %d parts were merged, %d days rolled up", pages, merged, rollups)
		}
		if err := os.WriteFile(filler, make([]byte, max(0, int(fs.Bfree)-pages)*4096), 0o644); err != nil {
			t.Fatal(err)
		}
		before := manifest(t, l)
		s, err := l.Compact(t.Context(), compactNow)
		if rerr := os.Remove(filler); rerr != nil {
			t.Fatal(rerr)
		}
		merged, rollups = merged+s.Merged, rollups+s.Rollups
		if left := files(t, l, ".tmp", "*"); len(left) > 0 {
			t.Errorf("with %d pages left over: %v", pages, left)
		}
		if err != nil {
			failed++
			if !errors.Is(err, syscall.ENOSPC) {
				t.Fatalf("Compact() = %v, want %v", err, syscall.ENOSPC)
			}
		}
		if m := manifest(t, l); s.Merged+s.Rollups == 0 && m.Generation != before.Generation {
			t.Errorf("Compact() = %v, and changed the store", err)
		}
		// Without room for a directory replaced parts stay where they were.
		if err := l.Sweep(); err != nil {
			t.Fatal(err)
		}
		if conns, dns := checkStore(t, l); conns != rows || dns != rows {
			t.Fatalf("with %d pages: %d connections, %d DNS records, want %d each", pages, conns, dns, rows)
		}
		if len(s.Unfit) > 0 {
			t.Errorf("unfit: %v", s.Unfit)
		}
	}
	t.Logf("%d compactions failed", failed)
	if failed < 10 {
		t.Errorf("only %d compactions met a full disk", failed)
	}
}

// TestCompactOwner: root merges parts in the store of another user, who goes on
// writing, merging and sweeping.
func TestCompactOwner(t *testing.T) {
	if os.Geteuid() != 0 {
		if os.Getenv("WEIR_TEST_ROOT") != "" {
			t.Fatal("needs to be root")
		}
		t.Skip("needs to be root")
	}
	const uid, gid = 54321, 54322
	dir := t.TempDir()
	for d := dir; d != "/" && d != os.TempDir(); d = filepath.Dir(d) {
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	path := filepath.Join(dir, "store")
	if err := lake.Init(path); err != nil {
		t.Fatal(err)
	}
	if err := lake.Give(path, uid, gid); err != nil {
		t.Fatal(err)
	}
	l := openLake(t, path)
	publish(t, l, lake.Import{ID: "root", Source: "live"}, 14, 800, 1)
	if s := compact(t, l, compactNow); s.Merged != 28 || s.Rollups != 1 {
		t.Fatalf("Compact() as root = %+v, want 28 merged, 1 roll-up", s)
	}
	wantOwner(t, path, uid, gid)
	// A compactor of root's was killed: its files are the owner's to sweep.
	dead := filepath.Join(path, ".tmp", "mdead")
	for _, name := range []string{filepath.Join(dead, "lock"), filepath.Join(dead, "run-00001")} {
		if err := os.MkdirAll(dead, 0o755); err != nil {
			t.Fatal(err)
		}
		write(t, name, "")
	}
	for _, name := range []string{dead, filepath.Join(dead, "lock")} { // as claim does
		if err := os.Chown(name, uid, gid); err != nil {
			t.Fatal(err)
		}
	}

	as := func(name string) []byte {
		t.Helper()
		cmd := job(t, name, path)
		cmd.Args[0] = ownProgram(t, dir)
		cmd.Path, cmd.Dir = cmd.Args[0], "/"
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: gid}}
		cmd.Stderr = os.Stderr
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("%s as user %d: %v", name, uid, err)
		}
		return out
	}
	as("publish owner 1000000 500ms")
	publish(t, l, lake.Import{ID: "again", Source: "live"}, 14, 800, 101)
	// One that the owner cannot read is left alone.
	var secret string
	for _, p := range manifest(t, l).Parts {
		if p.Import == "again" && p.Kind == "dns" {
			secret = p.Path
		}
	}
	if err := errors.Join(os.Chown(filepath.Join(path, secret), 0, 0), os.Chmod(filepath.Join(path, secret), 0o600)); err != nil {
		t.Fatal(err)
	}
	conns, dns := checkStore(t, l)
	var r compactResult
	if err := json.Unmarshal(as("compact"), &r); err != nil {
		t.Fatal(err)
	}
	if r.Merged < 27 || r.Rollups != 1 {
		t.Errorf("Compact() as the owner = %+v, want 27 merged at least, 1 roll-up", r)
	}
	if !slices.ContainsFunc(manifest(t, l).Parts, func(p lake.Part) bool { return p.Path == secret }) || len(r.Failed) != 1 {
		t.Errorf("left alone: %q, want %s", r.Failed, secret)
	}
	if c, d := checkStore(t, l); c != conns || d != dns {
		t.Errorf("%d connections, %d DNS records, want %d and %d", c, d, conns, dns)
	}
	if left := files(t, l, ".tmp", "*"); len(left) > 0 {
		t.Errorf("left over: %v", left)
	}
	if err := os.Chown(filepath.Join(path, secret), uid, gid); err != nil {
		t.Fatal(err)
	}
	wantOwner(t, path, uid, gid)
	if s := compact(t, l, compactNow); s.Superseded+len(s.Unfit) != 0 {
		t.Errorf("Compact() as root again = %+v", s)
	}
}

// ownProgram returns a copy of this program that every user can run.
func ownProgram(t *testing.T, dir string) string {
	t.Helper()
	name := filepath.Join(dir, "program")
	if _, err := os.Stat(name); err == nil {
		return name
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(exe)
	if err == nil {
		err = os.WriteFile(name, data, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	return name
}
