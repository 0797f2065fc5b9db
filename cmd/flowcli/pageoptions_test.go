// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// generated checks that a part of a page is what the code says, or rewrites it. The part stands
// between "<!-- generated: NAME -->" and "<!-- end -->".
func generated(t *testing.T, page, name, text string) {
	t.Helper()
	data, err := os.ReadFile(pageFile(page))
	if err != nil {
		t.Fatal(err)
	}
	begin := "<!-- generated: " + name + " -->\n"
	before, rest, ok := strings.Cut(string(data), begin)
	_, after, closed := strings.Cut(rest, "<!-- end -->")
	if !ok || !closed {
		t.Fatalf("%s has no place for %s", page, name)
	}
	want := before + begin + text + "<!-- end -->" + after
	if *update {
		if err := os.WriteFile(pageFile(page), []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(want, string(data)); diff != "" {
		t.Errorf("%s is stale, run go test ./cmd/flowcli -run %s -update (-want +got):\n%s", page, t.Name(), diff)
	}
}

// optionsTables returns a table of the options of each command.
func optionsTables() string {
	var b strings.Builder
	root := newCommand(nil, nil, nil)
	root.InitDefaultCompletionCmd("completion")
	table := func(title string, flags *pflag.FlagSet) {
		var rows strings.Builder
		flags.VisitAll(func(f *pflag.Flag) {
			if f.Hidden || f.Name == "help" || f.Name == "version" {
				return
			}
			value, usage := pflag.UnquoteUsage(f)
			name := "`--" + f.Name + "`"
			if f.Shorthand != "" {
				name = "`-" + f.Shorthand + "`, " + name
			}
			if value != "" {
				value = "`" + value + "`"
			}
			if d := f.DefValue; d != "" && d != "0" && d != "false" && d != "[]" && d != "0s" && !strings.Contains(usage, "(default") {
				usage += " (default " + d + ")"
			}
			fmt.Fprintf(&rows, "| %s | %s | %s |\n", name, value, strings.ReplaceAll(usage, "|", `\|`))
		})
		if rows.Len() > 0 {
			fmt.Fprintf(&b, "\n%s\n\n| option | value | |\n|---|---|---|\n%s", title, rows.String())
		}
	}
	table("`flowcli`:", root.Flags())
	for _, c := range root.Commands() {
		if c.Name() != "help" && c.Name() != "completion" {
			table("`"+c.CommandPath()+"`: "+first(c), c.Flags())
		}
	}
	table("All commands:", root.PersistentFlags())
	return b.String() + "\n"
}

// first returns what a command is for, within a sentence.
func first(c *cobra.Command) string {
	return strings.ToLower(c.Short[:1]) + c.Short[1:]
}

// TestFlowcliPage checks that the tables of options are those of the commands.
func TestFlowcliPage(t *testing.T) { generated(t, "docs/flowcli.md", "options", optionsTables()) }

// TestFlowcliPageCommands checks that the manual has a section on every command.
func TestFlowcliPageCommands(t *testing.T) {
	page, err := os.ReadFile(pageFile("docs/flowcli.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range subcommands() {
		if !regexp.MustCompile(`(?m)^\$ flowcli (--store \S+ )?` + name + `\b`).Match(page) {
			t.Errorf("docs/flowcli.md does not show flowcli %s", name)
		}
	}
}

// TestIVREPage checks that every defect in the page has its part of the script, and the other way around.
func TestIVREPage(t *testing.T) {
	numbers := func(name, pattern string) (found []string) {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(pattern).FindAllStringSubmatch(string(data), -1) {
			found = append(found, m[1])
		}
		return found
	}
	page, script := numbers(pageFile("docs/ivre.md"), `(?m)^\| (\d+) \|`), numbers("testdata/script/ivre.txtar", `(?m)^# (\d+): `)
	if diff := cmp.Diff(page, script); diff != "" || len(page) < 15 {
		t.Errorf("%d defects in docs/ivre.md (-page +script):\n%s", len(page), diff)
	}
}
