// SPDX-License-Identifier: Apache-2.0

package confine_test

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"weir/internal/confine"
)

// Of a file that is kept elsewhere, the directory stays readable: it is replaced
// there.
func TestLookUpFiles(t *testing.T) {
	dir := t.TempDir()
	etc, run := filepath.Join(dir, "etc"), filepath.Join(dir, "run", "resolve")
	for _, d := range []string{etc, run} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	plain := []string{filepath.Join(etc, "resolv.conf"), filepath.Join(etc, "nsswitch.conf"), filepath.Join(etc, "hosts")}
	check := func(what string, want []string) {
		t.Helper()
		if got := confine.LookUpFiles(etc); !slices.Equal(got, want) {
			t.Errorf("%s: LookUpFiles() = %q, want %q", what, got, want)
		}
	}
	check("no file", plain)
	if err := os.WriteFile(plain[0], nil, 0o600); err != nil {
		t.Fatal(err)
	}
	check("a file", plain)
	if err := os.Rename(plain[0], filepath.Join(run, "stub.conf")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("../run/resolve/stub.conf", plain[0]); err != nil {
		t.Fatal(err)
	}
	check("a link", append(plain, run))
}
