// SPDX-License-Identifier: Apache-2.0

package lakequery_test

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"weir/internal/flow"
	"weir/store"
	"weir/store/lake"
	"weir/store/lakequery"
)

const base = flow.Time(1_763_892_000_000_000_000) // 2025-11-23 10:00:00 UTC

func addr(text string) flow.Addr { return flow.AddrFrom(netip.MustParseAddr(text)) }

// conn returns a connection that starts some seconds after base and takes one
// and a half.
func conn(uid uint64, proto uint8, src string, sport uint16, dst string, dport uint16, second int) flow.Connection {
	c := flow.Connection{
		Tuple: flow.Tuple{UID: uid, Src: addr(src), Dst: addr(dst), Sport: sport, Dport: dport, Proto: proto},
		First: base + flow.Time(second)*1e9, CSPkts: 3, SCPkts: 2, CSBytes: 300, SCBytes: 1200,
		CSPayload: 180, SCPayload: 1120, Count: 1, End: flow.EndDetected, State: flow.SF,
		History: []byte("ShADadFf"),
	}
	c.Last = c.First + 1_500_000_000
	return c
}

// testConns makes seven flows of ten connections.
func testConns() []flow.Connection {
	conns := []flow.Connection{
		conn(0x01, flow.TCP, "10.0.0.1", 40000, "10.0.0.2", 80, 0),
		conn(0x02, flow.TCP, "10.0.0.1", 40001, "10.0.0.2", 80, 10),
		conn(0x03, flow.TCP, "10.0.0.1", 40000, "10.0.0.2", 80, 20),
		conn(0x04, flow.TCP, "10.0.0.1", 50000, "10.0.0.10", 443, 30),
		conn(0x05, flow.UDP, "10.0.0.9", 53000, "10.0.0.2", 53, 40),
		conn(0x06, flow.UDP, "2001:db8::1", 53001, "2001:db8::2", 53, 50),
		conn(0x07, flow.ICMP, "10.0.0.9", 8, "10.0.0.1", 0, 60),
		conn(0x08, flow.ICMP, "10.0.0.2", 3, "10.0.0.1", 3, 70),
		conn(0x09, flow.ICMP, "10.0.0.2", 3, "10.0.0.1", 1, 80),
		conn(0xfedcba9876543210, 47, "10.0.0.9", 0, "10.0.0.2", 0, 90),
	}
	conns[0].Service = "http"
	conns[1].State, conns[1].Service, conns[1].CSBytes = flow.RSTO, "", 1000
	conns[2].Service, conns[2].VLAN = "ssl,http", 12
	conns[3].Service = "ssl"
	conns[4].Service, conns[5].Service = "dns", "dns"
	conns[7].Code, conns[8].Code = 3, 1
	conns[9].TunnelParents = []uint64{1, 0xffffffffffffffff}
	return conns
}

// dnsQuery adds a record to a batch.
func dnsQuery(b *flow.IntelBatch, c *flow.Connection, query string, answers ...string) {
	b.Begin(flow.DNS, &c.Tuple, c.First)
	b.SetString(flow.DNSQuery, query)
	b.SetString(flow.DNSQTypeName, "A")
	b.SetInt(flow.DNSRTT, 20_000)
	for _, a := range answers {
		b.AppendText(flow.DNSAnswers, []byte(a))
	}
	b.AppendInt(flow.DNSTTLs, 300_000_000)
	b.SetBool(flow.DNSAA, true)
}

// writeLake adds an import to the store at path.
func writeLake(tb testing.TB, path, id string, conns []flow.Connection, intel *flow.IntelBatch, replace ...string) {
	tb.Helper()
	l, err := lake.Open(path, lake.Config{Create: true, Version: "1.2.3"})
	if err != nil {
		tb.Fatalf("Open(%q) = %v", path, err)
	}
	w, err := l.Begin(lake.Import{
		ID: id, Sensor: "eth0", Source: "capture",
		Inputs: []lake.Input{{Name: id + ".pcap", Sum: id, Size: 1}},
	})
	if err != nil {
		tb.Fatalf("Begin(%q) = %v", id, err)
	}
	b := new(flow.ConnBatch)
	for i := range conns {
		b.Add(&conns[i])
	}
	if err := w.Connections(b); err != nil {
		tb.Fatalf("Connections() = %v", err)
	}
	if intel != nil {
		if err := w.Intel(intel); err != nil {
			tb.Fatalf("Intel() = %v", err)
		}
	}
	if err := w.Commit(lake.Final{Packets: 50, Replace: replace}); err != nil {
		tb.Fatalf("Commit() = %v", err)
	}
}

// testLake returns the path of a store with testConns and some DNS.
func testLake(tb testing.TB) string {
	tb.Helper()
	path := filepath.Join(tb.TempDir(), "store")
	conns := testConns()
	intel := flow.NewIntelBatch()
	dnsQuery(intel, &conns[4], "www.example.com", "192.0.2.1", "192.0.2.2")
	dnsQuery(intel, &conns[4], "www.example.com")
	dnsQuery(intel, &conns[5], "mail.example.org", "2001:db8::25")
	writeLake(tb, path, "first", conns, intel)
	return path
}

func openDB(tb testing.TB, path string) *lakequery.DB {
	tb.Helper()
	db, err := lakequery.Open(tb.Context(), path, lakequery.Config{})
	if err != nil {
		tb.Fatalf("Open(%q) = %v", path, err)
	}
	tb.Cleanup(func() {
		if err := db.Close(); err != nil {
			tb.Errorf("Close() = %v", err)
		}
	})
	return db
}

// sqlRows runs a query and returns columns and rows.
func sqlRows(tb testing.TB, db *lakequery.DB, query string) (names []string, out [][]any) {
	tb.Helper()
	rows, err := db.Raw(tb.Context(), query)
	if err != nil {
		tb.Fatalf("Raw(%q) = %v", query, err)
	}
	defer rows.Close()
	for _, c := range rows.Columns() {
		names = append(names, c.Name)
	}
	for row, err := range rows.All() {
		if err != nil {
			tb.Fatalf("Raw(%q): row: %v", query, err)
		}
		out = append(out, append([]any(nil), row...))
	}
	return names, out
}

func flows(tb testing.TB, db *lakequery.DB, q store.Query) []store.Flow {
	tb.Helper()
	var out []store.Flow
	for f, err := range db.Flows(tb.Context(), q) {
		if err != nil {
			tb.Fatalf("Flows(%+v) = %v", q, err)
		}
		out = append(out, *f)
	}
	return out
}

// labels returns flows in short.
func labels(list []store.Flow) []string {
	var out []string
	for i := range list {
		out = append(out, list[i].Src.String()+" "+list[i].Label()+" "+list[i].Dst.String())
	}
	return out
}

func at(second float64) time.Time {
	return base.Std().Add(time.Duration(second * float64(time.Second)))
}

func TestFlows(t *testing.T) {
	db := openDB(t, testLake(t))
	got := flows(t, db, store.Query{})
	a := netip.MustParseAddr
	want := []store.Flow{
		{
			Src: a("10.0.0.1"), Dst: a("10.0.0.2"), Proto: "tcp", Dport: new(uint16(80)),
			Sports: []uint16{40000, 40001}, Count: 3, CSPkts: 9, SCPkts: 6, CSBytes: 1600, SCBytes: 3600,
			FirstSeen: at(0), LastSeen: at(21.5), ConnState: []string{"RSTO", "SF"},
			Service: []string{"http", "ssl"}, VLAN: []uint16{12}, Sensor: []string{"eth0"},
		},
		{
			Src: a("10.0.0.1"), Dst: a("10.0.0.10"), Proto: "tcp", Dport: new(uint16(443)),
			Sports: []uint16{50000}, Count: 1, CSPkts: 3, SCPkts: 2, CSBytes: 300, SCBytes: 1200,
			FirstSeen: at(30), LastSeen: at(31.5), ConnState: []string{"SF"},
			Service: []string{"ssl"}, Sensor: []string{"eth0"},
		},
		{
			Src: a("10.0.0.2"), Dst: a("10.0.0.1"), Proto: "icmp", Type: new(uint16(3)),
			Codes: []uint16{1, 3}, Count: 2, CSPkts: 6, SCPkts: 4, CSBytes: 600, SCBytes: 2400,
			FirstSeen: at(70), LastSeen: at(81.5), ConnState: []string{"SF"}, Sensor: []string{"eth0"},
		},
		{
			Src: a("10.0.0.9"), Dst: a("10.0.0.1"), Proto: "icmp", Type: new(uint16(8)),
			Codes: []uint16{0}, Count: 1, CSPkts: 3, SCPkts: 2, CSBytes: 300, SCBytes: 1200,
			FirstSeen: at(60), LastSeen: at(61.5), ConnState: []string{"SF"}, Sensor: []string{"eth0"},
		},
		{
			Src: a("10.0.0.9"), Dst: a("10.0.0.2"), Proto: "gre", Count: 1, CSPkts: 3, SCPkts: 2,
			CSBytes: 300, SCBytes: 1200, FirstSeen: at(90), LastSeen: at(91.5),
			ConnState: []string{"SF"}, Sensor: []string{"eth0"},
		},
		{
			Src: a("10.0.0.9"), Dst: a("10.0.0.2"), Proto: "udp", Dport: new(uint16(53)),
			Sports: []uint16{53000}, Count: 1, CSPkts: 3, SCPkts: 2, CSBytes: 300, SCBytes: 1200,
			FirstSeen: at(40), LastSeen: at(41.5), ConnState: []string{"SF"},
			Service: []string{"dns"}, Sensor: []string{"eth0"},
		},
		{
			Src: a("2001:db8::1"), Dst: a("2001:db8::2"), Proto: "udp", Dport: new(uint16(53)),
			Sports: []uint16{53001}, Count: 1, CSPkts: 3, SCPkts: 2, CSBytes: 300, SCBytes: 1200,
			FirstSeen: at(50), LastSeen: at(51.5), ConnState: []string{"SF"},
			Service: []string{"dns"}, Sensor: []string{"eth0"},
		},
	}
	opt := cmp.Comparer(func(x, y netip.Addr) bool { return x == y })
	if diff := cmp.Diff(want, got, opt); diff != "" {
		t.Errorf("Flows() (-want +got):\n%s", diff)
	}
	for skip := range len(want) + 1 {
		for _, limit := range []int{1, 3, 100} {
			got := flows(t, db, store.Query{Skip: skip, Limit: limit})
			page := append([]store.Flow(nil), want[skip:min(skip+limit, len(want))]...)
			if diff := cmp.Diff(page, got, opt); diff != "" {
				t.Errorf("Flows(skip %d, limit %d) (-want +got):\n%s", skip, limit, diff)
			}
		}
	}
}

// TestFlowsInPages compares a listing that is gathered in pages, for lack of
// memory, with one that is not.
func TestFlowsInPages(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store")
	writeLake(t, path, "x", manyConns(30_000), nil)
	small, err := lakequery.Open(t.Context(), path, lakequery.Config{Memory: 64 << 20})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = small.Close() })
	large := openDB(t, path)
	opt := cmp.Comparer(func(x, y netip.Addr) bool { return x == y })
	for _, q := range []store.Query{
		{}, {Skip: 10, Limit: 20_000, OrderBy: []store.Order{{Attr: "csbytes", Desc: true}}},
	} {
		want := flows(t, large, q)
		if len(want) < 18_000 {
			t.Fatalf("Flows(%+v) = %d flows, too few for several pages", q, len(want))
		}
		got := flows(t, small, q)
		if len(got) != len(want) {
			t.Fatalf("Flows(%+v) = %d flows, want %d", q, len(got), len(want))
		}
		for i := range got {
			if diff := cmp.Diff(want[i], got[i], opt); diff != "" {
				t.Fatalf("Flows(%+v), flow %d (-want +got):\n%s", q, i, diff)
			}
		}
		n := 0
		for _, err := range small.Flows(t.Context(), q) {
			if n++; err != nil || n == 17_000 {
				break
			}
		}
		if n != 17_000 {
			t.Errorf("Flows(%+v) left after %d flows, want 17000", q, n)
		}
	}
	if _, err := small.Raw(t.Context(), "SELECT list(range) FROM range(100000000)"); !errors.Is(err, store.ErrMemory) {
		t.Errorf("Raw(a large list) = %v, want ErrMemory", err)
	}
}

func TestFlowsOrder(t *testing.T) {
	db := openDB(t, testLake(t))
	const (
		web, tls, unreachable = "10.0.0.1 tcp/80 10.0.0.2", "10.0.0.1 tcp/443 10.0.0.10", "10.0.0.2 icmp/3 10.0.0.1"
		ping, gre, dns, dns6  = "10.0.0.9 icmp/8 10.0.0.1", "10.0.0.9 gre 10.0.0.2", "10.0.0.9 udp/53 10.0.0.2", "2001:db8::1 udp/53 2001:db8::2"
	)
	tests := []struct {
		name  string
		order []store.Order
		want  []string
	}{
		{"src", []store.Order{{Attr: "src"}}, []string{web, tls, unreachable, ping, gre, dns, dns6}},
		{"src descending", []store.Order{{Attr: "src", Desc: true}}, []string{dns6, ping, gre, dns, unreachable, web, tls}},
		{"dst", []store.Order{{Attr: "dst"}}, []string{unreachable, ping, web, gre, dns, tls, dns6}},
		{"flow", []store.Order{{Attr: "flow"}}, []string{gre, unreachable, ping, web, tls, dns, dns6}},
		{"dport, missing last", []store.Order{{Attr: "dport"}}, []string{dns, dns6, web, tls, unreachable, ping, gre}},
		{"dport descending, missing last", []store.Order{{Attr: "dport", Desc: true}}, []string{tls, web, dns, dns6, unreachable, ping, gre}},
		{"csbytes then lastseen", []store.Order{{Attr: "csbytes", Desc: true}, {Attr: "lastseen", Desc: true}}, []string{web, unreachable, gre, ping, dns6, dns, tls}},
		{"duration", []store.Order{{Attr: "duration", Desc: true}}, []string{web, unreachable, tls, ping, gre, dns, dns6}},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, labels(flows(t, db, store.Query{OrderBy: tc.order}))); diff != "" {
				t.Errorf("Flows(order %v) (-want +got):\n%s", tc.order, diff)
			}
			want := tc.want[2:5]
			got := labels(flows(t, db, store.Query{OrderBy: tc.order, Skip: 2, Limit: 3}))
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("Flows(order %v, skip 2, limit 3) (-want +got):\n%s", tc.order, diff)
			}
		})
	}
	for _, err := range db.Flows(t.Context(), store.Query{OrderBy: []store.Order{{Attr: "sports"}}}) {
		if _, ok := errors.AsType[*store.AttributeError](err); !ok {
			t.Errorf("Flows(order sports) = %v, want an AttributeError", err)
		}
	}
}

func TestCounts(t *testing.T) {
	db := openDB(t, testLake(t))
	got, err := db.Counts(t.Context(), store.Query{Limit: 1})
	want := store.Counts{Clients: 4, Servers: 4, Flows: 7}
	if err != nil || got != want {
		t.Errorf("Counts() = %+v, %v, want %+v", got, err, want)
	}
}

func TestTop(t *testing.T) {
	db := openDB(t, testLake(t))
	row := func(count int64, fields ...any) store.TopRow {
		return store.TopRow{Fields: fields, Count: count}
	}
	tests := []struct {
		name string
		q    store.TopQuery
		want []store.TopRow
	}{
		{"proto", store.TopQuery{Fields: []string{"proto"}}, []store.TopRow{
			row(2, "icmp"), row(2, "tcp"), row(2, "udp"), row(1, "gre"),
		}},
		{"flows without dport stay", store.TopQuery{Fields: []string{"dport"}}, []store.TopRow{
			row(3, nil), row(2, int64(53)), row(1, int64(80)), row(1, int64(443)),
		}},
		{"two fields", store.TopQuery{Fields: []string{"src.addr", "dport"}, Query: store.Query{Limit: 3}}, []store.TopRow{
			row(2, "10.0.0.9", nil), row(1, "10.0.0.1", int64(80)), row(1, "10.0.0.1", int64(443)),
		}},
		{"least, skip", store.TopQuery{Fields: []string{"proto"}, Least: true, Query: store.Query{Skip: 1, Limit: 2}}, []store.TopRow{
			row(2, "icmp"), row(2, "tcp"),
		}},
		{"sum", store.TopQuery{Fields: []string{"proto"}, Sum: []string{"csbytes"}}, []store.TopRow{
			row(1900, "tcp"), row(900, "icmp"), row(600, "udp"), row(300, "gre"),
		}},
		{"sum of two", store.TopQuery{Fields: []string{"proto"}, Sum: []string{"csbytes", "count"}, Query: store.Query{Limit: 1}}, []store.TopRow{
			row(1904, "tcp"),
		}},
		{"set field", store.TopQuery{Fields: []string{"sports"}, Sum: []string{"count"}, Query: store.Query{Limit: 3}}, []store.TopRow{
			row(4, nil), row(3, int64(40000)), row(3, int64(40001)),
		}},
		{"either end", store.TopQuery{Fields: []string{"addr"}, Query: store.Query{Limit: 2}}, []store.TopRow{
			row(4, "10.0.0.1"), row(4, "10.0.0.2"),
		}},
		{"intel", store.TopQuery{Fields: []string{"meta.dns.query"}}, []store.TopRow{
			row(5, nil), row(1, "mail.example.org"), row(1, "www.example.com"),
		}},
		{"intel in lists, alias", store.TopQuery{Fields: []string{"meta.dns.answers", "id.resp_p"}, Query: store.Query{Limit: 4}}, []store.TopRow{
			row(3, nil, nil), row(1, "192.0.2.1", int64(53)), row(1, "192.0.2.2", int64(53)), row(1, "2001:db8::25", int64(53)),
		}},
		{"collect intel", store.TopQuery{Fields: []string{"proto"}, Collect: []string{"meta.dns.query", "src"}, Sum: []string{"count"}, Query: store.Query{Skip: 2, Limit: 1}}, []store.TopRow{
			{Fields: []any{"udp"}, Count: 2, Collected: [][]any{{"mail.example.org", "2001:db8::1"}, {"www.example.com", "10.0.0.9"}}},
		}},
		{"collect", store.TopQuery{Fields: []string{"proto"}, Collect: []string{"dst.addr", "dport"}, Query: store.Query{Limit: 2}}, []store.TopRow{
			{Fields: []any{"icmp"}, Count: 2, Collected: [][]any{{"10.0.0.1", nil}}},
			{Fields: []any{"tcp"}, Count: 2, Collected: [][]any{{"10.0.0.10", int64(443)}, {"10.0.0.2", int64(80)}}},
		}},
		{"collect a set, sum", store.TopQuery{
			Fields: []string{"dport"}, Collect: []string{"sports"}, Sum: []string{"count"}, Query: store.Query{Limit: 2},
		}, []store.TopRow{
			{Fields: []any{nil}, Count: 4, Collected: [][]any{{nil}}},
			{Fields: []any{int64(80)}, Count: 3, Collected: [][]any{{int64(40000)}, {int64(40001)}}},
		}},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			got, err := db.Top(t.Context(), tc.q)
			if err != nil {
				t.Fatalf("Top(%+v) = %v", tc.q, err)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("Top(%+v) (-want +got):\n%s", tc.q, diff)
			}
		})
	}
	for _, q := range []store.TopQuery{
		{},
		{Fields: []string{"nosuch"}},
		{Fields: []string{"proto"}, Sum: []string{"proto"}},
		{Fields: []string{"proto"}, Collect: []string{"1; DROP"}},
	} {
		_, err := db.Top(t.Context(), q)
		if _, ok := errors.AsType[*store.AttributeError](err); !ok {
			t.Errorf("Top(%+v) = %v, want an AttributeError", q, err)
		}
	}
}

func TestStatus(t *testing.T) {
	path := testLake(t)
	got, err := openDB(t, path).Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var bytes int64
	for i := range got.Tables {
		bytes += got.Tables[i].Bytes
		got.Tables[i].Bytes = 0
	}
	var files int64
	err = filepath.WalkDir(path, func(name string, e os.DirEntry, err error) error {
		if err == nil && strings.HasSuffix(name, ".parquet") {
			fi, err := e.Info()
			files += fi.Size()
			return err
		}
		return err
	})
	if err != nil || bytes != files || got.Bytes != files {
		t.Errorf("bytes = %d, of tables %d, want %d (%v)", got.Bytes, bytes, files, err)
	}
	got.Bytes = 0
	if got.Imports[0].Time.IsZero() {
		t.Error("an import has no time")
	}
	got.Imports[0].Time = time.Time{}
	want := &store.Status{
		Location: path, Format: 1, Precision: 3600, Generation: got.Generation,
		Tables: []store.TableStatus{{Name: "conn", Parts: 1, Rows: 10, Small: 1}, {Name: "dns", Parts: 1, Rows: 3, Small: 1}},
		Parts:  2, Rows: 13, Connections: 10, First: new(at(0)), Last: new(at(91.5)),
		Sensors: []string{"eth0"},
		Imports: []store.ImportStatus{{
			ID: "first", Sensor: "eth0", Source: "capture", Inputs: []string{"first.pcap"},
			Packets: 50, Connections: 10, Intel: map[string]int64{"dns": 3},
		}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("Status() (-want +got):\n%s", diff)
	}
}

func TestEmptyStore(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store")
	if err := lake.Init(path); err != nil {
		t.Fatal(err)
	}
	db := openDB(t, path)
	if got := flows(t, db, store.Query{Limit: 3}); got != nil {
		t.Errorf("Flows() = %v, want none", got)
	}
	if got, err := db.Counts(t.Context(), store.Query{}); err != nil || got != (store.Counts{}) {
		t.Errorf("Counts() = %+v, %v, want zeros", got, err)
	}
	if got, err := db.Top(t.Context(), store.TopQuery{Fields: []string{"proto"}}); err != nil || got != nil {
		t.Errorf("Top() = %v, %v, want none", got, err)
	}
	s, err := db.Status(t.Context())
	if err != nil || s.Rows != 0 || s.First != nil {
		t.Errorf("Status() = %+v, %v, want nothing", s, err)
	}
	for _, table := range []string{"conn", "conn_records", "flow", "dns", "http", "ssl"} {
		if names, rows := sqlRows(t, db, "SELECT * FROM "+table); len(rows) != 0 || len(names) < 10 {
			t.Errorf("%s has columns %v and %d rows, want none", table, names, len(rows))
		}
	}
}

func TestOpenErrors(t *testing.T) {
	dir := t.TempDir()
	if _, err := lakequery.Open(t.Context(), dir, lakequery.Config{}); !errors.Is(err, lake.ErrNotStore) {
		t.Errorf("Open(empty directory) = %v, want ErrNotStore", err)
	}
	if _, err := lakequery.Open(t.Context(), filepath.Join(dir, "x"), lakequery.Config{}); !errors.Is(err, lake.ErrNotStore) {
		t.Errorf("Open(missing) = %v, want ErrNotStore", err)
	}
	for _, cfg := range []lakequery.Config{{Memory: 1}, {Threads: -1}, {MaxTemp: -1}} {
		if _, err := lakequery.Open(t.Context(), dir, cfg); err == nil {
			t.Errorf("Open(%+v) = nil, want an error", cfg)
		}
	}
	odd := filepath.Join(dir, "it's [one]*")
	writeLake(t, odd, "x", testConns(), nil)
	if _, err := lakequery.Open(t.Context(), odd, lakequery.Config{}); err == nil {
		t.Errorf("Open(%q) = nil, want an error", odd)
	}
	quoted := filepath.Join(dir, "it's ünïcode; --")
	writeLake(t, quoted, "x", testConns(), nil)
	if n, err := openDB(t, quoted).Counts(t.Context(), store.Query{}); err != nil || n.Flows != 7 {
		t.Errorf("Counts(%q) = %+v, %v, want 7 flows", quoted, n, err)
	}
}

func TestCancel(t *testing.T) {
	db := openDB(t, testLake(t))
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	start := time.Now()
	rows, err := db.Raw(ctx, "SELECT count(*) FROM range(100000) a, range(100000) b, range(1000) c WHERE a.range + b.range = c.range * 7")
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Raw(endless) = %v, %v, want DeadlineExceeded", rows, err)
	}
	if d := time.Since(start); d > 5*time.Second {
		t.Errorf("Raw(endless) took %v after its deadline", d)
	}
	if n, err := db.Counts(t.Context(), store.Query{}); err != nil || n.Flows != 7 {
		t.Errorf("Counts() after that = %+v, %v, want 7 flows", n, err)
	}
}
