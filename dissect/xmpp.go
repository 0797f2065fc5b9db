// SPDX-License-Identifier: Apache-2.0

package dissect

import (
	"bytes"

	"weir/internal/flow"
)

// tag takes bytes of XMPP up to the end of a tag. Of its text only the name is
// read.
func (c *upgradeSession) tag(a *App, dir flow.Dir, data []byte) (int, outcome) {
	name, n := &c.line[dir&1], &c.n[dir&1]
	if !c.skip[dir&1] { // outside of a tag
		i := bytes.IndexByte(data, '<')
		if i < 0 {
			return len(data), goOn
		}
		c.skip[dir&1], *n = true, 0
		return i + 1, goOn
	}
	end := bytes.IndexByte(data, '>')
	if end < 0 {
		*n += uint8(copy(name[*n:], data))
		return len(data), goOn
	}
	*n += uint8(copy(name[*n:], data[:end]))
	c.skip[dir&1] = false
	if c.lines++; c.lines > maxLines {
		return end + 1, giveUp
	}
	tag := name[:*n]
	if i := bytes.IndexAny(tag, " \t\r\n/"); i > 0 {
		tag = tag[:i]
	}
	switch {
	case dir == flow.ToServer && string(tag) == "stream:stream":
		a.confirm(protoXMPP)
	case dir == flow.ToServer && string(tag) == "starttls":
		c.asked = askedTLS
	case dir == flow.ToClient && string(tag) == "proceed" && c.asked == askedTLS:
		return end + 1, secured
	}
	switch string(tag) {
	case "success", "message", "presence", "db:result", "db:verify":
		return end + 1, giveUp // beyond the point where TLS may begin
	}
	return end + 1, goOn
}
