// SPDX-License-Identifier: Apache-2.0

// Command testrun runs `go test` with its arguments, shows what failed and what
// was skipped, and closes with a line that counts the tests. Meanwhile it runs the
// Neo4j server that the tests of all packages share.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"weir/internal/neo4jtest"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// run returns the exit code.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	fs := flag.NewFlagSet("testrun", flag.ContinueOnError)
	fs.SetOutput(stderr)
	strict := fs.Bool("strict", false, "a skipped test fails, unless it lacks material that the project does not need")
	measure := fs.Bool("measure", false, "run the tests that measure, too: those called "+measuring+"…, after the others, one package at a time, with "+measureEnv+" set")
	if err := fs.Parse(args); err != nil {
		return 2
	}
	server, err := neo4jtest.NewHost()
	if err != nil {
		fmt.Fprintln(stderr, "testrun:", err)
		return 1
	}
	defer server.Close()
	// It starts while the tests are compiled. Why it does not is told to those
	// that ask for it.
	go func() { _ = server.Start() }()
	env := append(os.Environ(), neo4jtest.SharedEnv+"="+server.Socket())
	c := counter{out: stdout, strict: *strict, output: map[string][]string{}}
	good := true
	test := func(env []string, args ...string) {
		if err := c.run(ctx, stderr, env, args); err != nil {
			fmt.Fprintln(stderr, "testrun:", err)
			good = false
		}
	}
	if *measure {
		others := slices.DeleteFunc(slices.Clone(env), func(v string) bool { return strings.HasPrefix(v, measureEnv+"=") })
		test(others, append([]string{"-skip", "^" + measuring}, fs.Args()...)...)
		fmt.Fprintln(stdout, "\nTests that measure:")
		test(append(others, measureEnv+"=1"), append([]string{"-p", "1", "-run", "^" + measuring}, fs.Args()...)...)
	} else {
		test(env, fs.Args()...)
	}
	c.close()
	if !good || !c.good() {
		return 1
	}
	return 0
}

// Tests whose names begin with measuring measure time or memory: nothing else should
// run beside them. They skip unless measureEnv is set.
const (
	measuring  = "TestPerf"
	measureEnv = "WEIR_TEST_PERF"
)

// run runs `go test` once.
func (c *counter) run(ctx context.Context, stderr io.Writer, env, args []string) error {
	cmd := exec.CommandContext(ctx, "go", append([]string{"test", "-json"}, args...)...)
	cmd.Env = env
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 10 * time.Second
	cmd.Stderr = stderr
	events, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	if err := c.read(events); err != nil {
		return errors.Join(err, cmd.Wait())
	}
	if err := cmd.Wait(); err != nil {
		return fmt.Errorf("go test: %w", err)
	}
	return nil
}

// event is one line of `go test -json`.
type event struct {
	Action     string
	Package    string
	ImportPath string // of output of the compiler
	Test       string
	Output     string
	Elapsed    float64
}

// counter counts tests. One that has subtests is counted by these.
type counter struct {
	out    io.Writer
	strict bool
	// output holds what running tests and packages printed, by package and test.
	output map[string][]string
	// ended holds the tests of the packages that still run.
	ended                           []ended
	passed, failed, skipped, broken int
	reasons                         []string
}

// ended is a test that came to its end.
type ended struct {
	pkg, test, action string
}

// read takes all events. Lines that are none are passed on: the go command
// prints some of its own.
func (c *counter) read(r io.Reader) error {
	lines := bufio.NewReader(r)
	for {
		line, err := lines.ReadString('\n')
		if line != "" {
			var e event
			if json.Unmarshal([]byte(line), &e) != nil || e.Action == "" {
				fmt.Fprint(c.out, line)
			} else {
				c.take(&e)
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read the test's output: %w", err)
		}
	}
}

// take handles one event.
func (c *counter) take(e *event) {
	id := e.Package + " " + e.Test
	switch e.Action {
	case "build-output":
		fmt.Fprint(c.out, e.Output)
	case "output":
		c.output[id] = append(c.output[id], e.Output)
	case "pass", "fail", "skip":
		if e.Test != "" {
			c.ended = append(c.ended, ended{e.Package, e.Test, e.Action})
			if e.Action == "pass" {
				delete(c.output, id)
			}
			return
		}
		c.packageEnded(e)
	}
}

// packageEnded counts the tests of a package and prints its line.
func (c *counter) packageEnded(e *event) {
	parents := map[string]bool{}
	var mine []ended
	rest := c.ended[:0]
	for _, t := range c.ended {
		if t.pkg != e.Package {
			rest = append(rest, t)
			continue
		}
		mine = append(mine, t)
		for i := range t.test {
			if t.test[i] == '/' {
				parents[t.test[:i]] = true
			}
		}
	}
	c.ended = rest
	failed := 0
	for _, t := range mine {
		id := t.pkg + " " + t.test
		printed := c.output[id]
		delete(c.output, id)
		switch t.action {
		case "fail":
			fmt.Fprint(c.out, strings.Join(printed, ""))
			failed++
			if !parents[t.test] {
				c.failed++
			}
		case "skip":
			c.skip(t, printed)
		case "pass":
			if !parents[t.test] {
				c.passed++
			}
		}
	}
	own := c.output[e.Package+" "]
	// Tests that never came to their end: of a crash, or of a timeout.
	for id, printed := range c.output {
		if strings.HasPrefix(id, e.Package+" ") {
			if e.Action == "fail" && id != e.Package+" " {
				fmt.Fprint(c.out, strings.Join(printed, ""))
				failed++
				c.failed++
			}
			delete(c.output, id)
		}
	}
	switch {
	case e.Action == "fail":
		if failed == 0 {
			c.broken++
		}
		fmt.Fprint(c.out, strings.Join(own, ""))
	case len(mine) > 0:
		fmt.Fprintf(c.out, "ok    %-28s %7.2fs\n", e.Package, e.Elapsed)
	}
}

// skip counts a skipped test and keeps its reason.
func (c *counter) skip(t ended, printed []string) {
	var reason []string
	for _, line := range printed {
		line = strings.TrimSpace(line)
		if line != "" && !strings.HasPrefix(line, "=== ") && !strings.HasPrefix(line, "--- ") {
			reason = append(reason, line)
		}
	}
	text := fmt.Sprintf("%s %s: %s", t.pkg, t.test, strings.Join(reason, " "))
	c.reasons = append(c.reasons, text)
	c.skipped++
	if c.strict && !strings.Contains(text, "../shared") {
		fmt.Fprintln(c.out, "FAIL: skipped, but nothing may be skipped here:", text)
		c.broken++
	}
}

// good reports whether nothing failed and something ran.
func (c *counter) good() bool { return c.failed == 0 && c.broken == 0 && c.passed > 0 }

// close prints the summary.
func (c *counter) close() {
	if len(c.reasons) > 0 {
		fmt.Fprintln(c.out, "\nskipped:")
		for _, r := range c.reasons {
			fmt.Fprintln(c.out, "  "+r)
		}
	}
	fmt.Fprintf(c.out, "\ntests: %d passed, %d failed, %d skipped", c.passed, c.failed, c.skipped)
	if c.broken > 0 {
		fmt.Fprintf(c.out, ", %d other failures", c.broken)
	}
	fmt.Fprintln(c.out)
}
