// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"weir/internal/traffic"
)

// terminal returns both ends of a pseudo terminal.
func terminal(t *testing.T) (person, program *os.File) {
	t.Helper()
	person, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Skipf("no pseudo terminals: %v", err)
	}
	t.Cleanup(func() { person.Close() })
	fd := int(person.Fd())
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	program, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { program.Close() })
	return person, program
}

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
		person, program := terminal(t)
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
