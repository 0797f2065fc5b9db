// SPDX-License-Identifier: Apache-2.0

package chart

import (
	"bufio"
	"encoding/xml"
	"fmt"
	"io"
	"strings"
)

// SVG writes a picture as SVG. Texts stay texts, the picture has a title and a description, and each mark says
// what it stands for.
func SVG(w io.Writer, p Picture) error {
	d, err := newDrawing(p, false)
	if err != nil {
		return err
	}
	b := bufio.NewWriter(w)
	fmt.Fprintf(b, `<?xml version="1.0" encoding="UTF-8"?>
<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %[1]d %[2]d" role="img" aria-labelledby="title desc" font-family="Go, 'Helvetica Neue', Helvetica, Arial, sans-serif" shape-rendering="crispEdges">
<title id="title">%s</title>
<desc id="desc">%s</desc>
`, Width, d.height, xmlText(legible(p.head().Title)), xmlText(description(p)))
	for i := range d.shapes {
		d.shapes[i].writeSVG(b)
	}
	b.WriteString("</svg>\n")
	return b.Flush()
}

// description says what the picture shows.
func description(p Picture) string {
	if note := legible(p.head().Note); note != "" {
		return note + ". " + p.summary()
	}
	return p.summary()
}

func (s *shape) writeSVG(b *bufio.Writer) {
	if s.text == "" {
		fmt.Fprintf(b, `<rect x="%d" y="%d" width="%d" height="%d" fill="%s"`, s.x, s.y, s.w, s.h, s.fill)
		if s.tip == "" {
			b.WriteString("/>\n")
			return
		}
		fmt.Fprintf(b, "><title>%s</title></rect>\n", xmlText(s.tip))
		return
	}
	fmt.Fprintf(b, `<text x="%d" y="%d" font-size="%d" fill="%s"`, s.x, s.y, s.size, s.fill)
	if s.bold {
		b.WriteString(` font-weight="bold"`)
	}
	switch s.anchor {
	case middle:
		b.WriteString(` text-anchor="middle"`)
	case end:
		b.WriteString(` text-anchor="end"`)
	}
	fmt.Fprintf(b, " xml:space=\"preserve\">%s</text>\n", xmlText(s.text))
}

// xmlText returns a text, which holds no control characters, for XML.
func xmlText(text string) string {
	var b strings.Builder
	// A strings.Builder takes everything.
	_ = xml.EscapeText(&b, []byte(text))
	return b.String()
}
