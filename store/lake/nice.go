// SPDX-License-Identifier: Apache-2.0

package lake

import (
	"fmt"
	"runtime"

	"golang.org/x/sys/unix"
)

// background is how much less than others a thread of LowPriority gets.
const background = 10

// LowPriority runs fn, Compact for example, in a thread of its own that yields
// the processor to all others, and waits for it. Only what fn does in its own
// goroutine counts; Compact starts none. Where the system refuses the priority,
// fn runs all the same, and warn is called with the reason before.
func LowPriority(warn func(error), fn func() error) error {
	done := make(chan error)
	go func() {
		// The thread ends with the goroutine, since it is never unlocked: its
		// priority cannot be raised again.
		runtime.LockOSThread()
		if err := unix.Setpriority(unix.PRIO_PROCESS, unix.Gettid(), background); err != nil {
			warn(fmt.Errorf("lower the priority of a thread: %w", err))
		}
		done <- fn()
	}()
	return <-done
}
