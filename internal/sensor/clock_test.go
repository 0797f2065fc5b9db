// SPDX-License-Identifier: Apache-2.0

package sensor_test

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"weir/capture"
	"weir/internal/flow"
	"weir/internal/sensor"
)

// times is a sink that keeps when connections and records began.
type times struct{ conns, records []flow.Time }

func (c *times) Connections(b *flow.ConnBatch) error {
	for i := range b.Conns {
		c.conns = append(c.conns, b.Conns[i].First)
	}
	return nil
}

func (c *times) Intel(b *flow.IntelBatch) error {
	for i := range b.Recs {
		c.records = append(c.records, b.Recs[i].TS)
	}
	return nil
}

// stamped is a packet and its time in tenths of a second.
type stamped struct {
	at     uint32
	packet []byte
}

// timesOf returns what the pipeline says of packets without a link layer.
func timesOf(t *testing.T, packets []stamped) times {
	t.Helper()
	le := binary.LittleEndian
	file := le.AppendUint32(nil, 0xa1b2c3d4)
	file = append(file, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 101, 0, 0, 0)
	for _, p := range packets {
		file = le.AppendUint32(le.AppendUint32(file, p.at/10), p.at%10*100_000)
		file = le.AppendUint32(le.AppendUint32(file, uint32(len(p.packet))), uint32(len(p.packet)))
		file = append(file, p.packet...)
	}
	name := filepath.Join(t.TempDir(), "stamped.pcap")
	if err := os.WriteFile(name, file, 0o600); err != nil {
		t.Fatal(err)
	}
	r, err := capture.Open(capture.Config{Inputs: []string{name}})
	if err != nil {
		t.Fatal(err)
	}
	var c times
	p, err := sensor.New(sensor.Config{Workers: 1, Sinks: []sensor.Sink{&c}})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Run(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	slices.Sort(c.conns)
	slices.Sort(c.records)
	return c
}

// query is a DNS message.
var query = []byte{0, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 4, 'w', 'e', 'i', 'r', 0, 0, 1, 0, 1}

// TestClock checks that records are dated by Zeek's clock, which does not go
// back, and connections by the time of their packets.
func TestClock(t *testing.T) {
	var packets []stamped
	for i, at := range []uint32{1000, 1010, 1005, 1011} {
		packets = append(packets, stamped{10 * at, udp4(0x0a000001, 0x0a000002, uint16(20000+i), 53, query)})
	}
	c := timesOf(t, packets)
	const s = flow.Time(1e9)
	if want := []flow.Time{1000 * s, 1005 * s, 1010 * s, 1011 * s}; !slices.Equal(c.conns, want) {
		t.Errorf("connections at %v, want %v", c.conns, want)
	}
	if want := []flow.Time{1000 * s, 1010 * s, 1010 * s, 1011 * s}; !slices.Equal(c.records, want) {
		t.Errorf("records at %v, want %v", c.records, want)
	}
}

// TestRejectedPacketsRunTimers: a DNS connection that had a packet just before is
// found not to be idle, although what made the timer run is rejected.
func TestRejectedPacketsRunTimers(t *testing.T) {
	own := udp4(0x0a000001, 0x0a000002, 20000, 53, query)
	junk := []byte{0x45, 0, 0, 20}
	for _, tc := range []struct {
		at   uint32
		want int // connections
	}{{99, 2}, {102, 1}, {106, 2}} {
		c := timesOf(t, []stamped{{10_000, own}, {10_015, own}, {10_000 + tc.at, junk}, {10_120, own}})
		if len(c.conns) != tc.want {
			t.Errorf("rejected after %d tenths of a second: connections at %v, want %d", tc.at, c.conns, tc.want)
		}
	}
}
