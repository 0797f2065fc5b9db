// SPDX-License-Identifier: Apache-2.0

package neo4j

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"testing"
	"time"

	"weir/internal/flow"
	"weir/internal/neo4jtest"
	"weir/store/lake"
	"weir/store/storetest"
)

// Environment variables of the faults.
const (
	faultsEnv  = "WEIR_FAULTS"  // how many
	seedEnv    = "WEIR_SEED"    // of what is random, to have the same again
	processEnv = "WEIR_FORWARD" // spool and URI, of the process that forwards
	secretEnv  = "WEIR_FORWARD_PASSWORD"
)

// commitMessage is Bolt's message that commits a transaction.
var commitMessage = []byte{0, 2, 0xb0, 0x12, 0, 0}

// cutAt says where a proxy cuts.
type cutAt int

const (
	loseNothing cutAt = iota
	loseCommit        // the commit does not reach the server
	loseAnswer        // the commit reaches the server, its answer does not come back
	loseNow           // at once
)

// proxy passes connections on to a server and cuts them.
type proxy struct {
	listener net.Listener
	target   string

	mu     sync.Mutex // guards the rest
	conns  map[net.Conn]bool
	next   cutAt
	done   chan struct{} // closed when the next cut was made
	refuse bool
}

func newProxy(t testing.TB, target string) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{listener: l, target: target, conns: make(map[net.Conn]bool)}
	var g sync.WaitGroup
	g.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			g.Go(func() { p.serve(c) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		p.cutAll()
		g.Wait()
	})
	return p
}

// uri is the proxy's, instead of the server's.
func (p *proxy) uri() string { return "bolt://neo4j@" + p.listener.Addr().String() }

// arm makes the proxy cut all connections once, and returns a channel that is
// closed then.
func (p *proxy) arm(at cutAt) <-chan struct{} {
	p.mu.Lock()
	p.next, p.done = at, make(chan struct{})
	done := p.done
	p.mu.Unlock()
	if at == loseNow {
		p.cut()
	}
	return done
}

// setRefuse makes the server seem to be away.
func (p *proxy) setRefuse(on bool) {
	p.mu.Lock()
	p.refuse = on
	p.mu.Unlock()
	if on {
		p.cutAll()
	}
}

func (p *proxy) cut() {
	p.cutAll()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.next != loseNothing {
		p.next = loseNothing
		close(p.done)
	}
}

func (p *proxy) cutAll() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		if tcp, ok := c.(*net.TCPConn); ok {
			_ = tcp.SetLinger(0) // a reset, not an end
		}
		c.Close()
		delete(p.conns, c)
	}
}

func (p *proxy) serve(client net.Conn) {
	defer client.Close()
	p.mu.Lock()
	refuse := p.refuse
	p.mu.Unlock()
	if refuse {
		return
	}
	server, err := net.Dial("tcp", p.target)
	if err != nil {
		return
	}
	defer server.Close()
	p.mu.Lock()
	p.conns[client], p.conns[server] = true, true
	p.mu.Unlock()
	mute := make(chan struct{}) // closed when answers are to be lost
	var g sync.WaitGroup
	g.Go(func() {
		defer client.Close()
		buf := make([]byte, 64<<10)
		for {
			n, err := server.Read(buf)
			if err != nil {
				return
			}
			select {
			case <-mute: // the answer to the commit
				p.cut()
				return
			default:
			}
			if _, err := client.Write(buf[:n]); err != nil {
				return
			}
		}
	})
	p.upstream(client, server, mute)
	server.Close()
	g.Wait()
	p.mu.Lock()
	delete(p.conns, client)
	delete(p.conns, server)
	p.mu.Unlock()
}

// upstream passes on what the client says, up to the commit that is cut.
func (p *proxy) upstream(client, server net.Conn, mute chan struct{}) {
	buf := make([]byte, 64<<10)
	for {
		n, err := client.Read(buf)
		if err != nil {
			return
		}
		if bytes.Contains(buf[:n], commitMessage) {
			p.mu.Lock()
			at := p.next
			p.mu.Unlock()
			switch at {
			case loseCommit:
				p.cut()
				return
			case loseAnswer:
				close(mute)
				if _, err := server.Write(buf[:n]); err == nil {
					_, _ = client.Read(buf) // until the other direction cuts
				}
				return
			case loseNothing, loseNow:
			}
		}
		if _, err := server.Write(buf[:n]); err != nil {
			return
		}
	}
}

// TestForwarderProcess is no test: it is the process that forwards.
func TestForwarderProcess(t *testing.T) {
	name := os.Getenv(processEnv)
	if name == "" {
		return // only TestFaults asks for it, in a process of its own
	}
	var spoolPath, uri string
	if _, err := fmt.Sscan(name, &spoolPath, &uri); err != nil {
		t.Fatal(err)
	}
	spool, err := lake.Open(spoolPath, lake.Config{Grace: time.Nanosecond})
	if err != nil {
		t.Fatal(err)
	}
	d, err := OpenLazy(t.Context(), uri, Config{Password: os.Getenv(secretEnv)})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	f, err := d.NewForwarder(ForwardConfig{Spool: spool})
	if err != nil {
		t.Fatal(err)
	}
	f.s.cut = smallCut
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin) // until the parent closes it
		cancel()
	}()
	if err := f.Run(ctx); err != nil {
		t.Fatal(err)
	}
}

// smallCut makes many chunks of little.
func smallCut(slot time.Duration) cut {
	return cut{rows: 100, flows: 30, records: 60, lanes: 2, slot: slot}
}

// process is a process that forwards.
type process struct {
	t     testing.TB
	spool string
	uri   string
	pass  string
	cmd   *exec.Cmd
	stdin io.Closer
	out   bytes.Buffer
}

func (p *process) start() {
	p.t.Helper()
	p.cmd = exec.Command(os.Args[0], "-test.run=^TestForwarderProcess$", "-test.timeout=30m")
	p.cmd.Env = append(os.Environ(), processEnv+"="+p.spool+" "+p.uri, secretEnv+"="+p.pass)
	p.out.Reset()
	p.cmd.Stdout, p.cmd.Stderr = &p.out, &p.out
	var err error
	if p.stdin, err = p.cmd.StdinPipe(); err != nil {
		p.t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
}

// kill ends the process as kill -9 does.
func (p *process) kill() {
	_ = p.cmd.Process.Kill() // it may have ended
	_ = p.cmd.Wait()
}

// stop ends it in peace.
func (p *process) stop() {
	p.t.Helper()
	p.stdin.Close()
	if err := p.cmd.Wait(); err != nil {
		p.t.Errorf("the forwarder ended with %v:\n%s", err, p.out.Bytes())
	}
}

// seedOf returns the seed of a test, which it prints.
func seedOf(t testing.TB) uint64 {
	t.Helper()
	seed := rand.Uint64()
	if text := os.Getenv(seedEnv); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("seed: %s=%d", seedEnv, seed)
	return seed
}

// addRecord appends a record to a batch.
func addRecord(b *flow.IntelBatch, r *storetest.Record) {
	b.Begin(r.Kind, &r.Tuple, r.TS)
	for attr, a := range flow.Kinds()[r.Kind].Attrs {
		v := &r.Values[attr]
		if !v.Set {
			continue
		}
		if a.Type.List() {
			b.SetEmpty(attr)
		}
		switch a.Type {
		case flow.Text:
			b.SetString(attr, v.Text)
		case flow.TextList:
			for _, text := range v.Texts {
				b.AppendText(attr, []byte(text))
			}
		case flow.IntervalList:
			for _, n := range v.Ints {
				b.AppendInt(attr, n)
			}
		case flow.Count, flow.Bool, flow.Interval:
			b.SetInt(attr, v.Int)
		}
	}
}

// publish writes a piece of data into a spool: connections and intel of it, in
// one publication.
func publish(t testing.TB, w *lake.Writer, conns []storetest.Conn, intel []storetest.Record) {
	t.Helper()
	batch := new(flow.ConnBatch)
	for i := range conns {
		batch.Add(&conns[i].Connection)
	}
	records := flow.NewIntelBatch()
	for i := range intel {
		addRecord(records, &intel[i])
	}
	if err := w.Connections(batch); err != nil {
		t.Fatal(err)
	}
	if err := w.Intel(records); err != nil {
		t.Fatal(err)
	}
	if err := w.Publish(lake.Final{}); err != nil {
		t.Fatal(err)
	}
}

// waitEmpty waits until nothing is left in a spool.
func waitEmpty(t testing.TB, spool *lake.Lake, limit time.Duration, detail func() string) {
	t.Helper()
	deadline := time.Now().Add(limit)
	for {
		m, err := spool.Manifest()
		if err != nil {
			t.Fatal(err)
		}
		if len(m.Parts) == 0 && len(m.Imports) == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("after %v there are %d parts and %d imports in the spool\n%s", limit, len(m.Parts), len(m.Imports), detail())
		}
		time.Sleep(20 * time.Millisecond) // another process empties it
	}
}

func TestFaults(t *testing.T) {
	if testing.Short() {
		t.Skip("it kills and starts servers")
	}
	faults := 10
	if text := os.Getenv(faultsEnv); text != "" {
		var err error
		if faults, err = strconv.Atoi(text); err != nil {
			t.Fatal(err)
		}
	}
	seed := seedOf(t)
	r := rand.New(rand.NewPCG(seed, 1))
	server := neo4jtest.Start(t)
	d, err := Open(t.Context(), server.URI(), Config{Password: server.Password(), Create: true})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	px := newProxy(t, server.Addr())
	spool := newSpool(t)
	p := &process{t: t, spool: spool.Path(), uri: px.uri(), pass: server.Password()}
	p.start()
	defer p.kill()

	data := new(storetest.Data)
	deck := []string{"before", "after", "after", "now", "before", "killed", "killed", "killed", "paused", "server"}
	for i := range faults {
		if i%len(deck) == 0 {
			r.Shuffle(len(deck), func(i, j int) { deck[i], deck[j] = deck[j], deck[i] })
		}
		fault := deck[i%len(deck)]
		more := storetest.Random(seed + uint64(i))
		// All of one sensor, as one process writes.
		for j := range more.Conns {
			more.Conns[j].Sensor = "eth0"
		}
		for j := range more.Intel {
			more.Intel[j].Sensor = "eth0"
		}
		data.Conns, data.Intel = append(data.Conns, more.Conns...), append(data.Intel, more.Intel...)
		w, err := spool.Begin(lake.Import{Sensor: "eth0", Source: "live"})
		if err != nil {
			t.Fatal(err)
		}
		half, conns := len(more.Intel)/2, len(more.Conns)/2
		publish(t, w, more.Conns[:conns], more.Intel[:half]) // of flows to come, too
		time.Sleep(rand.N(300 * time.Millisecond))           // traffic, not a thing to wait for
		var done <-chan struct{}
		switch fault {
		case "before":
			done = px.arm(loseCommit)
		case "after":
			done = px.arm(loseAnswer)
		case "now":
			done = px.arm(loseNow)
		}
		publish(t, w, more.Conns[conns:], more.Intel[half:])
		if err := w.Commit(lake.Final{}); err != nil {
			t.Fatal(err)
		}
		begin := time.Now()
		switch fault {
		case "before", "after", "now":
			select {
			case <-done:
			case <-time.After(time.Minute):
				b, err := SpoolBacklog(spool.Path())
				t.Fatalf("no commit came by within a minute: %+v, %v\n%s", b, err, p.out.Bytes())
			}
		case "killed":
			p.kill()
			p.start()
		case "paused":
			server.Pause()
			time.Sleep(5 * time.Second) // that is the fault
			server.Resume()
		case "server":
			server.Kill()
			server.Restart()
		}
		t.Logf("fault %d: %s, %v", i, fault, time.Since(begin).Round(time.Millisecond))
	}
	waitEmpty(t, spool, 5*time.Minute, func() string { return p.out.String() })
	p.stop()
	want, got := data.Flows(), readGraph(t, d)
	compareFlows(t, want, got)
	if n := values(t, d, `MATCH (c:Chunk) RETURN count(c)`); n[0] != int64(0) {
		t.Errorf("%v marks are left", n)
	}
	t.Logf("%d faults: %d connections in %d flows, %d records of intel", faults, len(data.Conns), len(want), len(data.Intel))
}
