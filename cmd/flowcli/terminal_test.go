// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"weir/internal/command"
	"weir/internal/command/commandtest"
)

// TestAsks makes sure that somebody at a terminal is asked before anything is
// lost, and that nothing is if the answer is not yes.
func TestAsks(t *testing.T) {
	expire := []string{"expire", "--before", "2026-01-01"}
	for _, tc := range []struct {
		args           []string
		answer         string
		question, left string
		code           int
	}{
		{[]string{"--init"}, "n\n", "holds 1 imports. Remove them all? [y/N] ", "6", 1},
		{[]string{"--init"}, "\n", "[y/N] ", "6", 1},
		{[]string{"--init"}, "yes\n", "[y/N] ", "0", 0},
		{[]string{"--purgedb"}, "no\n", "[y/N] ", "6", 1},
		{[]string{"--init", "--yes"}, "", "", "0", 0},
		{expire, "n\n", "Drop 1 days up to 2025-11-23: 7 connections, ", "6", 1},
		{expire, "Y\n", "[y/N] ", "0", 0},
		{append(expire, "-y"), "", "", "0", 0},
		{append(expire, "--dry-run"), "", "", "6", 0},
	} {
		t.Run(strings.Join(tc.args, " ")+" "+tc.answer, func(t *testing.T) {
			path := quiet(t)
			if err := fillLake(path, "import-1", false); err != nil {
				t.Fatal(err)
			}
			asks(t, path, tc.args, tc.answer, tc.question, tc.code)
			out, _, _ := flowcli(t, "--store", path, "-c")
			if !strings.HasSuffix(out, "\n"+tc.left+" flows\n") {
				t.Errorf("then there are\n%s, want %s flows", out, tc.left)
			}
		})
	}
}

// TestAskInterrupted interrupts a question: nothing is lost, and nobody waits for
// an answer any more.
func TestAskInterrupted(t *testing.T) {
	_, program := commandtest.Terminal(t)
	ctx, interrupt := context.WithCancel(t.Context())
	asked := make(chan error, 1)
	var msg asking
	msg.begun = interrupt
	go func() {
		asked <- command.Confirm(ctx, command.Streams{In: program, Err: &msg}, false, "Remove\x1b them all?")
	}()
	select {
	case err := <-asked:
		if !errors.Is(err, context.Canceled) || msg.text.String() != "Remove\\x1b them all? [y/N] \n" {
			t.Errorf("error %v after %q, want an interrupt", err, msg.text.String())
		}
	case <-time.After(time.Minute):
		t.Fatal("it waits for an answer")
	}
}

// asking is where a question goes; it calls begun once it is there.
type asking struct {
	text  bytes.Buffer
	begun func()
}

// Write implements io.Writer.
func (a *asking) Write(b []byte) (int, error) {
	defer a.begun()
	return a.text.Write(b)
}

// TestNeo4jAsks is TestAsks for a database.
func TestNeo4jAsks(t *testing.T) {
	path := quiet(t)
	if err := fillLake(path, "import-1", false); err != nil {
		t.Fatal(err)
	}
	uri := emptyServer(t)
	loadLake(t, uri, path)
	expire := []string{"expire", "--before", "2026-01-01"}
	for _, tc := range []struct {
		args           []string
		answer         string
		question, left string
		code           int
	}{
		{[]string{"--init"}, "n\n", uri + " holds 7 connections of 1 imports. Remove them all? [y/N] ", "6", 1},
		{expire, "n\n", "Drop 6 flows, and what belongs to no other? [y/N] ", "6", 1},
		{append(expire, "--dry-run"), "", "", "6", 0},
		{expire, "y\n", "[y/N] ", "0", 0},
		{[]string{"--init"}, "y\n", "[y/N] ", "0", 0},
		{[]string{"--init"}, "", "", "0", 0},
	} {
		asks(t, uri, tc.args, tc.answer, tc.question, tc.code)
		out, _, _ := flowcli(t, "--store", uri, "-c")
		if !strings.HasSuffix(out, "\n"+tc.left+" flows\n") {
			t.Errorf("%q: then there are\n%s, want %s flows", tc.args, out, tc.left)
		}
	}
}

// asks runs flowcli at a terminal where somebody answers, and checks what is asked.
func asks(t *testing.T, store string, args []string, answer, question string, code int) {
	t.Helper()
	person, program := commandtest.Terminal(t)
	if _, err := person.WriteString(answer); err != nil {
		t.Fatal(err)
	}
	var out, msg bytes.Buffer
	done := make(chan int, 1) // so that the goroutine ends whoever waits for it
	go func() { done <- run(append([]string{"--store", store}, args...), program, &out, &msg) }()
	select {
	case got := <-done:
		if got != code {
			t.Errorf("%q: exit code %d, want %d: %s", args, got, code, msg.String())
		}
	case <-time.After(time.Minute):
		t.Fatalf("%q waits for an answer", args)
	}
	if !strings.Contains(msg.String(), question) || question == "" && strings.Contains(msg.String(), "[y/N]") {
		t.Errorf("%q asks %q, want %q", args, msg.String(), question)
	}
	if code != 0 && !strings.Contains(msg.String(), "nothing was changed") {
		t.Errorf("%q says %q", args, msg.String())
	}
}

func TestProgressLine(t *testing.T) {
	for _, tc := range []struct {
		n, all  int64
		elapsed time.Duration
		want    string
	}{
		{1234, 0, time.Second, "1,234 rows"},
		{0, 5000, 0, "  0 %  0 of 5,000 rows, 0/s"},
		{1250, 5000, 10 * time.Second, " 25 %  1,250 of 5,000 rows, 125/s, 30s left"},
		{5000, 5000, 10 * time.Second, "100 %  5,000 of 5,000 rows, 500/s"},
	} {
		if got := progressLine(tc.n, tc.all, "rows", tc.elapsed); got != tc.want {
			t.Errorf("progressLine(%d, %d, %v) = %q, want %q", tc.n, tc.all, tc.elapsed, got, tc.want)
		}
	}
}

func TestPrecision(t *testing.T) {
	for _, tc := range []struct {
		text string
		want time.Duration // 0: refused
	}{
		{"3600", time.Hour},
		{"1h", time.Hour},
		{"1d", 24 * time.Hour},
		{"90m", 90 * time.Minute},
		{"1", time.Second},
		{"0", 0},
		{"0s", 0},
		{"1.5s", 0},
		{"-1h", 0},
		{"-3600", 0},
		{"", 0},
		{"hourly", 0},
	} {
		var p precision
		err := p.Set(tc.text)
		if got := time.Duration(p); (err == nil) != (tc.want > 0) || tc.want > 0 && got != tc.want {
			t.Errorf("Set(%q) = %v, %v, want %v", tc.text, got, err, tc.want)
		}
	}
}
