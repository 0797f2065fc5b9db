// SPDX-License-Identifier: Apache-2.0

package flowtable_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"weir/flowtable"
	"weir/internal/flow"
)

// calls is a stream handler that writes down what it is told.
type calls struct {
	log     []string
	gaps    int
	missed  uint64
	signals flowtable.Signals // answered to payload
}

// mistaken is the length of a datagram that shows the roles to be reversed.
const mistaken = 77

func (c *calls) add(format string, args ...any) { c.log = append(c.log, fmt.Sprintf(format, args...)) }

func (c *calls) Start(*int32, flow.Dir, uint32)          {}
func (c *calls) Shift(_ *int32, dir flow.Dir, by uint32) { c.add("shift %d %d", dir, by) }
func (c *calls) Segment(_ *flow.Tuple, _ *int32, dir flow.Dir, p *flow.Packet, seq uint32) flowtable.Signals {
	c.add("segment %d %d+%d", dir, seq, p.PayloadLen)
	return c.signals
}

func (c *calls) Ack(_ *flow.Tuple, _ *int32, dir flow.Dir, _ flow.Time, ack uint32) (int, uint64, flowtable.Signals) {
	c.add("ack %d %d", dir, ack)
	g, m := c.gaps, c.missed
	c.gaps, c.missed = 0, 0
	return g, m, 0
}
func (c *calls) Next(*int32, flow.Dir) (uint32, bool) { return 0, false }
func (c *calls) Unacked(*int32, flow.Dir) bool        { return false }
func (c *calls) Fin(_ *flow.Tuple, _ *int32, dir flow.Dir, _ flow.Time) flowtable.Signals {
	c.add("fin %d", dir)
	return 0
}
func (c *calls) Reset(*flow.Tuple, *int32, flow.Time) { c.add("reset") }

func (c *calls) Flip(*int32)                 { c.add("flip") }
func (c *calls) Midstream(_ *int32, on bool) { c.add("midstream %v", on) }
func (c *calls) Datagram(_ *flow.Tuple, _ *int32, dir flow.Dir, p *flow.Packet) flowtable.Signals {
	c.add("datagram %d %d", dir, len(p.Payload))
	if len(p.Payload) == mistaken {
		return c.signals | flowtable.Reversed
	}
	return c.signals
}
func (c *calls) Services(*int32) string           { return "" }
func (c *calls) Close(*flow.Tuple, *int32) string { return "" }

// moment is a time at which nothing was lost yet.
func moment(now flow.Time) flowtable.Moment { return flowtable.Moment{Now: now} }

// ends are the two endpoints of the scripts below.
var (
	hostA = flow.Addr4([4]byte{10, 0, 0, 1})
	hostB = flow.Addr4([4]byte{10, 0, 0, 2})
)

const (
	isnA = 1000
	isnB = 5000
)

// script makes TCP packets from lines such as
//
//	0.1 > SA +0 1 10
//
// that is: seconds, direction (> from A), flags, sequence number relative to
// the sender's initial one, acknowledgment relative to the peer's, and payload
// length. aport and bport are the ports.
func script(t *testing.T, text string, aport, bport uint16) []flow.Packet {
	t.Helper()
	var out []flow.Packet
	var now flow.Time
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if line == "" {
			continue
		}
		var at float64
		var dir, flags string
		var seq, ack, n uint32
		if _, err := fmt.Sscanf(line, "%f %s %s %d %d %d", &at, &dir, &flags, &seq, &ack, &n); err != nil {
			t.Fatalf("script line %q: %v", line, err)
		}
		p := flow.Packet{
			Proto: flow.TCP, Src: hostA, Dst: hostB, Sport: aport, Dport: bport, Window: 100,
			Seq: isnA + seq, Ack: isnB + ack, PayloadLen: n, Payload: make([]byte, n), IPLen: 40 + n,
			Hash: 42 << 32, Origin: uint64(len(out) + 1), TS: flow.Time(at * 1e9),
		}
		if dir == "<" {
			p.Src, p.Dst, p.Sport, p.Dport = hostB, hostA, bport, aport
			p.Seq, p.Ack = isnB+seq, isnA+ack
		}
		now = max(now, p.TS)
		p.Now = now
		for _, f := range flags {
			switch f {
			case 'S':
				p.TCPFlags |= flow.SYN
			case 'A':
				p.TCPFlags |= flow.ACK
			case 'F':
				p.TCPFlags |= flow.FIN
			case 'R':
				p.TCPFlags |= flow.RST
			case 'C':
				p.Flags |= flow.BadChecksum
			case 'B':
				p.Flags |= flow.BadHeader
			case 'w':
				p.Window = 0
			case '-':
			default:
				t.Fatalf("script line %q: unknown flag %c", line, f)
			}
		}
		if p.TCPFlags&flow.ACK == 0 {
			p.Ack = 0
		}
		out = append(out, p)
	}
	return out
}

// run feeds packets to a table and returns its records and its stream calls.
func run(t *testing.T, cfg flowtable.Config, pkts []flow.Packet) ([]flow.Connection, *calls, flowtable.Stats) {
	t.Helper()
	c := new(calls)
	table, err := flowtable.New(cfg, func(int) flowtable.Streams[int32] { return c })
	if err != nil {
		t.Fatal(err)
	}
	var out flow.ConnBatch
	for i := range pkts {
		table.Process(0, pkts, []uint32{uint32(i)}, moment(pkts[i].Now), &out)
	}
	flush(table, 0, pkts[len(pkts)-1].Now, &out)
	return out.Conns, c, table.Stats()
}

// flush ends all connections of a shard, a few at a time.
func flush(table *flowtable.Table[int32], shard int, now flow.Time, out *flow.ConnBatch) {
	for table.Flush(shard, moment(now), 7, out) {
	}
}

func describe(conns []flow.Connection) []string {
	var out []string
	for i := range conns {
		c := &conns[i]
		from := "A"
		if c.Src == hostB {
			from = "B"
		}
		out = append(out, fmt.Sprintf("%s %s %s pkts %d/%d bytes %d/%d dur %v end %d", from, c.State, c.History,
			c.CSPkts, c.SCPkts, c.CSPayload, c.SCPayload, time.Duration(c.Duration())*time.Microsecond, c.End))
	}
	return out
}

// tcpCases are conversations and the records that Zeek 8.2.2 logs for captures
// of them.
var tcpCases = []struct {
	name         string
	aport, bport uint16
	script       string
	want         []string
}{
	{"complete", 40000, 80, `
		0.0 > S 0 0 0
		0.1 < SA 0 1 0
		0.2 > A 1 1 0
		0.3 > A 1 1 10
		0.4 < A 1 11 20
		0.5 > FA 11 21 0
		0.6 < FA 21 12 0
		0.7 > A 12 22 0`, []string{"A SF ShADdFf pkts 5/3 bytes 10/20 dur 600ms end 4"}},
	{"no answer", 40000, 80, `0 > S 0 0 0`, []string{"A S0 S pkts 1/0 bytes 0/0 dur 0s end 4"}},
	{
		"repeated SYN is one connection", 40000, 80, "0 > S 0 0 0\n1 > S 0 0 0\n3 > S 0 0 0",
		[]string{"A S0 S pkts 3/0 bytes 0/0 dur 3s end 4"},
	},
	{
		"repeated SYN after the attempt is over", 40000, 80, "0 > S 0 0 0\n6 > S 0 0 0",
		[]string{"A S0 S pkts 1/0 bytes 0/0 dur 0s end 1", "A S0 S pkts 1/0 bytes 0/0 dur 0s end 4"},
	},
	{
		"SYN with another number", 40000, 80, "0 > S 0 0 0\n1 > S 77 0 0",
		[]string{"A S0 S pkts 1/0 bytes 0/0 dur 0s end 3", "A S0 S pkts 1/0 bytes 0/0 dur 0s end 4"},
	},
	{
		"refused", 40000, 80, "0 > S 0 0 0\n0.1 < RA 0 1 0",
		[]string{"A REJ Sr pkts 1/1 bytes 0/0 dur 100ms end 4"},
	},
	{
		"refused again and again", 40000, 80, "0 > S 0 0 0\n0.1 < RA 0 1 0\n1 > S 0 0 0\n1.1 < RA 0 1 0",
		[]string{
			"A REJ Sr pkts 1/1 bytes 0/0 dur 100ms end 3",
			"A REJ Sr pkts 1/1 bytes 0/0 dur 100ms end 4",
		},
	},
	{
		"reset by the client before an answer", 40000, 80, "0 > S 0 0 0\n0.1 > R 1 0 0",
		[]string{"A RSTOS0 SR pkts 2/0 bytes 0/0 dur 100ms end 4"},
	},
	{
		"payload and a reset that nobody answered", 40000, 80, "0 > S 0 0 0\n0.1 > A 1 1 0\n0.2 > A 1 1 10\n0.3 > R 11 1 0",
		[]string{"A OTH SADR pkts 4/0 bytes 10/0 dur 300ms end 4"},
	},
	{
		"half-open connection, discovered", 40000, 80, "0 > S 0 0 0\n0.1 < A 1 777 0\n0.2 > R 777 0 0",
		[]string{"A RSTOS0 SaR pkts 2/1 bytes 0/0 dur 200ms end 4"},
	},
	{
		"acknowledged before the reset", 40000, 80, "0 > S 0 0 0\n0.1 > A 1 1 0\n0.2 > R 1 0 0",
		[]string{"A OTH SAR pkts 3/0 bytes 0/0 dur 200ms end 4"},
	},
	{
		"SYN-ACK only, server port", 40000, 80, `0 < SA 0 1 0`,
		[]string{"A OTH ^h pkts 0/1 bytes 0/0 dur 0s end 4"},
	},
	{
		"SYN-ACK only, unknown ports", 40000, 50000, `0 < SA 0 1 0`,
		[]string{"B OTH H pkts 1/0 bytes 0/0 dur 0s end 4"},
	},
	{
		"SYN-ACK, then the other side acknowledges", 40000, 50000, "0 < SA 0 1 0\n0.1 > A 1 1 0",
		[]string{"A OTH ^hA pkts 1/1 bytes 0/0 dur 100ms end 4"},
	},
	{
		"data before a SYN-ACK's reversal", 40000, 50000, "0 < SA 0 1 0\n0.1 > S 0 0 0\n0.2 > A 1 1 5",
		[]string{"A S1 Hs^D pkts 2/1 bytes 5/0 dur 200ms end 4"},
	},
	{
		"mid-stream from a server port", 40000, 80, `0 < A 1 1 100`,
		[]string{"A OTH ^d pkts 0/1 bytes 0/100 dur 0s end 4"},
	},
	{"no flags at all", 40000, 80, "0 > - 1 0 0", []string{"A OTH  pkts 1/0 bytes 0/0 dur 0s end 4"}},
	{"FIN and RST in one", 40000, 80, `
		0.0 > S 0 0 0
		0.1 < SA 0 1 0
		0.2 > FRA 1 1 0`, []string{"A RSTO ShI pkts 2/1 bytes 0/0 dur 200ms end 4"}},
	{"SYN and FIN", 40000, 80, "0 > SF 0 0 0", []string{"A SH Q pkts 1/0 bytes 0/0 dur 0s end 4"}},
	{"retransmission ten times and more", 40000, 80, `
		0.0 > S 0 0 0
		0.1 < SA 0 1 0
		0.2 > A 1 1 10
		0.3 > A 1 1 10
		0.4 > A 1 1 10
		0.5 > A 1 1 10
		0.6 > A 1 1 10
		0.7 > A 1 1 10
		0.8 > A 1 1 10
		0.9 > A 1 1 10
		1.0 > A 1 1 10
		1.1 > A 1 1 10
		1.2 > A 1 1 10
		1.3 > A 1 1 10`, []string{"A S1 ShDTT pkts 13/1 bytes 10/0 dur 1.3s end 4"}},
	{"SYN with data is a retransmission", 40000, 80, `
		0.0 > S 0 0 5
		0.1 < SA 0 6 0`, []string{"A S1 STh pkts 1/1 bytes 5/0 dur 100ms end 4"}},
	{"zero window", 40000, 80, `
		0.0 > S 0 0 0
		0.1 < SA 0 1 0
		0.2 < Aw 1 1 0
		0.3 < Aw 1 1 0`, []string{"A S1 Shaw pkts 1/3 bytes 0/0 dur 300ms end 4"}},
	{
		"wrong checksum, then right", 40000, 80, "0 > SC 0 0 0\n1 > S 0 0 0",
		[]string{"A OTH C pkts 0/0 bytes 0/0 dur 0s end 3", "A S0 S pkts 1/0 bytes 0/0 dur 0s end 4"},
	},
	{"bad header", 40000, 80, "0 > S 0 0 0\n1 > AB 1 1 0", []string{"A S0 S pkts 1/0 bytes 0/0 dur 0s end 4"}},
	{"idle handshake lasts five minutes", 40000, 80, `
		0 > S 0 0 0
		0.1 < SA 0 1 0
		299 > A 1 1 0
		600 > A 1 1 3`, []string{
		"A S1 ShA pkts 2/1 bytes 0/0 dur 4m59s end 1",
		"A OTH D pkts 1/0 bytes 3/0 dur 0s end 4",
	}},
	{"interactive port idles for an hour", 40000, 22, `
		0 > S 0 0 0
		0.1 < SA 0 1 0
		3000 > A 1 1 3`, []string{"A S1 ShD pkts 2/1 bytes 3/0 dur 50m0s end 4"}},
	{"same number after both FINs", 40000, 80, `
		0.0 > S 0 0 0
		0.1 < SA 0 1 0
		0.2 > FA 1 1 0
		0.3 < FA 1 2 0
		1.0 > S 0 0 0`, []string{
		"A SF ShFf pkts 2/2 bytes 0/0 dur 300ms end 3",
		"A S0 S pkts 1/0 bytes 0/0 dur 0s end 4",
	}},
	{"late packets within the close delay", 40000, 80, `
		0.0 > S 0 0 0
		0.1 < SA 0 1 0
		0.2 > FA 1 1 0
		0.3 < FA 1 2 0
		4.0 > A 2 2 4
		5.3 > A 6 2 4`, []string{
		"A SF ShFfD pkts 3/2 bytes 4/0 dur 300ms end 3",
		"A OTH D pkts 1/0 bytes 4/0 dur 0s end 4",
	}},
	{"half-closed", 40000, 80, `
		0.0 > S 0 0 0
		0.1 < SA 0 1 0
		0.2 > FA 1 1 0
		0.3 < A 1 2 5`, []string{"A S2 ShFd pkts 2/2 bytes 0/5 dur 300ms end 4"}},
	{"closed, then reset by the same side", 40000, 80, `
		0.0 > S 0 0 0
		0.1 < SA 0 1 0
		0.2 > FA 1 1 0
		0.3 > RA 2 1 0`, []string{"A RSTO ShFR pkts 3/1 bytes 0/0 dur 300ms end 4"}},
	{"reset during the close ends as closed", 40000, 80, `
		0.0 > S 0 0 0
		0.1 < SA 0 1 0
		0.2 > A 1 1 0
		0.3 > FA 1 1 0
		0.4 > RA 2 1 0
		0.5 < FA 1 2 0`, []string{"A SF ShAFRf pkts 4/2 bytes 0/0 dur 500ms end 4"}},
}

func TestTCP(t *testing.T) {
	for _, tc := range tcpCases {
		t.Run(tc.name, func(t *testing.T) {
			conns, _, stats := run(t, flowtable.Config{}, script(t, tc.script, tc.aport, tc.bport))
			if diff := cmp.Diff(tc.want, describe(conns)); diff != "" {
				t.Errorf("records differ (-want +got):\n%s", diff)
			}
			if stats.Open != 0 || stats.Connections != stats.Ended {
				t.Errorf("Stats() = %+v, want all ended", stats)
			}
		})
	}
}

func TestStreamCalls(t *testing.T) {
	_, c, _ := run(t, flowtable.Config{}, script(t, `
		0.0 > S 0 0 0
		0.1 < SA 0 1 0
		0.2 > A 1 1 10
		0.3 < A 1 11 0
		0.4 < FA 1 11 5
		0.5 > A 11 7 0`, 40000, 80))
	want := []string{
		"segment 0 1001+10", "ack 0 1011", "segment 1 5001+5", "fin 1", "ack 1 5006",
	}
	if diff := cmp.Diff(want, c.log); diff != "" {
		t.Errorf("calls differ (-want +got):\n%s", diff)
	}
}

// TestMidstream checks when the beginning of the payload counts as seen.
func TestMidstream(t *testing.T) {
	const on, off = "midstream true", "midstream false"
	tests := []struct {
		name   string
		script string
		port   uint16 // of B
		want   []string
	}{
		{"handshake", "0.0 > S 0 0 0\n0.1 < SA 0 1 0\n0.2 > A 1 1 0", 80, nil},
		{"only the client", "0.0 > S 0 0 0\n0.2 > A 1 1 10", 80, nil},
		{"SYN-ACK missed", "0.0 > S 0 0 0\n0.1 > A 1 1 10\n0.2 < A 1 11 5", 80, []string{on}},
		{"acknowledgment before the SYN-ACK", "0.0 > S 0 0 0\n0.1 < A 7 1 0\n0.2 < SA 0 1 0", 80, []string{on}},
		{"SYN missed", "0.1 < SA 0 1 0\n0.2 > A 1 1 0", 80, []string{on, off}},
		{"SYN missed, unknown port", "0.1 < SA 0 1 0\n0.2 > A 1 1 0", 50000, []string{on, off}},
		{"only the server", "0.1 < SA 0 1 0\n0.2 < A 1 1 10", 80, nil},
		{"no handshake", "0.1 > A 1 1 10\n0.2 < A 1 11 5", 80, []string{on}},
		{"no handshake, server first", "0.1 < A 1 1 10\n0.2 > A 1 11 5", 80, []string{on}},
		{"the server's payload before the SYN", "0.1 < A 1 1 10\n0.2 > S 0 0 0", 80, []string{on, off}},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			_, c, _ := run(t, flowtable.Config{}, script(t, tc.script, 40000, tc.port))
			var got []string
			for _, call := range c.log {
				if strings.HasPrefix(call, "midstream") {
					got = append(got, call)
				}
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("calls differ (-want +got):\n%s", diff)
			}
		})
	}
}

// TestStreamReset checks that a RST is told, and that payload behind it is
// delivered.
func TestStreamReset(t *testing.T) {
	_, c, _ := run(t, flowtable.Config{}, script(t, `
		0.0 > S 0 0 0
		0.1 < SA 0 1 0
		0.2 > A 1 1 10
		0.3 < RA 1 11 0
		0.4 > A 11 1 5`, 40000, 80))
	want := []string{
		"segment 0 1001+10", "reset", "ack 0 1011", "segment 0 1011+5",
	}
	if diff := cmp.Diff(want, c.log); diff != "" {
		t.Errorf("calls differ (-want +got):\n%s", diff)
	}
}

func TestCutSegmentsAreNotDelivered(t *testing.T) {
	pkts := script(t, `
		0.0 > S 0 0 0
		0.1 < SA 0 1 0
		0.2 > A 1 1 10`, 40000, 80)
	pkts[2].Payload = pkts[2].Payload[:9]
	conns, c, _ := run(t, flowtable.Config{}, pkts)
	if diff := cmp.Diff([]string(nil), c.log); diff != "" {
		t.Errorf("calls differ (-want +got):\n%s", diff)
	}
	if conns[0].CSPayload != 10 {
		t.Errorf("payload = %d, want the 10 bytes that were sent", conns[0].CSPayload)
	}
}

func TestGapsCountOnlyWhileClean(t *testing.T) {
	c := &calls{gaps: 2, missed: 700}
	table, err := flowtable.New(flowtable.Config{}, func(int) flowtable.Streams[int32] { return c })
	if err != nil {
		t.Fatal(err)
	}
	var out flow.ConnBatch
	feed := func(text string) {
		for _, p := range script(t, text, 40000, 80) {
			table.Process(0, []flow.Packet{p}, []uint32{0}, moment(p.Now), &out)
		}
	}
	feed("0 > S 0 0 0\n0.1 < SA 0 1 0\n0.15 < A 1 701 0") // a SYN's acknowledgment misses nothing
	c.gaps, c.missed = 3, 50
	feed("0.2 < RA 1 799 0") // what a reset acknowledges does not count
	flush(table, 0, 1e9, &out)
	got := describe(out.Conns)
	want := []string{"A RSTR ShaGr pkts 1/3 bytes 700/0 dur 200ms end 4"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("records differ (-want +got):\n%s", diff)
	}
	if out.Conns[0].Missed != 700 {
		t.Errorf("Missed = %d, want 700", out.Conns[0].Missed)
	}
}

// datagram makes a packet of another protocol than TCP.
func datagram(proto uint8, at float64, back bool, sport, dport uint16, n int) flow.Packet {
	p := flow.Packet{
		Proto: proto, Src: hostA, Dst: hostB, Sport: sport, Dport: dport, Hash: 7 << 32,
		Payload: make([]byte, n), PayloadLen: uint32(n), IPLen: uint32(28 + n),
		TS: flow.Time(at * 1e9), Now: flow.Time(at * 1e9),
	}
	if back {
		p.Src, p.Dst, p.Sport, p.Dport = hostB, hostA, dport, sport
	}
	return p
}

func TestOtherProtocols(t *testing.T) {
	oneWay := datagram(flow.ICMP, 1, true, 3, 3, 30)
	oneWay.OneWay = true
	oneWayBack := datagram(flow.ICMP, 2, false, 3, 3, 30)
	oneWayBack.OneWay = true
	cases := []struct {
		name string
		pkts []flow.Packet
		want []string
	}{
		{"UDP both ways", []flow.Packet{
			datagram(flow.UDP, 0, false, 4000, 53, 10), datagram(flow.UDP, 1, true, 4000, 53, 90),
		}, []string{"A SF Dd pkts 1/1 bytes 10/90 dur 1s end 4"}},
		{
			"UDP reply only",
			[]flow.Packet{datagram(flow.UDP, 0, true, 4000, 53, 90)},
			[]string{"A SHR ^d pkts 0/1 bytes 0/90 dur 0s end 4"},
		},
		{"UDP payload shows that the server spoke first", []flow.Packet{
			datagram(flow.UDP, 0, false, 53, 53, mistaken), datagram(flow.UDP, 1, true, 53, 53, 9),
		}, []string{"B S0 D^ pkts 2/0 bytes 86/0 dur 1s end 4"}},
		{"UDP idle for 59 s", []flow.Packet{
			datagram(flow.UDP, 0, false, 4000, 5000, 10), datagram(flow.UDP, 59, true, 4000, 5000, 90),
		}, []string{"A SF Dd pkts 1/1 bytes 10/90 dur 59s end 4"}},
		{"UDP idle for 60 s", []flow.Packet{
			datagram(flow.UDP, 0, false, 4000, 5000, 10), datagram(flow.UDP, 60, false, 4000, 5000, 11),
		}, []string{
			"A S0 D pkts 1/0 bytes 10/0 dur 0s end 1", "A S0 D pkts 1/0 bytes 11/0 dur 0s end 4",
		}},
		{"ICMP echo", []flow.Packet{
			datagram(flow.ICMP, 0, false, 8, 0, 56), datagram(flow.ICMP, 1, true, 8, 0, 56),
		}, []string{"A OTH  pkts 1/1 bytes 56/56 dur 1s end 4"}},
		{"ICMP unreachable, each way its own", []flow.Packet{oneWay, oneWayBack}, []string{
			"B OTH  pkts 1/0 bytes 30/0 dur 0s end 4", "A OTH  pkts 1/0 bytes 30/0 dur 0s end 4",
		}},
		{"other protocol has no bytes", []flow.Packet{
			datagram(132, 0, false, 0, 0, 56), datagram(132, 1, true, 0, 0, 56),
		}, []string{"A OTH  pkts 1/1 bytes 0/0 dur 1s end 4"}},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			conns, _, _ := run(t, flowtable.Config{}, tc.pkts)
			if diff := cmp.Diff(tc.want, describe(conns)); diff != "" {
				t.Errorf("records differ (-want +got):\n%s", diff)
			}
		})
	}
}

// TestGaveUp: payload that cannot be followed leaves one letter, always that of
// the client, behind the letters of the packet that showed it.
func TestGaveUp(t *testing.T) {
	feed := func(proto uint8, sig flowtable.Signals) string {
		c := &calls{signals: sig}
		table, err := flowtable.New(flowtable.Config{}, func(int) flowtable.Streams[int32] { return c })
		if err != nil {
			t.Fatal(err)
		}
		pkts := []flow.Packet{
			datagram(flow.UDP, 0, true, 4000, 53, 10), datagram(flow.UDP, 1, true, 4000, 53, 10),
			datagram(flow.UDP, 2, false, 4000, 53, 10),
		}
		if proto == flow.TCP {
			pkts = script(t, `
				0.0 > S 0 0 0
				0.1 < SA 0 1 0
				0.2 < A 1 1 5
				0.3 < A 1 1 5
				0.4 > A 1 6 5`, 40000, 50000)
		}
		var out flow.ConnBatch
		for i := range pkts {
			table.Process(0, pkts, []uint32{uint32(i)}, moment(pkts[i].Now), &out)
		}
		flush(table, 0, pkts[len(pkts)-1].Now, &out)
		return string(out.Conns[0].History)
	}
	for _, tc := range []struct {
		proto uint8
		sig   flowtable.Signals
		want  string
	}{
		{flow.UDP, 0, "^dD"},
		{flow.UDP, flowtable.GaveUp, "^dXD"},
		{flow.TCP, 0, "ShdtD"},
		{flow.TCP, flowtable.GaveUp, "ShdXtD"},
		{flow.TCP, flowtable.Interactive, "ShdtD"},
	} {
		if got := feed(tc.proto, tc.sig); got != tc.want {
			t.Errorf("protocol %d, signals %d: history = %q, want %q", tc.proto, tc.sig, got, tc.want)
		}
	}
}

// TestInteractive: a service that the payload shows to be one of people's sessions
// may pause for an hour, whatever its port.
func TestInteractive(t *testing.T) {
	text := `
		0.0 > S 0 0 0
		0.1 < SA 0 1 0
		0.2 < A 1 1 5
		3000 > A 1 6 5`
	for sig, want := range map[flowtable.Signals]int{0: 2, flowtable.Interactive: 1} {
		c := &calls{signals: sig}
		table, err := flowtable.New(flowtable.Config{}, func(int) flowtable.Streams[int32] { return c })
		if err != nil {
			t.Fatal(err)
		}
		var out flow.ConnBatch
		pkts := script(t, text, 40000, 50000)
		for i := range pkts {
			table.Process(0, pkts, []uint32{uint32(i)}, moment(pkts[i].Now), &out)
		}
		flush(table, 0, pkts[len(pkts)-1].Now, &out)
		if got := len(out.Conns); got != want {
			t.Errorf("signals %d: %d connections, want %d", sig, got, want)
		}
	}
}

func TestHistoryIsBounded(t *testing.T) {
	text := "0 > S 0 0 0\n0.01 < SA 0 1 0\n"
	for i := range 1000 {
		text += fmt.Sprintf("0.02 < R %d 0 0\n", 10+i)
	}
	conns, _, stats := run(t, flowtable.Config{}, script(t, text, 40000, 80))
	if got := len(conns[0].History); got > 300 || uint64(got)+stats.HistoryLettersLost != 1002 {
		t.Errorf("%d letters kept, %d counted as lost, want 1002 in all", got, stats.HistoryLettersLost)
	}
}

func TestBroadcastIsNeverTheClient(t *testing.T) {
	p := datagram(flow.UDP, 0, false, 67, 4000, 10)
	p.Dst = flow.Addr4([4]byte{255, 255, 255, 255})
	conns, _, _ := run(t, flowtable.Config{}, []flow.Packet{p})
	if conns[0].Src != hostA {
		t.Errorf("client = %v, want %v", conns[0].Src, hostA)
	}
}

func TestLongHistory(t *testing.T) {
	// Each RST with another number adds a letter.
	text := "0 > S 0 0 0\n0.01 < SA 0 1 0\n"
	for i := range 60 {
		text += fmt.Sprintf("0.02 < R %d 0 0\n", 10+i)
	}
	conns, _, _ := run(t, flowtable.Config{}, script(t, text, 40000, 80))
	if got, want := string(conns[0].History), "Sh"+strings.Repeat("r", 60); got != want {
		t.Errorf("history = %q, want %q", got, want)
	}
}

func TestWrappedSequence(t *testing.T) {
	pkts := script(t, `
		0.0 > S 0 0 0
		0.1 < SA 0 1 0`, 40000, 80)
	// The client sends 5 GiB in steps of 512 MiB, all acknowledged.
	seq := uint32(isnA + 1)
	const step = 512 << 20
	for i := range 10 {
		p := pkts[0]
		p.TCPFlags, p.Seq, p.Ack, p.PayloadLen, p.Payload = flow.ACK, seq, isnB+1, step, nil
		p.TS = flow.Time(1e9 * (i + 1))
		p.Now = p.TS
		seq += step
		q := pkts[1]
		q.TCPFlags, q.Seq, q.Ack, q.TS, q.Now = flow.ACK, isnB+1, seq, p.TS, p.TS
		pkts = append(pkts, p, q)
	}
	conns, _, _ := run(t, flowtable.Config{}, pkts)
	if got := conns[0].CSPayload; got != 10*step {
		t.Errorf("client payload = %d, want %d", got, uint64(10*step))
	}
}
