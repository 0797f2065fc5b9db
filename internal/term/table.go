// SPDX-License-Identifier: Apache-2.0

package term

import (
	"bufio"
	"io"
	"strings"
	"unicode"
)

// Column is a column of a table.
type Column struct {
	// Name stands in the header.
	Name string
	// Right aligns the cells to the right, for numbers.
	Right bool
}

// Table writes rows in aligned columns. It holds back the first rows to learn
// the widths, and from then on only widens, so that a listing of any length
// takes little memory. A Table is not safe for concurrent use.
type Table struct {
	w       *bufio.Writer
	columns []Column
	sep     string
	widths  []int
	pending [][]string
	line    []byte
	header  bool
	plain   bool
	rows    int
	// guard is a character of sep that cells do not use themselves: where it stands in
	// one it is escaped, so that no text from the wire can pass for more columns. 0 is none.
	guard rune
}

// pendingRows is how many rows a table looks at before it writes.
const pendingRows = 1000

// NewTable returns a table that writes to w, with sep between columns and a
// header line if header is set. Flush must be called at the end.
func NewTable(w io.Writer, sep string, header bool, columns ...Column) *Table {
	t := &Table{
		w: bufio.NewWriterSize(w, 64<<10), columns: columns, sep: sep, header: header,
		widths: make([]int, len(columns)), guard: guardOf(sep),
	}
	if header {
		for i := range columns {
			t.widths[i] = StringWidth(Escape(columns[i].Name))
		}
	}
	return t
}

// NewPlain returns a table of n columns for programs: without header and
// padding. Each row is written as it comes.
func NewPlain(w io.Writer, sep string, n int) *Table {
	return &Table{w: bufio.NewWriterSize(w, 64<<10), columns: make([]Column, n), sep: sep, plain: true, guard: guardOf(sep)}
}

// guardOf returns the first character of a separator that is neither white space nor
// what addresses, numbers and lists of them are written with.
func guardOf(sep string) rune {
	for _, r := range sep {
		if !unicode.In(r, unicode.White_Space, unicode.L, unicode.N) && !strings.ContainsRune(",;()[]{}.:/-\\", r) {
			return r
		}
	}
	return 0
}

// cell returns a cell as it is written.
func (t *Table) cell(s string) string {
	s = Escape(s)
	if t.guard != 0 && strings.ContainsRune(s, t.guard) {
		g := string(t.guard)
		s = strings.ReplaceAll(s, g, string(appendBytes(nil, g)))
	}
	return s
}

// Row adds a row: a cell for each column. Cells are escaped; the slice is the
// caller's again after the call.
func (t *Table) Row(cells ...string) error {
	row := make([]string, len(t.columns))
	for i := range min(len(cells), len(row)) {
		row[i] = t.cell(cells[i])
	}
	t.rows++
	if t.plain || t.rows > pendingRows {
		return t.write(row)
	}
	t.pending = append(t.pending, row)
	if len(t.pending) == pendingRows {
		return t.release()
	}
	return nil
}

// Rows returns the number of rows added.
func (t *Table) Rows() int { return t.rows }

// Flush writes what is held back.
func (t *Table) Flush() error {
	if err := t.release(); err != nil {
		return err
	}
	return t.w.Flush()
}

// release writes the header, once, and the rows that wait.
func (t *Table) release() error {
	for _, row := range t.pending {
		for i, cell := range row {
			t.widths[i] = max(t.widths[i], StringWidth(cell))
		}
	}
	if t.header {
		t.header = false
		names := make([]string, len(t.columns))
		for i := range t.columns {
			names[i] = Escape(t.columns[i].Name)
		}
		if err := t.write(names); err != nil {
			return err
		}
	}
	for _, row := range t.pending {
		if err := t.write(row); err != nil {
			return err
		}
	}
	t.pending = nil
	return nil
}

// write writes one row. The last column is not padded on its right.
func (t *Table) write(row []string) error {
	line := t.line[:0]
	for i, cell := range row {
		if i > 0 {
			line = append(line, t.sep...)
		}
		if t.plain {
			line = append(line, cell...)
			continue
		}
		n := StringWidth(cell)
		t.widths[i] = max(t.widths[i], n)
		pad := strings.Repeat(" ", t.widths[i]-n)
		if t.columns[i].Right {
			line = append(line, pad...)
		}
		line = append(line, cell...)
		if !t.columns[i].Right && i < len(row)-1 {
			line = append(line, pad...)
		}
	}
	t.line = append(line, '\n')
	_, err := t.w.Write(t.line)
	return err
}
