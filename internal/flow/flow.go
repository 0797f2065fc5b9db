// SPDX-License-Identifier: Apache-2.0

// Package flow holds the nouns of weir: packets, connections and intel, as
// plain data that every other package exchanges. It imports the standard
// library only and contains no behavior beyond conversion, printing, and what
// several packages must decide alike.
package flow

import (
	"encoding/binary"
	"net/netip"
	"strconv"
	"time"
)

// Addr is an IP address in 16 bytes; IPv4 is kept v4-mapped (::ffff:a.b.c.d).
// As bytes it sorts numerically within a family.
type Addr [16]byte

// v4Prefix is the first 12 bytes of a v4-mapped address.
var v4Prefix = [12]byte{10: 0xff, 11: 0xff}

// Addr4 returns the v4-mapped form of the IPv4 address in b.
func Addr4(b [4]byte) Addr {
	var a Addr
	a[10], a[11] = 0xff, 0xff
	copy(a[12:], b[:])
	return a
}

// AddrFrom converts a netip.Addr; a zone is dropped.
func AddrFrom(ip netip.Addr) Addr { return Addr(ip.As16()) }

// Is4 reports whether a is a v4-mapped address.
func (a Addr) Is4() bool { return [12]byte(a[:12]) == v4Prefix }

// Netip returns a as a netip.Addr, IPv4 unmapped.
func (a Addr) Netip() netip.Addr { return netip.AddrFrom16(a).Unmap() }

// String returns the canonical text: dotted quad or RFC 5952.
func (a Addr) String() string { return a.Netip().String() }

// AppendTo appends the canonical text of a to b.
func (a Addr) AppendTo(b []byte) []byte { return a.Netip().AppendTo(b) }

// Compare orders addresses, every IPv4 address before every IPv6 one.
func (a Addr) Compare(b Addr) int { return a.Netip().Compare(b.Netip()) }

// Time is a packet's time: nanoseconds since 1970-01-01 UTC. Records and logs
// carry microseconds; Micro is the one place that truncates.
type Time int64

// Micro returns t in microseconds since the epoch, rounded down.
func (t Time) Micro() int64 {
	n := int64(t)
	if n < 0 && n%1000 != 0 {
		return n/1000 - 1
	}
	return n / 1000
}

// Std returns t as a time.Time in UTC.
func (t Time) Std() time.Time { return time.Unix(0, int64(t)).UTC() }

// IP protocol numbers that weir treats by name.
const (
	ICMP   = 1
	IGMP   = 2
	IPIP   = 4
	TCP    = 6
	UDP    = 17
	IPv6   = 41
	GRE    = 47
	ESP    = 50
	AH     = 51
	ICMPv6 = 58
)

// Dir says which way a packet goes.
type Dir uint8

// The two directions of a connection.
const (
	ToServer Dir = iota // sent by the client (originator)
	ToClient            // sent by the server (responder)
)

// Reverse returns the other direction.
func (d Dir) Reverse() Dir { return d ^ 1 }

// TCP flag bits as they stand in the header.
const (
	FIN = 1 << iota
	SYN
	RST
	PSH
	ACK
	URG
)

// PacketFlags are facts about a packet that the decoder found.
type PacketFlags uint8

// Bits of PacketFlags.
const (
	// BadChecksum: the transport checksum was verified and is wrong.
	BadChecksum PacketFlags = 1 << iota
	// Truncated: the capture holds less than the IP length says.
	Truncated
	// Reassembled: the packet was put together from fragments.
	Reassembled
	// HasWScale: WScale is valid (a SYN with the option).
	HasWScale
	// BadHeader: a TCP data offset below 5 or beyond the packet. Such a packet
	// belongs to a connection but is not counted in it.
	BadHeader
	// Founder: the uid that this UDP packet gives is the one by which packets out
	// of its connection's tunnel name it.
	Founder
	// TooDeep: the packet's payload is a tunnel inside so many others that it was
	// not opened.
	TooDeep
)

// Carrier is a tunnel protocol over UDP.
type Carrier uint8

// The tunnel protocols over UDP; NoCarrier is none.
const (
	NoCarrier Carrier = iota
	VXLAN
	Geneve
	GTPv1
	Teredo
	AYIYA

	// NumCarriers is the number of values.
	NumCarriers
)

// String returns the name that conn.log has for the protocol, "" for NoCarrier.
func (c Carrier) String() string {
	names := [...]string{"", "vxlan", "geneve", "gtpv1", "teredo", "ayiya"}
	if int(c) < len(names) {
		return names[c]
	}
	return ""
}

// Packet is one decoded IP packet, as capture hands it out. Payload points into
// the block that carries the packet and is valid until the block is released;
// its capacity is limited to its length.
type Packet struct {
	Src, Dst Addr
	// TS is the packet's own time; Now the time by which timers run: the
	// highest one seen in the input so far that is not a lone outlier.
	TS, Now Time
	// Origin identifies the packet: its number in the input mixed with the
	// input's identity. A connection's uid derives from its first packet's.
	Origin uint64
	// Tunnel is the uid of the innermost tunnel that carried the packet, or 0.
	Tunnel uint64
	// Payload is what was captured of the transport payload; for ICMP what
	// follows the 8-byte header, for other protocols the IP payload.
	Payload []byte
	// Hash is the seeded, symmetric hash of the connection key.
	Hash uint64

	Seq, Ack uint32 // TCP
	// IPLen is the IP length in bytes (header included; IPv6: payload + 40).
	IPLen uint32
	// PayloadLen is the length of the transport payload as the headers say:
	// TCP: IP payload minus header; UDP: the UDP length field minus 8; ICMP: IP
	// payload minus 8; others: IP payload.
	PayloadLen uint32
	// Sport and Dport are the TCP or UDP ports. For ICMP they are what Zeek
	// shows as ports: the type, and the counterpart type or (one-way) the code.
	Sport, Dport uint16
	Window       uint16 // TCP, unscaled
	VLAN         uint16 // innermost VLAN id, 0 if none
	Proto        uint8
	TCPFlags     uint8
	WScale       uint8
	Code         uint8 // ICMP code
	Flags        PacketFlags
	// Carries is the tunnel protocol that a UDP packet's payload confirms for its
	// connection.
	Carries Carrier
	// OneWay marks ICMP messages that have no counterpart: each direction is a
	// connection of its own.
	OneWay bool
}

// Tuple identifies one connection: who talked to whom. Src is the client.
type Tuple struct {
	UID          uint64
	Src, Dst     Addr
	Sport, Dport uint16
	Proto        uint8
}

// UIDText is the printed form of a uid: "C" and 16 hexadecimal digits.
func UIDText(uid uint64) string { return string(AppendUID(nil, uid)) }

// AppendUID appends the printed form of uid to b.
func AppendUID(b []byte, uid uint64) []byte {
	const digits = "0123456789abcdef"
	b = append(b, 'C')
	for shift := 60; shift >= 0; shift -= 4 {
		b = append(b, digits[uid>>uint(shift)&15])
	}
	return b
}

// Mix is a 64-bit finalizer (a bijection with good avalanche; the constants are
// those of MurmurHash3's fmix64). It makes uids and synthetic identities.
func Mix(x uint64) uint64 {
	x ^= x >> 33
	x *= 0xff51afd7ed558ccd
	x ^= x >> 33
	x *= 0xc4ceb9fe1a85ec53
	return x ^ x>>33
}

// UID derives a connection's uid from its first packet: the same packet of the
// same input always gives the same uid, whatever the number of workers.
func UID(p *Packet) uint64 {
	h := Mix(p.Origin)
	for _, a := range [2]*Addr{&p.Src, &p.Dst} {
		h = Mix(h ^ binary.LittleEndian.Uint64(a[:8]))
		h = Mix(h ^ binary.LittleEndian.Uint64(a[8:]))
	}
	return Mix(h ^ uint64(p.Sport)<<32 ^ uint64(p.Dport)<<16 ^ uint64(p.Proto))
}

// State is Zeek's conn_state.
type State uint8

// The connection states; StateNone prints as unset.
const (
	StateNone State = iota
	S0
	S1
	SF
	REJ
	S2
	S3
	RSTO
	RSTR
	RSTOS0
	RSTRH
	SH
	SHR
	OTH
)

// String returns Zeek's name of the state, "" for StateNone.
func (s State) String() string {
	names := [...]string{
		"", "S0", "S1", "SF", "REJ", "S2", "S3", "RSTO", "RSTR", "RSTOS0",
		"RSTRH", "SH", "SHR", "OTH",
	}
	if int(s) < len(names) {
		return names[s]
	}
	return ""
}

// EndReason says why a record left the table, with IPFIX's numbers (IE 136).
type EndReason uint8

// End reasons.
const (
	EndIdle      EndReason = 1 // no packet for the idle timeout
	EndActive    EndReason = 2 // interim record of a connection that goes on
	EndDetected  EndReason = 3 // closed by its own packets
	EndForced    EndReason = 4 // end of input, or shutdown
	EndResources EndReason = 5 // ended early to stay under the memory cap
)

// Connection is one record of a connection: all of it or, where interim records
// are asked for, what came since the record before. History, Total and
// TunnelParents point into memory of the batch that carries the connection.
type Connection struct {
	Tuple
	// First and Last are the times of the first and of the last packet that
	// counts for the duration; Last is never before First in the records that
	// leave the table.
	First, Last Time
	// Packets; IP bytes (headers included); payload bytes as Zeek counts them
	// (TCP: from sequence numbers). CS is client to server.
	CSPkts, SCPkts       uint64
	CSBytes, SCBytes     uint64
	CSPayload, SCPayload uint64
	// Missed counts payload bytes that were acknowledged but never seen.
	Missed  uint64
	History []byte
	// Service is the comma-joined list of protocols found in the payload, ""
	// if none.
	Service string
	// TunnelParents holds the uids of the tunnels that carried the connection.
	TunnelParents []uint64
	// Count is how many connections the record stands for: 1 in the first record
	// of a connection, 0 in those that continue it, possibly more from importers
	// of aggregated records.
	Count uint64
	// Total is what all records of the connection say together, this one
	// included; nil if this is the first one.
	Total *Totals
	// VLAN is the innermost VLAN id of the first packet, 0 if none.
	VLAN uint16
	// Code is the ICMP code of the first packet. Sport and Dport of an ICMP
	// connection are Zeek's: type, and counterpart type or code.
	Code  uint8
	State State
	End   EndReason
	// Loss says that the sensor lost packets, anybody's, while the connection was
	// open: its counters may be too low.
	Loss bool
}

// Totals are the counters of a whole connection, those of Connection.
type Totals struct {
	First, Last          Time
	CSPkts, SCPkts       uint64
	CSBytes, SCBytes     uint64
	CSPayload, SCPayload uint64
	Missed               uint64
}

// Whole returns the connection as a single record would have it.
func (c *Connection) Whole() Connection {
	w := *c
	if t := c.Total; t != nil {
		w.First, w.Last, w.Total, w.Count = t.First, t.Last, nil, 1
		w.CSPkts, w.SCPkts, w.CSBytes, w.SCBytes = t.CSPkts, t.SCPkts, t.CSBytes, t.SCBytes
		w.CSPayload, w.SCPayload, w.Missed = t.CSPayload, t.SCPayload, t.Missed
	}
	return w
}

// Duration returns Last-First in microseconds. It is 0, and payload counts are
// unset in Zeek's logs, where all packets carry one time.
func (c *Connection) Duration() int64 { return c.Last.Micro() - c.First.Micro() }

// ConnBatch is a batch of ended connections on its way to the store. The owner
// passes it on whole; Reset makes it reusable once nobody holds it.
type ConnBatch struct {
	Conns  []Connection
	text   []byte
	uids   []uint64
	totals []Totals
}

// Add appends c, copying its History, Total and TunnelParents into the batch.
func (b *ConnBatch) Add(c *Connection) {
	b.Conns = append(b.Conns, *c)
	d := &b.Conns[len(b.Conns)-1]
	n := len(b.text)
	b.text = append(b.text, c.History...)
	d.History = b.text[n:len(b.text):len(b.text)]
	if c.Total != nil {
		b.totals = append(b.totals, *c.Total)
		d.Total = &b.totals[len(b.totals)-1]
	}
	d.TunnelParents = nil
	if len(c.TunnelParents) > 0 {
		n = len(b.uids)
		b.uids = append(b.uids, c.TunnelParents...)
		d.TunnelParents = b.uids[n:len(b.uids):len(b.uids)]
	}
}

// Len returns the number of connections in the batch.
func (b *ConnBatch) Len() int { return len(b.Conns) }

// Reset empties the batch and keeps its memory.
func (b *ConnBatch) Reset() {
	clear(b.Conns)
	b.Conns, b.text, b.uids, b.totals = b.Conns[:0], b.text[:0], b.uids[:0], b.totals[:0]
}

// Shards is the number of shards of the flow table, whatever the number of
// workers. A packet belongs to shard Hash % Shards.
const Shards = 64

// ProtoLabel returns the name by which stores and filters know an IP protocol:
// IANA's keyword in lower case, "icmp" also for ICMPv6, or the decimal number.
func ProtoLabel(proto uint8) string {
	switch proto {
	case TCP, UDP, ICMP, ICMPv6:
		return ProtoName(proto)
	case IGMP:
		return "igmp"
	case IPIP:
		return "ipv4"
	case 8:
		return "egp"
	case 9:
		return "igp"
	case 33:
		return "dccp"
	case IPv6:
		return "ipv6"
	case 46:
		return "rsvp"
	case GRE:
		return "gre"
	case ESP:
		return "esp"
	case AH:
		return "ah"
	case 88:
		return "eigrp"
	case 89:
		return "ospf"
	case 103:
		return "pim"
	case 108:
		return "ipcomp"
	case 112:
		return "vrrp"
	case 115:
		return "l2tp"
	case 132:
		return "sctp"
	case 136:
		return "udplite"
	}
	return strconv.Itoa(int(proto))
}

// ProtoName returns "tcp", "udp", "icmp" (also for ICMPv6) or, for any other
// protocol, "unknown_transport", as Zeek's conn.log does.
func ProtoName(proto uint8) string {
	switch proto {
	case TCP:
		return "tcp"
	case UDP:
		return "udp"
	case ICMP, ICMPv6:
		return "icmp"
	}
	return "unknown_transport"
}

// IsICMP reports whether proto is ICMP or ICMPv6.
func IsICMP(proto uint8) bool { return proto == ICMP || proto == ICMPv6 }
