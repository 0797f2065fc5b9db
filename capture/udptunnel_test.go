// SPDX-License-Identifier: Apache-2.0

package capture_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"weir/capture"
	"weir/internal/flow"
)

// Headers of tunnels over UDP.
func vxlanHeader(flags byte) []byte { return cat([]byte{flags, 0, 0, 0, 0, 0, 5, 0}) }

func geneveHeader(first byte, proto int, options []byte) []byte {
	return cat([]byte{first | byte(len(options)/4), 0}, be16(proto), []byte{0, 0, 5, 0}, options)
}

func gtpHeader(flags, message byte, rest ...byte) []byte {
	return cat([]byte{flags, message, 0, 0, 0, 0, 0, 1}, rest)
}

func ayiyaHeader(idLen, sigLen, op, next byte) []byte {
	return cat([]byte{idLen<<4 | 1, sigLen/4<<4 | 2, 1<<4 | op, next}, zeros(4), zeros(1<<idLen), zeros(int(sigLen)))
}

// t6 is an IPv6 packet between addresses of Teredo's.
func t6(next int, payload []byte) []byte {
	return ip6("2001:0:1::1", "2001:0:2::2", next, payload)
}

func originIndication() []byte { return []byte{0, 0, 1, 2, 3, 4, 5, 6} }

func authentication(idLen, authLen byte) []byte {
	return cat([]byte{0, 1, idLen, authLen}, zeros(int(idLen)+int(authLen)+9))
}

// sent is a packet from port to port between two hosts; back from the second one.
func sent(from, to int, payload ...[]byte) []byte {
	return ip4(c4, d4, 17, udp(from, to, cat(payload...)))
}

func back(from, to int, payload ...[]byte) []byte {
	return ip4(d4, c4, 17, udp(from, to, cat(payload...)))
}

// inside is what most tunnels of these tests carry; each has its own port.
func inside4(port int) []byte { return ip4(a4, b4, 17, udp(port, 9, []byte("in"))) }

func inside6(port int) []byte { return t6(17, udp(port, 9, []byte("in"))) }

// carrierTest is a capture and the packets that it gives, as told describes them.
type carrierTest struct {
	name     string
	frames   [][]byte
	apart    time.Duration // frames; the default is a second
	cut      int           // bytes of each frame that were not captured
	verify   bool
	want     string
	rejected string // inside tunnels
	invalid  uint64
}

// told describes packets: ports, what is carried, marks, and which packet's
// connection is the tunnel.
func told(packets []flow.Packet) string {
	var lines []string
	for i := range packets {
		p := &packets[i]
		line := fmt.Sprintf("%d>%d", p.Sport, p.Dport)
		if p.Proto != flow.UDP {
			line = fmt.Sprintf("%s %s", flow.ProtoName(p.Proto), line)
		}
		if p.Carries != flow.NoCarrier {
			line += " " + p.Carries.String()
		}
		if p.Flags&flow.Founder != 0 {
			line += " first"
		}
		if p.Flags&flow.TooDeep != 0 {
			line += " deep"
		}
		if p.VLAN != 0 {
			line += fmt.Sprintf(" vlan %d", p.VLAN)
		}
		if p.Tunnel != 0 {
			line += " in"
			for j := range packets[:i] {
				if flow.UID(&packets[j]) == p.Tunnel {
					line += fmt.Sprintf(" %d", j)
					break
				}
			}
		}
		lines = append(lines, line)
	}
	return strings.Join(lines, "\n")
}

func carrierTests() []carrierTest {
	lines := func(s ...string) string { return strings.Join(s, "\n") }
	vx := func(p []byte) []byte { return cat(vxlanHeader(8), eth(0x0800, p)) }
	gn := func(p []byte) []byte { return cat(geneveHeader(0, 0x0800, nil), p) }
	gtp := func(p []byte) []byte { return cat(gtpHeader(0x30, 255), p) }
	fragments := ip4(a4, b4, 17, udp(1, 9, pattern(100)))[20:]
	nested := inside4(1)
	for range 5 {
		nested = sent(4000, 6081, gn(nested))
	}
	bubble := t6(59, nil)
	return []carrierTest{
		{
			name: "vxlan", frames: [][]byte{sent(4000, 4789, vx(inside4(1))), sent(4000, 4789, vx(inside4(2)))},
			want: lines("4000>4789 vxlan first", "1>9 in 0", "4000>4789 vxlan", "2>9 in 0"),
		},
		{
			name: "vxlan, only the flag for an id counts", frames: [][]byte{sent(4000, 4789, vxlanHeader(0xff), eth(0x0800, inside4(1)))},
			want: lines("4000>4789 vxlan first", "1>9 in 0"),
		},
		{
			name: "vxlan without the flag, and from then on", frames: [][]byte{sent(4000, 4789, vxlanHeader(0xf7), eth(0x0800, inside4(1))), sent(4000, 4789, vx(inside4(1)))},
			want: lines("4000>4789 first", "4000>4789"), invalid: 1,
		},
		{name: "vxlan cut header", frames: [][]byte{sent(4000, 4789, vxlanHeader(8)[:7])}, want: "4000>4789 first", invalid: 1},
		{
			name: "vxlan empty", frames: [][]byte{sent(4000, 4789, vxlanHeader(8)), sent(4000, 4789, vx(inside4(1)))},
			want: lines("4000>4789 vxlan first", "4000>4789 vxlan", "1>9 in 0"),
		},
		{
			name: "vxlan with a tag", frames: [][]byte{sent(4000, 4789, vxlanHeader(8), eth(0x8100, cat(be16(7), be16(0x0800), inside4(1))))},
			want: lines("4000>4789 vxlan first", "1>9 vlan 7 in 0"),
		},
		{
			name: "vxlan with arp", frames: [][]byte{sent(4000, 4789, vxlanHeader(8), eth(0x0806, zeros(28)))},
			want: "4000>4789 vxlan first", rejected: "arp 1",
		},
		{name: "vxlan padding inside", frames: [][]byte{sent(4000, 4789, vx(inside4(1)), zeros(9))}, want: lines("4000>4789 vxlan first", "1>9 in 0")},
		{
			name: "vxlan from the port", frames: [][]byte{sent(4789, 4000, vx(inside4(1))), back(4000, 4789, vx(inside4(2)))},
			want: lines("4789>4000 vxlan first", "1>9 in 0", "4000>4789 vxlan", "2>9 in 0"),
		},
		{
			name: "vxlan from the port to a server's", frames: [][]byte{sent(4789, 53, vx(inside4(1))), back(53, 4789, vx(inside4(2)))},
			want: lines("4789>53 first", "53>4789"),
		},
		{
			name: "vxlan from a server's port", frames: [][]byte{sent(53, 4789, vx(inside4(1))), back(4789, 53, vx(inside4(2)))},
			want: lines("53>4789 vxlan first", "1>9 in 0", "4789>53 vxlan", "2>9 in 0"),
		},
		{name: "vxlan on another port", frames: [][]byte{sent(4000, 8472, vx(inside4(1)))}, want: "4000>8472"},
		{name: "vxlan to everybody", frames: [][]byte{ip4(c4, "255.255.255.255", 17, udp(4789, 4000, vx(inside4(1))))}, want: "4789>4000 first"},
		{
			name: "udp length shorter than the packet", frames: [][]byte{ip4(c4, d4, 17, cat(udp(4000, 4789, vxlanHeader(8)), eth(0x0800, inside4(1))))},
			want: lines("4000>4789 vxlan first", "1>9 in 0"),
		},
		{name: "cut while capturing", cut: 1, frames: [][]byte{sent(4000, 4789, vx(inside4(1)))}, want: lines("4000>4789 vxlan first", "1>9 in 0")},
		{
			name: "inner length beyond the packet", frames: [][]byte{sent(4000, 4789, vxlanHeader(8), eth(0x0800, inside4(1)[:29]))},
			want: "4000>4789 vxlan first", rejected: "truncated_ip_len 1",
		},
		{name: "inner fragments", frames: [][]byte{
			sent(4000, 4789, vx(ip4frag(a4, b4, 17, 1, 0x2000, fragments[:40]))),
			sent(4000, 4789, vx(ip4frag(a4, b4, 17, 1, 5, fragments[40:]))),
		}, want: lines("4000>4789 vxlan first", "4000>4789 vxlan", "1>9 in 0"), rejected: "fragment 1"},
		{name: "outer fragments", frames: [][]byte{
			ip4frag(c4, d4, 17, 1, 0x2000, sent(4000, 4789, vx(inside4(1)))[20:60]),
			ip4frag(c4, d4, 17, 1, 5, sent(4000, 4789, vx(inside4(1)))[60:]),
		}, want: lines("4000>4789 vxlan first", "1>9 in 0")},
		{
			name: "after a minute", apart: 60 * time.Second, frames: [][]byte{sent(4000, 4789, vx(inside4(1))), sent(4000, 4789, vx(inside4(2)))},
			want: lines("4000>4789 vxlan first", "1>9 in 0", "4000>4789 vxlan first", "2>9 in 2"),
		},
		{
			name: "before a minute", apart: 59 * time.Second, frames: [][]byte{sent(4000, 4789, vx(inside4(1))), sent(4000, 4789, vx(inside4(2))), sent(4000, 4789, vx(inside4(3)))},
			want: lines("4000>4789 vxlan first", "1>9 in 0", "4000>4789 vxlan", "2>9 in 0", "4000>4789 vxlan", "3>9 in 0"),
		},
		{name: "bad checksum", verify: true, frames: [][]byte{ip4(c4, d4, 17, cat(be16(4000), be16(4789), be16(8+8+14+30), be16(1), vx(inside4(1))))}, want: "4000>4789 first"},

		{
			name: "geneve ethernet", frames: [][]byte{sent(4000, 6081, geneveHeader(0, 0x6558, zeros(8)), eth(0x0800, inside4(1)))},
			want: lines("4000>6081 geneve first", "1>9 in 0"),
		},
		{
			name: "geneve ip", frames: [][]byte{sent(4000, 6081, gn(inside4(1))), sent(4000, 6081, geneveHeader(0, 0x86dd, nil), inside6(2))},
			want: lines("4000>6081 geneve first", "1>9 in 0", "4000>6081 geneve", "2>9 in 0"),
		},
		{name: "geneve arp", frames: [][]byte{sent(4000, 6081, geneveHeader(0, 0x0806, nil), zeros(28))}, want: "4000>6081 geneve first", rejected: "arp 1"},
		{name: "geneve with something else", frames: [][]byte{sent(4000, 6081, geneveHeader(0, 0x8847, nil), zeros(28))}, want: "4000>6081 geneve first", rejected: "tunnel_payload 1"},
		{
			name: "geneve of a later version is left alone", frames: [][]byte{sent(4000, 6081, geneveHeader(0x40, 0x0800, nil), inside4(1)), sent(4000, 6081, gn(inside4(1)))},
			want: lines("4000>6081 first", "4000>6081 geneve", "1>9 in 0"),
		},
		{
			name: "geneve options beyond the end", frames: [][]byte{sent(4000, 6081, geneveHeader(0, 0x0800, zeros(4))[:11]), sent(4000, 6081, gn(inside4(1)))},
			want: lines("4000>6081 first", "4000>6081"), invalid: 1,
		},
		{name: "geneve cut header", frames: [][]byte{sent(4000, 6081, zeros(7))}, want: "4000>6081 first", invalid: 1},
		{name: "geneve empty", frames: [][]byte{sent(4000, 6081, geneveHeader(0, 0x0800, zeros(4)))}, want: "4000>6081 geneve first"},

		{
			name: "gtp", frames: [][]byte{sent(4000, 2152, gtp(inside4(1))), back(2152, 4000, gtp(inside6(2)))},
			want: lines("4000>2152 gtpv1 first", "1>9 in 0", "2152>4000 gtpv1", "2>9 in 0"),
		},
		{name: "gtp control port", frames: [][]byte{sent(4000, 2123, gtp(inside4(1)))}, want: lines("4000>2123 gtpv1 first", "1>9 in 0")},
		{
			name: "gtp options", frames: [][]byte{sent(4000, 2152, gtpHeader(0x32, 255, 0, 1, 0, 0), inside4(1)), sent(4000, 2152, gtpHeader(0x31, 255, 0, 1, 0, 0), inside4(2))},
			want: lines("4000>2152 gtpv1 first", "1>9 in 0", "4000>2152 gtpv1", "2>9 in 0"),
		},
		{
			name: "gtp extension headers", frames: [][]byte{sent(4000, 2152, gtpHeader(0x34, 255, 0, 0, 0, 0x85, 1, 0, 9, 0x85, 2, 0, 0, 0, 0, 0, 0, 0), inside4(1))},
			want: lines("4000>2152 gtpv1 first", "1>9 in 0"),
		},
		{name: "gtp extension header of no length", frames: [][]byte{sent(4000, 2152, gtpHeader(0x34, 255, 0, 0, 0, 0x85, 0, 0, 0, 0), inside4(1))}, want: "4000>2152 first", invalid: 1},
		{name: "gtp extension headers without end", frames: [][]byte{sent(4000, 2152, gtpHeader(0x34, 255, 0, 0, 0, 0x85, 1, 0, 9, 0x85))}, want: "4000>2152 first", invalid: 1},
		{name: "gtp without its options", frames: [][]byte{sent(4000, 2152, gtpHeader(0x32, 255, 0, 1))}, want: "4000>2152 first", invalid: 1},
		{name: "gtp cut header", frames: [][]byte{sent(4000, 2152, gtpHeader(0x30, 255)[:7])}, want: "4000>2152 first", invalid: 1},
		{name: "gtp of another version", frames: [][]byte{sent(4000, 2152, gtpHeader(0x48, 255), inside4(1))}, want: "4000>2152 first", invalid: 1},
		{name: "gtp prime", frames: [][]byte{sent(4000, 2152, gtpHeader(0x20, 255), inside4(1))}, want: "4000>2152 first"},
		{
			name: "gtp echo", frames: [][]byte{sent(4000, 2152, gtpHeader(0x32, 1, 0, 1, 0, 0)), sent(4000, 2152, gtp(inside4(1)))},
			want: lines("4000>2152 first", "4000>2152 gtpv1", "1>9 in 0"),
		},
		{
			name: "gtp goes on after what is invalid, but is no service", frames: [][]byte{sent(4000, 2152, gtp(inside4(1)), zeros(1)), sent(4000, 2152, gtp(inside4(2)))},
			want: lines("4000>2152 first", "4000>2152", "2>9 in 0"), invalid: 1,
		},
		{name: "gtp inner packet too short", frames: [][]byte{sent(4000, 2152, gtp(inside4(1)[:29]))}, want: "4000>2152 first", invalid: 1},
		{name: "gtp not ip", frames: [][]byte{sent(4000, 2152, gtp(zeros(30)))}, want: "4000>2152 first", invalid: 1},
		{name: "gtp cut while capturing", cut: 1, frames: [][]byte{sent(4000, 2152, gtp(inside4(1)))}, want: "4000>2152 first", invalid: 1},
		{
			name: "gtp in gtp", frames: [][]byte{sent(4000, 2152, gtp(ip4(a4, b4, 17, udp(2152, 2152, gtp(inside4(1))))))},
			want: lines("4000>2152 gtpv1 first", "2152>2152 first in 0"), invalid: 1,
		},

		{
			name: "ayiya", frames: [][]byte{sent(4000, 5072, ayiyaHeader(4, 20, 1, 41), inside6(1)), back(5072, 4000, ayiyaHeader(4, 20, 1, 4), inside4(2))},
			want: lines("4000>5072 ayiya first", "1>9 in 0", "5072>4000 ayiya", "2>9 in 0"),
		},
		{name: "ayiya by its payload", frames: [][]byte{sent(4000, 4001, ayiyaHeader(4, 20, 1, 41), inside6(1))}, want: lines("4000>4001 ayiya first", "1>9 in 0")},
		{name: "ayiya with a large identity", frames: [][]byte{sent(4000, 5072, ayiyaHeader(8, 20, 1, 41), inside6(1))}, want: lines("4000>5072 ayiya first", "1>9 in 0")},
		{
			name: "ayiya by its payload, too short, and from then on", frames: [][]byte{sent(4000, 4001, []byte{0x41, 0x52, 0x11}), sent(4000, 4001, ayiyaHeader(4, 20, 1, 41), inside6(1))},
			want: lines("4000>4001 first", "4000>4001"), invalid: 1,
		},
		{name: "ayiya heartbeat", frames: [][]byte{sent(4000, 5072, ayiyaHeader(4, 20, 0, 59))}, want: "4000>5072 first"},
		{name: "ayiya with no next header", frames: [][]byte{sent(4000, 5072, ayiyaHeader(4, 20, 1, 59), zeros(9))}, want: "4000>5072 ayiya first", rejected: "tunnel_payload 1"},
		{name: "ayiya empty", frames: [][]byte{sent(4000, 5072, ayiyaHeader(4, 20, 1, 41))}, want: "4000>5072 ayiya first"},
		{
			name: "ayiya cut header, and from then on", frames: [][]byte{sent(4000, 5072, ayiyaHeader(4, 20, 1, 41)[:40]), sent(4000, 5072, ayiyaHeader(4, 20, 1, 41), inside6(1))},
			want: lines("4000>5072 first", "4000>5072"), invalid: 1,
		},

		{
			name: "teredo is believed once both ends speak it", frames: [][]byte{sent(4000, 3544, inside6(1)), sent(4000, 3544, inside6(2)), back(3544, 4000, inside6(3))},
			want: lines("4000>3544 first", "1>9 in 0", "4000>3544", "2>9 in 0", "3544>4000 teredo", "3>9 in 0"),
		},
		{name: "teredo origin and authentication", frames: [][]byte{
			sent(4000, 3544, authentication(1, 2), inside6(1)), back(3544, 4000, authentication(0, 0), originIndication(), inside6(2)), back(3544, 4000, originIndication(), inside6(3)),
		}, want: lines("4000>3544 first", "1>9 in 0", "3544>4000 teredo", "2>9 in 0", "3544>4000 teredo", "3>9 in 0")},
		{name: "teredo origin before authentication", frames: [][]byte{sent(4000, 3544, originIndication(), authentication(0, 0), inside6(1))}, want: "4000>3544 first", invalid: 1},
		{name: "teredo origin twice", frames: [][]byte{sent(4000, 3544, originIndication(), originIndication(), inside6(1))}, want: "4000>3544 first", invalid: 1},
		{
			name: "teredo bubbles", frames: [][]byte{sent(4000, 3544, bubble), back(3544, 4000, bubble, zeros(4)), sent(4000, 3544, inside6(1))},
			want: lines("4000>3544 first", "3544>4000 teredo", "4000>3544 teredo", "1>9 in 0"), rejected: "no_next_header 2",
		},
		{
			name: "teredo with a wrong length, and from then on", frames: [][]byte{sent(4000, 3544, inside6(1), zeros(1)), sent(4000, 3544, inside6(2))},
			want: lines("4000>3544 first", "4000>3544"), invalid: 1,
		},
		{name: "teredo cut while capturing", cut: 1, frames: [][]byte{sent(4000, 3544, inside6(1))}, want: "4000>3544 first", invalid: 1},
		{name: "teredo with ipv4", frames: [][]byte{sent(4000, 3544, inside4(1))}, want: "4000>3544 first", invalid: 1},
		{name: "teredo of a byte", frames: [][]byte{sent(4000, 3544, []byte{0})}, want: "4000>3544 first", invalid: 1},
		{name: "teredo by its addresses", frames: [][]byte{
			sent(4000, 4001, inside6(1)), back(4001, 4000, ip6("2001:db8::1", "2001:0:1::1", 17, udp(2, 9, nil))),
			sent(4000, 4001, ip6("2001:db8::1", "2001:db8::2", 17, udp(3, 9, nil))),
		}, want: lines("4000>4001 first", "1>9 in 0", "4001>4000 teredo", "2>9 in 0", "4000>4001")},
		{
			name: "teredo by its origin indication", frames: [][]byte{sent(4000, 4001, originIndication(), plain6()), sent(4000, 4001, authentication(0, 0), originIndication(), plain6()), sent(4002, 4003, authentication(0, 0), plain6())},
			want: lines("4000>4001 first", "1000>53 in 0", "4000>4001", "1000>53 in 0", "4002>4003"),
		},
		{
			name: "teredo after other payload", frames: [][]byte{sent(4000, 4001, []byte("hello")), sent(4000, 4001, inside6(1)), sent(4000, 4001, inside6(2))},
			want: lines("4000>4001", "4000>4001 first", "1>9 in 1", "4000>4001", "2>9 in 1"),
		},
		{
			name: "teredo between other payload", apart: 40 * time.Second, frames: [][]byte{sent(4000, 4001, inside6(1)), sent(4000, 4001, []byte("hello")), sent(4000, 4001, inside6(2))},
			want: lines("4000>4001 first", "1>9 in 0", "4000>4001", "4000>4001", "2>9 in 0"),
		},
		{
			name: "teredo in itself", frames: [][]byte{ip6("2001:db8::1", "2001:db8::2", 17, udp(4000, 4001, ip6("2001:db8::1", "2001:0:1::1", 17, udp(1, 9, nil))))},
			want: lines("4000>4001 first", "1>9 in 0"),
		},

		{name: "gre in udp", frames: [][]byte{sent(4000, 4754, be16(0), be16(0x0800), inside4(1))}, want: lines("4000>4754 first", "1>9 in")},
		{
			name: "vxlan in geneve", frames: [][]byte{sent(4000, 6081, gn(ip4(a4, b4, 17, udp(4002, 4789, vx(inside4(1))))))},
			want: lines("4000>6081 geneve first", "4002>4789 vxlan first in 0", "1>9 in 1"),
		},
		{
			name: "teredo in gtp", frames: [][]byte{sent(4000, 2152, gtp(ip4(a4, b4, 17, udp(4002, 3544, inside6(1)))))},
			want: lines("4000>2152 gtpv1 first", "4002>3544 first in 0", "1>9 in 1"),
		},
		{name: "ip in ip in vxlan", frames: [][]byte{sent(4000, 4789, vx(ip4("192.0.2.8", "192.0.2.9", 4, inside4(1))))}, want: lines("4000>4789 vxlan first", "1>9 in")},
		{name: "vxlan in ip in ip", frames: [][]byte{ip4("192.0.2.8", "192.0.2.9", 4, sent(4000, 4789, vx(inside4(1))))}, want: lines("4000>4789 vxlan first in", "1>9 in 0")},
		{
			name: "five deep", frames: [][]byte{nested}, want: lines("4000>6081 geneve first", "4000>6081 geneve in 0", "4000>6081 geneve in 0", "4000>6081 geneve in 0", "4000>6081 deep in 0"),
			rejected: "tunnel_depth 1",
		},
	}
}

func TestCarriers(t *testing.T) {
	for _, tc := range carrierTests() {
		t.Run(tc.name, func(t *testing.T) {
			f, apart := newPcap(101), tc.apart
			if apart == 0 {
				apart = time.Second
			}
			for i, b := range tc.frames {
				f.addWire(1e18+int64(i)*int64(apart), b[:len(b)-tc.cut], len(b))
			}
			path := write(t, "x.pcap", f.buf)
			res := read(t, capture.Config{Inputs: []string{path}, Checksums: tc.verify})
			if diff := cmp.Diff(strings.Split(tc.want, "\n"), strings.Split(told(res.packets), "\n")); diff != "" {
				t.Errorf("packets (-want +got):\n%s", diff)
			}
			var reasons []string
			for r, n := range res.stats.Tunnels.Rejected {
				if n > 0 {
					reasons = append(reasons, fmt.Sprintf("%v %d", capture.Reason(r), n))
				}
			}
			if got := strings.Join(reasons, ", "); got != tc.rejected {
				t.Errorf("rejected inside: %q, want %q", got, tc.rejected)
			}
			if got := res.stats.Tunnels.Invalid; got != tc.invalid {
				t.Errorf("Invalid = %d, want %d", got, tc.invalid)
			}
		})
	}
}

// What one frame of an A-MSDU carries says nothing about the next one.
func TestCarriersAggregated(t *testing.T) {
	msdu := func(p []byte) []byte {
		b := cat([]byte{0xaa, 0xaa, 3, 0, 0, 0, 8, 0}, p)
		b = cat(zeros(12), be16(len(b)), b)
		return cat(b, zeros(-len(b)&3))
	}
	gtp := cat(gtpHeader(0x30, 255), inside4(1))
	frame := cat([]byte{0x88, 1}, zeros(22), []byte{0x80, 0}, msdu(sent(4000, 2152, gtp)), msdu(sent(4001, 2152, gtp)))
	res := read(t, capture.Config{Inputs: []string{write(t, "x.pcap", newPcap(105).add(1e18, frame).buf)}})
	if got, want := told(res.packets), "4000>2152 gtpv1 first\n1>9 in 0\n4001>2152 gtpv1 first\n1>9 in 2"; got != want {
		t.Errorf("packets:\n%s\nwant:\n%s", got, want)
	}
	if s := res.stats; s.Delivered != 1 || s.Aggregated != 1 || s.Tunnels.Inner != 2 {
		t.Errorf("%d delivered, %d aggregated, %d inner, want 1, 1, 2", s.Delivered, s.Aggregated, s.Tunnels.Inner)
	}
}

// The timeout is that of the configuration.
func TestCarrierTimeout(t *testing.T) {
	one := sent(4000, 4789, vxlanHeader(8), eth(0x0800, inside4(1)))
	path := write(t, "x.pcap", newPcap(101).add(1e18, one).add(1e18+9e9, one).buf)
	for timeout, want := range map[time.Duration]int{0: 1, 9 * time.Second: 2, 10 * time.Second: 1} {
		res := read(t, capture.Config{Inputs: []string{path}, UDPTimeout: timeout})
		if got := strings.Count(told(res.packets), "first"); got != want {
			t.Errorf("timeout %v: %d connections, want %d", timeout, got, want)
		}
	}
}

// Beyond the limit the connection that was silent longest is forgotten.
func TestCarriersEvicted(t *testing.T) {
	const limit = 1 << 16
	f := newPcap(101)
	vx := func(i int) []byte {
		return ip4(fmt.Sprintf("10.%d.%d.%d", i>>16, i>>8&255, i&255), d4, 17, udp(4000, 4789, cat(vxlanHeader(8), eth(0x0800, inside4(1)))))
	}
	for i := range limit {
		f.add(1e18, vx(i))
	}
	f.add(1e18, vx(0)).add(1e18, vx(limit)).add(1e18, vx(0)).add(1e18, vx(1))
	res := read(t, capture.Config{Inputs: []string{write(t, "x.pcap", f.buf)}})
	s := res.stats.Tunnels
	if s.Evicted != 2 || s.Connections != limit || s.Inner != limit+4 {
		t.Errorf("stats: %d evicted, %d connections, %d inner packets, want 2, %d, %d", s.Evicted, s.Connections, s.Inner, limit, limit+4)
	}
	var first []bool
	for _, p := range res.packets[2*limit:] {
		if p.Tunnel == 0 {
			first = append(first, p.Flags&flow.Founder != 0)
		}
	}
	if diff := cmp.Diff([]bool{false, true, false, true}, first); diff != "" {
		t.Errorf("last packets that begin connections (-want +got):\n%s", diff)
	}
}

// Over IPv6 VXLAN may leave out the checksum, others may not.
func TestVXLANChecksum(t *testing.T) {
	path := write(t, "x.pcap", newPcap(101).
		add(1e18, ip6(c6, d6, 17, udp(4000, 4789, cat(vxlanHeader(8), eth(0x0800, inside4(1)))))).
		add(1e18, ip6(c6, d6, 17, udp(4000, 6081, cat(geneveHeader(0, 0x0800, nil), inside4(2))))).buf)
	res := read(t, capture.Config{Inputs: []string{path}, Checksums: true})
	if got, want := told(res.packets), "4000>4789 vxlan first\n1>9 in 0\n4000>6081 first"; got != want {
		t.Errorf("packets:\n%s\nwant:\n%s", got, want)
	}
}
