// SPDX-License-Identifier: Apache-2.0

package dissect

import "weir/internal/flow"

// smtpGreeted notes in upgradeSession.idLen that the server's greeting was seen.
const smtpGreeted = 1

// smtp takes a line up to the first mail, whose lines are no commands.
func (c *upgradeSession) smtp(a *App, dir flow.Dir, line []byte) outcome {
	if dir == flow.ToServer {
		cmd, _ := firstWord(line)
		switch {
		case isWord(cmd, "HELO"), isWord(cmd, "EHLO"), isWord(cmd, "XEHLO"):
			a.confirm(protoSMTP)
		case isWord(cmd, "STARTTLS"), isWord(cmd, "X-ANONYMOUSTLS"):
			c.asked = askedTLS
		case isWord(cmd, "DATA"), isWord(cmd, "BDAT"):
			return giveUp // a mail, which is not for lines of commands
		}
		return goOn
	}
	code, last := reply(line)
	if code < 100 || code > 599 { // as for Zeek, not SMTP after all
		a.retract(protoSMTP)
		return giveUp
	}
	switch {
	case !last:
	case c.idLen == 0:
		c.idLen = smtpGreeted
	case c.asked == askedTLS && code == 220:
		// Nothing else has that code. Other replies may be to what the client
		// said before, without waiting.
		return secured
	}
	return goOn
}
