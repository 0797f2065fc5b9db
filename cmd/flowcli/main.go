// SPDX-License-Identifier: Apache-2.0

// Command flowcli answers questions about stored flows.
package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"weir/internal/command"
	"weir/internal/filter"
	"weir/internal/term"
	"weir/store"
)

// version is set by the linker.
var version = ""

// textError is a mistake in a text of the user's: a filter or SQL.
type textError struct {
	err    error
	text   string
	offset int // in bytes, or -1
}

func (e *textError) Error() string { return e.err.Error() }
func (e *textError) Unwrap() error { return e.err }

func main() {
	// Where nobody reads an answer any more the write fails, and all that a query left
	// on the disk goes before the program does.
	signal.Ignore(syscall.SIGPIPE)
	os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// run runs the command and returns its exit code.
func run(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	cmd := newCommand(stdin, stdout, stderr)
	if !completes(args) {
		args = expandArgs(cmd.Flags(), cmd.PersistentFlags(), args)
	}
	return report(stderr, command.Execute(cmd, args, command.Streams{In: stdin, Out: stdout, Err: stderr}))
}

// completes reports whether it is a shell that asks, which wants an answer about
// the arguments as they are.
func completes(args []string) bool {
	return len(args) > 0 && (args[0] == cobra.ShellCompRequestCmd || args[0] == cobra.ShellCompNoDescRequestCmd)
}

// report prints an error and returns the exit code that goes with it.
func report(stderr io.Writer, err error) int {
	if unread(err) {
		return command.OK
	}
	if bad := new(textError); errors.As(err, &bad) {
		command.Complain(stderr, "flowcli", bad)
		if bad.offset >= 0 {
			fmt.Fprint(stderr, caret(bad.text, bad.offset))
		}
		return command.Usage
	}
	attribute, unsupported := new(store.AttributeError), new(filter.UnsupportedError)
	if errors.As(err, &attribute) || errors.As(err, &unsupported) {
		command.Complain(stderr, "flowcli", err)
		return command.Usage
	}
	code := command.Report(stderr, "flowcli", err)
	if errors.Is(err, store.ErrMemory) {
		fmt.Fprintln(stderr, "Give it more with --memory.")
	}
	return code
}

// unread reports whether an error is that whoever read the answer has seen enough.
func unread(err error) bool {
	bad := new(fs.PathError)
	return errors.As(err, &bad) && errors.Is(bad, syscall.EPIPE) && bad.Path == os.Stdout.Name()
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

// buildVersion returns the version of this program.
func buildVersion() string { return command.Version(version) }
