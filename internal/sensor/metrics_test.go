// SPDX-License-Identifier: Apache-2.0

package sensor_test

import (
	"errors"
	"flag"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"weir/capture"
	"weir/internal/sensor"
	"weir/internal/telemetry"
	"weir/internal/traffic"
	"weir/internal/zeeklog"
	"weir/store/lake"
	"weir/store/neo4j"
)

var update = flag.Bool("update", false, "rewrite docs/metrics.md")

// metricsPage is the documentation that TestMetricsPage writes.
const metricsPage = "../../docs/metrics.md"

const metricsHead = `<!-- Written by go test ./internal/sensor -run TestMetricsPage -update -->
# Metrics

` + "`sensor --metrics ADDR`" + ` answers ` + "`GET /metrics`" + ` in Prometheus' text format, and ` + "`GET /healthz`" + ` with status 200, or with 503 and
the reasons as JSON. An address without a host (` + "`:9477`" + `) is reachable from this machine only.

Counters start at 0 with the process. What is dropped has a label ` + "`reason`" + `. Besides the metrics below there are
` + "`weir_build_info{version=…}`" + ` and the usual ones of the process (` + "`process_…`" + `) and of the Go runtime (` + "`go_…`" + `).
`

// allMetrics returns the metrics of a sensor that does all there is to do.
func allMetrics(p *sensor.Pipeline, in func() capture.Stats) []telemetry.Group {
	return sensor.Metrics(sensor.Sources{
		Capture: in, Pipeline: p.Stats,
		Store: func() sensor.PublishStats { return sensor.PublishStats{Last: time.Unix(1, 5e8)} },
		Spool: func() sensor.SpoolStats {
			return sensor.SpoolStats{
				Queue:   lake.Records{Conns: 3, Intel: 4},
				Forward: neo4j.ForwardStats{Backlog: neo4j.Backlog{Oldest: time.Unix(2, 5e8)}, Err: errors.New("down")},
			}
		},
		Logs: func() zeeklog.Stats { return zeeklog.Stats{} },
	})
}

func TestMetricsPage(t *testing.T) {
	p, err := sensor.New(sensor.Config{Sinks: []sensor.Sink{discard{}}})
	if err != nil {
		t.Fatal(err)
	}
	want := metricsHead + telemetry.Markdown(allMetrics(p, func() capture.Stats { return capture.Stats{} })...)
	if *update {
		if err := os.WriteFile(metricsPage, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(metricsPage)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("docs/metrics.md is stale, run go generate ./internal/sensor (-want +got):\n%s", diff)
	}
}

// TestMetrics scrapes a pipeline while it works and after.
func TestMetrics(t *testing.T) {
	name, totals := generate(t, traffic.Spec{Scenario: traffic.Mix, Seed: 3, Packets: 20_000})
	r, err := capture.Open(capture.Config{Inputs: []string{name}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Close() })
	p, err := sensor.New(sensor.Config{Sinks: []sensor.Sink{discard{}}})
	if err != nil {
		t.Fatal(err)
	}
	reg, err := telemetry.NewRegistry("test", allMetrics(p, r.Stats)...)
	if err != nil {
		t.Fatal(err)
	}
	h := telemetry.Handler(reg, func() telemetry.Health { return telemetry.Health{} })
	scrape := func() string {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/metrics", nil))
		if w.Code != http.StatusOK {
			t.Errorf("GET /metrics = %d %s", w.Code, w.Body)
		}
		return w.Body.String()
	}
	done := make(chan error, 1)
	go func() { done <- p.Run(t.Context(), r) }()
	for running := true; running; {
		select {
		case err := <-done:
			if err != nil {
				t.Fatal(err)
			}
			running = false
		default:
			scrape()
		}
	}
	text := scrape()
	problems, err := promlint.New(strings.NewReader(text)).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
	for metric, want := range map[string]float64{
		"weir_capture_packets_total":                        float64(totals.Packets),
		"weir_flowtable_packets_total":                      float64(totals.Packets),
		`weir_capture_rejected_packets_total{reason="arp"}`: 0,
		"weir_flowtable_open_connections":                   0,
		"weir_lake_last_publication_timestamp_seconds":      1.5,
		"weir_neo4j_backlog_oldest_timestamp_seconds":       2.5,
		"weir_neo4j_last_success_timestamp_seconds":         0,
		"weir_neo4j_up": 0,
		`weir_neo4j_dropped_intel_total{reason="queue"}`: 4,
	} {
		if got, ok := value(t, text, metric); !ok || got != want {
			t.Errorf("%s = %v, %v, want %v", metric, got, ok, want)
		}
	}
	if n, _ := value(t, text, `weir_dissect_records_total{kind="http"}`); n == 0 {
		t.Error("no HTTP request was counted")
	}
}

// value returns the value of a metric in a scrape.
func value(t *testing.T, text, metric string) (float64, bool) {
	t.Helper()
	for line := range strings.Lines(text) {
		if rest, ok := strings.CutPrefix(line, metric+" "); ok {
			v, err := strconv.ParseFloat(strings.TrimSpace(rest), 64)
			if err != nil {
				t.Fatal(err)
			}
			return v, true
		}
	}
	return 0, false
}

func TestHealth(t *testing.T) {
	start := time.Unix(1_000_000, 0)
	good := sensor.Liveness{Started: start, Block: start.Add(59 * time.Second), Publication: start.Add(55 * time.Second)}
	now := start.Add(time.Minute)
	for _, tc := range []struct {
		name   string
		change func(*sensor.Liveness)
		want   []string
	}{
		{"good", func(*sensor.Liveness) {}, nil},
		{"stuck", func(l *sensor.Liveness) { l.Block = start }, []string{"no packets were looked at for 1m0s"}},
		{"never a block", func(l *sensor.Liveness) { l.Block = time.Time{} }, []string{"no packets were looked at for 1m0s"}},
		{"just started", func(l *sensor.Liveness) { *l = sensor.Liveness{Started: now} }, nil},
		{"not published", func(l *sensor.Liveness) { l.Publication = start }, []string{"nothing was published for 1m0s"}},
		{"store", func(l *sensor.Liveness) { l.StoreError = errors.New("no space") }, []string{"store: no space"}},
		{"spool is late", func(l *sensor.Liveness) { l.Spooled = &start }, []string{"nothing was put into the spool for 1m0s"}},
		{"spool just begun", func(l *sensor.Liveness) { l.Spooled = &now }, nil},
		{"spool", func(l *sensor.Liveness) { l.SpoolError = errors.New("no space") }, []string{"spool: no space"}},
		{"database", func(l *sensor.Liveness) { l.ForwardError = errors.New("password") }, []string{"database: password"}},
		{"logs", func(l *sensor.Liveness) { l.LogError = errors.New("no space") }, []string{"logs: no space"}},
		{"interface", func(l *sensor.Liveness) { l.Down = []string{"eth0"} }, []string{"interface eth0 is down"}},
		{"clock set back", func(l *sensor.Liveness) { l.Block = now.Add(time.Hour) }, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			l := good
			tc.change(&l)
			if got := l.Health(now).Problems; !slices.Equal(got, tc.want) {
				t.Errorf("Problems = %q, want %q", got, tc.want)
			}
		})
	}
}
