// SPDX-License-Identifier: Apache-2.0

package main

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestSameExport compares the graphs that a lake and Neo4j give of the same records.
func TestSameExport(t *testing.T) {
	path, uri := sameRecords(t)
	for _, args := range [][]string{
		{"--format", "csv"},
		{"--format", "json", "-f", "proto = tcp", "-o", "-csbytes"},
		{"--format", "graphml", "-l", "50"},
		{"--format", "dot", "--udp"},
		{"--format", "cypher", "-f", "LEN times > 1"},
		{"--format", "parquet"},
	} {
		t.Run(strings.Join(args, " "), func(t *testing.T) {
			args = append([]string{"export"}, args...)
			want, msg, code := flowcli(t, append(args, "--store", path)...)
			if code != 0 {
				t.Fatalf("lake: exit code %d: %s", code, msg)
			}
			got, msg, code := flowcli(t, append(args, "--store", uri)...)
			if code != 0 {
				t.Fatalf("Neo4j: exit code %d: %s", code, msg)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("(-lake +Neo4j):\n%s", diff)
			}
			if len(want) < 1000 {
				t.Errorf("%d bytes are few", len(want))
			}
		})
	}
}
