// SPDX-License-Identifier: Apache-2.0

package neo4j

import (
	"cmp"
	"fmt"
	"slices"

	"weir/internal/flow"
	"weir/store"
)

// gathering puts together what is known about one flow or host. Relations that
// different transactions made may have the same values.
type gathering struct {
	kinds []flow.KindInfo
	byKey map[string]*sorted
	list  []*sorted
	buf   []byte
}

// sorted is intel with what sorts it.
type sorted struct {
	store.Intel
	kind   int
	values []any
}

func newGathering() *gathering { return &gathering{kinds: flow.Kinds()} }

// reset forgets what was gathered.
func (g *gathering) reset() { g.byKey, g.list = make(map[string]*sorted), nil }

// add adds count records with the labels and properties of a node, and with those of a
// relation, which may have none.
func (g *gathering) add(labels []any, node, relation map[string]any, count int64) error {
	kind := slices.IndexFunc(g.kinds, func(k flow.KindInfo) bool { return slices.Contains(labels, any(k.Label)) })
	if kind < 0 {
		return fmt.Errorf("intel has the labels %v", labels)
	}
	in := &sorted{kind: kind}
	in.Kind, in.Count, in.Attrs = g.kinds[kind].Name, count, make(map[string]any)
	g.buf = append(g.buf[:0], byte(kind))
	for i := range g.kinds[kind].Attrs {
		a := &g.kinds[kind].Attrs[i]
		holder := node
		if a.Role == flow.Measure {
			holder = relation
		}
		v := holder[a.FilterName()]
		in.values = append(in.values, v)
		if v != nil {
			in.Attrs[a.FilterName()] = v
		}
		g.buf = fmt.Appendf(g.buf, "%#v\x00", v)
	}
	if known := g.byKey[string(g.buf)]; known != nil {
		known.Count += count
		return nil
	}
	g.byKey[string(g.buf)] = in
	g.list = append(g.list, in)
	return nil
}

// page returns what comes first, at most so many elements, and how many are left out.
func (g *gathering) page(most int) (out []store.Intel, more int64) {
	slices.SortFunc(g.list, func(a, b *sorted) int {
		return cmp.Or(cmp.Compare(a.kind, b.kind), cmp.Compare(b.Count, a.Count), compareTuples(a.values, b.values))
	})
	for i, in := range g.list {
		if i == most {
			return out, int64(len(g.list) - most)
		}
		out = append(out, in.Intel)
	}
	return out, 0
}
