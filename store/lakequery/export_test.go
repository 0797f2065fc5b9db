// SPDX-License-Identifier: Apache-2.0

package lakequery

import "time"

// SetLimits lets tests see small batches, and merges before their time.
func (t *Tail) SetLimits(batch int64, mergeAge time.Duration) { t.batch, t.mergeAge = batch, mergeAge }
