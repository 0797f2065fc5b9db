// SPDX-License-Identifier: Apache-2.0

package lake

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io"

	"github.com/zeebo/xxh3"
)

// HeadLen is how much of a file's beginning tells quickly whether it may be
// known.
const HeadLen = 64 << 10

// FormatSum returns the text of a content's sum.
func FormatSum(sum xxh3.Uint128) string {
	b := sum.Bytes()
	return hex.EncodeToString(b[:])
}

// SumHead returns the sum of what r holds, of its first HeadLen bytes at most,
// and how many bytes that were.
func SumHead(r io.Reader) (sum string, n int64, err error) {
	h := xxh3.New()
	n, err = io.Copy(h, io.LimitReader(r, HeadLen))
	return FormatSum(h.Sum128()), n, err
}

// SumPrefix returns the sum of the first n bytes of r; fewer are an error.
func SumPrefix(r io.Reader, n int64) (string, error) {
	h := xxh3.New()
	if _, err := io.CopyN(h, r, n); err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return "", err
	}
	return FormatSum(h.Sum128()), nil
}

// Knowledge says what the store knows about an input.
type Knowledge uint8

// What the store may know.
const (
	// New: nothing; the input is to be read.
	New Knowledge = iota
	// Known: the same content, read with the same options; to be skipped.
	Known
	// Differs: the same content, read with other options.
	Differs
	// Grown: a longer file; its beginning is known.
	Grown
)

// String returns the name of k in lower case.
func (k Knowledge) String() string {
	switch k {
	case New:
		return "new"
	case Known:
		return "known"
	case Differs:
		return "differs"
	case Grown:
		return "grown"
	}
	return "unknown"
}

// Verdict is what Check found out about one input.
type Verdict struct {
	Knowledge Knowledge
	// Import holds the known content, Name the name it had; unset for New.
	Import *Import
	Name   string
}

// Check says for each input whether its content is in the store. Inputs need
// Head, HeadLen and Size only; sum is called for those that may be known, and
// returns the sum of the first n bytes of input i. Inputs without a head are
// new.
func (l *Lake) Check(
	inputs []Input, options string, sum func(i int, n int64) (string, error),
) ([]Verdict, error) {
	m, err := l.Manifest()
	if err != nil {
		return nil, err
	}
	return m.Check(inputs, options, sum)
}

// Check is Lake.Check on one manifest.
func (m *Manifest) Check(
	inputs []Input, options string, sum func(i int, n int64) (string, error),
) ([]Verdict, error) {
	out := make([]Verdict, len(inputs))
	for i := range inputs {
		var err error
		if out[i], err = m.check(&inputs[i], options, func(n int64) (string, error) {
			return sum(i, n)
		}); err != nil {
			return nil, fmt.Errorf("identify %s: %w", inputs[i].Name, err)
		}
	}
	return out, nil
}

// check finds the known input that in equals or, failing that, the longest one
// that it begins with.
func (m *Manifest) check(
	in *Input, options string, sum func(n int64) (string, error),
) (Verdict, error) {
	var best Verdict
	if in.Head == "" {
		return best, nil
	}
	sums := map[int64]string{in.HeadLen: in.Head}
	begins := func(n int64, want string) (bool, error) {
		got, ok := sums[n]
		if !ok {
			var err error
			if got, err = sum(n); err != nil {
				return false, err
			}
			sums[n] = got
		}
		return got == want, nil
	}
	var length int64 = -1
	for i := range m.Imports {
		imp := &m.Imports[i]
		for j := range imp.Inputs {
			k := &imp.Inputs[j]
			if k.Sum == "" || k.Size > in.Size || k.Size < length {
				continue
			}
			if k.Size == 0 && in.Size > 0 { // every file begins with an empty one
				continue
			}
			// A known file with a shorter head is all head.
			if k.HeadLen == in.HeadLen && k.Head != in.Head {
				continue
			}
			same, err := begins(k.Size, k.Sum)
			if err != nil {
				return best, err
			}
			if !same {
				continue
			}
			v := Verdict{Knowledge: Grown, Import: imp, Name: k.Name}
			if k.Size == in.Size {
				v.Knowledge = Differs
				if imp.Options == options {
					v.Knowledge = Known
				}
			}
			if k.Size > length || v.Knowledge == Known {
				best, length = v, k.Size
			}
		}
	}
	return best, nil
}
