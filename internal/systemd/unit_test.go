// SPDX-License-Identifier: Apache-2.0

package systemd_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const unitFile = "../../contrib/systemd/weir-sensor@.service"

// unit returns the settings of the service, by section and key.
func unit(t *testing.T) (text string, settings map[string][]string) {
	t.Helper()
	data, err := os.ReadFile(unitFile)
	if err != nil {
		t.Fatal(err)
	}
	settings = map[string][]string{}
	section := ""
	for line := range strings.Lines(string(data)) {
		line = strings.TrimSpace(line)
		switch {
		case line == "" || line[0] == '#':
		case line[0] == '[':
			section = strings.Trim(line, "[]")
		default:
			key, value, ok := strings.Cut(line, "=")
			if !ok {
				t.Errorf("line %q is no setting", line)
			}
			name := section + "." + key
			if settings[name] != nil && key != "Environment" {
				t.Errorf("%s is set twice", name)
			}
			settings[name] = append(settings[name], strings.Fields(value)...)
		}
	}
	return string(data), settings
}

// What the sensor relies on.
func TestUnit(t *testing.T) {
	_, settings := unit(t)
	for key, want := range map[string]string{
		"Service.Type":                  "notify",
		"Service.NotifyAccess":          "main",
		"Service.ExecStart":             "/usr/local/bin/sensor -i %i",
		"Service.ExecReload":            "/bin/kill -HUP $MAINPID",
		"Service.Restart":               "always",
		"Service.WatchdogSec":           "30",
		"Service.User":                  "weir",
		"Service.AmbientCapabilities":   "CAP_NET_RAW",
		"Service.CapabilityBoundingSet": "CAP_NET_RAW",
		"Service.NoNewPrivileges":       "yes",
		"Service.StateDirectory":        "weir",
	} {
		if got := strings.Join(settings[key], " "); got != want {
			t.Errorf("%s=%s, want %s", key, got, want)
		}
	}
	// The sensor's own sandbox must still be able to start.
	for _, call := range []string{"seccomp", "landlock_create_ruleset", "landlock_add_rule", "landlock_restrict_self"} {
		if !slices.Contains(settings["Service.SystemCallFilter"], call) {
			t.Errorf("SystemCallFilter lacks %s", call)
		}
	}
	for _, family := range []string{"AF_UNIX", "AF_PACKET"} {
		if !slices.Contains(settings["Service.RestrictAddressFamilies"], family) {
			t.Errorf("RestrictAddressFamilies lacks %s", family)
		}
	}
}

// Where systemd is installed, it says itself what it thinks of the unit.
func TestUnitVerified(t *testing.T) {
	text, _ := unit(t)
	program, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Log("systemd-analyze is not installed: only the settings are compared")
		return
	}
	// The program is not where it will be installed.
	text = strings.ReplaceAll(text, "/usr/local/bin/sensor", "/bin/true")
	file := filepath.Join(t.TempDir(), "weir-sensor@eth0.service")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{
		{"verify", file},
		{"security", "--no-pager", "--offline=true", "--threshold=21", file}, // of 100
	} {
		cmd := exec.Command(program, args...)
		var stderr strings.Builder
		cmd.Stderr = &stderr
		out, err := cmd.Output()
		if err != nil || strings.Contains(stderr.String(), file) {
			t.Errorf("systemd-analyze %s: %v\n%s%s", args[0], err, stderr.String(), out)
		}
	}
}
