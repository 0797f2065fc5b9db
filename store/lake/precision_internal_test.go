// SPDX-License-Identifier: Apache-2.0

package lake

import (
	"errors"
	"fmt"
	"math"
	"testing"
	"time"
)

// TestManifestSlots: a manifest says how wide slots are, and which program may read it.
func TestManifestSlots(t *testing.T) {
	for _, tc := range []struct {
		slot   int64
		width  time.Duration // 0 for what no lake has
		format int
	}{
		{0, time.Hour, 1},
		{3600, time.Hour, 2},
		{7200, 2 * time.Hour, 2},
		{365 * 86400, 365 * 24 * time.Hour, 2},
		{slot: 1},
		{slot: 1800},
		{slot: 5400},
		{slot: -3600},
		{slot: math.MaxInt64},
		{slot: math.MaxInt64 / 3600 * 3600},
	} {
		m := &Manifest{Slot: tc.slot}
		m.Format = m.leastFormat()
		data, err := m.encode()
		if err != nil {
			t.Fatal(err)
		}
		got, err := parseManifest(data)
		var damaged *DamagedError
		switch {
		case tc.width == 0:
			if !errors.As(err, &damaged) {
				t.Errorf("slots of %d seconds: %v, want a DamagedError", tc.slot, err)
			}
		case err != nil || got.SlotWidth() != tc.width || got.Format != tc.format:
			t.Errorf("slots of %d seconds: %s, %v, want format %d and %v", tc.slot, fmt.Sprint(got), err, tc.format, tc.width)
		}
	}
}
