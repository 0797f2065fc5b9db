// SPDX-License-Identifier: Apache-2.0

package storetest

import (
	"context"
	"errors"
	"iter"
	"time"

	"weir/store"
)

// Memory is a store that answers from the model: it passes the suite.
type Memory struct {
	model *model
	data  *Data
}

// NewMemory returns a store called lake with the data.
func NewMemory(d *Data) *Memory { return &Memory{newModel("lake", d.Flows()), d} }

// Flows implements store.FlowLister.
func (m *Memory) Flows(_ context.Context, q store.Query) iter.Seq2[*store.Flow, error] {
	return func(yield func(*store.Flow, error) bool) {
		for _, f := range m.model.list(&q) {
			if !yield(f, nil) {
				return
			}
		}
	}
}

// Counts implements store.Counter.
func (m *Memory) Counts(_ context.Context, q store.Query) (store.Counts, error) {
	return m.model.counts(q.Filter), nil
}

// Top implements store.Ranker.
func (m *Memory) Top(_ context.Context, q store.TopQuery) ([]store.TopRow, error) {
	return m.model.top(&q), nil
}

// Raw implements store.RawQuerier.
func (m *Memory) Raw(context.Context, string) (store.Rows, error) {
	return nil, errors.New("it has no language")
}

// Status implements store.Reporter.
func (m *Memory) Status(context.Context) (*store.Status, error) {
	c := m.data.content()
	s := &store.Status{
		Location: "memory", Format: 1, Tables: []store.TableStatus{{Name: "flow"}}, Connections: c.connections,
		First: c.first, Last: c.last, Sensors: c.sensors,
	}
	for sensor, imp := range c.imports {
		s.Imports = append(s.Imports, store.ImportStatus{
			ID: sensor, Time: time.Unix(1, 0), Sensor: sensor, Source: "capture", Inputs: []string{"x"},
			Connections: imp.Connections, Intel: imp.Intel,
		})
	}
	return s, nil
}

// Close implements io.Closer.
func (m *Memory) Close() error { return nil }
