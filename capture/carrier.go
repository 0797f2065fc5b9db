// SPDX-License-Identifier: Apache-2.0

package capture

import (
	"encoding/binary"
	"time"

	"weir/internal/flow"
)

// Ports on which UDP carries tunnels.
const (
	portGTPControl = 2123
	portGTPUser    = 2152
	portTeredo     = 3544
	portGRE        = 4754
	portVXLAN      = 4789
	portAYIYA      = 5072
	portGeneve     = 6081
)

// tunnelPort reports whether a tunnel protocol has the port.
func tunnelPort(port uint16) bool {
	switch port {
	case portGTPControl, portGTPUser, portTeredo, portGRE, portVXLAN, portAYIYA, portGeneve:
		return true
	}
	return false
}

// maxCarriers is how many UDP connections that carry tunnels, or have a port of
// theirs, are remembered, which takes some 15 MB. Beyond that the one that was
// silent longest is forgotten: its next packet counts as the first of a connection,
// which takes over the uid that this packet gives.
const maxCarriers = 1 << 16

// defaultUDPTimeout is after how much silence a UDP connection is over.
const defaultUDPTimeout = time.Minute

// endpoint is one end of a UDP connection.
type endpoint struct {
	addr flow.Addr
	port uint16
}

// carrierKey is a UDP connection, whichever way a packet of it goes.
type carrierKey struct{ low, high endpoint }

func carrierKeyOf(p *flow.Packet) carrierKey {
	a, b := endpoint{p.Src, p.Sport}, endpoint{p.Dst, p.Dport}
	if b.before(&a) {
		a, b = b, a
	}
	return carrierKey{a, b}
}

func (e *endpoint) before(o *endpoint) bool {
	for i := 0; i < len(e.addr); i += 8 {
		x, y := binary.BigEndian.Uint64(e.addr[i:]), binary.BigEndian.Uint64(o.addr[i:])
		if x != y {
			return x < y
		}
	}
	return e.port < o.port
}

// carrier is a UDP connection that may carry tunnels. The table of connections has
// the same one: both go by the same packets, rules and timeout.
type carrier struct {
	links
	key      carrierKey
	uid      uint64
	deadline flow.Time
	client   endpoint
	server   uint16 // port
	detected bool   // known by its payload, not by a port
	// violated has a bit for each protocol that a payload pretended to be of: Zeek
	// then looks for it no more. teredo has one for each direction in which
	// there was a valid packet.
	violated, teredo uint8
}

// carriers holds them by the age of their last packet.
type carriers struct {
	byAge[carrier, *carrier]
	timeout flow.Time
	ports   *flow.ServerPorts
	index   map[carrierKey]int32
	// detected is how many of them are known by their payload: while there are
	// some, every UDP packet is looked up, so that it keeps them alive.
	detected int
}

func newCarriers(timeout time.Duration) carriers {
	if timeout == 0 {
		timeout = defaultUDPTimeout
	}
	return carriers{
		byAge: newByAge[carrier](), timeout: flow.Time(timeout), ports: flow.NewServerPorts(),
		index: map[carrierKey]int32{},
	}
}

// find returns the connection of a packet, none if there is none that is not over.
func (t *carriers) find(key *carrierKey, now flow.Time) int32 {
	// What is over goes, a little at a time.
	for n := 0; n < 2 && t.oldest != none && t.all[t.oldest].deadline <= now; n++ {
		t.remove(t.oldest)
	}
	i, ok := t.index[*key]
	if !ok {
		return none
	}
	if t.all[i].deadline <= now {
		t.remove(i)
		return none
	}
	return i
}

// begin adds the connection whose first packet is p, and reports whether another
// one had to go for it.
func (t *carriers) begin(key *carrierKey, p *flow.Packet, now flow.Time) (i int32, evicted bool) {
	if len(t.index) >= maxCarriers {
		t.remove(t.oldest)
		evicted = true
	}
	c := carrier{
		key: *key, uid: flow.UID(p), deadline: now + t.timeout,
		client: endpoint{p.Src, p.Sport}, server: p.Dport,
		detected: !tunnelPort(p.Sport) && !tunnelPort(p.Dport),
	}
	if t.ports.Reversed(p) {
		c.client, c.server = endpoint{p.Dst, p.Dport}, p.Sport
	}
	if c.detected {
		t.detected++
	}
	i = t.link(c)
	t.index[*key] = i
	return i, evicted
}

// touch says that a packet of the connection came.
func (t *carriers) touch(i int32, now flow.Time) {
	t.all[i].deadline = now + t.timeout
	t.renew(i)
}

func (t *carriers) remove(i int32) {
	c := &t.all[i]
	if c.detected {
		t.detected--
	}
	delete(t.index, c.key)
	t.drop(i)
}
