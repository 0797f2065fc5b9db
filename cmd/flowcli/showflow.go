// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"fmt"
	"slices"
	"strings"
	"time"

	"weir/internal/calendar"
	"weir/internal/flow"
	"weir/internal/term"
	"weir/store"
)

// printFlow prints a flow, but for its intel, for people.
func (o *options) printFlow(w *bufio.Writer, f *store.Flow, width time.Duration) {
	fmt.Fprintf(w, "%s | %s | %s\n\n", f.Src, term.Escape(f.Label()), f.Dst)
	line(w, "connections", "%s", term.Number(f.Count))
	line(w, "packets", "%s to the server, %s to the client", term.Number(f.CSPkts), term.Number(f.SCPkts))
	line(w, "bytes", "%s to the server, %s to the client", term.Bytes(f.CSBytes), term.Bytes(f.SCBytes))
	line(w, "first seen", "%s", o.time(f.FirstSeen))
	line(w, "last seen", "%s", o.time(f.LastSeen))
	set(w, "sports", f.Sports)
	set(w, "codes", f.Codes)
	set(w, "states", f.ConnState)
	set(w, "services", f.Service)
	set(w, "vlans", f.VLAN)
	set(w, "sensors", f.Sensor)
	if len(f.Times) > 0 && width > 0 {
		first, last := f.Times[0], f.Times[len(f.Times)-1]
		all := int64(last.Sub(first)/width) + 1
		line(w, "active", "in %s of %s slots of %s from %s to %s", term.Number(int64(len(f.Times))), term.Number(all),
			calendar.Text(width), o.time(first), o.time(last.Add(width)))
		line(w, "", "%s", spark(f.Times, width))
	}
}

// set prints a set, where there is one.
func set[T any](w *bufio.Writer, name string, list []T) {
	if len(list) == 0 {
		return
	}
	// Flows of scans have tens of thousands of ports: more than anybody reads.
	const most = 40
	parts := make([]string, min(len(list), most))
	for i := range parts {
		if parts[i] = fmt.Sprint(list[i]); parts[i] == "" {
			parts[i] = noValue // sensors need no name
		}
	}
	text := strings.Join(parts, ", ")
	if more := len(list) - most; more > 0 {
		text += fmt.Sprintf(" and %s more", term.Number(int64(more)))
	}
	line(w, name, "%s", text)
}

// sparkWidth is how many characters a timeline has at most.
const sparkWidth = 64

// spark draws slots of time as a line: the height is how many of a character's slots are among
// the times.
func spark(times []time.Time, width time.Duration) string {
	levels := []rune("·▁▂▃▄▅▆▇█")
	first := times[0]
	slots := int64(times[len(times)-1].Sub(first)/width) + 1
	each := (slots + sparkWidth - 1) / sparkWidth
	counts := make([]int64, (slots+each-1)/each)
	for _, t := range times {
		counts[int64(t.Sub(first)/width)/each]++
	}
	out := make([]rune, len(counts))
	for i, n := range counts {
		// The last character may stand for fewer slots.
		of := min(each, slots-int64(i)*each)
		out[i] = levels[(n*int64(len(levels)-1)+of-1)/of]
	}
	return string(out)
}

// printIntel prints records of intel, a table for each kind, whose columns are the attributes that any
// of its records has.
func (o *options) printIntel(w *bufio.Writer, list []store.Intel, total map[string]int) error {
	cell := listCell(o.zone)
	for _, k := range flow.Kinds() {
		var records []store.Intel
		for _, in := range list {
			if in.Kind == k.Name {
				records = append(records, in)
			}
		}
		if len(records) == 0 {
			continue
		}
		fmt.Fprintf(w, "\n%s: %s", k.Name, term.Number(int64(total[k.Name])))
		if more := total[k.Name] - len(records); more > 0 {
			fmt.Fprintf(w, ", %s of them not shown", term.Number(int64(more)))
		}
		fmt.Fprintln(w)
		columns := []term.Column{{Name: "count", Right: true}}
		var names []string
		for i := range k.Attrs {
			name := k.Attrs[i].FilterName()
			if slices.ContainsFunc(records, func(in store.Intel) bool { return in.Attrs[name] != nil }) {
				names = append(names, name)
				columns = append(columns, term.Column{Name: name, Right: k.Attrs[i].Type == flow.Count || k.Attrs[i].Type == flow.Interval})
			}
		}
		t := term.NewTable(w, " | ", true, columns...)
		for _, in := range records {
			cells := []string{term.Number(in.Count)}
			for _, name := range names {
				cells = append(cells, cell(in.Attrs[name]))
			}
			if err := t.Row(cells...); err != nil {
				return err
			}
		}
		if err := t.Flush(); err != nil {
			return err
		}
	}
	return nil
}
