// SPDX-License-Identifier: Apache-2.0

package lake

import (
	"fmt"
	"math"
	"time"

	"weir/store"
)

// SlotWidth returns the width of the slots of time that questions are answered in. Parts
// keep the slots of the constant SlotWidth, whatever the lake's are: the wider ones are made
// of them when somebody asks.
func (m *Manifest) SlotWidth() time.Duration {
	if m.Slot == 0 {
		return SlotWidth
	}
	return time.Duration(m.Slot) * time.Second
}

// slotFits reports whether the slots of parts make up the lake's.
func (m *Manifest) slotFits() bool {
	return m.Slot >= 0 && m.Slot <= math.MaxInt64/int64(time.Second) && m.SlotWidth()%SlotWidth == 0
}

// leastFormat returns the oldest version of the layout that can say what m says.
func (m *Manifest) leastFormat() int {
	if m.Slot != 0 {
		return formatSlots
	}
	return formatFirst
}

// ReducePrecision makes the slots of time wider, and returns their widths before and after.
// A width that is no multiple of what they are is an error that is store.ErrPrecision: what a
// wide slot says cannot be divided. Older programs refuse the lake from then on.
func (l *Lake) ReducePrecision(width time.Duration) (before, after time.Duration, err error) {
	err = l.locked(func() error {
		m, err := ReadManifest(l.path)
		if err != nil {
			return err
		}
		before = m.SlotWidth()
		if width <= 0 || width%before != 0 {
			return fmt.Errorf("%v is %w, which is %v", width, store.ErrPrecision, before)
		}
		if width == before {
			return nil
		}
		m.Slot = int64(width / time.Second)
		return l.replaceManifest(m)
	})
	if err != nil {
		return 0, 0, err
	}
	return before, width, nil
}
