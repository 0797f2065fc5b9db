// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"weir/internal/command/commandtest"
	"weir/internal/neo4jtest"
	"weir/internal/traffic"
	"weir/store/lake"
)

var update = flag.Bool("update", false, "rewrite golden files in the scripts")

func TestMain(m *testing.M) {
	testscript.Main(withServer{m}, map[string]func(){
		"sensor":  main,
		"traffic": writeTraffic,
		"rows":    printRows,
	})
}

// withServer ends the server that tests share.
type withServer struct{ m *testing.M }

// Run implements testscript.TestingM.
func (w withServer) Run() int { return neo4jtest.Main(w.m) }

func TestScripts(t *testing.T) {
	params := commandtest.Params(*update)
	params.Cmds["head"] = head
	testscript.Run(t, params)
}

// head writes the first bytes of a file to another one: head BYTES FROM TO.
func head(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: head BYTES FROM TO")
	}
	n, err := strconv.Atoi(args[0])
	ts.Check(err)
	data, err := os.ReadFile(ts.MkAbs(args[1]))
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[2]), data[:n], 0o600))
}

// writeTraffic writes a generated capture: traffic FILE SCENARIO SEED PACKETS.
func writeTraffic() {
	fail := func(err error) {
		if err != nil {
			fmt.Fprintln(os.Stderr, "traffic:", err)
			os.Exit(1)
		}
	}
	if len(os.Args) != 5 {
		fail(errors.New("usage: traffic FILE SCENARIO SEED PACKETS"))
	}
	scenario, err := traffic.ParseScenario(os.Args[2])
	fail(err)
	seed, err := strconv.ParseUint(os.Args[3], 10, 64)
	fail(err)
	n, err := strconv.Atoi(os.Args[4])
	fail(err)
	spec := traffic.Spec{Scenario: scenario, Seed: seed, Packets: n}
	if scenario == traffic.Flood || scenario == traffic.Concurrent {
		spec.Packets, spec.Connections = 0, n
	}
	totals, err := traffic.WriteFile(os.Args[1], spec)
	fail(err)
	fmt.Printf("packets %d connections %d\n", totals.Packets, totals.Sum())
}

// printRows prints what the manifest of a store says: rows STORE.
func printRows() {
	m, err := lake.ReadManifest(os.Args[1])
	if err != nil {
		fmt.Fprintln(os.Stderr, "rows:", err)
		os.Exit(1)
	}
	rows := map[string]int64{}
	for i := range m.Parts {
		rows[m.Parts[i].Kind] += m.Parts[i].Rows
	}
	var packets uint64
	var names []string
	for i := range m.Imports {
		packets += m.Imports[i].Packets
		for _, in := range m.Imports[i].Inputs {
			names = append(names, in.Name)
		}
	}
	fmt.Printf("conn %d dns %d http %d ssl %d packets %d imports %d: %s\n", rows["conn"], rows["dns"],
		rows["http"], rows["ssl"], packets, len(m.Imports), strings.Join(names, " "))
}
