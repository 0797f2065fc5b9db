// SPDX-License-Identifier: Apache-2.0

package neo4jtest

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// startTimeout is far above what a start takes (8 s, four times that where many
// tests run).
const startTimeout = 3 * time.Minute

// process is a server that this process started. It is not safe for concurrent use.
type process struct {
	dir      string
	size     string
	addr     string
	password string
	cmd      *exec.Cmd
	stdin    io.Closer
	ended    chan struct{} // closed when cmd has ended
}

// start starts a server that keeps everything in dir, and waits until it answers. Its size
// is "" or what the script knows.
func start(dir, size string) (*process, error) {
	p := &process{dir: dir, size: size, password: rand.Text()}
	if err := os.WriteFile(filepath.Join(dir, "password"), []byte(p.password), 0o600); err != nil {
		return nil, err
	}
	if err := p.start(); err != nil {
		return nil, err
	}
	return p, nil
}

// start starts the server at the port that it had, if any.
func (p *process) start() error {
	root, err := moduleRoot()
	if err != nil {
		return err
	}
	port := "0"
	if p.addr != "" {
		_, port, _ = strings.Cut(p.addr, ":")
	}
	logName := filepath.Join(p.dir, "log")
	logFile, err := os.Create(logName)
	if err != nil {
		return err
	}
	defer logFile.Close()
	p.cmd = exec.Command(filepath.Join(root, "scripts", "neo4j", "server"), "run",
		filepath.Join(p.dir, "home"), filepath.Join(p.dir, "password"), port, "stdin", p.size)
	p.cmd.Dir = root
	p.cmd.Stderr = logFile
	// In a group of its own Ctrl-C does not reach it before the tests are done
	// with it; and if it is stopped when we die, the kernel wakes and ends it.
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	// The pipe's end closes with us, in whatever way we end; then the server ends.
	if p.stdin, err = p.cmd.StdinPipe(); err != nil {
		return err
	}
	out := &firstLine{line: make(chan string, 1)} // there is one
	p.cmd.Stdout = out
	if err := p.cmd.Start(); err != nil {
		return fmt.Errorf("start Neo4j: %w", err)
	}
	p.ended = make(chan struct{})
	go func() {
		_ = p.cmd.Wait() // how it ended is in its log
		close(p.ended)
	}()
	select {
	case line := <-out.line:
		addr, ok := strings.CutPrefix(line, "ready ")
		if !ok {
			p.kill()
			return fmt.Errorf("start Neo4j: it says %q", line)
		}
		p.addr = addr
		return nil
	case <-p.ended:
		text, _ := os.ReadFile(logName)
		return fmt.Errorf("start Neo4j: it ended:\n%s", bytes.TrimSpace(text))
	case <-time.After(startTimeout):
		p.kill()
		return fmt.Errorf("start Neo4j: no answer within %v", startTimeout)
	}
}

// firstLine is a writer that hands out the first line.
type firstLine struct {
	buf  []byte
	done bool
	line chan string
}

// Write implements io.Writer.
func (f *firstLine) Write(b []byte) (int, error) {
	if !f.done {
		f.buf = append(f.buf, b...)
		if line, _, ok := bytes.Cut(f.buf, []byte("\n")); ok {
			f.line <- string(line)
			f.done, f.buf = true, nil
		}
	}
	return len(b), nil
}

// kill ends the server at once, as kill -9 does.
func (p *process) kill() {
	_ = p.cmd.Process.Kill() // it has ended already
	<-p.ended
	p.stdin.Close()
}

// stopped reports whether all threads are stopped.
func (p *process) stopped() (bool, error) {
	names, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", p.cmd.Process.Pid))
	if err != nil {
		return false, err
	}
	for _, name := range names {
		stat, err := os.ReadFile(name)
		if err != nil {
			continue // this thread ended
		}
		// After the name, which is in parentheses, comes the state.
		if _, rest, _ := bytes.Cut(stat, []byte(") ")); !bytes.HasPrefix(rest, []byte("T")) {
			return false, nil
		}
	}
	return len(names) > 0, nil
}

// moduleRoot returns the folder of go.mod above the working directory, which is
// where a test's package is.
func moduleRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
		up := filepath.Dir(dir)
		if up == dir {
			return "", errors.New("no go.mod above the working directory")
		}
		dir = up
	}
}
