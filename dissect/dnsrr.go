// SPDX-License-Identifier: Apache-2.0

package dissect

import (
	"encoding/binary"
	"encoding/hex"
	"strconv"

	mdns "github.com/miekg/dns"

	"weir/internal/flow"
)

// Resource record types whose answers have a text.
const (
	rrA          = mdns.TypeA
	rrNS         = mdns.TypeNS
	rrCNAME      = mdns.TypeCNAME
	rrSOA        = mdns.TypeSOA
	rrWKS        = 11
	rrPTR        = mdns.TypePTR
	rrHINFO      = mdns.TypeHINFO
	rrMX         = mdns.TypeMX
	rrTXT        = mdns.TypeTXT
	rrAAAA       = mdns.TypeAAAA
	rrLOC        = mdns.TypeLOC
	rrNB         = 32
	rrSRV        = mdns.TypeSRV
	rrNAPTR      = mdns.TypeNAPTR
	rrA6         = 38
	rrOPT        = mdns.TypeOPT
	rrDS         = mdns.TypeDS
	rrSSHFP      = mdns.TypeSSHFP
	rrRRSIG      = mdns.TypeRRSIG
	rrNSEC       = mdns.TypeNSEC
	rrDNSKEY     = mdns.TypeDNSKEY
	rrNSEC3      = mdns.TypeNSEC3
	rrNSEC3PARAM = mdns.TypeNSEC3PARAM
	rrSVCB       = mdns.TypeSVCB
	rrHTTPS      = mdns.TypeHTTPS
	rrSPF        = mdns.TypeSPF
	rrTKEY       = mdns.TypeTKEY
	rrTSIG       = mdns.TypeTSIG
	rrCAA        = mdns.TypeCAA
	rrBINDS      = 65534
)

// rrResult says what came of one answer.
type rrResult uint8

const (
	rrText   rrResult = iota // the answer has a text, which may be empty
	rrSilent                 // the answer counts for nothing in the record
	rrBroken                 // the message cannot be read further
	rrCut                    // the text is not all of it; stop after it
)

// Operations that have records.
const (
	opQuery  = mdns.OpcodeQuery
	opNotify = mdns.OpcodeNotify
	opUpdate = mdns.OpcodeUpdate
)

// rr is a resource record of a message.
type rr struct {
	owner       int // where its name begins
	off, length int // its data
	typ, class  uint16
	ttl         uint32
	section     rrSection
	netbios     bool
}

// rrSection is the section that a record stands in.
type rrSection uint8

const (
	sectionAnswer       rrSection = iota
	sectionPrerequisite           // of a dynamic update
	sectionUpdate
)

// appendChange is appendData for the records of a dynamic update, of which Zeek says
// what they demand or change.
func appendChange(dst, msg []byte, r *rr) (text []byte, next int, result rrResult) {
	switch {
	case r.section == sectionPrerequisite:
		return appendPrerequisite(dst, msg, r), r.off + r.length, rrText
	case r.section == sectionUpdate && (r.class == mdns.ClassANY || r.class == mdns.ClassNONE):
		return appendDeletion(dst, msg, r), r.off + r.length, rrText
	}
	before := len(dst)
	dst = append(dst, "add: "...)
	switch r.typ {
	case rrA, rrAAAA, rrA6:
		dst = appendTypeName(dst, r.typ)
		dst, _ = appendName(append(dst, ' '), msg, r.owner, r.netbios)
		dst = append(dst, ' ')
	}
	prefix := len(dst)
	if dst, next, result = appendData(dst, msg, r); len(dst) == prefix {
		dst = dst[:before]
	}
	return dst, next, result
}

// appendPrerequisite appends what a dynamic update demands.
func appendPrerequisite(dst, msg []byte, r *rr) []byte {
	dst = append(dst, "pre: "...)
	switch {
	case r.class == mdns.ClassNONE && r.typ == mdns.TypeANY:
		dst = append(dst, "NameNotInUse "...)
	case r.class == mdns.ClassANY && r.typ == mdns.TypeANY:
		dst = append(dst, "NameInUse "...)
	case r.class == mdns.ClassNONE:
		dst = append(appendTypeName(append(dst, "NoRRSet "...), r.typ), ' ')
	default:
		dst = append(appendTypeName(append(dst, "RRSetExists "...), r.typ), ' ')
	}
	dst, _ = appendName(dst, msg, r.owner, r.netbios)
	return dst
}

// appendDeletion appends what a dynamic update removes.
func appendDeletion(dst, msg []byte, r *rr) []byte {
	dst = append(dst, "del: "...)
	switch {
	case r.class == mdns.ClassANY && r.typ == mdns.TypeANY:
		dst = append(dst, "RRSet * "...)
	case r.class == mdns.ClassNONE:
		dst = append(appendTypeName(append(dst, "RR "...), r.typ), ' ')
	default:
		return appendTypeName(append(dst, "RRSet "...), r.typ)
	}
	dst, _ = appendName(dst, msg, r.owner, r.netbios)
	return dst
}

func appendTypeName(dst []byte, typ uint16) []byte {
	if name := qtypeName(typ); name != "" {
		return append(dst, name...)
	}
	return appendNumber(append(dst, "query-"...), uint32(typ))
}

// appendData appends Zeek's text of a record's data to dst. next is where Zeek goes
// on reading: behind what it read of the data, which in a broken message is not where
// the data ends.
func appendData(dst, msg []byte, r *rr) (text []byte, next int, result rrResult) {
	off, length, netbios := r.off, r.length, r.netbios
	data := msg[off : off+length]
	next = off + length
	// Zeek reads a name to its end, whatever length the record has.
	name := func(dst []byte, at int) ([]byte, int, rrResult) {
		dst, end := appendName(dst, msg, off+at, netbios)
		return dst, end, rrText
	}
	switch r.typ {
	case rrA:
		if length != 4 {
			return dst, next, rrBroken
		}
		return flow.Addr4([4]byte(data)).AppendTo(dst), next, rrText
	case rrAAAA, rrA6:
		// 16 bytes are read; what the message lacks at its end is zero.
		var addr flow.Addr
		n := min(len(msg)-off, len(addr)) &^ 3
		copy(addr[:], msg[off:off+n])
		return addr.AppendTo(dst), off + n, rrText
	case rrNS, rrCNAME, rrPTR:
		return name(dst, 0)
	case rrMX:
		return name(dst, min(2, len(msg)-off))
	case rrSRV:
		if netbios {
			return dst, off, rrSilent // a node status, which shares the number and is not read
		}
		return name(dst, min(6, (len(msg)-off)&^1))
	case rrSOA:
		dst, at := appendName(dst, msg, off, netbios)
		if at = skipName(msg, at, netbios); len(msg)-at < 20 {
			return dst, next, rrBroken
		}
		return dst, at + 20, rrText
	case rrTXT:
		dst, result = appendStrings(dst, "TXT ", data)
	case rrSPF:
		dst, result = appendStrings(dst, "SPF ", data)
	case rrNAPTR:
		return appendNAPTR(dst, msg, off, length, netbios)
	case rrRRSIG:
		if length < 18 {
			return dst, next, rrBroken
		}
		dst = strconv.AppendUint(append(dst, "RRSIG "...), uint64(be16(data, 0)), 10)
		dst = append(dst, ' ')
		before := len(dst)
		if dst, _ = appendName(dst, msg, off+18, netbios); len(dst) == before {
			dst = append(dst, "<Root>"...)
		}
	case rrDNSKEY:
		if length < 4 {
			return dst, next, rrBroken
		}
		dst = strconv.AppendUint(append(dst, "DNSKEY "...), uint64(data[3]), 10)
	case rrDS:
		if length < 4 {
			return dst, next, rrBroken
		}
		dst = strconv.AppendUint(append(dst, "DS "...), uint64(data[2]), 10)
		dst = strconv.AppendUint(append(dst, ' '), uint64(data[3]), 10)
	case rrNSEC:
		dst, _ = appendName(append(dst, "NSEC "...), msg, r.owner, netbios)
		dst, _ = appendName(append(dst, ' '), msg, off, netbios)
	case rrNSEC3:
		if length < 6 {
			return dst, next, rrBroken
		}
		dst = append(dst, "NSEC3"...)
	case rrNSEC3PARAM:
		if length < 5 {
			return dst, next, rrBroken
		}
		dst = append(dst, "NSEC3PARAM"...)
	case rrSSHFP:
		if length < 2 {
			return dst, next, rrBroken
		}
		dst = hex.AppendEncode(append(dst, "SSHFP: "...), data[2:])
	case rrLOC:
		if length < 16 {
			return dst, next, rrBroken
		}
		dst = strconv.AppendUint(append(dst, "LOC:  "...), uint64(data[1]), 10)
		dst = strconv.AppendUint(append(dst, ' '), uint64(data[2]), 10)
		dst = strconv.AppendUint(append(dst, ' '), uint64(data[3]), 10)
	case rrBINDS:
		if length < 5 {
			return dst, next, rrBroken
		}
		dst = append(dst, "BIND9 signing signal"...)
	case rrWKS:
		next = off // its data is not read over
	case rrHINFO, rrNB, rrOPT, rrSVCB, rrHTTPS, rrTKEY, rrTSIG, rrCAA:
		result = rrSilent
	default:
		dst = strconv.AppendUint(append(dst, "<unknown type="...), uint64(r.typ), 10)
		dst = append(dst, '>')
	}
	return dst, next, result
}

// appendStrings appends character strings as "TXT 3 abc TXT 2 de". One that is too
// long for the data ends them, and the message if any of it is there.
func appendStrings(dst []byte, label string, data []byte) ([]byte, rrResult) {
	for first := true; len(data) > 0; first = false {
		n := int(data[0])
		if n > len(data)-1 {
			if len(data) == 1 {
				return dst, rrText
			}
			return dst, rrCut
		}
		if !first {
			dst = append(dst, ' ')
		}
		dst = strconv.AppendInt(append(dst, label...), int64(n), 10)
		dst = append(append(dst, ' '), data[1:1+n]...)
		data = data[1+n:]
	}
	return dst, rrText
}

// appendNAPTR appends "NAPTR order preference flags service", then the regular
// expression and the replacement as far as there are any.
func appendNAPTR(
	dst, msg []byte, off, length int, netbios bool,
) (text []byte, next int, result rrResult) {
	data := msg[off : off+length]
	dst = strconv.AppendUint(append(dst, "NAPTR "...), uint64(be16(data, 0)), 10)
	dst = strconv.AppendUint(append(dst, ' '), uint64(be16(data, 2)), 10)
	at, n := 4, 0
	for range 3 { // flags, service, regular expression
		if at >= len(data) || int(data[at]) > len(data)-at-1 {
			return dst, off + length, rrBroken
		}
		n = int(data[at])
		dst = append(append(dst, ' '), data[at+1:at+1+n]...)
		at += 1 + n
	}
	if n > 0 {
		dst = append(dst, ' ')
	}
	before := len(dst)
	if dst, next = appendName(dst, msg, off+at, netbios); len(dst) == before && n > 0 {
		dst = dst[:before-1]
	}
	return dst, next, rrText
}

// answers are texts with their times to live, as one string of bytes: for each
// the time (4 bytes), the length of the text (4 bytes), the text.
type answers []byte

const answerHead = 8

// each yields the answers.
func (l answers) each(yield func(ttl uint32, text []byte) bool) {
	for len(l) >= answerHead {
		end := answerHead + int(binary.BigEndian.Uint32(l[4:]))
		if !yield(binary.BigEndian.Uint32(l), l[answerHead:end]) {
			return
		}
		l = l[end:]
	}
}

// qtypeName returns Zeek's name of a query type, "" if it has none.
func qtypeName(typ uint16) string {
	low := [...]string{
		"", "A", "NS", "MD", "MF", "CNAME", "SOA", "MB", "MG", "MR", "NULL", "WKS", "PTR", "HINFO",
		"MINFO", "MX", "TXT", "RP", "AFSDB", "X25", "ISDN", "RT", "NSAP", "NSAP-PTR", "SIG", "KEY",
		"PX", "GPOS", "AAAA", "LOC", "NXT", "EID", "NIMLOC", "SRV", "ATMA", "NAPTR", "KX", "CERT",
		"A6", "DNAME", "SINK", "OPT", "APL", "DS", "SSHFP", "IPSECKEY", "RRSIG", "NSEC", "DNSKEY",
		"DHCID", "NSEC3", "NSEC3PARAM", "TLSA", "SMIMEA", "", "HIP", "NINFO", "RKEY", "TALINK",
		"CDS", "CDNSKEY", "OPENPGPKEY", "CSYNC", "ZONEMD", "SVCB", "HTTPS",
	}
	mid := [...]string{"SPF", "UINFO", "UID", "GID", "UNSPEC", "NID", "L32", "L64", "LP", "EUI48", "EUI64"}
	high := [...]string{"TKEY", "TSIG", "IXFR", "AXFR", "MAILB", "MAILA", "*", "URI", "CAA"}
	switch {
	case int(typ) < len(low):
		return low[typ]
	case int(typ)-99 < len(mid) && typ >= 99:
		return mid[typ-99]
	case int(typ)-249 < len(high) && typ >= 249:
		return high[typ-249]
	}
	switch typ {
	case 32768:
		return "TA"
	case 32769:
		return "DLV"
	case 65281:
		return "WINS"
	case 65282:
		return "WINS-R"
	case 65422:
		return "XPF"
	case 65521:
		return "INTEGRITY"
	}
	return ""
}

func qclassName(class uint16) string {
	switch class {
	case 1:
		return "C_INTERNET"
	case 2:
		return "C_CSNET"
	case 3:
		return "C_CHAOS"
	case 4:
		return "C_HESIOD"
	case 254:
		return "C_NONE"
	case 255:
		return "C_ANY"
	}
	return ""
}

func rcodeName(code uint8) string {
	names := [...]string{
		"NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED", "YXDOMAIN", "YXRRSET",
		"NXRRSet", "NOTAUTH", "NOTZONE", "unassigned-11", "unassigned-12", "unassigned-13",
		"unassigned-14", "unassigned-15",
	}
	return names[code&15]
}

// opcodeName names the operations that have records.
func opcodeName(code uint8, netbios bool) string {
	switch {
	case code == opQuery && netbios:
		return "netbios-query"
	case code == opUpdate && netbios:
		return "netbios-registration"
	case code == opNotify && netbios:
		return "netbios-opcode-4"
	case code == opNotify:
		return "notify"
	case code == opUpdate:
		return "dynamic-update"
	}
	return "query"
}
