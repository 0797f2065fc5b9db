// SPDX-License-Identifier: Apache-2.0

package config_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/pflag"

	"weir/internal/config"
)

func TestSize(t *testing.T) {
	cases := []struct {
		text  string
		want  int64
		print string
	}{
		{"0", 0, "0"},
		{"1234", 1234, "1234"},
		{"10k", 10_000, "10k"},
		{"128M", 128_000_000, "128M"},
		{"1.5G", 1_500_000_000, "1500M"},
		{"512MiB", 512 << 20, "512MiB"},
		{"512mib", 512 << 20, "512MiB"},
		{"1GB", 1_000_000_000, "1G"},
	}
	for _, tc := range cases {
		var s config.Size
		if err := s.Set(tc.text); err != nil {
			t.Errorf("Set(%q): %v", tc.text, err)
			continue
		}
		if int64(s) != tc.want || s.String() != tc.print {
			t.Errorf("Set(%q) = %d, printed %s, want %d, %s", tc.text, int64(s), s.String(), tc.want, tc.print)
		}
	}
	for _, bad := range []string{"", "M", "12X", "-5M", "1e30G", "NaN"} {
		var s config.Size
		if err := s.Set(bad); err == nil {
			t.Errorf("Set(%q) = %d, want an error", bad, int64(s))
		}
	}
}

func TestDuration(t *testing.T) {
	cases := []struct {
		text  string
		want  time.Duration
		print string
	}{
		{"90d", 90 * 24 * time.Hour, "90d"},
		{"2w", 14 * 24 * time.Hour, "14d"},
		{"1w1d", 8 * 24 * time.Hour, "8d"},
		{"1.5d", 36 * time.Hour, "36h0m0s"},
		{"1d12h", 36 * time.Hour, "36h0m0s"},
		{"48h", 48 * time.Hour, "2d"},
		{"1h30m", 90 * time.Minute, "1h30m0s"},
		{" 5m", 5 * time.Minute, "5m0s"},
		{"0", 0, "0s"},
		{"0d", 0, "0s"},
	}
	for _, tc := range cases {
		var d config.Duration
		if err := d.Set(tc.text); err != nil {
			t.Errorf("Set(%q): %v", tc.text, err)
			continue
		}
		if time.Duration(d) != tc.want || d.String() != tc.print {
			t.Errorf("Set(%q) = %d, printed %s, want %d, %s", tc.text, int64(d), d.String(), tc.want, tc.print)
		}
	}
	for _, bad := range []string{"", " ", "d", "90", "-5d", "-5m", "5d-1h", "1d2w", "NaNd", "1e30d", "5x", "999999999w"} {
		var d config.Duration
		if err := d.Set(bad); err == nil {
			t.Errorf("Set(%q) = %v, want an error", bad, time.Duration(d))
		}
	}
}

func flags() (*pflag.FlagSet, *string, *[]string, *bool) {
	f := pflag.NewFlagSet("sensor", pflag.ContinueOnError)
	return f, f.String("store", "default", ""), f.StringArrayP("read", "r", nil, ""), f.Bool("checksums", false, "")
}

func TestOrder(t *testing.T) {
	file := filepath.Join(t.TempDir(), "weir.toml")
	const text = "store = \"/top\"\n[sensor]\nread = [\"a\", \"b,c\"]\nchecksums = true\n[flowcli]\nother = 1\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Run("file", func(t *testing.T) {
		f, store, read, sums := flags()
		if err := config.Apply(f, "sensor", file); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]any{"/top", []string{"a", "b,c"}, true}, []any{*store, *read, *sums}); diff != "" {
			t.Errorf("values differ (-want +got):\n%s", diff)
		}
	})
	t.Run("environment over file", func(t *testing.T) {
		t.Setenv("WEIR_STORE", "/env")
		t.Setenv("WEIR_CONFIG", file)
		f, store, _, _ := flags()
		if err := config.Apply(f, "sensor", ""); err != nil {
			t.Fatal(err)
		}
		if *store != "/env" {
			t.Errorf("store = %q, want %q", *store, "/env")
		}
	})
	t.Run("flag over all", func(t *testing.T) {
		t.Setenv("WEIR_STORE", "/env")
		f, store, read, _ := flags()
		if err := f.Parse([]string{"--store", "/flag", "-r", "x"}); err != nil {
			t.Fatal(err)
		}
		if err := config.Apply(f, "sensor", file); err != nil {
			t.Fatal(err)
		}
		if *store != "/flag" || !cmp.Equal(*read, []string{"x"}) {
			t.Errorf("store, read = %q, %q, want /flag, [x]", *store, *read)
		}
	})
	t.Run("skipped", func(t *testing.T) {
		f, _, read, _ := flags()
		if err := config.Apply(f, "sensor", file, "read"); err != nil {
			t.Fatal(err)
		}
		if len(*read) != 0 {
			t.Errorf("read = %q, want none", *read)
		}
	})
}

func TestErrors(t *testing.T) {
	cases := []struct{ name, text, want string }{
		{"unknown key", "[sensor]\nstroe = 1\n", `unknown key "stroe" in [sensor]`},
		{"unknown table", "[senser]\nstore = 1\n", `unknown table [senser]`},
		{"key outside", "workers = 1\n", `unknown key "workers" outside of a table`},
		{"syntax", "[sensor]\nstore = \n", "weir.toml:2: "},
		{"bad value", "[sensor]\nchecksums = \"maybe\"\n", `key "checksums"`},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "weir.toml")
			if err := os.WriteFile(file, []byte(tc.text), 0o600); err != nil {
				t.Fatal(err)
			}
			f, _, _, _ := flags()
			err := config.Apply(f, "sensor", file)
			if err == nil || !strings.Contains(err.Error(), tc.want) || !strings.Contains(err.Error(), "weir.toml") {
				t.Errorf("Apply() = %v, want an error with %q and the file's name", err, tc.want)
			}
		})
	}
	f, _, _, _ := flags()
	if err := config.Apply(f, "sensor", filepath.Join(t.TempDir(), "none.toml")); err == nil {
		t.Error("Apply() with a missing file that was named succeeds")
	}
}
