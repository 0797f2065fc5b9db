// SPDX-License-Identifier: Apache-2.0

package capture

import "weir/internal/flow"

// Reason says why a frame did not become a packet of its own.
type Reason uint8

// The reasons, in the order in which the layers are looked at. Their numbers are
// not stable, their names are.
const (
	// Delivered is no reason: the frame became a packet.
	Delivered Reason = iota
	// Filtered: the filter expression does not match.
	Filtered
	// Copy: the copy of a packet of the loopback interface as it left. It was read
	// as it came back.
	Copy
	// FilterLink: the filter expression cannot be compiled for the link type.
	FilterLink
	// UnknownInterface: a pcapng packet of an interface that was not described.
	UnknownInterface
	// LinkType: the link type is not supported.
	LinkType
	// LinkHeader: the capture ends inside the link layer's headers.
	LinkHeader
	// LinkDepth: more tags, or frames, in each other than any network has.
	LinkDepth
	// LinkControl: the link layer's own traffic, such as management, control and
	// empty frames of 802.11.
	LinkControl
	// Encrypted: an 802.11 frame with an encrypted payload.
	Encrypted
	// ARP: ARP or RARP.
	ARP
	// NotIP: another network protocol than IP.
	NotIP
	// TruncatedIP: less than an IP header, or its extensions, was captured.
	TruncatedIP
	// IPVersion: neither version 4 nor 6.
	IPVersion
	// ZeroLength: an IPv4 total length of 0 while checksums are verified.
	ZeroLength
	// TruncatedIPLen: the frame on the wire was shorter than the IP length.
	TruncatedIPLen
	// IPHeaderLen: an impossible IP header length or extension header.
	IPHeaderLen
	// IPChecksum: the IPv4 header checksum is wrong.
	IPChecksum
	// Fragment: a fragment that did not complete its datagram. The fragment
	// that does is delivered, or rejected for another reason.
	Fragment
	// FragmentTruncated: a fragment that was not captured whole.
	FragmentTruncated
	// FragmentBad: an impossible or contradictory fragment.
	FragmentBad
	// FragmentOverlap: an IPv6 fragment of a datagram with overlaps (RFC 5722).
	FragmentOverlap
	// IPv6ESP: an IPv6 packet with an encrypted payload.
	IPv6ESP
	// Mobility: an IPv6 mobility message.
	Mobility
	// NoNextHeader: an IP packet without payload, by protocol number 59.
	NoNextHeader
	// TunnelDepth: too many tunnels in each other.
	TunnelDepth
	// TunnelHeader: a tunnel's own header is incomplete or not understood.
	TunnelHeader
	// TunnelLength: a tunnel does not carry exactly one IP packet.
	TunnelLength
	// TunnelPayload: a tunnel carries something else than IP or Ethernet.
	TunnelPayload
	// TruncatedHeader: the IP length leaves no room for the transport header.
	TruncatedHeader
	// CapturedHeader: the capture ends inside the transport header.
	CapturedHeader

	// NumReasons is the number of reasons, Delivered included.
	NumReasons
)

// String returns the name under which the reason is counted and reported.
func (r Reason) String() string {
	names := [...]string{
		Delivered:         "delivered",
		Filtered:          "filtered",
		Copy:              "loopback_copy",
		FilterLink:        "filter_link_type",
		UnknownInterface:  "unknown_interface",
		LinkType:          "link_type",
		LinkHeader:        "truncated_link",
		LinkDepth:         "link_depth",
		LinkControl:       "link_control",
		Encrypted:         "encrypted_link",
		ARP:               "arp",
		NotIP:             "not_ip",
		TruncatedIP:       "truncated_ip",
		IPVersion:         "ip_version",
		ZeroLength:        "zero_ip_len",
		TruncatedIPLen:    "truncated_ip_len",
		IPHeaderLen:       "ip_header_len",
		IPChecksum:        "bad_ip_checksum",
		Fragment:          "fragment",
		FragmentTruncated: "truncated_fragment",
		FragmentBad:       "bad_fragment",
		FragmentOverlap:   "fragment_overlap",
		IPv6ESP:           "ipv6_esp",
		Mobility:          "ipv6_mobility",
		NoNextHeader:      "no_next_header",
		TunnelDepth:       "tunnel_depth",
		TunnelHeader:      "tunnel_header",
		TunnelLength:      "tunnel_length",
		TunnelPayload:     "tunnel_payload",
		TruncatedHeader:   "truncated_header",
		CapturedHeader:    "captured_header",
	}
	if int(r) < len(names) {
		return names[r]
	}
	return "unknown"
}

// Skipped reports whether the reason means that weir does not understand part of
// the input, as opposed to what is wrong with, or unwanted in, the input itself.
func (r Reason) Skipped() bool {
	return r == LinkType || r == UnknownInterface || r == FilterLink
}

// Stats are the counters of a Reader or of a Live.
//
// At any time Packets is Delivered plus the sum of Rejected. No counter goes back.
// Of a Live, once Next has returned io.EOF or an error other than ErrClosed,
//
//	Received = Packets + Lost.Kernel + Lost.Overload + Lost.Unread
//
// and before that Received is ahead by what is on its way. What the network card
// or the host's queues dropped, Lost.Interface and Lost.Queue, never came as far
// and is no part of Received.
type Stats struct {
	// Packets counts frames read, Bytes their captured bytes.
	Packets, Bytes uint64
	// Delivered counts frames that became packets; Rejected all others.
	Delivered uint64
	Rejected  [NumReasons]uint64
	// Aggregated counts packets beyond the first of a frame that held several (802.11
	// A-MSDU). So Delivered + Aggregated + Tunnels.Inner packets came out.
	Aggregated uint64
	// Tunneled counts the packets that came out of a tunnel, whichever.
	Tunneled  uint64
	Tunnels   TunnelStats
	Fragments FragmentStats
	// Read is how many bytes of the inputs were read, as they are stored; Total
	// the size of all inputs, without those whose size is unknown.
	Read, Total int64
	// Files counts inputs, Done those read to their end, Damaged those of them
	// with a DamageError. Skipped counts files of directories that are no
	// captures.
	Files, Done, Damaged, Skipped int
	// Now is that of the last block.
	Now flow.Time
	// Received counts the packets that the kernel took for a Live: those which
	// pass the filter, whether they fit into its buffer or not.
	Received uint64
	Lost     Losses
}

// Losses counts packets of interfaces that were never decoded, by reason.
type Losses struct {
	// Kernel: the kernel's buffer was full.
	Kernel uint64
	// Interface: the network card had no room, or missed them. The filter was
	// not asked.
	Interface uint64
	// Queue: the host dropped packets on their way from the card. The kernel
	// counts other drops there as well, as of tagged frames of protocols that it
	// does not know, which were captured nevertheless: so it is no part of Sum.
	Queue uint64
	// Overload: no block was free, since who takes the packets is too slow;
	// whole blocks are dropped then. OverloadBytes are their captured bytes.
	Overload, OverloadBytes uint64
	// Unread: they were still in the kernel's buffer when the handle was closed.
	Unread uint64
}

// Sum returns how many packets are known to be lost.
func (l *Losses) Sum() uint64 { return l.Kernel + l.Interface + l.Overload + l.Unread }

// TunnelStats are the counters of tunnels that UDP carries. There the outer packet
// is delivered, too: what is inside is no part of Delivered and Rejected.
type TunnelStats struct {
	// Inner counts the packets that came out of them; Rejected what was in them and
	// did not become a packet.
	Inner    uint64
	Rejected [NumReasons]uint64
	// Invalid counts UDP payloads that were no tunnel though their port, or what
	// they look like, promised one.
	Invalid uint64
	// Connections is how many UDP connections with tunnels, or ports of theirs, are
	// remembered; Evicted ones were forgotten to stay within the limit.
	Connections int
	Evicted     uint64
}

// FragmentStats are the counters of IP reassembly. Each counts datagrams, except
// Overlaps, which counts fragments.
type FragmentStats struct {
	// Completed datagrams were delivered, TimedOut ones given up after five
	// minutes, Evicted ones given up to stay within the memory limit.
	Completed, TimedOut, Evicted uint64
	// Overlaps counts fragments that repeat bytes already there.
	Overlaps uint64
	// Bytes is the memory in use.
	Bytes uint64
}
