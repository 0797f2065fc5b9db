// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"weir/capture"
	"weir/internal/term"
)

// showProgress draws a bar with rate and remaining time on w, if that is a
// terminal, until stop is called.
func showProgress(w io.Writer, r *capture.Reader, quiet bool) (stop func()) {
	f, ok := w.(*os.File)
	if !ok || quiet || !term.IsTerminal(f) {
		return func() {}
	}
	done := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		tick := time.NewTicker(200 * time.Millisecond)
		defer tick.Stop()
		began := time.Now()
		for {
			select {
			case <-tick.C:
				fmt.Fprintf(w, "\r%s\x1b[K", progressLine(r.Stats(), time.Since(began)))
			case <-done:
				fmt.Fprint(w, "\r\x1b[K")
				return
			}
		}
	})
	return func() {
		close(done)
		wg.Wait()
	}
}

// progressLine is one state of the bar.
func progressLine(s capture.Stats, elapsed time.Duration) string {
	rate := float64(s.Packets) / max(elapsed.Seconds(), 1e-9)
	if s.Total <= 0 || s.Read > s.Total {
		return fmt.Sprintf("%d packets, %.0f packets/s", s.Packets, rate)
	}
	const width = 20
	part := float64(s.Read) / float64(s.Total)
	full := int(part * width)
	line := fmt.Sprintf("[%s%s] %3.0f %%  %d packets, %.0f packets/s",
		strings.Repeat("#", full), strings.Repeat(".", width-full), 100*part, s.Packets, rate)
	if part > 0 {
		left := time.Duration(float64(elapsed) * (1 - part) / part)
		line += fmt.Sprintf(", %v left", left.Round(time.Second))
	}
	return line
}
