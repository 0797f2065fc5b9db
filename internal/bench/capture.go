// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"

	"weir/internal/traffic"
)

// spec returns the capture that belongs to a scenario.
func (o *options) spec(scenario traffic.Scenario) traffic.Spec {
	return traffic.Spec{Scenario: scenario, Seed: o.seed, Packets: o.packets, Connections: o.flood}
}

// capture returns the name and the totals of a scenario's capture, which is
// generated unless it is there already. Its name tells the spec and the program
// that made it: a changed generator makes a new capture.
func (o *options) capture(ctx context.Context, scenario traffic.Scenario, out io.Writer) (string, traffic.Totals, error) {
	program, err := os.Executable()
	if err != nil {
		return "", traffic.Totals{}, fmt.Errorf("find this program: %w", err)
	}
	sum, err := digest(program)
	if err != nil {
		return "", traffic.Totals{}, err
	}
	size := o.packets
	if scenario != traffic.Mix {
		size = o.flood
	}
	prefix := fmt.Sprintf("%s-%d-%d-", scenario, size, o.seed)
	name := filepath.Join(o.dir, prefix+sum+".pcap")
	totals, err := readTotals(name + ".json")
	if err == nil {
		if info, err := os.Stat(name); err == nil && info.Size() == totals.FileBytes {
			return name, totals, nil
		}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return "", traffic.Totals{}, err
	}
	stale, err := filepath.Glob(filepath.Join(o.dir, prefix+"*.pcap*"))
	if err != nil {
		return "", traffic.Totals{}, fmt.Errorf("look for old captures: %w", err)
	}
	for _, old := range stale {
		if err := os.Remove(old); err != nil {
			return "", traffic.Totals{}, fmt.Errorf("remove an old capture: %w", err)
		}
	}
	fmt.Fprintf(out, "generating %s\n", name)
	// A process of its own generates: a child's peak memory, as the kernel
	// reports it, is never below what its parent had in use when it started it.
	cmd := exec.CommandContext(
		ctx, program, "-generate", name, "-scenarios", scenario.String(),
		"-packets", strconv.Itoa(o.packets), "-flood", strconv.Itoa(o.flood),
		"-seed", strconv.FormatUint(o.seed, 10),
	)
	cmd.Stderr = os.Stderr
	if err := cmd.Run(); err != nil {
		return "", traffic.Totals{}, fmt.Errorf("generate %s: %w", name, err)
	}
	totals, err = readTotals(name + ".json")
	return name, totals, err
}

// generate writes the capture o.generate and, next to it, its totals.
func generate(o *options) error {
	scenario, err := traffic.ParseScenario(o.scenarios)
	if err != nil {
		return fmt.Errorf("read -scenarios: %w", err)
	}
	totals, err := traffic.WriteFile(o.generate, o.spec(scenario))
	if err != nil {
		return fmt.Errorf("generate %s: %w", o.generate, err)
	}
	text, err := json.MarshalIndent(totals, "", "  ")
	if err != nil {
		return fmt.Errorf("encode totals: %w", err)
	}
	if err := os.WriteFile(o.generate+".json", text, 0o644); err != nil {
		return fmt.Errorf("write totals: %w", err)
	}
	return nil
}

func readTotals(name string) (traffic.Totals, error) {
	var t traffic.Totals
	text, err := os.ReadFile(name)
	if err != nil {
		return t, fmt.Errorf("read totals: %w", err)
	}
	if err := json.Unmarshal(text, &t); err != nil {
		return t, fmt.Errorf("read %s: %w", name, err)
	}
	return t, nil
}

// digest returns the beginning of the hash of a file.
func digest(name string) (string, error) {
	f, err := os.Open(name)
	if err != nil {
		return "", fmt.Errorf("hash this program: %w", err)
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", fmt.Errorf("hash this program: %w", err)
	}
	return hex.EncodeToString(h.Sum(nil)[:4]), nil
}
