// SPDX-License-Identifier: Apache-2.0

package capture

import "weir/internal/flow"

const (
	day = flow.Time(24 * 60 * 60 * 1e9)
	// maxAhead is how far ahead of the time so far a packet is believed at once.
	// Captures of several years in one file exist; a broken time is further away.
	maxAhead = 20 * 365 * day
	// confirmations is how many packets in succession it takes beyond that.
	confirmations = 8
	// maxOutliers is how many packets with a broken time are taken back.
	maxOutliers = 2
)

// timeline finds the time by which timers run. It is the highest packet time so
// far, and does not go back where packets of several years are mixed. But a few
// packets with a broken time do not move it: it goes further than maxAhead only
// once several packets in succession lie there; and where no more than
// maxOutliers packets support it, it goes back to those that follow.
type timeline struct {
	now flow.Time // 0 until a packet had a time
	// support counts the packets near now since it last moved by more than a
	// day.
	support uint64
	// run counts the packets in succession that were too far ahead of now, or,
	// negative, behind it; far is the one of them nearest to now.
	run int
	far flow.Time
}

// step takes the time of the next packet, unless it is more than a day away. It
// then returns false, and leap is to take it. Only without that call in it is it
// small enough to be inlined.
func (t *timeline) step(ts flow.Time) bool {
	if uint64(ts-t.now+day) > 2*uint64(day) {
		return false
	}
	t.now, t.run = max(t.now, ts), 0
	t.support++
	return true
}

// leap takes a time that step does not.
func (t *timeline) leap(ts flow.Time) {
	switch {
	case t.now == 0 || ts > t.now && ts-t.now <= maxAhead:
		t.now, t.support, t.run = ts, 1, 0
		return
	case ts > t.now:
		if t.run <= 0 {
			t.run, t.far = 0, ts
		}
		t.run++
		t.far = min(t.far, ts)
	case t.support > maxOutliers:
		t.run = 0 // late
		return
	default:
		if t.run >= 0 {
			t.run, t.far = 0, ts
		}
		t.run--
		t.far = max(t.far, ts)
	}
	if t.run == confirmations || t.run == -confirmations {
		// The nearest of them is the one that the others confirm.
		t.now, t.run, t.support = t.far, 0, confirmations
		if ts-t.now <= maxAhead {
			t.now = max(t.now, ts)
		}
	}
}
