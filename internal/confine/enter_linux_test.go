// SPDX-License-Identifier: Apache-2.0

package confine_test

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"weir/internal/confine"
	"weir/internal/nettest"
)

// process is a child that runs.
type process struct {
	t      *testing.T
	cmd    *exec.Cmd
	stdin  io.Writer
	stdout *bufio.Reader
	hello  hello
	notes  *net.UnixConn // what it tells its service manager
}

// needRoot skips unless the variable says that this is root.
func needRoot(t *testing.T) {
	t.Helper()
	if os.Getenv("WEIR_TEST_ROOT") == "" {
		t.Skip("WEIR_TEST_ROOT is not set: this test needs root")
	}
	if os.Getuid() != 0 {
		t.Fatal("WEIR_TEST_ROOT is set, but this is not root")
	}
}

// start runs a child, as another user with capabilities if uid is not 0.
func start(t *testing.T, o orders, uid uint32, caps ...uintptr) *process {
	t.Helper()
	// The user that the child becomes must reach all of it.
	dir, err := os.MkdirTemp("", "confine")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	program, socket := filepath.Join(dir, "program"), filepath.Join(dir, "notify")
	o.Store, o.Outside = filepath.Join(dir, "store"), filepath.Join(dir, "outside")
	owner := int(uid)
	if o.Config != nil {
		o.Config.ReadWrite = append(o.Config.ReadWrite, o.Store)
		if account, err := confine.Lookup(o.Config.User); err == nil && uid == 0 {
			owner = account.UID
		}
	}
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	check(os.Chmod(dir, 0o755))
	check(os.Mkdir(o.Store, 0o700))
	check(os.Chown(o.Store, owner, -1))
	check(os.Mkdir(o.Outside, 0o700))
	check(os.Chmod(o.Outside, 0o777))
	own, err := os.Executable()
	check(err)
	text, err := os.ReadFile(own)
	check(err)
	check(os.WriteFile(program, text, 0o755))

	for _, port := range []*int{&o.Port, &o.OtherPort} {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		check(err)
		t.Cleanup(func() { listener.Close() })
		*port = listener.Addr().(*net.TCPAddr).Port
	}
	if o.Connect {
		o.Config.ConnectTCP = append(o.Config.ConnectTCP, uint16(o.Port))
	}
	notes, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: socket, Net: "unixgram"})
	check(err)
	t.Cleanup(func() { notes.Close() })
	check(os.Chmod(socket, 0o777))

	orders, err := json.Marshal(o)
	check(err)
	cmd := exec.Command(program)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), childVariable+"="+string(orders), "NOTIFY_SOCKET="+socket, "GOTRACEBACK=all")
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{AmbientCaps: caps, Pdeathsig: syscall.SIGKILL}
	if o.ResolvConf != "" {
		cmd.SysProcAttr.Cloneflags = syscall.CLONE_NEWNS
	}
	if uid != 0 {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: uid, Gid: uid}
	}
	stdin, err := cmd.StdinPipe()
	check(err)
	stdout, err := cmd.StdoutPipe()
	check(err)
	check(cmd.Start())
	p := &process{t: t, cmd: cmd, stdin: stdin, stdout: bufio.NewReader(stdout), notes: notes}
	t.Cleanup(func() {
		stdin.Close()
		if err := cmd.Wait(); err != nil {
			t.Errorf("child: %v", err)
		}
	})
	p.read(&p.hello)
	return p
}

// read reads one line of JSON.
func (p *process) read(v any) {
	p.t.Helper()
	line, err := p.stdout.ReadBytes('\n')
	if err != nil {
		p.t.Fatalf("child's answer: %v", err)
	}
	if err := json.Unmarshal(line, v); err != nil {
		p.t.Fatalf("child's answer %q: %v", line, err)
	}
}

// order has the child do something.
func (p *process) order(what string) map[string]string {
	p.t.Helper()
	if _, err := fmt.Fprintln(p.stdin, what); err != nil {
		p.t.Fatal(err)
	}
	var answer map[string]string
	p.read(&answer)
	return answer
}

// threads checks what the kernel says of every thread, and returns their number.
func (p *process) threads(uid int) int {
	p.t.Helper()
	const none = "0000000000000000"
	id := strings.TrimSuffix(strings.Repeat(fmt.Sprint(uid)+"\t", 4), "\t")
	want := map[string]string{
		"Uid": id, "CapInh": none, "CapPrm": none, "CapEff": none, "CapAmb": none, "NoNewPrivs": "1", "Seccomp": "2",
	}
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", p.cmd.Process.Pid))
	if err != nil || len(files) == 0 {
		p.t.Fatalf("no threads: %v", err)
	}
	for _, name := range append(files, fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid)) {
		text, err := os.ReadFile(name)
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ESRCH) {
			continue // it has ended
		}
		if err != nil {
			p.t.Fatal(err)
		}
		got := map[string]string{}
		for line := range strings.Lines(string(text)) {
			key, value, _ := strings.Cut(line, ":")
			if _, ok := want[key]; ok {
				got[key] = strings.TrimSpace(value)
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			p.t.Errorf("%s differs (-want +got):\n%s", name, diff)
		}
	}
	return len(files)
}

// refused checks that every attempt failed, and for lack of a right.
func (p *process) refused(except ...string) {
	p.t.Helper()
	for name, text := range p.order("attempt") {
		if cmp.Equal(except, []string{name}) {
			if text != "" {
				p.t.Errorf("%s: %s, want success", name, text)
			}
			continue
		}
		if !strings.Contains(text, unix.EPERM.Error()) && !strings.Contains(text, unix.EACCES.Error()) {
			p.t.Errorf("%s: %q, want it refused", name, text)
		}
	}
}

// works checks that the child can do its work.
func (p *process) works() {
	p.t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		p.t.Fatal(err)
	}
	stop := make(chan struct{})
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		conn, err := net.Dial("udp", "127.0.0.1:9")
		if err != nil {
			return
		}
		defer conn.Close()
		for {
			select {
			case <-stop:
				return
			case <-time.After(10 * time.Millisecond):
				conn.Write([]byte("packet")) //nolint:errcheck // nobody listens there
			}
		}
	}()
	answer := p.order("work")
	close(stop)
	<-sent
	for name, text := range answer {
		if text != "" {
			p.t.Errorf("%s: %s", name, text)
		}
	}
	if err := p.notes.SetReadDeadline(time.Now().Add(5 * time.Second)); err != nil {
		p.t.Fatal(err)
	}
	note := make([]byte, 64)
	if n, err := p.notes.Read(note); err != nil || string(note[:n]) != "READY=1" {
		p.t.Errorf("notification %q, %v, want READY=1", note[:n], err)
	}
	client := http.Client{Timeout: 5 * time.Second}
	response, err := client.Get("http://" + p.hello.Addr)
	if err != nil {
		p.t.Errorf("its listener: %v", err)
		return
	}
	defer response.Body.Close()
	if text, err := io.ReadAll(response.Body); err != nil || string(text) != "alive" {
		p.t.Errorf("its listener says %q, %v, want alive", text, err)
	}
}

// Without confinement every attempt succeeds: what refuses them below is Enter.
func TestAttemptsSucceedUnconfined(t *testing.T) {
	needRoot(t)
	p := start(t, orders{Ring: true}, 0)
	for name, text := range p.order("attempt") {
		if text != "" {
			t.Errorf("%s: %s, want success", name, text)
		}
	}
}

func TestEnterFromRoot(t *testing.T) {
	needRoot(t)
	p := start(t, orders{Ring: true, Config: &confine.Config{Sandbox: confine.Strict}}, 0)
	if p.hello.Err != "" {
		t.Fatal(p.hello.Err)
	}
	nobody, err := confine.Lookup("nobody")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(confine.Report{User: nobody, Seccomp: true, Landlock: 5}, p.hello.Report); diff != "" {
		t.Errorf("report differs (-want +got):\n%s", diff)
	}
	if took := p.hello.Took; took > time.Second {
		t.Errorf("Enter() took %v, want at most 1s", took)
	}
	t.Logf("Enter() took %v", p.hello.Took)
	p.threads(nobody.UID)
	p.refused()
	p.works()
	p.order("threads")
	if n := p.threads(nobody.UID); n < 48 {
		t.Errorf("%d threads after starting 8 and 40", n)
	}
	p.refused()
}

// As a service manager starts it: another user, with ambient capabilities.
func TestEnterFromAmbient(t *testing.T) {
	needRoot(t)
	const uid = 54321
	p := start(t, orders{Ring: true, Config: &confine.Config{}}, uid, unix.CAP_NET_RAW, unix.CAP_NET_ADMIN)
	if p.hello.Err != "" {
		t.Fatal(p.hello.Err)
	}
	p.threads(uid)
	p.refused()
	p.works()
}

// Threads that begin while the process gives up its rights do not keep them.
func TestEnterWhileThreadsBegin(t *testing.T) {
	needRoot(t)
	for range 5 {
		p := start(t, orders{Churn: true, Config: &confine.Config{User: "54321", Sandbox: confine.Strict}}, 0)
		if p.hello.Err != "" {
			t.Fatal(p.hello.Err)
		}
		t.Logf("Enter() took %v", p.hello.Took)
		p.threads(54321)
		p.refused()
	}
}

// A port can be left open for a store's server, and that one only.
func TestEnterConnects(t *testing.T) {
	needRoot(t)
	p := start(t, orders{Connect: true, Config: &confine.Config{User: "54321", Sandbox: confine.Strict}}, 0)
	if p.hello.Err != "" {
		t.Fatal(p.hello.Err)
	}
	p.threads(54321)
	p.refused("tcp connection")
}

// testHost is a name that only the test's own name server knows.
const testHost = "graph.weir.test."

// A store's server may come back with another address: its name can be looked up
// also later, and nothing else is possible than before.
func TestEnterLooksUp(t *testing.T) {
	needRoot(t)
	var last atomic.Uint32
	file := nettest.NameServer(t, testHost, func() [4]byte { return [4]byte{192, 0, 2, byte(last.Load())} })
	for _, tc := range []struct {
		name   string
		lookUp bool
		want   string
	}{
		{"with", true, "192.0.2.8"},
		{"without", false, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			last.Store(7)
			p := start(t, orders{
				Connect: true, ResolvConf: file,
				Config: &confine.Config{User: "54321", Sandbox: confine.Strict, LookUp: tc.lookUp},
			}, 0)
			if p.hello.Err != "" {
				t.Fatal(p.hello.Err)
			}
			last.Store(8)
			if got := p.order("look up"); got["addresses"] != tc.want || (got["error"] == "") != tc.lookUp {
				t.Errorf("look up: %q, want %q", got, tc.want)
			}
			p.refused("tcp connection")
		})
	}
}

// What cannot work later is said at once.
func TestEnterCannotWrite(t *testing.T) {
	needRoot(t)
	dir := t.TempDir()
	p := start(t, orders{Config: &confine.Config{ReadWrite: []string{dir}}}, 0)
	if want := "write to " + dir + " as user nobody: permission denied"; p.hello.Err != want {
		t.Errorf("Enter() = %q, want %q", p.hello.Err, want)
	}
}

// Root without capabilities is still confined.
func TestEnterStaysRoot(t *testing.T) {
	needRoot(t)
	p := start(t, orders{Config: &confine.Config{User: "root"}}, 0)
	if p.hello.Err != "" {
		t.Fatal(p.hello.Err)
	}
	p.threads(0)
	p.refused()
	p.works()
	limits, err := os.ReadFile(fmt.Sprintf("/proc/%d/limits", p.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(limits)) {
		if rest, ok := strings.CutPrefix(line, "Max core file size"); ok {
			if got := strings.Fields(rest); got[0] != "0" || got[1] != "0" {
				t.Errorf("a core file may have %s bytes, then %s, want 0", got[0], got[1])
			}
			return
		}
	}
	t.Errorf("no limit for core files in:\n%s", limits)
}
