// SPDX-License-Identifier: Apache-2.0

package storetest

import (
	"context"
	"fmt"
	"iter"
	"net/netip"
	"reflect"
	"strings"
	"time"

	"github.com/google/go-cmp/cmp"

	"weir/internal/filter"
	"weir/internal/flow"
	"weir/store"
)

// checker compares the answers of a store with those of a model.
type checker struct {
	*model
	intel  []Record
	ctx    context.Context
	reader store.Reader
	report func(format string, args ...any)
}

// newChecker returns a checker of a store called name that holds the data.
func newChecker(ctx context.Context, r store.Reader, name string, d *Data, report func(string, ...any)) *checker {
	return &checker{model: newModel(name, d.Flows()), intel: d.Intel, ctx: ctx, reader: r, report: report}
}

// Check asks a store called name, which holds the data, everything but random
// filters and reports each answer that is wrong, until ctx ends.
func Check(ctx context.Context, r store.Reader, name string, d *Data, report func(format string, args ...any)) {
	c := newChecker(ctx, r, name, d, report)
	c.status(d)
	c.explains()
	c.questions()
	c.orders()
	c.pages()
	c.someFilters()
	c.ranks()
}

// parse reads a filter of the suite itself; "" is none.
func parse(text string) *filter.Expr {
	if text == "" {
		return nil
	}
	e, err := filter.Parse(text, Options())
	if err != nil {
		panic(fmt.Sprintf("filter %q of the suite: %v", text, err))
	}
	return e
}

// difference returns how an answer differs from the right one, "" if it does not,
// the beginning of it where there is much.
func difference(want, got any) string {
	if reflect.DeepEqual(want, got) {
		return ""
	}
	diff := cmp.Diff(want, got, cmp.Comparer(func(a, b netip.Addr) bool { return a == b }))
	if len(diff) > 4000 {
		diff = diff[:4000] + "…"
	}
	return diff
}

// collect reads a list to its end.
func collect[T any](seq iter.Seq2[T, error]) ([]T, error) {
	var out []T
	for f, err := range seq {
		if err != nil {
			return out, err
		}
		out = append(out, f)
	}
	return out, nil
}

// describe says what is asked.
func describe(q *store.Query) string {
	text := fmt.Sprintf("%q, order %v, skip %d, limit %d", q.Filter, q.OrderBy, q.Skip, q.Limit)
	if q.Times || q.Intel != 0 {
		text += fmt.Sprintf(", times %v, intel %d", q.Times, q.Intel)
	}
	return text
}

// checkList compares a list of flows, order included.
func (c *checker) checkList(q store.Query) {
	if c.ctx.Err() != nil {
		return
	}
	got, err := collect(c.reader.Flows(c.ctx, q))
	if err != nil {
		c.report("Flows(%s): %v", describe(&q), err)
		return
	}
	if diff := difference(c.list(&q), got); diff != "" {
		c.report("Flows(%s) (-want +got):\n%s", describe(&q), diff)
	}
}

func (c *checker) checkCounts(q store.Query) {
	if c.ctx.Err() != nil {
		return
	}
	got, err := c.reader.Counts(c.ctx, q)
	if want := c.counts(q.Filter); err != nil || got != want {
		c.report("Counts(%s) = %+v, %v, want %+v", describe(&q), got, err, want)
	}
}

func (c *checker) checkTop(q store.TopQuery) {
	if c.ctx.Err() != nil {
		return
	}
	got, err := c.reader.Top(c.ctx, q)
	if err != nil {
		c.report("Top(%s, %v): %v", describe(&q.Query), q.Fields, err)
		return
	}
	if diff := difference(c.top(&q), got); diff != "" {
		c.report("Top(%s, fields %v, collect %v, sum %v, least %v) (-want +got):\n%s",
			describe(&q.Query), q.Fields, q.Collect, q.Sum, q.Least, diff)
	}
}

// alive checks that the store still answers after what went wrong.
func (c *checker) alive() {
	q := store.Query{Filter: parse("proto = tcp"), Limit: 5}
	c.checkList(q)
	c.checkCounts(q)
	c.checkTop(store.TopQuery{Query: q, Fields: []string{"dport"}})
}

// scalars returns the names by which flows can be ordered, and for each another
// name of the same.
func (c *checker) scalars() (names, others []string) {
	names, others = []string{"flow"}, []string{"flow"} // is no attribute: its case counts
	for _, a := range c.attrs {
		if !a.Set {
			names = append(names, a.Name)
			known := append([]string{a.Name}, a.Aliases...)
			others = append(others, strings.ToUpper(known[len(known)-1]))
		}
	}
	return names, others
}

// orders checks every order, both ways, and some of several criteria.
func (c *checker) orders() {
	c.checkList(store.Query{})
	names, others := c.scalars()
	for i, name := range names {
		c.checkList(store.Query{OrderBy: []store.Order{{Attr: name}}})
		c.checkList(store.Query{OrderBy: []store.Order{{Attr: name, Desc: true}}})
		name = others[i]
		other := names[(i*7+3)%len(names)]
		c.checkList(store.Query{
			OrderBy: []store.Order{{Attr: name, Desc: i%2 == 0}, {Attr: other, Desc: i%3 == 0}, {Attr: "flow"}},
			Skip:    i % 3, Limit: 20,
		})
	}
}

// pages checks that pages put together are the list.
func (c *checker) pages() {
	for _, order := range [][]store.Order{nil, {{Attr: "count", Desc: true}}, {{Attr: "proto"}, {Attr: "dport"}}} {
		for _, text := range []string{"", "proto = tcp"} {
			q := store.Query{Filter: parse(text), OrderBy: order, Limit: 9}
			want := c.list(&store.Query{Filter: q.Filter, OrderBy: order})
			var got []*store.Flow
			for {
				flows, err := collect(c.reader.Flows(c.ctx, q))
				if err != nil {
					c.report("Flows(%s): %v", describe(&q), err)
					return
				}
				got = append(got, flows...)
				if len(flows) < q.Limit || len(got) > len(want) {
					break
				}
				q.Skip += q.Limit
				if q.Skip > 40 { // the rest in one
					q.Limit = 1000
				}
			}
			if diff := difference(want, got); diff != "" {
				c.report("pages of %q by %v (-want +got):\n%s", text, order, diff)
			}
		}
	}
	n := len(c.flows)
	for _, q := range []store.Query{
		{Skip: n}, {Skip: n + 5}, {Skip: max(0, n-1)}, {Limit: n + 1}, {Limit: 1}, {Skip: 2}, {Skip: 1 << 40}, {Skip: n, Limit: 3},
	} {
		c.checkList(q)
	}
}

// someFilters checks lists and counts with a filter of each sort.
func (c *checker) someFilters() {
	c.checkCounts(store.Query{Skip: 3, Limit: 1})
	for _, text := range []string{
		"dport > 10000", "!dport <= 10000", "dport != 443", "lastseen < 2020-01-01 11:00", "ALL sports > 109", "type OR dport = 80 AND service", "addr = 10.0.0.0/8", "addr = ::/0", "src.addr < ::1", "ANY sports < 1024", "LEN sports = 1",
		"type = 8 OR proto = 99", "csbytes > scbytes", "csbytes = 9223372036854775807", "conn_state = SF AND !service", "sensor = a", "vlan",
		"firstseen < 1970-01-01", "lastseen >= 2020-01-01 11:00", "duration > 1h", "#DNS", "!meta.http", "meta.dns.query = WWW.example.com",
		`meta.query =~ (?i)w+\.ex.*`, "meta.dns.count > 2", "meta.dns(!query)", "LEN meta.dns.answers > 1", `meta.http.uri = "\\x41"`,
		`meta.http.host =~ .*\\x00.*`, "src.addr = dst.addr", "service = ssl", "count > 1000",
	} {
		q := store.Query{Filter: parse(text)}
		c.checkList(q)
		c.checkCounts(q)
		c.checkTop(store.TopQuery{Query: q, Fields: []string{"proto"}, Collect: []string{"dport"}})
	}
}

// ranks checks groups by every attribute, and every way to rank and to collect.
func (c *checker) ranks() {
	attrs := c.attrs
	for i := range attrs {
		names := append([]string{attrs[i].Name}, attrs[i].Aliases...)
		other := &attrs[(i*11+5)%len(attrs)]
		q := store.TopQuery{
			Fields: []string{attrs[i].Name}, Sum: []string{"csbytes"}, Collect: []string{other.Name}, Least: i%2 == 0,
		}
		c.checkTop(q)
		q.Fields = []string{strings.ToUpper(names[len(names)-1]), other.Name}
		q.Sum, q.Collect, q.Limit, q.Skip = nil, nil, 10, i%4
		c.checkTop(q)
	}
	c.groups()
}

// groups checks groups as people ask for them.
func (c *checker) groups() {
	for _, q := range []store.TopQuery{
		{Fields: []string{"proto", "dport"}},
		{Fields: []string{"proto", "dport"}, Least: true},
		{Fields: []string{"src.addr"}, Sum: []string{"csbytes", "scbytes"}},
		{Fields: []string{"src.addr"}, Sum: []string{"count"}, Least: true, Query: store.Query{Skip: 2, Limit: 3}},
		{Fields: []string{"sports", "service"}, Sum: []string{"cspkts"}},
		{Fields: []string{"dst.addr"}, Collect: []string{"sports"}, Query: store.Query{Limit: 5}},
		{Fields: []string{"dst.addr"}, Collect: []string{"proto", "dport", "service"}, Query: store.Query{Limit: 5, OrderBy: []store.Order{{Attr: "count"}}}},
		{Fields: []string{"meta.dns.query", "meta.dns.answers"}, Collect: []string{"meta.dns.rcode", "src"}},
		{Fields: []string{"meta.http.host"}, Collect: []string{"meta.http.host", "meta.ssl.server_name"}},
		{Fields: []string{"proto", "proto"}},
		{Fields: []string{"addr"}, Query: store.Query{Filter: parse("dport")}},
		{Fields: []string{"dport"}, Query: store.Query{Skip: 1 << 30}},
		{Fields: []string{"dport"}, Query: store.Query{Filter: parse("dport = 7 AND dport = 8")}},
	} {
		c.checkTop(q)
	}
}

// content is what a store's status says of its records.
type content struct {
	connections int64
	first, last *time.Time
	sensors     []string
	imports     map[string]*importContent // by sensor
}

// importContent is what an import brought.
type importContent struct {
	Connections int64
	Intel       map[string]int64
}

// content returns what the data is.
func (d *Data) content() *content {
	out := &content{sensors: []string{}, imports: make(map[string]*importContent)}
	span := func(from, to time.Time) {
		if out.first == nil || from.Before(*out.first) {
			out.first = &from
		}
		if out.last == nil || to.After(*out.last) {
			out.last = &to
		}
	}
	for _, sensor := range d.Sensors() {
		out.imports[sensor] = &importContent{Intel: map[string]int64{}}
		out.sensors = append(out.sensors, sensor)
	}
	for i := range d.Conns {
		c := &d.Conns[i]
		out.connections = saturate(uint64(out.connections) + c.Count)
		out.imports[c.Sensor].Connections += int64(c.Count)
		span(micro(c.First), micro(c.Last))
	}
	for i := range d.Intel {
		r := &d.Intel[i]
		out.imports[r.Sensor].Intel[flow.Kinds()[r.Kind].Name]++
		span(micro(r.TS), micro(r.TS))
	}
	return out
}

// status checks what the store says of itself.
func (c *checker) status(d *Data) {
	if c.ctx.Err() != nil {
		return
	}
	s, err := c.reader.Status(c.ctx)
	if err != nil {
		c.report("Status() = %v", err)
		return
	}
	want := d.content()
	if s.Connections != want.connections {
		c.report("Status().Connections = %d, want %d", s.Connections, want.connections)
	}
	if diff := difference([]*time.Time{want.first, want.last}, []*time.Time{s.First, s.Last}); diff != "" {
		c.report("Status().First and Last (-want +got):\n%s", diff)
	}
	if diff := difference(want.sensors, s.Sensors); diff != "" {
		c.report("Status().Sensors (-want +got):\n%s", diff)
	}
	if s.Precision != SlotWidth/1e6 {
		c.report("Status().Precision = %d, want %d", s.Precision, int64(SlotWidth/1e6))
	}
	if s.Location == "" || s.Format < 1 || s.Tables == nil || s.Imports == nil {
		c.report("Status() = %+v: no location, format, tables or imports", s)
	}
	if (len(s.Tables) == 0) != (len(d.Conns)+len(d.Intel) == 0) {
		c.report("Status().Tables = %+v", s.Tables)
	}
	got := make(map[string]*importContent)
	for _, imp := range s.Imports {
		got[imp.Sensor] = &importContent{Connections: imp.Connections, Intel: imp.Intel}
		if imp.Intel == nil {
			got[imp.Sensor].Intel = map[string]int64{}
		}
		if imp.ID == "" || imp.Source != "capture" || len(imp.Inputs) != 1 || imp.Time.IsZero() || imp.Open || imp.Killed {
			c.report("Status().Imports has %+v", imp)
		}
	}
	if diff := difference(want.imports, got); diff != "" {
		c.report("Status().Imports (-want +got):\n%s", diff)
	}
}
