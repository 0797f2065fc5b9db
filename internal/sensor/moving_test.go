// SPDX-License-Identifier: Apache-2.0

package sensor_test

import (
	"testing"
	"time"

	"weir/capture"
	"weir/internal/flow"
	"weir/internal/sensor"
	"weir/internal/traffic"
)

func TestMoving(t *testing.T) {
	var blocks uint64
	var step, other sensor.Steps
	moving := sensor.Moving(func() uint64 { return blocks }, &step, &other)
	check := func(what string, want bool) {
		t.Helper()
		if got := moving(); got != want {
			t.Errorf("%s: moving = %v, want %v", what, got, want)
		}
	}
	check("at the start", true)
	check("no block", false)
	blocks++
	check("a block", true)
	blocks++
	step.Begin()
	check("a step has begun", true)
	blocks++
	check("it does not end", false)
	blocks++
	step.End()
	check("it has ended", true)
	blocks++
	other.Begin()
	check("another one has begun", true)
	other.End()
	other.Begin()
	blocks++
	check("it is at the next one", true)
	check("it hangs, and so does all", false)
}

// stuck is a sink that hangs from its first batch on, until it is let go.
type stuck struct{ begun, release chan struct{} }

func (s *stuck) Connections(*flow.ConnBatch) error {
	select {
	case s.begun <- struct{}{}:
	default:
	}
	<-s.release
	return nil
}
func (s *stuck) Intel(*flow.IntelBatch) error { return nil }

// A sink that hangs is noticed although packets are still read.
func TestStuckSink(t *testing.T) {
	name := t.TempDir() + "/c.pcap"
	if _, err := traffic.WriteFile(name, traffic.Spec{Scenario: traffic.Flood, Connections: 2000}); err != nil {
		t.Fatal(err)
	}
	r, err := capture.Open(capture.Config{Inputs: []string{name}})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	sink := &stuck{make(chan struct{}, 1), make(chan struct{})}
	p, err := sensor.New(sensor.Config{Sinks: []sensor.Sink{sink}})
	if err != nil {
		t.Fatal(err)
	}
	moving := sensor.Moving(func() uint64 { return uint64(time.Now().UnixNano()) }, p.Handing()...)
	ended := make(chan error, 1)
	go func() { ended <- p.Run(t.Context(), r) }()
	<-sink.begun
	if !moving() {
		t.Error("it does not move as soon as a batch is handed over")
	}
	if moving() {
		t.Error("it moves, though the sink hangs")
	}
	close(sink.release)
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	if !moving() {
		t.Error("it does not move after the sink has gone on")
	}
	if p.Blocks() == 0 {
		t.Error("no block is done")
	}
}
