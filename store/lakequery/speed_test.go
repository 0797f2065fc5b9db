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

// speedQuestion is a question with the time in which it must be answered.
type speedQuestion struct {
	name  string
	limit time.Duration
	ask   func(ctx context.Context, db *lakequery.DB) error
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
			for _, err := range db.Flows(ctx, q) {
				if err != nil {
					return err
				}
			}
			return nil
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
	page := store.Query{Limit: 1000}
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
	return out
}

// speedAnswer is what one question took: wall and CPU, the median of five.
type speedAnswer struct{ Wall, CPU time.Duration }

// speedReport is what a process measured over a lake.
type speedReport struct {
	Open, First time.Duration
	Answers     []speedAnswer
	Peak        int64 // of memory, in bytes
}

// speedRuns is of how many answers the median is taken.
const speedRuns = 5

// TestSpeedProcess measures in a process of its own, so that nothing else counts.
func TestSpeedProcess(t *testing.T) {
	path, out := os.Getenv("WEIR_SPEED_LAKE"), os.Getenv("WEIR_SPEED_REPORT")
	if path == "" || out == "" {
		t.Skip("a part of TestSpeed")
	}
	var r speedReport
	questions := speedQuestions(t)
	start := time.Now()
	db := openDB(t, path)
	r.Open = time.Since(start)
	only := os.Getenv("WEIR_SPEED_ONLY")
	for i, q := range questions {
		if !strings.Contains(q.name, only) {
			r.Answers = append(r.Answers, speedAnswer{})
			continue
		}
		var walls, used []time.Duration
		for range speedRuns {
			began, before := time.Now(), cpu(t)
			if err := q.ask(t.Context(), db); err != nil {
				t.Fatalf("%s: %v", q.name, err)
			}
			walls, used = append(walls, time.Since(began)), append(used, cpu(t)-before)
			if i == 0 && r.First == 0 {
				r.First = time.Since(start)
				walls, used = nil, nil // it was cold
			}
		}
		slices.Sort(walls)
		slices.Sort(used)
		r.Answers = append(r.Answers, speedAnswer{walls[len(walls)/2], used[len(used)/2]})
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

// speedLake returns a lake of ten million connections over seven days and how it was
// made. With WEIR_SPEED_DIR it is kept there for the next run.
func speedLake(t *testing.T, name string, flags ...string) (path, made string) {
	t.Helper()
	dir := cmp.Or(os.Getenv("WEIR_SPEED_DIR"), t.TempDir())
	path, told := filepath.Join(dir, name), filepath.Join(dir, name+".json")
	if data, err := os.ReadFile(told); err == nil && len(data) > 0 {
		return path, string(data)
	}
	args := append([]string{"run", "weir/store/lake/laketest/gen", "-o", path, "-conns", strconv.Itoa(speedConns)}, flags...)
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
	out := filepath.Join(t.TempDir(), "report")
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestSpeedProcess$", "-test.count=1")
	cmd.Env = append(os.Environ(), "WEIR_SPEED_LAKE="+path, "WEIR_SPEED_REPORT="+out, "GOMAXPROCS=2")
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

// TestSpeed measures answers about ten million connections: merged and rolled up, and as
// they came in, in 1,000 parts of connections.
func TestSpeed(t *testing.T) {
	if os.Getenv("WEIR_TEST_PERF") == "" {
		t.Skip("set WEIR_TEST_PERF to measure")
	}
	if runtime.GOOS != "linux" {
		t.Skip("it reads /proc")
	}
	compacted, made := speedLake(t, "c10")
	loose, looseMade := speedLake(t, "n10", "-compact=false")
	t.Logf("compacted: %s\nnot compacted: %s", made, looseMade)
	fast, slow := measureSpeed(t, compacted), measureSpeed(t, loose)
	var table strings.Builder
	ms := func(d time.Duration) string { return strconv.FormatInt(d.Milliseconds(), 10) }
	fmt.Fprintf(&table, "| question | limit ms | wall ms | CPU ms | 1,000 parts: wall ms | CPU ms |\n|---|---|---|---|---|---|\n")
	for i, q := range speedQuestions(t) {
		a, b := fast.Answers[i], slow.Answers[i]
		fmt.Fprintf(&table, "| %s | %s | %s | %s | %s | %s |\n", q.name, ms(q.limit), ms(a.Wall), ms(a.CPU), ms(b.Wall), ms(b.CPU))
		if a.Wall > q.limit {
			t.Errorf("%s took %v, longer than %v", q.name, a.Wall, q.limit)
		}
		if most := time.Duration(slowdown * float64(q.limit)); b.Wall > most {
			t.Errorf("%s took %v with 1,000 parts, longer than %v", q.name, b.Wall, most)
		}
	}
	t.Logf("\n%s", table.String())
	for _, r := range []struct {
		name string
		speedReport
	}{{"compacted", fast}, {"1,000 parts", slow}} {
		t.Logf("%s: open %v, open and first answer %v, at most %d MB", r.name, r.Open, r.First, r.Peak/1e6)
		if r.Peak > speedMemory {
			t.Errorf("%s: the process held %d MB", r.name, r.Peak/1e6)
		}
	}
}
