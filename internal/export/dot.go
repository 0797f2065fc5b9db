// SPDX-License-Identifier: Apache-2.0

package export

import (
	"fmt"
	"io"
	"strings"

	"weir/internal/term"
)

// DOT is the format of graphviz: hosts are white where flows go to them, else gray, edges have
// the color of their service. Every text is in quotes; backslashes are doubled, control
// characters and others that act on terminals are written as \\xNN.
type DOT struct{ columns []Column }

// NewDOT returns the format for edges with these attributes.
func NewDOT(columns []Column) *DOT { return &DOT{columns} }

// quote returns an ID of DOT.
func quote(text string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(term.Escape(text)) + `"`
}

func (d *DOT) head(w io.Writer) error {
	_, err := io.WriteString(w, "digraph flows {\n"+
		"  node [shape=box, style=\"filled,rounded\", fontname=\"sans-serif\", fontsize=10];\n"+
		"  edge [fontname=\"sans-serif\", fontsize=8];\n")
	return err
}

func (d *DOT) node(w io.Writer, n *Node, _ bool) error {
	addr := quote(n.Addr.String())
	_, err := fmt.Fprintf(w, "  %s [addr=%s, in=%d, out=%d, firstseen=%s, lastseen=%s, fillcolor=%s];\n",
		addr, addr, n.In, n.Out, quote(timeText(n.FirstSeen)), quote(timeText(n.LastSeen)), quote(hostColor(n)))
	return err
}

func (d *DOT) middle(io.Writer) error { return nil }

func (d *DOT) edge(w io.Writer, e *Edge, _ bool) error {
	var b strings.Builder
	fmt.Fprintf(&b, "  %s -> %s [label=%s, color=%s, fontcolor=%[4]s", quote(e.Src.String()), quote(e.Dst.String()), quote(e.Label), quote(e.Color))
	for i, c := range d.columns {
		// The ends are there already.
		text, ok := valueText(e.Values[i])
		switch {
		case !ok || c.Name == "src" || c.Name == "dst":
		case c.Type == Int:
			fmt.Fprintf(&b, ", %s=%s", c.Name, text)
		default:
			fmt.Fprintf(&b, ", %s=%s", c.Name, quote(text))
		}
	}
	b.WriteString("];\n")
	_, err := io.WriteString(w, b.String())
	return err
}

func (d *DOT) tail(w io.Writer) error {
	_, err := io.WriteString(w, "}\n")
	return err
}
