// SPDX-License-Identifier: Apache-2.0

package lake

import (
	"testing"
	"time"
)

func TestClockJumps(t *testing.T) {
	start := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	c := &wallClock{wall: start}
	steps := []struct {
		name   string
		at     time.Duration // since the start
		off    time.Duration // by how much the clock is wrong
		by     time.Duration
		recent bool
	}{
		{"first", time.Minute, 0, 0, false},
		{"drift", 2 * time.Minute, 30 * time.Minute, 0, false},
		{"2038", 3 * time.Minute, 100_000 * time.Hour, 100_000 * time.Hour, true},
		{"still", 30 * time.Minute, 100_000 * time.Hour, 0, true},
		{"back", 40 * time.Minute, 0, -100_000 * time.Hour, true},
		{"an hour later", 99 * time.Minute, 0, 0, true},
		{"long after", 101 * time.Minute, 0, 0, false},
		{"an hour back", 102 * time.Minute, -time.Hour - time.Second, -time.Hour - time.Second, true},
		{"at last", 200 * time.Minute, -time.Hour, 0, false},
	}
	for _, s := range steps {
		by, recent := c.jumped(start.Add(s.at+s.off), s.at)
		if by != s.by || recent != s.recent {
			t.Errorf("%s: jumped() = %v, %v, want %v, %v", s.name, by, recent, s.by, s.recent)
		}
	}
}
