// SPDX-License-Identifier: Apache-2.0

package chart

import (
	"fmt"
	"math"
	"strings"

	"weir/internal/term"
)

func (c *Columns) height() int { return Height }
func (h *Heat) height() int    { return Height }

// lineHeight is how high a bar is with its distance to the next one, at least.
const lineHeight = 24

// maxBars is how many bars a file shows.
const maxBars = 500

func (b *Bars) height() int { return top + 2*edge + 30 + lineHeight*min(len(b.Rows), maxBars) }

func (c *Columns) draw(d *drawing) {
	all := highest(c.Values)
	step, n := steps(all, 6, whole(c.Values))
	left := 0
	for i := range n + 1 {
		left = max(left, d.wide(SI(step*float64(i)), 14, false))
	}
	left += edge + 12
	bottom := d.height - edge - 44
	head := top + 34 // room for the unit and for the values on columns
	room := Width - edge - left
	d.label(edge, top, start, faint(), d.fit(c.Unit, 14, false, room))
	scale := float64(bottom-head) / (step * float64(n))
	for i := range n + 1 {
		y := bottom - int(math.Round(step*float64(i)*scale))
		if i > 0 {
			d.rect(left, y, room, 1, grid(), "")
		}
		d.label(left-10, y+5, end, faint(), SI(step*float64(i)))
	}
	values, group := c.atMost(room / 2)
	// A few columns are not as wide as the picture.
	span := min(room, 120*len(values))
	width := float64(span) / float64(len(values))
	gap := min(int(width*0.2), 10)
	x := func(i float64) int { return left + int(math.Round(i*width)) }
	fits := true
	peak := 0
	for i, v := range values {
		fits = fits && d.wide(SI(v), 13, false)+4 <= int(width)
		if v > values[peak] || math.IsNaN(values[peak]) {
			peak = i
		}
	}
	for i, v := range values {
		if math.IsNaN(v) {
			continue
		}
		h := int(math.Round(v * scale))
		if v > 0 {
			h = max(h, 1)
		}
		from, to := x(float64(i)), x(float64(i+1))
		d.rect(from+gap/2, bottom-h, max(to-from-gap, 1), h, mark(), c.name(i*group)+": "+SI(v)+" "+c.Unit)
		if v > 0 && (fits || i == peak) {
			text := SI(v)
			half := d.wide(text, 13, false)/2 + 1
			at := min(max((from+to)/2, left+half), Width-edge-half)
			d.rect(at-half, bottom-h-17, 2*half, 14, paper(), "") // no grid behind numbers
			d.add(shape{x: at, y: bottom - h - 6, text: text, size: 13, anchor: middle, fill: ink()})
		}
	}
	d.rect(left, bottom, room, 1, faint(), "")
	c.drawTicks(d, left, span, bottom)
	axis := c.Axis
	if group > 1 {
		axis += fmt.Sprintf(" · each column is the highest of %d", group)
	}
	d.label(left+room/2, d.height-edge, middle, faint(), d.fit(axis, 14, false, room))
}

// drawTicks labels what is below columns: categories below their middle, times where they are.
func (c *Columns) drawTicks(d *drawing, left, span, bottom int) {
	column := float64(span) / float64(len(c.Values))
	if c.Labels == nil {
		last := 0
		for _, t := range c.ticks(span/9, column) {
			x := left + int(math.Round(t.at))
			half := d.wide(t.label, 14, false)/2 + 1
			d.rect(x, bottom, 1, 6, faint(), "")
			if x-half > last && x+half <= Width-8 {
				d.label(x, bottom+22, middle, faint(), t.label)
				last = x + half + 8
			}
		}
		return
	}
	wide := 0
	for _, l := range c.Labels {
		wide = max(wide, d.wide(d.show(l), 14, false))
	}
	every := max(int(math.Ceil(float64(wide+10)/column)), 1)
	for i := 0; i < len(c.Labels); i += every {
		d.label(left+int(math.Round((float64(i)+0.5)*column)), bottom+22, middle, faint(), c.Labels[i])
	}
}

func (b *Bars) draw(d *drawing) {
	shown := b.Rows[:min(len(b.Rows), maxBars)]
	var most int64
	left, right := 0, 0
	labels := make([]string, len(shown))
	for i, row := range shown {
		labels[i] = d.fit(row.Label, 15, false, 460)
		left = max(left, d.wide(labels[i], 15, false))
		right = max(right, d.wide(term.Number(row.Value), 14, false))
		most = max(most, row.Value)
	}
	left += edge + 12
	room := Width - edge - left - right - 12
	bottom := d.height - edge - 44
	head := top - 8
	// Few bars are not spread over all of the height.
	pitch := min(float64(bottom-head)/float64(len(shown)), 64)
	bottom = head + int(math.Round(pitch*float64(len(shown))))
	all := float64(max(most, 1))
	step, _ := steps(all, max(min(8, room/80), 1), true)
	scale := float64(room) / all
	for v := 0.0; v <= all; v += step {
		x := left + int(math.Round(v*scale))
		d.rect(x, head, 1, bottom-head, grid(), "")
		d.label(x, bottom+22, middle, faint(), SI(v))
	}
	for i, row := range shown {
		from, to := head+int(math.Round(pitch*float64(i))), head+int(math.Round(pitch*float64(i+1)))
		gap := max(int(pitch*0.25), 3)
		mid := (from + to) / 2
		w := max(int(math.Round(float64(row.Value)*scale)), 0)
		if row.Value > 0 {
			w = max(w, 2)
		}
		fill, text := mark(), ink()
		if row.Missing {
			fill, text = other(), faint()
		}
		number := term.Number(row.Value)
		d.rect(left+w+3, mid-8, d.wide(number, 14, false)+8, 17, paper(), "")
		d.rect(left+1, from+gap/2, w, to-from-gap, fill, d.show(row.Label)+": "+number)
		d.add(shape{x: left - 10, y: mid + 5, text: labels[i], size: 15, anchor: end, fill: text})
		d.label(left+w+8, mid+5, start, ink(), number)
	}
	d.rect(left, head, 1, bottom-head, faint(), "")
	unit := b.Unit
	if n := len(b.Rows) - len(shown); n > 0 {
		unit += " · " + term.Number(int64(n)) + " more are not shown"
	}
	d.label(left+room/2, bottom+46, middle, faint(), d.fit(unit, 14, false, room))
}

func (h *Heat) draw(d *drawing) {
	left := 0
	for _, name := range h.Rows {
		left = max(left, d.wide(d.show(name), 15, false))
	}
	left += edge + 14
	const key = 84 // room for the scale
	bottom := d.height - edge - 44
	head := top - 8
	room := Width - edge - left - key
	all := h.highest()
	x := func(i int) int { return left + i*room/len(h.Columns) }
	y := func(i int) int { return head + i*(bottom-head)/len(h.Rows) }
	for i, row := range h.Cells {
		d.add(shape{x: left - 12, y: (y(i)+y(i+1))/2 + 5, text: d.show(h.Rows[i]), size: 15, anchor: end, fill: ink()})
		for j, v := range row {
			w, high := x(j+1)-x(j)-2, y(i+1)-y(i)-2
			if math.IsNaN(v) {
				d.rect(x(j), y(i), w, high, color{0xf0, 0xf0, 0xf0}, "")
				d.label(x(j)+w/2, (y(i)+y(i+1))/2+5, middle, other(), "–")
				continue
			}
			share := v / all
			d.rect(x(j), y(i), w, high, ramp(share), h.Rows[i]+" "+h.Columns[j]+": "+SI(v)+" "+h.Unit)
			if text := SI(v); d.wide(text, 13, false) <= w-2 {
				fill := ink()
				if share > 0.6 { // where white is easier to read
					fill = paper()
				}
				d.add(shape{x: x(j) + w/2, y: (y(i)+y(i+1))/2 + 5, text: text, size: 13, anchor: middle, fill: fill})
			}
		}
	}
	for j, name := range h.Columns {
		d.label((x(j)+x(j+1)-2)/2, bottom+20, middle, faint(), name)
	}
	d.label(left+room/2, d.height-edge, middle, faint(), d.fit(h.Axis, 14, false, room))
	h.drawKey(d, Width-edge-key+24, head+26, bottom)
}

// drawKey shows which shade is which value.
func (h *Heat) drawKey(d *drawing, x, from, to int) {
	const bands = 100
	for i := range bands {
		a, b := to-(to-from)*i/bands, to-(to-from)*(i+1)/bands
		d.rect(x, b, 16, a-b, ramp((float64(i)+0.5)/bands), "")
	}
	d.add(shape{x: Width - edge, y: from - 14, text: d.fit(strings.TrimPrefix(h.Unit, "average "), 14, false, 80), size: 14, anchor: end, fill: faint()})
	all := h.highest()
	step, n := steps(all, 5, false)
	for i := range n + 1 {
		v := step * float64(i)
		if v > all*1.0001 {
			break
		}
		d.label(x+22, to-int(math.Round(v/all*float64(to-from)))+5, start, faint(), SI(v))
	}
}
