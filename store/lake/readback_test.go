// SPDX-License-Identifier: Apache-2.0

package lake_test

import (
	"encoding/binary"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/parquet-go/parquet-go"

	"weir/internal/flow"
	"weir/store/lake"
)

// connRow is a row of conn, as any reader of Parquet sees it.
type connRow struct {
	UID           int64    `parquet:"uid"`
	Sensor        string   `parquet:"sensor"`
	FirstSeen     int64    `parquet:"firstseen,timestamp(microsecond)"`
	LastSeen      int64    `parquet:"lastseen,timestamp(microsecond)"`
	Src           string   `parquet:"src"`
	Dst           string   `parquet:"dst"`
	SrcBin        [16]byte `parquet:"src_bin"`
	DstBin        [16]byte `parquet:"dst_bin"`
	Sport         *int32   `parquet:"sport,optional"`
	Dport         *int32   `parquet:"dport,optional"`
	Type          *int32   `parquet:"type,optional"`
	Code          *int32   `parquet:"code,optional"`
	Proto         string   `parquet:"proto"`
	IPProto       int32    `parquet:"ip_proto"`
	Service       *string  `parquet:"service,optional"`
	ConnState     *string  `parquet:"conn_state,optional"`
	History       *string  `parquet:"history,optional"`
	EndReason     int32    `parquet:"end_reason"`
	CSPkts        int64    `parquet:"cspkts"`
	SCPkts        int64    `parquet:"scpkts"`
	CSBytes       int64    `parquet:"csbytes"`
	SCBytes       int64    `parquet:"scbytes"`
	CSPayload     int64    `parquet:"cspayload"`
	SCPayload     int64    `parquet:"scpayload"`
	MissedBytes   int64    `parquet:"missed_bytes"`
	VLAN          *int32   `parquet:"vlan,optional"`
	TunnelParents []int64  `parquet:"tunnel_parents,list,optional"`
	Count         int64    `parquet:"count"`
	Loss          bool     `parquet:"loss"`
}

// dnsRow is a row of dns.
type dnsRow struct {
	UID        int64     `parquet:"uid"`
	Sensor     string    `parquet:"sensor"`
	TS         int64     `parquet:"ts,timestamp(microsecond)"`
	Src        string    `parquet:"src"`
	Dst        string    `parquet:"dst"`
	SrcBin     [16]byte  `parquet:"src_bin"`
	DstBin     [16]byte  `parquet:"dst_bin"`
	Sport      *int32    `parquet:"sport,optional"`
	Dport      *int32    `parquet:"dport,optional"`
	Proto      string    `parquet:"proto"`
	TransID    *int64    `parquet:"trans_id,optional"`
	RTT        *float64  `parquet:"rtt,optional"`
	Query      *string   `parquet:"query,optional"`
	QClass     *int64    `parquet:"qclass,optional"`
	QClassName *string   `parquet:"qclass_name,optional"`
	QType      *int64    `parquet:"qtype,optional"`
	QTypeName  *string   `parquet:"qtype_name,optional"`
	Rcode      *int64    `parquet:"rcode,optional"`
	RcodeName  *string   `parquet:"rcode_name,optional"`
	AA         *bool     `parquet:"AA,optional"`
	TC         *bool     `parquet:"TC,optional"`
	RD         *bool     `parquet:"RD,optional"`
	RA         *bool     `parquet:"RA,optional"`
	Z          *int64    `parquet:"Z,optional"`
	Answers    []string  `parquet:"answers,list,optional"`
	TTLs       []float64 `parquet:"TTLs,list,optional"`
	Rejected   *bool     `parquet:"rejected,optional"`
	Opcode     *int64    `parquet:"opcode,optional"`
	OpcodeName *string   `parquet:"opcode_name,optional"`
}

// wantRow says what the row of a connection must be.
func wantRow(c *flow.Connection, sensor string) connRow {
	r := connRow{
		UID: int64(c.UID), Sensor: sensor, FirstSeen: c.First.Micro(), LastSeen: c.Last.Micro(),
		Src: c.Src.String(), Dst: c.Dst.String(), SrcBin: c.Src, DstBin: c.Dst,
		Proto: flow.ProtoLabel(c.Proto), IPProto: int32(c.Proto), EndReason: int32(c.End),
		CSPkts: int64(c.CSPkts), SCPkts: int64(c.SCPkts), CSBytes: int64(c.CSBytes),
		SCBytes: int64(c.SCBytes), CSPayload: int64(c.CSPayload), SCPayload: int64(c.SCPayload),
		MissedBytes: int64(c.Missed), Count: int64(c.Count), Loss: c.Loss,
	}
	switch c.Proto {
	case flow.TCP, flow.UDP:
		r.Sport, r.Dport = new(int32(c.Sport)), new(int32(c.Dport))
	case flow.ICMP, flow.ICMPv6:
		r.Type, r.Code = new(int32(c.Sport)), new(int32(c.Code))
	}
	if c.Service != "" {
		r.Service = new(c.Service)
	}
	if c.State != flow.StateNone {
		r.ConnState = new(c.State.String())
	}
	if len(c.History) > 0 {
		r.History = new(string(c.History))
	}
	if c.VLAN != 0 {
		r.VLAN = new(int32(c.VLAN))
	}
	for _, uid := range c.TunnelParents {
		r.TunnelParents = append(r.TunnelParents, int64(uid))
	}
	return r
}

// TestDictionariesOverflow reads back columns of which nearly all values
// differ, so that their encoding changes within a row group.
func TestDictionariesOverflow(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	l := newLake(t)
	w := begin(t, l, lake.Import{})
	b := new(flow.ConnBatch)
	var want []connRow
	for range 130 {
		b.Reset()
		for range 1000 {
			c := flow.Connection{Count: 1, State: flow.S0, CSBytes: r.Uint64() >> 2}
			c.UID, c.Proto, c.Sport = r.Uint64(), flow.TCP, uint16(r.Uint32())
			binary.BigEndian.PutUint64(c.Src[:], r.Uint64())
			c.Dst = flow.Addr4([4]byte(binary.BigEndian.AppendUint32(nil, r.Uint32())))
			c.History = c.Src.AppendTo(nil)
			if r.IntN(2) == 0 {
				c.History = nil
			}
			b.Add(&c)
			want = append(want, wantRow(&c, ""))
		}
		if err := w.Connections(b); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Commit(lake.Final{}); err != nil {
		t.Fatal(err)
	}
	sameRows(t, want, readRows[connRow](t, l, "conn"))
}

// sameRows compares rows one by one.
func sameRows(t *testing.T, want, got []connRow) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%d rows, want %d", len(got), len(want))
	}
	for i := range got {
		if reflect.DeepEqual(want[i], got[i]) {
			continue // much faster than Diff
		}
		t.Fatalf("row %d (-want +got):\n%s", i, cmp.Diff(want[i], got[i]))
	}
}

func TestConnectionsReadBack(t *testing.T) {
	conns := genConns(130_000, 1) // more than a row group
	conns[0].TunnelParents = []uint64{1, math.MaxUint64}
	conns[1].VLAN = 4094
	conns[2].Proto, conns[2].Sport, conns[2].Dport = flow.ICMPv6, 128, 129
	conns[3].Proto, conns[3].Sport, conns[3].Dport, conns[3].Code = flow.ICMP, 3, 1, 1
	conns[4].Proto, conns[4].Sport, conns[4].Dport = 200, 0, 0
	conns[5].State, conns[5].Service, conns[5].History = flow.StateNone, "dns,http", nil
	conns[6].Count, conns[6].Missed = 7, 1<<40
	conns[7].UID = math.MaxUint64
	conns[8].Loss = true
	l := newLake(t)
	w := begin(t, l, lake.Import{Sensor: "eth0", Source: "capture"})
	b := new(flow.ConnBatch)
	var want []connRow
	for i := range conns {
		b.Add(&conns[i])
		want = append(want, wantRow(&conns[i], "eth0"))
		if b.Len() == 1000 {
			if err := w.Connections(b); err != nil {
				t.Fatalf("Connections() = %v", err)
			}
			b.Reset()
		}
	}
	if err := w.Commit(lake.Final{Packets: 42}); err != nil {
		t.Fatalf("Commit() = %v", err)
	}
	sameRows(t, want, readRows[connRow](t, l, "conn"))
	m := manifest(t, l)
	if len(m.Parts) != 1 || len(m.Imports) != 1 {
		t.Fatalf("%d parts, %d imports, want 1 and 1", len(m.Parts), len(m.Imports))
	}
	imp, p := m.Imports[0], m.Parts[0]
	if imp.Connections != 130_006 || imp.Packets != 42 || imp.Sensor != "eth0" || imp.Version != "1.2.3" {
		t.Errorf("import = %+v, want 130006 connections, 42 packets", imp)
	}
	if p.Day != "2023-11-14" || p.Conns != 130_006 || p.Import != imp.ID {
		t.Errorf("part = %+v, want day 2023-11-14, 130006 connections", p)
	}
	first, last := want[0].FirstSeen, want[0].LastSeen
	for i := range want {
		first, last = min(first, want[i].FirstSeen), max(last, want[i].LastSeen)
	}
	if p.MinTS != first || p.MaxTS != last || imp.First != first || imp.Last != last {
		t.Errorf("times %d-%d, %d-%d, want %d-%d", p.MinTS, p.MaxTS, imp.First, imp.Last, first, last)
	}
	if fi, err := os.Stat(filepath.Join(l.Path(), p.Path)); err != nil || fi.Size() != p.Bytes {
		t.Errorf("size of %s: %v, %v, want %d", p.Path, fi, err, p.Bytes)
	}
	checkFootprint(t, filepath.Join(l.Path(), p.Path))
}

// checkFootprint checks what readers rely on to skip rows: every column chunk
// has its bounds.
func checkFootprint(t *testing.T, name string) {
	t.Helper()
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	fi, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	pf, err := parquet.OpenFile(f, fi.Size())
	if err != nil {
		t.Fatal(err)
	}
	for i := range pf.Metadata().RowGroups {
		g := &pf.Metadata().RowGroups[i]
		if g.NumRows > 120_000 {
			t.Errorf("row group %d has %d rows", i, g.NumRows)
		}
		for _, c := range g.Columns {
			m := &c.MetaData
			if m.Statistics.NullCount == m.NumValues {
				continue
			}
			if len(m.Statistics.MaxValue) == 0 {
				t.Errorf("row group %d: %v has no bounds", i, m.PathInSchema)
			}
		}
	}
}

func TestIntelReadBack(t *testing.T) {
	l := newLake(t)
	w := begin(t, l, lake.Import{Sensor: "s"})
	b := flow.NewIntelBatch()
	tuple := flow.Tuple{
		UID: 9, Src: addr("10.0.0.1"), Dst: addr("2001:db8::1"), Sport: 999, Dport: 53, Proto: flow.UDP,
	}
	b.Begin(flow.DNS, &tuple, 1_700_000_000_123_456_789)
	b.SetInt(flow.DNSTransID, 77)
	b.SetInt(flow.DNSRTT, 1500)
	b.SetText(flow.DNSQuery, []byte("a\xffb\x00.example"))
	b.SetBool(flow.DNSAA, true)
	b.SetBool(flow.DNSTC, false)
	b.AppendText(flow.DNSAnswers, []byte("192.0.2.1"))
	b.AppendText(flow.DNSAnswers, []byte(`x\x41é`))
	b.AppendInt(flow.DNSTTLs, 60_000_000)
	b.AppendInt(flow.DNSTTLs, 250_000)
	b.Begin(flow.HTTP, &tuple, 1_700_000_001_000_000_000)
	b.SetString(flow.HTTPMethod, "GET")
	b.Begin(flow.DNS, &tuple, 1_700_000_002_000_000_000)
	b.SetEmpty(flow.DNSAnswers)
	b.SetString(flow.DNSQuery, "")
	if err := w.Intel(b); err != nil {
		t.Fatalf("Intel() = %v", err)
	}
	if err := w.Commit(lake.Final{}); err != nil {
		t.Fatalf("Commit() = %v", err)
	}
	base := dnsRow{
		UID: 9, Sensor: "s", Src: "10.0.0.1", Dst: "2001:db8::1", SrcBin: tuple.Src, DstBin: tuple.Dst,
		Sport: new(int32(999)), Dport: new(int32(53)), Proto: "udp",
	}
	first, second := base, base
	first.TS, second.TS = 1_700_000_000_123_456, 1_700_000_002_000_000
	first.TransID, first.RTT = new(int64(77)), new(0.0015)
	first.Query = new(`a\xffb\x00.example`)
	first.AA, first.TC = new(true), new(false)
	first.Answers = []string{"192.0.2.1", `x\x5cx41é`}
	first.TTLs = []float64{60, 0.25}
	second.Answers, second.Query = []string{}, new("")
	want := []dnsRow{first, second}
	if diff := cmp.Diff(want, readRows[dnsRow](t, l, "dns")); diff != "" {
		t.Errorf("dns (-want +got):\n%s", diff)
	}
	m := manifest(t, l)
	if diff := cmp.Diff(map[string]int64{"dns": 2, "http": 1}, m.Imports[0].Intel); diff != "" {
		t.Errorf("intel counts (-want +got):\n%s", diff)
	}
	if m.Imports[0].First != first.TS || m.Imports[0].Last != second.TS {
		t.Errorf("times %d-%d, want %d-%d", m.Imports[0].First, m.Imports[0].Last, first.TS, second.TS)
	}
}
