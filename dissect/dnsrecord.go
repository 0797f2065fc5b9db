// SPDX-License-Identifier: Apache-2.0

package dissect

import "weir/internal/flow"

// writeItem writes a message that found no counterpart.
func (d *dns) writeItem(t *flow.Tuple, session *dnsSession, number uint32) {
	item := d.items.at(number)
	name, list := item.text()
	d.write(t, session, item, name, list, 0)
	d.freeItem(number)
}

// writePair writes the record of a waiting message and d.msg.
func (d *dns) writePair(t *flow.Tuple, session *dnsSession, number uint32, reply bool) {
	m := &d.msg
	item := d.items.at(number)
	name, list := item.text()
	rtt := int64(0)
	if reply {
		item.rcode = m.item.rcode
		item.flags |= m.item.flags & (dnsSawReply | dnsRejected | dnsAA | dnsRA)
		if item.flags&dnsHasName == 0 && m.item.flags&dnsHasName != 0 {
			item.flags |= dnsHasName
			name = m.name
		}
		list = m.answers
		if m.answered {
			rtt = m.item.ts.Micro() - item.ts.Micro()
		}
	} else {
		item.flags |= dnsSawQuery
		if m.item.flags&dnsHasQuestion != 0 {
			item.flags = item.flags&^(dnsTC|dnsRD) | m.item.flags
			item.qtype, item.qclass, item.z = m.item.qtype, m.item.qclass, m.item.z
			name = m.name
		}
	}
	item.opcode = m.item.opcode
	d.write(t, session, item, name, list, rtt)
	d.freeItem(number)
}

func (d *dns) write(
	t *flow.Tuple, session *dnsSession, item *dnsItem, name []byte, list answers, rtt int64,
) {
	if !d.s.begin(flow.DNS, t, item.ts, &session.written) {
		return
	}
	out := d.s.Out
	netbios := t.Dport == 137
	out.SetInt(flow.DNSTransID, int64(item.id))
	if rtt != 0 {
		out.SetInt(flow.DNSRTT, rtt)
	}
	if item.flags&dnsHasName != 0 {
		out.SetText(flow.DNSQuery, name)
	}
	if item.flags&dnsHasQuestion != 0 {
		out.SetInt(flow.DNSQClass, int64(item.qclass))
		d.setName(flow.DNSQClassName, qclassName(item.qclass), "qclass-", item.qclass)
		out.SetInt(flow.DNSQType, int64(item.qtype))
		text := qtypeName(item.qtype)
		if netbios && item.qtype == rrSRV && t.Proto == flow.UDP {
			text = "NBSTAT"
		}
		d.setName(flow.DNSQTypeName, text, "query-", item.qtype)
	}
	if item.flags&dnsSawReply != 0 {
		out.SetInt(flow.DNSRcode, int64(item.rcode))
		out.SetString(flow.DNSRcodeName, rcodeName(item.rcode))
	}
	out.SetBool(flow.DNSAA, item.flags&dnsAA != 0)
	out.SetBool(flow.DNSTC, item.flags&dnsTC != 0)
	out.SetBool(flow.DNSRD, item.flags&dnsRD != 0)
	out.SetBool(flow.DNSRA, item.flags&dnsRA != 0)
	out.SetInt(flow.DNSZ, int64(item.z))
	for _, text := range list.each {
		out.AppendText(flow.DNSAnswers, text)
	}
	for ttl := range list.each {
		out.AppendInt(flow.DNSTTLs, int64(ttl)*1e6)
	}
	out.SetBool(flow.DNSRejected, item.flags&dnsRejected != 0)
	out.SetInt(flow.DNSOpcode, int64(item.opcode))
	out.SetString(flow.DNSOpcodeName, opcodeName(item.opcode, netbios))
}

// setName sets an attribute to the name of a number, or to the number behind a
// prefix where it has no name.
func (d *dns) setName(attr int, name, prefix string, number uint16) {
	if name != "" {
		d.s.Out.SetString(attr, name)
		return
	}
	d.nameBuf = appendNumber(append(d.nameBuf[:0], prefix...), uint32(number))
	d.s.Out.SetText(attr, d.nameBuf)
}
