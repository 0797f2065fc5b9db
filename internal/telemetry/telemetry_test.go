// SPDX-License-Identifier: Apache-2.0

package telemetry_test

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"weir/internal/telemetry"
)

// stats is what a package might count.
type stats struct{ read, late, odd uint64 }

func metrics() []telemetry.Metric[stats] {
	return []telemetry.Metric[stats]{
		{
			Name: "weir_test_packets_total", Help: "Packets read", Kind: telemetry.Counter,
			Samples: telemetry.One(func(s *stats) float64 { return float64(s.read) }),
		},
		{
			Name: "weir_test_dropped_packets_total", Help: "Packets not read", Kind: telemetry.Counter, Labels: []string{"reason"},
			Samples: []telemetry.Sample[stats]{
				telemetry.By("late", func(s *stats) float64 { return float64(s.late) }),
				telemetry.By("odd", func(s *stats) float64 { return float64(s.odd) }),
			},
		},
		{
			Name: "weir_test_queue_bytes", Help: "Bytes that wait", Kind: telemetry.Gauge,
			Samples: telemetry.One(func(*stats) float64 { return 1.5 }),
		},
	}
}

func registry(t *testing.T, groups ...telemetry.Group) *telemetry.Registry {
	t.Helper()
	reg, err := telemetry.NewRegistry("v1-test", groups...)
	if err != nil {
		t.Fatal(err)
	}
	return reg
}

func healthy() telemetry.Health { return telemetry.Health{} }

func get(t *testing.T, h http.Handler, path string) *httptest.ResponseRecorder {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, nil))
	return w
}

func TestScrape(t *testing.T) {
	reg := registry(t, telemetry.NewGroup(func() stats { return stats{read: 7, late: 2, odd: 1} }, metrics()))
	w := get(t, telemetry.Handler(reg, healthy), "/metrics")
	if w.Code != http.StatusOK {
		t.Fatalf("GET /metrics = %d %s", w.Code, w.Body)
	}
	text := w.Body.String()
	problems, err := promlint.New(strings.NewReader(text)).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
	parser := expfmt.NewTextParser(model.LegacyValidation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for name, f := range families {
		for _, m := range f.GetMetric() {
			key := name
			for _, l := range m.GetLabel() {
				key += " " + l.GetName() + "=" + l.GetValue()
			}
			if strings.HasPrefix(key, "weir_") {
				got[key] = m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
	}
	want := map[string]float64{
		"weir_test_packets_total":                     7,
		"weir_test_dropped_packets_total reason=late": 2,
		"weir_test_dropped_packets_total reason=odd":  1,
		"weir_test_queue_bytes":                       1.5,
		"weir_build_info version=v1-test":             1,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("metrics differ (-want +got):\n%s", diff)
	}
	for _, name := range []string{"go_goroutines", "process_resident_memory_bytes"} {
		if families[name] == nil {
			t.Errorf("there is no %s", name)
		}
	}
}

func TestBadDescriptions(t *testing.T) {
	one := telemetry.One(func(*stats) float64 { return 0 })
	for _, tc := range []struct {
		name string
		m    telemetry.Metric[stats]
		want string
	}{
		{"prefix", telemetry.Metric[stats]{Name: "test_packets_total", Help: "x", Samples: one}, "is not named"},
		{"no package", telemetry.Metric[stats]{Name: "weir_total", Help: "x", Samples: one}, "is not named"},
		{"counter", telemetry.Metric[stats]{Name: "weir_test_packets", Help: "x", Samples: one}, "does not end in _total"},
		{"gauge", telemetry.Metric[stats]{Name: "weir_test_packets_total", Help: "x", Kind: telemetry.Gauge, Samples: one}, "ends in _total"},
		{"help", telemetry.Metric[stats]{Name: "weir_test_packets_total", Samples: one}, "no help"},
		{"reason", telemetry.Metric[stats]{Name: "weir_test_dropped_packets_total", Help: "x", Samples: one}, "without saying why"},
		{"labels", telemetry.Metric[stats]{Name: "weir_test_packets_total", Help: "x", Labels: []string{"reason"}, Samples: one}, "0 values for 1 labels"},
		{"empty", telemetry.Metric[stats]{Name: "weir_test_packets_total", Help: "x"}, "0 samples"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := telemetry.NewRegistry("v", telemetry.NewGroup(func() stats { return stats{} }, []telemetry.Metric[stats]{tc.m}))
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("NewRegistry() = %v, want an error with %q", err, tc.want)
			}
		})
	}
	g := telemetry.NewGroup(func() stats { return stats{} }, metrics())
	if _, err := telemetry.NewRegistry("v", g, g); err == nil {
		t.Error("NewRegistry() takes a metric twice")
	}
}

func TestHealth(t *testing.T) {
	state := telemetry.Health{Details: map[string]float64{"last_block_age_seconds": 0.1}}
	h := telemetry.Handler(registry(t), func() telemetry.Health { return state })
	w := get(t, h, "/healthz")
	if w.Code != http.StatusOK || !json.Valid(w.Body.Bytes()) || !strings.Contains(w.Body.String(), `"status":"ok"`) {
		t.Errorf("GET /healthz = %d %s", w.Code, w.Body)
	}
	state.Problems = []string{"store: no space left on device"}
	w = get(t, h, "/healthz")
	if w.Code != http.StatusServiceUnavailable || !strings.Contains(w.Body.String(), "no space left") {
		t.Errorf("GET /healthz = %d %s, want 503 and the reason", w.Code, w.Body)
	}
	if got := w.Header().Get("X-Content-Type-Options"); got != "nosniff" {
		t.Errorf("X-Content-Type-Options = %q", got)
	}
}

func TestNothingElse(t *testing.T) {
	h := telemetry.Handler(registry(t), healthy)
	for _, path := range []string{"/", "/debug/pprof/", "/metrics/x"} {
		if w := get(t, h, path); w.Code != http.StatusNotFound {
			t.Errorf("GET %s = %d, want 404", path, w.Code)
		}
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/metrics", nil))
	if w.Code != http.StatusMethodNotAllowed {
		t.Errorf("POST /metrics = %d, want 405", w.Code)
	}
}

func TestListen(t *testing.T) {
	for _, addr := range []string{":0", "0", "127.0.0.1:0"} {
		l, err := telemetry.Listen(t.Context(), addr)
		if err != nil {
			t.Errorf("Listen(%q): %v", addr, err)
			continue
		}
		if tcp, ok := l.Addr().(*net.TCPAddr); !ok || !tcp.IP.IsLoopback() {
			t.Errorf("Listen(%q) is reachable at %v", addr, l.Addr())
		}
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	}
	for _, addr := range []string{"", "localhost", ":x", ":70000", "a:b:c"} {
		if err := telemetry.CheckAddr(addr); err == nil {
			t.Errorf("CheckAddr(%q) finds nothing wrong", addr)
		}
	}
}

// serve starts a server that ends with the test, and returns its address.
func serve(t *testing.T, reg *telemetry.Registry) string {
	t.Helper()
	l, err := telemetry.Listen(t.Context(), ":0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- telemetry.Serve(ctx, l, reg, healthy, nil) }()
	t.Cleanup(func() {
		stop()
		begin := time.Now()
		if err := <-done; err != nil {
			t.Errorf("Serve() = %v", err)
		}
		if took := time.Since(begin); took > 2*time.Second {
			t.Errorf("Serve() ended %v after its context", took)
		}
	})
	return l.Addr().String()
}

// TestSlowClients holds connections that say nothing: others are served, and the
// silent ones are closed.
func TestSlowClients(t *testing.T) {
	if testing.Short() {
		t.Skip("waits for a time-out of 5 s")
	}
	addr := serve(t, registry(t))
	var silent []net.Conn
	for range 20 {
		c, err := new(net.Dialer).DialContext(t.Context(), "tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		if _, err := io.WriteString(c, "GET /metrics HTTP/1.1\r\nHost: x"); err != nil {
			t.Fatal(err)
		}
		silent = append(silent, c)
	}
	begin := time.Now()
	resp, err := http.Get("http://" + addr + "/healthz") //nolint:noctx // a test of the server
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	if took := time.Since(begin); resp.StatusCode != http.StatusOK || took > 2*time.Second {
		t.Errorf("GET /healthz = %d after %v", resp.StatusCode, took)
	}
	for _, c := range silent {
		if err := c.SetReadDeadline(time.Now().Add(8 * time.Second)); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadAll(c); err != nil {
			t.Fatalf("a silent connection is still open after %v: %v", time.Since(begin), err)
		}
	}
}

// TestManyConnections opens more connections than the server holds: the rest is
// served as soon as others end.
func TestManyConnections(t *testing.T) {
	addr := serve(t, registry(t))
	var open atomic.Int64
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 20 * time.Second}
	errs := make(chan error, 100) // one for each request
	for range cap(errs) {
		go func() {
			resp, err := client.Get("http://" + addr + "/healthz") //nolint:noctx // a test of the server
			if err == nil {
				_, err = io.Copy(io.Discard, resp.Body)
				_ = resp.Body.Close()
				open.Add(1)
			}
			errs <- err
		}()
	}
	for range cap(errs) {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	if open.Load() != int64(cap(errs)) {
		t.Errorf("%d of %d requests were answered", open.Load(), cap(errs))
	}
}

// TestScrapesAreBounded keeps scrapes waiting for a snapshot: further ones are
// refused at once.
func TestScrapesAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hold := make(chan struct{})
		reg := registry(t, telemetry.NewGroup(func() stats { <-hold; return stats{} }, metrics()))
		h := telemetry.Handler(reg, healthy)
		codes := make(chan int, 10) // one for each scrape
		for range cap(codes) {
			go func() { codes <- get(t, h, "/metrics").Code }()
		}
		synctest.Wait()
		close(hold)
		got := map[int]int{}
		for range cap(codes) {
			got[<-codes]++
		}
		if diff := cmp.Diff(map[int]int{http.StatusOK: 4, http.StatusServiceUnavailable: 6}, got); diff != "" {
			t.Errorf("status codes differ (-want +got):\n%s", diff)
		}
	})
}

func TestMarkdown(t *testing.T) {
	got := telemetry.Markdown(telemetry.NewGroup(func() stats { return stats{} }, metrics()))
	want := "\n## test\n\n| metric | type | labels | meaning |\n|---|---|---|---|\n" +
		"| `weir_test_packets_total` | counter |  | Packets read |\n" +
		"| `weir_test_dropped_packets_total` | counter | `reason`: `late`, `odd` | Packets not read |\n" +
		"| `weir_test_queue_bytes` | gauge |  | Bytes that wait |\n"
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("Markdown() differs (-want +got):\n%s", diff)
	}
}
