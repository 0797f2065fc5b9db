// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"weir/internal/traffic"
)

// tool is one way to read a capture.
type tool struct {
	name string
	// args builds the command; scratch is an empty directory.
	args func(capture, scratch string) []string
	// count reads from the output, or from scratch, what the tool counted.
	count func(ctx context.Context, m *measurement, output []byte, scratch string) error
	dir   string
}

// sink takes the datagrams that softflowd exports and forgets them.
type sink struct {
	conn net.PacketConn
	done chan struct{}
}

// listen opens softflowd's usual port, or another one where it is taken.
func listen() (*sink, error) {
	var lc net.ListenConfig
	conn, err := lc.ListenPacket(context.Background(), "udp4", "127.0.0.1:9995")
	if err != nil {
		if conn, err = lc.ListenPacket(context.Background(), "udp4", "127.0.0.1:0"); err != nil {
			return nil, fmt.Errorf("listen for softflowd: %w", err)
		}
	}
	s := &sink{conn: conn, done: make(chan struct{})}
	go func() {
		defer close(s.done)
		buf := make([]byte, 64<<10)
		for {
			if _, _, err := conn.ReadFrom(buf); err != nil {
				return
			}
		}
	}()
	return s, nil
}

func (s *sink) addr() string { return s.conn.LocalAddr().String() }

func (s *sink) close() {
	s.conn.Close()
	<-s.done
}

// selectTools returns the tools of -tools, in its order, and the further runs
// of the sensor. A program that is missing is an error.
func (o *options) selectTools(scenario traffic.Scenario, collector string) ([]tool, error) {
	var tools []tool
	for name := range strings.SplitSeq(o.tools, ",") {
		switch name {
		case "sensor":
			tools = append(tools, o.sensorTool("sensor", scenario))
			if scenario == traffic.Mix && o.workers != "" {
				for n := range strings.SplitSeq(o.workers, ",") {
					tools = append(tools, o.sensorTool("sensor -w "+n, scenario, "--workers", n))
				}
			}
		case "softflowd":
			tools = append(tools, softflowd(collector))
		case "nfpcapd":
			tools = append(tools, nfpcapd())
		case "argus":
			tools = append(tools, argus())
		default:
			return nil, fmt.Errorf("-tools: unknown tool %q", name)
		}
	}
	needs := []string{}
	for i := range tools {
		tools[i].dir = o.dir
		needs = append(needs, tools[i].args("", "")[0])
	}
	if slices.Contains(needs, o.sensor) {
		needs = append(needs, o.flowcli)
	}
	if slices.Contains(needs, "argus") {
		needs = append(needs, "racount")
	}
	for _, program := range needs {
		if _, err := exec.LookPath(program); err != nil {
			return nil, fmt.Errorf("%w (make build; apt-get install softflowd nfdump argus-server argus-client)", err)
		}
	}
	return tools, nil
}

// sensorTool reads into a fresh store, every dissector on.
func (o *options) sensorTool(name string, scenario traffic.Scenario, extra ...string) tool {
	if scenario == traffic.Flood {
		extra = append(extra, "--memory", "128M")
	}
	return tool{
		name: name,
		args: func(capture, scratch string) []string {
			return append([]string{o.sensor, "-r", capture, "--store", filepath.Join(scratch, "lake")}, extra...)
		},
		count: func(ctx context.Context, m *measurement, _ []byte, scratch string) error {
			store := filepath.Join(scratch, "lake")
			row, err := o.query(ctx, store, "SELECT count(*), sum(cspkts + scpkts) FROM conn")
			if err != nil {
				return err
			}
			if len(row) != 2 {
				return fmt.Errorf("flowcli answered %d values, want 2", len(row))
			}
			m.records, m.packets = row[0], row[1]
			m.intel = map[string]int64{}
			for _, kind := range []string{"dns", "http", "ssl"} {
				row, err := o.query(ctx, store, "SELECT count(*) FROM "+kind)
				if err != nil {
					return err
				}
				m.intel[kind] = row[0]
			}
			return nil
		},
	}
}

// query returns the numbers of the first row that flowcli answers.
func (o *options) query(ctx context.Context, store, sql string) ([]int64, error) {
	cmd := exec.CommandContext(ctx, o.flowcli, "--store", store, "sql", sql, "--format", "csv")
	var problems bytes.Buffer
	cmd.Stderr = &problems
	text, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("count with flowcli: %w: %s", err, bytes.TrimSpace(problems.Bytes()))
	}
	rows, err := csv.NewReader(bytes.NewReader(text)).ReadAll()
	if err != nil || len(rows) != 2 {
		return nil, fmt.Errorf("count with flowcli: %d rows (%w)", len(rows), err)
	}
	numbers := make([]int64, len(rows[1]))
	for i, field := range rows[1] {
		if numbers[i], err = strconv.ParseInt(field, 10, 64); err != nil {
			return nil, fmt.Errorf("count with flowcli: %w", err)
		}
	}
	return numbers, nil
}

func softflowd(collector string) tool {
	return tool{
		name: "softflowd",
		args: func(capture, _ string) []string {
			return []string{"softflowd", "-r", capture, "-n", collector}
		},
		count: func(_ context.Context, m *measurement, output []byte, _ string) error {
			// IPv6 is "non-IP" here: its default export format cannot carry it.
			var err error
			if m.packets, err = number(output, `Packets processed: (\d+)`); err != nil {
				return err
			}
			if m.ignored, err = number(output, `Ignored packets: (\d+)`); err != nil {
				return err
			}
			m.records, err = number(output, `Flows exported: \d+ \((\d+) records\)`)
			return err
		},
	}
}

func nfpcapd() tool {
	return tool{
		name: "nfpcapd",
		args: func(capture, scratch string) []string {
			return []string{"nfpcapd", "-r", capture, "-w", scratch}
		},
		count: func(_ context.Context, m *measurement, output []byte, _ string) error {
			// One line of flows and packets for each file that it wrote.
			for _, line := range regexp.MustCompile(`Flows: (\d+), Packets: (\d+)`).FindAllSubmatch(output, -1) {
				flows, err := strconv.ParseInt(string(line[1]), 10, 64)
				if err != nil {
					return fmt.Errorf("read nfpcapd's report: %w", err)
				}
				packets, err := strconv.ParseInt(string(line[2]), 10, 64)
				if err != nil {
					return fmt.Errorf("read nfpcapd's report: %w", err)
				}
				m.records += flows
				m.packets += packets
			}
			if m.packets == 0 {
				return errors.New("nfpcapd reported no packets")
			}
			return nil
		},
	}
}

func argus() tool {
	return tool{
		name: "argus",
		args: func(capture, scratch string) []string {
			return []string{"argus", "-X", "-r", capture, "-w", filepath.Join(scratch, "argus")}
		},
		count: func(ctx context.Context, m *measurement, _ []byte, scratch string) error {
			text, err := exec.CommandContext(ctx, "racount", "-r", filepath.Join(scratch, "argus")).Output()
			if err != nil {
				return fmt.Errorf("count with racount: %w", err)
			}
			if m.records, err = number(text, `sum\s+(\d+)`); err != nil {
				return err
			}
			m.packets, err = number(text, `sum\s+\d+\s+(\d+)`)
			return err
		},
	}
}

// number returns what the pattern's group matches in text.
func number(text []byte, pattern string) (int64, error) {
	found := regexp.MustCompile(pattern).FindSubmatch(text)
	if found == nil {
		return 0, fmt.Errorf("no %q in the output", pattern)
	}
	n, err := strconv.ParseInt(string(found[1]), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("read %q: %w", pattern, err)
	}
	return n, nil
}

// run runs the tool once.
func (t *tool) run(ctx context.Context, capture string) (measurement, error) {
	var m measurement
	scratch, err := os.MkdirTemp(t.dir, "run-")
	if err != nil {
		return m, fmt.Errorf("create a directory: %w", err)
	}
	defer os.RemoveAll(scratch)
	args := t.args(capture, scratch)
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	begin := time.Now()
	err = cmd.Run()
	m.wall = time.Since(begin)
	if err != nil {
		return m, fmt.Errorf("run %s: %w\n%s", strings.Join(args, " "), err, bytes.TrimSpace(output.Bytes()))
	}
	usage, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage)
	if !ok {
		return m, errors.New("this system does not tell the usage of a process")
	}
	m.cpu = time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
	m.peak = usage.Maxrss << 10
	if err := t.count(ctx, &m, output.Bytes(), scratch); err != nil {
		return m, err
	}
	return m, nil
}
