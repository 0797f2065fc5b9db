// SPDX-License-Identifier: Apache-2.0

package traffic

import (
	"encoding/binary"
	"fmt"
	"strings"
	"time"
)

// DNS types and response codes.
const (
	typeA     = 1
	typeCNAME = 5
	typeSOA   = 6
	typePTR   = 12
	typeMX    = 15
	typeTXT   = 16
	typeAAAA  = 28
	typeOPT   = 41

	codeNXDomain = 3
)

// question is what a client asks, and what it will be told.
type question struct {
	name    string
	qtype   uint16
	rcode   uint8
	edns    bool
	answers []answer
}

// answer is one record of a reply, its owner the name of the question or the
// target of the CNAME before it.
type answer struct {
	rtype uint16
	ttl   uint32
	name  string // CNAME, PTR, MX, NS
	data  []byte // everything else
}

// appendName appends name in wire format.
func appendName(b []byte, name string) []byte {
	for label := range strings.SplitSeq(name, ".") {
		b = append(b, byte(len(label)))
		b = append(b, label...)
	}
	return append(b, 0)
}

// appendHeader appends the header and the question.
func (q *question) appendHeader(b []byte, id, flags uint16, answers, authority int) []byte {
	extra := 0
	if q.edns {
		extra = 1
	}
	for _, v := range []uint16{id, flags, 1, uint16(answers), uint16(authority), uint16(extra)} {
		b = binary.BigEndian.AppendUint16(b, v)
	}
	b = appendName(b, q.name)
	b = binary.BigEndian.AppendUint16(b, q.qtype)
	return binary.BigEndian.AppendUint16(b, 1)
}

func (q *question) appendOPT(b []byte) []byte {
	if !q.edns {
		return b
	}
	b = append(b, 0)
	b = binary.BigEndian.AppendUint16(b, typeOPT)
	b = binary.BigEndian.AppendUint16(b, 1232)
	return append(b, 0, 0, 0, 0, 0, 0)
}

// query returns the query message.
func (q *question) query(id uint16) []byte {
	return q.appendOPT(q.appendHeader(make([]byte, 0, 64), id, 0x0100, 0, 0))
}

// reply returns the reply message, names compressed as servers do.
func (q *question) reply(id uint16) []byte {
	authority := 0
	if q.rcode != 0 {
		authority = 1
	}
	b := q.appendHeader(make([]byte, 0, 192), id, 0x8180|uint16(q.rcode), len(q.answers), authority)
	owner := uint16(0xc00c) // the question's name
	for _, a := range q.answers {
		b = binary.BigEndian.AppendUint16(b, owner)
		b = binary.BigEndian.AppendUint16(b, a.rtype)
		b = binary.BigEndian.AppendUint16(b, 1)
		b = binary.BigEndian.AppendUint32(b, a.ttl)
		size := len(b)
		b = append(b, 0, 0)
		if a.name == "" {
			b = append(b, a.data...)
		} else {
			if a.rtype == typeMX {
				b = binary.BigEndian.AppendUint16(b, 10)
			}
			if a.rtype == typeCNAME {
				owner = 0xc000 | uint16(len(b))
			}
			b = appendName(b, a.name)
		}
		binary.BigEndian.PutUint16(b[size:], uint16(len(b)-size-2))
	}
	if authority == 1 {
		b = append(b, 0) // the root's SOA
		b = binary.BigEndian.AppendUint16(b, typeSOA)
		b = binary.BigEndian.AppendUint16(b, 1)
		b = binary.BigEndian.AppendUint32(b, 900)
		size := len(b)
		b = append(b, 0, 0)
		b = appendName(b, "ns1.example.net")
		b = appendName(b, "hostmaster.example.net")
		for _, v := range []uint32{2026030201, 1800, 900, 604_800, 900} {
			b = binary.BigEndian.AppendUint32(b, v)
		}
		binary.BigEndian.PutUint16(b[size:], uint16(len(b)-size-2))
	}
	return q.appendOPT(b)
}

// textData returns the data of a TXT record.
func textData(text string) []byte {
	return append([]byte{byte(len(text))}, text...)
}

// address returns the answer for a host's address.
func address(h *host, qtype uint16, ttl uint32) answer {
	if qtype == typeAAAA {
		return answer{rtype: typeAAAA, ttl: ttl, data: h.v6[:]}
	}
	return answer{rtype: typeA, ttl: ttl, data: h.v4[:]}
}

// about makes up a question about s.
func (g *generator) about(s *site) question {
	q := question{name: s.name, qtype: typeA, edns: g.chance(0.5)}
	ttl := uint32(g.between(30, 3600))
	switch p := g.rng.Float64(); {
	case p < 0.62:
		q.answers = s.addresses(typeA, ttl)
	case p < 0.82:
		q.qtype = typeAAAA
		q.answers = s.addresses(typeAAAA, ttl)
	case p < 0.90:
		q.name = fmt.Sprintf("%s-%x.%s", words()[g.rng.IntN(60)], g.rng.Uint32(), s.name)
		q.rcode = codeNXDomain
	case p < 0.96:
		q.name = fmt.Sprintf("%d.%d.%d.%d.in-addr.arpa", s.v4[3], s.v4[2], s.v4[1], s.v4[0])
		q.qtype = typePTR
		q.answers = []answer{{rtype: typePTR, ttl: ttl, name: s.name}}
	case p < 0.98:
		q.qtype = typeMX
		q.answers = []answer{{rtype: typeMX, ttl: ttl, name: "mail." + s.name}}
	default:
		q.qtype = typeTXT
		q.answers = []answer{{rtype: typeTXT, ttl: ttl, data: textData("v=spf1 include:" + s.name + " -all")}}
	}
	return q
}

// addresses answers a question for s's addresses.
func (s *site) addresses(qtype uint16, ttl uint32) []answer {
	if s.alias == "" {
		return []answer{address(&s.host, qtype, ttl)}
	}
	return []answer{{rtype: typeCNAME, ttl: ttl, name: s.alias}, address(&s.host, qtype, ttl)}
}

// Shares of the DNS connections.
const (
	dnsOverTCP = 0.004
	unanswered = 0.02
	twoAtOnce  = 0.06 // A and AAAA from one socket
)

// dns starts one DNS connection: a query and its reply, as a rule.
func (g *generator) dns(c, resolver *host, v6 bool, first question, rest ...question) {
	k := g.connect(c, resolver, protoUDP, 53, v6)
	if g.chance(dnsOverTCP) {
		g.totals.UDP--
		g.totals.TCP++
		k.proto = protoTCP
	}
	for i, q := range append([]question{first}, rest...) {
		id := uint16(g.rng.Uint32())
		g.totals.DNSQueries++
		k.say(client, g.wait(0, time.Millisecond), k.framed(q.query(id)))
		if i == 0 && g.chance(unanswered) {
			continue
		}
		g.totals.DNSReplies++
		k.say(server, g.wait(200*time.Microsecond, 40*time.Millisecond), k.framed(q.reply(id)))
	}
	g.start(k, ClassDNS)
}

// framed puts the length in front that DNS has over TCP.
func (c *conn) framed(message []byte) []byte {
	if c.proto != protoTCP {
		return message
	}
	return append(binary.BigEndian.AppendUint16(nil, uint16(len(message))), message...)
}

// mixDNS starts a DNS connection of the mix.
func (g *generator) mixDNS() {
	s := g.hosts.site()
	c, resolver := g.hosts.client(g), &g.hosts.resolvers[g.rng.IntN(len(g.hosts.resolvers))]
	v6 := g.chance(v6Share)
	if g.chance(twoAtOnce) {
		a := question{name: s.name, qtype: typeA, answers: s.addresses(typeA, 300)}
		aaaa := question{name: s.name, qtype: typeAAAA, answers: s.addresses(typeAAAA, 300)}
		g.dns(c, resolver, v6, a, aaaa)
		return
	}
	g.dns(c, resolver, v6, g.about(s))
}
