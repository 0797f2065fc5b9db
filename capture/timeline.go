// SPDX-License-Identifier: Apache-2.0

package capture

import "weir/internal/flow"

const (
	// maxStep is how far ahead of the time so far a packet is believed at once.
	maxStep = flow.Time(24 * 60 * 60 * 1e9)
	// confirmations is how many packets in succession it takes beyond that.
	confirmations = 8
)

// timeline finds the time by which timers run. It is the highest packet time so
// far, but a few packets with a broken time do not move it: it makes a larger
// step than maxStep, ahead or back, only once several packets in succession lie
// there. Stepping back happens where the input began with the broken times.
type timeline struct {
	now flow.Time // 0 until a packet had a time
	// run counts the packets in succession that were too far ahead of now, or,
	// negative, behind it; far is the one of them nearest to now.
	run int
	far flow.Time
}

// step takes the time of the next packet, unless it is more than maxStep away.
// It then returns false, and leap is to take it. Only without that call in it is
// it small enough to be inlined.
func (t *timeline) step(ts flow.Time) bool {
	if uint64(ts-t.now+maxStep) > 2*uint64(maxStep) {
		return false
	}
	t.now, t.run = max(t.now, ts), 0
	return true
}

// leap takes a time that step does not.
func (t *timeline) leap(ts flow.Time) {
	switch {
	case t.now == 0:
		t.now = ts
	case ts > t.now:
		if t.run <= 0 {
			t.run, t.far = 0, ts
		}
		t.run++
		t.far = min(t.far, ts)
	default:
		if t.run >= 0 {
			t.run, t.far = 0, ts
		}
		t.run--
		t.far = max(t.far, ts)
	}
	if t.run == confirmations || t.run == -confirmations {
		// The nearest of them is the one that the others confirm.
		t.now, t.run = t.far, 0
		if ts-t.now <= maxStep {
			t.now = max(t.now, ts)
		}
	}
}
