// SPDX-License-Identifier: Apache-2.0

package lake_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"weir/internal/flow"
	"weir/store/lake"
)

// holdStore keeps the store's lock until release is called, as a slow disk
// under another process would.
func holdStore(t *testing.T, path string) (release func()) {
	t.Helper()
	f, err := os.OpenFile(filepath.Join(path, ".lock"), os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	}
}

func intelOf(conns []flow.Connection) *flow.IntelBatch {
	b := flow.NewIntelBatch()
	for i := range conns {
		b.Begin(flow.DNS, &conns[i].Tuple, conns[i].First)
		b.SetString(flow.DNSQuery, "www.example.com")
	}
	return b
}

func wantRecords(t *testing.T, what string, got lake.Records, conns, intel int64) {
	t.Helper()
	if want := (lake.Records{Conns: conns, Intel: intel}); got != want {
		t.Errorf("%s = %+v, want %+v", what, got, want)
	}
}

// TestPublishBlocksNobody publishes while nobody can commit, and writes on.
func TestPublishBlocksNobody(t *testing.T) {
	l := newLake(t)
	w := begin(t, l, lake.Import{ID: "live", Source: "live"})
	conns := genConns(1000, 1)
	b, ib := batchOf(conns...), intelOf(conns)
	write := func() {
		if err := errors.Join(w.Connections(b), w.Intel(ib)); err != nil {
			t.Error(err)
		}
	}
	write()
	release := holdStore(t, l.Path())
	published := make(chan error)
	go func() { published <- w.Publish(lake.Final{}) }()
	// Every write until the end of the test finds Publish waiting, once it does.
	var n int64 = 1
	for end := time.Now().Add(300 * time.Millisecond); time.Now().Before(end); n++ {
		write()
	}
	select {
	case err := <-published:
		t.Fatalf("Publish() = %v while the store was locked", err)
	default:
	}
	if n < 3 {
		t.Errorf("%d writes while a publication waited, want more", n)
	}
	wantRecords(t, "Unpublished()", w.Unpublished(), n*1000, n*1000)
	if got := w.Pending(); got < 1000 || got > n*1000 {
		t.Errorf("Pending() = %d, want what came since Publish, of %d", got, n*1000)
	}
	release()
	if err := <-published; err != nil {
		t.Fatal(err)
	}
	first, dns := checkStore(t, l)
	// It may have begun between the connections and the intel of one write.
	if first < dns || first > dns+1000 || first < 1000 || first >= n*1000 {
		t.Errorf("published %d connections, %d dns records, want what was written before", first, dns)
	}
	wantRecords(t, "Published()", w.Published(), first, dns)
	if err := w.Publish(lake.Final{}); err != nil {
		t.Fatal(err)
	}
	if c, d := checkStore(t, l); c != n*1000 || d != n*1000 {
		t.Errorf("%d connections, %d dns records, want %d", c, d, n*1000)
	}
	wantRecords(t, "Published()", w.Published(), n*1000, n*1000)
	wantRecords(t, "Unpublished()", w.Unpublished(), 0, 0)
	wantRecords(t, "Lost()", w.Lost(), 0, 0)
	for _, p := range manifest(t, l).Parts {
		if p.Generation < 2 || p.Generation > manifest(t, l).Generation {
			t.Errorf("%s has generation %d", p.Path, p.Generation)
		}
	}
}

// TestPublishUnderLoad writes from two goroutines and publishes all the time.
// Each connection is in the store once.
func TestPublishUnderLoad(t *testing.T) {
	l := newLake(t)
	w := begin(t, l, lake.Import{ID: "live", Source: "live"})
	ctx, stop := context.WithTimeout(t.Context(), time.Second)
	defer stop()
	var wg sync.WaitGroup
	var rows [2]int64
	var worst [2]time.Duration
	// Several days, in disorder, so that some rows wait for parts of their day.
	conns := genConns(500, 1)
	for i := range conns {
		conns[i].First -= flow.Time(i%9) * 86_400e9
	}
	for g, write := range []func() error{
		func() error { return w.Connections(batchOf(conns...)) },
		func() error { return w.Intel(intelOf(conns)) },
	} {
		wg.Go(func() {
			for ctx.Err() == nil {
				start := time.Now()
				if err := write(); err != nil {
					t.Error(err)
				}
				worst[g] = max(worst[g], time.Since(start))
				rows[g] += int64(len(conns))
				time.Sleep(time.Millisecond)
			}
		})
	}
	publications := 0
	for ctx.Err() == nil {
		if err := w.Publish(lake.Final{}); err != nil {
			t.Error(err)
		}
		publications++
	}
	wg.Wait()
	t.Logf("%d publications; the longest write of 500 rows took %v, %v", publications, worst[0], worst[1])
	if err := w.Commit(lake.Final{}); err != nil {
		t.Fatal(err)
	}
	if conns, dns := checkStore(t, l); conns != rows[0] || dns != rows[1] {
		t.Errorf("%d connections, %d dns records, want %v", conns, dns, rows)
	}
	wantRecords(t, "Published()", w.Published(), rows[0], rows[1])
	m := manifest(t, l)
	if imp := m.Find("live"); imp.Connections != rows[0] || imp.Intel["dns"] != rows[1] || imp.Open {
		t.Errorf("import = %+v, want %v records", imp, rows)
	}
}

// TestPublishFails: what is complete comes in with the next publication.
func TestPublishFails(t *testing.T) {
	l, err := lake.Open(newLake(t).Path(), lake.Config{LockWait: 20 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	w := begin(t, l, lake.Import{ID: "live", Source: "live"})
	conns := genConns(100, 1)
	release := holdStore(t, l.Path())
	for i := range 3 {
		if err := errors.Join(w.Connections(batchOf(conns...)), w.Intel(intelOf(conns))); err != nil {
			t.Fatal(err)
		}
		if err := w.Publish(lake.Final{}); !errors.Is(err, lake.ErrLocked) {
			t.Fatalf("Publish() = %v, want %v", err, lake.ErrLocked)
		}
		n := int64(i+1) * 100
		wantRecords(t, "Unpublished()", w.Unpublished(), n, n)
		if w.Pending() != 0 {
			t.Errorf("Pending() = %d after Publish, want 0", w.Pending())
		}
	}
	// The later ones did not add files to the first.
	if got := files(t, l, ".tmp", "live", "*.parquet"); len(got) > 4 {
		t.Errorf("waiting: %v, want two complete parts and two open ones", got)
	}
	release()
	if err := w.Publish(lake.Final{}); err != nil {
		t.Fatal(err)
	}
	if conns, dns := checkStore(t, l); conns != 300 || dns != 300 {
		t.Errorf("%d connections, %d dns records, want 300", conns, dns)
	}
	wantRecords(t, "Lost()", w.Lost(), 0, 0)
}

// TestCommitFails: at the end of what was published, a part that cannot be written
// costs its own records only.
func TestCommitFails(t *testing.T) {
	l := newLake(t)
	w := begin(t, l, lake.Import{ID: "live", Source: "live"})
	conns := genConns(100, 1)
	if err := errors.Join(w.Connections(batchOf(conns...)), w.Intel(intelOf(conns)), w.Publish(lake.Final{})); err != nil {
		t.Fatal(err)
	}
	// The next part's name is taken.
	if err := os.Mkdir(filepath.Join(l.Path(), ".tmp", "live", "dns-live-00002.parquet"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := w.Connections(batchOf(conns...)); err != nil {
		t.Fatal(err)
	}
	if err := w.Intel(intelOf(conns)); !errors.Is(err, fs.ErrExist) {
		t.Fatalf("Intel() = %v, want %v", err, fs.ErrExist)
	}
	if err := w.Commit(lake.Final{}); !errors.Is(err, fs.ErrExist) {
		t.Errorf("Commit() = %v, want %v", err, fs.ErrExist)
	}
	if conns, dns := checkStore(t, l); conns != 200 || dns != 100 {
		t.Errorf("%d connections, %d dns records, want 200 and 100", conns, dns)
	}
	wantRecords(t, "Published()", w.Published(), 200, 100)
	wantRecords(t, "Lost()", w.Lost(), 0, 100)
	if imp := manifest(t, l).Find("live"); imp.Open || imp.Lost != 100 {
		t.Errorf("import = %+v, want it ended with 100 lost", imp)
	}
}

// TestPublishFullDisk: a full disk costs the records of the parts that did not
// fit, all of them are counted, and the import goes on when there is room.
func TestPublishFullDisk(t *testing.T) {
	l := smallLake(t, 16<<20)
	dir := l.Path()
	w := begin(t, l, lake.Import{ID: "live", Source: "live"})
	filler := filepath.Join(dir, ".old", "filler")
	var taken int64
	failed, partly := 0, 0
	for pages := range 40 { // that are left on the disk
		if err := os.MkdirAll(filepath.Dir(filler), 0o755); err != nil {
			t.Fatal(err)
		}
		var fs unix.Statfs_t
		if err := unix.Statfs(dir, &fs); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filler, make([]byte, (int(fs.Bfree)-pages)*4096), 0o644); err != nil {
			t.Fatal(err)
		}
		conns := genConns(300, uint64(pages))
		werr := errors.Join(w.Connections(batchOf(conns...)), w.Intel(intelOf(conns)))
		if werr != nil && !errors.Is(werr, syscall.ENOSPC) {
			t.Fatal(werr)
		}
		taken += 300
		before, lost := manifest(t, l), w.Lost()
		err := w.Publish(lake.Final{})
		if rerr := os.Remove(filler); rerr != nil {
			t.Fatal(rerr)
		}
		if err == nil {
			continue
		}
		failed++
		if !errors.Is(err, syscall.ENOSPC) {
			t.Fatalf("Publish() = %v, want %v", err, syscall.ENOSPC)
		}
		if after := manifest(t, l); after.Generation != before.Generation {
			t.Fatalf("Publish() = %v, and changed the store", err)
		}
		if now := w.Lost(); now != lost {
			partly++
			if want := fmt.Sprintf("%d connections", now.Conns-lost.Conns); !strings.Contains(err.Error(), want) {
				t.Errorf("Publish() = %v, want an error with %q", err, want)
			}
		}
		sum := func(a, b, c int64) int64 { return a + b + c }
		p, u, s := w.Published(), w.Unpublished(), w.Lost()
		if err := w.Publish(lake.Final{}); err != nil {
			t.Fatalf("Publish() with room again = %v", err)
		}
		if sum(p.Conns, u.Conns, s.Conns) != taken || sum(p.Intel, u.Intel, s.Intel) != taken {
			t.Fatalf("published %+v, unpublished %+v, lost %+v, want %d in all", p, u, s, taken)
		}
	}
	t.Logf("%d publications failed, %d of them lost records: %+v", failed, partly, w.Lost())
	if failed < 6 || partly < 3 || partly == failed {
		t.Errorf("%d publications failed, %d lost records, want more", failed, partly)
	}
	if err := w.Commit(lake.Final{}); err != nil {
		t.Fatal(err)
	}
	p, s := w.Published(), w.Lost()
	if p.Conns+s.Conns != taken || p.Intel+s.Intel != taken {
		t.Errorf("published %+v, lost %+v, want %d in all", p, s, taken)
	}
	if conns, dns := checkStore(t, l); conns != p.Conns || dns != p.Intel {
		t.Errorf("%d connections, %d dns records, want %+v", conns, dns, p)
	}
	if imp := manifest(t, l).Find("live"); imp.Lost != s.Conns+s.Intel || imp.Connections != p.Conns {
		t.Errorf("import = %+v, want %+v published, %+v lost", imp, p, s)
	}
}
