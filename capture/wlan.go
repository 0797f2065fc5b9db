// SPDX-License-Identifier: Apache-2.0

package capture

import "encoding/binary"

// Bits of the first and the second byte of an 802.11 header, and of its QoS control.
const (
	wlanData   = 0x08 // neither management nor control
	wlanNoData = 0x40 // nothing follows
	wlanQoS    = 0x80

	wlanBetween   = 0x03 // from and to the distribution system: four addresses
	wlanProtected = 0x40
	wlanOrder     = 0x80

	qosAggregate = 0x80
)

// wlan decodes an 802.11 frame. Some cards pad its header to a multiple of four
// bytes.
func (d *decoder) wlan(b []byte, n int, padded bool) Reason {
	if len(b) < 2 {
		return LinkHeader
	}
	if b[0]&wlanData == 0 || b[0]&wlanNoData != 0 {
		return LinkControl
	}
	flags, at, aggregate := b[1], 24, false
	if flags&wlanBetween == wlanBetween {
		at += 6
	}
	if b[0]&wlanQoS != 0 {
		if at+2 > len(b) {
			return LinkHeader
		}
		if flags&wlanProtected != 0 {
			return Encrypted
		}
		aggregate = b[at]&qosAggregate != 0
		at += 2
		if flags&wlanOrder != 0 {
			at += 4 // HT control
		}
	}
	if padded {
		at = (at + 3) &^ 3
	}
	if at > len(b) {
		return LinkHeader
	}
	b, n = b[at:], n-at
	switch {
	case aggregate:
		return d.aggregate(b)
	case flags&wlanProtected != 0 && !isSNAP(b):
		return Encrypted
	}
	return d.llc(b, n)
}

// isSNAP reports whether a frame begins with Ethernet's type behind a SNAP header,
// as all do that carry IP over 802.11.
func isSNAP(b []byte) bool {
	return len(b) >= 6 && [6]byte(b) == [6]byte{llcSNAP, llcSNAP, llcUnnumbered}
}

// aggregate decodes the frames of an A-MSDU. Each of them may become a packet, the
// frame around them is counted once: as delivered if one of them is, else under
// the reason of the first.
func (d *decoder) aggregate(b []byte) Reason {
	around := d.place
	before, result := d.stats.Delivered, LinkHeader
	for count := 0; ; count++ {
		end, ok := subframe(b)
		if !ok {
			break
		}
		around.joins = d.joins // they count for the whole frame
		d.place = around
		if r := d.llc(b[subframeHeader:end:end], end-subframeHeader); count == 0 || r == Delivered {
			result = r
		}
		b = b[end+padding(b[end:], end):]
	}
	if n := d.stats.Delivered - before; n > 1 {
		d.stats.Aggregated += n - 1
		d.stats.Delivered = before + 1
	}
	return result
}

// subframeHeader is the size of the addresses and the length before each frame of
// an A-MSDU.
const subframeHeader = 14

// subframe returns where the first frame of an A-MSDU ends, without its padding.
func subframe(b []byte) (end int, ok bool) {
	if len(b) < subframeHeader {
		return 0, false
	}
	end = subframeHeader + int(binary.BigEndian.Uint16(b[12:]))
	return end, end <= len(b)
}

// padding returns how many bytes b has before the next frame of an A-MSDU, if the
// one before took size bytes. It should fill up to a multiple of four, but not all
// access points count the same bytes: so the next frame is looked for.
func padding(b []byte, size int) int {
	usual := -size & 3
	for _, n := range [...]int{usual, 0, 1, 2, 3} {
		if n > len(b) {
			continue
		}
		if end, ok := subframe(b[n:]); ok && isSNAP(b[n+subframeHeader:n+end]) {
			return n
		}
	}
	return min(usual, len(b))
}

// radiotap decodes what a card says about an 802.11 frame: what matters is where
// that ends, and whether the frame's header is padded.
func (d *decoder) radiotap(b []byte, n int) Reason {
	if len(b) < 4 {
		return LinkHeader
	}
	size := int(binary.LittleEndian.Uint16(b[2:]))
	if size < 8 || size > len(b) {
		return LinkHeader
	}
	return d.wlan(b[size:], n-size, radiotapPadded(b[:size]))
}

// radiotapPadded looks for the flags of a radiotap header of at least 8 bytes.
func radiotapPadded(b []byte) bool {
	const hasTime, hasFlags, more = 1, 2, 1 << 31
	const padded = 0x20
	present := binary.LittleEndian.Uint32(b[4:])
	if present&hasFlags == 0 {
		return false
	}
	at := 8
	for word := present; word&more != 0; at += 4 {
		if at+4 > len(b) {
			return false
		}
		word = binary.LittleEndian.Uint32(b[at:])
	}
	if present&hasTime != 0 {
		at = (at+7)&^7 + 8
	}
	return at < len(b) && b[at]&padded != 0
}

// ppi decodes a per-packet information header, which names the link type of what
// follows.
func (d *decoder) ppi(b []byte, n int) Reason {
	if len(b) < 8 {
		return LinkHeader
	}
	size := int(binary.LittleEndian.Uint16(b[2:]))
	if size < 8 || size > len(b) {
		return LinkHeader
	}
	return d.named(binary.LittleEndian.Uint32(b[4:]), b[size:], n-size)
}

// prism decodes the header of Prism cards, in place of which some drivers write
// that of AVS.
func (d *decoder) prism(b []byte, n int) Reason {
	if len(b) >= 4 && binary.BigEndian.Uint32(b)&0xfffff000 == 0x80211000 {
		return d.avs(b, n)
	}
	return d.skipTo(linkWLAN, b, n, 144)
}

// avs decodes the header of the AVS drivers for 802.11.
func (d *decoder) avs(b []byte, n int) Reason {
	if len(b) < 8 {
		return LinkHeader
	}
	size := binary.BigEndian.Uint32(b[4:])
	if size < 8 || uint64(size) > uint64(len(b)) {
		return LinkHeader
	}
	return d.wlan(b[size:], n-int(size), false)
}
