// SPDX-License-Identifier: Apache-2.0

package neo4jtest_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// playground is the server of `make neo4j` with a Java that only says what a
// server would say, once a file is there that the test makes.
type playground struct {
	root string
	env  []string
}

func newPlayground(t *testing.T) *playground {
	t.Helper()
	p := &playground{root: t.TempDir()}
	script, err := os.ReadFile("../../scripts/neo4j/server")
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"scripts/neo4j/server":      string(script),
		"scripts/neo4j/pom.xml":     "",
		"scripts/neo4j/Server.java": "",
		"bin/mvn":                   "#!/bin/sh\nfor a; do case $a in -DoutputDirectory=*) mkdir -p \"${a#*=}\";; esac; done\n",
		"bin/javac":                 "#!/bin/sh\nwhile [ $# -gt 0 ]; do [ \"$1\" != -d ] || mkdir -p \"$2\"; shift; done\n",
		// Its arguments end with the port and the size of the cache.
		"bin/java": "#!/bin/sh\ncd " + p.root + "\necho \"$*\" >>calls\nuntil [ -e answer ]; do sleep 0.02; done\n" +
			"echo ready 127.0.0.1:$(cat answer)\nwhile :; do sleep 0.02; done\n",
		"bin/ss": "#!/bin/sh\n",
	} {
		name = filepath.Join(p.root, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	p.env = append(os.Environ(), "PATH="+filepath.Join(p.root, "bin")+":"+os.Getenv("PATH"))
	t.Cleanup(func() { _, _ = p.call(context.Background(), "stop") })
	return p
}

// call runs the script and returns what it prints.
func (p *playground) call(ctx context.Context, what string) (string, error) {
	cmd := exec.CommandContext(ctx, filepath.Join(p.root, "scripts/neo4j/server"), what)
	cmd.Env = p.env
	out, err := cmd.Output()
	return string(out), err
}

// answer has the server say its port, or with "" nothing yet.
func (p *playground) answer(t *testing.T, port string) {
	t.Helper()
	name := filepath.Join(p.root, "answer")
	err := os.WriteFile(name, []byte(port), 0o644)
	if port == "" {
		err = os.Remove(name)
	}
	if err != nil {
		t.Error(err)
	}
}

func (p *playground) start(t *testing.T) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	out, err := p.call(ctx, "start")
	if err != nil {
		t.Fatalf("start: %v, after %q", err, out)
	}
	return out
}

// TestScriptSaysWhatAnswers starts a server that is ready at once, one that takes
// its time, and one for which nobody waited: what start prints is always what the
// server that runs now has said.
func TestScriptSaysWhatAnswers(t *testing.T) {
	p := newPlayground(t)
	p.answer(t, "1111")
	first := p.start(t)
	uri, password, _ := strings.Cut(first, "\n")
	if uri != "neo4j://neo4j@127.0.0.1:1111" || len(strings.TrimSpace(password)) <= len("WEIR_NEO4J_PASSWORD=") {
		t.Fatalf("start prints %q", first)
	}
	if again := p.start(t); again != first {
		t.Errorf("start prints %q, and %q of the same server", first, again)
	}
	if _, err := p.call(t.Context(), "stop"); err != nil {
		t.Fatal(err)
	}

	p.answer(t, "")
	hasty, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	if out, err := p.call(hasty, "start"); err == nil || out != "" {
		t.Errorf("a server that is not ready: start prints %q, error %v", out, err)
	}
	time.AfterFunc(300*time.Millisecond, func() { p.answer(t, "2222") })
	second := p.start(t)
	if want := "neo4j://neo4j@127.0.0.1:2222\n" + password; second != want {
		t.Errorf("start prints %q, want %q", second, want)
	}
	calls, err := os.ReadFile(filepath.Join(p.root, "calls"))
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(calls)), "\n")
	if len(lines) != 2 || !strings.HasSuffix(strings.TrimSpace(lines[0]), " 7687 512") || !strings.HasSuffix(strings.TrimSpace(lines[1]), " 1111 512") {
		t.Errorf("Java was called with\n%s\nwant two servers, the second at the port of the first", calls)
	}
}
