// SPDX-License-Identifier: Apache-2.0

package lake

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/zeebo/xxh3"
)

// What protects a part. Pages are Zstandard frames with checksums, levels
// included, so whoever decompresses one notices damage. Nothing in Parquet
// protects what describes the pages, and there a flipped bit can silently give
// other values: so the manifest has a sum of the file's end, which is the page
// index and the metadata, and one of the headers of all pages.
const (
	// wholeBytes is up to which size it is cheaper to sum the whole file.
	wholeBytes = 256 << 10
	// headerBytes is more than the header of any page has.
	headerBytes = 128
)

// DamagedError says that a file of the store is not what was written.
type DamagedError struct {
	// Path is relative to the store.
	Path   string
	Reason string
}

// Error implements error.
func (e *DamagedError) Error() string {
	return fmt.Sprintf("%s is damaged: %s (flowcli check says what else is)", e.Path, e.Reason)
}

// formatSum returns the text of a 64-bit sum.
func formatSum(sum uint64) string { return fmt.Sprintf("%016x", sum) }

// errHeader says that what should be the header of a page is none.
var errHeader = errors.New("not the header of a page")

// pageHeader reads the header of a page: the length of it, and of the page
// behind it.
func pageHeader(b []byte) (header, page int64, err error) {
	d := compact{b: b}
	var size uint64
	d.fields(0, func(id int16, typ byte) bool {
		if id == 3 && typ == 5 { // compressed_page_size, i32
			v := d.uvarint()
			size = v>>1 ^ -(v & 1)
			return true
		}
		return false
	})
	if d.bad || size > 1<<31-1 {
		return 0, 0, errHeader
	}
	return int64(d.at), int64(size), nil
}

// compact walks through a struct in Thrift's compact protocol.
type compact struct {
	b   []byte
	at  int
	bad bool
}

func (d *compact) byte() byte {
	if d.at >= len(d.b) {
		d.bad = true
		return 0
	}
	d.at++
	return d.b[d.at-1]
}

func (d *compact) uvarint() uint64 {
	v, n := binary.Uvarint(d.b[min(d.at, len(d.b)):])
	if n <= 0 {
		d.bad = true
		return 0
	}
	d.at += n
	return v
}

// fields walks through the fields of a struct; value reads those that it wants.
func (d *compact) fields(depth int, value func(id int16, typ byte) bool) {
	var id int16
	for !d.bad {
		b := d.byte()
		typ := b & 15
		if typ == 0 {
			return
		}
		if delta := b >> 4; delta != 0 {
			id += int16(delta)
		} else {
			v := d.uvarint()
			id = int16(v>>1 ^ -(v & 1))
		}
		if value == nil || !value(id, typ) {
			d.skip(typ, depth)
		}
	}
}

// skip passes over a value. Headers of pages without bounds hold numbers and
// structs of these only.
func (d *compact) skip(typ byte, depth int) {
	switch typ {
	case 1, 2: // true, false
	case 3: // byte
		d.byte()
	case 4, 5, 6: // i16, i32, i64
		d.uvarint()
	case 12: // struct
		if depth > 3 {
			d.bad = true
			return
		}
		d.fields(depth+1, nil)
	default:
		d.bad = true
	}
}

// sumHeaders returns the sum of the headers of all pages: those from behind the
// magic number at the beginning to end.
func sumHeaders(r io.ReaderAt, end int64) (string, error) {
	var h xxh3.Hasher
	var buf [headerBytes]byte
	at := int64(4)
	for at < end {
		b := buf[:min(headerBytes, end-at)]
		if _, err := r.ReadAt(b, at); err != nil {
			return "", err
		}
		header, page, err := pageHeader(b)
		if err != nil {
			return "", fmt.Errorf("at byte %d: %w", at, err)
		}
		_, _ = h.Write(b[:header]) // never fails
		at += header + page
	}
	if at != end {
		return "", fmt.Errorf("pages end at byte %d, not %d", at, end)
	}
	return formatSum(h.Sum64()), nil
}

// VerifyPart finds out whether the file of a part of the store at root can be
// believed: its size, and what describes its content. Damage of the content
// itself is noticed when it is read. A damaged part is a *DamagedError, a
// missing one an fs.ErrNotExist.
//
// It reads small files whole, of large ones the end and the header of each page.
func VerifyPart(root string, p *Part) error { return verifyFile(context.Background(), root, p, false) }

// VerifyWhole is VerifyPart for all of the file.
func VerifyWhole(ctx context.Context, root string, p *Part) error {
	return verifyFile(ctx, root, p, true)
}

func verifyFile(ctx context.Context, root string, p *Part, whole bool) error {
	f, err := os.Open(filepath.Join(root, filepath.FromSlash(p.Path)))
	if err != nil {
		return fmt.Errorf("verify part: %w", err)
	}
	defer func() { _ = f.Close() }()
	st, err := f.Stat()
	if err != nil {
		return fmt.Errorf("verify part: %w", err)
	}
	if st.Size() != p.Bytes {
		return &DamagedError{p.Path, fmt.Sprintf("it has %d bytes, not %d", st.Size(), p.Bytes)}
	}
	var reason string
	if whole || p.Bytes <= wholeBytes {
		reason, err = p.verifyWhole(ctx, f)
	} else {
		reason, err = p.verifyFrame(f)
	}
	if err != nil {
		return fmt.Errorf("verify part %s: %w", p.Path, err)
	}
	if reason != "" {
		return &DamagedError{p.Path, reason}
	}
	return nil
}

// verifyWhole compares the sum of a file with that in the manifest, and returns
// what is wrong.
func (p *Part) verifyWhole(ctx context.Context, r io.Reader) (reason string, err error) {
	var h xxh3.Hasher
	buf := make([]byte, min(p.Bytes+1, wholeBytes))
	for {
		n, err := r.Read(buf)
		_, _ = h.Write(buf[:n]) // never fails
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return "", err
		}
		if err := ctx.Err(); err != nil {
			return "", err
		}
	}
	if got := formatSum(h.Sum64()); got != p.Sum {
		return fmt.Sprintf("its sum is %s, not %s", got, p.Sum), nil
	}
	return "", nil
}

// verifyFrame compares what describes the pages, and returns what is wrong.
func (p *Part) verifyFrame(r io.ReaderAt) (reason string, err error) {
	if p.Footer <= 0 || p.Footer > p.Bytes {
		// Written by a version that did not sum the two apart.
		return "", nil
	}
	end := make([]byte, p.Footer)
	if _, err := r.ReadAt(end, p.Bytes-p.Footer); err != nil {
		return "", err
	}
	if got := formatSum(xxh3.Hash(end)); got != p.FooterSum {
		return fmt.Sprintf("the sum of its end is %s, not %s", got, p.FooterSum), nil
	}
	got, err := sumHeaders(r, p.Bytes-p.Footer)
	if pe := new(os.PathError); errors.As(err, &pe) {
		return "", err
	}
	if err != nil {
		return err.Error(), nil
	}
	if got != p.PageSum {
		return fmt.Sprintf("the sum of its pages' headers is %s, not %s", got, p.PageSum), nil
	}
	return "", nil
}
