// SPDX-License-Identifier: Apache-2.0

package confine_test

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"weir/internal/confine"
)

func TestMain(m *testing.M) {
	if os.Getenv(childVariable) != "" {
		os.Exit(child())
	}
	os.Exit(m.Run())
}

// childVariable holds the orders for a process that confines itself.
const childVariable = "WEIR_CONFINE_CHILD"

// orders are what the test wants of the child.
type orders struct {
	Config  *confine.Config // nil: not confined, to see that the attempts succeed then
	Store   string
	Outside string // a directory that everybody may write to
	Ring    bool   // read packets of lo
	// Ports where somebody listens. Connecting to the first is permitted if
	// Connect is set.
	Port, OtherPort int
	Connect         bool
	// ResolvConf is put in place of the file that says whom to ask for host names.
	ResolvConf string
	// Churn has threads begin and end all the time.
	Churn bool
}

// hello is the child's first line, once it is confined.
type hello struct {
	Report confine.Report
	Err    string
	Addr   string // of its listener
	Took   time.Duration
}

// child is the process that the tests look at. It obeys lines on standard input
// and answers each with a line of JSON: errors by name, "" for none.
func child() int {
	var o orders
	if err := json.Unmarshal([]byte(os.Getenv(childVariable)), &o); err != nil {
		return 1
	}
	out := json.NewEncoder(os.Stdout)
	fail := func(err error) int {
		if err := out.Encode(hello{Err: err.Error()}); err != nil {
			return 1
		}
		return 0
	}
	if o.ResolvConf != "" {
		// The mounts are the child's own.
		err := errors.Join(unix.Mount("", "/", "", unix.MS_PRIVATE|unix.MS_REC, ""),
			unix.Mount(o.ResolvConf, "/etc/resolv.conf", "", unix.MS_BIND, ""))
		if err != nil {
			return fail(err)
		}
	}
	ring, err := openRing(o.Ring)
	if err != nil {
		return fail(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return fail(err)
	}
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	threads := make(threads)
	threads.start(8)
	h := hello{Addr: listener.Addr().String()}
	if o.Churn {
		for range 4 {
			go churnThreads()
		}
	}
	if o.Config != nil {
		began := time.Now()
		if h.Report, err = confine.Enter(*o.Config); err != nil {
			return fail(err)
		}
		h.Took = time.Since(began)
	}
	go http.Serve(listener, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { //nolint:errcheck // it serves until the process ends
		io.WriteString(w, "alive") //nolint:errcheck // the client sees it
	}))
	if err := out.Encode(h); err != nil {
		return 1
	}
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		var answer map[string]string
		switch lines.Text() {
		case "attempt":
			errs := attempts(&o)
			errs["read on any thread"] = threads.any(func() error {
				_, err := os.ReadFile("/etc/passwd")
				return err
			})
			errs["socket on any thread"] = threads.any(func() error { return trySocket(unix.AF_INET, unix.SOCK_DGRAM, 0) })
			answer = texts(errs)
		case "work":
			answer = texts(works(&o, ring, hup))
		case "look up":
			addrs, err := confine.Resolver().LookupHost(context.Background(), testHost)
			answer = texts(map[string]error{"error": err})
			answer["addresses"] = strings.Join(addrs, " ")
		case "threads":
			threads.start(40)
			answer = map[string]string{}
		}
		if err := out.Encode(answer); err != nil {
			return 1
		}
	}
	return 0
}

func texts(errs map[string]error) map[string]string {
	out := map[string]string{}
	for name, err := range errs {
		out[name] = ""
		if err != nil {
			out[name] = err.Error()
		}
	}
	return out
}

// threads are threads of their own that wait for work.
type threads chan func()

// start starts threads that stay.
func (t threads) start(n int) {
	var started sync.WaitGroup
	for range n {
		started.Add(1)
		go func() {
			runtime.LockOSThread()
			started.Done()
			for work := range t {
				work()
			}
		}()
	}
	started.Wait()
}

// churnThreads starts threads that end at once, one after the other, some
// thousand a second.
func churnThreads() {
	for {
		ended := make(chan struct{})
		go func() {
			runtime.LockOSThread() // the thread ends with its goroutine
			close(ended)
		}()
		<-ended
		time.Sleep(200 * time.Microsecond)
	}
}

// any has eight threads try something, all at once, so that
// none does it for another one. It returns nil if one of them succeeds.
func (t threads) any(try func() error) error {
	const n = 8
	var all, done sync.WaitGroup
	all.Add(n)
	var errs [n]error
	for i := range n {
		done.Add(1)
		t <- func() {
			defer done.Done()
			all.Done()
			all.Wait()
			errs[i] = try()
		}
	}
	done.Wait()
	for _, err := range errs {
		if err == nil {
			return nil
		}
	}
	return errs[0]
}

func trySocket(family, kind, protocol int) error {
	fd, err := unix.Socket(family, kind, protocol)
	if err != nil {
		return err
	}
	return unix.Close(fd)
}

// attempts tries what a confined process must not be able to do.
func attempts(o *orders) map[string]error {
	call := func(number uintptr, args ...uintptr) error {
		var a [6]uintptr
		copy(a[:], args)
		if _, _, errno := syscall.RawSyscall6(number, a[0], a[1], a[2], a[3], a[4], a[5]); errno != 0 {
			return errno
		}
		return nil
	}
	read := func(name string) error {
		_, err := os.ReadFile(name)
		return err
	}
	errs := map[string]error{
		"read /etc/shadow":    read("/etc/shadow"),
		"read /etc/passwd":    read("/etc/passwd"),
		"read own memory map": read("/proc/self/maps"),
		"write outside":       os.WriteFile(filepath.Join(o.Outside, "file"), nil, 0o600),
		"udp socket":          trySocket(unix.AF_INET, unix.SOCK_DGRAM, 0),
		"packet socket":       trySocket(unix.AF_PACKET, unix.SOCK_RAW, 0),
		"raw socket":          trySocket(unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_ICMP),
		"netlink socket":      trySocket(unix.AF_NETLINK, unix.SOCK_RAW, 0),
		"stream socket":       trySocket(unix.AF_UNIX, unix.SOCK_STREAM, 0),
		// These fail for lack of an object where they are permitted.
		"trace":            willing(unix.ESRCH, call(unix.SYS_PTRACE, unix.PTRACE_SEIZE, 1<<30)),
		"mount":            willing(unix.ENOENT, unix.Mount("none", "/nonexistent", "tmpfs", 0, "")),
		"exec":             willing(unix.ENOENT, unix.Exec("/nonexistent", []string{"x"}, nil)),
		"become root":      call(unix.SYS_SETUID, 0),
		"namespace":        call(unix.SYS_UNSHARE, unix.CLONE_NEWNS),
		"signal to parent": unix.Kill(os.Getppid(), 0),
		"key ring":         call(unix.SYS_KEYCTL, 0, ^uintptr(2), 1), // KEYCTL_GET_KEYRING_ID of the session
		"symbolic link":    os.Symlink("/etc", filepath.Join(o.Store, "link")),
		"new listener":     listen(),
		"bpf map":          makeBPFMap(),
	}
	process, err := os.StartProcess("/bin/true", []string{"true"}, &os.ProcAttr{})
	if err == nil {
		_, err = process.Wait()
	}
	errs["run /bin/true"] = err
	errs["tcp connection"], errs["other tcp connection"] = dial(o.Port), dial(o.OtherPort)
	page, err := unix.Mmap(-1, 0, 4096, unix.PROT_READ|unix.PROT_EXEC, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err == nil {
		unix.Munmap(page) //nolint:errcheck // the process ends soon
	}
	errs["executable memory"] = err
	var buf [8]byte
	local := unix.Iovec{Base: &buf[0], Len: 8}
	remote := unix.RemoteIovec{Base: uintptr(unsafe.Pointer(&buf[0])), Len: 8}
	_, err = unix.ProcessVMReadv(os.Getpid(), []unix.Iovec{local}, []unix.RemoteIovec{remote}, 0)
	errs["read a process"] = err
	return errs
}

// willing turns the error of a call that was let through into none.
func willing(let error, err error) error {
	if errors.Is(err, let) {
		return nil
	}
	return err
}

func dial(port int) error {
	conn, err := net.DialTimeout("tcp", fmt.Sprintf("127.0.0.1:%d", port), time.Second)
	if err != nil {
		return err
	}
	return conn.Close()
}

func listen() error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	return l.Close()
}

// makeBPFMap makes a map, the least that the call can do.
func makeBPFMap() error {
	attr := struct{ kind, key, value, entries, flags uint32 }{unix.BPF_MAP_TYPE_ARRAY, 4, 4, 1, 0}
	fd, _, errno := syscall.RawSyscall(unix.SYS_BPF, unix.BPF_MAP_CREATE, uintptr(unsafe.Pointer(&attr)), unsafe.Sizeof(attr))
	if errno != 0 {
		return errno
	}
	return unix.Close(int(fd))
}

// works does what a confined process needs.
func works(o *orders, ring *packetRing, hup <-chan os.Signal) map[string]error {
	errs := map[string]error{
		"store":    useStore(o.Store),
		"notify":   notify(),
		"memory":   churn(),
		"priority": lowPriority(),
	}
	_, errs["counters"] = os.ReadFile("/sys/class/net/lo/statistics/rx_packets")
	_, errs["time zone"] = time.LoadLocation("Europe/Paris")
	_, errs["random"] = rand.Read(make([]byte, 64))
	if ring != nil {
		errs["packets"] = ring.wait(5 * time.Second)
	}
	select {
	case <-hup:
		errs["signal"] = nil
	case <-time.After(5 * time.Second):
		errs["signal"] = errors.New("no SIGHUP came")
	}
	return errs
}

// useStore does with files what the writer of a lake does.
func useStore(dir string) error {
	tmp, day := filepath.Join(dir, ".tmp", "1"), filepath.Join(dir, "conn", "day=2026-01-01")
	if err := errors.Join(os.MkdirAll(tmp, 0o700), os.MkdirAll(day, 0o700)); err != nil {
		return err
	}
	lock, err := os.OpenFile(filepath.Join(dir, ".lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	defer lock.Close()
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX); err != nil {
		return fmt.Errorf("flock: %w", err)
	}
	f, err := os.Create(filepath.Join(tmp, "part"))
	if err != nil {
		return err
	}
	_, err = f.WriteString("rows")
	if err := errors.Join(err, f.Truncate(2), f.Sync(), f.Chmod(0o640), f.Close()); err != nil {
		return err
	}
	part := filepath.Join(day, "part")
	if err := os.Rename(f.Name(), part); err != nil {
		return err
	}
	d, err := os.Open(day)
	if err != nil {
		return err
	}
	defer d.Close()
	names, err := d.Readdirnames(-1)
	if err == nil && len(names) != 1 {
		err = fmt.Errorf("directory holds %q", names)
	}
	text, rerr := os.ReadFile(part)
	if rerr == nil && string(text) != "ro" {
		rerr = fmt.Errorf("part holds %q", text)
	}
	_, serr := os.Stat(part)
	return errors.Join(err, rerr, serr, d.Sync(), os.Remove(part), os.RemoveAll(filepath.Join(dir, ".tmp")))
}

// notify sends a datagram to the service manager, with a new socket.
func notify() error {
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: os.Getenv("NOTIFY_SOCKET"), Net: "unixgram"})
	if err != nil {
		return err
	}
	_, err = conn.Write([]byte("READY=1"))
	return errors.Join(err, conn.Close())
}

// churn has the garbage collector, the scheduler and timers work.
func churn() error {
	var workers sync.WaitGroup
	for range 4 {
		workers.Go(func() {
			var keep [64][]byte
			for i := range 2000 {
				keep[i%len(keep)] = make([]byte, 16<<10)
				if i%500 == 0 {
					time.Sleep(time.Millisecond)
				}
			}
		})
	}
	for range 5 {
		runtime.GC()
	}
	workers.Wait()
	return nil
}

// lowPriority makes a thread nicer.
func lowPriority() error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	return unix.Setpriority(unix.PRIO_PROCESS, unix.Gettid(), 5)
}
