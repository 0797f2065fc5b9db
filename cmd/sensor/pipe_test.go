// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/binary"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"weir/internal/command"
	"weir/internal/traffic"
	"weir/store/lake"
)

// pipes are the ways by which a sensor may be given a pipe: as standard input,
// and by name.
func pipes(t *testing.T, f func(t *testing.T, open func(args ...string) (*liveSensor, io.WriteCloser))) {
	t.Helper()
	t.Run("stdin", func(t *testing.T) {
		f(t, func(args ...string) (*liveSensor, io.WriteCloser) {
			cmd := exec.Command("sensor", append([]string{"-r", "-"}, args...)...)
			in, err := cmd.StdinPipe()
			if err != nil {
				t.Fatal(err)
			}
			return launch(t, cmd), in
		})
	})
	t.Run("fifo", func(t *testing.T) {
		f(t, func(args ...string) (*liveSensor, io.WriteCloser) {
			fifo := filepath.Join(t.TempDir(), "fifo")
			if err := syscall.Mkfifo(fifo, 0o600); err != nil {
				t.Fatal(err)
			}
			s := launch(t, exec.Command("sensor", append([]string{"-r", fifo}, args...)...))
			w, err := os.OpenFile(fifo, os.O_WRONLY, 0)
			if err != nil {
				t.Fatal(err)
			}
			return s, w
		})
	})
}

// narrow makes a pipe hold no more than a page, and returns its size: a signal
// leaves unread what is in a pipe, and that is all that it may leave.
func narrow(t *testing.T, pipe io.WriteCloser) (page int) {
	t.Helper()
	f, ok := pipe.(*os.File)
	if !ok {
		t.Fatalf("the pipe is a %T, want a file", pipe)
	}
	page, err := unix.FcntlInt(f.Fd(), unix.F_SETPIPE_SZ, os.Getpagesize())
	if err != nil {
		t.Fatal(err)
	}
	return page
}

// records returns how many records of a capture are whole in its first bytes.
func records(data []byte) int {
	n := 0
	for at := 24; at+16 <= len(data); n++ {
		if at += 16 + int(binary.LittleEndian.Uint32(data[at+8:])); at > len(data) {
			break
		}
	}
	return n
}

// imports returns the imports of a store.
func imports(t *testing.T, store string) []lake.Import {
	t.Helper()
	m, err := lake.ReadManifest(store)
	if errors.Is(err, lake.ErrNotStore) {
		return nil
	}
	if err != nil {
		t.Fatal(err)
	}
	return m.Imports
}

// TestPipe reads from pipes that are slow: what was read is visible before their
// end, and stays, whatever ends them.
func TestPipe(t *testing.T) {
	name, totals := generate(t, traffic.Spec{Scenario: traffic.Mix, Packets: 20_000})
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	pipes(t, func(t *testing.T, open func(args ...string) (*liveSensor, io.WriteCloser)) {
		for _, end := range []syscall.Signal{0, syscall.SIGINT, syscall.SIGTERM} {
			t.Run(end.String(), func(t *testing.T) {
				dir := t.TempDir()
				store, logs := filepath.Join(dir, "lake"), filepath.Join(dir, "logs")
				s, w := open("--store", store, "--zeek-logs", logs, "--publish", "100ms", "--active-timeout", "10s")
				defer w.Close()
				page := narrow(t, w)
				// The end is inside a record.
				written := len(data) - 1000
				if _, err := w.Write(data[:written]); err != nil {
					t.Fatal(err)
				}
				eventually(t, "visible before the end", func() bool { n, _ := stored(t, store); return n > 0 })
				if imp := imports(t, store); !imp[0].Open || imp[0].Source != "stdin" {
					t.Errorf("the import is %+v, want one of a pipe that is open", imp[0])
				}
				least, most, code := int(totals.Packets), int(totals.Packets), 0
				if end == 0 {
					if _, err := w.Write(data[written:]); err != nil {
						t.Fatal(err)
					}
					w.Close()
					<-s.ended
					code = s.cmd.ProcessState.ExitCode()
				} else {
					// The signal may leave what is in the pipe, and what a read has just taken out of it.
					least, most = records(data[:written-2*page]), records(data[:written])
					code, _ = s.stop(t, end)
				}
				wantCode := map[bool]int{true: command.OK, false: command.Interrupted}[end == 0]
				if code != wantCode || strings.Contains(s.messages(), "nothing was committed") ||
					strings.Contains(s.messages(), "is stored") != (end != 0) {
					t.Errorf("exit code %d, want %d: %s", code, wantCode, s.messages())
				}
				all := imports(t, store)
				if len(all) != 1 || all[0].Open {
					t.Fatalf("the imports are %+v, want one that has ended", all)
				}
				rows := count(t, "SELECT sum(count)::BIGINT FROM "+parts(store))
				packets := count(t, "SELECT sum(cspkts + scpkts)::BIGINT FROM "+parts(store))
				if int64(rows) != all[0].Connections || lines(t, filepath.Join(logs, "conn.log")) != rows {
					t.Errorf("%d connections are stored, %d in the manifest, %d in conn.log", rows, all[0].Connections,
						lines(t, filepath.Join(logs, "conn.log")))
				}
				if packets < least || packets > most || all[0].Packets != uint64(packets) || end == 0 && rows != int(totals.Sum()) {
					t.Errorf("%d connections of %d packets are stored, %d packets in the manifest; want %d connections of %d to %d packets",
						rows, packets, all[0].Packets, totals.Sum(), least, most)
				}
				if n := count(t, "SELECT count(*) FROM "+parts(store)+" WHERE end_reason = 2"); n == 0 {
					t.Error("there are no interim records")
				}
			})
		}
	})
}

// TestPipeSilent ends a sensor whose pipe has said that a capture begins, and no
// more.
func TestPipeSilent(t *testing.T) {
	name, _ := generate(t, traffic.Spec{Scenario: traffic.Mix, Packets: 1})
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	pipes(t, func(t *testing.T, open func(args ...string) (*liveSensor, io.WriteCloser)) {
		store := filepath.Join(t.TempDir(), "lake")
		s, w := open("--store", store)
		defer w.Close()
		if _, err := w.Write(data[:24]); err != nil { // the file's header
			t.Fatal(err)
		}
		eventually(t, "the store is open", func() bool {
			_, err := os.Stat(filepath.Join(store, "MANIFEST"))
			return err == nil
		})
		code, _ := s.stop(t, syscall.SIGTERM)
		if code != command.Interrupted || s.messages() != "sensor: interrupted, nothing was read\n" || len(imports(t, store)) != 0 {
			t.Errorf("exit code %d, imports %+v: %s", code, imports(t, store), s.messages())
		}
	})
}

// TestPipeAndFile reads a file and a pipe together: they are one import, which is
// committed at the end.
func TestPipeAndFile(t *testing.T) {
	one, first := generate(t, traffic.Spec{Scenario: traffic.Mix, Packets: 5000})
	two, second := generate(t, traffic.Spec{Scenario: traffic.Mix, Seed: 2, Packets: 5000})
	data, err := os.ReadFile(two)
	if err != nil {
		t.Fatal(err)
	}
	pipes(t, func(t *testing.T, open func(args ...string) (*liveSensor, io.WriteCloser)) {
		for _, end := range []syscall.Signal{0, syscall.SIGTERM} {
			store := filepath.Join(t.TempDir(), "lake")
			s, w := open("-r", one, "--store", store, "--publish", "100ms", "--active-timeout", "10s")
			if _, err := w.Write(data); err != nil {
				t.Fatal(err)
			}
			if len(imports(t, store)) != 0 {
				t.Error("something is visible before the end")
			}
			if end != 0 {
				code, _ := s.stop(t, end)
				if code != command.Interrupted || !strings.Contains(s.messages(), "nothing was committed") || len(imports(t, store)) != 0 {
					t.Errorf("exit code %d, imports %+v: %s", code, imports(t, store), s.messages())
				}
				w.Close()
				continue
			}
			w.Close()
			<-s.ended
			all := imports(t, store)
			if code := s.cmd.ProcessState.ExitCode(); code != 0 || len(all) != 1 || all[0].Source != "capture" ||
				all[0].Packets != uint64(first.Packets+second.Packets) {
				t.Errorf("exit code %d, imports %+v: %s", code, all, s.messages())
			}
			if n := count(t, "SELECT count(*) FROM "+parts(store)+" WHERE end_reason = 2"); n != 0 {
				t.Errorf("there are %d interim records, want none", n)
			}
		}
	})
}
