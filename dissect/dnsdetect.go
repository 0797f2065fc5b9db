// SPDX-License-Identifier: Apache-2.0

package dissect

import (
	"strconv"

	"weir/internal/flow"
)

func appendNumber(dst []byte, n uint32) []byte { return strconv.AppendUint(dst, uint64(n), 10) }

// detectDNSDatagram knows DNS by its port, as Zeek does, and elsewhere by a
// message that is plausible to its last byte.
func detectDNSDatagram(t *flow.Tuple, data []byte) verdict {
	if dnsPort(t.Dport) || plausibleDNS(data) {
		return yes
	}
	return no
}

// dnsPort reports whether datagrams to a port are DNS for Zeek: its own, NetBIOS
// name service, mDNS or LLMNR.
func dnsPort(port uint16) bool { return port == 53 || port == 137 || port == 5353 || port == 5355 }

// detectDNSStream does the same for TCP, where a message on another port must be
// complete in the first segment.
func detectDNSStream(t *flow.Tuple, _ flow.Dir, data []byte) verdict {
	if t.Dport == 53 {
		return yes
	}
	if len(data) >= 2+dnsHeader {
		if n := int(be16(data, 0)); n <= len(data)-2 && plausibleDNS(data[2:2+n]) {
			return yes
		}
	}
	return no
}

// plausibleDNS reports whether data is a DNS message beyond doubt: one question
// for a host's name and a known type, sane counts, and records that end where
// the data ends.
func plausibleDNS(data []byte) bool {
	if len(data) < dnsHeader+6 || data[2]&0x78 != 0 || data[3]&0x40 != 0 || be16(data, 4) != 1 {
		return false
	}
	an, ns, ar := int(be16(data, 6)), int(be16(data, 8)), int(be16(data, 10))
	if data[2]&0x80 == 0 {
		if data[2]&6 != 0 || data[3]&0x8f != 0 || an != 0 || ns != 0 || ar > 2 {
			return false
		}
	} else if data[3]&15 > 10 {
		return false
	}
	off := dnsHeader
	for {
		n := int(data[off])
		off++
		if n == 0 && len(data)-off >= 4 {
			break // type and class follow
		}
		if n == 0 || n > 63 || len(data)-off < n+5 {
			return false
		}
		for _, c := range data[off : off+n] {
			if c <= ' ' || c >= 0x7f {
				return false
			}
		}
		off += n
	}
	if off-dnsHeader > 255 || qtypeName(be16(data, off)) == "" || be16(data, off+2)&0x7fff != 1 {
		return false
	}
	off += 4
	for range an + ns + ar {
		if off = skipName(data, off, false); len(data)-off < 10 {
			return false
		}
		if off += 10 + int(be16(data, off+8)); off > len(data) {
			return false
		}
	}
	return off == len(data)
}
