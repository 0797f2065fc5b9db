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
}

func newGenerator(seed uint64) *generator {
	return &generator{
		Rand: rand.New(rand.NewPCG(seed, 1)), attrs: filter.Attributes(), kinds: flow.Kinds(),
	}
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
	return pick(g, "a", "A", "www.example.com", "WWW.Example.com", "mail.example.org", "", "80",
		"x y", "x\ny", "Größe", "GRÖSSE", "ſ", "K", "a'b\"c", `back\slash`, "NOERROR", "GET", "TLSv12", "(p)",
		"Σας", "İ", "host")
}

func (g *generator) count() int64 { return pick[int64](g, 0, 1, 2, 80, 200, 404, 5000000000) }

func (g *generator) interval() int64 {
	return pick[int64](g, 0, 1, 999999, 1000000, 60000000, 3600000001)
}

// conn is a connection as the lake keeps it.
type conn struct {
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
	case g.chance(6):
		return "!(" + g.filter(max(depth-1, 0)) + ")"
	case g.chance(5):
		return g.block(depth)
	case g.chance(40):
		return pick(g, "#DNS", "!#HTTP", "#Flow", "meta.ssl", "!meta.dns", "meta.count > 1")
	}
	a := g.attribute()
	name := pick(g, append(a.Aliases, a.Name, a.Name)...)
	if kind, attr, ok := strings.Cut(strings.TrimPrefix(a.Name, "meta."), "."); ok &&
		strings.HasPrefix(a.Name, "meta.") && g.chance(4) && kind != "" {
		name = "meta." + attr
	}
	return g.clause(a, name, nil)
}

// attribute picks an attribute that the lake has.
func (g *generator) attribute() *filter.Attribute {
	for {
		// Half of the clauses are about the flow itself, the table's beginning.
		n := len(g.attrs)
		if g.chance(2) {
			n = slices.IndexFunc(g.attrs, func(a filter.Attribute) bool {
				return strings.HasPrefix(a.Name, "meta.")
			})
		}
		a := &g.attrs[g.IntN(n)]
		if slices.Contains(a.Stores, "lake") {
			return a
		}
	}
}

// block makes a filter on one record.
func (g *generator) block(depth int) string {
	prefix := "meta." + g.kinds[g.IntN(len(g.kinds))].Name + "."
	var attrs []*filter.Attribute
	for i := range g.attrs {
		if name, ok := strings.CutPrefix(g.attrs[i].Name, prefix); ok && name != "count" {
			attrs = append(attrs, &g.attrs[i])
		}
	}
	var parts []string
	for range 1 + g.IntN(2+depth) {
		a := pick(g, attrs...)
		parts = append(parts, g.clause(a, strings.TrimPrefix(a.Name, prefix), attrs))
	}
	not := pick(g, "", "", "!")
	return not + strings.TrimSuffix(prefix, ".") + "(" + strings.Join(parts, pick(g, " AND ", " OR ")) + ")"
}

// clause makes a clause on an attribute; others are the attributes of its block.
func (g *generator) clause(a *filter.Attribute, name string, others []*filter.Attribute) string {
	not := pick(g, "", "", "", "!", "-", "NOT ")
	quant := pick(g, "", "", "", "ANY ", "ALL ", "NONE ", "ONE ")
	if g.chance(8) {
		op := pick(g, "=", "!=", "<", "<=", ">", ">=")
		return fmt.Sprintf("%sLEN %s %s %d", not, name, op, g.IntN(4))
	}
	if g.chance(8) {
		return not + quant + name
	}
	op := pick(g, a.Operators...)
	switch op {
	case "IN":
		values := make([]string, 1+g.IntN(3))
		for i := range values {
			values[i] = g.value(a)
		}
		return fmt.Sprintf("%s%s%s IN (%s)", not, quant, name, strings.Join(values, ", "))
	case "=~", "!~":
		return fmt.Sprintf("%s%s%s %s %s", not, quant, name, op, g.pattern(a))
	}
	if g.chance(8) {
		if other := g.comparable(a, others); other != "" {
			return fmt.Sprintf("%s%s%s %s %s", not, quant, name, op, other)
		}
	}
	v := g.value(a)
	if strings.Contains(v, "/") && strings.ContainsAny(op, "<>") {
		v = "10.0.0.2"
	}
	return fmt.Sprintf("%s%s%s %s %s", not, quant, name, op, v)
}

// comparable returns the name of an attribute that a can be compared with.
func (g *generator) comparable(a *filter.Attribute, others []*filter.Attribute) string {
	var names []string
	candidates := others
	for i := range g.attrs {
		if others == nil && !strings.HasPrefix(g.attrs[i].Name, "meta.") {
			candidates = append(candidates, &g.attrs[i])
		}
	}
	for _, o := range candidates {
		if o.Type == a.Type && slices.Contains(o.Stores, "lake") {
			name := o.Name
			if others != nil {
				name = name[strings.LastIndex(name, ".")+1:]
			}
			names = append(names, name)
		}
	}
	if names == nil {
		return ""
	}
	return pick(g, names...)
}

// value makes a literal of an attribute's type.
func (g *generator) value(a *filter.Attribute) string {
	switch a.Type {
	case filter.Address:
		return pick(g, append(addrPool, "10.0.0.0/30", "10.0.0.0/8", "0.0.0.0/0", "::/0", "::/64", "2001:db8::/32",
			"::ffff:0:0/96", "::/80", "10.0.0.1/32", "::1/128")...)
	case filter.Number:
		return pick(g, "0", "1", "2", "3", "8", "22", "80", "0x50", "200")
	case filter.Size:
		return pick(g, "0", "1", "2", "1k", "1000", "3G", "6000M", "5G", "9223372036854775807")
	case filter.Time:
		return pick(g, "2020-01-01 10:00", "2020-01-01T10:00:00Z", "1577872800.000001", "2020-01-01 11:00:00.000000", "-2h")
	case filter.Duration:
		return pick(g, "0", "1", "1m", "0.999999", "1h", "3600.000001", "1us")
	case filter.Bool:
		return pick(g, "true", "F")
	case filter.Text:
	}
	text := g.text()
	switch a.Name {
	case "proto":
		text = pick(g, "tcp", "UDP", "1", "esp", "47")
	case "conn_state":
		text = pick(g, a.Values...)
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
		".*:.*", "S[F0]", "(?i)größe", "(?i)k", `\Qback\slash\E`, "[a-zſ]+", `.{3,5}`, `\x{80}*.+`, `\p{Greek}.*`, `\bx\b.*`))
}

// quoted returns text in double quotes.
func quoted(text string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(text) + `"`
}
