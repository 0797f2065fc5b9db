// SPDX-License-Identifier: Apache-2.0

package capture

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

// The page lists the link types that are decoded, and the reasons under which
// packets are counted, all of them and no others.
func TestCapturePage(t *testing.T) {
	b, err := os.ReadFile("../docs/capture.md")
	if err != nil {
		t.Fatal(err)
	}
	var types, reasons []string
	for line := range strings.Lines(string(b)) {
		cells := strings.Split(line, "|")
		switch {
		case len(cells) == 5 && strings.HasPrefix(line, "| `"):
			types = append(types, strings.TrimSpace(cells[1])+strings.TrimSpace(cells[2]))
		case len(cells) == 4 && strings.HasPrefix(line, "| `"):
			reasons = append(reasons, strings.TrimSpace(cells[1]))
		}
	}
	var wantTypes, wantReasons []string
	last := -1
	for _, lt := range linkTypes() {
		if int(lt.number) <= last {
			t.Errorf("link type %d comes after %d", lt.number, last)
		}
		last = int(lt.number)
		if lt.kind != linkUnknown {
			wantTypes = append(wantTypes, fmt.Sprintf("`%d``%s`", lt.number, lt.name))
		}
	}
	for r := Delivered + 1; r < NumReasons; r++ {
		wantReasons = append(wantReasons, "`"+r.String()+"`")
	}
	if got, want := strings.Join(types, "\n"), strings.Join(wantTypes, "\n"); got != want {
		t.Errorf("docs/capture.md has the link types\n%s\nwant\n%s", got, want)
	}
	if got, want := strings.Join(reasons, "\n"), strings.Join(wantReasons, "\n"); got != want {
		t.Errorf("docs/capture.md has the reasons\n%s\nwant\n%s", got, want)
	}
}

// Whoever reads that a link type is not supported reads its name and number.
func TestLinkName(t *testing.T) {
	for link, want := range map[uint32]string{
		1: "ETHERNET (1)", 220: "USB_LINUX_MMAPPED (220)", 147: "USER0 (147)", 301: "DECT_NR (301)",
		302: "unregistered (302)", 1 << 25: "unregistered (33554432)",
	} {
		if got := linkName(link); got != want {
			t.Errorf("linkName(%d) = %q, want %q", link, got, want)
		}
	}
}
