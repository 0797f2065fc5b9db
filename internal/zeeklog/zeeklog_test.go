// SPDX-License-Identifier: Apache-2.0

package zeeklog_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"weir/internal/flow"
	"weir/internal/zeeklog"
)

func sample() (*flow.ConnBatch, *flow.IntelBatch) {
	tuple := flow.Tuple{
		UID: 0x0123456789abcdef, Src: flow.Addr4([4]byte{192, 168, 1, 2}), Dst: flow.Addr4([4]byte{9, 9, 9, 9}),
		Sport: 40000, Dport: 53, Proto: flow.UDP,
	}
	var conns flow.ConnBatch
	conns.Add(&flow.Connection{
		Tuple: tuple, First: 1_700_000_000_123_456_789, Last: 1_700_000_001_500_000_000,
		CSPkts: 1, SCPkts: 2, CSBytes: 60, SCBytes: 120, CSPayload: 32, SCPayload: 64, Missed: 3,
		History: []byte("Dd"), Service: "dns", State: flow.SF, TunnelParents: []uint64{1, 2}, Count: 1,
	})
	single := flow.Connection{Tuple: tuple, First: 5e9, Last: 5e9, CSPkts: 1, CSBytes: 84, State: flow.OTH, Count: 1}
	single.Proto, single.Sport, single.Dport = flow.ICMPv6, 128, 129
	single.Src, single.Dst = flow.Addr{15: 1}, flow.Addr{0: 0xfe, 1: 0x80, 15: 2}
	conns.Add(&single)

	intel := flow.NewIntelBatch()
	intel.Begin(flow.DNS, &tuple, 1_700_000_000_123_456_789)
	intel.SetInt(flow.DNSTransID, 7)
	intel.SetText(flow.DNSQuery, []byte("a\tb\\c\xff,é"))
	intel.SetInt(flow.DNSRTT, 1500)
	intel.SetBool(flow.DNSAA, true)
	intel.AppendText(flow.DNSAnswers, []byte("x,y"))
	intel.AppendText(flow.DNSAnswers, []byte("-"))
	intel.AppendInt(flow.DNSTTLs, 300_000_000)
	intel.AppendInt(flow.DNSTTLs, 500_000)
	return &conns, intel
}

func write(t *testing.T, cfg zeeklog.Config) {
	t.Helper()
	conns, intel := sample()
	l, err := zeeklog.Create(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Connections(conns); err != nil {
		t.Fatal(err)
	}
	if err := l.Intel(intel); err != nil {
		t.Fatal(err)
	}
	if left, err := filepath.Glob(filepath.Join(cfg.Dir, "*.log")); err != nil || len(left) > 0 {
		t.Errorf("before Commit there are %v, %v", left, err)
	}
	if err := l.Finish(); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Commit(); err != nil {
		t.Fatal(err)
	}
	l.Abort() // does nothing any more
}

// records returns the data lines of a log, and its header without times.
func records(t *testing.T, name string) (header, lines []string) {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSuffix(line, "\n")
		switch {
		case strings.HasPrefix(line, "#open\t") || strings.HasPrefix(line, "#close\t"):
		case strings.HasPrefix(line, "#"):
			header = append(header, line)
		default:
			lines = append(lines, line)
		}
	}
	return header, lines
}

func TestTSV(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new", "logs")
	write(t, zeeklog.Config{Dir: dir})
	header, lines := records(t, filepath.Join(dir, "conn.log"))
	want := []string{
		"1700000000.123456\tC0123456789abcdef\t192.168.1.2\t40000\t9.9.9.9\t53\tudp\tdns\t1.376544\t32\t64\tSF\tT\tF\t3\tDd\t1\t60\t2\t120\tC0000000000000001,C0000000000000002\t17",
		"5.000000\tC0123456789abcdef\t::1\t128\tfe80::2\t129\ticmp\t-\t-\t-\t-\tOTH\tT\tT\t0\t-\t1\t84\t0\t0\t-\t58",
	}
	if diff := cmp.Diff(want, lines); diff != "" {
		t.Errorf("conn.log differs (-want +got):\n%s", diff)
	}
	fields := strings.Split(strings.TrimPrefix(header[5], "#fields\t"), "\t")
	types := strings.Split(strings.TrimPrefix(header[6], "#types\t"), "\t")
	if got := len(strings.Split(lines[0], "\t")); len(fields) != got || len(types) != got {
		t.Errorf("%d fields, %d types, %d values, want equal numbers", len(fields), len(types), got)
	}
	_, lines = records(t, filepath.Join(dir, "dns.log"))
	want = []string{
		"1700000000.123456\tC0123456789abcdef\t192.168.1.2\t40000\t9.9.9.9\t53\tudp\t7\t0.001500\t" +
			`a\x09b\\c\xff,\xc3\xa9` + "\t-\t-\t-\t-\t-\t-\tT\t-\t-\t-\t-\t" + `x\x2cy,\x2d` + "\t300.000000,0.500000\t-\t-\t-",
	}
	if diff := cmp.Diff(want, lines); diff != "" {
		t.Errorf("dns.log differs (-want +got):\n%s", diff)
	}
	if _, err := os.Stat(filepath.Join(dir, "http.log")); !os.IsNotExist(err) {
		t.Errorf("http.log exists without a record: %v", err)
	}
}

// TestLimits checks that long texts and lists are cut where Zeek cuts them.
func TestLimits(t *testing.T) {
	const texts, list = 4096, 100
	for _, tc := range []struct {
		name, query, want string
	}{
		{"longest", strings.Repeat("q", texts), strings.Repeat("q", texts)},
		{"longer", strings.Repeat("q", texts+1), strings.Repeat("q", texts)},
		{"escaped", strings.Repeat("\\", texts+1), strings.Repeat(`\\`, texts)},
		// What is left of a character is no UTF-8, so that none is written as it is.
		{"within a character", strings.Repeat("q", texts-3) + "\u00fc\u00fc", strings.Repeat("q", texts-3) + `\xc3\xbc\xc3`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, intel := sample()
			intel.Reset()
			intel.Begin(flow.DNS, &flow.Tuple{Proto: flow.UDP}, 1e18)
			intel.SetText(flow.DNSQuery, []byte(tc.query))
			intel.AppendText(flow.DNSAnswers, []byte(strings.Repeat("a", texts+1)))
			for range list {
				intel.AppendText(flow.DNSAnswers, []byte("aa"))
			}
			for range list + 1 {
				intel.AppendInt(flow.DNSTTLs, 1e6)
			}
			dir := t.TempDir()
			l, err := zeeklog.Create(zeeklog.Config{Dir: dir})
			if err != nil {
				t.Fatal(err)
			}
			if err := l.Intel(intel); err != nil {
				t.Fatal(err)
			}
			if err := l.Finish(); err != nil {
				t.Fatal(err)
			}
			if _, err := l.Commit(); err != nil {
				t.Fatal(err)
			}
			_, lines := records(t, filepath.Join(dir, "dns.log"))
			fields := strings.Split(lines[0], "\t")
			if diff := cmp.Diff(tc.want, fields[9]); diff != "" {
				t.Errorf("query differs (-want +got):\n%s", diff)
			}
			want := strings.Repeat("a", texts) + strings.Repeat(",aa", list-1)
			if diff := cmp.Diff(want, fields[21]); diff != "" {
				t.Errorf("answers differ (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff("1.000000"+strings.Repeat(",1.000000", list-1), fields[22]); diff != "" {
				t.Errorf("TTLs differ (-want +got):\n%s", diff)
			}
		})
	}
}

// TestInterimRecords: a connection has one line, whole, whatever it was
// reported before.
func TestInterimRecords(t *testing.T) {
	dir := t.TempDir()
	l, err := zeeklog.Create(zeeklog.Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	conns, _ := sample()
	whole := conns.Conns[0]
	part := whole
	part.End = flow.EndActive
	var b flow.ConnBatch
	b.Add(&part)
	part.Count, part.Total = 0, &flow.Totals{First: whole.First, Last: whole.Last}
	b.Add(&part)
	if err := l.Connections(&b); err != nil {
		t.Fatal(err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("interim records made %v, %v", left, err)
	}
	b.Reset()
	last := flow.Connection{
		Tuple: whole.Tuple, First: whole.Last, Last: whole.Last, SCPkts: 1, End: flow.EndIdle, History: whole.History,
		Service: whole.Service, State: whole.State, TunnelParents: whole.TunnelParents,
		Total: &flow.Totals{
			First: whole.First, Last: whole.Last, CSPkts: whole.CSPkts, SCPkts: whole.SCPkts, CSBytes: whole.CSBytes,
			SCBytes: whole.SCBytes, CSPayload: whole.CSPayload, SCPayload: whole.SCPayload, Missed: whole.Missed,
		},
	}
	b.Add(&last)
	b.Add(&whole)
	if err := l.Connections(&b); err != nil {
		t.Fatal(err)
	}
	if err := l.Finish(); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Commit(); err != nil {
		t.Fatal(err)
	}
	_, lines := records(t, filepath.Join(dir, "conn.log"))
	if len(lines) != 2 || lines[0] != lines[1] {
		t.Errorf("conn.log has %q, want the same line for a connection in several records and in one", lines)
	}
}

func TestJSON(t *testing.T) {
	dir := t.TempDir()
	write(t, zeeklog.Config{Dir: dir, JSON: true})
	_, lines := records(t, filepath.Join(dir, "conn.log"))
	var got []map[string]any
	for _, line := range lines {
		var row map[string]any
		dec := json.NewDecoder(bytes.NewReader([]byte(line)))
		dec.UseNumber()
		if err := dec.Decode(&row); err != nil {
			t.Fatalf("line %s: %v", line, err)
		}
		got = append(got, row)
	}
	if got[0]["duration"] != json.Number("1.376544") || got[0]["local_orig"] != true || got[0]["service"] != "dns" {
		t.Errorf("conn.log row = %v", got[0])
	}
	if _, ok := got[1]["duration"]; ok {
		t.Errorf("an unset field is present in %v", got[1])
	}
	_, lines = records(t, filepath.Join(dir, "dns.log"))
	want := `{"ts":1700000000.123456,"uid":"C0123456789abcdef","id.orig_h":"192.168.1.2","id.orig_p":40000,"id.resp_h":"9.9.9.9","id.resp_p":53,"proto":"udp",` +
		`"trans_id":7,"rtt":0.001500,"query":"a\u0009b\\c\\xff,é","AA":true,"answers":["x,y","-"],"TTLs":[300.000000,0.500000]}`
	if diff := cmp.Diff([]string{want}, lines); diff != "" {
		t.Errorf("dns.log differs (-want +got):\n%s", diff)
	}
}

func TestStaleLogsAreNamed(t *testing.T) {
	dir := t.TempDir()
	old := filepath.Join(dir, "http.log")
	if err := os.WriteFile(old, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	l, err := zeeklog.Create(zeeklog.Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Finish(); err != nil {
		t.Fatal(err)
	}
	stale, err := l.Commit()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{old}, stale); diff != "" {
		t.Errorf("stale logs differ (-want +got):\n%s", diff)
	}
}

func TestAbortLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	l, err := zeeklog.Create(zeeklog.Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	conns, intel := sample()
	if err := l.Connections(conns); err != nil {
		t.Fatal(err)
	}
	if err := l.Intel(intel); err != nil {
		t.Fatal(err)
	}
	if err := l.Finish(); err != nil {
		t.Fatal(err)
	}
	l.Abort()
	left, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(left) != 0 {
		t.Errorf("Abort left %v", left)
	}
}

func TestCreateInAFile(t *testing.T) {
	name := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(name, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := zeeklog.Create(zeeklog.Config{Dir: filepath.Join(name, "logs")}); err == nil {
		t.Error("Create() below a file succeeds")
	}
}
