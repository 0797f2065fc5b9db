// SPDX-License-Identifier: Apache-2.0

package flowtable_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"weir/flowtable"
	"weir/internal/flow"
)

// zeekCases are statements about Zeek's connections, each with a conversation that
// shows it. tcpCases has more of them.
var zeekCases = []struct {
	name         string
	aport, bport uint16
	script       string
	want         []string
}{
	// Who is the originator.
	{
		"first packet's source is the originator", 40000, 50000, "0 < S 0 0 0",
		[]string{"B S0 S pkts 1/0 bytes 0/0 dur 0s end 4"},
	},
	{
		"a pure SYN is never flipped", 40000, 80, "0 < S 0 0 0",
		[]string{"B S0 S pkts 1/0 bytes 0/0 dur 0s end 4"},
	},
	{
		"both ports likely, no SYN, smaller source port: flip", 443, 80, "0 < A 1 1 0",
		[]string{"A OTH ^a pkts 0/1 bytes 0/0 dur 0s end 4"},
	},
	{
		"both ports likely, no SYN, greater source port: no flip", 80, 443, "0 < A 1 1 0",
		[]string{"B OTH A pkts 1/0 bytes 0/0 dur 0s end 4"},
	},
	{
		"both ports likely, SYN-ACK: no flip", 443, 80, "0 < SA 0 1 0",
		[]string{"B OTH H pkts 1/0 bytes 0/0 dur 0s end 4"},
	},
	{
		"neither port likely: no flip", 40000, 50000, "0 < A 1 1 0",
		[]string{"B OTH A pkts 1/0 bytes 0/0 dur 0s end 4"},
	},
	{
		"a history of H alone flips on an ACK of the same side", 40000, 50000, "0 < SA 0 1 0\n0.1 < A 1 1 0",
		[]string{"A OTH ^ha pkts 0/2 bytes 0/0 dur 100ms end 4"},
	},
	{
		"a history of H alone flips on data", 40000, 50000, "0 < SA 0 1 0\n0.1 > A 1 1 5",
		[]string{"A OTH ^hD pkts 1/1 bytes 5/0 dur 100ms end 4"},
	},
	{
		"a FIN does not flip a history of H", 40000, 50000, "0 < SA 0 1 0\n0.1 < F 1 1 0",
		[]string{"B SH HF pkts 2/0 bytes 0/0 dur 100ms end 4"},
	},
	{
		"a SYN that a SYN-ACK came before flips", 40000, 50000, "0 < SA 0 1 0\n0.1 > S 0 0 0\n0.2 > A 1 1 0",
		[]string{"A S1 Hs^A pkts 2/1 bytes 0/0 dur 200ms end 4"},
	},

	// The state machine and conn_state.
	{
		"simultaneous open: the other SYN is reuse", 40000, 50000, "0 > S 0 0 0\n0.1 < S 0 0 0\n0.2 > SA 0 1 0\n0.3 < SA 0 1 0",
		[]string{
			"A S0 S pkts 1/0 bytes 0/0 dur 0s end 3",
			"B S1 Sh pkts 2/1 bytes 0/0 dur 200ms end 4",
		},
	},
	{
		"split handshake: the server's SYN is reuse", 40000, 80, "0 > S 0 0 0\n0.1 < A 0 1 0\n0.2 < S 0 0 0\n0.3 > SA 0 1 0\n0.4 < A 1 1 0",
		[]string{
			"A S0 Sa pkts 1/1 bytes 0/0 dur 100ms end 3",
			"B S1 ShA pkts 2/1 bytes 0/0 dur 200ms end 4",
		},
	},
	{
		"an odd ACK before the SYN-ACK changes no state", 40000, 80, "0 > S 0 0 0\n0.1 < A 0 1 0\n0.2 < SA 0 1 0\n0.3 > A 1 1 0",
		[]string{"A S1 SahA pkts 2/2 bytes 0/0 dur 300ms end 4"},
	},
	{
		"payload before the SYN-ACK is partial", 40000, 80, "0 > S 0 0 0\n0.1 < A 1 1 5",
		[]string{"A OTH Sd pkts 1/1 bytes 0/5 dur 100ms end 4"},
	},
	{
		"SYN-ACK, then data of the client, server port", 40000, 80, "0 < SA 0 1 0\n0.1 > A 1 1 5",
		[]string{"A S1 ^hD pkts 1/1 bytes 5/0 dur 100ms end 4"},
	},
	{
		"SYN-ACK answered by a reset is rejected", 40000, 50000, "0 < SA 0 1 0\n0.1 > R 1 0 0",
		[]string{"B REJ Hr pkts 1/1 bytes 0/0 dur 100ms end 4"},
	},
	{
		"ACK answered by a reset", 40000, 50000, "0 > A 1 1 0\n0.1 < R 1 0 0",
		[]string{"A RSTRH Ar pkts 1/1 bytes 0/0 dur 100ms end 4"},
	},
	{
		"reset by the client", 40000, 80, "0 > S 0 0 0\n0.1 < SA 0 1 0\n0.2 > A 1 1 0\n0.3 > RA 1 1 0",
		[]string{"A RSTO ShAR pkts 3/1 bytes 0/0 dur 300ms end 4"},
	},
	{
		"reset by the server", 40000, 80, "0 > S 0 0 0\n0.1 < SA 0 1 0\n0.2 > A 1 1 0\n0.3 < RA 1 1 0",
		[]string{"A RSTR ShAr pkts 2/2 bytes 0/0 dur 300ms end 4"},
	},
	{
		"FIN of the client, reset by the server", 40000, 80, "0 > S 0 0 0\n0.1 < SA 0 1 0\n0.2 > FA 1 1 0\n0.3 < RA 1 2 0",
		[]string{"A RSTR ShFr pkts 2/2 bytes 0/0 dur 300ms end 4"},
	},
	{
		"a reset after both FINs changes nothing", 40000, 80, "0 > S 0 0 0\n0.1 < SA 0 1 0\n0.2 > FA 1 1 0\n0.3 < FA 1 2 0\n0.4 < R 2 0 0",
		[]string{"A SF ShFfr pkts 2/3 bytes 0/0 dur 300ms end 4"},
	},
	{
		"FIN of the server only", 40000, 80, "0 > S 0 0 0\n0.1 < SA 0 1 0\n0.2 < FA 1 1 0",
		[]string{"A S3 Shf pkts 1/2 bytes 0/0 dur 200ms end 4"},
	},
	{
		"SYN-ACK and FIN, server port", 40000, 80, "0 < SA 0 1 0\n0.1 < FA 1 1 0",
		[]string{"A SHR ^hf pkts 0/2 bytes 0/0 dur 100ms end 4"},
	},
	{
		"FIN scan", 40000, 50000, "0 > F 1 0 0",
		[]string{"A SH F pkts 1/0 bytes 0/0 dur 0s end 4"},
	},
	{
		"SYN and RST in one", 40000, 50000, "0 > SR 0 0 0",
		[]string{"A OTH Q pkts 1/0 bytes 0/0 dur 0s end 4"},
	},
	{
		"a reset alone", 40000, 50000, "0 > R 1 0 0",
		[]string{"A OTH R pkts 1/0 bytes 0/0 dur 0s end 4"},
	},
	{
		"partial on both sides", 40000, 50000, "0 > A 1 1 3\n0.1 < A 1 4 4",
		[]string{"A OTH Dd pkts 1/1 bytes 3/4 dur 100ms end 4"},
	},
	{
		"a SYN just before a packet without one, the server silent", 40000, 50000, "0 > A 1 1 0\n0.1 > S 0 0 0",
		[]string{"A S0 AS pkts 2/0 bytes 0/0 dur 100ms end 4"},
	},

	// Histories.
	{
		"a late segment is a retransmission", 40000, 50000, "0 > S 0 0 0\n0.1 < SA 0 1 0\n0.2 > A 1 1 0\n0.3 > A 11 1 10\n0.4 > A 1 1 10\n0.5 < A 1 21 0",
		[]string{"A S1 ShADTa pkts 4/2 bytes 20/0 dur 500ms end 4"},
	},
	{
		"a keep-alive of one byte is a retransmission", 40000, 50000, "0 > S 0 0 0\n0.1 < SA 0 1 0\n0.2 > A 1 1 5\n0.3 > A 5 1 1\n0.4 > A 5 1 0",
		[]string{"A S1 ShDTA pkts 4/1 bytes 5/0 dur 400ms end 4"},
	},
	{
		"payload of a reset is a retransmission", 40000, 50000, "0 > S 0 0 0\n0.1 < SA 0 1 0\n0.2 > A 1 1 0\n0.3 < RA 1 1 10",
		[]string{"A RSTR ShArt pkts 2/2 bytes 0/0 dur 300ms end 4"},
	},
	{
		"zero windows: the first and the tenth", 40000, 50000,
		"0 > S 0 0 0\n0.1 < SA 0 1 0\n" + strings.Repeat("0.2 < Aw 1 1 0\n", 12),
		[]string{"A S1 Shaww pkts 1/13 bytes 0/0 dur 200ms end 4"},
	},
	{
		"no zero window in a reset, nor after the peer's FIN", 40000, 50000,
		"0 > S 0 0 0\n0.1 < SA 0 1 0\n0.2 > FA 1 1 0\n0.3 < Aw 1 2 0\n0.4 < RAw 1 2 0",
		[]string{"A RSTR ShFar pkts 2/3 bytes 0/0 dur 400ms end 4"},
	},
	{
		"bad checksums: the first and the tenth", 40000, 50000,
		"0 > S 0 0 0\n0.1 < SA 0 1 0\n" + strings.Repeat("0.2 < AC 1 1 0\n", 11),
		[]string{"A S1 Shcc pkts 1/1 bytes 0/0 dur 100ms end 4"},
	},
	{
		"a FIN again, elsewhere", 40000, 50000, "0 > S 0 0 0\n0.1 < SA 0 1 0\n0.2 > FA 1 1 0\n0.3 > FA 1 1 0\n0.4 > FA 1 1 3",
		[]string{"A S2 ShFF pkts 4/1 bytes 3/0 dur 400ms end 4"},
	},
	{
		"FIN and RST once, other combinations once", 40000, 50000,
		"0 > S 0 0 0\n0.1 < SA 0 1 0\n0.2 > FR 1 1 0\n0.3 > FR 2 1 0\n0.4 > SFR 3 1 0\n0.5 > SR 3 1 0",
		[]string{
			"A RSTO ShI pkts 3/1 bytes 0/0 dur 300ms end 3",
			"A OTH I pkts 1/0 bytes 0/0 dur 0s end 3",
			"A OTH Q pkts 1/0 bytes 0/0 dur 0s end 4",
		},
	},
	{
		"a SYN-ACK again is no news, another one is", 40000, 50000, "0 > S 0 0 0\n0.1 < SA 0 1 0\n0.2 < SA 0 1 0\n0.3 > A 1 1 0\n0.4 < SA 70 1 0",
		[]string{"A S1 ShA pkts 2/3 bytes 0/0 dur 400ms end 4"},
	},

	// Sizes.
	{
		"a reset far away does not count", 40000, 50000, "0 > S 0 0 0\n0.1 < SA 0 1 0\n0.2 > R 1048577 0 0",
		[]string{"A RSTO ShR pkts 2/1 bytes 1048576/0 dur 200ms end 4"},
	},
	{
		"farther away", 40000, 50000, "0 > S 0 0 0\n0.1 < SA 0 1 0\n0.2 > R 1048578 0 0",
		[]string{"A RSTO ShR pkts 2/1 bytes 0/0 dur 200ms end 4"},
	},
	{
		"what was acknowledged counts, even if it was not seen", 40000, 50000, "0 > S 0 0 0\n0.1 < SA 0 1 0\n0.2 < A 1 9001 0",
		[]string{"A S1 Sha pkts 1/2 bytes 9000/0 dur 200ms end 4"},
	},
	{
		"what a reset acknowledges does not", 40000, 50000, "0 > S 0 0 0\n0.1 < SA 0 1 0\n0.2 < RA 1 9001 0",
		[]string{"A RSTR Shr pkts 1/2 bytes 0/0 dur 200ms end 4"},
	},
	{
		"the acknowledgment of a silent side tells where it is", 40000, 50000, "0 > A 1 1 10\n0.1 > A 11 501 10\n0.2 < A 501 21 7",
		[]string{"A OTH Dd pkts 2/1 bytes 20/7 dur 200ms end 4"},
	},
	{
		"a FIN of more than 2 GiB, nothing else seen", 40000, 50000, "0 > S 0 0 0\n0.1 < SA 0 1 0\n0.2 > FA 3000000001 1 0",
		[]string{"A S2 ShF pkts 2/1 bytes 3000000000/0 dur 200ms end 4"},
	},

	// Reuse.
	{
		"a SYN with another number, in an established connection", 40000, 50000, "0 > S 0 0 0\n0.1 < SA 0 1 0\n0.2 > A 1 1 0\n0.3 > S 900 0 0",
		[]string{
			"A S1 ShA pkts 2/1 bytes 0/0 dur 200ms end 3",
			"A S0 S pkts 1/0 bytes 0/0 dur 0s end 4",
		},
	},
	{
		"a SYN with the same number, one side closed", 40000, 50000, "0 > S 0 0 0\n0.1 < SA 0 1 0\n0.2 < FA 1 1 0\n0.3 > S 0 0 0",
		[]string{
			"A S3 Shf pkts 1/2 bytes 0/0 dur 200ms end 3",
			"A S0 S pkts 1/0 bytes 0/0 dur 0s end 4",
		},
	},
	{
		"another SYN-ACK of a half connection", 40000, 80, "0 < SA 0 1 0\n0.1 < SA 0 1 0\n0.2 < SA 700 1 0",
		[]string{
			"A OTH ^h pkts 0/2 bytes 0/0 dur 100ms end 3",
			"A OTH ^h pkts 0/1 bytes 0/0 dur 0s end 4",
		},
	},
	{
		"another SYN-ACK of a whole one", 40000, 80, "0 > S 0 0 0\n0.1 < SA 0 1 0\n0.2 < SA 700 1 0",
		[]string{"A S1 Sh pkts 1/2 bytes 0/0 dur 200ms end 4"},
	},
	{
		"no packet without SYN starts a new one", 40000, 50000, "0 > S 0 0 0\n0.1 < RA 0 1 0\n4 > A 1 0 0",
		[]string{"A REJ SrA pkts 2/1 bytes 0/0 dur 4s end 4"},
	},

	// Timers.
	{
		"an attempt lasts five seconds from its first SYN", 40000, 50000, "0 > S 0 0 0\n4.9 > S 0 0 0\n5 < SA 0 1 0",
		[]string{
			"A S0 S pkts 2/0 bytes 0/0 dur 4.9s end 1",
			"B OTH H pkts 1/0 bytes 0/0 dur 0s end 4",
		},
	},
	{
		"so does a SYN-ACK without its SYN", 40000, 50000, "0 < SA 0 1 0\n5 < A 1 1 0",
		[]string{
			"B OTH H pkts 1/0 bytes 0/0 dur 0s end 1",
			"B OTH A pkts 1/0 bytes 0/0 dur 0s end 4",
		},
	},
	{
		"a SYN-ACK that was turned round lasts a minute", 40000, 50000, "0 < SA 0 1 0\n0.1 < A 1 1 0\n60 < A 1 1 0\n120 < A 1 1 3",
		[]string{
			"A OTH ^ha pkts 0/3 bytes 0/0 dur 1m0s end 1",
			"B OTH D pkts 1/0 bytes 3/0 dur 0s end 4",
		},
	},
	{
		"bad packets only last five seconds", 40000, 50000, "0 > AC 1 1 0\n5.1 > A 1 1 0",
		[]string{
			"A OTH C pkts 0/0 bytes 0/0 dur 0s end 1",
			"A OTH A pkts 1/0 bytes 0/0 dur 0s end 4",
		},
	},
	{
		"a partial connection lasts five minutes", 40000, 50000, "0 > A 1 1 0\n299 > A 1 1 0\n599 > A 1 1 3",
		[]string{
			"A OTH A pkts 2/0 bytes 0/0 dur 4m59s end 1",
			"A OTH D pkts 1/0 bytes 3/0 dur 0s end 4",
		},
	},
	{
		"a half-closed one too", 40000, 50000, "0 > S 0 0 0\n0.1 < SA 0 1 0\n0.2 > FA 1 1 0\n300.1 < A 1 2 5\n600.1 < A 6 2 5",
		[]string{
			"A S2 ShFd pkts 2/2 bytes 0/5 dur 5m0.1s end 1",
			"B OTH D pkts 1/0 bytes 5/0 dur 0s end 4",
		},
	},
	{
		"a port of people, answered without a SYN", 40000, 22, "0 < SA 0 1 0\n3000 > A 1 1 3",
		[]string{"A S1 ^hD pkts 1/1 bytes 3/0 dur 50m0s end 4"},
	},
	{
		"a port of people, never answered", 40000, 22, "0 > A 1 1 0\n300 > A 1 1 3",
		[]string{
			"A OTH A pkts 1/0 bytes 0/0 dur 0s end 1",
			"A OTH D pkts 1/0 bytes 3/0 dur 0s end 4",
		},
	},
	{
		"five seconds after the end, whatever comes", 40000, 50000, "0 > S 0 0 0\n0.1 < RA 0 1 0\n3 < RA 0 1 0\n5.1 < RA 0 1 0",
		[]string{
			"A REJ Sr pkts 1/2 bytes 0/0 dur 3s end 3",
			"B OTH R pkts 1/0 bytes 0/0 dur 0s end 4",
		},
	},
	{
		"five seconds after the second end", 40000, 50000, "0 > S 0 0 0\n0.1 < SA 0 1 0\n0.2 > RA 1 1 0\n4 < FA 1 1 0\n8.9 < A 2 1 0\n9 < A 2 1 0",
		[]string{
			"A RSTO ShRfa pkts 2/3 bytes 0/0 dur 4s end 3",
			"B OTH A pkts 1/0 bytes 0/0 dur 0s end 4",
		},
	},
	{
		"five seconds after a reset behind one's own FIN", 40000, 50000, "0 > S 0 0 0\n0.1 < SA 0 1 0\n0.2 > FA 1 1 0\n1 > R 2 0 0\n6 < A 1 2 0",
		[]string{
			"A RSTO ShFR pkts 3/1 bytes 0/0 dur 1s end 3",
			"B OTH A pkts 1/0 bytes 0/0 dur 0s end 4",
		},
	},
	{
		"no later for a reset behind both ends", 40000, 50000, "0 > S 0 0 0\n0.1 < SA 0 1 0\n0.2 > RA 1 1 0\n0.3 < FA 1 1 0\n4 < R 2 0 0\n5.3 > A 2 2 0",
		[]string{
			"A REJ ShRfr pkts 2/3 bytes 0/0 dur 300ms end 3",
			"A OTH A pkts 1/0 bytes 0/0 dur 0s end 4",
		},
	},
	{
		"packets at one time have no duration", 40000, 50000, "0 > S 0 0 0\n0 < SA 0 1 0\n0 > A 1 1 9",
		[]string{"A S1 ShD pkts 2/1 bytes 9/0 dur 0s end 4"},
	},
	{
		"times that go back", 40000, 50000, "1 > S 0 0 0\n0.5 < SA 0 1 0",
		[]string{"A S1 Sh pkts 1/1 bytes 0/0 dur 0s end 4"},
	},
}

func TestZeek(t *testing.T) {
	for _, tc := range zeekCases {
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

// TestZeekServerPorts: of UDP, the first packet's ports decide alone.
func TestZeekServerPorts(t *testing.T) {
	broadcast := func(p flow.Packet) flow.Packet {
		p.Dst = flow.Addr4([4]byte{255, 255, 255, 255})
		return p
	}
	for _, tc := range []struct {
		name string
		pkt  flow.Packet
		want string
	}{
		{"from a likely port to another", datagram(flow.UDP, 0, true, 4000, 161, 1), "A SHR ^d"},
		{"from a likely port to a likely one", datagram(flow.UDP, 0, true, 53, 161, 1), "B S0 D"},
		{"to a likely port", datagram(flow.UDP, 0, true, 161, 4000, 1), "B S0 D"},
		{"from and to unlikely ports", datagram(flow.UDP, 0, true, 4001, 68, 1), "B S0 D"},
		{"a port of TCP only", datagram(flow.UDP, 0, true, 4000, 80, 1), "B S0 D"},
		{"ports that normal builds have", datagram(flow.UDP, 0, true, 4000, 389, 1), "A SHR ^d"},
		{"1900 is not likely", datagram(flow.UDP, 0, true, 4000, 1900, 1), "B S0 D"},
		{"nobody's broadcast address is the originator", broadcast(datagram(flow.UDP, 0, true, 4000, 161, 1)), "B S0 D"},
		{"ICMP is never flipped", datagram(flow.ICMP, 0, true, 8, 0, 1), "B OTH "},
		{"nor are others", datagram(132, 0, true, 4000, 53, 1), "B OTH "},
	} {
		t.Run(tc.name, func(t *testing.T) {
			conns, _, _ := run(t, flowtable.Config{}, []flow.Packet{tc.pkt})
			if got := describe(conns)[0]; !strings.HasPrefix(got, tc.want+" pkts") {
				t.Errorf("record %q, want %q", got, tc.want)
			}
		})
	}
}

// TestZeekDatagrams: what the other protocols count.
func TestZeekDatagrams(t *testing.T) {
	with := func(p flow.Packet, flags flow.PacketFlags) flow.Packet {
		p.Flags |= flags
		return p
	}
	v6 := func(back bool, sport, dport uint16) flow.Packet {
		return datagram(flow.ICMPv6, 0, back, sport, dport, 8)
	}
	for _, tc := range []struct {
		name string
		pkts []flow.Packet
		want []string
	}{
		{
			"an empty datagram has its letter",
			[]flow.Packet{datagram(flow.UDP, 0, false, 4000, 5000, 0)},
			[]string{"A S0 D pkts 1/0 bytes 0/0 dur 0s end 4"},
		},
		{
			"bad checksum of UDP",
			[]flow.Packet{
				with(datagram(flow.UDP, 0, false, 4000, 5000, 5), flow.BadChecksum), datagram(flow.UDP, 1, false, 4000, 5000, 5),
			},
			[]string{"A S0 CD pkts 1/0 bytes 5/0 dur 1s end 4"},
		},
		{
			"bad checksums of UDP only",
			[]flow.Packet{with(datagram(flow.UDP, 0, false, 4000, 5000, 5), flow.BadChecksum)},
			[]string{"A OTH C pkts 0/0 bytes 0/0 dur 0s end 4"},
		},
		{
			"bad checksum of ICMP",
			[]flow.Packet{with(datagram(flow.ICMP, 0, false, 8, 0, 5), flow.BadChecksum)},
			[]string{"A OTH  pkts 0/0 bytes 0/0 dur 0s end 4"},
		},
		{
			"a cut ICMP packet counts its bytes only",
			[]flow.Packet{
				with(datagram(flow.ICMP, 0, false, 8, 0, 56), flow.Truncated), datagram(flow.ICMP, 1, true, 8, 0, 56),
			},
			[]string{"A OTH  pkts 0/1 bytes 56/56 dur 1s end 4"},
		},
		{
			"a cut one of version 6 too",
			[]flow.Packet{with(v6(false, 128, 129), flow.Truncated), v6(true, 128, 129)},
			[]string{"A OTH  pkts 0/1 bytes 8/8 dur 0s end 4"},
		},
		{
			"an echo reply first makes the replier the originator",
			[]flow.Packet{datagram(flow.ICMP, 0, true, 8, 0, 5), datagram(flow.ICMP, 1, false, 8, 0, 5)},
			[]string{"B OTH  pkts 1/1 bytes 5/5 dur 1s end 4"},
		},
		{
			"neighbor discovery is two connections",
			[]flow.Packet{v6(false, 135, 136), v6(true, 135, 137)},
			[]string{"A OTH  pkts 1/0 bytes 8/0 dur 0s end 4", "B OTH  pkts 1/0 bytes 8/0 dur 0s end 4"},
		},
		{
			"ICMP lasts a minute",
			[]flow.Packet{datagram(flow.ICMP, 0, false, 8, 0, 5), datagram(flow.ICMP, 59, false, 8, 0, 5), datagram(flow.ICMP, 119, false, 8, 0, 5)},
			[]string{"A OTH  pkts 2/0 bytes 10/0 dur 59s end 1", "A OTH  pkts 1/0 bytes 5/0 dur 0s end 4"},
		},
		{
			"so do others",
			[]flow.Packet{datagram(132, 0, false, 0, 0, 5), datagram(132, 60, true, 0, 0, 5)},
			[]string{"A OTH  pkts 1/0 bytes 0/0 dur 0s end 1", "B OTH  pkts 1/0 bytes 0/0 dur 0s end 4"},
		},
		{
			"protocols do not share connections",
			[]flow.Packet{datagram(132, 0, false, 0, 0, 5), datagram(50, 0, true, 0, 0, 5)},
			[]string{"A OTH  pkts 1/0 bytes 0/0 dur 0s end 4", "B OTH  pkts 1/0 bytes 0/0 dur 0s end 4"},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			conns, _, _ := run(t, flowtable.Config{}, tc.pkts)
			if diff := cmp.Diff(tc.want, describe(conns)); diff != "" {
				t.Errorf("records differ (-want +got):\n%s", diff)
			}
		})
	}
}
