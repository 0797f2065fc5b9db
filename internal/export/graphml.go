// SPDX-License-Identifier: Apache-2.0

package export

import (
	"encoding/xml"
	"fmt"
	"io"
	"strconv"

	"weir/internal/term"
)

// GraphML is the format of yEd, Gephi and NetworkX: a directed graph with typed attributes. Lists are
// texts with commas, times texts in RFC 3339. Control characters, which XML cannot have, and others
// that act on terminals are written as \xNN.
type GraphML struct {
	columns []Column
	n       int64
}

// NewGraphML returns the format for edges with these attributes.
func NewGraphML(columns []Column) *GraphML { return &GraphML{columns: columns} }

type xmlKey struct {
	XMLName xml.Name `xml:"key"`
	ID      string   `xml:"id,attr"`
	For     string   `xml:"for,attr"`
	Name    string   `xml:"attr.name,attr"`
	Type    string   `xml:"attr.type,attr"`
}

type xmlData struct {
	Key  string `xml:"key,attr"`
	Text string `xml:",chardata"`
}

type xmlNode struct {
	XMLName xml.Name  `xml:"node"`
	ID      string    `xml:"id,attr"`
	Data    []xmlData `xml:"data"`
}

type xmlEdge struct {
	XMLName xml.Name  `xml:"edge"`
	ID      string    `xml:"id,attr"`
	Source  string    `xml:"source,attr"`
	Target  string    `xml:"target,attr"`
	Data    []xmlData `xml:"data"`
}

// element writes an element on a line of its own.
func element(w io.Writer, v any) error {
	text, err := xml.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode GraphML: %w", err)
	}
	_, err = w.Write(append(text, '\n'))
	return err
}

// nodeKeys are the attributes of hosts.
func nodeKeys() []xmlKey {
	var keys []xmlKey
	for _, k := range [][2]string{
		{"label", "string"}, {"addr", "string"}, {"in", "long"}, {"out", "long"}, {"firstseen", "string"}, {"lastseen", "string"}, {"color", "string"},
	} {
		keys = append(keys, xmlKey{ID: "n_" + k[0], For: "node", Name: k[0], Type: k[1]})
	}
	return keys
}

func (g *GraphML) head(w io.Writer) error {
	_, err := io.WriteString(w, xml.Header+`<graphml xmlns="http://graphml.graphdrawing.org/xmlns" `+
		`xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" `+
		`xsi:schemaLocation="http://graphml.graphdrawing.org/xmlns http://graphml.graphdrawing.org/xmlns/1.0/graphml.xsd">`+"\n")
	if err != nil {
		return err
	}
	keys := append(nodeKeys(), xmlKey{ID: "e_label", For: "edge", Name: "label", Type: "string"})
	for _, c := range g.columns {
		typ := "string"
		if c.Type == Int {
			typ = "long"
		}
		keys = append(keys, xmlKey{ID: "e_" + c.Name, For: "edge", Name: c.Name, Type: typ})
	}
	keys = append(keys, xmlKey{ID: "e_color", For: "edge", Name: "color", Type: "string"})
	for i := range keys {
		if err := element(w, &keys[i]); err != nil {
			return err
		}
	}
	_, err = io.WriteString(w, `<graph id="flows" edgedefault="directed">`+"\n")
	return err
}

func (g *GraphML) node(w io.Writer, n *Node, _ bool) error {
	addr := n.Addr.String()
	x := xmlNode{ID: addr}
	values := []string{
		addr, addr, strconv.FormatInt(n.In, 10), strconv.FormatInt(n.Out, 10), timeText(n.FirstSeen), timeText(n.LastSeen), hostColor(n),
	}
	for i, k := range nodeKeys() {
		x.Data = append(x.Data, xmlData{k.ID, values[i]})
	}
	return element(w, &x)
}

func (g *GraphML) middle(io.Writer) error { return nil }

func (g *GraphML) edge(w io.Writer, e *Edge, _ bool) error {
	x := xmlEdge{ID: "e" + strconv.FormatInt(g.n, 10), Source: e.Src.String(), Target: e.Dst.String()}
	g.n++
	x.Data = append(x.Data, xmlData{"e_label", term.Escape(e.Label)})
	for i, c := range g.columns {
		if text, ok := valueText(e.Values[i]); ok {
			x.Data = append(x.Data, xmlData{"e_" + c.Name, term.Escape(text)})
		}
	}
	x.Data = append(x.Data, xmlData{"e_color", e.Color})
	return element(w, &x)
}

func (g *GraphML) tail(w io.Writer) error {
	_, err := io.WriteString(w, "</graph>\n</graphml>\n")
	return err
}

// hostColor is white for hosts that flows go to, else gray.
func hostColor(n *Node) string {
	if n.In > 0 {
		return white
	}
	return light
}
