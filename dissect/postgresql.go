// SPDX-License-Identifier: Apache-2.0

package dissect

import "weir/internal/flow"

// PostgreSQL's request for TLS, and how all of its requests for other than a
// session begin.
const (
	requestSSL  = "\x00\x00\x00\x08\x04\xd2\x16\x2f"
	requestCode = "\x00\x00\x00\x08\x04\xd2"
)

// postgresql takes a client's first messages, which are requests for TLS or
// GSSAPI or the beginning of a session, and the server's answers of one byte.
func (c *upgradeSession) postgresql(a *App, dir flow.Dir, data []byte) (int, outcome) {
	if dir == flow.ToClient {
		asked := c.asked
		c.asked = askedNothing
		switch b := data[0]; {
		case b == 'S' && asked == askedTLS:
			a.confirm(protoPostgreSQL)
			return 1, secured
		case b == 'N' && asked != askedNothing:
			a.confirm(protoPostgreSQL)
			return 1, goOn
		}
		return 1, giveUp
	}
	n, ok := c.head(dir, data, len(requestSSL))
	if !ok {
		return n, goOn
	}
	c.n[dir&1] = 0
	c.lines++
	request := string(c.line[dir&1][:len(requestSSL)])
	switch {
	case c.lines > maxLines || request[:len(requestCode)] != requestCode:
		return n, giveUp // a session, or something else
	case request == requestSSL:
		c.asked = askedTLS
	default:
		c.asked = askedTokens
	}
	return n, goOn
}
