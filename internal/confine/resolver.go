// SPDX-License-Identifier: Apache-2.0

package confine

import (
	"context"
	"net"
	"path/filepath"
	"slices"
)

// dnsPort is where name servers listen.
const dnsPort = 53

// Resolver looks up host names as a process can that [Enter] has confined: by DNS
// over TCP, since UDP can be sent anywhere, and in /etc/hosts. Who uses it before,
// too, notices at once where that does not work.
func Resolver() *net.Resolver {
	return &net.Resolver{
		PreferGo: true,
		Dial: func(ctx context.Context, _, address string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "tcp", address)
		},
	}
}

// withLookUp returns the configuration with what Resolver needs.
func (c Config) withLookUp() Config {
	c.ConnectTCP = append(slices.Clone(c.ConnectTCP), dnsPort)
	c.ReadOnly = slices.Concat(c.ReadOnly, lookUpFiles("/etc"))
	return c
}

// lookUpFiles returns the files below etc that say how names are looked up.
func lookUpFiles(etc string) []string {
	resolv := filepath.Join(etc, "resolv.conf")
	files := []string{resolv, filepath.Join(etc, "nsswitch.conf"), filepath.Join(etc, "hosts")}
	// Programs that manage networks keep the file elsewhere, and replace it there:
	// then the rule is for the directory.
	if real, err := filepath.EvalSymlinks(resolv); err == nil {
		if dir := filepath.Dir(real); dir != etc {
			files = append(files, dir)
		}
	}
	return files
}
