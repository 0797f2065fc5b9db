// SPDX-License-Identifier: Apache-2.0

package lakequery

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
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
	// The text depends on the parts: they must be the ones that it is run on.
	err = d.onCurrent(ctx, func(r *relations) error {
		out, err = r.timeline(ctx, q)
		return err
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

func (r *relations) timeline(ctx context.Context, q store.TimelineQuery) (out []store.TimelineSlot, err error) {
	c, err := r.condition(q.Filter)
	if err != nil {
		return nil, err
	}
	text, err := timelineSQL(c, r.manifest, q)
	if err != nil {
		return nil, err
	}
	rows, err := r.query(ctx, text, c.args...)
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

func windowOf(q *store.TimelineQuery, width time.Duration) (w window, err error) {
	w.step = q.Step.Microseconds()
	if q.Step == 0 {
		w.step = width.Microseconds()
	}
	if q.Step < 0 || q.Step%width != 0 {
		return w, fmt.Errorf("%v is %w, which is %v", q.Step, store.ErrPrecision, width)
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

// slots returns the slots of a row, one by one, of a list of its times.
func (w window) slots(times string) string {
	if w.step == lake.SlotWidth.Microseconds() {
		return "epoch_us(unnest(" + times + "))"
	}
	return "unnest(list_distinct(list_transform(" + times + ", lambda t: " + w.slot("epoch_us(t)") + ")))"
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
func timelineSQL(c *condition, m *lake.Manifest, q store.TimelineQuery) (string, error) {
	w, err := windowOf(&q, c.layers.width)
	if err != nil {
		return "", err
	}
	var list []*attribute
	ofKey := true
	for _, name := range q.By {
		known, err := attributes().GroupBy(name)
		if err != nil {
			return "", err
		}
		a := attributeOf(known, c.layers.width)
		list = append(list, a)
		ofKey = ofKey && a.ofKey()
	}
	if ofKey && (c.groups == "" || !c.layers.apart) {
		return keyTimelineSQL(c, m, w, list), nil
	}
	fields := make([]string, len(list))
	grouped := sources{schema: c.schema}
	for i, a := range list {
		fields[i] = grouped.value(a, "flows", fmt.Sprintf("group_%d", i)) + fmt.Sprintf(" AS f%d", i)
	}
	c.times = true
	return c.flows() + " " + countSlots("SELECT "+strings.Join(append(fields, w.slots("flows.times")+" AS slot"), ", ")+
		" FROM flows"+grouped.String(), w.where(c, "slot"), "count(*)", len(list)), nil
}

// countSlots counts the rows of a query, which are flows in slots, and sorts the
// numbers. It has so many fields.
func countSlots(source, where, number string, fields int) string {
	group, order := []string{"slot"}, []string{"slot", "flows DESC"}
	columns := []string{"slot", number + "::BIGINT AS flows"}
	for i := range fields {
		f := fmt.Sprintf("f%d", i)
		group, order, columns = append(group, f), append(order, f+" NULLS LAST"), append(columns, f)
	}
	return "SELECT " + strings.Join(columns, ", ") + " FROM (" + source + ") WHERE " + where +
		" GROUP BY " + strings.Join(group, ", ") + " ORDER BY " + strings.Join(order, ", ")
}

// keyTimelineSQL is timelineSQL for groups that follow from the flow's key. No flow is
// put together: a flow is in a slot if any row of it is. In most slots no flow has two
// rows, since only one roll-up tells of them: there the rows are counted as they are. In
// the others they are compared.
func keyTimelineSQL(c *condition, m *lake.Manifest, w window, list []*attribute) string {
	with, wanted := "", c.rows
	if c.groups != "" {
		// Flows are chosen first.
		with = c.flows() + ", chosen AS MATERIALIZED (SELECT " + flowKey + " FROM flows) "
		wanted = "EXISTS (FROM chosen WHERE " + sameFlow("chosen", "conn") + ")"
	}
	where := and(wanted, w.rows(c))
	counted := w.where(c, "slot")
	rows := func(table, columns, more string) string {
		text := "SELECT " + columns + " FROM " + c.schema + "." + table + " AS conn"
		if all := and(where, more); all != "" {
			text += " WHERE " + all
		}
		return text
	}
	fields, names := "", ""
	for i, a := range list {
		fields += fmt.Sprintf("%s AS f%d, ", a.sql, i)
		names += fmt.Sprintf("f%d, ", i)
	}
	contested := contestedSlots(m, w.step)
	var once, shared []string
	for _, table := range c.layers.rollups() {
		once = append(once, "SELECT slot, "+names+"count(*) AS n FROM ("+rows(table, fields+w.slots("times")+" AS slot", "")+
			") WHERE "+counted+" AND NOT "+contested.has("slot")+" GROUP BY ALL")
		if len(contested) > 0 {
			shared = append(shared, "SELECT * FROM ("+rows(table, flowKey+", "+w.slots("times")+" AS slot", contested.touched(w.step))+
				") WHERE "+contested.has("slot"))
		}
	}
	if c.layers.rest {
		shared = append(shared, rows(restTable, flowKey+", "+w.slot(firstSlotSQL(lake.SlotWidth))+" AS slot", ""),
			"SELECT * REPLACE ("+w.slot("slot")+" AS slot) FROM ("+
				rows(restTable, flowKey+", unnest("+moreSlotsSQL(lake.SlotWidth)+") AS slot", longSQL(lake.SlotWidth))+")")
	}
	if len(shared) > 0 {
		once = append(once, "SELECT slot, "+fields+"count(*) AS n FROM (SELECT DISTINCT * FROM ("+strings.Join(shared, " UNION ALL ")+
			")) WHERE "+counted+" GROUP BY ALL")
	}
	return with + countSlots(strings.Join(once, " UNION ALL "), "true", "sum(n)", len(list))
}

// and joins conditions, "" for none.
func and(terms ...string) string {
	return strings.Join(slices.DeleteFunc(terms, func(t string) bool { return t == "" }), " AND ")
}

// rows returns the condition that rows, of connections or roll-ups, may be in slots that
// are counted, "" for none.
func (w window) rows(c *condition) string {
	var terms []string
	if w.after != nil {
		first := c.arg(time.UnixMicro(floor(*w.after, w.step)).UTC())
		terms = append(terms, "(lastseen >= "+first+" OR firstseen >= "+first+")")
	}
	if w.before != nil {
		terms = append(terms, "firstseen < "+c.arg(time.UnixMicro(floor(*w.before-1, w.step)+w.step).UTC()))
	}
	return and(terms...)
}

// floor returns the greatest multiple of a width that is not above n.
func floor(n, width int64) int64 { return n - (n%width+width)%width }
