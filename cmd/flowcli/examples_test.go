// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
)

// TestExamples runs the examples of the help texts in a shell. Those of Neo4j are only
// read: there is no such server.
func TestExamples(t *testing.T) {
	path := quiet(t)
	if err := fillLake(path, "import-1", false); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.WriteFile(dir+"/query.sql", []byte("SELECT 1"), 0o600); err != nil {
		t.Fatal(err)
	}
	comment := regexp.MustCompile(`  +[^'"]*$`)
	ran := 0
	for line := range strings.SplitSeq(examples+"\n"+sqlExamples+"\n"+tailExamples, "\n") {
		line = comment.ReplaceAllString(strings.TrimSpace(line), "")
		if strings.Contains(line, "neo4j://") {
			continue
		}
		if strings.HasPrefix(line, "flowcli tail") && !strings.Contains(line, "--once") {
			line += " --once"
		}
		cmd := exec.Command("sh", "-c", line)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "WEIR_STORE="+path)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", line, err, out)
		}
		ran++
	}
	if ran < 25 {
		t.Errorf("%d examples", ran)
	}
}
