// SPDX-License-Identifier: Apache-2.0

package storetest

import (
	"context"
	"iter"

	"weir/store"
)

func (m *Memory) Fields(context.Context, store.Query, []string) iter.Seq2[[]any, error] { return nil }

func (m *Memory) Pairs(context.Context, store.PairQuery) iter.Seq2[*store.Pair, error] { return nil }

func (m *Memory) Hosts(context.Context, store.HostQuery) ([]*store.Host, error) { return nil, nil }

func (m *Memory) Timeline(context.Context, store.TimelineQuery) ([]store.TimelineSlot, error) {
	return nil, nil
}

func (m *Memory) Explain(context.Context, func(store.Reader) error) ([]store.Statement, error) {
	return nil, nil
}
