// SPDX-License-Identifier: Apache-2.0

package lake

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"github.com/parquet-go/parquet-go"
	"github.com/zeebo/xxh3"
)

// errUnfit marks why a part cannot be read, as opposed to why the store cannot
// be changed: such a part is left alone.
var errUnfit = errors.New("the part is unfit")

// ErrDamaged says that a part cannot be read and never will be: its file is not
// what was written, or is gone.
var ErrDamaged = errors.New("the part is damaged")

// unfitError says what is wrong with a part. It is errUnfit, and ErrDamaged
// unless another program or user can read the part.
type unfitError struct {
	path string
	err  error
}

func (e *unfitError) Error() string {
	return fmt.Sprintf("read %s: %v: %v", e.path, errUnfit, e.err)
}

func (e *unfitError) Unwrap() error { return e.err }

func (e *unfitError) Is(target error) bool {
	switch target {
	case errUnfit:
		return true
	case ErrDamaged:
		return !errors.Is(e.err, fs.ErrPermission) && !errors.Is(e.err, ErrNewerFormat)
	}
	return false
}

// unfit says what is wrong with a part.
func unfit(p *Part, format string, args ...any) error {
	return &unfitError{p.Path, fmt.Errorf(format, args...)}
}

// unfitParts remembers parts that cannot be read, so that they are not read
// again and again. It holds no more than maxUnfit, and then forgets.
type unfitParts struct {
	mu    sync.Mutex // guards paths
	paths map[string]error
}

const maxUnfit = 10_000

func (u *unfitParts) add(path string, err error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.paths == nil || len(u.paths) >= maxUnfit {
		u.paths = make(map[string]error)
	}
	u.paths[path] = err
}

func (u *unfitParts) has(path string) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.paths[path] != nil
}

// partReader reads the parts of one table, one after the other, column by
// column. Small files it holds in memory: what was checked is what is read. The
// zero value is not ready; table must be set. It is for one goroutine.
type partReader struct {
	table   *Table
	columns []int // positions of the columns that are read, all if nil

	keep    int64  // size up to which a file is held in memory
	data    []byte // the file, or what is read of it; reused
	part    *Part
	sum     xxh3.Hasher
	disk    *os.File // the file if it is not held in memory
	file    *parquet.File
	leaves  []int // of the columns read, -1 where the part has none
	group   int   // the next row group
	left    int64 // rows of the row group
	at      int64 // the row of the group that the chunk begins with
	last    int64 // rows of the chunk
	scans   []columnScan
	missing []parquet.Value // scratch space
}

// maxFile bounds the files that are read. Parts end at partBytes and a row
// group more.
const maxFile = 4 * partBytes

// open reads a part's file and checks that it is what the manifest says. Errors
// wrap errUnfit where the part is to blame.
func (r *partReader) open(ctx context.Context, root string, p *Part) error {
	r.close()
	in, err := r.load(ctx, root, p)
	if err != nil {
		return err
	}
	r.part = p
	return r.guard(func() error {
		f, err := parquet.OpenFile(in, p.Bytes, parquet.SkipPageIndex(true), parquet.SkipBloomFilters(true),
			parquet.ReadBufferSize(diskBuffer))
		if err != nil {
			return err
		}
		if f.NumRows() != p.Rows {
			return fmt.Errorf("it has %d rows, not %d", f.NumRows(), p.Rows)
		}
		r.file = f
		return r.match()
	})
}

// diskBuffer is what is read at once of each column of a file that is not held
// in memory.
const diskBuffer = 16 << 10

// loadChunk is what is read at once of a file that is summed.
const loadChunk = 1 << 20

// load checks the file and returns what to read it from: memory, where it is
// small.
func (r *partReader) load(ctx context.Context, root string, p *Part) (in io.ReaderAt, err error) {
	f, err := os.Open(filepath.Join(root, filepath.FromSlash(p.Path)))
	if missing(err) || errors.Is(err, fs.ErrPermission) {
		return nil, unfit(p, "%w", err)
	}
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil || in != io.ReaderAt(f) {
			_ = f.Close() // nothing was written
		}
	}()
	info, err := f.Stat()
	switch {
	case err != nil:
		return nil, unfit(p, "%w", err)
	case info.Size() != p.Bytes:
		return nil, unfit(p, "it has %d bytes, not %d", info.Size(), p.Bytes)
	case p.Bytes > maxFile:
		return nil, unfit(p, "it has %d bytes, more than %d", p.Bytes, int64(maxFile))
	}
	held := p.Bytes <= r.keep
	size := p.Bytes
	if !held {
		size = loadChunk
	}
	r.data = slices.Grow(r.data[:0], int(size))[:size]
	r.sum.Reset()
	for at := int64(0); at < p.Bytes; {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		b := r.data[:min(loadChunk, p.Bytes-at)]
		if held {
			b = r.data[at:min(at+loadChunk, p.Bytes)]
		}
		if _, err := io.ReadFull(f, b); err != nil {
			return nil, unfit(p, "%w", err)
		}
		_, _ = r.sum.Write(b) // never fails
		at += int64(len(b))
	}
	if sum := formatSum(r.sum.Sum64()); sum != p.Sum {
		return nil, unfit(p, "its checksum is %s, not %s", sum, p.Sum)
	}
	if held {
		return bytes.NewReader(r.data), nil
	}
	r.disk = f
	return f, nil
}

// guard runs fn, whose errors are the part's fault. The Parquet library panics
// on some malformed files.
func (r *partReader) guard(fn func() error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = unfit(r.part, "malformed: %v", v)
		}
	}()
	if err := fn(); err != nil {
		return unfit(r.part, "%w", err)
	}
	return nil
}

// match finds the table's columns in the file. One that is missing was added
// to the table later; one that the table lacks was written by a later version.
func (r *partReader) match() error {
	schema := r.file.Schema()
	leaves := make(map[string]parquet.LeafColumn)
	for _, path := range schema.Columns() {
		leaf, ok := schema.Lookup(path...)
		if _, twice := leaves[path[0]]; !ok || twice {
			return fmt.Errorf("column %s is none of ours", path[0])
		}
		leaves[path[0]] = leaf
	}
	for name := range leaves {
		if !slices.ContainsFunc(r.table.Columns, func(c Column) bool { return c.Name == name }) {
			return fmt.Errorf("%w: column %s is not known", ErrNewerFormat, name)
		}
	}
	if r.columns == nil {
		for i := range r.table.Columns {
			r.columns = append(r.columns, i)
		}
	}
	r.leaves = r.leaves[:0]
	for _, i := range r.columns {
		c := &r.table.Columns[i]
		leaf, ok := leaves[c.Name]
		if !ok {
			r.leaves = append(r.leaves, -1)
			continue
		}
		definition, repetition := c.levels()
		if leaf.Node.Type().Kind() != leafOf(c.Type).Type().Kind() ||
			leaf.MaxDefinitionLevel != definition || leaf.MaxRepetitionLevel != repetition {
			return fmt.Errorf("column %s has another type", c.Name)
		}
		r.leaves = append(r.leaves, leaf.ColumnIndex)
	}
	return nil
}

// levels returns the greatest definition and repetition levels of a column.
func (c *Column) levels() (definition, repetition int) {
	if c.Nullable {
		definition++
	}
	if c.Type.list() {
		definition++
		repetition++
	}
	return definition, repetition
}

// next begins the next chunk of rows and returns how many it has, at most
// limit; 0 is the end of the part.
func (r *partReader) next(limit int) (int, error) {
	if r.left == 0 {
		groups := r.file.RowGroups()
		for r.group < len(groups) && r.left == 0 {
			r.left, r.at, r.last = groups[r.group].NumRows(), 0, 0
			r.group++
		}
		if r.left <= 0 {
			return 0, nil
		}
		chunks := groups[r.group-1].ColumnChunks()
		r.scans = slices.Grow(r.scans[:0], len(r.leaves))[:len(r.leaves)]
		for i, leaf := range r.leaves {
			r.scans[i].close()
			if leaf >= 0 {
				r.scans[i].open(chunks[leaf], r.table.Columns[r.columns[i]].Type.list())
			}
		}
	}
	r.at += r.last
	n := int(min(r.left, int64(limit)))
	r.left, r.last = r.left-int64(n), int64(n)
	return n, nil
}

// seek makes the i-th of the columns, of whose row group nothing was read,
// ready for the rows of the chunk.
func (r *partReader) seek(i int) error {
	if r.leaves[i] < 0 {
		return nil
	}
	return r.guard(func() error { return r.scans[i].pages.SeekToRow(r.at) })
}

// read returns the values of the i-th of the columns for the n rows of the
// chunk. They are valid until the next call for the same column.
func (r *partReader) read(i, n int) (values []parquet.Value, err error) {
	if r.leaves[i] < 0 {
		r.missing = append(r.missing[:0], make([]parquet.Value, n)...)
		c := &r.table.Columns[r.columns[i]]
		if !c.Nullable && !c.Type.list() {
			zero := parquet.ZeroValue(leafOf(c.Type).Type().Kind())
			for j := range r.missing {
				r.missing[j] = zero
			}
		}
		return r.missing, nil
	}
	err = r.guard(func() error {
		values, err = r.scans[i].rows(n)
		return err
	})
	return values, err
}

// close lets go of the part.
func (r *partReader) close() {
	for i := range r.scans {
		r.scans[i].close()
	}
	if r.disk != nil {
		_ = r.disk.Close() // nothing was written
	}
	r.file, r.disk, r.part, r.group, r.left, r.at, r.last = nil, nil, nil, 0, 0, 0, 0
}

// columnScan reads the values of one column of a row group.
type columnScan struct {
	list   bool
	pages  parquet.Pages
	page   parquet.Page   // that values come from
	done   []parquet.Page // whose values were returned last
	values parquet.ValueReader
	buf    []parquet.Value
	used   int // values of buf that were returned last
}

// listBatch is how many values of lists are read at once: so many at most are
// kept for the rows that follow.
const listBatch = 256

func (s *columnScan) open(chunk parquet.ColumnChunk, list bool) {
	s.list, s.pages, s.buf, s.used = list, chunk.Pages(), s.buf[:0], 0
}

// rows returns the values of the next n rows.
func (s *columnScan) rows(n int) ([]parquet.Value, error) {
	for i, p := range s.done {
		parquet.Release(p)
		s.done[i] = nil
	}
	s.done = s.done[:0]
	if s.list {
		return s.listRows(n)
	}
	s.buf = slices.Grow(s.buf[:0], n)[:n]
	for got := 0; got < n; {
		m, err := s.fill(s.buf[got:])
		if err != nil {
			return nil, err
		}
		got += m
	}
	return s.buf, nil
}

// listRows is rows where a row may have several values: it ends where the row
// after it begins.
func (s *columnScan) listRows(n int) ([]parquet.Value, error) {
	s.buf = append(s.buf[:0], s.buf[s.used:]...)
	rows := 0
	for i := 0; ; i++ {
		if i == len(s.buf) {
			s.buf = slices.Grow(s.buf, listBatch)
			m, err := s.fill(s.buf[i : i+listBatch])
			if err == io.EOF && rows == n {
				break
			}
			if err != nil {
				return nil, err
			}
			s.buf = s.buf[:i+m]
		}
		if s.buf[i].RepetitionLevel() == 0 {
			if rows == n {
				s.used = i
				for j := i; j < len(s.buf); j++ {
					s.buf[j] = s.buf[j].Clone() // the page may be gone by then
				}
				return s.buf[:i], nil
			}
			rows++
		}
	}
	s.used = len(s.buf)
	return s.buf, nil
}

// fill reads some values, at least one. At the end it returns io.EOF.
func (s *columnScan) fill(values []parquet.Value) (int, error) {
	for {
		if s.page == nil {
			page, err := s.pages.ReadPage()
			if err != nil {
				return 0, err
			}
			s.page, s.values = page, page.Values()
		}
		n, err := s.values.ReadValues(values)
		if err == io.EOF {
			s.done = append(s.done, s.page)
			s.page, s.values = nil, nil
		} else if err != nil {
			return 0, err
		}
		if n > 0 {
			return n, nil
		}
	}
}

// close gives pages back.
func (s *columnScan) close() {
	for _, p := range append(s.done, s.page) {
		if p != nil {
			parquet.Release(p)
		}
	}
	if s.pages != nil {
		_ = s.pages.Close() // nothing was written
	}
	*s = columnScan{buf: s.buf[:0], done: s.done[:0]}
}
