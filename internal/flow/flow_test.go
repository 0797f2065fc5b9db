// SPDX-License-Identifier: Apache-2.0

package flow_test

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"weir/internal/flow"
)

func TestAddr(t *testing.T) {
	v4 := flow.Addr4([4]byte{192, 0, 2, 7})
	v6 := flow.Addr{0: 0x20, 1: 0x01, 2: 0x0d, 3: 0xb8, 15: 1}
	for _, tc := range []struct {
		addr flow.Addr
		text string
		is4  bool
	}{
		{v4, "192.0.2.7", true},
		{v6, "2001:db8::1", false},
		{flow.Addr{}, "::", false},
		{flow.Addr{15: 1}, "::1", false},
	} {
		if got := tc.addr.String(); got != tc.text || tc.addr.Is4() != tc.is4 {
			t.Errorf("String(), Is4() = %q, %v, want %q, %v", got, tc.addr.Is4(), tc.text, tc.is4)
		}
		if got := flow.AddrFrom(tc.addr.Netip()); got != tc.addr {
			t.Errorf("AddrFrom(%v) = %v", tc.addr, got)
		}
	}
	list := []flow.Addr{v6, v4, {15: 1}}
	slices.SortFunc(list, flow.Addr.Compare)
	if diff := cmp.Diff([]flow.Addr{v4, {15: 1}, v6}, list); diff != "" {
		t.Errorf("order differs (-want +got):\n%s", diff)
	}
}

func TestMicro(t *testing.T) {
	for _, tc := range []struct {
		ns   flow.Time
		want int64
	}{{0, 0}, {1999, 1}, {-1, -1}, {-1000, -1}, {-1001, -2}, {1_700_000_000_123_456_789, 1_700_000_000_123_456}} {
		if got := tc.ns.Micro(); got != tc.want {
			t.Errorf("Time(%d).Micro() = %d, want %d", tc.ns, got, tc.want)
		}
	}
}

func TestUID(t *testing.T) {
	p := flow.Packet{Src: flow.Addr{15: 1}, Dst: flow.Addr{15: 2}, Sport: 3, Dport: 4, Proto: flow.TCP, Origin: 5}
	seen := map[uint64]bool{flow.UID(&p): true}
	if !seen[flow.UID(&p)] {
		t.Error("UID() of one packet differs from call to call")
	}
	for _, change := range []func(*flow.Packet){
		func(p *flow.Packet) { p.Src[15] = 9 }, func(p *flow.Packet) { p.Dst[0] = 9 },
		func(p *flow.Packet) { p.Src, p.Dst = p.Dst, p.Src }, func(p *flow.Packet) { p.Sport = 9 },
		func(p *flow.Packet) { p.Dport = 9 }, func(p *flow.Packet) { p.Proto = 9 }, func(p *flow.Packet) { p.Origin = 9 },
	} {
		q := p
		change(&q)
		if uid := flow.UID(&q); seen[uid] {
			t.Errorf("UID(%+v) is another packet's, too", q)
		} else {
			seen[uid] = true
		}
	}
	if got, want := flow.UIDText(0x0123456789abcdef), "C0123456789abcdef"; got != want {
		t.Errorf("UIDText() = %q, want %q", got, want)
	}
}

func TestConnBatchOwnsItsText(t *testing.T) {
	var b flow.ConnBatch
	history, tunnels := []byte("ShAD"), []uint64{1, 2}
	for range 100 {
		b.Add(&flow.Connection{History: history, TunnelParents: tunnels})
	}
	copy(history, "xxxx")
	tunnels[0] = 9
	for i := range b.Conns {
		c := &b.Conns[i]
		if string(c.History) != "ShAD" || c.TunnelParents[0] != 1 {
			t.Fatalf("connection %d: history %q, tunnels %v, want what was added", i, c.History, c.TunnelParents)
		}
	}
	b.Reset()
	if b.Len() != 0 {
		t.Errorf("Len() = %d after Reset", b.Len())
	}
}

func TestIntelBatch(t *testing.T) {
	b := flow.NewIntelBatch()
	tuple := flow.Tuple{UID: 7, Proto: flow.UDP}
	for range 2 {
		b.Reset()
		b.Begin(flow.SSL, &tuple, 1)
		b.SetString(flow.SSLVersion, "TLSv13")
		b.SetBool(flow.SSLResumed, false)
		b.Begin(flow.HTTP, &tuple, 2)
		b.Drop()
		b.Begin(flow.DNS, &tuple, 3)
		b.AppendText(flow.DNSAnswers, []byte("a"))
		b.AppendText(flow.DNSAnswers, nil)
		b.AppendText(flow.DNSAnswers, []byte("ccc"))
		b.AppendInt(flow.DNSTTLs, 5)
		b.AppendInt(flow.DNSTTLs, -6)
		b.SetInt(flow.DNSRTT, 1500)
		if b.Len() != 2 {
			t.Fatalf("Len() = %d, want 2", b.Len())
		}
		if got := string(b.Bytes(0, flow.SSLVersion)); got != "TLSv13" {
			t.Errorf("version = %q", got)
		}
		if !b.Has(0, flow.SSLResumed) || b.Int(0, flow.SSLResumed) != 0 || b.Has(0, flow.SSLCipher) {
			t.Error("a false value must be set, an untouched one not")
		}
		var texts []string
		for x := range b.Texts(1, flow.DNSAnswers) {
			texts = append(texts, string(x))
		}
		if diff := cmp.Diff([]string{"a", "", "ccc"}, texts); diff != "" {
			t.Errorf("answers differ (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff([]int64{5, -6}, slices.Collect(b.Ints(1, flow.DNSTTLs))); diff != "" {
			t.Errorf("TTLs differ (-want +got):\n%s", diff)
		}
		if b.Int(1, flow.DNSAnswers) != 3 || b.Int(1, flow.DNSRTT) != 1500 || b.Bytes(1, flow.DNSQuery) != nil {
			t.Error("counts or unset values are wrong")
		}
	}
}

// TestKinds: every attribute number has its description, and neither columns
// nor the filter language's names are used twice.
func TestKinds(t *testing.T) {
	for _, k := range flow.Kinds() {
		columns, names := map[string]bool{}, map[string]bool{}
		for i, a := range k.Attrs {
			if a.Column == "" || a.ZeekType == "" || a.Help == "" && !a.LogOnly {
				t.Errorf("%s: attribute %d is not described: %+v", k.Name, i, a)
			}
			name := a.Name
			if name == "" {
				name = a.Column
			}
			if columns[a.Column] || names[name] {
				t.Errorf("%s: %s or %s stands for two attributes", k.Name, a.Column, name)
			}
			columns[a.Column], names[name] = true, true
		}
	}
}

func TestProtocolNames(t *testing.T) {
	for _, tc := range []struct {
		proto       uint8
		label, zeek string
	}{
		{6, "tcp", "tcp"},
		{17, "udp", "udp"},
		{1, "icmp", "icmp"},
		{58, "icmp", "icmp"},
		{132, "sctp", "unknown_transport"},
		{47, "gre", "unknown_transport"},
		{200, "200", "unknown_transport"},
	} {
		if l, z := flow.ProtoLabel(tc.proto), flow.ProtoName(tc.proto); l != tc.label || z != tc.zeek {
			t.Errorf("names of %d = %q, %q, want %q, %q", tc.proto, l, z, tc.label, tc.zeek)
		}
	}
}
