// SPDX-License-Identifier: Apache-2.0

package command_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"

	"weir/internal/command"
)

// program returns a program with a command, whose texts have what pages could take for more than text.
func program() *cobra.Command {
	root := &cobra.Command{
		Use: "prog [flags] <a_b>", Short: "Do _things_ *here*", Version: "1.2",
		Long:    "prog does `things`: <tags>, a_b_c, \\xNN & more.\n.TH at the start of a line\n'quote\n\n  code   keeps\n  its lines\n\n* and goes on",
		Example: "  prog --limit 1   | tee x\n  prog 'a \\ b'",
		RunE:    func(*cobra.Command, []string) error { return nil },
	}
	root.Flags().IntP("limit", "l", 0, "print this `many`; [brackets] and a_b")
	root.Flags().Bool("all", false, "print all")
	root.PersistentFlags().String("store", "", "`directory` of a store (~/x)")
	sub := &cobra.Command{Use: "sub", Short: "Do less", RunE: func(*cobra.Command, []string) error { return nil }}
	hidden := &cobra.Command{Use: "secret", Hidden: true, RunE: sub.RunE}
	root.AddCommand(sub, hidden, command.NewMan(command.Manual{
		ExitCodes:   "Exit codes:\n  0    done\n  1    failed;\n       and more\n",
		Environment: [][2]string{{"PROG_STORE", "the store"}},
		Files:       [][2]string{{"/etc/prog.toml", "configuration"}},
	}))
	return root
}

// pages returns the pages by their names.
func pages(t *testing.T, dir string) map[string]string {
	t.Helper()
	t.Setenv("SOURCE_DATE_EPOCH", "1763892000")
	s := command.Streams{In: strings.NewReader(""), Out: new(bytes.Buffer), Err: new(bytes.Buffer)}
	if err := command.Execute(program(), []string{"man", "--dir", dir}, s); err != nil {
		t.Fatal(err)
	}
	out := make(map[string]string)
	names, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		out[filepath.Base(name)] = string(text)
	}
	return out
}

func TestMan(t *testing.T) {
	first, second := t.TempDir(), t.TempDir()
	list := pages(t, first)
	if diff := cmp.Diff(list, pages(t, second)); diff != "" {
		t.Errorf("pages differ from run to run:\n%s", diff)
	}
	for name, want := range map[string][]string{
		"prog.1": {
			`.TH "PROG" "1" "2025-11-23" "weir 1.2" "weir manual"`, ".SH EXIT STATUS", ".SH ENVIRONMENT", ".SH FILES", ".SH SEE ALSO",
			`\fB-l\fP, \fB--limit\fP \fImany\fP`, "print this many; [brackets] and a_b", `\fBprog-sub\fP(1)`, "failed; and more", "PROG_STORE",
		},
		"prog-sub.1":        {"prog-sub - Do less", ".SH OPTIONS OF EVERY COMMAND", `\fB--store\fP \fIdirectory\fP`, `\fBprog\fP(1)`},
		"prog-man.1":        {"SOURCE_DATE_EPOCH"},
		"prog-completion.1": {"prog-completion"},
	} {
		for _, text := range want {
			if !strings.Contains(strings.ReplaceAll(list[name], `\-`, "-"), text) {
				t.Errorf("%s lacks %q:\n%s", name, text, list[name])
			}
		}
	}
	if len(list) != 4 {
		t.Errorf("%d pages, want 4", len(list))
	}
	if mandoc, err := exec.LookPath("mandoc"); err == nil {
		for name := range list {
			out, err := exec.Command(mandoc, "-T", "lint", "-W", "warning", filepath.Join(first, name)).CombinedOutput()
			if err != nil {
				t.Errorf("%s: %v\n%s", name, err, out)
			}
		}
		out, err := exec.Command(mandoc, "-T", "utf8", filepath.Join(first, "prog.1")).Output()
		text := strings.Join(strings.Fields(string(out)), " ")
		for _, want := range []string{"<tags>, a_b_c, \\xNN & more. .TH at the start of a line 'quote", "code keeps its lines", "prog 'a \\ b'", "* and goes on"} {
			if !strings.Contains(text, want) {
				t.Errorf("the page shows no %q: %v\n%s", want, err, text)
			}
		}
	}
}

// TestManPrints prints the page of the program, and refuses a date that is none.
func TestManPrints(t *testing.T) {
	var out bytes.Buffer
	s := command.Streams{In: strings.NewReader(""), Out: &out, Err: new(bytes.Buffer)}
	if err := command.Execute(program(), []string{"man"}, s); err != nil || !strings.Contains(out.String(), `.TH "PROG" "1"`) {
		t.Errorf("man: %v, %s", err, out.String())
	}
	t.Setenv("SOURCE_DATE_EPOCH", "today")
	if err := command.Execute(program(), []string{"man"}, s); err == nil {
		t.Error("a date that is no number is no error")
	}
	if err := command.Execute(program(), []string{"man", "x"}, s); err == nil {
		t.Error("an argument is no error")
	}
}
