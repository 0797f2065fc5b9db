// SPDX-License-Identifier: Apache-2.0

package dissect

import (
	"bytes"

	"weir/internal/flow"
)

// berSize returns the length of what a BER header begins, header included. It is
// 0 where there is too little of the header, and negative where there is none.
func berSize(data []byte) int {
	switch {
	case len(data) < 2:
		return 0
	case data[1] < 0x80:
		return 2 + int(data[1])
	case data[1] == 0x80 || data[1] > 0x84:
		return -1
	}
	n := 2 + int(data[1]&0x7f)
	if len(data) < n {
		return 0
	}
	size := 0
	for _, b := range data[2:n] {
		size = size<<8 | int(b)
	}
	return n + size
}

// ldap takes bytes of LDAP's messages: TLS follows the request of an extension.
func (c *upgradeSession) ldap(a *App, dir flow.Dir, data []byte) (int, outcome) {
	left, n, buf := &c.left[dir&1], &c.n[dir&1], &c.line[dir&1]
	if *left > 0 {
		skip := min(len(data), int(*left))
		*left -= uint32(skip)
		return skip, goOn
	}
	for i, b := range data {
		buf[*n] = b
		*n++
		size := berSize(buf[:*n])
		if buf[0] != 0x30 || size < 0 || size > 1<<24 {
			return i + 1, giveUp
		}
		if size == 0 || int(*n) < min(size, linePart) {
			continue
		}
		message := buf[:*n]
		*left, *n = uint32(size-int(*n)), 0
		if c.lines++; c.lines > maxLines {
			return i + 1, giveUp
		}
		return i + 1, c.ldapMessage(a, dir, message)
	}
	return len(data), goOn
}

// ldapMessage takes the beginning of a message.
func (c *upgradeSession) ldapMessage(a *App, dir flow.Dir, message []byte) outcome {
	const startTLS = "\x80\x161.3.6.1.4.1.1466.20037"
	body := message[2:]
	if message[1] >= 0x80 {
		body = message[2+message[1]&0x7f:]
	}
	if len(body) < 3 || body[0] != 2 || int(body[1]) > len(body)-3 {
		return giveUp
	}
	body = body[2+body[1]:] // behind the number of the message
	op := body[0]
	if berSize(body) <= 0 {
		return giveUp
	}
	if dir == flow.ToServer {
		switch {
		case op == 0x77 && bytes.Contains(body, []byte(startTLS)):
			c.asked = askedTLS
		case c.asked == askedNothing:
			c.asked = askedHello
		}
		return goOn
	}
	if c.asked == askedNothing {
		return goOn
	}
	a.confirm(protoLDAP)
	if op == 0x78 && c.asked == askedTLS {
		c.asked = askedHello
		if bytes.Contains(body, []byte("\x0a\x01\x00")) { // success
			return secured
		}
	}
	return goOn // TLS may be asked for at any time
}
