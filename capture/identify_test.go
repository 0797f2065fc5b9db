// SPDX-License-Identifier: Apache-2.0

package capture_test

import (
	"testing"

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
