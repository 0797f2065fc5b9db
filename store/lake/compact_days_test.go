// SPDX-License-Identifier: Apache-2.0

package lake

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// playedDays plays a sensor that publishes every 5 s, and what compaction plans every
// 30 s, without any file: sizes are what matters.
type playedDays struct {
	m       *Manifest
	c       *compactor
	r       *rand.Rand
	young   [][]Part // published during the last minute
	made    int
	added   map[string]int64 // rows of kinds
	written map[string]int64 // by merging
	rollups int
	most    int // parts
}

func (s *playedDays) part(kind, day string, rows int64, at time.Time) Part {
	s.made++
	const sum = "0123456789abcdef"
	return Part{
		Kind: kind, Day: day, Path: fmt.Sprintf("%s/day=%s/%s-%s-%05d.parquet", kind, day, kind, sum, s.made),
		Rows: rows, Conns: rows, Bytes: 6000 + 35*rows, MinTS: at.UnixMicro() - 5e6, MaxTS: at.UnixMicro(),
		Sum: sum, Import: sum, Schema: 1, Partial: rows / 10, Generation: int64(s.made), Footer: 5000,
		FooterSum: sum, PageSum: sum,
	}
}

// publish adds a part for each kind, and shows those that are old enough.
func (s *playedDays) publish(at time.Time, busy float64) {
	var parts []Part
	day := at.Format(time.DateOnly)
	for kind, rows := range map[string]float64{"conn": 400, "dns": 250, "http": 30, "ssl": 100} {
		n := int64(1 + rows*busy*(0.5+s.r.Float64()))
		s.added[kind] += n
		parts = append(parts, s.part(kind, day, n, at))
	}
	s.young = append(s.young, parts)
	if len(s.young) > 12 {
		s.m.Parts = append(s.m.Parts, s.young[0]...)
		s.young = s.young[1:]
	}
	s.most = max(s.most, len(s.m.Parts)+4*len(s.young))
}

// compact does what is planned.
func (s *playedDays) compact(at time.Time) {
	for _, group := range s.c.plan(s.m, at) {
		out := s.part(group[0].Kind, group[0].Day, 0, at)
		sumUp(&out, group)
		gone := make(map[string]bool)
		for _, in := range group {
			out.Rows += in.Rows
			gone[in.Path] = true
		}
		out.Bytes = 6000 + 25*out.Rows
		s.written[out.Kind] += out.Rows
		s.m.Parts = slices.DeleteFunc(s.m.Parts, func(p Part) bool { return gone[p.Path] })
		s.m.Parts = append(s.m.Parts, out)
	}
	for _, d := range s.c.planRollups(s.m, at) {
		s.rollups++
		id := fmt.Sprintf("%016d", s.rollups)
		var rows int64
		for i := range s.m.Parts {
			if p := &s.m.Parts[i]; p.Kind == ConnTable && p.Day == d.day {
				p.Rollup = id
				rows += p.Rows
			}
		}
		for ; rows > 0; rows -= 10 * partRows {
			p := s.part(RollupTable, d.day, min(rows/10, partRows), at)
			p.Rollup = id
			s.m.Parts = append(s.m.Parts, p)
		}
	}
}

// TestCompactDays: after days of publications every 5 s the manifest is
// small, days that are over have few parts, each is rolled up once, and no row
// was written often.
func TestCompactDays(t *testing.T) {
	if testing.Short() {
		t.Skip("takes some seconds")
	}
	const days = 3
	for _, tc := range []struct {
		name string
		busy func(hour int) float64
	}{
		{"steady", func(int) float64 { return 1 }},
		{"quiet", func(int) float64 { return 0.01 }},
		{"by day", func(hour int) float64 {
			if hour < 8 || hour > 19 {
				return 0.05
			}
			return 3
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := &playedDays{
				m: &Manifest{Imports: []Import{{ID: "0123456789abcdef", Source: "live", Open: true}}},
				c: &compactor{lake: &Lake{}, cfg: CompactConfig{MinAge: -1, QuietFor: -1}.withDefaults()},
				r: rand.New(rand.NewPCG(1, 2)), added: make(map[string]int64), written: make(map[string]int64),
			}
			start := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
			for i := range days * 17_280 {
				at := start.Add(time.Duration(i+1) * 5 * time.Second)
				s.publish(at, tc.busy(at.Hour()))
				if i%6 == 0 {
					s.compact(at)
				}
				if day := (i + 1) / 17_280; (i+1)%17_280 == 0 && (day <= 2 || day == days) {
					data, err := s.m.encode()
					if err != nil {
						t.Fatal(err)
					}
					today := 0
					for i := range s.m.Parts {
						if s.m.Parts[i].Day == at.Add(-time.Second).Format(time.DateOnly) {
							today++
						}
					}
					t.Logf("day %d: %d parts, %d of them of the day, and up to %d; manifest of %d bytes",
						day, len(s.m.Parts), today, s.most, len(data))
				}
			}
			rest := make(map[string]int)
			for i := range s.m.Parts {
				if p := &s.m.Parts[i]; p.Day == "2026-03-01" {
					rest[p.Kind]++
					if limit := 3 + 2*int(s.added[p.Kind]/int64(days)/partRows); rest[p.Kind] > limit {
						t.Errorf("more than %d parts of %s are left of a day", limit, p.Kind)
					}
				}
			}
			times := make(map[string]float64)
			for kind, n := range s.written {
				times[kind] = float64(n) / float64(s.added[kind])
				if times[kind] > 6 {
					t.Errorf("each row of %s was written %.1f times", kind, times[kind])
				}
			}
			t.Logf("parts of the first day %v, rows written by merging %.2v times, %d roll-ups", rest, times, s.rollups)
			if s.rollups != days-1 {
				t.Errorf("%d roll-ups of %d days that are over", s.rollups, days-1)
			}
			limit := 300 // of days that go on, and of the night's work
			for _, rows := range s.added {
				limit += 3*days + int(rows/(partRows/2))
			}
			if s.most > limit {
				t.Errorf("up to %d parts in %d days, want at most %d", s.most, days, limit)
			}
		})
	}
}
