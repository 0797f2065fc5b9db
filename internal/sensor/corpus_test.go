// SPDX-License-Identifier: Apache-2.0

package sensor_test

import (
	"context"
	"errors"
	"io/fs"
	"path/filepath"
	"testing"
	"time"

	"weir/capture"
	"weir/internal/sensor"
)

// corpus is a folder of public captures beside the project, where it is present.
const corpus = "../../../shared"

// TestCorpus reads every public capture there is: nothing crashes or hangs, and
// the books balance, beginning with the number of packets in the file.
func TestCorpus(t *testing.T) {
	if testing.Short() {
		t.Skip("slow: reads some two thousand captures")
	}
	names, _, err := capture.Expand([]string{corpus})
	if errors.Is(err, fs.ErrNotExist) {
		t.Skip("no captures in " + corpus)
	}
	if err != nil {
		t.Fatal(err)
	}
	read, packets := 0, 0
	for _, name := range names {
		r, err := capture.Open(capture.Config{Inputs: []string{name}})
		if err != nil {
			continue // damaged from its first byte on
		}
		p, err := sensor.New(sensor.Config{Sinks: []sensor.Sink{discard{}}, Memory: sensor.MinMemory})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		err = p.Run(ctx, r)
		cancel()
		rel, _ := filepath.Rel(corpus, name)
		if err != nil {
			t.Errorf("%s: %v", rel, err)
			continue
		}
		read++
		_, inFile := records(content(t, name))
		packets += inFile
		if got := r.Stats().Packets; got != uint64(inFile) {
			t.Errorf("%s: %d packets read, the file has %d", rel, got, inFile)
		}
		in, out := r.Stats(), p.Stats()
		rejected := uint64(0)
		for _, n := range in.Rejected {
			rejected += n
		}
		if in.Packets != in.Delivered+rejected || in.Delivered+in.Aggregated+in.Tunnels.Inner != out.Table.Packets {
			t.Errorf("%s: %d packets, %d delivered, %d in tunnels, %d rejected, %d counted", rel, in.Packets, in.Delivered, in.Tunnels.Inner,
				rejected, out.Table.Packets)
		}
		if out.Table.Open != 0 || out.Reassembly.HeldBytes != 0 || out.Dissect.Sessions != 0 {
			t.Errorf("%s: after the end there are %d connections, %d bytes, %d sessions", rel, out.Table.Open,
				out.Reassembly.HeldBytes, out.Dissect.Sessions)
		}
		if err := r.Close(); err != nil {
			t.Errorf("%s: %v", rel, err)
		}
	}
	t.Logf("%d captures with %d packets read, %d refused", read, packets, len(names)-read)
}
