// SPDX-License-Identifier: Apache-2.0

package lake

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/parquet-go/parquet-go"
	"github.com/zeebo/xxh3"
)

// scanTable has a column of every kind that is read differently.
func scanTable() *Table {
	return &Table{Name: "conn", Columns: []Column{
		{Name: "uid", Type: Int64},
		{Name: "src", Type: String},
		{Name: "dport", Type: Int32, Nullable: true},
		{Name: "tunnel_parents", Type: Int64List, Nullable: true},
		{Name: "names", Type: StringList},
		{Name: "loss", Type: Boolean, Nullable: true},
	}}
}

type scanRow struct {
	UID     int64    `parquet:"uid"`
	Src     string   `parquet:"src,dict"`
	Dport   *int32   `parquet:"dport,optional"`
	Parents []int64  `parquet:"tunnel_parents,list,optional"`
	Names   []string `parquet:"names,list"`
}

func scanRows(n int) []scanRow {
	r := rand.New(rand.NewPCG(1, 1))
	rows := make([]scanRow, n)
	for i := range rows {
		row := &rows[i]
		row.UID, row.Src = int64(i), fmt.Sprintf("10.0.0.%d", r.IntN(50))
		if r.IntN(3) > 0 {
			row.Dport = new(int32(r.IntN(1000)))
		}
		for range r.IntN(4) * r.IntN(3) {
			row.Parents = append(row.Parents, r.Int64())
		}
		for range r.IntN(5) {
			row.Names = append(row.Names, fmt.Sprintf("name %d", r.IntN(1000)))
		}
	}
	// A list longer than what is read at once.
	for range 3000 {
		rows[n/2].Names = append(rows[n/2].Names, "again")
	}
	return rows
}

// writeScanned writes rows to a part of an older version of the table.
func writeScanned[T any](t *testing.T, dir string, rows []T, options ...parquet.WriterOption) *Part {
	t.Helper()
	name := filepath.Join(dir, "part.parquet")
	if err := parquet.WriteFile(name, rows, options...); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return &Part{
		Kind: "conn", Path: "part.parquet", Rows: int64(len(rows)), Bytes: int64(len(data)),
		Sum: fmt.Sprintf("%016x", xxh3.Hash(data)),
	}
}

// TestScan reads parts of both versions of pages, of several row groups, and
// without a column that was added later.
func TestScan(t *testing.T) {
	rows := scanRows(5000)
	for _, version := range []int{1, 2} {
		for _, limit := range []int{1, 7, 1024, 10_000} {
			t.Run(fmt.Sprintf("pages %d, %d rows", version, limit), func(t *testing.T) {
				dir := t.TempDir()
				p := writeScanned(t, dir, rows, parquet.DataPageVersion(version), parquet.PageBufferSize(2000),
					parquet.MaxRowsPerRowGroup(1700), parquet.Compression(&parquet.Zstd))
				if diff := cmp.Diff(rows, readScanned(t, dir, p, limit)); diff != "" {
					t.Errorf("rows (-want +got):\n%s", diff)
				}
			})
		}
	}
}

func readScanned(t *testing.T, dir string, p *Part, limit int) []scanRow {
	t.Helper()
	r := &partReader{table: scanTable()}
	if limit%2 == 0 {
		r.keep = maxFile // else it is read from the disk
	}
	defer r.close()
	if err := r.open(t.Context(), dir, p); err != nil {
		t.Fatal(err)
	}
	var rows []scanRow
	for {
		n, err := r.next(limit)
		if err != nil {
			t.Fatal(err)
		}
		if n == 0 {
			return rows
		}
		var columns [6][]parquet.Value
		for i := range columns {
			if columns[i], err = r.read(i, n); err != nil {
				t.Fatal(err)
			}
		}
		// list takes the values of the next row off a column.
		list := func(column int) []parquet.Value {
			values := columns[column]
			n := 1
			for n < len(values) && values[n].RepetitionLevel() > 0 {
				n++
			}
			columns[column] = values[n:]
			if values[0].IsNull() {
				return nil
			}
			return values[:n]
		}
		for i := range n {
			row := scanRow{UID: columns[0][i].Int64(), Src: columns[1][i].String()}
			if v := columns[2][i]; !v.IsNull() {
				row.Dport = new(v.Int32())
			}
			for _, v := range list(3) {
				row.Parents = append(row.Parents, v.Int64())
			}
			for _, v := range list(4) {
				row.Names = append(row.Names, v.String())
			}
			if !columns[5][i].IsNull() {
				t.Errorf("row %d: a column that the part lacks is %v", i, columns[5][i])
			}
			rows = append(rows, row)
		}
		if len(columns[3])+len(columns[4]) > 0 {
			t.Fatalf("%d and %d values too many", len(columns[3]), len(columns[4]))
		}
	}
}

func TestScanRefuses(t *testing.T) {
	dir := t.TempDir()
	check := func(p *Part, want string) {
		t.Helper()
		r := &partReader{table: scanTable()}
		defer r.close()
		if err := r.open(t.Context(), dir, p); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("open() = %v, want %q", err, want)
		}
	}
	p := writeScanned(t, dir, []struct {
		UID   int64 `parquet:"uid"`
		Later int64 `parquet:"later"`
	}{{1, 2}})
	check(p, "column later is not known")
	p = writeScanned(t, dir, []struct {
		UID string `parquet:"uid"`
	}{{"x"}})
	check(p, "column uid has another type")
	p.Rows++
	check(p, "it has 1 rows, not 2")
	p.Bytes++
	check(p, "bytes, not")
	p.Path = "gone"
	check(p, "no such file")
}

// TestScanMalformed opens parts with every kind of damage that has the right
// checksum: whatever comes of it, it is no panic.
func TestScanMalformed(t *testing.T) {
	dir := t.TempDir()
	p := writeScanned(t, dir, scanRows(300), parquet.PageBufferSize(500))
	name := filepath.Join(dir, p.Path)
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(3, 3))
	for range 500 {
		bad := slices.Clone(data)
		for range 1 + r.IntN(3) {
			bad[r.IntN(len(bad))] ^= 1 << r.IntN(8)
		}
		if err := os.WriteFile(name, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		p.Sum = fmt.Sprintf("%016x", xxh3.Hash(bad))
		s := &partReader{table: scanTable(), keep: r.Int64N(2) * maxFile}
		for err := s.open(t.Context(), dir, p); err == nil; {
			n, nerr := s.next(100)
			if err = nerr; n == 0 {
				break
			}
			for i := range s.leaves {
				if _, rerr := s.read(i, n); rerr != nil {
					err = rerr
				}
			}
		}
		s.close()
	}
}

// TestCompactionIsBounded plays a sensor that publishes all day and compaction
// that runs all the time: no row is written often, and few parts are left.
func TestCompactionIsBounded(t *testing.T) {
	for _, rows := range []int64{1, 50, 500, 5000, 100_000} {
		var parts []Part
		var added, written, most int64
		merge := func(factor float64) {
			for _, group := range cut(choose(slices.Clone(parts), factor), factor) {
				out := Part{Path: fmt.Sprintf("%06d", written), MinTS: group[0].MinTS}
				for _, in := range group {
					out.Rows += in.Rows
					i := slices.IndexFunc(parts, func(p Part) bool { return p.Path == in.Path })
					parts = slices.Delete(parts, i, i+1)
				}
				out.Bytes = 6000 + 25*out.Rows
				written += out.Rows
				if out.Rows > partRows {
					t.Errorf("a merged part has %d rows", out.Rows)
				}
				if out.fill() < fullPart {
					parts = append(parts, out)
				}
			}
		}
		for i := range int64(17_280) {
			parts = append(parts, Part{Path: fmt.Sprintf("p%05d", i), Rows: rows, Bytes: 6000 + 40*rows, MinTS: i})
			added += rows
			if i%6 == 0 {
				merge(openFactor)
				most = max(most, int64(len(parts)))
			}
		}
		open := float64(written) / float64(added)
		merge(closedFactor)
		merge(closedFactor)
		t.Logf("%d rows a part: each written %.2f times, then %.2f; up to %d small parts, %d left",
			rows, open, float64(written)/float64(added)-open, most, len(parts))
		if open > 5 || float64(written)/float64(added)-open > 2 || most > 80 || len(parts) > 10 {
			t.Errorf("%d rows a part: too much", rows)
		}
	}
}
