// SPDX-License-Identifier: Apache-2.0

package filter_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"weir/internal/filter"
	"weir/store/storetest"
)

// canonical lists filters and their canonical forms; "" where that is the same.
func canonical() [][2]string {
	return [][2]string{
		// Clauses.
		{"dport", ""},
		{" dport ", "dport"},
		{"dport = 80", ""},
		{"dport:80", "dport = 80"},
		{"dport==80", "dport = 80"},
		{"dport =80", "dport = 80"},
		{"dport != 80", ""},
		{"dport<80", "dport < 80"},
		{"dport<=80", "dport <= 80"},
		{"dport>80", "dport > 80"},
		{"dport>=80", "dport >= 80"},
		{"dport =~ 8.", ""},
		{"dport!~8.", "dport !~ 8."},
		{"DPort = 80", "dport = 80"},
		{"dport = 0x1F90", "dport = 8080"},
		{`dport = "80"`, "dport = 80"},
		{"dport = '80'", "dport = 80"},
		{"dport IN (80, 443)", ""},
		{"dport IN(80,443)", "dport IN (80, 443)"},
		{"dport IN ( 0x50 )", "dport IN (80)"},
		{"(dport)IN(80)", "(dport)IN(80)"},
		{"type = 3", ""},
		{"code = 3", "codes = 3"},
		// Logic.
		{"dport = 80 AND proto = tcp", ""},
		{"dport = 80 && proto = tcp", "dport = 80 AND proto = tcp"},
		{"type = 3 || dport = 443", "type = 3 OR dport = 443"},
		{"(type)||(dport)", "type OR dport"},
		{"type OR dport AND sports OR codes", ""},
		{"(type OR dport) AND (sports OR codes)", ""},
		{"(type AND dport) OR ((sports))", "type AND dport OR sports"},
		{"(type AND (dport AND sports)) AND codes", "type AND dport AND sports AND codes"},
		{"(type)AND(dport)", "type AND dport"},
		{"!dport", ""},
		{"-dport", "!dport"},
		{"~dport", "!dport"},
		{"NOT dport", "!dport"},
		{"NOT(dport)", "!dport"},
		{"! - dport", "dport"},
		{"!!!dport", "!dport"},
		{"!(dport OR type)", ""},
		{"!((dport))", "!dport"},
		{"!dport = 80 AND type", ""},
		{"-dport = 80 OR ~type", "!dport = 80 OR !type"},
		// Quantifiers.
		{"ANY sports < 1024", "sports < 1024"},
		{"!ANY sports < 1024", "!sports < 1024"},
		{"ALL sports > 40000", ""},
		{"NONE sports = 40001", ""},
		{"ONE  sports = 40001", "ONE sports = 40001"},
		{"LEN sports = 1", ""},
		{"LEN sports IN (1, 0x2)", "LEN sports IN (1, 2)"},
		{"-LEN dport != 1", "!LEN dport != 1"},
		{"ANY addr != 10.0.0.1", ""},
		{"ANY addr = 10.0.0.1", "addr = 10.0.0.1"},
		{"NONE sports", ""},
		// Addresses.
		{"addr = 2001:DB8:0::1", "addr = 2001:db8::1"},
		{"addr = ::ffff:10.0.0.1", "addr = 10.0.0.1"},
		{"addr = 10.1.2.3/8", "addr = 10.0.0.0/8"},
		{"addr = ::ffff:10.1.2.3/104", "addr = 10.0.0.0/8"},
		{"addr =~ 10.0.0.0/30", ""},
		{"addr =~ 2001:db8::/32", ""},
		{`addr =~ 10\.0\.1\..*`, ""},
		{"src.addr > 10.0.0.2", ""},
		{"src = 10.0.0.1 AND dst != ::1", "src.addr = 10.0.0.1 AND dst.addr != ::1"},
		{"id.orig_h = 10.0.0.1", "src.addr = 10.0.0.1"},
		{"addr IN (10.0.0.0/8, ::1)", ""},
		{"src.addr = dst.addr", ""},
		// Texts and values.
		{"proto = TCP", "proto = tcp"},
		{"proto = 6", "proto = tcp"},
		{"proto = 58", "proto = icmp"},
		{"proto = 253", ""},
		{"proto = 0x06", "proto = tcp"},
		{"proto =~ ^(?i)TCP$", ""},
		{"service = ORACLE.example.com", ""},
		{"service = a b  c ", "service = a b  c"},
		{"service = 'a AND b'", `service = "a AND b"`},
		{"service = a (b OR c) d", ""},
		{"(service = a (b) c) AND dport", "service = a (b) c AND dport"},
		{`service = "a\"b\\c\d"`, `service = a"b\c\d`},
		{`service = 'a\"b'`, `service = a\"b`},
		{`service = '"a"'`, ""},
		{`service = "it's"`, "service = it's"},
		{`service = "'"`, ""},
		{`service = '\ '`, ""},
		{`service = "\\ '"`, `service = \ '`},
		{`service = " \\ '"`, ""},
		{`service = ""`, ""},
		{"service = \"a\nb\"", ""},
		{"service = 'proto'", `service = "proto"`},
		{"service = proto", ""},
		{"service = dport", ""},
		{"service = '(a'", `service = "(a"`},
		{"service = 'a or b'", `service = "a or b"`},
		{"service = 'a dport = 3'", `service = "a dport = 3"`},
		{"service = none", ""},
		{"service IN (a, 'b, c', (d, e))", `service IN (a, "b, c", (d, e))`},
		{"service = a, b", ""},
		{"service = a&&b||c", ""},
		{"service = =", ""},
		{"service = ==", ""},
		{"service = = a", ""},
		{"service =~ (a|b)||(c)", ""},
		{`service =~ a[)(]b\)\(c`, ""},
		{"service =~ [](]x[^])]y[[:alpha:](]", ""},
		{"(service =~ [)]) AND dport", "service =~ [)] AND dport"},
		{"service =~ (a|b) OR dport", "service =~ (a|b) OR dport"},
		{`service =~ "a b"`, "service =~ a b"},
		{`service =~ '\d+ AND'`, ""},
		{`service =~ "\d+"`, `service =~ \d+`},
		{"conn_state = SF", ""},
		{"vlan = 100 AND sensor = a", ""},
		{"service = /f(type=3)", ""},
		{"service =~ .*(in).*", ""},
		{"service =~ (and|or)", ""},
		{"meta.http.uri = f(and)", ""},
		// Sizes, times, durations.
		{"csbytes > 10k", "csbytes > 10000"},
		{"csbytes > 1.5MB", "csbytes > 1500000"},
		{"csbytes > 5M", "csbytes > 5000000"},
		{"csbytes > 2G AND scbytes < 1T", "csbytes > 2000000000 AND scbytes < 1000000000000"},
		{"orig_ip_bytes = 9223372036854775807", "csbytes = 9223372036854775807"},
		{"csbytes > scbytes", ""},
		{"csbytes > count", ""},
		{"count > 1", ""},
		{"firstseen = 2020-01-01 10:00:00.000000", "firstseen = 2020-01-01T10:00:00Z"},
		{"firstseen >= 2020-01-01", "firstseen >= 2020-01-01T00:00:00Z"},
		{"firstseen >= 2020-01-01 10:00", "firstseen >= 2020-01-01T10:00:00Z"},
		{"firstseen >= 2020-01-01T10:00:00.5+02:00", "firstseen >= 2020-01-01T08:00:00.5Z"},
		{"firstseen:2020-01-01 10:00:00", "firstseen = 2020-01-01T10:00:00Z"},
		{"firstseen >= 2020-01-01t10:00:00.25z", "firstseen >= 2020-01-01T10:00:00.25Z"},
		{"firstseen > 1577872800", "firstseen > 2020-01-01T10:00:00Z"},
		{"firstseen > 1577872800.000001", "firstseen > 2020-01-01T10:00:00.000001Z"},
		{"firstseen > -2h", "firstseen > 2020-01-01T10:00:00Z"},
		{"firstseen>-1d12h", "firstseen > 2019-12-31T00:00:00Z"},
		{"lastseen <= now", "lastseen <= 2020-01-01T12:00:00Z"},
		{"ts = lastseen", "firstseen = lastseen"},
		{"times > 2020-01-01", "times.start > 2020-01-01T00:00:00Z"},
		{"times.duration = 3600", "times.duration = 3600s"},
		{"LEN times > 1", "LEN times.start > 1"},
		{"duration > 5m", "duration > 300s"},
		{"duration > 1h30m AND duration < 2.5", "duration > 5400s AND duration < 2.5s"},
		{"duration = 10ms", "duration = 0.01s"},
		// Intel.
		{"meta.http", ""},
		{"#Host OR #flow", "#Host OR #Flow"},
		{"!#dns", "!#DNS"},
		{"meta.dns.query = WWW.Example.COM", "meta.dns.query = www.example.com"},
		{"meta.query =~ .*google.*", ""},
		{"meta.dns.answers = 1.2.3.4", ""},
		{"meta.dns.rcode = NXDOMAIN", ""},
		{"meta.dns.rcode_name = NXDOMAIN", "meta.dns.rcode = NXDOMAIN"},
		{"meta.dns.rcode = 3", "meta.dns.rcode_num = 3"},
		{"meta.dns.qtype = AAAA", "meta.dns.type = AAAA"},
		{"meta.dns.qtype = 28", ""},
		{"meta.dns.type = 28", "meta.dns.qtype = 28"},
		{"meta.dns.qtype IN (A, 28)", "meta.dns.type IN (A, 28)"},
		{"meta.dns.qtype =~ A+", "meta.dns.type =~ A+"},
		{"meta.dns.qtype =~ 2.", ""},
		{"meta.dns.qtype", ""},
		{"dport = meta.http.status_code", ""},
		{"meta.http.host = meta.query", ""},
		{"meta.dns.aa = T", "meta.dns.aa = true"},
		{"meta.dns.AA != 0", "meta.dns.aa != false"},
		{"meta.dns.aa IN (T, no)", "meta.dns.aa IN (true, false)"},
		{"meta.ssl.subject =~ CN=.*", ""},
		{"#ssh AND meta.ssh.auth_success = T", "#SSH AND meta.ssh.auth_success = true"},
		{"meta.dns.rtt > 10ms", "meta.dns.rtt > 0.01s"},
		{"meta.dns.count > 2", ""},
		{"meta.count > 2", ""},
		{"meta.http.user_agent = Mozilla/5.0 (X11; Linux)", ""},
		{"meta.http.uri = /a?b=c:d<e>", ""},
		{"meta.http.method = count", ""},
		{"meta.http.method = 'service'", `meta.http.method = "service"`},
		{"meta.http.response_body_len > 10k", "meta.http.response_body_len > 10000"},
		{"meta.arp.mac_src = aa:bb:cc:dd:ee:01", ""},
		{"meta.version = TLSv12", ""},
		{`meta.dns(query =~ .*\.evil AND rcode = NXDOMAIN)`, ""},
		{`!meta.dns(query =~ .*\.(evil|bad) OR !(rcode = NXDOMAIN AND aa))`, ""},
		{"meta.http(request_body_len > response_body_len) OR dport", ""},
		{"meta.dns(ALL answers =~ 10\\..* AND LEN answers > 1)", ""},
		{"TIMES( START<2020-01-01T10:00:00Z AND End>2020-01-01T09:00:00Z )", "times(start < 2020-01-01T10:00:00Z AND end > 2020-01-01T09:00:00Z)"},
		{"!times(duration > 1h OR !(start = end))", "!times(duration > 3600s OR !start = end)"},
		{"times(NONE start < 2020-01-01T10:00:00Z)", ""},
		{"meta.http(host IN (a, b))", ""},
		{"meta.http(host = dport)", ""},
		{"meta.http(host = 'uri')", `meta.http(host = "uri")`},
		{"(meta.http(host = a) AND dport)", "meta.http(host = a) AND dport"},
	}
}

func TestParseCanonical(t *testing.T) {
	for _, tc := range canonical() {
		in, want := tc[0], tc[1]
		if want == "" {
			want = in
		}
		if in == "(dport)IN(80)" {
			continue // in the table of errors
		}
		e, err := filter.Parse(in, options())
		if err != nil {
			t.Errorf("Parse(%q) = %v", in, err)
			continue
		}
		if got := e.String(); got != want {
			t.Errorf("Parse(%q) prints %q, want %q", in, got, want)
		}
		again, err := filter.Parse(e.String(), options())
		if err != nil || again.String() != want {
			t.Errorf("Parse(%q) = %v, %v, want the same", e.String(), again, err)
		}
	}
}

// refused lists wrong filters, where the error is, and a part of what it says.
func refused() []struct {
	in     string
	offset int
	msg    string
} {
	return []struct {
		in     string
		offset int
		msg    string
	}{
		{"", 0, "a filter is missing"},
		{"  ", 2, "a filter is missing"},
		{"()", 1, "a filter is missing"},
		{"dport AND", 9, "a filter is missing"},
		{"AND dport", 0, "a filter is missing before AND"},
		{"dport AND OR type", 10, "a filter is missing before OR"},
		{"!", 1, "a filter is missing"},
		{"(dport", 0, "not closed"},
		{"dport)", 5, "closing parenthesis without an opening one"},
		{"dport = 80)", 10, "closing parenthesis without an opening one"},
		{"dport 80", 6, "an operator is missing after dport; expected =, !=, <, <=, >, >=, =~, !~ or IN"},
		{"dport ~ 80", 6, "an operator is missing"},
		{"dport and type", 6, "write AND"},
		{"dport NOT type", 6, `unexpected "NOT"; expected AND or OR`},
		{"(dport) type", 8, `unexpected "type"; expected AND or OR`},
		{"(dport) or type", 8, "write OR"},
		{"(dport)IN(80)", 7, `unexpected "IN"`},
		{"dport = 80 NOT type", 11, `unexpected "NOT"`},
		{"dport||type", 5, "an operator is missing"},
		{"= tcp", 0, "an attribute is missing"},
		{"proto = ", 8, "a value is missing"},
		{"proto = AND dport", 8, "a value is missing before AND; quote AND if it is the value"},
		{"meta.http.status_msg = NOT FOUND", 23, "quote NOT if it is the value"},
		{"(proto = )", 9, "a value is missing"},
		{"toto", 0, "unknown attribute"},
		{"addr_src = 10.0.0.1", 0, "unknown attribute; nearest src.addr"},
		{"dpotr = 80", 0, "unknown attribute; nearest dport"},
		{"dport = 80 AND scbyte > 3", 15, "unknown attribute; nearest scbytes"},
		{"meta.dns.qery = x", 0, "unknown attribute; nearest meta.dns.query"},
		{"meta.dnss.query = x", 0, "unknown attribute; nearest meta.dns.query"},
		{"meta.http.tags", 0, "unknown attribute"},
		{"history = S", 0, "history belongs to single connections"},
		{"all sports > 3", 0, "write ALL"},
		{"not dport", 0, "write NOT"},
		{"proto in tcp", 6, "write IN (tcp)"},
		{"proto in (tcp, udp)", 6, "write IN (tcp, udp)"},
		{"proto IN tcp", 9, "write IN (tcp)"},
		{"proto IN (tcp", 9, "not closed"},
		{"proto IN ()", 10, "a value is missing"},
		{"proto IN (tcp,)", 14, "a value is missing"},
		{"type = 3 or dport = 443", 9, "write OR"},
		{"service = bread and butter", 16, "write AND"},
		{"service = logged in", 17, "write IN"},
		{"proto = tcp dport = 80", 12, "write AND before dport"},
		{"proto = tcp (dport = 80)", 13, "write AND before dport"},
		{"proto = tcp !dport=80", 12, "write AND before dport"},
		{"proto = tcp meta.dns(query = x)", 12, "write AND before meta.dns("},
		{"service = (a", 10, "quote the value"},
		{"service = 'a", 10, "the quote ' is not closed"},
		{`service = "a\"`, 10, `the quote " is not closed`},
		{"service = 'a'b", 13, "text after a closing quote"},
		{"addr = foo", 7, "not an address"},
		{"addr = fe80::1%eth0", 7, "not an address"},
		{"addr = 10.0.0.0/33", 7, "not a network"},
		{"addr > 10.0.0.0/8", 7, "not with a network"},
		{"addr =~ 10.0.0.*/8", 8, "no address has a slash"},
		{"dport = none", 8, "write !dport"},
		{"dport = null", 8, "write !dport"},
		{"dport = None", 8, "write !dport"},
		{"firstseen = none", 12, "write !firstseen"},
		{"dport = http", 8, "not a number"},
		{"dport = 1_000", 8, "not a number"},
		{"dport = +80", 8, "not a number"},
		{"dport = -80", 8, "not a number"},
		{"dport = 65536", 8, "too large"},
		{"dport = 10k", 8, "not a number"},
		{"dport = 80 81", 8, "not a number"},
		{"csbytes = 99999999999999999999", 10, "too large"},
		{"csbytes = 9300P", 10, "not a size"},
		{"csbytes = 1.5", 10, "not a size"},
		{"csbytes = 10kk", 10, "not a size"},
		{"csbytes = k", 10, "not a size"},
		{"firstseen = yesterday", 12, "not a time"},
		{"firstseen = 2020-13-01", 12, "not a time"},
		{"firstseen = -", 12, "not a time"},
		{"firstseen = -9999999w", 12, "not a time"},
		{"duration = 5x", 11, "not a duration"},
		{"duration = m", 11, "not a duration"},
		{"duration = -5m", 11, "not a duration"},
		{"meta.dns.aa = maybe", 14, "not true or false"},
		{"meta.dns.aa > true", 12, "takes no >"},
		{"firstseen =~ 2020.*", 10, "takes no =~"},
		{"proto = a b", 8, "not a protocol"},
		{"proto = 256", 8, "too large; the greatest value is 255"},
		{"service =~ a(", 12, "not closed"},
		{"service =~ 'a('", 11, "the pattern is wrong: missing closing )"},
		{"service =~ [a", 11, "the pattern is wrong"},
		{`service =~ \C`, 11, "the pattern is wrong"},
		{`service =~ (?=a)`, 11, "the pattern is wrong"},
		{`service =~ (?:\pL{400}){2}`, 11, "too large"},
		{"service =~ " + strings.Repeat("(.{20}){50}", 10), 11, "too large"},
		{"LEN sports", 4, "LEN needs an operator and a number"},
		{"LEN sports = many", 13, "LEN needs an operator and a number"},
		{"LEN sports =~ 1", 11, "LEN needs an operator and a number"},
		{"ANY (sports)", 4, `unexpected "("; expected an attribute`},
		{"ANY ALL sports", 4, "a filter is missing before ALL"},
		{"ANY !sports", 4, `unexpected "!"; expected an attribute`},
		{"-(dport)", 0, "negates one clause only: write !( … )"},
		{"--dport", 1, "negates one clause only"},
		{"ANY meta.dns", 4, "needs an attribute of meta.dns"},
		{"ANY meta.dns(query)", 4, "not before a block"},
		{"meta.dns = x", 9, "compare one of its attributes"},
		{"meta.dns (query = x)", 9, "write meta.dns("},
		{"meta.dns()", 9, "a filter is missing"},
		{"meta.dns(query = x", 8, "not closed"},
		{"meta.dns(qery = x)", 9, "unknown attribute of meta.dns; nearest query"},
		{"meta.dns(dport = 80)", 9, "dport is no attribute of meta.dns"},
		{"meta.dns(#HTTP)", 9, "outside the parentheses"},
		{"times()", 6, "a filter is missing"},
		{"times(start > 2020-01-01", 5, "not closed"},
		{"times(strat > 2020-01-01)", 6, "unknown attribute of times; nearest start"},
		{"times(times.start > 2020-01-01)", 6, "in the parentheses of times write start"},
		{"times(dport = 80)", 6, "dport is no attribute of times; it belongs outside the parentheses"},
		{"times(times(start > 2020-01-01))", 6, "times"},
		{"times(#HTTP)", 6, "outside the parentheses of times"},
		{"times(duration = x)", 17, ""},
		{"ANY times(start > 2020-01-01)", 4, "not before a block"},
		{"times.start(start > 2020-01-01)", 11, ""},
		{"times.end(end > 2020-01-01)", 9, ""},
		{"proto = tcp times(start > 2020-01-01)", 12, "write AND before times("},
		{"#htpt", 0, "unknown label; nearest #HTTP"},
		{"#", 0, "unknown label"},
		{"dport = \xff", 8, "the byte 0xff is not UTF-8"},
		{"dport\u00a0= 80", 5, `an operator is missing after dport, before "\u00a0"; expected =`},
		{"\u202edport", 0, `unexpected "\u202e"; expected an attribute`},
		{"meta.", 5, `the rest of a name is missing after "meta."`},
		{"meta.dns.?", 9, `the rest of a name is missing after "meta.dns."`},
		{"service = a\xc3", 11, "the byte 0xc3 is not UTF-8"},
		{"dport = 80 AND NOT!type", 15, "the keyword NOT needs white space around it"},
		{"meta.dns(meta.dns.rcode_name = NXDOMAIN)", 9, "in the parentheses of meta.dns write rcode"},
		{"meta.dns(meta.http.uri = x)", 9, "belongs outside the parentheses"},
		{"proto = tcp dport IN (80)", 12, "write AND before dport"},
		{"proto = tcp (dport IN (80))", 13, "write AND before dport"},
		{"proto = tcp or (dport = 80)", 12, "write OR"},
		{"service = a (or b)", 13, "write OR"},
		{"proto in \"\x1b[31m\"", 6, "write IN ( … )"},
		{"dport = " + strings.Repeat("x", 1000), 8, `xxx"… is not a number`},
		{"service =~ " + strings.Repeat("[^a]", 200), 11, "too many classes"},
		{strings.Repeat("service =~ [^a]{2} OR ", 200) + "dport", 2805, "too large together"},
		{"@", 0, `unexpected "@"; expected an attribute`},
	}
}

func TestParseRefuses(t *testing.T) {
	for _, tc := range refused() {
		e, err := filter.Parse(tc.in, options())
		var serr *filter.SyntaxError
		if !errors.As(err, &serr) {
			t.Errorf("Parse(%q) = %v, %v, want a SyntaxError", tc.in, e, err)
			continue
		}
		if serr.Offset != tc.offset || !strings.Contains(err.Error(), tc.msg) {
			t.Errorf("Parse(%q) = %v, want offset %d and %q", tc.in, err, tc.offset, tc.msg)
		}
	}
}

func TestParseNearest(t *testing.T) {
	for name, want := range map[string]string{
		"addr_src": "src.addr", "src_addr": "src.addr", "srcaddr": "src.addr", "protocol": "proto",
		"sprots": "sports", "seen": "", "xyzzy": "", "connstate": "conn_state",
		"meta.http.useragent": "meta.http.user_agent", "meta.qury": "meta.query",
		"meta.user_agnt": "meta.user_agent",
	} {
		_, err := filter.Parse(name, options())
		var serr *filter.SyntaxError
		if !errors.As(err, &serr) || serr.Nearest != want {
			t.Errorf("Parse(%q) = %v, want nearest %q", name, err, want)
		}
	}
}

func TestParseLimits(t *testing.T) {
	nest := func(n int) string { return strings.Repeat("(", n) + "dport" + strings.Repeat(")", n) }
	join := func(n int) string { return strings.Repeat("dport OR ", n-1) + "dport" }
	in := func(n int) string { return "dport IN (" + strings.Repeat("1,", n-1) + "1)" }
	patterns := func(n int) string {
		return strings.Repeat("service =~ .{500} OR ", n-1) + "service =~ .{500}"
	}
	for _, tc := range []struct {
		name, in, msg string // msg is "" for filters within the limit
	}{
		{"depth", nest(filter.MaxDepth), ""},
		{"too deep", nest(filter.MaxDepth + 1), "nested deeper than 100 levels"},
		{"too many negations", strings.Repeat("!", 1000) + "dport", "nested deeper than 100 levels"},
		{"too many negated groups", strings.Repeat("NOT(", 60) + "dport", "nested deeper than 100 levels"},
		{"clauses", join(filter.MaxClauses), ""},
		{"too many clauses", join(filter.MaxClauses + 1), "more than 2000 clauses and values"},
		{"values", in(filter.MaxClauses - 1), ""},
		{"too many values", in(filter.MaxClauses), "more than 2000 clauses and values"},
		{"pattern", "service =~ " + strings.Repeat("a", filter.MaxPattern), ""},
		{"pattern too long", "service =~ " + strings.Repeat("a", filter.MaxPattern+1), "longer than 1000 bytes"},
		{"patterns", patterns(13), ""},
		{"patterns too large", patterns(14), "too large together"},
		{"length", "service = " + strings.Repeat("a", filter.MaxLength-10), ""},
		{"too long", "service = " + strings.Repeat("a", filter.MaxLength-9), "longer than 65536 bytes"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := filter.Parse(tc.in, options())
			if tc.msg == "" && err != nil || tc.msg != "" && (err == nil || !strings.Contains(err.Error(), tc.msg)) {
				t.Errorf("Parse = %v, want %q", err, tc.msg)
			}
		})
	}
}

func TestParseZone(t *testing.T) {
	zone := time.FixedZone("", 2*3600)
	e, err := filter.Parse("firstseen > 2020-01-01 10:00 AND lastseen < 2020-01-01T10:00:00Z",
		filter.Options{Now: options().Now, Zone: zone})
	if err != nil {
		t.Fatal(err)
	}
	want := "firstseen > 2020-01-01T08:00:00Z AND lastseen < 2020-01-01T10:00:00Z"
	if got := e.String(); got != want {
		t.Errorf("Parse in zone +02:00 = %q, want %q", got, want)
	}
}

func TestAnd(t *testing.T) {
	parse := func(text string) *filter.Expr {
		e, err := filter.Parse(text, options())
		if err != nil {
			t.Fatal(err)
		}
		return e
	}
	for _, tc := range []struct {
		in   []*filter.Expr
		want string
	}{
		{nil, ""},
		{[]*filter.Expr{nil, nil}, ""},
		{[]*filter.Expr{nil, parse("dport")}, "dport"},
		{[]*filter.Expr{parse("dport OR type"), parse("sports AND codes")}, "(dport OR type) AND sports AND codes"},
	} {
		if got := filter.And(tc.in...).String(); got != tc.want {
			t.Errorf("And(%v) = %q, want %q", tc.in, got, tc.want)
		}
	}
	if !filter.And().Match(&filter.Flow{}) {
		t.Error("a nil filter does not match")
	}
}

func TestAttributes(t *testing.T) {
	seen := make(map[string]bool)
	for _, a := range filter.Attributes() {
		if a.Help == "" || len(a.Operators) == 0 {
			t.Errorf("%s has no help or no operators", a.Name)
		}
		for _, name := range append(slices.Clone(a.Aliases), a.Name) {
			if seen[name] {
				t.Errorf("%s stands for two attributes", name)
			}
			seen[name] = true
			e, err := filter.Parse(name, options())
			if err != nil || e.String() != a.Name {
				t.Errorf("Parse(%q) = %v, %v, want %s", name, e, err, a.Name)
			}
		}
	}
	// meta.name looks at every kind that has it: the type must be the same.
	types := make(map[string]filter.Type)
	for _, a := range filter.Attributes() {
		if !strings.HasPrefix(a.Name, "meta.") {
			continue
		}
		name := a.Name[strings.LastIndex(a.Name, ".")+1:]
		if typ, ok := types[name]; ok && typ != a.Type {
			t.Errorf("meta.%s is a %v and a %v", name, typ, a.Type)
		}
		types[name] = a.Type
	}
	var all []string
	for _, a := range filter.Attributes() {
		if !strings.HasPrefix(a.Name, "meta.") {
			all = append(all, a.Name)
		}
	}
	want := strings.Fields(`addr src.addr dst.addr proto dport type sports codes count cspkts scpkts csbytes
		scbytes firstseen lastseen duration times.start times.end times.duration conn_state service vlan sensor`)
	if diff := cmp.Diff(want, all); diff != "" {
		t.Errorf("attributes of flows (-want +got):\n%s", diff)
	}
}

// FuzzParse checks that no text makes the parser panic, and that the canonical
// form of a filter is read back as the same filter.
func FuzzParse(f *testing.F) {
	for _, tc := range canonical() {
		f.Add(tc[0])
	}
	for _, tc := range refused() {
		f.Add(tc.in)
	}
	for _, text := range hostile() {
		if len(text) < 2000 {
			f.Add(text)
		}
	}
	g := storetest.NewFilters(3, "lake", nil)
	for range 50 {
		f.Add(g.Next())
	}
	samples := samples()
	f.Fuzz(func(t *testing.T, text string) {
		e, err := filter.Parse(text, options())
		if err != nil {
			var serr *filter.SyntaxError
			if !errors.As(err, &serr) || serr.Offset < 0 || serr.Offset > len(text) {
				t.Fatalf("Parse(%q) = %v, want a SyntaxError inside the text", text, err)
			}
			return
		}
		printed := e.String()
		again, err := filter.Parse(printed, options())
		if err != nil && len(printed) > filter.MaxLength {
			return
		}
		if err != nil {
			t.Fatalf("Parse(%q) of %q = %v", printed, text, err)
		}
		if got := again.String(); got != printed {
			t.Fatalf("Parse(%q) of %q prints %q", printed, text, got)
		}
		if _, err := e.SQL(filter.SQLOptions{}); err != nil {
			if _, ok := errors.AsType[*filter.UnsupportedError](err); !ok {
				t.Fatalf("SQL of %q = %v", text, err)
			}
		}
		for name, flow := range samples {
			if e.Match(flow) != again.Match(flow) {
				t.Fatalf("Parse(%q) of %q does not say the same of %s", printed, text, name)
			}
		}
	})
}
