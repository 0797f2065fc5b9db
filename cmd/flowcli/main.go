// SPDX-License-Identifier: Apache-2.0

// Command flowcli answers questions about stored flows.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"syscall"

	"weir/internal/filter"
	"weir/internal/term"
	"weir/store"
)

// version is set by the linker.
var version = ""

// Exit codes.
const (
	exitOK          = 0
	exitFailed      = 1
	exitUsage       = 2
	exitSkipped     = 3
	exitInterrupted = 130
)

// usageError is a wrong flag or argument.
type usageError struct{ err error }

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }

// textError is a mistake in a text of the user's: a filter or SQL.
type textError struct {
	err    error
	text   string
	offset int // in bytes, or -1
}

func (e *textError) Error() string { return e.err.Error() }
func (e *textError) Unwrap() error { return e.err }

func main() { os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) }

// run runs the command and returns its exit code.
func run(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	cmd := newCommand(stdin, stdout, stderr)
	cmd.SetArgs(expandArgs(cmd.Flags(), cmd.PersistentFlags(), args))
	cmd.SetIn(stdin)
	cmd.SetOut(stdout)
	cmd.SetErr(stderr)
	return report(stderr, cmd.ExecuteContext(ctx))
}

// report prints an error and returns the exit code that goes with it.
func report(stderr io.Writer, err error) int {
	if err == nil {
		return exitOK
	}
	if errors.Is(err, context.Canceled) {
		fmt.Fprintln(stderr, "flowcli: interrupted")
		return exitInterrupted
	}
	if errors.Is(err, errSkipped) {
		return exitSkipped
	}
	if bad := new(textError); errors.As(err, &bad) {
		fmt.Fprintf(stderr, "flowcli: %s\n", escapeLines(bad.Error()))
		if bad.offset >= 0 {
			fmt.Fprint(stderr, caret(bad.text, bad.offset))
		}
		return exitUsage
	}
	fmt.Fprintf(stderr, "flowcli: %s\n", escapeLines(err.Error()))
	if errors.Is(err, store.ErrMemory) {
		fmt.Fprintln(stderr, "Give it more with --memory.")
	}
	if bad := new(store.AttributeError); errors.As(err, &bad) {
		return exitUsage
	}
	if bad := new(filter.UnsupportedError); errors.As(err, &bad) {
		return exitUsage
	}
	if bad := new(usageError); errors.As(err, &bad) {
		fmt.Fprintln(stderr, "Run 'flowcli --help' for usage.")
		return exitUsage
	}
	return exitFailed
}

// escapeLines makes a text of several lines harmless for terminals.
func escapeLines(text string) string {
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	for i := range lines {
		lines[i] = term.Escape(lines[i])
	}
	return strings.Join(lines, "\n")
}

// caret returns the line of text that holds the offset, and below it a mark.
func caret(text string, offset int) string {
	offset = min(max(offset, 0), len(text))
	start := strings.LastIndexByte(text[:offset], '\n') + 1
	end := len(text)
	if i := strings.IndexByte(text[offset:], '\n'); i >= 0 {
		end = offset + i
	}
	// A long line is cut around the offset.
	const before, after = 60, 40
	from, to := max(start, offset-before), min(end, offset+after)
	lead, tail := "", ""
	if from > start {
		lead = "…"
	}
	if to < end {
		tail = "…"
	}
	left := lead + term.Escape(text[from:offset])
	return "  " + left + term.Escape(text[offset:to]) + tail + "\n" +
		"  " + strings.Repeat(" ", term.StringWidth(left)) + "^\n"
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
