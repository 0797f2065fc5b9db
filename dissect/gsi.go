// SPDX-License-Identifier: Apache-2.0

package dissect

import (
	"bytes"
	"encoding/base64"
	"slices"

	"weir/internal/flow"
)

// FTP behind AUTH GSSAPI: the handshake of TLS, as GridFTP has it, in base64 in
// the lines of ADAT commands and their replies (RFC 2228).

// gsiSession is what a connection keeps meanwhile.
type gsiSession struct {
	written uint32
	inner   App  // of the TLS in the tokens
	begun   bool // the client's first token was seen
	line    [2][]byte
}

type gsi struct {
	s        *Shard
	sessions slab[gsiSession]
	token    []byte
}

func newGSI(s *Shard) *gsi { return &gsi{s: s} }

func (d *gsi) datagram(*flow.Tuple, *App, flow.Dir, flow.Time, []byte) {}
func (d *gsi) fin(*flow.Tuple, *App, flow.Dir, flow.Time)              {}

func (d *gsi) gap(t *flow.Tuple, a *App, _ flow.Dir, _ flow.Time, _ uint64) {
	d.s.stats.Gaps++
	d.close(t, a)
	a.flags |= doneBoth
}

func (d *gsi) close(t *flow.Tuple, a *App) {
	id, ok := a.has()
	if !ok {
		return
	}
	c := d.sessions.at(id)
	d.s.Close(t, &c.inner)
	for i := range c.line {
		d.s.bufs.release(c.line[i])
		c.line[i] = nil
	}
	vacate(d.s, a, &d.sessions, c.written)
}

// open returns the connection's session, which is made if there is none; nil
// where there is no memory for it, and nothing more is wanted then.
func (d *gsi) open(a *App) *gsiSession {
	if id, ok := a.has(); ok {
		return d.sessions.at(id)
	}
	c, written := occupy(d.s, a, &d.sessions)
	if c != nil {
		*c = gsiSession{written: written}
		c.inner.handOver(protoTLS)
	}
	return c
}

func (d *gsi) stream(t *flow.Tuple, a *App, dir flow.Dir, ts flow.Time, data []byte) {
	c := d.open(a)
	if c == nil {
		return
	}
	buf, ok := &c.line[dir&1], false
	for len(data) > 0 {
		end := bytes.IndexByte(data, '\n')
		part := data
		if end >= 0 {
			part = data[:end]
		}
		line := part
		if end < 0 || len(*buf) > 0 {
			if *buf, ok = d.s.bufs.add(*buf, part); !ok {
				break
			}
			line = *buf
		}
		if end < 0 {
			return
		}
		data = data[end+1:]
		more := d.message(t, c, dir, ts, bytes.TrimRight(line, "\r"))
		d.s.bufs.release(*buf)
		*buf = nil
		if c.inner.services != 0 {
			a.confirm(protoTLS)
		} else {
			a.retract(protoTLS)
		}
		if !more {
			break
		}
		if len(data) == 0 {
			return
		}
	}
	d.close(t, a)
	a.flags |= doneBoth
}

// message takes a line. It reports whether more tokens may come. Commands are
// known in capitals only, as by Zeek.
func (d *gsi) message(t *flow.Tuple, c *gsiSession, dir flow.Dir, ts flow.Time, line []byte) bool {
	var token []byte
	more := true
	if dir == flow.ToServer {
		cmd, rest := firstWord(line)
		switch string(cmd) {
		case "ADAT":
			token = rest
		case "AUTH":
			return false // all begins anew
		default:
			return true
		}
	} else {
		code, _ := reply(line)
		switch code {
		case 232, 234, 421, 431, 500, 501, 503, 535, 631, 632, 633:
			return false // the exchange is complete, or was refused
		case 235:
			more = false
		case 334, 335:
		default:
			return true
		}
		rest := bytes.TrimLeft(line[3:], "- \t")
		if !bytes.HasPrefix(rest, []byte("ADAT=")) {
			return more
		}
		token = rest[len("ADAT="):]
	}
	d.token = slices.Grow(d.token[:0], base64.StdEncoding.DecodedLen(len(token)))
	n, err := base64.StdEncoding.Decode(d.token[:cap(d.token)], token)
	if err != nil {
		d.s.stats.Violations++
		n = 0
	}
	data := d.token[:n]
	if dir == flow.ToServer && !c.begun {
		// A token of another mechanism is no record of that length.
		c.begun = true
		if n < 5 || data[0] != recHandshake || n-5 != int(be16(data, 3)) {
			return false
		}
	}
	if n > 0 { // not one that cannot be decoded, which is as if it was not there
		d.s.Stream(t, &c.inner, dir, ts, data)
	}
	return more && c.inner.flags&doneBoth != doneBoth
}
