// SPDX-License-Identifier: Apache-2.0

package capture_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"weir/capture"
)

func mkfifo(t *testing.T) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "fifo")
	if err := syscall.Mkfifo(name, 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// writer opens a fifo that somebody reads, or is about to.
func writer(t *testing.T, name string) *os.File {
	t.Helper()
	for range 500 {
		// Without waiting in open, where a failing test would stay.
		f, err := os.OpenFile(name, os.O_WRONLY|syscall.O_NONBLOCK, 0)
		if err == nil {
			return f
		}
		if !errors.Is(err, syscall.ENXIO) {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatal("nobody reads the fifo")
	return nil
}

// within calls f, which must return soon.
func within(t *testing.T, what string, f func() error) error {
	t.Helper()
	c := make(chan error, 1)
	go func() { c <- f() }()
	select {
	case err := <-c:
		return err
	case <-time.After(10 * time.Second):
		t.Fatalf("%s does not return", what)
		return nil
	}
}

// opened opens a fifo while somebody writes content into it.
func opened(ctx context.Context, t *testing.T, name string, content []byte) (*capture.Reader, *os.File) {
	t.Helper()
	var r *capture.Reader
	c := make(chan error, 1)
	go func() {
		var err error
		r, err = capture.Open(capture.Config{Inputs: []string{name}, Context: ctx})
		c <- err
	}()
	w := writer(t, name)
	if _, err := w.Write(content); err != nil {
		t.Fatal(err)
	}
	if err := within(t, "Open", func() error { return <-c }); err != nil {
		t.Fatal(err)
	}
	return r, w
}

func TestFifo(t *testing.T) {
	f := newPcap(1)
	for i := range 500 {
		f.add(1e18, numbered(i))
	}
	for name, content := range map[string][]byte{"plain": f.buf, "gzip": gz(t, f.buf), "zstd": zst(t, f.buf)} {
		t.Run(name, func(t *testing.T) {
			fifo := mkfifo(t)
			written := make(chan error, 1)
			go func() {
				time.Sleep(30 * time.Millisecond) // the reader is there first
				w, err := os.OpenFile(fifo, os.O_WRONLY, 0)
				for b := content; err == nil && len(b) > 0; {
					n := min(len(b), 5000)
					_, err = w.Write(b[:n])
					b = b[n:]
				}
				written <- errors.Join(err, w.Close())
			}()
			res := read(t, capture.Config{Inputs: []string{fifo}})
			if diff := cmp.Diff(upTo(500), ports(res.packets)); diff != "" {
				t.Errorf("packets (-want +got):\n%s", diff)
			}
			if res.files[0].Truncated != nil {
				t.Errorf("Truncated = %v, want nil", res.files[0].Truncated)
			}
			if err := <-written; err != nil {
				t.Error(err)
			}
		})
	}
}

// A writer that writes nothing leaves an empty file.
func TestFifoEmpty(t *testing.T) {
	fifo := mkfifo(t)
	c := make(chan error, 1)
	go func() {
		_, err := capture.Open(capture.Config{Inputs: []string{fifo}})
		c <- err
	}()
	if err := writer(t, fifo).Close(); err != nil {
		t.Fatal(err)
	}
	err := within(t, "Open", func() error { return <-c })
	if err == nil || !strings.Contains(err.Error(), "empty file") {
		t.Errorf("Open = %v, want an empty file", err)
	}
}

// A pipe whose writer is gone before it is opened, as the shell makes them.
func TestPipeByName(t *testing.T) {
	for _, content := range [][]byte{nil, newPcap(1).add(1e18, numbered(0)).buf} {
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = r.Close() }()
		if _, err := w.Write(content); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		conn, err := r.SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		name := ""
		if err := conn.Control(func(fd uintptr) { name = fmt.Sprintf("/dev/fd/%d", fd) }); err != nil {
			t.Fatal(err)
		}
		packets := 0
		err = within(t, "reading", func() error {
			res, err := readErr(t, capture.Config{Inputs: []string{name}})
			packets = len(res.packets)
			return err
		})
		if empty := err != nil && strings.Contains(err.Error(), "empty file"); empty != (content == nil) ||
			packets != min(1, len(content)) {
			t.Errorf("reading %d bytes: %d packets, %v", len(content), packets, err)
		}
	}
}

func TestInterrupt(t *testing.T) {
	t.Run("no writer", func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
		defer cancel()
		fifo := mkfifo(t)
		err := within(t, "Open", func() error {
			_, err := capture.Open(capture.Config{Inputs: []string{fifo}, Context: ctx})
			return err
		})
		if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), fifo) {
			t.Errorf("Open = %v, want %v of %s", err, context.DeadlineExceeded, fifo)
		}
	})
	t.Run("silent writer", func(t *testing.T) {
		fifo := mkfifo(t)
		ctx, cancel := context.WithCancel(t.Context())
		c := make(chan error, 1)
		go func() {
			_, err := capture.Open(capture.Config{Inputs: []string{fifo}, Context: ctx})
			c <- err
		}()
		w := writer(t, fifo)
		defer w.Close()
		time.AfterFunc(30*time.Millisecond, cancel)
		err := within(t, "Open", func() error { return <-c })
		if !errors.Is(err, context.Canceled) {
			t.Errorf("Open = %v, want %v", err, context.Canceled)
		}
	})
	// A cause does not hide what the context's error is.
	ctx, cancel := context.WithCancelCause(t.Context())
	for _, tc := range []struct {
		name string
		ctx  context.Context
		stop func(r *capture.Reader) error
		want error
	}{
		{"context", ctx, func(*capture.Reader) error { cancel(errors.New("signal")); return nil }, context.Canceled},
		{"Close", nil, (*capture.Reader).Close, capture.ErrClosed},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r, w := opened(tc.ctx, t, mkfifo(t), newPcap(1).add(1e18, numbered(0)).buf)
			defer w.Close()
			b, err := r.Next()
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(upTo(1), ports(b.Packets)); diff != "" {
				t.Errorf("packets (-want +got):\n%s", diff)
			}
			b.Release()
			c := make(chan error, 1)
			go func() {
				_, err := r.Next()
				c <- err
			}()
			time.Sleep(30 * time.Millisecond)
			if err := tc.stop(r); err != nil {
				t.Fatal(err)
			}
			if err := within(t, "Next", func() error { return <-c }); !errors.Is(err, tc.want) {
				t.Errorf("Next = %v, want %v", err, tc.want)
			}
			if err := r.Close(); err != nil {
				t.Errorf("Close = %v", err)
			}
			// The fifo is closed: nobody reads what is written now.
			if _, err := w.Write([]byte{0}); !errors.Is(err, syscall.EPIPE) {
				t.Errorf("Write = %v, want %v", err, syscall.EPIPE)
			}
		})
	}
	t.Run("regular file", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		r, err := capture.Open(capture.Config{
			Inputs: []string{write(t, "x", newPcap(1).add(1e18, numbered(0)).buf)}, Context: ctx,
		})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = r.Close() }()
		cancel()
		if _, err := r.Next(); !errors.Is(err, context.Canceled) || errors.Is(err, io.EOF) {
			t.Errorf("Next = %v, want %v", err, context.Canceled)
		}
	})
}

// Identifying a fifo would take from it what is to be read.
func TestIdentifyFifo(t *testing.T) {
	fifo := mkfifo(t)
	if err := within(t, "Identify", func() error {
		for _, identify := range []func() (capture.Identity, error){
			func() (capture.Identity, error) { return capture.IdentifyHead(fifo) },
			func() (capture.Identity, error) { return capture.Identify(fifo, 10) },
		} {
			if id, err := identify(); id != (capture.Identity{}) || err != nil {
				return fmt.Errorf("identity %+v, %w", id, err)
			}
		}
		return nil
	}); err != nil {
		t.Errorf("%v, want the zero identity", err)
	}
}

// Stop ends the reading of what waits for a writer, and keeps what was read, even
// where it ends within a record.
func TestStop(t *testing.T) {
	f := newPcap(1)
	for i := range 500 {
		f.add(1e18, numbered(i))
	}
	sources := map[string]func(t *testing.T, content []byte) *capture.Reader{
		"fifo": func(t *testing.T, content []byte) *capture.Reader {
			r, w := opened(t.Context(), t, mkfifo(t), content)
			// Unreachable, it would be closed by the collector.
			t.Cleanup(func() { w.Close() })
			return r
		},
		"stdin": func(t *testing.T, content []byte) *capture.Reader {
			pr, pw, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { pw.Close(); pr.Close() })
			if _, err := pw.Write(content); err != nil {
				t.Fatal(err)
			}
			r, err := capture.Open(capture.Config{Inputs: []string{"-"}, Stdin: pr})
			if err != nil {
				t.Fatal(err)
			}
			return r
		},
	}
	for name, open := range sources {
		for cut, rest := range map[string]int{"between records": 0, "in a record": 30} {
			t.Run(name+" "+cut, func(t *testing.T) {
				r := open(t, f.buf[:len(f.buf)-rest])
				defer r.Close()
				want := 500
				if rest > 0 {
					want--
				}
				var got int
				next := make(chan error, 1)
				go func() {
					for {
						b, err := r.Next()
						if err != nil {
							next <- err
							return
						}
						got += len(b.Packets)
						b.Release()
					}
				}()
				for end := time.Now().Add(5 * time.Second); r.Stats().Packets < uint64(want) && time.Now().Before(end); {
					time.Sleep(time.Millisecond)
				}
				r.Stop()
				if err := within(t, "Next", func() error { return <-next }); !errors.Is(err, io.EOF) {
					t.Errorf("Next = %v, want io.EOF", err)
				}
				if got != want {
					t.Errorf("%d packets, want %d", got, want)
				}
				if d := r.Files()[0].Truncated; d != nil || r.Stats().Damaged != 0 {
					t.Errorf("Truncated = %v, want nil", d)
				}
			})
		}
	}
}

// Close does not wait for a read of standard input.
func TestCloseStdin(t *testing.T) {
	f := newPcap(1)
	f.add(1e18, numbered(1))
	pr, pw := io.Pipe()
	defer pw.Close()
	go func() { _, _ = pw.Write(f.buf) }()
	r, err := capture.Open(capture.Config{Inputs: []string{"-"}, Stdin: pr})
	if err != nil {
		t.Fatal(err)
	}
	b, err := r.Next()
	if err != nil {
		t.Fatal(err)
	}
	b.Release()
	next := make(chan error, 1)
	go func() {
		_, err := r.Next()
		next <- err
	}()
	time.Sleep(20 * time.Millisecond)
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	if err := within(t, "Next", func() error { return <-next }); !errors.Is(err, capture.ErrClosed) {
		t.Errorf("Next = %v, want ErrClosed", err)
	}
}
