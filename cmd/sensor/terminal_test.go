// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"strings"
	"testing"

	"weir/internal/command/commandtest"
	"weir/internal/traffic"
)

// TestNeo4jInitAsks empties a database only if somebody at a terminal says yes.
func TestNeo4jInitAsks(t *testing.T) {
	g := sharedGraph(t)
	one, _ := generate(t, traffic.Spec{Scenario: traffic.Mix, Seed: 1, Packets: 500})
	two, _ := generate(t, traffic.Spec{Scenario: traffic.Mix, Seed: 2, Packets: 500})
	lake := liveStore(t)
	g.run(0, "-q", "-r", one, "--store", lake)
	for _, tc := range []struct {
		flag, answer string
		code         int
	}{{"--init", "n\n", 1}, {"--init", "\n", 1}, {"--init", "y\n", 0}, {"--yes", "", 0}} {
		person, program := commandtest.Terminal(t)
		if _, err := person.WriteString(tc.answer); err != nil {
			t.Fatal(err)
		}
		var stdout, stderr bytes.Buffer
		code := run(append(g.flags(), "--init", tc.flag, "-r", two), program, &stdout, &stderr)
		want := "Remove everything that weir keeps in " + g.s.URI() + "? [y/N] "
		if tc.flag == "--yes" {
			want = ""
		}
		if asked := strings.Contains(stderr.String(), "[y/N]"); code != tc.code || asked != (want != "") || !strings.HasPrefix(stderr.String(), want) {
			t.Errorf("%s, answer %q: exit code %d, %q, want %d and %q", tc.flag, tc.answer, code, stderr.String(), tc.code, want)
		}
		if tc.code != 0 {
			g.equals(lake)
		}
	}
	if out := runSensor(t, "-q", "-r", two, "--init", "--store", lake); out.code != 0 {
		t.Fatal(out.stderr)
	}
	g.equals(lake)
}
