// SPDX-License-Identifier: Apache-2.0

package lakequery

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"weir/store/lake"
)

// slotRange is the slots that begin from first to last, in microseconds.
type slotRange struct{ first, last int64 }

// slotRanges are disjoint, in ascending order.
type slotRanges []slotRange

// maxRanges bounds the ranges of a condition. Where there would be more, those that are
// closest to each other become one.
const maxRanges = 64

// contestedSlots returns the slots of which more than one of the roll-ups that flows are
// made of (layers) may tell, or a roll-up and connections that it does not cover. In all
// others a flow has one row at most in the roll-ups.
func contestedSlots(m *lake.Manifest, step int64) slotRanges {
	units := make(map[string]slotRanges)
	for i := range m.Parts {
		p := &m.Parts[i]
		r := slotRange{floor(min(p.MinTS, p.MaxTS), step), floor(max(p.MinTS, p.MaxTS), step)}
		switch {
		case p.Kind == lake.WeekTable:
			units[p.Week] = append(units[p.Week], r)
		case p.Kind == lake.RollupTable && p.Week == "":
			units[p.Rollup] = append(units[p.Rollup], r)
		case p.Kind == lake.ConnTable && p.Rollup == "":
			// A record may end before it begins, if a clock was set in between: then only
			// its day bounds the beginning. There is no roll-up of such records.
			if day, err := time.Parse(time.DateOnly, p.Day); err == nil {
				r.last = max(r.last, floor(day.AddDate(0, 0, 1).UnixMicro()-1, step))
			}
			units[""] = append(units[""], r)
		}
	}
	// In the end of one and the begin of another one the depth is what counts.
	type edge struct {
		at   int64
		more int
	}
	var edges []edge
	for _, ranges := range units {
		for _, r := range ranges.joined(step) {
			edges = append(edges, edge{r.first, 1}, edge{r.last, -1})
		}
	}
	slices.SortFunc(edges, func(a, b edge) int { return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(b.more, a.more)) })
	var out slotRanges
	depth := 0
	for _, e := range edges {
		switch depth += e.more; {
		case depth == 2 && e.more > 0:
			out = append(out, slotRange{e.at, e.at})
		case depth == 1 && e.more < 0:
			out[len(out)-1].last = e.at
		}
	}
	out = out.joined(step)
	for len(out) > maxRanges {
		out = out.closer()
	}
	return out
}

// joined returns the ranges with those that touch as one.
func (l slotRanges) joined(step int64) slotRanges {
	slices.SortFunc(l, func(a, b slotRange) int { return cmp.Compare(a.first, b.first) })
	var out slotRanges
	for _, r := range l {
		if n := len(out); n > 0 && r.first <= out[n-1].last+step {
			out[n-1].last = max(out[n-1].last, r.last)
			continue
		}
		out = append(out, r)
	}
	return out
}

// closer returns fewer ranges: those whose gap is at most twice the smallest one are
// joined.
func (l slotRanges) closer() slotRanges {
	least := int64(math.MaxInt64)
	for i := 1; i < len(l); i++ {
		least = min(least, l[i].first-l[i-1].last)
	}
	return l.joined(2 * least)
}

// has returns the condition that one of the ranges has the slot in a column.
func (l slotRanges) has(column string) string {
	terms := []string{"false"}
	for _, r := range l {
		terms = append(terms, fmt.Sprintf("%s BETWEEN %d AND %d", column, r.first, r.last))
	}
	return "(" + strings.Join(terms, " OR ") + ")"
}

// touched returns the condition that a row, of a roll-up, may be in one of the slots, which
// have a width.
func (l slotRanges) touched(step int64) string {
	terms := []string{"false"}
	for _, r := range l {
		terms = append(terms, fmt.Sprintf("(firstseen < make_timestamptz(%d) AND lastseen >= make_timestamptz(%d))", r.last+step, r.first))
	}
	return "(" + strings.Join(terms, " OR ") + ")"
}
