// SPDX-License-Identifier: Apache-2.0

package dissect

import (
	"encoding/binary"
	"strings"
	"testing"

	"weir/internal/flow"
)

func TestSSHBanners(t *testing.T) {
	for _, tc := range []struct {
		name    string
		port    uint16
		steps   []step
		service string
	}{
		{"both", 22, []step{server("SSH-2.0-OpenSSH_9.6\r\n"), client("SSH-2.0-PuTTY\r\n")}, "ssh"},
		{"client first", 2222, []step{client("SSH-2.0-PuTTY\r\n"), server("SSH-1.99-x\r\n")}, "ssh"},
		{"small letters", 22, []step{client("ssh-2.0-a\n"), server("ssh-2.0-b\n")}, "ssh"},
		{"HTTP's port", 80, []step{server("SSH-2.0-OpenSSH_9.6\r\n"), client("SSH-2.0-PuTTY\r\n")}, "ssh"},
		{"server only", 22, []step{server("SSH-2.0-OpenSSH_9.6\r\n")}, ""},
		{"client was something else", 22, []step{client("\x00\x01hello"), server("SSH-2.0-OpenSSH_9.6\r\n")}, ""},
		{"half a banner before the other", 22, []step{client("SS"), server("SSH-2.0-OpenSSH_9.6\r\n"), client("H-2.0-x\r\n")}, "ssh"},
		{"half a banner of something else", 22, []step{client("SS"), server("SSH-2.0-OpenSSH_9.6\r\n"), client("L\r\n")}, ""},
		{"a version without a dot", 22, []step{server("SSH-2\r\n"), client("SSH-2\r\n")}, ""},
		{"client asks for a page", 22, []step{server("SSH-2.0-OpenSSH_9.6\r\n"), client("GET / HTTP/1.1\r\n\r\n")}, "http"},
		{"client is something else", 22, []step{server("SSH-2.0-OpenSSH_9.6\r\n"), client("hello\r\n")}, ""},
		{"other version", 22, []step{server("SSH-3.0-OpenSSH_9.6\r\n"), client("SSH-3.0-PuTTY\r\n")}, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			tuple := testTuple(flow.TCP, tc.port)
			if _, service := conversation(t, Config{}, tuple, flow.SSL, tc.steps, whole); service != tc.service {
				t.Errorf("service = %q, want %q", service, tc.service)
			}
			checkSplits(t, tuple, flow.SSL, tc.steps)
		})
	}
}

// sshPacket is the packet in which a side offers algorithms, so many in each list.
func sshPacket(names ...int) string {
	b := append([]byte{4, sshOffer}, make([]byte, sshCookie)...)
	for _, n := range names {
		list := strings.TrimSuffix(strings.Repeat("x,", n), ",")
		b = append(binary.BigEndian.AppendUint32(b, uint32(len(list))), list...)
	}
	b = append(b, make([]byte, 9)...)
	return string(append(binary.BigEndian.AppendUint32(nil, uint32(len(b))), b...))
}

// TestSSHOffers checks that a connection says so when a side offers too many
// algorithms of one kind.
func TestSSHOffers(t *testing.T) {
	const banner = "SSH-2.0-x\r\n"
	few := sshPacket(3, 3, 100, 3, 3, 3, 1, 1, 0, 0)
	many := sshPacket(3, 3, 3, 3, 3, 3, 1, 1, 0, 101)
	short := []byte(many)
	short[2], short[3] = 0, 60 // what follows is not of the packet any more
	for _, tc := range []struct {
		name  string
		steps []step
		want  bool
	}{
		{"few", []step{server(banner + few), client(banner + few)}, false},
		{"many of the server's", []step{server(banner), client(banner), server(many), client(few)}, true},
		{"many of the client's", []step{server(banner), client(banner), client(many)}, true},
		{"in the first list", []step{client(banner + sshPacket(101, 0, 0, 0, 0, 0, 0, 0, 0, 0)), server(banner)}, true},
		{"in a second offer, which nobody reads", []step{server(banner + few + many), client(banner + few + many)}, false},
		{"no offer", []step{server(banner), client(banner + "\x00\x00\x01\x00\x04\x15" + many)}, false},
		{"lists beyond the packet", []step{server(banner + string(short)), client(banner)}, false},
		{"a packet that is too long", []step{server(banner + "\x7f" + many[1:]), client(banner)}, false},
		{"not all of it", []step{server(banner + many[:100]), client(banner)}, false},
		{"a hole in it", []step{server(banner + many[:50]), {dir: flow.ToClient, gap: 1}, server(many[51:]), client(banner)}, false},
		{"a banner without an end", []step{server(banner[:9] + strings.Repeat("x", 2000) + many), client(banner)}, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			for _, cut := range []func(string) []string{whole, single, cutBy(7)} {
				s := NewShard(Config{})
				s.Out = flow.NewIntelBatch()
				tuple := testTuple(flow.TCP, 2222)
				var a App
				for _, st := range tc.steps {
					if st.gap > 0 {
						s.Gap(&tuple, &a, st.dir, 1, st.gap)
						continue
					}
					for _, piece := range cut(st.data) {
						s.Stream(&tuple, &a, st.dir, 1, []byte(piece))
					}
				}
				if a.GaveUp() != tc.want {
					t.Errorf("GaveUp() = %v, want %v", a.GaveUp(), tc.want)
				}
				s.Close(&tuple, &a)
				if st := s.Stats(); st.Sessions != 0 || s.bufs.memory.Used() != 0 {
					t.Errorf("%d sessions and %d bytes are left", st.Sessions, s.bufs.memory.Used())
				}
			}
		})
	}
}

// FuzzSSH checks that a direction is read the same however it is cut.
func FuzzSSH(f *testing.F) {
	f.Add("SSH-2.0-x\r\n"+sshPacket(3, 3, 100, 3, 3, 3, 1, 1, 0, 0), uint8(3))
	f.Add("SSH-2.0-x\r\n"+sshPacket(3, 3, 3, 3, 3, 3, 1, 1, 0, 101), uint8(50))
	f.Add("ssh-1.5-x\n\x00\x00\x00\x13\x04\x14", uint8(1))
	f.Fuzz(func(t *testing.T, text string, cut uint8) {
		read := func(cut func(string) []string) (gaveUp bool) {
			s := NewShard(Config{})
			tuple := testTuple(flow.TCP, 22)
			var a App
			s.Stream(&tuple, &a, flow.ToClient, 1, []byte("SSH-2.0-y\r\n"))
			for _, piece := range cut(text) {
				s.Stream(&tuple, &a, flow.ToServer, 1, []byte(piece))
			}
			gaveUp = a.GaveUp()
			s.Close(&tuple, &a)
			if st := s.Stats(); st.Sessions != 0 || s.bufs.memory.Used() != 0 {
				t.Fatalf("%d sessions and %d bytes are left", st.Sessions, s.bufs.memory.Used())
			}
			return gaveUp
		}
		want := read(whole)
		if got := read(cutBy(1 + int(cut))); got != want {
			t.Errorf("cut by %d: gave up %v, whole %v", 1+int(cut), got, want)
		}
	})
}
