// SPDX-License-Identifier: Apache-2.0

package lake_test

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"weir/internal/flow"
	"weir/store/lake"
)

// readIntel returns the batches of a part from one on.
func readIntel(t *testing.T, l *lake.Lake, p *lake.Part, rows, skip int) [][]lake.IntelRow {
	t.Helper()
	var got [][]lake.IntelRow
	err := lake.ReadIntel(t.Context(), l.Path(), p, rows, skip, func(n int, recs []lake.IntelRow) error {
		if n != skip+len(got) {
			t.Errorf("batch %d comes after %d", n, skip+len(got)-1)
		}
		kept := slices.Clone(recs)
		for i := range kept {
			kept[i].Values = slices.Clone(kept[i].Values)
			for j := range kept[i].Values {
				v := &kept[i].Values[j]
				v.Texts, v.SecondsList = slices.Clone(v.Texts), slices.Clone(v.SecondsList)
			}
		}
		got = append(got, kept)
		return nil
	})
	if err != nil {
		t.Fatalf("ReadIntel(%s) = %v", p.Path, err)
	}
	return got
}

// TestReadIntelValues has every attribute of each kind set, unset and empty.
func TestReadIntelValues(t *testing.T) {
	l := newLake(t)
	w := begin(t, l, lake.Import{})
	b := flow.NewIntelBatch()
	want := make(map[string][]lake.IntelRow)
	for k, kind := range flow.Kinds() {
		for i := range 3000 {
			tuple := flow.Tuple{
				UID: uint64(i), Src: addr(fmt.Sprintf("10.0.%d.%d", i/256, i%256)), Dst: addr("2001:db8::1"),
				Sport: 4000, Dport: 53, Proto: flow.UDP,
			}
			row := lake.IntelRow{Src: tuple.Src, Dst: tuple.Dst, Proto: "udp", Dport: 53, TS: int64(i), Values: make([]lake.IntelValue, len(kind.Attrs))}
			if i%5 == 0 {
				tuple.Proto, tuple.Sport, tuple.Dport = flow.GRE, 0, 0
				row.Proto, row.Dport = "gre", -1
			}
			b.Begin(flow.Kind(k), &tuple, flow.Time(i*1000))
			for j := range kind.Attrs {
				a, v := &kind.Attrs[j], &row.Values[j]
				if a.LogOnly || (i+j)%3 == 0 {
					continue
				}
				n := (i + j) % 4 // of a list, or a value that may be nothing
				v.Set = true
				switch a.Type {
				case flow.Text:
					if n > 0 {
						v.Text = fmt.Sprintf("text %d", i%50)
					}
					b.SetText(j, []byte(v.Text))
				case flow.Count:
					v.Int = int64(n * i)
					b.SetInt(j, v.Int)
				case flow.Bool:
					v.Int = int64(n & 1)
					b.SetBool(j, n&1 == 1)
				case flow.Interval:
					v.Seconds = float64(n) + 0.25
					b.SetInt(j, int64(n)*1e6+250_000)
				case flow.TextList:
					b.SetEmpty(j)
					for range n {
						b.AppendText(j, []byte{'x', 0xff, byte('a' + n)})
						v.Texts = append(v.Texts, `x\xff`+string(rune('a'+n)))
					}
				case flow.IntervalList:
					b.SetEmpty(j)
					for m := range n {
						b.AppendInt(j, int64(m)*500_000)
						v.SecondsList = append(v.SecondsList, float64(m)/2)
					}
				}
			}
			want[kind.Name] = append(want[kind.Name], row)
		}
	}
	if err := w.Intel(b); err != nil {
		t.Fatal(err)
	}
	if err := w.Commit(lake.Final{}); err != nil {
		t.Fatal(err)
	}
	for _, kind := range flow.Kinds() {
		p := onePart(t, l, kind.Name)
		for _, rows := range []int{1, 1000, 1024, 5000} {
			var got []lake.IntelRow
			for i, batch := range readIntel(t, l, p, rows, 0) {
				if len(batch) != min(rows, 3000-i*rows) {
					t.Fatalf("%s: batch %d has %d of %d rows", kind.Name, i, len(batch), rows)
				}
				got = append(got, batch...)
			}
			same(t, want[kind.Name], got)
		}
	}
}

// TestReadIntelBatches: much text ends a batch early, always at the same row,
// however much is left out.
func TestReadIntelBatches(t *testing.T) {
	l := newLake(t)
	w := begin(t, l, lake.Import{})
	b := flow.NewIntelBatch()
	for i := range 4000 {
		b.Begin(flow.HTTP, &flow.Tuple{UID: uint64(i), Proto: flow.TCP, Dport: 80}, flow.Time(i))
		b.SetString(flow.HTTPURI, fmt.Sprintf("/%d/", i)+strings.Repeat("x", i%97*200))
		b.SetString(flow.HTTPMethod, "GET")
	}
	if err := w.Intel(b); err != nil {
		t.Fatal(err)
	}
	if err := w.Commit(lake.Final{}); err != nil {
		t.Fatal(err)
	}
	p := onePart(t, l, "http")
	for _, rows := range []int{300, 900, 10_000} {
		all := readIntel(t, l, p, rows, 0)
		total := 0
		for i, batch := range all {
			size := 0
			for j := range batch {
				size += len(batch[j].Values[flow.HTTPURI].Text)
			}
			if size > 9<<20 || len(batch) > rows || i < len(all)-1 && len(batch) < rows && size < 8<<20-10_000 {
				t.Errorf("batch %d has %d rows, %d bytes", i, len(batch), size)
			}
			total += len(batch)
		}
		if total != 4000 || rows > 1000 && len(all) < 4 {
			t.Errorf("%d rows in %d batches", total, len(all))
		}
		for skip := range len(all) + 2 {
			if got := readIntel(t, l, p, rows, skip); len(got)+len(all[min(skip, len(all)):]) > 0 && !reflect.DeepEqual(all[min(skip, len(all)):], got) {
				t.Errorf("after %d of %d batches there are others", skip, len(all))
			}
		}
	}
}
