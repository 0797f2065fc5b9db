// SPDX-License-Identifier: Apache-2.0

package filter_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"weir/internal/filter"
	"weir/store/storetest"
)

func parse(t *testing.T, text string) *filter.Expr {
	t.Helper()
	e, err := filter.Parse(text, options())
	if err != nil {
		t.Fatalf("Parse(%q) = %v", text, err)
	}
	return e
}

// TestSQLSplit checks which part of a filter is applied before grouping.
func TestSQLSplit(t *testing.T) {
	lo, hi := make([]byte, 16), make([]byte, 16)
	copy(lo[10:], "\xff\xff\x0a\x00\x00\x00")
	copy(hi[10:], "\xff\xff\x0a\xff\xff\xff")
	for _, tc := range []struct {
		in, rows, groups string
		args             []any
	}{
		{"dport = 80", `(c."dport" = $1)`, "TRUE", []any{int64(80)}},
		{"!dport = 80", `((c."dport" = $1) IS NOT TRUE)`, "TRUE", []any{int64(80)}},
		{"count > 1", "TRUE", `(f."count" > $1)`, []any{int64(1)}},
		{"src = 10.0.0.0/8", `((c."src_bin" BETWEEN $1 AND $2))`, "TRUE", []any{lo, hi}},
		{
			"addr = 10.0.0.0/8", `(((c."src_bin" BETWEEN $1 AND $2)) OR ((c."dst_bin" BETWEEN $1 AND $2)))`, "TRUE",
			[]any{lo, hi},
		},
		{
			"dport = 80 AND count > 1", `(c."dport" = $1)`, `(f."count" > $2)`,
			[]any{int64(80), int64(1)},
		},
		{
			"!(dport = 80 OR count > 1)", `((c."dport" = $1) IS NOT TRUE)`, `((f."count" > $2) IS NOT TRUE)`,
			[]any{int64(80), int64(1)},
		},
		{
			"dport = 80 OR count > 1", "TRUE", `((f."dport" = $1) OR (f."count" > $2))`,
			[]any{int64(80), int64(1)},
		},
		{
			"(dport = 80 AND count > 1) OR type = 8", `((c."dport" = $1) OR (c."type" = $2))`,
			`(((f."dport" = $3) AND (f."count" > $4)) OR (f."type" = $5))`,
			[]any{int64(80), int64(8), int64(80), int64(1), int64(8)},
		},
		{
			"meta.dns.type = A",
			`(c.src_bin, c.dst_bin, c.proto, coalesce(c.dport, -1)) IN (SELECT m.src_bin, m.dst_bin, m.proto, ` +
				`coalesce(m.dport, -1) FROM "dns" AS m WHERE (m."qtype_name" = $1))`,
			"TRUE",
			[]any{"A"},
		},
		{
			"meta.dns.type = A OR dport = 80 OR meta.dns(aa)",
			`((c."dport" = $2) OR (c.src_bin, c.dst_bin, c.proto, coalesce(c.dport, -1)) IN (SELECT m.src_bin, ` +
				`m.dst_bin, m.proto, coalesce(m.dport, -1) FROM "dns" AS m WHERE ((m."qtype_name" = $1) OR ` +
				`(m."AA" IS NOT NULL))))`,
			"TRUE",
			[]any{"A", int64(80)},
		},
		{
			"!#DNS AND !meta.dns.type = A",
			`NOT (c.src_bin, c.dst_bin, c.proto, coalesce(c.dport, -1)) IN (SELECT m.src_bin, m.dst_bin, m.proto, ` +
				`coalesce(m.dport, -1) FROM "dns" AS m WHERE (TRUE OR (m."qtype_name" = $1)))`,
			"TRUE",
			[]any{"A"},
		},
		{"csbytes > scbytes", "TRUE", `(f."csbytes" > f."scbytes")`, nil},
		{"#Flow", "TRUE", "TRUE", nil},
	} {
		q, err := parse(t, tc.in).SQL(filter.SQLOptions{Conn: "c", Flow: "f"})
		if err != nil {
			t.Errorf("SQL of %q: %v", tc.in, err)
			continue
		}
		if q.Rows.Text != tc.rows || q.Groups.Text != tc.groups {
			t.Errorf("SQL of %q = %s and %s, want %s and %s", tc.in, q.Rows.Text, q.Groups.Text, tc.rows, tc.groups)
		}
		if diff := cmp.Diff(tc.args, q.Args()); diff != "" {
			t.Errorf("arguments of %q (-want +got):\n%s", tc.in, diff)
		}
	}
}

func TestSQLOptions(t *testing.T) {
	q, err := parse(t, "meta.dns AND dport = 80 AND count > 1").SQL(filter.SQLOptions{
		FirstArg: 5, Table: func(kind string) string { return "raw." + kind },
	})
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(q.Rows.Text, "FROM raw.dns AS m") || !strings.Contains(q.Rows.Text, `conn."dport" = $5`) ||
		!strings.Contains(q.Groups.Text, `flow."count" > $6`) {
		t.Errorf("SQL = %+v", q)
	}
	var none *filter.Expr
	q, err = none.SQL(filter.SQLOptions{})
	if err != nil || q.Rows.Text != "TRUE" || q.Groups.Text != "TRUE" || len(q.Args()) != 0 {
		t.Errorf("SQL of nil = %+v, %v", q, err)
	}
}

// TestSQLUnsupported checks that what a store cannot answer is an error.
func TestSQLUnsupported(t *testing.T) {
	noSSL := func(kind string) string {
		if kind == "ssl" {
			return ""
		}
		return kind
	}
	for _, tc := range []struct{ in, clause string }{
		{"!meta.ssl", "meta.ssl"},
		{"#SSL AND dport", "#SSL"},
		{"meta.ssl(cipher = x)", "meta.ssl(cipher = x)"},
		{"meta.ssl.count > 2", "meta.ssl.count > 2"},
		{"meta.ssl.count > count", "meta.ssl.count > count"},
		{"meta.ssl.cipher", "meta.ssl.cipher"},
		{"meta.server_name = x", "meta.server_name = x"},
		{"service = meta.ssl.cipher", "service = meta.ssl.cipher"},
		{"meta.http.host IN (a, meta.server_name)", "meta.http.host IN (a, meta.server_name)"},
		{"count > meta.ssl.count", "count > meta.ssl.count"},
		{"meta.server_name = x OR meta.dns", "meta.server_name = x"},
		{strings.Repeat("meta.dns.count > 1 OR ", 64) + "LEN meta.dns.type > 7", "LEN meta.dns.type > 7"},
	} {
		q, err := parse(t, tc.in).SQL(filter.SQLOptions{Table: noSSL})
		var unsupported *filter.UnsupportedError
		if !errors.As(err, &unsupported) || unsupported.Clause != tc.clause ||
			!strings.Contains(err.Error(), tc.clause+": not supported by this store yet") {
			t.Errorf("SQL of %q = %v, %v, want an UnsupportedError for %q", tc.in, q, err, tc.clause)
		}
	}
	// A kind that the store lacks does not matter where another has the attribute.
	if _, err := parse(t, "meta.version = x").SQL(filter.SQLOptions{Table: noSSL}); err != nil {
		t.Errorf("SQL of meta.version: %v", err)
	}
}

// largest returns the largest filters that the limits allow.
func largest() map[string]string {
	nested := strings.Repeat("!(dport AND ", filter.MaxDepth/2) + "count > 1" + strings.Repeat(")", filter.MaxDepth/2)
	return map[string]string{
		"or":       strings.Repeat("dport = 80 OR ", filter.MaxClauses-1) + "dport = 81",
		"and":      strings.Repeat("!count = 80 AND ", filter.MaxClauses-1) + "count",
		"in":       "sports IN (" + strings.Repeat("80, ", filter.MaxClauses-2) + "81)",
		"nested":   nested,
		"networks": "addr IN (" + strings.Repeat("10.0.0.0/8, ", filter.MaxClauses-2) + "::/0)",
		"pattern":  `service !~ (?:\pL{1,25}|.)+ OR proto =~ (tcp|udp)`,
		"patterns": "proto =~ (?i)(..){500} OR sports =~ ([0-9]{500}[^x]{500}) OR meta.dns.query =~ ((größe){50}){5}",
		"meta":     strings.Repeat("meta.dns.query = a OR ", 400) + "meta.http",
	}
}

// TestSQLLargest runs the largest filters that the limits allow.
func TestSQLLargest(t *testing.T) {
	d := storetest.Random(11)
	d.Conns, d.Intel = d.Conns[:3], d.Intel[:20]
	for i := range d.Intel {
		d.Intel[i].Tuple = d.Conns[i%3].Tuple
	}
	db := openDuckDB(t)
	load(t, db, d)
	all := byKey(d.Flows())
	for name, text := range largest() {
		t.Run(name, func(t *testing.T) {
			e := parse(t, text)
			got, err := selected(t, db, e)
			if err != nil {
				t.Fatalf("%.300v", err)
			}
			if diff := cmp.Diff(matching(all, e), got); diff != "" {
				t.Errorf("other flows (-evaluator +DuckDB):\n%s", diff)
			}
		})
	}
}

// nothing is a filter about intel of which only the names are known, and how many
// flows it selects: -1 for all.
type nothing struct {
	in       string
	selected int
}

func nothings() []nothing {
	return []nothing{
		{"meta.arp", 0},
		{"!meta.arp", -1},
		{"#ARP AND dport", 0},
		{"#ARP OR dport = 80", 1},
		{"meta.arp.op = request", 0},
		{"meta.arp.op != request", 0},
		{"meta.arp(op = request OR !op)", 0},
		{"!meta.arp(op = request)", -1},
		{"meta.arp.count > 2", 0},
		{"meta.arp.count > count", 0},
		{"LEN meta.arp.count = 0", -1},
		{"NONE meta.arp.count", -1},
		{"meta.ssl.subject", 0},
		{"NONE meta.ssl.subject =~ CN=.*", -1},
		{"ALL meta.ssl.issuer =~ .*", 0},
		{"LEN meta.subject = 0", -1},
		{"LEN meta.subject != 3", -1},
		{"LEN meta.subject < 1", -1},
		{"LEN meta.subject <= 0", -1},
		{"LEN meta.subject >= 0", -1},
		{"LEN meta.subject IN (1, 0)", -1},
		{"LEN meta.subject > 0", 0},
		{"LEN meta.subject != 0", 0},
		{"meta.ssl(subject = x OR version = TLSv12)", 1},
		{"meta.ssl(!subject AND version = TLSv12)", 1},
		{"meta.ssl(version = subject)", 0},
		{"meta.ssl(NONE version = subject)", 1},
		{"meta.ssl(version != subject)", 0},
		{"meta.ssl(version IN (subject, TLSv12))", 1},
		{"meta.ssl(LEN subject = 0)", 1},
		{"meta.version IN (TLSv12)", 1}, // kinds that nobody keeps have versions, too
	}
}

// TestSQLNothing checks what filters say about intel of which only the names are
// known: no flow has any.
func TestSQLNothing(t *testing.T) {
	db, all, keys := fixedData(t)
	for _, tc := range nothings() {
		if tc.selected < 0 {
			tc.selected = len(all)
		}
		e := parse(t, tc.in)
		want := matching(all, e)
		if len(want) != tc.selected {
			t.Errorf("%q selects %v, want %d", tc.in, want, tc.selected)
		}
		if diff := onDuckDB(t, db, keys, e, want); diff != "" {
			t.Errorf("%q (-evaluator +DuckDB): %s", tc.in, diff)
		}
	}
}

// intelOnTheRight returns filters that compare with attributes of intel, and what
// they select of the fixed data set.
func intelOnTheRight() map[string][]string {
	return map[string][]string{
		"count > meta.http.count":                              {"web"},
		"meta.dns.count >= meta.dns.count":                     {"dns", "dns6"},
		"meta.http.host = meta.host":                           {"web"},
		"meta.dns.query != meta.dns.query":                     {"dns"},
		"ONE meta.http.status_code > meta.http.status_code":    {"web"},
		"ALL meta.http.status_code >= meta.http.status_code":   {"web"},
		"ALL meta.http.status_code > meta.http.status_code":    nil,
		"service = meta.ssl.subject":                           nil,
		"dport < meta.count":                                   nil,
		"meta.dns.count = meta.count":                          {"dns", "dns6"},
		"dport IN (22, meta.dns.qtype)":                        {"ssh"},
		"NONE sports > meta.http.status_code AND meta.http":    nil,
		"sports > meta.http.status_code":                       {"web"},
		"ONE sports < meta.count":                              nil,
		"duration < meta.dns.rtt":                              {"dns"},
		"csbytes > meta.response_body_len AND meta.http.count": {"web"},
	}
}

// moreIntelOnTheRight returns such filters for random data.
func moreIntelOnTheRight() []string {
	return []string{
		"sports > meta.count", "ALL sports >= meta.count", "meta.count > meta.http.status_code", "NONE meta.count = count",
		"meta.dns.count < meta.http.count", "ALL meta.dns.ttls != meta.rtt", "ONE meta.dns.answers > meta.query",
		"!meta.http.proxied = meta.dns.answers", "ONE vlan < meta.count", "dport <= meta.qtype OR type <= meta.qtype",
		"meta.version != meta.version", "service = meta.http.method", "ALL conn_state > meta.http.method",
	}
}

// TestSQLIntelOnTheRight compares with attributes of intel.
func TestSQLIntelOnTheRight(t *testing.T) {
	db, all, keys := fixedData(t)
	for text, want := range intelOnTheRight() {
		e := parse(t, text)
		if diff := cmp.Diff(want, matching(all, e)); diff != "" {
			t.Errorf("%q (-want +evaluator): %s", text, diff)
		}
		if diff := onDuckDB(t, db, keys, e, matching(all, e)); diff != "" {
			t.Errorf("%q (-evaluator +DuckDB): %s", text, diff)
		}
	}
	d := newRandomData(t, 5)
	for _, text := range moreIntelOnTheRight() {
		e := parse(t, text)
		got, err := selected(t, d.db, e)
		if diff := cmp.Diff(matching(d.all, e), got); err != nil || diff != "" {
			t.Errorf("%q: %v (-evaluator +DuckDB): %s", text, err, diff)
		}
	}
}
