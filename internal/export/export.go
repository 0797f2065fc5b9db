// SPDX-License-Identifier: Apache-2.0

// Package export writes the hosts and flows of a selection in the formats that other
// programs read: GraphML, DOT, JSON and Parquet.
package export

import (
	"fmt"
	"hash/fnv"
	"math"
	"net/netip"
	"strings"
	"time"

	"weir/store"
)

// Type is the type of an attribute's values.
type Type uint8

// Types of attributes. Lists hold distinct values in ascending order.
const (
	Text Type = iota
	Int
	Time
	IntList
	TextList
	TimeList
)

// Column is an attribute of edges.
type Column struct {
	Name string
	Type Type
}

// Edge is what an export has between two hosts: a flow, or all flows of a pair.
type Edge struct {
	Src, Dst netip.Addr
	// Label says what it is for: "tcp/80".
	Label string
	// Color is that of the service, gray for several.
	Color string
	// Flows is how many flows it stands for.
	Flows               int64
	FirstSeen, LastSeen time.Time
	// Values are those of the columns: nil, string, int64, time.Time, []uint16, []string
	// or []time.Time.
	Values []any
	// Object is the whole of it as JSON has it.
	Object any
}

// FlowColumns returns the attributes of edges that are flows.
func FlowColumns() []Column {
	return []Column{
		{"src", Text},
		{"dst", Text},
		{"proto", Text},
		{"dport", Int},
		{"type", Int},
		{"sports", IntList},
		{"codes", IntList},
		{"count", Int},
		{"cspkts", Int},
		{"scpkts", Int},
		{"csbytes", Int},
		{"scbytes", Int},
		{"firstseen", Time},
		{"lastseen", Time},
		{"conn_state", TextList},
		{"service", TextList},
		{"vlan", IntList},
		{"sensor", TextList},
		{"times", TimeList},
	}
}

// FlowEdge returns a flow as an edge.
func FlowEdge(f *store.Flow) *Edge {
	return &Edge{
		Src: f.Src, Dst: f.Dst, Label: f.Label(), Color: Color(store.Service{Proto: f.Proto, Dport: f.Dport, Type: f.Type}),
		Flows: 1, FirstSeen: f.FirstSeen, LastSeen: f.LastSeen,
		Values: []any{
			f.Src.String(), f.Dst.String(), f.Proto, number(f.Dport), number(f.Type), f.Sports, f.Codes,
			f.Count, f.CSPkts, f.SCPkts, f.CSBytes, f.SCBytes, f.FirstSeen, f.LastSeen,
			f.ConnState, f.Service, f.VLAN, f.Sensor, f.Times,
		},
		Object: f,
	}
}

// number returns an attribute that may be missing.
func number(n *uint16) any {
	if n == nil {
		return nil
	}
	return int64(*n)
}

// PairColumns returns the attributes of edges that are pairs.
func PairColumns() []Column {
	return []Column{
		{"src", Text},
		{"dst", Text},
		{"services", TextList},
		{"flows", Int},
		{"count", Int},
		{"cspkts", Int},
		{"scpkts", Int},
		{"csbytes", Int},
		{"scbytes", Int},
		{"firstseen", Time},
		{"lastseen", Time},
		{"times", TimeList},
	}
}

// maxLabel is how many services the label of a pair names.
const maxLabel = 5

// PairEdge returns all flows between two hosts as one edge.
func PairEdge(p *store.Pair) *Edge {
	services := make([]string, len(p.Services))
	for i, s := range p.Services {
		services[i] = s.String()
	}
	label := strings.Join(services[:min(len(services), maxLabel)], ", ")
	if more := len(services) - maxLabel; more > 0 {
		label += fmt.Sprintf(", %d more", more)
	}
	color := gray
	if len(p.Services) == 1 {
		color = Color(p.Services[0])
	}
	return &Edge{
		Src: p.Src, Dst: p.Dst, Label: label, Color: color, Flows: p.Flows, FirstSeen: p.FirstSeen, LastSeen: p.LastSeen,
		Values: []any{
			p.Src.String(), p.Dst.String(), services, p.Flows, p.Count, p.CSPkts, p.SCPkts, p.CSBytes, p.SCBytes,
			p.FirstSeen, p.LastSeen, p.Times,
		},
		Object: p,
	}
}

// Colors of hosts, and of what has no color of its own.
const (
	gray  = "#7f7f7f"
	white = "#ffffff"
	light = "#d3d3d3"
)

// Color returns the color of a service as "#rrggbb". It follows from the service alone, so
// that pictures of different selections agree.
func Color(s store.Service) string {
	h := fnv.New32a()
	h.Write([]byte(s.String()))
	sum := h.Sum32()
	// Any hue; dark enough on white, bright enough on black.
	hue, light := float64(sum%360), 0.27+float64(sum>>16%4)*0.05
	const saturation = 0.75
	part := func(n float64) int {
		k := math.Mod(n+hue/30, 12)
		a := saturation * min(light, 1-light)
		return int(math.Round(255 * (light - a*max(-1, min(k-3, 9-k, 1)))))
	}
	return fmt.Sprintf("#%02x%02x%02x", part(0), part(8), part(4))
}

// timeText is how the formats that have no type for times show them.
func timeText(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) }

// valueText returns a value as text, lists with commas. It is false for what is not there.
func valueText(v any) (text string, ok bool) {
	switch v := v.(type) {
	case nil:
		return "", false
	case string:
		return v, true
	case time.Time:
		return timeText(v), true
	case []uint16:
		return strings.Trim(strings.ReplaceAll(fmt.Sprint(v), " ", ","), "[]"), len(v) > 0
	case []string:
		return strings.Join(v, ","), len(v) > 0
	case []time.Time:
		list := make([]string, len(v))
		for i, t := range v {
			list[i] = timeText(t)
		}
		return strings.Join(list, ","), len(v) > 0
	}
	return fmt.Sprint(v), true
}
