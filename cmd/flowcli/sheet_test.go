// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"errors"
	"iter"
	"testing"
)

// TestBrokenAnswers makes sure that an answer that fails shows what came before, and does
// not look complete: an array stays open.
func TestBrokenAnswers(t *testing.T) {
	broken := errors.New("broken")
	rows := func(n int, err error) iter.Seq2[int, error] {
		return func(yield func(int, error) bool) {
			for i := range n {
				if !yield(i, nil) {
					return
				}
			}
			if err != nil {
				yield(0, err)
			}
		}
	}
	for _, tc := range []struct {
		name   string
		format format
		rows   int
		err    error
		want   string
	}{
		{"text", asText, 2, broken, "n\n0\n1\n"},
		{"text at once", asText, 0, broken, ""},
		{"CSV", asCSV, 1, broken, "n\n0\n"},
		{"JSON", asJSON, 2, broken, "[\n{\"n\":0},\n{\"n\":1}"},
		{"JSON at once", asJSON, 0, broken, ""},
		{"NDJSON", asNDJSON, 1, broken, "{\"n\":0}\n"},
		{"complete JSON", asJSON, 2, nil, "[\n{\"n\":0},\n{\"n\":1}\n]\n"},
		{"complete CSV", asCSV, 0, nil, "n\n"},
		{"complete NDJSON", asNDJSON, 0, nil, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var b bytes.Buffer
			s, err := newSheet(&b, tc.format, style{sep: " | ", cell: cellText}, named("n"))
			if err != nil {
				t.Fatal(err)
			}
			err = fill(s, rows(tc.rows, tc.err), func(n int) error { return s.row([]any{int64(n)}, nil) })
			if !errors.Is(err, tc.err) || b.String() != tc.want {
				t.Errorf("fill = %v, %q, want %v, %q", err, b.String(), tc.err, tc.want)
			}
		})
	}
}

// fullDisk refuses what is written to it.
type fullDisk struct{ err error }

func (f fullDisk) Write([]byte) (int, error) { return 0, f.err }

// TestUnwritable makes sure that an answer that cannot be written is an error, told once.
func TestUnwritable(t *testing.T) {
	full := errors.New("no space left")
	for _, f := range []format{asText, asJSON, asNDJSON, asCSV} {
		s, err := newSheet(fullDisk{full}, f, style{sep: " | ", cell: cellText}, named("n"))
		if err != nil {
			t.Fatal(err)
		}
		err = fill(s, func(yield func(int, error) bool) {
			for i := range 100_000 {
				if !yield(i, nil) {
					return
				}
			}
		}, func(n int) error { return s.row([]any{int64(n)}, nil) })
		if !errors.Is(err, full) || err.Error() != full.Error() {
			t.Errorf("%s: %v, want %v", f, err, full)
		}
	}
}
