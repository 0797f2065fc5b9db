// SPDX-License-Identifier: Apache-2.0

package neo4j

import (
	"fmt"
	"io"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"weir/internal/filter"
	"weir/internal/flow"
	"weir/store"
)

// Script writes Cypher that makes hosts and flows in another database, as Forward does: the
// statements of the schema, then flows, some at a time, each statement ended by a semicolon and
// a line break, which no literal has. Flows that are there already get the values of the script; intel is
// not part of it. A script is not safe for concurrent use.
type Script struct {
	w     io.Writer
	hosts *hostSet
	flows scriptTable
	// bytes counts what the values of sets take.
	bytes int
}

// Limits of a statement for flows.
const (
	scriptFlows = 500
	scriptBytes = 1 << 20
)

// scriptTable holds rows as lists of literals, one for each column. The server plans lists
// that have nothing but numbers and texts in milliseconds; maps or lists in lists take seconds.
type scriptTable struct {
	names []string
	lists map[string]*strings.Builder
	sizes map[string]int
}

func newScriptTable() scriptTable {
	return scriptTable{lists: make(map[string]*strings.Builder), sizes: make(map[string]int)}
}

// list returns a column.
func (t *scriptTable) list(name string) *strings.Builder {
	b := t.lists[name]
	if b == nil {
		b = new(strings.Builder)
		t.lists[name] = b
		t.names = append(t.names, name)
	}
	return b
}

// add adds a value to a column.
func (t *scriptTable) add(name string, v any) {
	b := t.list(name)
	if t.sizes[name]++; b.Len() > 0 {
		b.WriteByte(',')
	}
	literal(b, v)
}

// with returns the clause that binds the columns.
func (t *scriptTable) with() string {
	list := make([]string, len(t.names))
	for i, name := range t.names {
		list[i] = "[" + t.lists[name].String() + "] AS " + name
	}
	return "WITH " + strings.Join(list, ",\n  ") + "\n"
}

// endOf is the column with the ends of the values of a set, which begins with 0.
func endOf(set string) string { return set + "_end" }

// The statements for hosts and for flows, after their columns.
const scriptHosts = `UNWIND range(0, size(addr) - 1) AS i
MERGE (h:Host {addr: addr[i]})
ON CREATE SET h.family = family[i], h.sort = sort[i], h.firstseen = datetime(firstseen[i]), h.lastseen = datetime(lastseen[i])
ON MATCH SET h.firstseen = CASE WHEN h.firstseen < datetime(firstseen[i]) THEN h.firstseen ELSE datetime(firstseen[i]) END,
  h.lastseen = CASE WHEN h.lastseen > datetime(lastseen[i]) THEN h.lastseen ELSE datetime(lastseen[i]) END;
`

func scriptFlowsText() string {
	// A row has its own values only before anything is looked up: the server would measure the lists for each.
	var row, set strings.Builder
	value := func(name, expr string) {
		fmt.Fprintf(&row, ",\n  %s AS %s", expr, name)
		if name != "src" && name != "dst" {
			fmt.Fprintf(&set, ",\n  f.%s = %[1]s", name)
		}
	}
	for _, name := range append([]string{"src", "dst", "proto"}, sums()...) {
		value(name, name+"[i]")
	}
	for _, name := range []string{"dport", "type"} {
		value(name, fmt.Sprintf("CASE WHEN %s[i] < %d THEN %[1]s[i] END", name, noNumber))
	}
	for _, name := range []string{"firstseen", "lastseen"} {
		value(name, "datetime("+name+"[i])")
	}
	for _, name := range sets() {
		slice := fmt.Sprintf("%s[%s[i]..%[2]s[i + 1]]", name, endOf(name))
		if name == "times" {
			slice = "[t IN " + slice + " | datetime(t)]"
		}
		value(name, fmt.Sprintf("CASE WHEN %s[i] < %[1]s[i + 1] THEN %s END", endOf(name), slice))
	}
	return "UNWIND range(0, size(key) - 1) AS i\nWITH key[i] AS key" + row.String() +
		"\nMATCH (s:Host {addr: src}) MATCH (d:Host {addr: dst})\nMERGE (f:Flow {key: key})\nSET " +
		strings.TrimPrefix(set.String(), ",\n  ") + "\nMERGE (s)-[:SEND]->(f)\nMERGE (f)-[:TO]->(d);\n"
}

// NewScript begins a script for a store with slots of this width, and writes its schema.
func NewScript(w io.Writer, precision time.Duration) (*Script, error) {
	var b strings.Builder
	b.WriteString("// Hosts and flows as weir keeps them.\n")
	for _, i := range schema() {
		b.WriteString(i.statement() + ";\n")
	}
	b.WriteString("CALL db.awaitIndexes(600);\n")
	fmt.Fprintf(&b, "MERGE (s:Store {id: 'weir'}) ON CREATE SET s.format = %d, s.precision = %d, s.created = datetime();\n",
		format, int64(precision/time.Second))
	if _, err := io.WriteString(w, b.String()); err != nil {
		return nil, err
	}
	s := &Script{w: w}
	s.reset()
	return s, nil
}

func (s *Script) reset() {
	s.hosts, s.flows, s.bytes = newHostSet(), newScriptTable(), 0
	for _, name := range sets() {
		s.flows.list(name)
		s.flows.add(endOf(name), int64(0))
	}
}

// Flow adds a flow, which should have its times.
func (s *Script) Flow(f *store.Flow) error {
	port := func(n *uint16) int32 {
		if n == nil {
			return -1
		}
		return int32(*n)
	}
	src, dst, dport, typ := f.Src.String(), f.Dst.String(), port(f.Dport), port(f.Type)
	for text, ip := range map[string]netip.Addr{src: f.Src, dst: f.Dst} {
		a := flow.AddrFrom(ip)
		s.hosts.add(&a, text, f.FirstSeen.UnixMicro(), f.LastSeen.UnixMicro())
	}
	t := &s.flows
	t.add("key", keyOf(src, dst, f.Proto, dport, typ))
	t.add("src", src)
	t.add("dst", dst)
	t.add("proto", f.Proto)
	t.add("dport", orNoNumber(f.Dport))
	t.add("type", orNoNumber(f.Type))
	t.add("firstseen", f.FirstSeen)
	t.add("lastseen", f.LastSeen)
	for i, n := range []int64{f.Count, f.CSPkts, f.SCPkts, f.CSBytes, f.SCBytes} {
		t.add(sums()[i], n)
	}
	for i, set := range [][]any{
		anys(f.Sports), anys(f.Codes), anys(f.VLAN), anys(f.ConnState), anys(f.Service), anys(f.Sensor), anys(f.Times),
	} {
		name := sets()[i]
		before := t.list(name).Len()
		for _, v := range set {
			t.add(name, v)
		}
		s.bytes += t.list(name).Len() - before
		t.add(endOf(name), int64(t.sizes[name]))
	}
	if t.sizes["key"] < scriptFlows && s.bytes < scriptBytes {
		return nil
	}
	return s.Close()
}

// Close writes what is held back.
func (s *Script) Close() error {
	if s.flows.sizes["key"] == 0 {
		return nil
	}
	hosts := newScriptTable()
	for _, text := range slices.Sorted(maps.Keys(s.hosts.hosts)) {
		h := s.hosts.hosts[text]
		hosts.add("addr", text)
		hosts.add("family", family(h.addr))
		hosts.add("sort", filter.CypherSort(h.addr))
		hosts.add("firstseen", moment(h.first))
		hosts.add("lastseen", moment(h.last))
	}
	_, err := io.WriteString(s.w, hosts.with()+scriptHosts+s.flows.with()+scriptFlowsText())
	s.reset()
	return err
}

// noNumber stands for a number that is not there. A negative one would be no literal for the planner, but
// an expression.
const noNumber = 1 << 16

func orNoNumber(n *uint16) int64 {
	if n == nil {
		return noNumber
	}
	return int64(*n)
}

func anys[T any](list []T) []any {
	out := make([]any, len(list))
	for i := range list {
		out[i] = list[i]
	}
	return out
}

// literal writes a number, a time or a text as Cypher has it; times are texts that datetime reads.
func literal(b *strings.Builder, v any) {
	switch v := v.(type) {
	case int64:
		b.WriteString(strconv.FormatInt(v, 10))
	case uint16:
		b.WriteString(strconv.Itoa(int(v)))
	case time.Time:
		b.WriteString("'" + filter.CypherTime(v).UTC().Format("2006-01-02T15:04:05.999999Z") + "'")
	case string:
		literalText(b, v)
	}
}

// literalText writes a text in quotes. Cypher reads \uXXXX before anything else, within literals and
// without, so a quote or a backslash is never written that way, and a u that follows a backslash
// begins a literal of its own.
func literalText(b *strings.Builder, text string) {
	b.WriteByte('\'')
	for i, r := range text {
		switch {
		case r == '\'' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r == 'u' && i > 0 && text[i-1] == '\\':
			b.WriteString("'+'u")
		case r < 0x7f && r >= ' ' || r > 0x7f && drawn(r):
			b.WriteRune(r)
		case r > 0xffff:
			fmt.Fprintf(b, `\u%04x\u%04x`, 0xd800+(r-0x10000)>>10, 0xdc00+(r-0x10000)&0x3ff)
		default:
			fmt.Fprintf(b, `\u%04x`, r)
		}
	}
	b.WriteByte('\'')
}

// drawn reports whether something is drawn for r, by itself: marks sit upon other characters, and
// fillers are invisible.
func drawn(r rune) bool {
	return unicode.In(r, unicode.L, unicode.N, unicode.P, unicode.S) && r != '\u2800' && !unicode.Is(unicode.Other_Default_Ignorable_Code_Point, r)
}
