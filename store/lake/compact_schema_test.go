// SPDX-License-Identifier: Apache-2.0

package lake

import (
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/parquet-go/parquet-go"

	"weir/internal/flow"
)

// writeZeros writes parts whose rows have no values but zeros.
func writeZeros(t *testing.T, l *Lake, table *Table, id string, parts, rows int) {
	t.Helper()
	dir, lock, err := l.claim(id)
	if err != nil {
		t.Fatal(err)
	}
	c, err := newCodec()
	if err != nil {
		t.Fatal(err)
	}
	set := &partSet{table: *table, schema: schemaOf(table), dir: dir, id: id, codec: c, seq: new(atomic.Int64)}
	day := time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC).UnixMicro()
	for range parts {
		p, err := set.part(dayOf(day))
		if err != nil {
			t.Fatal(err)
		}
		for i := range table.Columns {
			col := &table.Columns[i]
			zero := parquet.ZeroValue(leafOf(col.Type).Type().Kind())
			switch {
			case col.Nullable, col.Type.list():
				zero = parquet.Value{}
			case col.Type == Address:
				zero = parquet.FixedLenByteArrayValue(make([]byte, len(flow.Addr{})))
			}
			for range rows {
				if _, err := p.columns[i].WriteRowValues([]parquet.Value{zero}); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := p.endChunk(rows, groupBytes); err != nil {
			t.Fatal(err)
		}
		p.span.add(day, day)
		if err := set.finishAll(); err != nil {
			t.Fatal(err)
		}
	}
	imp := Import{ID: id, Source: "live"}
	done, err := l.swap(dir, nil, nil, set.closed, func(m *Manifest) { m.Imports = append(m.Imports, imp) })
	if err != nil || !done {
		t.Fatalf("swap() = %v, %v", done, err)
	}
	if err := release(dir, lock); err != nil {
		t.Fatal(err)
	}
}

// TestCompactOlderSchema: rows that lack a column go on lacking it.
func TestCompactOlderSchema(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store")
	l, err := Open(path, Config{Create: true})
	if err != nil {
		t.Fatal(err)
	}
	table := Conns()
	writeZeros(t, l, tableOf(ConnTable, 0), "old", 3, 20)
	writeZeros(t, l, &table, "new", 4, 20)
	s, err := l.Compact(t.Context(), CompactConfig{MinAge: -1, QuietFor: -1, MinRollup: 1})
	if err != nil || s.Merged != 7 || s.Parts != 2 || s.Rollups != 1 || s.Covered != 140 || len(s.Unfit) > 0 {
		t.Fatalf("Compact() = %+v, %v, want 7 parts merged to 2, and a roll-up", s, err)
	}
	m, err := l.Manifest()
	if err != nil {
		t.Fatal(err)
	}
	rows := make(map[int]int64)
	for i := range m.Parts {
		p := &m.Parts[i]
		if p.Kind != ConnTable {
			continue
		}
		rows[p.Schema] += p.Rows
		r := &partReader{table: tableOf(ConnTable, p.Schema)}
		if err := r.open(t.Context(), path, p); err != nil {
			t.Fatal(err)
		}
		if n := len(r.file.Schema().Columns()); n != len(r.table.Columns) {
			t.Errorf("a part of schema %d has %d columns, want %d", p.Schema, n, len(r.table.Columns))
		}
		r.close()
	}
	if rows[0] != 60 || rows[1] != 80 {
		t.Errorf("rows of schemas: %v, want 60 of 0 and 80 of 1", rows)
	}
	if report, err := Check(t.Context(), path, CheckConfig{}); err != nil || len(report.Damage) > 0 {
		t.Errorf("Check() = %+v, %v", report, err)
	}
}
