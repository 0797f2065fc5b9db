// SPDX-License-Identifier: Apache-2.0

package sensor_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"

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

// A sink that stands still holds nobody up: what fits is kept, in order and as it
// was, the rest is counted.
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
		synctest.Wait() // the goroutine stands still with those
		hand(10, 500)
		kept := len(wantConns)
		hand(510, 100) // too many
		wantConns = wantConns[:kept]
		hand(610, 12) // these fit
		if got := a.Dropped(); got != (lake.Records{Conns: 100}) {
			t.Errorf("Dropped() = %+v, want 100 of connections", got)
		}
		close(g.open)
		synctest.Wait()
		hand(700, 1)
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
		hand(701, 1)
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
