// SPDX-License-Identifier: Apache-2.0

package neo4j

import (
	"fmt"
	"testing"
	"time"
)

// dropSchema removes all constraints, indexes, and the node Store.
func dropSchema(t *testing.T, d *DB) {
	t.Helper()
	for _, text := range []string{
		`SHOW CONSTRAINTS YIELD name WHERE name STARTS WITH 'weir_' RETURN 'CONSTRAINT ' + name`,
		`SHOW INDEXES YIELD name, owningConstraint WHERE name STARTS WITH 'weir_' AND owningConstraint IS NULL RETURN 'INDEX ' + name`,
	} {
		for _, what := range values(t, d, text) {
			if _, err := d.runAlone(t.Context(), fmt.Sprintf("DROP %s", what), nil, time.Minute, nil); err != nil {
				t.Fatal(err)
			}
		}
	}
	execute(t, d, `MATCH (s:Store) DELETE s`, nil)
}

// online returns how many of our constraints and indexes are there, and ready.
func online(t *testing.T, d *DB) int {
	t.Helper()
	return len(values(t, d, `SHOW INDEXES YIELD name, state WHERE name STARTS WITH 'weir_' AND state = 'ONLINE' RETURN name`))
}

func TestEnsureIndexes(t *testing.T) {
	d := open(t)
	for _, text := range []string{`DROP INDEX weir_flow_dport`, `DROP CONSTRAINT weir_host_addr`} {
		if _, err := d.runAlone(t.Context(), text, nil, time.Minute, nil); err != nil {
			t.Fatal(err)
		}
	}
	if got := online(t, d); got != len(schema())-2 {
		t.Fatalf("%d indexes, want %d", got, len(schema())-2)
	}
	execute(t, d, `UNWIND range(1, 20000) AS n CREATE (:Flow {key: toString(n), dport: n % 1000})`, nil)
	if err := d.EnsureIndexes(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := online(t, d); got != len(schema()) {
		t.Errorf("%d indexes are ready, want %d", got, len(schema()))
	}
	// What is there already may be against a constraint.
	if _, err := d.runAlone(t.Context(), `DROP CONSTRAINT weir_host_addr`, nil, time.Minute, nil); err != nil {
		t.Fatal(err)
	}
	execute(t, d, `UNWIND [1, 2] AS n CREATE (:Host {addr: 'twice'})`, nil)
	if err := d.EnsureIndexes(t.Context()); err == nil || Outage(err) {
		t.Errorf("two hosts with one address: %v, want an error that is no outage", err)
	}
	execute(t, d, `MATCH (h:Host) DELETE h`, nil)
	if err := d.EnsureIndexes(t.Context()); err != nil {
		t.Error(err)
	}
}

// TestInitAtOnce has several processes make the schema at the same time.
func TestInitAtOnce(t *testing.T) {
	d := open(t)
	dropSchema(t, d)
	const n = 4
	errs := make(chan error, n)
	for i := range n {
		go func() {
			other, err := Open(t.Context(), "bolt://"+d.where.host, Config{
				Password: d.cfg.Password, Create: true, Precision: time.Duration(i+1) * time.Hour,
			})
			if err == nil {
				err = other.Close()
			}
			errs <- err
		}()
	}
	for range n {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	if got := values(t, d, `MATCH (s:Store) RETURN count(s)`); got[0] != int64(1) {
		t.Errorf("%v nodes Store, want one", got[0])
	}
	if got := online(t, d); got != len(schema()) {
		t.Errorf("%d indexes, want %d", got, len(schema()))
	}
}
