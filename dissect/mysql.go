// SPDX-License-Identifier: Apache-2.0

package dissect

import "weir/internal/flow"

// mysql takes bytes of MySQL's packets: the server's greeting and the client's
// answer, whose flags ask for TLS.
func (c *upgradeSession) mysql(a *App, dir flow.Dir, data []byte) (int, outcome) {
	const header, flagTLS = 4, 0x08
	if left := &c.left[dir&1]; *left > 0 {
		n := min(len(data), int(*left))
		if *left -= uint32(n); *left > 0 || dir == flow.ToClient {
			return n, goOn
		}
		return n, c.answered(a, flagTLS)
	}
	if dir == flow.ToClient && c.asked != askedNothing {
		return len(data), giveUp // more than a greeting before an answer
	}
	n, ok := c.head(dir, data, header+2)
	if !ok {
		return n, goOn
	}
	h := &c.line[dir&1]
	size := uint32(h[0]) | uint32(h[1])<<8 | uint32(h[2])<<16
	if size < 3 {
		return n, giveUp
	}
	c.left[dir&1] = size - 2
	if dir == flow.ToClient {
		if h[3] != 0 || h[4] != 10 && h[4] != 9 {
			return n, giveUp
		}
		c.asked = askedHello
		c.n[dir&1] = 0
		return n, goOn
	}
	if h[3] != 1 || c.asked == askedNothing {
		return n, giveUp
	}
	return n, goOn
}

// answered is for the end of the client's first packet.
func (c *upgradeSession) answered(a *App, flagTLS byte) outcome {
	a.confirm(protoMySQL)
	if c.line[flow.ToServer&1][5]&flagTLS != 0 {
		return secured
	}
	return giveUp
}
