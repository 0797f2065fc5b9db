// SPDX-License-Identifier: Apache-2.0

package export

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"

	"weir/internal/term"
)

// JSON is one object: {"nodes": [Node…], "edges": [store.Flow or store.Pair…]}, with a line for each
// of them. No character of it acts on a terminal.
type JSON struct{}

func item(w io.Writer, v any, first bool) error {
	var b bytes.Buffer
	b.WriteString(",\n  ")
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return fmt.Errorf("encode JSON: %w", err)
	}
	text := bytes.TrimRight(b.Bytes(), "\n")
	if first {
		text = text[1:]
	}
	// The line breaks are ours, all others are escaped by the encoder.
	i := bytes.IndexByte(text, '\n') + 1
	_, err := w.Write(append(text[:i:i], term.EscapeJSON(text[i:])...))
	return err
}

func (JSON) head(w io.Writer) error {
	_, err := io.WriteString(w, `{"nodes": [`)
	return err
}

func (JSON) node(w io.Writer, n *Node, first bool) error { return item(w, n, first) }

func (JSON) middle(w io.Writer) error {
	_, err := io.WriteString(w, "\n],\n\"edges\": [")
	return err
}

func (JSON) edge(w io.Writer, e *Edge, first bool) error { return item(w, e.Object, first) }

func (JSON) tail(w io.Writer) error {
	_, err := io.WriteString(w, "\n]}\n")
	return err
}
