// SPDX-License-Identifier: Apache-2.0

package lakequery_test

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"weir/internal/flow"
	"weir/store"
	"weir/store/lakequery"
)

// movingLake has parts of a connection each. Each call of next replaces one of
// them by one with more bytes.
type movingLake struct {
	t     *testing.T
	path  string
	conns []flow.Connection
	moved int
}

// movingParts is more than how many snapshots a query takes.
const movingParts = 30

func newMovingLake(t *testing.T) *movingLake {
	t.Helper()
	l := &movingLake{t: t, path: filepath.Join(t.TempDir(), "store")}
	for i := range movingParts {
		c := conn(uint64(i+1), flow.TCP, "10.0.0.1", uint16(i), fmt.Sprintf("10.0.1.%d", i), 80, i)
		l.conns = append(l.conns, c)
		writeLake(t, l.path, fmt.Sprintf("old%d", i), []flow.Connection{c}, nil)
	}
	return l
}

func (l *movingLake) next() {
	l.t.Helper()
	if l.moved == movingParts {
		return
	}
	c := l.conns[l.moved]
	c.CSBytes = 1_000_000
	writeLake(l.t, l.path, fmt.Sprintf("new%d", l.moved), []flow.Connection{c, c}, nil, fmt.Sprintf("old%d", l.moved))
	l.moved++
}

// TestPartsMoveBetweenTries: a query whose parts are replaced one after the
// other ends, with the answer of the snapshot that it began with.
func TestPartsMoveBetweenTries(t *testing.T) {
	l := newMovingLake(t)
	db := openDB(t, l.path)
	n, bytes, err := db.QueryAfter(t.Context(), l.next, "SELECT count(*), sum(csbytes)::BIGINT FROM conn")
	if err != nil || n != movingParts || bytes != movingParts*300 {
		t.Errorf("%d connections of %d bytes, %v, want %d of 300 each", n, bytes, err, movingParts)
	}
	if l.moved != movingParts {
		t.Errorf("%d parts moved, want all", l.moved)
	}
	if err := db.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n, err := db.Counts(t.Context(), store.Query{}); err != nil || n.Flows != movingParts {
		t.Errorf("Counts() = %+v, %v", n, err)
	}
	if _, rows := sqlRows(t, db, "SELECT count(*) FROM conn"); rows[0][0] != int64(2*movingParts) {
		t.Errorf("SELECT count(*) = %v, want %d", rows[0][0], 2*movingParts)
	}
}

// TestPartsMoveBetweenPages: what is listed page by page is of one snapshot,
// though parts are replaced, and other questions see that.
func TestPartsMoveBetweenPages(t *testing.T) {
	l := newMovingLake(t)
	db := openDB(t, l.path)
	want := flows(t, db, store.Query{})
	db.SetPage(4)
	var got []store.Flow
	for f, err := range db.Flows(t.Context(), store.Query{}) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, *f)
		l.next()
		if err := db.Refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
		t.Errorf("Flows() in pages (-want +got):\n%s", diff)
	}
	if _, rows := sqlRows(t, db, "SELECT count(*) FROM duckdb_views() WHERE schema_name LIKE 'pinned%'"); rows[0][0] != int64(0) {
		t.Errorf("%v views are left", rows[0][0])
	}
}

// TestPartsMoveUnderTail: a Tail hands on what it saw, though parts are merged
// while it does.
func TestPartsMoveUnderTail(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store")
	first := tcp(1, 0)
	first.End = flow.EndActive
	live(t, path, "a", first)
	tail := openTail(t, path, lakequery.TailQuery{Intel: true})
	tail.SetLimits(2, time.Hour)
	last := continued(first, 50, flow.SF, "ShADdaFf", flow.EndDetected)
	live(t, path, "b", tcp(2, 10), tcp(3, 20), tcp(4, 30), last, tcp(5, 60), tcp(6, 70))
	var got []string
	for row, err := range tail.Poll(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		if got = append(got, row[0].(string)); len(got) == 1 {
			compact(t, path)
		}
		if row[0] == flow.UIDText(1) && !row[2].(time.Time).Equal(at(0)) {
			t.Errorf("connection 1 began at %v, want %v", row[2], at(0))
		}
	}
	checkUIDs(t, "while parts are merged", got, 2, 3, 4, 1, 5, 6)
	checkUIDs(t, "afterwards", uids(t, tail, tail.Poll(t.Context())))
	if tail.Missed() {
		t.Error("Missed() though nothing was")
	}
}

// TestPartsGoneForGood: where replaced parts were removed, the newest snapshot
// answers.
func TestPartsGoneForGood(t *testing.T) {
	l := newMovingLake(t)
	db := openDB(t, l.path)
	list := func(want int) {
		t.Helper()
		got := flows(t, db, store.Query{})
		if len(got) != movingParts || got[0].Count != 2 || got[want-1].Count != 2 {
			t.Errorf("Flows() = %v", got)
		}
		if want < movingParts && got[want].Count != 1 {
			t.Errorf("flow %d has %d connections, want 1", want, got[want].Count)
		}
	}
	remove := func() {
		t.Helper()
		if err := os.RemoveAll(filepath.Join(l.path, ".old")); err != nil {
			t.Fatal(err)
		}
	}
	l.next()
	remove()
	list(1)
	l.next()
	remove()
	db.SetPage(4)
	list(2)
}
