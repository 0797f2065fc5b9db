// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"weir/internal/command/commandtest"
)

// TestWaiting makes sure that only what takes long is shown to be on its way, and that
// the line is gone before anything else is printed.
func TestWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b bytes.Buffer
		line := newWaiting(&b)
		time.Sleep(patience / 2)
		line.stop()
		if b.Len() > 0 {
			t.Errorf("after %v it shows %q", patience/2, b.String())
		}
		line = newWaiting(&b)
		s := &counted{&textSheet{w: &bytes.Buffer{}, style: style{cell: cellText}, columns: named("a"), cells: make([]string, 1)}, line}
		time.Sleep(patience + time.Millisecond)
		for range 1234 {
			if err := s.row([]any{"x"}, nil); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(progressEvery)
		out := &cleared{w: &b, line: line}
		if _, err := out.Write([]byte("answer\n")); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		line.stop()
		if got, want := b.String(), "\r1 s\x1b[K\r1 s, 1,234 rows\x1b[K\r\x1b[Kanswer\n"; got != want {
			t.Errorf("terminal shows %q, want %q", got, want)
		}
	})
}

// TestWaitingTerminal runs a query that takes too long at a terminal.
func TestWaitingTerminal(t *testing.T) {
	if testing.Short() {
		t.Skip("waits for seconds")
	}
	path := quiet(t)
	if err := fillLake(path, "import-1", false); err != nil {
		t.Fatal(err)
	}
	person, program := commandtest.Terminal(t)
	var out bytes.Buffer
	args := []string{
		"--store", path, "sql", "--timeout", "2s",
		"SELECT count(*) FROM range(100000) a, range(100000) b, range(1000) c WHERE a.range + b.range = c.range * 7",
	}
	if code := run(args, strings.NewReader(""), &out, program); code != 1 {
		t.Errorf("exit code %d, want 1", code)
	}
	const end = "\x1b[K\r\x1b[Kflowcli: gave up after 2s\r\n"
	got, buf := "", make([]byte, 4096)
	for !strings.Contains(got, "gave up after 2s\r\n") {
		n, err := person.Read(buf)
		if err != nil {
			t.Fatalf("after %q: %v", got, err)
		}
		got += string(buf[:n])
	}
	if !strings.HasPrefix(got, "\r1 s\x1b[K") || !strings.HasSuffix(got, end) || out.Len() > 0 {
		t.Errorf("terminal shows %q, want the seconds, then nothing but the error; standard output %q", got, out.String())
	}
}
