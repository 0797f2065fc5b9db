// SPDX-License-Identifier: Apache-2.0

package neo4j

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"sync/atomic"
	"time"

	"github.com/zeebo/xxh3"

	"weir/store/lake"
)

// LoadConfig configures Load.
type LoadConfig struct {
	// Progress is called with the number of connections and records of intel that
	// were sent, and of all, now and then, and not twice at once.
	Progress func(sent, all int64)
	// Patience is for how long nothing may succeed (default 2 minutes).
	Patience time.Duration
	Logger   *slog.Logger
}

// LoadStats says what Load did.
type LoadStats struct {
	// Imports and Parts were sent, Known imports were in the database already.
	Imports, Known, Parts     int64
	Connections, Intel, Flows int64
	// Lost records are in damaged parts, or the database refuses them.
	Lost lake.Records
	// Resumed says that an earlier Load was interrupted, and went on: it sent what
	// the lake had then.
	Resumed bool
}

// Load sends what is in a lake, except for imports that are in the database
// already. It sends a snapshot of the lake, which stays the same if Load is
// interrupted and called again: then it goes on.
func (d *DB) Load(ctx context.Context, l *lake.Lake, cfg LoadConfig) (LoadStats, error) {
	st, err := d.load(ctx, l, cfg)
	if err != nil {
		err = fmt.Errorf("load %s into %s: %w", l.Path(), d.where, err)
	}
	return st, err
}

func (d *DB) load(ctx context.Context, l *lake.Lake, cfg LoadConfig) (st LoadStats, err error) {
	if cfg.Patience == 0 {
		cfg.Patience = 2 * time.Minute
	}
	if cfg.Progress == nil {
		cfg.Progress = func(_, _ int64) {}
	}
	if err := d.ready(ctx); err != nil {
		return st, err
	}
	pin, resumed, err := pinFor(l, "neo4j-"+fmt.Sprintf("%016x", xxh3.HashString(d.Location())))
	if err != nil {
		return st, err
	}
	st.Resumed = resumed
	owner, release, err := claimSending(pin.Root)
	if err != nil {
		return st, err
	}
	defer release()
	known, err := d.Imports(ctx)
	if err != nil {
		return st, err
	}
	p, err := planLoad(pin.Manifest, known)
	if err != nil {
		if !resumed {
			err = errors.Join(err, pin.Release())
		}
		return st, err
	}
	st.Known = int64(p.known)
	s := newSender(d, cfg.Logger, owner)
	s.setPatience(cfg.Patience)
	s.waiting = func() string {
		return fmt.Sprintf("%d of %d records were sent; load the lake again to go on", s.conns.Load()+s.intel.Load(), p.records)
	}
	damaged, err := s.loadParts(ctx, pin.Root, p, cfg.Progress)
	st.Parts, st.Connections, st.Intel, st.Flows = s.parts.Load(), s.conns.Load(), s.intel.Load(), s.flows.Load()
	st.Lost = lake.Records{Conns: s.lostConns.Load(), Intel: s.lostIntel.Load()}
	if err != nil {
		return st, err
	}
	if s.waits.Load() {
		if err := s.sweepWaiting(ctx); err != nil {
			return st, err
		}
	}
	for i := range p.imports {
		p.imports[i].Damaged = p.imports[i].Damaged || damaged[p.imports[i].ID]
	}
	// From here on the imports are known, and nothing of them is sent again.
	if err := s.putImports(ctx, p.imports); err != nil {
		return st, err
	}
	st.Imports = int64(len(p.imports))
	if err := s.forget(ctx, nil); err != nil {
		return st, err
	}
	return st, pin.Release()
}

// pinFor returns the snapshot of an interrupted load, or a new one.
func pinFor(l *lake.Lake, id string) (p *lake.Pinned, resumed bool, err error) {
	p, err = l.FindPin(id)
	if err == nil {
		return p, true, nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return nil, false, err
	}
	p, err = l.Pin(id)
	if errors.Is(err, lake.ErrPinned) { // by another process, right now
		p, err = l.FindPin(id)
	}
	return p, false, err
}

// loadParts sends the parts of a plan, and returns the imports of damaged ones.
func (s *sender) loadParts(ctx context.Context, root string, p *loadPlan, progress func(sent, all int64)) (map[string]bool, error) {
	damaged := make(map[string]bool)
	var sent atomic.Int64
	ended, stop := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		ticker := time.NewTicker(200 * time.Millisecond)
		defer ticker.Stop()
		for {
			select {
			case <-ticker.C:
				progress(sent.Load(), p.records)
			case <-stop:
				progress(sent.Load(), p.records)
				return
			}
		}
	}()
	defer func() {
		close(stop)
		<-ended
	}()
	var before int64
	for i := range p.parts {
		part := &p.parts[i]
		err := s.sendPart(ctx, root, part, func(n int64) { sent.Add(n) })
		r := recordsOf(part)
		if err != nil && ctx.Err() == nil && errors.Is(err, lake.ErrDamaged) {
			s.lostConns.Add(r.Conns)
			s.lostIntel.Add(r.Intel)
			damaged[part.Import] = true
			s.log.Error("a part cannot be read: what was not sent of it is left out", slog.String("part", part.Path),
				slog.Any("err", err))
			err = nil
		}
		if err != nil {
			return nil, err
		}
		s.parts.Add(1)
		before += r.Conns + r.Intel
		sent.Store(before) // of a part that was sent before, not all is read
	}
	return damaged, nil
}

// loadPlan is what is to be loaded.
type loadPlan struct {
	parts   []lake.Part
	imports []lake.Import
	known   int
	records int64
}

// planLoad finds out what of a lake is not in the database.
func planLoad(m *lake.Manifest, stored []lake.Import) (*loadPlan, error) {
	byID := make(map[string]*lake.Import)
	contents := make(map[string]bool)
	for i := range stored {
		imp := &stored[i]
		byID[imp.ID] = imp
		for _, in := range imp.Inputs {
			if in.Sum != "" && !imp.Open {
				contents[in.Sum] = true
			}
		}
	}
	p := new(loadPlan)
	known := make(map[string]bool)
	var mergedKnown, mergedNew string
	for i := range m.Imports {
		imp := &m.Imports[i]
		had := byID[imp.ID]
		if had != nil && (had.Open || imp.Open) && !sameContent(had, imp) {
			return nil, fmt.Errorf("import %s (%s, sensor %q) was loaded while it went on, and has grown since: "+
				"only all of it can be loaded; empty the database with flowcli --init and load again", imp.ID, imp.Source, imp.Sensor)
		}
		if known[imp.ID] = had != nil || readBefore(imp, contents); known[imp.ID] {
			p.known++
		} else {
			p.imports = append(p.imports, *imp)
		}
		if mayMerge(imp) {
			if known[imp.ID] {
				mergedKnown = imp.ID
			} else {
				mergedNew = imp.ID
			}
		}
	}
	for _, part := range m.Incoming() {
		if part.Import == "" && mergedKnown != "" && mergedNew != "" {
			return nil, fmt.Errorf("part %s has connections of several imports, of which some are in the database (as %s) and "+
				"some are not (as %s): empty the database with flowcli --init and load again", part.Path, mergedKnown, mergedNew)
		}
		if part.Import == "" && mergedKnown != "" || known[part.Import] {
			continue
		}
		p.parts = append(p.parts, part)
		r := recordsOf(&part)
		p.records += r.Conns + r.Intel
	}
	return p, nil
}

// mayMerge reports whether a lake may merge parts of an import with others: that
// of one that nothing can replace.
func mayMerge(imp *lake.Import) bool {
	if imp.Source != "live" && imp.Source != "stdin" {
		return false
	}
	for _, in := range imp.Inputs {
		if in.Sum != "" {
			return false
		}
	}
	return true
}

// sameContent reports whether an import has as much as it had.
func sameContent(a, b *lake.Import) bool {
	return a.Connections == b.Connections && a.Packets == b.Packets && maps.Equal(a.Intel, b.Intel)
}

// readBefore reports whether all inputs of an import are in the database by
// another way.
func readBefore(imp *lake.Import, contents map[string]bool) bool {
	for _, in := range imp.Inputs {
		if in.Sum == "" || !contents[in.Sum] {
			return false
		}
	}
	return len(imp.Inputs) > 0
}
