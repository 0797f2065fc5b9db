// SPDX-License-Identifier: Apache-2.0

package sensor_test

import (
	"errors"
	"io"
	"runtime"
	"sync"
	"syscall"
	"testing"
	"time"

	"weir/capture"
	"weir/flowtable"
	"weir/internal/flow"
	"weir/internal/nettest"
	"weir/internal/sensor"
	"weir/internal/traffic"
)

// tally is a sink that counts, and is slow where pause says so.
type tally struct {
	pause time.Duration

	mu                      sync.Mutex
	records, conns, packets uint64
	lossy                   uint64
	first                   time.Time // of the first batch
}

func (s *tally) Connections(b *flow.ConnBatch) error {
	s.mu.Lock()
	pause := s.pause
	s.mu.Unlock()
	time.Sleep(pause)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.records == 0 {
		s.first = time.Now()
	}
	for i := range b.Conns {
		c := &b.Conns[i]
		s.records++
		s.conns += uint64(c.Count)
		s.packets += uint64(c.CSPkts + c.SCPkts)
		if c.Loss {
			s.lossy++
		}
	}
	return nil
}

func (s *tally) Intel(*flow.IntelBatch) error { return nil }

func (s *tally) count() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.records
}

// With a sink that is too slow the reader drops packets and counts them, memory
// stays bounded, and every packet that was not dropped is in a record.
func TestLiveSlowSink(t *testing.T) {
	if !nettest.Isolated(t) {
		return
	}
	nettest.Pair(t, "va", "vb")
	s := nettest.NewSender(t, "va")
	sink := &tally{pause: 20 * time.Millisecond}
	p, err := sensor.New(sensor.Config{Sinks: []sensor.Sink{sink}, Prompt: true, Memory: sensor.MinMemory})
	if err != nil {
		t.Fatal(err)
	}
	l, err := capture.Listen(capture.LiveConfig{Interfaces: []string{"vb"}, KernelBuffer: 4 << 20})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	ended := make(chan error, 1)
	go func() { ended <- p.Run(t.Context(), l) }()
	// Every packet is a connection of its own: batches fill faster than the sink
	// takes them, once the table is full.
	stop := make(chan struct{})
	time.AfterFunc(4*time.Second, func() { close(stop) })
	sent, err := s.Send(1<<30, 0, stop, nettest.UDP(100, 1<<31, 5353))
	if err != nil {
		t.Fatal(err)
	}
	var mem runtime.MemStats
	runtime.ReadMemStats(&mem)
	sink.mu.Lock()
	sink.pause = 0
	sink.mu.Unlock()
	l.Stop()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	st := l.Stats()
	t.Logf("sent %+v, packets %d, lost %+v, records %d, lossy %d, heap %d MB", sent, st.Packets, st.Lost, sink.records,
		sink.lossy, mem.HeapInuse>>20)
	if st.Lost.Overload == 0 {
		t.Error("nothing was dropped")
	}
	if got := st.Delivered + st.Lost.Kernel + st.Lost.Overload + st.Lost.Unread + st.Lost.Queue + st.Lost.Interface; got !=
		sent.OK+sent.Refused || st.Packets != st.Delivered {
		t.Errorf("sent %+v, but %d are accounted for", sent, got)
	}
	if sink.packets != st.Delivered {
		t.Errorf("records hold %d packets, %d were delivered", sink.packets, st.Delivered)
	}
	if sink.lossy == 0 {
		t.Error("no connection is marked, though packets were lost")
	}
	if mem.HeapInuse > 2*sensor.MinMemory {
		t.Errorf("the heap has %d bytes", mem.HeapInuse)
	}
}

// Records of a quiet interface leave the pipeline, by time-out and in batches that
// are not full.
func TestLiveQuietPipeline(t *testing.T) {
	if !nettest.Isolated(t) {
		return
	}
	nettest.Pair(t, "va", "vb")
	s := nettest.NewSender(t, "va")
	sink := &tally{}
	p, err := sensor.New(sensor.Config{
		Sinks: []sensor.Sink{sink}, Prompt: true, Timeouts: flowtable.Timeouts{UDP: 500 * time.Millisecond},
	})
	if err != nil {
		t.Fatal(err)
	}
	l, err := capture.Listen(capture.LiveConfig{Interfaces: []string{"vb"}})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	ended := make(chan error, 1)
	go func() { ended <- p.Run(t.Context(), l) }()
	began := time.Now()
	if _, err := s.Send(10, 0, nil, nettest.UDP(100, 10, 5353)); err != nil {
		t.Fatal(err)
	}
	for sink.count() < 10 {
		if time.Since(began) > 4*time.Second {
			t.Fatalf("%d records after 4 s, want 10", sink.count())
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Logf("10 records after %v", time.Since(began))
	l.Stop()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
}

// A million open connections are flushed soon after the end of the input.
func TestFlushMillion(t *testing.T) {
	const conns = 1_000_000
	if testing.Short() {
		t.Skip("takes some seconds")
	}
	pr, pw := io.Pipe()
	go func() {
		_, err := traffic.Write(pw, traffic.Spec{Scenario: traffic.Concurrent, Connections: conns})
		pw.CloseWithError(err)
	}()
	r, err := capture.Open(capture.Config{Inputs: []string{"-"}, Stdin: pr})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	sink := &tally{}
	p, err := sensor.New(sensor.Config{Sinks: []sensor.Sink{sink}, Memory: 2 << 30})
	if err != nil {
		t.Fatal(err)
	}
	end := &endTime{Source: r}
	if err := p.Run(t.Context(), end); err != nil {
		t.Fatal(err)
	}
	took, used := time.Since(end.at), cpuTime()-end.cpu
	t.Logf("flushed after %v, %v of CPU; %d records", took, used, sink.records)
	if sink.records != conns {
		t.Errorf("%d records, want %d", sink.records, conns)
	}
	if used > 4*time.Second {
		t.Errorf("flushing %d connections took %v of CPU", conns, used)
	}
}

// endTime notes when the source ends.
type endTime struct {
	sensor.Source
	at  time.Time
	cpu time.Duration
}

func (e *endTime) Next() (*capture.Block, error) {
	b, err := e.Source.Next()
	if errors.Is(err, io.EOF) {
		e.at, e.cpu = time.Now(), cpuTime()
	}
	return b, err
}

func cpuTime() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
