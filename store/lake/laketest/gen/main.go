// SPDX-License-Identifier: Apache-2.0

// Command gen makes a lake of any size, filled with connections as a network has them, and
// prints what it did.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"time"

	"weir/store/lake"
	"weir/store/lake/laketest"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, os.Args[1:], os.Stdout)
	stop()
	switch {
	case errors.Is(err, flag.ErrHelp):
		os.Exit(2)
	case err != nil:
		fmt.Fprintln(os.Stderr, "gen:", err)
		os.Exit(1)
	}
}

// result is what is printed.
type result struct {
	Parts       int     `json:"parts"`
	Bytes       int64   `json:"bytes"`
	Connections int64   `json:"connections"`
	Intel       int64   `json:"intel"`
	Rollups     int     `json:"rollups"`
	RollupRows  int64   `json:"rollup_rows"`
	RollupBytes int64   `json:"rollup_bytes"`
	Weeks       int     `json:"weeks"`
	WeekRows    int64   `json:"week_rows"`
	WeekBytes   int64   `json:"week_bytes"`
	Write       float64 `json:"write_seconds"`
	Compact     float64 `json:"compact_seconds"`
}

func run(ctx context.Context, args []string, out io.Writer) error {
	cfg := laketest.Config{}
	flags := flag.NewFlagSet("gen", flag.ContinueOnError)
	dir := flags.String("o", "", "directory of the lake, which must be new (required)")
	flags.IntVar(&cfg.Conns, "conns", 1_000_000, "connections")
	flags.IntVar(&cfg.Days, "days", 7, "days over which they are spread")
	first := flags.String("first-day", "2026-03-02", "the first day")
	flags.IntVar(&cfg.PerPart, "per-part", 10_000, "connections in each part, as long as parts are not merged")
	flags.IntVar(&cfg.Hosts, "hosts", 0, "hosts (default 10,000)")
	flags.IntVar(&cfg.Flows, "flows", 0, "flows to draw from (default: seven for twenty connections, of which about half are drawn)")
	flags.IntVar(&cfg.Intel, "intel", -1, "records of intel (default: one for 50 connections)")
	flags.Uint64Var(&cfg.Seed, "seed", 1, "seed")
	compact := flags.Bool("compact", true, "merge parts and roll days up")
	if err := flags.Parse(args); err != nil {
		return flag.ErrHelp // the package has said what is wrong
	}
	if *dir == "" || flags.NArg() > 0 {
		flags.Usage()
		return flag.ErrHelp
	}
	var err error
	if cfg.Day, err = time.Parse(time.DateOnly, *first); err != nil {
		return fmt.Errorf("first day: %w", err)
	}
	if cfg.Flows == 0 {
		cfg.Flows = max(cfg.Conns*7/20, 1)
	}
	if cfg.Intel < 0 {
		cfg.Intel = cfg.Conns / 50
	}
	if _, err := os.Stat(*dir); err == nil {
		return fmt.Errorf("%s is there already", *dir)
	}
	l, err := lake.Open(*dir, lake.Config{Create: true, Grace: time.Nanosecond})
	if err != nil {
		return err
	}
	start := time.Now()
	if err := laketest.Generate(ctx, l, cfg); err != nil {
		return err
	}
	res := result{Write: time.Since(start).Seconds()}
	start = time.Now()
	if *compact {
		stats, err := laketest.Compact(ctx, l)
		if err != nil {
			return err
		}
		res.Rollups, res.RollupRows, res.RollupBytes = stats.Rollups, stats.RollupRows, stats.RollupBytes
		res.Weeks, res.WeekRows, res.WeekBytes = stats.Weeks, stats.WeekRows, stats.WeekBytes
		res.Compact = time.Since(start).Seconds()
	}
	m, err := l.Manifest()
	if err != nil {
		return err
	}
	res.Parts = len(m.Parts)
	for i := range m.Parts {
		res.Bytes += m.Parts[i].Bytes
	}
	for i := range m.Imports {
		res.Connections += m.Imports[i].Connections
		for _, n := range m.Imports[i].Intel {
			res.Intel += n
		}
	}
	enc := json.NewEncoder(out)
	enc.SetIndent("", "  ")
	return enc.Encode(res)
}
