// SPDX-License-Identifier: Apache-2.0

package lake

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/parquet-go/parquet-go"

	"weir/internal/flow"
)

// rollupWeekPart is how large a part of the rows of a week's days must be uncovered for its
// roll-up to be made anew. So a week whose days come one by one is written about three
// times, and once more for each day that leaves it: a bound that does not grow with the
// store.
const rollupWeekPart = 4

// rollupWeek is a week to roll up.
type rollupWeek struct {
	week string // its Monday
	days []Part // roll-ups of its days
	old  []Part // of the roll-up before
}

// weekOf returns the Monday of the week of a day.
func weekOf(day string) (string, error) {
	t, err := time.Parse(time.DateOnly, day)
	if err != nil {
		return "", err
	}
	return t.AddDate(0, 0, -int(t.Weekday()+6)%7).Format(time.DateOnly), nil
}

// planWeeks returns the weeks to roll up.
func (c *compactor) planWeeks(m *Manifest, now time.Time) []rollupWeek {
	byWeek := make(map[string]*rollupWeek)
	for i := range m.Parts {
		p := m.Parts[i]
		week, err := weekOf(p.Day)
		if err != nil || !IsRollup(p.Kind) || !c.closed(p.Day, now) {
			continue
		}
		w := byWeek[week]
		if w == nil {
			w = &rollupWeek{week: week}
			byWeek[week] = w
		}
		switch {
		case p.Kind == WeekTable:
			w.old = append(w.old, p)
		case !c.skips(&p):
			w.days = append(w.days, p)
		}
	}
	var weeks []rollupWeek
	for _, w := range byWeek {
		if w.due() {
			weeks = append(weeks, *w)
		}
	}
	slices.SortFunc(weeks, func(a, b rollupWeek) int { return strings.Compare(a.week, b.week) })
	return weeks
}

// due reports whether a week is worth a new roll-up: it has several days, and enough of
// them are not covered.
func (w *rollupWeek) due() bool {
	var covered, uncovered int64
	days := make(map[string]bool)
	for i := range w.days {
		p := &w.days[i]
		days[p.Day] = true
		if p.Week != "" {
			covered += p.Rows
		} else {
			uncovered += p.Rows
		}
	}
	return len(days) > 1 && uncovered > 0 && uncovered*rollupWeekPart >= covered
}

// rollupWeek writes the flows of a week and puts them into the store.
func (c *compactor) rollupWeek(ctx context.Context, w rollupWeek) error {
	for w.due() {
		parts, bad, err := c.buildWeek(ctx, &w)
		if err != nil && bad < 0 {
			return err
		}
		if bad >= 0 {
			if ok, err := c.leave(&w.days[bad], err); !ok || err != nil {
				return err
			}
			// A day of which a part is missing is none.
			broken := w.days[bad].Rollup
			w.days = slices.DeleteFunc(w.days, func(p Part) bool { return p.Rollup == broken })
			continue
		}
		covered := make(map[string]bool, len(w.days))
		for i := range w.days {
			covered[w.days[i].Path] = true
		}
		id := newID()
		for i := range parts {
			parts[i].Import, parts[i].Week = "", id
		}
		done, err := c.lake.swap(c.dir, w.old, w.days, parts, func(m *Manifest) {
			for i := range m.Parts {
				if p := &m.Parts[i]; covered[p.Path] {
					p.Week = id
				}
			}
		})
		if !done {
			if err == nil {
				c.stats.Superseded++
			}
			return err
		}
		c.stats.Weeks++
		for i := range parts {
			c.stats.WeekRows += parts[i].Rows
			c.stats.WeekBytes += parts[i].Bytes
		}
		return err
	}
	return nil
}

// buildWeek writes the parts of a week's roll-up. They belong to its first day: when that
// one expires they do, too. bad is the number of the part that cannot be read, -1 if there
// is none.
func (c *compactor) buildWeek(ctx context.Context, w *rollupWeek) (parts []Part, bad int, err error) {
	table := WeekRollup()
	set, err := c.set(&table)
	if err != nil {
		return nil, -1, err
	}
	defer func() {
		if err != nil {
			set.discard()
		}
	}()
	first := slices.MinFunc(w.days, func(a, b Part) int { return strings.Compare(a.Day, b.Day) }).Day
	day, err := dayNumber(first)
	if err != nil {
		return nil, -1, err
	}
	t := new(texts)
	out := &rollupWriter{set: set, texts: t, day: day, group: c.budget.group, stop: ctx.Err}
	sorted := &runs{dir: c.dir, texts: t, most: c.budget.runs, stop: ctx.Err}
	read := new(dayProgress)
	// Few parts are merged as they are; of many, some at a time become a run.
	for from := 0; from < len(w.days); from += c.budget.runs {
		group := w.days[from:min(from+c.budget.runs, len(w.days))]
		yield := func(source func(func(*flowRow) error) error) error { return source(out.add) }
		if len(group) < len(w.days) {
			yield = sorted.add
		}
		err := yield(func(add func(*flowRow) error) error { return c.mergeDays(ctx, t, group, read, add) })
		if err != nil {
			if bad = c.blame(err, from+read.failed); bad >= 0 {
				return nil, bad, err
			}
			return nil, -1, fmt.Errorf("roll up week of %s: %w", w.week, err)
		}
	}
	if len(sorted.names) > 0 {
		err = sorted.each(out.add)
	}
	if err == nil {
		err = out.finish()
	}
	if err != nil {
		return nil, -1, fmt.Errorf("roll up week of %s: %w", w.week, err)
	}
	if out.conns != read.conns {
		return nil, -1, fmt.Errorf("roll up week of %s: %d connections became %d", w.week, read.conns, out.conns)
	}
	parts = slices.Clone(set.closed)
	set.closed = set.closed[:0]
	return parts, -1, nil
}

// dayProgress is what was read of roll-ups, and which part of a group failed.
type dayProgress struct {
	conns  int64
	failed int
}

// mergeDays calls yield with the flows of some parts of roll-ups.
func (c *compactor) mergeDays(ctx context.Context, t *texts, parts []Part, read *dayProgress, yield func(*flowRow) error) error {
	sources := make([]rowSource, len(parts))
	for i := range parts {
		s := &dayReader{compactor: c, texts: t, number: i, progress: read}
		s.table, s.keep = tableOf(RollupTable, parts[i].Schema), 0
		defer s.close()
		if err := s.open(ctx, c.lake.path, &parts[i]); err != nil {
			read.failed = i
			return err
		}
		s.values, s.used = make([][]parquet.Value, len(s.leaves)), make([]int, len(s.leaves))
		sources[i] = s
	}
	return mergeRows(t, ctx.Err, sources, yield)
}

// dayReader reads the flows of a part of a roll-up; it implements rowSource.
type dayReader struct {
	partReader
	compactor *compactor
	texts     *texts
	number    int
	progress  *dayProgress

	rows, row int // of the chunk
	values    [][]parquet.Value
	used      []int // values of the rows before
}

// dayRows is how many rows of a part are held at once: there are many parts.
const dayRows = 256

func (r *dayReader) next(f *flowRow) error {
	if err := r.fill(f); err != nil {
		r.progress.failed = r.number
		return err
	}
	return nil
}

func (r *dayReader) fill(f *flowRow) error {
	if r.row == r.rows {
		n, err := r.partReader.next(dayRows)
		if err != nil {
			return err
		}
		if n == 0 {
			return io.EOF
		}
		for i := range r.values {
			if r.values[i], err = r.read(i, n); err != nil {
				return err
			}
			r.used[i] = 0
		}
		r.row, r.rows = 0, n
		r.compactor.rows += int64(n)
		r.compactor.cfg.Progress(r.compactor.rows)
	}
	r.row++
	if err := r.decode(f); err != nil {
		return unfit(r.part, "%w", err)
	}
	return nil
}

// decode reads a row, the columns in the order of Rollup.
func (r *dayReader) decode(f *flowRow) error {
	column := 2 // after the texts of the addresses
	one := func() *parquet.Value {
		v := &r.values[column][r.used[column]]
		r.used[column]++
		column++
		return v
	}
	optional := func() int32 {
		if v := one(); !v.IsNull() {
			return v.Int32()
		}
		return -1
	}
	// list returns the values of a list, none if it is empty.
	list := func() []parquet.Value {
		values, from := r.values[column], r.used[column]
		to := from + 1
		for to < len(values) && values[to].RepetitionLevel() > 0 {
			to++
		}
		r.used[column] = to
		column++
		if values[from].IsNull() {
			return nil
		}
		return values[from:to]
	}
	var err error
	numbers := func(set int) {
		f.sets[set] = f.sets[set][:0]
		for _, v := range list() {
			f.sets[set] = append(f.sets[set], v.Int32())
		}
	}
	words := func(set int) {
		f.sets[set] = f.sets[set][:0]
		for _, v := range list() {
			id, terr := r.texts.id(v.ByteArray())
			if terr != nil {
				err = terr
			}
			f.sets[set] = append(f.sets[set], id)
		}
	}
	f.src, f.dst = flow.Addr(one().ByteArray()), flow.Addr(one().ByteArray())
	proto, err := r.texts.id(one().ByteArray())
	f.proto = proto
	f.dport, f.typ = optional(), optional()
	numbers(setSports)
	numbers(setCodes)
	for i := range f.sums {
		f.sums[i] = one().Int64()
	}
	f.first, f.last = one().Int64(), one().Int64()
	words(setStates)
	words(setServices)
	numbers(setVLANs)
	words(setSensors)
	times, counts := list(), list()
	if len(times) != len(counts) {
		return fmt.Errorf("%d slots have %d counts", len(times), len(counts))
	}
	f.slots = f.slots[:0]
	for i := range times {
		f.slots = append(f.slots, slotCount{times[i].Int64() / slotMicros, counts[i].Int64()})
	}
	r.progress.conns = addSum(r.progress.conns, f.sums[0])
	return err
}
