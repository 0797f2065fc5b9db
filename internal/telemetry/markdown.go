// SPDX-License-Identifier: Apache-2.0

package telemetry

import (
	"fmt"
	"slices"
	"strings"
)

// Markdown returns the tables of docs/metrics.md that describe groups: one for
// each package, in the order in which they first appear.
func Markdown(groups ...Group) string {
	var b strings.Builder
	section := ""
	for i := range groups {
		for j := range groups[i].descriptions {
			d := &groups[i].descriptions[j]
			if name := strings.Split(d.Name, "_")[1]; name != section {
				section = name
				fmt.Fprintf(&b, "\n## %s\n\n| metric | type | labels | meaning |\n|---|---|---|---|\n", section)
			}
			fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", d.Name, d.Kind, d.labelText(), d.Help)
		}
	}
	return b.String()
}

// labelText lists the labels with their values.
func (d *Description) labelText() string {
	parts := make([]string, len(d.Labels))
	for i, label := range d.Labels {
		var values []string
		for _, sample := range d.Values {
			if v := "`" + sample[i] + "`"; !slices.Contains(values, v) {
				values = append(values, v)
			}
		}
		parts[i] = "`" + label + "`: " + strings.Join(values, ", ")
	}
	return strings.Join(parts, "; ")
}
