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
	return all(m.model.list(&q))
}

// Counts implements store.Counter.
func (m *Memory) Counts(_ context.Context, q store.Query) (store.Counts, error) {
	return m.model.counts(q.Filter), nil
}

// Top implements store.Ranker.
func (m *Memory) Top(_ context.Context, q store.TopQuery) ([]store.TopRow, error) {
	return m.model.top(&q), nil
}

// Fields implements store.FieldLister.
func (m *Memory) Fields(_ context.Context, q store.Query, names []string) iter.Seq2[[]any, error] {
	return all(m.model.fields(&q, names))
}

// Pairs implements store.PairLister.
func (m *Memory) Pairs(_ context.Context, q store.PairQuery) iter.Seq2[*store.Pair, error] {
	return all(m.model.pairs(&q))
}

// Hosts implements store.HostFinder.
func (m *Memory) Hosts(_ context.Context, q store.HostQuery) ([]*store.Host, error) {
	return m.model.hosts(&q, m.data.Intel), nil
}

// Timeline implements store.Timekeeper.
func (m *Memory) Timeline(_ context.Context, q store.TimelineQuery) ([]store.TimelineSlot, error) {
	return m.model.timeline(&q), nil
}

// Explain implements store.Explainer: what would run is the question itself.
func (m *Memory) Explain(_ context.Context, ask func(store.Reader) error) ([]store.Statement, error) {
	e := &explained{Memory: NewMemory(new(Data))}
	err := ask(e)
	return e.statements, err
}

// explained is an empty store that remembers the filters that it is asked.
type explained struct {
	*Memory
	statements []store.Statement
}

func (e *explained) add(q store.Query) {
	e.statements = append(e.statements, store.Statement{Text: "flows", Args: map[string]any{"filter": q.Filter.String()}})
}

func (e *explained) Flows(ctx context.Context, q store.Query) iter.Seq2[*store.Flow, error] {
	e.add(q)
	return e.Memory.Flows(ctx, q)
}

func (e *explained) Counts(ctx context.Context, q store.Query) (store.Counts, error) {
	e.add(q)
	return e.Memory.Counts(ctx, q)
}

func (e *explained) Top(ctx context.Context, q store.TopQuery) ([]store.TopRow, error) {
	e.add(q.Query)
	return e.Memory.Top(ctx, q)
}

func (e *explained) Fields(ctx context.Context, q store.Query, names []string) iter.Seq2[[]any, error] {
	e.add(q)
	return e.Memory.Fields(ctx, q, names)
}

func (e *explained) Pairs(ctx context.Context, q store.PairQuery) iter.Seq2[*store.Pair, error] {
	e.add(q.Query)
	return e.Memory.Pairs(ctx, q)
}

func (e *explained) Hosts(ctx context.Context, q store.HostQuery) ([]*store.Host, error) {
	e.add(store.Query{})
	return e.Memory.Hosts(ctx, q)
}

func (e *explained) Timeline(ctx context.Context, q store.TimelineQuery) ([]store.TimelineSlot, error) {
	e.add(store.Query{Filter: q.Filter})
	return e.Memory.Timeline(ctx, q)
}

// all yields the elements of a list.
func all[T any](list []T) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		for _, x := range list {
			if !yield(x, nil) {
				return
			}
		}
	}
}

// Raw implements store.RawQuerier.
func (m *Memory) Raw(context.Context, string) (store.Rows, error) {
	return nil, errors.New("it has no language")
}

// Status implements store.Reporter.
func (m *Memory) Status(context.Context) (*store.Status, error) {
	c := m.data.content()
	s := &store.Status{
		Location: "memory", Format: 1, Precision: SlotWidth / 1e6, Tables: []store.TableStatus{{Name: "flow"}}, Connections: c.connections,
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
