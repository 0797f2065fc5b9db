// SPDX-License-Identifier: Apache-2.0

package sensor

import (
	"sync/atomic"

	"weir/dissect"
	"weir/flowtable"
	"weir/internal/flow"
	"weir/reassembly"
)

// counters are what the sinks' goroutines count.
type counters struct {
	connections atomic.Uint64
	intel       []atomic.Uint64 // by kind
}

// countConnections counts each connection once, with its first record.
func (c *counters) countConnections(b *flow.ConnBatch) {
	var n uint64
	for i := range b.Conns {
		n += b.Conns[i].Count
	}
	c.connections.Add(n)
}

func (c *counters) countIntel(b *flow.IntelBatch) {
	n := make([]uint64, len(c.intel))
	for i := range b.Recs {
		n[b.Recs[i].Kind]++
	}
	for i := range n {
		c.intel[i].Add(n[i])
	}
}

// Stats says what a pipeline has done so far.
type Stats struct {
	// Connections and Intel (by kind) were handed to the sinks; of a connection
	// that goes on, its first interim record.
	Connections uint64
	Intel       []uint64
	Table       flowtable.Stats
	Reassembly  reassembly.Stats
	Dissect     dissect.Stats
}

// Stats returns the pipeline's counters. Safe for concurrent use.
func (p *Pipeline) Stats() Stats {
	s := Stats{Connections: p.stats.connections.Load(), Table: p.table.Stats()}
	for i := range p.stats.intel {
		s.Intel = append(s.Intel, p.stats.intel[i].Load())
	}
	for i, x := range p.shards {
		p.table.Locked(i, func() {
			s.Reassembly.Add(x.pool.Stats())
			s.Dissect.Add(x.dissect.Stats())
		})
	}
	return s
}
