// SPDX-License-Identifier: Apache-2.0

// Package command is what our programs have in common: exit codes, how errors
// are reported, signals, and completion by the shell.
package command

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"weir/internal/term"
)

// Exit codes.
const (
	OK          = 0
	Failed      = 1
	Usage       = 2
	Partial     = 3
	Interrupted = 130
)

// together is within what time signals count as one.
const together = 300 * time.Millisecond

// UsageError is a wrong flag, argument or filter.
type UsageError struct{ Err error }

func (e *UsageError) Error() string { return e.Err.Error() }
func (e *UsageError) Unwrap() error { return e.Err }

// FlagError returns what is wrong with a flag as a UsageError. Of numbers it says what would be right.
func FlagError(err error) error {
	value, number := new(pflag.InvalidValueError), new(strconv.NumError)
	switch {
	case !errors.As(err, &value) || !errors.As(err, &number):
	case errors.Is(number, strconv.ErrRange):
		err = fmt.Errorf("--%s %q: the number is out of range", value.GetFlag().Name, value.GetValue())
	case number.Func == "ParseBool":
		err = fmt.Errorf("--%s %q: expected true or false", value.GetFlag().Name, value.GetValue())
	default:
		err = fmt.Errorf("--%s %q: expected a number", value.GetFlag().Name, value.GetValue())
	}
	return &UsageError{Err: err}
}

// ErrPartial says that all went well, but a part of the input was skipped. What
// was skipped has been reported by then.
var ErrPartial = errors.New("part of the input was skipped")

// Streams are what a program reads and writes besides files.
type Streams struct {
	In       io.Reader
	Out, Err io.Writer
}

// Execute runs a command, and gives it the subcommand completion. The first SIGINT or SIGTERM cancels its context, so
// that it ends in order; a second one ends the process at once. Those that come
// together are one: a terminal and a program that was started by it may both send it.
func Execute(cmd *cobra.Command, args []string, s Streams) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, func() { time.AfterFunc(together, stop) })
	cmd.SetArgs(args)
	cmd.SetIn(s.In)
	cmd.SetOut(s.Out)
	cmd.SetErr(s.Err)
	// Cobra adds it by itself only where there are others; it prints to where
	// the command prints at this moment.
	cmd.InitDefaultCompletionCmd("completion")
	return cmd.ExecuteContext(ctx)
}

// Report prints how a program ended, unless it ended well, and returns the exit
// code that says so.
func Report(w io.Writer, program string, err error) int {
	usage := new(UsageError)
	switch {
	case err == nil:
		return OK
	case errors.Is(err, ErrPartial):
		return Partial
	case errors.Is(err, context.Canceled):
		fmt.Fprintf(w, "%s: interrupted\n", program)
		return Interrupted
	case errors.As(err, &usage):
		Complain(w, program, err)
		fmt.Fprintf(w, "Run '%s --help' for usage.\n", program)
		return Usage
	}
	Complain(w, program, err)
	return Failed
}

// Complain prints an error. Names of files and what users wrote are part of it:
// it is made harmless for terminals.
func Complain(w io.Writer, program string, err error) {
	lines := strings.Split(strings.TrimRight(err.Error(), "\n"), "\n")
	for i := range lines {
		lines[i] = term.Escape(lines[i])
	}
	fmt.Fprintf(w, "%s: %s\n", program, strings.Join(lines, "\n"))
}

// ErrUnchanged says that somebody did not agree.
var ErrUnchanged = errors.New("nothing was changed")

// Confirm asks somebody at a terminal before anything is lost, unless yes was said
// before. Nobody else is asked. The error is ErrUnchanged after any answer but yes,
// and the context's cause where an interrupt is the answer.
func Confirm(ctx context.Context, s Streams, yes bool, question string) error {
	f, ok := s.In.(*os.File)
	if yes || !ok || !term.IsTerminal(f) {
		return nil
	}
	fmt.Fprintf(s.Err, "%s [y/N] ", term.Escape(question))
	answer := make(chan string, 1)
	go func() {
		// Nothing interrupts it: after an interrupt it is left behind.
		text, _ := bufio.NewReader(f).ReadString('\n')
		answer <- strings.ToLower(strings.TrimSpace(text))
	}()
	select {
	case a := <-answer:
		if a == "y" || a == "yes" {
			return nil
		}
		return ErrUnchanged
	case <-ctx.Done():
		fmt.Fprintln(s.Err)
		return context.Cause(ctx)
	}
}

// Version returns the version that the linker set, else the one that the Go
// toolchain recorded.
func Version(linked string) string {
	if linked != "" {
		return linked
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "unknown"
}
