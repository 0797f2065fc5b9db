// SPDX-License-Identifier: Apache-2.0

package dissect

import "weir/internal/flow"

// imap takes a line up to the login. The reply to a command is known by its tag.
func (c *upgradeSession) imap(a *App, dir flow.Dir, line []byte) outcome {
	tag, rest := firstWord(line)
	cmd, _ := firstWord(rest)
	if dir == flow.ToServer {
		switch {
		case isWord(cmd, "STARTTLS"):
			if len(tag) <= maxTag {
				c.asked, c.idLen = askedTLS, uint8(copy(c.id[:], tag))
			}
		case isWord(cmd, "LOGIN"), isWord(cmd, "AUTHENTICATE"):
			return giveUp
		}
		return goOn
	}
	if isWord(tag, "*") {
		if isWord(cmd, "OK") || isWord(cmd, "PREAUTH") || isWord(cmd, "CAPABILITY") {
			a.confirm(protoIMAP)
		}
		return goOn
	}
	if c.asked == askedTLS && string(tag) == string(c.id[:c.idLen]) {
		c.asked = askedNothing
		if isWord(cmd, "OK") {
			return secured
		}
	}
	return goOn
}
