// SPDX-License-Identifier: Apache-2.0

package lakequery_test

import (
	"crypto/sha1"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"math/big"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"weir/internal/flow"
)

func TestViewColumns(t *testing.T) {
	db := openDB(t, testLake(t))
	kind := func(names ...string) []string {
		return append([]string{"uid", "sensor", "ts", "src", "sport", "dst", "dport", "proto"}, names...)
	}
	connColumns := []string{
		"uid", "sensor", "firstseen", "lastseen", "duration", "src", "sport", "dst", "dport",
		"type", "code", "proto", "service", "conn_state", "history", "end_reason", "cspkts", "scpkts",
		"csbytes", "scbytes", "cspayload", "scpayload", "missed_bytes", "vlan", "tunnel_parents",
		"community_id", "count", "loss",
	}
	tests := map[string][]string{
		"conn": connColumns, "conn_records": connColumns,
		"flow": {
			"src", "dst", "proto", "dport", "type", "sports", "codes", "count", "cspkts", "scpkts",
			"csbytes", "scbytes", "firstseen", "lastseen", "conn_state", "service", "vlan", "sensor", "times",
		},
		"dns": kind("trans_id", "rtt", "query", "qclass", "qclass_name", "qtype", "qtype_name",
			"rcode", "rcode_name", "AA", "TC", "RD", "RA", "Z", "answers", "TTLs", "rejected",
			"opcode", "opcode_name"),
		"http": kind("trans_depth", "method", "host", "uri", "referrer", "version", "user_agent",
			"origin", "request_body_len", "response_body_len", "status_code", "status_msg",
			"info_code", "info_msg", "username", "password", "proxied"),
		"ssl": kind("version", "cipher", "curve", "server_name", "resumed", "last_alert",
			"next_protocol", "established", "ssl_history"),
	}
	for table, want := range tests {
		got, _ := sqlRows(t, db, "SELECT * FROM "+table)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("columns of %s (-want +got):\n%s", table, diff)
		}
	}
}

func TestViewRows(t *testing.T) {
	db := openDB(t, testLake(t))
	_, got := sqlRows(t, db, "SELECT * EXCLUDE (community_id) FROM conn WHERE uid IN ('C0000000000000003', 'Cfedcba9876543210', 'C0000000000000008') ORDER BY firstseen")
	want := [][]any{
		{
			"C0000000000000003", "eth0", at(20), at(21.5), 1.5, "10.0.0.1", int64(40000), "10.0.0.2",
			int64(80), nil, nil, "tcp", "ssl,http", "SF", "ShADadFf", int64(3), int64(3), int64(2),
			int64(300), int64(1200), int64(180), int64(1120), int64(0), int64(12), nil, int64(1), false,
		},
		{
			"C0000000000000008", "eth0", at(70), at(71.5), 1.5, "10.0.0.2", nil, "10.0.0.1",
			nil, int64(3), int64(3), "icmp", nil, "SF", "ShADadFf", int64(3), int64(3), int64(2),
			int64(300), int64(1200), int64(180), int64(1120), int64(0), nil, nil, int64(1), false,
		},
		{
			"Cfedcba9876543210", "eth0", at(90), at(91.5), 1.5, "10.0.0.9", nil, "10.0.0.2",
			nil, nil, nil, "gre", nil, "SF", "ShADadFf", int64(3), int64(3), int64(2),
			int64(300), int64(1200), int64(180), int64(1120), int64(0), nil,
			[]any{"C0000000000000001", "Cffffffffffffffff"},
			int64(1), false,
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("conn (-want +got):\n%s", diff)
	}

	_, got = sqlRows(t, db, "SELECT * FROM flow WHERE dport = 80")
	want = [][]any{{
		"10.0.0.1", "10.0.0.2", "tcp", int64(80), nil,
		[]any{int64(40000), int64(40001)},
		[]any{},
		int64(3), int64(9), int64(6), int64(1600), int64(3600), at(0), at(21.5),
		[]any{"RSTO", "SF"},
		[]any{"http", "ssl"},
		[]any{int64(12)},
		[]any{"eth0"},
		[]any{at(0)},
	}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("flow (-want +got):\n%s", diff)
	}

	_, got = sqlRows(t, db, "SELECT uid, ts, src, query, rtt, answers, TTLs, AA FROM dns WHERE query LIKE 'mail%'")
	want = [][]any{{
		"C0000000000000006", at(50), "2001:db8::1", "mail.example.org", 0.02, []any{"2001:db8::25"}, []any{300.0}, true,
	}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("dns (-want +got):\n%s", diff)
	}
}

func TestRawQueries(t *testing.T) {
	db := openDB(t, testLake(t))
	tests := []struct {
		query string
		want  [][]any
	}{
		{"SELECT query, count(*) FROM dns GROUP BY 1 ORDER BY 2 DESC", [][]any{{"www.example.com", int64(2)}, {"mail.example.org", int64(1)}}},
		{"select count(*) from conn;", [][]any{{int64(10)}}},
		{"-- comment\nSELECT proto FROM flow GROUP BY ALL ORDER BY ALL -- end", [][]any{{"gre"}, {"icmp"}, {"tcp"}, {"udp"}}},
		{"WITH x AS (FROM conn WHERE dport = 53) SELECT count(*) FROM x", [][]any{{int64(2)}}},
		{"FROM conn SELECT min(firstseen)", [][]any{{at(0)}}},
		{"VALUES (1, 'a;b')", [][]any{{int64(1), "a;b"}}},
		{"SELECT count(*) FROM conn WHERE firstseen >= '2025-11-23 10:01:00'", [][]any{{int64(4)}}},
		{"SELECT date_trunc('minute', firstseen) m, count(*) FROM conn GROUP BY 1 ORDER BY 1", [][]any{{at(0), int64(6)}, {at(60), int64(4)}}},
		{"SELECT firstseen::VARCHAR FROM conn WHERE dport = 443", [][]any{{"2025-11-23 10:00:30+00"}}},
		{
			"SELECT lastseen - firstseen, DATE '2025-01-02', TIME '10:00:00.5', sum(count), 1.25, -2.5::FLOAT FROM conn WHERE dport = 443 GROUP BY ALL",
			[][]any{{"00:00:01.5", "2025-01-02", "10:00:00.5", int64(1), json.Number("1.25"), -2.5}},
		},
		{"SELECT {'a': 1, 'b': [2]}, MAP {'k': 3}, NULL, true, 'x'::BLOB, 170141183460469231731687303715884105727", [][]any{{
			map[string]any{"a": int64(1), "b": []any{int64(2)}},
			map[string]any{"k": int64(3)},
			nil, true,
			[]byte("x"), bigInt("170141183460469231731687303715884105727"),
		}}},
		{"SELECT a.n, u FROM range(2) a(n), unnest([10]) t(u) ORDER BY 1", [][]any{{int64(0), int64(10)}, {int64(1), int64(10)}}},
		{"SELECT count(*) > 20 FROM (DESCRIBE conn)", [][]any{{true}}},
		{"SELECT DISTINCT conn.service FROM conn JOIN dns USING (uid)", [][]any{{"dns"}}},
		{"SELECT '12345678-9abc-def0-1234-56789abcdef0'::UUID, 18446744073709551615::UBIGINT, 5::UTINYINT, INTERVAL '14 months -3 days'", [][]any{{
			"12345678-9abc-def0-1234-56789abcdef0", bigInt("18446744073709551615"), int64(5), "1 year 2 months -3 days",
		}}},
	}
	for _, tc := range tests {
		t.Run(tc.query, func(t *testing.T) {
			_, got := sqlRows(t, db, tc.query)
			equal := cmp.Comparer(func(a, b *big.Int) bool { return a.Cmp(b) == 0 })
			if diff := cmp.Diff(tc.want, got, equal); diff != "" {
				t.Errorf("Raw(%q) (-want +got):\n%s", tc.query, diff)
			}
		})
	}
	if _, rows := sqlRows(t, db, "SHOW TABLES"); len(rows) != 7 {
		t.Errorf("SHOW TABLES = %v, want 7 tables", rows)
	}
}

func bigInt(text string) *big.Int {
	n, _ := new(big.Int).SetString(text, 10)
	return n
}

// communityID computes the community id from its definition.
func communityID(c *flow.Connection) string {
	type end struct {
		addr []byte
		port uint16
	}
	raw := func(a flow.Addr) []byte {
		if a.Is4() {
			return a[12:]
		}
		return a[:]
	}
	from, to := end{raw(c.Src), c.Sport}, end{raw(c.Dst), c.Dport}
	ports, oneWay := true, false
	switch c.Proto {
	case flow.TCP, flow.UDP:
	case flow.ICMP, flow.ICMPv6:
		pairs := [][2]uint16{{8, 0}, {13, 14}, {15, 16}, {10, 9}, {17, 18}}
		if c.Proto == flow.ICMPv6 {
			pairs = [][2]uint16{{128, 129}, {133, 134}, {135, 136}, {130, 131}, {139, 140}, {144, 145}}
		}
		to.port, oneWay = uint16(c.Code), true
		for _, p := range pairs {
			if c.Sport == p[0] {
				to.port, oneWay = p[1], false
			} else if c.Sport == p[1] {
				to.port, oneWay = p[0], false
			}
		}
	default:
		ports = false
	}
	order := cmpBytes(from.addr, to.addr)
	if order == 0 {
		order = int(from.port) - int(to.port)
	}
	if order > 0 && !oneWay {
		from, to = to, from
	}
	b := []byte{0, 0}
	b = append(b, from.addr...)
	b = append(b, to.addr...)
	b = append(b, c.Proto, 0)
	if ports {
		b = binary.BigEndian.AppendUint16(b, from.port)
		b = binary.BigEndian.AppendUint16(b, to.port)
	}
	sum := sha1.Sum(b)
	return "1:" + base64.StdEncoding.EncodeToString(sum[:])
}

func cmpBytes(a, b []byte) int {
	for i := range a {
		if a[i] != b[i] {
			return int(a[i]) - int(b[i])
		}
	}
	return 0
}

func TestCommunityID(t *testing.T) {
	tests := []struct {
		name string
		conn flow.Connection
		// want is what other tools print, "" where only the definition is known.
		want string
	}{
		{"tcp", conn(1, flow.TCP, "128.232.110.120", 34855, "66.35.250.204", 80, 0), "1:LQU9qZlK+B5F3KDmev6m5PMibrg="},
		{"tcp back", conn(2, flow.TCP, "66.35.250.204", 80, "128.232.110.120", 34855, 0), "1:LQU9qZlK+B5F3KDmev6m5PMibrg="},
		{"udp", conn(3, flow.UDP, "192.168.1.52", 54585, "8.8.8.8", 53, 0), "1:d/FP5EW3wiY1vCndhwleRRKHowQ="},
		{"udp back", conn(4, flow.UDP, "8.8.8.8", 53, "192.168.1.52", 54585, 0), "1:d/FP5EW3wiY1vCndhwleRRKHowQ="},
		{"icmp echo", conn(5, flow.ICMP, "192.168.0.89", 8, "192.168.0.1", 0, 0), "1:X0snYXpgwiv9TZtqg64sgzUn6Dk="},
		{"icmp echo reply", conn(6, flow.ICMP, "192.168.0.1", 0, "192.168.0.89", 8, 0), "1:X0snYXpgwiv9TZtqg64sgzUn6Dk="},
		{"icmp one way", conn(7, flow.ICMP, "192.168.0.89", 20, "192.168.0.1", 0, 0), "1:3o2RFccXzUgjl7zDpqmY7yJi8rI="},
		{"icmp one way, code 1", conn(8, flow.ICMP, "192.168.0.89", 20, "192.168.0.1", 1, 0), "1:tz/fHIDUHs19NkixVVoOZywde+I="},
		{"icmp one way back", conn(17, flow.ICMP, "192.168.0.1", 20, "192.168.0.89", 0, 0), ""},
		{"tcp, as Zeek tests", conn(18, flow.TCP, "1.2.3.4", 1122, "5.6.7.8", 3344, 0), "1:wCb3OG7yAFWelaUydu0D+125CLM="},
		{"udp, as Zeek tests", conn(19, flow.UDP, "1.2.3.4", 1122, "5.6.7.8", 3344, 0), "1:0Mu9InQx6z4ZiCZM/7HXi2WMhOg="},
		{"same address", conn(9, flow.TCP, "10.0.0.1", 300, "10.0.0.1", 200, 0), ""},
		{"ports order as numbers", conn(10, flow.TCP, "10.0.0.1", 256, "10.0.0.1", 255, 0), ""},
		{"unreachable", conn(11, flow.ICMP, "10.0.0.2", 3, "10.0.0.1", 3, 0), ""},
		{"icmp6 neighbor", conn(12, flow.ICMPv6, "fe80::200:86ff:fe05:80da", 135, "fe80::260:97ff:fe07:69ea", 136, 0), "1:dGHyGvjMfljg6Bppwm3bg0LO8TY="},
		{"icmp6 packet too big", conn(13, flow.ICMPv6, "2001:db8::2", 2, "2001:db8::1", 0, 0), ""},
		{"tcp6", conn(14, flow.TCP, "2001:db8::ffff", 4000, "2001:db8::1", 443, 0), ""},
		{"gre", conn(15, 47, "10.0.0.1", 0, "10.0.0.2", 0, 0), ""},
		{"other protocol back", conn(16, 200, "10.0.0.2", 0, "10.0.0.1", 0, 0), ""},
	}
	path := filepath.Join(t.TempDir(), "store")
	var conns []flow.Connection
	for i := range tests {
		c := &tests[i].conn
		c.UID = uint64(i)
		if flow.IsICMP(c.Proto) {
			c.Code = uint8(c.Dport) // Zeek's way for messages without an answer
		}
		conns = append(conns, tests[i].conn)
	}
	writeLake(t, path, "x", conns, nil)
	_, rows := sqlRows(t, openDB(t, path), "SELECT community_id FROM conn ORDER BY uid")
	for i, tc := range tests {
		if want := communityID(&tc.conn); rows[i][0] != want {
			t.Errorf("%s: community_id = %v, want %v", tc.name, rows[i][0], want)
		}
		if tc.want != "" && rows[i][0] != tc.want {
			t.Errorf("%s: community_id = %v, want the known %v", tc.name, rows[i][0], tc.want)
		}
	}
}

func BenchmarkQueries(b *testing.B) {
	path := filepath.Join(b.TempDir(), "store")
	writeLake(b, path, "x", manyConns(1_000_000), nil)
	db := openDB(b, path)
	for _, query := range benchQueries() {
		b.Run(query.name, func(b *testing.B) {
			for b.Loop() {
				if err := query.run(b.Context(), db); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkMergedQueries is about a store in which a quarter of the rows are of
// connections in one row each, and the others of as many in three.
func BenchmarkMergedQueries(b *testing.B) {
	path, _ := interimLake(b, 250_000)
	db := openDB(b, path)
	for _, query := range benchQueries() {
		b.Run(query.name, func(b *testing.B) {
			for b.Loop() {
				if err := query.run(b.Context(), db); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
