// SPDX-License-Identifier: Apache-2.0

// Command gen writes a generated capture and prints what it holds.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"

	"weir/internal/traffic"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "gen:", err)
		os.Exit(1)
	}
}

func run() error {
	var spec traffic.Spec
	name := flag.String("scenario", "mix", "mix, flood, concurrent or demo")
	out := flag.String("o", "", "file to write (required)")
	flag.Uint64Var(&spec.Seed, "seed", 1, "seed")
	flag.IntVar(&spec.Packets, "packets", 0, "packets of a mix (default 4000000)")
	flag.IntVar(&spec.Connections, "connections", 0, "connections of flood and concurrent (default 1000000)")
	flag.DurationVar(&spec.Span, "span", 0, "time over which connections begin")
	flag.BoolVar(&spec.Nano, "nano", false, "nanosecond times")
	flag.Parse()
	if *out == "" || flag.NArg() > 0 {
		flag.Usage()
		os.Exit(2)
	}
	var err error
	if spec.Scenario, err = traffic.ParseScenario(*name); err != nil {
		return err
	}
	totals, err := traffic.WriteFile(*out, spec)
	if err != nil {
		return err
	}
	enc := json.NewEncoder(os.Stdout)
	enc.SetIndent("", "  ")
	return enc.Encode(totals)
}
