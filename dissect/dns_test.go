// SPDX-License-Identifier: Apache-2.0

package dissect

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"
	"time"
	"unsafe"

	"github.com/google/go-cmp/cmp"
	mdns "github.com/miekg/dns"

	"weir/internal/flow"
)

func sizeOf(a App) uintptr { return unsafe.Sizeof(a) }

func packDNS(m *mdns.Msg) []byte {
	b, err := m.Pack()
	if err != nil {
		panic(err)
	}
	return b
}

func dnsQuery(id uint16, name string, qtype uint16) []byte {
	m := new(mdns.Msg)
	m.SetQuestion(mdns.Fqdn(name), qtype)
	m.Id = id
	return packDNS(m)
}

// dnsReply answers with records in zone file form.
func dnsReplyTo(id uint16, name string, qtype uint16, records ...string) []byte {
	m := new(mdns.Msg)
	m.SetQuestion(mdns.Fqdn(name), qtype)
	m.Id, m.Response, m.Compress, m.RecursionAvailable = id, true, true, true
	for _, text := range records {
		rr, err := mdns.NewRR(text)
		if err != nil {
			panic(err)
		}
		m.Answer = append(m.Answer, rr)
	}
	return packDNS(m)
}

func dnsAnswer(id uint16, name string) []byte {
	return dnsReplyTo(id, name, 1, name+". 60 IN A 192.0.2.1")
}

var dnsFields = []string{
	"trans_id", "rtt", "query", "qclass_name", "qtype_name", "rcode_name", "AA", "TC", "RD", "RA", "Z",
	"answers", "TTLs", "rejected", "opcode_name",
}

func TestDNSRecords(t *testing.T) {
	reply := func(edit func(m *mdns.Msg)) string {
		m := new(mdns.Msg)
		m.SetQuestion("Example.COM.", mdns.TypeA)
		m.Id, m.Response = 5, true
		edit(m)
		return string(packDNS(m))
	}
	query := client(string(dnsQuery(5, "Example.COM", mdns.TypeA)))
	tests := []struct {
		name  string
		port  uint16
		steps []step
		want  []string
	}{
		{
			"answer", 53,
			[]step{query, server(string(dnsReplyTo(5, "Example.COM", 1, "Example.com. 300 IN A 192.0.2.9")))},
			[]string{"5 0.001000 example.com C_INTERNET A NOERROR F F T T 0 192.0.2.9 300.000000 F query"},
		},
		{
			"NXDOMAIN with nothing", 53,
			[]step{query, server(reply(func(m *mdns.Msg) { m.Rcode = mdns.RcodeNameError }))},
			[]string{"5 - example.com C_INTERNET A NXDOMAIN F F T F 0 - - T query"},
		},
		{
			"NXDOMAIN with EDNS", 53,
			[]step{query, server(reply(func(m *mdns.Msg) {
				m.Rcode = mdns.RcodeNameError
				m.SetEdns0(1232, false)
			}))},
			[]string{"5 - example.com C_INTERNET A NXDOMAIN F F T F 0 - - F query"},
		},
		{
			"refused without question", 53,
			[]step{query, server(reply(func(m *mdns.Msg) {
				m.Rcode = mdns.RcodeRefused
				m.Question = nil
			}))},
			[]string{"5 - example.com C_INTERNET A REFUSED F F T F 0 - - T query"},
		},
		{"query only", 53, []step{query}, []string{"5 - example.com C_INTERNET A - F F T F 0 - - F query"}},
		{
			"reply only", 53,
			[]step{server(string(dnsAnswer(5, "Example.com")))},
			[]string{"5 - example.com - - NOERROR F F F T 0 192.0.2.1 60.000000 F query"},
		},
		{
			"reply before query", 53,
			[]step{server(string(dnsAnswer(5, "Example.com"))), query},
			[]string{"5 - example.com C_INTERNET A NOERROR F F T T 0 192.0.2.1 60.000000 F query"},
		},
		{
			"first in first out", 53,
			[]step{
				client(string(dnsQuery(9, "one.example", 1))), client(string(dnsQuery(9, "two.example", 28))),
				server(string(dnsReplyTo(9, "x.example", 1))), server(string(dnsAnswer(9, "y.example"))),
			},
			[]string{
				"9 - one.example C_INTERNET A NOERROR F F T F 0 - - T query",
				"9 0.002000 two.example C_INTERNET AAAA NOERROR F F T T 0 192.0.2.1 60.000000 F query",
			},
		},
		{
			"other operations", 53,
			[]step{
				client(reply(func(m *mdns.Msg) { m.Response, m.Opcode = false, mdns.OpcodeStatus })),
				client(reply(func(m *mdns.Msg) { m.Response, m.Opcode = false, mdns.OpcodeNotify })),
				client(reply(func(m *mdns.Msg) { m.Response, m.Opcode = false, mdns.OpcodeUpdate })),
			},
			[]string{
				"5 - example.com C_INTERNET A - F F T F 0 - - F notify",
				"5 - - - - - F F F F 0 - - F dynamic-update",
			},
		},
		{
			"numbers without names", 53,
			[]step{client(reply(func(m *mdns.Msg) {
				m.Response = false
				m.Question[0].Qtype, m.Question[0].Qclass = 4242, 77
				m.AuthenticatedData, m.CheckingDisabled = true, true
			}))},
			[]string{"5 - example.com qclass-77 query-4242 - F F T F 3 - - F query"},
		},
		{
			"root", 53,
			[]step{client(string(dnsQuery(1, ".", 2)))},
			[]string{"1 - (empty) C_INTERNET NS - F F T F 0 - - F query"},
		},
		{
			"NetBIOS", 137,
			[]step{client("\x12\x34\x01\x10\x00\x01\x00\x00\x00\x00\x00\x00\x20" +
				"FHEPFCELEHFCEPFFFACACACACACACABL\x00\x00\x20\x00\x01")},
			[]string{"4660 - WORKGROUP C_INTERNET NIMLOC - F F T F 1 - - F netbios-query"},
		},
		{
			"NetBIOS status", 137,
			[]step{client("\x12\x34\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x20" +
				"CKAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\x00\x00\x21\x00\x01")},
			[]string{"4660 - * C_INTERNET NBSTAT - F F F F 0 - - F netbios-query"},
		},
		{
			"truncated answer", 53,
			[]step{query, server(string(dnsReplyTo(5, "Example.com", 1, "Example.com. 3 IN A 192.0.2.1",
				"Example.com. 3 IN A 192.0.2.2")[:60]))},
			[]string{"5 0.001000 example.com C_INTERNET A NOERROR F F T T 0 192.0.2.1 3.000000 F query"},
		},
		{"too short", 53, []step{client("\x00\x05\x01\x00\x00\x01")}, nil},
		{
			"too many questions", 53,
			[]step{client("\x00\x05\x01\x00\x00\x1a" + strings.Repeat("\x00", 200))},
			[]string{"5 - - - - - F F F F 0 - - F query"},
		},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			rows, _ := conversation(t, Config{}, testTuple(flow.UDP, tc.port), flow.DNS, tc.steps, whole)
			if diff := cmp.Diff(tc.want, pick(rows, dnsFields...), cmp.Transformer("nil", notNil)); diff != "" {
				t.Errorf("rows differ (-want +got):\n%s", diff)
			}
			var framed []step
			for _, st := range tc.steps {
				st.data = string([]byte{byte(len(st.data) >> 8), byte(len(st.data))}) + st.data
				framed = append(framed, st)
			}
			if tc.port == 53 {
				checkSplits(t, testTuple(flow.TCP, 53), flow.DNS, framed)
			}
		})
	}
}

func notNil(s []string) []string { return append([]string{}, s...) }

func TestDNSAnswers(t *testing.T) {
	tests := []struct {
		record string
		want   string
	}{
		{"x. 1 IN A 192.0.2.255", "192.0.2.255"},
		{"x. 1 IN AAAA 2001:db8::1", "2001:db8::1"},
		{"x. 1 IN AAAA ::ffff:192.0.2.1", "192.0.2.1"},
		{"x. 1 IN NS NS1.Example.", "ns1.example"},
		{"x. 1 IN CNAME a.b.c.", "a.b.c"},
		{"x. 1 IN PTR host.", "host"},
		{"x. 1 IN MX 10 mail.x.", "mail.x"},
		{"x. 1 IN SRV 1 2 80 srv.x.", "srv.x"},
		{"x. 1 IN SOA m.x. r.x. 1 2 3 4 5", "m.x"},
		{`x. 1 IN TXT "ab" "" "c d"`, "TXT 2 ab TXT 0  TXT 3 c d"},
		{`x. 1 IN SPF "v=spf1"`, "SPF 6 v=spf1"},
		{`x. 1 IN NAPTR 1 2 "s" "SIP+D2U" "" r.x.`, "NAPTR 1 2 s SIP+D2U r.x"},
		{`x. 1 IN NAPTR 1 2 "u" "E2U" "!a!b!" .`, "NAPTR 1 2 u E2U !a!b!"},
		{`x. 1 IN NAPTR 1 2 "" "" "!a!" r.`, "NAPTR 1 2   !a! r"},
		{"x. 1 IN DS 1 8 2 aabb", "DS 8 2"},
		{"x. 1 IN DNSKEY 256 3 13 aaaa", "DNSKEY 13"},
		{"x. 1 IN RRSIG A 8 1 60 20300101000000 20200101000000 5 Signer. aaaa", "RRSIG 1 signer"},
		{"x. 1 IN RRSIG A 8 1 60 20300101000000 20200101000000 5 . aaaa", "RRSIG 1 <Root>"},
		{"x. 1 IN NSEC next.x. A RRSIG", "NSEC x next.x"},
		{"x. 1 IN NSEC3PARAM 1 0 1 aa", "NSEC3PARAM"},
		{"x. 1 IN SSHFP 1 1 0123456789abcdef0123456789abcdef01234567", "SSHFP: 0123456789abcdef0123456789abcdef01234567"},
		{"x. 1 IN LOC 52 22 23 N 4 53 32 E -2m 0m 10000m 10m", "LOC:  0 22 19"},
		{`x. 1 IN CAA 0 issue "ca"`, "-"},
		{"x. 1 IN HTTPS 1 . alpn=h2", "-"},
		{"x. 1 IN SVCB 1 . alpn=h2", "-"},
		{`x. 1 IN HINFO "a" "b"`, "-"},
		{"x. 1 IN TYPE65534 \\# 5 0801020301", "BIND9 signing signal"},
		{"x. 1 IN DNAME y.", "<unknown type=39>"},
		{"x. 1 IN TLSA 3 1 1 aabb", "<unknown type=52>"},
	}
	for _, tc := range tests {
		t.Run(tc.record, func(t *testing.T) {
			steps := []step{
				client(string(dnsQuery(1, "x", 255))), server(string(dnsReplyTo(1, "x", 255, tc.record))),
			}
			rows, _ := conversation(t, Config{}, testTuple(flow.UDP, 53), flow.DNS, steps, whole)
			if got := pick(rows, "answers"); len(got) != 1 || got[0] != strings.ReplaceAll(tc.want, ",", "\\x2c") {
				t.Errorf("answers of %q = %q, want %q", tc.record, got, tc.want)
			}
		})
	}
}

// record makes a resource record whose owner is the name at byte 12 of the message.
func record(typ, class uint16, ttl uint32, data string) string {
	b := binary.BigEndian.AppendUint16([]byte("\xc0\x0c"), typ)
	b = binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint16(b, class), ttl)
	b = append(binary.BigEndian.AppendUint16(b, uint16(len(data))), data...)
	return string(b)
}

// dnsParts makes a message about the name a.b from the records of its sections.
func dnsParts(flags uint16, qtype uint16, sections ...[]string) string {
	b := binary.BigEndian.AppendUint16([]byte("\x00\x05"), flags)
	b = binary.BigEndian.AppendUint16(b, 1)
	var text strings.Builder
	for i := range 3 {
		n := 0
		if i < len(sections) {
			n = len(sections[i])
			text.WriteString(strings.Join(sections[i], ""))
		}
		b = binary.BigEndian.AppendUint16(b, uint16(n))
	}
	b = binary.BigEndian.AppendUint16(append(b, "\x01a\x01b\x00"...), qtype)
	return string(append(b, "\x00\x01"...)) + text.String()
}

// TestDNSUpdate checks dynamic updates, of which Zeek shows what replies repeat.
func TestDNSUpdate(t *testing.T) {
	const anyClass, none, in = 255, 254, 1
	sections := [][]string{
		{
			record(5, none, 0, ""), record(255, anyClass, 0, ""), record(255, none, 0, ""), record(1, anyClass, 0, ""),
			record(1, in, 0, "\x01\x02\x03\x04"),
		},
		{
			record(28, anyClass, 0, ""), record(255, anyClass, 0, ""), record(16, none, 0, "\x01x"),
			record(1, in, 1200, "\xc0\x00\x02\x01"), record(28, in, 7, "\x20\x01"+strings.Repeat("\x00", 14)),
			record(5, in, 60, "\x01c\x00"), record(4242, anyClass, 0, ""),
		},
		{record(250, anyClass, 0, "xyz")},
	}
	steps := []step{client(dnsParts(5<<11, 6, sections...)), server(dnsParts(0x8005|5<<11, 6, sections...))}
	rows, service := conversation(t, Config{}, testTuple(flow.UDP, 53), flow.DNS, steps, whole)
	want := []string{"5 0.001000 a.b - - REFUSED F F F F 0 " + strings.Join([]string{
		"pre: NoRRSet CNAME a.b", "pre: NameInUse a.b", "pre: NameNotInUse a.b", "pre: RRSetExists A a.b",
		"pre: RRSetExists A a.b", "del: RRSet AAAA", "del: RRSet * a.b", "del: RR TXT a.b", "add: A a.b 192.0.2.1",
		"add: AAAA a.b 2001::", "add: c", "del: RRSet query-4242",
	}, ",") + " 0.000000,0.000000,0.000000,0.000000,0.000000,0.000000,0.000000,0.000000,1200.000000,7.000000,60.000000," +
		"0.000000 F dynamic-update"}
	if diff := cmp.Diff(want, pick(rows, dnsFields...)); diff != "" {
		t.Errorf("rows differ (-want +got):\n%s", diff)
	}
	if service != "dns" {
		t.Errorf("service = %q, want dns", service)
	}
	// One that is accepted without a word says nothing but that.
	steps = []step{client(dnsParts(5<<11, 6, sections...)), server(dnsParts(0x8000|5<<11, 6))}
	rows, _ = conversation(t, Config{}, testTuple(flow.UDP, 53), flow.DNS, steps, whole)
	want = []string{"5 - - - - NOERROR F F F F 0 - - F dynamic-update"}
	if diff := cmp.Diff(want, pick(rows, dnsFields...)); diff != "" {
		t.Errorf("rows differ (-want +got):\n%s", diff)
	}
}

// TestDNSLengths checks records whose lengths are not those of their data: Zeek goes
// on behind what it read.
func TestDNSLengths(t *testing.T) {
	const in = 1
	address := record(1, in, 9, "\x01\x02\x03\x04")
	longer := func(rr string, by int) string { // than its data
		b := []byte(rr)
		b[11] += byte(by)
		return string(b)
	}
	for _, tc := range []struct {
		name    string
		records []string
		want    string
	}{
		{"as they should be", []string{record(5, in, 8, "\x01c\x00"), address}, "c,1.2.3.4"},
		{"name, longer", []string{longer(record(5, in, 8, "\x01c\x00"), 3), address}, "c,1.2.3.4"},
		{"name, shorter", []string{longer(record(5, in, 8, "\x01c\x00"), -1), address}, "c,1.2.3.4"},
		{"mail exchange, longer", []string{longer(record(15, in, 8, "\x00\x01\x01c\x00"), 2), address}, "c,1.2.3.4"},
		{"service, longer", []string{longer(record(33, in, 8, "\x00\x01\x00\x01\x00\x01\x01c\x00"), 2), address}, "c,1.2.3.4"},
		{"start of authority, longer", []string{longer(record(6, in, 8, "\x01c\x00\x01d\x00"+strings.Repeat("z", 20)), 2), address}, "c,1.2.3.4"},
		{"IPv6 address, longer", []string{longer(record(28, in, 8, "\x20\x01"+strings.Repeat("\x00", 14)), 1), address}, "2001::,1.2.3.4"},
		{"IPv6 address, at the end", []string{address, record(28, in, 8, "\x20\x01\x0d\xb8\x01\x02")}, "1.2.3.4,2001:db8::"},
		{"IPv4 address, longer", []string{address, record(1, in, 8, "\x01\x02\x03\x04\x05"), address}, "1.2.3.4"},
		{"empty", []string{address, record(5, in, 8, ""), address}, "1.2.3.4"},
		{"empty, at the end", []string{address, record(16, in, 8, "")}, "1.2.3.4"},
		{"text that ends within a string", []string{record(16, in, 8, "\x01a\x05bc"), address}, "TXT 1 a"},
		{"text that ends before a string", []string{record(16, in, 8, "\x01a\x05"), address}, "TXT 1 a,1.2.3.4"},
		{"services, which are not read over", []string{record(11, in, 8, "\xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x09\x00\x04\x01\x02\x03\x04"), address}, "1.2.3.4"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			steps := []step{
				client(string(dnsQuery(5, "a.b", 1))), server(dnsParts(0x8000, 1, tc.records)),
			}
			rows, _ := conversation(t, Config{}, testTuple(flow.UDP, 53), flow.DNS, steps, whole)
			if got := pick(rows, "answers"); len(got) != 1 || got[0] != tc.want {
				t.Errorf("answers = %q, want %q", got, tc.want)
			}
		})
	}
}

// TestDNSNames checks names that no library makes.
func TestDNSNames(t *testing.T) {
	tests := []struct {
		name string
		msg  string
		off  int
		long bool
		want string
		next int
	}{
		{"plain", "\x01a\x02BC\x00x", 0, false, "a.bc", 6},
		{"root", "\x00x", 0, false, "", 1},
		{"pointer", "\x01a\x00\x01b\xc0\x00x", 3, false, "b.a", 7},
		{"pointer to itself", "\x01a\xc0\x02", 2, false, "", 4},
		{"pointer forward", "\x01a\xc0\x06\x00\x00\x01b\x00", 0, false, "a", 4},
		{"pointer to pointer", "\x01a\x00\xc0\x00\xc0\x03x", 5, false, "a", 7},
		{"half a pointer", "\x01a\xc0", 0, false, "a", 3},
		{"label beyond the end", "\x05ab", 0, false, "", 3},
		{"no end", "\x01a", 0, false, "a", 2},
		{"dots and zeros in labels", "\x03a.b\x01\x00\x00x", 0, false, "a.b.\x00", 7},
		{"long label", "\x50" + strings.Repeat("x", 80) + "\x00x", 0, false, "", 1},
		{"long label of NetBIOS", "\x50" + strings.Repeat("x", 80) + "\x00x", 0, true, strings.Repeat("x", 80), 82},
		{"reserved bits", "\x81" + strings.Repeat("x", 0x81) + "\x00", 0, false, "", 1},
		{"empty", "", 0, false, "", 0},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			got, next := appendName(nil, []byte(tc.msg), tc.off, tc.long)
			if string(got) != tc.want || next != tc.next {
				t.Errorf("appendName(%q, %d) = %q, %d, want %q, %d", tc.msg, tc.off, got, next, tc.want, tc.next)
			}
			if n := skipName([]byte(tc.msg), tc.off, tc.long); n != tc.next {
				t.Errorf("skipName(%q, %d) = %d, want %d", tc.msg, tc.off, n, tc.next)
			}
		})
	}
}

// TestDNSBombs checks that hostile messages cost little and end somewhere.
func TestDNSBombs(t *testing.T) {
	header := func(an int) []byte {
		return []byte{0, 1, 0x81, 0x80, 0, 0, byte(an >> 8), byte(an), 0, 0, 0, 0}
	}
	// A chain of pointers, and answers that all name its end.
	chain := header(65535)
	chain = append(chain, 0, 0, 1, 0, 1, 0, 0, 0, 0, 0xff, 0xf0)
	for len(chain) < 0x3f00 {
		chain = append(chain, 0xc0|byte((len(chain)-2)>>8), byte(len(chain)-2))
	}
	end := len(chain) - 2
	chain[14] = 10 // a type that is not read
	chain[21], chain[22] = byte((len(chain)-23)>>8), byte(len(chain)-23)
	for len(chain) < 65000 {
		chain = append(chain, 0, 0, 5, 0, 1, 0, 0, 0, 0, 0, 2, 0xc0|byte(end>>8), byte(end))
	}
	// A long name, and answers that all are it.
	wide := header(65535)
	at := len(wide)
	for range 3 {
		wide = append(wide, 63)
		wide = append(wide, strings.Repeat("w", 63)...)
	}
	wide = append(wide, 0, 0, 5, 0, 1, 0, 0, 0, 0, 0, 2, 0xc0, byte(at))
	for len(wide) < 65000 {
		wide = append(wide, 0, 0, 5, 0, 1, 0, 0, 0, 0, 0, 2, 0xc0, byte(at))
	}
	counts := append(header(65535), make([]byte, 65000)...)
	for name, msg := range map[string][]byte{"chain": chain, "wide": wide, "counts": counts} {
		s := NewShard(Config{})
		s.Out = flow.NewIntelBatch()
		tuple := testTuple(flow.UDP, 53)
		best := time.Hour
		for range 5 {
			var a App
			start := time.Now()
			s.Datagram(&tuple, &a, flow.ToClient, 1, msg)
			best = min(best, time.Since(start))
			s.Close(&tuple, &a)
		}
		if limit := 20 * time.Millisecond; best > limit {
			t.Errorf("%s: a message takes %v, want at most %v", name, best, limit)
		}
		if n := s.Out.Size(); n > 5*(maxAnswerText+1024) {
			t.Errorf("%s: %d bytes of records", name, n)
		}
		t.Logf("%s: %v", name, best)
	}
}

// TestDNSPending checks that what waits for a counterpart is bounded and not
// lost.
func TestDNSPending(t *testing.T) {
	for _, same := range []bool{true, false} {
		var steps []step
		for i := range 1000 {
			id := uint16(i)
			if same {
				id = 1
			}
			steps = append(steps, client(string(dnsQuery(id, fmt.Sprintf("q%d.example", i), 1))))
		}
		s := NewShard(Config{})
		s.Out = flow.NewIntelBatch()
		var a App
		tuple := testTuple(flow.UDP, 53)
		most := uint32(0)
		for i, st := range steps {
			s.Datagram(&tuple, &a, st.dir, flow.Time(i), []byte(st.data))
			id, _ := a.has()
			most = max(most, s.protos[protoDNS-1].dissector.(*dns).sessions.at(id).count)
		}
		s.Close(&tuple, &a)
		if most > maxWaiting+1 {
			t.Errorf("same id %v: %d messages wait, want at most %d", same, most, maxWaiting+1)
		}
		if s.Out.Len() != len(steps) {
			t.Errorf("same id %v: %d records of %d queries", same, s.Out.Len(), len(steps))
		}
	}
}

func TestDNSDetection(t *testing.T) {
	r := rand.New(rand.NewPCG(8, 9))
	for i := range 200000 {
		data := make([]byte, 12+r.IntN(60))
		for j := range data {
			data[j] = byte(r.Uint32())
		}
		if i%2 == 0 { // a plausible header with a random rest
			copy(data, "\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00")
		}
		if plausibleDNS(data) {
			t.Fatalf("random bytes %x are taken for DNS", data)
		}
	}
	query, answer := dnsQuery(1, "www.example.com", 1), dnsAnswer(1, "www.example.com")
	for _, msg := range [][]byte{query, answer} {
		if !plausibleDNS(msg) {
			t.Errorf("%x is not taken for DNS", msg)
		}
		for n := range msg {
			if plausibleDNS(msg[:n]) {
				t.Errorf("the first %d bytes of %x are taken for DNS", n, msg)
			}
		}
	}
	rows, service := conversation(t, Config{}, testTuple(flow.UDP, 9953), flow.DNS,
		[]step{client(string(query)), server(string(answer))}, whole)
	if len(rows) != 1 || service != "dns" {
		t.Errorf("on another port: %d records, service %q", len(rows), service)
	}
}

// TestDNSReversed checks that a connection that begins with a reply says so.
func TestDNSReversed(t *testing.T) {
	for _, tc := range []struct {
		dst  string
		data []byte
		want bool
	}{
		{"10.0.0.2:53", dnsAnswer(1, "x"), true},
		{"10.0.0.2:137", dnsAnswer(1, "x"), true},
		{"10.0.0.2:5300", dnsAnswer(1, "x"), false},
		{"224.0.0.251:5353", dnsAnswer(1, "x"), false},
		{"[ff02::fb]:5353", dnsAnswer(1, "x"), false},
		{"10.0.0.2:53", dnsQuery(1, "x", 1), false},
	} {
		s := NewShard(Config{})
		s.Out = flow.NewIntelBatch()
		dst := netip.MustParseAddrPort(tc.dst)
		tuple := testTuple(flow.UDP, dst.Port())
		tuple.Dst = flow.AddrFrom(dst.Addr())
		var a App
		s.Datagram(&tuple, &a, flow.ToServer, 1, tc.data)
		s.Datagram(&tuple, &a, flow.ToServer, 1, dnsAnswer(2, "y"))
		if a.Reversed() != tc.want {
			t.Errorf("Reversed = %v to %v, want %v", a.Reversed(), tc.dst, tc.want)
		}
		s.Close(&tuple, &a)
	}
}

// TestDNSUnknownOperation checks that a connection says so when a message is none
// of those that can be read, and that the messages around it are read.
func TestDNSUnknownOperation(t *testing.T) {
	with := func(data []byte, opcode byte) []byte {
		data[2] = data[2]&^0x78 | opcode<<3
		return data
	}
	for _, tc := range []struct {
		name string
		port uint16
		data []byte
		want bool
	}{
		{"query", 53, dnsQuery(1, "x", 1), false},
		{"inverse query", 53, with(dnsQuery(1, "x", 1), 1), true},
		{"status", 53, with(dnsQuery(1, "x", 1), 2), true},
		{"notification", 53, with(dnsQuery(1, "x", 6), 4), false},
		{"update", 53, with(dnsQuery(1, "x", 6), 5), false},
		{"no DNS", 53, []byte(strings.Repeat("y", 30)), true},
		{"too short", 53, []byte("yyy"), false},
		{"NetBIOS registration", 137, with(dnsQuery(1, "x", 32), 6), false},
		{"mDNS", 5353, with(dnsQuery(1, "x", 1), 6), true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			for _, proto := range []uint8{flow.UDP, flow.TCP} {
				if proto == flow.TCP && tc.port != 53 {
					continue
				}
				s := NewShard(Config{})
				s.Out = flow.NewIntelBatch()
				tuple := testTuple(proto, tc.port)
				var a App
				send := func(data []byte) {
					if proto == flow.TCP {
						data = append([]byte{0, byte(len(data))}, data...)
						s.Stream(&tuple, &a, flow.ToServer, 1, data)
						return
					}
					s.Datagram(&tuple, &a, flow.ToServer, 1, data)
				}
				send(tc.data)
				if a.GaveUp() != tc.want {
					t.Errorf("protocol %d: GaveUp = %v, want %v", proto, a.GaveUp(), tc.want)
				}
				if tc.want && a.services != 0 {
					t.Errorf("protocol %d: confirmed as %q", proto, s.Service(a))
				}
				send(dnsQuery(7, "y", 1))
				if service := s.Close(&tuple, &a); service != "dns" || s.Out.Len() == 0 {
					t.Errorf("protocol %d: service %q and %d records after a query", proto, service, s.Out.Len())
				}
			}
		})
	}
}

// TestDNSTooManyQuestions checks that what cannot be DNS is not taken for it any
// more, whatever comes after.
func TestDNSTooManyQuestions(t *testing.T) {
	many := dnsQuery(1, "x", 1)
	many[5] = maxQuestions + 1
	for _, proto := range []uint8{flow.UDP, flow.TCP} {
		s := NewShard(Config{})
		s.Out = flow.NewIntelBatch()
		tuple := testTuple(proto, 53)
		var a App
		for _, data := range [][]byte{dnsQuery(7, "y", 1), many, dnsQuery(8, "z", 1)} {
			if proto == flow.TCP {
				data = append([]byte{0, byte(len(data))}, data...)
				s.Stream(&tuple, &a, flow.ToServer, 1, data)
			} else {
				s.Datagram(&tuple, &a, flow.ToServer, 1, data)
			}
		}
		if a.Wants(flow.ToServer) || a.Wants(flow.ToClient) || a.GaveUp() {
			t.Errorf("protocol %d: wants more: %v, gave up: %v", proto, a.Wants(flow.ToServer), a.GaveUp())
		}
		if service := s.Close(&tuple, &a); service != "" || s.Out.Len() != 2 {
			t.Errorf("protocol %d: service %q and %d records, want none and 2", proto, service, s.Out.Len())
		}
		if used := s.bufs.memory.Used(); used != 0 {
			t.Errorf("protocol %d: %d bytes of buffers are left", proto, used)
		}
	}
}

func dash(list []string) string {
	if len(list) == 0 {
		return "-"
	}
	return strings.Join(list, ",")
}

func FuzzDNS(f *testing.F) {
	r := rand.New(rand.NewPCG(12, 13))
	for range 20 {
		f.Add(packDNS(randomMessage(r)))
	}
	f.Add(dnsQuery(1, "example.com", 1))
	f.Add(dnsReplyTo(1, "x", 255, `x. 1 IN TXT "ab" "c"`, "x. 1 IN NSEC y. A", `x. 1 IN NAPTR 1 2 "s" "t" "" y.`,
		"x. 1 IN RRSIG A 8 1 60 20300101000000 20200101000000 5 s. aaaa"))
	f.Add([]byte(dnsParts(0x8000|5<<11, 6, []string{record(5, 254, 0, "")}, []string{
		record(255, 255, 0, ""), record(28, 1, 7, "\x20\x01"), record(1, 1, 7, "\x01\x02\x03\x04"),
	})))
	f.Add([]byte("\x00\x01\x81\x80\x00\x01\x00\x02\x00\x00\x00\x00\xc0\x0c\x00\x01\x00\x01"))
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, port := range []uint16{53, 137, 9999} {
			steps := []step{client(string(data)), server(string(data)), client(string(data))}
			conversation(t, Config{}, testTuple(flow.UDP, port), flow.DNS, steps, whole)
		}
		framed := string(append([]byte{byte(len(data) >> 8), byte(len(data))}, data...))
		steps := []step{client(framed), server(framed), {dir: flow.ToClient, fin: true}}
		tuple := testTuple(flow.TCP, 53)
		want, _ := conversation(t, Config{}, tuple, flow.DNS, steps, whole)
		got, _ := conversation(t, Config{}, tuple, flow.DNS, steps, single)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("byte by byte differs (-whole +cut):\n%s", diff)
		}
		// What the library reads to the end, we read alike.
		var m mdns.Msg
		if m.Unpack(data) != nil || len(m.Question) != 1 || m.Response || m.Opcode != 0 {
			return
		}
		repacked, err := m.Pack()
		if err != nil || !bytes.Equal(repacked, data) {
			return
		}
		rows, _ := conversation(t, Config{}, testTuple(flow.UDP, 53), flow.DNS, []step{client(string(data))}, whole)
		if len(rows) != 1 || rows[0]["qtype"] != fmt.Sprint(m.Question[0].Qtype) {
			t.Fatalf("rows %v, want the question %v", rows, m.Question[0])
		}
	})
}
