// SPDX-License-Identifier: Apache-2.0

// Command sensor reads packets and stores who talked to whom, about what.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"weir/internal/command"
)

// version is set by the linker.
var version = ""

func main() { os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) }

// run runs the command and returns its exit code.
func run(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	err := command.Execute(newCommand(stdin, stdout, stderr), args, command.Streams{In: stdin, Out: stdout, Err: stderr})
	if errors.Is(err, errStored) {
		return command.Interrupted
	}
	if spooled, ok := errors.AsType[*spooledError](err); ok && errors.Is(err, context.Canceled) {
		fmt.Fprintln(stderr, "sensor: interrupted;", spooled.what())
		return command.Interrupted
	}
	if errors.Is(err, context.Canceled) {
		fmt.Fprintln(stderr, "sensor: interrupted, nothing was committed")
		return command.Interrupted
	}
	return command.Report(stderr, "sensor", err)
}

// buildVersion returns the version of this program.
func buildVersion() string { return command.Version(version) }
