// SPDX-License-Identifier: Apache-2.0

package dissect

import "weir/internal/flow"

// Stats counts what a shard did.
type Stats struct {
	// Records counts the intel written, by kind.
	Records [flow.SSL + 1]uint64
	// RecordsDropped counts records beyond a connection's MaxRecords.
	RecordsDropped uint64
	// Unknown counts directions of connections whose first bytes no dissector
	// knew.
	Unknown uint64
	// Violations counts connections given up because the payload was not what
	// its beginning promised.
	Violations uint64
	// SessionFull and MemoryFull count what was given up because a connection
	// or all of them together had buffered too much.
	SessionFull, MemoryFull uint64
	// Truncated counts values and lists that were cut at a limit.
	Truncated uint64
	// Gaps counts gaps that made a direction useless.
	Gaps uint64
	// Sessions is the number of sessions in use now.
	Sessions uint64
}

// Add adds the counters of o to s.
func (s *Stats) Add(o Stats) {
	for i := range s.Records {
		s.Records[i] += o.Records[i]
	}
	s.RecordsDropped += o.RecordsDropped
	s.Unknown += o.Unknown
	s.Violations += o.Violations
	s.SessionFull += o.SessionFull
	s.MemoryFull += o.MemoryFull
	s.Truncated += o.Truncated
	s.Gaps += o.Gaps
	s.Sessions += o.Sessions
}
