// SPDX-License-Identifier: Apache-2.0

package capture_test

import (
	"errors"
	"io"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/gopacket/layers"
	"github.com/google/gopacket/pcap"

	"weir/capture"
)

func TestFilter(t *testing.T) {
	f := newPcap(1).
		add(1e18, eth(0x0800, ip4(a4, b4, 6, tcp(5, 80, 2, nil, nil)))).
		add(1e18, eth(0x0800, ip4(a4, b4, 17, udp(5, 53, nil)))).
		add(1e18, eth(0x86dd, ip6(a6, b6, 6, tcp(5, 80, 2, nil, nil)))).
		add(1e18, eth(0x0806, zeros(28))).
		addWire(1e18, eth(0x0800, ip4(a4, b4, 6, tcp(5, 443, 2, nil, zeros(1000))))[:60], 1054)
	path := write(t, "x.pcap", f.buf)
	for _, tc := range []struct {
		filter    string
		delivered uint64
	}{
		{"", 4},
		{"tcp", 3},
		{"tcp port 80", 2},
		{"ip6", 1},
		{"not ip6", 3},
		{"udp or port 443", 2},
		{"greater 1000", 1},
		{"less 100 and ip", 2},
		{"arp", 0},
		{"tcp[tcpflags] & tcp-syn != 0", 2}, // not for IPv6
		{"host 10.0.0.1 and portrange 1-60", 3},
		{"ip6 protochain 6", 1},
		{"len - 4 > 1000", 1},
		{"ip[2:2] * 2 % 7 = 3 or udp", 1},
		{"net 10.0.0.0/8", 3},
	} {
		res := read(t, capture.Config{Inputs: []string{path}, Filter: tc.filter})
		if s := res.stats; s.Delivered != tc.delivered || s.Packets != 5 {
			t.Errorf("filter %q: %d of %d packets delivered, want %d of 5", tc.filter, s.Delivered, s.Packets, tc.delivered)
		}
		if res.packets != nil && tc.filter == "greater 1000" && res.packets[0].Dport != 443 {
			t.Errorf("filter %q: wrong packet", tc.filter)
		}
	}
	for _, bad := range []string{"tcp prt 80", "((", "host 1.2.3.4.5.6", strings.Repeat("(", 500)} {
		var fe *capture.FilterError
		_, err := capture.Open(capture.Config{Inputs: []string{path}, Filter: bad})
		if !errors.As(err, &fe) || fe.Expr != bad {
			t.Errorf("Open with filter %q = %v, want a FilterError", bad, err)
		}
	}
}

// An expression that makes sense for one link type only.
func TestFilterLinkTypes(t *testing.T) {
	ether := write(t, "e.pcap", newPcap(1).add(1e18, eth(0x0800, plain4())).buf)
	raw := write(t, "r.pcap", newPcap(101).add(1e18, plain4()).buf)
	res := read(t, capture.Config{Inputs: []string{ether, raw}, Filter: "ether host 2:0:0:0:0:1"})
	if s := res.stats; s.Delivered != 1 || s.Rejected[capture.FilterLink] != 1 {
		t.Errorf("delivered %d, rejected %v, want one each", s.Delivered, rejected(s))
	}
	var fe *capture.FilterError
	if _, err := capture.Open(capture.Config{Inputs: []string{raw}, Filter: "ether host 2:0:0:0:0:1"}); !errors.As(err, &fe) {
		t.Errorf("ether host on raw IP: %v, want a FilterError", err)
	}
	// Nothing to compile for yet: the expression is checked all the same.
	empty := write(t, "n.pcapng", le.section())
	if _, err := capture.Open(capture.Config{Inputs: []string{empty}, Filter: "tcp prt"}); !errors.As(err, &fe) {
		t.Errorf("bad filter on an empty pcapng: %v, want a FilterError", err)
	}
	if _, err := capture.Open(capture.Config{Inputs: []string{empty}, Filter: "tcp"}); err != nil {
		t.Errorf("good filter on an empty pcapng: %v", err)
	}
}

// Filters are compiled for the link type that they are applied to, whatever its
// number: they match the frames that libpcap's match.
func TestFilterOfLinkTypes(t *testing.T) {
	files := map[uint32]*pcapFile{}
	for _, tc := range frameTests() {
		if files[tc.link] == nil {
			files[tc.link] = newPcap(tc.link)
		}
		files[tc.link].add(1e18, tc.frame)
	}
	compared, matched := map[uint32]bool{}, map[uint32]bool{}
	for link, f := range files {
		path := write(t, "x.pcap", f.buf)
		for _, expr := range []string{"ip", "ip6", "udp port 53", "greater 60"} {
			h, err := pcap.OpenOffline(path)
			if err != nil {
				continue
			}
			want, usable := uint64(0), h.SetBPFFilter(expr) == nil
			for usable {
				if _, _, err := h.ZeroCopyReadPacketData(); err != nil {
					break
				}
				want++
			}
			h.Close()
			res, err := readErr(t, capture.Config{Inputs: []string{path}, Filter: expr})
			if usable && err != nil {
				t.Errorf("link type %d: filter %q: %v, but libpcap takes it", link, expr, err)
			}
			if !usable || err != nil || res.stats.Rejected[capture.LinkType] == res.stats.Packets {
				continue // not filtered at all
			}
			compared[link] = true
			matched[link] = matched[link] || want > 0
			if got := res.stats.Packets - res.stats.Rejected[capture.Filtered]; got != want {
				t.Errorf("link type %d: filter %q matches %d frames, libpcap says %d", link, expr, got, want)
			}
		}
	}
	for _, link := range []uint32{1, 105, 127, 107, 276} {
		if !compared[link] || !matched[link] {
			t.Errorf("link type %d: compared %v, matched %v", link, compared[link], matched[link])
		}
	}
	t.Logf("%d link types compared with libpcap", len(compared))
}

// TestFilterAgainstLibpcap checks that our interpreter agrees with libpcap's on the
// Ethernet frames of the corpus.
func TestFilterAgainstLibpcap(t *testing.T) {
	exprs := []string{
		"tcp port 80 or udp port 53", "ip6", "vlan and tcp", "icmp[icmptype] = 8 or icmp6", "ip[8] < 64 and greater 200",
		"not (tcp and (src portrange 1-1023 or dst net 192.168.0.0/16))", "ip6 protochain 17", "(ip[0] & 0xf) * 4 > 20",
		"tcp[((tcp[12] & 0xf0) >> 2):4] = 0x47455420", "mpls", "pppoes and ip", "len % 7 = 3 and -ip[9] < 4294967290",
	}
	paths := corpus(t, "corpus")
	if testing.Short() {
		paths = paths[:len(paths)/10]
	}
	checked := 0
	for i, path := range paths {
		for j, expr := range exprs {
			if (i+j)%3 > 0 {
				continue // each file with a third of the filters, each filter with a third of the files
			}
			h, err := pcap.OpenOffline(path)
			if err != nil {
				continue
			}
			ethernet, want := h.LinkType() == layers.LinkTypeEthernet, uint64(0)
			if ethernet {
				if err := h.SetBPFFilter(expr); err != nil {
					t.Fatalf("SetBPFFilter(%q): %v", expr, err)
				}
			}
			for ethernet {
				if _, _, err := h.ZeroCopyReadPacketData(); err != nil {
					ethernet = errors.Is(err, io.EOF)
					break
				}
				want++
			}
			h.Close()
			if !ethernet {
				continue
			}
			s := read(t, capture.Config{Inputs: []string{path}, Filter: expr}).stats
			if got := s.Packets - s.Rejected[capture.Filtered]; got != want {
				t.Errorf("%s: filter %q matches %d frames, libpcap says %d", filepath.Base(path), expr, got, want)
			}
			checked++
		}
	}
	t.Logf("%d pairs of filter and file", checked)
}
