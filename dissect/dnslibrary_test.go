// SPDX-License-Identifier: Apache-2.0

package dissect

import (
	"fmt"
	"math/rand/v2"
	"net"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	mdns "github.com/miekg/dns"

	"weir/internal/flow"
)

// randomMessage makes a message of records that the library packs.
func randomMessage(r *rand.Rand) *mdns.Msg {
	label := func() string {
		n := 1 + r.IntN(12)
		b := make([]byte, n)
		for i := range b {
			b[i] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_"[r.IntN(64)]
		}
		return string(b)
	}
	names := []string{"."}
	for range 4 {
		names = append(names, label()+"."+strings.TrimPrefix(names[r.IntN(len(names))], "."))
	}
	name := func() string { return names[r.IntN(len(names))] }
	m := new(mdns.Msg)
	m.SetQuestion(name(), uint16(1+r.IntN(60)))
	m.Id, m.Response, m.Compress = uint16(r.Uint32()), true, r.IntN(2) == 0
	for range r.IntN(6) {
		h := mdns.RR_Header{Name: name(), Class: 1, Ttl: r.Uint32()}
		var rr mdns.RR
		switch r.IntN(8) {
		case 0:
			h.Rrtype, rr = mdns.TypeA, &mdns.A{Hdr: h, A: net.IPv4(byte(r.Uint32()), 2, 3, 4)}
		case 1:
			h.Rrtype, rr = mdns.TypeAAAA, &mdns.AAAA{Hdr: h, AAAA: net.ParseIP(fmt.Sprintf("2001:db8::%x", r.IntN(65536)))}
		case 2:
			h.Rrtype, rr = mdns.TypeCNAME, &mdns.CNAME{Hdr: h, Target: name()}
		case 3:
			h.Rrtype, rr = mdns.TypeNS, &mdns.NS{Hdr: h, Ns: name()}
		case 4:
			h.Rrtype, rr = mdns.TypePTR, &mdns.PTR{Hdr: h, Ptr: name()}
		case 5:
			h.Rrtype, rr = mdns.TypeMX, &mdns.MX{Hdr: h, Mx: name()}
		case 6:
			h.Rrtype, rr = mdns.TypeSRV, &mdns.SRV{Hdr: h, Target: name()}
		case 7:
			h.Rrtype, rr = mdns.TypeSOA, &mdns.SOA{Hdr: h, Ns: name(), Mbox: name()}
		}
		rr.Header().Rrtype = h.Rrtype
		m.Answer = append(m.Answer, rr)
	}
	return m
}

// answerText is Zeek's text of an answer that the library read.
func answerText(rr mdns.RR) string {
	name := func(s string) string { return strings.ToLower(strings.TrimSuffix(s, ".")) }
	switch rr := rr.(type) {
	case *mdns.A:
		return rr.A.String()
	case *mdns.AAAA:
		return rr.AAAA.String()
	case *mdns.CNAME:
		return name(rr.Target)
	case *mdns.NS:
		return name(rr.Ns)
	case *mdns.PTR:
		return name(rr.Ptr)
	case *mdns.MX:
		return name(rr.Mx)
	case *mdns.SRV:
		return name(rr.Target)
	case *mdns.SOA:
		return name(rr.Ns)
	}
	return ""
}

// TestDNSLibrary compares names, answers and times to live of generated messages
// with what the library reads.
func TestDNSLibrary(t *testing.T) {
	r := rand.New(rand.NewPCG(10, 11))
	for range 3000 {
		wire := packDNS(randomMessage(r))
		var m mdns.Msg
		if err := m.Unpack(wire); err != nil {
			t.Fatal(err)
		}
		var answers, ttls []string
		for _, rr := range m.Answer {
			if text := answerText(rr); text != "" {
				answers = append(answers, text)
				ttls = append(ttls, zeekTime(int64(rr.Header().Ttl)*1e6))
			}
		}
		query := dnsQuery(m.Id, m.Question[0].Name, m.Question[0].Qtype)
		rows, _ := conversation(t, Config{}, testTuple(flow.UDP, 53), flow.DNS,
			[]step{client(string(query)), server(string(wire))}, whole)
		name := strings.ToLower(strings.TrimSuffix(m.Question[0].Name, "."))
		if name == "" {
			name = "(empty)"
		}
		want := []string{strings.Join([]string{name, dash(answers), dash(ttls)}, " ")}
		if diff := cmp.Diff(want, pick(rows, "query", "answers", "TTLs")); diff != "" {
			t.Fatalf("%x differs (-want +got):\n%s", wire, diff)
		}
	}
}
