// SPDX-License-Identifier: Apache-2.0

// Command bench measures the sensor against softflowd, nfpcapd and argus: all
// read the same generated captures in turn, and the medians are printed. It is
// what `make bench` runs; docs/benchmarks.md explains the method.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"weir/internal/traffic"
)

// options are the command line's.
type options struct {
	packets   int
	flood     int
	runs      int
	seed      uint64
	dir       string
	sensor    string
	flowcli   string
	tools     string
	workers   string
	scenarios string
	check     bool
	generate  string
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout)
	stop()
	switch {
	case err == nil:
	case errors.Is(err, flag.ErrHelp):
		os.Exit(2)
	default:
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, out io.Writer) error {
	var o options
	fs := flag.NewFlagSet("bench", flag.ContinueOnError)
	fs.IntVar(&o.packets, "packets", 4_000_000, "packets of the mix")
	fs.IntVar(&o.flood, "flood", 1_000_000, "SYNs of the flood")
	fs.IntVar(&o.runs, "runs", 5, "rounds; every tool runs once in each")
	fs.Uint64Var(&o.seed, "seed", 1, "seed of the captures")
	fs.StringVar(&o.dir, "dir", ".bench", "directory for captures and outputs")
	fs.StringVar(&o.sensor, "sensor", "bin/sensor", "the sensor to measure")
	fs.StringVar(&o.flowcli, "flowcli", "bin/flowcli", "the flowcli that counts what the sensor stored")
	fs.StringVar(&o.tools, "tools", "sensor,softflowd,nfpcapd,argus", "tools to run")
	fs.StringVar(&o.workers, "workers", "1,2", "further runs of the sensor on the mix with these numbers of workers")
	fs.StringVar(&o.scenarios, "scenarios", "mix,flood", "captures to read: mix, flood, concurrent")
	fs.BoolVar(&o.check, "check", false, "exit 1 where a target is missed")
	fs.StringVar(&o.generate, "generate", "", "only write this capture (used by bench itself)")
	if err := fs.Parse(args); err != nil {
		return fmt.Errorf("read the flags: %w", err)
	}
	if fs.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q", fs.Arg(0))
	}
	if o.runs < 1 {
		return fmt.Errorf("-runs %d: want at least 1", o.runs)
	}
	if o.generate != "" {
		return generate(&o)
	}
	return benchmark(ctx, &o, out)
}

// benchmark prepares everything and measures one scenario after the other.
func benchmark(ctx context.Context, o *options, out io.Writer) error {
	if err := os.MkdirAll(o.dir, 0o755); err != nil {
		return fmt.Errorf("create the directory: %w", err)
	}
	sink, err := listen()
	if err != nil {
		return err
	}
	defer sink.close()
	var missed []string
	for name := range strings.SplitSeq(o.scenarios, ",") {
		scenario, err := traffic.ParseScenario(name)
		if err != nil {
			return fmt.Errorf("read -scenarios: %w", err)
		}
		tools, err := o.selectTools(scenario, sink.addr())
		if err != nil {
			return err
		}
		capture, totals, err := o.capture(ctx, scenario, out)
		if err != nil {
			return err
		}
		results, err := measure(ctx, o, tools, capture, out)
		if err != nil {
			return err
		}
		fmt.Fprintf(out, "\n%s: %d packets, %d connections, %d MB; medians of %d runs in turn, page cache warm\n",
			name, totals.Packets, totals.Sum(), totals.FileBytes/1e6, o.runs)
		printTable(out, results, &totals)
		missed = append(missed, printTargets(out, scenario, results, &totals)...)
	}
	if o.check && len(missed) > 0 {
		return fmt.Errorf("missed: %s", strings.Join(missed, "; "))
	}
	return nil
}

// measure runs every tool o.runs times, in turn.
func measure(ctx context.Context, o *options, tools []tool, capture string, out io.Writer) ([]result, error) {
	results := make([]result, len(tools))
	for i := range tools {
		results[i].tool = tools[i].name
	}
	for round := range o.runs {
		if err := warm(capture); err != nil {
			return nil, err
		}
		for i := range tools {
			m, err := tools[i].run(ctx, capture)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", tools[i].name, err)
			}
			results[i].runs = append(results[i].runs, m)
			fmt.Fprintf(out, "  round %d  %-12s %6.2f s wall  %6.2f s cpu  %5.0f MB\n",
				round+1, tools[i].name, m.wall.Seconds(), m.cpu.Seconds(), m.megabytes())
		}
	}
	return results, nil
}

// warm reads the capture, so that all find it in the page cache.
func warm(name string) error {
	f, err := os.Open(name)
	if err != nil {
		return fmt.Errorf("read the capture: %w", err)
	}
	defer f.Close()
	if _, err := io.Copy(io.Discard, f); err != nil {
		return fmt.Errorf("read %s: %w", name, err)
	}
	return nil
}

// measurement is one run of one tool.
type measurement struct {
	wall, cpu time.Duration
	peak      int64 // bytes of resident memory
	packets   int64 // as the tool reports them
	ignored   int64 // packets that it says it ignored
	records   int64 // connections or flow records
	intel     map[string]int64
}

func (m *measurement) megabytes() float64 { return float64(m.peak) / 1e6 }
