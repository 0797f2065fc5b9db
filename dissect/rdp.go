// SPDX-License-Identifier: Apache-2.0

package dissect

import "weir/internal/flow"

// tpkt takes bytes of RDP's packets until one is a TLS record instead.
func (c *upgradeSession) tpkt(a *App, dir flow.Dir, data []byte) (int, outcome) {
	const header = 4
	if left := &c.left[dir&1]; *left > 0 {
		n := min(len(data), int(*left))
		*left -= uint32(n)
		return n, goOn
	}
	if c.n[dir&1] == 0 {
		if b := data[0]; b >= recChange && b <= recData {
			return 0, sniff
		} else if b != 3 {
			return 0, giveUp
		}
	}
	// Every packet has these: the shortest is a header and three bytes of X.224.
	n, ok := c.head(dir, data, header+3)
	if !ok {
		return n, goOn
	}
	h := &c.line[dir&1]
	size := be16(h[:], 2)
	c.n[dir&1] = 0
	if h[1] != 0 || size < header+3 {
		return n, giveUp
	}
	c.left[dir&1] = uint32(size) - header - 3
	if c.lines++; c.lines > maxLines {
		return n, giveUp
	}
	switch h[5] {
	case 0xe0, 0xd0: // a connection's request and its confirmation
		return n, goOn
	case 0xf0: // data: RDP's own security, no TLS
		a.confirm(protoRDP)
	}
	return n, giveUp
}
