// SPDX-License-Identifier: Apache-2.0

package storetest

import (
	"context"
	"net/netip"
	"slices"
	"strings"
	"time"

	"weir/internal/filter"
	"weir/store"
)

func (c *checker) checkFields(q store.Query, names ...string) {
	if c.ctx.Err() != nil {
		return
	}
	var got [][]any
	for row, err := range c.reader.Fields(c.ctx, q, names) {
		if err != nil {
			c.report("Fields(%s, %v): %v", describe(&q), names, err)
			return
		}
		got = append(got, slices.Clone(row))
	}
	if diff := difference(c.fields(&q, names), got); diff != "" {
		c.report("Fields(%s, %v) (-want +got):\n%s", describe(&q), names, diff)
	}
}

func (c *checker) checkPairs(q store.PairQuery) {
	if c.ctx.Err() != nil {
		return
	}
	got, err := collect(c.reader.Pairs(c.ctx, q))
	if err != nil {
		c.report("Pairs(%s): %v", describe(&q.Query), err)
		return
	}
	want := c.pairs(&q)
	if len(want) == 0 {
		want = nil
	}
	if diff := difference(want, got); diff != "" {
		c.report("Pairs(%s, services %v) (-want +got):\n%s", describe(&q.Query), q.Services, diff)
	}
}

func (c *checker) checkTimeline(q store.TimelineQuery) {
	if c.ctx.Err() != nil {
		return
	}
	got, err := c.reader.Timeline(c.ctx, q)
	if err != nil {
		c.report("Timeline(%+v): %v", q, err)
		return
	}
	if diff := difference(c.timeline(&q), got); diff != "" {
		c.report("Timeline(%q, from %v to %v, step %v, by %v) (-want +got):\n%s", q.Filter, q.After, q.Before, q.Step, q.By, diff)
	}
}

func (c *checker) checkHosts(q store.HostQuery) {
	if c.ctx.Err() != nil {
		return
	}
	got, err := c.reader.Hosts(c.ctx, q)
	if err != nil {
		c.report("Hosts(%v): %v", q, err)
		return
	}
	if diff := difference(c.hosts(&q, c.intel), got); diff != "" {
		c.report("Hosts(%v) (-want +got):\n%s", q, diff)
	}
}

// questions checks pairs, hosts, times, attributes and intel.
func (c *checker) questions() {
	c.someIntel()
	c.someFields()
	c.somePairs()
	c.someTimelines()
	c.someHosts()
}

// someIntel checks the times and the intel of flows.
func (c *checker) someIntel() {
	for _, n := range []int{0, 1, 2, 5, store.All} {
		c.checkList(store.Query{Intel: n, Times: n%2 == 0})
	}
	c.checkList(store.Query{
		Filter: parse("meta.dns OR meta.http"), Intel: 1, Times: true, Skip: 1, Limit: 4, OrderBy: []store.Order{{Attr: "lastseen", Desc: true}},
	})
}

// someFields checks every attribute alone, and some with others.
func (c *checker) someFields() {
	var all []string
	for i := range c.attrs {
		names := append([]string{c.attrs[i].Name}, c.attrs[i].Aliases...)
		c.checkFields(store.Query{}, c.attrs[i].Name)
		other := c.attrs[(i*11+5)%len(c.attrs)].Name
		c.checkFields(store.Query{Filter: parse("proto = tcp OR dport = 53"), Skip: i % 3, Limit: 7}, strings.ToUpper(names[len(names)-1]), other)
		all = append(all, c.attrs[i].Name)
	}
	c.checkFields(store.Query{OrderBy: []store.Order{{Attr: "csbytes", Desc: true}}}, all...)
	c.checkFields(store.Query{Filter: parse("meta.dns"), OrderBy: []store.Order{{Attr: "dport"}}}, "proto", "proto", "addr", "meta.dns.answers", "times")
}

// somePairs checks orders and pages of pairs.
func (c *checker) somePairs() {
	for i, name := range []string{
		"src", "dst", "flows", "count", "cspkts", "scpkts", "csbytes", "scbytes", "firstseen", "lastseen", "SRC.addr", "orig_pkts", "Flows",
	} {
		q := store.PairQuery{Query: store.Query{OrderBy: []store.Order{{Attr: name}}, Times: i%2 == 0}, Services: i%3 == 0}
		c.checkPairs(q)
		q.OrderBy = []store.Order{{Attr: name, Desc: true}, {Attr: "dst", Desc: i%2 == 0}}
		q.Skip, q.Limit, q.Services = i%4, 6, !q.Services
		c.checkPairs(q)
	}
	c.checkPairs(store.PairQuery{})
	c.checkPairs(store.PairQuery{Query: store.Query{Skip: 1 << 40}})
	for _, text := range []string{"dport < 1000", "meta.dns", "addr = 10.0.0.0/8 AND csbytes > 100", "dport = 7 AND dport = 8"} {
		c.checkPairs(store.PairQuery{Query: store.Query{Filter: parse(text), Times: true}, Services: true})
	}
}

// moment is a time in the middle of the data.
func moment(text string) time.Time {
	t, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		panic(err)
	}
	return t
}

// someTimelines checks widths, bounds and groups.
func (c *checker) someTimelines() {
	ten, eleven := moment("2020-01-01T10:00:00Z"), moment("2020-01-01T11:00:00Z")
	for _, step := range []time.Duration{0, time.Hour, 2 * time.Hour, 3 * time.Hour, 24 * time.Hour, 7 * 24 * time.Hour} {
		c.checkTimeline(store.TimelineQuery{Step: step})
		c.checkTimeline(store.TimelineQuery{Step: step, After: ten})
		c.checkTimeline(store.TimelineQuery{Step: step, Before: eleven, By: []string{"proto"}})
		c.checkTimeline(store.TimelineQuery{Step: step, After: ten.Add(time.Microsecond), Before: eleven.Add(time.Microsecond)})
		c.checkTimeline(store.TimelineQuery{Step: step, After: ten.Add(-30 * time.Minute), Before: ten, Filter: parse("proto = tcp")})
	}
	c.checkTimeline(store.TimelineQuery{After: eleven, Before: ten})
	for i := range c.attrs {
		if i%5 == 0 || !strings.HasPrefix(c.attrs[i].Name, "meta.") {
			c.checkTimeline(store.TimelineQuery{By: []string{c.attrs[i].Name}, Step: 24 * time.Hour})
		}
	}
	for _, by := range [][]string{{"proto", "dport"}, {"sports"}, {"meta.dns.answers", "SRC"}, {"proto", "service"}} {
		c.checkTimeline(store.TimelineQuery{By: by})
		c.checkTimeline(store.TimelineQuery{By: by, Filter: parse("dport > 50 OR meta.dns"), After: ten, Step: 2 * time.Hour})
	}
}

// someHosts checks known and unknown hosts.
func (c *checker) someHosts() {
	addrs := []netip.Addr{
		netip.MustParseAddr("203.0.113.77"), netip.MustParseAddr("1.2.3.4"), netip.MustParseAddr("2001:db8::80"),
		netip.MustParseAddr("::ffff:10.0.0.1"), netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("fe80::1%eth0"),
		{},
	}
	for _, text := range addrPool() {
		addrs = append(addrs, netip.MustParseAddr(text))
	}
	for _, f := range c.flows {
		if a := f.Src.Netip(); !slices.Contains(addrs, a) {
			addrs = append(addrs, a)
		}
	}
	for _, n := range []int{0, 1, store.All} {
		c.checkHosts(store.HostQuery{Addrs: addrs, Intel: n})
	}
	c.checkHosts(store.HostQuery{Addrs: addrs[:1], Intel: store.All})
	c.checkHosts(store.HostQuery{})
}

// randomQuestion asks one of the questions with a random filter, the n-th.
func (c *checker) randomQuestion(q store.Query, n int) {
	switch n % 7 {
	case 0:
		c.checkPairs(store.PairQuery{Query: q, Services: true})
	case 2:
		c.checkTimeline(store.TimelineQuery{Filter: q.Filter, By: []string{"proto"}, Step: time.Duration(n%3) * time.Hour})
	case 4:
		q.Limit = 50
		c.checkFields(q, "proto", "sports", c.attrs[n%len(c.attrs)].Name)
	case 5:
		q.Times, q.Intel, q.Limit = true, n%3, 50
		c.checkList(q)
	}
}

// askAll asks every new question and returns its error; of the hosts last, which
// have no filter.
func askAll(ctx context.Context, r store.Reader, e *filter.Expr) []error {
	q := store.Query{Filter: e}
	_, pairs := collect(r.Pairs(ctx, store.PairQuery{Query: q}))
	_, fields := collect(r.Fields(ctx, q, []string{"proto"}))
	_, timeline := r.Timeline(ctx, store.TimelineQuery{Filter: e})
	_, hosts := r.Hosts(ctx, store.HostQuery{Addrs: []netip.Addr{netip.MustParseAddr("10.0.0.1")}})
	return []error{pairs, fields, timeline, hosts}
}
