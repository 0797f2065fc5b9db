// SPDX-License-Identifier: Apache-2.0

package storetest

import (
	"weir/internal/filter"
	"weir/internal/flow"
)

// Example is a flow of the data set of which docs/filters.md shows what filters
// select.
type Example struct {
	Name  string
	Conns []Conn
	Intel []Record
}

// exampleStart is ten o'clock on the first of January 2020, UTC.
const exampleStart = flow.Time(1577872800) * 1e9

// exampleConn is a connection of an example. Times are in seconds after
// exampleStart.
type exampleConn struct {
	sport            uint16
	code             uint8
	vlan             uint16
	first, last      int64
	cspkts, scpkts   uint64
	csbytes, scbytes uint64
	state            flow.State
	service, sensor  string
}

// Known makes a record of a kind: a text, an int, or a list of texts or numbers
// for each attribute that it has.
func Known(kind flow.Kind, values map[int]any) filter.Intel {
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

// example makes a flow; proto is the number of the protocol, port that of the
// server or the ICMP type.
func example(name, src, dst string, proto uint8, port uint16, conns []exampleConn, intel ...filter.Intel) Example {
	out := Example{Name: name}
	for i := range conns {
		x := &conns[i]
		c := Conn{Sensor: x.sensor}
		c.UID = flow.Mix(uint64(len(name))<<32 ^ uint64(port)<<16 ^ uint64(i) ^ uint64(name[0])<<8)
		c.Src, c.Dst, c.Proto, c.Sport, c.Dport, c.Code = addr(src), addr(dst), proto, x.sport, port, x.code
		if flow.IsICMP(proto) {
			c.Sport, c.Dport = port, uint16(x.code)
		}
		c.Count, c.End, c.State, c.Service, c.VLAN = 1, flow.EndDetected, x.state, x.service, x.vlan
		c.CSPkts, c.SCPkts, c.CSBytes, c.SCBytes = x.cspkts, x.scpkts, x.csbytes, x.scbytes
		c.First, c.Last = exampleStart+flow.Time(x.first)*1e9, exampleStart+flow.Time(x.last)*1e9
		out.Conns = append(out.Conns, c)
	}
	for _, in := range intel {
		c := &out.Conns[0]
		out.Intel = append(out.Intel, Record{Tuple: c.Tuple, TS: c.First, Sensor: c.Sensor, Intel: in})
	}
	return out
}

// Examples returns the data set of the documentation.
func Examples() []Example {
	return []Example{
		example("web", "10.0.0.1", "10.0.0.2", flow.TCP, 80, []exampleConn{
			{40001, 0, 0, 0, 5, 5, 12, 500, 12000, flow.SF, "http", "edge"},
			{40002, 0, 0, 3600, 3620, 5, 11, 500, 11000, flow.SF, "http", "edge"},
			{40003, 0, 0, 5400, 5400, 2, 2, 200, 2000, flow.RSTO, "", "core"},
		}, Known(flow.HTTP, map[int]any{
			flow.HTTPMethod: "GET", flow.HTTPHost: "www.google.fr", flow.HTTPURI: "/x", flow.HTTPStatusCode: 200,
			flow.HTTPUserAgent: "Mozilla/5.0 (X11; Linux)", flow.HTTPRequestBodyLen: 0, flow.HTTPResponseBodyLen: 11000,
		}),
			Known(flow.HTTP, map[int]any{
				flow.HTTPMethod: "POST", flow.HTTPHost: "ORACLE.example.com", flow.HTTPURI: "/a?b=c", flow.HTTPStatusCode: 404,
				flow.HTTPRequestBodyLen: 50, flow.HTTPResponseBodyLen: 20, flow.HTTPUsername: "joe",
			})),
		example("tls", "10.0.0.1", "10.0.1.5", flow.TCP, 443, []exampleConn{
			{1000, 0, 100, 60, 61, 4, 4, 400, 400, flow.SF, "ssl", "edge"},
			{40001, 0, 200, 70, 71, 5, 5, 500, 500, flow.SF, "http,ssl", "edge"},
		}, Known(flow.SSL, map[int]any{
			flow.SSLVersion: "TLSv12", flow.SSLServerName: "www.example.com", flow.SSLEstablished: 1,
		})),
		example("dns", "10.0.0.3", "192.168.1.1", flow.UDP, 53, []exampleConn{
			{5353, 0, 0, 5, 6, 2, 2, 120, 240, flow.SF, "dns", "core"},
		}, Known(flow.DNS, map[int]any{
			flow.DNSQuery: "www.google.com", flow.DNSQType: 1, flow.DNSQTypeName: "A", flow.DNSRcode: 0,
			flow.DNSRcodeName: "NOERROR", flow.DNSAnswers: []string{"1.2.3.4", "1.2.3.5"},
			flow.DNSTTLs: []int64{60e6, 60e6}, flow.DNSRTT: 20_000,
		}),
			Known(flow.DNS, map[int]any{
				flow.DNSQuery: "x.evil", flow.DNSQType: 1, flow.DNSQTypeName: "A", flow.DNSRcode: 3,
				flow.DNSRcodeName: "NXDOMAIN", flow.DNSRTT: 1_500_000,
			})),
		example("dns6", "2001:db8::1", "2001:db8::53", flow.UDP, 53, []exampleConn{
			{40001, 0, 0, 30, 30, 1, 1, 80, 160, flow.SF, "dns", "core"},
		}, Known(flow.DNS, map[int]any{
			flow.DNSQuery: "www.example.com", flow.DNSQType: 28, flow.DNSQTypeName: "AAAA", flow.DNSRcode: 0,
			flow.DNSRcodeName: "NOERROR", flow.DNSAnswers: []string{"cdn.example.com", "2001:db8::80"},
			flow.DNSTTLs: []int64{60e6, 3600e6},
		})),
		example("unreach", "192.168.1.1", "10.0.0.3", flow.ICMP, 3, []exampleConn{
			{0, 1, 0, 10, 11, 2, 0, 112, 0, flow.OTH, "", "core"},
		}),
		example("ssh", "192.168.1.7", "192.168.1.1", flow.TCP, 22, []exampleConn{
			{51000, 0, 0, 20, 20, 2, 0, 120, 0, flow.S0, "", "edge"},
		}),
		example("odd", "192.168.1.7", "172.16.0.9", flow.TCP, 31337, []exampleConn{
			{31337, 0, 0, 7200, 7500, 900, 700, 5_000_000, 40_000, flow.S1, "", "edge"},
		}),
		example("esp", "10.0.0.2", "10.0.0.2", flow.ESP, 0, []exampleConn{
			{0, 0, 0, 40, 100, 10, 10, 1000, 1000, flow.StateNone, "", "edge"},
		}),
	}
}

// Fixed returns the data set of the documentation as a store is filled with it.
func Fixed() *Data {
	d := new(Data)
	for _, x := range Examples() {
		d.Conns, d.Intel = append(d.Conns, x.Conns...), append(d.Intel, x.Intel...)
	}
	return d
}
