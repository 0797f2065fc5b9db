// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"weir/internal/filter"
	"weir/internal/neo4jtest"
	"weir/store/lake"
	"weir/store/neo4j"
	"weir/store/storetest"
)

// emptyServer returns a server with an empty store, and its URI, for flowcli in
// this process and for others that it starts.
func emptyServer(t *testing.T) (uri string) {
	t.Helper()
	s := neo4jtest.Shared(t)
	t.Setenv("WEIR_NEO4J_PASSWORD", s.Password())
	purge(t, s)
	return s.URI()
}

// purge empties the database of a server.
func purge(tb testing.TB, s *neo4jtest.Server) {
	tb.Helper()
	db, err := neo4j.Open(tb.Context(), s.URI(), neo4j.Config{Password: s.Password(), Create: true})
	if err != nil {
		tb.Fatal(err)
	}
	if err := db.Purge(tb.Context(), nil); err != nil {
		tb.Fatal(err)
	}
	if err := db.Close(); err != nil {
		tb.Fatal(err)
	}
}

// quiet keeps settings of whoever runs the tests away from flowcli, and returns a
// directory for a lake.
func quiet(t *testing.T) (dir string) {
	t.Helper()
	dir = t.TempDir()
	t.Setenv("HOME", dir)
	t.Setenv("XDG_CONFIG_HOME", dir)
	t.Setenv("XDG_DATA_HOME", dir)
	t.Setenv("WEIR_CONFIG", "")
	t.Setenv("WEIR_STORE", "")
	t.Setenv("TZ", "UTC")
	return filepath.Join(dir, "lake")
}

// loadLake sends a lake to a database.
func loadLake(t *testing.T, uri, path string) {
	t.Helper()
	if _, msg, code := flowcli(t, "load", "--store", uri, path); code != 0 {
		t.Fatalf("load: exit code %d: %s", code, msg)
	}
}

// exampleLake makes a lake of the flows of the documentation.
func exampleLake(t *testing.T) (path string) {
	t.Helper()
	path = quiet(t)
	l, err := lake.Open(path, lake.Config{Create: true, Version: "test"})
	if err != nil {
		t.Fatal(err)
	}
	storetest.Fixed().Fill(t, l)
	return path
}

// loadedExamples returns the URI of a database with these flows.
func loadedExamples(t *testing.T) (uri string) {
	t.Helper()
	path := exampleLake(t)
	uri = emptyServer(t)
	loadLake(t, uri, path)
	return uri
}

// TestIVREExamples runs what the documentation of IVRE shows as filters on flows,
// on both stores.
func TestIVREExamples(t *testing.T) {
	path := exampleLake(t)
	uri := emptyServer(t)
	loadLake(t, uri, path)
	names := make(map[string]string)
	for _, x := range storetest.Examples() {
		f := storetest.FlowOf(&x.Conns[0].Tuple)
		names[line3(f)] = x.Name
	}
	for _, tc := range []struct{ filter, want string }{
		{"dst.addr = 192.168.1.1", "dns ssh"},
		{`addr =~ 192\.168\.1\..*`, "dns odd ssh unreach"},
		{"dport > 10000", "odd"},
		{"!dport <= 10000", "esp odd unreach"},
		{"meta.query =~ .*google.*", "dns"},
		{"ANY sports < 1024", "tls"},
		{"LEN sports = 1", "dns dns6 odd ssh"},
		{"ANY meta.answers =~ .*example.com", "dns6"},
		{"addr = 192.168.0.0/16", "dns odd ssh unreach"},
	} {
		for _, store := range []string{path, uri} {
			out, msg, code := flowcli(t, "--store", store, "-f", tc.filter, "-s", " ")
			if code != 0 {
				t.Errorf("%q on %s: exit code %d: %s", tc.filter, store, code, msg)
				continue
			}
			var got []string
			for line := range strings.Lines(out) {
				got = append(got, names[strings.Join(strings.Fields(line)[:3], " ")])
			}
			slices.Sort(got)
			if diff := cmp.Diff(strings.Fields(tc.want), got); diff != "" {
				t.Errorf("%q on %s (-want +got):\n%s", tc.filter, store, diff)
			}
		}
	}
}

// line3 is how a list begins the line of a flow.
func line3(f *filter.Flow) string {
	label := f.Proto
	switch {
	case f.Dport != nil:
		label += fmt.Sprintf("/%d", *f.Dport)
	case f.Type != nil:
		label += fmt.Sprintf("/%d", *f.Type)
	}
	return f.Src.String() + " " + label + " " + f.Dst.String()
}

// sameRecords returns a lake and a Neo4j database that hold the same records.
func sameRecords(t *testing.T) (path, uri string) {
	t.Helper()
	path = quiet(t)
	l, err := lake.Open(path, lake.Config{Create: true, Version: "test"})
	if err != nil {
		t.Fatal(err)
	}
	storetest.Random(1).Fill(t, l)
	uri = emptyServer(t)
	loadLake(t, uri, path)
	return path, uri
}

// TestSameOutput compares what flowcli prints about the same records in a lake and
// in Neo4j, byte by byte.
func TestSameOutput(t *testing.T) {
	path, uri := sameRecords(t)
	for _, args := range [][]string{
		{},
		{"-j"},
		{"-c"},
		{"-c", "-j"},
		{"-s", ";"},
		{"-l", "7", "--skip", "3"},
		{"-l", "20", "-o", "-csbytes,dst"},
		{"-o", "firstseen,-dport"},
		{"-j", "-o", "-count,flow"},
		{"-f", "proto = udp", "dport < 1024"},
		{"-j", "-f", "meta.dns OR LEN sports > 1"},
		{"-c", "-f", "!dport <= 10000"},
		{"-c", "-f", "LEN times > 1"},
		{"-t", "times.start"},
		{"-t", "proto", "dport"},
		{"-t", "src.addr", "-l", "5"},
		{"-t", "sports", "-L"},
		{"-t", "dport", "-S", "csbytes", "scbytes"},
		{"-t", "proto", "-C", "dst.addr", "dport"},
		{"-t", "service", "-C", "conn_state", "-l", "3", "--skip", "1"},
		{"-t", "meta.dns.query", "-f", "meta.dns"},
		{"-t", "meta.dns.answers"},
		{"--ndjson", "-o", "src", "dst", "-l", "50"},
		{"--csv"},
		{"--csv", "-T", "-l", "30"},
		{"-T"},
		{"-T", "-j", "-l", "30"},
		{"-m", "flow_map"},
		{"-m", "flow_map", "-T", "-o=-flows", "-l", "9", "--skip", "2"},
		{"-m", "flow_map", "--csv"},
		{"-m", "talk_map", "-j", "-o", "-csbytes"},
		{"-c", "-m", "talk_map"},
		{"-c", "--csv"},
		{"--flow-daily"},
		{"--flow-daily", "-j", "--tz", "Asia/Kolkata"},
		{"--flow-daily", "--csv", "--udp"},
		{"--fields", "src.addr", "dport", "sports", "lastseen", "duration", "times.start"},
		{"--fields", "meta.dns.query", "meta.http.host", "service", "-j"},
		{"--fields", "proto", "vlan", "--csv", "-o", "-count", "-l", "40"},
		{"--fields"},
		{"--precision"},
		{"--precision", "-j"},
		{"-c", "--precision", "1h"},
		{"--tcp", "--net", "10.0.0.0/8", "-s", " "},
		{"--host", "0.0.0.0/0", "--proto", "udp", "icmp"},
		{"--port", "53", "80", "443", "--csv"},
		{"--top", "proto", "dport", "--csv"},
		{"-c", "-a", "2000-01-01", "-b", "now"},
		{"-c", "-b", "2000-01-01"},
		{"--flow-daily", "-a", "2000-01-01 10:00"},
		{"--top", "dport", "-C", "src.addr", "-S", "csbytes", "--ndjson", "-L"},
		{"-j", "-t", "meta.http.status_code", "-C", "src.addr", "meta.http.host"},
		{"-t", "dport", "-f", "proto = tcp", "-s", ";"},
		{"-t", "firstseen", "-l", "3", "--tz", "Asia/Tokyo"},
	} {
		t.Run(strings.Join(args, " "), func(t *testing.T) {
			want, msg, code := flowcli(t, append([]string{"--store", path}, args...)...)
			if code != 0 {
				t.Fatalf("lake: exit code %d: %s", code, msg)
			}
			got, msg, code := flowcli(t, append([]string{"--store", uri}, args...)...)
			if code != 0 {
				t.Fatalf("Neo4j: exit code %d: %s", code, msg)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("(-lake +Neo4j):\n%s", diff)
			}
			if want == "" {
				t.Error("nothing to compare")
			}
		})
	}
}

// TestSameErrors makes sure that both stores refuse the same, and explain what they would
// run without an answer.
func TestSameErrors(t *testing.T) {
	path := exampleLake(t)
	uri := emptyServer(t)
	loadLake(t, uri, path)
	for _, store := range []struct{ location, language string }{{path, "SELECT"}, {uri, "MATCH"}} {
		for _, args := range [][]string{
			{"-o", "nosuch"},
			{"-o", "-sports"},
			{"--fields", "src", "nosuch"},
			{"--top", "nosuch"},
			{"--top", "dport", "-C", "nosuch"},
			{"--top", "dport", "-S", "proto"},
			{"-m", "talk_map", "-o", "dport"},
			{"-m", "flow_map", "-o", "nosuch"},
		} {
			out, msg, code := flowcli(t, append([]string{"--store", store.location}, args...)...)
			if code != 2 || out != "" || !strings.Contains(msg, ": expected one of ") {
				t.Errorf("%q on %s: exit code %d, %q, %s, want wrong usage and what is known", args, store.location, code, out, msg)
			}
		}
		for _, args := range [][]string{
			{}, {"-T"}, {"-c"}, {"--fields", "src", "sports"}, {"--top", "proto", "-C", "dport"}, {"-m", "flow_map"}, {"-c", "-m", "talk_map"}, {"--flow-daily"},
		} {
			out, msg, code := flowcli(t, append([]string{"--store", store.location, "--explain", "-j", "--port", "53"}, args...)...)
			var list []struct{ Text string }
			if err := json.Unmarshal([]byte(out), &list); code != 0 || err != nil || len(list) == 0 || !strings.Contains(list[0].Text, store.language) {
				t.Errorf("%q on %s: exit code %d, %v, %s, %s, want a statement", args, store.location, code, err, out, msg)
			}
		}
	}
}

// TestClassicQuery compares the query that people know of graphs of flows with the
// ranking of a lake.
func TestClassicQuery(t *testing.T) {
	path := quiet(t)
	if err := fillLake(path, "import-1", false); err != nil {
		t.Fatal(err)
	}
	uri := emptyServer(t)
	loadLake(t, uri, path)
	want := make(map[string]int64)
	out, msg, code := flowcli(t, "--store", path, "-j", "--top", "proto", "dport")
	if code != 0 {
		t.Fatal(msg)
	}
	var groups []struct {
		Proto, Dport any
		Flows        int64
	}
	if err := json.Unmarshal([]byte(out), &groups); err != nil {
		t.Fatal(err)
	}
	for _, g := range groups {
		want[fmt.Sprint([]any{g.Proto, g.Dport})] = g.Flows
	}
	got := make(map[string]int64)
	out, msg, code = flowcli(t, "--store", uri, "cypher", "--format", "ndjson",
		"MATCH (f:Flow) RETURN [f.proto, f.dport], count(*) AS cnt ORDER BY cnt DESC")
	if code != 0 {
		t.Fatal(msg)
	}
	last := math.Inf(1)
	for line := range strings.Lines(out) {
		var row map[string]any
		if err := json.Unmarshal([]byte(line), &row); err != nil {
			t.Fatal(err)
		}
		cnt, _ := row["cnt"].(float64)
		got[fmt.Sprint(row["[f.proto, f.dport]"])] = int64(cnt)
		if cnt > last {
			t.Errorf("%v comes after %v", cnt, last)
		}
		last = cnt
	}
	if diff := cmp.Diff(want, got); diff != "" || len(want) != 5 {
		t.Errorf("%d groups (-lake +Neo4j):\n%s", len(want), diff)
	}
}
