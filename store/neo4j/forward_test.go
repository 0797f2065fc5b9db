// SPDX-License-Identifier: Apache-2.0

package neo4j

import (
	"testing"
	"time"

	"weir/store/lake"
	"weir/store/storetest"
)

// newSpool returns an empty lake.
func newSpool(t testing.TB) *lake.Lake {
	t.Helper()
	l, err := lake.Open(t.TempDir(), lake.Config{Create: true, Grace: time.Nanosecond})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// newForwarder returns a forwarder of a spool.
func newForwarder(t testing.TB, d *DB, spool *lake.Lake) *Forwarder {
	t.Helper()
	f, err := d.NewForwarder(ForwardConfig{Spool: spool, Patience: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestDrain(t *testing.T) {
	d := open(t)
	data := storetest.Random(1)
	spool := newSpool(t)
	data.Fill(t, spool)
	before, err := spool.Manifest()
	if err != nil {
		t.Fatal(err)
	}
	f := newForwarder(t, d, spool)
	if b := f.Stats().Backlog; b.Parts == 0 || b.Connections == 0 || b.Intel == 0 || time.Since(b.Oldest) > time.Minute {
		t.Errorf("backlog before: %+v", b)
	}
	if err := f.Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	compareFlows(t, data.Flows(), readGraph(t, d))
	st := f.Stats()
	if st.Backlog != (Backlog{}) || st.Err != nil || st.Connections == 0 || st.Intel == 0 || st.Last.IsZero() {
		t.Errorf("stats after: %+v", st)
	}
	m, err := spool.Manifest()
	if err != nil {
		t.Fatal(err)
	}
	if len(m.Parts) != 0 || len(m.Imports) != 0 {
		t.Errorf("the spool has %d parts and %d imports", len(m.Parts), len(m.Imports))
	}
	if n := values(t, d, `MATCH (c:Chunk) RETURN count(c)`); n[0] != int64(0) {
		t.Errorf("%v marks are left", n)
	}
	imports, err := d.Imports(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(imports) != len(before.Imports) {
		t.Fatalf("%d imports, want %d", len(imports), len(before.Imports))
	}
}
