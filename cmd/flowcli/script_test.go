// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"weir/internal/command/commandtest"
	"weir/internal/flow"
	"weir/internal/neo4jtest"
	"weir/store/lake"
)

var update = flag.Bool("update", false, "rewrite golden files in the scripts")

func TestMain(m *testing.M) {
	testscript.Main(suite{neo4jtest.M{M: m}}, map[string]func(){
		"flowcli": main,
		"mklake":  makeLake,
		"mklive":  makeLive,
		"mkwide":  makeWide,
	})
}

func TestScripts(t *testing.T) {
	p := commandtest.Params(*update)
	p.Cmds["flip"], p.Cmds["damage"] = flip, damage
	testscript.Run(t, p)
}

// TestNeo4jScripts runs the scripts that need a server. Each finds an empty
// database: its URI is $GRAPH, the password where flowcli looks for it.
func TestNeo4jScripts(t *testing.T) {
	s := neo4jtest.Shared(t)
	p := commandtest.Params(*update)
	p.Dir = "testdata/neo4j"
	p.Cmds["damage"] = damage
	var turn sync.Mutex // scripts share the database
	setup := p.Setup
	p.Setup = func(env *testscript.Env) error {
		turn.Lock()
		env.Defer(turn.Unlock)
		purge(t, s)
		env.Setenv("GRAPH", s.URI())
		env.Setenv("ADDR", s.Addr())
		env.Setenv("WEIR_NEO4J_PASSWORD", s.Password())
		return setup(env)
	}
	testscript.Run(t, p)
}

// flip changes a bit of a file: flip PATTERN OFFSET.
func flip(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: flip PATTERN OFFSET")
	}
	names, err := filepath.Glob(ts.MkAbs(args[0]))
	ts.Check(err)
	at, err := strconv.Atoi(args[1])
	ts.Check(err)
	if len(names) != 1 {
		ts.Fatalf("%s names %d files, want one", args[0], len(names))
	}
	data, err := os.ReadFile(names[0])
	ts.Check(err)
	data[at] ^= 4
	ts.Check(os.WriteFile(names[0], data, 0o644))
}

// damage changes a byte of the newest part of connections: damage STORE.
func damage(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: damage STORE")
	}
	m, err := lake.ReadManifest(ts.MkAbs(args[0]))
	ts.Check(err)
	name := filepath.Join(ts.MkAbs(args[0]), m.Parts[len(m.Parts)-1].Path)
	data, err := os.ReadFile(name)
	ts.Check(err)
	data[len(data)/2] ^= 1
	ts.Check(os.WriteFile(name, data, 0o600))
}

// makeLive adds connections to a store, each in a part of its own: mklive STORE
// NUMBER.
func makeLive() {
	n, err := strconv.Atoi(os.Args[2])
	if err == nil {
		err = publishLive(os.Args[1], n)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "mklive:", err)
		os.Exit(1)
	}
}

func publishLive(path string, n int) error {
	l, err := lake.Open(path, lake.Config{Create: true, Version: "test"})
	if err != nil {
		return err
	}
	w, err := l.Begin(lake.Import{Sensor: "eth1", Source: "live"})
	if err != nil {
		return err
	}
	for i := range n {
		first := flow.Time(1_763_892_000+i) * 1e9
		c := flow.Connection{
			Tuple: flow.Tuple{
				UID: uint64(100 + i), Src: flow.Addr4([4]byte{10, 0, 0, byte(1 + i%3)}), Dst: flow.Addr4([4]byte{10, 0, 0, 9}),
				Sport: uint16(40_000 + i), Dport: 22, Proto: flow.TCP,
			},
			First: first, Last: first + 1e9, CSPkts: 1, CSBytes: 100, Count: 1, State: flow.S0, End: flow.EndIdle,
		}
		b := new(flow.ConnBatch)
		b.Add(&c)
		if err := errors.Join(w.Connections(b), w.Publish(lake.Final{})); err != nil {
			return errors.Join(err, w.Abort())
		}
	}
	return w.Commit(lake.Final{})
}

// makeWide adds an import of many flows to a store: mkwide STORE NUMBER.
func makeWide() {
	n, err := strconv.Atoi(os.Args[2])
	if err == nil {
		err = fillWide(os.Args[1], n)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "mkwide:", err)
		os.Exit(1)
	}
}

func fillWide(path string, n int) error {
	l, err := lake.Open(path, lake.Config{Create: true, Version: "test"})
	if err != nil {
		return err
	}
	w, err := l.Begin(lake.Import{ID: "wide", Sensor: "eth0", Source: "capture", Inputs: []lake.Input{{Name: "wide.pcap", Sum: "wide", Size: 1}}})
	if err != nil {
		return err
	}
	b := new(flow.ConnBatch)
	for i := range n {
		first := flow.Time(1_763_892_000+i/100) * 1e9
		b.Add(&flow.Connection{
			Tuple: flow.Tuple{
				UID: uint64(1 + i), Src: flow.Addr4([4]byte{10, 1, byte(i / 250), byte(1 + i%250)}), Dst: flow.Addr4([4]byte{10, 2, 0, byte(i % 50)}),
				Sport: uint16(40_000 + i%20_000), Dport: 443, Proto: flow.TCP,
			},
			First: first, Last: first + 1e9, CSPkts: 5, CSBytes: 700, SCPkts: 5, SCBytes: 4000, Count: 1, State: flow.SF, End: flow.EndDetected,
		})
		if b.Len() == 10_000 || i == n-1 {
			if err := w.Connections(b); err != nil {
				return errors.Join(err, w.Abort())
			}
			b.Reset()
		}
	}
	return w.Commit(lake.Final{Packets: uint64(10 * n)})
}

// makeLake adds an import of a few connections to a store: mklake STORE [ID
// [killed]]. Killed ones are published, and not ended.
func makeLake() {
	if len(os.Args) < 2 || len(os.Args) > 4 {
		fmt.Fprintln(os.Stderr, "usage: mklake STORE [ID [killed]]")
		os.Exit(2)
	}
	id := "import-1"
	if len(os.Args) > 2 {
		id = os.Args[2]
	}
	if err := fillLake(os.Args[1], id, len(os.Args) > 3); err != nil {
		fmt.Fprintln(os.Stderr, "mklake:", err)
		os.Exit(1)
	}
}

func fillLake(path, id string, killed bool) error {
	addr := func(s string) flow.Addr { return flow.AddrFrom(netip.MustParseAddr(s)) }
	const base = 1_763_892_000 // 2025-11-23 10:00:00 UTC
	var conns []flow.Connection
	add := func(proto uint8, src string, sport uint16, dst string, dport uint16, csbytes uint64, service string) *flow.Connection {
		n := len(conns)
		first := flow.Time(base+10*n) * 1e9
		conns = append(conns, flow.Connection{
			Tuple: flow.Tuple{
				UID: uint64(n + 1), Src: addr(src), Dst: addr(dst), Sport: sport, Dport: dport, Proto: proto,
			},
			First: first, Last: first + 1_500_000_000, CSPkts: 3, SCPkts: 2, CSBytes: csbytes, SCBytes: 1200,
			CSPayload: 180, SCPayload: 1120, Count: 1, State: flow.SF, End: flow.EndDetected,
			History: []byte("ShADadFf"), Service: service,
		})
		return &conns[n]
	}
	add(flow.TCP, "10.0.0.1", 40000, "10.0.0.2", 80, 300, "http")
	add(flow.TCP, "10.0.0.1", 40001, "10.0.0.2", 80, 1000, "").State = flow.RSTO
	add(flow.TCP, "10.0.0.1", 50000, "10.0.0.10", 443, 500, "ssl")
	add(flow.UDP, "10.0.0.9", 53000, "10.0.0.2", 53, 60, "dns")
	add(flow.UDP, "2001:db8::1", 53001, "2001:db8::2", 53, 80, "dns")
	add(flow.ICMP, "10.0.0.9", 8, "10.0.0.1", 0, 84, "")
	add(47, "10.0.0.9", 0, "10.0.0.2", 0, 700, "")

	intel := flow.NewIntelBatch()
	query := func(c *flow.Connection, name string, answers ...string) {
		intel.Begin(flow.DNS, &c.Tuple, c.First)
		intel.SetString(flow.DNSQuery, name)
		intel.SetString(flow.DNSQTypeName, "A")
		for _, a := range answers {
			intel.AppendText(flow.DNSAnswers, []byte(a))
		}
	}
	query(&conns[3], "www.example.com", "192.0.2.1", "192.0.2.2")
	query(&conns[3], "www.example.com")
	query(&conns[4], "\x1b[31mred\x1b[0m\x07.example.org")
	query(&conns[4], "=HYPERLINK(\"http://x\")")
	query(&conns[4], "\u202egpj.exe \xff\xfe,\"q\"\r\n")

	l, err := lake.Open(path, lake.Config{Create: true, Version: "test"})
	if err != nil {
		return err
	}
	imp := lake.Import{
		ID: id, Sensor: "eth0", Source: "capture",
		Inputs: []lake.Input{{Name: "evil\x1b[31m.pcap", Sum: id, Size: 1}},
	}
	if killed {
		imp.Source, imp.Inputs = "live", []lake.Input{{Name: "eth0"}}
	}
	w, err := l.Begin(imp)
	if err != nil {
		return err
	}
	b := new(flow.ConnBatch)
	for i := range conns {
		b.Add(&conns[i])
	}
	if err := errors.Join(w.Connections(b), w.Intel(intel)); err != nil {
		return errors.Join(err, w.Abort())
	}
	if killed {
		// The process ends here, and with it its hold on the import.
		return w.Publish(lake.Final{Packets: 1234})
	}
	return w.Commit(lake.Final{Packets: 1234})
}
