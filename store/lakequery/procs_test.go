// SPDX-License-Identifier: Apache-2.0

package lakequery_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"weir/internal/flow"
	"weir/store"
	"weir/store/lake"
	"weir/store/lake/laketest"
	"weir/store/lakequery"
)

// TestMain runs this program as one of several processes on a store, where a test
// asks for that.
func TestMain(m *testing.M) {
	job := os.Getenv("LAKEQUERY_TEST_JOB")
	if job == "" {
		os.Exit(m.Run())
	}
	// The end of the standard input is the sign to come to an end.
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		cancel()
	}()
	if err := runJob(ctx, job, os.Getenv("LAKEQUERY_TEST_STORE")); err != nil {
		fmt.Fprintln(os.Stderr, job+":", err)
		os.Exit(1)
	}
	os.Exit(0)
}

func runJob(ctx context.Context, job, path string) error {
	l, err := lake.Open(path, lake.Config{})
	if err != nil {
		return err
	}
	switch job {
	case "write":
		return writeJob(ctx, l)
	case "compact":
		return compactJob(ctx, l)
	}
	var queries int
	if _, err := fmt.Sscanf(job, "ask %d", &queries); err != nil {
		return err
	}
	return askJob(path, queries)
}

// writeJob publishes as a live sensor does, only more often: connections, a part
// of which go on and end with the next publication. It prints what it wrote.
func writeJob(ctx context.Context, l *lake.Lake) error {
	w, err := l.Begin(lake.Import{Sensor: "eth0", Source: "live"})
	if err != nil {
		return err
	}
	network := laketest.New(laketest.Config{Hosts: 300, Flows: 3000})
	var all totals
	var open []flow.Connection
	for n := 0; ctx.Err() == nil; n++ {
		var b flow.ConnBatch
		add := func(c *flow.Connection) {
			all.conns, all.bytes = all.conns+int64(c.Count), all.bytes+int64(c.CSBytes)
			b.Add(c)
		}
		for i := range open {
			c := continued(open[i], n, flow.SF, "ShADdaFf", flow.EndDetected)
			add(&c)
		}
		open = open[:0]
		for i := range 50 {
			var c flow.Connection
			network.Conn(&c, base+flow.Time(n%3)*86_400e9+flow.Time(n)*1e8)
			if i%10 == 0 {
				c.End = flow.EndActive
				open = append(open, c)
			}
			add(&c)
		}
		if err := errors.Join(w.Connections(&b), w.Publish(lake.Final{})); err != nil {
			return err
		}
		time.Sleep(200 * time.Millisecond)
	}
	fmt.Println(all.conns, all.bytes)
	return w.Commit(lake.Final{})
}

// compactJob merges and rolls up, and prints how many parts it made.
func compactJob(ctx context.Context, l *lake.Lake) error {
	made := 0
	for ctx.Err() == nil {
		s, err := l.Compact(ctx, lake.CompactConfig{MinAge: -1, QuietFor: -1, MinRollup: -1})
		made += s.Parts + s.Rollups
		if err = errors.Join(append(s.Unfit, err)...); err != nil && ctx.Err() == nil {
			return err
		}
		time.Sleep(200 * time.Millisecond) // questions take some of the processors, too
	}
	fmt.Println(made)
	return nil
}

// totals are what can only grow.
type totals struct{ conns, bytes int64 }

// askJob asks questions of every kind, each of which says what is in the store.
func askJob(path string, queries int) error {
	ctx := context.Background()
	var db *lakequery.DB
	var last totals
	var flows int64
	for i := range queries {
		if i%100 == 0 {
			if db != nil {
				if err := db.Close(); err != nil {
					return err
				}
			}
			var err error
			if db, err = lakequery.Open(ctx, path, lakequery.Config{}); err != nil {
				return err
			}
			if i%200 == 0 {
				db.SetPage(1500) // so flows are listed page by page
			}
		}
		if err := db.Refresh(ctx); err != nil {
			return err
		}
		if i%5 == 4 {
			n, err := db.Counts(ctx, store.Query{})
			if err != nil {
				return err
			}
			if n.Flows < flows {
				return fmt.Errorf("question %d: %d flows after %d", i, n.Flows, flows)
			}
			flows = n.Flows
			continue
		}
		now, err := ask(ctx, db, i%5)
		if err != nil {
			return fmt.Errorf("question %d: %w", i, err)
		}
		if now.conns < last.conns || now.bytes < last.bytes {
			return fmt.Errorf("question %d: %+v after %+v", i, now, last)
		}
		last = now
	}
	fmt.Println(last.conns, last.bytes)
	return db.Close()
}

// ask asks for the totals in one of several ways.
func ask(ctx context.Context, db *lakequery.DB, way int) (all totals, err error) {
	switch way {
	case 0, 1:
		rows, err := db.Raw(ctx, []string{
			"SELECT count(*), sum(csbytes)::BIGINT, count(DISTINCT uid) FROM conn",
			"SELECT sum(count)::BIGINT, sum(csbytes)::BIGINT, count(DISTINCT uid) FROM conn_records",
		}[way])
		if err != nil {
			return all, err
		}
		for row, err := range rows.All() {
			if err != nil {
				return all, err
			}
			if row[0] == nil {
				continue // there are none yet
			}
			all = totals{row[0].(int64), 0}
			if row[1] != nil {
				all.bytes = row[1].(int64)
			}
			if row[2] != row[0] {
				return all, fmt.Errorf("%d connections have %d uids", row[0], row[2])
			}
		}
		return all, rows.Close()
	case 2:
		for f, err := range db.Flows(ctx, store.Query{}) {
			if err != nil {
				return all, err
			}
			all.conns, all.bytes = all.conns+f.Count, all.bytes+f.CSBytes
		}
		return all, nil
	}
	for i, sum := range []string{"count", "csbytes"} {
		top, err := db.Top(ctx, store.TopQuery{Fields: []string{"proto"}, Sum: []string{sum}})
		if err != nil {
			return all, err
		}
		for _, row := range top {
			*[]*int64{&all.conns, &all.bytes}[i] += row.Count
		}
	}
	return all, nil
}

// child starts this program for a job. end ends the job and reads what it
// printed.
func child(t *testing.T, job, path string) (end func(into ...any)) {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), exe)
	cmd.Env = append(os.Environ(), "LAKEQUERY_TEST_JOB="+job, "LAKEQUERY_TEST_STORE="+path)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	return func(into ...any) {
		t.Helper()
		if job == "write" || job == "compact" {
			_ = in.Close() // fails where the process is gone
		}
		text, _ := io.ReadAll(out) // Wait tells what went wrong
		if err := cmd.Wait(); err != nil {
			t.Fatalf("%s: %v", job, err)
		}
		if _, err := fmt.Sscan(string(text), into...); err != nil {
			t.Fatalf("%s: %q: %v", job, text, err)
		}
	}
}

// TestProcesses asks questions in one process while another one publishes and a
// third one compacts: no question fails, and totals only grow.
func TestProcesses(t *testing.T) {
	queries := 60
	if os.Getenv("WEIR_TEST_QUERIES") != "" {
		queries = 1000
	} else if testing.Short() {
		queries = 20
	}
	path := filepath.Join(t.TempDir(), "store")
	if err := lake.Init(path); err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	write, compact := child(t, "write", path), child(t, "compact", path)
	var seen, wrote, got totals
	var made int
	child(t, fmt.Sprintf("ask %d", queries), path)(&seen.conns, &seen.bytes)
	took := time.Since(start)
	write(&wrote.conns, &wrote.bytes)
	compact(&made)
	if made < 10 || seen.conns == 0 {
		t.Errorf("%d compactions, %d connections seen: too few", made, seen.conns)
	}
	db := openDB(t, path)
	for way := range 4 {
		var err error
		if got, err = ask(t.Context(), db, way); err != nil || got != wrote {
			t.Errorf("question %d = %+v, %v, want what was written, %+v", way, got, err, wrote)
		}
	}
	t.Logf("%d questions in %v, %d parts made of others, %d connections seen, %d in the end",
		queries, took, made, seen.conns, wrote.conns)
}
