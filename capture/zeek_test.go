// SPDX-License-Identifier: Apache-2.0

package capture_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"weir/capture"
	"weir/internal/flow"
)

// endpoints names a connection without its direction.
func endpoints(src string, sport string, dst string, dport string, proto string) string {
	a, b := src+" "+sport, dst+" "+dport
	if a > b {
		a, b = b, a
	}
	return a + " " + b + " " + proto
}

// zeekConns returns the connections of a conn.log, nil without one.
func zeekConns(t *testing.T, path string) map[string]bool {
	t.Helper()
	conns := map[string]bool{}
	b, err := os.ReadFile(path)
	if os.IsNotExist(err) {
		return conns
	}
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		f := strings.Split(line, "\t")
		if strings.HasPrefix(line, "#") || len(f) < 7 {
			continue
		}
		conns[endpoints(f[2], f[3], f[4], f[5], f[6])] = true
	}
	return conns
}

// TestZeekConnections compares which connections there are with what Zeek logged.
func TestZeekConnections(t *testing.T) {
	same, all := 0, 0
	for _, dir := range []string{"zeek", "zeek-edge"} {
		for _, path := range corpus(t, dir) {
			want := zeekConns(t, filepath.Join(filepath.Dir(path), "conn.log"))
			got := map[string]bool{}
			res := read(t, capture.Config{Inputs: []string{path}})
			for i := range res.packets {
				p := &res.packets[i]
				got[endpoints(p.Src.String(), fmt.Sprint(p.Sport), p.Dst.String(), fmt.Sprint(p.Dport),
					flow.ProtoName(p.Proto))] = true
			}
			all++
			diff := ""
			for k := range want {
				if !got[k] {
					diff += "\n  missing " + k
				}
			}
			for k := range got {
				if !want[k] {
					diff += "\n  extra " + k
					t.Errorf("%s: connection %s is not in conn.log", path, k)
				}
			}
			if diff == "" {
				same++
				continue
			}
			if len(diff) > 600 {
				diff = diff[:600] + "…"
			}
			t.Logf("%s: rejected %v%s", path, rejected(res.stats), diff)
		}
	}
	if other := all - same; other > 0 {
		t.Errorf("%d of %d captures have other connections than Zeek found", other, all)
	}
}
