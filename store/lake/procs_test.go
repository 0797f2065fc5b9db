// SPDX-License-Identifier: Apache-2.0

package lake_test

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/parquet-go/parquet-go"
	"golang.org/x/sys/unix"

	"weir/internal/flow"
	"weir/store/lake"
)

// publishedRows is how many connections and DNS records come with each
// publication of the job "publish".
const publishedRows = 300

// publishJob publishes again and again, as a live sensor does, for so long, or
// until it is killed. Its connections have the uids base, base+1 and so on. It
// says what it takes and what is published.
func publishJob(l *lake.Lake, id string, base uint64, last time.Duration) error {
	w, err := l.Begin(lake.Import{ID: id, Source: "live"})
	if err != nil {
		return err
	}
	fmt.Println("published 0")
	end := time.Now().Add(last)
	uid := base
	for time.Now().Before(end) {
		conns := genConns(publishedRows, uid)
		for i := range conns {
			conns[i].UID = uid
			uid++
		}
		if err := errors.Join(w.Connections(batchOf(conns...)), w.Intel(intelOf(conns))); err != nil {
			return err
		}
		fmt.Println("taken", uid-base)
		if err := w.Publish(lake.Final{Packets: uid}); err != nil {
			return err
		}
		fmt.Println("published", uid-base)
	}
	return w.Commit(lake.Final{Packets: uid})
}

// processJob is what a child process of these tests does.
func processJob(job string, l *lake.Lake) error {
	name, arg, _ := strings.Cut(job, " ")
	switch name {
	case "publish": // publish ID BASE DURATION
		var id, last string
		var base uint64
		if _, err := fmt.Sscan(arg, &id, &base, &last); err != nil {
			return err
		}
		d, err := time.ParseDuration(last)
		if err != nil {
			return err
		}
		return publishJob(l, id, base, d)
	case "compact-within": // compact-within MEMORY LIMIT
		var memory, limit int64
		if _, err := fmt.Sscan(arg, &memory, &limit); err != nil {
			return err
		}
		return compactWithinJob(l, memory, limit)
	case "drop": // drops one part after the other
		fmt.Println("ready")
		m, err := l.Manifest()
		if err != nil {
			return err
		}
		for _, p := range m.Incoming() {
			if err := l.Drop([]string{p.Path}); err != nil {
				return err
			}
		}
		return nil
	case "pin": // makes snapshots and releases every other one
		fmt.Println("ready")
		for i := 0; ; i++ {
			p, err := l.Pin(fmt.Sprintf("%d-%d", os.Getpid(), i))
			if err != nil {
				return err
			}
			if i%2 == 0 {
				continue
			}
			if err := p.Release(); err != nil {
				return err
			}
		}
	case "lock": // keeps the store's lock
		f, err := os.OpenFile(filepath.Join(l.Path(), ".lock"), os.O_RDWR, 0)
		if err != nil {
			return err
		}
		if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
			return err
		}
		if _, err := fmt.Fprintln(f, os.Getpid()); err != nil {
			return err
		}
		fmt.Println("ready")
		time.Sleep(time.Hour)
	}
	return fmt.Errorf("no job %q", job)
}

// uids returns the uids of the rows of a table, of one import or of all, and
// fails where one comes twice.
func uids(t *testing.T, l *lake.Lake, kind, id string) map[uint64]bool {
	t.Helper()
	seen := make(map[uint64]bool)
	for _, p := range manifest(t, l).Parts {
		if p.Kind != kind || id != "" && p.Import != id {
			continue
		}
		f, err := os.Open(filepath.Join(l.Path(), p.Path))
		if err != nil {
			t.Fatal(err)
		}
		st, err := f.Stat()
		if err != nil {
			t.Fatal(err)
		}
		file, err := parquet.OpenFile(f, st.Size())
		if err != nil {
			t.Fatal(err)
		}
		for _, g := range file.RowGroups() {
			pages := g.ColumnChunks()[0].Pages()
			for {
				page, err := pages.ReadPage()
				if err != nil {
					break
				}
				values := make([]parquet.Value, page.NumValues())
				n, _ := page.Values().ReadValues(values)
				for _, v := range values[:n] {
					if seen[v.Uint64()] {
						t.Fatalf("%s: uid %d is in the store twice", p.Path, v.Uint64())
					}
					seen[v.Uint64()] = true
				}
			}
			if err := pages.Close(); err != nil {
				t.Fatal(err)
			}
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
	return seen
}

// TestKillPublisher kills a process that publishes all the time.
func TestKillPublisher(t *testing.T) {
	l := newLake(t)
	kills := killCount(t, 20, 5)
	behind, slowest := 0, time.Duration(0)
	for i := range kills {
		id := "live" + strconv.Itoa(i)
		base := uint64(i+1) << 32
		cmd := job(t, fmt.Sprintf("publish %s %d 1h", id, base), l.Path())
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		lines.Scan()
		// It is killed anywhere within its third publication, or later.
		wait := time.Duration(i*7%40) * time.Millisecond
		time.AfterFunc(30*time.Millisecond+wait, func() { _ = cmd.Process.Kill() })
		var taken, published int
		for lines.Scan() {
			what, n, _ := strings.Cut(lines.Text(), " ")
			if number, err := strconv.Atoi(n); err == nil && what == "taken" {
				taken = number
			} else if err == nil {
				published = number
			}
		}
		_ = cmd.Wait() // says that it was killed
		start := time.Now()
		l = openLake(t, l.Path())
		slowest = max(slowest, time.Since(start))
		conns, dns := uids(t, l, "conn", id), uids(t, l, "dns", id)
		if len(conns) != len(dns) || len(conns) != published && len(conns) != taken {
			t.Fatalf("%d connections, %d dns records, want %d that were published, or %d that were taken",
				len(conns), len(dns), published, taken)
		}
		for n := range uint64(len(conns)) {
			if !conns[base+n] {
				t.Fatalf("connection %d of %d is not there", n, len(conns))
			}
		}
		if published < taken {
			behind++
		}
		m := manifest(t, l)
		if imp := m.Find(id); published > 0 && (imp == nil || imp.Open || !imp.Killed || imp.Connections != int64(len(conns))) {
			t.Errorf("import = %+v, want it marked as killed", imp)
		}
	}
	checkStore(t, l)
	if r := checked(t, l.Path()); len(r.Damage)+len(r.Notes) > 0 {
		t.Errorf("Check() = %+v, want nothing", r)
	}
	t.Logf("%d of %d kills hit a publication; opening took up to %v", behind, kills, slowest)
	if slowest > time.Second {
		t.Errorf("opening the store took %v, want at most a second", slowest)
	}
	if behind == 0 {
		t.Error("no kill hit a publication")
	}
}

// TestManyProcesses: four publishers, two importers, sweeps and a reader on one
// store.
func TestManyProcesses(t *testing.T) {
	l := newLake(t)
	last := 3 * time.Second
	if testing.Short() {
		last = time.Second
	}
	var wg sync.WaitGroup
	var mu sync.Mutex
	want := make(map[string]int)
	for i := range 4 {
		id := "live" + strconv.Itoa(i)
		cmd := job(t, fmt.Sprintf("publish %s %d %v", id, uint64(i+1)<<32, last), l.Path())
		wg.Go(func() {
			out, err := cmd.CombinedOutput()
			lines := strings.Fields(string(out))
			n, nerr := strconv.Atoi(lines[max(0, len(lines)-1)])
			if err != nil || nerr != nil {
				t.Errorf("publisher: %v\n%s", err, out)
			}
			mu.Lock()
			want[id] = n
			mu.Unlock()
		})
	}
	for range 2 {
		cmd := job(t, "commits", l.Path())
		wg.Go(func() {
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("importer: %v\n%s", err, out)
			}
		})
	}
	done := make(chan struct{})
	go func() { wg.Wait(); close(done) }()
	go func() {
		for {
			select {
			case <-done:
				return
			case <-time.After(50 * time.Millisecond):
				if _, err := lake.Open(l.Path(), lake.Config{}); err != nil {
					t.Errorf("Open() = %v", err)
				}
			}
		}
	}()
	reads := onlyGrows(t, l.Path(), done)
	publishes := 0
	for id, n := range want {
		conns, dns := uids(t, l, "conn", id), uids(t, l, "dns", id)
		if len(conns) != n || len(dns) != n {
			t.Errorf("%s: %d connections, %d dns records, want %d", id, len(conns), len(dns), n)
		}
		publishes += n / publishedRows
	}
	conns, dns := checkStore(t, openLake(t, l.Path()))
	if rows := int64(publishes*publishedRows + 2*commits*rowsPerCommit); conns != rows || dns != rows {
		t.Errorf("%d connections, %d dns records, want %d", conns, dns, rows)
	}
	t.Logf("%d publications, %d imports, %d reads", publishes, 2*commits, reads)
}

// startLocker starts a process that keeps the store's lock.
func startLocker(t *testing.T, l *lake.Lake) *exec.Cmd {
	t.Helper()
	cmd := job(t, "lock", l.Path())
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
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // it may be gone
		_ = cmd.Wait()
	})
	return cmd
}

func TestLockHolder(t *testing.T) {
	l, err := lake.Open(newLake(t).Path(), lake.Config{LockWait: 100 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	cmd := startLocker(t, l)
	if err := cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	_, err = l.Begin(lake.Import{})
	if want := fmt.Sprintf("for process %d (lake.test)", cmd.Process.Pid); !errors.Is(err, lake.ErrLocked) ||
		!strings.Contains(err.Error(), want) {
		t.Errorf("Begin() = %v, want %v with %q", err, lake.ErrLocked, want)
	}
	if _, err := l.Manifest(); err != nil {
		t.Errorf("Manifest() = %v: readers take no lock", err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // says that it was killed
	start := time.Now()
	if err := commitRows(l, 10, lake.Import{}, lake.Final{}); err != nil {
		t.Errorf("Commit() after the holder was killed = %v", err)
	}
	t.Logf("the lock of a killed process was free after %v", time.Since(start))
}

// TestOwner: what root makes in the store of another user belongs to that one.
func TestOwner(t *testing.T) {
	if os.Geteuid() != 0 {
		if os.Getenv("WEIR_TEST_ROOT") != "" {
			t.Fatal("needs to be root")
		}
		t.Skip("needs to be root")
	}
	const uid, gid = 54321, 54322
	owners := func(path string) {
		t.Helper()
		wantOwner(t, path, uid, gid)
	}
	use := func(path string) {
		t.Helper()
		l := openLake(t, path)
		w := begin(t, l, lake.Import{ID: "open"})
		if err := commitRows(l, 10, lake.Import{ID: "a"}, lake.Final{}); err != nil {
			t.Fatal(err)
		}
		if err := commitRows(l, 10, lake.Import{ID: "b"}, lake.Final{Replace: []string{"a"}}); err != nil {
			t.Fatal(err)
		}
		part := filepath.Join(path, manifest(t, l).Parts[0].Path)
		damage(t, part, 20)
		repaired(t, path)
		if err := w.Connections(batchOf(flow.Connection{Count: 1})); err != nil {
			t.Fatal(err)
		}
	}

	t.Run("new files", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "store")
		if err := os.Mkdir(path, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Chown(path, uid, gid); err != nil {
			t.Fatal(err)
		}
		if err := lake.Init(path); err != nil {
			t.Fatal(err)
		}
		use(path)
		// A part that is being written is given away when it gets its place.
		for _, name := range files(t, openLake(t, path), ".tmp", "open", "*.parquet") {
			if err := os.Remove(filepath.Join(path, name)); err != nil {
				t.Fatal(err)
			}
		}
		owners(path)
	})
	t.Run("links", func(t *testing.T) {
		dir := t.TempDir()
		path := filepath.Join(dir, "store")
		if err := lake.Init(path); err != nil {
			t.Fatal(err)
		}
		if err := os.Chown(path, uid, gid); err != nil {
			t.Fatal(err)
		}
		// What somebody else has, who must neither lose it nor get more.
		kept := filepath.Join(dir, "kept", "1", "file")
		if err := os.MkdirAll(filepath.Dir(kept), 0o755); err != nil {
			t.Fatal(err)
		}
		write(t, kept, "root's")
		part := filepath.Join(dir, "kept", "day=2026-01-01", "x.parquet")
		if err := os.MkdirAll(filepath.Dir(part), 0o755); err != nil {
			t.Fatal(err)
		}
		write(t, part, "root's")
		for _, name := range []string{".tmp", ".old", "conn"} {
			if err := os.RemoveAll(filepath.Join(path, name)); err != nil {
				t.Fatal(err)
			}
			if err := os.Symlink(filepath.Dir(filepath.Dir(kept)), filepath.Join(path, name)); err != nil {
				t.Fatal(err)
			}
		}
		hard := filepath.Join(dir, "hard")
		write(t, hard, "root's")
		if err := errors.Join(os.Remove(filepath.Join(path, ".lock")), os.Link(hard, filepath.Join(path, ".lock"))); err != nil {
			t.Fatal(err)
		}
		l, err := lake.Open(path, lake.Config{})
		if err == nil {
			err = commitRows(l, 10, lake.Import{ID: "a"}, lake.Final{})
		}
		if err == nil {
			t.Error("a store whose directories are links takes an import")
		}
		for _, name := range []string{kept, part, hard} {
			text, err := os.ReadFile(name)
			var st unix.Stat_t
			if err := unix.Lstat(name, &st); err != nil || st.Uid != 0 {
				t.Errorf("%s belongs to %d, %v, want 0", name, st.Uid, err)
			}
			if err != nil || string(text) != "root's" {
				t.Errorf("%s = %q, %v, want it as it was", name, text, err)
			}
		}
	})
	t.Run("give", func(t *testing.T) {
		dir := t.TempDir()
		path := filepath.Join(dir, "store")
		if err := lake.Init(path); err != nil {
			t.Fatal(err)
		}
		use(path)
		outside := filepath.Join(dir, "outside")
		write(t, outside, "root's")
		if err := os.Symlink(outside, filepath.Join(path, "conn", "link")); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(dir, filepath.Join(path, ".old", "1")); err != nil {
			t.Fatal(err)
		}
		hard := filepath.Join(path, "conn", "hard")
		if err := os.Link(outside, hard); err != nil {
			t.Fatal(err)
		}
		if err := lake.Give(path, uid, gid); err != nil {
			t.Fatal(err)
		}
		var st unix.Stat_t
		for _, name := range []string{outside, dir} {
			if err := unix.Lstat(name, &st); err != nil || st.Uid != 0 {
				t.Errorf("%s belongs to %d, %v, want 0", name, st.Uid, err)
			}
		}
		if err := os.Remove(hard); err != nil {
			t.Fatal(err)
		}
		owners(path)
		if err := lake.Give(dir, uid, gid); !errors.Is(err, lake.ErrNotStore) {
			t.Errorf("Give() of what is no store = %v, want %v", err, lake.ErrNotStore)
		}
	})
}

// wantOwner checks that everything in a store belongs to a user.
func wantOwner(t *testing.T, path string, uid, gid uint32) {
	t.Helper()
	err := filepath.WalkDir(path, func(name string, _ fs.DirEntry, err error) error {
		var st unix.Stat_t
		if err == nil {
			err = unix.Lstat(name, &st)
		}
		if err == nil && st.Mode&unix.S_IFMT != unix.S_IFLNK && (st.Uid != uid || st.Gid != gid) {
			t.Errorf("%s belongs to %d:%d, want %d:%d", name, st.Uid, st.Gid, uid, gid)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
