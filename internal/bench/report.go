// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"

	"weir/internal/traffic"
)

// result is all runs of one tool.
type result struct {
	tool string
	runs []measurement
}

// median returns the middle of what f gives for the runs; of an even number,
// the mean of the two in the middle.
func (r *result) median(f func(*measurement) float64) float64 {
	values := make([]float64, len(r.runs))
	for i := range r.runs {
		values[i] = f(&r.runs[i])
	}
	slices.Sort(values)
	n := len(values)
	return (values[(n-1)/2] + values[n/2]) / 2
}

func (r *result) wall() float64 {
	return r.median(func(m *measurement) float64 { return m.wall.Seconds() })
}

// printTable prints the medians of each tool.
func printTable(out io.Writer, results []result, totals *traffic.Totals) {
	var sensor *result
	if i := slices.IndexFunc(results, func(r result) bool { return r.tool == "sensor" }); i >= 0 {
		sensor = &results[i]
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "tool\twall s\tmin-max\tpackets/s\tCPU s\tpeak MB\tpackets counted\trecords\tsensor is\t")
	for i := range results {
		r := &results[i]
		low := slices.MinFunc(r.runs, func(a, b measurement) int { return int(a.wall - b.wall) })
		high := slices.MaxFunc(r.runs, func(a, b measurement) int { return int(a.wall - b.wall) })
		last := &r.runs[len(r.runs)-1]
		counted := strconv.FormatInt(last.packets, 10)
		if last.ignored > 0 {
			counted += fmt.Sprintf(" +%d ignored", last.ignored)
		}
		ratio := ""
		if sensor != nil && !strings.HasPrefix(r.tool, "sensor") {
			ratio = fmt.Sprintf("%.2fx", r.wall()/sensor.wall())
		}
		fmt.Fprintf(w, "%s\t%.2f\t%.2f-%.2f\t%.0f\t%.2f\t%.0f\t%s\t%d\t%s\t\n",
			r.tool, r.wall(), low.wall.Seconds(), high.wall.Seconds(), float64(totals.Packets)/r.wall(),
			r.median(func(m *measurement) float64 { return m.cpu.Seconds() }),
			r.median((*measurement).megabytes), counted, last.records, ratio)
	}
	w.Flush()
}

// target is something the sensor must reach on a scenario.
type target struct {
	what     string
	value    float64
	limit    float64
	reversed bool // the value must not be above the limit
}

func (t *target) met() bool {
	if t.reversed {
		return t.value <= t.limit
	}
	return t.value >= t.limit
}

// targets returns what holds for the sensor on a scenario, given the runs.
func targets(scenario traffic.Scenario, results []result, totals *traffic.Totals) []target {
	i := slices.IndexFunc(results, func(r result) bool { return r.tool == "sensor" })
	if i < 0 {
		return nil
	}
	sensor := &results[i]
	last := &sensor.runs[len(sensor.runs)-1]
	peak := sensor.median((*measurement).megabytes)
	list := []target{
		{what: "packets not counted", value: float64(totals.Packets - last.packets), reversed: true},
		{what: "packets counted twice", value: float64(last.packets - totals.Packets), reversed: true},
		{what: "connections missing", value: float64(totals.Sum() - last.records), reversed: true},
	}
	switch scenario {
	case traffic.Mix:
		limits := map[string]float64{"softflowd": 1.5, "nfpcapd": 2.5, "argus": 3}
		for j := range results {
			if limit, ok := limits[results[j].tool]; ok {
				list = append(list, target{
					what:  "times the packets/s of " + results[j].tool,
					value: results[j].wall() / sensor.wall(), limit: limit,
				})
			}
		}
		for _, kind := range []struct {
			name string
			want int64
		}{{"dns", totals.DNSQueries}, {"http", totals.HTTPExchanges}, {"ssl", totals.TLSHandshakes}} {
			off := max(kind.want-last.intel[kind.name], last.intel[kind.name]-kind.want)
			list = append(list, target{what: kind.name + " records off", value: float64(off), reversed: true})
		}
		list = append(list, target{what: "MB at the peak", value: peak, limit: 400, reversed: true})
	case traffic.Flood:
		seconds := sensor.wall() * 1e6 / float64(totals.Packets)
		list = append(
			list,
			target{what: "MB at the peak", value: peak, limit: 160, reversed: true},
			target{what: "s for a million", value: seconds, limit: 3, reversed: true},
		)
	case traffic.Concurrent, traffic.Demo:
	}
	return list
}

// printTargets prints the targets and returns those that were missed.
func printTargets(out io.Writer, scenario traffic.Scenario, results []result, totals *traffic.Totals) []string {
	var missed []string
	for _, t := range targets(scenario, results, totals) {
		sign, verdict := ">=", "ok"
		if t.reversed {
			sign = "<="
		}
		if !t.met() {
			verdict = "MISSED"
			missed = append(missed, fmt.Sprintf("%s: %s %.2f", scenario, t.what, t.value))
		}
		fmt.Fprintf(out, "  %-6s %10.2f %s (%s %.4g)\n", verdict, t.value, t.what, sign, t.limit)
	}
	return missed
}
