// SPDX-License-Identifier: Apache-2.0

package neo4j

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/neo4j/neo4j-go-driver/v5/neo4j"

	"weir/internal/flow"
	"weir/store"
)

// Status implements store.Reporter. Tables are the labels of nodes; what is known
// of how much they take on disk is nothing.
func (d *DB) Status(ctx context.Context) (*store.Status, error) {
	s, err := d.status(ctx)
	if err != nil {
		return nil, fmt.Errorf("describe store: %w", err)
	}
	return s, nil
}

func (d *DB) status(ctx context.Context) (*store.Status, error) {
	s := &store.Status{
		Location: d.Location(), Format: format,
		Tables: []store.TableStatus{}, Sensors: []string{}, Imports: []store.ImportStatus{},
	}
	for _, label := range append([]string{"Host", "Flow"}, intelLabels()...) {
		err := d.read(ctx, "MATCH (n:"+label+") RETURN count(n)", nil, func(r *neo4j.Record) error {
			if n, _ := r.Values[0].(int64); n > 0 {
				s.Tables = append(s.Tables, store.TableStatus{Name: label, Rows: n})
				s.Rows += n
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	width, err := d.precision(ctx)
	if err != nil {
		return nil, err
	}
	s.Precision = int64(width / time.Second)
	sum := new(halves)
	sum.add("f.count")
	err = d.read(ctx, "MATCH (f:Flow) WITH "+sum.parts("sum")+" RETURN "+sum.whole("sum"), nil, func(r *neo4j.Record) error {
		s.Connections, _ = r.Values[0].(int64)
		return nil
	})
	if err != nil {
		return nil, err
	}
	for _, x := range []struct {
		property, order string
		time            **time.Time
	}{{"firstseen", "", &s.First}, {"lastseen", " DESC", &s.Last}} {
		// In the order of the index: the first is the only one that is looked at.
		text := "MATCH (f:Flow) WHERE f." + x.property + " IS NOT NULL RETURN f." + x.property +
			" ORDER BY f." + x.property + x.order + " LIMIT 1"
		err := d.read(ctx, text, nil, func(r *neo4j.Record) error {
			if t, ok := r.Values[0].(time.Time); ok {
				*x.time = new(t.UTC())
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	// Intel may be all that there is of a time; there is no index of it.
	err = d.read(ctx, "MATCH (i:Intel) RETURN min(i.firstseen), max(i.lastseen)", nil, func(r *neo4j.Record) error {
		if t, ok := r.Values[0].(time.Time); ok && (s.First == nil || t.Before(*s.First)) {
			s.First = new(t.UTC())
		}
		if t, ok := r.Values[1].(time.Time); ok && (s.Last == nil || t.After(*s.Last)) {
			s.Last = new(t.UTC())
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	imports, err := d.Imports(ctx)
	if err != nil {
		return nil, err
	}
	for i := range imports {
		s.Imports = append(s.Imports, imports[i].Status())
		s.Sensors = append(s.Sensors, imports[i].Sensor)
	}
	slices.Sort(s.Sensors)
	s.Sensors = slices.Compact(s.Sensors)
	return s, nil
}

// intelLabels returns the labels of the kinds of intel.
func intelLabels() (out []string) {
	for _, k := range flow.Kinds() {
		out = append(out, k.Label)
	}
	return out
}
