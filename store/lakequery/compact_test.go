// SPDX-License-Identifier: Apache-2.0

package lakequery_test

import (
	"errors"
	"fmt"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"weir/internal/flow"
	"weir/store"
	"weir/store/lake"
	"weir/store/lake/laketest"
)

// TestCompactUnderQueries asks questions while a writer publishes and a
// compactor merges and rolls up without a pause. What is counted only grows, and
// no question fails.
func TestCompactUnderQueries(t *testing.T) {
	queries := 60
	if testing.Short() {
		queries = 20
	}
	path := filepath.Join(t.TempDir(), "lake")
	open := func() *lake.Lake {
		l, err := lake.Open(path, lake.Config{Create: true})
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	writer, compactor := open(), open()
	db := openDB(t, path)
	var asked, compactions atomic.Int64
	done := func() bool { return asked.Load() >= int64(queries) && compactions.Load() >= 10 }
	var g errgroup.Group
	fail := errors.New("another one failed")
	var failed atomic.Bool
	run := func(fn func() error) {
		g.Go(func() error {
			for !done() {
				if failed.Load() {
					return fail
				}
				if err := fn(); err != nil {
					failed.Store(true)
					return err
				}
			}
			return nil
		})
	}

	w, err := writer.Begin(lake.Import{Sensor: "eth0", Source: "live"})
	if err != nil {
		t.Fatal(err)
	}
	network := laketest.New(laketest.Config{Hosts: 300, Flows: 3000})
	var published atomic.Int64
	run(func() error {
		const rows = 100
		var b flow.ConnBatch
		var c flow.Connection
		n := published.Load()
		for range rows {
			network.Conn(&c, base+flow.Time(n%3)*86_400e9+flow.Time(n)*1e6)
			b.Add(&c)
		}
		if err := w.Connections(&b); err != nil {
			return err
		}
		if err := w.Publish(lake.Final{}); err != nil {
			return err
		}
		published.Add(rows)
		time.Sleep(20 * time.Millisecond) // as many questions take longer otherwise
		return nil
	})
	run(func() error {
		s, err := compactor.Compact(t.Context(), lake.CompactConfig{MinAge: -1, QuietFor: -1, MinRollup: -1})
		if s.Merged+s.Rollups > 0 {
			compactions.Add(1)
		}
		if len(s.Unfit) > 0 {
			err = errors.Join(append(s.Unfit, err)...)
		}
		return err
	})
	var last int64
	run(func() error {
		before := published.Load()
		if err := db.Refresh(t.Context()); err != nil {
			return err
		}
		var n int64
		switch i := asked.Add(1); i % 3 {
		case 0:
			_, rows := sqlRows(t, db, "SELECT count(*), count(DISTINCT uid) FROM conn")
			n = rows[0][0].(int64)
			if distinct := rows[0][1].(int64); distinct != n {
				return fmt.Errorf("%d connections have %d uids", n, distinct)
			}
		case 1:
			for f, err := range db.Flows(t.Context(), store.Query{}) {
				if err != nil {
					return err
				}
				n += f.Count
			}
		case 2:
			top, err := db.Top(t.Context(), store.TopQuery{Fields: []string{"proto"}, Sum: []string{"count"}})
			if err != nil {
				return err
			}
			for _, row := range top {
				n += row.Count
			}
		}
		if n < last || n < before {
			return fmt.Errorf("%d connections after %d, with %d published before", n, last, before)
		}
		last = n
		return nil
	})
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	if err := w.Commit(lake.Final{}); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d questions, %d compactions, %d connections", asked.Load(), compactions.Load(), last)
}
