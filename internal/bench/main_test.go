// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"weir/internal/traffic"
)

// TestMain lets the test binary generate captures, as the program does in a
// process of its own.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "-generate" {
		main()
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func TestNumber(t *testing.T) {
	const softflowdSays = "Number of active flows: 0\nPackets processed: 3382023\n" +
		"Ignored packets: 583647 (583647 non-IP, 0 too short)\nFlows exported: 484446 (484447 records) in 16644 packets (0 failures)\n"
	const racountSays = "racount   records     total_pkts     src_pkts\n    sum   1000001     1000000        1000002\n"
	for _, tc := range []struct {
		text, pattern string
		want          int64
	}{
		{softflowdSays, `Packets processed: (\d+)`, 3382023},
		{softflowdSays, `Ignored packets: (\d+)`, 583647},
		{softflowdSays, `Flows exported: \d+ \((\d+) records\)`, 484447},
		{racountSays, `sum\s+(\d+)`, 1000001},
		{racountSays, `sum\s+\d+\s+(\d+)`, 1000000},
	} {
		if got, err := number([]byte(tc.text), tc.pattern); got != tc.want || err != nil {
			t.Errorf("number(%q) = %d, %v, want %d", tc.pattern, got, err, tc.want)
		}
	}
	if _, err := number([]byte("nothing"), `(\d+)`); err == nil {
		t.Error("number without a match = nil, want an error")
	}
	if _, err := number([]byte("99999999999999999999"), `(\d+)`); err == nil {
		t.Error("number beyond 64 bits = nil, want an error")
	}
}

// took makes a result of runs with these wall times in seconds.
func took(tool string, seconds ...float64) result {
	r := result{tool: tool}
	for _, s := range seconds {
		r.runs = append(r.runs, measurement{wall: time.Duration(s * float64(time.Second))})
	}
	return r
}

func TestMedian(t *testing.T) {
	for _, tc := range []struct {
		seconds []float64
		want    float64
	}{
		{[]float64{3}, 3},
		{[]float64{9, 1, 2}, 2},
		{[]float64{4, 1, 2, 9}, 3},
	} {
		r := took("x", tc.seconds...)
		if got := r.wall(); got != tc.want {
			t.Errorf("median of %v = %v, want %v", tc.seconds, got, tc.want)
		}
	}
}

func TestTargets(t *testing.T) {
	totals := &traffic.Totals{Packets: 1000, DNSQueries: 5, HTTPExchanges: 6, TLSHandshakes: 7}
	totals.Connections[traffic.ClassUDP] = 100
	fine := measurement{
		wall: time.Second, packets: 1000, records: 100, peak: 300e6,
		intel: map[string]int64{"dns": 5, "http": 6, "ssl": 7},
	}
	for _, tc := range []struct {
		name     string
		scenario traffic.Scenario
		spoil    func(m *measurement)
		others   []result
		missed   []string
	}{
		{name: "all reached", others: []result{took("softflowd", 1.6), took("nfpcapd", 2.6), took("argus", 3.1)}},
		{name: "softflowd too fast", others: []result{took("softflowd", 1.4)}, missed: []string{"times the packets/s of softflowd"}},
		{name: "nfpcapd too fast", others: []result{took("nfpcapd", 2.4)}, missed: []string{"times the packets/s of nfpcapd"}},
		{name: "argus too fast", others: []result{took("argus", 2.9)}, missed: []string{"times the packets/s of argus"}},
		{name: "packet lost", spoil: func(m *measurement) { m.packets-- }, missed: []string{"packets not counted"}},
		{name: "packet doubled", spoil: func(m *measurement) { m.packets++ }, missed: []string{"packets counted twice"}},
		{name: "connection lost", spoil: func(m *measurement) { m.records-- }, missed: []string{"connections missing"}},
		{name: "exchange lost", spoil: func(m *measurement) { m.intel = map[string]int64{"dns": 5, "http": 5, "ssl": 8} }, missed: []string{"http records off", "ssl records off"}},
		{name: "memory", spoil: func(m *measurement) { m.peak = 401e6 }, missed: []string{"MB at the peak"}},
		{name: "memory in the flood", scenario: traffic.Flood, missed: []string{"MB at the peak", "s for a million"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			m := fine
			if tc.spoil != nil {
				tc.spoil(&m)
			}
			results := append([]result{{tool: "sensor", runs: []measurement{m}}}, tc.others...)
			var out strings.Builder
			missed := printTargets(&out, tc.scenario, results, totals)
			if len(missed) != len(tc.missed) {
				t.Fatalf("missed %q, want %q", missed, tc.missed)
			}
			for i, want := range tc.missed {
				if !strings.Contains(missed[i], want) {
					t.Errorf("missed[%d] = %q, want %q", i, missed[i], want)
				}
			}
			if n := strings.Count(out.String(), "MISSED"); n != len(tc.missed) {
				t.Errorf("printed %d times MISSED, want %d:\n%s", n, len(tc.missed), out.String())
			}
		})
	}
}

// program writes a shell script and returns its name.
func program(t *testing.T, dir, name, script string) string {
	t.Helper()
	file := filepath.Join(dir, name)
	if err := os.WriteFile(file, []byte("#!/bin/sh\n"+script), 0o755); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestRun(t *testing.T) {
	dir := t.TempDir()
	_, totals, err := (&options{packets: 3000, seed: 7, dir: dir}).capture(t.Context(), traffic.Mix, &strings.Builder{})
	if err != nil {
		t.Fatal(err)
	}
	sensor := program(t, dir, "sensor", `[ "$1" = -r ] && [ -s "$2" ] && [ "$3" = --store ] && mkdir "$4"`)
	flowcli := program(t, dir, "flowcli", fmt.Sprintf(`
case "$4" in
*dns) printf 'n\n%d\n' ;;
*http) printf 'n\n%d\n' ;;
*ssl) printf 'n\n%d\n' ;;
*) printf 'n,p\n%d,%d\n' ;;
esac`, totals.DNSQueries, totals.HTTPExchanges, totals.TLSHandshakes, totals.Sum(), totals.Packets))
	args := []string{
		"-packets", "3000", "-seed", "7", "-dir", dir, "-runs", "2", "-scenarios", "mix", "-tools", "sensor",
		"-workers", "1", "-sensor", sensor, "-flowcli", flowcli, "-check",
	}
	var out strings.Builder
	if err := run(t.Context(), args, &out); err != nil {
		t.Fatalf("run: %v\n%s", err, out.String())
	}
	for _, want := range []string{
		"round 2  sensor -w 1", fmt.Sprintf("mix: %d packets, %d connections", totals.Packets, totals.Sum()),
		"0.00 dns records off",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the output does not contain %q:\n%s", want, out.String())
		}
	}
	if strings.Contains(out.String(), "generating") {
		t.Errorf("the capture was generated again:\n%s", out.String())
	}
	left, err := filepath.Glob(filepath.Join(dir, "run-*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}

	program(t, dir, "flowcli", `printf 'n,p\n1,1\n'`)
	if err := run(t.Context(), args, &out); err == nil || !strings.Contains(err.Error(), "packets not counted") {
		t.Errorf("run with packets lost = %v, want an error that says so", err)
	}
	program(t, dir, "sensor", `echo "cannot read" >&2; exit 1`)
	if err := run(t.Context(), args, &out); err == nil || !strings.Contains(err.Error(), "cannot read") {
		t.Errorf("run with a sensor that fails = %v, want its message", err)
	}
}

func TestRunRefuses(t *testing.T) {
	for _, args := range [][]string{
		{"-runs", "0"},
		{"surplus"},
		{"-tools", "tcpdump"},
		{"-scenarios", "storm"},
		{"-tools", "sensor", "-sensor", "/nonexistent/sensor"},
		{"-unknown"},
	} {
		if err := run(t.Context(), append([]string{"-dir", t.TempDir()}, args...), &strings.Builder{}); err == nil {
			t.Errorf("run(%q) = nil, want an error", args)
		}
	}
}

func TestCapturesOfAnotherProgramAreReplaced(t *testing.T) {
	dir := t.TempDir()
	stale := filepath.Join(dir, "flood-100-3-00000000.pcap")
	if err := os.WriteFile(stale, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	o := &options{flood: 100, seed: 3, dir: dir}
	name, totals, err := o.capture(t.Context(), traffic.Flood, &strings.Builder{})
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(name); err != nil || info.Size() != totals.FileBytes || totals.Packets != 100 {
		t.Errorf("capture(%v) wrote %v, %v, want %d bytes of 100 packets", traffic.Flood, info, err, totals.FileBytes)
	}
	if _, err := os.Stat(stale); !os.IsNotExist(err) {
		t.Errorf("the stale capture is still there: %v", err)
	}
	// A capture that is not whole is made again.
	if err := os.Truncate(name, 10); err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	if _, _, err := o.capture(t.Context(), traffic.Flood, &out); err != nil || !strings.Contains(out.String(), "generating") {
		t.Errorf("a cut capture was not made again: %v", err)
	}
}
