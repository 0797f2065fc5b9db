// SPDX-License-Identifier: Apache-2.0

// Package chart draws columns, bars and heat maps, as text for terminals, as SVG and as PNG.
//
// Texts may come from the wire: whatever draws them escapes them first.
package chart

import (
	"math"
	"strings"
	"time"

	"weir/internal/term"
)

// Picture is one of Columns, Bars and Heat.
type Picture interface {
	// head returns what stands above the picture.
	head() *Heading
	// empty reports whether there is nothing to draw.
	empty() bool
	// summary says in a sentence what the picture shows, for those who do not see it.
	summary() string
	// text returns the lines of the picture below the heading.
	text(s Screen) []string
	// draw draws the picture below the heading.
	draw(d *drawing)
	// height is how high the picture would like to be.
	height() int
}

// Heading is what stands above a picture.
type Heading struct {
	// Title says what the picture shows, Note of what: days, filters, what was left out.
	Title, Note string
	// Unit is what the values count: "flows".
	Unit string
	// Empty is what stands in place of a picture of nothing: "no flows".
	Empty string
}

func (h *Heading) head() *Heading { return h }

// Columns are values beside each other: of categories, or over time.
type Columns struct {
	Heading
	// Axis says what the columns are: "hour of the day".
	Axis string
	// Values are as high as the columns; NaN is no column.
	Values []float64
	// Labels names the columns. Where there are none they are slots of time: the first
	// one begins at Start, each is Step wide, and Zone says how times are written.
	Labels []string
	Start  time.Time
	Step   time.Duration
	Zone   *time.Location
}

// Bars are values below each other.
type Bars struct {
	Heading
	Rows []Bar
}

// Bar is a value with a name.
type Bar struct {
	Label string
	// Missing says that the label stands for no value.
	Missing bool
	Value   int64
}

// Heat is a table of values as shades. A value that is NaN is not there.
type Heat struct {
	Heading
	Axis    string
	Rows    []string
	Columns []string
	Cells   [][]float64
}

func (c *Columns) empty() bool { return highest(c.Values) <= 0 }
func (b *Bars) empty() bool    { return len(b.Rows) == 0 }
func (h *Heat) empty() bool    { return h.highest() <= 0 }

func (h *Heat) highest() float64 {
	top := math.Inf(-1)
	for _, row := range h.Cells {
		top = max(top, highest(row))
	}
	return top
}

// highest returns the greatest value that is there.
func highest(values []float64) float64 {
	top := math.Inf(-1)
	for _, v := range values {
		if v > top {
			top = v
		}
	}
	return top
}

func (c *Columns) summary() string {
	if c.empty() {
		return c.Empty
	}
	at := 0
	for i, v := range c.Values {
		if v > c.Values[at] || math.IsNaN(c.Values[at]) {
			at = i
		}
	}
	return term.Number(int64(len(c.Values))) + " columns, the highest of " + SI(c.Values[at]) + " " + c.Unit + " at " + c.name(at) + "."
}

func (b *Bars) summary() string {
	if b.empty() {
		return b.Empty
	}
	texts := make([]string, 0, 3)
	for i := range b.Rows[:min(3, len(b.Rows))] {
		texts = append(texts, legible(b.Rows[i].Label)+" "+term.Number(b.Rows[i].Value))
	}
	return term.Number(int64(len(b.Rows))) + " bars, the first: " + strings.Join(texts, ", ") + " " + b.Unit + "."
}

func (h *Heat) summary() string {
	if h.empty() {
		return h.Empty
	}
	for i, row := range h.Cells {
		for j, v := range row {
			if v == h.highest() {
				return "The highest value is " + SI(v) + " " + h.Unit + ": " + h.Rows[i] + " " + h.Columns[j] + "."
			}
		}
	}
	return ""
}

// name returns what a column stands for.
func (c *Columns) name(i int) string {
	if c.Labels != nil {
		return legible(c.Labels[i])
	}
	return c.Start.Add(time.Duration(i) * c.Step).In(c.Zone).Format("2006-01-02 15:04")
}

// atMost returns the columns, or fewer: each is then the highest of so many.
func (c *Columns) atMost(n int) (values []float64, group int) {
	group = (len(c.Values) + n - 1) / n
	if group <= 1 {
		return c.Values, 1
	}
	for i := 0; i < len(c.Values); i += group {
		values = append(values, max(highest(c.Values[i:min(i+group, len(c.Values))]), 0))
	}
	return values, group
}

// longest is how many characters of a text are looked at: more than any picture has room for.
const longest = 1000

// legible returns a text without anything that would be acted on, or not be seen. Names from the wire may
// have a megabyte, of which only the beginning is shown.
func legible(text string) string {
	n := 0
	for i := range text {
		if n++; n > longest {
			text = text[:i] + "..."
			break
		}
	}
	return term.Escape(text)
}
