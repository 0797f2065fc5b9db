// SPDX-License-Identifier: Apache-2.0

// Package storetest is the suite that every driver of a store must pass: it
// fills a store with data, asks it, and compares each answer with what follows
// from the data in a few obvious lines.
package storetest

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"net/netip"
	"os"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"weir/internal/filter"
	"weir/internal/flow"
	"weir/store"
)

// Driver is a driver of a store.
type Driver struct {
	// Name is that of the store in filter.Attribute.Stores.
	Name string
	// Fill returns a store that holds the data and nothing else. It, and what it
	// needs, ends with the test. A store that Fill returned before may lose its
	// content.
	Fill func(tb testing.TB, d *Data) store.Reader
	// Filters is how many random filters are compared with the evaluator, Seed makes
	// the first of them and their data; 0 is a random one. WEIR_SEED takes its
	// place.
	Filters int
	Seed    uint64
	// Raw are queries in the store's own language.
	Raw RawQueries
}

// RawQueries are queries in a store's own language.
type RawQueries struct {
	// Flows returns one integer, the number of flows.
	Flows string
	// Refused are queries that would change something, or make no sense.
	Refused []string
	// Endless takes longer than any test.
	Endless string
}

// promptly is how long a query may take to end when it is canceled.
const promptly = 10 * time.Second

// Run runs the suite on a driver.
func Run(t *testing.T, d Driver) {
	t.Helper()
	for _, set := range []struct {
		name string
		data *Data
	}{{"empty", new(Data)}, {"fixed", Fixed()}, {"strange", Strange()}, {"random", Random(3)}} {
		t.Run(set.name, func(t *testing.T) {
			r := d.Fill(t, set.data)
			defer closeReader(t, r)
			if set.name == "strange" {
				Check(t.Context(), r, d.Name, set.data, t.Errorf)
				return
			}
			c := newChecker(t.Context(), r, d.Name, set.data, t.Errorf)
			c.pages()
			c.groups()
			c.status(set.data)
		})
	}
	t.Run("examples", func(t *testing.T) { d.examples(t) })
	t.Run("errors", func(t *testing.T) { d.errors(t) })
	t.Run("raw", func(t *testing.T) { d.raw(t) })
	t.Run("cancel", func(t *testing.T) { d.cancel(t) })
	t.Run("concurrent", func(t *testing.T) { d.concurrent(t) })
	t.Run("close", func(t *testing.T) { d.close(t) })
	t.Run("filters", func(t *testing.T) { d.filters(t) })
}

func closeReader(t *testing.T, r store.Reader) {
	t.Helper()
	if err := r.Close(); err != nil {
		t.Errorf("Close() = %v", err)
	}
}

// checker compares the answers of a store with those of a model.
type checker struct {
	*model
	ctx    context.Context
	reader store.Reader
	report func(format string, args ...any)
}

// newChecker returns a checker of a store called name that holds the data.
func newChecker(ctx context.Context, r store.Reader, name string, d *Data, report func(string, ...any)) *checker {
	return &checker{model: newModel(name, d.Flows()), ctx: ctx, reader: r, report: report}
}

// Check asks a store called name, which holds the data, everything but random
// filters and reports each answer that is wrong, until ctx ends.
func Check(ctx context.Context, r store.Reader, name string, d *Data, report func(format string, args ...any)) {
	c := newChecker(ctx, r, name, d, report)
	c.status(d)
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

// collect reads a list of flows to its end.
func collect(seq iter.Seq2[*store.Flow, error]) ([]*store.Flow, error) {
	var out []*store.Flow
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
	return fmt.Sprintf("%q, order %v, skip %d, limit %d", q.Filter, q.OrderBy, q.Skip, q.Limit)
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

// examples checks the filters that people wrote for IVRE, if they are there, and
// those of the documentation.
func (d Driver) examples(t *testing.T) {
	data := Fixed()
	r := d.Fill(t, data)
	defer closeReader(t, r)
	c := newChecker(t.Context(), r, d.Name, data, t.Errorf)
	texts := []string{
		"dst.addr = 192.168.1.1", `addr =~ 192\.168\.1\..*`, "dport > 10000", "!dport <= 10000", "meta.query =~ .*google.*",
		"ANY sports < 1024", "LEN sports = 1", "ANY meta.answers =~ .*example.com", "addr = 192.168.0.0/16",
	}
	const name = "../../../shared/ivre/filters.txt"
	list, err := os.ReadFile(name)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(list)) {
		if parts := strings.Split(strings.TrimRight(line, "\n"), "\t"); parts[0] == "parse" {
			texts = append(texts, parts[1])
		}
	}
	for _, text := range texts {
		e := parse(text)
		if d.refuses(e) {
			continue
		}
		c.checkList(store.Query{Filter: e})
		c.checkCounts(store.Query{Filter: e})
	}
}

// elsewhere returns the attributes that the store does not keep, though flows have
// them.
func (d Driver) elsewhere() []filter.Attribute {
	return slices.DeleteFunc(filter.Attributes(), func(a filter.Attribute) bool {
		nowhere := len(a.Stores) == 0 && strings.HasPrefix(a.Name, "meta.") // it has no values
		return nowhere || slices.Contains(a.Stores, d.Name)
	})
}

// refuses reports whether a filter names what the store does not keep.
func (d Driver) refuses(e *filter.Expr) bool {
	return slices.ContainsFunc(d.elsewhere(), func(a filter.Attribute) bool { return strings.Contains(e.String(), a.Name) })
}

// errors checks what is refused.
func (d Driver) errors(t *testing.T) {
	data := Fixed()
	r := d.Fill(t, data)
	defer closeReader(t, r)
	m := newModel(d.Name, nil)
	all := m.known(func(*filter.Attribute) bool { return true })
	scalars := m.known(func(a *filter.Attribute) bool { return !a.Set })
	sizes := m.known(func(a *filter.Attribute) bool { return !a.Set && a.Type == filter.Size })
	list := func(q store.Query) error { _, err := collect(r.Flows(t.Context(), q)); return err }
	top := func(q store.TopQuery) error { _, err := r.Top(t.Context(), q); return err }
	proto := []string{"proto"}
	for _, name := range []string{
		"", "nonsense", "flow ", "sports", "addr", "service", "meta.dns.query", "meta.dns.count", "meta.arp.op", "meta.query", "uid", "src.addr; --",
	} {
		for _, tc := range []struct {
			err   error
			use   string
			known []string
		}{
			{list(store.Query{OrderBy: []store.Order{{Attr: "src"}, {Attr: name}}}), "order by", append([]string{"flow"}, scalars...)},
			{top(store.TopQuery{Fields: proto, Sum: []string{"csbytes", name}}), "sum", sizes},
			{top(store.TopQuery{Fields: []string{"proto", name}}), "group by", all},
			{top(store.TopQuery{Fields: proto, Collect: []string{name}}), "collect", all},
		} {
			if m.find(name) != nil && (tc.use == "group by" || tc.use == "collect") {
				if tc.err != nil {
					t.Errorf("%s %q: %v", tc.use, name, tc.err)
				}
				continue
			}
			err, ok := errors.AsType[*store.AttributeError](tc.err)
			if !ok {
				t.Errorf("%s %q: %v, want an AttributeError", tc.use, name, tc.err)
				continue
			}
			if diff := difference(&store.AttributeError{Name: name, Use: tc.use, Known: tc.known}, err); diff != "" {
				t.Errorf("%s %q (-want +got):\n%s", tc.use, name, diff)
			}
		}
	}
	for _, name := range []string{"proto", "dport", "src", "firstseen", "duration"} {
		if err, ok := errors.AsType[*store.AttributeError](top(store.TopQuery{Fields: proto, Sum: []string{name}})); !ok || err.Use != "sum" {
			t.Errorf("sum %q: %v, want an AttributeError", name, err)
		}
	}
	if err, ok := errors.AsType[*store.AttributeError](top(store.TopQuery{})); !ok || err.Use != "group by" {
		t.Errorf("Top() of no attribute: %v, want an AttributeError", err)
	}
	for _, a := range d.elsewhere() {
		e := parse(a.Name)
		_, counts := r.Counts(t.Context(), store.Query{Filter: e})
		for i, err := range []error{counts, list(store.Query{Filter: e}), top(store.TopQuery{Query: store.Query{Filter: e}, Fields: proto})} {
			if _, ok := errors.AsType[*filter.UnsupportedError](err); !ok || !strings.Contains(err.Error(), a.Name) {
				t.Errorf("question %d with %q: %v, want an UnsupportedError", i, a.Name, err)
			}
		}
	}
	newChecker(t.Context(), r, d.Name, data, t.Errorf).alive()
}

// raw checks queries in the store's own language.
func (d Driver) raw(t *testing.T) {
	data := Random(5)
	r := d.Fill(t, data)
	defer closeReader(t, r)
	flows := func() (n int64, err error) {
		rows, err := r.Raw(t.Context(), d.Raw.Flows)
		if err != nil {
			return 0, err
		}
		defer func() { err = errors.Join(err, rows.Close()) }()
		if len(rows.Columns()) != 1 {
			return 0, fmt.Errorf("the columns are %v", rows.Columns())
		}
		for row, err := range rows.All() {
			if err != nil {
				return 0, err
			}
			n, _ = row[0].(int64)
		}
		return n, nil
	}
	for _, text := range d.Raw.Refused {
		rows, err := r.Raw(t.Context(), text)
		if err == nil {
			for _, e := range rows.All() {
				err = errors.Join(err, e)
			}
			err = errors.Join(err, rows.Close())
		}
		if _, ok := errors.AsType[*store.QueryError](err); !ok {
			t.Errorf("Raw(%q) = %v, want a QueryError", text, err)
		}
	}
	want := int64(len(data.Flows()))
	if n, err := flows(); err != nil || n != want {
		t.Errorf("Raw(%q) = %d, %v, want %d", d.Raw.Flows, n, err, want)
	}
}

// cancel checks that questions end soon when nobody wants to know any more.
func (d Driver) cancel(t *testing.T) {
	data := Random(6)
	r := d.Fill(t, data)
	defer closeReader(t, r)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	start := time.Now()
	_, listErr := collect(r.Flows(ended, store.Query{}))
	_, countsErr := r.Counts(ended, store.Query{})
	_, topErr := r.Top(ended, store.TopQuery{Fields: []string{"dport"}})
	for i, err := range []error{listErr, countsErr, topErr} {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("question %d after the end: %v, want %v", i, err, context.Canceled)
		}
	}
	// What is left unread holds nothing up.
	for range 30 {
		for _, err := range r.Flows(t.Context(), store.Query{}) {
			if err != nil {
				t.Fatal(err)
			}
			break
		}
	}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	n := 0
	for _, err := range r.Flows(ctx, store.Query{}) {
		if n++; err != nil && !errors.Is(err, context.Canceled) {
			t.Errorf("Flows() that was canceled: %v", err)
		}
		stop()
	}
	if took := time.Since(start); took > promptly || n == 0 {
		t.Errorf("after %d flows it took %v to end", n, took)
	}
	d.endless(t, r)
	newChecker(t.Context(), r, d.Name, data, t.Errorf).alive()
}

// endless cancels a query that is at work.
func (d Driver) endless(t *testing.T, r store.Reader) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	start := time.Now()
	rows, err := r.Raw(ctx, d.Raw.Endless)
	if err == nil {
		for _, e := range rows.All() {
			err = e
		}
		err = errors.Join(err, rows.Close())
	}
	if took := time.Since(start); err == nil || took > promptly {
		t.Errorf("Raw(%q) ended after %v: %v", d.Raw.Endless, took, err)
	}
}

// concurrent asks from many goroutines at once.
func (d Driver) concurrent(t *testing.T) {
	data := Random(8)
	r := d.Fill(t, data)
	defer closeReader(t, r)
	g := NewFilters(8, d.Name, data.Flows())
	var texts []string
	for range 40 {
		texts = append(texts, g.Next())
	}
	var wait sync.WaitGroup
	for i := range 8 {
		wait.Go(func() {
			c := newChecker(t.Context(), r, d.Name, data, t.Errorf)
			for j, text := range texts {
				q := store.Query{Filter: parse(text)}
				switch (i + j) % 3 {
				case 0:
					c.checkList(q)
				case 1:
					c.checkCounts(q)
				case 2:
					c.checkTop(store.TopQuery{Query: q, Fields: []string{"dport"}})
				}
			}
		})
	}
	wait.Wait()
}

// close checks that a closed store answers nothing.
func (d Driver) close(t *testing.T) {
	r := d.Fill(t, Fixed())
	closeReader(t, r)
	_, listErr := collect(r.Flows(t.Context(), store.Query{}))
	_, countsErr := r.Counts(t.Context(), store.Query{})
	_, topErr := r.Top(t.Context(), store.TopQuery{Fields: []string{"dport"}})
	for i, err := range []error{listErr, countsErr, topErr} {
		if err == nil {
			t.Errorf("question %d to a closed store has an answer", i)
		}
	}
	closeReader(t, r)
}

// FilterCount returns how many random filters a driver is tested with: some by
// itself, more where WEIR_TEST_FILTERS is set, and as many as it says where it is a
// number above 1.
func FilterCount(some, more int) int {
	text := os.Getenv("WEIR_TEST_FILTERS")
	if n, err := strconv.Atoi(text); err == nil && n > 1 {
		return n
	}
	if text != "" {
		return more
	}
	return some
}

// perData is how many random filters are run on the same data.
const perData = 250

// filters compares the answers to random filters with the evaluator's.
func (d Driver) filters(t *testing.T) {
	seed := d.Seed
	if text := os.Getenv("WEIR_SEED"); text != "" {
		n, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			t.Fatalf("WEIR_SEED: %v", err)
		}
		seed = n
	}
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("seed %d", seed)
	telling := 0
	var sources []*Filters
	for done, n := 0, uint64(0); done < d.Filters; n++ {
		data := Random(seed + n)
		r := d.Fill(t, data)
		g := NewFilters(seed+n, d.Name, data.Flows())
		if len(sources) > 0 {
			g.todo = sources[0].todo
		}
		sources = append(sources, g)
		for range min(perData, d.Filters-done) {
			text := g.Next()
			c := newChecker(t.Context(), r, d.Name, data, func(format string, args ...any) {
				t.Errorf("seed %d, %q: "+format, append([]any{seed + n, text}, args...)...)
			})
			if c.random(text, done) {
				telling++
			}
			done++
		}
		closeReader(t, r)
		t.Logf("%d filters", done)
	}
	t.Logf("%d of %d filters select from 5 to 95 %% of the flows", telling, d.Filters)
	if telling < d.Filters*6/10 {
		t.Errorf("seed %d: only %d of %d filters select from 5 to 95 %% of the flows", seed, telling, d.Filters)
	}
	if d.Filters < 1250 {
		return // too few to reach everything
	}
	cells := Cells(d.Name)
	for _, cell := range cells {
		if !slices.ContainsFunc(sources, func(g *Filters) bool { return g.Reached(cell) > 0 }) {
			t.Errorf("seed %d: no filter has a clause such as %+v", seed, cell)
		}
	}
	t.Logf("%d sorts of clauses (place, type, quantifier, operator, operand)", len(cells))
}

// random checks the n-th random filter and reports whether it tells flows apart.
func (c *checker) random(text string, n int) bool {
	e, err := filter.Parse(text, Options())
	if err != nil {
		c.report("Parse: %v", err)
		return false
	}
	q := store.Query{Filter: e}
	c.checkList(q)
	switch n % 10 {
	case 0:
		c.checkCounts(q)
	case 5:
		c.checkTop(store.TopQuery{Query: q, Fields: []string{"proto", "service"}, Collect: []string{"src"}, Sum: []string{"scbytes"}})
	}
	return Telling(len(c.selected(e)), len(c.flows))
}
