// SPDX-License-Identifier: Apache-2.0

package logging_test

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"weir/internal/logging"
)

func read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestReopen(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "sensor.log")
	if err := os.WriteFile(name, []byte("before\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := logging.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	write := func(line string) {
		t.Helper()
		if _, err := f.Write([]byte(line)); err != nil {
			t.Fatal(err)
		}
	}
	write("one\n")
	if err := os.Rename(name, name+".1"); err != nil {
		t.Fatal(err)
	}
	write("two\n")
	if err := f.Reopen(); err != nil {
		t.Fatal(err)
	}
	write("three\n")
	if got := read(t, name+".1"); got != "before\none\ntwo\n" {
		t.Errorf("the renamed file holds %q", got)
	}
	if got := read(t, name); got != "three\n" {
		t.Errorf("the new file holds %q", got)
	}

	// What cannot be opened leaves the old one in use.
	if err := errors.Join(os.Rename(name, name+".2"), os.Mkdir(name, 0o700)); err != nil {
		t.Fatal(err)
	}
	if err := f.Reopen(); err == nil || !strings.Contains(err.Error(), name) {
		t.Errorf("Reopen() = %v, want an error with the name", err)
	}
	write("four\n")
	if got := read(t, name+".2"); got != "three\nfour\n" {
		t.Errorf("the file in use holds %q", got)
	}

	if err := errors.Join(f.Close(), f.Close()); err != nil {
		t.Errorf("Close() = %v", err)
	}
	if _, err := f.Write(nil); !errors.Is(err, os.ErrClosed) {
		t.Errorf("Write() after Close() = %v, want %v", err, os.ErrClosed)
	}
	if err := os.Remove(name); err != nil {
		t.Fatal(err)
	}
	if err := f.Reopen(); !errors.Is(err, os.ErrClosed) {
		t.Errorf("Reopen() after Close() = %v, want %v", err, os.ErrClosed)
	}
}

func TestOpenFails(t *testing.T) {
	if _, err := logging.Open(filepath.Join(t.TempDir(), "none", "sensor.log")); err == nil {
		t.Error("Open() in a missing directory succeeds")
	}
}

// No line is lost or torn while the file is rotated.
func TestConcurrent(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "sensor.log")
	f, err := logging.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	const writers, lines, rotations = 4, 500, 20
	var wait sync.WaitGroup
	for range writers {
		wait.Go(func() {
			log := slog.New(slog.NewTextHandler(f, nil))
			for i := range lines {
				log.Info("line", slog.Int("i", i))
			}
		})
	}
	wait.Go(func() {
		for i := range rotations {
			if err := errors.Join(os.Rename(name, fmt.Sprintf("%s.%d", name, i)), f.Reopen()); err != nil {
				t.Error(err)
			}
		}
	})
	wait.Wait()
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(name + "*")
	if err != nil || len(files) != rotations+1 {
		t.Fatalf("%d files, %v, want %d", len(files), err, rotations+1)
	}
	n := 0
	for _, file := range files {
		for line := range strings.Lines(read(t, file)) {
			if !strings.HasPrefix(line, "time=") || !strings.HasSuffix(line, "\n") || strings.Count(line, "msg=line") != 1 {
				t.Errorf("torn line %q", line)
			}
			n++
		}
	}
	if n != writers*lines {
		t.Errorf("%d lines, want %d", n, writers*lines)
	}
}
