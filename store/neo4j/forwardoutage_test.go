// SPDX-License-Identifier: Apache-2.0

package neo4j

import (
	"context"
	"runtime"
	"testing"
	"time"

	"weir/internal/flow"
	"weir/store/lake"
	"weir/store/lake/laketest"
	"weir/store/storetest"
)

// heap returns how many bytes are in use.
func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// While the server is away the spool grows, in bytes but neither in parts nor in
// memory. Then all of it arrives.
func TestOutage(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes its time")
	}
	direct := open(t)
	px := newProxy(t, direct.where.host)
	px.setRefuse(true)
	d, err := OpenLazy(t.Context(), px.uri(), Config{Password: direct.cfg.Password, ConnectTimeout: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	spool := newSpool(t)
	f := newForwarder(t, d, spool)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- f.Run(ctx) }()
	w, err := spool.Begin(lake.Import{Sensor: "eth0", Source: "live"})
	if err != nil {
		t.Fatal(err)
	}
	data := new(storetest.Data)
	var early int64
	most := 0
	const publications = 150
	for i := range publications {
		more := ofSensor(storetest.Random(uint64(i%3 + 90)))
		more.Conns, more.Intel = more.Conns[:20], more.Intel[:20]
		data.Conns, data.Intel = append(data.Conns, more.Conns...), append(data.Intel, more.Intel...)
		publish(t, w, more.Conns, more.Intel)
		f.Wake()
		// It has a second for each two minutes.
		if m, err := spool.Manifest(); err != nil {
			t.Fatal(err)
		} else if most = max(most, len(m.Parts)); len(m.Parts) > 2*manyParts {
			waitFor(t, "merge of parts", func() bool { return f.Stats().Backlog.Parts < manyParts })
		}
		if i == publications/4 {
			early = heap()
		}
	}
	late := heap()
	st := f.Stats()
	t.Logf("heap %d kB after a quarter, %d kB at the end; %d parts at most, %d in the end", early>>10, late>>10, most, st.Backlog.Parts)
	if late > early+8<<20 {
		t.Errorf("the heap grew from %d to %d", early, late)
	}
	if st.Err == nil || st.Connections != 0 || st.Backlog.Connections == 0 {
		t.Errorf("stats while the server is away: %+v", st)
	}
	if err := w.Commit(lake.Final{}); err != nil {
		t.Fatal(err)
	}
	px.setRefuse(false)
	waitEmpty(t, spool, 3*time.Minute, func() string { return "" })
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	compareFlows(t, data.Flows(), readGraph(t, direct))
}

// TestPerfOutage is ten minutes (two for a quick look) of 2,000 connections a second, of which none gets
// through before the end.
func TestPerfOutage(t *testing.T) {
	quick, share := measuring(t)
	minutes := 10
	if quick {
		minutes = 2
	}
	const (
		rate     = 2000 // connections a second
		interval = 5    // seconds between publications
	)
	conns := minutes * 60 * rate
	grew := time.Duration(minutes) * time.Minute
	d := perfServer(t)
	spool := newSpool(t)
	f := newForwarder(t, d, spool)
	w, err := spool.Begin(lake.Import{Sensor: "eth0", Source: "live"})
	if err != nil {
		t.Fatal(err)
	}
	n := laketest.New(laketest.Config{})
	begin := flow.Time(time.Date(2026, 3, 2, 8, 0, 0, 0, time.UTC).UnixNano())
	batch := new(flow.ConnBatch)
	var early int64
	for i := range conns {
		var c flow.Connection
		n.Conn(&c, begin+flow.Time(i)*flow.Time(time.Second)/rate)
		batch.Add(&c)
		if (i+1)%(interval*rate) != 0 {
			continue
		}
		if err := w.Connections(batch); err != nil {
			t.Fatal(err)
		}
		batch.Reset()
		if err := w.Publish(lake.Final{}); err != nil {
			t.Fatal(err)
		}
		if err := f.compact(t.Context()); err != nil && i%(60*rate) == 0 {
			t.Fatal(err)
		}
	}
	if err := w.Commit(lake.Final{}); err != nil {
		t.Fatal(err)
	}
	early = heap()
	b := f.Stats().Backlog
	t.Logf("backlog: %+v, %.1f bytes a connection", b, float64(b.Bytes)/float64(conns))
	var most int64
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-stop:
				return
			case <-time.After(time.Second):
				most = max(most, heap())
			}
		}
	}()
	from := time.Now()
	if err := f.Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	took := time.Since(from)
	close(stop)
	<-done
	st := f.Stats()
	t.Logf("drained in %v: %.0f connections/s, %.0f updates of flows/s, %.1f times faster than it grew; heap %d MB before, %d MB at most",
		took.Round(time.Second), float64(conns)/took.Seconds(), float64(st.Flows)/took.Seconds(), grew.Seconds()/took.Seconds(),
		early>>20, most>>20)
	if got := values(t, d, `MATCH (f:Flow) RETURN sum(f.count)`); got[0] != int64(conns) {
		t.Errorf("%v connections arrived, of %d", got[0], conns)
	}
	if share*took.Seconds() > grew.Seconds()/5 {
		t.Errorf("drained in %v, slower than 5 times what it took to come in", took)
	}
}
