// SPDX-License-Identifier: Apache-2.0

package chart

import (
	"fmt"
	"math"
	"strings"
	"time"

	"weir/internal/term"
)

// rows is about how many lines the columns of a picture have.
const rows = 12

func (c *Columns) text(s Screen) []string {
	top := highest(c.Values)
	step, n := steps(top, 5, whole(c.Values))
	each := max(rows/n, 2) // lines between ticks
	labels := make([]string, n+1)
	left := 0
	for i := range labels {
		labels[i] = SI(step * float64(i))
		left = max(left, len(labels[i]))
	}
	room := s.Width - left - 2
	values, group := c.atMost(room)
	cell := min(room/len(values), 6)
	gap := 0
	if cell >= 3 {
		gap = 1
	}
	lines := []string{s.label(c.Unit)}
	height := n * each
	for y := height; y > 0; y-- {
		axis := pad("", left, true) + s.pick(" │", " |")
		if y%each == 0 {
			axis = pad(labels[y/each], left, true) + s.pick(" ┤", " +")
		}
		var row strings.Builder
		for _, v := range values {
			level := v / (step * float64(n)) * float64(height) // in lines
			char := s.column(level-float64(y-1), v > 0 && y == 1)
			row.WriteString(strings.Repeat(char, cell-gap) + strings.Repeat(" ", gap))
		}
		lines = append(lines, axis+s.paint(blue, strings.TrimRight(row.String(), " ")))
	}
	ticks := c.ticks(len(values)*cell, float64(cell)/float64(group))
	marks, below := axisLine(ticks, room)
	base := []rune(strings.Repeat(s.pick("─", "-"), len(values)*cell))
	for _, at := range marks {
		base[at] = []rune(s.pick("┬", "+"))[0]
	}
	indent := strings.Repeat(" ", left+2)
	lines = append(lines, pad("0", left, true)+s.pick(" └", " +")+string(base), indent+below)
	for _, line := range (Screen{Width: room, ASCII: s.ASCII}).wrap(c.Axis) {
		lines = append(lines, indent+line)
	}
	if group > 1 {
		lines = append(lines, s.wrap(fmt.Sprintf("Each column is the highest of %d.", group))...)
	}
	return lines
}

// column returns the character of one line of a column that fills so much of it. What is there at all is seen.
func (s Screen) column(level float64, seen bool) string {
	if s.ASCII {
		switch {
		case level >= 0.75:
			return "#"
		case level >= 0.4:
			return ":"
		case level >= 0.125 || seen:
			return "."
		}
		return " "
	}
	eighths := int(math.Round(level * 8))
	if seen {
		eighths = max(eighths, 1)
	}
	return string([]rune(" ▁▂▃▄▅▆▇█")[min(max(eighths, 0), 8)])
}

// ticks returns labels by their place on an axis, where a column takes so much. Width is how many characters find room on it.
func (c *Columns) ticks(width int, column float64) (ticks []tick) {
	if c.Labels == nil {
		end := c.Start.Add(c.Step * time.Duration(len(c.Values)))
		ticks = timeTicks(c.Start, end, c.Step, c.Zone, width)
		whole := column * float64(len(c.Values))
		for i := range ticks {
			ticks[i].at *= whole
		}
		return ticks
	}
	wide := 0
	for _, l := range c.Labels {
		wide = max(wide, term.StringWidth(l))
	}
	every := 1
	for _, n := range []int{1, 2, 3, 4, 6, 12, 24, len(c.Labels)} {
		if every = n; float64(n)*column >= float64(wide+1) {
			break
		}
	}
	for i := 0; i < len(c.Labels); i += every {
		ticks = append(ticks, tick{float64(i) * column, c.Labels[i]})
	}
	return ticks
}

func (b *Bars) text(s Screen) []string {
	var top int64
	left, right := 0, 0
	labels, numbers := make([]string, len(b.Rows)), make([]string, len(b.Rows))
	for i, row := range b.Rows {
		top = max(top, row.Value)
		numbers[i] = term.Number(row.Value)
		if len(numbers[i]) > s.Width/4 {
			numbers[i] = SI(float64(row.Value))
		}
		labels[i] = term.Cut(s.label(row.Label), s.Width*2/5, s.tail())
		left, right = max(left, term.StringWidth(labels[i])), max(right, len(numbers[i]))
	}
	room := s.Width - left - right - 3
	lines := make([]string, 0, len(b.Rows)+1)
	for i, row := range b.Rows {
		label := pad(labels[i], left, false)
		if row.Missing {
			label = s.paint(dim, label)
		}
		share := 0.0
		if top > 0 {
			share = float64(row.Value) / float64(top)
		}
		bar := s.bar(share*float64(room), row.Value > 0)
		lines = append(lines, label+" "+s.pick("│", "|")+s.paint(blue, bar)+" "+numbers[i])
	}
	return append(lines, s.paint(dim, pad("", left+1, false)+s.pick("└", "+")+" "+term.Cut(s.label(b.Unit), s.Width-left-3, s.tail())))
}

// bar returns a bar of so many columns.
func (s Screen) bar(length float64, seen bool) string {
	if s.ASCII {
		n := int(math.Round(length))
		if seen {
			n = max(n, 1)
		}
		return strings.Repeat("#", n)
	}
	eighths := int(math.Round(length * 8))
	if seen {
		eighths = max(eighths, 1)
	}
	bar := strings.Repeat("█", eighths/8)
	if rest := eighths % 8; rest > 0 {
		bar += string([]rune("▏▎▍▌▋▊▉")[rest-1])
	}
	return bar
}

func (h *Heat) text(s Screen) []string {
	left := 0
	for _, name := range h.Rows {
		left = max(left, term.StringWidth(name))
	}
	left++
	columns := len(h.Columns)
	cell := max(min((s.Width-left)/columns, 3), 1)
	c := Columns{Labels: h.Columns}
	_, above := axisLine(c.ticks(columns*cell, float64(cell)), s.Width-left)
	lines := []string{pad("", left, false) + above}
	shades := []rune(s.pick("·░▒▓█", ".:+#@"))
	top := h.highest()
	missing := false
	for i, row := range h.Cells {
		var b strings.Builder
		for _, v := range row {
			char := " "
			if math.IsNaN(v) {
				missing = true
			} else {
				char = string(shades[shade(v, top, len(shades)-1)])
			}
			b.WriteString(strings.Repeat(char, cell))
		}
		lines = append(lines, pad(h.Rows[i], left, false)+s.paint(blue, b.String()))
	}
	for _, line := range (Screen{Width: s.Width - left, ASCII: s.ASCII}).wrap(h.Axis) {
		lines = append(lines, pad("", left, false)+line)
	}
	legend := []string{s.label(h.Unit) + ":", string(shades[0]) + " 0"}
	for i := 1; i < len(shades); i++ {
		bound := SI(top * float64(i) / float64(len(shades)-1))
		if i == 1 {
			bound = "up to " + bound
		}
		legend = append(legend, string(shades[i])+" "+bound)
	}
	if missing {
		legend = append(legend, "blank: no such hour")
	}
	return append(append(lines, ""), s.fill(legend, "  ")...)
}

// shade returns one of n shades, from 1, for a value; 0 for zero.
func shade(v, top float64, n int) int {
	if v <= 0 {
		return 0
	}
	return min(max(int(math.Ceil(v/top*float64(n)-1e-9)), 1), n)
}
