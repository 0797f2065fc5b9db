// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"weir/internal/neo4jtest"
	"weir/internal/traffic"
	"weir/store"
	"weir/store/lake"
	"weir/store/lakequery"
	"weir/store/neo4j"
)

// graphTest is a database and how sensors reach it.
type graphTest struct {
	t     *testing.T
	s     *neo4jtest.Server
	db    *neo4j.DB
	spool string
}

// graph returns an empty database on a server.
func graph(t *testing.T, s *neo4jtest.Server) *graphTest {
	t.Helper()
	t.Setenv("WEIR_NEO4J_PASSWORD", s.Password())
	g := &graphTest{t: t, s: s, spool: filepath.Join(filepath.Dir(liveStore(t)), "spool")}
	g.open()
	if err := g.db.Purge(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	return g
}

// sharedGraph returns an empty database on the server that tests share.
func sharedGraph(t *testing.T) *graphTest {
	t.Helper()
	if testing.Short() {
		t.Skip("slow: needs a server")
	}
	return graph(t, neo4jtest.Shared(t))
}

// open connects the test itself with the database.
func (g *graphTest) open() {
	g.t.Helper()
	db, err := neo4j.Open(g.t.Context(), g.s.URI(), neo4j.Config{Password: g.s.Password(), Create: true})
	if err != nil {
		g.t.Fatal(err)
	}
	g.t.Cleanup(func() {
		if err := db.Close(); err != nil {
			g.t.Error(err)
		}
	})
	g.db = db
}

// flags are those of a sensor that writes to the database.
func (g *graphTest) flags() []string { return []string{"--store", g.s.URI(), "--spool", g.spool} }

// rows returns what a store answers to a question in its own language, as text.
func rows(t *testing.T, db store.RawQuerier, text string) []string {
	t.Helper()
	r, err := db.Raw(t.Context(), text)
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	defer func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	}()
	var list []string
	for row, err := range r.All() {
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		words := make([]string, len(row))
		for i, v := range row {
			words[i] = fmt.Sprint(v)
		}
		list = append(list, strings.Join(words, " "))
	}
	return list
}

// flowsOf returns all flows of a database with their sums.
func (g *graphTest) flowsOf() []string {
	return rows(g.t, g.db, `MATCH (s:Host)-[:SEND]->(f:Flow)-[:TO]->(d:Host)
		RETURN s.addr, d.addr, f.proto, coalesce(f.dport, -1), coalesce(f.type, -1), f.count, f.cspkts, f.scpkts, f.csbytes, f.scbytes
		ORDER BY s.addr, d.addr, f.key`)
}

// intelOf returns the number of observations of each kind.
func (g *graphTest) intelOf() []string {
	return rows(g.t, g.db, `UNWIND ["DNS", "HTTP", "SSL"] AS kind
		OPTIONAL MATCH (:Flow)-[r:INTEL]->(i:Intel) WHERE kind IN labels(i)
		RETURN toLower(kind) AS kind, sum(r.count) ORDER BY kind`)
}

// lakeFlows and lakeIntel return the same of a lake.
func lakeFlows(t *testing.T, path string) []string {
	return lakeRows(t, path, `SELECT src, dst, proto, coalesce(dport, -1), coalesce(type, -1), count, cspkts, scpkts, csbytes, scbytes
		FROM flow ORDER BY src, dst, proto || coalesce('/' || coalesce(dport, type), '')`)
}

func lakeIntel(t *testing.T, path string) []string {
	return lakeRows(t, path, `SELECT 'dns', (SELECT count(*) FROM dns) UNION ALL SELECT 'http', (SELECT count(*) FROM http)
		UNION ALL SELECT 'ssl', (SELECT count(*) FROM ssl)`)
}

func lakeRows(t *testing.T, path, text string) []string {
	t.Helper()
	db, err := lakequery.Open(t.Context(), path, lakequery.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	}()
	return rows(t, db, text)
}

// equals compares the database with a lake.
func (g *graphTest) equals(lake string) {
	g.t.Helper()
	want, got := lakeFlows(g.t, lake), g.flowsOf()
	if len(want) == 0 {
		g.t.Error("the lake is empty")
	}
	if diff := cmp.Diff(want, got); diff != "" {
		g.t.Errorf("flows differ (-lake +graph):\n%.4000s", diff)
	}
	if diff := cmp.Diff(lakeIntel(g.t, lake), g.intelOf()); diff != "" {
		g.t.Errorf("intel differs (-lake +graph):\n%s", diff)
	}
}

// drained checks that nothing waits in the spool.
func (g *graphTest) drained() {
	g.t.Helper()
	b, err := neo4j.SpoolBacklog(g.spool)
	if err != nil || b.Parts != 0 {
		g.t.Errorf("SpoolBacklog() = %+v, %v, want nothing", b, err)
	}
}

// run runs a sensor and checks its exit code.
func (g *graphTest) run(code int, args ...string) outcome {
	g.t.Helper()
	out := runSensor(g.t, append(g.flags(), args...)...)
	if out.code != code {
		g.t.Fatalf("sensor %q: exit code %d, want %d: %s", args, out.code, code, out.stderr)
	}
	return out
}

// TestNeo4jRead reads captures into a database, alone and together with a lake:
// both have the same, and each is without what it has already.
func TestNeo4jRead(t *testing.T) {
	g := sharedGraph(t)
	lake := liveStore(t)
	one, _ := generate(t, traffic.Spec{Scenario: traffic.Mix, Seed: 1, Packets: 20_000})
	two, _ := generate(t, traffic.Spec{Scenario: traffic.Mix, Seed: 2, Packets: 5_000})

	// Both at once, from one reading.
	out := g.run(0, "-r", one, "--store", lake)
	if n := strings.Count(out.stdout, "\nstore "); n != 2 || strings.Count(out.stdout, "packets ") != 1 {
		t.Errorf("the summary is not one of two stores: %s", out.stdout)
	}
	g.equals(lake)
	g.drained()
	const top = `MATCH (f:Flow) RETURN [f.proto, f.dport], count(*) AS cnt ORDER BY cnt DESC`
	perPort := map[string]bool{}
	for _, line := range rows(t, g.db, top) {
		perPort[line] = true
	}
	for _, line := range lakeRows(t, lake, `SELECT proto, dport, count(*) FROM flow GROUP BY ALL`) {
		var proto, dport, n string
		if _, err := fmt.Sscan(line, &proto, &dport, &n); err != nil {
			t.Fatal(err)
		}
		if !perPort[fmt.Sprintf("[%s %s] %s", proto, dport, n)] {
			t.Errorf("%s: the graph has another number", line)
		}
	}

	// The same once more, whoever asks.
	for _, stores := range [][]string{nil, {"--store", lake}} {
		out = g.run(0, append([]string{"-r", one}, stores...)...)
		if want := "skipped, it is in the database already"; !strings.Contains(out.stderr, want) || out.stdout != "" {
			t.Errorf("stderr %q, stdout %q, want %q and nothing", out.stderr, out.stdout, want)
		}
	}
	g.equals(lake)
	out = g.run(1, "-r", one, "udp")
	if want := "is in the database already, read with other options (sensor=\"\"; now: sensor=\"\"; filter=\"udp\"): a database cannot take it apart"; !strings.Contains(out.stderr, want) {
		t.Errorf("stderr %q, want %q", out.stderr, want)
	}

	// What one of them has already goes to the other one only: the lake first.
	if out := runSensor(t, "-r", two, "--store", lake); out.code != 0 {
		t.Fatal(out.stderr)
	}
	out = g.run(0, "-r", two, "--store", lake)
	if n := strings.Count(out.stdout, "\nstore "); n != 1 || !strings.Contains(out.stdout, "store        bolt://") ||
		!strings.Contains(out.stderr, "it is in the store already") {
		t.Errorf("stdout %q, stderr %q, want one store, the database", out.stdout, out.stderr)
	}
	g.equals(lake)

	// Where the stores lack different captures, each gets what it lacks.
	three, _ := generate(t, traffic.Spec{Scenario: traffic.Mix, Seed: 3, Packets: 2_000})
	g.run(0, "-r", three)
	four, _ := generate(t, traffic.Spec{Scenario: traffic.Mix, Seed: 4, Packets: 2_000})
	out = g.run(0, "-r", three, "-r", four, "--store", lake)
	if n := strings.Count(out.stdout, "packets "); n != 2 {
		t.Errorf("%d summaries, want 2: %s", n, out.stdout)
	}
	if got, want := g.intelOf(), lakeIntel(t, lake); !cmp.Equal(got, want) {
		t.Errorf("intel %q, want %q", got, want)
	}

	// From the beginning.
	g.run(0, "-r", two, "--init", "--store", lake)
	g.equals(lake)
	g.drained()
	g.run(0, "-r", two)
	g.equals(lake)
}

// TestNeo4jPipe reads a pipe.
func TestNeo4jPipe(t *testing.T) {
	g := sharedGraph(t)
	path := liveStore(t)
	name, _ := generate(t, traffic.Spec{Scenario: traffic.Mix, Seed: 1, Packets: 20_000})
	file, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	cmd := exec.Command("sensor", append(g.flags(), "-r", "-", "--store", path)...)
	cmd.Stdin = file
	if out := finish(t, cmd); out.code != 0 {
		t.Fatalf("exit code %d: %s", out.code, out.stderr)
	}
	g.equals(path)
	g.drained()
	// The lake's import is the database's: there is nothing to load.
	g.loadsNothing(path)
	g.equals(path)
}

// loadsNothing loads a lake whose imports the database has.
func (g *graphTest) loadsNothing(path string) {
	g.t.Helper()
	l, err := lake.Open(path, lake.Config{})
	if err != nil {
		g.t.Fatal(err)
	}
	st, err := g.db.Load(g.t.Context(), l, neo4j.LoadConfig{})
	if err != nil || st.Imports != 0 || st.Known == 0 || st.Parts != 0 {
		g.t.Errorf("Load() = %+v, %v, want nothing but known imports", st, err)
	}
}

// chunks returns how many chunks the database was sent.
func (g *graphTest) chunks(ctx context.Context) int64 {
	g.t.Helper()
	r, err := g.db.Raw(ctx, `MATCH (f:Flow) RETURN count(f)`)
	if err != nil {
		g.t.Fatal(err)
	}
	defer r.Close()
	n := int64(0)
	for row, err := range r.All() {
		if err != nil {
			g.t.Fatal(err)
		}
		n, _ = row[0].(int64)
	}
	return n
}

// TestNeo4jKill kills sensors while they send, at random moments: the next one
// sends the rest, and nothing is there twice.
func TestNeo4jKill(t *testing.T) {
	g := sharedGraph(t)
	lake := liveStore(t)
	rng := rand.New(rand.NewPCG(5, 1))
	killed := 0
	for round := range 3 {
		name, _ := generate(t, traffic.Spec{Scenario: traffic.Mix, Seed: uint64(round + 1), Packets: 100_000})
		if out := runSensor(t, "-q", "-r", name, "--store", lake); out.code != 0 {
			t.Fatal(out.stderr)
		}
		for try := range 4 {
			cmd := exec.Command("sensor", append(g.flags(), "-q", "-r", name)...)
			var stderr bytes.Buffer
			cmd.Stderr = &stderr
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			ended := make(chan error, 1) // one value: the end of the process
			go func() { ended <- cmd.Wait() }()
			// It is killed when it sends, or a while after.
			before := g.chunks(t.Context())
			for deadline := time.Now().Add(20 * time.Second); g.chunks(t.Context()) == before && time.Now().Before(deadline) && len(ended) == 0; {
				time.Sleep(5 * time.Millisecond)
			}
			time.Sleep(time.Duration(rng.IntN(100*(try+1))) * time.Millisecond)
			// One of them is ended by somebody at the terminal, when it sends what it read.
			sig := os.Kill
			if round == 1 && try == 0 {
				sig = os.Interrupt
			}
			if err := cmd.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
				t.Fatal(err)
			}
			if <-ended == nil {
				break // it was faster
			}
			killed++
			want := "sensor: interrupted; all that was read is in the spool " + g.spool
			if sig == os.Interrupt && (cmd.ProcessState.ExitCode() != 130 || !strings.Contains(stderr.String(), want)) {
				t.Errorf("exit code %d, %q, want 130 and %q", cmd.ProcessState.ExitCode(), stderr.String(), want)
			}
		}
		g.run(0, "-r", name)
		g.equals(lake)
		g.drained()
	}
	t.Logf("%d kills", killed)
	if killed < 3 {
		t.Errorf("only %d sensors could be killed in time", killed)
	}
}

// TestNeo4jTwice has two sensors read the same capture at the same time, from
// different machines as it were: the one that is later does not add it once more.
func TestNeo4jTwice(t *testing.T) {
	g := sharedGraph(t)
	lake := liveStore(t)
	name, _ := generate(t, traffic.Spec{Scenario: traffic.Mix, Seed: 1, Packets: 200_000})
	other := filepath.Join(filepath.Dir(g.spool), "other")
	s := launch(t, exec.Command("sensor", "-q", "-r", name, "--store", g.s.URI(), "--spool", other))
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(time.Millisecond) {
		if begun, err := filepath.Glob(filepath.Join(other, ".tmp", "*")); err == nil && len(begun) > 0 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("it does not read: %s", s.messages())
		}
	}
	s.signal(t, syscall.SIGSTOP)
	g.run(0, "-q", "-r", name, "--store", lake)
	s.signal(t, syscall.SIGCONT)
	<-s.ended
	if code, want := s.cmd.ProcessState.ExitCode(), "the same content is in the store already"; code != 1 || !strings.Contains(s.messages(), want) {
		t.Errorf("exit code %d, %q, want 1 and %q", code, s.messages(), want)
	}
	g.equals(lake)
}

// TestNeo4jGone has the server go away while it is sent what was read: nothing is
// lost, and the next run sends it.
func TestNeo4jGone(t *testing.T) {
	if testing.Short() {
		t.Skip("slow: waits for a server that does not come back")
	}
	g := graph(t, neo4jtest.Start(t))
	lake := liveStore(t)
	one, _ := generate(t, traffic.Spec{Scenario: traffic.Mix, Seed: 1, Packets: 100_000})
	two, _ := generate(t, traffic.Spec{Scenario: traffic.Mix, Seed: 2, Packets: 1_000})
	s := launch(t, exec.Command("sensor", append(g.flags(), "-r", one, "--store", lake)...))
	eventually(t, "sending", func() bool { return g.chunks(t.Context()) > 0 })
	g.s.Kill()
	began := time.Now()
	select {
	case <-s.ended:
	case <-time.After(drainPatience + 20*time.Second):
		t.Fatalf("it goes on: %s", s.messages())
	}
	t.Logf("gave up after %v: %s", time.Since(began), s.messages())
	if want := "all that was read is in the spool " + g.spool + ", and the next run with this store sends it"; s.cmd.ProcessState.ExitCode() != 1 || !strings.Contains(s.messages(), want) {
		t.Errorf("exit code %d, want 1 and %q: %s", s.cmd.ProcessState.ExitCode(), want, s.messages())
	}
	if strings.Contains(s.messages(), g.s.Password()) {
		t.Error("a message holds the password")
	}
	if b, err := neo4j.SpoolBacklog(g.spool); err != nil || b.Parts == 0 {
		t.Errorf("SpoolBacklog() = %+v, %v, want some", b, err)
	}
	// A server that is away is said before anything is read.
	out := g.run(1, "-r", two)
	if !strings.Contains(out.stderr, "no server answers there") || out.stdout != "" {
		t.Errorf("stderr %q, stdout %q", out.stderr, out.stdout)
	}
	g.s.Restart()
	out = g.run(0, "-r", one, "-r", two)
	if !strings.Contains(out.stderr, one+": skipped") {
		t.Errorf("stderr %q, want that it has the first one", out.stderr)
	}
	if out := runSensor(t, "-q", "-r", two, "--store", lake); out.code != 0 {
		t.Fatal(out.stderr)
	}
	g.open()
	g.equals(lake)
	g.drained()
}

// TestNeo4jErrors shows the errors of a server at the start, of captures and of an
// interface.
func TestNeo4jErrors(t *testing.T) {
	g := sharedGraph(t)
	s := g.s
	name, _ := generate(t, traffic.Spec{Scenario: traffic.Mix, Seed: 1, Packets: 500})
	secret := filepath.Join(t.TempDir(), "password")
	write(t, secret, "not the password\n")
	for _, tc := range []struct {
		name, uri, password, want string
	}{
		{"password", s.URI(), secret, "does not accept the password of user \"neo4j\""},
		{"database", s.URI() + "/missing", "", "there is no database \"missing\""},
		{"tls", strings.Replace(s.URI(), "bolt://", "bolt+s://", 1), "", "TLS"},
	} {
		for _, input := range [][]string{{"-r", name}, {"-i", "lo", "--sandbox", "off", "--user", "root"}} {
			t.Run(tc.name+input[0], func(t *testing.T) {
				if input[0] == "-i" && os.Geteuid() != 0 {
					t.Skip("reading an interface needs root")
				}
				args := append([]string{"--store", tc.uri, "--spool", g.spool}, input...)
				if tc.password != "" {
					args = append(args, "--password-file", tc.password)
				}
				out := runSensor(t, args...)
				if out.code != 1 || !strings.Contains(out.stderr, tc.want) || out.took > 10*time.Second {
					t.Errorf("exit code %d after %v, %q, want 1 within 10s and %q", out.code, out.took, out.stderr, tc.want)
				}
				if strings.Count(strings.TrimSpace(out.stderr), "\n") > 0 {
					t.Errorf("more than one line: %s", out.stderr)
				}
				for _, s := range []string{s.Password(), "not the password"} {
					if strings.Contains(out.stderr, s) {
						t.Errorf("%q holds a password", out.stderr)
					}
				}
			})
		}
	}
}
