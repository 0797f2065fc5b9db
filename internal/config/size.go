// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Size is a number of bytes as flags and files write it: "500k", "128M", "2G"
// in powers of ten, "512MiB" in powers of two. It implements pflag.Value.
type Size int64

// String returns the size in bytes, with the largest suffix that divides it.
func (s *Size) String() string {
	n := int64(*s)
	for _, u := range units() {
		if n != 0 && n%u.factor == 0 {
			return strconv.FormatInt(n/u.factor, 10) + u.name
		}
	}
	return strconv.FormatInt(n, 10)
}

// Type names the value in help texts.
func (s *Size) Type() string { return "size" }

// Set parses text.
func (s *Size) Set(text string) error {
	number, factor := text, int64(1)
	for _, u := range units() {
		for _, name := range []string{u.name, u.name + "B"} {
			if rest, ok := strings.CutSuffix(strings.ToUpper(text), strings.ToUpper(name)); ok && factor == 1 {
				number, factor = rest, u.factor
			}
		}
	}
	n, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
	if err != nil || n < 0 || n*float64(factor) > math.MaxInt64/2 || math.IsNaN(n) {
		return fmt.Errorf("size %q is not a number with k, M, G or KiB, MiB, GiB", text)
	}
	*s = Size(n * float64(factor))
	return nil
}

type unit struct {
	name   string
	factor int64
}

// units returns the suffixes, largest first.
func units() []unit {
	return []unit{
		{"GiB", 1 << 30}, {"G", 1e9}, {"MiB", 1 << 20}, {"M", 1e6}, {"KiB", 1 << 10}, {"k", 1e3},
	}
}
