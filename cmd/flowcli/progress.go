// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"os"
	"time"

	"weir/internal/term"
)

// progress shows how far something is, on a terminal.
type progress struct {
	w            io.Writer // nil: not shown
	what         string    // is counted
	began, shown time.Time
}

// progressEvery is how often the line is written again.
const progressEvery = 200 * time.Millisecond

// progress returns a line that counts things.
func (o *options) progress(what string) *progress {
	p := &progress{what: what, began: time.Now()}
	if f, ok := o.stderr.(*os.File); ok && term.IsTerminal(f) && !o.quiet {
		p.w = f
	}
	return p
}

// count shows a number.
func (p *progress) count(n int64) { p.of(n, 0) }

// of shows a number of all, which is 0 where it is not known.
func (p *progress) of(n, all int64) {
	if p.w == nil || time.Since(p.shown) < progressEvery {
		return
	}
	p.shown = time.Now()
	fmt.Fprintf(p.w, "\r%s\x1b[K", progressLine(n, all, p.what, time.Since(p.began)))
}

// progressLine is one state of the line.
func progressLine(n, all int64, what string, elapsed time.Duration) string {
	if all <= 0 {
		return term.Number(n) + " " + what
	}
	rate := float64(n) / max(elapsed.Seconds(), 1e-9)
	line := fmt.Sprintf("%3.0f %%  %s of %s %s, %s/s", 100*float64(n)/float64(all), term.Number(n), term.Number(all), what, term.Number(int64(rate)))
	if n > 0 && n < all {
		left := time.Duration(float64(elapsed) * float64(all-n) / float64(n))
		line += fmt.Sprintf(", %v left", left.Round(time.Second))
	}
	return line
}

// clear removes the line.
func (p *progress) clear() {
	if p.w != nil && !p.shown.IsZero() {
		fmt.Fprint(p.w, "\r\x1b[K")
	}
}
