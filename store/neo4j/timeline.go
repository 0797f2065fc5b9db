// SPDX-License-Identifier: Apache-2.0

package neo4j

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/neo4j/neo4j-go-driver/v5/neo4j"

	"weir/internal/filter"
	"weir/store"
)

// Timeline implements store.Timekeeper.
func (d *DB) Timeline(ctx context.Context, q store.TimelineQuery) ([]store.TimelineSlot, error) {
	slots, err := d.timeline(ctx, q)
	if err != nil {
		return nil, fmt.Errorf("count flows over time: %w", err)
	}
	return slots, nil
}

func (d *DB) timeline(ctx context.Context, tq store.TimelineQuery) ([]store.TimelineSlot, error) {
	known := attributes()
	by := ""
	var names []string
	for i, name := range tq.By {
		a, err := known.GroupBy(name)
		if err != nil {
			return nil, err
		}
		names = append(names, fmt.Sprintf("f%d", i))
		by += unwind(a, names[i])
	}
	q, err := ask(tq.Filter)
	if err != nil {
		return nil, err
	}
	width, err := d.precision(ctx)
	if err != nil {
		return nil, err
	}
	step := cmp.Or(tq.Step, width)
	if step < width || step%width != 0 {
		return nil, fmt.Errorf("%v is %w, which is %v", step, store.ErrPrecision, width)
	}
	rest := q.slots(width, step, tq.After, tq.Before) + by
	rest += " RETURN " + strings.Join(append([]string{"slot", "count(*)"}, names...), ", ")
	text := q.beginFor(rest) + rest
	if strings.Contains(by, "$precision") {
		q.Params["precision"] = width.Seconds()
	}
	var out []store.TimelineSlot
	err = d.answer(ctx, q, text, func(r *neo4j.Record) error {
		s := scanner{values: r.Values}
		var slot store.TimelineSlot
		if step == width {
			slot.Start = s.time()
		} else {
			slot.Start = time.Unix(s.number(), 0).UTC()
		}
		slot.Flows = s.number()
		for range names {
			slot.Fields = append(slot.Fields, plain(s.next()))
		}
		out = append(out, slot)
		return s.err
	})
	slices.SortFunc(out, func(a, b store.TimelineSlot) int {
		return cmp.Or(a.Start.Compare(b.Start), cmp.Compare(b.Flows, a.Flows), compareTuples(a.Fields, b.Fields))
	})
	return out, err
}

// slots returns the clauses that make a row for each slot in which a flow was active:
// a time where slots are those of the store, else seconds, whose slots may be the same for
// several of the store's. Bounds are whole seconds, which slots are, too.
func (q *question) slots(width, step time.Duration, after, before time.Time) string {
	var text, slot string
	bound := func(seconds int64) any { return filter.CypherTime(time.Unix(seconds, 0)) }
	if step == width {
		text = " UNWIND f.times AS slot"
	} else {
		slot = q.arg("step", int64(step/time.Second))
		text = " UNWIND f.times AS t WITH DISTINCT *, t.epochSeconds - (t.epochSeconds % " + slot + " + " + slot + ") % " + slot + " AS slot"
		text = " CALL (f) {" + strings.Replace(text, "WITH DISTINCT *,", "RETURN DISTINCT", 1) + " }"
		bound = func(seconds int64) any { return seconds }
	}
	var conditions []string
	if !before.IsZero() {
		// The first second that is not before.
		first := before.Unix()
		if before.Nanosecond() > 0 {
			first++
		}
		conditions = append(conditions, "slot < "+q.arg("before", bound(first)))
	}
	if !after.IsZero() {
		conditions = append(conditions, "slot > "+q.arg("after", bound(after.Unix()-int64(step/time.Second))))
	}
	if len(conditions) > 0 {
		text += " WITH * WHERE " + strings.Join(conditions, " AND ")
	}
	return text
}
