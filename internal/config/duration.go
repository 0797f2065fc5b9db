// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// Duration is a length of time as flags and files write it: what Go knows
// ("90m", "1h30m") and also days and weeks ("90d", "2w", "1d12h"), of 24 hours
// and 7 days. It implements pflag.Value.
type Duration time.Duration

const day = 24 * time.Hour

// String returns the duration in days where it is a whole number of them, else
// as Go writes it.
func (d *Duration) String() string {
	n := time.Duration(*d)
	if n != 0 && n%day == 0 {
		return strconv.FormatInt(int64(n/day), 10) + "d"
	}
	return n.String()
}

// Type names the value in help texts.
func (d *Duration) Type() string { return "duration" }

// Set parses text.
func (d *Duration) Set(text string) error {
	bad := fmt.Errorf("duration %q is not one like 90d, 2w, 36h or 1h30m", text)
	rest := strings.TrimSpace(text)
	var total float64
	for _, u := range []struct {
		name string
		unit time.Duration
	}{{"w", 7 * day}, {"d", day}} {
		before, after, ok := strings.Cut(rest, u.name)
		if !ok {
			continue
		}
		n, err := strconv.ParseFloat(before, 64)
		if err != nil || math.IsNaN(n) || n < 0 {
			return bad
		}
		total += n * float64(u.unit)
		rest = after
	}
	var tail time.Duration
	if rest != "" {
		var err error
		if tail, err = time.ParseDuration(rest); err != nil || tail < 0 {
			return bad
		}
	} else if strings.TrimSpace(text) == "" {
		return bad
	}
	if total > math.MaxInt64/2 || tail > math.MaxInt64/2 {
		return bad
	}
	*d = Duration(time.Duration(total) + tail)
	return nil
}
