// SPDX-License-Identifier: Apache-2.0

package command_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"weir/internal/command"
)

func TestReport(t *testing.T) {
	cases := []struct {
		name string
		err  error
		code int
		text string
	}{
		{"done", nil, 0, ""},
		{"failed", errors.New("open x: no such file"), 1, "sensor: open x: no such file\n"},
		{"hostile", errors.New("open \x1b[31m: no\nmore\n"), 1, "sensor: open \\x1b[31m: no\nmore\n"},
		{"usage", fmt.Errorf("flag: %w", &command.UsageError{Err: errors.New("bad")}), 2, "sensor: flag: bad\nRun 'sensor --help' for usage.\n"},
		{"partial", fmt.Errorf("read: %w", command.ErrPartial), 3, ""},
		{"interrupted", fmt.Errorf("read: %w", context.Canceled), 130, "sensor: interrupted\n"},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			var out strings.Builder
			if code := command.Report(&out, "sensor", tc.err); code != tc.code || out.String() != tc.text {
				t.Errorf("Report(%v) = %d, %q, want %d, %q", tc.err, code, out.String(), tc.code, tc.text)
			}
		})
	}
}

// The first signal only cancels the context.
func TestSignal(t *testing.T) {
	for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM} {
		cmd := &cobra.Command{
			SilenceUsage: true, SilenceErrors: true,
			RunE: func(cmd *cobra.Command, _ []string) error {
				if err := syscall.Kill(syscall.Getpid(), sig); err != nil {
					return err
				}
				<-cmd.Context().Done()
				return cmd.Context().Err()
			},
		}
		var out strings.Builder
		err := command.Execute(cmd, nil, command.Streams{In: strings.NewReader(""), Out: &out, Err: &out})
		if !errors.Is(err, context.Canceled) {
			t.Errorf("after %v the command returned %v, want %v", sig, err, context.Canceled)
		}
	}
}

// Two signals that come together are one: the program still ends in order.
func TestSignalTwice(t *testing.T) {
	cmd := &cobra.Command{
		SilenceUsage: true, SilenceErrors: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			for range 2 {
				if err := syscall.Kill(syscall.Getpid(), syscall.SIGTERM); err != nil {
					return err
				}
				<-cmd.Context().Done()
				time.Sleep(20 * time.Millisecond)
			}
			return cmd.Context().Err()
		},
	}
	var out strings.Builder
	err := command.Execute(cmd, nil, command.Streams{In: strings.NewReader(""), Out: &out, Err: &out})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("after two signals the command returned %v, want %v", err, context.Canceled)
	}
}

func TestVersion(t *testing.T) {
	if got := command.Version("v1.2.3"); got != "v1.2.3" {
		t.Errorf("Version(%q) = %q, want what the linker set", "v1.2.3", got)
	}
	if got := command.Version(""); got == "" {
		t.Error("Version() is empty")
	}
}
