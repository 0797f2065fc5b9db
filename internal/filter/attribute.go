// SPDX-License-Identifier: Apache-2.0

package filter

import "weir/internal/flow"

// Type is the type of an attribute's values: it says how values are read and
// compared.
type Type uint8

// Types of attributes.
const (
	// Text is compared byte by byte.
	Text Type = iota
	// Address is an IP address; values may also be networks.
	Address
	// Number is a small number, decimal or hexadecimal: a port, a code.
	Number
	// Size is a number that also takes the suffixes k, M, G, T: bytes, counts.
	Size
	// Time is a point in time with microseconds.
	Time
	// Duration is a length of time with microseconds.
	Duration
	// Bool is true or false.
	Bool
)

// String returns the type's name.
func (t Type) String() string {
	names := [...]string{"text", "address", "number", "size", "time", "duration", "bool"}
	if int(t) < len(names) {
		return names[t]
	}
	return ""
}

// numeric reports whether values of the type are plain numbers.
func (t Type) numeric() bool { return t == Number || t == Size }

// comparable reports whether values of the types can be compared.
func (t Type) comparable(u Type) bool { return t == u || t.numeric() && u.numeric() }

// operators returns the operators that the type takes.
func (t Type) operators() []operator {
	switch t {
	case Text, Address, Number, Size:
		return []operator{
			opEqual, opDiffers, opLess, opAtMost, opMore, opAtLeast, opMatches, opMatchesNot, opIn,
		}
	case Time, Duration:
		return []operator{opEqual, opDiffers, opLess, opAtMost, opMore, opAtLeast, opIn}
	case Bool:
	}
	return []operator{opEqual, opDiffers, opIn}
}

// Attribute describes something that filters can compare, for help and
// completion.
type Attribute struct {
	// Name is the name in canonical filters, Aliases are accepted for it.
	Name    string
	Aliases []string
	Type    Type
	// Set attributes have any number of values, others none or one.
	Set bool
	// Fold says that case does not count in texts and patterns.
	Fold bool
	// Operators lists the operators that the attribute takes.
	Operators []string
	// Values lists known values, where they are few.
	Values []string
	// Stores lists the stores that keep the attribute. Attributes of intel that
	// none keeps have no values.
	Stores []string
	Help   string
}

// flowAttr numbers the attributes of flows; those of intel are counted by kind.
type flowAttr uint8

const (
	attrAddr flowAttr = iota
	attrSrc
	attrDst
	attrProto
	attrDport
	attrType
	attrSports
	attrCodes
	attrCount
	attrCSPkts
	attrSCPkts
	attrCSBytes
	attrSCBytes
	attrFirstSeen
	attrLastSeen
	attrDuration
	attrTimesStart
	attrTimesEnd
	attrTimesDuration
	attrConnState
	attrService
	attrVLAN
	attrSensor
)

// Greatest values of numbers.
const (
	maxPort = 1<<16 - 1
	maxICMP = 1<<8 - 1
	maxVLAN = 1<<12 - 1
	// maxProto is that of protocols, whose type is Text.
	maxProto = 1<<8 - 1
)

// flowAttribute is a row of the table of flows' attributes.
type flowAttribute struct {
	Attribute
	attr flowAttr
	// max is the greatest value of a Number.
	max int64
	// key attributes are the same for all connections of a flow.
	key bool
	// column is the lake's column.
	column string
}

// flowAttributes returns the attributes of flows.
func flowAttributes() []flowAttribute {
	list := []flowAttribute{
		{attr: attrAddr, key: true, column: "src", Attribute: Attribute{
			Name: "addr", Aliases: []string{"host.addr"}, Type: Address, Set: true,
			Help: "address of either end; addr != x means neither end",
		}},
		{attr: attrSrc, key: true, column: "src", Attribute: Attribute{
			Name: "src.addr", Aliases: []string{"src", "id.orig_h"}, Type: Address,
			Help: "address of the client",
		}},
		{attr: attrDst, key: true, column: "dst", Attribute: Attribute{
			Name: "dst.addr", Aliases: []string{"dst", "id.resp_h"}, Type: Address,
			Help: "address of the server",
		}},
		{attr: attrProto, key: true, column: "proto", Attribute: Attribute{
			Name: "proto", Fold: true, Help: "protocol above IP: a name in lower case, or a number without one",
			Values: protoNames(),
		}},
		{attr: attrDport, key: true, column: "dport", max: maxPort, Attribute: Attribute{
			Name: "dport", Aliases: []string{"id.resp_p"}, Type: Number,
			Help: "port of the server; only where the protocol has ports",
		}},
		{attr: attrType, key: true, column: "type", max: maxICMP, Attribute: Attribute{
			Name: "type", Type: Number, Help: "ICMP type; only ICMP and ICMPv6 have one",
		}},
		{attr: attrSports, column: "sports", max: maxPort, Attribute: Attribute{
			Name: "sports", Aliases: []string{"sport", "id.orig_p"}, Type: Number, Set: true,
			Help: "ports of the client",
		}},
		{attr: attrCodes, column: "codes", max: maxICMP, Attribute: Attribute{
			Name: "codes", Aliases: []string{"code"}, Type: Number, Set: true, Help: "ICMP codes",
		}},
		{attr: attrCount, column: "count", Attribute: Attribute{
			Name: "count", Type: Size, Help: "number of connections",
		}},
		{attr: attrCSPkts, column: "cspkts", Attribute: Attribute{
			Name: "cspkts", Aliases: []string{"orig_pkts"}, Type: Size, Help: "packets, client to server",
		}},
		{attr: attrSCPkts, column: "scpkts", Attribute: Attribute{
			Name: "scpkts", Aliases: []string{"resp_pkts"}, Type: Size, Help: "packets, server to client",
		}},
		{attr: attrCSBytes, column: "csbytes", Attribute: Attribute{
			Name: "csbytes", Aliases: []string{"orig_ip_bytes"}, Type: Size,
			Help: "IP bytes, client to server",
		}},
		{attr: attrSCBytes, column: "scbytes", Attribute: Attribute{
			Name: "scbytes", Aliases: []string{"resp_ip_bytes"}, Type: Size,
			Help: "IP bytes, server to client",
		}},
		{attr: attrFirstSeen, column: "firstseen", Attribute: Attribute{
			Name: "firstseen", Aliases: []string{"ts"}, Type: Time, Help: "time of the first packet",
		}},
		{attr: attrLastSeen, column: "lastseen", Attribute: Attribute{
			Name: "lastseen", Type: Time, Help: "time of the last packet",
		}},
		{attr: attrDuration, column: "duration", Attribute: Attribute{
			Name: "duration", Type: Duration, Help: "time between the first and the last packet",
		}},
		{attr: attrTimesStart, column: "times", Attribute: Attribute{
			Name: "times.start", Aliases: []string{"times"}, Type: Time, Set: true,
			Help: "starts of the time slots in which the flow was active",
		}},
		{attr: attrTimesEnd, column: "times", Attribute: Attribute{
			Name: "times.end", Type: Time, Set: true, Help: "ends of these time slots",
		}},
		{attr: attrTimesDuration, column: "times", Attribute: Attribute{
			Name: "times.duration", Type: Duration, Set: true, Help: "widths of these time slots",
		}},
		{attr: attrConnState, column: "conn_state", Attribute: Attribute{
			Name: "conn_state", Set: true, Values: stateNames(), Help: "states of the connections, as Zeek has them",
		}},
		{attr: attrService, column: "service", Attribute: Attribute{
			Name: "service", Set: true, Help: "protocols found in the payload",
		}},
		{attr: attrVLAN, column: "vlan", max: maxVLAN, Attribute: Attribute{
			Name: "vlan", Type: Number, Set: true, Help: "VLANs in which the flow was seen",
		}},
		{attr: attrSensor, column: "sensor", Attribute: Attribute{
			Name: "sensor", Set: true, Help: "sensors that saw the flow",
		}},
	}
	for i := range list {
		list[i].Operators = operatorNames(list[i].Type)
		list[i].Stores = []string{"lake", "neo4j"}
	}
	return list
}

// Attributes returns everything that filters can compare: the attributes of
// flows, then those of each kind of intel under the name meta.<kind>.<name>.
func Attributes() []Attribute {
	var out []Attribute
	for _, a := range flowAttributes() {
		out = append(out, a.Attribute)
	}
	for _, k := range kinds() {
		storesOf := func(kept bool) []string {
			if !kept {
				return nil
			}
			return []string{"lake", "neo4j"}
		}
		prefix := "meta." + k.Name + "."
		out = append(out, Attribute{
			Name: prefix + countName, Type: Size, Operators: operatorNames(Size), Stores: storesOf(k.stored),
			Help: "number of observations",
		})
		for i := range k.Attrs {
			a := &k.Attrs[i]
			if a.LogOnly {
				continue
			}
			name, aliases := k.spelling(i)
			for j := range aliases {
				aliases[j] = prefix + aliases[j]
			}
			typ := metaType(a)
			out = append(out, Attribute{
				Name: prefix + name, Aliases: aliases, Type: typ, Set: true, Fold: a.Fold,
				Operators: operatorNames(typ), Stores: storesOf(i < k.kept), Help: a.Help,
			})
		}
	}
	return out
}

func operatorNames(t Type) []string {
	ops := t.operators()
	names := make([]string, len(ops))
	for i, op := range ops {
		names[i] = op.String()
	}
	return names
}

// stateNames returns the names of all connection states.
func stateNames() []string {
	var names []string
	for s := flow.S0; s <= flow.OTH; s++ {
		names = append(names, s.String())
	}
	return names
}

// protoNames returns the labels of the protocols that have one.
func protoNames() []string {
	return []string{
		"tcp", "udp", "icmp", "igmp", "ipv4", "ipv6", "gre", "esp", "ah", "sctp", "ospf", "eigrp",
		"pim", "vrrp", "l2tp", "dccp", "udplite",
	}
}
