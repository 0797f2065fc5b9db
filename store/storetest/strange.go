// SPDX-License-Identifier: Apache-2.0

package storetest

import (
	"math"
	"strings"

	"weir/internal/filter"
	"weir/internal/flow"
)

// Strange returns data of which each record is at the edge of something.
func Strange() *Data {
	d := new(Data)
	add := func(src, dst string, proto uint8, sport, dport uint16) *Conn {
		c := Conn{Sensor: "a"}
		c.UID = flow.Mix(uint64(len(d.Conns)) + 1<<32)
		c.Src, c.Dst, c.Proto, c.Sport, c.Dport = addr(src), addr(dst), proto, sport, dport
		c.Count, c.End, c.First, c.Last = 1, flow.EndDetected, exampleStart, exampleStart+1e9
		d.Conns = append(d.Conns, c)
		return &d.Conns[len(d.Conns)-1]
	}
	learn := func(c *Conn, in filter.Intel) {
		d.Intel = append(d.Intel, Record{Tuple: c.Tuple, TS: c.First, Sensor: c.Sensor, Intel: in})
	}

	// Each address is a client and a server.
	pool := append(addrPool(), "9.255.255.255", "10.0.0.0", "10.0.0.10", "10.255.255.255", "11.0.0.0", "127.0.0.1", "224.0.0.1",
		"::ffff", "::1.2.3.4", "64:ff9b::a00:1", "2001:db8::", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff", "2001:db9::", "fe80::", "ff02::1",
		"ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff")
	for i, text := range pool {
		add(text, pool[(i*5+3)%len(pool)], flow.TCP, 1000, 443)
	}
	// Numbers at the ends of their range; protocols with and without names and ports.
	for _, port := range []uint16{0, 1, 1023, 1024, 32767, 32768, 65535} {
		add("10.0.0.1", "10.0.0.2", flow.UDP, 65535-port, port)
	}
	for _, proto := range []uint8{0, flow.IGMP, flow.IPIP, flow.GRE, flow.AH, 99, 132, 255} {
		add("10.0.0.1", "10.0.0.2", proto, 0, 0)
	}
	add("10.0.0.1", "10.0.0.2", 132, 7, 9)
	add("10.0.0.1", "10.0.0.2", 132, 7, 0)
	for _, typ := range []uint16{0, 8, 255} {
		add("10.0.0.1", "10.0.0.2", flow.ICMP, typ, 0).Code = 255
		add("fe80::1", "ff02::1", flow.ICMPv6, typ, 0).Code = uint8(typ)
	}
	// Counters that do not fit: each record, and the sum.
	for range 3 {
		c := add("10.0.0.1", "10.0.0.3", flow.TCP, 1, 1)
		c.CSBytes, c.SCBytes, c.CSPkts, c.Count = math.MaxUint64, math.MaxInt64, math.MaxInt64/2, 1<<40
	}
	add("10.0.0.1", "10.0.0.3", flow.TCP, 1, 2).CSBytes = math.MaxInt64 - 1
	// Times: one moment, before 1970, far ahead, many slots, the ends of one slot.
	for i, at := range [][2]flow.Time{
		{0, 0},
		{-1, 1},
		{-3600e9, -1},
		{exampleStart - 1000, exampleStart},
		{exampleStart, exampleStart + 3600e9 - 1},
		{exampleStart, exampleStart + 3600e9},
		{exampleStart, exampleStart + 10*24*3600e9},
		{4102444800e9, 4102444800e9 + 1001},
	} {
		c := add("10.0.0.4", "10.0.0.5", flow.TCP, 1, uint16(i))
		c.First, c.Last = at[0], at[1]
	}
	// One flow with all states, many ports, VLANs, services and sensors.
	for i := range 600 {
		c := add("10.0.0.6", "10.0.0.7", flow.TCP, uint16(i*109), 80)
		c.State, c.VLAN = flow.State(i%14), uint16(i%3*2047)
		c.Service = []string{"", "http", "http,ssl", "ssl,http", "dns"}[i%5]
		c.Sensor = []string{"a", "b", "ein Gerät", "x'y\"z", "$s"}[i%5]
	}
	// Interim records of a connection: its state is the last one, it counts once.
	for i, end := range []flow.EndReason{flow.EndActive, flow.EndActive, flow.EndDetected} {
		c := add("10.0.0.8", "10.0.0.7", flow.TCP, 5000, 80)
		c.UID, c.End, c.State = 77, end, []flow.State{flow.S0, flow.S1, flow.SF}[i]
		c.First += flow.Time(i) * 3600e9
		c.Last = c.First + 1800e9
		c.Count = uint64(max(0, 1-i))
	}
	open := add("10.0.0.8", "10.0.0.7", flow.TCP, 5001, 81)
	open.End, open.State = flow.EndActive, flow.S1
	// Texts of services are those of importers.
	for i, text := range strangeTexts() {
		add("10.0.0.9", "10.0.0.7", flow.TCP, 1, uint16(i)).Service = strings.ReplaceAll(text, ",", ";")
	}

	// Intel: texts that are strange, empty or alike, lists that are empty.
	for i, text := range strangeTexts() {
		c := add("10.0.1.1", "10.0.1.2", flow.TCP, 1, uint16(i))
		learn(c, Known(flow.HTTP, map[int]any{flow.HTTPHost: text, flow.HTTPURI: text, flow.HTTPProxied: []string{text, "x", text}}))
		learn(c, Known(flow.DNS, map[int]any{flow.DNSQuery: text, flow.DNSAnswers: []string{text}}))
	}
	c := add("10.0.1.1", "10.0.1.3", flow.UDP, 1, 53)
	for _, in := range []filter.Intel{
		Known(flow.DNS, nil),
		Known(flow.DNS, map[int]any{flow.DNSQuery: ""}),
		Known(flow.DNS, map[int]any{flow.DNSAnswers: []string{}, flow.DNSTTLs: []int64{}}),
		Known(flow.DNS, map[int]any{flow.DNSAnswers: []string{""}, flow.DNSTTLs: []int64{0, 0, 249}}),
		Known(flow.DNS, map[int]any{flow.DNSQuery: "www.Example.COM", flow.DNSAA: 1, flow.DNSRTT: 1}),
		Known(flow.DNS, map[int]any{flow.DNSQuery: "WWW.example.com", flow.DNSAA: 0, flow.DNSRTT: math.MaxInt32}),
		Known(flow.DNS, map[int]any{flow.DNSQuery: "www.example.com", flow.DNSAnswers: []string{"B", "a", "b", "A"}}),
		Known(flow.DNS, map[int]any{flow.DNSQuery: "www.example.com", flow.DNSAnswers: []string{"B", "a", "b", "A"}}),
		Known(flow.DNS, map[int]any{flow.DNSTransID: 65535, flow.DNSZ: 7, flow.DNSQType: 0}),
		Known(flow.HTTP, map[int]any{flow.HTTPRequestBodyLen: 1 << 40, flow.HTTPProxied: []string{}}),
		Known(flow.SSL, map[int]any{flow.SSLServerName: strings.Repeat("long.", 800), flow.SSLResumed: 1}),
		Known(flow.HTTP, map[int]any{flow.HTTPURI: "/" + strings.Repeat("long/", 10_000)}),
	} {
		learn(c, in)
	}
	// Intel of a flow that no connection tells of, and of a protocol without ports.
	lone := *c
	lone.Dst = addr("10.99.99.99")
	// Intel about hosts, one of which has no flow, in several spellings.
	for _, in := range []filter.Intel{
		Known(flow.DNS, map[int]any{flow.DNSQuery: "many", flow.DNSTransID: 1, flow.DNSAnswers: []string{"10.0.0.1", "2001:DB8:0::1", "1.2.3.4", "1.2.3.4"}}),
		Known(flow.DNS, map[int]any{flow.DNSQuery: "many", flow.DNSTransID: 2, flow.DNSAnswers: []string{"10.0.0.1", "2001:DB8:0::1", "1.2.3.4", "1.2.3.4"}}),
		Known(flow.DNS, map[int]any{flow.DNSQuery: "1.0.0.10.In-Addr.ARPA", flow.DNSQTypeName: "PTR", flow.DNSAnswers: []string{"fe80::1%eth0", "010.0.0.1", "x"}}),
		Known(flow.DNS, map[int]any{flow.DNSQuery: "1.0.0.10.in-addr.arpa", flow.DNSQTypeName: "A", flow.DNSAnswers: []string{"::ffff:1.2.3.4"}}),
	} {
		learn(c, in)
		d.Intel[len(d.Intel)-1].Tuple.Dst = lone.Dst
		learn(c, in)
	}
	learn(&lone, Known(flow.DNS, map[int]any{flow.DNSQuery: "alone"}))
	// It is all that is known of its time.
	d.Intel[len(d.Intel)-1].TS = 4102444800e9 + 24*3600e9
	learn(add("10.0.1.1", "10.0.1.3", flow.GRE, 0, 0), Known(flow.SSL, map[int]any{flow.SSLVersion: "x"}))
	return d
}

// strangeTexts returns texts that have been trouble somewhere.
func strangeTexts() []string {
	return []string{
		"a", "A", " ", "\t", "a\nb", "\r\n", "a\x00b", "\xff\xfe", `\x41`, `\`, `\\`, "'", `"`, "''", "`", "$1", "$p0", "{a}", "?", "%s", "--", "/*",
		"\u202eevil", "\ufeff", "é", "e\u0301", "ß", "ẞ", "İ", "ı", "ſ", "K", "Σ", "ς", "σ", "\U0001f600", "日本", "null", "NULL", "true", "0",
		"x' OR '1'='1", "(p)", "[a]", ".*", "a,b", "*.example.com",
		"\ud7ff", "\ue000", "\uffff", "\U0010ffff",
	}
}
