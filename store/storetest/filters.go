// SPDX-License-Identifier: Apache-2.0

package storetest

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"weir/internal/filter"
)

// Cell is a sort of clause.
type Cell struct {
	// Place is where the attribute is: "flow", "meta", "count" or "block".
	Place string
	Type  filter.Type
	// Quant and Op are "" where a clause has none.
	Quant, Op string
	// Against says what a value is where that is not a literal: "attribute" or
	// "network".
	Against string
}

// Filters makes random filters: every sort of clause that the attributes of a
// store allow in turn.
type Filters struct {
	source
	store string
	attrs []filter.Attribute
	// flows are those that filters should tell apart, if there are any.
	flows []*filter.Flow
	// todo holds the cells that clauses are still made for, reached counts those
	// of the clauses made.
	todo    map[bool][]Cell
	reached map[Cell]int
}

// NewFilters returns a source of filters on what a store keeps ("lake"). They
// tell apart the flows, if there are any.
func NewFilters(seed uint64, store string, flows []*filter.Flow) *Filters {
	return &Filters{
		source: newSource(seed), store: store, attrs: filter.Attributes(), flows: flows,
		todo: make(map[bool][]Cell), reached: make(map[Cell]int),
	}
}

// Next returns the text of a filter.
func (g *Filters) Next() string { return g.filter(2) }

// Selective returns a random filter that begins with conditions that few flows
// fulfill, from which a store may start.
func (g *Filters) Selective() string {
	first := g.few()
	for range g.IntN(3) {
		first += " OR " + g.few()
	}
	return "(" + first + ") AND (" + g.filter(2) + " OR " + g.filter(0) + ")"
}

// few makes a condition that few flows fulfill.
func (g *Filters) few() string {
	address := "10.0.0.1"
	if g.chance(2) {
		address = pick(g.source, append(addrPool(), "10.0.0.0/24", "2001:db8::/32")...)
	}
	text := pick(g.source, `"a"`, `"b"`, `"www.example.com"`, `"GET"`)
	switch g.IntN(8) {
	case 0:
		return "addr = " + address
	case 1:
		return "src = " + address
	case 2:
		return pick(g.source, `addr =~ "10.*"`, "dst IN ("+address+", 10.0.0.2)")
	case 3:
		return "(dport = " + pick(g.source, "80", "22") + " AND addr = " + address + ")"
	case 4:
		return "meta.dns(query = " + text + " AND rcode_num != 2)"
	case 5:
		return "meta.http." + pick(g.source, "host", "method", "uri") + " = " + text
	case 6:
		return pick(g.source, "meta.query", "meta.version", "meta.http.proxied") + ` =~ "` + pick(g.source, "www.*", "[ab]") + `"`
	default:
		return pick(g.source, "meta.dns.answers", "meta.version") + " IN (x, " + text + ")"
	}
}

// Options returns how the filters are read: the present is in the middle of the
// data.
func Options() filter.Options {
	return filter.Options{Now: time.Date(2020, 1, 1, 12, 0, 0, 0, time.UTC), Zone: time.UTC}
}

// Place returns where an attribute is that a store keeps, "" for others.
func Place(store string, a *filter.Attribute) string {
	switch {
	case !slices.Contains(a.Stores, store):
		return ""
	case !strings.HasPrefix(a.Name, "meta."):
		return "flow"
	case strings.HasSuffix(a.Name, ".count"):
		return "count"
	}
	return "meta"
}

// Cells returns every sort of clause that the attributes of a store allow: operators,
// types and quantifiers in each place, and what values are compared with.
func Cells(store string) []Cell {
	attrs := filter.Attributes()
	var out []Cell
	seen := make(map[Cell]bool)
	add := func(c Cell) {
		if !seen[c] {
			seen[c] = true
			out = append(out, c)
		}
	}
	for i := range attrs {
		a := &attrs[i]
		places := []string{Place(store, a)}
		switch places[0] {
		case "":
			continue
		case "meta":
			places = append(places, "block")
		}
		for _, where := range places {
			for _, op := range []string{"=", "!=", "<", "<=", ">", ">=", "IN"} {
				add(Cell{Place: where, Type: a.Type, Quant: "LEN", Op: op})
			}
			for _, quant := range []string{"", "ANY", "ALL", "ONE", "NONE"} {
				for _, op := range append([]string{""}, a.Operators...) {
					add(Cell{Place: where, Type: a.Type, Quant: quant, Op: op})
					pattern, ordering := strings.HasSuffix(op, "~") || op == "!~", strings.ContainsAny(op, "<>")
					comparable := where == "block" || slices.ContainsFunc(ofFlows(store, attrs), func(b filter.Attribute) bool {
						return comparableTypes(a.Type, b.Type)
					})
					if !pattern && op != "" && comparable {
						add(Cell{Place: where, Type: a.Type, Quant: quant, Op: op, Against: "attribute"})
					}
					if a.Type == filter.Address && op != "" && !ordering {
						add(Cell{Place: where, Type: a.Type, Quant: quant, Op: op, Against: "network"})
					}
				}
			}
		}
	}
	return out
}

// next returns the cell to make a clause for, inside a block or outside.
func (g *Filters) next(block bool) Cell {
	if len(g.todo[block]) == 0 {
		for _, c := range Cells(g.store) {
			if (c.Place == "block") == block {
				g.todo[block] = append(g.todo[block], c)
			}
		}
		g.Shuffle(len(g.todo[block]), func(i, j int) {
			list := g.todo[block]
			list[i], list[j] = list[j], list[i]
		})
	}
	list := g.todo[block]
	g.todo[block] = list[:len(list)-1]
	return list[len(list)-1]
}

// filter makes the text of a random filter.
func (g *Filters) filter(depth int) string {
	switch {
	case depth > 0 && g.chance(3):
		return g.filter(depth-1) + pick(g.source, " AND ", " OR ") + g.filter(depth-1)
	case depth > 0 && g.chance(5):
		return "(" + g.filter(depth-1) + ")"
	case g.chance(8):
		return "!(" + g.filter(max(depth-1, 0)) + ")"
	case g.chance(40):
		return pick(g.source, "#DNS", "!#HTTP", "#Flow", "meta.ssl", "!meta.dns", "meta.count > 1", "!meta.arp.op = x",
			"LEN meta.ssl.subject = 0", "!meta.sip(uri = reply_to)", "meta.ssl(NONE cipher = subject)")
	}
	if g.chance(15) {
		return g.slots()
	}
	c := g.next(g.chance(4))
	attrs := g.fitting(c)
	return g.telling(func() string {
		if c.Place == "block" {
			return g.block(c, depth)
		}
		a := pick(g.source, attrs...)
		name := pick(g.source, append(a.Aliases, a.Name, a.Name)...)
		if c.Place == "meta" && g.chance(4) {
			name = "meta." + a.Name[strings.LastIndex(a.Name, ".")+1:]
		}
		if c.Against == "attribute" && !g.chance(3) {
			return g.clause(c, a, name, ofFlows(g.store, g.attrs))
		}
		return g.clause(c, a, name, g.attrs)
	})
}

// slots makes a filter on one slot of the timeline.
func (g *Filters) slots() string {
	return g.telling(func() string {
		var parts []string
		for range 1 + g.IntN(3) {
			name := pick(g.source, "start", "start", "end", "end", "duration", "END")
			op := pick(g.source, "=", "!=", "<", "<=", ">", ">=")
			value := pick(g.source, "2020-01-01 10:00", "2020-01-01T09:00:00Z", "1577876400", "2020-01-01 11:00:00.000001", "-2h", "start", "end")
			if name == "duration" {
				value = pick(g.source, "1h", "0", "3600.000001")
			}
			quant := pick(g.source, "", "", "", "", "", "", "NONE ", "ALL ", "ONE ")
			parts = append(parts, pick(g.source, "", "", "", "!")+quant+name+" "+op+" "+value)
		}
		return pick(g.source, "", "", "!") + pick(g.source, "times(", "TIMES(") + strings.Join(parts, pick(g.source, " AND ", " AND ", " OR ")) + ")"
	})
}

// telling returns the first of some texts that selects some flows and not
// almost all; the last one if none does.
func (g *Filters) telling(text func() string) (out string) {
	for range 8 {
		out = text()
		if g.flows == nil {
			return out
		}
		e, err := filter.Parse(out, Options())
		if err != nil {
			return out
		}
		n := 0
		for _, f := range g.flows {
			if e.Match(f) {
				n++
			}
		}
		if Telling(n, len(g.flows)) {
			return out
		}
	}
	return out
}

// Telling reports whether n of all flows are from 5 to 95 %.
func Telling(n, all int) bool { return n*20 >= all && n*20 <= all*19 }

// fitting returns the attributes of which clauses of a sort can be made.
func (g *Filters) fitting(c Cell) []*filter.Attribute {
	var out []*filter.Attribute
	for i := range g.attrs {
		where := Place(g.store, &g.attrs[i])
		if g.attrs[i].Type == c.Type && (where == c.Place || where == "meta" && c.Place == "block") {
			out = append(out, &g.attrs[i])
		}
	}
	return out
}

// block makes a filter on one record, with a clause of a sort among others.
func (g *Filters) block(c Cell, depth int) string {
	first := pick(g.source, g.fitting(c)...)
	prefix := first.Name[:strings.LastIndex(first.Name, ".")+1]
	var attrs []filter.Attribute
	for i := range g.attrs {
		if strings.HasPrefix(g.attrs[i].Name, prefix) && Place(g.store, &g.attrs[i]) == "meta" {
			attrs = append(attrs, g.attrs[i])
		}
	}
	parts := []string{g.clause(c, first, strings.TrimPrefix(first.Name, prefix), attrs)}
	for range g.IntN(2 + depth) {
		a := &attrs[g.IntN(len(attrs))]
		other := Cell{Type: a.Type, Op: pick(g.source, append(a.Operators, "")...), Quant: pick(g.source, "", "", "ANY", "ALL", "NONE", "ONE")}
		parts = append(parts, g.clause(other, a, strings.TrimPrefix(a.Name, prefix), attrs))
	}
	not := pick(g.source, "", "", "!")
	return not + strings.TrimSuffix(prefix, ".") + "(" + strings.Join(parts, pick(g.source, " AND ", " OR ")) + ")"
}

// clause makes a clause on an attribute; others are the attributes of its place.
func (g *Filters) clause(c Cell, a *filter.Attribute, name string, others []filter.Attribute) string {
	var operands []string
	for range 1 + g.IntN(3) {
		text := g.value(a)
		switch {
		case c.Quant == "LEN":
			text = strconv.Itoa(g.IntN(4))
		case c.Op == "=~" || c.Op == "!~":
			text = g.pattern(a)
		}
		switch c.Against {
		case "attribute":
			text = g.comparable(a, others)
		case "network":
			text = pick(g.source, "10.0.0.0/30", "10.0.0.0/8", "0.0.0.0/0", "::/0", "::/64", "2001:db8::/32", "::ffff:0:0/96",
				"::/80", "10.0.0.1/32", "::1/128", "::ffff:10.0.0.0/120")
		}
		operands = append(operands, text)
	}
	text := name
	switch c.Op {
	case "":
	case "IN":
		text += pick(g.source, " IN (", " IN(") + strings.Join(operands, ", ") + ")"
	case "=":
		text += pick(g.source, " = ", " == ", ":", "=") + operands[0]
	default:
		text += pick(g.source, " ", "") + c.Op + pick(g.source, " ", "") + operands[0]
	}
	if c.Quant != "" {
		text = c.Quant + " " + text
	}
	g.reached[c]++
	return pick(g.source, "", "", "", "!", "-", "~", "NOT ") + text
}

// comparable returns the name of an attribute that a can be compared with.
func (g *Filters) comparable(a *filter.Attribute, others []filter.Attribute) string {
	var names []string
	for i := range others {
		name := others[i].Name
		if len(others) < len(g.attrs) && Place(g.store, &others[i]) == "meta" {
			name = name[strings.LastIndex(name, ".")+1:]
		}
		if comparableTypes(a.Type, others[i].Type) && Place(g.store, &others[i]) != "" {
			names = append(names, name)
		}
	}
	return pick(g.source, names...)
}

// comparableTypes says whether attributes of these types can be compared: a
// number with a size, too.
func comparableTypes(a, b filter.Type) bool {
	numeric := func(t filter.Type) bool { return t == filter.Number || t == filter.Size }
	return a == b || numeric(a) && numeric(b)
}

// ofFlows returns the attributes of flows.
func ofFlows(store string, attrs []filter.Attribute) (out []filter.Attribute) {
	for i := range attrs {
		if Place(store, &attrs[i]) == "flow" {
			out = append(out, attrs[i])
		}
	}
	return out
}

// value makes a literal of an attribute's type.
func (g *Filters) value(a *filter.Attribute) string {
	switch a.Type {
	case filter.Address:
		return pick(g.source, append(addrPool(), "10.0.0.1", "10.0.0.2", "::ffff:10.0.0.1")...)
	case filter.Number:
		return pick(g.source, "0", "1", "2", "3", "8", "22", "80", "0x50", "200")
	case filter.Size:
		return pick(g.source, "0", "1", "2", "1k", "1000", "3G", "6000M", "5G", "9223372036854775807")
	case filter.Time:
		return pick(g.source, "2020-01-01 10:00", "2020-01-01T10:00:00Z", "1577872800.000001", "2020-01-01 11:00:00.000000", "-2h")
	case filter.Duration:
		return pick(g.source, "0", "1", "1m", "0.999999", "1h", "3600.000001", "1us", "249us")
	case filter.Bool:
		return pick(g.source, "true", "F")
	case filter.Text:
	}
	text := g.text()
	switch a.Name {
	case "proto":
		text = pick(g.source, "tcp", "UDP", "1", "esp", "47")
	case "conn_state":
		text = pick(g.source, "SF", "S0", "REJ", pick(g.source, a.Values...))
	case "service", "sensor":
		text = pick(g.source, "dns", "http", "ssl", "a", "b")
	}
	return Quote(text)
}

func (g *Filters) pattern(a *filter.Attribute) string {
	if a.Type == filter.Address && g.chance(3) {
		return pick(g.source, "10.0.0.0/30", "2001:db8::/32")
	}
	return Quote(pick(g.source, ".*", "", "8.", "[0-9]+", "10\\..*", "(?i)www.*", ".*example.*", "x.y", "(?s)x.y",
		"(?P<n>t|u)(?<m>cp|dp)", "^a$", "(a|b|dns)", "[^x]*", `\pL+`, `.*[[:upper:]].*`, `(?m)x$\n^y`, `\S*\s\S*`,
		".*:.*", "S[F0]", "(?i)größe", "(?i)k", `\Qback\slash\E`, "[a-zſ]+", `.{3,5}`, `\x{80}*.+`, `\p{Greek}.*`,
		`\bx\b.*`, ".", "..+", "[0-9].*", "[a-w].*", `\Qa`, "a??b*?", "(?U)w+.*"))
}

// Quote returns text in double quotes.
func Quote(text string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(text) + `"`
}
