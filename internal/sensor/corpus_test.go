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
		rel, _ := filepath.Rel(corpus, name)
		for _, verify := range []bool{false, true} {
			r, err := capture.Open(capture.Config{Inputs: []string{name}, Checksums: verify})
			if err != nil {
				break // damaged from its first byte on
			}
			p, err := sensor.New(sensor.Config{Sinks: []sensor.Sink{discard{}}, Memory: sensor.MinMemory})
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			err = p.Run(ctx, r)
			cancel()
			if err != nil {
				t.Errorf("%s: %v", rel, err)
				break
			}
			checkBooks(t, rel, r.Stats(), p.Stats())
			if !verify {
				read++
				_, inFile := records(content(t, name))
				packets += inFile
				if got := r.Stats().Packets; got != uint64(inFile) {
					t.Errorf("%s: %d packets read, the file has %d", rel, got, inFile)
				}
			}
			if err := r.Close(); err != nil {
				t.Errorf("%s: %v", rel, err)
			}
		}
	}
	t.Logf("%d captures with %d packets read, %d refused", read, packets, len(names)-read)
	if refused := len(names) - read; refused > len(names)/100 {
		t.Errorf("%d of %d captures were refused; all but a few are sound", refused, len(names))
	}
}

// checkBooks checks that every packet is accounted for, and that nothing is left
// when all is read.
func checkBooks(tb testing.TB, name string, in capture.Stats, out sensor.Stats) {
	tb.Helper()
	rejected := uint64(0)
	for _, n := range in.Rejected {
		rejected += n
	}
	if in.Packets != in.Delivered+rejected || in.Delivered+in.Aggregated+in.Tunnels.Inner != out.Table.Packets {
		tb.Errorf("%s: %d packets, %d delivered, %d rejected, %d aggregated, %d in tunnels, %d counted", name,
			in.Packets, in.Delivered, rejected, in.Aggregated, in.Tunnels.Inner, out.Table.Packets)
	}
	if out.Table.Open != 0 || out.Reassembly.HeldBytes != 0 || out.Dissect.Sessions != 0 {
		tb.Errorf("%s: after the end there are %d connections, %d bytes, %d sessions", name, out.Table.Open,
			out.Reassembly.HeldBytes, out.Dissect.Sessions)
	}
}
