// SPDX-License-Identifier: Apache-2.0

package lake

import (
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
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

// TestForget: what is known of imports does not grow for ever, and files stay
// known.
func TestForget(t *testing.T) {
	files := []Input{{Name: "a.pcap", Sum: "1"}}
	m := &Manifest{
		Parts: []Part{{Import: "named", MinTS: 100}, {MinTS: 50}},
		Imports: []Import{
			{ID: "old", Last: 49},
			{ID: "empty"},
			{ID: "file", Inputs: files, Last: 10},
			{ID: "open", Open: true},
			{ID: "named", Last: 20},
			{ID: "merged", Last: 50},
		},
	}
	ids := func() (ids []string) {
		for i := range m.Imports {
			ids = append(ids, m.Imports[i].ID)
		}
		return ids
	}
	m.forget()
	if diff := cmp.Diff([]string{"file", "open", "named", "merged"}, ids()); diff != "" {
		t.Errorf("after forget (-want +got):\n%s", diff)
	}
	m.Parts = nil
	m.forget()
	if diff := cmp.Diff([]string{"file", "open"}, ids()); diff != "" {
		t.Errorf("after all parts went (-want +got):\n%s", diff)
	}
	m.Parts = []Part{{Import: "5"}}
	for i := range maxEnded + 10 {
		m.Imports = append(m.Imports, Import{ID: strconv.Itoa(i), Last: 1 << 60})
	}
	m.forgetEnded()
	want := []string{"file", "open", "5"} // which has a part
	for i := 10; i < maxEnded+10; i++ {
		want = append(want, strconv.Itoa(i))
	}
	if diff := cmp.Diff(want, ids()); diff != "" {
		t.Errorf("after many restarts (-want +got):\n%s", diff)
	}
}

// TestPurgeClock: what was replaced before the clock was set back does not stay
// for years.
func TestPurgeClock(t *testing.T) {
	l, err := newLake(t.TempDir(), Config{})
	if err != nil {
		t.Fatal(err)
	}
	now := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	for _, tc := range []struct {
		age  time.Duration
		gone bool
	}{
		{0, false},
		{9 * time.Minute, false},
		{11 * time.Minute, true},
		{-30 * time.Minute, false},
		{-2 * time.Hour, true},
		{-100_000 * time.Hour, true},
	} {
		dir := l.join(oldName, strconv.FormatInt(now.Add(-tc.age).UnixNano(), 10))
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := l.purge(now); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(dir); missing(err) != tc.gone {
			t.Errorf("replaced %v ago: Stat() = %v, want it gone: %v", tc.age, err, tc.gone)
		}
	}
}
