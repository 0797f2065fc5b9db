// SPDX-License-Identifier: Apache-2.0

package capture

import (
	"errors"
	"testing"
	"testing/synctest"
)

// endless is a reader that never ends.
type endless struct{}

func (endless) Read(b []byte) (int, error) { return len(b), nil }

// A pump that is closed leaves no goroutine behind, though nothing ends its life
// and its source has more.
func TestPumpClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPump(forever(), endless{})
		if _, err := p.Read(make([]byte, 10)); err != nil {
			t.Fatal(err)
		}
		synctest.Wait() // it has read ahead and waits for room
		if err := p.Close(); err != nil {
			t.Fatal(err)
		}
		err := error(nil)
		for range 2*pumpDepth + 1 { // what was read before is still there
			if _, err = p.Read(make([]byte, pumpSize)); err != nil {
				break
			}
		}
		if !errors.Is(err, ErrClosed) {
			t.Errorf("Read() after Close() = %v, want %v", err, ErrClosed)
		}
		// A goroutine that is left makes synctest fail.
	})
}
