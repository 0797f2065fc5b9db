// SPDX-License-Identifier: Apache-2.0

package filter_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"weir/internal/filter"
)

func TestComplete(t *testing.T) {
	for _, tc := range []struct {
		text   string
		offset int
		// has are among the suggestions, only says that there are no others.
		has  string
		only bool
		attr string
	}{
		{"", 0, "addr src.addr proto meta.dns meta.dns( NOT LEN", false, ""},
		{"dp", 0, "dport", true, ""},
		{"DP", 0, "dport", true, ""},
		{"src", 0, "src.addr", true, ""},
		{"spor", 0, "sports", true, ""},
		{"id.r", 0, "id.resp_h id.resp_p", true, ""},
		{"meta.dns.rc", 0, "meta.dns.rcode_num meta.dns.rcode", true, ""},
		{"meta.quer", 0, "meta.query", true, ""},
		{"meta.d", 0, "meta.dns meta.dns( meta.dns.count meta.dns.query", false, ""},
		{"N", 0, "NOT NONE", true, ""},
		{"nothing", 0, "", true, ""},
		{"#d", 0, "#DNS", true, ""},
		{"!dpo", 1, "dport", true, ""},
		{"(dpo", 1, "dport", true, ""},
		{"NOT (! -dpo", 8, "dport", true, ""},
		{"LEN spo", 4, "sports", true, ""},
		{"LEN sports ", 11, "= != < <= > >= IN", false, ""},
		{"LEN sports = ", 0, "", true, ""},
		{"dport ", 6, "= != < <= > >= =~ !~ IN AND OR", true, ""},
		{"(dport ", 7, "= != < <= > >= =~ !~ IN AND OR )", true, ""},
		{"dport !", 6, "!= !~", true, ""},
		{"dport I", 6, "IN", true, ""},
		{"firstseen ", 10, "= != < <= > >= IN AND OR", true, ""},
		{"meta.dns ", 9, "AND OR", true, ""},
		{"meta.dns.aa ", 12, "= != IN AND OR", true, ""},
		{"dport = ", 8, "", true, "dport"},
		{"dport =", 7, "", true, "dport"},
		{"proto = ", 8, "tcp udp icmp", false, "proto"},
		{"proto = t", 8, "tcp", true, "proto"},
		{"proto=T", 6, "tcp", true, "proto"},
		{`proto = "t`, 9, `tcp"`, true, "proto"},
		{`proto = 't`, 9, `tcp'`, true, "proto"},
		{`proto = "tcp" `, 14, "AND OR", true, ""},
		{`proto = "tcp"x`, 0, "", true, ""},
		{"proto =~ t", 0, "", true, ""},
		{"proto IN ", 9, "(", true, ""},
		{"proto IN (t", 10, "tcp", true, "proto"},
		{"proto IN (tcp, u", 15, "udp udplite", true, "proto"},
		{`proto IN ("tcp" `, 16, ", )", true, ""},
		{"proto IN (tcp) ", 15, "AND OR", true, ""},
		{"conn_state = RST", 13, "RSTO RSTR RSTOS0 RSTRH", true, "conn_state"},
		{"src.addr = 10.", 11, "", true, "src.addr"},
		{"proto = tcp ", 12, "AND OR", true, ""},
		{"proto = tcp A", 12, "AND", true, ""},
		{"proto = tcp AND", 12, "AND", true, ""},
		{"proto = tcp AND ", 16, "addr dport", false, ""},
		{"proto = tcp AND dpo", 16, "dport", true, ""},
		{"(proto = tcp) ", 14, "AND OR", true, ""},
		{"((proto = tcp) ", 15, "AND OR )", true, ""},
		{"time", 0, "times.start times.end times.duration times(", true, ""},
		{"times(", 6, "start end duration", false, ""},
		{"times(st", 6, "start", true, ""},
		{"times(start < 2026-03-02 AND e", 29, "end", true, ""},
		{"times(start ", 12, "= != < <= > >= IN AND OR )", true, ""},
		{"times(start < 5) AND dpo", 21, "dport", true, ""},
		{"times(duration = ", 17, "", true, "times.duration"},
		{"meta.dns(", 9, "query rcode answers", false, ""},
		{"meta.dns(qu", 9, "query", true, ""},
		{"meta.dns(rcode = NX", 17, "NXDOMAIN", true, "meta.dns.rcode"},
		{"meta.dns(rcode = NXDOMAIN AND que", 30, "query", true, ""},
		{"(meta.dns(rcode = NXDOMAIN) AND dpo", 32, "dport", true, ""},
		{"meta.rcode = SERV", 13, "SERVFAIL", true, "meta.rcode"},
		{"meta.dns.aa = t", 14, "true", true, "meta.dns.aa"},
		{"dst.addr", 0, "dst.addr", true, ""},
		{"nosuch = ", 0, "", true, ""},
		{"dport = 80)", 0, "", true, ""},
		{"firstseen =~ x", 0, "", true, ""},
		{"service = x AND meta.http.method = ", 35, "GET POST", false, "meta.http.method"},
	} {
		c := filter.Complete(tc.text)
		var got []string
		for _, s := range c.Suggestions {
			got = append(got, s.Insert)
		}
		want := strings.Fields(tc.has)
		if tc.only {
			if diff := cmp.Diff(want, got); diff != "" && len(want)+len(got) > 0 {
				t.Errorf("Complete(%q) (-want +got):\n%s", tc.text, diff)
			}
		}
		for _, s := range want {
			if !slices.Contains(got, s) {
				t.Errorf("Complete(%q) = %q, lacks %q", tc.text, got, s)
			}
		}
		if len(got) > 0 && c.Offset != tc.offset || c.Attribute != tc.attr {
			t.Errorf("Complete(%q): offset %d, attribute %q, want %d, %q", tc.text, c.Offset, c.Attribute, tc.offset, tc.attr)
		}
	}
}

// TestCompleteParses writes filters by taking suggestions: what is complete is a filter.
func TestCompleteParses(t *testing.T) {
	n := 0
	for _, a := range filter.Complete("").Suggestions {
		if a.Kind != filter.SuggestAttribute || strings.HasSuffix(a.Insert, "(") {
			continue
		}
		for _, op := range filter.Complete(a.Insert + " ").Suggestions {
			if op.Kind != filter.SuggestOperator || op.Insert == "IN" {
				continue
			}
			for _, v := range filter.Complete(a.Insert + " " + op.Insert + " ").Suggestions {
				text := a.Insert + " " + op.Insert + " " + v.Insert
				if _, err := filter.Parse(text, filter.Options{}); err != nil {
					t.Errorf("Parse(%q) = %v", text, err)
				}
				n++
			}
		}
	}
	if n < 50 {
		t.Errorf("%d filters are few", n)
	}
}

func TestValueText(t *testing.T) {
	for _, tc := range [][3]string{
		{"service", "http", "http"},
		{"service", "a b", "a b"},
		{"service", "a,b", `"a,b"`},
		{"service", "x AND y", `"x AND y"`},
		{"service", "\"b", `'"b'`},
		{"src.addr", "10.0.0.1", "10.0.0.1"},
		{"service", "proto", `"proto"`},
		{"sensor", "", `""`},
		{"nosuch", "x", `"x"`},
	} {
		if got := filter.ValueText(tc[0], tc[1]); got != tc[2] {
			t.Errorf("ValueText(%q, %q) = %s, want %s", tc[0], tc[1], got, tc[2])
		}
	}
}

func FuzzComplete(f *testing.F) {
	for _, s := range []string{"", "meta.dns(rcode = ", "times(start < 5 AND ", "proto IN (tcp, ", `service = "`, "!(-#", "LEN sports I", "a =~ [", "((((", "dport = 80)", "\xff"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		c := filter.Complete(text)
		if c.Offset < 0 || c.Offset > len(text) {
			t.Fatalf("Complete(%q): offset %d", text, c.Offset)
		}
		for _, s := range c.Suggestions {
			if typed := text[c.Offset:]; !strings.HasPrefix(strings.ToLower(s.Insert), strings.ToLower(typed)) {
				t.Errorf("Complete(%q) suggests %q for %q", text, s.Insert, typed)
			}
		}
	})
}
