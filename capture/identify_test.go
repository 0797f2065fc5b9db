// SPDX-License-Identifier: Apache-2.0

package capture_test

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/zeebo/xxh3"

	"weir/capture"
)

func TestIdentify(t *testing.T) {
	f := newPcap(1)
	for i := 0; len(f.buf) < 3*capture.HeadSize; i++ {
		f.add(1e18, numbered(i))
	}
	sum := func(b []byte) [16]byte { return xxh3.Hash128(b).Bytes() }
	for _, size := range []int{24, 1000, capture.HeadSize - 1, capture.HeadSize, capture.HeadSize + 1, len(f.buf)} {
		content := f.buf[:size]
		head := content[:min(size, capture.HeadSize)]
		for name, stored := range map[string][]byte{"x": content, "x.gz": gz(t, content), "x.zst": zst(t, content)} {
			path := write(t, name, stored)
			for _, prefix := range []int64{0, 1, 24, 999, int64(size), int64(size) + 1} {
				id, err := capture.Identify(path, prefix)
				if err != nil {
					t.Fatal(err)
				}
				want := capture.Identity{
					Head: sum(head), HeadLen: len(head), Size: int64(size), Sum: sum(content), Whole: true,
				}
				if prefix > 0 && prefix <= int64(size) {
					want.Prefix, want.HasPrefix = sum(content[:prefix]), true
				}
				if id != want {
					t.Errorf("Identify(%s of %d bytes, %d) = %+v, want %+v", name, size, prefix, id, want)
				}
			}
			id, err := capture.IdentifyHead(path)
			if err != nil {
				t.Fatal(err)
			}
			if id.Head != sum(head) || id.HeadLen != len(head) {
				t.Errorf("IdentifyHead(%s of %d bytes) = %+v, want head %x of %d", name, size, id, sum(head), len(head))
			}
			if id.Whole != (size <= capture.HeadSize) || id.Whole && (id.Sum != sum(content) || id.Size != int64(size)) {
				t.Errorf("IdentifyHead(%s of %d bytes) = %+v, want the sum where that is all", name, size, id)
			}
			file := read(t, capture.Config{Inputs: []string{path}}).files[0]
			if file.Sum != sum(content) || file.Head != sum(head) || file.HeadLen != len(head) || file.Size != int64(size) {
				t.Errorf("reading %s of %d bytes: %+v, want the same hashes", name, size, file)
			}
		}
	}
	if _, err := capture.Identify("/nowhere/x", 0); err == nil {
		t.Error("Identify of a missing file works")
	}
}

func TestDuplicates(t *testing.T) {
	f := newPcap(1)
	for i := 0; len(f.buf) < 2*capture.HeadSize; i++ {
		f.add(1e18, numbered(i))
	}
	long := f.buf
	changed := slices.Clone(long)
	changed[len(changed)-1]++
	short := newPcap(1).add(1e18, numbered(0)).buf
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	for name, content := range map[string][]byte{
		"long": long, "copy": long, "long.gz": gz(t, long), "long.zst": zst(t, long),
		"changed": changed, "longer": append(slices.Clone(long), 0), "head": long[:capture.HeadSize],
		"short": short, "short.gz": gz(t, short), "shorter": short[:len(short)-1],
	} {
		if err := os.WriteFile(path(name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(path("long"), path("link")); err != nil {
		t.Fatal(err)
	}
	fifo := mkfifo(t)
	for _, tc := range []struct {
		names []string
		want  map[int]int
	}{
		{names: nil, want: map[int]int{}},
		{names: []string{"long"}, want: map[int]int{}},
		{names: []string{"long", "long"}, want: map[int]int{1: 0}},
		{names: []string{"long", "link", "copy"}, want: map[int]int{1: 0, 2: 0}},
		{names: []string{"short", "long.gz", "long", "long.zst"}, want: map[int]int{2: 1, 3: 1}},
		{names: []string{"long", "changed", "longer", "head"}, want: map[int]int{}},
		{names: []string{"changed", "long", "longer", "copy", "changed"}, want: map[int]int{3: 1, 4: 0}},
		{names: []string{"short.gz", "shorter", "short"}, want: map[int]int{2: 0}},
		{names: []string{"-", fifo, "-", fifo, "short"}, want: map[int]int{}},
	} {
		names := slices.Clone(tc.names)
		for i, name := range names {
			if name != "-" && !filepath.IsAbs(name) {
				names[i] = path(name)
			}
		}
		got, err := capture.Duplicates(names)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(tc.want, got); diff != "" {
			t.Errorf("Duplicates(%q) (-want +got):\n%s", tc.names, diff)
		}
	}
	if _, err := capture.Duplicates([]string{path("long"), path("none")}); !os.IsNotExist(err) {
		t.Errorf("Duplicates of a missing file: %v, want that it does not exist", err)
	}
}

// A directory may be named by a link; links in it are left out, and so are loops.
func TestExpandLink(t *testing.T) {
	dir := t.TempDir()
	sub := filepath.Join(dir, "real", "sub")
	if err := os.MkdirAll(sub, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(sub, "x.pcap"), newPcap(1).add(1e18, numbered(0)).buf, 0o600); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(dir, "link")
	for from, to := range map[string]string{
		link: "real", filepath.Join(sub, "loop"): dir, filepath.Join(sub, "y.pcap"): "x.pcap",
	} {
		if err := os.Symlink(to, from); err != nil {
			t.Fatal(err)
		}
	}
	want := []string{filepath.Join(link, "sub", "x.pcap")}
	for _, in := range []string{link, link + "/", link + "/../link"} {
		files, skipped, err := capture.Expand([]string{in})
		for i := range files {
			files[i] = filepath.Clean(files[i])
		}
		if diff := cmp.Diff(want, files); diff != "" || skipped != 2 || err != nil {
			t.Errorf("Expand(%q) skips %d, %v, want 2 (-want +got):\n%s", in, skipped, err, diff)
		}
	}
	t.Chdir(filepath.Join(dir, "real"))
	files, _, err := capture.Expand([]string{"."})
	if diff := cmp.Diff([]string{"sub/x.pcap"}, files); diff != "" || err != nil {
		t.Errorf("Expand(.): %v (-want +got):\n%s", err, diff)
	}
}
