// SPDX-License-Identifier: Apache-2.0

package sensor_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"weir/capture"
	"weir/internal/flow"
	"weir/internal/sensor"
	"weir/internal/traffic"
)

// collector is a sink that keeps everything as text.
type collector struct {
	mu    sync.Mutex
	conns []string
	intel []string
	kinds []flow.KindInfo

	states   map[string]int64
	payload  int64
	packets  int64
	bodies   [2]int64
	byKind   map[string]int64
	tlsReady int64
}

func newCollector() *collector {
	return &collector{kinds: flow.Kinds(), states: map[string]int64{}, byKind: map[string]int64{}}
}

func (c *collector) Connections(b *flow.ConnBatch) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range b.Conns {
		x := &b.Conns[i]
		c.conns = append(c.conns, fmt.Sprintf("%s %v:%d %v:%d %d %d-%d %d/%d %d/%d %d/%d %d %s %s %s %v %d %d",
			flow.UIDText(x.UID), x.Src, x.Sport, x.Dst, x.Dport, x.Proto, x.First, x.Last, x.CSPkts, x.SCPkts,
			x.CSBytes, x.SCBytes, x.CSPayload, x.SCPayload, x.Missed, x.History, x.Service, x.State,
			x.TunnelParents, x.VLAN, x.End))
		c.states[x.State.String()]++
		c.packets += int64(x.CSPkts + x.SCPkts)
		c.payload += int64(x.CSPayload + x.SCPayload)
	}
	return nil
}

func (c *collector) Intel(b *flow.IntelBatch) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range b.Recs {
		r := &b.Recs[i]
		k := &c.kinds[r.Kind]
		var text strings.Builder
		fmt.Fprintf(&text, "%s %s %d", k.Name, flow.UIDText(r.UID), r.TS)
		for a := range k.Attrs {
			if b.Has(i, a) {
				fmt.Fprintf(&text, " %s=%d,%q", k.Attrs[a].Column, b.Int(i, a), b.Bytes(i, a))
			}
		}
		c.intel = append(c.intel, text.String())
		c.byKind[k.Name]++
		switch r.Kind {
		case flow.HTTP:
			c.bodies[0] += b.Int(i, flow.HTTPRequestBodyLen)
			c.bodies[1] += b.Int(i, flow.HTTPResponseBodyLen)
		case flow.SSL:
			c.tlsReady += b.Int(i, flow.SSLEstablished)
		}
	}
	return nil
}

func (c *collector) sorted() ([]string, []string) {
	slices.Sort(c.conns)
	slices.Sort(c.intel)
	return c.conns, c.intel
}

// generate writes a capture into the test's directory.
func generate(tb testing.TB, spec traffic.Spec) (string, traffic.Totals) {
	tb.Helper()
	name := filepath.Join(tb.TempDir(), "capture.pcap")
	totals, err := traffic.WriteFile(name, spec)
	if err != nil {
		tb.Fatal(err)
	}
	return name, totals
}

// read runs a pipeline over a capture.
func read(tb testing.TB, name string, cfg sensor.Config) (sensor.Stats, capture.Stats) {
	tb.Helper()
	r, err := capture.Open(capture.Config{Inputs: []string{name}})
	if err != nil {
		tb.Fatal(err)
	}
	defer func() { _ = r.Close() }()
	p, err := sensor.New(cfg)
	if err != nil {
		tb.Fatal(err)
	}
	if err := p.Run(tb.Context(), r); err != nil {
		tb.Fatal(err)
	}
	return p.Stats(), r.Stats()
}

// TestMix checks the whole pipeline against what the generator knows.
func TestMix(t *testing.T) {
	name, want := generate(t, traffic.Spec{Seed: 3, Packets: 120_000})
	c := newCollector()
	stats, in := read(t, name, sensor.Config{Sinks: []sensor.Sink{c}})
	type totals struct {
		Packets, Connections, Payload                int64
		DNS, HTTP, RequestBytes, ResponseBytes       int64
		TLS, Established, Counted, Delivered, Missed int64
	}
	got := totals{
		Packets: int64(in.Packets), Connections: int64(len(c.conns)), Payload: c.payload,
		DNS: c.byKind["dns"], HTTP: c.byKind["http"], RequestBytes: c.bodies[0], ResponseBytes: c.bodies[1],
		TLS: c.byKind["ssl"], Established: c.tlsReady, Counted: c.packets, Delivered: int64(in.Delivered),
	}
	exp := totals{
		Packets: want.Packets, Connections: want.Sum(), Payload: want.Payload,
		DNS: want.DNSQueries, HTTP: want.HTTPExchanges, RequestBytes: want.HTTPRequestBytes,
		ResponseBytes: want.HTTPResponseBytes, TLS: want.TLSHandshakes, Established: want.TLSEstablished,
		Counted: want.Packets, Delivered: want.Packets,
	}
	if diff := cmp.Diff(exp, got); diff != "" {
		t.Errorf("totals differ (-want +got):\n%s", diff)
	}
	if uint64(len(c.conns)) != stats.Connections {
		t.Errorf("Stats().Connections = %d, want %d", stats.Connections, len(c.conns))
	}
	if stats.Reassembly.HeldBytes != 0 || stats.Dissect.Sessions != 0 {
		t.Errorf("after the end %d bytes and %d sessions are held", stats.Reassembly.HeldBytes, stats.Dissect.Sessions)
	}
}

// TestWorkers checks that the number of workers changes nothing, uids included.
func TestWorkers(t *testing.T) {
	name, _ := generate(t, traffic.Spec{Seed: 4, Packets: 60_000})
	var conns, intel []string
	for _, n := range []int{1, 2, 8, flow.Shards} {
		c := newCollector()
		read(t, name, sensor.Config{Workers: n, Sinks: []sensor.Sink{c}})
		gotConns, gotIntel := c.sorted()
		if n == 1 {
			conns, intel = gotConns, gotIntel
			continue
		}
		if diff := cmp.Diff(conns, gotConns); diff != "" {
			t.Errorf("%d workers give other connections (-1 +%d):\n%.2000s", n, n, diff)
		}
		if diff := cmp.Diff(intel, gotIntel); diff != "" {
			t.Errorf("%d workers give other intel (-1 +%d):\n%.2000s", n, n, diff)
		}
	}
	uids := map[string]bool{}
	for _, line := range conns {
		uid, _, _ := strings.Cut(line, " ")
		if uids[uid] {
			t.Fatalf("uid %s occurs twice", uid)
		}
		uids[uid] = true
	}
}

// failing is a sink that fails after some batches.
type failing struct{ left int }

var errFull = errors.New("disk full")

func (f *failing) Connections(*flow.ConnBatch) error {
	if f.left--; f.left < 0 {
		return errFull
	}
	return nil
}
func (f *failing) Intel(*flow.IntelBatch) error { return nil }

func TestSinkError(t *testing.T) {
	name, _ := generate(t, traffic.Spec{Seed: 5, Packets: 60_000})
	before := runtime.NumGoroutine()
	r, err := capture.Open(capture.Config{Inputs: []string{name}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Close() }()
	p, err := sensor.New(sensor.Config{Sinks: []sensor.Sink{&failing{left: 1}}})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Run(t.Context(), r); !errors.Is(err, errFull) {
		t.Errorf("Run() = %v, want %v", err, errFull)
	}
	// The one that closes the source ends by itself.
	for end := time.Now().Add(5 * time.Second); runtime.NumGoroutine() > before && time.Now().Before(end); {
		time.Sleep(time.Millisecond)
	}
	if after := runtime.NumGoroutine(); after > before {
		t.Errorf("%d goroutines before, %d after", before, after)
	}
}

func TestCancel(t *testing.T) {
	name, _ := generate(t, traffic.Spec{Seed: 5, Packets: 60_000})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	r, err := capture.Open(capture.Config{Inputs: []string{name}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Close() }()
	p, err := sensor.New(sensor.Config{})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Run(ctx, r); !errors.Is(err, context.Canceled) {
		t.Errorf("Run() = %v, want %v", err, context.Canceled)
	}
}

func TestValidate(t *testing.T) {
	for _, cfg := range []sensor.Config{{Workers: -1}, {Workers: 1000}, {Memory: 1}} {
		if _, err := sensor.New(cfg); err == nil {
			t.Errorf("New(%+v) succeeds", cfg)
		}
	}
}

// discard is a sink that drops everything.
type discard struct{}

func (discard) Connections(*flow.ConnBatch) error { return nil }
func (discard) Intel(*flow.IntelBatch) error      { return nil }

// TestNoAllocationPerPacket pins the allocations of a whole mixed capture:
// decoding, table, reassembly and dissectors included.
func TestNoAllocationPerPacket(t *testing.T) {
	name, totals := generate(t, traffic.Spec{Seed: 6, Packets: 400_000})
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	read(t, name, sensor.Config{Sinks: []sensor.Sink{discard{}}})
	runtime.ReadMemStats(&after)
	mallocs := after.Mallocs - before.Mallocs
	per := float64(mallocs) / float64(totals.Packets)
	t.Logf("%d allocations for %d packets", mallocs, totals.Packets)
	// What remains are tables and buffers that grow with the connections open
	// at once.
	if per > 0.05 {
		t.Errorf("%.3f allocations per packet, want at most 0.05", per)
	}
}

func BenchmarkMix(b *testing.B) {
	name, totals := generate(b, traffic.Spec{Seed: 7, Packets: 400_000})
	info, err := os.Stat(name)
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(info.Size())
	for b.Loop() {
		read(b, name, sensor.Config{Sinks: []sensor.Sink{discard{}}})
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(totals.Packets), "ns/packet")
}
