// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"image/png"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"weir/internal/chart"
	"weir/internal/command/commandtest"
	"weir/internal/flow"
	"weir/internal/term"
	"weir/store"
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

// clock is a store with slots of some width, in which one flow was active at some times.
type clock struct {
	store.Reader
	precision time.Duration
	active    []time.Time
	asked     []store.TimelineQuery
}

func (c *clock) Status(context.Context) (*store.Status, error) {
	return &store.Status{Precision: int64(c.precision / time.Second)}, nil
}

func (c *clock) Timeline(_ context.Context, q store.TimelineQuery) (out []store.TimelineSlot, err error) {
	c.asked = append(c.asked, q)
	if q.Step%c.precision != 0 {
		return nil, store.ErrPrecision
	}
	for _, t := range c.active {
		slot := t.Truncate(q.Step)
		if !q.After.IsZero() && !slot.Add(q.Step).After(q.After) || !q.Before.IsZero() && !slot.Before(q.Before) {
			continue
		}
		if len(out) == 0 || !out[len(out)-1].Start.Equal(slot) {
			out = append(out, store.TimelineSlot{Start: slot, Flows: 1})
		}
	}
	return out, nil
}

// TestPictureSlots draws from stores whose slots are narrow and wide, and windows of time.
func TestPictureSlots(t *testing.T) {
	at := func(text string) time.Time {
		t.Helper()
		out, err := time.Parse("2006-01-02 15:04", text)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	noon, next := at("2026-03-02 12:10"), at("2026-03-03 12:10")
	for _, tc := range []struct {
		name      string
		precision time.Duration
		picture   pictureOptions
		sel       selection
		steps     []time.Duration // that are asked for
		want      string          // CSV, or the error
	}{
		{
			"hours of minutes", time.Minute,
			pictureOptions{plot: true},
			selection{},
			[]time.Duration{time.Hour},
			"12,1",
		},
		{
			"hours of wide slots", 6 * time.Hour,
			pictureOptions{plot: true},
			selection{},
			[]time.Duration{6 * time.Hour},
			"12,1 13,1 14,1 15,1 16,1 17,1",
		},
		{
			"hours of slots that no hour is a multiple of", 40 * time.Minute,
			pictureOptions{plot: true},
			selection{},
			[]time.Duration{2 * time.Hour},
			"12,1 13,1",
		},
		{
			"hours of days", 24 * time.Hour,
			pictureOptions{plot: true},
			selection{},
			nil, "slots of 1d do not tell the hours of a day; --histogram draws them",
		},
		{
			"all time", time.Minute,
			pictureOptions{histogram: true},
			selection{},
			[]time.Duration{time.Minute},
			"2026-03-02T12:10:00Z,1 2026-03-03T12:10:00Z,1",
		},
		{
			"all time, wider than asked first", time.Second,
			pictureOptions{histogram: true},
			selection{after: at("2026-03-01 00:00")},
			[]time.Duration{time.Second, 5 * time.Second},
			"2026-03-02T12:10:00Z,1 2026-03-03T12:10:00Z,1",
		},
		{
			"a window", time.Hour,
			pictureOptions{histogram: true, step: precision(6 * time.Hour)},
			selection{after: at("2026-03-03 00:00"), before: at("2026-03-04 00:00")},
			[]time.Duration{6 * time.Hour},
			"2026-03-03T12:00:00Z,1",
		},
		{
			"a window that has nothing", time.Hour,
			pictureOptions{histogram: true},
			selection{after: at("2026-04-03 00:00"), before: at("2026-04-04 00:00")},
			[]time.Duration{time.Hour},
			"",
		},
		{
			"a window of forty years", time.Hour,
			pictureOptions{histogram: true, step: precision(time.Hour)},
			selection{after: at("1986-03-03 00:00")},
			[]time.Duration{time.Hour},
			"--step 1h: 350653 slots of 1h are too many for a picture: at most 100000",
		},
		{
			"a step between slots", time.Hour,
			pictureOptions{histogram: true, step: precision(90 * time.Minute)},
			selection{},
			nil, "--step 90m: the slots of the store are 1h wide, a step is a multiple of that",
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			db := &clock{precision: tc.precision, active: []time.Time{noon, next}}
			o := &options{picture: tc.picture, zone: time.UTC, stdout: io.Discard}
			var b bytes.Buffer
			err := o.draw(t.Context(), db, &output{w: &b, format: asCSV, line: new(waiting)}, tc.sel, store.Query{})
			// Values that are zero are left out.
			var got []string
			for line := range strings.Lines(b.String()) {
				if line = strings.TrimSpace(line); !strings.HasSuffix(line, ",0") && !strings.HasSuffix(line, ",flows") {
					got = append(got, line)
				}
			}
			if err != nil {
				got = append(got, err.Error())
			}
			if text := strings.Join(got, " "); text != tc.want {
				t.Errorf("draws %q, want %q", text, tc.want)
			}
			var steps []time.Duration
			for _, q := range db.asked {
				steps = append(steps, q.Step)
				if !q.After.Equal(tc.sel.after) || !q.Before.Equal(tc.sel.before) {
					t.Errorf("asks from %v to %v", q.After, q.Before)
				}
			}
			if !slices.Equal(steps, tc.steps) {
				t.Errorf("asks for slots of %v, want %v", steps, tc.steps)
			}
		})
	}
}
