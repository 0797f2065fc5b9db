// SPDX-License-Identifier: Apache-2.0

package capture_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"weir/capture"
	"weir/internal/flow"
)

// spread distributes n numbered frames, a microsecond apart, over k files by
// choose, and returns the files.
func spread(t *testing.T, n, k int, choose func(i int) int) []string {
	t.Helper()
	files := make([]*pcapFile, k)
	for i := range files {
		files[i] = newPcap(1)
	}
	for i := range n {
		files[choose(i)].add(1e18+int64(i)*1000, numbered(i))
	}
	dir := t.TempDir()
	var names []string
	for i, f := range files {
		name := filepath.Join(dir, fmt.Sprintf("%03d.pcap", i))
		if err := os.WriteFile(name, f.buf, 0o600); err != nil {
			t.Fatal(err)
		}
		names = append(names, name)
	}
	return names
}

func TestMerge(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for _, tc := range []struct {
		name   string
		n, k   int
		choose func(i int) int
	}{
		{"one", 500, 1, func(int) int { return 0 }},
		{"rotated", 2000, 10, func(i int) int { return i / 200 }},
		{"rotated backwards", 2000, 10, func(i int) int { return 9 - i/200 }},
		{"alternating", 2000, 2, func(i int) int { return i % 2 }},
		{"random", 5000, 20, func(int) int { return rng.IntN(20) }},
		{"overlapping", 3000, 4, func(i int) int { return min(3, i/1000+rng.IntN(2)) }},
		{"one inside another", 2000, 2, func(i int) int {
			if i > 800 && i < 900 {
				return 1
			}
			return 0
		}},
		{"some empty", 300, 5, func(i int) int { return i % 2 * 3 }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			names := spread(t, tc.n, tc.k, tc.choose)
			for _, size := range []int{0, 700, 5000} {
				res := read(t, capture.Config{Inputs: names, BlockSize: size, Blocks: 3})
				if diff := cmp.Diff(upTo(tc.n), ports(res.packets)); diff != "" {
					t.Fatalf("block size %d: packets (-want +got):\n%s", size, diff)
				}
				for i, p := range res.packets {
					if p.Now != p.TS {
						t.Fatalf("block size %d: packet %d of %d: Now = %d, want %d", size, i, tc.n, p.Now, p.TS)
					}
				}
				total := uint64(0)
				for i, f := range res.files {
					if f.Name != names[i] || f.Truncated != nil {
						t.Errorf("file %d = %+v, want %s", i, f, names[i])
					}
					total += f.Packets
				}
				if total != uint64(tc.n) {
					t.Errorf("files have %d packets, want %d", total, tc.n)
				}
				if s := res.stats; s.Done != tc.k || s.Read != s.Total || s.Files != tc.k {
					t.Errorf("stats = %+v, want %d files done, all read", s, tc.k)
				}
			}
		})
	}
}

// Equal times: the order of the inputs.
func TestMergeTies(t *testing.T) {
	var names []string
	for i := range 3 {
		names = append(names, write(t, "x.pcap", newPcap(1).add(1e18, numbered(i)).add(1e18+1000, numbered(i+3)).buf))
	}
	res := read(t, capture.Config{Inputs: names})
	if diff := cmp.Diff(upTo(6), ports(res.packets)); diff != "" {
		t.Errorf("packets (-want +got):\n%s", diff)
	}
}

// Origins do not depend on how an input is read, and tell packets apart.
func TestOrigin(t *testing.T) {
	names := spread(t, 600, 3, func(i int) int { return i % 3 })
	alone := map[int]uint64{}
	seen := map[uint64]bool{}
	for _, name := range names {
		for _, p := range read(t, capture.Config{Inputs: []string{name}}).packets {
			alone[int(p.Sport)] = p.Origin
			seen[p.Origin] = true
		}
	}
	if len(seen) != 600 {
		t.Errorf("%d origins of 600 packets", len(seen))
	}
	for _, p := range read(t, capture.Config{Inputs: names, BlockSize: 999}).packets {
		if p.Origin != alone[int(p.Sport)] {
			t.Fatalf("Origin of packet %d is %x merged, %x alone", p.Sport, p.Origin, alone[int(p.Sport)])
		}
	}
	b, err := os.ReadFile(names[0])
	if err != nil {
		t.Fatal(err)
	}
	zipped := read(t, capture.Config{Inputs: []string{write(t, "x.gz", gz(t, b))}}).packets
	if got, want := zipped[0].Origin, alone[int(zipped[0].Sport)]; got != want {
		t.Errorf("Origin is %x compressed, %x plain", got, want)
	}
	stdin := func() uint64 {
		return read(t, capture.Config{Inputs: []string{"-"}, Stdin: bytes.NewReader(b)}).packets[0].Origin
	}
	if a, b := stdin(), stdin(); a == b {
		t.Errorf("Origin of standard input is twice %x, want random", a)
	}
}

func TestDirectory(t *testing.T) {
	names := spread(t, 100, 4, func(i int) int { return i / 25 })
	dir := filepath.Dir(names[0])
	for name, content := range map[string][]byte{
		"000.txt": []byte("no capture"), "001.idx": nil, "z/010.pcap": newPcap(1).add(1e18+100e6, numbered(100)).buf,
		"z/011.pcap.gz": gz(t, newPcap(1).add(1e18+101e6, numbered(101)).buf), "z/text.gz": gz(t, []byte("text")),
	} {
		if err := os.MkdirAll(filepath.Join(dir, "z"), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(names[0], filepath.Join(dir, "link.pcap")); err != nil {
		t.Fatal(err)
	}
	res := read(t, capture.Config{Inputs: []string{dir}})
	if diff := cmp.Diff(upTo(102), ports(res.packets)); diff != "" {
		t.Errorf("packets (-want +got):\n%s", diff)
	}
	if res.stats.Skipped != 4 || res.stats.Files != 6 {
		t.Errorf("Skipped = %d, Files = %d, want 4, 6", res.stats.Skipped, res.stats.Files)
	}
	files, skipped, err := capture.Expand([]string{dir, "-"})
	if err != nil || skipped != 4 || len(files) != 7 || !slices.IsSorted(files[:6]) || files[6] != "-" {
		t.Errorf("Expand = %q, %d, %v", files, skipped, err)
	}
}

// A damaged input does not keep the others from being read.
func TestMergeDamaged(t *testing.T) {
	names := spread(t, 400, 4, func(i int) int { return i % 4 })
	b, err := os.ReadFile(names[1])
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(names[1], b[:len(b)/2], 0o600); err != nil {
		t.Fatal(err)
	}
	res := read(t, capture.Config{Inputs: names})
	kept := int(res.files[1].Packets)
	if len(res.packets) != 300+kept || kept < 40 || res.stats.Damaged != 1 || res.files[1].Truncated == nil {
		t.Errorf("%d packets, %d of the cut file, %v", len(res.packets), kept, res.files[1].Truncated)
	}
	if !slices.IsSortedFunc(res.packets, func(a, b flow.Packet) int { return int(a.TS - b.TS) }) {
		t.Error("packets are not in the order of their times")
	}
}

// What a pipe has delivered is handed out before waiting for more.
func TestSlowPipe(t *testing.T) {
	pr, pw := io.Pipe()
	r, err := make(chan *capture.Reader), make(chan error, 1)
	go func() {
		reader, e := capture.Open(capture.Config{Inputs: []string{"-"}, Stdin: pr})
		err <- e
		r <- reader
	}()
	if _, err := pw.Write(newPcap(1).buf); err != nil {
		t.Fatal(err)
	}
	if err := <-err; err != nil {
		t.Fatal(err)
	}
	reader := <-r
	for i := range 3 {
		go func() { _, _ = pw.Write(newPcap(1).add(1e18, numbered(i)).buf[24:]) }()
		b, err := reader.Next()
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]int{i}, ports(b.Packets)); diff != "" {
			t.Errorf("block %d (-want +got):\n%s", i, diff)
		}
		b.Release()
	}
	if err := pw.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := reader.Next(); !errors.Is(err, io.EOF) {
		t.Errorf("Next = %v, want EOF", err)
	}
}

// A failing read is an error, not a cut capture.
func TestReadError(t *testing.T) {
	f := newPcap(1)
	for i := range 100 {
		f.add(1e18, numbered(i))
	}
	broken := errors.New("broken disk")
	for _, content := range [][]byte{f.buf, gz(t, f.buf)} {
		stdin := io.MultiReader(bytes.NewReader(content[:len(content)/2]), errReader{broken})
		_, err := readErr(t, capture.Config{Inputs: []string{"-"}, Stdin: stdin})
		if !errors.Is(err, broken) {
			t.Errorf("error = %v, want %v", err, broken)
		}
	}
}

type errReader struct{ err error }

func (r errReader) Read([]byte) (int, error) { return 0, r.err }

// Blocks come back only when the last holder has released them, and Close wakes
// a reader that waits for one.
func TestBlocks(t *testing.T) {
	f := newPcap(1)
	for i := range 3000 {
		f.add(1e18, numbered(i))
	}
	r, err := capture.Open(capture.Config{
		Inputs: []string{"-"}, Stdin: bytes.NewReader(f.buf), BlockSize: 4096, Blocks: 2,
	})
	if err != nil {
		t.Fatal(err)
	}
	a, err := r.Next()
	if err != nil {
		t.Fatal(err)
	}
	a.Hold(1)
	b, err := r.Next()
	if err != nil {
		t.Fatal(err)
	}
	type got struct {
		b   *capture.Block
		err error
	}
	next := func() chan got {
		c := make(chan got, 1)
		go func() {
			b, err := r.Next()
			c <- got{b, err}
		}()
		return c
	}
	c := next()
	a.Release()
	select {
	case <-c:
		t.Fatal("Next returned a block although all are held")
	case <-time.After(20 * time.Millisecond):
	}
	a.Release()
	if g := <-c; g.b != a || g.err != nil {
		t.Fatalf("Next = %p, %v, want the released block %p", g.b, g.err, a)
	}
	c = next()
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if g := <-c; !errors.Is(g.err, capture.ErrClosed) {
		t.Errorf("Next after Close = %v, want ErrClosed", g.err)
	}
	b.Release()
	if _, err := r.Next(); !errors.Is(err, capture.ErrClosed) {
		t.Errorf("Next after Close = %v, want ErrClosed", err)
	}
}
