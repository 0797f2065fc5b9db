// SPDX-License-Identifier: Apache-2.0

package lakequery

// The community id (version 1, seed 0) of a connection: a hash that other
// tools compute, too. It is computed when asked for, since it does not
// compress. Its input is seed, addresses, protocol, a zero byte and ports, all
// in network order, with the smaller endpoint first. ICMP messages have the
// type and the type of the answer as ports; those without an answer have the
// code, and are not turned around.

// icmpCounterpartMacro gives the ICMP type that answers another one, or NULL.
const icmpCounterpartMacro = `CREATE MACRO icmp_counterpart(ip_proto, t) AS
CASE ip_proto
WHEN 1 THEN CASE t
	WHEN 8 THEN 0 WHEN 0 THEN 8 WHEN 13 THEN 14 WHEN 14 THEN 13 WHEN 15 THEN 16 WHEN 16 THEN 15
	WHEN 10 THEN 9 WHEN 9 THEN 10 WHEN 17 THEN 18 WHEN 18 THEN 17 END
WHEN 58 THEN CASE t
	WHEN 128 THEN 129 WHEN 129 THEN 128 WHEN 133 THEN 134 WHEN 134 THEN 133
	WHEN 135 THEN 136 WHEN 136 THEN 135 WHEN 130 THEN 131 WHEN 131 THEN 130
	WHEN 139 THEN 140 WHEN 140 THEN 139 WHEN 144 THEN 145 WHEN 145 THEN 144 END
END`

// communityIDMacros work on hexadecimal text, whose order is that of the
// bytes. IPv4 addresses come mapped to 16 bytes and are hashed as 4.
func communityIDMacros() []string {
	return []string{
		icmpCounterpartMacro,
		`CREATE MACRO community_id_addr(bin) AS
CASE WHEN starts_with(hex(bin), '00000000000000000000FFFF') THEN right(hex(bin), 8) ELSE hex(bin) END`,
		`CREATE MACRO community_id_port(ip_proto, port) AS
CASE WHEN ip_proto IN (1, 6, 17, 58, 132) AND port IS NOT NULL THEN lpad(to_hex(port), 4, '0') ELSE '' END`,
		`CREATE MACRO community_id_hash(src, dst, sport, dport, ip_proto, one_way) AS
'1:' || base64(unhex(sha1(unhex(CASE WHEN one_way OR src || sport <= dst || dport
	THEN '0000' || src || dst || lpad(to_hex(ip_proto), 2, '0') || '00' || sport || dport
	ELSE '0000' || dst || src || lpad(to_hex(ip_proto), 2, '0') || '00' || dport || sport END))))`,
		`CREATE MACRO community_id(src_bin, dst_bin, ip_proto, sport, dport, type, code) AS community_id_hash(
	community_id_addr(src_bin), community_id_addr(dst_bin),
	community_id_port(ip_proto, coalesce(type, sport)),
	community_id_port(ip_proto,
		CASE WHEN type IS NULL THEN dport ELSE coalesce(icmp_counterpart(ip_proto, type), code) END),
	ip_proto, type IS NOT NULL AND icmp_counterpart(ip_proto, type) IS NULL)`,
	}
}
