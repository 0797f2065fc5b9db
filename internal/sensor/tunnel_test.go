// SPDX-License-Identifier: Apache-2.0

package sensor_test

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"weir/capture"
	"weir/flowtable"
	"weir/internal/flow"
	"weir/internal/sensor"
)

// udp4 makes an IPv4 packet with a UDP datagram, without checksums.
func udp4(src, dst uint32, sport, dport uint16, payload []byte) []byte {
	be := binary.BigEndian
	b := []byte{0x45, 0}
	b = be.AppendUint16(b, uint16(28+len(payload)))
	b = append(b, 0, 0, 0, 0, 64, flow.UDP, 0, 0)
	b = be.AppendUint32(be.AppendUint32(b, src), dst)
	b = be.AppendUint16(be.AppendUint16(b, sport), dport)
	b = be.AppendUint16(b, uint16(8+len(payload)))
	return append(append(b, 0, 0), payload...)
}

// tunneled writes a capture of tunnels in tunnels: n GTP connections, each with
// Geneve inside and DNS in that. After a pause the same comes again.
func tunneled(t *testing.T, n int, pause time.Duration) string {
	t.Helper()
	le := binary.LittleEndian
	file := le.AppendUint32(nil, 0xa1b2c3d4)
	file = append(file, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 101, 0, 0, 0)
	dns := []byte{0, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 4, 'w', 'e', 'i', 'r', 0, 0, 1, 0, 1}
	for round := range 2 {
		for i := range n {
			x := uint32(i)
			b := udp4(0xac100000+x, 0xac110001, uint16(20000+i), 53, dns)
			b = udp4(0xc0a80000+x/2, 0xc0a80101, uint16(30000+i), 6081, append([]byte{0, 0, 8, 0, 0, 0, 9, 0}, b...))
			b = udp4(0x0a000000+x/3, 0x0a010101, 2152, 2152, append([]byte{0x30, 255, 0, 0, 0, 0, 0, 1}, b...))
			at := 1_700_000_000 + uint32(round)*uint32(pause.Seconds())
			file = le.AppendUint32(le.AppendUint32(file, at), x)
			file = le.AppendUint32(le.AppendUint32(file, uint32(len(b))), uint32(len(b)))
			file = append(file, b...)
		}
	}
	name := filepath.Join(t.TempDir(), "tunnels.pcap")
	if err := os.WriteFile(name, file, 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// byUID is a sink that keeps what the tests of tunnels look at.
type byUID struct {
	conns map[uint64]tunnelConn
	twice int
}

type tunnelConn struct {
	parents []uint64
	service string
	dport   uint16
}

func (c *byUID) Connections(b *flow.ConnBatch) error {
	for i := range b.Conns {
		x := &b.Conns[i]
		if _, ok := c.conns[x.UID]; ok {
			c.twice++
		}
		c.conns[x.UID] = tunnelConn{append([]uint64(nil), x.TunnelParents...), x.Service, x.Dport}
	}
	return nil
}

func (c *byUID) Intel(*flow.IntelBatch) error { return nil }

// Connections out of tunnels name the connection that carried them, whichever
// worker saw which, and also where the timeout is not the default.
func TestTunnelParents(t *testing.T) {
	const n = 300
	for _, tc := range []struct {
		name    string
		timeout time.Duration
		pause   time.Duration
		rounds  int // of connections that carry others
	}{
		{"within the timeout", 0, 59 * time.Second, 1},
		{"after the timeout", 0, 61 * time.Second, 2},
		{"after a shorter timeout", 10 * time.Second, 11 * time.Second, 2},
		{"within a longer timeout", 100 * time.Second, 90 * time.Second, 1},
	} {
		t.Run(tc.name, func(t *testing.T) {
			name := tunneled(t, n, tc.pause)
			var first map[uint64]tunnelConn
			for _, workers := range []int{1, 2, 8} {
				c := &byUID{conns: map[uint64]tunnelConn{}}
				r, err := capture.Open(capture.Config{Inputs: []string{name}, UDPTimeout: tc.timeout})
				if err != nil {
					t.Fatal(err)
				}
				p, err := sensor.New(sensor.Config{Workers: workers, Sinks: []sensor.Sink{c}, Timeouts: flowtable.Timeouts{UDP: tc.timeout}})
				if err != nil {
					t.Fatal(err)
				}
				if err := p.Run(t.Context(), r); err != nil {
					t.Fatal(err)
				}
				if err := r.Close(); err != nil {
					t.Fatal(err)
				}
				if first == nil {
					first = c.conns
				}
				if diff := cmp.Diff(first, c.conns, cmp.AllowUnexported(tunnelConn{})); diff != "" {
					t.Errorf("%d workers give other connections (-1 +%d):\n%.2000s", workers, workers, diff)
				}
				// Those of DNS end sooner, whatever the timeout.
				if want := 2*n + tc.rounds*(n+n/3); len(c.conns) != want || c.twice != 0 {
					t.Errorf("%d connections, %d uids twice, want %d and none", len(c.conns), c.twice, want)
				}
			}
			carriers := map[uint16]struct {
				service string
				parent  uint16
			}{53: {"dns", 6081}, 6081: {"geneve", 2152}, 2152: {"gtpv1", 0}}
			for uid, x := range first {
				want := carriers[x.dport]
				if x.service != want.service {
					t.Errorf("connection %s to port %d: service %q, want %q", flow.UIDText(uid), x.dport, x.service, want.service)
				}
				if want.parent == 0 {
					if len(x.parents) > 0 {
						t.Errorf("connection %s to port %d has tunnels", flow.UIDText(uid), x.dport)
					}
					continue
				}
				if len(x.parents) != 1 || first[x.parents[0]].dport != want.parent {
					t.Errorf("connection %s to port %d: tunnels %x, want one to port %d", flow.UIDText(uid), x.dport, x.parents, want.parent)
				}
			}
		})
	}
}
