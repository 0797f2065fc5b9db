// SPDX-License-Identifier: Apache-2.0

package neo4j

import (
	"context"
	"errors"
	"fmt"
	"time"

	"weir/store"
)

// Reduced says what ReducePrecision did.
type Reduced struct {
	Flows  int64         `json:"flows"`
	Before time.Duration `json:"before"`
	After  time.Duration `json:"after"`
}

// ReducePrecision makes the slots of the timeline wider: a multiple of what they
// are. Of every flow it aligns the slots anew, each once. What comes in from then
// on has the new width. If it is interrupted, the same again finishes it. progress
// is called with the number of flows that were changed; it may be nil.
func (d *DB) ReducePrecision(ctx context.Context, precision time.Duration, progress func(flows int64)) (Reduced, error) {
	r := Reduced{After: precision}
	before, err := d.precision(ctx)
	if err != nil {
		return r, err
	}
	r.Before = before
	if precision < before || precision%before != 0 {
		return r, fmt.Errorf("%v is %w, which is %v", precision, store.ErrPrecision, before)
	}
	seconds := int64(precision / time.Second)
	// First the width of what comes in, then what is there: so nothing is missed.
	err = d.write(ctx, func(t *tx) error {
		summary, err := t.run(`MATCH (s:Store {id: 'weir', precision: $before}) SET s.precision = $after`,
			map[string]any{"before": int64(before / time.Second), "after": seconds})
		if err == nil && summary.Counters().PropertiesSet() == 0 {
			err = errors.New("somebody else changed the store's precision")
		}
		return err
	})
	if err != nil {
		return r, err
	}
	// Another time through finds what a transaction wrote that had read the old
	// precision before, and had not ended when its flows' turn came.
	for again := true; again; {
		n, err := d.align(ctx, seconds, func(n int64) {
			if progress != nil {
				progress(r.Flows + n)
			}
		})
		if r.Flows += n; err != nil {
			return r, err
		}
		again = n > 0
	}
	return r, nil
}

// align aligns the slots of all flows that have others, and returns how many.
func (d *DB) align(ctx context.Context, seconds int64, progress func(flows int64)) (int64, error) {
	var flows int64
	params := map[string]any{"seconds": seconds}
	find := `MATCH (f:Flow) USING INDEX f:Flow(key) WHERE f.key > $after AND any(t IN f.times WHERE t.epochSeconds % $seconds <> 0)
		RETURN f.key AS key ORDER BY key LIMIT $batch`
	err := d.batches(ctx, find, params, func(keys []any) (bool, error) {
		err := d.write(ctx, func(t *tx) error {
			with := map[string]any{"keys": keys, "seconds": seconds}
			// The lock, so that nobody adds a slot between reading and writing.
			if _, err := t.run(`UNWIND $keys AS key MATCH (f:Flow {key: key}) SET f.locked = true`, with); err != nil {
				return err
			}
			// The remainder of a time before 1970 is negative.
			_, err := t.run(`UNWIND $keys AS key MATCH (f:Flow {key: key})
				CALL (f) {
					UNWIND f.times AS t
					WITH DISTINCT t.epochSeconds - (t.epochSeconds % $seconds + $seconds) % $seconds AS slot ORDER BY slot
					RETURN collect(datetime({epochSeconds: slot})) AS times
				}
				SET f.times = times REMOVE f.locked`, with)
			return err
		})
		if err == nil {
			flows += int64(len(keys))
			progress(flows)
		}
		return true, err
	})
	return flows, err
}
