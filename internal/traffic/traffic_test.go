// SPDX-License-Identifier: Apache-2.0

package traffic_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"weir/internal/traffic"
)

// write returns a capture and its totals.
func write(t *testing.T, spec traffic.Spec) ([]byte, traffic.Totals) {
	t.Helper()
	var b bytes.Buffer
	totals, err := traffic.Write(&b, spec)
	if err != nil {
		t.Fatalf("Write(%+v) = %v", spec, err)
	}
	return b.Bytes(), totals
}

// specs are small captures of every scenario.
func specs() []traffic.Spec {
	packets := 60_000
	if testing.Short() {
		packets = 10_000
	}
	return []traffic.Spec{
		{Scenario: traffic.Mix, Seed: 1, Packets: packets},
		{Scenario: traffic.Mix, Seed: 2, Packets: 20_000, Nano: true},
		{Scenario: traffic.Mix, Seed: 3, Packets: 1},
		{Scenario: traffic.Flood, Seed: 1, Connections: 20_000},
		{Scenario: traffic.Concurrent, Seed: 1, Connections: 5000},
		{Scenario: traffic.Demo, Seed: 1},
	}
}

func TestTotalsMatchTheCapture(t *testing.T) {
	for _, spec := range specs() {
		t.Run(spec.Scenario.String(), func(t *testing.T) {
			capture, want := write(t, spec)
			got := survey(t, capture)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("the capture of %+v holds something else (-totals +capture):\n%s", spec, diff)
			}
		})
	}
}

func TestSameSpecSameBytes(t *testing.T) {
	seen := map[[32]byte]traffic.Spec{}
	for _, spec := range specs() {
		first, _ := write(t, spec)
		second, _ := write(t, spec)
		if !bytes.Equal(first, second) {
			t.Errorf("Write(%+v) twice gave different bytes", spec)
		}
		sum := sha256.Sum256(first)
		if other, ok := seen[sum]; ok {
			t.Errorf("Write(%+v) and Write(%+v) gave the same bytes", spec, other)
		}
		seen[sum] = spec
	}
}

func TestMixHasTheSizeItWasAskedFor(t *testing.T) {
	const packets = 200_000
	_, totals := write(t, traffic.Spec{Seed: 1, Packets: packets})
	if n := totals.Packets; n < packets*90/100 || n > packets*110/100 {
		t.Errorf("%d packets, want about %d", n, packets)
	}
	const headers = 24
	mean := float64(totals.FileBytes-headers)/float64(totals.Packets) - 16
	if mean < 530 || mean > 670 {
		t.Errorf("frames have %.0f bytes on average, want about 600", mean)
	}
	perPacket := float64(totals.Packets) / float64(totals.Sum())
	if perPacket < 13.5 || perPacket > 17 {
		t.Errorf("%.1f packets for each connection, want about 15", perPacket)
	}
	shares := map[traffic.Class]float64{
		traffic.ClassDNS: 35, traffic.ClassHTTP: 20, traffic.ClassTLS: 15, traffic.ClassScan: 15,
		traffic.ClassICMP: 5, traffic.ClassUDP: 10,
	}
	for class, want := range shares {
		got := 100 * float64(totals.Connections[class]) / float64(totals.Sum())
		if got < want-1.5 || got > want+1.5 {
			t.Errorf("%.1f %% of the connections are %v, want about %.0f %%", got, class, want)
		}
	}
	if v6 := 100 * totals.IPv6 / totals.Sum(); v6 < 13 || v6 > 17 {
		t.Errorf("%d %% of the connections are IPv6, want about 15 %%", v6)
	}
}

func TestDemoIsAWorkingDay(t *testing.T) {
	_, totals := write(t, traffic.Spec{Scenario: traffic.Demo, Seed: 1})
	if totals.Packets < 50_000 || totals.Packets > 80_000 {
		t.Errorf("%d packets, want about 60,000", totals.Packets)
	}
	if span := totals.Last.Sub(totals.First); span < 8*time.Hour || span > 9*time.Hour {
		t.Errorf("the day lasts %v, want 8 to 9 hours", span)
	}
}

func TestSpanIsKept(t *testing.T) {
	for _, tc := range []struct {
		spec     traffic.Spec
		min, max time.Duration
	}{
		{traffic.Spec{Scenario: traffic.Flood, Connections: 1000}, 9 * time.Second, 10 * time.Second},
		{traffic.Spec{Scenario: traffic.Flood, Connections: 1000, Span: time.Minute}, 59 * time.Second, time.Minute},
		{traffic.Spec{Scenario: traffic.Concurrent, Connections: 1000}, 19 * time.Second, 21 * time.Second},
		{traffic.Spec{Scenario: traffic.Mix, Packets: 5000, Span: 40 * time.Second}, 35 * time.Second, 90 * time.Second},
	} {
		_, totals := write(t, tc.spec)
		if span := totals.Last.Sub(totals.First); span < tc.min || span > tc.max {
			t.Errorf("Write(%+v) spans %v, want %v to %v", tc.spec, span, tc.min, tc.max)
		}
	}
}

func TestFileTimes(t *testing.T) {
	for _, tc := range []struct {
		nano  bool
		magic []byte
	}{
		{false, []byte{0xd4, 0xc3, 0xb2, 0xa1}},
		{true, []byte{0x4d, 0x3c, 0xb2, 0xa1}},
	} {
		capture, _ := write(t, traffic.Spec{Scenario: traffic.Flood, Connections: 10, Nano: tc.nano})
		if !bytes.HasPrefix(capture, tc.magic) {
			t.Errorf("Nano %v: the file begins with % x, want % x", tc.nano, capture[:4], tc.magic)
		}
	}
}

func TestValidate(t *testing.T) {
	for _, spec := range []traffic.Spec{
		{Scenario: traffic.Demo + 1},
		{Packets: -1},
		{Packets: 1e9},
		{Connections: -1},
		{Connections: 1e9},
		{Span: -1},
		{Scenario: traffic.Concurrent, Span: time.Minute},
	} {
		if _, err := traffic.Write(io.Discard, spec); err == nil {
			t.Errorf("Write(%+v) = nil, want an error", spec)
		}
	}
}

func TestParseScenario(t *testing.T) {
	for s := traffic.Mix; s <= traffic.Demo; s++ {
		if got, err := traffic.ParseScenario(s.String()); got != s || err != nil {
			t.Errorf("ParseScenario(%q) = %v, %v, want %v", s.String(), got, err, s)
		}
	}
	if _, err := traffic.ParseScenario("storm"); err == nil {
		t.Error("ParseScenario(\"storm\") = nil, want an error")
	}
}

var errFull = errors.New("no space left")

// fullDisk takes so many bytes.
type fullDisk struct{ left int }

func (d *fullDisk) Write(b []byte) (int, error) {
	if d.left < len(b) {
		return d.left, errFull
	}
	d.left -= len(b)
	return len(b), nil
}

func TestWriteErrorsAreReported(t *testing.T) {
	for _, left := range []int{0, 3 << 20} {
		if _, err := traffic.Write(&fullDisk{left: left}, traffic.Spec{Packets: 20_000}); !errors.Is(err, errFull) {
			t.Errorf("Write to a disk with room for %d bytes = %v, want %v", left, err, errFull)
		}
	}
}

func TestWriteFile(t *testing.T) {
	name := filepath.Join(t.TempDir(), "x.pcap")
	spec := traffic.Spec{Packets: 1000, Seed: 4}
	totals, err := traffic.WriteFile(name, spec)
	if err != nil {
		t.Fatal(err)
	}
	want, wantTotals := write(t, spec)
	got, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) || totals != wantTotals {
		t.Errorf("WriteFile wrote %d bytes with %+v, want %d with %+v", len(got), totals, len(want), wantTotals)
	}
	if _, err := traffic.WriteFile(filepath.Join(t.TempDir(), "missing", "x.pcap"), spec); err == nil {
		t.Error("WriteFile into a missing directory = nil, want an error")
	}
}

func BenchmarkMix(b *testing.B) {
	spec := traffic.Spec{Packets: 100_000}
	b.ReportAllocs()
	for b.Loop() {
		totals, err := traffic.Write(io.Discard, spec)
		if err != nil {
			b.Fatal(err)
		}
		b.SetBytes(totals.FileBytes)
	}
}
