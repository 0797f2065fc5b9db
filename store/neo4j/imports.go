// SPDX-License-Identifier: Apache-2.0

package neo4j

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/neo4j/neo4j-go-driver/v5/neo4j"

	"weir/store/lake"
)

// intelPrefix begins the names of the properties with how many records of each
// kind of intel an import has.
const intelPrefix = "intel_"

// importRow returns an import as the properties of its node. What is zero is
// absent.
func importRow(imp *lake.Import) (map[string]any, error) {
	row := map[string]any{
		"id": imp.ID, "time": imp.Time.In(utc()), "packets": int64(min(imp.Packets, math.MaxInt64)), "connections": imp.Connections,
	}
	for name, text := range map[string]string{
		"sensor": imp.Sensor, "source": imp.Source, "options": imp.Options, "version": imp.Version,
	} {
		if text != "" {
			row[name] = text
		}
	}
	for name, on := range map[string]bool{
		"truncated": imp.Truncated, "damaged": imp.Damaged, "open": imp.Open, "killed": imp.Killed,
	} {
		if on {
			row[name] = true
		}
	}
	if imp.First != 0 || imp.Last != 0 {
		row["first"], row["last"] = moment(imp.First), moment(imp.Last)
	}
	if imp.Lost != 0 {
		row["lost"] = imp.Lost
	}
	for kind, n := range imp.Intel {
		row[intelPrefix+kind] = n
	}
	if len(imp.Inputs) > 0 {
		text, err := json.Marshal(imp.Inputs)
		if err != nil {
			return nil, fmt.Errorf("encode the inputs of import %s: %w", imp.ID, err)
		}
		row["inputs"] = string(text)
	}
	return row, nil
}

// importOf is the opposite of importRow.
func importOf(row map[string]any) (lake.Import, error) {
	text := func(name string) string { s, _ := row[name].(string); return s }
	flag := func(name string) bool { b, _ := row[name].(bool); return b }
	number := func(name string) int64 { n, _ := row[name].(int64); return n }
	micros := func(name string) int64 {
		if t, ok := row[name].(time.Time); ok {
			return t.UnixMicro()
		}
		return 0
	}
	imp := lake.Import{
		ID: text("id"), Sensor: text("sensor"), Source: text("source"), Options: text("options"), Version: text("version"),
		Packets: uint64(max(number("packets"), 0)), Connections: number("connections"), Lost: number("lost"),
		First: micros("first"), Last: micros("last"),
		Truncated: flag("truncated"), Damaged: flag("damaged"), Open: flag("open"), Killed: flag("killed"),
	}
	if t, ok := row["time"].(time.Time); ok {
		imp.Time = t.UTC()
	}
	for name := range row {
		if kind, ok := strings.CutPrefix(name, intelPrefix); ok {
			if imp.Intel == nil {
				imp.Intel = make(map[string]int64)
			}
			imp.Intel[kind] = number(name)
		}
	}
	if inputs := text("inputs"); inputs != "" {
		if err := json.Unmarshal([]byte(inputs), &imp.Inputs); err != nil {
			return imp, fmt.Errorf("read the inputs of import %s: %w", imp.ID, err)
		}
	}
	return imp, nil
}

// Imports returns what was read into the database, whole.
func (d *DB) Imports(ctx context.Context) ([]lake.Import, error) {
	var out []lake.Import
	err := d.read(ctx, `MATCH (i:Import) RETURN properties(i) ORDER BY i.time, i.id`, nil, func(r *neo4j.Record) error {
		row, _ := r.Values[0].(map[string]any)
		imp, err := importOf(row)
		out = append(out, imp)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list imports: %w", err)
	}
	return out, nil
}

// putImports writes imports, in one transaction.
func (s *sender) putImports(ctx context.Context, imports []lake.Import) error {
	rows := make([]any, len(imports))
	for i := range imports {
		row, err := importRow(&imports[i])
		if err != nil {
			return err
		}
		rows[i] = row
	}
	err := s.do(ctx, func(ctx context.Context, tx neo4j.ExplicitTransaction) error {
		const text = `UNWIND $rows AS r MERGE (i:Import {id: r.id}) SET i = r RETURN count(*)`
		return expect(ctx, tx, text, map[string]any{"rows": rows}, len(rows))
	})
	if err != nil {
		return fmt.Errorf("write imports: %w", err)
	}
	return nil
}

// writeImports writes the imports that ended and whose parts were sent, which the
// spool forgets then, and now and then those that go on.
func (f *Forwarder) writeImports(ctx context.Context, m *lake.Manifest) error {
	waiting := make(map[string]bool)
	for i := range m.Parts {
		waiting[m.Parts[i].Import] = true
	}
	var write []lake.Import
	var ended []string
	now := time.Now()
	f.mu.Lock()
	for i := range m.Imports {
		imp := m.Imports[i]
		// A part of several imports may have rows of this one.
		if waiting[imp.ID] || waiting[""] {
			continue
		}
		if imp.Open {
			if now.Sub(f.updated[imp.ID]) < updateEvery {
				continue
			}
			f.updated[imp.ID] = now
		} else {
			ended = append(ended, imp.ID)
			delete(f.updated, imp.ID)
		}
		imp.Damaged = imp.Damaged || f.short[imp.ID]
		write = append(write, imp)
	}
	f.mu.Unlock()
	if len(write) == 0 {
		return nil
	}
	if err := f.s.putImports(ctx, write); err != nil {
		return err
	}
	if len(ended) == 0 {
		return nil
	}
	if err := f.cfg.Spool.Forget(ended); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, id := range ended {
		delete(f.short, id)
	}
	return nil
}
