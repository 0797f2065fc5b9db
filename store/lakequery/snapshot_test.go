// SPDX-License-Identifier: Apache-2.0

package lakequery_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sync/errgroup"

	"weir/internal/flow"
	"weir/store"
)

func TestSnapshot(t *testing.T) {
	path := testLake(t)
	db := openDB(t, path)
	writeLake(t, path, "second", []flow.Connection{conn(0x20, flow.TCP, "10.1.0.1", 1, "10.1.0.2", 22, 100)}, nil)
	check := func(want int64) {
		t.Helper()
		if n, err := db.Counts(t.Context(), store.Query{}); err != nil || n.Flows != want {
			t.Errorf("Counts() = %+v, %v, want %d flows", n, err, want)
		}
	}
	check(7)
	if err := db.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	check(8)
	// Replacing moves the parts of the first import away: the snapshot is the same.
	writeLake(t, path, "third", testConns()[:1], nil, "first")
	check(8)
	if err := db.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	check(2)
	writeLake(t, path, "fourth", testConns()[:2], nil, "third", "second")
	if _, rows := sqlRows(t, db, "SELECT count(*) FROM conn"); rows[0][0] != int64(2) {
		t.Errorf("SELECT count(*) = %v, want 2 as before", rows[0][0])
	}
	if got := flows(t, db, store.Query{}); len(got) != 2 || got[0].Count != 1 {
		t.Errorf("Flows() = %v, want two of a connection each", got)
	}
}

// TestConcurrent queries one DB from several goroutines while every part is
// replaced again and again. Each answer must be that of one commit.
func TestConcurrent(t *testing.T) {
	path := testLake(t)
	db := openDB(t, path)
	db.SetPage(3) // so flows are listed page by page
	var g errgroup.Group
	done := make(chan struct{})
	for reader := range 3 {
		g.Go(func() error {
			for n := 0; ; n++ {
				select {
				case <-done:
					return nil
				default:
				}
				var count, size int64
				if (n+reader)%2 == 0 {
					rows, err := db.Raw(t.Context(), "SELECT count(*), sum(csbytes) FROM conn")
					if err != nil {
						return err
					}
					for row, err := range rows.All() {
						if err != nil {
							return err
						}
						count, size = row[0].(int64), row[1].(int64)
					}
					if err := rows.Close(); err != nil {
						return err
					}
				} else {
					for f, err := range db.Flows(t.Context(), store.Query{}) {
						if err != nil {
							return err
						}
						count += f.Count
						size += f.CSBytes
					}
				}
				// Two of testConns hold 1300 bytes, the other eight 300 each.
				if want := count*300 + 700; count < 2 || count > 10 || size != want {
					return fmt.Errorf("%d connections have %d bytes, want %d", count, size, want)
				}
			}
		})
	}
	last := "first"
	for i := range 15 {
		id := fmt.Sprintf("commit-%02d", i)
		writeLake(t, path, id, testConns()[:2+i%8], nil, last)
		if i%3 == 0 {
			if err := db.Refresh(t.Context()); err != nil {
				t.Error(err)
			}
		}
		last = id
	}
	close(done)
	if err := g.Wait(); err != nil {
		t.Error(err)
	}
}

// TestStoreMadeAnew: a store that took the place of another one is seen, though
// its generation is lower.
func TestStoreMadeAnew(t *testing.T) {
	path := testLake(t)
	writeLake(t, path, "second", testConns()[:1], nil)
	db := openDB(t, path)
	if err := os.RemoveAll(path); err != nil {
		t.Fatal(err)
	}
	writeLake(t, path, "other", testConns()[:4], nil)
	if n, err := db.Counts(t.Context(), store.Query{}); err != nil || n.Flows != 2 {
		t.Errorf("Counts() = %+v, %v, want the 2 flows of the new store", n, err)
	}
}

func TestLostPart(t *testing.T) {
	path := testLake(t)
	db := openDB(t, path)
	if err := os.RemoveAll(filepath.Join(path, "conn")); err != nil {
		t.Fatal(err)
	}
	if _, err := db.Counts(t.Context(), store.Query{}); err == nil {
		t.Error("Counts() of a store that lost a part = nil, want an error")
	}
}
