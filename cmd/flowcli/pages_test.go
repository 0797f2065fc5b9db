// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"weir/internal/neo4jtest"
	"weir/internal/traffic"
)

// pageTime is how long a command of the documentation may take.
const pageTime = time.Minute

// officeSample makes what the commands of the documentation ask about, once for all tests, in
// the directory $FLOWCLI_SAMPLE: bin/sensor, the capture of a working day of a small office, office.pcap,
// and the lake that the sensor makes of it.
var officeSample = sync.OnceValues(func() (dir string, err error) {
	dir = os.Getenv("FLOWCLI_SAMPLE")
	sensor := filepath.Join(dir, "bin", "sensor")
	if out, err := exec.Command("go", "build", "-o", sensor, "../sensor").CombinedOutput(); err != nil {
		return dir, fmt.Errorf("build the sensor: %w\n%s", err, out)
	}
	if _, err := traffic.WriteFile(filepath.Join(dir, "office.pcap"), traffic.Spec{Scenario: traffic.Demo}); err != nil {
		return dir, err
	}
	read := exec.Command(sensor, "-r", "office.pcap", "--sensor", "office", "--store", "lake")
	read.Dir = dir
	if out, err := read.CombinedOutput(); err != nil {
		return dir, fmt.Errorf("read the sample: %w\n%s", err, out)
	}
	return dir, nil
})

// suite is the tests of this package, which leave no sample behind.
type suite struct{ neo4jtest.M }

// Run implements testscript.TestingM.
func (s suite) Run() int {
	dir, err := os.MkdirTemp("", "weir-flowcli")
	if err == nil {
		err = os.Setenv("FLOWCLI_SAMPLE", dir)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	return s.M.Run()
}

// scene is a directory in which commands of the documentation run, with a copy of the
// sample in it.
type scene struct {
	dir string
	env []string
}

func newScene(t *testing.T) *scene {
	t.Helper()
	if testing.Short() {
		t.Skip("builds the sensor and reads a capture")
	}
	from, err := officeSample()
	if err != nil {
		t.Fatal(err)
	}
	p := &scene{dir: t.TempDir()}
	if err := os.CopyFS(filepath.Join(p.dir, "lake"), os.DirFS(filepath.Join(from, "lake"))); err != nil {
		t.Fatal(err)
	}
	// What a lake's files may be is part of it.
	err = filepath.WalkDir(filepath.Join(from, "lake"), func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, name)
		return errors.Join(err, os.Chmod(filepath.Join(p.dir, rel), info.Mode().Perm()))
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"office.pcap", "capture.pcap"} {
		if err := os.Link(filepath.Join(from, "office.pcap"), filepath.Join(p.dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	cli, err := exec.LookPath("flowcli") // of testscript
	if err != nil {
		t.Fatal(err)
	}
	bin := filepath.Join(p.dir, "bin")
	for name, target := range map[string]string{"flowcli": cli, "sensor": filepath.Join(from, "bin", "sensor")} {
		if err := errors.Join(os.MkdirAll(bin, 0o755), os.Symlink(target, filepath.Join(bin, name))); err != nil {
			t.Fatal(err)
		}
	}
	home := filepath.Join(p.dir, "home")
	if err := os.Mkdir(home, 0o755); err != nil {
		t.Fatal(err)
	}
	p.env = []string{
		"PATH=" + bin + ":" + os.Getenv("PATH"), "HOME=" + home, "TZ=UTC", "LC_ALL=C.UTF-8", "TERM=dumb", "WEIR_STORE=lake",
	}
	return p
}

// run runs a command line in a shell and returns what it printed, both streams in
// their order, and its exit code.
func (p *scene) run(t *testing.T, line string) (string, int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), pageTime)
	defer cancel()
	cmd := exec.CommandContext(ctx, "bash", "-c", line)
	cmd.Dir, cmd.Env = p.dir, p.env
	cmd.WaitDelay = time.Second
	out, err := cmd.CombinedOutput()
	if bad := new(exec.ExitError); err != nil && (!errors.As(err, &bad) || ctx.Err() != nil) {
		t.Errorf("%s: %v, %v\n%s", line, err, context.Cause(ctx), out)
	}
	return string(out), cmd.ProcessState.ExitCode()
}

// session is a block of a page that shows commands with their output: fenced, of the
// language "console", with "$ " before a command and "> " before its further lines.
// Where a line of the output is "…" it stands for any lines, within a line for any text.
// A command that fails is followed by "(exit code N)".
type session struct {
	info     string // what follows "console"
	commands []sessionCommand
}

type sessionCommand struct {
	lines  []string // as in the page
	output []string
}

// text returns what the shell runs.
func (c *sessionCommand) text() string {
	lines := make([]string, len(c.lines))
	for i, l := range c.lines {
		lines[i] = l[2:]
	}
	return strings.Join(lines, "\n")
}

// result runs a command and returns the lines that a page shows.
func (p *scene) result(t *testing.T, c *sessionCommand) []string {
	t.Helper()
	out, code := p.run(t, c.text())
	var lines []string
	if out != "" {
		lines = strings.Split(strings.TrimSuffix(out, "\n"), "\n")
	}
	for i := range lines {
		lines[i] = strings.TrimRight(lines[i], " ")
	}
	if code != 0 {
		lines = append(lines, fmt.Sprintf("(exit code %d)", code))
	}
	return lines
}

// anything stands for what a page leaves out.
const anything = "…"

// matches reports whether a page's output stands for a real one.
func matches(page, got []string) bool {
	var b strings.Builder
	b.WriteString(`\A`)
	for _, l := range page {
		if l == anything {
			b.WriteString(`(.*\n)*`)
			continue
		}
		b.WriteString(strings.ReplaceAll(regexp.QuoteMeta(l), anything, `.*`) + `\n`)
	}
	text := strings.Join(got, "\n")
	if len(got) > 0 {
		text += "\n"
	}
	return regexp.MustCompile(b.String() + `\z`).MatchString(text)
}

// renew returns the output for a page: the real one, shortened where the page's was.
func renew(page, got []string) []string {
	if matches(page, got) {
		return page
	}
	for i, l := range page {
		if tail := len(page) - i - 1; l == anything && len(got) > i+tail {
			out := append([]string{}, got[:i]...)
			return append(append(out, anything), got[len(got)-tail:]...)
		}
	}
	return got
}

// pageFile returns the name of a page.
func pageFile(name string) string { return filepath.Join("../..", name) }

// runSessions runs the sessions of a page whose fences have one of the words, in a row,
// and compares what they print with the page, or rewrites it.
func runSessions(t *testing.T, name string, p *scene, info string) (commands int) {
	t.Helper()
	page, err := os.ReadFile(pageFile(name))
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for part := range parts(string(page)) {
		if part.session == nil || part.session.info != info {
			out = append(out, part.lines...)
			continue
		}
		out = append(out, part.lines[0])
		for i := range part.session.commands {
			c := &part.session.commands[i]
			commands++
			got := p.result(t, c)
			if !*update && !matches(c.output, got) {
				t.Errorf("%s\nprints something else (-%s +now; go test ./cmd/flowcli -run Pages -update rewrites the page):\n%s",
					strings.Join(c.lines, "\n"), name, cmp.Diff(c.output, got))
			}
			out = append(append(out, c.lines...), renew(c.output, got)...)
		}
		out = append(out, part.lines[len(part.lines)-1])
	}
	if *update {
		text := strings.Join(out, "\n")
		if text != string(page) {
			if err := os.WriteFile(pageFile(name), []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	return commands
}

// part is a stretch of a page: a fenced block with its fences, or what is between them.
type part struct {
	lines   []string
	lang    string // of a fenced block
	fenced  bool
	session *session
}

// parts yields the parts of a page.
func parts(page string) func(yield func(part) bool) {
	return func(yield func(part) bool) {
		var now part
		for _, line := range strings.Split(page, "\n") {
			fence, isFence := strings.CutPrefix(line, "```")
			switch {
			case isFence && !now.fenced:
				if len(now.lines) > 0 && !yield(now) {
					return
				}
				now = part{lines: []string{line}, fenced: true, lang: fence}
			case isFence:
				now.lines = append(now.lines, line)
				if info, ok := strings.CutPrefix(now.lang, "console"); ok {
					now.session = readSession(strings.TrimSpace(info), now.lines[1:len(now.lines)-1])
				}
				if !yield(now) {
					return
				}
				now = part{}
			default:
				now.lines = append(now.lines, line)
			}
		}
		if len(now.lines) > 0 {
			yield(now)
		}
	}
}

func readSession(info string, lines []string) *session {
	s := &session{info: info}
	command := false
	for _, line := range lines {
		last := len(s.commands) - 1
		switch {
		case strings.HasPrefix(line, "$ "):
			s.commands = append(s.commands, sessionCommand{lines: []string{line}})
			command = true
			continue
		case command && strings.HasPrefix(line, "> "):
			s.commands[last].lines = append(s.commands[last].lines, line)
			continue
		case last >= 0:
			s.commands[last].output = append(s.commands[last].output, line)
		}
		command = false
	}
	return s
}

// sessionPages are the pages with sessions, and how many commands each shows at least.
func sessionPages() map[string]int {
	return map[string]int{"docs/flowcli.md": 40, "docs/ivre.md": 30}
}

// TestPages runs the sessions of the documentation.
func TestPages(t *testing.T) {
	for name, least := range sessionPages() {
		t.Run(strings.ReplaceAll(name, "/", "_"), func(t *testing.T) {
			t.Parallel()
			if n := runSessions(t, name, newScene(t), ""); n < least {
				t.Errorf("%s shows %d commands, want %d", name, n, least)
			}
		})
	}
}

// TestNeo4jPages runs those sessions that ask a database, which holds the sample. In them the
// password is where flowcli looks for it, and $GRAPH the URI.
func TestNeo4jPages(t *testing.T) {
	s := neo4jtest.Shared(t)
	p := newScene(t)
	p.env = append(p.env, "GRAPH="+s.URI(), "WEIR_NEO4J_PASSWORD="+s.Password())
	purge(t, s)
	if out, code := p.run(t, `flowcli load --store "$GRAPH" lake`); code != 0 {
		t.Fatalf("load the sample: exit code %d\n%s", code, out)
	}
	n := 0
	for name := range sessionPages() {
		n += runSessions(t, name, p, "neo4j")
	}
	if n < 5 {
		t.Errorf("the pages show %d commands over Neo4j", n)
	}
}

// TestSessions checks how pages are read and compared.
func TestSessions(t *testing.T) {
	var got []part
	for p := range parts("text\n```console\n$ a \\\n> b\nout\n> more\n$ c\n```\nend\n") {
		got = append(got, p)
	}
	if len(got) != 3 || got[1].session == nil {
		t.Fatalf("parts = %+v", got)
	}
	var b bytes.Buffer
	for _, c := range got[1].session.commands {
		fmt.Fprintf(&b, "%q %q\n", c.text(), c.output)
	}
	if want := "\"a \\\\\\nb\" [\"out\" \"> more\"]\n\"c\" []\n"; b.String() != want {
		t.Errorf("commands = %s, want %s", b.String(), want)
	}
	tests := []struct {
		page, got []string
		want      bool
	}{
		{nil, nil, true},
		{nil, []string{"a"}, false},
		{[]string{"a"}, nil, false},
		{[]string{"a", "…", "d"}, []string{"a", "b", "c", "d"}, true},
		{[]string{"a", "…", "d"}, []string{"a", "d"}, true},
		{[]string{"a", "…"}, []string{"b"}, false},
		{[]string{"id … (x)"}, []string{"id 17 (x)"}, true},
		{[]string{"id … (x)"}, []string{"id 17", "(x)"}, false},
		{[]string{"a.c"}, []string{"abc"}, false},
	}
	for _, tc := range tests {
		if got := matches(tc.page, tc.got); got != tc.want {
			t.Errorf("matches(%q, %q) = %v, want %v", tc.page, tc.got, got, tc.want)
		}
	}
	if diff := cmp.Diff([]string{"1", "…", "4"}, renew([]string{"a", "…", "d"}, []string{"1", "2", "3", "4"})); diff != "" {
		t.Errorf("renew (-want +got):\n%s", diff)
	}
}
