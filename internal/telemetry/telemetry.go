// SPDX-License-Identifier: Apache-2.0

// Package telemetry exports what other packages count, as Prometheus metrics,
// and answers whether the process is healthy. Packages keep plain numbers and
// return them by value; a list of descriptions says what each of them is called
// and how it is read.
package telemetry

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
)

// Kind is the type of a metric.
type Kind uint8

// The kinds of metrics: counters only grow, gauges go up and down.
const (
	Counter Kind = iota
	Gauge
)

// String returns Prometheus' name of the kind.
func (k Kind) String() string {
	if k == Gauge {
		return "gauge"
	}
	return "counter"
}

// Metric describes one metric that is read from a snapshot of type S.
type Metric[S any] struct {
	// Name is weir_<package>_<what>_<unit>; that of a counter ends in _total.
	Name string
	// Help is a sentence without full stop.
	Help string
	Kind Kind
	// Labels names the labels; there are none where it is empty.
	Labels []string
	// Samples are the metric's values, one for each combination of the labels'
	// values. Their number is small and fixed.
	Samples []Sample[S]
}

// Sample is one value of a metric.
type Sample[S any] struct {
	// Values holds a value for each label.
	Values []string
	// Read takes the value out of a snapshot.
	Read func(*S) float64
}

// One returns the only sample of a metric without labels.
func One[S any](read func(*S) float64) []Sample[S] { return []Sample[S]{{Read: read}} }

// By returns the sample of one value of a metric's only label.
func By[S any](value string, read func(*S) float64) Sample[S] {
	return Sample[S]{Values: []string{value}, Read: read}
}

// Description is a metric without the way it is read.
type Description struct {
	Name, Help string
	Kind       Kind
	Labels     []string
	// Values holds the values of the labels, sample by sample.
	Values [][]string
}

// Group is a number of metrics that are read from one snapshot, so that they fit
// together.
type Group struct {
	descriptions []Description
	// collect takes a snapshot and yields the values of all samples, in order.
	collect func() []float64
}

// NewGroup returns the metrics of a snapshot, which take takes at each scrape,
// possibly from several goroutines at once.
func NewGroup[S any](take func() S, metrics []Metric[S]) Group {
	g := Group{}
	var reads []func(*S) float64
	for i := range metrics {
		m := &metrics[i]
		d := Description{Name: m.Name, Help: m.Help, Kind: m.Kind, Labels: m.Labels}
		for _, s := range m.Samples {
			d.Values = append(d.Values, s.Values)
			reads = append(reads, s.Read)
		}
		g.descriptions = append(g.descriptions, d)
	}
	g.collect = func() []float64 {
		snapshot := take()
		out := make([]float64, len(reads))
		for i, read := range reads {
			out[i] = read(&snapshot)
		}
		return out
	}
	return g
}

// Descriptions describes the metrics of the group.
func (g *Group) Descriptions() []Description { return g.descriptions }

// maxSamples bounds the samples of one metric: more are a label whose values are
// not a small fixed set.
const maxSamples = 200

// validate reports what is wrong with a description.
func (d *Description) validate() error {
	name := regexp.MustCompile(`^weir_[a-z][a-z0-9]*(_[a-z][a-z0-9]*)+$`)
	label := regexp.MustCompile(`^[a-z][a-z_]*$`)
	total := strings.HasSuffix(d.Name, "_total")
	switch {
	case !name.MatchString(d.Name):
		return fmt.Errorf("metric %s is not named weir_<package>_<what>_<unit>", d.Name)
	case d.Kind == Counter && !total:
		return fmt.Errorf("counter %s does not end in _total", d.Name)
	case d.Kind == Gauge && total:
		return fmt.Errorf("gauge %s ends in _total", d.Name)
	case d.Help == "":
		return fmt.Errorf("metric %s has no help", d.Name)
	case strings.Contains(d.Name, "_dropped_") && !slices.Contains(d.Labels, "reason"):
		return fmt.Errorf("metric %s counts what is dropped without saying why", d.Name)
	case len(d.Values) == 0 || len(d.Values) > maxSamples:
		return fmt.Errorf("metric %s has %d samples", d.Name, len(d.Values))
	}
	for _, l := range d.Labels {
		if !label.MatchString(l) {
			return fmt.Errorf("metric %s: label %q", d.Name, l)
		}
	}
	for i, values := range d.Values {
		if len(values) != len(d.Labels) {
			return fmt.Errorf("metric %s: %d values for %d labels", d.Name, len(values), len(d.Labels))
		}
		for _, earlier := range d.Values[:i] {
			if slices.Equal(earlier, values) {
				return fmt.Errorf("metric %s has two samples %v", d.Name, values)
			}
		}
	}
	return nil
}

// Registry holds the metrics of a process. It is safe for concurrent use.
type Registry struct {
	reg *prometheus.Registry
}

// NewRegistry returns a registry of groups, of the process and of the Go
// runtime. version is what weir_build_info tells.
func NewRegistry(version string, groups ...Group) (*Registry, error) {
	r := &Registry{reg: prometheus.NewRegistry()}
	groups = append(groups, buildInfo(version))
	var errs []error
	names := map[string]bool{}
	for i := range groups {
		for j := range groups[i].descriptions {
			d := &groups[i].descriptions[j]
			if names[d.Name] {
				errs = append(errs, fmt.Errorf("there are two metrics %s", d.Name))
			}
			names[d.Name] = true
			errs = append(errs, d.validate())
		}
		errs = append(errs, r.reg.Register(newCollector(groups[i])))
	}
	errs = append(errs,
		r.reg.Register(collectors.NewGoCollector()),
		r.reg.Register(collectors.NewProcessCollector(collectors.ProcessCollectorOpts{})),
	)
	if err := errors.Join(errs...); err != nil {
		return nil, fmt.Errorf("describe metrics: %w", err)
	}
	return r, nil
}

// buildInfo is the metric by which dashboards tell versions apart.
func buildInfo(version string) Group {
	return NewGroup(func() struct{} { return struct{}{} }, []Metric[struct{}]{{
		Name: "weir_build_info", Help: "Version of the program, always 1", Kind: Gauge, Labels: []string{"version"},
		Samples: []Sample[struct{}]{By(version, func(*struct{}) float64 { return 1 })},
	}})
}

// collector makes a group readable for Prometheus.
type collector struct {
	group Group
	descs []*prometheus.Desc
}

func newCollector(g Group) *collector {
	c := &collector{group: g}
	for i := range g.descriptions {
		d := &g.descriptions[i]
		c.descs = append(c.descs, prometheus.NewDesc(d.Name, d.Help+".", d.Labels, nil))
	}
	return c
}

// Describe implements prometheus.Collector.
func (c *collector) Describe(out chan<- *prometheus.Desc) {
	for _, d := range c.descs {
		out <- d
	}
}

// Collect implements prometheus.Collector.
func (c *collector) Collect(out chan<- prometheus.Metric) {
	values := c.group.collect()
	for i := range c.group.descriptions {
		d := &c.group.descriptions[i]
		typ := prometheus.CounterValue
		if d.Kind == Gauge {
			typ = prometheus.GaugeValue
		}
		for _, labels := range d.Values {
			m, err := prometheus.NewConstMetric(c.descs[i], typ, values[0], labels...)
			if err != nil {
				m = prometheus.NewInvalidMetric(c.descs[i], err)
			}
			out <- m
			values = values[1:]
		}
	}
}
