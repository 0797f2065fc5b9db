// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"weir/internal/calendar"
	"weir/internal/chart"
	"weir/internal/term"
	"weir/store"
)

// pictureOptions are the flags that draw.
type pictureOptions struct {
	plot, heatmap, histogram bool
	step                     precision
}

func (p *pictureOptions) addFlags(f *pflag.FlagSet) {
	f.BoolVar(&p.plot, "plot", false, "draw the flows over the hours of the day, on average over the days from the first flow to the last; with --top: draw the groups as bars")
	f.BoolVar(&p.heatmap, "heatmap", false, "draw the flows over the hours of weekdays, on average over the same days")
	f.BoolVar(&p.histogram, "histogram", false, "draw the flows over the whole time")
	f.Var(&p.step, "step", "with --histogram: make slots this wide, in `seconds` or as 1h, 6h or 1d (default: as wide as the picture needs)")
	f.Lookup("step").DefValue = "" // no "(default 0s)"
}

// asked reports whether there is something to draw.
func (p *pictureOptions) asked() bool { return p.plot || p.heatmap || p.histogram }

// check reports flags that do not go together.
func (p *pictureOptions) check(l *listOptions) error {
	var names []string
	for _, f := range []struct {
		name  string
		given bool
	}{{"--plot", p.plot}, {"--heatmap", p.heatmap}, {"--histogram", p.histogram}} {
		if f.given {
			names = append(names, f.name)
		}
	}
	switch {
	case len(names) > 1:
		return fmt.Errorf("%s and %s exclude each other", names[0], names[1])
	case p.step != 0 && !p.histogram:
		return errors.New("--step needs --histogram")
	case len(names) == 0:
		return nil
	}
	name := names[0]
	for _, asked := range l.questions() {
		if asked != "--top" {
			return fmt.Errorf("%s and %s exclude each other", name, asked)
		}
	}
	switch {
	case len(l.top) > 0 && !p.plot:
		return fmt.Errorf("--top does not go with %s: --plot draws groups", name)
	case len(l.collect) > 0:
		return fmt.Errorf("--collect does not go with %s: bars have one value", name)
	case len(l.top) == 0 && (l.limit > 0 || l.skip > 0 || len(l.orderBy) > 0):
		return fmt.Errorf("--limit, --skip and --orderby do not go with %s: all flows are counted", name)
	case l.timeline:
		return fmt.Errorf("--timeline and %s exclude each other", name)
	}
	return nil
}

// drawing is a picture with what it shows, as rows of columns for programs.
type drawing struct {
	picture chart.Picture
	columns []column
	rows    [][]any
}

// draw answers with the picture that the flags ask for, or with its values where the format is one for programs.
func (o *options) draw(ctx context.Context, db store.Reader, out *output, sel selection, q store.Query) error {
	s := o.screen()
	forPeople := out.format == asText && !out.style.plain
	var d *drawing
	var err error
	switch {
	case o.picture.histogram:
		most := calendar.MaxSeries // for programs
		switch {
		case out.format.picture():
			most = 240
		case forPeople:
			most = s.Width - 8 // its axis has labels of five characters, mostly
		}
		d, err = o.histogram(ctx, db, &sel, most)
	case o.picture.heatmap || len(o.list.top) == 0:
		d, err = o.byHour(ctx, db, &sel)
	case !out.format.picture() && !forPeople:
		return o.printTop(ctx, db, out, q)
	default:
		d, err = o.bars(ctx, db, &sel, q)
	}
	if err != nil {
		return err
	}
	switch {
	case out.format == asSVG:
		return chart.SVG(out.w, d.picture)
	case out.format == asPNG:
		return chart.PNG(out.w, d.picture)
	case forPeople:
		return chart.Text(out.w, d.picture, s)
	}
	list, err := out.sheet(d.columns)
	if err != nil {
		return err
	}
	for _, row := range d.rows {
		if err := list.row(row, nil); err != nil {
			return err
		}
	}
	return list.end()
}

// screen says what may be drawn where answers go: $COLUMNS or the width of the terminal, blocks where the locale has
// them, color on a terminal unless there is $NO_COLOR.
func (o *options) screen() chart.Screen {
	s := chart.Screen{Width: 80}
	dumb := os.Getenv("TERM") == "dumb"
	if f, ok := o.stdout.(*os.File); ok && (o.out.file == "" || o.out.file == "-") {
		if width, ok := term.Width(f); ok {
			s.Width = width
			s.Color = !dumb && os.Getenv("NO_COLOR") == ""
		}
	}
	if n, err := strconv.Atoi(os.Getenv("COLUMNS")); err == nil && n > 0 {
		s.Width = n
	}
	locale := ""
	for _, name := range []string{"LC_ALL", "LC_CTYPE", "LANG"} {
		if locale = os.Getenv(name); locale != "" {
			break
		}
	}
	locale = strings.ToLower(locale)
	s.ASCII = dumb || !strings.Contains(locale, "utf-8") && !strings.Contains(locale, "utf8")
	return s
}

// heading returns what stands above a picture of the flows that are selected.
func heading(title string, notes []string, sel *selection) chart.Heading {
	if sel.named != nil {
		notes = append(notes, "Filter: "+sel.named.String())
	}
	return chart.Heading{Title: title, Note: strings.Join(notes, ". "), Unit: "flows", Empty: "no flows"}
}

// countSlots counts the flows that are active in slots of this width.
func countSlots(ctx context.Context, db store.Timekeeper, sel *selection, step time.Duration) ([]calendar.Slot, error) {
	found, err := db.Timeline(ctx, store.TimelineQuery{Filter: sel.filter, After: sel.after, Before: sel.before, Step: step})
	if err != nil {
		return nil, err
	}
	out := make([]calendar.Slot, len(found))
	for i := range found {
		out[i] = calendar.Slot{Start: found[i].Start, Count: found[i].Flows}
	}
	return out, nil
}

// slotWidth returns how wide the slots of the store are.
func slotWidth(ctx context.Context, db store.Reporter) (time.Duration, error) {
	st, err := db.Status(ctx)
	if err != nil {
		return 0, err
	}
	if st.Precision <= 0 {
		return time.Hour, nil // of a reader that explains, and counts nothing
	}
	return time.Duration(st.Precision) * time.Second, nil
}

// byHour draws averages over the hours of the day, or of weekdays.
func (o *options) byHour(ctx context.Context, db store.Reader, sel *selection) (*drawing, error) {
	precision, err := slotWidth(ctx, db)
	if err != nil {
		return nil, err
	}
	step, err := calendar.PerDay(precision)
	if err != nil {
		return nil, fmt.Errorf("%w; --histogram draws them", err)
	}
	found, err := countSlots(ctx, db, sel, step)
	if err != nil {
		return nil, err
	}
	var notes []string
	note := func(days calendar.Days) {
		text := fmt.Sprintf("Average of %s days, %v to %v", term.Number(int64(days.Len())), days.First, days.Last)
		if days.Len() == 1 {
			text = fmt.Sprintf("Of one day, %v", days.First)
		}
		notes = append(notes, text)
		if step > time.Hour {
			notes = append(notes, "Slots of the store are "+calendar.Text(step)+" wide: hours within one look alike")
		}
	}
	hours := make([]string, 24)
	for i := range hours {
		hours[i] = fmt.Sprintf("%02d", i)
	}
	axis := "hour of the day (" + o.zoneText() + ")"
	if o.picture.heatmap {
		h := &chart.Heat{Axis: axis, Rows: []string{"Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"}, Columns: hours}
		if len(found) > 0 {
			week := calendar.ByWeekday(found, step, o.zone)
			note(week.Days)
			for i := range week.Average {
				h.Cells = append(h.Cells, week.Average[i][:])
			}
		}
		d := &drawing{picture: h, columns: named("weekday", "hour", "flows")}
		for i, row := range h.Cells {
			for hour, v := range row {
				d.rows = append(d.rows, []any{h.Rows[i], int64(hour), known(v)})
			}
		}
		h.Heading = heading("Flows by weekday and hour", notes, sel)
		h.Unit = "average flows"
		return d, nil
	}
	c := &chart.Columns{Axis: axis, Labels: hours}
	if len(found) > 0 {
		day := calendar.ByHour(found, step, o.zone)
		note(day.Days)
		c.Values = day.Average[:]
	}
	c.Heading = heading("Flows by hour of the day", notes, sel)
	c.Unit = "average flows"
	d := &drawing{picture: c, columns: named("hour", "flows")}
	for hour, v := range c.Values {
		d.rows = append(d.rows, []any{int64(hour), known(v)})
	}
	return d, nil
}

// known returns an average, nil where there is none.
func known(v float64) any {
	if math.IsNaN(v) {
		return nil
	}
	return v
}

// histogram draws the flows over the whole time. Without --step there are at most so many slots.
func (o *options) histogram(ctx context.Context, db store.Reader, sel *selection, most int) (*drawing, error) {
	precision, err := slotWidth(ctx, db)
	if err != nil {
		return nil, err
	}
	step := time.Duration(o.picture.step)
	fixed := step != 0
	if !fixed {
		step = precision
	} else if step%precision != 0 {
		return nil, usage(fmt.Errorf("--step %s: the slots of the store are %s wide, a step is a multiple of that", calendar.Text(step), calendar.Text(precision)))
	}
	for {
		found, err := countSlots(ctx, db, sel, step)
		if err != nil {
			return nil, err
		}
		span := spanOf(found, step, calendar.Span{Start: sel.after, End: sel.before})
		if !fixed {
			fixed = true
			if wider := calendar.Step(span.End.Sub(span.Start), step, most); wider != step {
				step = wider
				continue
			}
		}
		start, values, err := calendar.Series(found, step, span)
		if err != nil {
			return nil, usage(fmt.Errorf("--step %s: %w", calendar.Text(step), err))
		}
		c := &chart.Columns{Axis: "time (" + o.zoneText() + ")", Values: values, Start: start, Step: step, Zone: o.zone}
		var notes []string
		if len(values) > 0 {
			const layout = "2006-01-02 15:04"
			end := start.Add(time.Duration(len(values)) * step)
			notes = append(notes, start.In(o.zone).Format(layout)+" to "+end.In(o.zone).Format(layout))
			if _, offset := start.In(o.zone).Zone(); step > time.Hour && time.Duration(offset)*time.Second%step != 0 {
				notes = append(notes, "Slots begin at multiples of "+calendar.Text(step)+" in UTC")
			}
		}
		title := "Flows per " + calendar.Text(step)
		switch step {
		case time.Hour:
			title = "Flows per hour"
		case 24 * time.Hour:
			title = "Flows per day"
		}
		c.Heading = heading(title, notes, sel)
		d := &drawing{picture: c, columns: named("start", "flows")}
		for i, v := range values {
			d.rows = append(d.rows, []any{start.Add(time.Duration(i) * step), int64(v)})
		}
		return d, nil
	}
}

// spanOf returns the window, where it is open what the slots take.
func spanOf(found []calendar.Slot, step time.Duration, window calendar.Span) calendar.Span {
	if len(found) > 0 {
		if window.Start.IsZero() {
			window.Start = found[0].Start
		}
		if window.End.IsZero() {
			window.End = found[len(found)-1].Start.Add(step)
		}
	}
	if window.Start.IsZero() || window.End.IsZero() {
		return calendar.Span{}
	}
	return window
}

// zoneText names the zone of times.
func (o *options) zoneText() string {
	if o.zone == time.Local {
		return "local time"
	}
	return o.zone.String()
}

// bars draws the groups of --top.
func (o *options) bars(ctx context.Context, db store.Ranker, sel *selection, q store.Query) (*drawing, error) {
	l := &o.list
	if q.Limit == 0 {
		q.Limit = topLimit
	}
	rows, err := db.Top(ctx, store.TopQuery{Query: q, Fields: l.top, Sum: l.sum, Least: l.least})
	if err != nil {
		return nil, err
	}
	unit := "flows"
	if len(l.sum) > 0 {
		unit = strings.Join(l.sum, " + ")
	}
	title := "Top "
	if l.least {
		title = "Least "
	}
	var notes []string
	if !sel.after.IsZero() {
		notes = append(notes, "Active after "+sel.after.In(o.zone).Format(timeLayout))
	}
	if !sel.before.IsZero() {
		notes = append(notes, "Active before "+sel.before.In(o.zone).Format(timeLayout))
	}
	b := &chart.Bars{Heading: heading(title+strings.Join(l.top, ", ")+" by "+unit, notes, sel)}
	b.Unit = unit
	for i := range rows {
		bar := chart.Bar{Value: rows[i].Count, Missing: true}
		texts := make([]string, len(rows[i].Fields))
		for j, v := range rows[i].Fields {
			texts[j] = o.barLabel(v)
			bar.Missing = bar.Missing && v == nil
		}
		bar.Label = strings.Join(texts, ", ")
		b.Rows = append(b.Rows, bar)
	}
	return &drawing{picture: b}, nil
}

// noValue stands for no value; a value that reads like it is quoted.
const noValue = "(none)"

// barLabel returns a value of a group, none as well.
func (o *options) barLabel(v any) string {
	switch v := v.(type) {
	case nil:
		return noValue
	case string:
		if v == "" || v == noValue {
			return strconv.Quote(v)
		}
		return v
	case time.Time:
		return v.In(o.zone).Format(timeLayout)
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64)
	}
	return fmt.Sprint(v)
}
