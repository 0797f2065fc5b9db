// SPDX-License-Identifier: Apache-2.0

package confine_test

import (
	"os"
	"strings"
	"testing"

	"weir/internal/confine"
)

func TestPolicyFlag(t *testing.T) {
	for _, want := range []confine.Policy{confine.On, confine.Strict, confine.Off} {
		got := confine.Policy(200)
		if err := got.Set(want.String()); err != nil || got != want {
			t.Errorf("Set(%q) = %v, %v, want %v", want.String(), got, err, want)
		}
	}
	var p confine.Policy
	if err := p.Set("maybe"); err == nil {
		t.Error(`Set("maybe") succeeds`)
	}
}

func TestValidate(t *testing.T) {
	cases := []struct {
		name string
		c    confine.Config
		want string
	}{
		{"zero", confine.Config{}, ""},
		{"paths", confine.Config{ReadWrite: []string{"/a"}, ReadOnly: []string{"/b"}}, ""},
		{"relative store", confine.Config{ReadWrite: []string{"store"}}, `"store" is not an absolute path`},
		{"relative file", confine.Config{ReadOnly: []string{"weir.toml"}}, `"weir.toml" is not an absolute path`},
		{"port", confine.Config{ConnectTCP: []uint16{0}}, "no TCP port 0"},
		{"policy", confine.Config{Sandbox: 7}, "unknown sandbox policy 7"},
		{"user", confine.Config{User: "no such user"}, "look up user: "},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			err := tc.c.Validate()
			if tc.want == "" && err != nil || tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)) {
				t.Errorf("Validate(%+v) = %v, want %q", tc.c, err, tc.want)
			}
		})
	}
}

func TestLookup(t *testing.T) {
	root, err := confine.Lookup("root")
	if err != nil || root.UID != 0 {
		t.Errorf("Lookup(root) = %+v, %v, want uid 0", root, err)
	}
	number, err := confine.Lookup("54321")
	if want := (confine.Account{Name: "uid 54321", UID: 54321, GID: 54321}); err != nil || number != want {
		t.Errorf("Lookup(54321) = %+v, %v, want %+v", number, err, want)
	}
	own, err := confine.Lookup("")
	if err != nil {
		t.Fatal(err)
	}
	if uid := os.Getuid(); uid == 0 && own.Name != "nobody" || uid != 0 && own.UID != uid {
		t.Errorf("Lookup() = %+v for uid %d", own, uid)
	}
	if _, err := confine.Lookup("-1"); err == nil {
		t.Error("Lookup(-1) succeeds")
	}
}
