// SPDX-License-Identifier: Apache-2.0

package capture_test

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"weir/capture"
	"weir/internal/flow"
)

// Times are in seconds, relative to a time in 2024.
func TestTimeline(t *testing.T) {
	const (
		base   = 1_700_000_000
		days   = 24 * 60 * 60
		future = 4_000_000_000 - base
		past   = -base // 1970
	)
	// run returns n seconds in succession.
	run := func(from, n int) []int {
		s := make([]int, n)
		for i := range s {
			s[i] = from + i
		}
		return s
	}
	same := func(v, n int) []int { return slices.Repeat([]int{v}, n) }
	for _, tc := range []struct {
		name     string
		ts, want []int
	}{
		{"in order", run(0, 20), run(0, 20)},
		{"a day at once", []int{0, days, 2 * days, days}, []int{0, days, 2 * days, 2 * days}},
		{
			"outlier ahead",
			slices.Concat(run(0, 3), []int{future}, run(3, 3)),
			slices.Concat(run(0, 3), []int{2}, run(3, 3)),
		},
		{
			"outliers ahead, never 8 in succession",
			slices.Concat(run(0, 1), same(future, 7), run(1, 1), same(future, 7), run(2, 1)),
			slices.Concat(run(0, 1), same(0, 7), run(1, 1), same(1, 7), run(2, 1)),
		},
		{
			"outlier first",
			slices.Concat([]int{future}, run(0, 12)),
			slices.Concat(same(future, 8), run(7, 5)),
		},
		{
			"no time first",
			slices.Concat([]int{past}, run(0, 3)),
			slices.Concat([]int{past}, run(0, 3)),
		},
		{
			"gap of 3 days",
			slices.Concat(run(0, 2), run(3*days, 10)),
			slices.Concat(run(0, 2), run(3*days, 10)),
		},
		{
			"gap of thirty years",
			slices.Concat(run(0, 2), run(11000*days, 10)),
			slices.Concat(run(0, 2), same(1, 7), run(11000*days+7, 3)),
		},
		{
			"an outlier confirms a gap, but not itself",
			slices.Concat(run(0, 1), run(11000*days, 7), []int{future}, run(11000*days+7, 2)),
			slices.Concat(same(0, 8), []int{11000 * days}, run(11000*days+7, 2)),
		},
		{
			"from 1970 in between",
			slices.Concat(run(0, 3), same(past+1, 7), run(3, 2), []int{past}, run(5, 1)),
			slices.Concat(run(0, 3), same(2, 7), run(3, 2), []int{4}, run(5, 1)),
		},
		{
			"ahead and behind in turns",
			slices.Concat(run(0, 1), slices.Repeat([]int{future, past}, 10), run(1, 1)),
			slices.Concat(same(0, 21), run(1, 1)),
		},
		{
			"a gap after packets from 1970",
			slices.Concat(run(0, 1), same(past+1, 7), run(11000*days, 8)),
			slices.Concat(same(0, 15), []int{11000*days + 7}),
		},
		{
			"outliers first and second",
			slices.Concat([]int{future}, []int{future + 1}, run(0, 9)),
			slices.Concat([]int{future}, same(future+1, 8), run(7, 2)),
		},
		{
			"an outlier of two years, taken back",
			slices.Concat(run(0, 3), []int{700 * days}, run(3, 9)),
			slices.Concat(run(0, 3), same(700*days, 8), run(10, 2)),
		},
		{
			"two years in one capture",
			slices.Concat(run(0, 3), run(700*days, 4), run(3, 20)),
			slices.Concat(run(0, 3), run(700*days, 4), same(700*days+3, 20)),
		},
		{
			"a late packet stays late",
			[]int{10 * days, 10*days - 5, 9 * days, 10*days + 1},
			[]int{10 * days, 10 * days, 10 * days, 10*days + 1},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f := newPcap(1)
			for i, s := range tc.ts {
				f.add(int64(base+s)*1e9, numbered(i))
			}
			res := read(t, capture.Config{Inputs: []string{write(t, "x.pcap", f.buf)}})
			var ts, now []int
			for _, p := range res.packets {
				ts, now = append(ts, int(p.TS/1e9)-base), append(now, int(p.Now/1e9)-base)
			}
			if diff := cmp.Diff(tc.want, now); diff != "" {
				t.Errorf("Now (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tc.ts, ts); diff != "" {
				t.Errorf("TS (-want +got):\n%s", diff)
			}
			if want := flow.Time(base+tc.want[len(tc.want)-1]) * 1e9; res.stats.Now != want || res.now != want {
				t.Errorf("Now = %d in the statistics, %d of the block, want %d", res.stats.Now, res.now, want)
			}
		})
	}
}
