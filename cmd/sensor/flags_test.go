// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/pflag"
)

// parse returns the options that a command line gives with a configuration.
func parse(t *testing.T, toml string, args ...string) (*options, error) {
	t.Helper()
	name := filepath.Join(t.TempDir(), "weir.toml")
	if err := os.WriteFile(name, []byte(toml), 0o600); err != nil {
		t.Fatal(err)
	}
	o, flags := new(options), pflag.NewFlagSet("sensor", pflag.ContinueOnError)
	o.addFlags(flags)
	if err := flags.Parse(append([]string{"--config", name}, args...)); err != nil {
		t.Fatal(err)
	}
	return o, o.complete(flags, flags.Args())
}

// Every flag has a key in the configuration but those that say what to do once,
// and a reload finds it unchanged.
func TestKeys(t *testing.T) {
	values := map[string]string{
		"interface": `["eth0", "eth1"]`, "filter": `"udp port 53"`, "no-promiscuous": "true", "buffer-size": "1024",
		"snapshot-length": "96", "checksums": "true", "workers": "3", "memory": `"2G"`, "tcp-timeout": `"1m"`,
		"interactive-timeout": `"2m"`, "attempt-timeout": `"3s"`, "close-timeout": `"4s"`, "udp-timeout": `"5s"`,
		"icmp-timeout": `"6s"`, "other-timeout": `"7s"`, "active-timeout": `"8s"`, "store": `["/data/weir", "bolt://neo4j@graph:7687/weir"]`,
		"sensor": `"one"`, "publish": `"9s"`, "retain": `"90d"`, "max-size": `"200G"`, "no-compact": "true",
		"zeek-logs": `"/data/log"`, "zeek-json": "true", "rotate": `"1h"`, "user": `"weir"`, "sandbox": `"strict"`,
		"password-file": `"/etc/weir/password"`, "spool": `"/data/spool"`, "spool-size": `"20G"`, "metrics": `"9464"`, "log-file": `"/data/sensor.log"`, "quiet": "true", "verbose": "true",
	}
	want := map[string]string{"buffer-size": "1MiB", "interface": "[eth0,eth1]", "store": "[/data/weir,bolt://neo4j@graph:7687/weir]"}
	// What excludes another one, or is not for interfaces or files.
	without := map[string]bool{"read": true, "no-checksums": true, "config": true, "init": true, "yes": true, "replace": true, "cpu-profile": true}
	text := "[sensor]\n"
	for key, value := range values {
		text += fmt.Sprintf("%s = %s\n", key, value)
	}
	o, err := parse(t, text)
	if err != nil {
		t.Fatal(err)
	}
	o.flags.VisitAll(func(f *pflag.Flag) {
		value, ok := values[f.Name]
		if !ok {
			if !without[f.Name] {
				t.Errorf("the test does not know the flag %s", f.Name)
			}
			return
		}
		if w, ok := want[f.Name]; ok {
			value = w
		}
		got, plain := f.Value.String(), strings.Trim(value, `"`)
		got = strings.TrimSuffix(strings.TrimSuffix(got, "0s"), "0m")
		if got != plain {
			t.Errorf("%s = %s, want %s", f.Name, got, plain)
		}
	})
	again, err := o.again()
	if err != nil {
		t.Fatal(err)
	}
	if changed := o.changed(again); len(changed) > 0 {
		t.Errorf("a reload finds %q changed", changed)
	}
}

// Of interfaces and captures the command line chooses; what it gives stays in
// force when the configuration is read again.
func TestInputs(t *testing.T) {
	const both = "[sensor]\ninterface = \"eth0\"\nrotate = \"1h\"\nzeek-logs = \"x\"\nretain = \"1d\"\n"
	cases := []struct {
		name, toml       string
		args             []string
		read, interfaces []string
		filter, err      string
	}{
		{"file", both, []string{"-r", "x.pcap"}, []string{"x.pcap"}, nil, "", ""},
		{"interface", both, nil, nil, []string{"eth0"}, "", ""},
		{"interfaces", both, []string{"-i", "a", "-i", "b", "tcp", "port", "80"}, nil, []string{"a", "b"}, "tcp port 80", ""},
		{"both", both, []string{"-r", "x", "-i", "a"}, nil, nil, "", "-i and -r exclude each other"},
		{"both in the file", both + "read = \"x\"\n", nil, nil, nil, "", "-i and -r exclude each other"},
		{"none", "", nil, nil, nil, "", "name a capture with -r, or an interface with -i"},
		{"filters", "", []string{"-i", "a", "-f", "udp", "tcp"}, nil, nil, "", "behind the flags (tcp) and one in --filter"},
		{"words over a key", "[sensor]\nfilter = \"udp\"\n", []string{"-i", "a", "tcp"}, nil, []string{"a"}, "tcp", ""},
		{"retain", "", []string{"-r", "x", "--retain", "1d"}, nil, nil, "", "--retain needs an interface"},
		{"rotate", "", []string{"-i", "a", "--rotate", "1h"}, nil, nil, "", "--rotate needs --zeek-logs"},
		{"init", "", []string{"-i", "a", "--init"}, nil, nil, "", "--init and --replace are for captures"},
		{"metrics", "", []string{"-i", "a", "--metrics", "x:y"}, nil, nil, "", "--metrics: "},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			o, err := parse(t, tc.toml, tc.args...)
			if tc.err != "" {
				if err == nil || !strings.Contains(err.Error(), tc.err) {
					t.Errorf("error %v, want %q", err, tc.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if len(o.interfaces) > 0 {
				if o, err = o.again(); err != nil {
					t.Fatal(err)
				}
			}
			if diff := cmp.Diff([]any{tc.read, tc.interfaces, tc.filter}, []any{o.read, o.interfaces, o.filter}); diff != "" {
				t.Errorf("inputs differ (-want +got):\n%s", diff)
			}
		})
	}
}
