// SPDX-License-Identifier: Apache-2.0

package lake

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path"
	"path/filepath"
	"slices"
	"sync/atomic"
	"time"

	"github.com/parquet-go/parquet-go"
	"github.com/zeebo/xxh3"

	"weir/internal/flow"
)

// Sizes of parts. Readers take a row group as the unit of their parallelism,
// and hold one in memory; it is a multiple of DuckDB's vectors.
const (
	groupRows = 56 * 2048
	// groupBytes bounds the row groups that a table has in memory, one for each
	// day that is open.
	groupBytes = 8 << 20
	partRows   = 1 << 20
	partBytes  = 64 << 20
	// pageBytes is the size of a page before compression, and what every
	// column of an open part holds in memory.
	pageBytes = 64 << 10
	// dictionaryBytes is where a column's dictionary ends within a row group:
	// columns of mostly different values do without.
	dictionaryBytes = 512 << 10
	// chunkRows is how many rows are written to one column before the next.
	chunkRows = 1024
)

// dayPrefix starts the names of the directories of days, in the way that
// engines know from partitioned tables.
const dayPrefix = "day="

const dayMicros = int64(24 * time.Hour / time.Microsecond)

// dayOf returns the number of the UTC day of a time in microseconds.
func dayOf(micros int64) int64 {
	day := micros / dayMicros
	if micros%dayMicros < 0 {
		day--
	}
	return day
}

// dayName returns the date of a day.
func dayName(day int64) string {
	return time.Unix(day*24*60*60, 0).UTC().Format(time.DateOnly)
}

// orderedGroup is a Parquet group whose fields keep the order of the table.
type orderedGroup struct {
	parquet.Group
	columns []Column
}

// Fields returns the columns in order.
func (g orderedGroup) Fields() []parquet.Field {
	byName := make(map[string]parquet.Field, len(g.columns))
	for _, f := range g.Group.Fields() {
		byName[f.Name()] = f
	}
	fields := make([]parquet.Field, len(g.columns))
	for i := range g.columns {
		fields[i] = byName[g.columns[i].Name]
	}
	return fields
}

// schemaOf returns the Parquet schema of a table.
func schemaOf(t *Table) *parquet.Schema {
	g := orderedGroup{Group: make(parquet.Group, len(t.Columns)), columns: t.Columns}
	for i := range t.Columns {
		g.Group[t.Columns[i].Name] = nodeOf(&t.Columns[i])
	}
	return parquet.NewSchema(t.Name, g)
}

// nodeOf returns the Parquet node of a column: its type and its encoding.
func nodeOf(c *Column) parquet.Node {
	n := leafOf(c.Type)
	switch {
	case c.Name == "uid":
		// Hashes neither repeat nor compress; the frame around them has a sum.
		n = parquet.Encoded(n, &parquet.Plain)
	case c.Type == Timestamp, c.Type == TimestampList, c.Name == "sports", slices.Contains(varied(), c.Name) && c.Type.integer():
		// Mostly different values, so that a dictionary would only add to them.
		n = parquet.Encoded(n, &parquet.DeltaBinaryPacked)
	case slices.Contains(varied(), c.Name):
		n = parquet.Encoded(n, &parquet.Plain)
	case c.Type != Boolean:
		n = parquet.Encoded(n, &parquet.RLEDictionary)
	}
	if c.Type.list() {
		n = parquet.List(n)
	}
	if c.Nullable {
		n = parquet.Optional(n)
	}
	return n
}

// varied returns the columns whose values are mostly different.
func varied() []string {
	return []string{
		"sport", "trans_id", "csbytes", "scbytes", "cspayload", "scpayload", "rtt", "uri",
		"request_body_len", "response_body_len",
	}
}

// leafOf returns the Parquet node of a type's values or elements.
func leafOf(t ColumnType) parquet.Node {
	switch t {
	case Int32, Int32List:
		return parquet.Leaf(parquet.Int32Type)
	case Int64, Int64List:
		return parquet.Leaf(parquet.Int64Type)
	case Double, DoubleList:
		return parquet.Leaf(parquet.DoubleType)
	case Boolean:
		return parquet.Leaf(parquet.BooleanType)
	case Timestamp, TimestampList:
		return parquet.Timestamp(parquet.Microsecond)
	case Address:
		return parquet.Leaf(parquet.FixedLenByteArrayType(len(flow.Addr{})))
	case String, StringList:
	}
	return parquet.String()
}

// newEncoder returns a Parquet writer for a table's parts.
func newEncoder(schema *parquet.Schema, c *codec, version string, dictionary int) *parquet.GenericWriter[any] {
	return parquet.NewGenericWriter[any](nil, schema,
		parquet.CreatedBy("weir", version, ""),
		parquet.Compression(c),
		// Version 2 leaves the levels of values out of what is compressed.
		parquet.DataPageVersion(1),
		parquet.PageBufferSize(pageBytes),
		// Bounds stand in the page index and for each column chunk already.
		parquet.DataPageStatistics(false),
		parquet.DictionaryMaxBytes(int64(dictionary)),
	)
}

// partWriter writes one part. Rows come as values, a chunk of one column after
// the other; endChunk closes a chunk.
type partWriter struct {
	encoder *parquet.GenericWriter[any]
	columns []*parquet.ColumnWriter
	out     partFile
	day     int64
	rows    int64 // of the part
	group   int64 // of the row group
	conns   int64
	partial int64
	span    timeSpan
	used    uint64 // when it was last written to
	failed  bool   // a chunk is incomplete: the part is of no use
}

// partError says what failed. The library tells which page it was writing;
// which file it was, and why it failed, is all that helps.
func partError(err error) error {
	if pe := new(os.PathError); errors.As(err, &pe) {
		err = pe
	}
	return fmt.Errorf("write part: %w", err)
}

// partFile is the file of a part; it counts and sums what is written.
type partFile struct {
	file  *os.File
	bytes int64
	sum   xxh3.Hasher
	// end is where the pages end, once that is known; endSum sums what follows.
	end    int64
	endSum xxh3.Hasher
}

// Write implements io.Writer.
func (f *partFile) Write(b []byte) (int, error) {
	n, err := f.file.Write(b)
	f.bytes += int64(n)
	_, _ = f.sum.Write(b[:n]) // never fails
	if f.bytes > f.end {
		_, _ = f.endSum.Write(b[max(0, n-int(f.bytes-f.end)):n])
	}
	return n, err
}

// open starts a part in a new file.
func (p *partWriter) open(name string, day int64) error {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	p.out.file, p.out.bytes = f, 0
	p.out.sum.Reset()
	p.out.end = math.MaxInt64
	p.out.endSum.Reset()
	p.encoder.Reset(&p.out)
	p.columns = p.encoder.ColumnWriters()
	p.day, p.rows, p.group, p.conns, p.partial, p.span, p.failed = day, 0, 0, 0, 0, timeSpan{}, false
	return nil
}

// endChunk counts rows that were written to every column, and ends the row
// group where it has as many rows or bytes as it may have.
func (p *partWriter) endChunk(rows, maxBytes int) error {
	p.rows += int64(rows)
	p.group += int64(rows)
	if p.group < groupRows && p.encoder.Size()-p.out.bytes < int64(maxBytes) {
		return nil
	}
	p.group = 0
	return p.encoder.Flush()
}

// full reports whether the part has reached its size.
func (p *partWriter) full() bool { return p.rows >= partRows || p.out.bytes >= partBytes }

// close ends the part of a table and makes its file durable.
func (p *partWriter) close(t *Table, id string) (Part, error) {
	name := filepath.Base(p.out.file.Name())
	// All pages go out first, so that it is known where they end.
	err := p.encoder.Flush()
	p.out.end = p.encoder.Size()
	if err == nil {
		err = p.encoder.Close()
	}
	var pageSum string
	if err == nil {
		pageSum, err = sumHeaders(p.out.file, p.out.end)
	}
	if err == nil {
		err = p.out.file.Sync()
	}
	if cerr := p.out.file.Close(); err == nil {
		err = cerr
	}
	p.out.file = nil
	if err != nil {
		return Part{}, err
	}
	day := dayName(p.day)
	return Part{
		Kind: t.Name, Day: day, Path: path.Join(t.Name, dayPrefix+day, name), Schema: t.Schema,
		Rows: p.rows, Conns: p.conns, Partial: p.partial,
		Bytes: p.out.bytes, MinTS: p.span.first, MaxTS: p.span.last,
		Sum: formatSum(p.out.sum.Sum64()), Import: id, Footer: p.out.bytes - p.out.end,
		FooterSum: formatSum(p.out.endSum.Sum64()), PageSum: pageSum,
	}, nil
}

// discard closes the file of a part that is not wanted.
func (p *partWriter) discard() {
	if p.out.file != nil {
		// The file is about to be removed.
		_ = p.out.file.Close()
		p.out.file = nil
	}
	p.encoder.Reset(io.Discard)
}

// partSet is the open parts of one table within an import, one for each of the
// days that rows came for last, and the closed ones that no manifest names yet.
type partSet struct {
	table  Table
	schema *parquet.Schema
	dir    string
	id     string
	vers   string
	codec  *codec
	seq    *atomic.Int64 // numbers the parts of the table within the import
	// dictionary bounds those of columns, dictionaryBytes if 0.
	dictionary int
	clock      uint64
	open       []*partWriter
	spare      *partWriter
	closed     []Part
	values     []parquet.Value
	text       []byte
}

// maxOpenDays bounds how many days of a table are written at the same time.
const maxOpenDays = 4

// has reports whether a part for the day is open, or can be without closing
// another one.
func (s *partSet) has(day int64) bool {
	if len(s.open) < maxOpenDays {
		return true
	}
	for _, p := range s.open {
		if p.day == day {
			return true
		}
	}
	return false
}

// part returns the open part for a day. Where too many are open, the one that
// was not used for longest is closed.
func (s *partSet) part(day int64) (*partWriter, error) {
	s.clock++
	oldest := 0
	for i, p := range s.open {
		if p.day == day {
			p.used = s.clock
			return p, nil
		}
		if p.used < s.open[oldest].used {
			oldest = i
		}
	}
	if len(s.open) >= maxOpenDays {
		if err := s.finish(oldest); err != nil {
			return nil, err
		}
	}
	p := s.spare
	s.spare = nil
	if p == nil {
		p = &partWriter{encoder: newEncoder(s.schema, s.codec, s.vers, cmp.Or(s.dictionary, dictionaryBytes))}
	}
	name := fmt.Sprintf("%s-%s-%05d%s", s.table.Name, s.id, s.seq.Add(1), partSuffix)
	if err := p.open(filepath.Join(s.dir, name), day); err != nil {
		s.spare = p
		return nil, fmt.Errorf("open part: %w", err)
	}
	p.used = s.clock
	s.open = append(s.open, p)
	return p, nil
}

// finish closes the i-th open part. One that failed, or fails now, is dropped,
// its file too: it may be what fills the disk.
func (s *partSet) finish(i int) error {
	p := s.open[i]
	s.open = slices.Delete(s.open, i, i+1)
	s.spare = p
	name := p.out.file.Name()
	if p.failed {
		p.discard()
		_ = os.Remove(name) // else it goes with the import's directory
		return nil          // it was reported when it failed
	}
	part, err := p.close(&s.table, s.id)
	if err != nil {
		p.discard()
		_ = os.Remove(name)
		return partError(err)
	}
	s.closed = append(s.closed, part)
	return nil
}

// settle closes a part that has reached its size.
func (s *partSet) settle(p *partWriter) error {
	if !p.full() {
		return nil
	}
	return s.finish(slices.Index(s.open, p))
}

// finishAll closes every open part, and returns the first error.
func (s *partSet) finishAll() error {
	var err error
	for len(s.open) > 0 {
		err = cmp.Or(err, s.finish(0))
	}
	return err
}

// discard closes the files of the open parts, which are not wanted.
func (s *partSet) discard() {
	for _, p := range s.open {
		p.discard()
	}
	s.open, s.spare, s.closed = nil, nil, nil
}

// chunk returns the scratch space for one chunk of values.
func (s *partSet) chunk() []parquet.Value {
	if s.values == nil {
		s.values = make([]parquet.Value, 0, chunkRows)
	}
	return s.values[:0]
}
