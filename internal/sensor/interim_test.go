// SPDX-License-Identifier: Apache-2.0

package sensor_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"weir/capture"
	"weir/internal/flow"
	"weir/internal/sensor"
	"weir/internal/traffic"
	"weir/internal/zeeklog"
	"weir/store/lake"
	"weir/store/lakequery"
)

// wholes passes the last record of each connection on, as if it were the only
// one, and counts the others.
type wholes struct {
	*collector
	interim, later int
}

func (w *wholes) Connections(b *flow.ConnBatch) error {
	var whole flow.ConnBatch
	for i := range b.Conns {
		c := &b.Conns[i]
		if c.Total != nil {
			w.later++
		}
		if c.End == flow.EndActive {
			w.interim++
			continue
		}
		x := c.Whole()
		whole.Add(&x)
	}
	return w.collector.Connections(&whole)
}

// everything is what a run leaves behind.
type everything struct {
	conns, intel []string
	log          []string // lines of conn.log, sorted
	connRows     []string // of the view conn
	flowRows     []string
	stats        sensor.Stats
	sink         *wholes
}

// runAll reads a capture into all sinks.
func runAll(t *testing.T, name string, active time.Duration) *everything {
	t.Helper()
	path, logs := filepath.Join(t.TempDir(), "store"), t.TempDir()
	l, err := lake.Open(path, lake.Config{Create: true})
	if err != nil {
		t.Fatal(err)
	}
	w, err := l.Begin(lake.Import{ID: "x", Sensor: "test", Source: "capture"})
	if err != nil {
		t.Fatal(err)
	}
	z, err := zeeklog.Create(zeeklog.Config{Dir: logs})
	if err != nil {
		t.Fatal(err)
	}
	e := &everything{sink: &wholes{collector: newCollector()}}
	e.stats, _ = read(t, name, sensor.Config{Active: active, Sinks: []sensor.Sink{e.sink, w, z}})
	if err := w.Commit(lake.Final{}); err != nil {
		t.Fatal(err)
	}
	if err := z.Finish(); err != nil {
		t.Fatal(err)
	}
	if _, err := z.Commit(); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(logs, "conn.log"))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if !strings.HasPrefix(line, "#") {
			e.log = append(e.log, line)
		}
	}
	slices.Sort(e.log)
	e.conns, e.intel = e.sink.sorted()
	db, err := lakequery.Open(t.Context(), path, lakequery.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	e.connRows = rowTexts(t, db, "SELECT * FROM conn ORDER BY uid")
	e.flowRows = rowTexts(t, db, "SELECT * FROM flow ORDER BY ALL")
	return e
}

func rowTexts(t *testing.T, db *lakequery.DB, query string) (out []string) {
	t.Helper()
	rows, err := db.Raw(t.Context(), query)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = rows.Close() }()
	for row, err := range rows.All() {
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, fmt.Sprint(row...))
	}
	return out
}

// TestInterimRecordsChangeNothing: with and without interim records the same
// connections and flows are found, in everything that leaves the pipeline.
func TestInterimRecordsChangeNothing(t *testing.T) {
	for _, spec := range []traffic.Spec{
		{Seed: 8, Packets: 40_000}, {Scenario: traffic.Demo, Seed: 2},
	} {
		t.Run(spec.Scenario.String(), func(t *testing.T) {
			name, _ := generate(t, spec)
			without, with := runAll(t, name, 0), runAll(t, name, time.Second)
			for _, x := range []struct {
				what      string
				want, got []string
			}{
				{"connections", without.conns, with.conns},
				{"intel", without.intel, with.intel},
				{"lines of conn.log", without.log, with.log},
				{"rows of conn", without.connRows, with.connRows},
				{"rows of flow", without.flowRows, with.flowRows},
			} {
				if len(x.want) < 100 {
					t.Errorf("only %d %s", len(x.want), x.what)
				}
				if diff := cmp.Diff(x.want, x.got); diff != "" {
					t.Errorf("%s differ (-without +with interim records):\n%.3000s", x.what, diff)
				}
			}
			n := len(without.conns)
			t.Logf("%d connections, %d interim records", n, with.sink.interim)
			if with.sink.interim < 40 || with.sink.later < 40 || without.sink.interim != 0 {
				t.Errorf("%d interim records, %d records that continue a connection: too few", with.sink.interim, with.sink.later)
			}
			if uint64(with.sink.interim) != with.stats.Table.Interim {
				t.Errorf("%d interim records, Stats() say %d", with.sink.interim, with.stats.Table.Interim)
			}
			if with.stats.Connections != uint64(n) || with.stats.Table.Ended != uint64(n) {
				t.Errorf("Stats() say %d connections, %d ended, want %d", with.stats.Connections, with.stats.Table.Ended, n)
			}
		})
	}
}

// TestInterimRecordsOfWorkers: the number of workers changes no interim record.
func TestInterimRecordsOfWorkers(t *testing.T) {
	name, _ := generate(t, traffic.Spec{Seed: 9, Packets: 30_000})
	var want []string
	for _, n := range []int{1, 2, 7} {
		c := newCollector()
		read(t, name, sensor.Config{Workers: n, Active: time.Second, Sinks: []sensor.Sink{c}})
		got, _ := c.sorted()
		if n == 1 {
			want = got
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%d workers give other records (-1 +%d):\n%.2000s", n, n, diff)
		}
	}
}

// losing is a source that lost packets after some of its blocks.
type losing struct {
	*capture.Reader
	blocks, after int
	before, since flow.Time // times of the blocks around the loss
}

func (l *losing) Next() (*capture.Block, error) {
	b, err := l.Reader.Next()
	if err != nil {
		return b, err
	}
	l.blocks++
	switch {
	case l.blocks <= l.after:
		l.before = b.Now
	case l.since == 0:
		l.since = b.Now
		fallthrough
	default:
		b.Lost = 3
	}
	return b, nil
}

// marks is a sink that keeps connections.
type marks struct {
	discard
	conns []flow.Connection
}

func (m *marks) Connections(b *flow.ConnBatch) error {
	m.conns = append(m.conns, b.Conns...)
	return nil
}

func TestLossMarks(t *testing.T) {
	name, _ := generate(t, traffic.Spec{Seed: 10, Packets: 60_000})
	r, err := capture.Open(capture.Config{Inputs: []string{name}})
	if err != nil {
		t.Fatal(err)
	}
	src := &losing{Reader: r, after: 20}
	defer func() { _ = src.Close() }()
	m := new(marks)
	p, err := sensor.New(sensor.Config{Sinks: []sensor.Sink{m}})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Run(t.Context(), src); err != nil {
		t.Fatal(err)
	}
	marked, clean := 0, 0
	for i := range m.conns {
		c := &m.conns[i]
		switch {
		case c.First <= src.before && c.Last >= src.since:
			marked++
			if !c.Loss {
				t.Errorf("connection from %d to %d is not marked for a loss at %d", c.First, c.Last, src.since)
			}
		case c.First > src.since, c.Last < src.before-flow.Time(2*time.Minute):
			clean++
			if c.Loss {
				t.Errorf("connection from %d to %d is marked for a loss at %d", c.First, c.Last, src.since)
			}
		}
	}
	if marked < 50 || clean < 50 {
		t.Errorf("%d connections across the loss, %d before or after it: too few to tell", marked, clean)
	}
}
