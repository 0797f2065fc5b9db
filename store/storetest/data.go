// SPDX-License-Identifier: Apache-2.0

package storetest

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"weir/internal/filter"
	"weir/internal/flow"
	"weir/store/lake"
)

// Data is what a store is filled with: records as the sensor hands them over.
type Data struct {
	Conns []Conn
	Intel []Record
}

// Conn is a record of a connection, and the sensor that saw it.
type Conn struct {
	flow.Connection
	Sensor string
}

// Record is what a sensor learned from the payload of a connection.
type Record struct {
	flow.Tuple
	TS     flow.Time
	Sensor string
	filter.Intel
}

// SlotWidth is the width of the timeline's slots, in microseconds.
const SlotWidth = 3600e6

// dport returns the server's port, nil where the protocol has none. Of protocols
// other than TCP and UDP only importers know ports.
func dport(t *flow.Tuple) *uint16 {
	switch {
	case flow.IsICMP(t.Proto):
		return nil
	case t.Proto == flow.TCP, t.Proto == flow.UDP, t.Sport != 0, t.Dport != 0:
		return new(t.Dport)
	}
	return nil
}

// icmpType returns the type of an ICMP message, nil for other protocols.
func icmpType(t *flow.Tuple) *uint16 {
	if !flow.IsICMP(t.Proto) {
		return nil
	}
	return new(t.Sport)
}

// FlowOf returns the flow that a connection belongs to, without anything but its
// key.
func FlowOf(t *flow.Tuple) *filter.Flow {
	return &filter.Flow{
		Src: t.Src, Dst: t.Dst, Proto: flow.ProtoLabel(t.Proto), Dport: dport(t), Type: icmpType(t),
	}
}

// Key returns a text that names a flow, "NULL" for what it has not.
func Key(f *filter.Flow) string {
	return fmt.Sprintf("%s %s %s %s %s", f.Src, f.Dst, f.Proto, number(f.Dport), number(f.Type))
}

func number(n *uint16) string {
	if n == nil {
		return "NULL"
	}
	return fmt.Sprint(*n)
}

// Flows groups the connections and gives the flows their intel: what the
// evaluator matches filters with. Flows are in the order of their keys. Intel of
// flows without any connection is left out.
func (d *Data) Flows() []*filter.Flow {
	byKey := make(map[string]*filter.Flow)
	var out []*filter.Flow
	for i := range d.Conns {
		c := &d.Conns[i]
		f := FlowOf(&c.Tuple)
		if known := byKey[Key(f)]; known != nil {
			f = known
		} else {
			byKey[Key(f)] = f
			f.FirstSeen, f.LastSeen = c.First, c.Last
			out = append(out, f)
		}
		addConn(f, c)
	}
	for i := range d.Intel {
		r := &d.Intel[i]
		if f := byKey[Key(FlowOf(&r.Tuple))]; f != nil {
			f.Intel = append(f.Intel, storedIntel(&r.Intel))
		}
	}
	slices.SortFunc(out, compareKeys)
	return out
}

// addConn adds a connection to its flow.
func addConn(f *filter.Flow, c *Conn) {
	if f.Dport != nil {
		f.Sports = append(f.Sports, c.Sport)
	}
	if f.Type != nil {
		f.Codes = append(f.Codes, uint16(c.Code))
	}
	for _, sum := range []struct {
		total *int64
		n     uint64
	}{
		{&f.Count, c.Count},
		{&f.CSPkts, c.CSPkts},
		{&f.SCPkts, c.SCPkts},
		{&f.CSBytes, c.CSBytes},
		{&f.SCBytes, c.SCBytes},
	} {
		*sum.total = saturate(uint64(*sum.total) + min(sum.n, math.MaxInt64))
	}
	f.FirstSeen, f.LastSeen = min(f.FirstSeen, c.First), max(f.LastSeen, c.Last)
	for n := slot(c.First); n <= slot(c.Last); n++ {
		s := filter.Slot{Start: flow.Time(n * SlotWidth * 1000), Width: SlotWidth}
		if !slices.Contains(f.Times, s) {
			f.Times = append(f.Times, s)
		}
	}
	// The state of a connection is its last one.
	if c.End != flow.EndActive && c.State != flow.StateNone {
		f.ConnState = append(f.ConnState, c.State.String())
	}
	f.Service = append(f.Service, StoredText(c.Service))
	f.Sensor = append(f.Sensor, StoredText(c.Sensor))
	if c.VLAN != 0 {
		f.VLAN = append(f.VLAN, c.VLAN)
	}
}

// slot numbers the slot of a time.
func slot(t flow.Time) int64 {
	n := t.Micro() / SlotWidth
	if t.Micro()%SlotWidth < 0 {
		n--
	}
	return n
}

// saturate returns a sum as stores keep it: signed, and never negative.
func saturate(n uint64) int64 { return int64(min(n, math.MaxInt64)) }

// StoredText returns a text from the wire as stores keep it: NUL and what is not
// UTF-8 become \xNN, and so does the backslash of what looks like that.
func StoredText(text string) string {
	var out strings.Builder
	for len(text) > 0 {
		r, n := utf8.DecodeRuneInString(text)
		escaped := len(text) >= 4 && text[:2] == `\x` && strings.Trim(text[2:4], "0123456789abcdef") == ""
		if r == utf8.RuneError && n == 1 || r == 0 || escaped {
			fmt.Fprintf(&out, `\x%02x`, text[0])
		} else {
			out.WriteString(text[:n])
		}
		text = text[n:]
	}
	return out.String()
}

// storedIntel returns a record as stores keep it.
func storedIntel(in *filter.Intel) filter.Intel {
	out := filter.Intel{Kind: in.Kind, Values: slices.Clone(in.Values)}
	attrs := flow.Kinds()[in.Kind].Attrs
	for i := range out.Values {
		v := &out.Values[i]
		if attrs[i].LogOnly {
			*v = filter.Value{}
		}
		v.Text, v.Texts = StoredText(v.Text), slices.Clone(v.Texts)
		for j := range v.Texts {
			v.Texts[j] = StoredText(v.Texts[j])
		}
	}
	return out
}

// compareKeys orders flows by their keys: client, server, protocol, port, type.
// What is missing comes last.
func compareKeys(a, b *filter.Flow) int {
	return cmp.Or(a.Src.Compare(b.Src), a.Dst.Compare(b.Dst), cmp.Compare(a.Proto, b.Proto),
		compareNumbers(a.Dport, b.Dport), compareNumbers(a.Type, b.Type))
}

// compareNumbers orders numbers, those that are missing last.
func compareNumbers(a, b *uint16) int {
	switch {
	case a == nil && b == nil:
		return 0
	case a == nil:
		return 1
	case b == nil:
		return -1
	}
	return cmp.Compare(*a, *b)
}

// add appends a record to a batch.
func (r *Record) add(b *flow.IntelBatch) {
	b.Begin(r.Kind, &r.Tuple, r.TS)
	for attr, a := range flow.Kinds()[r.Kind].Attrs {
		v := &r.Values[attr]
		if !v.Set {
			continue
		}
		switch a.Type {
		case flow.Text:
			b.SetString(attr, v.Text)
		case flow.TextList:
			b.SetEmpty(attr)
			for _, text := range v.Texts {
				b.AppendText(attr, []byte(text))
			}
		case flow.IntervalList:
			b.SetEmpty(attr)
			for _, n := range v.Ints {
				b.AppendInt(attr, n)
			}
		case flow.Count, flow.Bool, flow.Interval:
			b.SetInt(attr, v.Int)
		}
	}
}

// Sensors returns the names of the sensors, in their order.
func (d *Data) Sensors() []string {
	var out []string
	for i := range d.Conns {
		out = append(out, d.Conns[i].Sensor)
	}
	for i := range d.Intel {
		out = append(out, d.Intel[i].Sensor)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// Pieces is into how many publications the records of a sensor are cut.
const Pieces = 3

// Fill writes the data into a lake: an import for each sensor, which publishes
// its records in pieces, connections before the intel that belongs to them or
// after.
func (d *Data) Fill(tb testing.TB, l *lake.Lake) {
	tb.Helper()
	for i, sensor := range d.Sensors() {
		w, err := l.Begin(lake.Import{
			ID: fmt.Sprintf("import-%d", i), Sensor: sensor, Source: "capture",
			Inputs: []lake.Input{{Name: fmt.Sprintf("%d.pcap", i), Sum: fmt.Sprintf("%032x", i), Size: 1}},
		})
		if err != nil {
			tb.Fatalf("Begin: %v", err)
		}
		var conns []*Conn
		for j := range d.Conns {
			if d.Conns[j].Sensor == sensor {
				conns = append(conns, &d.Conns[j])
			}
		}
		var intel []*Record
		for j := range d.Intel {
			if d.Intel[j].Sensor == sensor {
				intel = append(intel, &d.Intel[j])
			}
		}
		for piece := range Pieces {
			writePiece(tb, w, cut(conns, piece), cut(intel, (piece+i)%Pieces))
			if piece < Pieces-1 {
				if err := w.Publish(lake.Final{}); err != nil {
					tb.Fatalf("Publish: %v", err)
				}
			}
		}
		if err := w.Commit(lake.Final{Packets: uint64(len(conns))}); err != nil {
			tb.Fatalf("Commit: %v", err)
		}
	}
}

// cut returns a piece of a list.
func cut[T any](list []T, piece int) []T {
	return list[len(list)*piece/Pieces : len(list)*(piece+1)/Pieces]
}

func writePiece(tb testing.TB, w *lake.Writer, conns []*Conn, intel []*Record) {
	tb.Helper()
	batch := new(flow.ConnBatch)
	for _, c := range conns {
		batch.Add(&c.Connection)
	}
	if err := w.Connections(batch); err != nil {
		tb.Fatalf("Connections: %v", err)
	}
	records := flow.NewIntelBatch()
	for _, r := range intel {
		r.add(records)
	}
	if err := w.Intel(records); err != nil {
		tb.Fatalf("Intel: %v", err)
	}
}
