// SPDX-License-Identifier: Apache-2.0

package lakequery_test

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"weir/store"
	"weir/store/lakequery"
)

// Limits of answers about a lake of ten million connections, on two processors.
const (
	quick    = 500 * time.Millisecond
	thorough = 2 * time.Second
	// slowdown is how much longer an answer may take where nothing was merged.
	slowdown = 2.5
	// speedMemory is what the process may hold, in bytes.
	speedMemory = 1.2e9
	speedConns  = 10_000_000
)

// Variables that people set: the number of connections (a million where it is not set,
// for which a run takes a few minutes), where lakes are kept for the next run, and a text
// that the questions to ask have in their names.
const (
	speedConnsEnv = "WEIR_SPEED_CONNS"
	speedDirEnv   = "WEIR_SPEED_DIR"
	speedOnlyEnv  = "WEIR_SPEED_ONLY"
)

// scaledLimit returns the limit for a smaller lake: half is for what does not depend
// on its size, and for machines that are slower or busy.
func scaledLimit(limit time.Duration, conns int) time.Duration {
	if conns >= speedConns {
		return limit
	}
	return limit/2 + time.Duration(float64(limit)/2*float64(conns)/speedConns)
}

// speedQuestion is a question with the time in which it must be answered.
type speedQuestion struct {
	name  string
	limit time.Duration
	ask   func(ctx context.Context, db *lakequery.DB) error
}

// drain reads what a question yields.
func drain[T any](list func(yield func(T, error) bool)) (n int, err error) {
	list(func(_ T, e error) bool {
		if err = e; e == nil {
			n++
		}
		return e == nil
	})
	return n, err
}

// speedFilters are conditions of the shapes that people use, by what decides them:
// attributes of the flow's key, what was learned from payloads, and sums and sets,
// for which connections or days must be put together.
func speedFilters() (keys, intel, sums []string) {
	return []string{
		"dport = 443", "dport > 10000", "addr = 10.0.3.0/24", "addr = 10.1.0.0/16", "src.addr = 10.0.1.0/24 AND proto = tcp",
		"addr = 2001:db8::/32", "addr =~ .*7$", "NOT dport IN (53, 80, 443)",
	}, []string{
		"meta.query =~ .*google.*", "meta.query =~ ^h1.*example$", "meta.host =~ .*example.*", "meta.ssl", "LEN meta.query > 1",
	}, []string{
		"csbytes > 1M", "count > 100 AND scbytes > csbytes", "duration > 1d", "firstseen > 2026-03-05 AND cspkts > 10",
		"LEN sports = 1", "LEN sports > 20", "ANY sports < 1024", "ALL sports > 40000", "sports = 40000", "NONE sports < 33000",
		"ALL conn_state = S0", "conn_state = REJ", "ONE conn_state = SF", "service = dns", "csbytes > 100k OR LEN sports = 1",
	}
}

func speedQuestions(t *testing.T) []speedQuestion {
	t.Helper()
	list := func(q store.Query) func(context.Context, *lakequery.DB) error {
		return func(ctx context.Context, db *lakequery.DB) error {
			_, err := drain(db.Flows(ctx, q))
			return err
		}
	}
	top := func(q store.TopQuery) func(context.Context, *lakequery.DB) error {
		return func(ctx context.Context, db *lakequery.DB) error {
			_, err := db.Top(ctx, q)
			return err
		}
	}
	counts := func(q store.Query) func(context.Context, *lakequery.DB) error {
		return func(ctx context.Context, db *lakequery.DB) error {
			_, err := db.Counts(ctx, q)
			return err
		}
	}
	times := func(q store.TimelineQuery) func(context.Context, *lakequery.DB) error {
		return func(ctx context.Context, db *lakequery.DB) error {
			_, err := db.Timeline(ctx, q)
			return err
		}
	}
	pairs := func(q store.PairQuery) func(context.Context, *lakequery.DB) error {
		return func(ctx context.Context, db *lakequery.DB) error {
			_, err := drain(db.Pairs(ctx, q))
			return err
		}
	}
	page := store.Query{Limit: 1000}
	ofPort := store.Query{Limit: 1000, Filter: parse(t, "dport = 443")}
	whole := ofPort
	whole.Times, whole.Intel = true, 10
	sorted := store.Query{Limit: 1000, OrderBy: []store.Order{{Attr: "csbytes", Desc: true}}}
	services := store.TopQuery{Query: store.Query{Limit: 20}, Fields: []string{"proto", "dport"}}
	out := []speedQuestion{
		{"top proto dport", quick, top(services)},
		{"top src.addr sum csbytes scbytes", quick, top(store.TopQuery{
			Query: store.Query{Limit: 20}, Fields: []string{"src.addr"}, Sum: []string{"csbytes", "scbytes"},
		})},
		{"page", quick, list(page)},
		{"page sorted by csbytes", quick, list(sorted)},
		{"counts", thorough, counts(store.Query{})},
		{"timeline", quick, times(store.TimelineQuery{})},
		{"timeline: dport = 443", quick, times(store.TimelineQuery{Filter: parse(t, "dport = 443")})},
		{"timeline: addr = 10.1.0.0/16", quick, times(store.TimelineQuery{Filter: parse(t, "addr = 10.1.0.0/16")})},
		{"timeline: csbytes > 1M", thorough, times(store.TimelineQuery{Filter: parse(t, "csbytes > 1M")})},
		{"timeline by proto", thorough, times(store.TimelineQuery{By: []string{"proto"}})},
		{"timeline by days", thorough, times(store.TimelineQuery{Step: 24 * time.Hour})},
		{"talk_map", thorough, pairs(store.PairQuery{Query: page})},
		{"talk_map: dport = 443", thorough, pairs(store.PairQuery{Query: ofPort})},
		{"flow_map: dport = 443", thorough, pairs(store.PairQuery{Query: ofPort, Services: true})},
		{"page with times and intel: dport = 443", thorough, list(whole)},
		{"fields: dport = 443", thorough, func(ctx context.Context, db *lakequery.DB) error {
			_, err := drain(db.Fields(ctx, ofPort, []string{"src.addr", "dst.addr", "sports"}))
			return err
		}},
		{"host", thorough, func(ctx context.Context, db *lakequery.DB) error {
			_, err := db.Hosts(ctx, store.HostQuery{Addrs: hostAddrs()[:1:1], Intel: 10})
			return err
		}},
	}
	keys, intel, sums := speedFilters()
	for _, text := range keys {
		f := parse(t, text)
		page, sorted, services := page, sorted, services
		page.Filter, sorted.Filter, services.Filter = f, f, f
		out = append(out, speedQuestion{"page: " + text, quick, list(page)},
			speedQuestion{"page sorted: " + text, quick, list(sorted)},
			speedQuestion{"counts: " + text, thorough, counts(store.Query{Filter: f})},
			speedQuestion{"top: " + text, thorough, top(services)})
	}
	for _, text := range intel {
		f := parse(t, text)
		page := page
		page.Filter = f
		out = append(out, speedQuestion{"page: " + text, quick, list(page)},
			speedQuestion{"counts: " + text, quick, counts(store.Query{Filter: f})})
	}
	for _, text := range sums {
		f := parse(t, text)
		page, services := page, services
		page.Filter, services.Filter = f, f
		out = append(out, speedQuestion{"page: " + text, thorough, list(page)},
			speedQuestion{"counts: " + text, thorough, counts(store.Query{Filter: f})},
			speedQuestion{"top: " + text, thorough, top(services)})
	}
	only := os.Getenv(speedOnlyEnv)
	return slices.DeleteFunc(out, func(q speedQuestion) bool { return !strings.Contains(q.name, only) })
}

// speedAnswer is what one question took: the medians of wall and CPU time.
type speedAnswer struct {
	Question  string
	Wall, CPU time.Duration
}

// took returns how long an answer takes on processors that nobody else uses: what is
// read is in memory, so never longer than the CPU time.
func (a *speedAnswer) took() time.Duration { return min(a.Wall, a.CPU) }

// speedReport is what a process measured over a lake.
type speedReport struct {
	Open, First time.Duration
	Answers     []speedAnswer
	Peak        int64 // of memory, in bytes
}

// speedSize returns the number of connections, and of how many answers the median is taken.
func speedSize(t *testing.T) (conns, runs int) {
	t.Helper()
	text := os.Getenv(speedConnsEnv)
	if text == "" {
		return 1_000_000, 3
	}
	conns, err := strconv.Atoi(text)
	if err != nil || conns < 1 {
		t.Fatalf("%s=%q is no number of connections", speedConnsEnv, text)
	}
	return conns, 5
}

// What the test's own process is told: the lake to ask, and where to report.
const (
	speedLakeEnv   = "WEIR_SPEED_LAKE"
	speedReportEnv = "WEIR_SPEED_REPORT"
)

// askQuestions measures in a process of its own, so that nothing else counts.
func askQuestions(t *testing.T, path, out string) {
	t.Helper()
	var r speedReport
	start := time.Now()
	db := openDB(t, path)
	r.Open = time.Since(start)
	_, runs := speedSize(t)
	for i, q := range speedQuestions(t) {
		var walls, used []time.Duration
		ask := func() {
			began, before := time.Now(), cpu(t)
			if err := q.ask(t.Context(), db); err != nil {
				t.Fatalf("%s: %v", q.name, err)
			}
			walls, used = append(walls, time.Since(began)), append(used, cpu(t)-before)
		}
		if i == 0 {
			ask()
			r.First = time.Since(start)
			walls, used = nil, nil // it was cold
		}
		for range runs {
			ask()
		}
		slices.Sort(walls)
		slices.Sort(used)
		r.Answers = append(r.Answers, speedAnswer{q.name, walls[runs/2], used[runs/2]})
	}
	r.Peak = peakMemory(t)
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	data, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(out, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

// peakMemory returns the most memory that this process ever held, in bytes.
func peakMemory(t *testing.T) int64 {
	t.Helper()
	f, err := os.Open("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		if rest, ok := strings.CutPrefix(s.Text(), "VmHWM:"); ok {
			n, err := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			return n << 10
		}
	}
	t.Fatal("the system does not say how much memory the process held")
	return 0
}

// speedLake returns a lake of some connections over seven days and how it was made.
func speedLake(t *testing.T, name string, conns int, flags ...string) (path, made string) {
	t.Helper()
	dir := cmp.Or(os.Getenv(speedDirEnv), t.TempDir())
	path, told := filepath.Join(dir, name), filepath.Join(dir, name+".json")
	if data, err := os.ReadFile(told); err == nil && len(data) > 0 {
		return path, string(data)
	}
	args := append([]string{"run", "weir/store/lake/laketest/gen", "-o", path, "-conns", strconv.Itoa(conns)}, flags...)
	cmd := exec.CommandContext(t.Context(), "go", args...)
	cmd.Stderr = os.Stderr
	data, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(told, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path, string(data)
}

// measureSpeed asks all questions about a lake in a new process.
func measureSpeed(t *testing.T, path string) (r speedReport) {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(t.TempDir(), "report")
	cmd := exec.CommandContext(t.Context(), exe, "-test.run=^TestPerfQuestions$", "-test.count=1")
	cmd.Env = append(os.Environ(), speedLakeEnv+"="+path, speedReportEnv+"="+out, "GOMAXPROCS=2")
	if text, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	data, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, &r); err != nil {
		t.Fatal(err)
	}
	return r
}

// TestPerfQuestions measures answers about many connections: merged and rolled up, and as
// they came in, 10,000 connections in a part.
func TestPerfQuestions(t *testing.T) {
	if os.Getenv("WEIR_TEST_PERF") == "" {
		t.Skip("set WEIR_TEST_PERF to measure")
	}
	if runtime.GOOS != "linux" {
		t.Skip("it reads /proc")
	}
	if path, out := os.Getenv(speedLakeEnv), os.Getenv(speedReportEnv); path != "" && out != "" {
		askQuestions(t, path, out)
		return
	}
	conns, _ := speedSize(t)
	questions := speedQuestions(t)
	if len(questions) == 0 {
		t.Fatalf("no question has %q in its name", os.Getenv(speedOnlyEnv))
	}
	size := strconv.FormatFloat(float64(conns)/1e6, 'g', -1, 64)
	compacted, made := speedLake(t, "c"+size, conns)
	loose, looseMade := speedLake(t, "n"+size, conns, "-compact=false")
	t.Logf("compacted: %s\nnot compacted: %s", made, looseMade)
	fast, slow := measureSpeed(t, compacted), measureSpeed(t, loose)
	var table strings.Builder
	ms := func(d time.Duration) string { return strconv.FormatInt(d.Milliseconds(), 10) }
	fmt.Fprintf(&table, "| question | limit ms | wall ms | CPU ms | not merged: wall ms | CPU ms |\n|---|---|---|---|---|---|\n")
	for i, q := range questions {
		a, b := fast.Answers[i], slow.Answers[i]
		if a.Question != q.name || b.Question != q.name {
			t.Fatalf("%q and %q were measured instead of %q", a.Question, b.Question, q.name)
		}
		limit := scaledLimit(q.limit, conns)
		fmt.Fprintf(&table, "| %s | %s | %s | %s | %s | %s |\n", q.name, ms(limit), ms(a.Wall), ms(a.CPU), ms(b.Wall), ms(b.CPU))
		if a.took() > limit {
			t.Errorf("%s took %v, longer than %v", q.name, a.took(), limit)
		}
		if most := time.Duration(slowdown * float64(limit)); b.took() > most {
			t.Errorf("%s took %v with small parts, longer than %v", q.name, b.took(), most)
		}
	}
	t.Logf("\n%s", table.String())
	for _, r := range []struct {
		name string
		speedReport
	}{{"compacted", fast}, {"not merged", slow}} {
		t.Logf("%s: open %v, open and first answer %v, at most %d MB", r.name, r.Open, r.First, r.Peak/1e6)
		if r.Peak > speedMemory {
			t.Errorf("%s: the process held %d MB", r.name, r.Peak/1e6)
		}
	}
}
