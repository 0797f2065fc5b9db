// SPDX-License-Identifier: Apache-2.0

package lake_test

import (
	"errors"
	"testing"

	"weir/internal/flow"
	"weir/store/lake"
)

// manyParts makes a store of n parts: imports of a connection and one record
// of each kind.
func manyParts(b *testing.B, n int) *lake.Lake {
	b.Helper()
	l := newLake(b)
	w := begin(b, l, lake.Import{ID: "many", Source: "live"})
	for i := 0; i < n; i += 4 {
		conns := genConns(1, uint64(i))
		if err := errors.Join(w.Connections(batchOf(conns...)), w.Intel(allKinds(conns)), w.Publish(lake.Final{})); err != nil {
			b.Fatal(err)
		}
	}
	if err := w.Commit(lake.Final{}); err != nil {
		b.Fatal(err)
	}
	if got := len(manifest(b, l).Parts); got < n {
		b.Fatalf("%d parts, want %d", got, n)
	}
	return l
}

// allKinds makes a record of each kind for every connection.
func allKinds(conns []flow.Connection) *flow.IntelBatch {
	b := intelOf(conns)
	for i := range conns {
		b.Begin(flow.HTTP, &conns[i].Tuple, conns[i].First)
		b.SetString(flow.HTTPHost, "www.example.com")
		b.Begin(flow.SSL, &conns[i].Tuple, conns[i].First)
		b.SetString(flow.SSLServerName, "www.example.com")
	}
	return b
}

// BenchmarkPublish publishes 300 rows in each of four tables, in a store of few
// and of 2,000 parts, which it adds to.
func BenchmarkPublish(b *testing.B) {
	for _, bb := range []struct {
		name  string
		parts int
	}{{"empty", 0}, {"2000-parts", 2000}} {
		b.Run(bb.name, func(b *testing.B) {
			l := manyParts(b, bb.parts)
			w := begin(b, l, lake.Import{Source: "live"})
			conns := genConns(300, 1)
			batch, intel := batchOf(conns...), allKinds(conns)
			start := cpuSeconds(b)
			n := 0
			for b.Loop() {
				if err := errors.Join(w.Connections(batch), w.Intel(intel), w.Publish(lake.Final{})); err != nil {
					b.Fatal(err)
				}
				n++
			}
			b.ReportMetric((cpuSeconds(b)-start)*1e3/float64(n), "cpu-ms/op")
			if err := w.Abort(); err != nil {
				b.Fatal(err)
			}
		})
	}
}

// BenchmarkVerify looks at the parts of a store as a query does at first.
func BenchmarkVerify(b *testing.B) {
	for _, bb := range []struct {
		name string
		lake func(b *testing.B) *lake.Lake
	}{
		{"2000-small", func(b *testing.B) *lake.Lake { return manyParts(b, 2000) }},
		{"1-large", func(b *testing.B) *lake.Lake {
			l := newLake(b)
			w := begin(b, l, lake.Import{})
			for i := range 16 {
				if err := w.Connections(batchOf(genConns(64<<10, uint64(i))...)); err != nil {
					b.Fatal(err)
				}
			}
			if err := w.Commit(lake.Final{}); err != nil {
				b.Fatal(err)
			}
			return l
		}},
	} {
		b.Run(bb.name, func(b *testing.B) {
			l := bb.lake(b)
			m := manifest(b, l)
			start := cpuSeconds(b)
			n := 0
			for b.Loop() {
				for i := range m.Parts {
					if err := lake.VerifyPart(l.Path(), &m.Parts[i]); err != nil {
						b.Fatal(err)
					}
				}
				n++
			}
			b.ReportMetric((cpuSeconds(b)-start)*1e3/float64(n), "cpu-ms/op")
			b.ReportMetric(float64(len(m.Parts)), "parts")
			b.ReportMetric(float64(m.Parts[0].Bytes), "bytes/part")
		})
	}
}
