// SPDX-License-Identifier: Apache-2.0

package neo4j

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"weir/internal/filter"
	"weir/store"
)

// at is a time of these tests, so many hours after the first.
func at(hours int) time.Time {
	return time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC).Add(time.Duration(hours) * time.Hour)
}

// makeGraph makes n flows, flow k from host k to host 0, seen at hour k for the
// last time. Each has intel of its own, which is about a host that has no flow,
// and shares one intel with all others.
func makeGraph(t testing.TB, d *DB, n int) {
	t.Helper()
	statement(t, d, `CREATE (:Host {addr: 'h0'}) CREATE (:Intel:DNS {key: 'shared'})`, nil)
	statement(t, d, `UNWIND range(1, $n) AS k
		MATCH (to:Host {addr: 'h0'}), (shared:DNS {key: 'shared'})
		CREATE (:Host {addr: 'h' + k})-[:SEND]->(f:Flow {key: 'f' + k, lastseen: $first + duration({hours: k})})-[:TO]->(to)
		CREATE (f)-[:INTEL {count: 1}]->(i:Intel:HTTP {key: 'i' + k})
		CREATE (f)-[:INTEL {count: 1}]->(shared)
		CREATE (:Host {addr: 'about' + k})-[:INTEL]->(i)
		CREATE (:Waiting {key: 'w' + k})-[:INTEL {count: 1}]->(:Intel:SSL {key: 's' + k, lastseen: $first + duration({hours: k})})`,
		map[string]any{"n": n, "first": filter.CypherTime(at(0))})
}

// counts returns the number of nodes by label.
func counts(t testing.TB, d *DB) map[string]int64 {
	t.Helper()
	m := map[string]int64{}
	for _, l := range []string{"Host", "Flow", "DNS", "HTTP", "SSL", "Waiting", "Chunk", "Import", "Store", "Foreign"} {
		if n, _ := values(t, d, `MATCH (n:`+l+`) RETURN count(n)`)[0].(int64); n != 0 {
			m[l] = n
		}
	}
	return m
}

func TestExpire(t *testing.T) {
	d := open(t)
	n := 2500 // more than two batches
	makeGraph(t, d, n)
	all := map[string]int64{
		"Host": int64(2*n) + 1, "Flow": int64(n), "DNS": 1, "HTTP": int64(n), "SSL": int64(n), "Waiting": int64(n), "Store": 1,
	}
	if diff := cmp.Diff(all, counts(t, d)); diff != "" {
		t.Fatalf("the graph (-want +got):\n%s", diff)
	}
	dry, err := d.Expire(t.Context(), at(2101), true)
	if want := (Expired{Flows: 2100, Newest: at(2100)}); err != nil || dry != want {
		t.Errorf("dry run: %+v, %v; want %+v", dry, err, want)
	}
	if diff := cmp.Diff(all, counts(t, d)); diff != "" {
		t.Errorf("a dry run changed the graph (-want +got):\n%s", diff)
	}
	// Flow 5 is seen again: it stays, with its intel and hosts.
	statement(t, d, `MATCH (f:Flow {key: 'f5'}) SET f.lastseen = $now`, map[string]any{"now": filter.CypherTime(at(9000))})
	// These were made for flows that are about to come.
	statement(t, d, `CREATE (:Host {addr: 'new', lastseen: $now}) CREATE (:Intel:DNS {key: 'new', lastseen: $now})`, map[string]any{"now": filter.CypherTime(at(9000))})
	got, err := d.Expire(t.Context(), at(2101), false)
	want := Expired{Flows: 2099, Intel: 2099 + 2100, Hosts: 2 * 2099, Newest: at(2100)}
	if err != nil || got != want {
		t.Errorf("%+v, %v; want %+v", got, err, want)
	}
	left := map[string]int64{"Host": 2*401 + 2, "Flow": 401, "DNS": 2, "HTTP": 401, "SSL": 400, "Waiting": 400, "Store": 1}
	if diff := cmp.Diff(left, counts(t, d)); diff != "" {
		t.Errorf("what is left (-want +got):\n%s", diff)
	}
	if got := values(t, d, `MATCH (n) WHERE n.locked IS NOT NULL RETURN count(n)`); got[0] != int64(0) {
		t.Errorf("%v nodes are still marked", got[0])
	}
	if got := values(t, d, `MATCH (h:Host {addr: 'h5'})-[:SEND]->(f)-[:INTEL]->(:HTTP)<-[:INTEL]-(:Host) RETURN f.key`); !slices.Equal(got, []any{"f5"}) {
		t.Errorf("flow 5: %v", got)
	}
	// The last ones take what all shared with them.
	if _, err := d.Expire(t.Context(), at(10_000), false); err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff(map[string]int64{"Store": 1}, counts(t, d)); diff != "" {
		t.Errorf("in the end (-want +got):\n%s", diff)
	}
}

// TestExpireKeepsWhatIsUsed has flows come back between the moment when they are
// found and the one when they would be removed.
func TestExpireKeepsWhatIsUsed(t *testing.T) {
	d := open(t)
	makeGraph(t, d, 50)
	// A transaction that has the flow, but has not ended.
	s := d.session(t.Context(), 0)
	defer closeSession(t.Context(), s)
	other, err := s.BeginTransaction(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := (&tx{d, t.Context(), t.Context(), other}).run(`MATCH (f:Flow {key: 'f7'}) SET f.lastseen = $now, f.count = 2
		WITH f CREATE (f)-[:INTEL {count: 1}]->(:Intel:DNS {key: 'new'})`, map[string]any{"now": filter.CypherTime(at(9000))}); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() {
		_, err := d.Expire(t.Context(), at(1000), false)
		done <- err
	}()
	// Expire waits for its lock.
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		blocked := values(t, d, `SHOW TRANSACTIONS YIELD currentQueryStatus WHERE currentQueryStatus = 'waiting' RETURN currentQueryStatus`)
		if len(blocked) > 0 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("nothing waits for the lock")
		}
	}
	if err := other.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	want := map[string]int64{"Host": 3, "Flow": 1, "DNS": 2, "HTTP": 1, "Store": 1}
	if diff := cmp.Diff(want, counts(t, d)); diff != "" {
		t.Errorf("what is left (-want +got):\n%s", diff)
	}
}

func TestPurge(t *testing.T) {
	d := open(t)
	makeGraph(t, d, 1500)
	statement(t, d, `CREATE (:Chunk {part: 'p', n: 1}) CREATE (:Import {id: 'i'}) CREATE (:Foreign {of: 'somebody else'})`, nil)
	statement(t, d, `MATCH (s:Store) SET s.precision = 7200, s.odd = true`, nil)
	var seen []int64
	if err := d.Purge(t.Context(), func(n int64) { seen = append(seen, n) }); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]int64{"Store": 1, "Foreign": 1}, counts(t, d)); diff != "" {
		t.Errorf("what is left (-want +got):\n%s", diff)
	}
	statement(t, d, `MATCH (n:Foreign) DELETE n`, nil)
	if !slices.IsSorted(seen) || len(seen) < 5 || seen[len(seen)-1] != 1500*6+2+2 {
		t.Errorf("progress %v", seen)
	}
	if got := values(t, d, `MATCH (s:Store) RETURN s.precision + CASE WHEN s.odd IS NULL THEN 0 ELSE 1 END`); got[0] != int64(3600) {
		t.Errorf("precision %v, want that of a new store", got[0])
	}
}

func TestReducePrecision(t *testing.T) {
	d := open(t)
	// Slots of an hour: of flow k those that its bits say, from 1969 on.
	statement(t, d, `UNWIND range(1, 2500) AS k
		CREATE (:Flow {key: toString(k), times: [b IN range(0, 11) WHERE (k / toInteger(2 ^ b)) % 2 = 1 | datetime('1969-12-31T20:00:00Z') + duration({hours: b})]})`, nil)
	statement(t, d, `CREATE (:Flow {key: 'without'})`, nil)
	var last int64
	got, err := d.ReducePrecision(t.Context(), 4*time.Hour, func(n int64) { last = n })
	if err != nil || got.Before != time.Hour || got.After != 4*time.Hour || got.Flows == 0 || got.Flows != last {
		t.Fatalf("%+v, %v; progress up to %d", got, err, last)
	}
	// Each group of four bits becomes one slot.
	wrong := values(t, d, `MATCH (f:Flow) WHERE f.key <> 'without' WITH f, toInteger(f.key) AS k
		WITH f, [g IN range(0, 2) WHERE (k / toInteger(16 ^ g)) % 16 <> 0 | datetime('1969-12-31T20:00:00Z') + duration({hours: 4 * g})] AS want
		WHERE f.times <> want OR f.locked IS NOT NULL RETURN f.key`)
	if len(wrong) > 0 {
		t.Errorf("wrong slots: flows %v", wrong)
	}
	if n := values(t, d, `MATCH (f:Flow) WHERE f.times IS NULL RETURN count(f)`); n[0] != int64(1) {
		t.Errorf("%v flows without slots, want 1", n[0])
	}
	if p, err := d.precision(t.Context()); p != 4*time.Hour || err != nil {
		t.Errorf("precision %v, %v", p, err)
	}
	again, err := d.ReducePrecision(t.Context(), 4*time.Hour, nil)
	if want := (Reduced{Before: 4 * time.Hour, After: 4 * time.Hour}); err != nil || again != want {
		t.Errorf("again: %+v, %v; want %+v", again, err, want)
	}
	for _, p := range []time.Duration{0, time.Hour, 6 * time.Hour, 4*time.Hour + time.Second} {
		if _, err := d.ReducePrecision(t.Context(), p, nil); !errors.Is(err, store.ErrPrecision) || !strings.Contains(err.Error(), "4h") {
			t.Errorf("%v: error %v, want ErrPrecision", p, err)
		}
	}
	// One that was interrupted: the store has the new width, some flows the old.
	statement(t, d, `MATCH (f:Flow {key: '3'}) SET f.times = [datetime('2026-03-01T01:00:00Z'), datetime('2026-03-01T02:00:00Z')]`, nil)
	if r, err := d.ReducePrecision(t.Context(), 4*time.Hour, nil); err != nil || r.Flows != 1 {
		t.Errorf("the rest: %+v, %v; want one flow", r, err)
	}
	if got := values(t, d, `MATCH (f:Flow {key: '3'}) RETURN [t IN f.times | toString(t)]`); !cmp.Equal(got[0], []any{"2026-03-01T00:00:00Z"}) {
		t.Errorf("slots %v", got[0])
	}
}
