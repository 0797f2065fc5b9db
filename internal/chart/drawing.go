// SPDX-License-Identifier: Apache-2.0

package chart

import (
	"fmt"
	"math"
	"strings"

	"golang.org/x/image/font"
	"golang.org/x/image/font/gofont/gobold"
	"golang.org/x/image/font/gofont/goregular"
	"golang.org/x/image/font/opentype"
	"golang.org/x/image/font/sfnt"
	"golang.org/x/image/math/fixed"
)

// Width and Height are the size of pictures in files; long lists of bars are higher.
const (
	Width  = 1280
	Height = 720
)

// color is red, green and blue.
type color [3]uint8

func (c color) String() string { return fmt.Sprintf("#%02x%02x%02x", c[0], c[1], c[2]) }

// The colors of files. Marks differ from the background, and shades from each other, by lightness
// alone, so that no kind of color blindness matters.
func paper() color { return color{0xfa, 0xfa, 0xfa} }
func ink() color   { return color{0x14, 0x16, 0x1a} }
func faint() color { return color{0x5c, 0x63, 0x6e} }
func grid() color  { return color{0xdd, 0xe0, 0xe6} }
func mark() color  { return color{0x08, 0x36, 0x74} }
func other() color { return color{0x8a, 0x91, 0x9c} }

// ramp returns the color of a share from 0 to 1: from light to dark.
func ramp(share float64) color {
	stops := []color{{0xe9, 0xee, 0xf8}, {0x9f, 0xb4, 0xe0}, {0x4d, 0x6f, 0xb8}, mark()}
	at := min(max(share, 0), 1) * float64(len(stops)-1)
	i := min(int(at), len(stops)-2)
	var c color
	for k := range c {
		c[k] = uint8(math.Round(float64(stops[i][k]) + (at-float64(i))*(float64(stops[i+1][k])-float64(stops[i][k]))))
	}
	return c
}

// anchor is the side of a text that stands at its place.
type anchor int

const (
	start anchor = iota
	middle
	end
)

// shape is a rectangle, or a text if it has one. Places are whole pixels, so that edges are sharp.
type shape struct {
	x, y, w, h int
	fill       color
	// tip is what a rectangle stands for.
	tip string

	text   string
	size   int
	bold   bool
	anchor anchor
}

// drawing is a picture for a file: shapes in the order in which they are drawn.
type drawing struct {
	height int
	shapes []shape
	fonts  map[bool]*sfnt.Font // by whether they are bold
	faces  map[face]font.Face
	// missing writes what the fonts lack as \u{1f642}: where a program that shows the file cannot look for another font.
	missing bool
	buffer  sfnt.Buffer
}

type face struct {
	size int
	bold bool
}

// top is where a picture begins, below the heading; edge is the margin around all of it.
const (
	edge = 40
	top  = 128
)

// newDrawing lays a picture out.
func newDrawing(p Picture, missing bool) (*drawing, error) {
	d := &drawing{height: max(p.height(), Height), fonts: map[bool]*sfnt.Font{}, faces: map[face]font.Face{}, missing: missing}
	for bold, data := range map[bool][]byte{false: goregular.TTF, true: gobold.TTF} {
		f, err := opentype.Parse(data)
		if err != nil {
			return nil, fmt.Errorf("parse a font: %w", err)
		}
		d.fonts[bold] = f
	}
	h := p.head()
	d.rect(0, 0, Width, d.height, paper(), "")
	d.add(shape{x: edge, y: 58, text: d.fit(h.Title, 26, true, Width-2*edge), size: 26, bold: true, fill: ink()})
	for i, line := range d.wrap(h.Note, 15, Width-2*edge, 2) {
		d.add(shape{x: edge, y: 86 + 20*i, text: line, size: 15, fill: faint()})
	}
	if p.empty() {
		d.rect(edge, top, Width-2*edge, d.height-top-edge, color{0xf0, 0xf2, 0xf5}, "")
		d.add(shape{x: Width / 2, y: (top+d.height-edge)/2 + 8, text: d.fit(h.Empty, 24, false, Width-4*edge), size: 24, anchor: middle, fill: faint()})
		return d, nil
	}
	p.draw(d)
	return d, nil
}

func (d *drawing) add(s shape) { d.shapes = append(d.shapes, s) }

func (d *drawing) rect(x, y, w, h int, fill color, tip string) {
	if w > 0 && h > 0 {
		d.add(shape{x: x, y: y, w: w, h: h, fill: fill, tip: tip})
	}
}

// label adds a small text.
func (d *drawing) label(x, y int, a anchor, fill color, text string) {
	d.add(shape{x: x, y: y, text: d.show(text), size: 14, anchor: a, fill: fill})
}

// face returns a font of a size.
func (d *drawing) face(size int, bold bool) font.Face {
	key := face{size, bold}
	if f, ok := d.faces[key]; ok {
		return f
	}
	f, err := opentype.NewFace(d.fonts[bold], &opentype.FaceOptions{Size: float64(size), DPI: 72, Hinting: font.HintingNone})
	if err != nil {
		panic("chart: " + err.Error()) // cannot happen: the options are ours
	}
	d.faces[key] = f
	return f
}

// has reports whether the fonts have the rune.
func (d *drawing) has(r rune) bool {
	i, err := d.fonts[false].GlyphIndex(&d.buffer, r)
	return err == nil && i != 0
}

// show returns a text as the file can show it.
func (d *drawing) show(text string) string {
	text = legible(text)
	if !d.missing {
		return text
	}
	var b strings.Builder
	for _, r := range text {
		if d.has(r) {
			b.WriteRune(r)
		} else {
			fmt.Fprintf(&b, `\u{%x}`, r)
		}
	}
	return b.String()
}

// wide returns how wide a text is that show returned.
func (d *drawing) wide(text string, size int, bold bool) int {
	f := d.face(size, bold)
	var w fixed.Int26_6
	for _, r := range text {
		advance, ok := f.GlyphAdvance(r)
		if !ok || !d.has(r) {
			advance = fixed.I(size)
		}
		w += advance
	}
	return w.Ceil()
}

// fit returns a text, escaped, that is at most so wide: cut with an ellipsis where it has to be.
func (d *drawing) fit(text string, size int, bold bool, width int) string {
	runes := []rune(d.show(text))
	// Nobody measures a megabyte: a glyph is at least a fifth as wide as it is high.
	low, high := 0, min(len(runes), 5*width/size)
	if high == len(runes) && d.wide(string(runes), size, bold) <= width {
		return string(runes)
	}
	for low < high {
		n := (low + high + 1) / 2
		if d.wide(string(runes[:n])+"…", size, bold) <= width {
			low = n
		} else {
			high = n - 1
		}
	}
	return string(runes[:low]) + "…"
}

// wrap breaks a text into so many lines; the last one is cut.
func (d *drawing) wrap(text string, size, width, most int) (lines []string) {
	words := strings.Fields(text)
	for len(words) > 0 && len(lines) < most-1 {
		n := 1
		for n < len(words) && d.wide(d.show(strings.Join(words[:n+1], " ")), size, false) <= width {
			n++
		}
		lines = append(lines, d.fit(strings.Join(words[:n], " "), size, false, width))
		words = words[n:]
	}
	if len(words) > 0 {
		lines = append(lines, d.fit(strings.Join(words, " "), size, false, width))
	}
	return lines
}
