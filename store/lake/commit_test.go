// SPDX-License-Identifier: Apache-2.0

package lake_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/zeebo/xxh3"

	"weir/internal/flow"
	"weir/store/lake"
)

// TestMain runs this program as one of several writers, where a test asks for
// that.
func TestMain(m *testing.M) {
	if job := os.Getenv("LAKE_TEST_JOB"); job != "" {
		if err := runJob(job, os.Getenv("LAKE_TEST_STORE")); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// runJob is what a child process does.
func runJob(job, path string) error {
	l, err := lake.Open(path, lake.Config{})
	if err != nil {
		return err
	}
	switch job {
	case "compact":
		return compactJob(l)
	case "compact-endless":
		return compactEndlessJob(l)
	case "commits": // commits of rows
		for range commits {
			if err := commitRows(l, rowsPerCommit, lake.Import{}, lake.Final{}); err != nil {
				return err
			}
		}
		return nil
	case "endless": // one import after the other, until killed
		fmt.Println("ready")
		for {
			if err := commitRows(l, killRows, lake.Import{}, lake.Final{}); err != nil {
				return err
			}
		}
	case "hold": // an import that does not end
		w, err := l.Begin(lake.Import{ID: "held"})
		if err != nil {
			return err
		}
		if err := w.Connections(batchOf(genConns(10, 1)...)); err != nil {
			return err
		}
		fmt.Println("ready")
		time.Sleep(time.Hour)
		return nil
	case "limited": // files of at most 100 kB, as on a full disk
		limit := syscall.Rlimit{Cur: 100_000, Max: 100_000}
		if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &limit); err != nil {
			return err
		}
		return commitRows(l, 100_000, lake.Import{ID: "limited"}, lake.Final{})
	}
	return processJob(job, l)
}

const (
	commits       = 50
	rowsPerCommit = 10
	killRows      = 20_000
)

// commitRows commits an import of rows that are connections and DNS records.
func commitRows(l *lake.Lake, n int, imp lake.Import, f lake.Final) error {
	w, err := l.Begin(imp)
	if err != nil {
		return err
	}
	defer func() { _ = w.Abort() }() // nothing after Commit
	conns := genConns(n, 3)
	b := batchOf(conns...)
	ib := flow.NewIntelBatch()
	for i := range conns {
		ib.Begin(flow.DNS, &conns[i].Tuple, conns[i].First)
		ib.SetString(flow.DNSQuery, "www.example.com")
	}
	if err := w.Connections(b); err != nil {
		return err
	}
	if err := w.Intel(ib); err != nil {
		return err
	}
	return w.Commit(f)
}

// job starts this program as a child.
func job(t *testing.T, name, path string) *exec.Cmd {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), exe)
	cmd.Env = append(os.Environ(), "LAKE_TEST_JOB="+name, "LAKE_TEST_STORE="+path)
	return cmd
}

// killCount is how many processes a test kills: usual, few with -short, 40 where
// WEIR_TEST_KILL is set, or as many as it says where it is a number above 1.
func killCount(t *testing.T, usual, few int) int {
	t.Helper()
	text := os.Getenv("WEIR_TEST_KILL")
	switch n, err := strconv.Atoi(text); {
	case err == nil && n > 1:
		return n
	case text != "":
		return 40
	case testing.Short():
		return few
	}
	return usual
}

// killed runs a job, which says when it begins, and kills it after a while.
func killed(t *testing.T, cmd *exec.Cmd, after time.Duration) {
	t.Helper()
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := out.Read(make([]byte, 6)); err != nil {
		t.Fatal(err)
	}
	time.Sleep(after)
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // says that it was killed
}

// checkStore checks that the manifest and the files agree, and returns the
// rows of both tables.
func checkStore(t *testing.T, l *lake.Lake) (conns, dns int64) {
	t.Helper()
	m := manifest(t, l)
	named := make(map[string]bool)
	imports := map[string]bool{"": true} // merged parts, and roll-ups
	for _, imp := range m.Imports {
		imports[imp.ID] = true
	}
	for _, p := range m.Parts {
		named[p.Path] = true
		data, err := os.ReadFile(filepath.Join(l.Path(), p.Path))
		if err != nil {
			t.Errorf("read part: %v", err)
			continue
		}
		if sum := fmt.Sprintf("%016x", xxh3.Hash(data)); sum != p.Sum || int64(len(data)) != p.Bytes {
			t.Errorf("%s: %d bytes, sum %s, want %d, %s", p.Path, len(data), sum, p.Bytes, p.Sum)
		}
		if !imports[p.Import] {
			t.Errorf("%s is of the unknown import %s", p.Path, p.Import)
		}
		switch p.Kind {
		case "conn":
			conns += p.Rows
		case "dns":
			dns += p.Rows
		}
	}
	for _, name := range files(t, l, "*", "*", "*") {
		if !named[name] && !strings.HasPrefix(name, ".") {
			t.Errorf("%s is not in the manifest", name)
		}
	}
	return conns, dns
}

// files lists what is in a store, relative to it.
func files(t *testing.T, l *lake.Lake, pattern ...string) []string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(append([]string{l.Path()}, pattern...)...))
	if err != nil {
		t.Fatal(err)
	}
	for i := range names {
		names[i], err = filepath.Rel(l.Path(), names[i])
		if err != nil {
			t.Fatal(err)
		}
	}
	return names
}

func TestNothingBeforeCommit(t *testing.T) {
	l := newLake(t)
	w := begin(t, l, lake.Import{})
	if err := w.Connections(batchOf(genConns(1000, 1)...)); err != nil {
		t.Fatal(err)
	}
	if conns, _ := checkStore(t, l); conns != 0 {
		t.Errorf("%d connections before the commit, want 0", conns)
	}
	if err := w.Abort(); err != nil {
		t.Errorf("Abort() = %v", err)
	}
	if left := append(files(t, l, ".tmp", "*"), files(t, l, "conn", "*")...); len(left) > 0 {
		t.Errorf("after Abort: %v, want nothing", left)
	}
	if err := w.Connections(batchOf(genConns(1, 1)...)); !errors.Is(err, lake.ErrFinished) {
		t.Errorf("Connections after Abort = %v, want %v", err, lake.ErrFinished)
	}
	if err := w.Commit(lake.Final{}); !errors.Is(err, lake.ErrFinished) {
		t.Errorf("Commit after Abort = %v, want %v", err, lake.ErrFinished)
	}
}

func TestReplace(t *testing.T) {
	l, err := lake.Open(filepath.Join(t.TempDir(), "s"), lake.Config{Create: true, Grace: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{"a", "b"} {
		if err := commitRows(l, 100, lake.Import{ID: id}, lake.Final{}); err != nil {
			t.Fatal(err)
		}
	}
	final := lake.Final{Replace: []string{"a", "b"}}
	if err := commitRows(l, 70, lake.Import{ID: "c"}, final); err != nil {
		t.Fatal(err)
	}
	if conns, dns := checkStore(t, l); conns != 70 || dns != 70 {
		t.Errorf("%d connections, %d dns records, want 70", conns, dns)
	}
	m := manifest(t, l)
	if len(m.Imports) != 1 || m.Imports[0].ID != "c" {
		t.Errorf("imports = %+v, want c", m.Imports)
	}
	if old := files(t, l, ".old", "*", "*"); len(old) != 4 {
		t.Errorf("old parts = %v, want 4", old)
	}
	if _, err := lake.Open(l.Path(), lake.Config{Grace: time.Nanosecond}); err != nil {
		t.Fatal(err)
	}
	if old := files(t, l, ".old", "*"); len(old) != 0 {
		t.Errorf("after the grace: %v, want nothing", old)
	}
}

func TestPublish(t *testing.T) {
	l := newLake(t)
	w := begin(t, l, lake.Import{ID: "live", Source: "live"})
	for i := range 3 {
		if err := w.Connections(batchOf(genConns(100, 1)...)); err != nil {
			t.Fatal(err)
		}
		for range 2 { // the second one has nothing new
			if err := w.Publish(lake.Final{Packets: uint64(i)}); err != nil {
				t.Fatalf("Publish() = %v", err)
			}
		}
		conns, _ := checkStore(t, l)
		m := manifest(t, l)
		if want := int64(100 * (i + 1)); conns != want || m.Imports[0].Connections != want ||
			m.Imports[0].Packets != uint64(i) || !m.Imports[0].Open || len(m.Imports) != 1 {
			t.Errorf("%d connections, imports %+v, want %d", conns, m.Imports, want)
		}
	}
	if err := w.Connections(batchOf(genConns(100, 1)...)); err != nil {
		t.Fatal(err)
	}
	if err := w.Abort(); err != nil {
		t.Fatal(err)
	}
	if conns, _ := checkStore(t, l); conns != 300 {
		t.Errorf("%d connections after Abort, want 300", conns)
	}
}

func TestAlreadyImported(t *testing.T) {
	l := newLake(t)
	in := []lake.Input{{Name: "x.pcap", Sum: "00ff", Size: 12}}
	first := begin(t, l, lake.Import{ID: "1"})
	second := begin(t, l, lake.Import{ID: "2"})
	for _, w := range []*lake.Writer{first, second} {
		if err := w.Connections(batchOf(genConns(10, 1)...)); err != nil {
			t.Fatal(err)
		}
	}
	if err := first.Commit(lake.Final{Inputs: in}); err != nil {
		t.Fatal(err)
	}
	if err := second.Commit(lake.Final{Inputs: in}); !errors.Is(err, lake.ErrAlreadyImported) ||
		!strings.Contains(err.Error(), "x.pcap") {
		t.Errorf("Commit() = %v, want %v with x.pcap", err, lake.ErrAlreadyImported)
	}
	if conns, _ := checkStore(t, l); conns != 10 {
		t.Errorf("%d connections, want 10", conns)
	}
	if left := files(t, l, ".tmp", "*"); len(left) > 0 {
		t.Errorf("left over: %v", left)
	}
	if err := commitRows(l, 20, lake.Import{ID: "3"}, lake.Final{Inputs: in, Replace: []string{"1"}}); err != nil {
		t.Errorf("Commit() with Replace = %v", err)
	}
}

func TestSameID(t *testing.T) {
	l := newLake(t)
	first := begin(t, l, lake.Import{ID: "x"})
	if _, err := l.Begin(lake.Import{ID: "x"}); err == nil {
		t.Errorf("Begin() of an import that is going on: no error")
	}
	if err := first.Commit(lake.Final{}); err != nil {
		t.Fatal(err)
	}
	if err := commitRows(l, 10, lake.Import{ID: "x"}, lake.Final{}); err == nil {
		t.Errorf("Commit() of an import that was committed: no error")
	}
	for _, id := range []string{"../x", ".", "..", "a/b"} {
		if _, err := l.Begin(lake.Import{ID: id}); err == nil {
			t.Errorf("Begin() with id %q: no error", id)
		}
	}
	checkStore(t, l)
}

func TestTwoLakes(t *testing.T) {
	path := newLake(t).Path()
	var wg sync.WaitGroup
	for range 2 {
		l := openLake(t, path)
		wg.Go(func() {
			for range commits {
				if err := commitRows(l, rowsPerCommit, lake.Import{}, lake.Final{}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	done := make(chan struct{})
	go func() { wg.Wait(); close(done) }()
	reads := onlyGrows(t, path, done)
	t.Logf("%d reads while writing", reads)
	want := int64(2 * commits * rowsPerCommit)
	if conns, dns := checkStore(t, openLake(t, path)); conns != want || dns != want {
		t.Errorf("%d connections, %d dns records, want %d", conns, dns, want)
	}
}

// onlyGrows reads the manifest again and again: totals never shrink, the tables
// agree, and every part is there.
func onlyGrows(t *testing.T, path string, done <-chan struct{}) (reads int) {
	t.Helper()
	var last int64
	for {
		select {
		case <-done:
			return reads
		default:
		}
		m, err := lake.ReadManifest(path)
		if err != nil {
			t.Errorf("ReadManifest() = %v", err)
			return reads
		}
		rows := make(map[string]int64)
		for _, p := range m.Parts {
			rows[p.Kind] += p.Rows
			if _, err := os.Stat(filepath.Join(path, p.Path)); err != nil {
				t.Errorf("part: %v", err)
			}
		}
		if rows["conn"] != rows["dns"] || rows["conn"] < last {
			t.Errorf("read %v after %d", rows, last)
		}
		last = rows["conn"]
		reads++
	}
}

func TestTwoProcesses(t *testing.T) {
	l := newLake(t)
	var wg sync.WaitGroup
	for range 2 {
		cmd := job(t, "commits", l.Path())
		wg.Go(func() {
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("writer: %v\n%s", err, out)
			}
		})
	}
	done := make(chan struct{})
	go func() { wg.Wait(); close(done) }()
	if reads := onlyGrows(t, l.Path(), done); reads == 0 {
		t.Errorf("no read while writing")
	}
	want := int64(2 * commits * rowsPerCommit)
	if conns, dns := checkStore(t, l); conns != want || dns != want {
		t.Errorf("%d connections, %d dns records, want %d", conns, dns, want)
	}
	if n := len(manifest(t, l).Imports); n != 2*commits {
		t.Errorf("%d imports, want %d", n, 2*commits)
	}
}

func TestKill(t *testing.T) {
	l := newLake(t)
	var before int64
	inside := 0
	for i := range 20 {
		cmd := job(t, "endless", l.Path())
		killed(t, cmd, time.Duration(20+i*13%90)*time.Millisecond)
		inside += len(files(t, l, ".tmp", "*"))
		openLake(t, l.Path())
		conns, dns := checkStore(t, l)
		if conns != dns || conns%killRows != 0 || conns < before {
			t.Errorf("%d connections, %d dns records after %d", conns, dns, before)
		}
		before = conns
		if left := files(t, l, ".tmp", "*"); len(left) > 0 {
			t.Errorf("after kill and open: %v", left)
		}
	}
	if inside < 5 {
		t.Errorf("only %d of 20 kills hit an import", inside)
	}
}

func TestSweepSparesTheLiving(t *testing.T) {
	l := newLake(t)
	cmd := job(t, "hold", l.Path())
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := out.Read(make([]byte, 6)); err != nil {
		t.Fatal(err)
	}
	mine := begin(t, l, lake.Import{ID: "mine"})
	openLake(t, l.Path())
	if got := files(t, l, ".tmp", "*"); len(got) != 2 {
		t.Errorf("after Open: %v, want held and mine", got)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // says that it was killed
	write(t, filepath.Join(l.Path(), ".MANIFEST.new"), "torn")
	stray := filepath.Join(l.Path(), "conn", "day=2020-01-01")
	if err := os.MkdirAll(stray, 0o755); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(stray, "x.parquet"), "torn")
	openLake(t, l.Path())
	if got := files(t, l, ".tmp", "*"); len(got) != 1 || got[0] != filepath.Join(".tmp", "mine") {
		t.Errorf("after the kill: %v, want mine", got)
	}
	if got := append(files(t, l, "conn", "*"), files(t, l, ".MANIFEST.new")...); len(got) > 0 {
		t.Errorf("after the sweep: %v, want nothing", got)
	}
	if err := mine.Commit(lake.Final{}); err != nil {
		t.Errorf("Commit() = %v", err)
	}
}

func TestFileTooLarge(t *testing.T) {
	l := newLake(t)
	if err := commitRows(l, 10, lake.Import{}, lake.Final{}); err != nil {
		t.Fatal(err)
	}
	before, err := os.ReadFile(filepath.Join(l.Path(), "MANIFEST"))
	if err != nil {
		t.Fatal(err)
	}
	out, err := job(t, "limited", l.Path()).CombinedOutput()
	if err == nil || !bytes.Contains(out, []byte("-limited-00001.parquet")) || !bytes.Contains(out, []byte("too large")) {
		t.Errorf("import without space: %v, %q, want an error that names the part", err, out)
	}
	if n := bytes.Count(out, []byte("\n")); n != 1 {
		t.Errorf("the error has %d lines: %q", n, out)
	}
	after, err := os.ReadFile(filepath.Join(l.Path(), "MANIFEST"))
	if err != nil || !bytes.Equal(before, after) {
		t.Errorf("the manifest changed, or %v", err)
	}
	if left := files(t, l, ".tmp", "*"); len(left) > 0 {
		t.Errorf("left over: %v", left)
	}
	checkStore(t, l)
}

// smallLake returns an empty store on a disk of so many bytes.
func smallLake(t *testing.T, size int) *lake.Lake {
	t.Helper()
	dir := t.TempDir()
	if err := mountTmpfs(t, dir, size); err != nil {
		if os.Getenv("WEIR_TEST_ROOT") != "" {
			t.Fatalf("mount tmpfs: %v", err)
		}
		t.Skipf("needs to mount a tmpfs: %v", err)
	}
	l, err := lake.Open(dir, lake.Config{Create: true})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestFullDisk(t *testing.T) {
	l := smallLake(t, 1<<20)
	dir := l.Path()
	if err := commitRows(l, 10, lake.Import{}, lake.Final{}); err != nil {
		t.Fatal(err)
	}
	// The disk is full at every place in turn: in the parts, the manifest.
	filler := filepath.Join(dir, ".old", "filler")
	failed := 0
	for size := 900 << 10; size <= 1<<20; size += 4 << 10 {
		if err := os.MkdirAll(filepath.Dir(filler), 0o755); err != nil {
			t.Fatal(err)
		}
		// A short file is what fits.
		_ = os.WriteFile(filler, make([]byte, size), 0o644)
		before, err := l.Manifest()
		if err != nil {
			t.Fatal(err)
		}
		err = commitRows(l, 300, lake.Import{}, lake.Final{})
		if rerr := os.Remove(filler); rerr != nil {
			t.Fatal(rerr)
		}
		conns, dns := checkStore(t, l)
		if conns != dns {
			t.Errorf("%d connections, %d dns records", conns, dns)
		}
		if left := files(t, l, ".tmp", "*"); len(left) > 0 {
			t.Errorf("left over: %v", left)
		}
		if err == nil {
			if err := lake.Init(dir); err != nil {
				t.Fatal(err)
			}
			if _, err := lake.Open(dir, lake.Config{Grace: 1}); err != nil {
				t.Fatal(err)
			}
			continue
		}
		failed++
		if !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("commit with a full disk: %v, want %v", err, syscall.ENOSPC)
		}
		if m := manifest(t, l); m.Generation != before.Generation {
			t.Errorf("generation %d after a failed commit, want %d", m.Generation, before.Generation)
		}
	}
	if failed < 5 {
		t.Errorf("only %d commits met a full disk", failed)
	}
}

// mountTmpfs mounts a small file system for the time of the test.
func mountTmpfs(t *testing.T, dir string, size int) error {
	t.Helper()
	if runtime.GOOS != "linux" {
		return errors.ErrUnsupported
	}
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size="+strconv.Itoa(size)); err != nil {
		return err
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Errorf("unmount %s: %v", dir, err)
		}
	})
	return nil
}

func TestLockWait(t *testing.T) {
	l := newLake(t)
	f, err := os.Open(filepath.Join(l.Path(), ".lock"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	_, err = lake.Open(l.Path(), lake.Config{LockWait: 10 * time.Millisecond})
	if !errors.Is(err, lake.ErrLocked) || !strings.Contains(err.Error(), ".lock") {
		t.Errorf("Open() = %v, want %v with the file's name", err, lake.ErrLocked)
	}
}
