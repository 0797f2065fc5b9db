// SPDX-License-Identifier: Apache-2.0

package config_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"weir/internal/config"
)

func TestDefaultSpool(t *testing.T) {
	t.Setenv("XDG_DATA_HOME", "/data")
	root := "/data/weir-spool/"
	if os.Geteuid() == 0 {
		root = "/var/lib/weir-spool/"
	}
	for _, tc := range []struct {
		host     string
		port     uint16
		database string
		want     string
	}{
		{"graph", 7687, "weir", "graph_7687_weir"},
		{"Graph", 7687, "Weir", "graph_7687_weir"},
		{"graph.example.com", 17687, "", "graph.example.com_17687"},
		{"2001:db8::1", 7687, "weir", "2001%3Adb8%3A%3A1_7687_weir"},
		{"host", 7687, "../../etc", "host_7687_..%2F..%2Fetc"},
	} {
		if got, err := config.DefaultSpool(tc.host, tc.port, tc.database); err != nil || got != root+tc.want {
			t.Errorf("DefaultSpool(%q, %d, %q) = %q, %v, want %q", tc.host, tc.port, tc.database, got, err, root+tc.want)
		}
	}
}

func TestPassword(t *testing.T) {
	t.Setenv("WEIR_NEO4J_PASSWORD", "from the environment")
	file := filepath.Join(t.TempDir(), "password")
	for _, tc := range []struct{ text, want, err string }{
		{"secret", "secret", ""},
		{"secret\n", "secret", ""},
		{" with blanks \r\n", " with blanks ", ""},
		{"", "", "is empty"},
		{"\n", "", "is empty"},
		{"one\ntwo\n", "", "more than one line"},
	} {
		if err := os.WriteFile(file, []byte(tc.text), 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := config.Password(file)
		if got != tc.want || (err == nil) != (tc.err == "") || err != nil && !strings.Contains(err.Error(), tc.err) {
			t.Errorf("Password() of %q = %q, %v, want %q, %q", tc.text, got, err, tc.want, tc.err)
		}
	}
	if got, err := config.Password(""); got != "from the environment" || err != nil {
		t.Errorf("Password(\"\") = %q, %v, want that of the environment", got, err)
	}
	if _, err := config.Password(file + ".missing"); err == nil {
		t.Error("Password() of a missing file succeeds")
	}
}
