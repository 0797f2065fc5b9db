// SPDX-License-Identifier: Apache-2.0

package lake_test

import (
	"fmt"
	"syscall"
	"testing"
	"time"

	"weir/internal/flow"
	"weir/store/lake"
)

// cpuSeconds returns the CPU time that the process has used.
func cpuSeconds(b *testing.B) float64 {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return float64(u.Utime.Nano()+u.Stime.Nano()) / 1e9
}

// measure measures import of rows, commit included.
func measure(b *testing.B, batches int, write func(w *lake.Writer, i int) error) {
	b.Helper()
	l := newLake(b)
	w := begin(b, l, lake.Import{Sensor: "eth0"})
	b.ReportAllocs()
	start := cpuSeconds(b)
	n := 0
	for b.Loop() {
		if err := write(w, n%batches); err != nil {
			b.Fatal(err)
		}
		n++
	}
	if err := w.Commit(lake.Final{}); err != nil {
		b.Fatal(err)
	}
	rows := float64(n * 1024)
	b.ReportMetric(rows/(cpuSeconds(b)-start), "rows/cpu-s")
	var bytes int64
	for _, p := range manifest(b, l).Parts {
		bytes += p.Bytes
	}
	b.ReportMetric(float64(bytes)/rows, "B/row")
}

func BenchmarkConnections(b *testing.B) {
	conns := genConns(256*1024, 1)
	var batches []*flow.ConnBatch
	for len(conns) > 0 {
		batches = append(batches, batchOf(conns[:1024]...))
		conns = conns[1024:]
	}
	measure(b, len(batches), func(w *lake.Writer, i int) error { return w.Connections(batches[i]) })
}

func BenchmarkIntel(b *testing.B) {
	var batches []*flow.IntelBatch
	for i := range 64 {
		batches = append(batches, genDNS(1024, uint64(i)))
	}
	measure(b, len(batches), func(w *lake.Writer, i int) error { return w.Intel(batches[i]) })
}

// BenchmarkReadFlows reads parts as long as a live sensor's, and a large one.
func BenchmarkReadFlows(b *testing.B) {
	for _, rows := range []int{2000, 400_000} {
		b.Run(fmt.Sprint(rows), func(b *testing.B) {
			l := newLake(b)
			w := begin(b, l, lake.Import{})
			if err := w.Connections(batchOf(genConns(rows, 1)...)); err != nil {
				b.Fatal(err)
			}
			if err := w.Commit(lake.Final{}); err != nil {
				b.Fatal(err)
			}
			readParts(b, l, func(p *lake.Part) error {
				return lake.ReadFlows(b.Context(), l.Path(), p, 5000, time.Hour, 0, func(int, []lake.FlowRow) error { return nil })
			})
		})
	}
}

// BenchmarkReadIntel is BenchmarkReadFlows for intel.
func BenchmarkReadIntel(b *testing.B) {
	l := newLake(b)
	w := begin(b, l, lake.Import{})
	if err := w.Intel(genDNS(100_000, 1)); err != nil {
		b.Fatal(err)
	}
	if err := w.Commit(lake.Final{}); err != nil {
		b.Fatal(err)
	}
	readParts(b, l, func(p *lake.Part) error {
		return lake.ReadIntel(b.Context(), l.Path(), p, 5000, 0, func(int, []lake.IntelRow) error { return nil })
	})
}

// readParts measures how fast all parts of a store are read.
func readParts(b *testing.B, l *lake.Lake, read func(*lake.Part) error) {
	b.Helper()
	parts := manifest(b, l).Parts
	b.ReportAllocs()
	start := cpuSeconds(b)
	var n int64
	for b.Loop() {
		for i := range parts {
			if err := read(&parts[i]); err != nil {
				b.Fatal(err)
			}
			n += parts[i].Rows
		}
	}
	b.ReportMetric(float64(n)/(cpuSeconds(b)-start), "rows/cpu-s")
}
