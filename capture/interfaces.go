// SPDX-License-Identifier: Apache-2.0

package capture

import (
	"fmt"
	"slices"
	"strings"

	"github.com/google/gopacket/pcap"
)

// Interface describes what can be captured on.
type Interface struct {
	Name string
	// Description is libpcap's, often empty.
	Description  string
	Up, Loopback bool
}

// Flags of libpcap's interfaces.
const (
	pcapIfLoopback = 1
	pcapIfUp       = 2
)

// Interfaces lists what can be captured on, the network's own interfaces first:
// for completion, and for people who have mistyped a name.
func Interfaces() ([]Interface, error) {
	devices, err := pcap.FindAllDevs()
	if err != nil {
		return nil, fmt.Errorf("list interfaces: %w", err)
	}
	var out []Interface
	for _, d := range devices {
		// These have link types of their own, none of which carries IP.
		if slices.ContainsFunc([]string{"usbmon", "bluetooth", "dbus-", "nfqueue"}, func(prefix string) bool {
			return strings.HasPrefix(d.Name, prefix)
		}) {
			continue
		}
		out = append(out, Interface{
			Name: d.Name, Description: d.Description,
			Up: d.Flags&pcapIfUp != 0, Loopback: d.Flags&pcapIfLoopback != 0,
		})
	}
	return out, nil
}

// unknownInterface says that there is no such interface, and which there are.
func unknownInterface(name string) error {
	known, err := Interfaces()
	if err != nil || len(known) == 0 {
		return &UsageError{fmt.Sprintf("there is no interface %q", name)}
	}
	var names []string
	nearest, least := "", 3 // more mistakes than that are another name
	for _, i := range known {
		names = append(names, i.Name)
		if d := distance(name, i.Name); d < least && d < len(name) {
			nearest, least = i.Name, d
		}
	}
	hint := ""
	if nearest != "" {
		hint = fmt.Sprintf(", did you mean %s?", nearest)
	}
	return &UsageError{fmt.Sprintf("there is no interface %q%s (there are: %s)", name, hint, strings.Join(names, ", "))}
}

// distance is how many letters must be changed, added or removed to make one name
// from another.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
