// SPDX-License-Identifier: Apache-2.0

package sensor_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"weir/internal/flow"
	"weir/internal/sensor"
	"weir/store/lake"
)

// gate is a sink that keeps what it is given as text, and stands still while it
// is closed.
type gate struct {
	open   chan struct{}
	conns  []string
	intels []string
}

func (g *gate) Connections(b *flow.ConnBatch) error {
	<-g.open
	for i := range b.Conns {
		c := &b.Conns[i]
		total := uint64(0)
		if c.Total != nil {
			total = c.Total.CSPkts
		}
		g.conns = append(g.conns, fmt.Sprint(c.CSPkts, " ", string(c.History), " ", total, " ", c.TunnelParents))
	}
	return nil
}

func (g *gate) Intel(b *flow.IntelBatch) error {
	<-g.open
	for i := range b.Recs {
		text := string(b.Bytes(i, attr("query")))
		for answer := range b.Texts(i, attr("answers")) {
			text += " " + string(answer)
		}
		g.intels = append(g.intels, text)
	}
	return nil
}

// attr returns the number of an attribute of DNS.
func attr(column string) int {
	for i, a := range flow.Kinds()[flow.DNS].Attrs {
		if a.Column == column {
			return i
		}
	}
	panic("no attribute " + column)
}

// A sink that stands still holds nobody up but for a moment: what fits is kept, in
// order and as it was, the rest is counted.
func TestAside(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &gate{open: make(chan struct{})}
		a := sensor.NewAside(g, 0) // the least: 512 records of connections
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- a.Run(ctx) }()

		var wantConns, wantIntel []string
		conns, intels := new(flow.ConnBatch), flow.NewIntelBatch()
		hand := func(first, n int) {
			for i := first; i < first+n; i++ {
				conns.Add(&flow.Connection{
					CSPkts: uint64(i), History: fmt.Appendf(nil, "h%d", i), TunnelParents: []uint64{uint64(i), 7},
					Total: &flow.Totals{CSPkts: uint64(2 * i)},
				})
				wantConns = append(wantConns, fmt.Sprintf("%d h%d %d [%d 7]", i, i, 2*i, i))
			}
			if err := a.Connections(conns); err != nil {
				t.Fatal(err)
			}
			conns.Reset()
		}
		for i := range 3 {
			intels.Begin(flow.DNS, new(flow.Tuple), 0)
			intels.SetString(attr("query"), fmt.Sprintf("q%d.example", i))
			intels.AppendText(attr("answers"), fmt.Appendf(nil, "a%d", i))
			intels.AppendText(attr("answers"), []byte("b"))
			wantIntel = append(wantIntel, fmt.Sprintf("q%d.example a%d b", i, i))
			if err := a.Intel(intels); err != nil {
				t.Fatal(err)
			}
			intels.Reset()
		}
		hand(0, 10)
		synctest.Wait() // it stands still with those
		hand(10, 500)
		kept, began := len(wantConns), time.Now()
		for range 10 {
			hand(510, 20) // too many
		}
		if took := time.Since(began); took > 150*time.Millisecond {
			t.Errorf("it held up for %v", took)
		}
		wantConns = wantConns[:kept]
		hand(800, 12) // these fit
		if got := a.Dropped(); got != (lake.Records{Conns: 200}) {
			t.Errorf("Dropped() = %+v, want 200 of connections", got)
		}
		close(g.open)
		synctest.Wait()
		hand(900, 1)
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
		hand(901, 1)
		if err := a.Flush(); err != nil {
			t.Error(err)
		}
		if diff := cmp.Diff(wantConns, g.conns); diff != "" {
			t.Errorf("connections differ (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff(wantIntel, g.intels); diff != "" {
			t.Errorf("intel differs (-want +got):\n%s", diff)
		}
	})
}

// late takes a while for each batch.
type late struct{ conns, intel int }

func (l *late) Connections(b *flow.ConnBatch) error {
	time.Sleep(50 * time.Millisecond)
	l.conns += b.Len()
	return nil
}

func (l *late) Intel(b *flow.IntelBatch) error {
	time.Sleep(50 * time.Millisecond)
	l.intel += b.Len()
	return nil
}

// A sink that is only a little late loses nothing.
func TestAsideLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := new(late)
		a := sensor.NewAside(l, 0)
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- a.Run(ctx) }()
		conns, intels := new(flow.ConnBatch), flow.NewIntelBatch()
		for range 300 {
			conns.Add(new(flow.Connection))
			intels.Begin(flow.DNS, new(flow.Tuple), 0)
		}
		for range 20 {
			if err := errors.Join(a.Connections(conns), a.Intel(intels)); err != nil {
				t.Fatal(err)
			}
		}
		stop()
		if err := errors.Join(<-done, a.Flush()); err != nil {
			t.Fatal(err)
		}
		if got := a.Dropped(); got != (lake.Records{}) || l.conns != 6000 || l.intel != 6000 {
			t.Errorf("dropped %+v, passed on %+v, want all 6000", got, *l)
		}
	})
}
