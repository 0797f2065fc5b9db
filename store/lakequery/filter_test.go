// SPDX-License-Identifier: Apache-2.0

package lakequery_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"weir/internal/filter"
	"weir/internal/flow"
	"weir/store"
)

// model is what a store must answer from: flows in memory.
type model map[string]*filter.Flow

// modelKey names a flow.
func modelKey(t *flow.Tuple) string {
	s := fmt.Sprintf("%v %s", t.Src, flow.ProtoLabel(t.Proto))
	switch {
	case flow.IsICMP(t.Proto):
		s += fmt.Sprintf("/%d", t.Sport)
	case t.Proto == flow.TCP || t.Proto == flow.UDP:
		s += fmt.Sprintf("/%d", t.Dport)
	}
	return s + " " + t.Dst.String()
}

// newModel groups connections and intel.
func newModel(conns []flow.Connection, intel *flow.IntelBatch) model {
	m := make(model)
	for i := range conns {
		c := &conns[i]
		f := m[modelKey(&c.Tuple)]
		if f == nil {
			f = &filter.Flow{
				Src: c.Src, Dst: c.Dst, Proto: flow.ProtoLabel(c.Proto), FirstSeen: c.First, LastSeen: c.Last,
			}
			m[modelKey(&c.Tuple)] = f
		}
		switch c.Proto {
		case flow.TCP, flow.UDP:
			f.Dport = &c.Dport
			f.Sports = append(f.Sports, c.Sport)
		case flow.ICMP, flow.ICMPv6:
			f.Type = &c.Sport
			f.Codes = append(f.Codes, uint16(c.Code))
		}
		f.Count += int64(c.Count)
		f.CSPkts += int64(c.CSPkts)
		f.SCPkts += int64(c.SCPkts)
		f.CSBytes += int64(c.CSBytes)
		f.SCBytes += int64(c.SCBytes)
		f.FirstSeen, f.LastSeen = min(f.FirstSeen, c.First), max(f.LastSeen, c.Last)
		for hour := c.First / 3600e9; hour <= c.Last/3600e9; hour++ {
			f.Times = append(f.Times, filter.Slot{Start: hour * 3600e9, Width: 3600e6})
		}
		if c.State != flow.StateNone {
			f.ConnState = append(f.ConnState, c.State.String())
		}
		if c.Service != "" {
			f.Service = append(f.Service, c.Service)
		}
		if c.VLAN != 0 {
			f.VLAN = append(f.VLAN, c.VLAN)
		}
		f.Sensor = []string{"eth0"}
	}
	for i := range intel.Recs {
		f := m[modelKey(&intel.Recs[i].Tuple)]
		f.Intel = append(f.Intel, filter.IntelOf(intel, i))
	}
	return m
}

// randomConns makes few hosts and ports meet, so that flows have several
// connections.
func randomConns(n int) ([]flow.Connection, *flow.IntelBatch) {
	r := rand.New(rand.NewPCG(7, 7))
	hosts := []string{"10.0.0.1", "10.0.0.2", "10.0.1.1", "192.168.1.1", "255.255.255.255", "::1", "2001:db8::1", "fe80::1"}
	intel := flow.NewIntelBatch()
	conns := make([]flow.Connection, n)
	for i := range conns {
		src, dst := r.IntN(len(hosts)), r.IntN(len(hosts))
		if (src < 5) != (dst < 5) {
			dst = src
		}
		c := conn(r.Uint64(), flow.TCP, hosts[src], uint16(1000+r.IntN(20)), hosts[dst], []uint16{22, 53, 80, 443, 50000}[r.IntN(5)], r.IntN(10000))
		c.State, c.CSBytes, c.SCBytes = flow.State(r.IntN(6)), uint64(r.IntN(2000)), uint64(r.IntN(2000))
		c.VLAN = uint16(max(0, r.IntN(8)-5))
		switch r.IntN(5) {
		case 0:
			c.Proto, c.Sport, c.Dport, c.Code = flow.ICMP, uint16(r.IntN(4)), 0, uint8(r.IntN(3))
			if src >= 5 {
				c.Proto = flow.ICMPv6
			}
		case 1:
			c.Proto, c.Dport, c.Service = flow.UDP, 53, "dns"
			dnsQuery(intel, &c, []string{"www.Example.com", "mail.example.org", "x"}[r.IntN(3)], []string{"192.0.2.1", "cname.example.net"}[:r.IntN(3)]...)
		case 2:
			c.Service = []string{"", "http", "ssl", "ssl,http"}[r.IntN(4)]
		case 3:
			c.Proto, c.Sport, c.Dport = 47, 0, 0
		}
		conns[i] = c
	}
	return conns, intel
}

func parse(tb testing.TB, text string) *filter.Expr {
	tb.Helper()
	e, err := filter.Parse(text, filter.Options{Zone: time.UTC})
	if err != nil {
		tb.Fatalf("Parse(%q) = %v", text, err)
	}
	return e
}

// filterTexts returns filters of every sort.
func filterTexts() []string {
	return []string{
		"proto = tcp", "proto != tcp", "!proto = tcp", "dport = 80", "dport != 80", "!dport = 80", "dport > 1000",
		"dport", "!dport", "type = 3", "type", "src.addr = 10.0.0.1", "dst.addr = 10.0.0.0/16", "addr = 10.0.0.0/24",
		"addr != 10.0.0.1", "!addr = 10.0.0.1", `addr =~ 10\.0\..*`, "src.addr > 10.0.0.2", "src.addr < ::1", "addr = 2001:db8::/32",
		"src.addr = dst.addr", "csbytes > 5000", "csbytes > scbytes", "count >= 3", "count = 1 OR dport = 53",
		"sports = 1003", "ANY sports < 1002", "ALL sports > 1005", "ONE sports = 1003", "NONE sports = 1003", "LEN sports > 2",
		"codes = 2", "LEN codes = 0", "conn_state = S0", "ALL conn_state = SF", "conn_state != SF", "!conn_state = SF",
		"service = http", "service = ssl AND service = http", "!service", "LEN service = 2", "vlan = 1", "ONE vlan",
		"sensor = eth0", "sensor != eth0", "duration > 10m", "firstseen < 2025-11-23T11:00:00Z", "lastseen >= '2025-11-23 12:00:00'",
		"(dport = 80 OR dport = 443) AND src.addr = 10.0.0.0/8 AND LEN sports > 1", "dport = 80 OR csbytes > 8000",
		"!(dport = 80 OR proto = icmp)", "dport IN (22, 53)", "-dport = 22", "#DNS", "!#DNS AND proto = udp", "meta.dns.count > 3",
		"meta.query = www.example.com", `meta.dns.query =~ .*\.example\..*`, "meta.dns(query = x AND rtt > 1ms)", "NONE meta.dns.answers = 192.0.2.1",
		"meta.answers = CNAME.example.net AND dst.addr = 10.0.0.0/8", "meta.http.host = x", "LEN meta.dns.query = 2",
		"times = 2025-11-23T11:00:00Z", "ALL times.start > 2025-11-23T10:00:00Z", "LEN times > 2", "times.duration = 1h",
		"LEN times.duration != 1", "times.start < firstseen", "firstseen = times", "NONE times = 2025-11-23T10:00:00Z AND dport = 80",
	}
}

func TestFilters(t *testing.T) {
	conns, intel := randomConns(600)
	path := filepath.Join(t.TempDir(), "store")
	writeLake(t, path, "x", conns, intel)
	db := openDB(t, path)
	m := newModel(conns, intel)
	for _, text := range filterTexts() {
		e := parse(t, text)
		var want []string
		var counts store.Counts
		clients, servers := map[flow.Addr]bool{}, map[flow.Addr]bool{}
		for key, f := range m {
			if e.Match(f) {
				want = append(want, key)
				clients[f.Src], servers[f.Dst] = true, true
				counts.Flows++
			}
		}
		counts.Clients, counts.Servers = int64(len(clients)), int64(len(servers))
		slices.Sort(want)
		q := store.Query{Filter: e}
		got := flows(t, db, q)
		keys := labels(got)
		slices.Sort(keys)
		if diff := cmp.Diff(want, keys); diff != "" {
			t.Errorf("Flows(%q) (-want +got):\n%s", text, diff)
			continue
		}
		for i := range got {
			if f := m[labels(got[i : i+1])[0]]; got[i].Count != f.Count || got[i].CSBytes != f.CSBytes {
				t.Errorf("Flows(%q): %+v, want the counters of %+v", text, got[i], f)
			}
		}
		if n, err := db.Counts(t.Context(), q); err != nil || n != counts {
			t.Errorf("Counts(%q) = %+v, %v, want %+v", text, n, err, counts)
		}
		top, err := db.Top(t.Context(), store.TopQuery{Query: store.Query{Filter: e, Limit: 5}, Fields: []string{"proto"}, Collect: []string{"dport"}})
		if err != nil {
			t.Errorf("Top(%q) = %v", text, err)
		}
		var sum int64
		for i := range top {
			sum += top[i].Count
		}
		if sum != counts.Flows {
			t.Errorf("Top(%q) counts %d flows, want %d", text, sum, counts.Flows)
		}
		q.Limit, q.Skip = 3, 2
		page := labels(flows(t, db, q))
		if diff := cmp.Diff(labels(got[min(2, len(got)):min(5, len(got))]), page); diff != "" {
			t.Errorf("Flows(%q, skip 2, limit 3) (-want +got):\n%s", text, diff)
		}
	}
}

// TestFilterValues makes sure that no value of a filter becomes SQL.
func TestFilterValues(t *testing.T) {
	db := openDB(t, testLake(t))
	for _, text := range []string{
		`sensor = "'; DROP VIEW conn; --"`, `sensor = "' OR 1=1"`, `service =~ "'.*"`, `meta.query = "$1 \" ? %s"`,
	} {
		e := parse(t, text)
		if n, err := db.Counts(t.Context(), store.Query{Filter: e}); err != nil || n.Flows != 0 {
			t.Errorf("Counts(%q) = %+v, %v, want none", text, n, err)
		}
	}
}

func TestFilterUnsupported(t *testing.T) {
	db := openDB(t, testLake(t))
	_, err := db.Counts(t.Context(), store.Query{Filter: parse(t, strings.Repeat("meta.dns.count > 1 OR ", 64)+"meta.dns.count > 2")})
	if _, ok := errors.AsType[*filter.UnsupportedError](err); !ok {
		t.Errorf("Counts() = %v, want an UnsupportedError", err)
	}
	_, err = db.Top(t.Context(), store.TopQuery{Fields: []string{"meta.dns.count"}})
	if _, ok := errors.AsType[*store.AttributeError](err); !ok || !strings.Contains(err.Error(), "meta.dns.*") {
		t.Errorf("Top(meta.dns.count) = %v, want an AttributeError", err)
	}
}
