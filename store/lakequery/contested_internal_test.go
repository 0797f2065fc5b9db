// SPDX-License-Identifier: Apache-2.0

package lakequery

import (
	"slices"
	"testing"

	"weir/store/lake"
)

// TestContestedSlots: slots are compared where two roll-ups tell of them, or one and
// connections.
func TestContestedSlots(t *testing.T) {
	day := func(id string, first, last int64) lake.Part {
		return lake.Part{Kind: lake.RollupTable, Rollup: id, MinTS: first, MaxTS: last}
	}
	rest := func(first, last int64) lake.Part {
		return lake.Part{Kind: lake.ConnTable, MinTS: first, MaxTS: last}
	}
	covered := lake.Part{Kind: lake.ConnTable, Rollup: "a", MinTS: 0, MaxTS: 1000}
	inWeek := lake.Part{Kind: lake.RollupTable, Rollup: "w1", Week: "w", MinTS: 0, MaxTS: 1000}
	week := lake.Part{Kind: lake.WeekTable, Week: "w", MinTS: 200, MaxTS: 399}
	for name, tc := range map[string]struct {
		parts []lake.Part
		want  slotRanges
	}{
		"one roll-up":                   {[]lake.Part{day("a", 0, 239), covered}, nil},
		"parts of one roll-up":          {[]lake.Part{day("a", 0, 239), day("a", 150, 500)}, nil},
		"two with a slot in common":     {[]lake.Part{day("a", 0, 239), day("b", 231, 400)}, slotRanges{{230, 230}}},
		"two that follow each other":    {[]lake.Part{day("a", 0, 239), day("b", 240, 400)}, nil},
		"one inside another":            {[]lake.Part{day("a", 0, 500), day("b", 100, 200)}, slotRanges{{100, 200}}},
		"three":                         {[]lake.Part{day("a", 0, 300), day("b", 100, 400), day("c", 200, 500)}, slotRanges{{100, 400}}},
		"connections that are rest":     {[]lake.Part{day("a", 0, 300), rest(-15, 5), rest(290, 600)}, slotRanges{{0, 0}, {290, 300}}},
		"rest only":                     {[]lake.Part{rest(0, 300), rest(100, 400)}, nil},
		"a week, and a day beside it":   {[]lake.Part{week, inWeek, day("b", 395, 500)}, slotRanges{{390, 390}}},
		"a connection that goes back":   {[]lake.Part{day("a", 0, 300), rest(320, 299)}, slotRanges{{290, 300}}},
		"two places, one after another": {[]lake.Part{day("a", 0, 105), day("b", 100, 119), day("c", 110, 200)}, slotRanges{{100, 110}}},
	} {
		if got := contestedSlots(&lake.Manifest{Parts: tc.parts}, 10); !slices.Equal(got, tc.want) {
			t.Errorf("%s: %v, want %v", name, got, tc.want)
		}
	}
	var many []lake.Part
	for i := range int64(4 * maxRanges) {
		at := i * 1000
		many = append(many, day("a", at, at+10), day("b", at, at+10))
	}
	// The two have all slots in common where their parts are.
	if got := contestedSlots(&lake.Manifest{Parts: many}, 10); len(got) == 0 || len(got) > maxRanges ||
		got[0].first != 0 || got[len(got)-1].last != many[len(many)-1].MaxTS {
		t.Errorf("%d ranges of many: %v", len(got), got)
	}
}
