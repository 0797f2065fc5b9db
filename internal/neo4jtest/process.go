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

// Process is a server that this process started. It is not safe for concurrent use.
type Process struct {
	dir      string
	addr     string
	password string
	cmd      *exec.Cmd
	stdin    io.Closer
	ended    chan struct{} // closed when cmd has ended
}

// Run starts a server that keeps everything in dir, and waits until it answers.
// Other processes find it by SharedEnv.
func Run(dir string) (*Process, error) {
	p := &Process{dir: dir, password: rand.Text()}
	err := p.write("password", p.password)
	if err == nil {
		err = p.start()
	}
	if err != nil {
		// For those who wait for it.
		return nil, errors.Join(err, p.write("failed", err.Error()))
	}
	return p, nil
}

// write makes a file in the folder, whole or not at all.
func (p *Process) write(name, text string) error {
	path := filepath.Join(p.dir, name)
	if err := os.WriteFile(path+".tmp", []byte(text), 0o600); err != nil {
		return err
	}
	return os.Rename(path+".tmp", path)
}

// Addr returns the host and port.
func (p *Process) Addr() string { return p.addr }

// Password returns the password of the user neo4j.
func (p *Process) Password() string { return p.password }

// start starts the server at the port that it had, if any.
func (p *Process) start() error {
	root, err := moduleRoot()
	if err != nil {
		return err
	}
	port := "0"
	if p.addr != "" {
		_, port, _ = strings.Cut(p.addr, ":")
	}
	logName := filepath.Join(p.dir, "log")
	logFile, err := os.OpenFile(logName, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer logFile.Close()
	p.cmd = exec.Command(filepath.Join(root, "scripts", "neo4j", "server"), "run",
		filepath.Join(p.dir, "home"), filepath.Join(p.dir, "password"), port, "stdin")
	p.cmd.Dir = root
	p.cmd.Stderr = logFile
	// In a group of its own Ctrl-C does not reach it before the tests are done
	// with it; and if it is stopped when we die, the kernel wakes and ends it.
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	// The pipe's end closes with us, in whatever way we end; then the server ends.
	if p.stdin, err = p.cmd.StdinPipe(); err != nil {
		return err
	}
	out := &firstLine{line: make(chan string, 1)}
	p.cmd.Stdout = io.MultiWriter(logFile, out)
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
			p.Kill()
			return fmt.Errorf("start Neo4j: it says %q", line)
		}
		p.addr = addr
		return p.write("addr", addr)
	case <-p.ended:
		text, _ := os.ReadFile(logName)
		return fmt.Errorf("start Neo4j: it ended:\n%s", bytes.TrimSpace(text))
	case <-time.After(startTimeout):
		p.Kill()
		return fmt.Errorf("start Neo4j: no answer within %v", startTimeout)
	}
}

// firstLine is a writer that hands out the first line.
type firstLine struct {
	buf  []byte
	done bool
	line chan string // room for the one line
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

// Kill ends the server at once, as kill -9 does.
func (p *Process) Kill() {
	_ = p.cmd.Process.Kill() // it has ended already
	<-p.ended
	p.stdin.Close()
}

// Stop ends the server as its operator would, and waits for it.
func (p *Process) Stop() {
	p.stdin.Close()
	_ = p.cmd.Process.Signal(syscall.SIGCONT) // in case it is stopped; or it has ended already
	select {
	case <-p.ended:
	case <-time.After(30 * time.Second):
		p.Kill()
	}
}

// await returns address and password of the server in a folder once it answers.
func await(dir string, timeout time.Duration) (addr, password string, err error) {
	deadline := time.Now().Add(timeout)
	for {
		a, errA := os.ReadFile(filepath.Join(dir, "addr"))
		pw, errP := os.ReadFile(filepath.Join(dir, "password"))
		if errA == nil && errP == nil {
			return string(a), string(pw), nil
		}
		if why, err := os.ReadFile(filepath.Join(dir, "failed")); err == nil {
			return "", "", errors.New(string(why))
		}
		if time.Now().After(deadline) {
			return "", "", fmt.Errorf("no answer within %v", timeout)
		}
		time.Sleep(50 * time.Millisecond) // it belongs to another process: there is nothing to wait for
	}
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
