// SPDX-License-Identifier: Apache-2.0

package neo4j

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	driver "github.com/neo4j/neo4j-go-driver/v5/neo4j"

	"weir/internal/filter"
	"weir/internal/flow"
	"weir/store"
	"weir/store/lake"
	"weir/store/lakequery"
	"weir/store/storetest"
)

// writeLive writes records as an import that nothing can replace, and ends it.
func writeLive(t testing.TB, l *lake.Lake, conns []storetest.Conn, intel []storetest.Record) {
	t.Helper()
	w, err := l.Begin(lake.Import{Sensor: "eth0", Source: "live"})
	if err != nil {
		t.Fatal(err)
	}
	publish(t, w, conns, intel)
	if err := w.Commit(lake.Final{}); err != nil {
		t.Fatal(err)
	}
}

// ofSensor makes all records those of one sensor.
func ofSensor(d *storetest.Data) *storetest.Data {
	for j := range d.Conns {
		d.Conns[j].Sensor = "eth0"
	}
	for j := range d.Intel {
		d.Intel[j].Sensor = "eth0"
	}
	return d
}

// lines is a log that tests look into.
type lines struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func (l *lines) logger() *slog.Logger { return slog.New(slog.NewTextHandler(l, nil)) }

// Two forwarders write the same flows, hosts and names at the same time.
func TestTwoForwarders(t *testing.T) {
	d := open(t)
	var g sync.WaitGroup
	all := new(storetest.Data)
	var forwarders []*Forwarder
	for range 2 {
		spool := newSpool(t)
		for seed := range uint64(3) {
			data := ofSensor(storetest.Random(seed + 10))
			all.Conns, all.Intel = append(all.Conns, data.Conns...), append(all.Intel, data.Intel...)
			half := len(data.Intel) / 2
			writeLive(t, spool, nil, data.Intel[:half])
			writeLive(t, spool, data.Conns, data.Intel[half:])
		}
		f := newForwarder(t, d, spool)
		f.s.cut = smallCut
		forwarders = append(forwarders, f)
	}
	for _, f := range forwarders {
		g.Go(func() {
			if err := f.Drain(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	g.Wait()
	// What came in at the same moment is moved by the next sweep.
	if err := forwarders[0].s.sweepWaiting(t.Context()); err != nil {
		t.Fatal(err)
	}
	compareFlows(t, all.Flows(), readGraph(t, d))
	for _, f := range forwarders {
		st := f.Stats()
		t.Logf("%d retries", st.Retries)
		if st.Refused != (lake.Records{}) {
			t.Errorf("refused: %+v", st.Refused)
		}
	}
	if n := values(t, d, `MATCH (h:Host)-[r:INTEL]->(i) WITH h, i, count(r) AS n WHERE n > 1 RETURN count(*)`); n[0] != int64(0) {
		t.Errorf("%v pairs of host and intel have several relations", n[0])
	}
	if n := values(t, d, `MATCH (w:Waiting) MATCH (f:Flow {key: w.key}) RETURN count(*)`); n[0] != int64(0) {
		t.Errorf("intel waits for %v flows that are there", n[0])
	}
}

// lakeFlows compares the flows of the database with those of a lake.
func compareLake(t *testing.T, d *DB, l *lake.Lake) {
	t.Helper()
	q, err := lakequery.Open(t.Context(), l.Path(), lakequery.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer q.Close()
	list := func(r store.FlowLister) map[string]store.Flow {
		out := make(map[string]store.Flow)
		for f, err := range r.Flows(t.Context(), store.Query{}) {
			if err != nil {
				t.Fatal(err)
			}
			out[fmt.Sprint(f.Src, f.Dst, f.Label())] = *f
		}
		return out
	}
	want := list(q)
	got := make(map[string]store.Flow)
	for _, f := range readGraph(t, d) {
		s := store.Flow{
			Src: f.Src.Netip(), Dst: f.Dst.Netip(), Proto: f.Proto, Dport: f.Dport, Type: f.Type, Sports: f.Sports, Codes: f.Codes,
			Count: f.Count, CSPkts: f.CSPkts, SCPkts: f.SCPkts, CSBytes: f.CSBytes, SCBytes: f.SCBytes,
			FirstSeen: f.FirstSeen.Std(), LastSeen: f.LastSeen.Std(),
			ConnState: f.ConnState, Service: f.Service, VLAN: f.VLAN, Sensor: f.Sensor,
		}
		got[fmt.Sprint(s.Src, s.Dst, s.Label())] = s
	}
	if diff := gocmp.Diff(want, got, gocmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
		t.Errorf("flows of lake and graph (-lake +graph):\n%.3000s", diff)
	}
	if len(want) == 0 {
		t.Error("the lake has no flows")
	}
}

func TestLoad(t *testing.T) {
	d := open(t)
	l := newSpool(t)
	data := storetest.Random(20)
	data.Fill(t, l)
	// Parts of several live imports become one.
	for seed := range uint64(3) {
		more := ofSensor(storetest.Random(seed + 30))
		writeLive(t, l, more.Conns, more.Intel)
		data.Conns, data.Intel = append(data.Conns, more.Conns...), append(data.Intel, more.Intel...)
	}
	if _, err := l.Compact(t.Context(), lake.CompactConfig{All: true, MinAge: -1, ClosedAfter: -1, QuietFor: -1, MinRollup: 1}); err != nil {
		t.Fatal(err)
	}
	// It is interrupted again and again.
	var last int64
	interrupted := 0
	for {
		ctx, cancel := context.WithCancel(t.Context())
		st, err := d.Load(ctx, l, LoadConfig{Progress: func(sent, all int64) {
			if sent > last && sent < all && interrupted < 3 {
				last = sent
				cancel()
			}
		}})
		cancel()
		if err == nil {
			if st.Resumed != (interrupted > 0) {
				t.Errorf("after %d interruptions: %+v", interrupted, st)
			}
			break
		}
		if !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
		interrupted++
	}
	t.Logf("interrupted %d times", interrupted)
	compareFlows(t, data.Flows(), readGraph(t, d))
	compareLake(t, d, l)
	m, err := l.Manifest()
	if err != nil {
		t.Fatal(err)
	}
	st, err := d.Load(t.Context(), l, LoadConfig{})
	if err != nil {
		t.Fatal(err)
	}
	if want := (LoadStats{Known: int64(len(m.Imports))}); st != want {
		t.Errorf("loaded once more: %+v, want %+v", st, want)
	}
	compareFlows(t, data.Flows(), readGraph(t, d))
	if n := values(t, d, `MATCH (c:Chunk) RETURN count(c)`); n[0] != int64(0) {
		t.Errorf("%v marks are left", n)
	}
	if _, err := os.ReadDir(filepath.Join(l.Path(), ".pin")); err == nil {
		if names, _ := os.ReadDir(filepath.Join(l.Path(), ".pin")); len(names) > 0 {
			t.Errorf("snapshots are left: %v", names)
		}
	}
	// What came since cannot be told from what is there.
	more := ofSensor(storetest.Random(40))
	writeLive(t, l, more.Conns, nil)
	if _, err := d.Load(t.Context(), l, LoadConfig{}); err == nil || !strings.Contains(err.Error(), "flowcli --init") {
		t.Errorf("a part of known and new imports: %v", err)
	}
}

// A file that was read is known from its import alone; another one is loaded.
func TestLoadMore(t *testing.T) {
	d := open(t)
	l := newSpool(t)
	data := new(storetest.Data)
	for i := range 3 {
		more := ofSensor(storetest.Random(uint64(i + 50)))
		data.Conns, data.Intel = append(data.Conns, more.Conns...), append(data.Intel, more.Intel...)
		w, err := l.Begin(lake.Import{
			Sensor: "eth0", Source: "capture", Inputs: []lake.Input{{Name: "x.pcap", Sum: fmt.Sprintf("%032x", i+1), Size: 1}},
		})
		if err != nil {
			t.Fatal(err)
		}
		publish(t, w, more.Conns, more.Intel)
		if err := w.Commit(lake.Final{Packets: 7}); err != nil {
			t.Fatal(err)
		}
		st, err := d.Load(t.Context(), l, LoadConfig{})
		if err != nil {
			t.Fatal(err)
		}
		if st.Imports != 1 || st.Known != int64(i) {
			t.Errorf("load %d: %+v", i, st)
		}
	}
	compareFlows(t, data.Flows(), readGraph(t, d))
	m, err := l.Manifest()
	if err != nil {
		t.Fatal(err)
	}
	imports, err := d.Imports(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	byID := func(a, b lake.Import) int { return strings.Compare(a.ID, b.ID) }
	slices.SortFunc(m.Imports, byID)
	slices.SortFunc(imports, byID)
	for i := range m.Imports {
		m.Imports[i].Time = m.Imports[i].Time.UTC()
	}
	if diff := gocmp.Diff(m.Imports, imports); diff != "" {
		t.Errorf("imports (-lake +database):\n%s", diff)
	}
}

// The oldest parts leave a spool that is too large, also while there is no server.
func TestSpoolBound(t *testing.T) {
	d0 := open(t)
	px := newProxy(t, d0.where.host)
	px.setRefuse(true)
	log := new(lines)
	d, err := OpenLazy(t.Context(), px.uri(), Config{Password: d0.cfg.Password, ConnectTimeout: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	spool := newSpool(t)
	data := ofSensor(storetest.Random(60))
	for i := range 10 {
		writeLive(t, spool, data.Conns[i*10:(i+1)*10], nil)
	}
	m, err := spool.Manifest()
	if err != nil {
		t.Fatal(err)
	}
	var bytes int64
	for i := range m.Parts {
		bytes += m.Parts[i].Bytes
	}
	f, err := d.NewForwarder(ForwardConfig{Spool: spool, MaxBytes: bytes / 2, Logger: log.logger()})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- f.Run(ctx) }()
	waitFor(t, "drops", func() bool { return f.Stats().Dropped.Conns > 0 })
	waitFor(t, "an error", func() bool { return f.Stats().Err != nil })
	waitFor(t, "a smaller spool", func() bool { return f.Stats().Backlog.Bytes <= bytes/2 })
	if text := log.String(); !strings.Contains(text, "the spool is full") || !strings.Contains(text, "trying again") {
		t.Errorf("log: %s", text)
	}
	px.setRefuse(false)
	waitFor(t, "an empty spool", func() bool { return f.Stats().Backlog.Parts == 0 })
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	st := f.Stats()
	if st.Err != nil || st.Retries == 0 {
		t.Errorf("stats: %+v", st)
	}
	var count int64
	for i := range data.Conns[:100] {
		count += int64(data.Conns[i].Count)
	}
	n := values(t, d0, `MATCH (f:Flow) RETURN sum(f.count)`)
	if got := n[0].(int64); got+st.Dropped.Conns != count || got != st.Connections || st.Dropped.Conns == 0 {
		t.Errorf("%d connections arrived (%d by its count), %d were dropped, of %d", got, st.Connections, st.Dropped.Conns, count)
	}
	for _, imp := range importsOf(t, d0) {
		if imp.Damaged != (imp.Connections > 0 && imp.Damaged) {
			t.Errorf("import %+v", imp)
		}
	}
}

func importsOf(t testing.TB, d *DB) []lake.Import {
	t.Helper()
	list, err := d.Imports(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// waitFor waits for something that another goroutine does.
func waitFor(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(2 * time.Minute); !ok(); {
		if time.Now().After(deadline) {
			t.Fatalf("no %s within two minutes", what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// Drain does not wait for ever, and says what waits.
func TestPatience(t *testing.T) {
	px := newProxy(t, "127.0.0.1:1")
	px.setRefuse(true)
	d, err := OpenLazy(t.Context(), px.uri(), Config{Password: "secret-word", ConnectTimeout: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	spool := newSpool(t)
	writeLive(t, spool, storetest.Random(1).Conns[:7], nil)
	f, err := d.NewForwarder(ForwardConfig{Spool: spool, Patience: 300 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	err = f.Drain(t.Context())
	stalled := new(StalledError)
	if !errors.As(err, &stalled) || !Outage(err) || !strings.Contains(err.Error(), "connections") ||
		!strings.Contains(err.Error(), spool.Path()) || strings.Contains(err.Error(), "secret-word") {
		t.Errorf("Drain without a server: %v", err)
	}
	if b, err := SpoolBacklog(spool.Path()); err != nil || b.Parts != 1 {
		t.Errorf("the spool has %+v, %v", b, err)
	}
}

// The server refuses one record for good: its chunk is left out, and nothing else.
func TestRefused(t *testing.T) {
	d := open(t)
	// An index that somebody made, and that does not take long texts.
	statement(t, d, `CREATE INDEX somebodys IF NOT EXISTS FOR (n:HTTP) ON (n.user_agent)`, nil)
	defer statement(t, d, `DROP INDEX somebodys`, nil)
	conn := storetest.Random(1).Conns[0]
	record := func(attr int, n int) storetest.Record {
		r := storetest.Record{Tuple: conn.Tuple, TS: conn.First}
		r.Kind, r.Values = flow.HTTP, make([]filter.Value, len(flow.Kinds()[flow.HTTP].Attrs))
		r.Values[attr] = filter.Value{Set: true, Text: strings.Repeat("x", n)}
		return r
	}
	spool := newSpool(t)
	writeLive(t, spool, []storetest.Conn{conn}, []storetest.Record{record(flow.HTTPUserAgent, 20_000)})
	// Nothing of ours minds long texts.
	writeLive(t, spool, nil, []storetest.Record{record(flow.HTTPHost, 60_000), record(flow.HTTPURI, 60_000)})
	log := new(lines)
	f, err := d.NewForwarder(ForwardConfig{Spool: spool, Logger: log.logger()})
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	if st := f.Stats(); st.Refused != (lake.Records{Intel: 1}) || st.Connections != 1 || st.Intel != 2 {
		t.Errorf("stats: %+v", st)
	}
	if text := log.String(); !strings.Contains(text, "refuses records") || !strings.Contains(text, "http/day=") {
		t.Errorf("log: %s", text)
	}
}

// A damaged part is given up, the others are not.
func TestDamagedPart(t *testing.T) {
	d := open(t)
	spool := newSpool(t)
	data := ofSensor(storetest.Random(70))
	writeLive(t, spool, data.Conns[:50], nil)
	writeLive(t, spool, data.Conns[50:100], nil)
	m, err := spool.Manifest()
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(spool.Path(), m.Incoming()[0].Path)
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	b[len(b)/2] ^= 1
	if err := os.WriteFile(name, b, 0o644); err != nil {
		t.Fatal(err)
	}
	log := new(lines)
	f, err := d.NewForwarder(ForwardConfig{Spool: spool, Logger: log.logger()})
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	if st := f.Stats(); st.Refused.Conns != m.Incoming()[0].Conns || st.Connections == 0 || st.Backlog.Parts != 0 {
		t.Errorf("stats: %+v", st)
	}
	if text := log.String(); !strings.Contains(text, m.Incoming()[0].Path) {
		t.Errorf("the log does not name %s: %s", m.Incoming()[0].Path, text)
	}
}

// Sums saturate, large sets are merged, and slots get as wide as the store's are.
func TestSumsAndSets(t *testing.T) {
	d := open(t)
	spool := newSpool(t)
	r := rand.New(rand.NewPCG(1, 1))
	data := new(storetest.Data)
	base := flow.Connection{Count: 1, End: flow.EndDetected, State: flow.SF, Service: "http"}
	base.Src, base.Dst, base.Dport, base.Proto = flow.Addr4([4]byte{10, 0, 0, 1}), flow.Addr4([4]byte{10, 0, 0, 2}), 80, flow.TCP
	base.First = flow.Time(time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC).UnixNano())
	for round := range 4 {
		var conns []storetest.Conn
		for range 2000 {
			c := storetest.Conn{Connection: base, Sensor: "eth0"}
			c.Sport = uint16(r.IntN(20_000))
			c.First += flow.Time(r.Int64N(int64(400 * time.Hour)))
			c.Last = c.First + flow.Time(r.Int64N(int64(3*time.Hour)))
			c.CSBytes = math.MaxInt64 / 3000
			conns = append(conns, c)
		}
		data.Conns = append(data.Conns, conns...)
		writeLive(t, spool, conns, nil)
		f := newForwarder(t, d, spool)
		if err := f.Drain(t.Context()); err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
	}
	want := data.Flows()
	if want[0].CSBytes != math.MaxInt64 {
		t.Fatalf("the sum is %d", want[0].CSBytes)
	}
	compareFlows(t, want, readGraph(t, d))
}

// Chunks that were read before the precision changed are written with the new one.
func TestPrecisionChanges(t *testing.T) {
	d := open(t)
	spool := newSpool(t)
	data := ofSensor(storetest.Random(80))
	writeLive(t, spool, data.Conns, nil)
	f := newForwarder(t, d, spool)
	if _, err := f.s.precision(t.Context()); err != nil {
		t.Fatal(err)
	}
	statement(t, d, `MATCH (s:Store) SET s.precision = 7200`, nil)
	if err := f.Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	bad := values(t, d, `MATCH (f:Flow) WHERE any(x IN f.times WHERE x.epochSeconds % 7200 <> 0) OR f.times IS NULL RETURN f.key`)
	if len(bad) > 0 {
		t.Errorf("%d flows have slots of another width", len(bad))
	}
	if n := values(t, d, `MATCH (f:Flow) RETURN count(f)`); n[0] != int64(len(data.Flows())) {
		t.Errorf("%v flows", n)
	}
}

// One process at a time sends a spool.
func TestClaim(t *testing.T) {
	d := open(t)
	spool := newSpool(t)
	a, b := newForwarder(t, d, spool), newForwarder(t, d, spool)
	release, err := a.claim()
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Drain(t.Context()); !errors.Is(err, ErrForwarding) {
		t.Errorf("a second forwarder: %v", err)
	}
	release()
	if err := b.Drain(t.Context()); err != nil {
		t.Error(err)
	}
	if a.s.owner == "" || a.s.owner != b.s.owner {
		t.Errorf("the marks of one spool belong to %q and %q", a.s.owner, b.s.owner)
	}
}

// Hosts that intel is about.
func TestAbout(t *testing.T) {
	for _, tc := range []struct {
		query, qtype string
		answers      []string
		want         string
	}{
		{"example.com", "A", []string{"192.0.2.1", "192.0.2.1", "www.example.com", "2001:db8::1", "TXT 3 a.b", "fe80::1%eth0"}, "[192.0.2.1 2001:db8::1]"},
		{"1.2.0.192.in-addr.arpa", "PTR", []string{"host.example"}, "[192.0.2.1]"},
		{"1.2.0.192.IN-ADDR.ARPA.", "PTR", nil, "[192.0.2.1]"},
		{"2.0.192.in-addr.arpa", "PTR", nil, "[]"},
		{"1.2.0.192.in-addr.arpa", "A", nil, "[]"},
		{strings.Repeat("1.", 1) + strings.Repeat("0.", 23) + "8.b.d.0.1.0.0.2.ip6.arpa", "PTR", nil, "[2001:db8::1]"},
		{"0.0.8.b.d.0.1.0.0.2.ip6.arpa", "PTR", nil, "[]"},
	} {
		r := lake.IntelRow{Values: make([]lake.IntelValue, len(flow.Kinds()[flow.DNS].Attrs))}
		r.Values[flow.DNSQuery] = lake.IntelValue{Set: true, Text: tc.query}
		r.Values[flow.DNSQTypeName] = lake.IntelValue{Set: true, Text: tc.qtype}
		r.Values[flow.DNSAnswers] = lake.IntelValue{Set: true, Texts: tc.answers}
		if got := fmt.Sprint(about(flow.DNS, &r)); got != tc.want {
			t.Errorf("about %q %s %q = %s, want %s", tc.query, tc.qtype, tc.answers, got, tc.want)
		}
	}
}

func TestJudge(t *testing.T) {
	for code, want := range map[string]verdict{
		"Neo.TransientError.Transaction.DeadlockDetected":                    passing,
		"Neo.TransientError.General.DatabaseUnavailable":                     passing,
		"Neo.ClientError.Transaction.TransactionTimedOutClientConfiguration": passing,
		"Neo.ClientError.Cluster.NotALeader":                                 passing,
		"Neo.ClientError.Schema.ConstraintValidationFailed":                  conflicting,
		"Neo.ClientError.Statement.EntityNotFound":                           conflicting,
		"Neo.ClientError.Security.Unauthorized":                              slow,
		"Neo.ClientError.Database.DatabaseNotFound":                          slow,
		"Neo.ClientError.Statement.TypeError":                                refusal,
		"Neo.DatabaseError.Statement.ExecutionFailed":                        refusal,
		"nonsense": slow,
	} {
		if got := judge(fmt.Errorf("x: %w", &driver.Neo4jError{Code: code})); got != want {
			t.Errorf("judge(%s) = %d, want %d", code, got, want)
		}
	}
	if got := judge(errors.New("reset by peer")); got != passing {
		t.Errorf("a lost connection: %d", got)
	}
}

// TestDeadlock makes sure that transactions that wait for each other are tried
// again without a word, and other trouble is not.
func TestDeadlock(t *testing.T) {
	for code, want := range map[string]bool{
		"Neo.TransientError.Transaction.DeadlockDetected": false,
		"Neo.TransientError.General.DatabaseUnavailable":  true,
	} {
		var log bytes.Buffer
		db, err := newDB("bolt://127.0.0.1:1", Config{})
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		s := newSender(db, slog.New(slog.NewTextHandler(&log, nil)), "test")
		cause := fmt.Errorf("x: %w", &driver.Neo4jError{Code: code})
		if err := s.failed(t.Context(), judge(cause), 1, cause); err != nil {
			t.Fatal(err)
		}
		if said := log.Len() > 0; said != want || (s.err != nil) != want || s.retries.Load() != 1 {
			t.Errorf("%s: trouble %v, logged %q, %d retries", code, s.err, log.String(), s.retries.Load())
		}
	}
}

// A scan is of more hosts than one transaction makes, from few sources.
func TestManyHosts(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes its time")
	}
	d := open(t)
	const scanned = hostsMax + 500
	first := time.Date(2026, 3, 2, 8, 0, 0, 0, time.UTC)
	conns := make([]flow.Connection, scanned)
	for i := range conns {
		c := flow.Connection{Count: 1, End: flow.EndDetected, State: flow.S0}
		c.Src, c.Dst = flow.Addr4([4]byte{192, 0, 2, byte(i % 3)}), flow.Addr4([4]byte{10, 0, byte(i >> 8), byte(i)})
		c.UID, c.Proto, c.Sport, c.Dport = uint64(i), flow.TCP, 40_000, 22
		c.First = flow.Time(first.UnixNano()) + flow.Time(i)*flow.Time(time.Millisecond)
		c.Last, c.CSPkts = c.First, 1
		conns[i] = c
	}
	send := func() {
		t.Helper()
		spool := newSpool(t)
		fillLive(t, spool, conns)
		f := newForwarder(t, d, spool)
		if err := f.Drain(t.Context()); err != nil {
			t.Fatal(err)
		}
		if st := f.Stats(); st.Connections != scanned || st.Refused.Conns != 0 {
			t.Errorf("stats: %+v", st)
		}
	}
	check := func(count int) {
		t.Helper()
		whole(t, d)
		const (
			flows = `MATCH (s:Host)-[:SEND]->(f:Flow)-[:TO]->(t:Host)
WHERE f.key = s.addr + ' ' + t.addr + ' tcp/22' AND t.firstseen = f.firstseen AND t.lastseen = f.lastseen
RETURN count(f) * 10 + max(f.count)`
			hosts = `MATCH (h:Host) RETURN count(h)`
		)
		if got := values(t, d, flows); got[0] != int64(scanned*10+count) {
			t.Errorf("flows and the most connections of one: %v, want %d%d", got, scanned, count)
		}
		if got := values(t, d, hosts); got[0] != int64(scanned+3) {
			t.Errorf("%v hosts, want %d", got, scanned+3)
		}
	}
	send()
	check(1)
	for i := range conns {
		conns[i].Last += flow.Time(time.Hour)
	}
	send()
	check(2)
}

func TestCut(t *testing.T) {
	c := newCut(time.Hour)
	got, err := parseCut(c.String())
	if err != nil || got != c {
		t.Errorf("parseCut(%q) = %+v, %v", c, got, err)
	}
	for _, text := range []string{"", "2 rows=1 flows=1 records=1 lanes=1 slot=1", "1 rows=0 flows=1 records=1 lanes=1 slot=1", c.String() + "0 x"} {
		if _, err := parseCut(text); err == nil {
			t.Errorf("parseCut(%q) succeeded", text)
		}
	}
	seen := make(map[int64]bool)
	for batch := range 5 {
		for lane := range c.lanes {
			for piece := range int(c.pieces()) {
				n := c.number(batch, lane, piece)
				if seen[n] {
					t.Fatalf("two chunks have the number %d", n)
				}
				seen[n] = true
			}
		}
	}
}
