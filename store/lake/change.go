// SPDX-License-Identifier: Apache-2.0

package lake

import "slices"

// removeParts takes parts out of the manifest and returns them. Every change
// that drops rows goes through it: a roll-up that counts rows which are no
// longer there, or that lost a part of its own, goes too, and the connections
// that it covered are read one by one again.
func (m *Manifest) removeParts(gone func(*Part) bool) []Part {
	stale := make(map[string]bool)
	for i := range m.Parts {
		if p := &m.Parts[i]; p.Rollup != "" && gone(p) {
			stale[p.Rollup] = true
		}
	}
	var old []Part
	m.Parts = slices.DeleteFunc(m.Parts, func(p Part) bool {
		drop := gone(&p) || p.Kind != ConnTable && stale[p.Rollup]
		if drop {
			old = append(old, p)
		}
		return drop
	})
	for i := range m.Parts {
		if stale[m.Parts[i].Rollup] {
			m.Parts[i].Rollup = ""
		}
	}
	return old
}
