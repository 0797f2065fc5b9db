// SPDX-License-Identifier: Apache-2.0

package filter_test

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"weir/internal/filter"
	"weir/internal/flow"
)

// generator makes random connections, intel and filters from small pools, so
// that they meet.
type generator struct {
	*rand.Rand
	attrs []filter.Attribute
	kinds []flow.KindInfo
	// flows are those that filters should tell apart, if there are any.
	flows []*filter.Flow
	// todo holds the cells that clauses are still made for, reached counts those
	// of the clauses made.
	todo    map[bool][]cell
	reached map[cell]int
}

// cell is a sort of clause.
type cell struct {
	// place is where the attribute is: "flow", "meta", "count" or "block".
	place string
	typ   filter.Type
	// quant and op are "" where a clause has none.
	quant, op string
	// against says what a value is where that is not a literal: "attribute" or
	// "network".
	against string
}

func newGenerator(seed uint64) *generator {
	return &generator{
		Rand: rand.New(rand.NewPCG(seed, 1)), attrs: filter.Attributes(), kinds: flow.Kinds(),
		todo: make(map[bool][]cell), reached: make(map[cell]int),
	}
}

// place returns where an attribute is that a lake keeps, "" for others.
func place(a *filter.Attribute) string {
	switch {
	case !slices.Contains(a.Stores, "lake"):
		return ""
	case !strings.HasPrefix(a.Name, "meta."):
		return "flow"
	case strings.HasSuffix(a.Name, ".count"):
		return "count"
	}
	return "meta"
}

// cells returns every sort of clause that the attributes allow: operators,
// types and quantifiers in each place, and what values are compared with.
func cells(attrs []filter.Attribute) []cell {
	var out []cell
	seen := make(map[cell]bool)
	add := func(c cell) {
		if !seen[c] {
			seen[c] = true
			out = append(out, c)
		}
	}
	for i := range attrs {
		a := &attrs[i]
		places := []string{place(a)}
		switch places[0] {
		case "":
			continue
		case "meta":
			places = append(places, "block")
		}
		for _, where := range places {
			for _, op := range []string{"=", "!=", "<", "<=", ">", ">=", "IN"} {
				add(cell{place: where, typ: a.Type, quant: "LEN", op: op})
			}
			for _, quant := range []string{"", "ANY", "ALL", "ONE", "NONE"} {
				for _, op := range append([]string{""}, a.Operators...) {
					add(cell{place: where, typ: a.Type, quant: quant, op: op})
					pattern, ordering := strings.HasSuffix(op, "~") || op == "!~", strings.ContainsAny(op, "<>")
					comparable := where == "block" || slices.ContainsFunc(ofFlows(attrs), func(b filter.Attribute) bool {
						return comparableTypes(a.Type, b.Type)
					})
					if !pattern && op != "" && comparable {
						add(cell{place: where, typ: a.Type, quant: quant, op: op, against: "attribute"})
					}
					if a.Type == filter.Address && op != "" && !ordering {
						add(cell{place: where, typ: a.Type, quant: quant, op: op, against: "network"})
					}
				}
			}
		}
	}
	return out
}

// next returns the cell to make a clause for, inside a block or outside.
func (g *generator) next(block bool) cell {
	if len(g.todo[block]) == 0 {
		for _, c := range cells(g.attrs) {
			if (c.place == "block") == block {
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

func pick[T any](g *generator, list ...T) T { return list[g.IntN(len(list))] }

// chance is true one time in n.
func (g *generator) chance(n int) bool { return g.IntN(n) == 0 }

var addrPool = []string{
	"10.0.0.1", "10.0.0.2", "10.0.1.1", "192.168.1.1", "0.0.0.0", "255.255.255.255", "::", "::1",
	"::fffe:ffff:ffff", "::1:0:0:0", "2001:db8::1", "2001:db8::2", "2001:db8:1::1", "fe80::1",
}

func (g *generator) addr() flow.Addr {
	return flow.AddrFrom(netip.MustParseAddr(pick(g, addrPool...)))
}

func (g *generator) text() string {
	if !g.chance(3) {
		return pick(g, "a", "b", "www.example.com", "GET")
	}
	return pick(g, "a", "A", "www.example.com", "WWW.Example.com", "mail.example.org", "", "80",
		"x y", "x\ny", "Größe", "GRÖSSE", "ſ", "K", "a'b\"c", `back\slash`, "NOERROR", "GET", "TLSv12", "(p)",
		"Σας", "İ", "host")
}

func (g *generator) count() int64 { return pick[int64](g, 0, 1, 2, 80, 200, 404, 5000000000) }

func (g *generator) interval() int64 {
	// As a number of seconds 249 microseconds are a bit less.
	return pick[int64](g, 0, 1, 249, 999999, 1000000, 60000000, 3600000001)
}

// conn is a connection as the lake keeps it.
type conn struct {
	uid                     int
	src, dst                flow.Addr
	proto                   string
	sport, dport, typ, code *uint16
	service, state, sensor  string
	vlan                    *uint16
	counters                [5]int64 // count, cspkts, scpkts, csbytes, scbytes
	first, last             int64    // microseconds
}

func (g *generator) conn() conn {
	c := conn{
		src: g.addr(), dst: g.addr(), proto: pick(g, "tcp", "tcp", "udp", "icmp", "esp"),
		service: pick(g, "", "dns", "http", "http,ssl", "ssl"), state: pick(g, "", "SF", "S0", "REJ"),
		sensor: pick(g, "a", "b"),
	}
	if g.chance(2) {
		c.src, c.dst = flow.AddrFrom(netip.MustParseAddr("10.0.0.1")), flow.AddrFrom(netip.MustParseAddr("10.0.0.2"))
	}
	port := func() *uint16 { n := pick[uint16](g, 0, 22, 80, 443, 40000, 65535); return &n }
	switch c.proto {
	case "tcp", "udp":
		c.sport, c.dport = port(), port()
	case "icmp":
		typ, code := pick[uint16](g, 0, 3, 8), pick[uint16](g, 0, 1, 2)
		c.typ, c.code = &typ, &code
	}
	if g.chance(3) {
		vlan := pick[uint16](g, 1, 100)
		c.vlan = &vlan
	}
	for i := range c.counters {
		c.counters[i] = pick[int64](g, 0, 1, 2, 1000, 3000000000)
	}
	c.counters[0] = 1
	c.first = 1577872800000000 + pick[int64](g, -1, 0, 1, 3600000000)
	c.last = c.first + g.interval()
	return c
}

// record is an intel record of a connection.
type record struct {
	*conn
	filter.Intel
}

func (g *generator) record(conns []conn) record {
	k := g.IntN(len(g.kinds))
	c := &conns[g.IntN(len(conns))]
	for c.typ != nil { // nothing is learned from ICMP
		c = &conns[g.IntN(len(conns))]
	}
	r := record{conn: c, Intel: filter.Intel{Kind: flow.Kind(k)}}
	r.Values = make([]filter.Value, len(g.kinds[k].Attrs))
	for i := range r.Values {
		if g.chance(3) || g.kinds[k].Attrs[i].LogOnly {
			continue
		}
		v := &r.Values[i]
		v.Set = true
		switch g.kinds[k].Attrs[i].Type {
		case flow.Text:
			v.Text = g.text()
		case flow.Count:
			v.Int = g.count()
		case flow.Bool:
			v.Int = int64(g.IntN(2))
		case flow.Interval:
			v.Int = g.interval()
		case flow.TextList:
			for range g.IntN(4) {
				v.Texts = append(v.Texts, g.text())
			}
		case flow.IntervalList:
			for range g.IntN(4) {
				v.Ints = append(v.Ints, g.interval())
			}
		}
	}
	return r
}

// flows groups connections and gives them their intel.
func flows(conns []conn, records []record) map[string]*filter.Flow {
	out := make(map[string]*filter.Flow)
	for i := range conns {
		c := &conns[i]
		f := out[c.key()]
		if f == nil {
			f = &filter.Flow{
				Src: c.src, Dst: c.dst, Proto: c.proto, Dport: c.dport, Type: c.typ,
				FirstSeen: flow.Time(c.first * 1000), LastSeen: flow.Time(c.last * 1000),
			}
			out[c.key()] = f
		}
		f.Sports, f.Codes, f.VLAN = with(f.Sports, c.sport), with(f.Codes, c.code), with(f.VLAN, c.vlan)
		for i, total := range []*int64{&f.Count, &f.CSPkts, &f.SCPkts, &f.CSBytes, &f.SCBytes} {
			*total += c.counters[i]
		}
		f.FirstSeen = min(f.FirstSeen, flow.Time(c.first*1000))
		f.LastSeen = max(f.LastSeen, flow.Time(c.last*1000))
		f.ConnState = append(f.ConnState, c.state)
		f.Service = append(f.Service, c.service)
		f.Sensor = append(f.Sensor, c.sensor)
	}
	for _, r := range records {
		for key, f := range out {
			if key == r.key() {
				f.Intel = append(f.Intel, r.Intel)
			}
		}
	}
	return out
}

func with(list []uint16, n *uint16) []uint16 {
	if n == nil {
		return list
	}
	return append(list, *n)
}

// key identifies a connection's flow.
func (c *conn) key() string {
	return fmt.Sprintf("%s %s %s %s %s", c.src, c.dst, c.proto, number(c.dport), number(c.typ))
}

func number(n *uint16) string {
	if n == nil {
		return "NULL"
	}
	return strconv.FormatUint(uint64(*n), 10)
}

// filter makes the text of a random filter.
func (g *generator) filter(depth int) string {
	switch {
	case depth > 0 && g.chance(3):
		return g.filter(depth-1) + pick(g, " AND ", " OR ") + g.filter(depth-1)
	case depth > 0 && g.chance(5):
		return "(" + g.filter(depth-1) + ")"
	case g.chance(8):
		return "!(" + g.filter(max(depth-1, 0)) + ")"
	case g.chance(40):
		return pick(g, "#DNS", "!#HTTP", "#Flow", "meta.ssl", "!meta.dns", "meta.count > 1", "!meta.arp.op = x",
			"LEN meta.ssl.subject = 0", "!meta.sip(uri = reply_to)", "meta.ssl(NONE cipher = subject)")
	}
	c := g.next(g.chance(4))
	attrs := g.fitting(c)
	return g.telling(func() string {
		if c.place == "block" {
			return g.block(c, depth)
		}
		a := pick(g, attrs...)
		name := pick(g, append(a.Aliases, a.Name, a.Name)...)
		if c.place == "meta" && g.chance(4) {
			name = "meta." + a.Name[strings.LastIndex(a.Name, ".")+1:]
		}
		if c.against == "attribute" && !g.chance(3) {
			return g.clause(c, a, name, ofFlows(g.attrs))
		}
		return g.clause(c, a, name, g.attrs)
	})
}

// telling returns the first of some texts that selects some flows and not
// almost all; the last one if none does.
func (g *generator) telling(text func() string) (out string) {
	for range 8 {
		out = text()
		if g.flows == nil {
			return out
		}
		e, err := filter.Parse(out, options())
		if err != nil {
			return out
		}
		n := 0
		for _, f := range g.flows {
			if e.Match(f) {
				n++
			}
		}
		if telling(n, len(g.flows)) {
			return out
		}
	}
	return out
}

// telling reports whether n of all flows are from 5 to 95 %.
func telling(n, all int) bool { return n*20 >= all && n*20 <= all*19 }

// fitting returns the attributes of which clauses of a sort can be made.
func (g *generator) fitting(c cell) []*filter.Attribute {
	var out []*filter.Attribute
	for i := range g.attrs {
		where := place(&g.attrs[i])
		if g.attrs[i].Type == c.typ && (where == c.place || where == "meta" && c.place == "block") {
			out = append(out, &g.attrs[i])
		}
	}
	return out
}

// block makes a filter on one record, with a clause of a sort among others.
func (g *generator) block(c cell, depth int) string {
	first := pick(g, g.fitting(c)...)
	prefix := first.Name[:strings.LastIndex(first.Name, ".")+1]
	var attrs []filter.Attribute
	for i := range g.attrs {
		if strings.HasPrefix(g.attrs[i].Name, prefix) && place(&g.attrs[i]) == "meta" {
			attrs = append(attrs, g.attrs[i])
		}
	}
	parts := []string{g.clause(c, first, strings.TrimPrefix(first.Name, prefix), attrs)}
	for range g.IntN(2 + depth) {
		a := &attrs[g.IntN(len(attrs))]
		other := cell{typ: a.Type, op: pick(g, append(a.Operators, "")...), quant: pick(g, "", "", "ANY", "ALL", "NONE", "ONE")}
		parts = append(parts, g.clause(other, a, strings.TrimPrefix(a.Name, prefix), attrs))
	}
	not := pick(g, "", "", "!")
	return not + strings.TrimSuffix(prefix, ".") + "(" + strings.Join(parts, pick(g, " AND ", " OR ")) + ")"
}

// clause makes a clause on an attribute; others are the attributes of its place.
func (g *generator) clause(c cell, a *filter.Attribute, name string, others []filter.Attribute) string {
	var operands []string
	for range 1 + g.IntN(3) {
		text := g.value(a)
		switch {
		case c.quant == "LEN":
			text = strconv.Itoa(g.IntN(4))
		case c.op == "=~" || c.op == "!~":
			text = g.pattern(a)
		}
		switch c.against {
		case "attribute":
			text = g.comparable(a, others)
		case "network":
			text = pick(g, "10.0.0.0/30", "10.0.0.0/8", "0.0.0.0/0", "::/0", "::/64", "2001:db8::/32", "::ffff:0:0/96",
				"::/80", "10.0.0.1/32", "::1/128", "::ffff:10.0.0.0/120")
		}
		operands = append(operands, text)
	}
	text := name
	switch c.op {
	case "":
	case "IN":
		text += pick(g, " IN (", " IN(") + strings.Join(operands, ", ") + ")"
	case "=":
		text += pick(g, " = ", " == ", ":", "=") + operands[0]
	default:
		text += pick(g, " ", "") + c.op + pick(g, " ", "") + operands[0]
	}
	if c.quant != "" {
		text = c.quant + " " + text
	}
	g.reached[c]++
	return pick(g, "", "", "", "!", "-", "~", "NOT ") + text
}

// comparable returns the name of an attribute that a can be compared with.
func (g *generator) comparable(a *filter.Attribute, others []filter.Attribute) string {
	var names []string
	for i := range others {
		name := others[i].Name
		if len(others) < len(g.attrs) && place(&others[i]) == "meta" {
			name = name[strings.LastIndex(name, ".")+1:]
		}
		if comparableTypes(a.Type, others[i].Type) && place(&others[i]) != "" {
			names = append(names, name)
		}
	}
	return pick(g, names...)
}

// comparableTypes says whether attributes of these types can be compared: a
// number with a size, too.
func comparableTypes(a, b filter.Type) bool {
	numeric := func(t filter.Type) bool { return t == filter.Number || t == filter.Size }
	return a == b || numeric(a) && numeric(b)
}

// ofFlows returns the attributes of flows.
func ofFlows(attrs []filter.Attribute) (out []filter.Attribute) {
	for i := range attrs {
		if place(&attrs[i]) == "flow" {
			out = append(out, attrs[i])
		}
	}
	return out
}

// value makes a literal of an attribute's type.
func (g *generator) value(a *filter.Attribute) string {
	switch a.Type {
	case filter.Address:
		return pick(g, append(addrPool, "10.0.0.1", "10.0.0.2", "::ffff:10.0.0.1")...)
	case filter.Number:
		return pick(g, "0", "1", "2", "3", "8", "22", "80", "0x50", "200")
	case filter.Size:
		return pick(g, "0", "1", "2", "1k", "1000", "3G", "6000M", "5G", "9223372036854775807")
	case filter.Time:
		return pick(g, "2020-01-01 10:00", "2020-01-01T10:00:00Z", "1577872800.000001", "2020-01-01 11:00:00.000000", "-2h")
	case filter.Duration:
		return pick(g, "0", "1", "1m", "0.999999", "1h", "3600.000001", "1us", "249us")
	case filter.Bool:
		return pick(g, "true", "F")
	case filter.Text:
	}
	text := g.text()
	switch a.Name {
	case "proto":
		text = pick(g, "tcp", "UDP", "1", "esp", "47")
	case "conn_state":
		text = pick(g, "SF", "S0", "REJ", pick(g, a.Values...))
	case "service", "sensor":
		text = pick(g, "dns", "http", "ssl", "a", "b")
	}
	return quoted(text)
}

func (g *generator) pattern(a *filter.Attribute) string {
	if a.Type == filter.Address && g.chance(3) {
		return pick(g, "10.0.0.0/30", "2001:db8::/32")
	}
	return quoted(pick(g, ".*", "", "8.", "[0-9]+", "10\\..*", "(?i)www.*", ".*example.*", "x.y", "(?s)x.y",
		"(?P<n>t|u)(?<m>cp|dp)", "^a$", "(a|b|dns)", "[^x]*", `\pL+`, `.*[[:upper:]].*`, `(?m)x$\n^y`, `\S*\s\S*`,
		".*:.*", "S[F0]", "(?i)größe", "(?i)k", `\Qback\slash\E`, "[a-zſ]+", `.{3,5}`, `\x{80}*.+`, `\p{Greek}.*`,
		`\bx\b.*`, ".", "..+", "[0-9].*", "[a-w].*", `\Qa`, "a??b*?", "(?U)w+.*"))
}

// quoted returns text in double quotes.
func quoted(text string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(text) + `"`
}
