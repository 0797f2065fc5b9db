// SPDX-License-Identifier: Apache-2.0

// Command sensor reads packets and stores who talked to whom, about what.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"
)

// version is set by the linker.
var version = ""

// Exit codes.
const (
	exitOK          = 0
	exitFailed      = 1
	exitUsage       = 2
	exitPartial     = 3
	exitInterrupted = 130
)

// usageError is a wrong flag, argument or filter.
type usageError struct{ err error }

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }

// errPartial says that all went well, but a part of the input was skipped. What
// was skipped has been reported by then.
var errPartial = errors.New("part of the input was skipped")

func main() { os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) }

// run runs the command and returns its exit code.
func run(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	// The first signal ends the run in order, a second one at once.
	context.AfterFunc(ctx, stop)
	cmd := newCommand(stdin, stdout, stderr)
	cmd.SetArgs(args)
	cmd.SetIn(stdin)
	cmd.SetOut(stdout)
	cmd.SetErr(stderr)
	err := cmd.ExecuteContext(ctx)
	switch {
	case err == nil:
		return exitOK
	case errors.Is(err, errPartial):
		return exitPartial
	case errors.Is(err, context.Canceled):
		fmt.Fprintln(stderr, "sensor: interrupted, nothing was committed")
		return exitInterrupted
	}
	fmt.Fprintf(stderr, "sensor: %v\n", err)
	if usage := new(usageError); errors.As(err, &usage) {
		fmt.Fprintln(stderr, "Run 'sensor --help' for usage.")
		return exitUsage
	}
	return exitFailed
}

// buildVersion returns the version set by the linker, else the one that the Go
// toolchain recorded.
func buildVersion() string {
	if version != "" {
		return version
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "unknown"
}
