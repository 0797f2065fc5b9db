// SPDX-License-Identifier: Apache-2.0

package command_test

import (
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"weir/internal/command"
)

func TestCompletion(t *testing.T) {
	run := func(args ...string) string {
		t.Helper()
		cmd := &cobra.Command{Use: "sensor", Args: cobra.ArbitraryArgs, RunE: func(*cobra.Command, []string) error { return nil }}
		cmd.Flags().String("store", "", "")
		cmd.Flags().StringP("read", "r", "", "")
		cmd.Flags().String("config", "", "")
		cmd.Flags().String("user", "", "")
		cmd.Flags().String("sandbox", "", "")
		cmd.Flags().Int("workers", 0, "")
		command.CompleteFlags(cmd, map[string]cobra.CompletionFunc{
			"store": command.Directories, "read": command.Files(), "config": command.Files("toml"),
			"user": command.Users, "sandbox": command.Words("on", "strict", "off"),
		})
		var out, log strings.Builder
		if err := command.Execute(cmd, args, command.Streams{In: strings.NewReader(""), Out: &out, Err: &log}); err != nil {
			t.Errorf("%q: %v", args, err)
		}
		return out.String()
	}
	cases := []struct {
		args []string
		want string // what is offered, and the directive
	}{
		{[]string{"--store", ""}, ":16\n"},
		{[]string{"-r", "x"}, ":0\n"},
		{[]string{"--config", ""}, "toml\n:8\n"},
		{[]string{"--sandbox", "st"}, "on\nstrict\noff\n:4\n"},
		{[]string{"--workers", ""}, ":4\n"},
	}
	for _, tc := range cases {
		got := run(append([]string{cobra.ShellCompNoDescRequestCmd}, tc.args...)...)
		if got != tc.want {
			t.Errorf("completion of %q is %q, want %q", tc.args, got, tc.want)
		}
	}
	if got := run(cobra.ShellCompNoDescRequestCmd, "--user", ""); !strings.Contains("\n"+got, "\nroot\n") || !strings.HasSuffix(got, "\n:4\n") {
		t.Errorf("completion of --user is %q, want root among others", got)
	}
	for _, shell := range []string{"bash", "zsh", "fish"} {
		if got := run("completion", shell); !strings.Contains(got, cobra.ShellCompRequestCmd) && !strings.Contains(got, "__sensor") {
			t.Errorf("completion %s prints %q", shell, got)
		}
	}
}

func TestCompleteUnknownFlag(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("a flag that is not there is completed")
		}
	}()
	command.CompleteFlags(new(cobra.Command), map[string]cobra.CompletionFunc{"store": command.Directories})
}
