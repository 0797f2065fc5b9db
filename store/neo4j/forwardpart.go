// SPDX-License-Identifier: Apache-2.0

package neo4j

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"log/slog"
	"time"

	"github.com/neo4j/neo4j-go-driver/v5/neo4j"
	"golang.org/x/sync/errgroup"

	"weir/internal/flow"
	"weir/store/lake"
)

// cut says how a part is cut into chunks. Marks keep it: a part that was begun is
// finished in the same way, whatever a later version does.
type cut struct {
	// rows of connections make a batch, whose flows go to lanes by their source,
	// flows of them to a chunk; of intel, records make a batch.
	rows, flows, records, lanes int
	// slot is the width of the slots that the batches were made for, which may end
	// them early.
	slot time.Duration
}

// newCut returns how parts are cut now.
func newCut(slot time.Duration) cut {
	return cut{rows: 100_000, flows: 5000, records: 10_000, lanes: 2, slot: slot}
}

const cutFormat = "1 rows=%d flows=%d records=%d lanes=%d slot=%d"

// String returns what a mark keeps.
func (c cut) String() string {
	return fmt.Sprintf(cutFormat, c.rows, c.flows, c.records, c.lanes, c.slot/time.Second)
}

// parseCut reads what a mark keeps.
func parseCut(text string) (c cut, err error) {
	_, err = fmt.Sscanf(text, cutFormat, &c.rows, &c.flows, &c.records, &c.lanes, &c.slot)
	c.slot *= time.Second
	if err == nil && (c.rows < 1 || c.flows < 1 || c.records < 1 || c.lanes < 1 || c.lanes > 64 || c.slot < time.Second ||
		c.String() != text) {
		err = errors.New("out of range")
	}
	if err != nil {
		return c, fmt.Errorf("a chunk was cut in a way that this version of weir does not know (%q): %w", text, err)
	}
	return c, nil
}

// pieces returns how many chunks a lane has of a batch at most.
func (c cut) pieces() int64 { return int64((c.rows + c.flows - 1) / c.flows) }

// number returns the number of a chunk.
func (c cut) number(batch, lane, piece int) int64 {
	return (int64(batch)*int64(c.lanes)+int64(lane))*c.pieces() + int64(piece)
}

// lane returns whose a flow is: its source decides, so that lanes lock different
// hosts for the most part.
func (c cut) lane(a flow.Addr) int {
	h := fnv.New32a()
	_, _ = h.Write(a[:]) // never fails
	return int(h.Sum32() % uint32(c.lanes))
}

// marks are the marks of a part.
type marks struct {
	cut     cut
	any     bool
	applied map[int64]bool
}

// skip returns how many batches were applied whole: each lane sends its chunks in
// their order.
func (m *marks) skip() int {
	if !m.any {
		return 0
	}
	last := make([]int, m.cut.lanes)
	for n := range m.applied {
		batch := n / m.cut.pieces() / int64(m.cut.lanes)
		lane := n / m.cut.pieces() % int64(m.cut.lanes)
		last[lane] = max(last[lane], int(batch))
	}
	least := last[0]
	for _, n := range last {
		least = min(least, n)
	}
	return least
}

// marksOf reads the marks of a part.
func (s *sender) marksOf(ctx context.Context, part string) (m marks, err error) {
	width, err := s.precision(ctx)
	if err != nil {
		return m, err
	}
	var rows []*neo4j.Record
	err = s.do(ctx, func(ctx context.Context, tx neo4j.ExplicitTransaction) error {
		rows, err = collect(ctx, tx, `MATCH (c:Chunk) WHERE c.part = $part AND c.n IS NOT NULL RETURN c.n, c.cut`,
			map[string]any{"part": part})
		return err
	})
	if err != nil {
		return m, fmt.Errorf("read the marks of %s: %w", part, err)
	}
	m = marks{cut: s.cut(width), applied: make(map[int64]bool)}
	for _, r := range rows {
		n, _ := r.Values[0].(int64)
		text, _ := r.Values[1].(string)
		c, err := parseCut(text)
		if err != nil {
			return m, err
		}
		if m.any && c != m.cut {
			return m, fmt.Errorf("the chunks of %s were cut in two ways: %q and %q", part, m.cut, c)
		}
		m.cut, m.any, m.applied[n] = c, true, true
	}
	return m, nil
}

// errRecut: the slots of a chunk have a width that those of the store cannot be
// made of. The database was made anew.
var errRecut = errors.New("the precision of the store is another one")

// sendPart sends what is left of a part. An error that is lake.ErrDamaged is the
// part's fault.
func (s *sender) sendPart(ctx context.Context, root string, p *lake.Part, rows func(n int64)) error {
	for {
		m, err := s.marksOf(ctx, p.Path)
		if err != nil {
			return err
		}
		err = s.sendRest(ctx, root, p, &m, rows)
		if !errors.Is(err, errRecut) {
			return err
		}
		if m.any {
			return fmt.Errorf("send %s: %w, and a part of it was sent: make the store anew", p.Path, err)
		}
	}
}

// sendRest sends those chunks of a part that have no marks, in as many lanes as
// it was cut for.
func (s *sender) sendRest(ctx context.Context, root string, p *lake.Part, m *marks, done func(n int64)) error {
	g, ctx := errgroup.WithContext(ctx)
	lanes := make([]chan *chunk, m.cut.lanes)
	for i := range lanes {
		lanes[i] = make(chan *chunk, 1) // one waits while one is sent
		g.Go(func() error {
			for c := range lanes[i] {
				if err := s.send(ctx, c); err != nil {
					return err
				}
				done(c.records)
			}
			return nil
		})
	}
	put := func(lane int, c *chunk) error {
		if m.applied[c.n] {
			done(c.records)
			return nil
		}
		select {
		case lanes[lane] <- c:
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	g.Go(func() error {
		defer func() {
			for _, l := range lanes {
				close(l)
			}
		}()
		if p.Kind == lake.ConnTable {
			return s.cutFlows(ctx, root, p, m, put)
		}
		return s.cutIntel(ctx, root, p, m, put)
	})
	return g.Wait()
}

// cutFlows cuts a part of connections.
func (s *sender) cutFlows(ctx context.Context, root string, p *lake.Part, m *marks, put func(int, *chunk) error) error {
	c := m.cut
	cutShort := 0
	err := lake.ReadFlows(ctx, root, p, c.rows, c.slot, m.skip(), func(batch int, flows []lake.FlowRow) error {
		// All chunks of the batch know all of its hosts: the first one makes them, once
		// for all, since what changes a host waits for whoever links flows to it.
		hosts := newHostSet()
		lanes := make([][]*lake.FlowRow, c.lanes)
		for i := range flows {
			f := &flows[i]
			cutShort += f.Cut
			hosts.addFlow(f)
			lane := c.lane(f.Src)
			lanes[lane] = append(lanes[lane], f)
		}
		// A chunk takes several times the memory of its flows, and is made when its
		// lane is about to take it.
		for piece := range int(c.pieces()) {
			for lane, rest := range lanes {
				if len(rest) == 0 {
					continue
				}
				n := min(len(rest), c.flows)
				o := &chunk{part: p.Path, n: c.number(batch, lane, piece), cut: c, width: c.slot, hosts: hosts}
				for _, f := range rest[:n] {
					o.addFlow(f)
				}
				lanes[lane] = rest[n:]
				if err := put(lane, o); err != nil {
					return err
				}
			}
		}
		return nil
	})
	if cutShort > 0 {
		s.log.Warn("connections went on for more slots than are kept", slog.String("part", p.Path), slog.Int("connections", cutShort))
	}
	return err
}

// cutIntel cuts a part of intel.
func (s *sender) cutIntel(ctx context.Context, root string, p *lake.Part, m *marks, put func(int, *chunk) error) error {
	c := m.cut
	var q *kindQueries
	for i, k := range flow.Kinds() {
		if k.Name == p.Kind {
			q = &s.kinds[i]
		}
	}
	if q == nil {
		return fmt.Errorf("read %s: %w: there is no intel of the kind %q", p.Path, lake.ErrDamaged, p.Kind)
	}
	return lake.ReadIntel(ctx, root, p, c.records, m.skip(), func(batch int, recs []lake.IntelRow) error {
		open := make([]*chunk, c.lanes)
		for i := range recs {
			lane := c.lane(recs[i].Src)
			o := open[lane]
			if o == nil {
				o = &chunk{
					part: p.Path, n: c.number(batch, lane, 0), cut: c, width: c.slot, hosts: newHostSet(),
					intel: newIntelChunk(q),
				}
				open[lane] = o
			}
			o.intel.add(&recs[i], o.hosts)
			o.records++
		}
		for lane, o := range open {
			if o == nil {
				continue
			}
			if err := put(lane, o); err != nil {
				return err
			}
		}
		return nil
	})
}

// send applies a chunk, exactly once, however often that takes. It returns an
// error only where ctx ended, where patience did, or for errRecut.
func (s *sender) send(ctx context.Context, c *chunk) error {
	timeout := attemptTimeout
	clashes, hopeless := 0, 0
	for try := 1; ; try++ {
		err := s.try(ctx, c, timeout)
		if err == nil {
			s.took(c)
			return nil
		}
		if tooMuch(err) || tookTooLong(err) && timeout == maxAttemptTimeout {
			hopeless++
		}
		if ctx.Err() == nil && tookTooLong(err) {
			timeout = min(2*timeout, maxAttemptTimeout)
		}
		v := judge(err)
		switch {
		case errors.Is(err, errApplied):
			// The mark was seen by the attempt to make another one. It may have
			// vanished since with what it stands for, were it not committed.
			applied, ferr := s.isApplied(ctx, c)
			if ferr != nil {
				return ferr
			}
			if applied {
				s.took(c)
				return nil
			}
		case errors.Is(err, errPrecision):
			s.width.Store(0)
			width, err := s.precision(ctx)
			if err != nil {
				return err
			}
			if !c.align(width) {
				return errRecut
			}
		case errors.Is(err, errChanged):
			s.shared.Lock()
			s.hosts = hostCache{}
			s.shared.Unlock()
		}
		if v == conflicting {
			clashes++
		}
		over := v == refusal && try >= refusals || clashes >= conflicts || hopeless >= despair
		if over && s.healthy(ctx) {
			return s.leaveOut(ctx, c, err)
		}
		if err := s.failed(ctx, v, try, err); err != nil {
			return err
		}
	}
}

// try is one try of a chunk.
func (s *sender) try(ctx context.Context, c *chunk, timeout time.Duration) error {
	if err := s.prepare(ctx, c, timeout); err != nil {
		return err
	}
	return s.attempt(ctx, timeout, func(ctx context.Context, tx neo4j.ExplicitTransaction) error {
		// Its answer is awaited before anything else is sent: so a transaction that
		// can still be committed, however late, holds the mark's lock.
		if err := s.mark(ctx, tx, c); err != nil {
			return err
		}
		if c.intel != nil {
			return c.intel.apply(ctx, tx, &s.waits)
		}
		return s.applyFlows(ctx, tx, c)
	})
}

// isApplied reports whether the mark of a chunk is there.
func (s *sender) isApplied(ctx context.Context, c *chunk) (applied bool, err error) {
	err = s.do(ctx, func(ctx context.Context, tx neo4j.ExplicitTransaction) error {
		n, err := number(ctx, tx, findChunk, map[string]any{"part": c.part, "n": c.n})
		applied = n > 0
		return err
	})
	if err != nil {
		return false, fmt.Errorf("look for the mark of chunk %d of %s: %w", c.n, c.part, err)
	}
	return applied, nil
}

// took counts a chunk.
func (s *sender) took(c *chunk) {
	s.succeeded()
	s.mu.Lock()
	s.sent = time.Now()
	s.mu.Unlock()
	if c.intel != nil {
		s.intel.Add(c.records)
		return
	}
	s.conns.Add(c.records)
	s.flows.Add(int64(len(c.flows)))
}

// leaveOut gives up a chunk that the server refuses while it takes others. Its
// mark says so, lest it be tried again.
func (s *sender) leaveOut(ctx context.Context, c *chunk, why error) error {
	err := s.do(ctx, func(ctx context.Context, tx neo4j.ExplicitTransaction) error {
		const text = `MERGE (c:Chunk {part: $part, n: $n})
ON CREATE SET c.owner = $owner, c.cut = $cut, c.refused = true RETURN count(*)`
		return expect(ctx, tx, text, map[string]any{
			"part": c.part, "n": c.n, "owner": s.owner, "cut": c.cut.String(),
		}, 1)
	})
	if err != nil {
		return fmt.Errorf("leave out chunk %d of %s: %w", c.n, c.part, err)
	}
	s.log.Error("the database refuses records: they are lost", slog.String("part", c.part), slog.Int64("chunk", c.n),
		slog.Int64("records", c.records), slog.Any("err", s.db.explain(ctx, why)))
	if c.intel != nil {
		s.lostIntel.Add(c.records)
	} else {
		s.lostConns.Add(c.records)
	}
	return nil
}

// forget removes marks of the sender's, all but those of some parts.
func (s *sender) forget(ctx context.Context, keep []string) error {
	return s.forgetMarks(ctx, `MATCH (c:Chunk {owner: $owner}) WHERE NOT c.part IN $parts WITH c LIMIT 10000 DELETE c RETURN count(*)`, keep)
}

// forgetParts removes the marks of parts that were sent.
func (s *sender) forgetParts(ctx context.Context, parts []string) error {
	return s.forgetMarks(ctx, `UNWIND $parts AS p MATCH (c:Chunk {owner: $owner}) WHERE c.part = p AND c.n IS NOT NULL
WITH c LIMIT 10000 DELETE c RETURN count(*)`, parts)
}

func (s *sender) forgetMarks(ctx context.Context, text string, parts []string) error {
	for n := 1; n > 0; {
		err := s.do(ctx, func(ctx context.Context, tx neo4j.ExplicitTransaction) (err error) {
			n, err = number(ctx, tx, text, map[string]any{"owner": s.owner, "parts": parts})
			return err
		})
		if err != nil {
			return fmt.Errorf("remove marks: %w", err)
		}
	}
	return nil
}
