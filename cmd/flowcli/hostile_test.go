// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"weir/internal/command/commandtest"
	"weir/internal/flow"
	"weir/store/lake"
)

// hostileNames returns what somebody may put into names, hoping for whoever looks at
// them.
func hostileNames() []string {
	names := []string{
		// What terminals act on.
		"\x1b[31mred\x1b[0m", "\x1b]0;title\x07", "\x1b]8;;http://evil.test\x1b\\link\x1b]8;;\x1b\\", "\x1b]52;c;cm0gLXJm\x07",
		"\x1bP$q\"p\x1b\\", "\x1b[2J\x1b[H", "\x1b[6n", "\x1b[1A\x1b[2K", "\x1b(0lqk", "\x1bc", "\x1b[?1049h", "\x1b[201~",
		"\u009b31mcsi", "\u009d0;osc\u009c", "\u0090dcs\u009c", "\u0084\u0085\u008d", "\x9b31m", "\x85next", "a\u0080\u009fz",
		"over\rwritten", "back\b\b\b\bspace", "bell\a", "\f\v", "nul\x00", "del\x7f", "\x0e\x0f", "\x1a\x04",
		"line\nfeed", "line\r\nfeed", "10.0.0.1 | tcp/80 | 10.0.0.2\n10.6.6.6 | tcp/666 | 10.6.6.6", "tab\tbed", "\t", "\n", "\r",
		// What turns, hides or covers text.
		"\u202egpj.exe", "\u202dltr\u202c", "\u2066iso\u2069late", "\u2067\u2068", "\u200emark\u200f", "\u061calm", "a\u200bb", "a\u200cb\u200dc",
		"\ufeffbom", "so\u00adft", "word\u2060joiner", "\u180e", "\u3164", "\u115f\u1160", "\uffa0", "\u2800braille", "\u034fgrapheme", "variant\ufe0f",
		"\U000e0041\U000e0042tags", "\U000e0100selector", "nb\u00a0sp", "wide\u3000space", "line\u2028sep", "para\u2029graph", "\ufff9anno\ufffb",
		"\u0301first", "flood" + strings.Repeat("\u0335\u0323", 60), strings.Repeat("\u0489", 40), "\ue000private", "\uffffnon", "\U0010fffd",
		// What separates columns, values and records.
		" | ", "a | b | c", "|", "(tcp, 80) | 5", " ; ", "a,b", "a;b", "#", "a=b:c", "..", " ", "  two  ", "", "-", "(empty)", "\\", "\\x1b[31m", "\\n\\u0041",
		// What spreadsheets compute.
		"=1+1", "=HYPERLINK(\"http://evil.test\",\"x\")", "+1+1", "-1+1", "@SUM(1)", "\t=1+1", "\r=1+1", "\uff1d1+1", "=cmd|'/C calc'!A0", "-", "+", "%0A=1",
		// What ends a string or begins markup.
		"\"", "'", "`", "\"\"", "' OR 1=1 --", "'; DROP TABLE conn; --", "\") DETACH DELETE n //", "`]->(x) //", "\\' \\\"", "*/ /*", "$$",
		"<script>alert(1)</script>", "</data></graphml>", "]]>", "<!-- x", "<?xml?>", "&amp;&#0;&lt;", "\"]; evil [label=\"x", "{x} %s %n", "${HOME}$(id)`id`",
		"\"}\n{\"a\":1", "null", "[1,2]", "<b>|{record|<port>}",
		// What is not UTF-8.
		"\xff\xfe", "\xc0\xaf", "\xed\xa0\x80", "\xe2\x82", "\xf5\x80\x80\x80", "ok\xc3", "\x80\x81", "\xef\xbf\xbd\ufffd",
		// What is long.
		strings.Repeat("a", 5000), strings.Repeat("\u202e", 800), strings.Repeat("日本", 700), strings.Repeat("a.", 3000), strings.Repeat("\x1b[", 900),
		// What is harmless has to stay.
		"www.example.com", "grüße.example", "日本語.example", "🙂", "e\u0301", "نص", "न\u093f",
	}
	return names
}

// hostileLake makes a lake in which every text that can come from outside is one of
// the names.
func hostileLake(t *testing.T) (path string) {
	t.Helper()
	if testing.Short() {
		t.Skip("takes some seconds")
	}
	path = quiet(t)
	l, err := lake.Open(path, lake.Config{Create: true, Version: "test"})
	if err != nil {
		t.Fatal(err)
	}
	for i, name := range hostileNames() {
		c := flow.Connection{
			Tuple: flow.Tuple{
				UID: flow.Mix(uint64(i) + 1), Src: flow.Addr4([4]byte{10, 0, 0, byte(i)}), Dst: flow.Addr4([4]byte{10, 9, 9, byte(i % 7)}),
				Sport: uint16(40_000 + i), Dport: uint16(1 + i%5), Proto: flow.TCP,
			},
			First: flow.Time(1_763_892_000+60*i) * 1e9, Last: flow.Time(1_763_892_001+60*i) * 1e9,
			CSPkts: 3, SCPkts: 2, CSBytes: 300, SCBytes: 200, Count: 1, State: flow.SF, End: flow.EndDetected,
			History: []byte("ShADadFf"), Service: name,
		}
		conns, intel := new(flow.ConnBatch), flow.NewIntelBatch()
		conns.Add(&c)
		for k, kind := range flow.Kinds() {
			intel.Begin(flow.Kind(k), &c.Tuple, c.First)
			for j := range kind.Attrs {
				switch a := &kind.Attrs[j]; {
				case a.LogOnly:
				case a.Type == flow.Text:
					intel.SetString(j, name)
				case a.Type == flow.TextList:
					intel.AppendText(j, []byte(name))
					intel.AppendText(j, []byte("second "+name))
				}
			}
		}
		// Not every name can be that of a sensor or a file; those that cannot are refused.
		imp := lake.Import{ID: fmt.Sprint("import-", i), Source: "capture", Sensor: name, Inputs: []lake.Input{{Name: name + ".pcap", Sum: fmt.Sprint(i), Size: 1}}}
		w, err := l.Begin(imp)
		if err != nil {
			t.Fatalf("sensor %q: %v", name, err)
		}
		if err := errors.Join(w.Connections(conns), w.Intel(intel), w.Commit(lake.Final{Packets: 5})); err != nil {
			t.Fatalf("%q: %v", name, err)
		}
	}
	return path
}

// hostileCommand is a command whose output has the names in it.
type hostileCommand struct {
	args []string
	// check reads what was printed back; nil where there is nothing to read.
	check func(out []byte) error
	// few says that the output has not all of the names.
	few bool
}

// columns returns a check that every line has so many columns.
func columns(n int) func([]byte) error {
	return func(out []byte) error {
		for line := range strings.Lines(string(out)) {
			if got := strings.Count(line, " | ") + 1; got != n {
				return fmt.Errorf("%d columns, want %d, in %.200q", got, n, line)
			}
		}
		return nil
	}
}

// validJSON checks that all of out is one JSON document.
func validJSON(out []byte) error {
	if !json.Valid(out) {
		return errors.New("is not one JSON document")
	}
	return nil
}

// validLines checks that every line is a JSON document.
func validLines(out []byte) error {
	for line := range bytes.Lines(out) {
		if err := validJSON(line); err != nil {
			return fmt.Errorf("%w: %.200q", err, line)
		}
	}
	return nil
}

// validCSV checks that records have as many cells as the header, and no cell is a formula.
func validCSV(out []byte) error {
	records, err := csv.NewReader(bytes.NewReader(out)).ReadAll()
	if err != nil {
		return err
	}
	for _, cells := range records {
		for _, cell := range cells {
			if formula(cell) {
				return fmt.Errorf("%.200q is a formula", cell)
			}
		}
	}
	return nil
}

// formula reports whether a spreadsheet may compute a cell. Numbers are none.
func formula(cell string) bool {
	if _, err := strconv.ParseFloat(cell, 64); err == nil || cell == "" {
		return false
	}
	r, _ := utf8.DecodeRuneInString(cell)
	return strings.ContainsRune("=+-@\t\r\n\uff1d\uff0b\uff0d\uff20", r)
}

// validXML checks that out is one XML document.
func validXML(out []byte) error {
	d := xml.NewDecoder(bytes.NewReader(out))
	for {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
	}
}

// quoted checks that a line of text in a language is balanced: what it quotes with these
// characters ends, with a backslash before each of them within.
func quoted(out []byte, quotes string) error {
	for line := range strings.Lines(string(out)) {
		open := rune(0)
		escaped := false
		for _, r := range line {
			switch {
			case escaped:
				escaped = false
			case open != 0 && r == '\\':
				escaped = true
			case open == r:
				open = 0
			case open == 0 && strings.ContainsRune(quotes, r):
				open = r
			}
		}
		if open != 0 {
			return fmt.Errorf("a string does not end: %.300q", line)
		}
	}
	return nil
}

// validDOT and validCypher check that no name ends the string that it is in.
func validDOT(out []byte) error    { return quoted(out, "\"") }
func validCypher(out []byte) error { return quoted(out, "'\"`") }

// hostileCommands returns the commands of both kinds of store.
func hostileCommands() []hostileCommand {
	return []hostileCommand{
		{args: []string{}, check: columns(10)},
		{args: []string{"-T"}, check: columns(11)},
		{args: []string{"-j"}, check: validJSON},
		{args: []string{"--ndjson"}, check: validLines},
		{args: []string{"--csv", "-T"}, check: validCSV},
		{args: []string{"--output", "FILE.csv"}, check: validCSV},
		{args: []string{"--output", "FILE.json"}, check: validJSON},
		{args: []string{"--fields", "meta.dns.query", "service", "sensor"}, check: columns(3)},
		{args: []string{"--fields", "meta.dns.query", "service", "sensor", "--csv"}, check: validCSV},
		{args: []string{"--top", "meta.dns.query", "service", "-C", "sensor", "-l", "1000", "--csv"}, check: validCSV},
		{args: []string{"--top", "meta.dns.query", "service", "-C", "sensor", "-l", "1000", "--ndjson"}, check: validLines},
		{args: []string{"--top", "service"}, check: columns(2)},
		{args: []string{"--top", "meta.dns.query", "-l", "1000"}, check: columns(2)},
		{args: []string{"--top", "meta.http.user_agent", "meta.http.uri", "-l", "1000", "-C", "meta.ssl.server_name", "sensor"}, check: columns(3)},
		{args: []string{"--top", "dst.addr", "-l", "1000", "-C", "meta.dns.answers", "-j"}, check: validJSON},
		{args: []string{"-f", "meta.dns(query =~ .*\\x1b.*)"}, check: columns(10), few: true},
		{args: []string{"--top", "meta.dns.query", "-l", "1000", "--plot"}},
		{args: []string{"--top", "meta.dns.query", "-l", "1000", "--plot", "--output", "FILE.svg"}, check: validXML},
		{args: []string{"--top", "meta.dns.query", "-l", "1000", "--plot", "--output", "FILE.txt"}},
		{args: []string{"--plot", "--output", "FILE.svg"}, check: validXML, few: true},
		{args: []string{"export", "--format", "graphml"}, check: validXML},
		{args: []string{"export", "--format", "dot"}, check: validDOT},
		{args: []string{"export", "--format", "json"}, check: validJSON},
		{args: []string{"export", "--format", "csv"}, check: validCSV},
		{args: []string{"export", "--format", "cypher"}, check: validCypher},
		{args: []string{"export", "--format", "csv", "-m", "flow_map"}, check: validCSV},
		{args: []string{"export", "--format", "graphml", "-m", "talk_map"}, check: validXML},
		{args: []string{"show", "10.9.9.0", "-l", "1000"}},
		{args: []string{"show", "10.9.9.2", "-j"}, check: validJSON},
		{args: []string{"show", "10.0.0.0", "tcp/1", "10.9.9.0"}},
		{args: []string{"show", "10.0.0.33", "tcp/4", "10.9.9.5", "-j"}, check: validJSON},
		{args: []string{"__complete", "-f", "meta.dns.query = "}},
		{args: []string{"__complete", "-f", "meta.http.uri = "}},
		{args: []string{"__complete", "-f", "service = "}},
		{args: []string{"__complete", "-f", "sensor = \"\x1b"}, few: true},
		{args: []string{"--fields", "meta.http.uri", "meta.dns.answers", "--ndjson"}, check: validLines},
		{args: []string{"--fields", "meta.ssl.server_name", "-s", "|"}},
		{args: []string{"-c", "-f", "meta.dns.query = \"\x1b[31m\u202e\"", "--explain"}},
		{args: []string{"-m", "flow_map"}, check: columns(11)},
		{args: []string{"--flow-daily"}, check: columns(2)},
		{args: []string{"status"}},
		{args: []string{"status", "-j"}, check: validJSON},
	}
}

// lakeCommands returns those that only a lake answers.
func lakeCommands() []hostileCommand {
	const all = "SELECT * FROM dns JOIN http USING (uid) JOIN ssl USING (uid)"
	return []hostileCommand{
		{args: []string{"sql", all}},
		{args: []string{"sql", all, "--format", "csv"}, check: validCSV},
		{args: []string{"sql", all, "--format", "json"}, check: validJSON},
		{args: []string{"sql", "SELECT query, answers FROM dns"}, check: columns(2)},
		{args: []string{"sql", "SELECT [query] AS q, {'x': query} AS x, map{query: 1} AS m, encode(query) AS b FROM dns", "--format", "csv"}, check: validCSV},
		{args: []string{"tail", "--once", "--last", "1000"}},
		{args: []string{"tail", "--once", "--last", "1000", "--ndjson"}, check: validLines},
		{args: []string{"check"}, few: true},
		{args: []string{"compact"}, few: true},
		{args: []string{"expire", "--older-than", "1d", "--dry-run"}, few: true},
	}
}

// graphCommands returns those that only a database answers.
func graphCommands() []hostileCommand {
	const all = "MATCH (f:Flow)-[r:INTEL]->(i) RETURN f, r, i, f.service, i.query, i.answers"
	return []hostileCommand{
		{args: []string{"cypher", all}, check: columns(6)},
		{args: []string{"cypher", all, "--format", "csv"}, check: validCSV},
		{args: []string{"cypher", all, "--format", "json"}, check: validJSON},
	}
}

// TestHostile prints names in every way that there is.
func TestHostile(t *testing.T) {
	if n := len(hostileNames()); n < 100 {
		t.Fatalf("%d names", n)
	}
	path := hostileLake(t)
	for _, c := range append(hostileCommands(), lakeCommands()...) {
		c.run(t, path)
	}
}

// TestNeo4jHostile does so from a database.
func TestNeo4jHostile(t *testing.T) {
	uri := emptyServer(t)
	loadLake(t, uri, hostileLake(t))
	for _, c := range append(hostileCommands(), graphCommands()...) {
		c.run(t, uri)
	}
}

func (c *hostileCommand) run(t *testing.T, store string) {
	t.Helper()
	file := ""
	args := append([]string{"--store", store, "--tz", "UTC"}, c.args...)
	if len(c.args) > 0 && c.args[0] == cobra.ShellCompRequestCmd {
		t.Setenv("WEIR_STORE", store)
		args = c.args
	}
	for i, a := range args {
		if name, ok := strings.CutPrefix(a, "FILE"); ok {
			file = filepath.Join(t.TempDir(), "out"+name)
			args[i] = file
		}
	}
	out, msg, code := flowcli(t, args...)
	if code != 0 {
		t.Errorf("%q: exit code %d: %s", c.args, code, msg)
		return
	}
	if err := commandtest.Harmless(msg); err != nil {
		t.Errorf("%q: on standard error: %v", c.args, err)
	}
	if file != "" {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Error(err)
			return
		}
		out = string(data)
	}
	if err := commandtest.Harmless(out); err != nil {
		t.Errorf("%q: %v", c.args, err)
	}
	if len(out) == 0 && !c.few {
		t.Errorf("%q prints nothing", c.args)
	}
	if c.check != nil {
		if err := c.check([]byte(out)); err != nil {
			t.Errorf("%q: %v", c.args, err)
		}
	}
}

// TestHostileArguments puts the names where users write: what is wrong is told in a
// harmless way.
func TestHostileArguments(t *testing.T) {
	if testing.Short() {
		t.Skip("takes some seconds")
	}
	path := quiet(t)
	if err := fillLake(path, "import-1", false); err != nil {
		t.Fatal(err)
	}
	for i, name := range hostileNames() {
		for j, args := range [][]string{
			{"-f", "dport = " + name},
			{"-f", name},
			{"--top", name},
			{"--top", "dport", "--sum", name},
			{"-o", name},
			{"--fields", name},
			{"--host", name},
			{"--proto", name, "--explain"},
			{"--sport", name},
			{"--after", name},
			{"--mode", name},
			{"--output", filepath.Join(t.TempDir(), "none", name)},
			{"sql", "SELECT " + name},
			{"sql", name},
			{"sql", "SELECT 1", "--format", name},
			{"--tz", name},
			{"--limit", name},
			{"--" + name},
			{name},
			{"expire", "--before", name},
			{"load", "--store", "neo4j://127.0.0.1:1", name},
			{"-c", "--store", filepath.Join(t.TempDir(), name)},
			{"-c", "--store", name + "://x"},
			{"-c", "--store", "neo4j://" + name},
			{"-c", "--config", name},
		} {
			if (i+j)%3 != 0 {
				continue // each name in a third of the places, each place with a third of the names
			}
			if args[0] != "-c" {
				args = append([]string{"--store", path}, args...)
			}
			out, msg, _ := flowcli(t, args...)
			if err := errors.Join(commandtest.Harmless(out), commandtest.Harmless(msg)); err != nil {
				t.Errorf("%.300q: %v", args, err)
			}
		}
	}
}
