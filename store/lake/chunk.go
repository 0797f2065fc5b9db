// SPDX-License-Identifier: Apache-2.0

package lake

import (
	"bytes"
	"unicode/utf8"

	"github.com/parquet-go/parquet-go"

	"weir/internal/flow"
)

// Definition levels of list columns. Missing lists have level 0, as other
// missing values.
const (
	listEmpty   = 1
	listElement = 2
)

// chunkWriter collects the values of one column for the rows of a chunk.
type chunkWriter struct {
	p    *partWriter
	v    []parquet.Value
	text []byte
	err  error
}

// put writes the collected values to their column. The first error stays.
func (w *chunkWriter) put(column int) {
	if w.err == nil {
		_, w.err = w.p.columns[column].WriteRowValues(w.v)
	}
	w.v, w.text = w.v[:0], w.text[:0]
}

// add adds a value with its levels.
func (w *chunkWriter) add(v parquet.Value, repetition, definition uint8) {
	w.v = append(w.v, v)
	last := &w.v[len(w.v)-1]
	last.SetRepetitionLevel(int(repetition))
	last.SetDefinitionLevel(int(definition))
}

// addMissing adds that a nullable column has no value.
func (w *chunkWriter) addMissing() { w.v = append(w.v, parquet.Value{}) }

// addBytes adds a text that needs no escape, missing where empty.
func (w *chunkWriter) addBytes(text []byte) {
	if len(text) == 0 {
		w.addMissing()
		return
	}
	w.add(parquet.ByteArrayValue(text), 0, 1)
}

// addString adds a text, or no value where it is empty. The text is copied: what
// importers call a service may be anything.
func (w *chunkWriter) addString(text string) {
	n := len(w.text)
	w.text = append(w.text, text...)
	if added := w.text[n:]; !plainText(added) {
		w.text = appendText(w.text, added)
		n += len(added)
	}
	w.addBytes(w.text[n:len(w.text):len(w.text)])
}

// addAddr adds the text of an address to a column without missing values.
func (w *chunkWriter) addAddr(l *labels, a *flow.Addr) {
	n := len(w.text)
	w.text = l.addrs.append(w.text, a)
	w.v = append(w.v, parquet.ByteArrayValue(w.text[n:len(w.text):len(w.text)]))
}

// addText adds a text from the wire with its levels.
func (w *chunkWriter) addText(text []byte, repetition, definition uint8) {
	if !plainText(text) {
		n := len(w.text)
		w.text = appendText(w.text, text)
		text = w.text[n:len(w.text):len(w.text)]
	}
	w.add(parquet.ByteArrayValue(text), repetition, definition)
}

const lowerHex = "0123456789abcdef"

// plainText reports whether a text is stored as it is.
func plainText(text []byte) bool {
	for i, c := range text {
		if c == 0 || c == '\\' || c >= utf8.RuneSelf {
			text = text[i:]
			return utf8.Valid(text) && bytes.IndexByte(text, 0) < 0 &&
				!bytes.Contains(text, []byte(`\x`))
		}
	}
	return true
}

// appendText appends text as valid UTF-8 that engines accept: NUL and bytes
// that are not UTF-8 become \xNN, and so does a backslash where the text
// itself holds such a sequence. So every stored text stands for one original.
func appendText(dst, text []byte) []byte {
	escape := func(c byte) {
		dst = append(dst, '\\', 'x', lowerHex[c>>4], lowerHex[c&15])
	}
	for len(text) > 0 {
		r, n := utf8.DecodeRune(text)
		switch {
		case r == utf8.RuneError && n == 1, r == 0:
			escape(text[0])
		case r == '\\' && looksEscaped(text):
			escape(text[0])
		default:
			dst = append(dst, text[:n]...)
		}
		text = text[n:]
	}
	return dst
}

// looksEscaped reports whether text starts like the escape of a byte.
func looksEscaped(text []byte) bool {
	return len(text) >= 4 && text[1] == 'x' && isLowerHex(text[2]) && isLowerHex(text[3])
}

func isLowerHex(c byte) bool { return c >= '0' && c <= '9' || c >= 'a' && c <= 'f' }
