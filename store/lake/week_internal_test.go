// SPDX-License-Identifier: Apache-2.0

package lake

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestForgottenWeeks: a roll-up of a week is none where a program that does not know such
// wrote the manifest, and so lost which days it is of.
func TestForgottenWeeks(t *testing.T) {
	day := Part{Kind: RollupTable, Day: "2026-03-02", Path: "flow_day/day=2026-03-02/a.parquet", Rollup: "r"}
	week := Part{Kind: WeekTable, Day: "2026-03-02", Path: "flow_week/day=2026-03-02/b.parquet"}
	for _, id := range []string{"", "w"} {
		day.Week, week.Week = id, id
		data, err := (&Manifest{Format: Format, Parts: []Part{day, week}}).encode()
		if err != nil {
			t.Fatal(err)
		}
		m, err := parseManifest(data)
		if err != nil {
			t.Fatal(err)
		}
		want := []Part{day}
		if id != "" {
			want = append(want, week)
		}
		if diff := cmp.Diff(want, m.Parts); diff != "" {
			t.Errorf("parts of week %q (-want +got):\n%s", id, diff)
		}
	}
}
