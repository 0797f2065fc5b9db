// SPDX-License-Identifier: Apache-2.0

package dissect

import "weir/internal/flow"

// pop3 takes a line up to the login. A greeting is not enough to know POP3 by, since
// others begin with the same word: the client has to ask for something.
func (c *upgradeSession) pop3(a *App, dir flow.Dir, line []byte) outcome {
	cmd, _ := firstWord(line)
	if dir == flow.ToServer {
		switch {
		case isWord(cmd, "STLS"):
			c.asked = askedTLS
		case isWord(cmd, "USER"), isWord(cmd, "CAPA"):
			c.asked = askedUser
		case isWord(cmd, "PASS"), isWord(cmd, "APOP"):
			c.asked = askedLogin
		default:
			c.asked = askedNothing
		}
		return goOn
	}
	if !isWord(cmd, "+OK") {
		if isWord(cmd, "-ERR") {
			c.asked = askedNothing
		}
		return goOn // perhaps a line inside a reply
	}
	asked := c.asked
	c.asked = askedNothing
	switch asked {
	case askedTLS:
		a.confirm(protoPOP3)
		return secured
	case askedUser:
		a.confirm(protoPOP3)
	case askedLogin:
		return giveUp
	}
	return goOn
}
