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

// TestClock checks that records are dated by Zeek's clock, which does not go
// back, and connections by the time of their packets.
func TestClock(t *testing.T) {
	le := binary.LittleEndian
	file := le.AppendUint32(nil, 0xa1b2c3d4)
	file = append(file, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 101, 0, 0, 0)
	dns := []byte{0, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 4, 'w', 'e', 'i', 'r', 0, 0, 1, 0, 1}
	for i, at := range []uint32{1000, 1010, 1005, 1011} {
		b := udp4(0x0a000001, 0x0a000002, uint16(20000+i), 53, dns)
		file = le.AppendUint32(le.AppendUint32(file, at), 0)
		file = append(le.AppendUint32(le.AppendUint32(file, uint32(len(b))), uint32(len(b))), b...)
	}
	name := filepath.Join(t.TempDir(), "back.pcap")
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
	const s = flow.Time(1e9)
	if want := []flow.Time{1000 * s, 1005 * s, 1010 * s, 1011 * s}; !slices.Equal(c.conns, want) {
		t.Errorf("connections at %v, want %v", c.conns, want)
	}
	if want := []flow.Time{1000 * s, 1010 * s, 1010 * s, 1011 * s}; !slices.Equal(c.records, want) {
		t.Errorf("records at %v, want %v", c.records, want)
	}
}
