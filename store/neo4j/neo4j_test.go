// SPDX-License-Identifier: Apache-2.0

package neo4j

import (
	"os"
	"testing"
	"time"

	driver "github.com/neo4j/neo4j-go-driver/v5/neo4j"

	"weir/internal/neo4jtest"
)

func TestMain(m *testing.M) { os.Exit(neo4jtest.Main(m)) }

// open returns the shared server's database, empty but for the schema.
func open(t testing.TB) *DB {
	t.Helper()
	s := neo4jtest.Shared(t)
	d, err := Open(t.Context(), s.URI(), Config{Password: s.Password(), Create: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	if err := d.Purge(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	return d
}

// execute runs one statement and commits it.
func execute(t testing.TB, d *DB, text string, params map[string]any) {
	t.Helper()
	err := d.write(t.Context(), func(t *tx) error {
		_, err := t.run(text, params)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// values returns the first column of what a query returns.
func values(t testing.TB, d *DB, text string) []any {
	t.Helper()
	var list []any
	err := d.read(t.Context(), text, nil, func(r *driver.Record) error {
		list = append(list, r.Values[0])
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func TestOpen(t *testing.T) {
	d := open(t)
	if p, err := d.precision(t.Context()); p != time.Hour || err != nil {
		t.Errorf("precision %v, %v; want 1h", p, err)
	}
	execute(t, d, `CREATE (:Host {addr: '10.0.0.1'})`, nil)
	if got := values(t, d, `MATCH (h:Host) RETURN h.addr`); len(got) != 1 || got[0] != "10.0.0.1" {
		t.Errorf("hosts: %v", got)
	}
	if states := values(t, d, `SHOW INDEXES YIELD name, state WHERE name STARTS WITH 'weir_' RETURN state`); len(states) != len(schema()) {
		t.Errorf("%d indexes, want %d", len(states), len(schema()))
	}
}
