// SPDX-License-Identifier: Apache-2.0

package lakequery

import (
	"context"
	"fmt"
	"slices"
	"time"

	"weir/store"
	"weir/store/lake"
)

// ReadStatus describes the store at path. It reads the manifest only, so that it
// tells of a store with damaged parts, too.
func ReadStatus(path string) (*store.Status, error) {
	m, err := lake.ReadManifest(path)
	if err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	return status(path, m)
}

// Status describes the snapshot that queries see. It reads no part.
func (d *DB) Status(context.Context) (*store.Status, error) { return status(d.path, d.snapshot()) }

func status(path string, m *lake.Manifest) (*store.Status, error) {
	s := describe(path, m)
	for i := range s.Imports {
		imp := &s.Imports[i]
		if !imp.Open {
			continue
		}
		running, err := lake.Running(path, imp.ID)
		if err != nil {
			return nil, fmt.Errorf("describe store: %w", err)
		}
		// An import that has ended since the snapshot was taken is no killed one.
		if !running && stillOpen(path, imp.ID) {
			// The next program that opens the store for writing will say so, too.
			imp.Open, imp.Killed = false, true
		}
	}
	return s, nil
}

// stillOpen reports whether an import is open in the newest manifest.
func stillOpen(path, id string) bool {
	m, err := lake.ReadManifest(path)
	if err != nil {
		return false
	}
	imp := m.Find(id)
	return imp != nil && imp.Open
}

// Sizes of small and medium parts.
const (
	smallPart  = 1e6
	mediumPart = 16e6
)

// describe summarizes a manifest.
func describe(path string, m *lake.Manifest) *store.Status {
	s := &store.Status{
		Location: path, Format: m.Format, Generation: m.Generation, Precision: int64(m.SlotWidth().Seconds()),
		Tables: []store.TableStatus{}, Sensors: []string{}, Imports: []store.ImportStatus{},
	}
	for _, t := range append(lake.Tables(), lake.Rollup(), lake.WeekRollup()) {
		ts := store.TableStatus{Name: t.Name}
		for i := range m.Parts {
			if p := &m.Parts[i]; p.Kind == t.Name {
				ts.Parts++
				ts.Rows += p.Rows
				ts.Bytes += p.Bytes
				switch {
				case p.Bytes < smallPart:
					ts.Small++
				case p.Bytes < mediumPart:
					ts.Medium++
				}
				s.Connections += p.Conns
			}
		}
		if ts.Parts > 0 {
			s.Tables = append(s.Tables, ts)
		}
	}
	for i := range m.Parts {
		p := &m.Parts[i]
		s.Parts++
		if !lake.IsRollup(p.Kind) { // made of rows that count already
			s.Rows += p.Rows
		}
		s.Bytes += p.Bytes
		first, last := time.UnixMicro(p.MinTS).UTC(), time.UnixMicro(p.MaxTS).UTC()
		if s.First == nil || first.Before(*s.First) {
			s.First = &first
		}
		if s.Last == nil || last.After(*s.Last) {
			s.Last = &last
		}
	}
	for i := range m.Imports {
		imp := &m.Imports[i]
		s.Imports = append(s.Imports, imp.Status())
		if !slices.Contains(s.Sensors, imp.Sensor) {
			s.Sensors = append(s.Sensors, imp.Sensor)
		}
	}
	slices.Sort(s.Sensors)
	return s
}
