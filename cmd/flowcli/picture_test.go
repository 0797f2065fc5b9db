// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"errors"
	"fmt"
	"image/png"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"weir/internal/chart"
	"weir/internal/command/commandtest"
	"weir/internal/flow"
	"weir/internal/term"
	"weir/store/lake"
)

// makeTimes adds flows to a store, so many at each of the times: mktimes STORE
// TIME=NUMBER…
func makeTimes() {
	if err := fillTimes(os.Args[1], os.Args[2:]); err != nil {
		fmt.Fprintln(os.Stderr, "mktimes:", err)
		os.Exit(1)
	}
}

func fillTimes(path string, times []string) error {
	l, err := lake.Open(path, lake.Config{Create: true, Version: "test"})
	if err != nil {
		return err
	}
	w, err := l.Begin(lake.Import{ID: "times", Sensor: "eth0", Source: "capture", Inputs: []lake.Input{{Name: "times.pcap", Sum: "times", Size: 1}}})
	if err != nil {
		return err
	}
	b := new(flow.ConnBatch)
	for _, text := range times {
		at, number, _ := strings.Cut(text, "=")
		t, err := time.Parse(time.RFC3339, at)
		n, nerr := strconv.Atoi(number)
		if err := errors.Join(err, nerr); err != nil {
			return errors.Join(err, w.Abort())
		}
		for i := range n {
			first := flow.Time(t.UnixNano())
			b.Add(&flow.Connection{
				Tuple: flow.Tuple{
					UID: uint64(b.Len() + 1), Src: flow.Addr4([4]byte{10, 0, byte(i >> 8), byte(i)}), Dst: flow.Addr4([4]byte{10, 9, 0, 1}),
					Sport: 40_000, Dport: 443, Proto: flow.TCP,
				},
				First: first, Last: first + 1e9, CSPkts: 1, CSBytes: 100, Count: 1, State: flow.S0, End: flow.EndIdle,
			})
		}
	}
	if err := w.Connections(b); err != nil {
		return errors.Join(err, w.Abort())
	}
	return w.Commit(lake.Final{})
}

// TestPictureFiles writes pictures into files, which others can read.
func TestPictureFiles(t *testing.T) {
	path := quiet(t)
	if err := fillLake(path, "import-1", false); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"--plot"}, {"--heatmap"}, {"--histogram"}, {"--top", "meta.dns.query", "--plot"}, {"--plot", "-f", "dport = 1"}} {
		file := filepath.Join(t.TempDir(), "x.PNG")
		out, msg, code := flowcli(t, append(args, "--store", path, "--output", file)...)
		if out != "" || code != 0 {
			t.Fatalf("%q: exit code %d, %q, %s", args, code, out, msg)
		}
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		img, err := png.Decode(bytes.NewReader(data))
		if err != nil {
			t.Fatalf("%q: %v", args, err)
		}
		if size := img.Bounds().Size(); size.X != chart.Width || size.Y != chart.Height {
			t.Errorf("%q: size %v", args, size)
		}
	}
}

// TestPictureTerminal draws on terminals: as wide as they are, or as $COLUMNS says, with color unless
// somebody wants none.
func TestPictureTerminal(t *testing.T) {
	path := quiet(t)
	if err := fillTimes(path, []string{"2026-03-02T10:00:00Z=30", "2026-03-03T18:00:00Z=12"}); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		columns      int
		env          map[string]string
		width        int // of the longest line: at most, and not much less
		color, ascii bool
	}{
		{columns: 80, width: 80, color: true},
		{columns: 40, width: 40, color: true},
		{columns: 132, width: 132, color: true},
		{columns: 132, env: map[string]string{"COLUMNS": "60"}, width: 60, color: true},
		{columns: 80, env: map[string]string{"NO_COLOR": "1"}, width: 80},
		{columns: 80, env: map[string]string{"TERM": "dumb"}, width: 80, ascii: true},
		{columns: 80, env: map[string]string{"LC_ALL": "C"}, width: 80, color: true, ascii: true},
	} {
		t.Run(fmt.Sprint(tc.columns, tc.env), func(t *testing.T) {
			for name, value := range map[string]string{"COLUMNS": "", "NO_COLOR": "", "TERM": "xterm", "LC_ALL": "", "LC_CTYPE": "", "LANG": "C.UTF-8"} {
				t.Setenv(name, value)
			}
			for name, value := range tc.env {
				t.Setenv(name, value)
			}
			person, program := commandtest.Terminal(t)
			if err := unix.IoctlSetWinsize(int(program.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: 24, Col: uint16(tc.columns)}); err != nil {
				t.Fatal(err)
			}
			shown := make(chan string, 1)
			go func() {
				// Reading ends with an error once nobody has the other end open.
				text, _ := io.ReadAll(person)
				shown <- string(text)
			}()
			var msg bytes.Buffer
			code := run([]string{"--store", path, "--tz", "UTC", "--plot"}, strings.NewReader(""), program, &msg)
			program.Close()
			if code != 0 {
				t.Fatalf("exit code %d: %s", code, msg.String())
			}
			text := strings.ReplaceAll(<-shown, "\r\n", "\n")
			if strings.Contains(text, "\x1b[") != tc.color {
				t.Errorf("color: %v, want %v:\n%q", !tc.color, tc.color, text)
			}
			for _, style := range []string{"\x1b[1m", "\x1b[2m", "\x1b[38;5;68m", "\x1b[0m"} {
				text = strings.ReplaceAll(text, style, "")
			}
			if ascii := !strings.ContainsFunc(text, func(r rune) bool { return r > '~' }); ascii != tc.ascii {
				t.Errorf("ASCII: %v, want %v:\n%s", ascii, tc.ascii, text)
			}
			widest := 0
			for line := range strings.Lines(text) {
				widest = max(widest, term.StringWidth(strings.TrimSuffix(line, "\n")))
			}
			if widest > tc.width || widest < tc.width-24 {
				t.Errorf("the widest line has %d columns, want %d:\n%s", widest, tc.width, text)
			}
		})
	}
}
