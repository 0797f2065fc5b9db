// SPDX-License-Identifier: Apache-2.0

package chart

import (
	"math"
	"strconv"
)

// SI returns a number with three digits at most and a prefix: "0.14", "1.23k", "12M".
func SI(v float64) string {
	if v < 0 {
		return "-" + SI(-v)
	}
	prefixes := [...]string{"", "k", "M", "G", "T", "P", "E"}
	i := 0
	for v >= 999.5 && i < len(prefixes)-1 {
		v /= 1000
		i++
	}
	if v < 0.01 {
		return strconv.FormatFloat(v, 'g', 2, 64)
	}
	digits := 0
	switch {
	case v < 9.995:
		digits = 2
	case v < 99.95:
		digits = 1
	}
	scale := math.Pow(10, float64(digits))
	return strconv.FormatFloat(math.Round(v*scale)/scale, 'f', -1, 64) + prefixes[i]
}

// steps returns a round distance between ticks, and how many of them reach the highest value: at most
// so many. Whole numbers have no ticks between them.
func steps(top float64, most int, whole bool) (step float64, n int) {
	step = math.Pow(10, math.Floor(math.Log10(top/float64(most))))
	for _, f := range []float64{1, 2, 5, 10} {
		if n = int(math.Ceil(top/(step*f) - 1e-9)); n <= most {
			step *= f
			break
		}
	}
	if whole && step < 1 {
		step, n = 1, int(math.Ceil(top))
	}
	return step, max(n, 1)
}

// whole reports whether all values are whole numbers.
func whole(values []float64) bool {
	for _, v := range values {
		if v != math.Trunc(v) { // also where it is not there
			return false
		}
	}
	return true
}
