// SPDX-License-Identifier: Apache-2.0

package lakequery

import (
	"context"
	"slices"
	"time"

	"weir/store"
	"weir/store/lake"
)

// Status describes the snapshot that queries see. It reads no part.
func (d *DB) Status(context.Context) (*store.Status, error) {
	return describe(d.path, d.snapshot()), nil
}

// describe summarizes a manifest.
func describe(path string, m *lake.Manifest) *store.Status {
	s := &store.Status{
		Location: path, Format: m.Format, Generation: m.Generation,
		Tables: []store.TableStatus{}, Sensors: []string{}, Imports: []store.ImportStatus{},
	}
	for _, t := range append(lake.Tables(), lake.Rollup()) {
		ts := store.TableStatus{Name: t.Name}
		for i := range m.Parts {
			if p := &m.Parts[i]; p.Kind == t.Name {
				ts.Parts++
				ts.Rows += p.Rows
				ts.Bytes += p.Bytes
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
		if p.Kind != lake.RollupTable { // made of rows that count already
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
		is := store.ImportStatus{
			ID: imp.ID, Time: imp.Time.UTC(), Sensor: imp.Sensor, Source: imp.Source,
			Options: imp.Options, Packets: imp.Packets, Connections: imp.Connections,
			Intel: imp.Intel, Truncated: imp.Truncated, Open: imp.Open,
		}
		for j := range imp.Inputs {
			is.Inputs = append(is.Inputs, imp.Inputs[j].Name)
		}
		s.Imports = append(s.Imports, is)
		if !slices.Contains(s.Sensors, imp.Sensor) {
			s.Sensors = append(s.Sensors, imp.Sensor)
		}
	}
	slices.Sort(s.Sensors)
	return s
}
