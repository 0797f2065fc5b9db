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

// appendAnswer appends Zeek's text of the answer whose data is
// msg[off:off+length] to dst. owner is the offset of the record's name.
func appendAnswer(dst, msg []byte, owner, off, length int, typ uint16, netbios bool) ([]byte, rrResult) {
	data := msg[off : off+length]
	name := func(dst []byte, at int) []byte {
		dst, _ = appendName(dst, msg, off+at, netbios)
		return dst
	}
	switch typ {
	case rrA:
		if length != 4 {
			return dst, rrBroken
		}
		return flow.Addr4([4]byte(data)).AppendTo(dst), rrText
	case rrAAAA, rrA6:
		if length < 16 {
			return dst, rrBroken
		}
		return flow.Addr(data[:16]).AppendTo(dst), rrText
	case rrNS, rrCNAME, rrPTR:
		return name(dst, 0), rrText
	case rrMX:
		return name(dst, 2), rrText
	case rrSRV:
		if netbios {
			return dst, rrSilent // a node status, which shares the number
		}
		return name(dst, 6), rrText
	case rrSOA:
		dst, at := appendName(dst, msg, off, netbios)
		if at = skipName(msg, at, netbios); len(msg)-at < 20 {
			return dst, rrBroken
		}
		return dst, rrText
	case rrTXT:
		return appendStrings(dst, "TXT ", data)
	case rrSPF:
		return appendStrings(dst, "SPF ", data)
	case rrNAPTR:
		return appendNAPTR(dst, msg, off, length, netbios)
	case rrRRSIG:
		if length < 18 {
			return dst, rrBroken
		}
		dst = strconv.AppendUint(append(dst, "RRSIG "...), uint64(be16(data, 0)), 10)
		dst = append(dst, ' ')
		before := len(dst)
		if dst = name(dst, 18); len(dst) == before {
			dst = append(dst, "<Root>"...)
		}
		return dst, rrText
	case rrDNSKEY:
		if length < 4 {
			return dst, rrBroken
		}
		return strconv.AppendUint(append(dst, "DNSKEY "...), uint64(data[3]), 10), rrText
	case rrDS:
		if length < 4 {
			return dst, rrBroken
		}
		dst = strconv.AppendUint(append(dst, "DS "...), uint64(data[2]), 10)
		return strconv.AppendUint(append(dst, ' '), uint64(data[3]), 10), rrText
	case rrNSEC:
		dst, _ = appendName(append(dst, "NSEC "...), msg, owner, netbios)
		return name(append(dst, ' '), 0), rrText
	case rrNSEC3:
		if length < 6 {
			return dst, rrBroken
		}
		return append(dst, "NSEC3"...), rrText
	case rrNSEC3PARAM:
		if length < 5 {
			return dst, rrBroken
		}
		return append(dst, "NSEC3PARAM"...), rrText
	case rrSSHFP:
		if length < 2 {
			return dst, rrBroken
		}
		return hex.AppendEncode(append(dst, "SSHFP: "...), data[2:]), rrText
	case rrLOC:
		if length < 16 {
			return dst, rrBroken
		}
		dst = strconv.AppendUint(append(dst, "LOC:  "...), uint64(data[1]), 10)
		dst = strconv.AppendUint(append(dst, ' '), uint64(data[2]), 10)
		return strconv.AppendUint(append(dst, ' '), uint64(data[3]), 10), rrText
	case rrBINDS:
		if length < 5 {
			return dst, rrBroken
		}
		return append(dst, "BIND9 signing signal"...), rrText
	case rrWKS:
		return dst, rrText
	case rrHINFO, rrNB, rrOPT, rrSVCB, rrHTTPS, rrTKEY, rrTSIG, rrCAA:
		return dst, rrSilent
	}
	dst = strconv.AppendUint(append(dst, "<unknown type="...), uint64(typ), 10)
	return append(dst, '>'), rrText
}

// appendStrings appends character strings as "TXT 3 abc TXT 2 de".
func appendStrings(dst []byte, label string, data []byte) ([]byte, rrResult) {
	for first := true; len(data) > 0; first = false {
		n := int(data[0])
		if n > len(data)-1 {
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
func appendNAPTR(dst, msg []byte, off, length int, netbios bool) ([]byte, rrResult) {
	data := msg[off : off+length]
	dst = strconv.AppendUint(append(dst, "NAPTR "...), uint64(be16(data, 0)), 10)
	dst = strconv.AppendUint(append(dst, ' '), uint64(be16(data, 2)), 10)
	at, n := 4, 0
	for range 3 { // flags, service, regular expression
		if at >= len(data) || int(data[at]) > len(data)-at-1 {
			return dst, rrBroken
		}
		n = int(data[at])
		dst = append(append(dst, ' '), data[at+1:at+1+n]...)
		at += 1 + n
	}
	if n > 0 {
		dst = append(dst, ' ')
	}
	before := len(dst)
	if dst, _ = appendName(dst, msg, off+at, netbios); len(dst) == before && n > 0 {
		dst = dst[:before-1]
	}
	return dst, rrText
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
	case code == 0 && netbios:
		return "netbios-query"
	case code == 5 && netbios:
		return "netbios-registration"
	case code == 4 && netbios:
		return "netbios-opcode-4"
	case code == 4:
		return "notify"
	case code == 5:
		return "dynamic-update"
	}
	return "query"
}
