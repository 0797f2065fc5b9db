// SPDX-License-Identifier: Apache-2.0

package lake

// MinCompactMemory is the least that a compaction can do with.
const MinCompactMemory = 16e6

// defaultCompactMemory is what one takes where nothing is said.
const defaultCompactMemory = 256 << 20

// budget divides the memory of a compaction. Its shares are what is held: about
// as much again is garbage by the time that it is collected.
type budget struct {
	// file is the size up to which a part's file is held in memory while it is
	// read. Larger ones are read twice: once for their sum, once for their rows.
	file int64
	// group bounds a row group of a part that is written.
	group int
	// dictionary bounds the dictionary of a column of such a part.
	dictionary int
	// flows bounds the flows of a day that are held before they become a run.
	flows int
	// runs is how many runs are read at the same time.
	runs int
}

func newBudget(memory int64) budget {
	part := func(n, least, most int64) int64 { return min(max(memory/n, least), most) }
	return budget{
		file:       part(8, 1<<20, maxFile),
		group:      int(part(16, 1<<20, groupBytes)),
		dictionary: int(part(512, 32<<10, dictionaryBytes)),
		// A larger heap of flows is no faster.
		flows: int(part(16, 1<<20, 32<<20) * 3),
		// Each has a buffer, and a flow with all its sets.
		runs: int(part(4<<20, 8, 64)),
	}
}
