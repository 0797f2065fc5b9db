// SPDX-License-Identifier: Apache-2.0

package filter_test

import (
	"database/sql"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"weir/internal/filter"
	"weir/internal/flow"
)

// fixedFlow is a flow of the fixed data set, of which docs/filters.md shows what
// filters select.
type fixedFlow struct {
	name, src, dst, proto string
	dport, typ            *uint16
	conns                 []fixedConn
	intel                 []filter.Intel
}

// fixedConn is a connection. Times are in seconds after 10:00 UTC on the first
// of January 2020.
type fixedConn struct {
	sport, code, vlan      *uint16
	first, last            int64
	cspkts, scpkts         int64
	csbytes, scbytes       int64
	state, service, sensor string
}

// known makes an intel record of a kind.
func known(kind flow.Kind, values map[int]any) filter.Intel {
	in := filter.Intel{Kind: kind, Values: make([]filter.Value, len(flow.Kinds()[kind].Attrs))}
	for attr, v := range values {
		switch v := v.(type) {
		case string:
			in.Values[attr] = filter.Value{Set: true, Text: v}
		case int:
			in.Values[attr] = filter.Value{Set: true, Int: int64(v)}
		case []string:
			in.Values[attr] = filter.Value{Set: true, Texts: v}
		case []int64:
			in.Values[attr] = filter.Value{Set: true, Ints: v}
		}
	}
	return in
}

// fixedFlows returns the fixed data set.
func fixedFlows() []fixedFlow {
	n := func(v uint16) *uint16 { return &v }
	return []fixedFlow{
		{
			name: "web", src: "10.0.0.1", dst: "10.0.0.2", proto: "tcp", dport: n(80),
			conns: []fixedConn{
				{n(40001), nil, nil, 0, 5, 5, 12, 500, 12000, "SF", "http", "edge"},
				{n(40002), nil, nil, 3600, 3620, 5, 11, 500, 11000, "SF", "http", "edge"},
				{n(40003), nil, nil, 5400, 5400, 2, 2, 200, 2000, "RSTO", "", "core"},
			},
			intel: []filter.Intel{
				known(flow.HTTP, map[int]any{
					flow.HTTPMethod: "GET", flow.HTTPHost: "www.google.fr", flow.HTTPURI: "/x", flow.HTTPStatusCode: 200,
					flow.HTTPUserAgent: "Mozilla/5.0 (X11; Linux)", flow.HTTPRequestBodyLen: 0, flow.HTTPResponseBodyLen: 11000,
				}),
				known(flow.HTTP, map[int]any{
					flow.HTTPMethod: "POST", flow.HTTPHost: "ORACLE.example.com", flow.HTTPURI: "/a?b=c", flow.HTTPStatusCode: 404,
					flow.HTTPRequestBodyLen: 50, flow.HTTPResponseBodyLen: 20, flow.HTTPUsername: "joe",
				}),
			},
		},
		{
			name: "tls", src: "10.0.0.1", dst: "10.0.1.5", proto: "tcp", dport: n(443),
			conns: []fixedConn{
				{n(1000), nil, n(100), 60, 61, 4, 4, 400, 400, "SF", "ssl", "edge"},
				{n(40001), nil, n(200), 70, 71, 5, 5, 500, 500, "SF", "http,ssl", "edge"},
			},
			intel: []filter.Intel{known(flow.SSL, map[int]any{
				flow.SSLVersion: "TLSv12", flow.SSLServerName: "www.example.com", flow.SSLEstablished: 1,
			})},
		},
		{
			name: "dns", src: "10.0.0.3", dst: "192.168.1.1", proto: "udp", dport: n(53),
			conns: []fixedConn{{n(5353), nil, nil, 5, 6, 2, 2, 120, 240, "SF", "dns", "core"}},
			intel: []filter.Intel{
				known(flow.DNS, map[int]any{
					flow.DNSQuery: "www.google.com", flow.DNSQType: 1, flow.DNSQTypeName: "A", flow.DNSRcode: 0,
					flow.DNSRcodeName: "NOERROR", flow.DNSAnswers: []string{"1.2.3.4", "1.2.3.5"},
					flow.DNSTTLs: []int64{60e6, 60e6}, flow.DNSRTT: 20_000,
				}),
				known(flow.DNS, map[int]any{
					flow.DNSQuery: "x.evil", flow.DNSQType: 1, flow.DNSQTypeName: "A", flow.DNSRcode: 3,
					flow.DNSRcodeName: "NXDOMAIN", flow.DNSRTT: 1_500_000,
				}),
			},
		},
		{
			name: "dns6", src: "2001:db8::1", dst: "2001:db8::53", proto: "udp", dport: n(53),
			conns: []fixedConn{{n(40001), nil, nil, 30, 30, 1, 1, 80, 160, "SF", "dns", "core"}},
			intel: []filter.Intel{known(flow.DNS, map[int]any{
				flow.DNSQuery: "www.example.com", flow.DNSQType: 28, flow.DNSQTypeName: "AAAA", flow.DNSRcode: 0,
				flow.DNSRcodeName: "NOERROR", flow.DNSAnswers: []string{"cdn.example.com", "2001:db8::80"},
				flow.DNSTTLs: []int64{60e6, 3600e6},
			})},
		},
		{
			name: "unreach", src: "192.168.1.1", dst: "10.0.0.3", proto: "icmp", typ: n(3),
			conns: []fixedConn{{nil, n(1), nil, 10, 11, 2, 0, 112, 0, "OTH", "", "core"}},
		},
		{
			name: "ssh", src: "192.168.1.7", dst: "192.168.1.1", proto: "tcp", dport: n(22),
			conns: []fixedConn{{n(51000), nil, nil, 20, 20, 2, 0, 120, 0, "S0", "", "edge"}},
		},
		{
			name: "odd", src: "192.168.1.7", dst: "172.16.0.9", proto: "tcp", dport: n(31337),
			conns: []fixedConn{{n(31337), nil, nil, 7200, 7500, 900, 700, 5_000_000, 40_000, "S1", "", "edge"}},
		},
		{
			name: "esp", src: "10.0.0.2", dst: "10.0.0.2", proto: "esp",
			conns: []fixedConn{{nil, nil, nil, 40, 100, 10, 10, 1000, 1000, "", "", "edge"}},
		},
	}
}

// fixedData returns the fixed data set for DuckDB and for the evaluator. Flows
// are called by their names, by keys those of DuckDB are found.
func fixedData(t *testing.T) (db *sql.DB, all map[string]*filter.Flow, keys map[string]string) {
	t.Helper()
	var conns []conn
	type at struct{ flow, conn int }
	var intel []at
	list := fixedFlows()
	all, keys = make(map[string]*filter.Flow), make(map[string]string)
	for i := range list {
		f := &list[i]
		for range f.intel {
			intel = append(intel, at{i, len(conns)})
		}
		for _, x := range f.conns {
			conns = append(conns, conn{
				src: addr(f.src), dst: addr(f.dst), proto: f.proto, dport: f.dport, typ: f.typ, sport: x.sport, code: x.code,
				vlan: x.vlan, service: x.service, state: x.state, sensor: x.sensor,
				counters: [5]int64{1, x.cspkts, x.scpkts, x.csbytes, x.scbytes},
				first:    seen(x.first).Micro(), last: seen(x.last).Micro(),
			})
		}
	}
	var records []record
	for i, x := range intel {
		first := slices.IndexFunc(intel, func(y at) bool { return y.flow == x.flow })
		records = append(records, record{conn: &conns[x.conn], Intel: list[x.flow].intel[i-first]})
	}
	byKey := flows(conns, records)
	for i := range conns {
		f := byKey[conns[i].key()]
		for hour := conns[i].first / 3600e6; hour <= conns[i].last/3600e6; hour++ {
			f.Times = append(f.Times, filter.Slot{Start: flow.Time(hour * 3600e9), Width: 3600e6})
		}
	}
	next := 0
	for i := range list {
		key := conns[next].key()
		next += len(list[i].conns)
		all[list[i].name], keys[key] = byKey[key], list[i].name
	}
	db = openDuckDB(t)
	load(t, db, conns, records)
	return db, all, keys
}

// commonFilters returns the filters that people wrote for IVRE: "parse" or
// "refuse", the filter, and a part of the message.
func commonFilters(t *testing.T) (list [][]string) {
	t.Helper()
	const name = "../../../shared/ivre/filters.txt"
	text, err := os.ReadFile(name)
	if errors.Is(err, os.ErrNotExist) {
		t.Skip("no ivre/filters.txt in ../shared")
	}
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		list = append(list, strings.Split(strings.TrimRight(line, "\n"), "\t"))
	}
	return list
}

// TestCommonFilters runs the filters that people wrote for IVRE: each is read
// and selects on DuckDB what the evaluator selects, or is refused with a message
// that says what to write.
func TestCommonFilters(t *testing.T) {
	list := commonFilters(t)
	db, all, keys := fixedData(t)
	n, some := 0, 0
	for _, parts := range list {
		n++
		e, err := filter.Parse(parts[1], options())
		if parts[0] == "refuse" {
			if err == nil || !strings.Contains(err.Error(), parts[2]) {
				t.Errorf("Parse(%q) = %v, %v, want %q", parts[1], e, err, parts[2])
			}
			continue
		}
		if err != nil {
			t.Errorf("Parse(%q) = %v", parts[1], err)
			continue
		}
		want := matching(all, e)
		if len(want) > 0 && len(want) < len(all) {
			some++
		}
		if diff := onDuckDB(t, db, keys, e, want); diff != "" {
			t.Errorf("%q: %s", parts[1], diff)
		}
	}
	if n < 120 || some < n/2 {
		t.Errorf("%d filters, of which %d select some flows and not all", n, some)
	}
}

// onDuckDB runs a filter on the fixed data set. It returns how the answer
// differs from the names that the evaluator selects. Filters on slots of time,
// which lakes do not keep, must be refused by name.
func onDuckDB(t *testing.T, db *sql.DB, keys map[string]string, e *filter.Expr, want []string) string {
	t.Helper()
	got, err := selected(t, db, e)
	if strings.Contains(e.String(), "times.") {
		unsupported := new(filter.UnsupportedError)
		if !errors.As(err, &unsupported) || !strings.Contains(err.Error(), "it keeps no times.") {
			return fmt.Sprintf("SQL = %v, %v, want an UnsupportedError for times", got, err)
		}
		return ""
	}
	if err != nil {
		return "SQL: " + err.Error()
	}
	var names []string
	for _, key := range got {
		names = append(names, keys[key])
	}
	slices.Sort(names)
	return cmp.Diff(want, names)
}
