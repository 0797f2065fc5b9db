// SPDX-License-Identifier: Apache-2.0

package lake

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Incoming returns the parts of connections and intel in the order in which
// their rows came in, connections before the intel of the same change.
func (m *Manifest) Incoming() []Part {
	rank := make(map[string]int)
	for i, t := range Tables() {
		rank[t.Name] = i
	}
	var parts []Part
	for i := range m.Parts {
		if _, ok := rank[m.Parts[i].Kind]; ok {
			parts = append(parts, m.Parts[i])
		}
	}
	slices.SortFunc(parts, func(a, b Part) int {
		return cmp.Or(cmp.Compare(a.Generation, b.Generation), cmp.Compare(rank[a.Kind], rank[b.Kind]),
			strings.Compare(a.Path, b.Path))
	})
	return parts
}

// Drop takes parts out of the store, all in one change: their rows are
// somewhere else now, or given up. Those that the store does not have are no
// error. Where the Lake was opened with a Grace of next to nothing, their files
// are gone on return.
func (l *Lake) Drop(paths []string) error {
	gone := make(map[string]bool, len(paths))
	for _, p := range paths {
		gone[p] = true
	}
	err := l.locked(func() error {
		m, err := ReadManifest(l.path)
		if err != nil {
			return err
		}
		old := m.removeParts(func(p *Part) bool { return gone[p.Path] })
		if len(old) == 0 {
			return nil
		}
		if err := l.replaceManifest(m); err != nil {
			return err
		}
		l.discard(old)
		return nil
	})
	if err != nil {
		return fmt.Errorf("drop parts: %w", err)
	}
	return nil
}

// Forget takes imports out of the store: what they read counts as not read, and
// may be read again. Those that go on, or that a part names, stay.
func (l *Lake) Forget(ids []string) error {
	err := l.locked(func() error {
		m, err := ReadManifest(l.path)
		if err != nil {
			return err
		}
		named := make(map[string]bool)
		for i := range m.Parts {
			named[m.Parts[i].Import] = true
		}
		before := len(m.Imports)
		m.Imports = slices.DeleteFunc(m.Imports, func(imp Import) bool {
			return slices.Contains(ids, imp.ID) && !imp.Open && !named[imp.ID]
		})
		if len(m.Imports) == before {
			return nil
		}
		return l.replaceManifest(m)
	})
	if err != nil {
		return fmt.Errorf("forget imports: %w", err)
	}
	return nil
}
