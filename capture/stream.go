// SPDX-License-Identifier: Apache-2.0

package capture

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/zeebo/xxh3"
)

const (
	// readSize is how much is asked of a file at a time: what was read is
	// hashed while it is still in the cache.
	readSize = 256 << 10
	// maxWindow bounds what a zstd frame may make the decoder allocate. It
	// covers all levels of the zstd command but the two highest "ultra" ones.
	maxWindow = 32 << 20
)

// rawReader counts the bytes of a file and remembers why reading it failed, to
// tell a failing disk from damaged content.
type rawReader struct {
	r   io.Reader
	n   int64
	err error // never io.EOF
}

func (r *rawReader) Read(p []byte) (int, error) {
	n, err := r.r.Read(p)
	r.n += int64(n)
	if err != nil && !errors.Is(err, io.EOF) {
		r.err = err
	}
	return n, err
}

// stream is the decompressed content of an input. It hashes what is read.
type stream struct {
	raw   rawReader
	rd    io.Reader
	close func() error
	// stored is the size of the file as it is stored, 0 if unknown; regular is
	// set for regular files.
	stored  int64
	regular bool
	packed  string // "gzip", "zstd" or ""

	size    int64 // bytes read so far
	sum     *xxh3.Hasher128
	headSum *xxh3.Hasher128 // nil once the head is complete
	head    [16]byte
	headLen int
}

// openStream opens a file, or stdin for "-". Reads of what is not a regular file
// end when the life is over.
func openStream(l life, name string, stdin io.Reader) (*stream, error) {
	s := &stream{sum: xxh3.New128(), headSum: xxh3.New128()}
	if name == "-" {
		p := newPump(l, stdin)
		s.raw.r, s.close = p, p.Close
		return s, s.detect(name, nil)
	}
	f, err := openFile(name)
	if err != nil {
		return nil, err
	}
	s.raw.r, s.close = f, f.Close
	info, err := f.Stat()
	if err == nil && info.IsDir() {
		err = fmt.Errorf("open %s: is a directory", name)
	}
	if err == nil {
		if s.regular = info.Mode().IsRegular(); s.regular {
			s.stored = info.Size()
		} else {
			var w *waiting
			if w, err = newWaiting(l, f, info.Mode()&os.ModeNamedPipe != 0); err == nil {
				s.raw.r, s.close = w, w.Close
			}
		}
	}
	if err == nil {
		err = s.detect(name, f)
	}
	if err != nil {
		return nil, errors.Join(err, s.close())
	}
	return s, nil
}

// detect looks at the first bytes and puts a decompressor in front where they
// tell of one. file is nil for what cannot seek.
func (s *stream) detect(name string, file *os.File) error {
	magic := make([]byte, 4)
	n, err := io.ReadFull(&s.raw, magic)
	if err != nil && s.raw.err != nil {
		return fmt.Errorf("read %s: %w", name, s.raw.err)
	}
	magic = magic[:n]
	if s.regular && file != nil {
		// Reads stay aligned to pages when they start at the beginning.
		if _, err := file.Seek(0, io.SeekStart); err != nil {
			return err
		}
		s.raw.n = 0
		s.rd = &s.raw
	} else {
		s.rd = io.MultiReader(bytes.NewReader(magic), &s.raw)
	}
	switch {
	case bytes.HasPrefix(magic, []byte{0x1f, 0x8b}):
		s.packed = "gzip"
		s.rd = &lazyGzip{r: s.rd}
	case len(magic) == 4 && bytes.Equal(magic, []byte{0x28, 0xb5, 0x2f, 0xfd}),
		len(magic) == 4 && magic[0]&0xf0 == 0x50 && bytes.Equal(magic[1:], []byte{0x2a, 0x4d, 0x18}):
		s.packed = "zstd"
		// One goroutine, the caller's: reading several files must not start a
		// pool of decoders each.
		zr, err := zstd.NewReader(s.rd, zstd.WithDecoderConcurrency(1),
			zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(maxWindow))
		if err != nil {
			return err
		}
		s.rd = zr
		closeFile := s.close
		s.close = func() error {
			zr.Close()
			return closeFile()
		}
	}
	return nil
}

// lazyGzip starts to decompress with the first Read, so that a file that is cut
// inside the gzip header fails there like one that is cut later.
type lazyGzip struct {
	r io.Reader
	z *gzip.Reader
}

func (l *lazyGzip) Read(p []byte) (int, error) {
	if l.z == nil {
		z, err := gzip.NewReader(l.r)
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			return 0, err
		}
		l.z = z
	}
	return l.z.Read(p)
}

// Read reads and hashes. At the end it returns io.EOF alone, without bytes.
func (s *stream) Read(p []byte) (int, error) {
	if len(p) > readSize {
		p = p[:readSize]
	}
	n, err := s.rd.Read(p)
	if n > 0 {
		if s.headSum != nil {
			s.addHead(p[:n])
		}
		_, _ = s.sum.Write(p[:n])
		s.size += int64(n)
		if errors.Is(err, io.EOF) {
			err = nil
		}
	}
	return n, err
}

func (s *stream) addHead(p []byte) {
	n := min(len(p), HeadSize-s.headLen)
	_, _ = s.headSum.Write(p[:n])
	s.headLen += n
	s.head = s.headSum.Sum128().Bytes()
	if s.headLen == HeadSize {
		s.headSum = nil
	}
}
