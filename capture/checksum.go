// SPDX-License-Identifier: Apache-2.0

package capture

import (
	"encoding/binary"
	"math/bits"

	"weir/internal/flow"
)

// onesSum adds b to a one's complement sum in 64 bits, eight bytes at a time. The
// sum is independent of the byte order that the result is read in.
func onesSum(sum uint64, b []byte) uint64 {
	var carry uint64
	for ; len(b) >= 8; b = b[8:] {
		sum, carry = bits.Add64(sum, binary.BigEndian.Uint64(b), carry)
	}
	if len(b) > 0 {
		var last [8]byte
		copy(last[:], b)
		sum, carry = bits.Add64(sum, binary.BigEndian.Uint64(last[:]), carry)
	}
	sum, carry = bits.Add64(sum, 0, carry)
	return sum + carry
}

// onesZero reports whether a sum that included the checksum field is right.
func onesZero(sum uint64) bool {
	sum = sum>>32 + sum&0xffffffff
	sum = sum>>32 + sum&0xffffffff
	sum = sum>>16 + sum&0xffff
	sum = sum>>16 + sum&0xffff
	return sum == 0xffff
}

// checksumOK verifies the transport checksum of a segment that was captured
// whole; seg begins with the transport header. Protocols without one are fine.
func checksumOK(p *flow.Packet, seg []byte) bool {
	switch p.Proto {
	case flow.ICMP:
		return onesZero(onesSum(0, seg))
	case flow.TCP, flow.ICMPv6:
	case flow.UDP:
		// Over IPv6 the checksum is not optional, unless for VXLAN.
		if seg[6] == 0 && seg[7] == 0 && (p.Src.Is4() || likeVXLAN(p, seg[8:])) {
			return true
		}
	default:
		return true
	}
	sum := uint64(len(seg)) + uint64(p.Proto)
	if p.Src.Is4() {
		sum = onesSum(sum, p.Src[12:])
		sum = onesSum(sum, p.Dst[12:])
	} else {
		sum = onesSum(sum, p.Src[:])
		sum = onesSum(sum, p.Dst[:])
	}
	return onesZero(onesSum(sum, seg))
}
