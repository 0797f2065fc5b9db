// SPDX-License-Identifier: Apache-2.0

package lakequery

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
	"time"

	"weir/store"
	"weir/store/lake"
)

// Timeline implements store.Timekeeper.
func (d *DB) Timeline(ctx context.Context, q store.TimelineQuery) ([]store.TimelineSlot, error) {
	slots, err := d.timeline(ctx, q)
	if err != nil {
		return nil, fmt.Errorf("count flows over time: %w", err)
	}
	return slots, nil
}

func (d *DB) timeline(ctx context.Context, q store.TimelineQuery) (out []store.TimelineSlot, err error) {
	c, err := d.condition(q.Filter)
	if err != nil {
		return nil, err
	}
	text, err := timelineSQL(c, q)
	if err != nil {
		return nil, err
	}
	rows, err := d.query(ctx, text, c.args...)
	if err != nil {
		return nil, err
	}
	values := make([]any, len(q.By)+2)
	into := make([]any, len(values))
	for i := range values {
		into[i] = &values[i]
	}
	scan := func(rows *sql.Rows) (s store.TimelineSlot, err error) {
		if err := rows.Scan(into...); err != nil {
			return s, err
		}
		micros, _ := values[0].(int64)
		s.Start = time.UnixMicro(micros).UTC()
		s.Flows, _ = values[1].(int64)
		for _, v := range values[2:] {
			s.Fields = append(s.Fields, plain(v))
		}
		return s, nil
	}
	_, err = scanned(rows, scan, func(s store.TimelineSlot, _ error) bool {
		out = append(out, s)
		return true
	})
	return out, err
}

// window is which slots a timeline counts, in microseconds.
type window struct {
	// step is their width.
	step int64
	// after and before are what they end after and begin before, nil for no bound.
	after, before *int64
}

func windowOf(q *store.TimelineQuery) (w window, err error) {
	w.step = q.Step.Microseconds()
	if q.Step == 0 {
		w.step = lake.SlotWidth.Microseconds()
	}
	if q.Step < 0 || q.Step%lake.SlotWidth != 0 {
		return w, fmt.Errorf("%v is %w, which is %v", q.Step, store.ErrPrecision, lake.SlotWidth)
	}
	if !q.After.IsZero() {
		w.after = new(q.After.UnixMicro())
	}
	if !q.Before.IsZero() {
		before := q.Before.UnixMicro()
		if q.Before.Nanosecond()%1000 != 0 {
			before++ // slots begin at whole microseconds
		}
		w.before = &before
	}
	return w, nil
}

// slot returns the start of the slot that a time in microseconds is in.
func (w window) slot(micros string) string {
	return fmt.Sprintf("(%[1]s - (%[1]s %% %[2]d + %[2]d) %% %[2]d)", micros, w.step)
}

// where returns the condition that the slots of a column are counted.
func (w window) where(c *condition, column string) string {
	terms := []string{column + " IS NOT NULL"}
	if w.after != nil {
		terms = append(terms, fmt.Sprintf("%s + %d > %s", column, w.step, c.arg(*w.after)))
	}
	if w.before != nil {
		terms = append(terms, column+" < "+c.arg(*w.before))
	}
	return strings.Join(terms, " AND ")
}

// timelineSQL returns the query that counts flows by slots: the columns slot, in
// microseconds, and flows, then the fields.
func timelineSQL(c *condition, q store.TimelineQuery) (string, error) {
	w, err := windowOf(&q)
	if err != nil {
		return "", err
	}
	var fields, names, sorted []string
	var grouped sources
	for i, name := range q.By {
		known, err := attributes().GroupBy(name)
		if err != nil {
			return "", err
		}
		f := fmt.Sprintf("f%d", i)
		fields = append(fields, grouped.value(attributeOf(known), "flows", "group_"+f)+" AS "+f)
		names, sorted = append(names, f), append(sorted, f+" NULLS LAST")
	}
	c.times = true
	// The times of a flow are distinct slots of the lake's width: only wider ones fall together.
	slots, slot := "flows.times", "epoch_us(begun)"
	if w.step != lake.SlotWidth.Microseconds() {
		slots, slot = "list_distinct(list_transform(flows.times, lambda t: "+w.slot("epoch_us(t)")+"))", "begun"
	}
	text := c.flows() + " SELECT " + strings.Join(append([]string{"slot", "count(*) AS flows"}, names...), ", ") +
		" FROM (SELECT *, " + slot + " AS slot FROM (SELECT " + strings.Join(append(fields, "unnest("+slots+") AS begun"), ", ") +
		" FROM flows" + grouped.String() + ")) WHERE " + w.where(c, "slot") +
		" GROUP BY " + strings.Join(append([]string{"slot"}, names...), ", ") +
		" ORDER BY " + strings.Join(append([]string{"slot", "flows DESC"}, sorted...), ", ")
	return text, nil
}
