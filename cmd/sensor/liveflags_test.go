// SPDX-License-Identifier: Apache-2.0

package main

import (
	"slices"
	"testing"

	"weir/internal/config"
)

// Many interfaces do not take more memory than there is.
func TestKernelBuffer(t *testing.T) {
	for _, tc := range []struct {
		name       string
		interfaces int
		memory     int64
		given      string
		want       int
	}{
		{"one", 1, 1 << 30, "", 32 << 20},
		{"four", 4, 1 << 30, "", 32 << 20},
		{"many", 64, 1 << 30, "", 2 << 20},
		{"little memory", 1, 128 << 20, "", 16 << 20},
		{"many with little memory", 64, 128 << 20, "", 1 << 20},
		{"given", 64, 128 << 20, "4096", 4 << 20},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var o options
			o.interfaces = slices.Repeat([]string{"eth"}, tc.interfaces)
			o.memory = config.Size(tc.memory)
			if tc.given != "" {
				if err := o.buffer.Set(tc.given); err != nil {
					t.Fatal(err)
				}
			}
			if got := o.live().KernelBuffer; got != tc.want {
				t.Errorf("live().KernelBuffer = %d, want %d", got, tc.want)
			}
		})
	}
}
