// SPDX-License-Identifier: Apache-2.0

package dissect

import "weir/internal/flow"

// ftp also has what greets as FTP does and is SMTP: both are told apart by what
// the client says, where the port does not tell.
// It is followed beyond the login, since it may turn out not to be FTP.
func (c *upgradeSession) ftp(t *flow.Tuple, a *App, dir flow.Dir, line []byte) outcome {
	known := a.flags&inside == 0 && upgradePort(t.Dport) == protoFTP
	if dir == flow.ToServer {
		cmd, rest := firstWord(line)
		switch {
		case !known && (isWord(cmd, "HELO") || isWord(cmd, "EHLO") || isWord(cmd, "XEHLO")):
			a.proto = protoSMTP
			c.idLen = smtpGreeted
			return c.smtp(a, dir, line)
		case isWord(cmd, "USER"):
			c.asked = askedUser
		case (known || a.confirmed(protoFTP)) && isWord(cmd, "AUTH"):
			// Zeek follows these two, and only in capitals.
			switch string(rest) {
			case "GSSAPI":
				c.asked = askedTokens
			case "TLS":
				c.asked = askedTLS
			default:
				c.asked = askedNothing
			}
		}
		if known && len(cmd) >= 3 {
			a.confirm(protoFTP)
		}
		return goOn
	}
	return c.ftpReply(a, known, line)
}

// ftpReply takes a line of the server. A line that is no part of a reply means,
// as for Zeek, that it is not FTP.
func (c *upgradeSession) ftpReply(a *App, known bool, line []byte) outcome {
	code, last := reply(line)
	if c.pending != 0 {
		// Lines inside a reply may be anything.
		if code != int(c.pending) || len(line) < 4 || line[3] != ' ' {
			return goOn
		}
	} else if code < 100 || len(line) > 3 && line[3] != ' ' && line[3] != '-' {
		a.retract(protoFTP)
		return giveUp
	}
	if !known && c.asked == askedUser && (code == 230 || code == 331) {
		a.confirm(protoFTP)
	}
	if c.pending = 0; !last {
		c.pending = uint16(code)
		return goOn
	}
	switch {
	case code == 234 && c.asked == askedTLS:
		return secured
	case code == 334 && c.asked == askedTokens:
		return tokens
	}
	return goOn
}
