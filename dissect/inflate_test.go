// SPDX-License-Identifier: Apache-2.0

package dissect

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
)

// packers are the formats that an inflater reads.
func packers() map[string]func(w io.Writer, level int) io.WriteCloser {
	return map[string]func(w io.Writer, level int) io.WriteCloser{
		"raw":  func(w io.Writer, l int) io.WriteCloser { z, _ := flate.NewWriter(w, l); return z },
		"zlib": func(w io.Writer, l int) io.WriteCloser { z, _ := zlib.NewWriterLevel(w, l); return z },
		"gzip": func(w io.Writer, l int) io.WriteCloser {
			z, _ := gzip.NewWriterLevel(w, l)
			z.Name, z.Comment, z.Extra = "name", "comment", []byte("extra")
			return z
		},
	}
}

func pack(tb testing.TB, format string, level int, data []byte) []byte {
	tb.Helper()
	var buf bytes.Buffer
	w := packers()[format](&buf, level)
	if _, err := w.Write(data); err != nil {
		tb.Fatal(err)
	}
	if err := w.Close(); err != nil {
		tb.Fatal(err)
	}
	return buf.Bytes()
}

// inflateInputs are texts of different kinds.
func inflateInputs() map[string][]byte {
	r := rand.New(rand.NewPCG(1, 2))
	noise := make([]byte, 70000)
	for i := range noise {
		noise[i] = byte(r.Uint32())
	}
	words := make([]byte, 0, 40000)
	for range 5000 {
		words = fmt.Appendf(words, "%d %s ", r.IntN(1000), strings.Repeat("ab", r.IntN(4)))
	}
	return map[string][]byte{
		"empty": nil, "one": []byte("x"), "short": []byte("hello, hello, hello"), "noise": noise,
		"words": words, "zeros": make([]byte, 1<<20), "few": bytes.Repeat([]byte("abcabd"), 3000),
	}
}

func count(z *inflater, parts ...[]byte) int64 {
	n := int64(0)
	for _, p := range parts {
		n += z.feed(p)
	}
	return n
}

func TestInflate(t *testing.T) {
	for format := range packers() {
		for name, data := range inflateInputs() {
			for _, level := range []int{flate.NoCompression, flate.BestSpeed, flate.DefaultCompression, flate.HuffmanOnly} {
				packed := pack(t, format, level, data)
				var z inflater
				if got := count(&z, packed, []byte("trailing")); got != int64(len(data)) || z.state != inflateDone {
					t.Errorf("%s %s level %d: %d bytes in state %d, want %d in state %d",
						format, name, level, got, z.state, len(data), inflateDone)
				}
				z.reset()
				got := int64(0)
				for i := range packed {
					got += z.feed(packed[i : i+1])
				}
				if got != int64(len(data)) {
					t.Errorf("%s %s level %d: %d bytes one by one, want %d", format, name, level, got, len(data))
				}
			}
		}
	}
}

func TestInflateSplits(t *testing.T) {
	data := inflateInputs()["words"][:3000]
	for format := range packers() {
		packed := pack(t, format, flate.DefaultCompression, data)
		for i := range packed {
			var z inflater
			if got := count(&z, packed[:i], packed[i:]); got != int64(len(data)) {
				t.Fatalf("%s split at %d: %d bytes, want %d", format, i, got, len(data))
			}
		}
	}
}

// TestInflateBroken checks that what an error interrupts counts in whole pieces,
// from the beginning of the segment on.
func TestInflateBroken(t *testing.T) {
	stored := func(n int) []byte {
		return append([]byte{0, byte(n), byte(n >> 8), ^byte(n), ^byte(n >> 8)}, make([]byte, n)...)
	}
	broken := []byte{7} // a block of no type
	tests := []struct {
		name  string
		parts [][]byte
		want  int64
	}{
		{"at once", [][]byte{broken}, 0},
		{"in the first piece", [][]byte{append(stored(4000), broken...)}, 0},
		{"at the end of a piece", [][]byte{append(stored(4096), broken...)}, 4096},
		{"in the third piece", [][]byte{append(stored(10000), broken...)}, 8192},
		{"in a segment of its own", [][]byte{stored(4000), broken}, 4000},
		{"in the second segment", [][]byte{stored(4000), append(stored(5000), broken...)}, 8096},
		{"before more", [][]byte{append(stored(4096), broken...), stored(10)}, 4096},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			z := inflater{state: inflateBlock}
			if got := count(&z, tc.parts...); got != tc.want || z.state != inflateBroken {
				t.Errorf("%d bytes in state %d, want %d in state %d", got, z.state, tc.want, inflateBroken)
			}
		})
	}
}

// unpacked returns how many bytes the standard library unpacks data to, and
// whether it is a whole stream.
func unpacked(data []byte) (int64, bool) {
	n, err := io.Copy(io.Discard, io.LimitReader(flate.NewReader(bytes.NewReader(data)), 1<<20))
	return n, err == nil
}

func FuzzInflate(f *testing.F) {
	for _, data := range inflateInputs() {
		for _, level := range []int{flate.NoCompression, flate.DefaultCompression, flate.HuffmanOnly} {
			f.Add(pack(f, "raw", level, data[:min(len(data), 2000)]), uint16(7))
		}
	}
	f.Add([]byte{0x1f, 0x8b, 8, 0x1f, 0, 0, 0, 0, 0, 0, 1, 0, 'x', 'n', 0, 'c', 0, 1, 2, 3, 0}, uint16(3))
	f.Fuzz(func(t *testing.T, data []byte, at uint16) {
		// The raw stream, whatever it begins with.
		whole := inflater{state: inflateBlock}
		whole.feed(data)
		n := whole.out
		i := min(int(at), len(data))
		split := inflater{state: inflateBlock}
		count(&split, data[:i], data[i:])
		if split.out != n || split.state != whole.state {
			t.Fatalf("split at %d: %d bytes in state %d, want %d in %d", i, split.out, split.state, n, whole.state)
		}
		want, ok := unpacked(data)
		if done := whole.state == inflateDone; done != ok && want < 1<<20 || ok && n != want && want < 1<<20 {
			t.Fatalf("%d bytes, done %v; compress/flate: %d, %v", n, done, want, ok)
		}
		// With headers: only that nothing breaks, however it is cut.
		var a, b inflater
		a.feed(data)
		count(&b, data[:i], data[i:])
		if a.out != b.out {
			t.Fatalf("split at %d with headers: %d bytes, want %d", i, b.out, a.out)
		}
	})
}

func BenchmarkInflate(b *testing.B) {
	data := inflateInputs()["words"]
	packed := pack(b, "gzip", flate.DefaultCompression, data)
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	var z inflater
	for b.Loop() {
		z.reset()
		if n := z.feed(packed); n != int64(len(data)) {
			b.Fatalf("%d bytes, want %d", n, len(data))
		}
	}
}
