// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"iter"
	"strings"
	"time"

	"weir/internal/term"
)

// sheet is an answer on its way out: rows of values, which are written in one of the
// formats as they come. Every answer that is a list goes through one.
type sheet interface {
	// row adds a row, with a value for each column. Object is what JSON shows of it;
	// nil stands for an object of the columns.
	row(values []any, object any) error
	// flush writes what is held back, and leaves the answer incomplete.
	flush() error
	// end completes the answer.
	end() error
}

// column is a column of a sheet.
type column struct {
	name string
	// right aligns its cells to the right. Where the first row has a number
	// that is done anyhow.
	right bool
}

// named returns columns with names.
func named(names ...string) []column {
	list := make([]column, len(names))
	for i, name := range names {
		list[i].name = name
	}
	return list
}

// fill adds all of seq to a sheet.
func fill[T any](s sheet, seq iter.Seq2[T, error], add func(T) error) error {
	for v, err := range seq {
		if err != nil {
			return errors.Join(err, s.flush())
		}
		if err := add(v); err != nil {
			return err
		}
	}
	return s.end()
}

// style is how text shows columns.
type style struct {
	sep string
	// plain is without padding, and as headless without header.
	plain, headless bool
	// cell returns the text of a value.
	cell func(any) string
}

// newSheet returns a sheet that is written to w.
func newSheet(w io.Writer, f format, s style, columns []column) (sheet, error) {
	switch f {
	case asJSON, asNDJSON:
		return newJSONSheet(w, f == asJSON, columns)
	case asCSV:
		return newCSVSheet(w, columns)
	case asText, asSVG, asPNG: // pictures are drawn before it comes to this
	}
	return &textSheet{w: w, style: s, columns: columns, cells: make([]string, len(columns))}, nil
}

// textSheet is aligned columns for people, or columns with a separator.
type textSheet struct {
	w       io.Writer
	style   style
	columns []column
	table   *term.Table // nil before the first row
	cells   []string
}

func (t *textSheet) row(values []any, _ any) error {
	if t.table == nil {
		t.begin(values)
	}
	for i, v := range values {
		t.cells[i] = t.style.cell(v)
	}
	return t.table.Row(t.cells...)
}

func (t *textSheet) begin(first []any) {
	if t.style.plain {
		t.table = term.NewPlain(t.w, t.style.sep, len(t.columns))
		return
	}
	list := make([]term.Column, len(t.columns))
	for i, c := range t.columns {
		list[i] = term.Column{Name: c.name, Right: c.right}
		if first == nil {
			continue
		}
		switch first[i].(type) {
		case int64, float64:
			list[i].Right = true
		}
	}
	t.table = term.NewTable(t.w, t.style.sep, !t.style.headless, list...)
}

func (t *textSheet) flush() error {
	if t.table == nil {
		return nil
	}
	return t.table.Flush()
}

func (t *textSheet) end() error {
	if t.table == nil && len(t.columns) > 0 {
		t.begin(nil)
	}
	return t.flush()
}

// csvSheet is a table for other programs, with a header.
type csvSheet struct {
	w     *csv.Writer
	cells []string
}

func newCSVSheet(w io.Writer, columns []column) (*csvSheet, error) {
	s := &csvSheet{w: csv.NewWriter(w), cells: make([]string, len(columns))}
	for i, c := range columns {
		var err error
		if s.cells[i], err = csvText(c.name); err != nil {
			return nil, err
		}
	}
	if len(columns) == 0 {
		return s, nil
	}
	return s, s.w.Write(s.cells)
}

func (s *csvSheet) row(values []any, _ any) error {
	for i, v := range values {
		var err error
		if s.cells[i], err = csvText(v); err != nil {
			return err
		}
	}
	return s.w.Write(s.cells)
}

func (s *csvSheet) flush() error {
	s.w.Flush()
	return s.w.Error()
}

func (s *csvSheet) end() error { return s.flush() }

// jsonSheet is an object a line. As an array they are one document, which is closed
// only if the answer is complete.
type jsonSheet struct {
	w     *bufio.Writer
	array bool
	names [][]byte
	line  bytes.Buffer
	rows  int
}

// newJSONSheet returns a sheet of columns. One whose name was there before gets
// a number.
func newJSONSheet(w io.Writer, array bool, columns []column) (*jsonSheet, error) {
	s := &jsonSheet{w: bufio.NewWriterSize(w, 64<<10), array: array}
	seen := make(map[string]bool)
	for _, c := range columns {
		name := c.name
		for n := 1; seen[name]; n++ {
			name = fmt.Sprintf("%s_%d", c.name, n)
		}
		seen[name] = true
		text, err := encodeJSON(name)
		if err != nil {
			return nil, err
		}
		s.names = append(s.names, text)
	}
	return s, nil
}

func (s *jsonSheet) row(values []any, object any) error {
	s.line.Reset()
	switch {
	case !s.array:
	case s.rows == 0:
		s.line.WriteString("[\n")
	default:
		s.line.WriteString(",\n")
	}
	s.rows++
	if object != nil {
		text, err := encodeJSON(object)
		if err != nil {
			return err
		}
		s.line.Write(text)
	} else if err := s.object(values); err != nil {
		return err
	}
	if !s.array {
		s.line.WriteByte('\n')
	}
	_, err := s.w.Write(s.line.Bytes())
	return err
}

// object adds an object of the columns to the line.
func (s *jsonSheet) object(values []any) error {
	s.line.WriteByte('{')
	for i, v := range values {
		value, err := encodeJSON(jsonValue(v))
		if err != nil {
			return err
		}
		if i > 0 {
			s.line.WriteByte(',')
		}
		s.line.Write(s.names[i])
		s.line.WriteByte(':')
		s.line.Write(value)
	}
	s.line.WriteByte('}')
	return nil
}

func (s *jsonSheet) flush() error { return s.w.Flush() }

func (s *jsonSheet) end() error {
	if s.array {
		closing := "\n]\n"
		if s.rows == 0 {
			closing = "[]\n"
		}
		if _, err := s.w.WriteString(closing); err != nil {
			return err
		}
	}
	return s.flush()
}

// listCell returns a value of a list for people: times in the zone, sets with commas.
func listCell(zone *time.Location) func(any) string {
	var cell func(any) string
	cell = func(v any) string {
		switch v := v.(type) {
		case time.Time:
			return v.In(zone).Format(timeLayout)
		case []any:
			parts := make([]string, len(v))
			for i := range v {
				parts[i] = cell(v[i])
			}
			return strings.Join(parts, ", ")
		}
		return cellText(v)
	}
	return cell
}
