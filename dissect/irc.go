// SPDX-License-Identifier: Apache-2.0

package dissect

import "weir/internal/flow"

// irc confirms IRC on its own ports by what a client says. Elsewhere it takes a
// name, a user and a server's reply.
func (c *upgradeSession) irc(t *flow.Tuple, a *App, dir flow.Dir, line []byte) outcome {
	known := a.flags&inside == 0 && upgradePort(t.Dport) == protoIRC
	first, rest := firstWord(line)
	if len(first) > 0 && first[0] == ':' {
		first, _ = firstWord(rest)
	}
	if dir == flow.ToServer {
		switch {
		case isWord(first, "STARTTLS"):
			c.asked = askedTLS
		case isWord(first, "NICK"):
			c.idLen |= 1
		case isWord(first, "USER"):
			c.idLen |= 2
		case isWord(first, "JOIN"), isWord(first, "PRIVMSG"):
		default:
			return goOn
		}
		if known {
			a.confirm(protoIRC)
		}
		return goOn
	}
	if code, _ := reply(first); code != 0 && len(first) == 3 && (known || c.idLen == 3) {
		a.confirm(protoIRC)
		switch {
		case code == 670 && c.asked == askedTLS:
			return secured
		case code <= 5:
			return giveUp // registered: too late for TLS
		}
	}
	return goOn
}
