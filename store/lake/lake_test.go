// SPDX-License-Identifier: Apache-2.0

package lake_test

import (
	"bytes"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/parquet-go/parquet-go"

	"weir/internal/flow"
	"weir/store/lake"
)

func addr(text string) flow.Addr { return flow.AddrFrom(netip.MustParseAddr(text)) }

// newLake opens a new store.
func newLake(tb testing.TB) *lake.Lake {
	tb.Helper()
	return openLake(tb, filepath.Join(tb.TempDir(), "store"))
}

func openLake(tb testing.TB, path string) *lake.Lake {
	tb.Helper()
	l, err := lake.Open(path, lake.Config{Create: true, Version: "1.2.3"})
	if err != nil {
		tb.Fatalf("Open(%q) = %v", path, err)
	}
	return l
}

func begin(tb testing.TB, l *lake.Lake, imp lake.Import) *lake.Writer {
	tb.Helper()
	w, err := l.Begin(imp)
	if err != nil {
		tb.Fatalf("Begin(%+v) = %v", imp, err)
	}
	tb.Cleanup(func() { _ = w.Abort() })
	return w
}

func manifest(tb testing.TB, l *lake.Lake) *lake.Manifest {
	tb.Helper()
	m, err := l.Manifest()
	if err != nil {
		tb.Fatalf("Manifest() = %v", err)
	}
	return m
}

// readRows reads every part of a table, in the manifest's order.
func readRows[T any](tb testing.TB, l *lake.Lake, kind string) []T {
	tb.Helper()
	var rows []T
	for _, p := range manifest(tb, l).Parts {
		if p.Kind != kind {
			continue
		}
		got, err := parquet.ReadFile[T](filepath.Join(l.Path(), p.Path))
		if err != nil {
			tb.Fatalf("read %s: %v", p.Path, err)
		}
		if int64(len(got)) != p.Rows {
			tb.Errorf("%s has %d rows, the manifest says %d", p.Path, len(got), p.Rows)
		}
		rows = append(rows, got...)
	}
	return rows
}

func batchOf(conns ...flow.Connection) *flow.ConnBatch {
	b := new(flow.ConnBatch)
	for i := range conns {
		b.Add(&conns[i])
	}
	return b
}

func TestColumnsInOrder(t *testing.T) {
	l := newLake(t)
	w := begin(t, l, lake.Import{})
	ib := flow.NewIntelBatch()
	for k := range flow.Kinds() {
		ib.Begin(flow.Kind(k), &flow.Tuple{}, 0)
	}
	if err := w.Intel(ib); err != nil {
		t.Fatal(err)
	}
	if err := w.Connections(batchOf(flow.Connection{})); err != nil {
		t.Fatal(err)
	}
	if err := w.Commit(lake.Final{}); err != nil {
		t.Fatal(err)
	}
	byName := make(map[string]lake.Part)
	for _, p := range manifest(t, l).Parts {
		byName[p.Kind] = p
	}
	for _, table := range lake.Tables() {
		p := byName[table.Name]
		data, err := os.Open(filepath.Join(l.Path(), p.Path))
		if err != nil {
			t.Fatal(err)
		}
		f, err := parquet.OpenFile(data, p.Bytes)
		if err != nil {
			t.Fatal(err)
		}
		var got, want []string
		for _, field := range f.Schema().Fields() {
			got = append(got, field.Name())
		}
		for _, c := range table.Columns {
			want = append(want, c.Name)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("columns of %s (-want +got):\n%s", table.Name, diff)
		}
		_ = data.Close()
	}
}

func TestDays(t *testing.T) {
	const day = flow.Time(86_400_000_000_000)
	l := newLake(t)
	w := begin(t, l, lake.Import{})
	b := new(flow.ConnBatch)
	ib := flow.NewIntelBatch()
	// Days in complete disorder, before 1970 too, the last ones most.
	const n, days = 100_000, 10
	for i := range n {
		c := flow.Connection{Count: 1}
		c.UID = uint64(i)
		c.First = flow.Time(i*7%days-2)*day + day/2
		c.Last = c.First
		b.Add(&c)
		ib.Begin(flow.DNS, &c.Tuple, c.First)
		ib.SetInt(flow.DNSTransID, int64(i))
		ib.AppendText(flow.DNSAnswers, []byte("answer"))
		ib.AppendInt(flow.DNSTTLs, int64(i)*1e6)
		if b.Len() == 900 || i == n-1 {
			if err := w.Connections(b); err != nil {
				t.Fatal(err)
			}
			if err := w.Intel(ib); err != nil {
				t.Fatal(err)
			}
			b.Reset()
			ib.Reset()
		}
	}
	if err := w.Commit(lake.Final{}); err != nil {
		t.Fatal(err)
	}
	uids, ids := make(map[int64]bool), make(map[int64]bool)
	for _, r := range readRows[connRow](t, l, "conn") {
		uids[r.UID] = true
	}
	for _, r := range readRows[dnsRow](t, l, "dns") {
		if len(r.Answers) != 1 || len(r.TTLs) != 1 || r.TTLs[0] != float64(*r.TransID) {
			t.Fatalf("dns row = %+v", r)
		}
		ids[*r.TransID] = true
	}
	if len(uids) != n || len(ids) != n {
		t.Errorf("%d connections and %d dns records, want %d each", len(uids), len(ids), n)
	}
	m := manifest(t, l)
	names := make(map[string]bool)
	for _, p := range m.Parts {
		names[p.Day] = true
		if d := dayText(p.MinTS); d != p.Day || dayText(p.MaxTS) != d {
			t.Errorf("%s holds rows of %s to %s", p.Path, d, dayText(p.MaxTS))
		}
		if !strings.HasPrefix(p.Path, p.Kind+"/day="+p.Day+"/") {
			t.Errorf("path %q, want it below %s/day=%s", p.Path, p.Kind, p.Day)
		}
	}
	if len(names) != days || !names["1969-12-30"] || !names["1970-01-08"] {
		t.Errorf("days = %v, want 1969-12-30 to 1970-01-08", names)
	}
	// A part for each change of day would be 20,000 or so.
	if len(m.Parts) > 200 {
		t.Errorf("%d parts for %d days", len(m.Parts), days)
	}
}

func dayText(micros int64) string {
	return flow.Time(micros * 1000).Std().Format("2006-01-02")
}

func TestParts(t *testing.T) {
	l := newLake(t)
	w := begin(t, l, lake.Import{})
	b := new(flow.ConnBatch)
	c := flow.Connection{Count: 1}
	for range 1 << 14 {
		b.Add(&c)
	}
	for range 80 {
		if err := w.Connections(b); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Commit(lake.Final{}); err != nil {
		t.Fatal(err)
	}
	m := manifest(t, l)
	if len(m.Parts) != 2 || m.Parts[0].Rows != 1<<20 || m.Parts[1].Rows != 1<<18 {
		t.Errorf("parts = %+v, want two, of %d and %d rows", m.Parts, 1<<20, 1<<18)
	}
}

// TestAllocations pins that rows cost no allocation: what is left belongs to
// pages and row groups.
func TestAllocations(t *testing.T) {
	l := newLake(t)
	w := begin(t, l, lake.Import{})
	b, ib := batchOf(genConns(1024, 1)...), genDNS(1024, 1)
	write := func() {
		if err := w.Connections(b); err != nil {
			t.Fatal(err)
		}
		if err := w.Intel(ib); err != nil {
			t.Fatal(err)
		}
	}
	for range 200 {
		write()
	}
	if n := testing.AllocsPerRun(200, write); n > 100 {
		t.Errorf("%v allocations for 2048 rows, want at most 100", n)
	}
}

// TestAtOnce writes connections and intel at the same time, and publishes
// meanwhile.
func TestAtOnce(t *testing.T) {
	l := newLake(t)
	w := begin(t, l, lake.Import{})
	const batches = 60
	var wg sync.WaitGroup
	wg.Go(func() {
		b := batchOf(genConns(1000, 1)...)
		for range batches {
			if err := w.Connections(b); err != nil {
				t.Error(err)
			}
		}
	})
	wg.Go(func() {
		b := genDNS(1000, 1)
		for range batches {
			if err := w.Intel(b); err != nil {
				t.Error(err)
			}
		}
	})
	for range 3 {
		if err := w.Publish(lake.Final{}); err != nil {
			t.Error(err)
		}
	}
	wg.Wait()
	if err := w.Commit(lake.Final{}); err != nil {
		t.Fatal(err)
	}
	if conns, dns := checkStore(t, l); conns != batches*1000 || dns != batches*1000 {
		t.Errorf("%d connections, %d dns records, want %d", conns, dns, batches*1000)
	}
	if n := manifest(t, l).Imports[0].Connections; n != batches*1000 {
		t.Errorf("the manifest says %d connections, want %d", n, batches*1000)
	}
}

func TestOpen(t *testing.T) {
	dir := t.TempDir()
	full := filepath.Join(dir, "full")
	if err := os.Mkdir(full, 0o755); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(full, "notes.txt"), "mine")
	newer := filepath.Join(dir, "newer")
	damaged := filepath.Join(dir, "damaged")
	for _, p := range []string{newer, damaged} {
		if err := lake.Init(p); err != nil {
			t.Fatalf("Init(%q) = %v", p, err)
		}
	}
	write(t, filepath.Join(newer, "MANIFEST"), `{"format":3,"generation":1}`)
	write(t, filepath.Join(damaged, "MANIFEST"), `{"format":1,"gen`)
	for _, tc := range []struct {
		name, path string
		cfg        lake.Config
		want       error
		text       string
	}{
		{"missing", filepath.Join(dir, "none"), lake.Config{}, lake.ErrNotStore, "none"},
		{"other directory", full, lake.Config{}, lake.ErrNotStore, "full"},
		{"other directory, create", full, lake.Config{Create: true}, lake.ErrNotStore, "not empty"},
		{"newer", newer, lake.Config{Create: true}, lake.ErrNewerFormat, "newer weir"},
		{"damaged", damaged, lake.Config{Create: true}, nil, "damaged"},
		{"bad config", newer, lake.Config{Grace: -1}, nil, "negative"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := lake.Open(tc.path, tc.cfg)
			if err == nil || tc.want != nil && !errors.Is(err, tc.want) || !strings.Contains(err.Error(), tc.text) {
				t.Errorf("Open(%q) = %v, want %v with %q", tc.path, err, tc.want, tc.text)
			}
		})
	}
	if _, err := os.Stat(filepath.Join(dir, "none")); !os.IsNotExist(err) {
		t.Errorf("Open made the directory of a missing store")
	}
	if err := lake.Init(full); !errors.Is(err, lake.ErrNotStore) {
		t.Errorf("Init(%q) = %v, want %v", full, err, lake.ErrNotStore)
	}
}

func write(tb testing.TB, name, text string) {
	tb.Helper()
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		tb.Fatal(err)
	}
}

func TestInitEmpties(t *testing.T) {
	l := newLake(t)
	w := begin(t, l, lake.Import{})
	if err := w.Connections(batchOf(flow.Connection{Count: 1})); err != nil {
		t.Fatal(err)
	}
	if err := w.Commit(lake.Final{}); err != nil {
		t.Fatal(err)
	}
	before := manifest(t, l)
	if err := lake.Init(l.Path()); err != nil {
		t.Fatalf("Init() = %v", err)
	}
	m := manifest(t, l)
	if len(m.Parts) != 0 || len(m.Imports) != 0 || m.Generation <= before.Generation {
		t.Errorf("after Init: %+v, want nothing, after generation %d", m, before.Generation)
	}
}

func TestManifestDamage(t *testing.T) {
	l := newLake(t)
	w := begin(t, l, lake.Import{Sensor: "eth0", Source: "capture"})
	if err := w.Connections(batchOf(flow.Connection{Count: 1})); err != nil {
		t.Fatal(err)
	}
	if err := w.Commit(lake.Final{}); err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(l.Path(), "MANIFEST")
	good, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	want := manifest(t, l)
	for i := range good {
		bad := append([]byte(nil), good...)
		bad[i] ^= 1
		write(t, name, string(bad))
		got, err := l.Manifest()
		if err == nil && !cmp.Equal(got, want) {
			t.Fatalf("flipped byte %d: the manifest reads as something else", i)
		}
		write(t, name, string(good[:i]))
		if _, err := l.Manifest(); err == nil && i < len(good)-1 {
			t.Fatalf("cut at byte %d: no error", i)
		}
	}
}

// TestDocumented checks that docs/lake.md names every column that is not an
// attribute of a kind.
func TestDocumented(t *testing.T) {
	doc, err := os.ReadFile("../../docs/lake.md")
	if err != nil {
		t.Fatal(err)
	}
	columns := append(lake.ConnColumns(), lake.IntelColumns(flow.DNS)[:10]...)
	columns = append(columns, lake.Rollup().Columns...)
	for _, c := range columns {
		if !bytes.Contains(doc, []byte("`"+c.Name+"`")) {
			t.Errorf("docs/lake.md does not say what %s is", c.Name)
		}
	}
}
