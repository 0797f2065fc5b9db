// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	"weir/capture"
	"weir/internal/flow"
	"weir/internal/sensor"
	"weir/store/lake"
)

// storeReport is what became of the records for a store.
type storeReport struct {
	store string
	// lost is what it did not take, waits says what it will be sent later.
	lost  lake.Records
	waits string
}

// summarize prints what was read and what came out of it.
func summarize(w io.Writer, in capture.Stats, out sensor.Stats, stores []storeReport, took time.Duration, o *options) {
	seconds := max(took.Seconds(), 1e-9)
	fmt.Fprintf(w, "packets      %d (%d bytes) in %.2f s, %.0f packets/s\n",
		in.Packets, in.Bytes, took.Seconds(), float64(in.Packets)/seconds)
	if n, reasons := rejections(&in.Rejected); n > 0 {
		fmt.Fprintf(w, "rejected     %d: %s\n", n, reasons)
	}
	if n, reasons := rejections(&in.Tunnels.Rejected); in.Tunnels.Inner > 0 || n > 0 {
		fmt.Fprintf(w, "in tunnels   %d packets out of UDP", in.Tunnels.Inner)
		if n > 0 {
			fmt.Fprintf(w, "; rejected %d: %s", n, reasons)
		}
		fmt.Fprintln(w)
	}
	if len(o.interfaces) > 0 {
		fmt.Fprintf(w, "lost         %d: %s\n", in.Lost.Sum(), strings.Join(lossesOf(in.Lost), ", "))
	}
	fmt.Fprintf(w, "connections  %d", out.Connections)
	if n := out.Table.EndedEarly; n > 0 {
		fmt.Fprintf(w, ", %d of them ended early to stay within %s of memory", n, o.memory.String())
	}
	fmt.Fprintln(w)
	if limits := limitsReached(out); len(limits) > 0 {
		fmt.Fprintf(w, "limits       %s\n", strings.Join(limits, ", "))
	}
	intel := make([]string, len(out.Intel))
	for i, k := range flow.Kinds() {
		intel[i] = fmt.Sprintf("%s %d", k.Name, out.Intel[i])
	}
	fmt.Fprintf(w, "intel        %s\n", strings.Join(intel, ", "))
	for _, s := range stores {
		fmt.Fprintf(w, "store        %s", s.store)
		if s.lost != (lake.Records{}) {
			fmt.Fprintf(w, ", without %d records of connections and %d of intel that it did not take", s.lost.Conns, s.lost.Intel)
		}
		if s.waits != "" {
			fmt.Fprintf(w, "; %s", s.waits)
		}
		fmt.Fprintln(w)
	}
}

// rejections returns the sum of the counters and says what they count.
func rejections(counts *[capture.NumReasons]uint64) (sum uint64, reasons string) {
	var parts []string
	for i, n := range counts {
		if n > 0 {
			sum += n
			parts = append(parts, fmt.Sprintf("%s %d", capture.Reason(i), n))
		}
	}
	return sum, strings.Join(parts, ", ")
}

// lossesOf says how many packets of interfaces were lost, by reason.
func lossesOf(l capture.Losses) []string {
	return []string{
		fmt.Sprintf("kernel %d", l.Kernel), fmt.Sprintf("interface %d", l.Interface),
		fmt.Sprintf("overload %d", l.Overload), fmt.Sprintf("unread %d", l.Unread),
	}
}

// limitsReached says what was ignored or given up, and how often.
func limitsReached(s sensor.Stats) []string {
	var out []string
	for _, x := range []struct {
		n    uint64
		what string
	}{
		{s.Table.IgnoredChecksum, "packets with a wrong checksum"},
		{s.Table.IgnoredHeader, "packets with a bad TCP header"},
		{s.Table.HistoryLettersLost, "letters of long histories"},
		{s.Reassembly.Conflicts, "TCP segments that contradict an earlier copy"},
		{s.Reassembly.NotKept, "TCP segments not kept"},
		{s.Reassembly.Skipped, "TCP streams given up"},
		{s.Dissect.SessionFull, "dissected streams given up for their size"},
		{s.Dissect.MemoryFull, "dissected streams cut for lack of memory"},
		{s.Dissect.RecordsDropped, "records of connections with too many"},
	} {
		if x.n > 0 {
			out = append(out, fmt.Sprintf("%d %s", x.n, x.what))
		}
	}
	return out
}
