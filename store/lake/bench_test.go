// SPDX-License-Identifier: Apache-2.0

package lake_test

import (
	"syscall"
	"testing"

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
