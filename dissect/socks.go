// SPDX-License-Identifier: Apache-2.0

package dissect

import "weir/internal/flow"

// SOCKS, which is read only to find out where the protocol inside begins. Zeek
// takes each piece of payload for one message, and the first byte of each for the
// version: that of a reply of SOCKS4 is 0, so that only SOCKS5 ever gets there.

// socksSession is what a connection keeps.
type socksSession struct {
	written  uint32
	method   uint8 // of authentication, as the server has chosen
	chosen   bool  // the server has chosen one
	asking   bool  // what follows belongs to the method
	answered bool  // the server has sent something
	done     [2]bool
}

type socks struct {
	s        *Shard
	sessions slab[socksSession]
}

func newSOCKS(s *Shard) *socks { return &socks{s: s} }

// detectSOCKS knows SOCKS5 by its version and a method in the client's first
// message. On its own port, the version is enough.
func detectSOCKS(t *flow.Tuple, dir flow.Dir, data []byte) verdict {
	switch {
	case data[0] != 5:
		return no
	case t.Dport == 1080:
		return yes
	case dir != flow.ToServer:
		return no
	case len(data) < 3:
		return maybe
	}
	return socksMethod(data[2])
}

// socksMethod tells the methods of authentication that are in use.
func socksMethod(m byte) verdict {
	if m <= 9 && m != 4 {
		return yes
	}
	return no
}

func (d *socks) datagram(*flow.Tuple, *App, flow.Dir, flow.Time, []byte) {}
func (d *socks) fin(*flow.Tuple, *App, flow.Dir, flow.Time)              {}

// open returns the connection's session, which is made if there is none; nil
// where there is no memory for it, and nothing more is wanted then.
func (d *socks) open(a *App) *socksSession {
	if id, ok := a.has(); ok {
		return d.sessions.at(id)
	}
	c, written := occupy(d.s, a, &d.sessions)
	if c != nil {
		*c = socksSession{written: written}
	}
	return c
}

func (d *socks) stream(t *flow.Tuple, a *App, dir flow.Dir, ts flow.Time, data []byte) {
	c := d.open(a)
	if c == nil {
		return
	}
	if c.done[flow.ToServer] && c.done[flow.ToClient] {
		d.close(t, a)
		a.handOver(0)
		d.s.Stream(t, a, dir, ts, data)
		return
	}
	if dir == flow.ToClient && !c.answered {
		c.answered = true
		if a.flags&inside != 0 || t.Dport != 1080 {
			// The beginning of the client alone says little.
			if data[0] != 5 || len(data) > 1 && data[1] != 0xff && socksMethod(data[1]) == no {
				d.close(t, a)
				d.s.redetect(t, a, dir, ts, data, protoSOCKS)
				return
			}
		}
	}
	if !d.message(a, c, dir, data) {
		d.s.stats.Violations++
		a.retract(protoSOCKS)
		a.flags |= doneBoth
		d.close(t, a)
	}
}

// message reads one message. It reports false where it is none.
func (d *socks) message(a *App, c *socksSession, dir flow.Dir, data []byte) bool {
	if c.asking {
		return c.authenticate(dir, data)
	}
	switch {
	case len(data) < 2 || data[0] != 5:
		return false
	case c.chosen && dir == flow.ToServer:
		if len(data) < 3 || data[1] == 0 || data[1] > 3 || data[2] != 0 || !socksAddress(data[3:]) {
			return false
		}
		c.done[dir] = true
	case c.chosen:
		if len(data) < 3 || !socksAddress(data[3:]) {
			return false
		}
		a.confirm(protoSOCKS)
		c.done[dir] = true
	case dir == flow.ToServer:
		return len(data) >= 2+int(data[1])
	default:
		c.method, c.chosen = data[1], true
		c.asking = c.method != 0 && c.method != 0xff
	}
	return true
}

// authenticate takes a message of the chosen method, of which only name and
// password are known. The server's one ends it.
func (c *socksSession) authenticate(dir flow.Dir, data []byte) bool {
	const password = 2
	known := c.method == password && len(data) > 0 && data[0] == 1
	if dir == flow.ToClient {
		c.asking = false
		return !known || len(data) >= 2
	}
	if !known {
		return true
	}
	if len(data) < 2 || len(data) < 3+int(data[1]) {
		return false
	}
	data = data[2+int(data[1]):]
	return len(data) >= 1+int(data[0])
}

// socksAddress reports whether data begins with an address and a port.
func socksAddress(data []byte) bool {
	if len(data) < 2 {
		return false
	}
	n := 0
	switch data[0] {
	case 1:
		n = 4
	case 3:
		n = 1 + int(data[1])
	case 4:
		n = 16
	default:
		return false
	}
	return len(data) >= 1+n+2
}

// gap ends it: Zeek would take what follows for a message.
func (d *socks) gap(t *flow.Tuple, a *App, _ flow.Dir, _ flow.Time, _ uint64) {
	d.s.stats.Gaps++
	a.flags |= doneBoth
	d.close(t, a)
}

func (d *socks) close(_ *flow.Tuple, a *App) {
	id, ok := a.has()
	if !ok {
		return
	}
	vacate(d.s, a, &d.sessions, d.sessions.at(id).written)
}
