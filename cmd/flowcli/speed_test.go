// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

// TestPerfVersion: completion and scripts start the program often. It is built as a user
// has it, and the median of five starts counts.
func TestPerfVersion(t *testing.T) {
	if os.Getenv("WEIR_TEST_PERF") == "" {
		t.Skip("set WEIR_TEST_PERF to measure")
	}
	const most = 50 * time.Millisecond
	program := filepath.Join(t.TempDir(), "flowcli")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-ldflags=-s -w", "-o", program, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	var took, used []time.Duration
	for try := range 6 {
		cmd := exec.CommandContext(t.Context(), program, "--version")
		start := time.Now()
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		if try == 0 {
			continue // the file was not in memory yet
		}
		took = append(took, time.Since(start))
		used = append(used, cmd.ProcessState.UserTime()+cmd.ProcessState.SystemTime())
	}
	slices.Sort(took)
	slices.Sort(used)
	t.Logf("flowcli --version: %v, of CPU time %v", took[2], used[2])
	if took[2] > most {
		t.Errorf("flowcli --version takes %v, more than %v", took[2], most)
	}
}
