// SPDX-License-Identifier: Apache-2.0

package filter_test

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"

	"weir/internal/filter"
	"weir/internal/flow"
)

func addr(text string) flow.Addr { return flow.AddrFrom(netip.MustParseAddr(text)) }

// seen returns a time of the first of January 2020, in seconds after 10:00 UTC.
func seen(seconds int64) flow.Time { return flow.Time((1577872800 + seconds) * 1e9) }

// intelBatch returns records as the sensor makes them: two DNS exchanges, and an
// HTTP request.
func intelBatch() *flow.IntelBatch {
	b := flow.NewIntelBatch()
	tuple := &flow.Tuple{}
	b.Begin(flow.DNS, tuple, seen(0))
	b.SetString(flow.DNSQuery, "www.example.com")
	b.SetString(flow.DNSQTypeName, "A")
	b.SetInt(flow.DNSQType, 1)
	b.SetString(flow.DNSRcodeName, "NOERROR")
	b.SetInt(flow.DNSRcode, 0)
	b.SetBool(flow.DNSAA, false)
	b.SetInt(flow.DNSRTT, 20000)
	b.AppendText(flow.DNSAnswers, []byte("1.2.3.4"))
	b.AppendText(flow.DNSAnswers, []byte("1.2.3.5"))
	b.AppendInt(flow.DNSTTLs, 60e6)
	b.AppendInt(flow.DNSTTLs, 60e6)
	b.Begin(flow.DNS, tuple, seen(1))
	b.SetString(flow.DNSQuery, "x.evil")
	b.SetString(flow.DNSQTypeName, "AAAA")
	b.SetInt(flow.DNSQType, 28)
	b.SetString(flow.DNSRcodeName, "NXDOMAIN")
	b.SetInt(flow.DNSRcode, 3)
	b.SetEmpty(flow.DNSAnswers)
	b.Begin(flow.HTTP, tuple, seen(2))
	b.SetString(flow.HTTPHost, "ORACLE.example.com")
	b.SetString(flow.HTTPMethod, "GET")
	b.SetString(flow.HTTPUserAgent, "Mozilla/5.0 (X11; Linux)")
	b.SetInt(flow.HTTPRequestBodyLen, 0)
	b.SetInt(flow.HTTPResponseBodyLen, 1000)
	return b
}

// samples returns hand-made flows: web has ports and everything else but intel,
// dns has the intel of intelBatch, ping has no ports, bare has nothing but its
// key.
func samples() map[string]*filter.Flow {
	dns := &filter.Flow{
		Src: addr("10.0.0.1"), Dst: addr("2001:db8::53"), Proto: "udp", Dport: new(uint16(53)),
		Sports: []uint16{40001}, Count: 1, FirstSeen: seen(5), LastSeen: seen(5),
	}
	b := intelBatch()
	for i := range b.Len() {
		dns.Intel = append(dns.Intel, filter.IntelOf(b, i))
	}
	return map[string]*filter.Flow{
		"web": {
			Src: addr("10.0.0.1"), Dst: addr("10.0.0.2"), Proto: "tcp", Dport: new(uint16(80)),
			Sports: []uint16{1000, 40001, 40001, 40002}, Count: 4, CSPkts: 40, SCPkts: 50, CSBytes: 4000,
			SCBytes: 900000, FirstSeen: seen(0), LastSeen: seen(3600),
			Times:     []filter.Slot{{Start: seen(0), Width: 3600e6}, {Start: seen(3600), Width: 3600e6}},
			ConnState: []string{"SF", "S0"}, Service: []string{"http", "http,ssl"}, VLAN: []uint16{100},
			Sensor: []string{"a"},
		},
		"dns": dns,
		"ping": {
			Src: addr("192.168.1.1"), Dst: addr("::1"), Proto: "icmp", Type: new(uint16(8)), Codes: []uint16{0},
			Count: 2, CSBytes: 100, SCBytes: 100, FirstSeen: seen(10), LastSeen: seen(11),
		},
		"bare": {Src: addr("10.0.1.1"), Dst: addr("10.0.1.1"), Proto: "esp"},
	}
}

func TestMatch(t *testing.T) {
	const all = "bare dns ping web"
	for _, tc := range []struct{ in, want string }{
		// A comparison on a missing attribute is false, != included; ! is not.
		{"dport", "dns web"},
		{"!dport", "bare ping"},
		{"dport != 80", "dns"},
		{"!dport = 80", "bare dns ping"},
		{"!dport <= 79", "bare ping web"},
		{"dport > 79", "web"},
		{"dport !~ 8.", "dns"},
		{"!dport =~ 8.", "bare dns ping"},
		{"type != 9", "ping"},
		{"!vlan = 100", "bare dns ping"},
		{"NOT (dport = 80 OR type)", "bare dns"},
		// ! takes one clause.
		{"!dport = 80 AND proto = udp", "dns"},
		{"-proto = udp AND dport", "web"},
		// AND binds closer than OR.
		{"type OR dport = 80 AND proto = udp", "ping"},
		{"(type OR dport = 80) AND proto = tcp", "web"},
		// A bare addr is either end; != and !~ mean neither.
		{"addr", all},
		{"addr = 10.0.0.2", "web"},
		{"addr = 10.0.0.1", "dns web"},
		{"addr != 10.0.0.1", "bare ping"},
		{"!addr = 10.0.0.1", "bare ping"},
		{"ANY addr != 10.0.0.1", all},
		{"ALL addr = 10.0.1.1", "bare"},
		{"LEN addr = 1", "bare"},
		{"ONE addr = 10.0.0.0/24", "dns"},
		{"ONE addr = 10.0.0.0/8", "bare dns"},
		{"addr !~ 10\\..*", "ping"},
		{"src.addr = 10.0.0.1", "dns web"},
		{"src.addr != 10.0.0.1", "bare ping"},
		// Networks, also with =~; patterns match the canonical text.
		{"dst.addr = 10.0.0.0/8", "bare web"},
		{"dst.addr =~ 10.0.0.0/8", "bare web"},
		{"dst.addr != 10.0.0.0/8", "dns ping"},
		{"addr = 0.0.0.0/0", all},
		{"addr = ::/0", "dns ping"},
		{"addr = 2001:db8::/32", "dns"},
		{`dst.addr =~ 10\.0\..*`, "bare web"},
		{"dst.addr =~ 10", ""},
		{"addr =~ 2001:db8::53", "dns"},
		{"dst.addr IN (10.0.0.0/24, ::1)", "ping web"},
		// IPv4 comes before IPv6.
		{"dst.addr > 10.0.0.2", "bare dns ping"},
		{"dst.addr >= ::", "dns ping"},
		{"dst.addr < ::1", "bare web"},
		{"dst.addr <= 10.0.0.2", "web"},
		{"dst.addr > ::1", "dns"},
		{"src.addr < dst.addr", "dns ping web"},
		{"src.addr = dst.addr", "bare"},
		// proto folds case; its numbers are names.
		{"proto = TCP", "web"},
		{"proto = 50", "bare"},
		{"proto =~ (?i)T.P", "web"},
		{"proto =~ T", ""},
		// Patterns match the whole text of a value, numbers as decimal text.
		{"dport =~ 8.", "web"},
		{"dport =~ 8", ""},
		{"dport =~ ^5.$", "dns"},
		{"csbytes =~ 4.*", "web"},
		// Sets.
		{"sports", "dns web"},
		{"sports < 1024", "web"},
		{"ANY sports < 1024", "web"},
		{"!sports < 1024", "bare dns ping"},
		{"sports != 40001", "web"},
		{"!sports = 40001", "bare ping"},
		{"ALL sports > 40000", "dns"},
		{"!ALL sports > 40000", "bare ping web"},
		{"ALL sports = 40001", "dns"},
		{"NONE sports = 1000", "bare dns ping"},
		{"ONE sports = 40001", "dns web"},
		{"ONE sports > 40000", "dns"},
		{"ONE sports", "dns"},
		{"LEN sports = 1", "dns"},
		{"LEN sports = 3", "web"},
		{"LEN sports != 1", "bare ping web"},
		{"LEN sports < 1", "bare ping"},
		{"LEN sports IN (0, 3)", "bare ping web"},
		{"sports IN (1000, 2000)", "web"},
		{"codes = 0", "ping"},
		{"conn_state = S0", "web"},
		{"service = ssl", "web"},
		{"LEN service = 2", "web"},
		{"service =~ s.*", "web"},
		{"vlan = 100 AND sensor = a", "web"},
		// A scalar is a set of none or one.
		{"LEN dport = 1", "dns web"},
		{"LEN dport = 0", "bare ping"},
		{"ALL dport = 80", "web"},
		{"NONE dport = 80", "bare dns ping"},
		{"ONE dport", "dns web"},
		{"LEN times = 2", "web"},
		{"LEN times.duration = 1", "web"},
		{"times.duration = 1h", "web"},
		{"times.start = 2020-01-01T11:00:00Z", "web"},
		{"ALL times < 2020-01-01T11:00:00Z", ""},
		// The value may be another attribute.
		{"csbytes < scbytes", "web"},
		{"csbytes = scbytes", "bare dns ping"},
		{"csbytes > dport", "web"},
		{"sports > dport", "dns web"},
		{"ALL sports > dport", "dns web"},
		{"firstseen = lastseen", "bare dns"},
		{"dport > sports", ""},
		{"dport != sports", "dns web"},
		// Times and durations.
		{"firstseen >= 2020-01-01 10:00:05", "dns ping"},
		{"firstseen = 1577872805", "dns"},
		{"firstseen > -2h", "dns ping"},
		{"duration >= 1h", "web"},
		{"duration = 1", "ping"},
		{"count > 1 AND csbytes < 1k", "ping"},
		// Intel.
		{"#Host", all},
		{"!#Flow", ""},
		{"#DNS", "dns"},
		{"!#HTTP", "bare ping web"},
		{"#SSL OR #ARP", ""},
		{"meta.dns", "dns"},
		{"meta.ssl", ""},
		{"meta.arp.op", ""},
		{"meta.dns.count = 2", "dns"},
		{"meta.dns.count", "dns"},
		{"meta.ssl.count = 0", ""},
		{"!meta.ssl.count > 0", all},
		{"LEN meta.count = 2", "dns"},
		{"meta.dns.query = WWW.Example.com", "dns"},
		{"meta.dns.query =~ WWW.*", "dns"},
		{"meta.dns.query = example.com", ""},
		{"meta.query =~ .*evil", "dns"},
		{"meta.http.host = oracle.EXAMPLE.com", "dns"},
		{"meta.http.method = get", ""},
		{"meta.http.user_agent = Mozilla/5.0 (X11; Linux)", "dns"},
		{"meta.http.request_body_len", "dns"},
		{"meta.http.request_body_len = 0", "dns"},
		{"meta.http.status_code != 200", ""},
		{"ALL meta.dns.query =~ .*com", ""},
		{"ALL meta.dns.query =~ .*", "dns"},
		{"NONE meta.dns.query = y", all},
		{"ONE meta.dns.rcode = NXDOMAIN", "dns"},
		{"meta.dns.rcode = 3", "dns"},
		{"meta.dns.qtype = AAAA", "dns"},
		{"meta.dns.aa = false", "dns"},
		{"meta.dns.aa != false", ""},
		{"meta.dns.rtt < 1s", "dns"},
		{"meta.dns.answers = 1.2.3.5", "dns"},
		{"LEN meta.dns.answers = 2", "dns"},
		{"meta.dns.ttls = 1m", "dns"},
		{"LEN meta.dns.ttls = 1", "dns"},
		// Clauses are independent; a block asks for one record.
		{"meta.dns.query =~ .*com AND meta.dns.rcode = NXDOMAIN", "dns"},
		{"meta.dns(query =~ .*com AND rcode = NXDOMAIN)", ""},
		{`meta.dns(query =~ .*\.evil AND rcode = NXDOMAIN)`, "dns"},
		{"meta.dns(!answers)", "dns"},
		{"!meta.dns(answers)", "bare ping web"},
		{"meta.dns(LEN answers > 1 AND query = x.evil)", ""},
		{"meta.dns(aa != true)", "dns"},
		{"meta.dns(NONE aa)", "dns"},
		{"meta.http(request_body_len < response_body_len)", "dns"},
		{"meta.http(host = host)", "dns"},
	} {
		e, err := filter.Parse(tc.in, options())
		if err != nil {
			t.Errorf("Parse(%q) = %v", tc.in, err)
			continue
		}
		got := ""
		for _, key := range matching(samples(), e) {
			if got != "" {
				got += " "
			}
			got += key
		}
		if got != tc.want {
			t.Errorf("%q selects %q, want %q", tc.in, got, tc.want)
		}
	}
}

func TestIntelOf(t *testing.T) {
	b := intelBatch()
	got := filter.IntelOf(b, 0)
	if got.Kind != flow.DNS || len(got.Values) != len(flow.Kinds()[flow.DNS].Attrs) {
		t.Fatalf("IntelOf = kind %d with %d values", got.Kind, len(got.Values))
	}
	for attr, want := range map[int]filter.Value{
		flow.DNSQuery:   {Set: true, Text: "www.example.com"},
		flow.DNSQType:   {Set: true, Int: 1},
		flow.DNSAA:      {Set: true},
		flow.DNSTC:      {},
		flow.DNSAnswers: {Set: true, Texts: []string{"1.2.3.4", "1.2.3.5"}},
		flow.DNSTTLs:    {Set: true, Ints: []int64{60e6, 60e6}},
	} {
		if diff := cmp.Diff(want, got.Values[attr]); diff != "" {
			t.Errorf("IntelOf value %d (-want +got):\n%s", attr, diff)
		}
	}
}

func BenchmarkParse(b *testing.B) {
	const text = `addr = 10.0.0.0/8 AND (dport IN (80, 443) OR meta.http(host =~ .*\.example\.com AND status_code >= 400))`
	b.ReportAllocs()
	for b.Loop() {
		if _, err := filter.Parse(text, options()); err != nil {
			b.Fatal(err)
		}
	}
}
