// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"weir/internal/term"
)

// patience is how long an answer may take before a terminal shows that it is on
// its way.
const patience = time.Second

// waiting is a line on a terminal that says for how long an answer has taken, and
// how many rows have come. The line goes before anything else is printed there.
type waiting struct {
	w     io.Writer // nil: nothing is shown
	began time.Time
	rows  atomic.Int64
	done  chan struct{}
	ended sync.WaitGroup

	mu      sync.Mutex // guards the following
	shown   bool
	stopped bool
}

// wait begins to wait; stop must be called.
func (o *options) wait() *waiting {
	if f, ok := o.stderr.(*os.File); ok && term.IsTerminal(f) {
		return newWaiting(f)
	}
	return newWaiting(nil)
}

// newWaiting begins to wait, with a line on w unless it is nil.
func newWaiting(w io.Writer) *waiting {
	t := &waiting{w: w, began: time.Now(), done: make(chan struct{})}
	if w != nil {
		t.ended.Go(t.show)
	}
	return t
}

// show writes the line again and again.
func (t *waiting) show() {
	timer := time.NewTimer(patience)
	defer timer.Stop()
	for {
		select {
		case <-t.done:
			return
		case <-timer.C:
		}
		timer.Reset(progressEvery)
		t.mu.Lock()
		if !t.stopped {
			t.shown = true
			fmt.Fprintf(t.w, "\r%s\x1b[K", waitingLine(time.Since(t.began), t.rows.Load()))
		}
		t.mu.Unlock()
	}
}

// waitingLine is one state of the line.
func waitingLine(elapsed time.Duration, rows int64) string {
	line := fmt.Sprintf("%.0f s", elapsed.Seconds())
	if rows > 0 {
		line += ", " + term.Number(rows) + " rows"
	}
	return line
}

// clear removes the line for good.
func (t *waiting) clear() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.shown && !t.stopped {
		fmt.Fprint(t.w, "\r\x1b[K")
	}
	t.stopped = true
}

// stop removes the line and waits for the end of who writes it.
func (t *waiting) stop() {
	t.clear()
	close(t.done)
	t.ended.Wait()
}

// before returns w; where both are terminals the line goes before anything is written to w.
func (t *waiting) before(w io.Writer) io.Writer {
	f, ok := w.(*os.File)
	if t.w == nil || !ok || !term.IsTerminal(f) {
		return w
	}
	return &cleared{w: w, line: t}
}

// cleared is a writer to a terminal with a line of waiting on it.
type cleared struct {
	w    io.Writer
	line *waiting
}

// Write implements io.Writer.
func (c *cleared) Write(b []byte) (int, error) {
	c.line.clear()
	return c.w.Write(b)
}

// counted is a sheet whose rows the line counts.
type counted struct {
	sheet
	line *waiting
}

func (c *counted) row(values []any, object any) error {
	c.line.rows.Add(1)
	return c.sheet.row(values, object)
}
