// SPDX-License-Identifier: Apache-2.0

package dissect

import (
	"bytes"

	"weir/internal/flow"
)

// ssh knows SSH by the banners of both sides, and reads the names of algorithms that
// each side offers: Zeek gives up on a list that is too long. That one banner was
// seen is noted among the services of the connection.
type ssh struct {
	s        *Shard
	sessions slab[sshSession]
}

func newSSH(s *Shard) *ssh { return &ssh{s: s} }

const (
	// maxSSHNames is how many names one list may have.
	maxSSHNames = 100
	// maxSSHOffer is how long the packet with the lists may be.
	maxSSHOffer = 256 << 10
	// maxSSHBanner is how long the line of a banner may be.
	maxSSHBanner = 1 << 10

	sshOffer  = 20 // the type of the packet with the lists
	sshLists  = 10
	sshCookie = 16
)

// sshSession is what a connection keeps until both offers are read.
type sshSession struct {
	written uint32
	side    [2]sshSide
}

// sshSide is one direction of a connection.
type sshSide struct {
	state sshState
	got   uint8 // bytes of head
	list  uint8 // number of the list
	long  bool  // a list was too long
	head  [6]byte
	names uint32 // in the list so far
	left  uint32 // bytes to come of what the state says
	room  uint32 // bytes to come of the packet
}

type sshState uint8

const (
	sshNew    sshState = iota
	sshBanner          // the line goes on
	sshHead            // of the packet: length, padding, type
	sshRandom          // its cookie
	sshLength          // of a list
	sshNames           // the list
	sshDone
)

// detectSSH knows a banner.
func detectSSH(_ *flow.Tuple, _ flow.Dir, data []byte) verdict {
	if upper(data[0]) != 'S' {
		return no // like most, and cheaper than what follows
	}
	if v := hasPrefixFold(data, "SSH-", true); v != yes {
		return v
	}
	if data[4] != '1' && data[4] != '2' {
		return no
	}
	if len(data) == 5 {
		return maybe
	}
	if data[5] != '.' {
		return no
	}
	return yes
}

func (d *ssh) stream(t *flow.Tuple, a *App, dir flow.Dir, ts flow.Time, data []byte) {
	session := d.open(a)
	if session == nil {
		return
	}
	q := &session.side[dir&1]
	if q.state == sshNew {
		first := !a.confirmed(protoBanner)
		begin := q.head[:int(q.got)+copy(q.head[q.got:], data)]
		switch v := detectSSH(t, dir, begin); {
		case v == maybe:
			q.got = uint8(len(begin))
			return
		case v == yes:
			q.state, q.got = sshBanner, 0
			q.left = maxSSHBanner
			if first {
				a.confirm(protoBanner)
			} else {
				a.retract(protoBanner)
				a.confirm(protoSSH)
			}
		case first:
			// Bytes that came before the other side's banner, and are none.
			q.state = sshDone
		default:
			// Another protocol.
			kept := q.head
			before := kept[:q.got]
			d.close(t, a)
			a.proto = 0
			a.flags = a.flags&^doneBoth | doneToServer<<(dir.Reverse()&1)
			d.s.Stream(t, a, dir, ts, before)
			d.s.Stream(t, a, dir, ts, data)
			return
		}
	}
	q.feed(data)
	if q.state != sshDone {
		return
	}
	a.flags |= doneToServer << (dir & 1)
	if q.long {
		a.flags |= gaveUp | doneBoth
	}
	if a.flags&doneBoth == doneBoth {
		d.close(t, a)
	}
}

// feed reads what follows in a direction.
func (q *sshSide) feed(data []byte) {
	for len(data) > 0 && q.state != sshDone {
		switch q.state {
		case sshBanner:
			n := bytes.IndexByte(data, '\n') + 1
			if n == 0 {
				n = len(data)
			} else {
				q.state = sshHead
			}
			if uint32(n) > q.left {
				q.state = sshDone
			}
			q.left -= uint32(min(n, int(q.left)))
			data = data[n:]
			continue
		case sshHead, sshLength:
			q.head[q.got] = data[0]
			q.got++
			data = data[1:]
			q.header()
			continue
		}
		n := int(min(q.left, uint32(len(data))))
		if q.state == sshNames {
			q.names += uint32(bytes.Count(data[:n], []byte{','}))
		}
		q.left -= uint32(n)
		data = data[n:]
		if q.left == 0 {
			q.next()
		}
	}
}

// header reads the head of a packet, or the length of a list, when it is complete.
func (q *sshSide) header() {
	n := be32(q.head[:], 0)
	switch {
	case q.state == sshHead && q.got == 6:
		if q.head[5] != sshOffer || n < 2+sshCookie || n > maxSSHOffer {
			q.state = sshDone
			return
		}
		q.room, q.left = n-2-sshCookie, sshCookie
		q.state = sshRandom
	case q.state == sshLength && q.got == 4:
		if q.room < 4 || n > q.room-4 {
			q.state = sshDone
			return
		}
		q.room -= 4 + n
		q.left, q.names = n, min(n, 1)
		q.state = sshNames
		if n == 0 {
			q.next()
		}
	}
}

// next goes on behind the cookie or a list.
func (q *sshSide) next() {
	if q.state == sshNames {
		q.long = q.long || q.names > maxSSHNames
		q.list++
	}
	q.state, q.got = sshLength, 0
	if q.list == sshLists {
		q.state = sshDone
	}
}

// open returns the connection's session, which is made if there is none; nil
// where there is no memory for it, and nothing more is wanted then.
func (d *ssh) open(a *App) *sshSession {
	if id, ok := a.has(); ok {
		return d.sessions.at(id)
	}
	c, written := occupy(d.s, a, &d.sessions)
	if c != nil {
		*c = sshSession{written: written}
	}
	return c
}

func (d *ssh) gap(_ *flow.Tuple, a *App, dir flow.Dir, _ flow.Time, _ uint64) {
	a.flags |= doneToServer << (dir & 1)
}

func (d *ssh) close(_ *flow.Tuple, a *App) {
	if id, ok := a.has(); ok {
		vacate(d.s, a, &d.sessions, d.sessions.at(id).written)
	}
}

func (d *ssh) datagram(*flow.Tuple, *App, flow.Dir, flow.Time, []byte) {}
func (d *ssh) fin(*flow.Tuple, *App, flow.Dir, flow.Time)              {}
