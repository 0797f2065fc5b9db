// SPDX-License-Identifier: Apache-2.0

package dissect

import "encoding/binary"

const (
	// maxName is how long a name can get as text. DNS allows 255 bytes, NetBIOS
	// and broken messages have more.
	maxName = 512
	// maxJumps is how many compression pointers one name may follow. Pointers
	// only lead backwards, but a message may hold thousands of them.
	maxJumps = 128
)

// appendName appends the domain name at off to dst: labels in lower case with
// dots between them, bytes as they are, "" for the root. It returns the offset
// behind the name. What cannot be read ends the name without an error, as in
// Zeek; long allows labels beyond 63 bytes (NetBIOS).
func appendName(dst, msg []byte, off int, long bool) ([]byte, int) {
	start, limit, behind, jumps := len(dst), len(msg), -1, 0
	pos := off
	for pos < limit {
		at := pos
		n := int(msg[pos])
		pos++
		// A last byte alone ends the name, whatever it is.
		if n == 0 || pos == limit {
			break
		}
		if n&0xc0 == 0xc0 {
			target := n&0x3f<<8 | int(msg[pos])
			pos++
			if behind < 0 {
				behind = pos
			}
			if target >= at || jumps == maxJumps {
				break
			}
			jumps++
			pos, limit = target, at
			continue
		}
		if n > limit-pos {
			pos = limit
			break
		}
		if n > 63 && !long || n >= maxName-(len(dst)-start) {
			break
		}
		for _, c := range msg[pos : pos+n] {
			if 'A' <= c && c <= 'Z' {
				c |= 0x20
			}
			dst = append(dst, c)
		}
		dst = append(dst, '.')
		pos += n
	}
	if behind < 0 {
		behind = pos
	}
	if len(dst)-start >= 2 && dst[len(dst)-1] == '.' {
		dst = dst[:len(dst)-1]
	}
	return dst, behind
}

// skipName returns the offset behind the name at off.
func skipName(msg []byte, off int, long bool) int {
	text := 0
	for off < len(msg) {
		n := int(msg[off])
		off++
		switch {
		case n == 0 || off == len(msg):
			return off
		case n&0xc0 == 0xc0:
			return off + 1
		case n > len(msg)-off:
			return len(msg)
		case n > 63 && !long || n >= maxName-text:
			return off
		}
		off += n
		text += n + 1
	}
	return off
}

// appendNetBIOS appends the name that a first-level encoded NetBIOS name stands
// for, up to the padding.
func appendNetBIOS(dst, name []byte) []byte {
	for i := 0; i+1 < len(name) && i < 32; i += 2 {
		c := (upper(name[i])-'A')<<4 | (upper(name[i+1]) - 'A')
		if c != 1 && c != 2 && (c <= ' ' || c > '~') {
			break
		}
		dst = append(dst, c)
	}
	return dst
}

func upper(c byte) byte {
	if 'a' <= c && c <= 'z' {
		return c &^ 0x20
	}
	return c
}

// be16 and be32 read the integer at off, 0 where the message has ended.
func be16(msg []byte, off int) uint16 {
	if off+2 > len(msg) {
		return 0
	}
	return binary.BigEndian.Uint16(msg[off:])
}

func be32(msg []byte, off int) uint32 {
	if off+4 > len(msg) {
		return 0
	}
	return binary.BigEndian.Uint32(msg[off:])
}
