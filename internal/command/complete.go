// SPDX-License-Identifier: Apache-2.0

package command

import (
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// CompleteFlags says how shells complete the values of a command's flags. Flags
// that are not in the map have values that a shell cannot know: it offers
// nothing for them, least of all file names. It panics if there is no such flag.
func CompleteFlags(cmd *cobra.Command, by map[string]cobra.CompletionFunc) {
	flags := pflag.NewFlagSet("", pflag.ContinueOnError)
	flags.AddFlagSet(cmd.Flags())
	flags.AddFlagSet(cmd.PersistentFlags())
	for name := range by {
		if flags.Lookup(name) == nil {
			panic(fmt.Sprintf("there is no flag %q to complete", name))
		}
	}
	flags.VisitAll(func(f *pflag.Flag) {
		complete, ok := by[f.Name]
		if !ok {
			complete = cobra.NoFileCompletions
		}
		if err := cmd.RegisterFlagCompletionFunc(f.Name, complete); err != nil {
			panic(err) // a flag of another command, or one that is completed already
		}
	})
}

// Files completes names of files and directories; with extensions (without dot),
// only directories and files that end so.
func Files(extensions ...string) cobra.CompletionFunc {
	return func(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective) {
		if len(extensions) == 0 {
			return nil, cobra.ShellCompDirectiveDefault
		}
		return extensions, cobra.ShellCompDirectiveFilterFileExt
	}
}

// Directories completes names of directories.
func Directories(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective) {
	return nil, cobra.ShellCompDirectiveFilterDirs
}

// Words completes one of some words.
func Words(words ...string) cobra.CompletionFunc {
	return cobra.FixedCompletions(words, cobra.ShellCompDirectiveNoFileComp)
}

// Users completes names of users of the machine.
func Users(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective) {
	text, err := os.ReadFile("/etc/passwd")
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	var names []cobra.Completion
	for line := range strings.Lines(string(text)) {
		if name, _, ok := strings.Cut(line, ":"); ok && name != "" {
			names = append(names, name)
		}
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

// Completing reports whether a command is one that serves shells: it needs no
// settings, and must not fail for wrong ones.
func Completing(cmd *cobra.Command) bool {
	for ; cmd != nil; cmd = cmd.Parent() {
		switch cmd.Name() {
		case cobra.ShellCompRequestCmd, cobra.ShellCompNoDescRequestCmd, "completion":
			return true
		}
	}
	return false
}
